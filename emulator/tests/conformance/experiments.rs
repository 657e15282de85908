//! FIS: an experiment that only waits. On AWS its minute costs ten cents, and it is remembered for 120 days: what ended cannot
//! be deleted.

use std::time::Duration;

use aws_sdk_fis::Client;
use aws_sdk_fis::types::{
    CreateExperimentTemplateActionInput, CreateExperimentTemplateStopConditionInput, ExperimentStatus,
};

use crate::world::{Made, World};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS_MAX: usize = 240;
/// IAM takes seconds until FIS may take a new role; until then experiments fail.
const STARTS_MAX: usize = 20;

/// The first state that the experiment is in after these.
async fn state_after(fis: &Client, id: &str, passing: &[ExperimentStatus]) -> ExperimentStatus {
    for _ in 0..LOOKS_MAX {
        let found = fis.get_experiment().id(id).send().await.unwrap().experiment.unwrap();
        let status = found.state.and_then(|state| state.status).unwrap();
        if !passing.contains(&status) {
            return status;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("{id} stays in {passing:?}")
}

/// The id of an experiment that runs.
async fn running(world: &World, fis: &Client, template: &str) -> String {
    for _ in 0..STARTS_MAX {
        let start = fis.start_experiment().experiment_template_id(template).client_token(world.name("token"));
        let id = start.send().await.unwrap().experiment.unwrap().id.unwrap();
        let before = [ExperimentStatus::Pending, ExperimentStatus::Initiating];
        if state_after(fis, &id, &before).await == ExperimentStatus::Running {
            return id;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("no experiment of {template} runs")
}

pub(crate) async fn an_experiment_runs_until_it_is_stopped(world: &World) {
    let fis = Client::new(&world.config);
    let role = world.role("fis.amazonaws.com").await;
    let wait = CreateExperimentTemplateActionInput::builder().action_id("aws:fis:wait");
    let wait = wait.parameters("duration", "PT1M").build().unwrap();
    let never = CreateExperimentTemplateStopConditionInput::builder().source("none").build().unwrap();
    let template = fis.create_experiment_template().client_token(world.name("token")).description("waits");
    let template = template.role_arn(role).stop_conditions(never).actions("wait", wait).send().await.unwrap();
    let template = template.experiment_template.unwrap().id.unwrap();
    world.made(Made::Template(template.clone()));
    let id = running(world, &fis, &template).await;
    fis.stop_experiment().id(&id).send().await.unwrap();
    let before = [ExperimentStatus::Running, ExperimentStatus::Stopping];
    assert_eq!(state_after(&fis, &id, &before).await, ExperimentStatus::Stopped);
}
