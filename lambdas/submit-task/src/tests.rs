//! `POST /tasks` as API Gateway calls it, held to the published contract in every answer it can give.

use contract::{Answer, HttpContract, Producer};
use serde_json::{Value, json};
use task_aws::http::HttpResponse;
use task_aws::sqs::SqsTasks;
use task_aws::system::SystemClock;
use task_aws::tasks::DynamoTasks;
use task_aws::{sdk, testing};
use task_core::EpochMs;
use task_core::admission::Admission;
use task_core::error::ErrorClass;
use task_core::kind::KindsAllowed;
use task_core::limits;
use task_core::ports::Clock as _;
use task_core::testing::{Fault, Faults, Faulty, ManualClock, Memory, SeededRandom};

use super::*;

const OPERATION: &str = "POST /tasks";

struct Bench {
    memory: Memory,
    clock: ManualClock,
    contract: HttpContract,
    in_flight_max: u32,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            memory: Memory::default(),
            clock: ManualClock::new(EpochMs(1_800_000_000_000)),
            contract: HttpContract::default(),
            in_flight_max: limits::TASKS_IN_FLIGHT_PER_OWNER_MAX,
        }
    }
}

fn event(body: &str, key: Option<&str>) -> Value {
    let mut event = json!({
        "version": "2.0", "routeKey": OPERATION, "headers": {"content-type": "application/json"},
        "requestContext": {"requestId": "r-1", "authorizer": {"lambda": {"sub": "alice"}}},
        "body": body, "isBase64Encoded": false,
    });
    if let Some(key) = key {
        event["headers"]["idempotency-key"] = key.into();
    }
    event
}

impl Bench {
    fn submit<'a>(
        &'a self,
        faults: &'a Faults,
    ) -> Submit<Faulty<'a, &'a Memory>, Faulty<'a, &'a Memory>, &'a ManualClock, SeededRandom> {
        Submit {
            store: Faulty { inner: &self.memory, faults },
            queue: Faulty { inner: &self.memory, faults },
            clock: &self.clock,
            random: SeededRandom::new(7),
            kinds: KindsAllowed::Production,
            admission: Admission::new(self.in_flight_max),
        }
    }

    /// Calls the handler and holds the answer to the contract.
    fn answer_to(&self, event: Value, faults: &Faults) -> (HttpResponse, Value) {
        self.ask(&self.submit(faults), event)
    }

    fn ask<S, Q, C, R>(&self, submit: &Submit<S, Q, C, R>, event: Value) -> (HttpResponse, Value)
    where
        S: TaskStore + OpenTasks,
        Q: TaskQueue,
        C: Clock,
        R: Random,
    {
        let event: HttpEvent = serde_json::from_value(event).unwrap();
        let mut context = Context::default();
        context.deadline = (&self.clock).now().0 + 1_000;
        let response = self.clock.block_on(answer(submit, &event, &context)).unwrap();
        let headers = response.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let answer =
            Answer { status: response.status_code, headers: headers.collect(), body: response.body.clone() };
        self.contract.check(OPERATION, &answer).unwrap();
        assert_eq!(response.headers["x-request-id"], "r-1");
        let body = serde_json::from_str(&response.body).unwrap();
        (response, body)
    }

    /// One submission after the other in one environment, until it has counted the owner's tasks and gone by that: what was
    /// answered.
    fn crowd(&self) -> Vec<u16> {
        let faults = Faults::none(0);
        let submit = self.submit(&faults);
        let submissions = 0..submit.admission.uncounted_max() + 2;
        submissions.map(|_| self.ask(&submit, event(&digest("a"), None)).0.status_code).collect()
    }

    /// The status and, for a problem, its name.
    fn outcome(&self, body: &str, key: Option<&str>, faults: &[(u64, Fault)]) -> (u16, String) {
        let faults = Faults::at(0, faults.iter().copied());
        let (response, body) = self.answer_to(event(body, key), &faults);
        let kind = body["type"].as_str().unwrap_or_default();
        (response.status_code, kind.trim_start_matches("urn:task:problem:").to_owned())
    }
}

fn digest(text: &str) -> String {
    json!({"kind": "digest", "payload": {"text": text}}).to_string()
}

fn refused(status: u16, problem: &str) -> (u16, String) {
    (status, problem.to_owned())
}

#[test]
fn every_documented_answer_is_given_and_looks_as_documented() {
    let bench = Bench::default();
    let transient = Fault::Refuse(ErrorClass::Transient);
    let (response, task) = bench.answer_to(event(&digest("a"), Some("k")), &Faults::none(0));
    assert_eq!(response.status_code, 202);
    assert_eq!(response.headers["location"], format!("/tasks/{}", task["id"].as_str().unwrap()));
    assert_eq!(bench.outcome("{", None, &[]), refused(400, "malformed-request"));
    let array = r#"["digest",{"text":"a"}]"#;
    assert_eq!(
        bench.outcome(array, None, &[]),
        refused(400, "malformed-request"),
        "the contract says object"
    );
    assert_eq!(
        bench.outcome(&digest("a"), Some(&"k".repeat(256)), &[]),
        refused(400, "invalid-idempotency-key")
    );
    let oversize = digest(&"x".repeat(limits::REQUEST_BODY_BYTES_MAX));
    assert_eq!(bench.outcome(&oversize, None, &[]), refused(413, "body-too-large"));
    // Fits into a request, and not into a message: SQS refuses this letter, and escaping it takes twice its bytes.
    let swelling = digest(&"\u{FFFE}".repeat(43_670));
    assert!(swelling.len() <= limits::REQUEST_BODY_BYTES_MAX);
    assert_eq!(bench.outcome(&swelling, None, &[]), refused(413, "body-too-large"));
    assert_eq!(bench.outcome(r#"{"kind":"x","payload":{}}"#, None, &[]), refused(422, "unknown-kind"));
    assert_eq!(
        bench.outcome(r#"{"kind":"digest","payload":{}}"#, None, &[]),
        refused(422, "invalid-payload")
    );
    assert_eq!(
        bench.outcome(r#"{"kind":"digest","payload":["a"]}"#, None, &[]),
        refused(422, "invalid-payload")
    );
    assert_eq!(bench.outcome(&digest("b"), Some("k"), &[]), refused(422, "idempotency-key-reused"));
    let refusals = [(0, transient), (1, transient)];
    assert_eq!(bench.outcome(&digest("a"), None, &refusals), refused(503, "queue-unavailable"));
    assert_eq!(bench.outcome(&digest("a"), None, &[(0, Fault::HangAfter)]), refused(503, "outcome-unknown"));

    let crowded = Bench { in_flight_max: 1, ..bench };
    let statuses = crowded.crowd();
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 1, "{statuses:?}");

    assert_eq!(crowded.contract.unseen(&[OPERATION], Producer::Service), Vec::<String>::new());
}

#[test]
fn a_submission_refused_for_too_many_in_flight_leaves_neither_message_nor_record() {
    let bench = Bench { in_flight_max: 1, ..Bench::default() };
    let statuses = bench.crowd();
    let accepted = statuses.iter().filter(|status| **status == 202).count();
    assert!(accepted > 0 && statuses.contains(&429), "{statuses:?}");
    let (sent, records) =
        (bench.memory.sent.lock().unwrap().len(), bench.memory.records.lock().unwrap().len());
    assert_eq!((sent, records), (accepted, accepted), "{statuses:?}");
}

#[test]
fn whose_tasks_have_ended_is_admitted_by_the_next_count_and_not_by_the_one_before() {
    let bench = Bench { in_flight_max: 1, ..Bench::default() };
    let faults = Faults::none(0);
    let submit = bench.submit(&faults);
    let status = || bench.ask(&submit, event(&digest("a"), None)).0.status_code;
    let statuses: Vec<u16> = (0..submit.admission.uncounted_max() + 2).map(|_| status()).collect();
    assert_eq!(statuses.last(), Some(&429));
    bench.clock.advance(limits::ADMISSION_WINDOW);
    assert_eq!(status(), 429, "they are still open");
    bench.memory.records.lock().unwrap().clear();
    bench.clock.advance(limits::ADMISSION_WINDOW);
    assert_eq!(status(), 202);
}

#[test]
fn a_repeated_key_gives_the_same_task_and_enqueues_nothing() {
    let bench = Bench::default();
    let first = bench.answer_to(event(&digest("a"), Some("k")), &Faults::none(0)).1;
    let reordered = r#"{ "payload": {"text": "a"}, "kind": "digest" }"#;
    let second = bench.answer_to(event(reordered, Some("k")), &Faults::none(0)).1;
    assert_eq!(first["id"], second["id"]);
    assert_eq!(bench.memory.sent.lock().unwrap().len(), 1);
}

#[test]
fn a_body_in_base64_is_the_same_body() {
    let bench = Bench::default();
    // {"kind":"digest","payload":{"text":"a"}}
    let mut encoded = event("eyJraW5kIjoiZGlnZXN0IiwicGF5bG9hZCI6eyJ0ZXh0IjoiYSJ9fQ==", None);
    encoded["isBase64Encoded"] = true.into();
    assert_eq!(bench.answer_to(encoded, &Faults::none(0)).0.status_code, 202);
}

#[test]
fn the_trace_of_the_request_goes_on_in_the_message() {
    let bench = Bench::default();
    let faults = Faults::none(0);
    let event: HttpEvent = serde_json::from_value(event(&digest("a"), None)).unwrap();
    let mut context = Context::default();
    context.deadline = (&bench.clock).now().0 + 1_000;
    context.xray_trace_id = Some("Root=1-2-3;Parent=4;Sampled=1".into());
    bench.clock.block_on(answer(&bench.submit(&faults), &event, &context)).unwrap();
    let sent = bench.memory.sent.lock().unwrap();
    assert_eq!(sent[0].trace.as_deref(), Some("Root=1-2-3;Parent=4;Sampled=1"));
}

#[test]
fn an_answer_is_counted_as_what_it_is() {
    let bench = Bench::default();
    let mut counted = std::collections::BTreeSet::new();
    for (body, name) in [(digest("a"), "accepted"), (digest("a"), "repeated"), (digest("b"), "refused")] {
        let event: HttpEvent = serde_json::from_value(event(&body, Some("k"))).unwrap();
        let mut context = Context::default();
        context.deadline = (&bench.clock).now().0 + 1_000;
        let faults = Faults::none(0);
        let mut wide = WideEvent::begin("submit-task", "r-1", None);
        bench.clock.block_on(respond(&bench.submit(&faults), &event, &context, &mut wide));
        let line = wide.line();
        let every = testing::promised("every");
        let names: Vec<_> = testing::metrics(&line).difference(&every).cloned().collect();
        assert_eq!(names, [name]);
        assert_eq!(line[name], 1);
        counted.extend(names);
    }
    assert_eq!(counted, testing::promised("submit-task"));
}

#[test]
fn the_id_that_a_client_was_answered_with_finds_the_calls_that_failed() {
    let sdk = testing::cut_off_sdk();
    let submit = Submit {
        store: DynamoTasks::new(sdk::dynamodb(&sdk), "tasks", 1),
        queue: SqsTasks::new(&sdk, "http://127.0.0.1:1/1/tasks"),
        clock: SystemClock,
        random: SeededRandom::new(7),
        kinds: KindsAllowed::Production,
        admission: Admission::new(limits::TASKS_IN_FLIGHT_PER_OWNER_MAX),
    };
    let event: HttpEvent = serde_json::from_value(event(&digest("a"), Some("k"))).unwrap();
    let mut context = Context::default();
    context.deadline = SystemClock.now().0 + 5_000;
    let (response, lines) = testing::logged(answer(&submit, &event, &context));
    assert_eq!(response.unwrap().status_code, 503);
    let (found, failed) = testing::failed_calls(&lines, "r-1");
    assert!(failed > 0 && found == failed, "{found} of {failed}: {lines:#?}");
}
