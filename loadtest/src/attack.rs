//! Goose as the pool that sends: users take arrivals from a queue, so that goose's closed loop becomes an open one.
//!
//! Each user runs one transaction for the whole run and ends with its queue. Every turn of it awaits: a goose
//! transaction that never does starves the runtime.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{GooseMethod, GooseRequest, GooseUser, Scenario, Transaction, TransactionResult};
use goose::metrics::GooseMetrics;
use goose::{GooseAttack, GooseError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::LoadError;
use crate::job::Job;
use crate::ledger::{Duplicate, Outcome, Probe};
use crate::plan::LoadPlan;
use crate::reads::ReadFailure;
use crate::shared::{Shared, Ticket};
use crate::target::{body_of, note_page, note_task, outcome_of};
use crate::wire::{self, Seen};

/// All users at once: the arrivals begin when they are there.
const USERS_STARTED_PER_SECOND: &str = "10000";
/// Readers wait for short answers only.
const READERS: usize = 4;
const RETRY_BASE: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A page as a user interface shows it.
const PAGE_TASKS: u32 = 20;

/// How long a run that was ended may go on, besides one POST with all its repeats: goose looks twice a second.
const WIND_DOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Goose's state is the process's: its kill switch, its logger.
static TURN: Semaphore = Semaphore::const_new(1);
/// Whose turn it is, or was.
static UNDER_WAY: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

pub(crate) struct OnlyOne {
    _turn: SemaphorePermit<'static>,
}

impl OnlyOne {
    /// Waits for a run that was ended and still winds down. One that was not refuses another.
    pub(crate) async fn claim(plan: &LoadPlan) -> Result<Self, LoadError> {
        let turn = match TURN.try_acquire() {
            Ok(turn) => turn,
            Err(_) if is_ending() => {
                let limit = WIND_DOWN_TIMEOUT + plan.request_timeout * (plan.unknown_retries + 1);
                let turn = timeout(limit, TURN.acquire()).await.map_err(|_| LoadError::Busy)?;
                turn.expect("invariant: nobody closes it")
            }
            Err(_) => return Err(LoadError::Busy),
        };
        Ok(Self { _turn: turn })
    }

    /// So that whoever comes next can tell whether it was ended.
    pub(crate) fn belongs_to(&self, shared: &Arc<Shared>) {
        *UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(shared);
    }
}

fn is_ending() -> bool {
    let under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    under_way.is_none_or(|shared| shared.stop.is_set())
}

pub(crate) type Attack = JoinHandle<Result<GooseMetrics, GooseError>>;

pub(crate) fn launch(shared: &Arc<Shared>, only_one: OnlyOne) -> Result<Attack, LoadError> {
    let attack = build(shared).map_err(|error| LoadError::Goose { reason: error.to_string() })?;
    Ok(tokio::spawn(async move {
        let metrics = Box::pin(attack.execute()).await;
        drop(only_one);
        metrics
    }))
}

fn build(shared: &Arc<Shared>) -> Result<Box<GooseAttack>, GooseError> {
    let readers = if shared.plan.poll_rate_per_second > 0.0 { READERS } else { 0 };
    let client = GooseClientBuilder::new().without_cookies().timeout(shared.plan.request_timeout);
    let mut attack = GooseAttack::initialize_with_config(configuration(shared, readers))?
        .set_client_builder_without_cookies(client)?
        .register_scenario(pool(shared, "submit", shared.plan.workers, |user, shared| {
            Box::pin(submit_all(user, shared))
        })?);
    if readers > 0 {
        let scenario = pool(shared, "read", readers, |user, shared| Box::pin(read_all(user, shared)))?;
        attack = attack.register_scenario(scenario);
    }
    let recorder = pool(shared, "record", 1, |user, shared| Box::pin(record_all(user, shared)))?;
    Ok(Box::new(attack.register_scenario(recorder)))
}

fn configuration(shared: &Shared, readers: usize) -> GooseConfiguration {
    let mut configuration = GooseConfiguration::default();
    configuration.host = Some(shared.target.tasks_url().to_owned());
    configuration.users = Some(shared.plan.workers + readers + 1);
    configuration.increase_rate = Some(USERS_STARTED_PER_SECOND.to_owned());
    configuration.iterations = Some(1);
    configuration.no_print_metrics = true;
    configuration.no_telnet = true;
    configuration.quiet = 1;
    configuration
}

/// A scenario whose weight is its number of users: all weights together are all users.
fn pool<F>(shared: &Arc<Shared>, name: &str, users: usize, run: F) -> Result<Scenario, GooseError>
where
    F: for<'r> Fn(&'r mut GooseUser, Arc<Shared>) -> BoxFuture<'r, TransactionResult> + Send + Sync + 'static,
{
    let shared = Arc::clone(shared);
    let transaction = Transaction::new(Arc::new(move |user| run(user, Arc::clone(&shared))));
    Scenario::new(name).register_transaction(transaction.set_name(name)).set_weight(users)
}

/// Counts a worker as done however its loop ends.
struct DoneOnDrop(Arc<Shared>);

impl Drop for DoneOnDrop {
    fn drop(&mut self) {
        self.0.workers_done.send_modify(|done| *done += 1);
    }
}

/// Goose's own client would ask a proxy that the environment names for what is on this machine as well.
fn send_as_we_do(user: &mut GooseUser, shared: &Shared) {
    user.client = shared.target.client.clone();
}

async fn submit_all(user: &mut GooseUser, shared: Arc<Shared>) -> TransactionResult {
    send_as_we_do(user, &shared);
    let _done = DoneOnDrop(Arc::clone(&shared));
    let mut stop = shared.stop.subscribe();
    shared.workers_ready.send_modify(|ready| *ready += 1);
    loop {
        let ticket = tokio::select! {
            biased;
            () = stop.wait() => None,
            ticket = shared.tickets.take() => ticket,
        };
        let Some(ticket) = ticket else { return Ok(()) };
        submit(user, &shared, ticket).await;
    }
}

async fn submit(user: &mut GooseUser, shared: &Shared, ticket: Ticket) {
    let job = Job::new(&shared.plan, ticket.sequence);
    let owner = shared.book.sent(ticket.sequence, job.digest);
    let ((first, seen), twin) = if job.duplicate {
        let twin = shared.target.post(&shared.target.client, owner, &job).send();
        let (first, twin) = tokio::join!(post(user, shared, owner, &job), twin);
        (first, Some(outcome_of(twin).await.0))
    } else {
        (post(user, shared, owner, &job).await, None)
    };
    let mut answer = (both_told(first, twin.as_ref()), seen);
    let mut sends = 1;
    if matches!(answer.0, Outcome::Unknown { .. }) {
        (answer, sends) = resolve(user, shared, owner, &job, answer).await;
    }
    if let Some(twin) = twin {
        shared.book.duplicate(ticket.sequence, compare(&mut answer.0, twin));
    }
    let is_acknowledged = matches!(answer.0, Outcome::Acknowledged { .. });
    conclude(shared, ticket.sequence, answer, sends);
    // Before the task is known to be accepted, nobody could say which of two bodies is the wrong one.
    if is_acknowledged {
        abuse(shared, ticket.sequence, owner, &job).await;
    }
}

async fn abuse(shared: &Shared, sequence: u64, owner: usize, job: &Job) {
    for abuse in &job.abuses {
        let wrong = job.abusive(*abuse, &shared.plan, sequence);
        let (outcome, _) =
            outcome_of(shared.target.post(&shared.target.client, owner, &wrong).send().await).await;
        shared.book.probed(sequence, Probe { abuse: *abuse, outcome });
    }
}

fn conclude(shared: &Shared, sequence: u64, (outcome, seen): (Outcome, Option<Seen>), sends: u32) {
    let task_id = match &outcome {
        Outcome::Acknowledged { task_id } => Some(task_id.clone()),
        Outcome::Refused { .. } | Outcome::Unknown { .. } | Outcome::Unsent => None,
    };
    if let Some(ended) = shared.book.answered(sequence, outcome, sends) {
        shared.sample_end(ended);
    }
    // The answer to a repeated POST may show a task that has long ended.
    if let (Some(task_id), Some(seen)) = (task_id, seen) {
        shared.book.read(&task_id, seen);
    }
}

async fn post(user: &mut GooseUser, shared: &Shared, owner: usize, job: &Job) -> (Outcome, Option<Seen>) {
    let request = GooseRequest::builder()
        .method(GooseMethod::Post)
        .path("tasks")
        .name("/tasks")
        .set_request_builder(shared.target.post(&user.client, owner, job))
        .build();
    match user.request(request).await {
        Ok(answer) => outcome_of(answer.response).await,
        Err(error) => (wire::unknown(error.to_string()), None),
    }
}

/// Sends again with the same key until the fate is known. A refusal of a repeat says nothing of the first.
async fn resolve(
    user: &mut GooseUser,
    shared: &Shared,
    owner: usize,
    job: &Job,
    first: (Outcome, Option<Seen>),
) -> ((Outcome, Option<Seen>), u32) {
    let mut random = ChaCha8Rng::seed_from_u64(shared.plan.seed ^ owner as u64);
    for retry in 0..shared.plan.unknown_retries {
        pause(&mut random, retry).await;
        let answer = post(user, shared, owner, job).await;
        if matches!(answer.0, Outcome::Acknowledged { .. }) {
            return (answer, retry + 2);
        }
    }
    (first, shared.plan.unknown_retries + 1)
}

async fn pause(random: &mut ChaCha8Rng, retry: u32) {
    let ceiling = RETRY_BASE.saturating_mul(2_u32.saturating_pow(retry)).min(RETRY_MAX);
    tokio::time::sleep(ceiling.mul_f64(random.random())).await;
}

/// What two that were sent at once were told: that one was refused does not say that the other had no effect.
fn both_told(first: Outcome, twin: Option<&Outcome>) -> Outcome {
    let is_refused = matches!(first, Outcome::Refused { .. });
    match twin {
        Some(unknown @ Outcome::Unknown { .. }) if is_refused => unknown.clone(),
        _ => first,
    }
}

/// The answer to the twin may also tell the fate that the first answer left unknown.
fn compare(outcome: &mut Outcome, twin: Outcome) -> Duplicate {
    match (&*outcome, twin) {
        (Outcome::Acknowledged { task_id: one }, Outcome::Acknowledged { task_id: other }) => {
            if *one == other { Duplicate::SameTask } else { Duplicate::OtherTask { task_id: other } }
        }
        (Outcome::Unknown { .. } | Outcome::Refused { .. }, twin @ Outcome::Acknowledged { .. }) => {
            *outcome = twin;
            Duplicate::NoTask
        }
        _ => Duplicate::NoTask,
    }
}

async fn read_all(user: &mut GooseUser, shared: Arc<Shared>) -> TransactionResult {
    send_as_we_do(user, &shared);
    while let Some(number) = shared.reads.take().await {
        // What is left would only hold up the end.
        if shared.stop.is_set() {
            break;
        }
        if number % 2 == 0 {
            read_page(user, &shared, number).await;
        } else {
            read_one(user, &shared, number).await;
        }
    }
    Ok(())
}

async fn read_page(user: &mut GooseUser, shared: &Shared, number: u64) {
    let owner = usize::try_from(number / 2).unwrap_or(0) % shared.target.owners.len();
    let begun = shared.book.begin_read(None);
    let request = |client: &reqwest::Client| shared.target.get_page(client, owner, PAGE_TASKS);
    match get(user, shared, "/tasks", request).await {
        Ok(body) => note_page(&shared.book, begun, owner, &body),
        Err(failure) => shared.book.failed_read(begun, failure),
    }
}

async fn read_one(user: &mut GooseUser, shared: &Shared, number: u64) {
    let Some(task) = shared.book.recently_acknowledged(number) else { return };
    let begun = shared.book.begin_read(Some(&task.task_id));
    let request = |client: &reqwest::Client| shared.target.get_task(client, task.owner, &task.task_id);
    match get(user, shared, "/tasks/{id}", request).await {
        Ok(body) => note_task(&shared.book, begun, &task.task_id, &body),
        Err(failure) => shared.book.failed_read(begun, failure),
    }
}

/// Sends a read again as a POST of unknown fate is, so that a single stumble is no failure of either.
async fn get(
    user: &mut GooseUser,
    shared: &Shared,
    name: &'static str,
    request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
) -> Result<Vec<u8>, ReadFailure> {
    let mut random = ChaCha8Rng::seed_from_u64(shared.plan.seed);
    let first = request(&user.client);
    let mut answer = get_once(user, name, first).await;
    for retry in 0..shared.plan.unknown_retries {
        let may_pass = answer.as_ref().is_err_and(|failure| failure.may_pass());
        if !may_pass || shared.stop.is_set() {
            break;
        }
        pause(&mut random, retry).await;
        let again = request(&user.client);
        answer = get_once(user, name, again).await;
    }
    answer
}

async fn get_once(
    user: &mut GooseUser,
    name: &'static str,
    request: reqwest::RequestBuilder,
) -> Result<Vec<u8>, ReadFailure> {
    let request = GooseRequest::builder()
        .method(GooseMethod::Get)
        .path("tasks")
        .name(name)
        .set_request_builder(request)
        .build();
    match user.request(request).await {
        Ok(answer) => body_of(answer.response).await,
        Err(_) => Err(ReadFailure::Unanswered),
    }
}

/// Sessions cannot record in goose themselves: that needs a goose user.
async fn record_all(user: &mut GooseUser, shared: Arc<Shared>) -> TransactionResult {
    while let Some(sample) = shared.samples.take().await {
        let error = sample.error.as_deref();
        user.record_custom_request_duration("WS", sample.name, sample.took, error.is_none(), None, error)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_none_where_the_fate_of_what_was_sent_beside_it_is_unknown() {
        let refused = || Outcome::Refused { status: 429, problem_type: None };
        let acknowledged = || Outcome::Acknowledged { task_id: "a".to_owned() };
        let unknown = || wire::unknown("timeout");
        assert_eq!(both_told(refused(), Some(&unknown())), unknown());
        assert_eq!(both_told(unknown(), Some(&refused())), unknown());
        assert_eq!(both_told(refused(), Some(&refused())), refused());
        assert_eq!(both_told(refused(), None), refused());
        assert_eq!(both_told(acknowledged(), Some(&unknown())), acknowledged());
    }
}
