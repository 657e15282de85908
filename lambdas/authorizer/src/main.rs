//! The one authorizer for both APIs.

mod handler;
mod keys;
mod token;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use task_aws::env::ProcessEnv;
use task_aws::start::{self, StartError};

fn main() -> ExitCode {
    start::run(serve)
}

async fn serve(env: ProcessEnv) -> Result<(), StartError> {
    let verifier = Arc::new(token::Verifier::from_env(&env)?);
    let serve = service_fn(move |event: LambdaEvent<handler::AuthorizerEvent>| {
        let verifier = Arc::clone(&verifier);
        async move {
            let trace = event.context.xray_trace_id.as_deref();
            handler::answer(&verifier, &event.payload, &event.context.request_id, trace).await
        }
    });
    Ok(lambda_runtime::run(serve).await?)
}
