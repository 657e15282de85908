//! Each condition of the preflight, broken by itself: it is named, the exit code is 2, and nothing is touched.

use aws_sdk_cloudwatch::types::{ComparisonOperator, Dimension, StateValue, Statistic};
use aws_sdk_fis::types::{SafetyLeverStatusInput, UpdateSafetyLeverStateInput};
use aws_sdk_lambda::types::ScalingConfig;
use aws_sdk_sqs::types::QueueAttributeName;
use chaos::iam::RolePolicy;
use chaos::observe::drift;
use loadtest::TOKEN_VARIABLE;
use serde_json::Value;
use tokio::process::Command;

use crate::bench::Bench;
use crate::settings;

const EXIT_PASS: i32 = 0;
const EXIT_USAGE: i32 = 2;
const ALARM: &str = "worker-errors";
const ROLE_DENIAL: RolePolicy<'static> = RolePolicy { role: "chaos", name: "chaos-deny-until" };

/// Harmless in itself; it aims at what the conditions are about.
const EXPERIMENT: &str = r#"
name = "looked-at"
hypothesis = "It is refused before anything is touched."
[load]
rate_per_second = 5
duration = "1s"
settle = "1s"
owners = 1
[[fault]]
kind = "fis-action"
target = "process-task"
start = "0s"
duration = "1s"
action_id = "aws:lambda:invocation-error"
parameters = { preventExecution = "true" }
[[fault]]
kind = "queue-visibility-timeout"
target = "tasks"
start = "0s"
duration = "1s"
visibility_timeout = "0s"
[[fault]]
kind = "lambda-reserved-concurrency"
target = "list-tasks"
start = "0s"
duration = "1s"
concurrency = 0
[[fault]]
kind = "queue-deny"
target = "tasks"
start = "0s"
duration = "1s"
[[fault]]
kind = "role-permission"
target = "process-task"
start = "0s"
duration = "1s"
actions = ["dynamodb:UpdateItem"]
"#;
/// As a run that was killed leaves it: its time is over, and it is still there.
const DENIAL: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"ChaosDenyUntil","Effect":"Deny","Action":"dynamodb:GetItem",
  "Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2023-11-14T22:13:20Z"}}}]}"#;

#[derive(Clone, Copy, Debug)]
enum Condition {
    OtherAccount,
    Production,
    NotAllowed,
    Alarm,
    SafetyLever,
    UnknownAction,
    Visibility,
    WorkerTakesAll,
    ReservationTooLarge,
    FaultLeft,
    QueueDenialLeft,
    RoleDenialLeft,
    RunLeft,
    NoToken,
}

impl Condition {
    const ALL: [Self; 14] = [
        Self::OtherAccount,
        Self::Production,
        Self::NotAllowed,
        Self::Alarm,
        Self::SafetyLever,
        Self::UnknownAction,
        Self::Visibility,
        Self::WorkerTakesAll,
        Self::ReservationTooLarge,
        Self::FaultLeft,
        Self::QueueDenialLeft,
        Self::RoleDenialLeft,
        Self::RunLeft,
        Self::NoToken,
    ];

    const fn refused_as(self) -> &'static str {
        match self {
            Self::OtherAccount => "refused account: ",
            Self::Production => "refused not production: tagged as production: queue tasks",
            Self::NotAllowed => "refused targets allowed: not tagged chaos=allowed: queue tasks",
            Self::Alarm => "refused alarms: worker-errors",
            Self::SafetyLever => "refused safety lever: engaged",
            Self::UnknownAction => "refused FIS action: FIS has no aws:lambda:no-such-action here",
            Self::Visibility => "refused visibility timeout: 5 s",
            Self::WorkerTakesAll => "refused concurrency: 1000 in the account",
            Self::ReservationTooLarge => {
                "refused reserved concurrency: that of list-tasks leaves 50 unreserved"
            }
            Self::FaultLeft => "refused settings: lambda-reserved-concurrency on list-tasks finds 0 already",
            Self::QueueDenialLeft => "refused settings: queue-deny on tasks finds ",
            Self::RoleDenialLeft => "refused settings: role-permission on process-task finds ",
            Self::RunLeft => "refused earlier runs: faults open in ",
            Self::NoToken => "refused token: the stack has no private key and TASKS_TOKEN is not set",
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_condition_that_does_not_hold_bars_the_run_before_anything_is_touched() {
    let bench = Box::pin(Bench::up()).await;
    let as_it_was = std::fs::read_to_string(bench.stack_file()).unwrap();
    make_alarm(&bench).await;
    assert_eq!(chaos(&bench, "preflight", EXPERIMENT).await.1, EXIT_PASS);
    for condition in Condition::ALL {
        set(&bench, condition, true, &as_it_was).await;
        let before = settings(&bench).await;
        let experiment = match condition {
            Condition::UnknownAction => EXPERIMENT.replace("invocation-error", "no-such-action"),
            Condition::ReservationTooLarge => EXPERIMENT.replace("concurrency = 0", "concurrency = 950"),
            _ => EXPERIMENT.to_owned(),
        };
        for command in ["preflight", "run"] {
            let (told, code) = chaos(&bench, command, &experiment).await;
            assert_eq!(code, EXIT_USAGE, "{condition:?}, {command}: {told}");
            assert!(told.contains(condition.refused_as()), "{condition:?}, {command}: {told}");
        }
        assert_eq!(drift(&before, &settings(&bench).await), Vec::<String>::new(), "{condition:?}");
        set(&bench, condition, false, &as_it_was).await;
    }
    let (told, code) = chaos(&bench, "preflight", EXPERIMENT).await;
    assert_eq!(code, EXIT_PASS, "{told}");
}

/// What was printed, and the exit code.
async fn chaos(bench: &Bench, command: &str, experiment: &str) -> (String, i32) {
    let file = bench.write("looked-at.toml", experiment);
    let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
    program.arg(command).arg(file).arg("--stack").arg(bench.stack_file()).env_remove(TOKEN_VARIABLE);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        // Where nobody answers, and nobody is to be asked for what is on this machine.
        program.env(name, "http://127.0.0.1:1");
    }
    program.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = program.arg("--out").arg(bench.folder().join("runs")).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (told.into_owned(), output.status.code().unwrap())
}

/// What a denial of a queue says besides.
fn of_queue(arn: &str) -> String {
    let mut policy: Value = serde_json::from_str(DENIAL).unwrap();
    let statement = &mut policy["Statement"][0];
    statement["Principal"] = "*".into();
    statement["Action"] = "sqs:SendMessage".into();
    statement["Resource"] = arn.into();
    policy.to_string()
}

async fn make_alarm(bench: &Bench) {
    let of_worker = Dimension::builder().name("FunctionName").value("process-task").build();
    let alarm = bench.cloud().cloudwatch.put_metric_alarm().alarm_name(ALARM).namespace("AWS/Lambda");
    let alarm = alarm.metric_name("Errors").dimensions(of_worker).statistic(Statistic::Sum).period(60);
    let alarm = alarm.evaluation_periods(1).threshold(1e9).treat_missing_data("ignore");
    let comparison = ComparisonOperator::GreaterThanThreshold;
    alarm.comparison_operator(comparison).send().await.unwrap();
}

async fn set(bench: &Bench, condition: Condition, broken: bool, stack_file: &str) {
    let (cloud, queue) = (bench.cloud(), &bench.stack().queues["tasks"].url);
    match condition {
        Condition::OtherAccount => {
            let mut stack: Value = serde_json::from_str(stack_file).unwrap();
            if broken {
                stack["account_id"] = "999999999999".into();
            }
            std::fs::write(bench.stack_file(), stack.to_string()).unwrap();
        }
        Condition::NoToken => {
            let mut stack: Value = serde_json::from_str(stack_file).unwrap();
            if broken {
                stack["auth"]["private_key_path"] = Value::Null;
            }
            std::fs::write(bench.stack_file(), stack.to_string()).unwrap();
        }
        Condition::Production if broken => {
            cloud.sqs.tag_queue().queue_url(queue).tags("environment", "prod").send().await.unwrap();
        }
        Condition::Production => {
            cloud.sqs.untag_queue().queue_url(queue).tag_keys("environment").send().await.unwrap();
        }
        Condition::NotAllowed if broken => {
            cloud.sqs.untag_queue().queue_url(queue).tag_keys("chaos").send().await.unwrap();
        }
        Condition::NotAllowed => {
            cloud.sqs.tag_queue().queue_url(queue).tags("chaos", "allowed").send().await.unwrap();
        }
        Condition::Alarm => {
            let state = if broken { StateValue::Alarm } else { StateValue::Ok };
            let call = cloud.cloudwatch.set_alarm_state().alarm_name(ALARM).state_value(state);
            call.state_reason("said so").send().await.unwrap();
        }
        Condition::SafetyLever => {
            use SafetyLeverStatusInput::{Disengaged, Engaged};
            let state = UpdateSafetyLeverStateInput::builder();
            let state = state.status(if broken { Engaged } else { Disengaged }).reason("said so").build();
            let call = cloud.fis.update_safety_lever_state().id("default").state(state.unwrap());
            call.send().await.unwrap();
        }
        // Of the file.
        Condition::UnknownAction | Condition::ReservationTooLarge => {}
        Condition::Visibility => {
            let seconds = if broken { "5" } else { "6" };
            let call = cloud.sqs.set_queue_attributes().queue_url(queue);
            call.attributes(QueueAttributeName::VisibilityTimeout, seconds).send().await.unwrap();
        }
        Condition::WorkerTakesAll => {
            let scaling = ScalingConfig::builder().set_maximum_concurrency(broken.then_some(1000)).build();
            let call = cloud.lambda.update_event_source_mapping().scaling_config(scaling);
            call.uuid(&bench.stack().event_source_mapping_id).send().await.unwrap();
        }
        Condition::FaultLeft if broken => bench.throttle().engage(cloud, &Value::Null).await.unwrap(),
        Condition::FaultLeft => bench.throttle().put_back(cloud, &Value::Null).await.unwrap(),
        Condition::QueueDenialLeft => {
            let policy = if broken { of_queue(&bench.stack().queues["tasks"].arn) } else { String::new() };
            let call = cloud.sqs.set_queue_attributes().queue_url(queue);
            call.attributes(QueueAttributeName::Policy, policy).send().await.unwrap();
        }
        Condition::RoleDenialLeft if broken => cloud.iam.put(ROLE_DENIAL, DENIAL).await.unwrap(),
        Condition::RoleDenialLeft => cloud.iam.delete(ROLE_DENIAL).await.unwrap(),
        Condition::RunLeft => {
            let (left, account_id) = (bench.folder().join("runs/left"), &bench.stack().account_id);
            if broken {
                bench.left_open(&left, account_id, &bench.throttle(), &Value::Null);
            } else {
                std::fs::remove_dir_all(left).unwrap();
            }
        }
    }
}
