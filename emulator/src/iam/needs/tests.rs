use http::{HeaderValue, Method};

use super::*;

fn request(service: &str, method: Method, path: &str, body: &str) -> AwsRequest {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    AwsRequest { query: query.to_owned(), ..AwsRequest::unsigned(service, method, path, body) }
}

fn json_request(service: &str, target: &'static str, body: &str) -> AwsRequest {
    let mut request = request(service, Method::POST, "/", body);
    request.headers.insert("x-amz-target", HeaderValue::from_static(target));
    request
}

fn shown(request: &AwsRequest) -> Vec<String> {
    let needs = of(request, "123456789012");
    needs.into_iter().map(|need| format!("{} {}", need.action, need.resource)).collect()
}

const TABLES: &str = "arn:aws:dynamodb:us-east-1:123456789012:table";

#[test]
fn a_batch_of_messages_needs_what_one_message_needs() {
    let body = r#"{"QueueUrl":"http://127.0.0.1:1/123456789012/tasks","Entries":[]}"#;
    let queue = "arn:aws:sqs:us-east-1:123456789012:tasks";
    for (target, action) in [
        ("AmazonSQS.SendMessageBatch", "SendMessage"),
        ("AmazonSQS.DeleteMessageBatch", "DeleteMessage"),
        ("AmazonSQS.ChangeMessageVisibilityBatch", "ChangeMessageVisibility"),
        ("AmazonSQS.PurgeQueue", "PurgeQueue"),
    ] {
        assert_eq!(shown(&json_request("sqs", target, body)), [format!("sqs:{action} {queue}")]);
    }
    let form = request("sqs", Method::POST, "/123456789012/tasks", "Action=SendMessage&MessageBody=a");
    assert_eq!(shown(&form), [format!("sqs:SendMessage {queue}")]);
}

#[test]
fn a_transaction_needs_the_action_of_each_of_its_items() {
    let body = r#"{"TransactItems":[
        {"Put":{"TableName":"a","Item":{}}},
        {"Update":{"TableName":"a","Key":{}}},
        {"Delete":{"TableName":"b","Key":{}}},
        {"ConditionCheck":{"TableName":"c","Key":{}}}]}"#;
    assert_eq!(
        shown(&json_request("dynamodb", "DynamoDB_20120810.TransactWriteItems", body)),
        [
            format!("dynamodb:PutItem {TABLES}/a"),
            format!("dynamodb:UpdateItem {TABLES}/a"),
            format!("dynamodb:DeleteItem {TABLES}/b"),
            format!("dynamodb:ConditionCheckItem {TABLES}/c"),
        ]
    );
}

#[test]
fn a_query_of_an_index_needs_the_index_and_not_the_table() {
    let body = r#"{"TableName":"tasks","IndexName":"owner-index"}"#;
    assert_eq!(
        shown(&json_request("dynamodb", "DynamoDB_20120810.Query", body)),
        [format!("dynamodb:Query {TABLES}/tasks/index/owner-index")]
    );
    let batch = r#"{"RequestItems":{"a":{},"b":{}}}"#;
    assert_eq!(
        shown(&json_request("dynamodb", "DynamoDB_20120810.BatchGetItem", batch)),
        [format!("dynamodb:BatchGetItem {TABLES}/a"), format!("dynamodb:BatchGetItem {TABLES}/b")]
    );
    let statement = r#"{"Statement":"SELECT * FROM \"tasks\".\"owner-index\" WHERE a = 1"}"#;
    assert_eq!(
        shown(&json_request("dynamodb", "DynamoDB_20120810.ExecuteStatement", statement)),
        [format!("dynamodb:PartiQLSelect {TABLES}/tasks/index/owner-index")]
    );
}

#[test]
fn a_list_of_objects_carries_its_prefix_for_the_condition() {
    let list = request("s3", Method::GET, "/faults?list-type=2&prefix=FisConfigs%2F", "");
    let needs = of(&list, "123456789012");
    assert_eq!(needs[0].context, [("s3:prefix", "FisConfigs/".to_owned())]);
    assert_eq!(shown(&list), ["s3:ListBucket arn:aws:s3:::faults"]);
    assert_eq!(
        shown(&request("s3", Method::GET, "/faults/a%2Fb", "")),
        ["s3:GetObject arn:aws:s3:::faults/a/b"]
    );
    assert_eq!(
        shown(&request("s3", Method::PUT, "/faults?policy", "{}")),
        ["s3:PutBucketPolicy arn:aws:s3:::faults"]
    );
}

#[test]
fn a_role_is_given_to_a_service_only_by_who_may_pass_it() {
    let role = "arn:aws:iam::123456789012:role/r";
    let fis = "arn:aws:fis:us-east-1:123456789012";
    let template = format!(r#"{{"roleArn":"{role}","tags":{{"a":"b"}}}}"#);
    let create = request("fis", Method::POST, "/experimentTemplates", &template);
    assert_eq!(
        shown(&create),
        [
            format!("fis:CreateExperimentTemplate {fis}:experiment-template/*"),
            format!("fis:TagResource {fis}:experiment-template/*"),
            format!("iam:PassRole {role}"),
        ]
    );
    let passed = of(&create, "123456789012").pop().unwrap();
    assert_eq!(passed.context, [("iam:passedtoservice", "fis.amazonaws.com".to_owned())]);
    let function = format!(r#"{{"FunctionName":"f","Role":"{role}"}}"#);
    let create = request("lambda", Method::POST, "/2015-03-31/functions", &function);
    assert_eq!(shown(&create), ["lambda:CreateFunction *".to_owned(), format!("iam:PassRole {role}")]);
    let schedule = format!(r#"{{"Target":{{"RoleArn":"{role}"}}}}"#);
    let create = request("scheduler", Method::POST, "/schedules/s", &schedule);
    assert_eq!(shown(&create)[1], format!("iam:PassRole {role}"));
}

#[test]
fn an_experiment_is_started_by_who_may_start_it_and_its_template() {
    let start = request("fis", Method::POST, "/experiments", r#"{"experimentTemplateId":"EXT1"}"#);
    let fis = "fis:StartExperiment arn:aws:fis:us-east-1:123456789012";
    assert_eq!(shown(&start), [format!("{fis}:experiment/*"), format!("{fis}:experiment-template/EXT1")]);
}

#[test]
fn every_other_service_names_what_aws_names() {
    let stream = r#"{"logGroupName":"/aws/lambda/f","logStreamName":"s"}"#;
    let group = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/f";
    for (request, need) in [
        (
            json_request("logs", "Logs_20140328.PutLogEvents", stream),
            format!("logs:PutLogEvents {group}:log-stream:s"),
        ),
        (
            json_request("ssm", "AmazonSSM.GetParameter", r#"{"Name":"/a/b"}"#),
            "ssm:GetParameter arn:aws:ssm:us-east-1:123456789012:parameter/a/b".to_owned(),
        ),
        (
            request("lambda", Method::POST, "/2015-03-31/functions/f/invocations?Qualifier=live", "{}"),
            "lambda:InvokeFunction arn:aws:lambda:us-east-1:123456789012:function:f:live".to_owned(),
        ),
        (
            request(
                "monitoring",
                Method::POST,
                "/service/GraniteServiceVersion20100801/operation/PutMetricData",
                "",
            ),
            "cloudwatch:PutMetricData *".to_owned(),
        ),
        (
            request("apigateway", Method::PATCH, "/v2/apis/a/stages/%24default", "{}"),
            "apigateway:PATCH arn:aws:apigateway:us-east-1::/apis/a/stages/$default".to_owned(),
        ),
        (
            request("fis", Method::GET, "/actions/aws%3Afis%3Await", ""),
            "fis:GetAction arn:aws:fis:us-east-1:123456789012:action/aws:fis:wait".to_owned(),
        ),
        (
            request(
                "fis",
                Method::POST,
                "/tags/arn%3Aaws%3Afis%3Aus-east-1%3A1%3Aexperiment%2Fa",
                r#"{"tags":{"a":"b"}}"#,
            ),
            "fis:TagResource arn:aws:fis:us-east-1:1:experiment/a".to_owned(),
        ),
        (request("xray", Method::POST, "/TraceSegments", ""), "xray:PutTraceSegments *".to_owned()),
        (
            json_request("tagging", "ResourceGroupsTaggingAPI_20170126.GetResources", "{}"),
            "tag:GetResources *".to_owned(),
        ),
        (
            request("sts", Method::POST, "/", "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa"),
            "sts:AssumeRole arn:aws:iam::1:role/a".to_owned(),
        ),
        (
            request("scheduler", Method::PUT, "/schedules/audit?groupName=g", "{}"),
            "scheduler:UpdateSchedule arn:aws:scheduler:us-east-1:123456789012:schedule/g/audit".to_owned(),
        ),
    ] {
        assert_eq!(shown(&request), [need]);
    }
    assert!(shown(&request("sts", Method::POST, "/", "Action=GetCallerIdentity")).is_empty());
}
