//! `$connect`, `$disconnect` and `$default` of the WebSocket API.

mod handler;

use std::process::ExitCode;
use std::sync::Arc;

use lambda_runtime::{LambdaEvent, service_fn};
use task_aws::connections::DynamoConnections;
use task_aws::env::{self, ProcessEnv};
use task_aws::event::SocketEvent;
use task_aws::sdk;
use task_aws::start::{self, StartError};
use task_aws::system::SystemClock;
use task_aws::tasks::DynamoTasks;

fn main() -> ExitCode {
    start::run(serve)
}

async fn serve(env: ProcessEnv) -> Result<(), StartError> {
    let client = sdk::dynamodb(&sdk::config(&env)?);
    let tasks = env::required(&env, env::ENV_TASKS_TABLE)?;
    let connections = env::required(&env, env::ENV_CONNECTIONS_TABLE)?;
    let socket = Arc::new(handler::Socket {
        store: DynamoTasks::reader(client.clone(), tasks),
        connections: DynamoConnections::new(client, connections),
        clock: SystemClock,
    });
    let serve = service_fn(move |event: LambdaEvent<SocketEvent>| {
        let socket = Arc::clone(&socket);
        async move { socket.answer(&event.payload, event.context.xray_trace_id.as_deref()).await }
    });
    Ok(lambda_runtime::run(serve).await?)
}
