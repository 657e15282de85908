//! Looks into the dead-letter queue and marks the records of what lies there.

mod handler;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use task_aws::env::ProcessEnv;
use task_aws::start::{self, StartError};

fn main() -> ExitCode {
    start::run(serve)
}

async fn serve(env: ProcessEnv) -> Result<(), StartError> {
    let function = Arc::new(handler::Function::from_env(&env)?);
    // Whoever invokes it, with whatever event: an audit takes no parameters.
    let serve = service_fn(move |event: LambdaEvent<serde_json::Value>| {
        let function = Arc::clone(&function);
        async move { function.audit(&event.context).await }
    });
    Ok(lambda_runtime::run(serve).await?)
}
