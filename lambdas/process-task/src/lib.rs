//! Works on tasks from the queue.

mod handler;
#[cfg(feature = "sabotage")]
mod sabotage;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use task_aws::env::ProcessEnv;
use task_aws::event::SqsEvent;
use task_aws::start::{self, StartError};

/// Runs until Lambda ends the process.
#[must_use]
pub fn main() -> ExitCode {
    start::run(serve)
}

async fn serve(env: ProcessEnv) -> Result<(), StartError> {
    let function = Arc::new(handler::Function::from_env(&env)?);
    let serve = service_fn(move |event: LambdaEvent<SqsEvent>| {
        let function = Arc::clone(&function);
        async move { function.work(event.payload, &event.context).await }
    });
    Ok(lambda_runtime::run(serve).await?)
}
