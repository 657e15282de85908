//! `GET /tasks` and `GET /tasks/{id}`.

mod handler;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use task_aws::env::{self, ProcessEnv};
use task_aws::event::HttpEvent;
use task_aws::sdk;
use task_aws::start::{self, StartError};
use task_aws::tasks::DynamoTasks;

fn main() -> ExitCode {
    start::run(serve)
}

async fn serve(env: ProcessEnv) -> Result<(), StartError> {
    let sdk = sdk::config(&env)?;
    let table = env::required(&env, env::ENV_TASKS_TABLE)?;
    let shards = env::owner_index_shards(&env)?;
    let tasks = Arc::new(DynamoTasks::new(sdk::dynamodb(&sdk), table, shards));
    let serve = service_fn(move |event: LambdaEvent<HttpEvent>| {
        let tasks = Arc::clone(&tasks);
        async move { handler::answer(&*tasks, &*tasks, shards, &event.payload, &event.context).await }
    });
    Ok(lambda_runtime::run(serve).await?)
}
