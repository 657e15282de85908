//! What a run would do, told without touching anything: no call to AWS is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use loadtest::stack::Stack;
use serde_json::{Value, json};

use crate::experiment::Experiment;
use crate::fault::{Call, Lever, ResolveError, action_minutes, resolve};
use crate::run::queue_facts;

/// What AWS asks per minute of one FIS action.
const FIS_DOLLARS_PER_ACTION_MINUTE: f64 = 0.10;

/// The whole plan, ready to print or to write as JSON.
#[derive(Debug, serde::Serialize)]
pub struct Plan {
    pub experiments: Vec<Planned>,
    pub fis_action_minutes: u64,
    pub policy: Value,
}

#[derive(Debug, serde::Serialize)]
pub struct Planned {
    pub name: String,
    pub tasks: u64,
    /// Load and faults; settling, judging and redriving come on top, at most `settle_seconds_max` each.
    pub seconds: f64,
    pub settle_seconds_max: f64,
    pub faults: Vec<PlannedFault>,
}

#[derive(Debug, serde::Serialize)]
pub struct PlannedFault {
    pub kind: &'static str,
    pub target: String,
    pub start_seconds: f64,
    pub seconds: f64,
    pub calls: Vec<Call>,
}

pub fn plan(experiments: &[Experiment], stack: &Stack) -> Result<Plan, ResolveError> {
    let visibility = queue_facts(stack).map_or(Duration::ZERO, |queue| queue.visibility_timeout);
    let mut minutes = 0;
    let mut calls: BTreeSet<Call> = harness_calls(stack);
    let mut planned = Vec::new();
    for experiment in experiments {
        let mut faults = Vec::new();
        for spec in experiment.fault_specs() {
            let duration = spec.duration.resolve(visibility);
            let lever = resolve(spec, stack, duration, "plan".into())?;
            if matches!(lever, Lever::Fis(_)) {
                minutes += action_minutes(duration);
            }
            calls.extend(lever.calls());
            faults.push(PlannedFault {
                kind: spec.kind.name(),
                target: spec.target.clone(),
                start_seconds: spec.start.resolve(visibility).as_secs_f64(),
                seconds: duration.as_secs_f64(),
                calls: lever.calls(),
            });
        }
        planned.push(experiment_plan(experiment, faults, visibility));
    }
    Ok(Plan { experiments: planned, fis_action_minutes: minutes, policy: policy(&calls) })
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
    Planned { name: experiment.name.clone(), tasks, seconds: end, settle_seconds_max, faults }
}

/// What the harness calls besides its faults: to read, to audit and to redrive.
fn harness_calls(stack: &Stack) -> BTreeSet<Call> {
    let mut calls = BTreeSet::new();
    let mut add = |action, resource: &str| calls.insert(Call { action, resource: resource.to_owned() });
    for function in stack.functions.values() {
        for action in
            ["lambda:GetFunctionConcurrency", "lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
        {
            add(action, &function.arn);
        }
    }
    for queue in stack.queues.values() {
        add("sqs:GetQueueAttributes", &queue.arn);
    }
    if let (Some(dead), Some(tasks)) = (stack.queues.get("tasks-dlq"), stack.queues.get("tasks")) {
        let moves = ["sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:DeleteMessage"];
        for action in ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"].into_iter().chain(moves) {
            add(action, &dead.arn);
        }
        add("sqs:SendMessage", &tasks.arn);
    }
    for table in stack.tables.values() {
        for action in ["dynamodb:DescribeTable", "dynamodb:BatchGetItem"] {
            add(action, &table.arn);
        }
        add("dynamodb:Query", &format!("{}/index/owner-index", table.arn));
    }
    add("lambda:GetEventSourceMapping", "*");
    add("cloudwatch:GetMetricData", "*");
    add("apigateway:GET", "*");
    calls
}

fn policy(calls: &BTreeSet<Call>) -> Value {
    let mut by_resource: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for call in calls {
        // IAM knows a mapping only by `*` and a condition on its function.
        let resource =
            if call.resource.starts_with("event-source-mapping:") { "*" } else { call.resource.as_str() };
        by_resource.entry(resource).or_default().push(call.action);
    }
    let statements = by_resource.iter().map(|(resource, actions)| {
        let actions: BTreeSet<_> = actions.iter().collect();
        json!({"Effect": "Allow", "Action": actions, "Resource": resource})
    });
    json!({"Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>()})
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for experiment in &self.experiments {
            write!(f, "{experiment}")?;
        }
        let dollars = self.fis_action_minutes as f64 * FIS_DOLLARS_PER_ACTION_MINUTE;
        writeln!(f, "\nFIS: {} action-minutes, about ${dollars:.2} on AWS", self.fis_action_minutes)?;
        writeln!(f, "\nIAM policy that the harness needs:\n{:#}", self.policy)
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, tasks, seconds, settle_seconds_max, faults } = self;
        writeln!(
            f,
            "{name}: {tasks} tasks, {seconds:.0} s, then at most {settle_seconds_max:.0} s to settle"
        )?;
        for PlannedFault { kind, target, start_seconds, seconds, calls } in faults {
            writeln!(f, "  {kind} on {target} from {start_seconds:.0} s for {seconds:.0} s")?;
            for call in calls {
                writeln!(f, "    {} {}", call.action, call.resource)?;
            }
        }
        Ok(())
    }
}
