//! Clients whose calls are answered by rules, in tests.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_mocks::{MockResponseInterceptor, Rule, RuleMode, create_mock_http_client};
use loadtest::stack::Stack;
use serde_json::{Value, json};

use crate::cloud::Cloud;

/// What Terraform says of a stack that has these functions and queues.
pub(crate) fn stack(functions: &Value, queues: &Value) -> Stack {
    let api = json!({"id": "id", "stage": "stage"});
    let stack = json!({
        "endpoint": null, "region": "us-east-1", "account_id": "1",
        "http_url": "http://h", "websocket_url": "ws://w", "http_api": api, "websocket_api": api,
        "functions": functions, "queues": queues, "tables": {}, "event_source_mapping_id": "uuid",
        "fault_injection": null, "auth": {"issuer": "i", "audience": "a"},
    });
    serde_json::from_value(stack).unwrap()
}

/// Port 9 is the discard service: a call of a client that is not mocked fails at once.
pub(crate) async fn cloud() -> Cloud {
    Cloud::connect(Some("http://127.0.0.1:9"), "us-east-1").await
}

pub(crate) fn sqs(rules: &[Rule]) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_sqs::Client::from_conf(config.build())
}

pub(crate) fn lambda(rules: &[Rule]) -> aws_sdk_lambda::Client {
    let config = aws_sdk_lambda::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_lambda::Client::from_conf(config.build())
}

pub(crate) fn dynamodb(rules: &[Rule]) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

pub(crate) fn apigateway(rules: &[Rule]) -> aws_sdk_apigatewayv2::Client {
    let config = aws_sdk_apigatewayv2::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_apigatewayv2::Client::from_conf(config.build())
}

pub(crate) fn fis(rules: &[Rule]) -> aws_sdk_fis::Client {
    let config = aws_sdk_fis::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_fis::Client::from_conf(config.build())
}

pub(crate) fn cloudwatch(rules: &[Rule]) -> aws_sdk_cloudwatch::Client {
    let config = aws_sdk_cloudwatch::config::Builder::from(&config()).interceptor(answers(rules));
    aws_sdk_cloudwatch::Client::from_conf(config.build())
}

fn config() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(create_mock_http_client())
        .build()
}

fn answers(rules: &[Rule]) -> MockResponseInterceptor {
    let none = MockResponseInterceptor::new().rule_mode(RuleMode::MatchAny);
    rules.iter().fold(none, |answers, rule| answers.with_rule(rule))
}
