//! FIS through the AWS SDK, on a clock that is moved by hand: life cycles, refusals, stop conditions, the safety lever.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_cloudwatch::types::{ComparisonOperator, StateValue, Statistic};
use aws_sdk_fis::Client;
use aws_sdk_fis::config::retry::RetryConfig;
use aws_sdk_fis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_fis::error::ProvideErrorMetadata;
use aws_sdk_fis::types::{
    CreateExperimentTemplateActionInput, CreateExperimentTemplateStopConditionInput,
    CreateExperimentTemplateTargetInput, Experiment, ExperimentStatus, SafetyLeverStatusInput,
    UpdateSafetyLeverStateInput,
};
use emulator::clock::{Clock, ManualClock};
use emulator::{Emulator, Options, Running};

const ROLE: &str = "arn:aws:iam::123456789012:role/experiments";
const ALARM: &str = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:customers";
const START_MS: i64 = 1_800_000_000_000;
/// Generous: the machine may be busy. Nothing waits for it unless something is wrong.
const WITHIN: Duration = Duration::from_secs(20);

struct Stand {
    running: Running,
    hand: Arc<ManualClock>,
    fis: Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
}

impl Stand {
    async fn start(iam: bool) -> Self {
        let (clock, hand) = Clock::manual(START_MS);
        let running = Emulator::start(Options { clock, iam, ..Options::default() }).await.unwrap();
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
        Self { running, hand, fis, cloudwatch }
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
            .client_token(format!("{:?}", std::time::Instant::now()))
            .description("test")
            .role_arn(ROLE)
            .stop_conditions(condition.build().unwrap())
            .send()
            .await?;
        Ok(made.experiment_template.unwrap().id.unwrap())
    }

    async fn run(&self, template: &str) -> Result<String, aws_sdk_fis::Error> {
        let token = format!("{:?}", std::time::Instant::now());
        let call = self.fis.start_experiment().client_token(token).experiment_template_id(template);
        Ok(call.send().await?.experiment.unwrap().id.unwrap())
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
    stand.hand.advance(Duration::from_secs(59));
    assert_eq!(stand.status(&id).await, ExperimentStatus::Running);
    stand.hand.advance(Duration::from_secs(1));
    let ended = stand.until(&id, ExperimentStatus::Completed).await;
    let action = &ended.actions.unwrap()["wait"];
    assert_eq!(action.state().unwrap().status().unwrap().as_str(), "completed");
    stand.running.shutdown().await;
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
    stand.hand.advance(Duration::from_secs(1));
    let ended = stand.until(&id, ExperimentStatus::Stopped).await;
    let actions = ended.actions.unwrap();
    let status = |name: &str| actions[name].state().unwrap().status().unwrap().as_str().to_owned();
    assert_eq!((status("first").as_str(), status("second").as_str()), ("stopped", "cancelled"));
    stand.running.shutdown().await;
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
    stand.running.shutdown().await;
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
    stand.running.shutdown().await;
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
    stand.hand.advance(Duration::from_secs(1));
    stand.until(&id, ExperimentStatus::Stopped).await;
    let refused = stand.run(&template).await.unwrap();
    stand.until(&refused, ExperimentStatus::Cancelled).await;
    lever(SafetyLeverStatusInput::Disengaged).await;
    let again = stand.run(&template).await.unwrap();
    stand.until(&again, ExperimentStatus::Running).await;
    stand.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_does_not_trust_fis_fails_the_experiment() {
    let stand = Stand::start(true).await;
    let template = stand.template(vec![("wait", wait_a_minute())], false).await.unwrap();
    let id = stand.run(&template).await.unwrap();
    let failed = stand.until(&id, ExperimentStatus::Failed).await;
    let error = failed.state.unwrap().error.unwrap();
    assert_eq!(error.code.as_deref(), Some("AuthorizationFailure"), "{error:?}");
    stand.running.shutdown().await;
}
