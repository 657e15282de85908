//! Enforcement end to end: a real function's own credentials, the AWS SDK, and what the role allows.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod functions;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, Put, ScalarAttributeType,
    TransactWriteItem,
};
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::types::{DeadLetterConfig, DestinationConfig, OnFailure, TracingConfig, TracingMode};
use aws_sdk_sqs::types::QueueAttributeName;
use functions::Account;
use serde_json::{Value, json};

const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:tasks";
const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";
const LAMBDA: &str = "lambda.amazonaws.com";
/// Generous: the machine may be busy. Nothing waits for it unless something is wrong.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(20);

fn statement(actions: &[&str], resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": actions, "Resource": resource})
}

/// The administrator's: signatures themselves are not checked.
const SIGNED_FOR_IAM: &str = "AWS4-HMAC-SHA256 Credential=AKIAADMIN/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";

const SIGNED_FOR_S3: &str = "AWS4-HMAC-SHA256 Credential=AKIAADMIN/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A call of the IAM API, which has no SDK here.
async fn iam(account: &Account, action: &str, parameters: &[(&str, &str)]) {
    let mut form = format!("Action={action}&Version=2010-05-08");
    for (name, value) in parameters {
        let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        form.push_str(&format!("&{name}={value}"));
    }
    let answer = reqwest::Client::new()
        .post(account.running.endpoint())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", SIGNED_FOR_IAM)
        .body(form)
        .send()
        .await
        .unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{action}: {status} {}", answer.text().await.unwrap());
}

async fn role(account: &Account, statements: Value) {
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": LAMBDA}},
    ]});
    iam(account, "CreateRole", &[("RoleName", "f"), ("AssumeRolePolicyDocument", &trust.to_string())]).await;
    allow(account, statements).await;
}

async fn allow(account: &Account, statements: Value) {
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let parameters = [("RoleName", "f"), ("PolicyName", "permissions"), ("PolicyDocument", &document)];
    iam(account, "PutRolePolicy", &parameters).await;
}

/// What the function finds in its environment.
async fn credentials(account: &Account) -> Credentials {
    let mut found = Vec::new();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        let value = account.result("f", json!({"do": "variable", "name": name})).await;
        found.push(value.as_str().unwrap().to_owned());
    }
    let [key, secret, token] = found.try_into().unwrap();
    Credentials::new(key, secret, Some(token), None, "function")
}

fn sqs(account: &Account, credentials: Credentials) -> aws_sdk_sqs::Client {
    sqs_in("us-east-1", account, credentials)
}

fn sqs_in(region: &'static str, account: &Account, credentials: Credentials) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .endpoint_url(account.running.endpoint())
        .credentials_provider(credentials)
        .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled())
        .build();
    aws_sdk_sqs::Client::from_conf(config)
}

fn dynamodb(account: &Account, credentials: Credentials) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(account.running.endpoint())
        .credentials_provider(credentials)
        .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

fn administrator() -> Credentials {
    Credentials::new("AKIAADMIN", "secret", None, None, "test")
}

async fn queue(account: &Account) -> String {
    let client = sqs(account, administrator());
    let made =
        client.create_queue().queue_name("tasks").attributes(QueueAttributeName::VisibilityTimeout, "60");
    made.send().await.unwrap().queue_url.unwrap()
}

async fn table(account: &Account) {
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let attribute = AttributeDefinition::builder()
        .attribute_name("task_id")
        .attribute_type(ScalarAttributeType::S)
        .build()
        .unwrap();
    dynamodb(account, administrator())
        .create_table()
        .table_name("tasks")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("task_id", KeyType::Hash))
        .attribute_definitions(attribute)
        .send()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_may_do_what_its_role_allows_and_is_refused_the_rest_as_on_aws() {
    let account = Account::start(true).await;
    role(&account, json!([statement(&["sqs:SendMessage"], QUEUE)])).await;
    let url = queue(&account).await;
    account.function("f", 60, &[], &[]).await;
    let own = credentials(&account).await;
    let client = sqs(&account, own.clone());
    client.send_message().queue_url(&url).message_body("a").send().await.unwrap();
    let refused = client.receive_message().queue_url(&url).send().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("AccessDenied"));
    assert_eq!(
        refused.message(),
        Some(
            "User: arn:aws:sts::123456789012:assumed-role/f/f is not authorized to perform: sqs:receivemessage on resource: \
             arn:aws:sqs:us-east-1:123456789012:tasks because no identity-based policy allows the sqs:receivemessage action"
        )
    );
    let admin = sqs(&account, administrator());
    let received = admin.receive_message().queue_url(&url).send().await.unwrap();
    assert_eq!(received.messages().len(), 1, "the administrator is not judged");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_gets_around_nothing_by_not_signing() {
    for iam in [true, false] {
        let account = Account::start(iam).await;
        let call = reqwest::Client::new().post(account.running.endpoint()).body("{}");
        let answer = call.header("x-amz-target", "AmazonSQS.ListQueues").send().await.unwrap();
        assert_eq!(answer.status(), if iam { 403 } else { 200 }, "enforced: {iam}");
        let error = answer.headers().get("x-amzn-query-error").map(|value| value.to_str().unwrap());
        assert_eq!(error, iam.then_some("MissingAuthenticationToken;Sender"));
        let health = format!("{}/_emulator/health", account.running.endpoint());
        assert_eq!(reqwest::get(health).await.unwrap().status(), 200);
        account.running.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_a_bucket_gives_to_everybody_is_read_without_a_signature_and_no_other() {
    let account = Account::start(true).await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("{}/{path}", account.running.endpoint());
    let put = async |path: &str, body: String| {
        let put = client.put(url(path)).header("authorization", SIGNED_FOR_S3).body(body);
        assert!(put.send().await.unwrap().status().is_success(), "{path}");
    };
    put("home", String::new()).await;
    put("home/open/a", "content".to_owned()).await;
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::home/open/*",
    }});
    put("home?policy", policy.to_string()).await;
    let asked = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(asked(client.get(url("home/open/a"))).await, (200, "content".to_owned()));
    for refused in [client.get(url("home/other")), client.get(url("home")), client.put(url("home/open/a"))] {
        let (status, body) = asked(refused).await;
        assert_eq!(status, 403, "{body}");
        assert!(body.contains("<Code>AccessDenied</Code>"), "{body}");
    }
    let presigned = "home/other?AWSAccessKeyId=AKIAADMIN&Signature=a%3D&Expires=4102444800";
    assert_eq!(asked(client.put(url(presigned)).body("by the administrator")).await.0, 200);
    assert_eq!(asked(client.get(url(presigned))).await, (200, "by the administrator".to_owned()));
    let missing = url("home/open/none");
    for hidden in [client.get(&missing), client.head(&missing)] {
        assert_eq!(asked(hidden).await.0, 403, "who may not list the bucket does not learn what is in it");
    }
    for shown in [client.get(&missing), client.head(&missing)] {
        assert_eq!(asked(shown.header("authorization", SIGNED_FOR_S3)).await.0, 404);
    }
    let form =
        client.post(url("home")).header("content-type", "multipart/form-data; boundary=a").body("--a--");
    let (status, body) = asked(form).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("<Code>NotImplemented</Code>"), "{body}");
    let (_, body) = asked(client.get(url("nothing"))).await;
    assert!(body.contains("unsigned and nothing tells its service"), "{body}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_chunks_is_kept_without_what_frames_it() {
    let account = Account::start(true).await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("{}/{path}", account.running.endpoint());
    let signed = |request: reqwest::RequestBuilder| request.header("authorization", SIGNED_FOR_S3);
    let put = async |path: &str, body: &'static str| {
        let put = signed(client.put(url(path))).header("content-encoding", "aws-chunked");
        let put = put.header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        put.header("x-amz-decoded-content-length", "7").body(body).send().await.unwrap()
    };
    assert!(signed(client.put(url("home"))).send().await.unwrap().status().is_success());
    let framed = "7\r\ncontent\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    assert_eq!(put("home/a", framed).await.status(), 200);
    let read = signed(client.get(url("home/a"))).send().await.unwrap();
    assert_eq!(read.headers().get("content-encoding"), None);
    assert_eq!(read.text().await.unwrap(), "content");
    let refused = put("home/b", "7\r\ncont").await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.unwrap().contains("<Code>IncompleteBody</Code>"));
    assert_eq!(signed(client.get(url("home/b"))).send().await.unwrap().status(), 404);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_holds_whatever_region_a_call_is_signed_for() {
    let account = Account::start(true).await;
    let deny = json!({"Effect": "Deny", "Action": "sqs:SendMessage", "Resource": QUEUE});
    role(&account, json!([statement(&["sqs:*"], "*"), deny])).await;
    let url = queue(&account).await;
    account.function("f", 60, &[], &[]).await;
    let credentials = credentials(&account).await;
    for region in ["us-east-1", "eu-west-1"] {
        let client = sqs_in(region, &account, credentials.clone());
        let denied = client.send_message().queue_url(&url).message_body("x").send().await.unwrap_err();
        assert_eq!(denied.code(), Some("AccessDenied"), "{region}");
    }
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_refused_for_the_one_item_whose_action_is_missing() {
    let account = Account::start(true).await;
    role(&account, json!([statement(&["dynamodb:PutItem"], TABLE)])).await;
    table(&account).await;
    account.function("f", 60, &[], &[]).await;
    let client = dynamodb(&account, credentials(&account).await);
    let id = || AttributeValue::S("1".into());
    let put = Put::builder().table_name("tasks").item("task_id", id()).build().unwrap();
    let put = TransactWriteItem::builder().put(put).build();
    client.transact_write_items().transact_items(put.clone()).send().await.unwrap();
    let delete =
        aws_sdk_dynamodb::types::Delete::builder().table_name("tasks").key("task_id", id()).build().unwrap();
    let delete = TransactWriteItem::builder().delete(delete).build();
    let both = client.transact_write_items().transact_items(put).transact_items(delete);
    let refused = both.send().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("AccessDeniedException"));
    assert!(refused.message().unwrap().contains("dynamodb:DeleteItem on resource"), "{refused:?}");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_needs_three_permissions_of_the_execution_role_on_the_queue() {
    let account = Account::start(true).await;
    role(&account, json!([statement(&["sqs:ReceiveMessage", "sqs:DeleteMessage"], QUEUE)])).await;
    queue(&account).await;
    account.function("f", 60, &[], &[]).await;
    let create =
        || account.lambda.create_event_source_mapping().event_source_arn(QUEUE).function_name("f").send();
    let refused = create().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("InvalidParameterValueException"));
    assert_eq!(
        refused.message(),
        Some("The function execution role does not have permissions to call GetQueueAttributes on SQS")
    );
    let all = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
    allow(&account, json!([statement(&all, QUEUE)])).await;
    create().await.unwrap();
    account.running.shutdown().await;
}

/// Whatever Lambda does in the role's name the role must allow when it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_tracing_and_destinations_need_permissions_of_the_execution_role() {
    let account = Account::start(true).await;
    role(&account, json!([statement(&["sqs:ReceiveMessage"], QUEUE)])).await;
    queue(&account).await;
    let dead = || DeadLetterConfig::builder().target_arn(QUEUE).build();
    let active = || TracingConfig::builder().mode(TracingMode::Active).build();
    let to_queue = "The provided execution role does not have permissions to call SendMessage on SQS";
    let traced = "The provided execution role does not have permissions to call PutTraceSegments on XRAY";
    let create = || account.creation("f", functions::package());
    for (call, message) in
        [(create().dead_letter_config(dead()), to_queue), (create().tracing_config(active()), traced)]
    {
        let refused = call.send().await.unwrap_err().into_service_error();
        assert!(refused.is_invalid_parameter_value_exception(), "{refused:?}");
        assert_eq!(refused.message(), Some(message));
    }
    account.function("f", 60, &[], &[]).await;
    let update = || account.lambda.update_function_configuration().function_name("f");
    let refused = update().dead_letter_config(dead()).send().await.unwrap_err().into_service_error();
    assert_eq!(refused.message(), Some(to_queue));
    let destinations = || {
        let failed = OnFailure::builder().destination(QUEUE).build();
        let config = account.lambda.put_function_event_invoke_config().function_name("f");
        config.destination_config(DestinationConfig::builder().on_failure(failed).build()).send()
    };
    let refused = destinations().await.unwrap_err().into_service_error();
    let message =
        format!("The function's execution role does not have permissions to call SendMessage on {QUEUE}");
    assert_eq!(refused.message(), Some(message.as_str()));

    let all = json!([statement(&["sqs:SendMessage"], QUEUE), statement(&["xray:PutTraceSegments"], "*")]);
    allow(&account, all).await;
    destinations().await.unwrap();
    update().dead_letter_config(dead()).tracing_config(active()).send().await.unwrap();
    account.running.shutdown().await;
}

/// Functions have policies of their own, which are asked as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_is_a_destination_for_a_role_that_may_invoke_it() {
    let account = Account::start(true).await;
    role(&account, json!([statement(&["sqs:SendMessage"], QUEUE)])).await;
    for name in ["f", "other"] {
        account.function(name, 60, &[], &[]).await;
    }
    let other = "arn:aws:lambda:us-east-1:123456789012:function:other";
    let put = async || {
        let failed = OnFailure::builder().destination(other).build();
        let config = account.lambda.put_function_event_invoke_config().function_name("f");
        let call = config.destination_config(DestinationConfig::builder().on_failure(failed).build());
        tokio::time::timeout(ANSWER_WITHIN, call.send()).await.expect("an answer")
    };
    let refused = put().await.unwrap_err().into_service_error();
    let message =
        format!("The function's execution role does not have permissions to call InvokeFunction on {other}");
    assert_eq!(refused.message(), Some(message.as_str()));
    allow(&account, json!([statement(&["lambda:InvokeFunction"], other)])).await;
    put().await.unwrap();
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_without_permission_for_logs_runs_and_leaves_no_line() {
    let account = Account::start(true).await;
    role(&account, json!([statement(&["sqs:SendMessage"], QUEUE)])).await;
    account.function("f", 60, &[], &[]).await;
    account.invoke("f", json!({"do": "print", "text": "unheard"})).await;
    let group = "/aws/lambda/f";
    assert!(!account.running.settings().logs.has_group(group));
    let logs = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"];
    allow(
        &account,
        json!([statement(&logs, "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/f:*")]),
    )
    .await;
    account.invoke("f", json!({"do": "print", "text": "heard"})).await;
    assert!(account.running.settings().logs.has_group(group));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_over_http_names_what_was_denied_and_what_was_never_used() {
    let account = Account::start(true).await;
    role(&account, json!([statement(&["sqs:SendMessage", "sqs:PurgeQueue"], QUEUE)])).await;
    let url = queue(&account).await;
    account.function("f", 60, &[], &[]).await;
    let client = sqs(&account, credentials(&account).await);
    client.send_message().queue_url(&url).message_body("a").send().await.unwrap();
    client.delete_queue().queue_url(&url).send().await.unwrap_err();
    let endpoint = format!("{}/_emulator/iam/report", account.running.endpoint());
    let report: Value = reqwest::get(endpoint).await.unwrap().json().await.unwrap();
    assert_eq!(report["enforced"], true);
    let role = &report["identities"][0];
    assert_eq!(role["arn"], functions::ROLE);
    assert_eq!(role["used"][0]["action"], "sqs:SendMessage");
    assert_eq!(role["never_used"][0]["action"], "sqs:PurgeQueue");
    let denied = role["denied"].as_array().unwrap();
    assert!(denied.iter().any(|one| one["action"] == "sqs:DeleteQueue" && one["count"] == 1), "{denied:?}");
    account.running.shutdown().await;
}
