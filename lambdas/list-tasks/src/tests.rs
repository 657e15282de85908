//! `GET /tasks` and `GET /tasks/{id}` as API Gateway calls them, held to the published contract.

use contract::{Answer, HttpContract, Producer};
use serde_json::{Value, json};
use task_aws::tasks::DynamoTasks;
use task_aws::{sdk, testing};
use task_core::error::ErrorClass;
use task_core::idempotency::fresh_task_id;
use task_core::record::TaskRecord;
use task_core::state::TaskState;
use task_core::testing::{Fault, Faults, Faulty, ManualClock, Memory, SeededRandom, digest};
use task_core::{EpochMs, Owner, TaskId};

use super::*;

const SHARDS: u16 = 4;

struct Bench {
    memory: Memory,
    clock: ManualClock,
    random: SeededRandom,
    contract: HttpContract,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            memory: Memory::default(),
            clock: ManualClock::new(EpochMs(1_800_000_000_000)),
            random: SeededRandom::new(7),
            contract: HttpContract::default(),
        }
    }
}

fn event(route: &str, id: Option<&str>, query: &[(&str, &str)]) -> HttpEvent {
    let event = json!({
        "version": "2.0", "routeKey": route,
        "pathParameters": id.map_or(json!({}), |id| json!({"id": id})),
        "queryStringParameters": query.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "requestContext": {"requestId": "r-1", "authorizer": {"lambda": {"sub": "alice"}}},
    });
    serde_json::from_value(event).unwrap()
}

impl Bench {
    fn store(&self, owner: &str, at_ms: u64, state: TaskState) -> TaskId {
        let created_at = EpochMs(at_ms);
        let id = fresh_task_id(created_at, &self.random);
        let message = digest(id, &Owner::parse(owner).unwrap(), created_at);
        let record = TaskRecord { state, ..TaskRecord::queued(&message) };
        self.memory.records.lock().unwrap().insert(record.id, record.clone());
        record.id
    }

    fn get(&self, route: &str, id: Option<&str>, query: &[(&str, &str)], faults: &Faults) -> (u16, Value) {
        let event = event(route, id, query);
        let store = Faulty { inner: &self.memory, faults };
        let index = Faulty { inner: (&self.memory, SHARDS), faults };
        let context = Context::default();
        let answered = answer(&store, &index, SHARDS, &event, &context);
        let response = self.clock.block_on(answered).unwrap();
        let headers = response.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let answer =
            Answer { status: response.status_code, headers: headers.collect(), body: response.body.clone() };
        self.contract.check(route, &answer).unwrap();
        assert_eq!(response.headers["x-request-id"], "r-1");
        (response.status_code, serde_json::from_str(&response.body).unwrap())
    }

    fn page(&self, query: &[(&str, &str)]) -> (u16, Value) {
        self.get("GET /tasks", None, query, &Faults::none(0))
    }

    /// All pages, as a client walks them.
    fn walk(&self, query: &[(&str, &str)]) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let (status, page) = self.page(&query);
            assert_eq!(status, 200);
            let tasks = page["tasks"].as_array().unwrap();
            ids.extend(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return ids,
            }
        }
    }
}

#[test]
fn every_documented_answer_is_given_and_looks_as_documented() {
    let bench = Bench::default();
    let id = bench.store("alice", 1, TaskState::Succeeded { result: json!({"sha256": "00"}) }).to_string();
    let outage = || Faults::at(0, (0..8).map(|call| (call, Fault::Refuse(ErrorClass::Transient))));
    assert_eq!(bench.page(&[]).0, 200);
    for query in
        [("limit", "0"), ("limit", "101"), ("limit", "x"), ("cursor", "nonsense"), ("status", "lost")]
    {
        assert_eq!(bench.page(&[query]).0, 400, "{query:?}");
    }
    assert_eq!(bench.get("GET /tasks", None, &[], &outage()).0, 503);
    let one = "GET /tasks/{id}";
    assert_eq!(bench.get(one, Some(&id), &[], &Faults::none(0)).0, 200);
    assert_eq!(bench.get(one, Some("nonsense"), &[], &Faults::none(0)).0, 404);
    assert_eq!(bench.get(one, Some(&id), &[], &outage()).0, 503);
    assert_eq!(bench.contract.unseen(&["GET /tasks", one], Producer::Service), Vec::<String>::new());
}

#[test]
fn another_owners_task_is_not_there() {
    let bench = Bench::default();
    let id = bench.store("bob", 1, TaskState::Queued).to_string();
    let (status, problem) = bench.get("GET /tasks/{id}", Some(&id), &[], &Faults::none(0));
    assert_eq!((status, problem["type"].as_str()), (404, Some("urn:task:problem:task-not-found")));
    assert_eq!(bench.page(&[]).1["tasks"], json!([]));
}

#[test]
fn pages_walk_every_task_once_newest_first_whatever_their_size() {
    let bench = Bench::default();
    // Several in the same millisecond, spread over shards by their ids.
    let mut expected: Vec<(u64, String)> =
        (0..60).map(|n| (n / 3, bench.store("alice", n / 3, TaskState::Queued).to_string())).collect();
    bench.store("bob", 5, TaskState::Queued);
    expected.sort();
    let expected: Vec<String> = expected.into_iter().rev().map(|(_, id)| id).collect();
    for limit in ["1", "7", "100"] {
        assert_eq!(bench.walk(&[("limit", limit)]), expected, "limit {limit}");
    }
}

#[test]
fn a_status_filter_shows_only_that_status() {
    let bench = Bench::default();
    for at in 0..10 {
        bench.store("alice", at, TaskState::Queued);
    }
    let dead = bench.store("alice", 3, TaskState::DeadLettered).to_string();
    assert_eq!(bench.walk(&[("status", "dead_lettered"), ("limit", "2")]), [dead]);
}

#[test]
fn a_page_without_a_limit_has_the_documented_number_of_tasks() {
    let bench = Bench::default();
    for at in 0..=u64::from(PAGE_TASKS_DEFAULT) {
        bench.store("alice", at, TaskState::Queued);
    }
    let (_, page) = bench.page(&[]);
    assert_eq!(page["tasks"].as_array().unwrap().len(), usize::from(PAGE_TASKS_DEFAULT));
    assert!(page["next_cursor"].is_string(), "one task is left");
    assert_eq!(bench.walk(&[]).len(), usize::from(PAGE_TASKS_DEFAULT) + 1);
}

#[test]
fn the_id_that_a_client_was_answered_with_finds_the_calls_that_failed() {
    let tasks = DynamoTasks::new(sdk::dynamodb(&testing::cut_off_sdk()), "tasks", SHARDS);
    let id = "0193b0e2-7c00-7000-8000-000000000001";
    for (route, id) in [("GET /tasks", None), ("GET /tasks/{id}", Some(id))] {
        let (event, context) = (event(route, id, &[]), Context::default());
        let (response, lines) = testing::logged(answer(&tasks, &tasks, SHARDS, &event, &context));
        assert_eq!(response.unwrap().status_code, 503);
        let (found, failed) = testing::failed_calls(&lines, "r-1");
        assert!(failed > 0 && found == failed, "{route}: {found} of {failed}: {lines:#?}");
    }
}
