//! Waits for the next schedule that is due, and delivers to its target, with retries, as the schedule's role.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::{HeaderMap, Method};
use rand::RngExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::operations::{self, SERVICE, source};
use super::schedule::Schedule;
use super::{Inner, Refused, Scheduler};
use crate::clock::iso8601;
use crate::iam::{Ask, Context, Signer};
use crate::metrics::Unit;
use crate::store::replay;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// How long it sleeps when nothing is due: a change wakes it.
const IDLE_MS: i64 = 3_600_000;
/// "EventBridge Scheduler uses exponential back-off": the first pause and the longest. AWS does not publish its own.
const RETRY_FIRST_MS: i64 = 1_000;
const RETRY_MAX_MS: i64 = 300_000;

/// Until the service is gone.
pub(super) async fn run(inner: Weak<Inner>) {
    loop {
        let Some(scheduler) = inner.upgrade().map(|inner| Scheduler { inner }) else { return };
        for due in take_due(&scheduler) {
            tokio::spawn(deliver(scheduler.clone(), due));
        }
        let wake_ms = next_due(&scheduler).unwrap_or_else(|| scheduler.now_ms() + IDLE_MS);
        let clock = scheduler.inner.settings.clock.clone();
        let (changed, stop) = (Arc::clone(&scheduler.inner.changed), Arc::clone(&scheduler.inner.stop));
        // Not held while waiting: the runner ends with the service.
        drop(scheduler);
        tokio::select! {
            // A change between the look and here has left its permit.
            () = changed.notified() => {}
            () = clock.sleep_until(wake_ms) => {}
            () = stop.notified() => return,
        }
    }
}

fn next_due(scheduler: &Scheduler) -> Option<i64> {
    scheduler.state().schedules.values().filter_map(|schedule| schedule.due_ms).min()
}

/// The schedules whose time has come, each set to its next one.
fn take_due(scheduler: &Scheduler) -> Vec<Due> {
    let now_ms = scheduler.now_ms();
    let mut state = scheduler.state();
    let mut all = Vec::new();
    for schedule in state.schedules.values_mut() {
        let Some(due_ms) = schedule.due_ms.filter(|due_ms| *due_ms <= now_ms) else { continue };
        all.push(Due { schedule: schedule.clone(), due_ms });
        schedule.advance(now_ms);
    }
    all
}

/// One run of one schedule.
struct Due {
    schedule: Schedule,
    due_ms: i64,
}

/// Why a delivery was given up.
struct Exhausted {
    refused: Refused,
    condition: &'static str,
    retries: i64,
}

async fn deliver(scheduler: Scheduler, due: Due) {
    let clock = scheduler.inner.settings.clock.clone();
    let window_ms = due.schedule.window_ms();
    if window_ms > 0 {
        let late_ms = scheduler.inner.settings.random.with(|random| random.random_range(0..window_ms));
        clock.sleep_until(due.due_ms + late_ms).await;
    }
    if !is_wanted(&scheduler, &due) {
        return;
    }
    let execution = scheduler.inner.settings.random.with(|random| random.random::<[u8; 16]>());
    let execution = uuid::Builder::from_random_bytes(execution).into_uuid();
    if let Err(exhausted) = attempts(&scheduler, &due, execution).await {
        give_up(&scheduler, &due, execution, &exhausted).await;
    }
    forget_if_done(scheduler, due.schedule).await;
}

/// What was deleted, disabled or changed since does not run as it was.
fn is_wanted(scheduler: &Scheduler, due: &Due) -> bool {
    scheduler.state().unchanged(&due.schedule).is_some()
}

async fn attempts(scheduler: &Scheduler, due: &Due, execution: Uuid) -> Result<(), Exhausted> {
    let clock = &scheduler.inner.settings.clock;
    let policy = &due.schedule.target.retry_policy;
    let too_old_ms = clock.now_ms() + policy.maximum_event_age_in_seconds * 1_000;
    let mut pause_ms = RETRY_FIRST_MS;
    let mut retries = 0;
    loop {
        count(scheduler, &due.schedule, "InvocationAttemptCount");
        let Err(refused) = attempt(scheduler, due, execution, retries + 1).await else { return Ok(()) };
        count(scheduler, &due.schedule, "TargetErrorCount");
        tracing::debug!(schedule.arn = due.schedule.arn, code = refused.code, "a target refused");
        let exhausted = |condition, retries| Exhausted { refused, condition, retries };
        if retries >= policy.maximum_retry_attempts {
            return Err(exhausted("MaximumRetryAttempts", retries));
        }
        if clock.now_ms() + pause_ms > too_old_ms {
            return Err(exhausted("MaximumEventAgeInSeconds", retries));
        }
        clock.sleep_until(clock.now_ms() + pause_ms).await;
        if !is_wanted(scheduler, due) {
            return Ok(());
        }
        pause_ms = (pause_ms * 2).min(RETRY_MAX_MS);
        retries += 1;
    }
}

async fn attempt(scheduler: &Scheduler, due: &Due, execution: Uuid, number: i64) -> Result<(), Refused> {
    let target = &due.schedule.target;
    let to_queue = target.arn.contains(":sqs:");
    let action = if to_queue { "sqs:SendMessage" } else { "lambda:InvokeFunction" };
    check(scheduler, &due.schedule, action, &target.arn)?;
    let payload = payload(scheduler, due, execution, number);
    if to_queue {
        let session = session(&due.schedule);
        return scheduler.inner.targets.send(&session, &target.arn, &payload, None).await;
    }
    scheduler.inner.targets.invoke(&target.arn, Bytes::from(payload))
}

/// The role must still trust the service, and allow the call.
fn check(scheduler: &Scheduler, schedule: &Schedule, action: &str, resource: &str) -> Result<(), Refused> {
    let settings = &scheduler.inner.settings;
    let role_arn = &schedule.target.role_arn;
    let group_arn = scheduler.group_arn(&schedule.group);
    let pairs = source(&settings.account_id, &group_arn);
    let trusted = settings.iam.may_assume(role_arn, SERVICE, Context::with(scheduler.now_ms(), &pairs));
    if !trusted {
        let message = format!("The role {role_arn} cannot be assumed.");
        return Err(Refused { code: "AccessDeniedException".to_owned(), message });
    }
    let ask = Ask { action, resource, context: Context::at(scheduler.now_ms()) };
    settings
        .iam
        .check(&session(schedule), &ask)
        .map_err(|denied| Refused { code: "AccessDeniedException".to_owned(), message: denied.to_string() })
}

/// In which its role does what it does.
fn session(schedule: &Schedule) -> Signer {
    Signer::session(&schedule.target.role_arn, &schedule.name)
}

/// The input with its context attributes, or "a default notification".
fn payload(scheduler: &Scheduler, due: &Due, execution: Uuid, number: i64) -> String {
    let settings = &scheduler.inner.settings;
    let time = iso8601(due.due_ms);
    match &due.schedule.target.input {
        Some(input) => input
            .replace("<aws.scheduler.schedule-arn>", &due.schedule.arn)
            .replace("<aws.scheduler.scheduled-time>", &time)
            .replace("<aws.scheduler.execution-id>", &execution.to_string())
            .replace("<aws.scheduler.attempt-number>", &number.to_string()),
        None => json!({
            "version": "0",
            "id": execution.to_string(),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": &*settings.account_id,
            "time": time,
            "region": &*settings.region,
            "resources": [due.schedule.arn],
            "detail": "{}",
        })
        .to_string(),
    }
}

async fn give_up(scheduler: &Scheduler, due: &Due, execution: Uuid, exhausted: &Exhausted) {
    count(scheduler, &due.schedule, "InvocationDroppedCount");
    let Refused { code, message } = &exhausted.refused;
    tracing::warn!(schedule.arn = due.schedule.arn, code, message, "a scheduled invocation was given up");
    let Some(letters) = &due.schedule.target.dead_letter_config else { return };
    let attribute = |value: &str| json!({"DataType": "String", "StringValue": value});
    let attributes: Value = json!({
        "ERROR_CODE": attribute(code),
        "ERROR_MESSAGE": attribute(message),
        "EXECUTION_ID": attribute(&execution.to_string()),
        "EXHAUSTED_RETRY_CONDITION": attribute(exhausted.condition),
        "IS_PAYLOAD_TRUNCATED": attribute("false"),
        "RETRY_ATTEMPTS": attribute(&exhausted.retries.to_string()),
        "SCHEDULED_TIME": attribute(&iso8601(due.due_ms)),
        "SCHEDULE_ARN": attribute(&due.schedule.arn),
        "TARGET_ARN": attribute(&due.schedule.target.arn),
    });
    let body = payload(scheduler, due, execution, exhausted.retries + 1);
    let session = session(&due.schedule);
    let sent = match check(scheduler, &due.schedule, "sqs:SendMessage", &letters.arn) {
        Ok(()) => scheduler.inner.targets.send(&session, &letters.arn, &body, Some(attributes)).await,
        Err(refused) => Err(refused),
    };
    match sent {
        Ok(()) => count(scheduler, &due.schedule, "InvocationsSentToDeadLetterCount"),
        Err(refused) => {
            count(scheduler, &due.schedule, "InvocationsFailedToBeSentToDeadLetterCount");
            tracing::warn!(
                schedule.arn = due.schedule.arn,
                message = refused.message,
                "the dead-letter queue refused"
            );
        }
    }
}

/// "ActionAfterCompletion DELETE": once it will not run again. As a call of its own, so that it is kept like any other: the
/// next process neither runs it again nor holds it.
async fn forget_if_done(scheduler: Scheduler, schedule: Schedule) {
    if !schedule.is_deleted_when_done() || !scheduler.state().is_done(&schedule) {
        return;
    }
    let settings = scheduler.inner.settings.clone();
    let request = AwsRequest {
        method: Method::DELETE,
        path: format!("/schedules/{}", schedule.name),
        query: format!("groupName={}", schedule.group),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        service: "scheduler".to_owned(),
        region: settings.region.to_string(),
        access_key_id: String::new(),
    };
    let arn = schedule.arn.clone();
    let end: Arc<dyn Service> = Arc::new(End { scheduler, schedule });
    let answer = replay::call(&settings, &end, request).await;
    if answer.status.is_server_error() {
        tracing::warn!(schedule.arn = arn, "a schedule that was done was not deleted");
    }
}

/// Deletes a schedule that was done, and not one that has taken its place since.
struct End {
    scheduler: Scheduler,
    schedule: Schedule,
}

impl Service for End {
    fn handle(&self, _: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async {
            let deleted = operations::delete_done(&self.scheduler, &self.schedule);
            deleted.unwrap_or_else(|error| error.response())
        })
    }
}

fn count(scheduler: &Scheduler, schedule: &Schedule, metric: &str) {
    let settings = &scheduler.inner.settings;
    let dimensions = [("ScheduleGroup", schedule.group.as_str())];
    settings.metrics.record(scheduler.now_ms(), "AWS/Scheduler", metric, &dimensions, 1.0, Unit::Count);
}

impl std::fmt::Debug for Due {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Due").field("schedule", &self.schedule.arn).field("due_ms", &self.due_ms).finish()
    }
}

/// Held weakly by the runner, so that dropping the service ends it.
pub(super) fn start(inner: &Arc<Inner>) {
    let scheduler = Scheduler { inner: Arc::clone(inner) };
    let done = pass_over(&scheduler);
    tokio::spawn(forget_all(scheduler, done));
    tokio::spawn(run(Arc::downgrade(inner)));
}

/// What was due before the service began ran in an earlier process, or was missed, which is never made up for. But what would
/// be gone after its run has not run, and still does; and what may run later than due, and whose time is not over, may not have:
/// it runs, perhaps again. Returns what will not run again.
fn pass_over(scheduler: &Scheduler) -> Vec<Schedule> {
    let now_ms = scheduler.now_ms();
    let mut done = Vec::new();
    for schedule in scheduler.state().schedules.values_mut() {
        let over_ms = now_ms - schedule.window_ms();
        let is_past = schedule.due_ms.is_some_and(|due_ms| due_ms < over_ms);
        if !is_past || schedule.ends_with_its_run() {
            continue;
        }
        schedule.advance(over_ms);
        if schedule.due_ms.is_none() {
            done.push(schedule.clone());
        }
    }
    done
}

/// One after the other: each may be a call that waits for the disk.
async fn forget_all(scheduler: Scheduler, done: Vec<Schedule>) {
    for schedule in done {
        forget_if_done(scheduler.clone(), schedule).await;
    }
}
