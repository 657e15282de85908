//! The one authorizer for both APIs.

mod handler;
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
        async move { handler::answer(&verifier, &event.payload, &event.context.request_id) }
    });
    Ok(lambda_runtime::run(serve).await?)
}
