//! The published contract and Terraform's rules name the numbers and problems that the code has.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use serde_json::{Value, json};
use task_core::limits;
use task_core::problem::ProblemKind;
use task_core::wire::Status;

const OPENAPI: &str = include_str!("../../../docs/openapi.yaml");
const ASYNCAPI: &str = include_str!("../../../docs/asyncapi.yaml");
const API: &str = include_str!("../../../docs/api.md");
const BACKEND: &str = include_str!("../../../terraform/modules/task-backend/variables.tf");
const LOCAL: &str = include_str!("../../../terraform/environments/local/main.tf");
const QUEUE: &str = include_str!("../../../terraform/modules/task-queue/main.tf");

fn openapi() -> Value {
    serde_norway::from_str(OPENAPI).unwrap()
}

fn parameter(document: &Value, path: &str, method: &str, name: &str) -> Value {
    let parameters = document["paths"][path][method]["parameters"].as_array().unwrap();
    parameters.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
}

#[test]
fn the_documented_maxima_are_the_limits_of_the_code() {
    let document = openapi();
    let limit = parameter(&document, "/tasks", "get", "limit");
    assert_eq!(limit["maximum"], limits::PAGE_TASKS_MAX);
    assert_eq!(limit["default"], limits::PAGE_TASKS_DEFAULT);
    let cursor = parameter(&document, "/tasks", "get", "cursor");
    let key = parameter(&document, "/tasks", "post", "Idempotency-Key");
    assert_eq!(key["pattern"], format!("^[ -~]{{1,{}}}$", limits::IDEMPOTENCY_KEY_BYTES_MAX));
    let schemas = &document["components"]["schemas"];
    let page = &schemas["TaskPage"]["properties"];
    assert_eq!(page["tasks"]["maxItems"], limits::PAGE_TASKS_MAX);
    for length in [&cursor["maxLength"], &page["next_cursor"]["maxLength"]] {
        assert_eq!(*length, limits::CURSOR_BYTES_MAX);
    }
    let message = &schemas["TaskError"]["properties"]["message"];
    assert_eq!(message["maxLength"], limits::ERROR_MESSAGE_CHARS_MAX);
    let body = &document["paths"]["/tasks"]["post"]["requestBody"]["description"];
    assert!(body.as_str().unwrap().contains(&format!("{} bytes", limits::REQUEST_BODY_BYTES_MAX)), "{body}");
    assert!(ASYNCAPI.contains(&format!("{} bytes", limits::CLIENT_MESSAGE_BYTES_MAX)));
}

#[test]
fn users_are_told_for_how_long_a_task_and_its_key_are_kept() {
    const SECONDS_PER_DAY: u64 = 86_400;
    let ttl = limits::RECORD_TTL.as_seconds_ceil();
    assert_eq!(ttl % SECONDS_PER_DAY, 0, "the documents count in days");
    let promise = format!("until {} days after the task's last change", ttl / SECONDS_PER_DAY);
    let document = openapi();
    let of_operation = |path: &str, method: &str| {
        document["paths"][path][method]["description"].as_str().unwrap_or_default().to_owned()
    };
    for text in [of_operation("/tasks", "post"), of_operation("/tasks/{id}", "get"), API.to_owned()] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&promise), "{promise} is not in {text}");
    }
}

#[test]
fn every_problem_and_every_status_is_documented() {
    let document = openapi();
    let schemas = &document["components"]["schemas"];
    let problems = ProblemKind::ALL.map(|kind| format!("urn:task:problem:{}", kind.name()));
    assert_eq!(schemas["Problem"]["properties"]["type"]["enum"], json!(problems));
    assert_eq!(schemas["Status"]["enum"], json!(Status::ALL.map(Status::as_str)));
}

#[test]
fn the_limit_of_open_tasks_that_terraform_allows_is_one_that_a_count_can_see() {
    const PAGE_BYTES: u32 = 1024 * 1024;
    /// In the index, of an owner with a long name.
    const RECORD_BYTES: u32 = 600;
    let of_page = (PAGE_BYTES / RECORD_BYTES).min(u32::from(limits::COUNT_ITEMS_EXAMINED_MAX));
    let seen = of_page * u32::from(limits::COUNT_PAGES_MAX);
    assert!(limits::COUNTED_PER_SHARD_MAX <= seen, "a count sees {seen}");
    let rule = format!("{} * var.owner_index_shards", limits::COUNTED_PER_SHARD_MAX);
    assert!(BACKEND.contains(&rule) && LOCAL.contains(&rule), "{rule}");
}

/// The receives of a task must fit into the retention of its queue, with the longest pause after each.
#[test]
fn the_longest_pause_that_terraform_knows_is_the_one_of_the_code() {
    let pause =
        format!("max({}, local.visibility_timeout_seconds)", limits::BACKOFF_CEILING.as_seconds_ceil());
    assert!(QUEUE.contains(&pause), "{pause}");
}

/// An audit that has no time for a round fails.
#[test]
fn the_shortest_audit_that_terraform_allows_has_time_for_a_round() {
    let rule = "var.audit_timeout_seconds >= ";
    let (_, least) = BACKEND.split_once(rule).unwrap();
    let (least, _) = least.split_once(' ').unwrap();
    assert!(least.parse::<u64>().unwrap() > limits::AUDIT_ROUND_TIME.as_seconds_ceil(), "{least}");
}
