//! What a run would do, told without touching anything: no call to AWS is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use loadtest::LoadError;
use loadtest::stack::Stack;
use serde_json::{Value, json};

use crate::experiment::Experiment;
use crate::fault::{
    CREATE_SERVICE_LINKED_ROLE, Call, FIS_SERVICE, Lever, ResolveError, action_minutes, place,
};
use crate::run::queue_facts;

/// How faults begin the name of the event source mapping.
const MAPPING: &str = "event-source-mapping:";
/// How faults begin the path of an API of API Gateway.
const API_PATH: &str = "/apis/";
/// What AWS asks per minute of one FIS action.
const FIS_DOLLARS_PER_ACTION_MINUTE: f64 = 0.10;

/// The whole plan, ready to print or to write as JSON.
#[derive(Debug, serde::Serialize)]
pub struct Plan {
    pub account_id: String,
    pub region: String,
    /// Null on AWS.
    pub endpoint: Option<String>,
    pub experiments: Vec<Planned>,
    /// Load and faults of all experiments, one after the other.
    pub seconds: f64,
    /// With all the time that settling, judging and redriving may take.
    pub seconds_max: f64,
    pub fis_action_minutes: u64,
    pub fis_dollars: f64,
    /// What the harness calls whatever the faults are: to check, to read, to audit and to redrive.
    pub harness_calls: BTreeSet<Call>,
    /// What an identity needs that runs all of this.
    pub policy: Value,
}

#[derive(Debug, serde::Serialize)]
pub struct Planned {
    pub name: String,
    pub tasks: u64,
    /// Who submit and listen.
    pub owners: u32,
    /// As many the file asks for.
    pub owners_asked: u32,
    /// Load and faults; settling, judging and redriving come on top, at most `settle_seconds_max` each.
    pub seconds: f64,
    pub settle_seconds_max: f64,
    pub redrive: bool,
    pub faults: Vec<PlannedFault>,
}

#[derive(Debug, serde::Serialize)]
pub struct PlannedFault {
    pub kind: &'static str,
    pub target: String,
    /// The setting that is changed, as the journal would name it.
    pub lever: Lever,
    pub start_seconds: f64,
    pub seconds: f64,
    pub calls: Vec<Call>,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Its lengths follow from the stack.
    #[error("{experiment}: no such load can be on this stack")]
    Load { experiment: String, source: LoadError },
}

pub fn plan(experiments: &[Experiment], stack: &Stack) -> Result<Plan, PlanError> {
    let visibility = queue_facts(stack).map_or(Duration::ZERO, |queue| queue.visibility_timeout);
    let mut minutes = 0;
    let harness_calls = harness_calls(stack);
    let mut calls = harness_calls.clone();
    let mut planned = Vec::new();
    for experiment in experiments {
        experiment
            .load
            .plan(visibility)
            .validate()
            .map_err(|source| PlanError::Load { experiment: experiment.name.clone(), source })?;
        let mut faults = Vec::new();
        for placed in place(experiment, stack, visibility, "plan")? {
            if matches!(placed.lever, Lever::Fis(_)) {
                minutes += action_minutes(placed.duration);
            }
            calls.extend(placed.lever.calls());
            faults.push(PlannedFault {
                kind: placed.spec.kind.name(),
                target: placed.spec.target.clone(),
                start_seconds: placed.start.as_secs_f64(),
                seconds: placed.duration.as_secs_f64(),
                calls: placed.lever.calls(),
                lever: placed.lever,
            });
        }
        let owners = experiment.load.owners_on(stack);
        planned.push(Planned { owners, ..experiment_plan(experiment, faults, visibility) });
    }
    let seconds = planned.iter().map(|planned| planned.seconds).sum();
    Ok(Plan {
        account_id: stack.account_id.clone(),
        region: stack.region.clone(),
        endpoint: stack.endpoint.clone(),
        seconds,
        seconds_max: planned.iter().map(Planned::seconds_max).sum(),
        experiments: planned,
        fis_action_minutes: minutes,
        fis_dollars: minutes as f64 * FIS_DOLLARS_PER_ACTION_MINUTE,
        harness_calls,
        policy: policy(&calls, stack),
    })
}

impl Planned {
    /// The queue is waited for once, and once more after a redrive.
    fn seconds_max(&self) -> f64 {
        let waits = if self.redrive { 2.0 } else { 1.0 };
        self.seconds + waits * self.settle_seconds_max
    }

    /// Why fewer owners take part than the file asks for.
    pub(crate) fn owners_note(&self) -> Option<String> {
        let Self { name, owners, owners_asked, .. } = self;
        (owners != owners_asked).then(|| {
            format!(
                "{name}: {owners} owner, not {owners_asked}: the stack has no key, and one token is one owner"
            )
        })
    }
}

fn experiment_plan(experiment: &Experiment, faults: Vec<PlannedFault>, visibility: Duration) -> Planned {
    let load = experiment.load.duration.resolve(visibility).as_secs_f64();
    let end = faults.iter().map(|fault| fault.start_seconds + fault.seconds).fold(load, f64::max);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 10,000 per second for 12 hours"
    )]
    let tasks = (experiment.load.rate_per_second * load).round() as u64;
    let settle_seconds_max = experiment.load.settle.resolve(visibility).as_secs_f64();
    Planned {
        name: experiment.name.clone(),
        tasks,
        owners: experiment.load.owners,
        owners_asked: experiment.load.owners,
        seconds: end,
        settle_seconds_max,
        redrive: experiment.expect.redrive,
        faults,
    }
}

/// What the harness calls besides its faults: to check, to read, to audit and to redrive.
fn harness_calls(stack: &Stack) -> BTreeSet<Call> {
    let mut calls = BTreeSet::new();
    let mut add = |action, resource: &str| calls.insert(Call { action, resource: resource.to_owned() });
    for function in stack.functions.values() {
        for action in
            ["lambda:GetFunctionConcurrency", "lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
        {
            add(action, &function.arn);
        }
        add("lambda:ListTags", &function.arn);
        add("iam:GetRolePolicy", &function.role_arn);
    }
    for queue in stack.queues.values() {
        add("sqs:GetQueueAttributes", &queue.arn);
        add("sqs:ListQueueTags", &queue.arn);
    }
    if let (Some(dead), Some(tasks)) = (stack.queues.get("tasks-dlq"), stack.queues.get("tasks")) {
        let moves = ["sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:DeleteMessage"];
        for action in ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"].into_iter().chain(moves) {
            add(action, &dead.arn);
        }
        add("sqs:SendMessage", &tasks.arn);
    }
    for table in stack.tables.values() {
        for action in ["dynamodb:DescribeTable", "dynamodb:GetResourcePolicy", "dynamodb:ListTagsOfResource"]
        {
            add(action, &table.arn);
        }
    }
    if let Some(tasks) = stack.tables.get("tasks") {
        add("dynamodb:BatchGetItem", &tasks.arn);
        add("dynamodb:Query", &format!("{}/index/owner-index", tasks.arn));
    }
    add("lambda:GetEventSourceMapping", &format!("{MAPPING}{}", stack.event_source_mapping_id));
    let api = format!("{API_PATH}{}", stack.http_api.id);
    add("apigateway:GET", &api);
    add("apigateway:GET", &format!("{api}/stages/*"));
    add("fis:GetSafetyLever", &arn(stack, "fis", "safety-lever/*"));
    add("fis:GetAction", &arn(stack, "fis", "action/*"));
    // AWS defines no resource for the first three. "You can't return information about composite alarms if your
    // cloudwatch:DescribeAlarms permission has a narrower scope."
    let of_account = ["iam:ListAccountAliases", "lambda:GetAccountSettings", "cloudwatch:GetMetricData"];
    for action in of_account.into_iter().chain(["cloudwatch:DescribeAlarms"]) {
        add(action, "*");
    }
    calls
}

/// In the partition of the functions: all of a stack is in one.
fn arn(stack: &Stack, service: &str, resource: &str) -> String {
    let function = stack.functions.values().next();
    let partition = function.and_then(|function| function.arn.split(':').nth(1)).unwrap_or("aws");
    // API Gateway's ARNs name no account.
    let account_id = if service == "apigateway" { "" } else { stack.account_id.as_str() };
    format!("arn:{partition}:{service}:{}:{account_id}:{resource}", stack.region)
}

/// A call names a mapping by its id, and a part of an API by its path: the rest of their ARNs is the stack's.
fn resource_arn(stack: &Stack, resource: &str) -> String {
    if resource.starts_with(MAPPING) {
        arn(stack, "lambda", resource)
    } else if resource.starts_with(API_PATH) {
        arn(stack, "apigateway", resource)
    } else {
        resource.to_owned()
    }
}

fn policy(calls: &BTreeSet<Call>, stack: &Stack) -> Value {
    let mut by_resource: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for call in calls {
        by_resource.entry(resource_arn(stack, &call.resource)).or_default().insert(call.action);
    }
    // One statement for all that may be called alike: the inline policies of a role are short.
    let mut by_actions: BTreeMap<BTreeSet<&str>, Vec<String>> = BTreeMap::new();
    for (resource, actions) in by_resource {
        by_actions.entry(actions).or_default().push(resource);
    }
    let statements = by_actions.iter().map(|(actions, resources)| statement(actions, resources));
    json!({"Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>()})
}

fn statement(actions: &BTreeSet<&str>, resources: &[String]) -> Value {
    let mut statement = json!({"Effect": "Allow", "Action": actions, "Resource": resources});
    if actions.contains(CREATE_SERVICE_LINKED_ROLE) {
        statement["Condition"] = json!({"StringEquals": {"iam:AWSServiceName": FIS_SERVICE}});
    }
    statement
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.endpoint.as_deref().unwrap_or("AWS");
        writeln!(
            f,
            "account {} in {} on {target}; nothing is touched by this\n",
            self.account_id, self.region
        )?;
        for experiment in &self.experiments {
            write!(f, "{experiment}")?;
        }
        writeln!(f, "\nbesides the faults, to check, read, audit and redrive:")?;
        for Call { action, resource } in &self.harness_calls {
            writeln!(f, "  {action} {resource}")?;
        }
        let (seconds, seconds_max) = (self.seconds, self.seconds_max);
        writeln!(
            f,
            "\nduration: {seconds:.0} s of load and faults, at most {seconds_max:.0} s with all waits"
        )?;
        let dollars = self.fis_dollars;
        writeln!(f, "FIS: {} action-minutes, about ${dollars:.2} on AWS", self.fis_action_minutes)?;
        writeln!(f, "\nIAM policy that the harness needs:\n{:#}", self.policy)
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, tasks, seconds, settle_seconds_max, redrive, faults, .. } = self;
        let redrive = if *redrive { ", then a redrive" } else { "" };
        writeln!(
            f,
            "{name}: {tasks} tasks, {seconds:.0} s, then at most {settle_seconds_max:.0} s to settle{redrive}"
        )?;
        if let Some(note) = self.owners_note() {
            writeln!(f, "  {note}")?;
        }
        for PlannedFault { kind, target, start_seconds, seconds, calls, .. } in faults {
            writeln!(f, "  {kind} on {target} from {start_seconds:.0} s for {seconds:.0} s")?;
            for call in calls {
                writeln!(f, "    {} {}", call.action, call.resource)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::experiment;

    /// AWS: "the total aggregate policy size of all inline policies for a role cannot exceed 10,240 characters", and white
    /// space does not count.
    const INLINE_POLICY_CHARS_MAX: usize = 10_240;

    /// On AWS, with names as long as those of a stack whose prefix is `production`.
    fn stack() -> Stack {
        let functions =
            ["submit-task", "list-tasks", "process-task", "websocket", "audit-dead-letters", "authorizer"];
        let function = |name: &str| {
            let full = format!("production-{name}");
            let value = json!({
                "name": full, "arn": format!("arn:aws:lambda:us-east-1:123456789012:function:{full}"),
                "role_arn": format!("arn:aws:iam::123456789012:role/{full}"), "timeout_seconds": 10,
            });
            (name.to_owned(), value)
        };
        let functions: BTreeMap<String, Value> = functions.map(function).into();
        let queue = |name: &str| {
            json!({
                "url": format!("https://sqs.us-east-1.amazonaws.com/123456789012/production-{name}"),
                "arn": format!("arn:aws:sqs:us-east-1:123456789012:production-{name}"),
                "visibility_timeout_seconds": 60, "max_receive_count": 5,
            })
        };
        let table = |name: &str| {
            let full = format!("production-{name}");
            json!({"name": full, "arn": format!("arn:aws:dynamodb:us-east-1:123456789012:table/{full}")})
        };
        let stack = json!({
            "endpoint": null, "region": "us-east-1", "account_id": "123456789012",
            "http_url": "https://h", "websocket_url": "wss://w",
            "http_api": {"id": "abcdefghij", "stage": "$default"},
            "websocket_api": {"id": "klmnopqrst", "stage": "live"},
            "functions": functions,
            "queues": {"tasks": queue("tasks"), "tasks-dlq": queue("tasks-dlq")},
            "tables": {"tasks": table("tasks"), "connections": table("connections")},
            "event_source_mapping_id": "0192b1d3-0000-7000-8000-000000000000",
            "fault_injection": {
                "role_arn": "arn:aws:iam::123456789012:role/production-fault-injection",
                "bucket": "production-fault-injection-123456789012", "prefix": "FisConfigs/",
            },
            "auth": {"issuer": "i", "audience": "a"},
        });
        serde_json::from_value(stack).unwrap()
    }

    fn shipped_on(stack: &Stack) -> Plan {
        let experiments = experiment::load(&experiment::files_of(&folder()).unwrap()).unwrap();
        plan(&experiments, stack).unwrap()
    }

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments")
    }

    fn shipped() -> Plan {
        shipped_on(&stack())
    }

    /// Statements that allow this action.
    fn allowing<'a>(policy: &'a Value, action: &str) -> Vec<&'a Value> {
        let statements = policy["Statement"].as_array().unwrap().iter();
        let allows = |statement: &&Value| statement["Action"].as_array().unwrap().contains(&json!(action));
        statements.filter(allows).collect()
    }

    #[test]
    fn the_policy_of_all_experiments_fits_into_a_role_and_lets_no_other_role_be_changed() {
        let plan = shipped();
        let size = plan.policy.to_string().len();
        assert!(size <= INLINE_POLICY_CHARS_MAX, "{size} characters");
        let roles: BTreeSet<String> = stack().functions.into_values().map(|it| it.role_arn).collect();
        let changes = |statement: &Value| statement["Action"].to_string().contains("iam:PutRolePolicy");
        let statements: Vec<_> = plan.policy["Statement"].as_array().unwrap().iter().collect();
        let changed = statements.iter().filter(|statement| changes(statement));
        let changed: Vec<_> =
            changed.flat_map(|statement| statement["Resource"].as_array().unwrap()).collect();
        assert!(!changed.is_empty(), "an experiment that ships denies a role something");
        assert!(changed.iter().all(|arn| roles.contains(arn.as_str().unwrap())), "{changed:?}");
    }

    #[test]
    fn the_policy_allows_every_call_that_is_planned_and_no_other() {
        let plan = shipped();
        let mut planned: BTreeSet<&str> = plan.harness_calls.iter().map(|call| call.action).collect();
        let faults = plan.experiments.iter().flat_map(|experiment| &experiment.faults);
        planned.extend(faults.flat_map(|fault| &fault.calls).map(|call| call.action));
        let statements = plan.policy["Statement"].as_array().unwrap();
        let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap());
        let allowed: BTreeSet<&str> = actions.map(|action| action.as_str().unwrap()).collect();
        assert_eq!(allowed, planned);
        assert!(allowed.iter().all(|action| !action.contains('*')), "{allowed:?}");
    }

    #[test]
    fn the_policy_names_the_mapping() {
        let mapping =
            "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:0192b1d3-0000-7000-8000-000000000000";
        let policy = shipped().policy;
        let of_mappings = policy["Statement"].as_array().unwrap().iter().filter(|statement| {
            ["GetEventSourceMapping", "UpdateEventSourceMapping"]
                .iter()
                .any(|action| statement["Action"].to_string().contains(action))
        });
        let resources: Vec<&Value> =
            of_mappings.flat_map(|statement| statement["Resource"].as_array().unwrap()).collect();
        assert!(!resources.is_empty(), "an experiment that ships changes the mapping");
        assert!(resources.iter().all(|resource| *resource == mapping), "{resources:?}");
    }

    #[test]
    fn the_policy_lets_fis_and_no_other_service_make_itself_a_role() {
        let policy = shipped().policy;
        let expected = json!({
            "Effect": "Allow", "Action": ["iam:CreateServiceLinkedRole"],
            "Resource": ["arn:aws:iam::123456789012:role/aws-service-role/fis.amazonaws.com/*"],
            "Condition": {"StringEquals": {"iam:AWSServiceName": "fis.amazonaws.com"}},
        });
        assert_eq!(allowing(&policy, "iam:CreateServiceLinkedRole"), [&expected]);
        let conditions = policy["Statement"].as_array().unwrap().iter();
        assert_eq!(conditions.filter(|statement| statement.get("Condition").is_some()).count(), 1);
        let without_fis = experiment::load(&[folder().join("baseline.toml")]).unwrap();
        let without_fis = plan(&without_fis, &stack()).unwrap().policy;
        assert!(allowing(&without_fis, "iam:CreateServiceLinkedRole").is_empty());
    }

    #[test]
    fn the_policy_names_a_resource_wherever_aws_takes_one() {
        let policy = shipped().policy;
        let everywhere = policy["Statement"].as_array().unwrap().iter();
        let everywhere =
            everywhere.filter(|statement| statement["Resource"].as_array().unwrap().contains(&json!("*")));
        let actions = everywhere.flat_map(|statement| statement["Action"].as_array().unwrap());
        let actions: BTreeSet<&str> = actions.map(|action| action.as_str().unwrap()).collect();
        let expected = [
            "cloudwatch:DescribeAlarms",
            "cloudwatch:GetMetricData",
            "fis:ListExperimentTemplates",
            "fis:ListExperiments",
            "iam:ListAccountAliases",
            "lambda:GetAccountSettings",
        ];
        assert_eq!(actions, BTreeSet::from(expected));
        let read = allowing(&policy, "apigateway:GET").into_iter();
        let read = read.flat_map(|statement| statement["Resource"].as_array().unwrap());
        let read: BTreeSet<&str> = read.map(|arn| arn.as_str().unwrap()).collect();
        let api = "arn:aws:apigateway:us-east-1::/apis/abcdefghij";
        for arn in [api.to_owned(), format!("{api}/stages/*"), format!("{api}/stages/$default")] {
            assert!(read.contains(arn.as_str()), "{arn} is not in {read:?}");
        }
        assert!(read.iter().all(|arn| arn.starts_with(api)), "{read:?}");
    }

    #[test]
    fn the_policy_is_of_the_partition_that_the_stack_is_in() {
        let elsewhere = serde_json::to_string(&stack()).unwrap().replace("arn:aws:", "arn:aws-cn:");
        let policy = shipped_on(&serde_json::from_str(&elsewhere).unwrap()).policy.to_string();
        assert!(policy.contains("arn:aws-cn:apigateway:us-east-1::/apis/"), "{policy}");
        assert!(!policy.contains("arn:aws:"), "{policy}");
    }

    /// One row per file, for a stack on AWS whose visibility timeout is a minute.
    #[test]
    fn the_table_in_the_operations_guide_is_what_a_plan_says() {
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let guide = std::fs::read_to_string(guide).unwrap();
        for planned in shipped().experiments {
            let minutes: u64 = planned
                .faults
                .iter()
                .filter(|fault| matches!(fault.lever, Lever::Fis(_)))
                .map(|fault| action_minutes(Duration::from_secs_f64(fault.seconds)))
                .sum();
            let dollars = minutes as f64 * FIS_DOLLARS_PER_ACTION_MINUTE;
            let (least, most) = (planned.seconds / 60.0, planned.seconds_max() / 60.0);
            let row = format!(
                "| `{}` | {} | {least:.1} min | {most:.1} min | {dollars:.2} |",
                planned.name, planned.tasks
            );
            assert!(guide.contains(&row), "docs/operations.md lacks\n{row}");
        }
    }

    #[test]
    fn one_token_is_one_owner_and_a_key_makes_as_many_as_the_file_asks_for() {
        let baseline = experiment::load(&[folder().join("baseline.toml")]).unwrap();
        let told = plan(&baseline, &stack()).unwrap();
        assert_eq!((told.experiments[0].owners, told.experiments[0].owners_asked), (1, 4));
        assert!(told.to_string().contains("baseline: 1 owner, not 4"), "{told}");
        let mut with_key = stack();
        with_key.auth.private_key_path = Some("key.pem".into());
        let told = plan(&baseline, &with_key).unwrap();
        assert_eq!((told.experiments[0].owners, told.experiments[0].owners_note()), (4, None));
    }

    #[test]
    fn a_load_that_is_too_long_on_this_stack_is_refused() {
        let mut baseline = experiment::load(&[folder().join("baseline.toml")]).unwrap();
        baseline[0].load.duration = "1000 receives".parse().unwrap();
        assert!(plan(&baseline, &stack()).is_ok());
        let mut slow = stack();
        let tasks = slow.queues.get_mut("tasks").unwrap();
        tasks.visibility_timeout_seconds = Some(43_200);
        let error = plan(&baseline, &slow).unwrap_err();
        assert!(matches!(error, PlanError::Load { .. }), "{error}");
    }

    #[test]
    fn what_aws_would_bill_is_told_in_started_minutes() {
        let plan = shipped();
        let fis = plan.experiments.iter().flat_map(|experiment| &experiment.faults);
        let fis = fis.filter(|fault| matches!(fault.lever, Lever::Fis(_))).count() as u64;
        assert!(plan.fis_action_minutes > fis, "two receives of a minute are two minutes");
        let dollars = plan.fis_action_minutes as f64 * FIS_DOLLARS_PER_ACTION_MINUTE;
        assert!(plan.to_string().contains(&format!("about ${dollars:.2} on AWS")));
        assert!(plan.seconds_max > plan.seconds);
    }
}
