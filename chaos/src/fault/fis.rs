//! AWS FIS Lambda actions. The "setting" is the list of our experiment templates; the fault is in effect while the
//! experiment of the one that carries our token runs.
//!
//! The templates are made here and not in Terraform: provider 5.x does not know the target key `Functions`. The action's
//! own duration is the dead man: without us the fault ends at most one minute after it should have.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_fis::operation::delete_experiment_template::DeleteExperimentTemplateError;
use aws_sdk_fis::operation::stop_experiment::StopExperimentError;
use aws_sdk_fis::types::{
    CreateExperimentTemplateActionInput, CreateExperimentTemplateStopConditionInput,
    CreateExperimentTemplateTargetInput, Experiment, ExperimentState, ExperimentStatus, ExperimentSummary,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Setting, call};
use crate::clock::whole_seconds;
use crate::cloud::{CallError, Cloud};
use crate::wait::{Patience, until};

/// In policies: for whom a role is made.
pub(crate) const FIS_SERVICE: &str = "fis.amazonaws.com";
pub(crate) const CREATE_SERVICE_LINKED_ROLE: &str = "iam:CreateServiceLinkedRole";
/// Of all actions on functions.
pub(crate) const PERCENT_PARAMETER: &str = "invocationPercentage";
/// Of `aws:lambda:invocation-add-delay`.
pub(crate) const DELAY_PARAMETER: &str = "startupDelayMilliseconds";
/// Of `aws:lambda:invocation-http-integration-response`.
pub(crate) const STATUS_PARAMETER: &str = "statusCode";
/// Names our templates, so that recovery finds them even when the journal lacks their ids.
const TOKEN_TAG: &str = "chaos-token";
const ACTION_NAME: &str = "fault";
const TARGET_NAME: &str = "functions";
/// FIS refuses an action shorter than a minute; the harness stops it earlier.
const ACTION_SECONDS_MIN: u64 = 60;
const STATE_PATIENCE: Patience =
    Patience { every: Duration::from_millis(250), at_most: Duration::from_secs(120) };
/// FIS keeps at most 500 templates per account and Region.
const PAGES_MAX: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FisAction {
    /// Of this fault in this run: FIS makes one template of it however often it is asked.
    pub token: String,
    pub role_arn: String,
    pub function_arn: String,
    pub action_id: String,
    pub duration_seconds: u64,
    /// Besides the duration. FIS takes strings only.
    pub parameters: HashMap<String, String>,
}

/// What FIS bills: started minutes of one action.
pub fn action_minutes(duration: Duration) -> u64 {
    whole_seconds(duration).max(ACTION_SECONDS_MIN).div_ceil(60)
}

impl FisAction {
    async fn create_template(&self, cloud: &Cloud) -> Result<String, CallError> {
        let target = CreateExperimentTemplateTargetInput::builder()
            .resource_type("aws:lambda:function")
            .resource_arns(&self.function_arn)
            .selection_mode("ALL")
            .build()
            .map_err(CallError::of("fis:CreateExperimentTemplate"))?;
        let action = CreateExperimentTemplateActionInput::builder()
            .action_id(&self.action_id)
            .set_parameters(Some(self.all_parameters()))
            .targets("Functions", TARGET_NAME)
            .build()
            .map_err(CallError::of("fis:CreateExperimentTemplate"))?;
        let no_alarm = CreateExperimentTemplateStopConditionInput::builder()
            .source("none")
            .build()
            .map_err(CallError::of("fis:CreateExperimentTemplate"))?;
        let created = cloud
            .fis
            .create_experiment_template()
            .client_token(&self.token)
            .description(format!("chaos {}", self.token))
            .role_arn(&self.role_arn)
            .stop_conditions(no_alarm)
            .targets(TARGET_NAME, target)
            .actions(ACTION_NAME, action)
            .tags(TOKEN_TAG, &self.token)
            .send()
            .await
            .map_err(CallError::of("fis:CreateExperimentTemplate"))?;
        let id = created.experiment_template().and_then(|template| template.id());
        id.map(str::to_owned).ok_or_else(|| CallError::new("fis:CreateExperimentTemplate", "no id answered"))
    }

    fn all_parameters(&self) -> HashMap<String, String> {
        let minutes = action_minutes(Duration::from_secs(self.duration_seconds));
        let mut parameters = self.parameters.clone();
        parameters.insert("duration".into(), format!("PT{minutes}M"));
        parameters
    }

    /// Partition, Region and account of the function.
    fn place(&self) -> (&str, &str, &str) {
        let mut parts = self.function_arn.split(':').skip(1);
        let mut part = || parts.next().unwrap_or_default();
        let (partition, _service, region, account) = (part(), part(), part(), part());
        (partition, region, account)
    }

    fn fis_arn(&self, resource: &str) -> String {
        let (partition, region, account) = self.place();
        format!("arn:{partition}:fis:{region}:{account}:{resource}")
    }

    /// "When you start an experiment, AWS FIS creates a service-linked role on your behalf": whoever starts an account's
    /// first must be allowed to make that role.
    fn service_linked_role_arn(&self) -> String {
        let (partition, _region, account) = self.place();
        format!("arn:{partition}:iam::{account}:role/aws-service-role/{FIS_SERVICE}/*")
    }

    async fn start(&self, cloud: &Cloud) -> Result<(), CallError> {
        let template_id = self.create_template(cloud).await?;
        let call = cloud.fis.start_experiment().client_token(&self.token).experiment_template_id(template_id);
        let started = call.send().await.map_err(CallError::of("fis:StartExperiment"))?;
        let id = started.experiment().and_then(Experiment::id).unwrap_or_default().to_owned();
        let running = until(STATE_PATIENCE, async || {
            let experiment = get(cloud, &id).await?;
            match experiment.as_ref().and_then(status) {
                Some(ExperimentStatus::Running) => Ok(Some(())),
                Some(end) if is_terminal(&end) => {
                    let state = experiment.as_ref().and_then(Experiment::state);
                    Err(CallError::new("fis:StartExperiment", reason(state)))
                }
                _ => Ok(None),
            }
        });
        running
            .await?
            .ok_or_else(|| CallError::new("fis:StartExperiment", "the experiment does not begin to run"))
    }

    /// FIS ends what it cannot go on with, by a stop condition or its safety lever, and so may others.
    pub(super) async fn ended_early(&self, cloud: &Cloud) -> Result<Option<String>, CallError> {
        for template_id in self.templates(cloud).await? {
            for experiment in experiments_of(cloud, &template_id).await? {
                let state = experiment.state();
                match state.and_then(ExperimentState::status) {
                    None | Some(ExperimentStatus::Running | ExperimentStatus::Completed) => {}
                    Some(_) => return Ok(Some(format!("before it was put back: {}", reason(state)))),
                }
            }
        }
        Ok(None)
    }

    /// Stops whatever runs of our templates, and deletes them.
    async fn end(&self, cloud: &Cloud) -> Result<(), CallError> {
        for template_id in self.templates(cloud).await? {
            for experiment in experiments_of(cloud, &template_id).await? {
                stop(cloud, experiment.id().unwrap_or_default()).await?;
            }
            delete_template(cloud, &template_id).await?;
        }
        Ok(())
    }

    async fn templates(&self, cloud: &Cloud) -> Result<Vec<String>, CallError> {
        let mut ids = Vec::new();
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let call = cloud.fis.list_experiment_templates().set_next_token(next.take());
            let page = call.send().await.map_err(CallError::of("fis:ListExperimentTemplates"))?;
            for template in page.experiment_templates() {
                let token = template.tags().and_then(|tags| tags.get(TOKEN_TAG));
                if let (true, Some(id)) = (token == Some(&self.token), template.id()) {
                    ids.push(id.to_owned());
                }
            }
            next = page.next_token().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        ids.sort();
        Ok(ids)
    }
}

impl Setting for FisAction {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        self.templates(cloud).await.map(|ids| json!(ids))
    }

    fn faulted(&self, _prior: &Value) -> Result<Value, CallError> {
        Ok(json!("running"))
    }

    /// Templates with this token are of no other run.
    fn is_left(&self, _prior: &Value, found: &Value) -> bool {
        found.as_array().is_some_and(|templates| !templates.is_empty())
    }

    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError> {
        if value == &json!("running") { self.start(cloud).await } else { self.end(cloud).await }
    }

    fn calls(&self) -> Vec<Call> {
        let action = self.fis_arn(&format!("action/{}", self.action_id));
        let template = self.fis_arn("experiment-template/*");
        let experiment = self.fis_arn("experiment/*");
        let service_linked_role = self.service_linked_role_arn();
        [
            ("fis:ListExperimentTemplates", "*"),
            ("fis:CreateExperimentTemplate", &action),
            ("fis:CreateExperimentTemplate", &template),
            ("fis:TagResource", &template),
            ("fis:StartExperiment", &template),
            ("fis:StartExperiment", &experiment),
            ("fis:GetExperiment", &experiment),
            ("fis:ListExperiments", "*"),
            ("fis:StopExperiment", &experiment),
            ("fis:DeleteExperimentTemplate", &template),
            ("iam:PassRole", &self.role_arn),
            (CREATE_SERVICE_LINKED_ROLE, &service_linked_role),
        ]
        .map(|(action, resource)| call(action, resource))
        .into()
    }
}

async fn experiments_of(cloud: &Cloud, template_id: &str) -> Result<Vec<ExperimentSummary>, CallError> {
    let call = cloud.fis.list_experiments().experiment_template_id(template_id);
    let page = call.send().await.map_err(CallError::of("fis:ListExperiments"))?;
    let ours = page.experiments().iter().filter(|found| found.experiment_template_id() == Some(template_id));
    Ok(ours.filter(|found| found.id().is_some()).cloned().collect())
}

async fn get(cloud: &Cloud, id: &str) -> Result<Option<Experiment>, CallError> {
    let found = cloud.fis.get_experiment().id(id).send().await;
    Ok(found.map_err(CallError::of("fis:GetExperiment"))?.experiment)
}

async fn stop(cloud: &Cloud, id: &str) -> Result<(), CallError> {
    let ended = async || {
        let end = get(cloud, id).await?.as_ref().and_then(status);
        Ok::<_, CallError>(end.filter(is_terminal))
    };
    if ended().await?.is_some() {
        return Ok(());
    }
    match cloud.fis.stop_experiment().id(id).send().await {
        Ok(_) => {}
        // It may end between the look and the stop.
        Err(error)
            if matches!(error.as_service_error(), Some(StopExperimentError::ValidationException(_))) => {}
        Err(error) => return Err(CallError::of("fis:StopExperiment")(error)),
    }
    let stopped = until(STATE_PATIENCE, ended).await?;
    stopped.map(drop).ok_or_else(|| CallError::new("fis:StopExperiment", format!("{id} does not stop")))
}

async fn delete_template(cloud: &Cloud, id: &str) -> Result<(), CallError> {
    match cloud.fis.delete_experiment_template().id(id).send().await {
        Ok(_) => Ok(()),
        Err(error)
            if matches!(
                error.as_service_error(),
                Some(DeleteExperimentTemplateError::ResourceNotFoundException(_))
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(CallError::of("fis:DeleteExperimentTemplate")(error)),
    }
}

fn status(experiment: &Experiment) -> Option<ExperimentStatus> {
    experiment.state().and_then(|state| state.status()).cloned()
}

fn is_terminal(status: &ExperimentStatus) -> bool {
    use ExperimentStatus::{Cancelled, Completed, Failed, Stopped};
    matches!(status, Cancelled | Completed | Failed | Stopped)
}

fn reason(state: Option<&ExperimentState>) -> String {
    let status = state.and_then(|state| state.status()).map_or("unknown", |status| status.as_str());
    format!(
        "the experiment is {status}: {}",
        state.and_then(|state| state.reason()).unwrap_or("no reason given")
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_fis::operation::list_experiment_templates::ListExperimentTemplatesOutput;
    use aws_sdk_fis::operation::list_experiments::ListExperimentsOutput;
    use aws_sdk_fis::types::ExperimentTemplateSummary;
    use aws_smithy_mocks::mock;

    use super::*;
    use crate::mocked;

    /// FIS, of whose experiment it says this.
    async fn fis(status: ExperimentStatus) -> Cloud {
        let template = ExperimentTemplateSummary::builder().id("template").tags(TOKEN_TAG, "run").build();
        let state = ExperimentState::builder().status(status).reason("because").build();
        let experiment = ExperimentSummary::builder().id("experiment").experiment_template_id("template");
        let experiment = experiment.state(state).build();
        let rules = [
            mock!(aws_sdk_fis::Client::list_experiment_templates).then_output(move || {
                let page = ListExperimentTemplatesOutput::builder();
                page.experiment_templates(template.clone()).build()
            }),
            mock!(aws_sdk_fis::Client::list_experiments).then_output(move || {
                ListExperimentsOutput::builder().experiments(experiment.clone()).build()
            }),
        ];
        Cloud { fis: mocked::fis(&rules), ..mocked::cloud().await }
    }

    #[tokio::test]
    async fn an_experiment_that_was_ended_by_others_is_told_with_its_reason() {
        use ExperimentStatus::{Cancelled, Completed, Failed, Running, Stopped, Stopping};
        let action = FisAction {
            token: "run".into(),
            role_arn: "arn".into(),
            function_arn: "arn".into(),
            action_id: "aws:lambda:invocation-error".into(),
            duration_seconds: 60,
            parameters: HashMap::new(),
        };
        for status in [Running, Completed] {
            assert_eq!(action.ended_early(&fis(status).await).await.unwrap(), None);
        }
        for status in [Cancelled, Failed, Stopped, Stopping] {
            let told = format!("before it was put back: the experiment is {}: because", status.as_str());
            assert_eq!(action.ended_early(&fis(status).await).await.unwrap(), Some(told));
        }
    }

    #[test]
    fn fis_is_asked_for_whole_minutes_and_no_less_than_one() {
        for (seconds, minutes) in [(1, 1), (60, 1), (61, 2), (600, 10)] {
            assert_eq!(action_minutes(Duration::from_secs(seconds)), minutes);
        }
    }
}
