//! Everything that a fault can change, before and after: an experiment leaves no residue.

use std::collections::BTreeMap;

use loadtest::stack::Stack;
use serde_json::Value;

use crate::cloud::{CallError, Cloud};
use crate::fault::{
    HttpThrottle, Lever, Mapping, MappingChange, OnDemandCap, ProvisionedCapacity, QueueDeny,
    QueueVisibility, ReservedConcurrency, RolePermission, TableDeny,
};

const HTTP_ROUTES: [&str; 3] = ["POST /tasks", "GET /tasks", "GET /tasks/{id}"];

/// By a name for people.
pub type Configuration = BTreeMap<String, Value>;

/// One difference per line.
pub fn drift(before: &Configuration, after: &Configuration) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let (before, after) = (before.get(name), after.get(name));
            format!("{name} was {} and is {}", text(before), text(after))
        })
        .collect()
}

fn text(value: Option<&Value>) -> String {
    value.filter(|value| !value.is_null()).map_or_else(|| "absent".to_owned(), Value::to_string)
}

pub async fn read(cloud: &Cloud, stack: &Stack) -> Result<Configuration, CallError> {
    let mut configuration = Configuration::new();
    for (name, lever) in levers(stack) {
        configuration.insert(name, lever.read(cloud).await?);
    }
    Ok(configuration)
}

/// Levers that are only ever read: what they would change to does not matter.
fn levers(stack: &Stack) -> Vec<(String, Lever)> {
    let mut levers = Vec::new();
    for (name, function) in &stack.functions {
        let lever = ReservedConcurrency {
            function: function.name.clone(),
            function_arn: function.arn.clone(),
            concurrency: 0,
        };
        levers.push((format!("{name}: reserved concurrency"), Lever::ReservedConcurrency(lever)));
        let role_arn = function.role_arn.clone();
        let denied = RolePermission { role_arn, actions: Vec::new(), until_ms: 0 };
        levers.push((format!("{name}: denial of its role"), Lever::RolePermission(denied)));
    }
    let uuid = &stack.event_source_mapping_id;
    let maximum = MappingChange::MaximumConcurrency { concurrency: 0 };
    for (name, change) in [("enabled", MappingChange::Disabled), ("maximum concurrency", maximum)] {
        levers.push((format!("mapping: {name}"), Lever::Mapping(Mapping { uuid: uuid.clone(), change })));
    }
    for (name, queue) in &stack.queues {
        let (queue_url, queue_arn) = (queue.url.clone(), queue.arn.clone());
        let visibility = QueueVisibility {
            queue_url: queue_url.clone(),
            queue_arn: queue_arn.clone(),
            visibility_seconds: 0,
        };
        levers.push((format!("{name}: visibility timeout"), Lever::QueueVisibility(visibility)));
        let policy = QueueDeny { queue_url, queue_arn, actions: Vec::new(), until_ms: 0 };
        levers.push((format!("{name}: policy"), Lever::QueueDeny(policy)));
    }
    for (name, table) in &stack.tables {
        let cap = OnDemandCap {
            table: table.name.clone(),
            table_arn: table.arn.clone(),
            read_units: None,
            write_units: None,
        };
        levers.push((format!("{name}: on-demand cap"), Lever::OnDemandCap(cap)));
        let capacity = ProvisionedCapacity {
            table: table.name.clone(),
            table_arn: table.arn.clone(),
            read_units: 0,
            write_units: 0,
        };
        levers.push((format!("{name}: provisioned capacity"), Lever::ProvisionedCapacity(capacity)));
        let (table, table_arn) = (table.name.clone(), table.arn.clone());
        let policy = TableDeny { table, table_arn, actions: Vec::new(), until_ms: 0 };
        levers.push((format!("{name}: policy"), Lever::TableDeny(policy)));
    }
    let throttle = |route: Option<&str>| HttpThrottle {
        api_id: stack.http_api.id.clone(),
        stage: stack.http_api.stage.clone(),
        route: route.map(str::to_owned),
        rate_per_second: 0.0,
        burst: 0,
    };
    levers.push(("http-api: throttle".into(), Lever::HttpThrottle(throttle(None))));
    for route in HTTP_ROUTES {
        levers.push((format!("http-api: throttle of {route}"), Lever::HttpThrottle(throttle(Some(route)))));
    }
    levers
}
