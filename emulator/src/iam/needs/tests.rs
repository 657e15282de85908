use http::{HeaderValue, Method};
use serde_json::json;

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
fn a_queue_is_made_with_tags_by_who_may_tag_it() {
    let queue = "arn:aws:sqs:us-east-1:123456789012:q";
    let both = [format!("sqs:CreateQueue {queue}"), format!("sqs:TagQueue {queue}")];
    for (members, needs) in [
        (r#""tags":{"a":"b"}"#, &both[..]),
        (r#""Tags":{"a":"b"}"#, &both[..]),
        (r#""tags":{}"#, &both[..1]),
        (r#""tags":null"#, &both[..1]),
        (r#""Attributes":{}"#, &both[..1]),
    ] {
        let body = format!(r#"{{"QueueName":"q",{members}}}"#);
        assert_eq!(shown(&json_request("sqs", "AmazonSQS.CreateQueue", &body)), needs, "{members}");
    }
    // Which of two would count is not for the judge to say: the service refuses it.
    for unreadable in [r#""tags":7"#, r#""Tags":{},"tags":{"a":"b"}"#] {
        let body = format!(r#"{{"QueueName":"q",{unreadable}}}"#);
        let asked = shown(&json_request("sqs", "AmazonSQS.CreateQueue", &body));
        assert_eq!(asked, ["sqs:CreateQueue *"], "{unreadable}");
    }
    for (parameters, needs) in [
        ("", &both[..1]),
        ("&Tag.1.Key=a&Tag.1.Value=b", &both[..]),
        ("&Tag.Key=a&Tag.Value=b", &both[..]),
        ("&tags.a=b", &both[..]),
        ("&Tags.a=b", &both[..]),
    ] {
        let form = format!("Action=CreateQueue&QueueName=q{parameters}");
        assert_eq!(shown(&request("sqs", Method::POST, "/", &form)), needs, "{parameters}");
    }
}

#[test]
fn a_target_that_sqs_does_not_know_makes_no_form_of_its_call() {
    for target in ["DeleteQueue", "Other.DeleteQueue", "AmazonSQSDeleteQueue"] {
        let body = r#"{"QueueUrl":"http://h/123456789012/prod"}"#;
        let mut request = json_request("sqs", target, body);
        "Action=GetQueueUrl&QueueName=mine".clone_into(&mut request.query);
        assert_eq!(shown(&request), [format!("sqs:UnknownOperation {target}")]);
    }
}

#[test]
fn a_member_that_the_operation_on_a_queue_does_not_read_hides_no_other() {
    let by_url = r#""QueueUrl":"http://h/123456789012/prod""#;
    let prod = "arn:aws:sqs:us-east-1:123456789012:prod";
    for (target, call, need) in [
        ("AmazonSQS.SendMessage", by_url, "SendMessage"),
        ("AmazonSQS.DeleteMessageBatch", by_url, "DeleteMessage"),
        ("AmazonSQS.PurgeQueue", by_url, "PurgeQueue"),
        ("AmazonSQS.GetQueueUrl", r#""QueueName":"prod""#, "GetQueueUrl"),
        ("AmazonSQS.CreateQueue", r#""QueueName":"prod""#, "CreateQueue"),
        (
            "AmazonSQS.ListMessageMoveTasks",
            r#""SourceArn":"arn:aws:sqs:us-east-1:123456789012:prod""#,
            "ListMessageMoveTasks",
        ),
    ] {
        for beside in [r#""TaskHandle":7"#, r#""DestinationArn":[]"#, r#""Other":1e999"#] {
            let body = format!(r#"{{{call},"MessageBody":"b",{beside}}}"#);
            assert_eq!(shown(&json_request("sqs", target, &body)), [format!("sqs:{need} {prod}")], "{body}");
        }
    }
    let of_others = r#"{"QueueUrl":"http://h/123456789012/prod","QueueName":7,"SourceArn":7,"Tags":7}"#;
    let asked = shown(&json_request("sqs", "AmazonSQS.SendMessage", of_others));
    assert_eq!(asked, [format!("sqs:SendMessage {prod}")]);
}

#[test]
fn a_call_of_sqs_that_cannot_be_read_needs_the_action_on_every_queue() {
    for body in [
        r#"{"QueueUrl":"http://h/123456789012/mine","QueueUrl":"http://h/123456789012/prod"}"#,
        r#"{"QueueUrl":7}"#,
        r#"["http://h/123456789012/prod"]"#,
        "{",
    ] {
        assert_eq!(
            shown(&json_request("sqs", "AmazonSQS.SendMessage", body)),
            ["sqs:SendMessage *"],
            "{body}"
        );
    }
    let twice = r#"{"SourceArn":"a","SourceArn":"b"}"#;
    let asked = shown(&json_request("sqs", "AmazonSQS.StartMessageMoveTask", twice));
    assert_eq!(asked, ["sqs:StartMessageMoveTask *"]);
}

#[test]
fn a_schedule_is_judged_in_the_group_that_the_service_reads() {
    let arn = "arn:aws:scheduler:us-east-1:123456789012:schedule";
    let body = r#"{"GroupName":"body","Other":1e999}"#;
    for (method, action, group) in [
        (Method::GET, "GetSchedule", "query"),
        (Method::DELETE, "DeleteSchedule", "query"),
        (Method::POST, "CreateSchedule", "body"),
        (Method::PUT, "UpdateSchedule", "body"),
    ] {
        let call = request("scheduler", method.clone(), "/schedules/s?groupName=query", body);
        assert_eq!(shown(&call), [format!("scheduler:{action} {arn}/{group}/s")]);
        let elsewhere = match group {
            "query" => request("scheduler", method, "/schedules/s", body),
            _ => request("scheduler", method, "/schedules/s?groupName=query", "{}"),
        };
        assert_eq!(shown(&elsewhere), [format!("scheduler:{action} {arn}/default/s")]);
    }
    let odd = r#"{"Target":{"RoleArn":"arn:r"},"Other":1e999,"GroupName":7}"#;
    let call = request("scheduler", Method::POST, "/schedules/s", odd);
    assert_eq!(shown(&call)[1], "iam:PassRole arn:r");
}

#[test]
fn a_member_that_fis_does_not_read_hides_no_other() {
    let odd = r#"{"roleArn":"arn:r","experimentTemplateId":7,"actions":{"a":{"actionId":"aws:fis:wait","other":1e999}},
        "tags":{"a":1e999},"other":1e999}"#;
    let call = request("fis", Method::POST, "/experimentTemplates", odd);
    let arn = "arn:aws:fis:us-east-1:123456789012";
    let create = "fis:CreateExperimentTemplate";
    let template = format!("{arn}:experiment-template/*");
    assert_eq!(
        shown(&call),
        [
            format!("{create} {template}"),
            format!("fis:TagResource {template}"),
            format!("{create} {arn}:action/aws:fis:wait"),
            "iam:PassRole arn:r".to_owned()
        ]
    );
}

#[test]
fn a_function_is_judged_by_the_version_or_alias_that_the_router_reads() {
    let functions = "arn:aws:lambda:us-east-1:123456789012:function";
    for (path, function) in [
        ("f/invocations?Qualifie%72=prod", "f:prod"),
        ("f/invocations?Qualifier=blue&Qualifier=prod", "f:prod"),
        ("f/invocations?Qualifier=", "f"),
        ("f:prod/invocations?Qualifier=prod", "f:prod"),
        ("f:prod/invocations", "f:prod"),
        ("arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af/invocations", "f"),
        ("123456789012%3Afunction%3Af/invocations?Qualifier=prod", "f:prod"),
        ("f/policy?Qualifier=prod", "f:prod"),
        // It is about the whole function, whatever the call names.
        ("f:prod/aliases?Qualifier=prod", "f"),
    ] {
        let action = match path.rsplit_once('/').unwrap().1.split('?').next() {
            Some("invocations") => "InvokeFunction",
            Some("policy") => "AddPermission",
            _ => "CreateAlias",
        };
        let call = request("lambda", Method::POST, &format!("/2015-03-31/functions/{path}"), "{}");
        assert_eq!(shown(&call), [format!("lambda:{action} {functions}:{function}")], "{path}");
    }
    for refused in ["f:blue/invocations?Qualifier=prod", "a%20b/invocations"] {
        let call = request("lambda", Method::POST, &format!("/2015-03-31/functions/{refused}"), "{}");
        assert_eq!(shown(&call), ["lambda:InvokeFunction *"], "{refused}");
    }
    let tagged = "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af%3Aprod";
    let tagged = request("lambda", Method::POST, tagged, "{}");
    assert_eq!(shown(&tagged), [format!("lambda:TagResource {functions}:f")]);
    let odd = r#"{"Role":"arn:r","FunctionName":7,"Other":1e999}"#;
    let update = request("lambda", Method::PUT, "/2015-03-31/functions/f/configuration", odd);
    let needs =
        [format!("lambda:UpdateFunctionConfiguration {functions}:f"), "iam:PassRole arn:r".to_owned()];
    assert_eq!(shown(&update), needs);
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
fn a_statement_needs_what_the_engine_makes_of_it() {
    for (statement, need) in [
        (r#"DELETE FROM "a.b""#, "PartiQLDelete a.b"),
        (r#"SELECT * FROM"a""#, "PartiQLSelect a"),
        ("SELECT *", "PartiQLSelect *"),
        (r#"DELETE /* FROM public */ FROM "secret" WHERE id = 'x'"#, "PartiQLDelete secret"),
        (r#"/**/DELETE FROM "secret" WHERE id = 'x'"#, "PartiQLDelete secret"),
        (r#"FROM "secret" WHERE id = 'x' SET n = 1"#, "PartiQLUpdate secret"),
        ("SELECT `id FROM public` FROM secret", "PartiQLSelect secret"),
        ("SELECT id, FROM FROM 'secret'", "PartiQLSelect secret"),
    ] {
        let (action, table) = need.split_once(' ').unwrap();
        let need = format!("dynamodb:{action} {TABLES}/{table}");
        let body = json!({ "Statement": statement }).to_string();
        let asked = shown(&json_request("dynamodb", "DynamoDB_20120810.ExecuteStatement", &body));
        assert_eq!(asked, std::slice::from_ref(&need), "{statement}");

        let public = format!("dynamodb:PartiQLDelete {TABLES}/public");
        let both = json!([{"Statement": "DELETE FROM public"}, {"Statement": statement}]);
        for (target, member) in [
            ("DynamoDB_20120810.BatchExecuteStatement", "Statements"),
            ("DynamoDB_20120810.ExecuteTransaction", "TransactStatements"),
        ] {
            let asked = shown(&json_request("dynamodb", target, &json!({ member: both }).to_string()));
            assert_eq!(asked, [public.clone(), need.clone()], "{statement}");
        }
    }
    let body = json!({"Statements": [{"Statement": "DELETE FROM public"}, {"Statement": "DROP secret"}]});
    assert_eq!(
        shown(&json_request("dynamodb", "DynamoDB_20120810.BatchExecuteStatement", &body.to_string())),
        [format!("dynamodb:PartiQLDelete {TABLES}/public"), "dynamodb:BatchExecuteStatement *".to_owned()]
    );
}

#[test]
fn a_part_that_a_transaction_does_not_read_hides_no_other() {
    for put in [r#"{"TableName":"public"}"#, "7", "[]"] {
        let body = format!(r#"{{"TransactItems":[{{"Put":{put},"Get":{{"TableName":"secret"}}}}]}}"#);
        assert_eq!(
            shown(&json_request("dynamodb", "DynamoDB_20120810.TransactGetItems", &body)),
            [format!("dynamodb:GetItem {TABLES}/secret")]
        );
    }
}

#[test]
fn a_member_that_the_operation_does_not_read_hides_no_other() {
    let deep = format!(r#""Other":{}{}"#, "[".repeat(200), "]".repeat(200));
    let of_others = r#""Get":7,"ShardIterator":7,"StreamArn":[],"ResourcePolicy":1e999"#;
    for (target, call, need) in [
        (
            "TransactWriteItems",
            r#""TransactItems":[{"Put":{"TableName":"secret"},"Get":7}]"#,
            "PutItem secret",
        ),
        ("BatchGetItem", r#""RequestItems":{"secret":{}}"#, "BatchGetItem secret"),
        ("BatchWriteItem", r#""RequestItems":{"secret":[]}"#, "BatchWriteItem secret"),
        ("ExecuteStatement", r#""Statement":"DELETE FROM secret""#, "PartiQLDelete secret"),
        (
            "BatchExecuteStatement",
            r#""Statements":[{"Statement":"DELETE FROM secret"}]"#,
            "PartiQLDelete secret",
        ),
        (
            "ExecuteTransaction",
            r#""TransactStatements":[{"Statement":"DELETE FROM secret"}]"#,
            "PartiQLDelete secret",
        ),
        ("DeleteItem", r#""TableName":"secret""#, "DeleteItem secret"),
        ("Query", r#""TableName":"secret","IndexName":"i""#, "Query secret/index/i"),
    ] {
        let (action, resource) = need.split_once(' ').unwrap();
        for beside in [of_others, r#""Other":1e999"#, &deep] {
            let body = format!("{{{call},{beside}}}");
            let mut request = request("dynamodb", Method::POST, "/", &body);
            let target = format!("DynamoDB_20120810.{target}");
            request.headers.insert("x-amz-target", target.parse().unwrap());
            assert_eq!(shown(&request), [format!("dynamodb:{action} {TABLES}/{resource}")], "{body}");
        }
    }
    // What one operation reads is nothing to another.
    for beside in [r#""TableName":7"#, r#""ResourceArn":7"#, r#""Statements":7"#, r#""RequestItems":7"#] {
        let body = format!(r#"{{"TransactItems":[{{"Put":{{"TableName":"secret"}}}}],{beside}}}"#);
        let request = json_request("dynamodb", "DynamoDB_20120810.TransactWriteItems", &body);
        assert_eq!(shown(&request), [format!("dynamodb:PutItem {TABLES}/secret")], "{beside}");
    }
    let tags = r#"{"ResourceArn":"arn:tagged","TableName":7,"Other":1e999}"#;
    let tags = json_request("dynamodb", "DynamoDB_20120810.UntagResource", tags);
    assert_eq!(shown(&tags), ["dynamodb:UntagResource arn:tagged"]);
}

#[test]
fn what_the_service_refuses_to_read_needs_every_table() {
    let asked = |target: &'static str, body: &str| shown(&json_request("dynamodb", target, body));
    for body in [
        r#"{"TransactItems":[[{"TableName":"secret"}]]}"#,
        r#"{"TransactItems":[{"Put":["secret",{}]}]}"#,
        r#"{"TransactItems":[{"Put":{"TableName":"public"}},7]}"#,
        r#"{"TransactItems":[{"Put":{"TableName":"public","TableName":"secret"}}]}"#,
        r#"{"TransactItems":[]}"#,
        "{}",
        "",
    ] {
        let needs = asked("DynamoDB_20120810.TransactWriteItems", body);
        assert_eq!(needs, ["dynamodb:TransactWriteItems *"], "{body}");
    }
    let both = r#"{"TableName":"public","TableName":"secret"}"#;
    assert_eq!(asked("DynamoDB_20120810.PutItem", both), [format!("dynamodb:PutItem {TABLES}/*")]);
}

#[test]
fn what_the_operation_does_not_read_decides_nothing() {
    let asked = |target: &'static str| {
        let body = r#"{"TableName":"tasks","IndexName":"i","ResourceArn":"arn:aws:dynamodb:us-east-1:1:table/other"}"#;
        shown(&json_request("dynamodb", target, body))
    };
    assert_eq!(asked("DynamoDB_20120810.GetItem"), [format!("dynamodb:GetItem {TABLES}/tasks")]);
    assert_eq!(asked("DynamoDB_20120810.Query"), [format!("dynamodb:Query {TABLES}/tasks/index/i")]);
    let insights = [format!("dynamodb:UpdateContributorInsights {TABLES}/tasks/index/i")];
    assert_eq!(asked("DynamoDB_20120810.UpdateContributorInsights"), insights);
    assert_eq!(asked("DynamoDB_20120810.ListContributorInsights"), ["dynamodb:ListContributorInsights *"]);
    let tags = "dynamodb:ListTagsOfResource arn:aws:dynamodb:us-east-1:1:table/other";
    assert_eq!(asked("DynamoDB_20120810.ListTagsOfResource"), [tags]);
}

#[test]
fn records_are_asked_about_by_the_stream_that_their_iterator_names() {
    let records = |body: &str| shown(&json_request("dynamodb", "DynamoDBStreams_20120810.GetRecords", body));
    let stream = format!("{TABLES}/tasks/stream/1700000000");
    let named = json!({"ShardIterator": format!("{stream}|1|AAAA"), "StreamArn": "arn:other"}).to_string();
    assert_eq!(records(&named), [format!("dynamodb:GetRecords {stream}")]);
    let any = [format!("dynamodb:GetRecords {TABLES}/*/stream/*")];
    for unnamed in [r#"{"ShardIterator":"AAAA","StreamArn":"arn:other"}"#, "{}"] {
        assert_eq!(records(unnamed), any, "{unnamed}");
    }
    let iterator = json!({"StreamArn": stream, "ShardId": "s"}).to_string();
    let iterator = json_request("dynamodb", "DynamoDBStreams_20120810.GetShardIterator", &iterator);
    assert_eq!(shown(&iterator), [format!("dynamodb:GetShardIterator {stream}")]);
    // What the service does not read hides nothing.
    for beside in [r#""TableName":7"#, r#""TransactItems":{}"#, r#""StreamArn":7"#, r#""Other":1e999"#] {
        let hidden = format!(r#"{{"ShardIterator":"{stream}|1|AAAA",{beside}}}"#);
        assert_eq!(records(&hidden), [format!("dynamodb:GetRecords {stream}")], "{beside}");
    }
}

#[test]
fn a_table_that_is_made_with_a_policy_needs_the_action_that_puts_one() {
    let asked = |body: &str| shown(&json_request("dynamodb", "DynamoDB_20120810.CreateTable", body));
    let [create, put] =
        ["CreateTable", "PutResourcePolicy"].map(|of| format!("dynamodb:{of} {TABLES}/tasks"));
    for none in [r#"{"TableName":"tasks"}"#, r#"{"TableName":"tasks","ResourcePolicy":null}"#] {
        assert_eq!(asked(none), std::slice::from_ref(&create));
    }
    let hidden = r#"{"TableName":"tasks","ResourcePolicy":"{}","IndexName":5}"#;
    let beside_odd = r#"{"TableName":"tasks","ResourcePolicy":"{}","Other":1e999}"#;
    for with in [r#"{"TableName":"tasks","ResourcePolicy":"{}"}"#, hidden, beside_odd] {
        assert_eq!(asked(with), [create.clone(), put.clone()]);
    }
}

#[test]
fn each_object_to_delete_is_asked_about() {
    let delete = |body: &str| shown(&request("s3", Method::POST, "/faults?delete", body));
    let body = "<Delete><Object><Key>a/b</Key></Object><Object><Key>c&amp;d</Key></Object></Delete>";
    assert_eq!(
        delete(body),
        ["s3:DeleteObject arn:aws:s3:::faults/a/b", "s3:DeleteObject arn:aws:s3:::faults/c&d"]
    );
    let versions = "<Delete><Object><VersionId>1</VersionId><Key>a</Key></Object><Object><Key>b</Key></Object>\
                    <Object><Key>c</Key><VersionId>2</VersionId></Object></Delete>";
    assert_eq!(
        delete(versions),
        [
            "s3:DeleteObjectVersion arn:aws:s3:::faults/a",
            "s3:DeleteObject arn:aws:s3:::faults/b",
            "s3:DeleteObjectVersion arn:aws:s3:::faults/c",
        ]
    );
    assert_eq!(delete("<Delete>"), ["s3:DeleteObject arn:aws:s3:::faults/*"], "what cannot be read");
    // As the engine reads it: it would delete `secret`.
    for key in [
        "<Key><![CDATA[secret]]></Key>",
        "<Key a=\"b\">secret</Key>",
        "<Key>&#115;ecret</Key>",
        "<Key >secret</Key >",
        "<!-- <Key>public</Key> --><Key>secret</Key>",
    ] {
        let body = format!("<Delete><Object>{key}</Object></Delete>");
        assert_eq!(delete(&body), ["s3:DeleteObject arn:aws:s3:::faults/secret"], "{key}");
    }
}

#[test]
fn a_copy_needs_to_read_its_source() {
    for (path, source, need) in [
        ("/b/k", "/from/a%2Fb", "s3:GetObject arn:aws:s3:::from/a/b"),
        ("/b/k?partNumber=1&uploadId=u", "from/a+b", "s3:GetObject arn:aws:s3:::from/a b"),
        ("/b/k", "from/a?versionId=1", "s3:GetObjectVersion arn:aws:s3:::from/a"),
        ("/b/k", "from/a%3FversionId=1", "s3:GetObject arn:aws:s3:::from/a?versionId=1"),
    ] {
        let mut copy = request("s3", Method::PUT, path, "");
        copy.headers.insert("x-amz-copy-source", HeaderValue::from_static(source));
        assert_eq!(shown(&copy), ["s3:PutObject arn:aws:s3:::b/k", need], "{source}");
        copy.method = Method::GET;
        assert_eq!(shown(&copy).len(), 1, "nothing is copied");
    }
}

#[test]
fn the_list_of_buckets_is_allowed_by_a_policy_for_all_buckets() {
    assert_eq!(shown(&request("s3", Method::GET, "/", "")), ["s3:ListAllMyBuckets arn:aws:s3:::*"]);
}

#[test]
fn a_subresource_of_a_bucket_or_an_object_has_the_action_that_aws_names() {
    for (method, path, action) in [
        (Method::DELETE, "/b?tagging", "PutBucketTagging"),
        (Method::DELETE, "/b?cors", "PutBucketCORS"),
        (Method::DELETE, "/b?lifecycle", "PutLifecycleConfiguration"),
        (Method::DELETE, "/b?encryption", "PutEncryptionConfiguration"),
        (Method::DELETE, "/b?publicAccessBlock", "PutBucketPublicAccessBlock"),
        (Method::DELETE, "/b?policy", "DeleteBucketPolicy"),
        (Method::GET, "/b?object-lock=", "GetBucketObjectLockConfiguration"),
        (Method::PUT, "/b?accelerate", "PutAccelerateConfiguration"),
        (Method::GET, "/b?uploads", "ListBucketMultipartUploads"),
        (Method::GET, "/b?versions&prefix=a", "ListBucketVersions"),
        (Method::PUT, "/b?none-of-ours", "CreateBucket"),
        (Method::PUT, "/b?abac", "UnknownOperation"),
        (Method::GET, "/b?none-of-ours", "ListBucket"),
        (Method::GET, "/b?session", "UnknownOperation"),
        (Method::PUT, "/b?x-id=CreateBucket", "CreateBucket"),
        (Method::GET, "/b?list-type=2&X-Amz-Signature=00", "ListBucket"),
        (Method::GET, "/b?AWSAccessKeyId=test&Signature=00&Expires=1", "ListBucket"),
        (Method::HEAD, "/b", "ListBucket"),
        (Method::GET, "/b?analytics&id=a&x-id=GetBucketAnalyticsConfiguration", "GetAnalyticsConfiguration"),
        (Method::GET, "/b?versions&key-marker=k&version-id-marker=v&encoding-type=url", "ListBucketVersions"),
        (Method::GET, "/b?uploads&max-uploads=1&upload-id-marker=u", "ListBucketMultipartUploads"),
        // The engine would make or delete the bucket.
        (Method::DELETE, "/b?acl", "UnknownOperation"),
        (Method::DELETE, "/b?versioning", "UnknownOperation"),
        (Method::PUT, "/b?location", "UnknownOperation"),
        (Method::PUT, "/b?versions", "UnknownOperation"),
        (Method::HEAD, "/b?acl", "UnknownOperation"),
        (Method::POST, "/b?policy", "UnknownOperation"),
        // It takes the one or the other.
        (Method::PUT, "/b?acl&policy", "UnknownOperation"),
        (Method::DELETE, "/b?tagging&policy", "UnknownOperation"),
        (Method::POST, "/b?delete&policy", "UnknownOperation"),
    ] {
        let needs = shown(&request("s3", method, path, ""));
        assert_eq!(needs, [format!("s3:{action} arn:aws:s3:::b")], "{path}");
    }
    for (method, path, action) in [
        (Method::DELETE, "/b/k?tagging", "DeleteObjectTagging"),
        (Method::GET, "/b/k?versionId=1", "GetObjectVersion"),
        (Method::PUT, "/b/k?partNumber=1&uploadId=u", "PutObject"),
        (Method::DELETE, "/b/k?uploadId=u", "AbortMultipartUpload"),
        (Method::GET, "/b/k?response-content-type=a", "GetObject"),
        (Method::POST, "/b/k?none-of-ours", "PutObject"),
        (Method::PUT, "/b/k?renameObject", "UnknownOperation"),
        (Method::GET, "/b/k?AWSAccessKeyId=test&Signature=00&Expires=1&versionId=1", "GetObjectVersion"),
        (Method::HEAD, "/b/k?partNumber=1&x-id=HeadObject", "GetObject"),
        (Method::GET, "/b/k?tagging&versionId=1", "GetObjectTagging"),
        (Method::GET, "/b/k?uploadId=u&max-parts=1&part-number-marker=1", "ListMultipartUploadParts"),
        (Method::POST, "/b/k?uploads&x-id=CreateMultipartUpload", "PutObject"),
        (Method::POST, "/b/k?uploadId=u", "PutObject"),
        (Method::POST, "/b/k?restore&versionId=1", "RestoreObject"),
        (Method::POST, "/b/k?select&select-type=2", "GetObject"),
        // The engine would put, read or delete the object.
        (Method::DELETE, "/b/k?acl", "UnknownOperation"),
        (Method::PUT, "/b/k?torrent", "UnknownOperation"),
        (Method::PUT, "/b/k?uploads", "UnknownOperation"),
        (Method::GET, "/b/k?restore", "UnknownOperation"),
        (Method::HEAD, "/b/k?tagging", "UnknownOperation"),
        // It takes the one or the other.
        (Method::DELETE, "/b/k?tagging&uploadId=u", "UnknownOperation"),
        (Method::GET, "/b/k?acl&tagging", "UnknownOperation"),
        (Method::PUT, "/b/k?partNumber=1&uploadId=u&acl", "UnknownOperation"),
    ] {
        let needs = shown(&request("s3", method, path, ""));
        assert_eq!(needs, [format!("s3:{action} arn:aws:s3:::b/k")], "{path}");
    }
}

#[test]
fn a_mapping_is_asked_about_by_its_own_arn() {
    let path = "/2015-03-31/event-source-mappings/0192b1d3";
    let arn = "arn:aws:lambda:us-east-1:123456789012:event-source-mapping:0192b1d3";
    for (method, verb) in [(Method::GET, "Get"), (Method::PUT, "Update"), (Method::DELETE, "Delete")] {
        let of_mapping = request("lambda", method.clone(), path, "{}");
        assert_eq!(shown(&of_mapping), [format!("lambda:{verb}EventSourceMapping {arn}")]);
        // Whoever signs for the part that answers gets around nothing.
        let beside = request("event-source-mappings", method, path, "{}");
        assert_eq!(shown(&beside), shown(&of_mapping));
    }
    let list = request("lambda", Method::GET, "/2015-03-31/event-source-mappings", "");
    assert_eq!(shown(&list), ["lambda:ListEventSourceMappings *"]);
}

#[test]
fn the_handle_of_a_move_task_names_its_queue() {
    use base64::Engine as _;
    let arn = "arn:aws:sqs:us-east-1:123456789012:tasks-dlq";
    let handle = json!({"taskId": "t", "sourceArn": arn}).to_string();
    let handle = base64::engine::general_purpose::STANDARD.encode(handle);
    for (handle, resource) in [(handle.as_str(), arn), ("garbage", "*")] {
        let body = json!({ "TaskHandle": handle }).to_string();
        let cancel = json_request("sqs", "AmazonSQS.CancelMessageMoveTask", &body);
        assert_eq!(shown(&cancel), [format!("sqs:CancelMessageMoveTask {resource}")]);
    }
}

#[test]
fn a_queue_is_asked_about_by_the_member_that_the_operation_reads() {
    let queue = "arn:aws:sqs:us-east-1:123456789012";
    for (operation, name) in [("CreateQueue", "n"), ("GetQueueUrl", "n"), ("DeleteQueue", "u")] {
        let need = [format!("sqs:{operation} {queue}:{name}")];
        let form = format!("Action={operation}&QueueName=n&QueueUrl=http%3A%2F%2Fh%2F1%2Fu");
        assert_eq!(shown(&request("sqs", Method::POST, "/", &form)), need);
        let mut call = request("sqs", Method::POST, "/", r#"{"QueueName":"n","QueueUrl":"http://h/1/u"}"#);
        let target = HeaderValue::from_str(&format!("AmazonSQS.{operation}")).unwrap();
        call.headers.insert("x-amz-target", target);
        assert_eq!(shown(&call), need);
    }
}

#[test]
fn what_iam_has_is_asked_about_by_its_kind_and_what_it_makes_with_its_path() {
    let iam = "arn:aws:iam::123456789012";
    for (form, need) in [
        ("Action=GetRole&RoleName=r", format!("iam:GetRole {iam}:role/r")),
        ("Action=CreateRole&RoleName=r&Path=%2Fteam%2F", format!("iam:CreateRole {iam}:role/team/r")),
        ("Action=AddUserToGroup&GroupName=g&UserName=u", format!("iam:AddUserToGroup {iam}:group/g")),
        ("Action=ListRoles", "iam:ListRoles *".to_owned()),
    ] {
        assert_eq!(shown(&request("iam", Method::POST, "/", form)), [need]);
    }
}

#[test]
fn a_member_that_an_operation_of_iam_does_not_read_does_not_decide_what_it_is_judged_on() {
    // A call that names one of each kind.
    let members = "InstanceProfileName=i&GroupName=g&RoleName=r&UserName=u&PolicyName=p&Path=%2Fdev%2F&PolicyArn=arn%3Ap";
    for (action, resource) in [
        ("AddRoleToInstanceProfile", "instance-profile/i"),
        ("RemoveRoleFromInstanceProfile", "instance-profile/i"),
        ("TagInstanceProfile", "instance-profile/i"),
        ("AddUserToGroup", "group/g"),
        ("PutGroupPolicy", "group/g"),
        ("ListAttachedGroupPolicies", "group/g"),
        ("PutRolePolicy", "role/r"),
        ("AttachRolePolicy", "role/r"),
        ("UpdateAssumeRolePolicy", "role/r"),
        ("PutRolePermissionsBoundary", "role/r"),
        ("ListInstanceProfilesForRole", "role/r"),
        ("CreateRole", "role/dev/r"),
        ("AttachUserPolicy", "user/u"),
        ("ListGroupsForUser", "user/u"),
        ("CreateUser", "user/dev/u"),
        ("CreateAccessKey", "user/u"),
        ("UpdateLoginProfile", "user/u"),
        ("DeactivateMFADevice", "user/u"),
        ("CreatePolicy", "policy/dev/p"),
    ] {
        let form = format!("Action={action}&{members}");
        let need = format!("iam:{action} arn:aws:iam::123456789012:{resource}");
        assert_eq!(shown(&request("iam", Method::POST, "/", &form)), [need]);
    }
    for (action, resource) in [
        ("CreatePolicyVersion", "arn:p"),
        ("SetDefaultPolicyVersion", "arn:p"),
        ("ListEntitiesForPolicy", "arn:p"),
        ("ListUsers", "*"),
        ("ListPolicies", "*"),
        ("CreateServiceLinkedRole", "*"),
        ("DeleteVirtualMFADevice", "*"),
        ("GetAccessKeyLastUsed", "*"),
        ("DeleteAccountPasswordPolicy", "*"),
        ("SimulateCustomPolicy", "*"),
        ("ChangePassword", "*"),
        ("CreateAccountAlias", "*"),
    ] {
        let form = format!("Action={action}&{members}");
        assert_eq!(shown(&request("iam", Method::POST, "/", &form)), [format!("iam:{action} {resource}")]);
    }
}

#[test]
fn all_parameters_that_a_call_names_are_asked_about() {
    let body = r#"{"Name":"/secret","Names":["/a"]}"#;
    let parameter = "arn:aws:ssm:us-east-1:123456789012:parameter";
    assert_eq!(
        shown(&json_request("ssm", "AmazonSSM.GetParameter", body)),
        [format!("ssm:GetParameter {parameter}/secret"), format!("ssm:GetParameter {parameter}/a")]
    );
    let none = json_request("ssm", "AmazonSSM.GetParameters", r#"{"Names":[]}"#);
    assert_eq!(shown(&none), ["ssm:GetParameters *"]);
}

/// Those that the routers of these services know.
const ROUTES: &[(&str, &str, &str, &str)] = &[
    ("lambda", "POST", "/2015-03-31/functions", "CreateFunction"),
    ("lambda", "GET", "/2015-03-31/functions", "ListFunctions"),
    ("lambda", "GET", "/2015-03-31/functions/f", "GetFunction"),
    ("lambda", "DELETE", "/2015-03-31/functions/f", "DeleteFunction"),
    ("lambda", "GET", "/2015-03-31/functions/f/configuration", "GetFunctionConfiguration"),
    ("lambda", "PUT", "/2015-03-31/functions/f/configuration", "UpdateFunctionConfiguration"),
    ("lambda", "PUT", "/2015-03-31/functions/f/code", "UpdateFunctionCode"),
    ("lambda", "POST", "/2015-03-31/functions/f/invocations", "InvokeFunction"),
    ("lambda", "POST", "/2014-11-13/functions/f/invoke-async", "InvokeFunction"),
    ("lambda", "GET", "/2015-03-31/functions/f/versions", "ListVersionsByFunction"),
    ("lambda", "POST", "/2015-03-31/functions/f/versions", "PublishVersion"),
    ("lambda", "POST", "/2015-03-31/functions/f/aliases", "CreateAlias"),
    ("lambda", "GET", "/2015-03-31/functions/f/aliases", "ListAliases"),
    ("lambda", "GET", "/2015-03-31/functions/f/aliases/a", "GetAlias"),
    ("lambda", "PUT", "/2015-03-31/functions/f/aliases/a", "UpdateAlias"),
    ("lambda", "DELETE", "/2015-03-31/functions/f/aliases/a", "DeleteAlias"),
    ("lambda", "POST", "/2015-03-31/functions/f/policy", "AddPermission"),
    ("lambda", "GET", "/2015-03-31/functions/f/policy", "GetPolicy"),
    ("lambda", "DELETE", "/2015-03-31/functions/f/policy/s", "RemovePermission"),
    ("lambda", "PUT", "/2017-10-31/functions/f/concurrency", "PutFunctionConcurrency"),
    ("lambda", "DELETE", "/2017-10-31/functions/f/concurrency", "DeleteFunctionConcurrency"),
    ("lambda", "GET", "/2019-09-30/functions/f/concurrency", "GetFunctionConcurrency"),
    ("lambda", "GET", "/2020-06-30/functions/f/code-signing-config", "GetFunctionCodeSigningConfig"),
    ("lambda", "GET", "/2019-09-25/functions/f/event-invoke-config", "GetFunctionEventInvokeConfig"),
    ("lambda", "PUT", "/2019-09-25/functions/f/event-invoke-config", "PutFunctionEventInvokeConfig"),
    ("lambda", "POST", "/2019-09-25/functions/f/event-invoke-config", "UpdateFunctionEventInvokeConfig"),
    ("lambda", "DELETE", "/2019-09-25/functions/f/event-invoke-config", "DeleteFunctionEventInvokeConfig"),
    ("lambda", "GET", "/2019-09-25/functions/f/event-invoke-config/list", "ListFunctionEventInvokeConfigs"),
    ("lambda", "POST", "/2015-03-31/event-source-mappings", "CreateEventSourceMapping"),
    ("lambda", "GET", "/2016-08-19/account-settings", "GetAccountSettings"),
    ("lambda", "GET", "/2017-03-31/tags/arn%3Aa", "ListTags"),
    ("lambda", "POST", "/2017-03-31/tags/arn%3Aa", "TagResource"),
    ("lambda", "DELETE", "/2017-03-31/tags/arn%3Aa", "UntagResource"),
    ("fis", "POST", "/experimentTemplates", "CreateExperimentTemplate"),
    ("fis", "GET", "/experimentTemplates", "ListExperimentTemplates"),
    ("fis", "GET", "/experimentTemplates/EXT1", "GetExperimentTemplate"),
    ("fis", "PATCH", "/experimentTemplates/EXT1", "UpdateExperimentTemplate"),
    ("fis", "DELETE", "/experimentTemplates/EXT1", "DeleteExperimentTemplate"),
    ("fis", "POST", "/experiments", "StartExperiment"),
    ("fis", "GET", "/experiments", "ListExperiments"),
    ("fis", "GET", "/experiments/EXP1", "GetExperiment"),
    ("fis", "DELETE", "/experiments/EXP1", "StopExperiment"),
    ("fis", "GET", "/experiments/EXP1/resolvedTargets", "ListExperimentResolvedTargets"),
    ("fis", "GET", "/actions", "ListActions"),
    ("fis", "GET", "/actions/a", "GetAction"),
    ("fis", "GET", "/targetResourceTypes", "ListTargetResourceTypes"),
    ("fis", "GET", "/targetResourceTypes/a", "GetTargetResourceType"),
    ("fis", "GET", "/safetyLevers/default", "GetSafetyLever"),
    ("fis", "PATCH", "/safetyLevers/default/state", "UpdateSafetyLeverState"),
    ("fis", "GET", "/tags/arn%3Aa%2Fb", "ListTagsForResource"),
    ("fis", "DELETE", "/tags/arn%3Aa%2Fb", "UntagResource"),
    ("scheduler", "GET", "/schedules", "ListSchedules"),
    ("scheduler", "POST", "/schedules/s", "CreateSchedule"),
    ("scheduler", "GET", "/schedules/s", "GetSchedule"),
    ("scheduler", "PUT", "/schedules/s", "UpdateSchedule"),
    ("scheduler", "DELETE", "/schedules/s", "DeleteSchedule"),
    ("scheduler", "GET", "/schedule-groups", "ListScheduleGroups"),
    ("scheduler", "POST", "/schedule-groups/g", "CreateScheduleGroup"),
    ("scheduler", "GET", "/schedule-groups/g", "GetScheduleGroup"),
    ("scheduler", "DELETE", "/schedule-groups/g", "DeleteScheduleGroup"),
    ("scheduler", "GET", "/tags/arn%3Aa%2Fb", "ListTagsForResource"),
    ("scheduler", "POST", "/tags/arn%3Aa%2Fb", "TagResource"),
    ("scheduler", "DELETE", "/tags/arn%3Aa%2Fb", "UntagResource"),
];

#[test]
fn every_route_has_its_action() {
    for (service, method, path, action) in ROUTES {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let needs = of(&request(service, method, path, "{}"), "123456789012");
        assert_eq!(needs[0].action, format!("{service}:{action}"), "{path}");
    }
    let path = "/tags/arn%3Aaws%3Ascheduler%3Aa%3A1%3Aschedule-group%2Fg";
    let tag = request("scheduler", Method::POST, path, "{}");
    assert_eq!(shown(&tag), ["scheduler:TagResource arn:aws:scheduler:a:1:schedule-group/g"]);
}

#[test]
fn a_call_that_is_not_known_needs_an_action_that_no_policy_names() {
    for (service, path) in [
        ("lambda", "/2020-04-22/code-signing-configs"),
        ("fis", "/experiments/EXP1/targetAccountConfigurations"),
        ("scheduler", "/none"),
        ("sqs", "/"),
        ("dynamodb", "/"),
        ("iam", "/"),
    ] {
        let unknown = request(service, Method::GET, path, "");
        assert_eq!(shown(&unknown), [format!("{service}:UnknownOperation GET {path}")]);
    }
    let metrics = request("monitoring", Method::GET, "/", "");
    assert_eq!(shown(&metrics), ["cloudwatch:UnknownOperation GET /"]);
    assert!(shown(&request("ecs", Method::GET, "/", "")).is_empty(), "nothing answers there");
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
    let template = json!({
        "roleArn": role, "tags": {"a": "b"}, "actions": {"first": {"actionId": "aws:fis:wait"}},
    });
    let template = template.to_string();
    let create = request("fis", Method::POST, "/experimentTemplates", &template);
    assert_eq!(
        shown(&create),
        [
            format!("fis:CreateExperimentTemplate {fis}:experiment-template/*"),
            format!("fis:TagResource {fis}:experiment-template/*"),
            format!("fis:CreateExperimentTemplate {fis}:action/aws:fis:wait"),
            format!("iam:PassRole {role}"),
        ]
    );
    let passed = of(&create, "123456789012").pop().unwrap();
    assert_eq!(passed.context, [("iam:passedtoservice", "fis.amazonaws.com".to_owned())]);
    let function = format!(r#"{{"FunctionName":"f","Role":"{role}"}}"#);
    let create = request("lambda", Method::POST, "/2015-03-31/functions", &function);
    let made = "lambda:CreateFunction arn:aws:lambda:us-east-1:123456789012:function:f".to_owned();
    assert_eq!(shown(&create), [made, format!("iam:PassRole {role}")]);
    let schedule = format!(r#"{{"Target":{{"RoleArn":"{role}"}}}}"#);
    let create = request("scheduler", Method::POST, "/schedules/s", &schedule);
    assert_eq!(shown(&create)[1], format!("iam:PassRole {role}"));
}

#[test]
fn a_body_that_cannot_be_read_may_give_any_role() {
    let any = "iam:PassRole *".to_owned();
    for target in [r#"{"RoleArn":"arn:a","RoleArn":"arn:b"}"#, r#"["arn:f","arn:r"]"#, r#"{"RoleArn":7}"#] {
        let body = format!(r#"{{"Target":{target}}}"#);
        for method in [Method::POST, Method::PUT] {
            let call = request("scheduler", method, "/schedules/s", &body);
            assert_eq!(&shown(&call)[1..], std::slice::from_ref(&any), "{body}");
        }
        let get = request("scheduler", Method::GET, "/schedules/s", &body);
        assert_eq!(shown(&get).len(), 1, "nothing is given");
    }
    let function = request("lambda", Method::POST, "/2015-03-31/functions", r#"{"Role":["arn:r"]}"#);
    assert_eq!(&shown(&function)[1..], std::slice::from_ref(&any));
    let template = r#"{"roleArn":7,"actions":{"a":["aws:fis:wait"]}}"#;
    let template = request("fis", Method::POST, "/experimentTemplates", template);
    let actions = "fis:CreateExperimentTemplate arn:aws:fis:us-east-1:123456789012:action/*".to_owned();
    assert_eq!(shown(&template)[1..], [actions, any]);
    let delete = request("fis", Method::DELETE, "/experimentTemplates/a", "");
    assert_eq!(shown(&delete).len(), 1);
}

#[test]
fn a_package_in_s3_is_read_as_whoever_gives_it() {
    let object = |name: &str| format!("s3:GetObject arn:aws:s3:::{name}");
    let (in_s3, sent) = (r#""S3Bucket":"b","S3Key":"a/k""#, r#""ZipFile":"UEs=""#);
    for (code, need) in [
        (format!("{{{in_s3}}}"), Some(object("b/a/k"))),
        (format!("{{{in_s3},\"ZipFile\":null}}"), Some(object("b/a/k"))),
        (format!("{{{in_s3},{sent}}}"), None),
        (format!("{{{sent}}}"), None),
        (r#"{"S3Bucket":"b"}"#.to_owned(), None),
        (format!("{{{in_s3},\"S3Key\":\"other\"}}"), Some(object("*"))),
        (r#"{"S3Bucket":"b","S3Key":7}"#.to_owned(), Some(object("*"))),
    ] {
        let update = request("lambda", Method::PUT, "/2015-03-31/functions/f/code", &code);
        assert_eq!(&shown(&update)[1..], need.as_slice(), "{code}");
        let create = format!(r#"{{"FunctionName":"f","Code":{code}}}"#);
        let create = request("lambda", Method::POST, "/2015-03-31/functions", &create);
        assert_eq!(&shown(&create)[1..], need.as_slice(), "{code}");
    }
    // Lambda would take the list for the members in their order.
    let listed = r#"{"FunctionName":"f","Code":[null,"b","k",null,null]}"#;
    let listed = request("lambda", Method::POST, "/2015-03-31/functions", listed);
    assert_eq!(&shown(&listed)[1..], [object("*")]);
    let configuration = format!("{{{in_s3}}}");
    let configuration =
        request("lambda", Method::PUT, "/2015-03-31/functions/f/configuration", &configuration);
    assert_eq!(shown(&configuration).len(), 1, "it reads no code");
}

#[test]
fn who_puts_an_object_with_tags_must_be_allowed_to_tag_it() {
    let object = "arn:aws:s3:::b/k";
    let needs = |method: Method, path: &str, tags: &'static str| {
        let mut put = request("s3", method, path, "");
        put.headers.insert("x-amz-tagging", HeaderValue::from_static(tags));
        shown(&put)
    };
    let both = [format!("s3:PutObject {object}"), format!("s3:PutObjectTagging {object}")];
    assert_eq!(needs(Method::PUT, "/b/k", "a=b"), both);
    assert_eq!(needs(Method::POST, "/b/k?uploads", "a=b"), both);
    assert_eq!(needs(Method::PUT, "/b/k", ""), both[..1]);
    assert_eq!(needs(Method::PUT, "/b/k?partNumber=1&uploadId=u", "a=b"), both[..1]);
    assert_eq!(needs(Method::GET, "/b/k", "a=b"), [format!("s3:GetObject {object}")]);
    let mut copy = request("s3", Method::PUT, "/b/k", "");
    copy.headers.insert("x-amz-tagging", HeaderValue::from_static("a=b"));
    copy.headers.insert("x-amz-copy-source", HeaderValue::from_static("from/a"));
    assert_eq!(shown(&copy)[..2], both);
    assert_eq!(shown(&copy)[2], "s3:GetObject arn:aws:s3:::from/a");
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
            json_request("logs", "Logs_20140328.PutMetricFilter", r#"{"logGroupName":"/aws/lambda/f"}"#),
            format!("logs:PutMetricFilter {group}:log-stream:"),
        ),
        (
            json_request("logs", "Logs_20140328.TestMetricFilter", r#"{"filterPattern":""}"#),
            "logs:TestMetricFilter *".to_owned(),
        ),
        (
            json_request("ssm", "AmazonSSM.GetParameter", r#"{"Name":"/a/b"}"#),
            "ssm:GetParameter arn:aws:ssm:us-east-1:123456789012:parameter/a/b".to_owned(),
        ),
        (
            json_request("ssm", "AmazonSSM.GetParameter", r#"{"Name":"a:3"}"#),
            "ssm:GetParameter arn:aws:ssm:us-east-1:123456789012:parameter/a".to_owned(),
        ),
        (
            json_request(
                "ssm",
                "AmazonSSM.GetParameter",
                r#"{"Name":"arn:aws:ssm:us-east-1:123456789012:parameter/a/b:live"}"#,
            ),
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
            request("scheduler", Method::PUT, "/schedules/audit", r#"{"GroupName":"g"}"#),
            "scheduler:UpdateSchedule arn:aws:scheduler:us-east-1:123456789012:schedule/g/audit".to_owned(),
        ),
        (
            request("scheduler", Method::DELETE, "/schedules/audit?groupName=g", ""),
            "scheduler:DeleteSchedule arn:aws:scheduler:us-east-1:123456789012:schedule/g/audit".to_owned(),
        ),
        (
            request("scheduler", Method::GET, "/schedules", ""),
            "scheduler:ListSchedules arn:aws:scheduler:us-east-1:123456789012:schedule/*/*".to_owned(),
        ),
    ] {
        assert_eq!(shown(&request), [need]);
    }
    assert!(shown(&request("sts", Method::POST, "/", "Action=GetCallerIdentity")).is_empty());
}

#[test]
fn composite_alarms_are_made_and_shown_only_to_who_may_do_it_anywhere() {
    let alarms = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*";
    for (target, body, needed) in [
        (
            "GraniteServiceVersion20100801.PutCompositeAlarm",
            r#"{"AlarmName":"c"}"#,
            "PutCompositeAlarm *".to_owned(),
        ),
        (
            "GraniteServiceVersion20100801.DescribeAlarms",
            r#"{"AlarmTypes":["CompositeAlarm"]}"#,
            "DescribeAlarms *".to_owned(),
        ),
        (
            "GraniteServiceVersion20100801.DescribeAlarms",
            r#"{"AlarmTypes":["MetricAlarm"]}"#,
            format!("DescribeAlarms {alarms}"),
        ),
        (
            "GraniteServiceVersion20100801.DescribeAlarms",
            r#"{"AlarmNames":["CompositeAlarm"]}"#,
            format!("DescribeAlarms {alarms}"),
        ),
        (
            "GraniteServiceVersion20100801.DescribeAlarms",
            r#"{"ChildrenOfAlarmName":"c"}"#,
            "DescribeAlarms *".to_owned(),
        ),
        (
            "GraniteServiceVersion20100801.DescribeAlarmHistory",
            r#"{"AlarmTypes":["CompositeAlarm"]}"#,
            "DescribeAlarmHistory *".to_owned(),
        ),
        (
            "GraniteServiceVersion20100801.DescribeAlarmHistory",
            "{}",
            format!("DescribeAlarmHistory {alarms}"),
        ),
        ("GraniteServiceVersion20100801.DeleteAlarms", "{}", format!("DeleteAlarms {alarms}")),
    ] {
        assert_eq!(shown(&json_request("monitoring", target, body)), [format!("cloudwatch:{needed}")]);
    }
    let form = "Action=DescribeAlarms&AlarmTypes.member.1=CompositeAlarm";
    assert_eq!(shown(&request("monitoring", Method::POST, "/", form)), ["cloudwatch:DescribeAlarms *"]);
}

/// One call of CloudWatch in the members of JSON, as CBOR of the same members and as a form.
fn in_all_protocols(operation: &str, members: &Value, cbor: &[u8], form: &str) -> [AwsRequest; 3] {
    let mut json = request("monitoring", Method::POST, "/", &members.to_string());
    let target = HeaderValue::from_str(&format!("GraniteServiceVersion20100801.{operation}")).unwrap();
    json.headers.insert("x-amz-target", target);
    let path = format!("/service/GraniteServiceVersion20100801/operation/{operation}");
    let of_cbor = AwsRequest { body: cbor.to_vec().into(), ..request("monitoring", Method::POST, &path, "") };
    let form = request("monitoring", Method::POST, "/", &format!("Action={operation}&{form}"));
    [json, of_cbor, form]
}

#[test]
fn dashboards_and_what_has_tags_are_asked_about_by_name_in_every_protocol() {
    let dashboard = "arn:aws:cloudwatch::123456789012:dashboard";
    for operation in ["PutDashboard", "GetDashboard"] {
        let cbor = b"\xa1\x6dDashboardName\x63ops";
        let all = in_all_protocols(operation, &json!({"DashboardName": "ops"}), cbor, "DashboardName=ops");
        for call in all {
            assert_eq!(shown(&call), [format!("cloudwatch:{operation} {dashboard}/ops")], "{call:?}");
        }
    }
    let names = json!({"DashboardNames": ["a", "b"]});
    let cbor = b"\xa1\x6eDashboardNames\x82\x61a\x61b";
    let form = "DashboardNames.member.1=a&DashboardNames.member.2=b";
    let each = ["a", "b"].map(|name| format!("cloudwatch:DeleteDashboards {dashboard}/{name}"));
    for call in in_all_protocols("DeleteDashboards", &names, cbor, form) {
        assert_eq!(shown(&call), each, "{call:?}");
    }
    let none = json_request("monitoring", "GraniteServiceVersion20100801.DeleteDashboards", "{}");
    assert_eq!(shown(&none), [format!("cloudwatch:DeleteDashboards {dashboard}/*")]);
    let cbor = b"\xa1\x6bResourceARN\x65arn:a";
    for operation in ["TagResource", "UntagResource", "ListTagsForResource"] {
        let arn = json!({"ResourceARN": "arn:a"});
        for call in in_all_protocols(operation, &arn, cbor, "ResourceARN=arn%3Aa") {
            assert_eq!(shown(&call), [format!("cloudwatch:{operation} arn:a")], "{call:?}");
        }
    }
}

#[test]
fn a_call_of_cloudwatch_that_names_two_operations_is_judged_as_the_one_that_the_service_reads() {
    let mut call = crate::cloudwatch::cbor_call("DeleteAlarms", &json!({"AlarmNames": ["a"]}));
    let target = HeaderValue::from_static("GraniteServiceVersion20100801.ListMetrics");
    call.headers.insert("x-amz-target", target);
    let alarms = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*";
    assert_eq!(shown(&call), [format!("cloudwatch:DeleteAlarms {alarms}")]);
    // A target of another service is none: the form speaks.
    let form = "Action=DeleteAlarms&Action=ListMetrics";
    assert_eq!(shown(&json_request("monitoring", "Other.DeleteAlarms", form)), ["cloudwatch:ListMetrics *"]);
}

#[test]
fn of_a_parameter_that_comes_twice_the_one_counts_that_the_service_reads() {
    let form = "Action=GetUser&UserName=a&%41ction=DeleteUser&UserName=b";
    let user = "arn:aws:iam::123456789012:user/b";
    assert_eq!(shown(&request("iam", Method::POST, "/", form)), [format!("iam:DeleteUser {user}")]);
    let form = "Action=ListQueues&Action=DeleteQueue&QueueUrl=a&QueueUrl=b";
    let queue = "arn:aws:sqs:us-east-1:123456789012:b";
    assert_eq!(shown(&request("sqs", Method::POST, "/", form)), [format!("sqs:DeleteQueue {queue}")]);
}

#[test]
fn the_key_of_a_log_group_is_asked_about_by_the_member_that_the_service_reads() {
    let group = "arn:aws:logs:us-east-1:123456789012:log-group:g";
    let body = json!({ "logGroupIdentifier": "other", "resourceIdentifier": group }).to_string();
    for (target, action) in [
        ("Logs_20140328.AssociateKmsKey", "AssociateKmsKey"),
        ("Logs_20140328.DisassociateKmsKey", "DisassociateKmsKey"),
    ] {
        let need = format!("logs:{action} {group}:log-stream:");
        assert_eq!(shown(&json_request("logs", target, &body)), [need]);
    }
}

#[test]
fn the_protection_of_a_log_group_is_asked_about_by_its_identifier() {
    let group = "arn:aws:logs:us-east-1:123456789012:log-group:g";
    let target = "Logs_20140328.PutLogGroupDeletionProtection";
    for identifier in ["g", group] {
        let body = json!({"logGroupName": "other", "logGroupIdentifier": identifier}).to_string();
        let need = format!("logs:PutLogGroupDeletionProtection {group}:log-stream:");
        assert_eq!(shown(&json_request("logs", target, &body)), [need]);
    }
}

#[test]
fn the_tags_of_a_log_group_are_asked_about_by_its_arn_without_streams() {
    let group = "arn:aws:logs:us-east-1:123456789012:log-group:g";
    let body = json!({"resourceArn": format!("{group}:*"), "logGroupName": "other"}).to_string();
    for (target, action) in [
        ("Logs_20140328.TagResource", "TagResource"),
        ("Logs_20140328.UntagResource", "UntagResource"),
        ("Logs_20140328.ListTagsForResource", "ListTagsForResource"),
    ] {
        assert_eq!(shown(&json_request("logs", target, &body)), [format!("logs:{action} {group}")]);
    }
    let older = json_request("logs", "Logs_20140328.TagLogGroup", r#"{"logGroupName":"g"}"#);
    assert_eq!(shown(&older), [format!("logs:TagLogGroup {group}:log-stream:")]);
}
