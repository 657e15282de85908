//! FIS through the AWS SDK, on a clock that is moved by hand: life cycles, refusals, stop conditions, the safety lever, and
//! functions that are faulted.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod functions;
#[path = "functions/logs.rs"]
mod logs;

use std::time::Duration;

use aws_sdk_cloudwatch::types::{ComparisonOperator, StateValue, Statistic};
use aws_sdk_fis::Client;
use aws_sdk_fis::config::retry::RetryConfig;
use aws_sdk_fis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_fis::error::ProvideErrorMetadata;
use aws_sdk_fis::operation::create_experiment_template::builders::CreateExperimentTemplateFluentBuilder;
use aws_sdk_fis::primitives::{DateTime, DateTimeFormat};
use aws_sdk_fis::types::builders::CreateExperimentTemplateTargetInputBuilder;
use aws_sdk_fis::types::{
    ActionsMode, CreateExperimentTemplateActionInput, CreateExperimentTemplateExperimentOptionsInput,
    CreateExperimentTemplateLogConfigurationInput, CreateExperimentTemplateStopConditionInput,
    CreateExperimentTemplateTargetInput, EmptyTargetResolutionMode, Experiment, ExperimentStatus,
    ExperimentTemplateCloudWatchLogsLogConfigurationInput, ResolvedTarget, SafetyLeverStatusInput,
    StartExperimentExperimentOptionsInput, UpdateExperimentTemplateActionInputItem,
    UpdateExperimentTemplateReportConfigurationInput, UpdateSafetyLeverStateInput,
};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use emulator::clock::Clock;
use emulator::metrics::MetricId;
use emulator::{Emulator, Options};
use functions::Account;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/experiments";
const ALARM: &str = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:customers";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function";
const LAYER: &str = "arn:aws:lambda:us-east-1:211125607513:layer:aws-fis-extension-x86_64:374";
/// What the FIS extension needs to reach a function.
const WIRING: [(&str, &str); 3] = [
    ("AWS_LAMBDA_EXEC_WRAPPER", "/opt/aws-fis/bootstrap"),
    ("AWS_FIS_CONFIGURATION_LOCATION", "arn:aws:s3:::faults/FisConfigs/"),
    ("ECHO_HONOURS_WRAPPER", "1"),
];
const START_MS: i64 = 1_800_000_000_000;
/// Generous: the machine may be busy. Nothing waits for it unless something is wrong.
const WITHIN: Duration = Duration::from_secs(20);

struct Stand {
    account: Account,
    fis: Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
}

impl Stand {
    async fn start(iam: bool) -> Self {
        Self::by_hand(Options { iam, ..Options::default() }).await
    }

    /// On a clock that only the test moves.
    async fn by_hand(options: Options) -> Self {
        let (clock, hand) = Clock::manual(START_MS);
        let account = Account::on(Emulator::start(Options { clock, ..options }).await.unwrap()).await;
        Self::of(Account { hand: Some(hand), ..account })
    }

    fn of(account: Account) -> Self {
        let running = &account.running;
        let credentials = Credentials::new("AKIATEST", "secret", None, None, "test");
        let fis = aws_sdk_fis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(running.endpoint())
            .credentials_provider(credentials.clone())
            .retry_config(RetryConfig::disabled())
            .build();
        let cloudwatch = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(running.endpoint())
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .build();
        let (fis, cloudwatch) = (Client::from_conf(fis), aws_sdk_cloudwatch::Client::from_conf(cloudwatch));
        Self { account, fis, cloudwatch }
    }

    fn advance(&self, by: Duration) {
        self.account.hand.as_ref().unwrap().advance(by);
    }

    async fn end(self) {
        self.account.running.shutdown().await;
    }

    /// A function that the FIS extension reaches.
    async fn wired(&self, name: &str, more: &[(&str, &str)]) {
        self.account.function(name, 60, &[&WIRING[..], more].concat(), &[LAYER]).await;
    }

    /// Whether the function, named by this version or alias, answers with an error.
    async fn is_faulted(&self, name: &str, qualifier: Option<&str>) -> bool {
        let call = self.account.lambda.invoke().function_name(name).payload(Blob::new("{}"));
        let answer = call.set_qualifier(qualifier.map(str::to_owned)).send().await.unwrap();
        answer.function_error().is_some()
    }

    async fn alarm(&self, state: StateValue) {
        let alarm = self.cloudwatch.put_metric_alarm().alarm_name("customers").namespace("Test");
        let alarm = alarm.metric_name("Errors").statistic(Statistic::Sum).period(60).evaluation_periods(1);
        let alarm = alarm.threshold(1.0).comparison_operator(ComparisonOperator::GreaterThanThreshold);
        alarm.send().await.unwrap();
        let set = self.cloudwatch.set_alarm_state().alarm_name("customers").state_value(state);
        set.state_reason("the test says so").send().await.unwrap();
    }

    /// A template with these actions; its experiments stop on the alarm when asked.
    async fn template(
        &self,
        actions: Vec<(&str, CreateExperimentTemplateActionInput)>,
        stops_on_alarm: bool,
    ) -> Result<String, aws_sdk_fis::Error> {
        let condition = CreateExperimentTemplateStopConditionInput::builder();
        let condition = match stops_on_alarm {
            true => condition.source("aws:cloudwatch:alarm").value(ALARM),
            false => condition.source("none"),
        };
        let mut call = self.fis.create_experiment_template();
        for (name, action) in actions {
            call = call.actions(name, action);
        }
        let made = call
            .client_token(token())
            .description("test")
            .role_arn(ROLE)
            .stop_conditions(condition.build().unwrap())
            .send()
            .await?;
        Ok(made.experiment_template.unwrap().id.unwrap())
    }

    async fn run(&self, template: &str) -> Result<String, aws_sdk_fis::Error> {
        let call = self.fis.start_experiment().client_token(token()).experiment_template_id(template);
        Ok(call.send().await?.experiment.unwrap().id.unwrap())
    }

    /// An experiment that marks each invocation of the target as failed; its action is called `fault`.
    async fn fault(&self, target: CreateExperimentTemplateTargetInput) -> String {
        let made = self.targeting(target, vec![("fault", error())]).send().await.unwrap();
        self.run(&made.experiment_template.unwrap().id.unwrap()).await.unwrap()
    }

    /// A template whose actions have `functions` for their target.
    fn targeting(
        &self,
        target: CreateExperimentTemplateTargetInput,
        actions: Vec<(&str, CreateExperimentTemplateActionInput)>,
    ) -> CreateExperimentTemplateFluentBuilder {
        let none = CreateExperimentTemplateStopConditionInput::builder().source("none").build().unwrap();
        let call = self.fis.create_experiment_template().client_token(token()).description("test");
        let call = call.role_arn(ROLE).stop_conditions(none).targets("functions", target);
        actions.into_iter().fold(call, |call, (name, action)| call.actions(name, action))
    }

    /// What the target resolves to, without acting on it.
    async fn resolved(&self, target: CreateExperimentTemplateTargetInput) -> Vec<String> {
        let made = self.targeting(target, vec![("fault", error())]).send().await.unwrap();
        let only = StartExperimentExperimentOptionsInput::builder().actions_mode(ActionsMode::SkipAll);
        let start = self.fis.start_experiment().client_token(token()).experiment_options(only.build());
        let start = start.experiment_template_id(made.experiment_template.unwrap().id.unwrap());
        let id = start.send().await.unwrap().experiment.unwrap().id.unwrap();
        self.until(&id, ExperimentStatus::Completed).await;
        let listed = self.fis.list_experiment_resolved_targets().experiment_id(&id).target_name("functions");
        let listed = listed.send().await.unwrap();
        let arn = |found: &ResolvedTarget| found.target_information().unwrap()["arn"].clone();
        listed.resolved_targets().iter().map(arn).collect()
    }

    async fn experiment(&self, id: &str) -> Experiment {
        self.fis.get_experiment().id(id).send().await.unwrap().experiment.unwrap()
    }

    async fn status(&self, id: &str) -> ExperimentStatus {
        self.experiment(id).await.state.unwrap().status.unwrap()
    }

    async fn until(&self, id: &str, wanted: ExperimentStatus) -> Experiment {
        let wait = async {
            while self.status(id).await != wanted {
                tokio::task::yield_now().await;
            }
        };
        let met = tokio::time::timeout(WITHIN, wait).await;
        assert!(met.is_ok(), "not {wanted:?} but {:?}", self.experiment(id).await.state);
        self.experiment(id).await
    }

    async fn action_status(&self, id: &str, action: &str) -> String {
        let actions = self.experiment(id).await.actions.unwrap();
        actions[action].state().unwrap().status().unwrap().as_str().to_owned()
    }

    /// What an action does is done when it is shown as running.
    async fn until_action(&self, id: &str, action: &str, wanted: &str) {
        let wait = async {
            while self.action_status(id, action).await != wanted {
                tokio::task::yield_now().await;
            }
        };
        let met = tokio::time::timeout(WITHIN, wait).await;
        assert!(met.is_ok(), "not {wanted} but {:?}", self.experiment(id).await);
    }

    /// The code of a failed experiment.
    async fn failure(&self, id: &str) -> String {
        let failed = self.until(id, ExperimentStatus::Failed).await;
        failed.state.unwrap().error.unwrap().code.unwrap()
    }
}

/// Used once.
fn token() -> String {
    format!("{:?}", std::time::Instant::now())
}

fn error() -> CreateExperimentTemplateActionInput {
    CreateExperimentTemplateActionInput::builder()
        .action_id("aws:lambda:invocation-error")
        .parameters("duration", "PT10M")
        .parameters("preventExecution", "true")
        .targets("Functions", "functions")
        .build()
        .unwrap()
}

fn target() -> CreateExperimentTemplateTargetInputBuilder {
    CreateExperimentTemplateTargetInput::builder().resource_type("aws:lambda:function").selection_mode("ALL")
}

fn by_arn(arn: &str) -> CreateExperimentTemplateTargetInput {
    target().resource_arns(arn).build().unwrap()
}

fn action(id: &str, parameters: &[(&str, &str)]) -> CreateExperimentTemplateActionInput {
    let mut action = CreateExperimentTemplateActionInput::builder().action_id(id);
    for (name, value) in parameters {
        action = action.parameters(*name, *value);
    }
    action.build().unwrap()
}

fn wait_a_minute() -> CreateExperimentTemplateActionInput {
    action("aws:fis:wait", &[("duration", "PT1M")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_runs_for_its_duration_and_then_the_experiment_is_completed() {
    let stand = Stand::start(false).await;
    let template = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let id = stand.run(&template).await.unwrap();
    stand.until(&id, ExperimentStatus::Running).await;
    stand.advance(Duration::from_secs(59));
    assert_eq!(stand.status(&id).await, ExperimentStatus::Running);
    stand.advance(Duration::from_secs(1));
    let ended = stand.until(&id, ExperimentStatus::Completed).await;
    let action = &ended.actions.unwrap()["wait"];
    assert_eq!(action.state().unwrap().status().unwrap().as_str(), "completed");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_report_is_told_that_there_is_none() {
    let stand = Stand::start(false).await;
    let template = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let report =
        UpdateExperimentTemplateReportConfigurationInput::builder().post_experiment_duration("PT5M").build();
    let call = stand.fis.update_experiment_template().id(&template);
    call.experiment_report_configuration(report).send().await.unwrap();
    let id = stand.run(&template).await.unwrap();
    let report = |experiment: &Experiment| {
        let state = experiment.experiment_report().unwrap().state().unwrap().clone();
        (state.status().unwrap().as_str().to_owned(), state.reason().unwrap().to_owned())
    };
    let running = stand.until(&id, ExperimentStatus::Running).await;
    assert_eq!(report(&running).0, "pending");
    stand.advance(Duration::from_secs(60));
    let ended = stand.until(&id, ExperimentStatus::Completed).await;
    let reason = "Reports of experiments are not part of this emulator.";
    assert_eq!(report(&ended), ("failed".to_owned(), reason.to_owned()));
    let shown = ended.experiment_report_configuration().unwrap();
    assert_eq!(shown.post_experiment_duration(), Some("PT5M"));
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_that_rises_stops_the_experiment_and_cancels_what_has_not_begun() {
    let stand = Stand::start(false).await;
    stand.alarm(StateValue::Ok).await;
    let after = CreateExperimentTemplateActionInput::builder()
        .action_id("aws:fis:wait")
        .parameters("duration", "PT1M")
        .start_after("first")
        .build()
        .unwrap();
    let actions = vec![("first", wait_a_minute()), ("second", after)];
    let template = stand.template(actions, true).await.unwrap();
    let id = stand.run(&template).await.unwrap();
    stand.until(&id, ExperimentStatus::Running).await;
    stand.alarm(StateValue::Alarm).await;
    stand.advance(Duration::from_secs(1));
    let ended = stand.until(&id, ExperimentStatus::Stopped).await;
    let actions = ended.actions.unwrap();
    let status = |name: &str| actions[name].state().unwrap().status().unwrap().as_str().to_owned();
    assert_eq!((status("first").as_str(), status("second").as_str()), ("stopped", "cancelled"));
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_on_an_alarm_fails_the_experiment_that_finds_another_state() {
    let stand = Stand::start(false).await;
    stand.alarm(StateValue::Ok).await;
    let wants = |state: &str| {
        let parameters = [("alarmArns", ALARM), ("alarmStates", state)];
        action("aws:cloudwatch:assert-alarm-state", &parameters)
    };
    let holds = stand.template(vec![("assert", wants("OK"))], false).await.unwrap();
    let id = stand.run(&holds).await.unwrap();
    stand.until(&id, ExperimentStatus::Completed).await;
    let fails = stand.template(vec![("assert", wants("ALARM"))], false).await.unwrap();
    let id = stand.run(&fails).await.unwrap();
    let failed = stand.until(&id, ExperimentStatus::Failed).await;
    assert_eq!(failed.state.unwrap().error.unwrap().code.as_deref(), Some("ConfigurationFailure"));
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_that_aws_rejects_are_rejected_in_its_words() {
    let stand = Stand::start(false).await;
    for service in ["sqs", "dynamodb", "lambda"] {
        let target = CreateExperimentTemplateTargetInput::builder()
            .resource_type("aws:iam:role")
            .resource_arns(ROLE)
            .selection_mode("ALL")
            .build()
            .unwrap();
        let inject = CreateExperimentTemplateActionInput::builder()
            .action_id("aws:fis:inject-api-throttle-error")
            .parameters("duration", "PT1M")
            .parameters("service", service)
            .parameters("percentage", "50")
            .parameters("operations", "SendMessage")
            .targets("Roles", "roles")
            .build()
            .unwrap();
        let none = CreateExperimentTemplateStopConditionInput::builder().source("none").build().unwrap();
        let call = stand.fis.create_experiment_template().client_token(service).description("test");
        let call = call.role_arn(ROLE).stop_conditions(none).targets("roles", target);
        let error = call.actions("inject", inject).send().await.unwrap_err().into_service_error();
        assert_eq!(error.code(), Some("ValidationException"), "{service}");
        assert_eq!(error.message(), Some("The service parameter value is not supported for the action"));
    }
    let unknown = stand.template(vec![("a", action("aws:sqs:drop-messages", &[]))], false).await;
    assert_eq!(unknown.unwrap_err().code(), Some("ResourceNotFoundException"));
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engaged_lever_stops_what_runs_until_it_is_disengaged() {
    let stand = Stand::start(false).await;
    let template = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let id = stand.run(&template).await.unwrap();
    stand.until(&id, ExperimentStatus::Running).await;
    let lever = |status: SafetyLeverStatusInput| async {
        let state = UpdateSafetyLeverStateInput::builder().status(status).reason("test").build().unwrap();
        stand.fis.update_safety_lever_state().id("default").state(state).send().await.unwrap();
    };
    lever(SafetyLeverStatusInput::Engaged).await;
    stand.advance(Duration::from_secs(1));
    stand.until(&id, ExperimentStatus::Stopped).await;
    let refused = stand.run(&template).await.unwrap();
    stand.until(&refused, ExperimentStatus::Cancelled).await;
    lever(SafetyLeverStatusInput::Disengaged).await;
    let again = stand.run(&template).await.unwrap();
    stand.until(&again, ExperimentStatus::Running).await;
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_does_not_trust_fis_fails_the_experiment() {
    let stand = Stand::start(true).await;
    let template = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let id = stand.run(&template).await.unwrap();
    let failed = stand.until(&id, ExperimentStatus::Failed).await;
    let error = failed.state.unwrap().error.unwrap();
    assert_eq!(error.code.as_deref(), Some("AuthorizationFailure"), "{error:?}");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_is_not_emulated_is_refused_with_those_that_are() {
    let stand = Stand::start(false).await;
    let other = action("aws:ec2:stop-instances", &[]);
    let refused = stand.template(vec![("a", other)], false).await.unwrap_err();
    assert_eq!(refused.code(), Some("ResourceNotFoundException"));
    let message = refused.message().unwrap();
    assert!(message.starts_with("Invalid actionId: aws:ec2:stop-instances"), "{message}");
    assert!(message.contains("only these are emulated") && message.contains("aws:fis:wait"), "{message}");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_on_too_many_alarms_or_on_no_state_is_refused() {
    let stand = Stand::start(false).await;
    let many = [ALARM; 6].join(",");
    for (alarms, states) in [(many.as_str(), "OK"), (ALARM, "FINE"), ("customers", "OK")] {
        let parameters = [("alarmArns", alarms), ("alarmStates", states)];
        let assert = action("aws:cloudwatch:assert-alarm-state", &parameters);
        let refused = stand.template(vec![("assert", assert)], false).await.unwrap_err();
        assert_eq!(refused.code(), Some("ValidationException"), "{alarms} {states}");
    }
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_changes_what_it_names_or_nothing() {
    let stand = Stand::start(false).await;
    let id = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let wait = |minutes: &str| {
        UpdateExperimentTemplateActionInputItem::builder()
            .action_id("aws:fis:wait")
            .parameters("duration", minutes)
            .build()
    };
    let update = || stand.fis.update_experiment_template().id(&id);
    let changed = update().description("changed").actions("other", wait("PT2M")).send().await.unwrap();
    let changed = changed.experiment_template.unwrap();
    let names = |actions: Option<std::collections::HashMap<String, _>>| -> Vec<String> {
        actions.unwrap().into_keys().collect()
    };
    assert_eq!((changed.description.as_deref(), changed.role_arn.as_deref()), (Some("changed"), Some(ROLE)));
    assert_eq!(names(changed.actions), ["other"]);
    let refused = update().description("refused").actions("other", wait("PT1S")).send().await.unwrap_err();
    assert!(refused.into_service_error().is_validation_exception());
    let kept = stand.fis.get_experiment_template().id(&id).send().await.unwrap().experiment_template.unwrap();
    assert_eq!(kept.description.as_deref(), Some("changed"));
    let missing = stand.fis.update_experiment_template().id("EXTnone").send().await.unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_is_updated_without_its_id_keeps_it() {
    let stand = Stand::start(false).await;
    let id = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let update = |name: &str| {
        let action =
            UpdateExperimentTemplateActionInputItem::builder().parameters("duration", "PT2M").build();
        stand.fis.update_experiment_template().id(&id).actions(name, action).send()
    };
    let changed = update("wait").await.unwrap().experiment_template.unwrap().actions.unwrap();
    assert_eq!(changed["wait"].action_id(), Some("aws:fis:wait"));
    assert_eq!(changed["wait"].parameters().unwrap()["duration"], "PT2M");
    let refused = update("other").await.unwrap_err().into_service_error();
    assert!(refused.is_validation_exception(), "{refused:?}");
    let why = "The request is missing the required member actionId of the action other.";
    assert_eq!(refused.message(), Some(why));
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_is_gone_when_its_fault_begins_is_named_as_such() {
    let stand = Stand::start(false).await;
    stand.wired("f", &[]).await;
    let after = CreateExperimentTemplateActionInput::builder()
        .action_id("aws:lambda:invocation-error")
        .parameters("duration", "PT10M")
        .parameters("preventExecution", "true")
        .targets("Functions", "functions")
        .start_after("wait")
        .build()
        .unwrap();
    let actions = vec![("wait", wait_a_minute()), ("fault", after)];
    let made = stand.targeting(by_arn(&format!("{FUNCTION}:f")), actions).send().await.unwrap();
    let id = stand.run(&made.experiment_template.unwrap().id.unwrap()).await.unwrap();
    stand.until_action(&id, "wait", "running").await;
    stand.account.lambda.delete_function().function_name("f").send().await.unwrap();
    stand.advance(Duration::from_secs(60));
    let failed = stand.until(&id, ExperimentStatus::Failed).await;
    assert_eq!(failed.state().unwrap().reason(), Some("The function f was not found."));
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_makes_one_template_and_one_experiment_and_no_other() {
    let stand = Stand::start(false).await;
    let create = |description: &str| {
        let none = CreateExperimentTemplateStopConditionInput::builder().source("none").build().unwrap();
        let call = stand.fis.create_experiment_template().client_token("once").description(description);
        call.role_arn(ROLE).stop_conditions(none).actions("wait", wait_a_minute()).send()
    };
    let id = |made: Option<aws_sdk_fis::types::ExperimentTemplate>| made.unwrap().id.unwrap();
    let template = id(create("a").await.unwrap().experiment_template);
    assert_eq!(id(create("a").await.unwrap().experiment_template), template);
    let other = create("b").await.unwrap_err().into_service_error();
    assert!(other.is_conflict_exception(), "{other:?}");
    let start = |template: &str| {
        let call = stand.fis.start_experiment().client_token("once").experiment_template_id(template);
        call.send()
    };
    let experiment = start(&template).await.unwrap().experiment.unwrap().id;
    assert_eq!(start(&template).await.unwrap().experiment.unwrap().id, experiment);
    let second = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let other = start(&second).await.unwrap_err().into_service_error();
    assert!(other.is_conflict_exception(), "{other:?}");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_are_told_as_such() {
    const ACTIVE_MAX: usize = 5;
    const ACTIONS_MAX: usize = 20;
    let stand = Stand::start(false).await;
    let names: Vec<String> = (0..=ACTIONS_MAX).map(|n| format!("a{n}")).collect();
    let actions = names.iter().map(|name| (name.as_str(), wait_a_minute())).collect();
    let refused = stand.template(actions, false).await.unwrap_err();
    assert_eq!(refused.code(), Some("ServiceQuotaExceededException"));
    let template = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..ACTIVE_MAX {
        ids.push(stand.run(&template).await.unwrap());
    }
    assert_eq!(stand.run(&template).await.unwrap_err().code(), Some("ServiceQuotaExceededException"));
    stand.fis.stop_experiment().id(&ids[0]).send().await.unwrap();
    stand.until(&ids[0], ExperimentStatus::Stopped).await;
    stand.run(&template).await.unwrap();
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_that_are_deleted_page_by_page_are_all_found() {
    let stand = Stand::start(false).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(stand.template(vec![("wait", wait_a_minute())], false).await.unwrap());
    }
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let call = stand.fis.list_experiment_templates().max_results(2).set_next_token(token);
        let page = call.send().await.unwrap();
        for template in page.experiment_templates() {
            let id = template.id().unwrap();
            stand.fis.delete_experiment_template().id(id).send().await.unwrap();
            found.push(id.to_owned());
        }
        token = page.next_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    made.sort();
    assert_eq!(found, made);
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_are_found_by_their_tags_and_as_many_are_taken_as_asked() {
    let stand = Stand::start(false).await;
    for name in ["a", "b", "c"] {
        stand.account.function(name, 60, &[], &[]).await;
        let arn = format!("{FUNCTION}:{name}");
        let kind = if name == "c" { "spared" } else { "target" };
        stand.account.lambda.tag_resource().resource(arn).tags("kind", kind).send().await.unwrap();
    }
    let tagged = || target().resource_tags("kind", "target");
    let mut all = stand.resolved(tagged().build().unwrap()).await;
    all.sort();
    assert_eq!(all, ["a", "b"].map(|name| format!("{FUNCTION}:{name}")));
    for (mode, count) in [("COUNT(1)", 1), ("COUNT(9)", 2), ("PERCENT(70)", 1)] {
        let chosen = stand.resolved(tagged().selection_mode(mode).build().unwrap()).await;
        assert_eq!(chosen.len(), count, "{mode}");
        assert!(chosen.iter().all(|arn| all.contains(arn)), "{mode}: {chosen:?}");
    }
    let nobody = target().resource_tags("kind", "nobody").build().unwrap();
    let id = stand.fault(nobody).await;
    assert_eq!(stand.failure(&id).await, "InvalidTarget");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_without_a_target_is_skipped_where_that_is_asked_for_and_the_next_one_begins() {
    let stand = Stand::start(false).await;
    let after = CreateExperimentTemplateActionInput::builder()
        .action_id("aws:fis:wait")
        .parameters("duration", "PT1M")
        .start_after("fault")
        .build()
        .unwrap();
    let nobody = target().resource_tags("kind", "nobody").build().unwrap();
    let skip = CreateExperimentTemplateExperimentOptionsInput::builder()
        .empty_target_resolution_mode(EmptyTargetResolutionMode::Skip)
        .build();
    let call = stand.targeting(nobody, vec![("fault", error()), ("after", after)]).experiment_options(skip);
    let template = call.send().await.unwrap().experiment_template.unwrap().id.unwrap();
    let id = stand.run(&template).await.unwrap();
    stand.until_action(&id, "after", "running").await;
    assert_eq!(stand.action_status(&id, "fault").await, "skipped");
    stand.advance(Duration::from_secs(60));
    stand.until(&id, ExperimentStatus::Completed).await;
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_names_a_version_or_an_alias_faults_no_other_invocation() {
    let stand = Stand::of(Account::start(false).await);
    stand.wired("f", &[]).await;
    let lambda = &stand.account.lambda;
    lambda.publish_version().function_name("f").send().await.unwrap();
    lambda.create_alias().function_name("f").name("live").function_version("1").send().await.unwrap();
    let qualified = |qualifier: &str| {
        target().resource_arns(format!("{FUNCTION}:f")).parameters("functionQualifier", qualifier)
    };
    for (target, faulted) in [
        (qualified("live").build().unwrap(), [false, false, true]),
        (by_arn(&format!("{FUNCTION}:f:1")), [false, true, true]),
        (qualified("$LATEST").build().unwrap(), [true, false, false]),
    ] {
        let id = stand.fault(target).await;
        stand.until_action(&id, "fault", "running").await;
        for (qualifier, is_faulted) in [None, Some("1"), Some("live")].into_iter().zip(faulted) {
            assert_eq!(stand.is_faulted("f", qualifier).await, is_faulted, "{qualifier:?}");
        }
        stand.fis.stop_experiment().id(&id).send().await.unwrap();
        stand.until(&id, ExperimentStatus::Stopped).await;
        assert_eq!(stand.account.result("f", json!({"a": 1})).await, json!({"a": 1}), "the fault is over");
    }
    for nothing in [
        qualified("none").build().unwrap(),
        by_arn("arn:aws:lambda:eu-west-1:123456789012:function:f"),
        by_arn("arn:aws:lambda:us-east-1:210987654321:function:f"),
        by_arn(&format!("{FUNCTION}:none")),
    ] {
        let id = stand.fault(nothing).await;
        assert_eq!(stand.failure(&id).await, "InvalidTarget");
    }
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_extension_says_what_it_does_in_the_log_and_counts_it_there() {
    let stand = Stand::start(false).await;
    let metrics = ("AWS_FIS_EXTENSION_METRICS", "all");
    stand.wired("loud", &[metrics]).await;
    stand.wired("quiet", &[metrics, ("AWS_FIS_LOG_LEVEL", "WARN")]).await;
    stand.wired("uncounted", &[]).await;
    for (name, speaks, counts) in [("loud", true, true), ("quiet", false, true), ("uncounted", true, false)] {
        let id = stand.fault(by_arn(&format!("{FUNCTION}:{name}"))).await;
        stand.until_action(&id, "fault", "running").await;
        let call = stand.account.lambda.invoke().function_name(name).log_type(LogType::Tail);
        let answer = call.payload(Blob::new(json!({}).to_string())).send().await.unwrap();
        assert_eq!(answer.function_error(), Some("Unhandled"), "{name}");
        let tail = String::from_utf8(STANDARD.decode(answer.log_result().unwrap()).unwrap()).unwrap();
        for said in ["found active faults", "modifying the function response"] {
            assert_eq!(tail.contains(&format!("INFO AWS FIS EXTENSION - {said}")), speaks, "{name}: {tail}");
        }
        assert_eq!(tail.contains("\"FaultInjected\":1"), counts, "{name}: {tail}");
        let dimensions = [("FaultId", "aws:lambda:invocation-error"), ("Invocation", name)];
        let dimensions = dimensions.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let metric = MetricId::new("aws-fis-extension", "FaultInjected", dimensions.into());
        let recorded = &stand.account.running.settings().metrics;
        let set = recorded.statistics(&metric, "Count", START_MS, START_MS + 3_600_000);
        assert_eq!(set.map(|set| set.sum), counts.then_some(1.0), "{name}");
    }
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_polling_of_aws_a_fault_ramps_up_and_down() {
    let stand = Stand::by_hand(Options { iam: false, fis_polling: true, ..Options::default() }).await;
    stand.wired("f", &[("AWS_FIS_POLL_MAX_WAIT_MILLISECONDS", "500")]).await;
    assert!(!stand.is_faulted("f", None).await);
    let id = stand.fault(by_arn(&format!("{FUNCTION}:f"))).await;
    stand.until_action(&id, "fault", "running").await;
    stand.advance(Duration::from_secs(59));
    assert!(!stand.is_faulted("f", None).await, "the extension has not looked again");
    stand.advance(Duration::from_secs(1));
    assert!(stand.is_faulted("f", None).await);
    stand.fis.stop_experiment().id(&id).send().await.unwrap();
    stand.until(&id, ExperimentStatus::Stopped).await;
    stand.advance(Duration::from_secs(19));
    assert!(stand.is_faulted("f", None).await, "nor does it know of the end");
    stand.advance(Duration::from_secs(1));
    assert!(!stand.is_faulted("f", None).await);
    stand.end().await;
}

const LOG_GROUP: &str = "/fis";

fn logging(arn: &str, version: i32) -> CreateExperimentTemplateLogConfigurationInput {
    let group = ExperimentTemplateCloudWatchLogsLogConfigurationInput::builder().log_group_arn(arn);
    CreateExperimentTemplateLogConfigurationInput::builder()
        .cloud_watch_logs_configuration(group.build().unwrap())
        .log_schema_version(version)
        .build()
        .unwrap()
}

/// The records of an experiment, in order: their type and their details.
async fn logged(stand: &Stand, id: &str) -> Vec<(String, Value)> {
    let stream = format!("/aws/fis/{id}");
    let call = json!({"logGroupName": LOG_GROUP, "logStreamNames": [stream]});
    let found = logs::call(&stand.account, "FilterLogEvents", call).await;
    let events = found["events"].as_array().cloned().unwrap_or_default();
    let record = |event: &Value| {
        let record: Value = serde_json::from_str(event["message"].as_str().unwrap()).unwrap();
        assert_eq!(record["id"], id);
        (record["log_type"].as_str().unwrap().to_owned(), record["details"].clone())
    };
    events.iter().map(record).collect()
}

/// To the second, as logs write times.
fn second(at: Option<&DateTime>) -> String {
    DateTime::from_secs(at.unwrap().secs()).fmt(DateTimeFormat::DateTime).unwrap()
}

fn types(log: &[(String, Value)]) -> Vec<&str> {
    log.iter().map(|(log_type, _)| log_type.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_experiment_is_logged_from_its_start_to_its_end_where_its_template_says() {
    let stand = Stand::start(false).await;
    stand.wired("f", &[]).await;
    logs::call(&stand.account, "CreateLogGroup", json!({"logGroupName": LOG_GROUP})).await;
    let group = format!("arn:aws:logs:us-east-1:123456789012:log-group:{LOG_GROUP}:*");
    let run = async |target: CreateExperimentTemplateTargetInput, version: i32| {
        let actions = vec![("fault", error()), ("wait", wait_a_minute())];
        let call = stand.targeting(target, actions).log_configuration(logging(&group, version));
        let template = call.send().await.unwrap().experiment_template.unwrap().id.unwrap();
        stand.run(&template).await.unwrap()
    };
    let function = format!("{FUNCTION}:f");
    let id = run(by_arn(&function), 2).await;
    stand.until_action(&id, "wait", "running").await;
    stand.advance(Duration::from_secs(60));
    stand.until_action(&id, "wait", "completed").await;
    stand.fis.stop_experiment().id(&id).send().await.unwrap();
    let stopped = stand.until(&id, ExperimentStatus::Stopped).await;
    let log = logged(&stand, &id).await;
    let expected = [
        "experiment-start",
        "target-resolution-start",
        "target-resolution-detail",
        "target-resolution-end",
        "action-start",
        "action-start",
        "action-end",
        "action-end",
        "experiment-end",
    ];
    assert_eq!(types(&log), expected);
    assert_eq!(log[0].1["experiment_start_time"], second(stopped.start_time()));
    assert_eq!((&log[2].1["status"], &log[2].1["resolved_targets_count"]), (&json!("completed"), &json!(1)));
    assert_eq!(log[3].1["resolved_targets"], json!([{"arn": function}]));
    assert_eq!(log[4].1["action_targets"], json!({"Functions": "functions"}));
    assert_eq!(log[5].1["parameters"], json!({"duration": "PT1M"}));
    let ended = &log[6].1;
    let state = json!({"status": "completed", "reason": "Action was completed."});
    assert_eq!((&ended["action_name"], &ended["action_state"]), (&json!("wait"), &state));
    assert_eq!(ended["action_end_time"], second(stopped.actions().unwrap()["wait"].end_time()));
    assert_eq!(log[7].1["action_state"]["status"], "stopped");
    assert_eq!(log[8].1["experiment_state"]["status"], "stopped");

    // The first version says less.
    let id = run(by_arn(&format!("{FUNCTION}:none")), 1).await;
    stand.until(&id, ExperimentStatus::Failed).await;
    let log = logged(&stand, &id).await;
    let expected = ["experiment-start", "target-resolution-start", "target-resolution-end", "experiment-end"];
    assert_eq!(types(&log), expected);
    assert!(log[2].1["error_information"].as_str().unwrap().contains("was not found"), "{log:?}");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_is_refused_with_the_template_or_fails_the_experiment() {
    let stand = Stand::start(false).await;
    let template = |arn: &str, version: i32| {
        let none = CreateExperimentTemplateStopConditionInput::builder().source("none").build().unwrap();
        let call = stand.fis.create_experiment_template().client_token(token()).description("test");
        let call = call.role_arn(ROLE).stop_conditions(none).actions("wait", wait_a_minute());
        call.log_configuration(logging(arn, version)).send()
    };
    let group = format!("arn:aws:logs:us-east-1:123456789012:log-group:{LOG_GROUP}:*");
    let unfinished = group.trim_end_matches(":*");
    for (arn, version) in [(group.as_str(), 3), (unfinished, 2), ("a queue with twenty characters", 2)] {
        let refused = template(arn, version).await.unwrap_err().into_service_error();
        assert!(refused.is_validation_exception(), "{arn} {version}: {refused:?}");
    }
    let made = template(&group, 2).await.unwrap().experiment_template.unwrap();
    let id = stand.run(&made.id.unwrap()).await.unwrap();
    assert_eq!(stand.failure(&id).await, "ConfigurationFailure", "there is no such group");
    stand.end().await;
}
