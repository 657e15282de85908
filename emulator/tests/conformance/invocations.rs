//! Lambda: what an invocation answers.

use std::io::{Cursor, Write};
use std::time::Duration;

use aws_sdk_lambda::Client;
use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, InvocationType, Runtime};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::world::{Made, World};

/// Answers every event with the same error. Lambda's image of the runtime has all that it calls, and so have most machines.
const BOOTSTRAP: &str = r#"#!/bin/sh
base="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers=$(curl -sS -D - -o /dev/null "$base/next") || exit 1
  id=$(echo "$headers" | tr -d '\r' | grep -i '^lambda-runtime-aws-request-id:' | cut -d ' ' -f 2)
  curl -sS -o /dev/null -d '{"errorType":"Asked.For","errorMessage":"as asked"}' "$base/$id/error" || exit 1
done
"#;
const ERROR: &str = r#"{"errorType":"Asked.For","errorMessage":"as asked"}"#;
/// IAM takes seconds until others know of a new role.
const CREATIONS_MAX: usize = 60;
const CREATE_EVERY: Duration = Duration::from_secs(1);
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);

fn package() -> Blob {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
    writer.write_all(BOOTSTRAP.as_bytes()).unwrap();
    Blob::new(writer.finish().unwrap().into_inner())
}

/// A function of that package, ready to be invoked.
async fn function(world: &World, lambda: &Client) -> String {
    let name = world.name("function");
    let role = world.role("lambda.amazonaws.com").await;
    world.made(Made::Function(name.clone()));
    let code = FunctionCode::builder().zip_file(package()).build();
    let create = lambda.create_function().function_name(&name).role(role).handler("bootstrap").timeout(10);
    let create = create.runtime(Runtime::Providedal2023).code(code);
    for _ in 0..CREATIONS_MAX {
        let Err(error) = create.clone().send().await else { break };
        let text = error.message().unwrap_or_default();
        assert!(text.contains("cannot be assumed"), "{error:?}");
        tokio::time::sleep(CREATE_EVERY).await;
    }
    lambda.wait_until_function_active_v2().function_name(&name).wait(ACTIVE_WITHIN).await.unwrap();
    name
}

pub(crate) async fn an_error_of_the_function_is_an_answer(world: &World) {
    let lambda = Client::new(&world.config);
    let name = function(world, &lambda).await;
    let invoke = |payload: &str| lambda.invoke().function_name(&name).payload(Blob::new(payload)).send();
    let answer = invoke("{}").await.unwrap();
    assert_eq!((answer.status_code(), answer.executed_version()), (200, Some("$LATEST")));
    assert_eq!(answer.function_error(), Some("Unhandled"));
    assert_eq!(String::from_utf8_lossy(answer.payload().unwrap().as_ref()), ERROR);
    let error = invoke("{").await.unwrap_err();
    assert!(error.into_service_error().is_invalid_request_content_exception());
    for (kind, status) in [(InvocationType::DryRun, 204), (InvocationType::Event, 202)] {
        let answer = lambda.invoke().function_name(&name).invocation_type(kind).send().await.unwrap();
        assert_eq!((answer.status_code(), answer.function_error()), (status, None));
    }
}
