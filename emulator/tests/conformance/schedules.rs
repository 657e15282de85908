//! EventBridge Scheduler: what it refuses. That schedules run is tested elsewhere.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Made, REGION, World};

pub(crate) async fn what_is_no_schedule_is_refused(world: &World) {
    let name = world.name("schedule");
    world.made(Made::Schedule(name.clone()));
    let path = format!("/schedules/{name}");
    let queue = format!("arn:aws:sqs:{REGION}:{}:{}", world.account_id, world.name("queue"));
    let role = world.role("scheduler.amazonaws.com").await;
    let sound = json!({
        "ClientToken": world.name("token"), "ScheduleExpression": "rate(1 hours)",
        "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": {"Arn": queue, "RoleArn": role},
    });
    for (member, value) in [
        ("ScheduleExpression", json!("rate(0 hours)")),
        ("ScheduleExpression", json!("cron(0 12 * *)")),
        ("ScheduleExpressionTimezone", json!("Nowhere/Never")),
        ("FlexibleTimeWindow", json!({"Mode": "FLEXIBLE"})),
        ("FlexibleTimeWindow", Value::Null),
        ("Target", Value::Null),
    ] {
        let mut spoilt = sound.clone();
        spoilt[member] = value;
        let answer = world.scheduler(Method::POST, &path, &spoilt).await;
        let found = (answer.status, answer.code.as_str());
        assert_eq!(found, (400, "ValidationException"), "{spoilt}: {answer:?}");
    }
}

pub(crate) async fn what_is_not_there_is_not_found(world: &World) {
    let (schedule, group) = (world.name("schedule"), world.name("group"));
    for path in [format!("/schedules/{schedule}"), format!("/schedule-groups/{group}")] {
        for method in [Method::GET, Method::DELETE] {
            let answer = world.scheduler(method, &path, &Value::Null).await;
            let found = (answer.status, answer.code.as_str());
            assert_eq!(found, (404, "ResourceNotFoundException"), "{path}: {answer:?}");
        }
    }
}
