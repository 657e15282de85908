//! `POST /tasks`: accepts a task.

mod handler;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use task_aws::env::{self, ProcessEnv};
use task_aws::event::HttpEvent;
use task_aws::sdk;
use task_aws::sqs::SqsTasks;
use task_aws::start::{self, StartError};
use task_aws::system::{SystemClock, SystemRandom};
use task_aws::tasks::DynamoTasks;
use task_core::admission::Admission;
use task_core::submit::Submit;

fn main() -> ExitCode {
    start::run(serve)
}

async fn serve(env: ProcessEnv) -> Result<(), StartError> {
    let sdk = sdk::config(&env)?;
    let table = env::required(&env, env::ENV_TASKS_TABLE)?;
    let submit = Arc::new(Submit {
        store: DynamoTasks::new(sdk::dynamodb(&sdk), table, env::owner_index_shards(&env)?),
        queue: SqsTasks::new(&sdk, env::url(&env, env::ENV_TASKS_QUEUE_URL)?),
        clock: SystemClock,
        random: SystemRandom,
        kinds: env::kinds_allowed(&env)?,
        admission: Admission::new(env::tasks_in_flight_per_owner_max(&env)?),
    });
    let serve = service_fn(move |event: LambdaEvent<HttpEvent>| {
        let submit = Arc::clone(&submit);
        async move { handler::answer(&submit, &event.payload, &event.context).await }
    });
    Ok(lambda_runtime::run(serve).await?)
}
