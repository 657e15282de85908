//! Schedules on a clock that stands still until moved, and targets that remember.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::iam::Iam;
use crate::iam::tests::form;
use crate::repeatable;
use crate::sqs::tests::settings;
use crate::store::Store;
use crate::store::compact::compact;
use crate::store::replay;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:audit";
const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:letters";
const ROLE: &str = "arn:aws:iam::123456789012:role/audit-schedule";
/// Turns of the scheduler of tasks after which what has not happened will not.
const TURNS_MAX: usize = 2_000;

#[derive(Default)]
struct Remembered {
    invoked: Mutex<Vec<Value>>,
    sent: Mutex<Vec<(Value, Option<Value>)>>,
    /// So many invocations are refused first.
    refusals: AtomicUsize,
}

impl Targets for Remembered {
    fn invoke(&self, function_arn: &str, payload: Bytes) -> Result<(), Refused> {
        assert_eq!(function_arn, FUNCTION);
        let left = |left: usize| left.checked_sub(1);
        if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok() {
            let message = "Rate Exceeded.".to_owned();
            return Err(Refused { code: "TooManyRequestsException".to_owned(), message });
        }
        self.invoked.lock().unwrap().push(serde_json::from_slice(&payload).unwrap());
        Ok(())
    }

    fn send<'a>(
        &'a self,
        session: &'a Signer,
        queue_arn: &'a str,
        body: &'a str,
        attributes: Option<Value>,
    ) -> BoxFuture<'a, Result<(), Refused>> {
        assert_eq!((session.identity_arn.as_str(), queue_arn), (ROLE, QUEUE));
        self.sent.lock().unwrap().push((serde_json::from_str(body).unwrap_or_default(), attributes));
        Box::pin(async { Ok(()) })
    }
}

struct Fixture {
    scheduler: Scheduler,
    targets: Arc<Remembered>,
    hand: Arc<ManualClock>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Iam::new(false))
    }

    fn with(iam: Iam) -> Self {
        let (settings, hand) = settings();
        Self::of(Settings { iam, ..settings }, hand)
    }

    fn of(settings: Settings, hand: Arc<ManualClock>) -> Self {
        let fixture = Self::not_begun(settings, hand);
        fixture.scheduler.begin();
        fixture
    }

    fn not_begun(settings: Settings, hand: Arc<ManualClock>) -> Self {
        let targets = Arc::new(Remembered::default());
        let scheduler = Scheduler::new(settings, Arc::<Remembered>::clone(&targets));
        Self { scheduler, targets, hand }
    }

    /// At 2027-01-15T09:00:00Z, with schedules that an earlier process accepted under these rules an hour before.
    async fn restarted(rules: u32, schedules: &[(&str, Value)]) -> Self {
        let (settings, hand) = settings();
        let then_ms = settings.clock.now_ms();
        let fixture = Self::not_begun(Settings { iam: Iam::new(false), ..settings }, hand);
        for (name, body) in schedules {
            let create = Self::request(Method::POST, &format!("/schedules/{name}"), body);
            let create = fixture.scheduler.handle(create);
            let answer = repeatable::scope_again(rules, 1, then_ms, create).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        fixture.hand.advance(Duration::from_secs(3_600));
        fixture.scheduler.begin();
        fixture.settle().await;
        fixture
    }

    fn request(method: Method, path: &str, body: &Value) -> AwsRequest {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        AwsRequest {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            body: if body.is_null() { Bytes::new() } else { body.to_string().into() },
            service: "scheduler".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: String::new(),
        }
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.scheduler.handle(Self::request(method, path, body)).await;
        (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    async fn create(&self, name: &str, body: &Value) {
        let (status, answer) = self.call(Method::POST, &format!("/schedules/{name}"), body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Lets everything happen that the time now allows.
    async fn settle(&self) {
        for _ in 0..TURNS_MAX {
            tokio::task::yield_now().await;
        }
    }

    async fn advance(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
        self.settle().await;
    }

    fn invocations(&self) -> usize {
        self.targets.invoked.lock().unwrap().len()
    }
}

fn schedule(expression: &str, extra: Value) -> Value {
    let mut body = json!({
        "ScheduleExpression": expression,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": FUNCTION, "RoleArn": ROLE, "Input": "{\"by\":\"schedule\"}"},
    });
    body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
    body
}

#[tokio::test]
async fn a_rate_invokes_at_once_and_then_at_its_beat() {
    let fixture = Fixture::new();
    fixture.create("audit", &schedule("rate(1 minute)", json!({}))).await;
    fixture.settle().await;
    assert_eq!(fixture.invocations(), 1);
    fixture.advance(59).await;
    assert_eq!(fixture.invocations(), 1);
    fixture.advance(1).await;
    assert_eq!(fixture.invocations(), 2);
    fixture.advance(600).await;
    assert_eq!(fixture.invocations(), 3, "what was missed is not made up for");
    assert_eq!(fixture.targets.invoked.lock().unwrap()[0], json!({"by": "schedule"}));
}

#[tokio::test]
async fn a_disabled_schedule_rests_until_it_is_enabled_and_a_deleted_one_for_ever() {
    let fixture = Fixture::new();
    fixture.create("audit", &schedule("rate(1 minute)", json!({"State": "DISABLED"}))).await;
    fixture.advance(300).await;
    assert_eq!(fixture.invocations(), 0);
    let enabled = schedule("rate(1 minute)", json!({"State": "ENABLED"}));
    assert_eq!(fixture.call(Method::PUT, "/schedules/audit", &enabled).await.0, 200);
    fixture.advance(60).await;
    assert!(fixture.invocations() >= 1);
    let before = fixture.invocations();
    assert_eq!(fixture.call(Method::DELETE, "/schedules/audit?groupName=default", &Value::Null).await.0, 200);
    fixture.advance(300).await;
    assert_eq!(fixture.invocations(), before);
    assert_eq!(fixture.call(Method::GET, "/schedules/audit", &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_one_time_schedule_runs_once_and_is_gone_if_it_was_told_so() {
    let fixture = Fixture::new();
    // The clock of the tests stands at 2027-01-15T08:00:00Z.
    let body = schedule("at(2027-01-15T08:05:00)", json!({"ActionAfterCompletion": "DELETE"}));
    fixture.create("once", &body).await;
    fixture.advance(299).await;
    assert_eq!(fixture.invocations(), 0);
    fixture.advance(1).await;
    assert_eq!(fixture.invocations(), 1);
    assert_eq!(fixture.call(Method::GET, "/schedules/once", &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_recurring_schedule_whose_years_are_over_is_gone_only_if_it_had_an_end() {
    for (end, status) in [(json!({}), 200), (json!({"EndDate": 1_800_000_000 + 600}), 404)] {
        let fixture = Fixture::new();
        let mut body = schedule("cron(5 8 15 1 ? 2027)", end);
        body["ActionAfterCompletion"] = json!("DELETE");
        fixture.create("years", &body).await;
        fixture.advance(300).await;
        assert_eq!(fixture.invocations(), 1);
        assert_eq!(fixture.call(Method::GET, "/schedules/years", &Value::Null).await.0, status, "{body}");
    }
}

#[tokio::test]
async fn a_restart_makes_up_for_no_run_and_keeps_the_beat() {
    let schedules = [
        ("once", schedule("at(2027-01-15T08:30:00)", json!({}))),
        ("daily", schedule("cron(30 8 * * ? *)", json!({}))),
        ("rate", schedule("rate(7 minutes)", json!({}))),
    ];
    let fixture = Fixture::restarted(repeatable::RULES, &schedules).await;
    assert_eq!(fixture.invocations(), 0);
    fixture.advance(179).await;
    assert_eq!(fixture.invocations(), 0);
    fixture.advance(1).await;
    assert_eq!(fixture.invocations(), 1, "63 minutes after the rate began");
    let (status, once) = fixture.call(Method::GET, "/schedules/once", &Value::Null).await;
    assert_eq!((status, &once["State"]), (200, &json!("ENABLED")));
}

#[tokio::test]
async fn what_would_be_gone_after_its_run_runs_late_and_is_gone() {
    let delete = || json!({"ActionAfterCompletion": "DELETE"});
    let once = schedule("at(2027-01-15T08:30:00)", delete());
    let mut ended = schedule("cron(30 8 * * ? *)", delete());
    // 08:45
    ended["EndDate"] = json!(1_800_000_000 + 2_700);
    let newer = super::schedule::RULES_OF_ENDS;
    // An older emulator did not keep that it was gone.
    for (rules, body, runs) in [(newer, &once, 1), (newer - 1, &once, 0), (newer, &ended, 0)] {
        let fixture = Fixture::restarted(rules, &[("once", body.clone())]).await;
        assert_eq!(fixture.invocations(), runs, "{rules} {body}");
        assert_eq!(fixture.call(Method::GET, "/schedules/once", &Value::Null).await.0, 404, "{rules} {body}");
    }
}

#[tokio::test]
async fn the_end_of_a_schedule_that_was_done_is_kept_like_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, hand) = settings();
    let settings = Settings { store: Store::open(directory.path()).unwrap(), ..settings };
    let fixture = Fixture::of(settings.clone(), hand);
    let service: Arc<dyn Service> = Arc::new(fixture.scheduler.clone());
    let create = async |name: &str, body: Value| {
        let request = Fixture::request(Method::POST, &format!("/schedules/{name}"), &body);
        let answer = replay::call(&settings, &service, request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    create("once", schedule("at(2027-01-15T08:05:00)", json!({"ActionAfterCompletion": "DELETE"}))).await;
    fixture.advance(300).await;
    assert_eq!(fixture.invocations(), 1);
    assert_eq!(fixture.call(Method::GET, "/schedules/once", &Value::Null).await.0, 404);
    // Its turn comes when the deletion is on disk.
    create("other", schedule("rate(1 hour)", json!({"State": "DISABLED"}))).await;
    assert_eq!(compact(settings.store.requests().unwrap()).unwrap(), 2, "its beginning and its end");
}

#[tokio::test]
async fn a_schedule_that_was_changed_while_it_ran_does_not_delete_itself() {
    let fixture = Fixture::new();
    let delete = json!({"ActionAfterCompletion": "DELETE"});
    fixture.create("once", &schedule("at(2027-01-15T08:05:00)", delete.clone())).await;
    // Its delivery is tried again once, ten seconds later.
    fixture.targets.refusals.store(1, Ordering::SeqCst);
    fixture.advance(300).await;
    let later = schedule("at(2027-01-15T09:00:00)", delete);
    assert_eq!(fixture.call(Method::PUT, "/schedules/once", &later).await.0, 200);
    fixture.advance(10).await;
    assert_eq!(fixture.invocations(), 0, "what it was is not tried again");
    assert_eq!(fixture.call(Method::GET, "/schedules/once", &Value::Null).await.0, 200);
}

#[tokio::test]
async fn what_was_deleted_disabled_or_changed_does_not_run_as_it_was() {
    let late = json!({"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60}});
    let hourly = |extra: Value| schedule("cron(5 * * * ? *)", extra);
    for waits_for_retry in [false, true] {
        let body = hourly(if waits_for_retry { json!({}) } else { late.clone() });
        let disabled = hourly(json!({"State": "DISABLED"}));
        let later = schedule("at(2027-01-16T09:00:00)", json!({}));
        for (method, path, change, runs) in [
            (Method::GET, "/schedules/audit", Value::Null, 1),
            (Method::DELETE, "/schedules/audit", Value::Null, 0),
            (Method::DELETE, "/schedule-groups/g", Value::Null, 0),
            (Method::PUT, "/schedules/audit", disabled, 0),
            (Method::PUT, "/schedules/audit", later, 0),
        ] {
            let fixture = Fixture::new();
            assert_eq!(fixture.call(Method::POST, "/schedule-groups/g", &json!({})).await.0, 200);
            let in_group = |mut body: Value| {
                body["GroupName"] = json!("g");
                body
            };
            fixture.create("audit", &in_group(body.clone())).await;
            // The first delivery is refused, or waits for its moment.
            fixture.targets.refusals.store(usize::from(waits_for_retry), Ordering::SeqCst);
            fixture.advance(300).await;
            assert_eq!(fixture.invocations(), 0);
            let change = if change.is_null() { change } else { in_group(change) };
            let (status, answer) = fixture.call(method, &format!("{path}?groupName=g"), &change).await;
            assert_eq!(status, 200, "{answer}");
            fixture.advance(if waits_for_retry { 1 } else { 3_599 }).await;
            assert_eq!(fixture.invocations(), runs, "{path} {change}");
        }
    }
}

#[tokio::test]
async fn a_run_whose_window_is_open_at_a_restart_is_not_lost() {
    let flexible = |expression: &str, minutes: i64| {
        let window = json!({"Mode": "FLEXIBLE", "MaximumWindowInMinutes": minutes});
        schedule(expression, json!({"FlexibleTimeWindow": window}))
    };
    // An earlier process took them at 08:00; it is 09:00 now.
    for (body, runs) in [
        (flexible("at(2027-01-15T08:30:00)", 60), 1),
        (flexible("at(2027-01-15T08:30:00)", 15), 0),
        (flexible("cron(50 8 * * ? *)", 20), 1),
        (flexible("cron(30 8 * * ? *)", 20), 0),
        (flexible("rate(50 minutes)", 20), 1),
    ] {
        let fixture = Fixture::restarted(repeatable::RULES, &[("late", body.clone())]).await;
        fixture.advance(1_800).await;
        assert_eq!(fixture.invocations(), runs, "{body}");
    }
}

#[tokio::test]
async fn a_call_that_comes_again_with_its_token_changes_nothing() {
    let fixture = Fixture::new();
    let call = async |method: Method, path: &str, body: Value| fixture.call(method, path, &body).await;
    let disabled = |token: &str| {
        schedule("rate(1 hour)", json!({"State": "DISABLED", "GroupName": "g", "ClientToken": token}))
    };
    let (group, audit) = ("/schedule-groups/g", "/schedules/audit");
    let modified = async || fixture.call(Method::GET, "/schedules/audit?groupName=g", &Value::Null).await.1;

    let made = call(Method::POST, group, json!({"ClientToken": "a"})).await;
    assert_eq!((made.0, call(Method::POST, group, json!({"ClientToken": "a"})).await), (200, made));
    assert_eq!(call(Method::POST, group, json!({"ClientToken": "b"})).await.0, 409);

    let made = call(Method::POST, audit, disabled("a")).await;
    assert_eq!((made.0, call(Method::POST, audit, disabled("a")).await), (200, made));
    assert_eq!(call(Method::POST, audit, disabled("b")).await.0, 409);

    let changed = call(Method::PUT, audit, disabled("a")).await;
    let before = modified().await;
    fixture.advance(1).await;
    assert_eq!((changed.0, call(Method::PUT, audit, disabled("a")).await), (200, changed));
    assert_eq!(modified().await, before);
    assert_eq!(call(Method::PUT, audit, disabled("b")).await.0, 200);
    assert_ne!(modified().await, before);

    for (path, create) in [("/schedules/audit?groupName=g", Some(audit)), (group, None)] {
        let delete =
            |token: &str| format!("{path}{}clientToken={token}", if create.is_some() { "&" } else { "?" });
        assert_eq!(call(Method::DELETE, &delete("a"), Value::Null).await, (200, json!({})));
        assert_eq!(call(Method::DELETE, &delete("a"), Value::Null).await, (200, json!({})));
        assert_eq!(call(Method::DELETE, &delete("b"), Value::Null).await.0, 404);
        if let Some(create) = create {
            // It is another one, whatever tokens the one before had.
            assert_eq!(call(Method::POST, create, disabled("a")).await.0, 200);
            assert_eq!(call(Method::DELETE, &delete("a"), Value::Null).await.0, 200);
            assert_eq!(modified().await["Message"], "Schedule audit does not exist.");
        }
    }
}

#[tokio::test]
async fn a_token_is_known_for_an_hour() {
    let fixture = Fixture::new();
    let body = schedule("rate(1 hour)", json!({"State": "DISABLED", "ClientToken": "a"}));
    fixture.create("audit", &body).await;
    fixture.advance(3_599).await;
    fixture.create("audit", &body).await;
    fixture.advance(1).await;
    assert_eq!(fixture.call(Method::POST, "/schedules/audit", &body).await.0, 409);
    // But a call that was kept had come in time.
    let again = fixture.scheduler.handle(Fixture::request(Method::POST, "/schedules/audit", &body));
    assert_eq!(repeatable::scope_again(repeatable::RULES, 1, 0, again).await.status, 200);
}

#[tokio::test]
async fn a_change_that_came_too_late_for_its_token_is_made_again_at_the_next_start() {
    let fixture = Fixture::new();
    fixture.create("audit", &schedule("rate(1 hour)", json!({"State": "DISABLED"}))).await;
    for expression in ["rate(2 hours)", "rate(5 minutes)"] {
        // This clock, unlike the machine's, does not follow the calls that are made again.
        fixture.advance(2 * 3_600).await;
        let body = schedule(expression, json!({"State": "DISABLED", "ClientToken": "a"}));
        let put = fixture.scheduler.handle(Fixture::request(Method::PUT, "/schedules/audit", &body));
        assert_eq!(repeatable::scope_again(repeatable::RULES, 1, 0, put).await.status, 200);
        let (_, shown) = fixture.call(Method::GET, "/schedules/audit", &Value::Null).await;
        assert_eq!(shown["ScheduleExpression"], expression);
    }
}

#[tokio::test]
async fn a_deletion_that_was_kept_twice_is_no_error_at_the_next_start() {
    let fixture = Fixture::new();
    for (rules, status) in [(repeatable::RULES, 200), (super::tokens::RULES_OF_TOKENS - 1, 404)] {
        for path in ["/schedules/gone?clientToken=a", "/schedule-groups/gone?clientToken=a"] {
            let delete = fixture.scheduler.handle(Fixture::request(Method::DELETE, path, &Value::Null));
            let answer = repeatable::scope_again(rules, 1, 0, delete).await;
            assert_eq!(answer.status.as_u16(), status, "{path}");
        }
        fixture.scheduler.state().tokens = Tokens::default();
    }
}

#[tokio::test]
async fn calls_of_more_schedules_than_may_be_made_are_made_again() {
    let fixture = Fixture::new();
    let body = schedule("rate(1 hour)", json!({"State": "DISABLED"}));
    fixture.create("one", &body).await;
    {
        let mut state = fixture.scheduler.state();
        let one = state.schedules.values().next().unwrap().clone();
        for number in 1..super::operations::SCHEDULES_MAX {
            state.put(("default".to_owned(), format!("n{number}")), one.clone());
        }
    }
    let create = || fixture.scheduler.handle(Fixture::request(Method::POST, "/schedules/more", &body));
    assert_eq!(create().await.status, 402);
    let again = repeatable::scope_again(repeatable::RULES, 1, 0, create()).await;
    assert_eq!(again.status, 200, "{again:?}");
}

#[tokio::test]
async fn a_refused_delivery_is_tried_again_and_then_goes_to_the_dead_letter_queue() {
    let fixture = Fixture::new();
    let target = json!({
        "Arn": FUNCTION, "RoleArn": ROLE, "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 3600},
        "DeadLetterConfig": {"Arn": QUEUE}, "Input": "{\"attempt\":\"<aws.scheduler.attempt-number>\"}",
    });
    fixture.targets.refusals.store(2, Ordering::SeqCst);
    fixture.create("audit", &schedule("rate(1 hour)", json!({"Target": target}))).await;
    fixture.settle().await;
    fixture.advance(10).await;
    fixture.advance(10).await;
    assert_eq!(
        *fixture.targets.invoked.lock().unwrap(),
        [json!({"attempt": "3"})],
        "the third attempt was taken"
    );
    fixture.targets.refusals.store(usize::MAX, Ordering::SeqCst);
    fixture.advance(3_600).await;
    fixture.advance(10).await;
    fixture.advance(10).await;
    let sent = fixture.targets.sent.lock().unwrap();
    let [(_, Some(attributes))] = sent.as_slice() else { panic!("{sent:?}") };
    let attribute = |name: &str| attributes[name]["StringValue"].as_str().unwrap().to_owned();
    assert_eq!(attribute("ERROR_CODE"), "TooManyRequestsException");
    assert_eq!(attribute("EXHAUSTED_RETRY_CONDITION"), "MaximumRetryAttempts");
    assert_eq!(attribute("RETRY_ATTEMPTS"), "2");
    assert_eq!(attribute("TARGET_ARN"), FUNCTION);
}

#[tokio::test]
async fn what_is_created_is_shown_whole_and_listed_by_group_and_state() {
    let fixture = Fixture::new();
    assert_eq!(fixture.call(Method::POST, "/schedule-groups/g", &json!({})).await.0, 200);
    let body = schedule("cron(0 8 * * ? *)", json!({"GroupName": "g", "ScheduleExpressionTimezone": "UTC"}));
    fixture.create("daily", &body).await;
    let (status, shown) = fixture.call(Method::GET, "/schedules/daily?groupName=g", &Value::Null).await;
    assert_eq!(status, 200);
    for (member, value) in [
        ("Arn", json!("arn:aws:scheduler:us-east-1:123456789012:schedule/g/daily")),
        ("State", json!("ENABLED")),
        ("ScheduleExpression", json!("cron(0 8 * * ? *)")),
        ("ScheduleExpressionTimezone", json!("UTC")),
        ("ActionAfterCompletion", json!("NONE")),
        ("FlexibleTimeWindow", json!({"Mode": "OFF"})),
    ] {
        assert_eq!(shown[member], value, "{member}");
    }
    let policy = json!({"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185});
    assert_eq!(shown["Target"]["RetryPolicy"], policy, "the provider sends back what it reads");
    let listed = |path: &'static str| async { fixture.call(Method::GET, path, &Value::Null).await.1 };
    assert_eq!(listed("/schedules?ScheduleGroup=g").await["Schedules"].as_array().unwrap().len(), 1);
    assert_eq!(listed("/schedules?ScheduleGroup=default").await["Schedules"], json!([]));
    assert_eq!(listed("/schedules?State=DISABLED").await["Schedules"], json!([]));
    assert_eq!(fixture.call(Method::DELETE, "/schedule-groups/g", &Value::Null).await.0, 200);
    assert_eq!(fixture.call(Method::GET, "/schedules/daily?groupName=g", &Value::Null).await.0, 404);
}

#[tokio::test]
async fn pages_over_groups_whose_names_begin_alike_have_every_schedule_once() {
    let fixture = Fixture::new();
    let mut expected = Vec::new();
    for group in ["a", "a-b", "a.b", "ab"] {
        assert_eq!(fixture.call(Method::POST, &format!("/schedule-groups/{group}"), &json!({})).await.0, 200);
        for name in ["s", "t"] {
            fixture.create(name, &schedule("rate(1 hour)", json!({"GroupName": group}))).await;
            expected.push(format!("{group}/{name}"));
        }
    }
    let listed = async |path: &str, member: &str| {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = format!("{path}?MaxResults=1{token}");
            let (status, page) = fixture.call(Method::GET, &page, &Value::Null).await;
            assert_eq!(status, 200, "{page}");
            found.extend(page[member].as_array().unwrap().clone());
            let Some(next) = page["NextToken"].as_str() else { return found };
            token = format!("&NextToken={next}");
        }
    };
    let found = listed("/schedules", "Schedules").await;
    let text = |one: &Value, member: &str| one[member].as_str().unwrap().to_owned();
    let found: Vec<String> =
        found.iter().map(|one| format!("{}/{}", text(one, "GroupName"), text(one, "Name"))).collect();
    assert_eq!(found, expected);
    let found = listed("/schedule-groups", "ScheduleGroups").await;
    let found: Vec<String> = found.iter().map(|one| text(one, "Name")).collect();
    assert_eq!(found, ["a", "a-b", "a.b", "ab", "default"]);
}

#[tokio::test]
async fn bad_input_is_refused_with_a_typed_error() {
    let fixture = Fixture::new();
    let target = |change: Value| {
        let mut target = json!({"Arn": FUNCTION, "RoleArn": ROLE});
        target.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap());
        schedule("rate(1 minute)", json!({"Target": target}))
    };
    for bad in [
        schedule("rate(1 second)", json!({})),
        schedule("rate(1 minute)", json!({"State": "ON"})),
        schedule("rate(1 minute)", json!({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}})),
        schedule("rate(1 minute)", json!({"ScheduleExpressionTimezone": "Mars/Olympus"})),
        target(json!({"Arn": "arn:aws:sns:us-east-1:123456789012:topic"})),
        target(json!({"Input": "not json"})),
        target(json!({"RetryPolicy": {"MaximumRetryAttempts": 186}})),
        target(json!({"RetryPolicy": {"MaximumEventAgeInSeconds": 59}})),
        schedule("rate(1 minute)", json!({"Target": [FUNCTION, ROLE]})),
        schedule("rate(1 minute)", json!({"FlexibleTimeWindow": ["OFF", null]})),
        target(json!({"RetryPolicy": [3_600, 2]})),
        target(json!({"DeadLetterConfig": [QUEUE]})),
    ] {
        let (status, answer) = fixture.call(Method::POST, "/schedules/audit", &bad).await;
        assert_eq!(status, 400, "{bad}: {answer}");
    }
    fixture.create("audit", &schedule("rate(1 minute)", json!({}))).await;
    let again = fixture.call(Method::POST, "/schedules/audit", &schedule("rate(1 minute)", json!({}))).await;
    assert_eq!(again, (409, json!({"Message": "Schedule audit already exists."})));
    let nowhere = schedule("rate(1 minute)", json!({"GroupName": "nowhere"}));
    assert_eq!(fixture.call(Method::POST, "/schedules/other", &nowhere).await.0, 404);
    assert_eq!(fixture.call(Method::DELETE, "/schedule-groups/default", &Value::Null).await.0, 400);
}

#[tokio::test]
async fn a_role_that_does_not_trust_the_service_is_refused_when_the_schedule_is_made() {
    let fixture = Fixture::with(Iam::new(true));
    let (status, answer) =
        fixture.call(Method::POST, "/schedules/audit", &schedule("rate(1 minute)", json!({}))).await;
    assert_eq!(status, 400);
    assert_eq!(
        answer["Message"],
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    );
}

#[tokio::test]
async fn a_trust_policy_is_asked_about_the_group_of_the_schedule() {
    let (settings, _hand) = settings();
    let settings = Settings { iam: Iam::new(true), ..settings };
    let api = crate::engines::iam(&settings);
    let fixture = Fixture::with(settings.iam.clone());
    let trusting = async |action: &str, member: &str, source: &str| {
        let source = format!("arn:aws:scheduler:us-east-1:123456789012:{source}");
        let statement = json!({
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "scheduler.amazonaws.com"},
            "Condition": {"ArnLike": {"aws:SourceArn": source}},
        });
        let trust = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let parameters = [("RoleName", "audit-schedule"), (member, trust.as_str())];
        assert_eq!(api.handle(form("iam", "", action, &parameters)).await.status, 200);
        fixture.call(Method::POST, "/schedules/audit", &schedule("rate(1 minute)", json!({}))).await.0
    };
    let of_schedule = trusting("CreateRole", "AssumeRolePolicyDocument", "schedule/default/audit").await;
    assert_eq!(of_schedule, 400);
    let of_group = trusting("UpdateAssumeRolePolicy", "PolicyDocument", "schedule-group/default").await;
    assert_eq!(of_group, 200);
}

#[tokio::test]
async fn a_schedule_begins_neither_long_ago_nor_after_its_end() {
    let fixture = Fixture::new();
    let now = 1_800_000_000;
    let create = async |name: &str, expression: &str, dates: Value| {
        let body = schedule(expression, dates);
        fixture.call(Method::POST, &format!("/schedules/{name}"), &body).await
    };
    let (status, answer) = create("a", "rate(1 minute)", json!({"StartDate": now - 301})).await;
    assert_eq!(status, 400);
    assert_eq!(answer["Message"], "The StartDate you specify cannot be earlier than 5 minutes ago.");
    let (status, _) =
        create("a", "rate(1 minute)", json!({"StartDate": now + 120, "EndDate": now + 60})).await;
    assert_eq!(status, 400);
    assert_eq!(create("a", "rate(1 minute)", json!({"StartDate": now - 299})).await.0, 200);
    // As the journal is told again: by the service itself.
    let long_ago = schedule("rate(1 minute)", json!({"StartDate": now - 301}));
    let long_ago = fixture.scheduler.handle(Fixture::request(Method::POST, "/schedules/c", &long_ago));
    let again = repeatable::scope_again(0, 1, now * 1_000, long_ago).await;
    assert_eq!(again.status, 200, "an older emulator took it: {again:?}");
    // What runs once has no beginning.
    let once = create("b", "at(2027-01-15T08:05:00)", json!({"StartDate": now - 301})).await;
    assert_eq!(once.0, 200, "{once:?}");
}
