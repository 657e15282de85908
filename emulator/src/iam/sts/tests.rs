use std::time::Duration;

use serde_json::{Value, json};

use crate::iam::tests::{ACCOUNT, Fixture, alice, put, statement};
use crate::iam::{Ask, Context, Reason};
use crate::wire::AwsResponse;

const ADMINISTRATOR: &str = "AKIATEST";
const WORKER: &str = "arn:aws:sts::123456789012:assumed-role/worker/worker";
const OPERATOR: &str = "arn:aws:iam::123456789012:role/operator";
const TASKS: &str = "arn:aws:sqs:us-east-1:123456789012:tasks";

fn trust(principal: &Value, condition: &Value) -> Value {
    json!([{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition}])
}

fn account_root() -> Value {
    json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:root") })
}

/// Beside the fixture's `worker`, a role `operator` with this trust.
async fn operator(trust: &Value) -> Fixture {
    let fixture = Fixture::new().await;
    let trust = json!({"Version": "2012-10-17", "Statement": trust}).to_string();
    let role = [("RoleName", "operator"), ("AssumeRolePolicyDocument", trust.as_str())];
    assert_eq!(fixture.call("CreateRole", &role).await.status, 200);
    fixture
}

/// The error's name in an answer of DynamoDB.
fn shape(refused: &AwsResponse) -> String {
    let body: Value = serde_json::from_slice(&refused.body).unwrap();
    body["__type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned()
}

const PLAIN: [(&str, &str); 2] = [("RoleArn", OPERATOR), ("RoleSessionName", "alice")];

fn element(answer: &AwsResponse, name: &str) -> String {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split_once('<').unwrap().0.to_owned()
}

#[tokio::test]
async fn who_takes_a_role_may_do_what_the_role_may_and_is_its_session() {
    let fixture = operator(&trust(&account_root(), &json!({}))).await;
    let taken = fixture.sts(ADMINISTRATOR, "AssumeRole", &PLAIN).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let session = "arn:aws:sts::123456789012:assumed-role/operator/alice";
    assert_eq!(element(&taken, "Arn"), session);
    assert_eq!(element(&taken, "Expiration"), "1970-01-01T01:00:00Z", "an hour unless told otherwise");
    let key = element(&taken, "AccessKeyId");
    let purge = |key: &str| {
        let body = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/tasks"});
        fixture.judge_as(key, "sqs", "AmazonSQS.PurgeQueue", &body)
    };
    assert_eq!(purge(&key).unwrap().status, 403);
    fixture.allow_role("operator", "purge", json!([statement("Allow", "sqs:PurgeQueue", TASKS)])).await;
    assert!(purge(&key).is_none());
    let identity = fixture.sts(&key, "GetCallerIdentity", &[]).await;
    assert_eq!(element(&identity, "Arn"), session);
    assert_eq!(element(&identity, "UserId"), element(&taken, "AssumedRoleId"));
    let identity = fixture.sts(ADMINISTRATOR, "GetCallerIdentity", &[]).await;
    assert_eq!(element(&identity, "Arn"), "arn:aws:iam::123456789012:root");
}

#[tokio::test]
async fn a_role_that_does_not_trust_the_caller_is_refused_as_one_that_is_not_there() {
    let fixture = operator(&trust(&json!({"Service": "lambda.amazonaws.com"}), &json!({}))).await;
    for role in [OPERATOR, "arn:aws:iam::123456789012:role/missing"] {
        let asked = [("RoleArn", role), ("RoleSessionName", "alice")];
        let refused = fixture.sts(ADMINISTRATOR, "AssumeRole", &asked).await;
        assert_eq!((refused.status.as_u16(), element(&refused, "Code").as_str()), (403, "AccessDenied"));
        let expected = format!(
            "User: arn:aws:iam::123456789012:root is not authorized to perform: sts:AssumeRole on resource: {role}"
        );
        assert_eq!(element(&refused, "Message"), expected);
    }
}

#[tokio::test]
async fn a_role_takes_another_that_trusts_it_by_name_or_its_account_if_its_own_policies_say_so_too() {
    let fixture = operator(&trust(&account_root(), &json!({}))).await;
    let refused = fixture.sts(&fixture.key, "AssumeRole", &PLAIN).await;
    assert!(element(&refused, "Message").starts_with(&format!("User: {WORKER} is not authorized")));
    fixture.allow("assume", json!([statement("Allow", "sts:AssumeRole", OPERATOR)])).await;
    assert_eq!(fixture.sts(&fixture.key, "AssumeRole", &PLAIN).await.status, 200);
    let by_name =
        operator(&trust(&json!({"AWS": "arn:aws:iam::123456789012:role/worker"}), &json!({}))).await;
    assert_eq!(by_name.sts(&by_name.key, "AssumeRole", &PLAIN).await.status, 200);
    assert_eq!(
        by_name.sts(ADMINISTRATOR, "AssumeRole", &PLAIN).await.status,
        403,
        "only the worker is named"
    );
    let long = [PLAIN[0], PLAIN[1], ("DurationSeconds", "3601")];
    let refused = by_name.sts(&by_name.key, "AssumeRole", &long).await;
    assert!(element(&refused, "Message").contains("MaxSessionDuration"), "the role's own limit is one hour");
}

#[tokio::test]
async fn a_condition_of_the_trust_is_asked() {
    let condition = json!({"StringEquals": {"sts:ExternalId": "4711"}});
    let fixture = operator(&trust(&account_root(), &condition)).await;
    assert_eq!(fixture.sts(ADMINISTRATOR, "AssumeRole", &PLAIN).await.status, 403);
    let told = [PLAIN[0], PLAIN[1], ("ExternalId", "4711")];
    assert_eq!(fixture.sts(ADMINISTRATOR, "AssumeRole", &told).await.status, 200);
}

#[tokio::test]
async fn a_trust_of_the_accounts_root_alone_lets_the_administrator_take_the_role() {
    let root = json!({"ArnEquals": {"aws:PrincipalArn": format!("arn:aws:iam::{ACCOUNT}:root")}});
    let fixture = operator(&trust(&account_root(), &root)).await;
    fixture.allow("assume", json!([statement("Allow", "sts:AssumeRole", OPERATOR)])).await;
    assert_eq!(fixture.sts(ADMINISTRATOR, "AssumeRole", &PLAIN).await.status, 200);
    assert_eq!(fixture.sts(&fixture.key, "AssumeRole", &PLAIN).await.status, 403);
}

#[tokio::test]
async fn a_session_ends_and_its_key_is_nobodys_then() {
    let fixture = operator(&trust(&account_root(), &json!({}))).await;
    fixture.allow_role("operator", "all", json!([statement("Allow", "dynamodb:*", "*")])).await;
    let short = [PLAIN[0], PLAIN[1], ("DurationSeconds", "900")];
    let key = element(&fixture.sts(ADMINISTRATOR, "AssumeRole", &short).await, "AccessKeyId");
    assert!(fixture.get_item(&key).is_none());
    fixture.hand.advance(Duration::from_secs(900));
    let refused = fixture.get_item(&key).unwrap();
    assert_eq!((refused.status.as_u16(), shape(&refused)), (400, "ExpiredTokenException".to_owned()));
    let refused = fixture.sts(&key, "GetCallerIdentity", &[]).await;
    assert_eq!((refused.status.as_u16(), element(&refused, "Code").as_str()), (403, "ExpiredToken"));
    // Whoever asks about a session by itself, as the gateways do, is told the same.
    let session = fixture.iam.signer(&key).unwrap();
    let context = Context::at(fixture.clock.now_ms());
    let ask = Ask { action: "dynamodb:GetItem", resource: "*", context };
    assert_eq!(fixture.iam.check(&session, &ask).unwrap_err().reason, Reason::NotGranted);
}

#[tokio::test]
async fn a_user_takes_a_role_that_trusts_its_account_only_where_its_own_policies_allow_it() {
    let fixture = operator(&trust(&account_root(), &json!({}))).await;
    let key = alice(&fixture).await;
    let told = element(&fixture.sts(&key, "GetCallerIdentity", &[]).await, "Arn");
    assert_eq!(told, format!("arn:aws:iam::{ACCOUNT}:user/alice"));
    assert_eq!(fixture.sts(&key, "AssumeRole", &PLAIN).await.status, 403);
    let may = json!([statement("Allow", "sts:AssumeRole", OPERATOR)]);
    put(&fixture, "PutUserPolicy", ("UserName", "alice"), may).await;
    assert_eq!(fixture.sts(&key, "AssumeRole", &PLAIN).await.status, 200);
    // A user's key is no session: what is taken with it is not chained, and may last as long as the role says.
    let update = [("RoleName", "operator"), ("MaxSessionDuration", "7200")];
    assert_eq!(fixture.call("UpdateRole", &update).await.status, 200);
    let long = [PLAIN[0], PLAIN[1], ("DurationSeconds", "7200")];
    assert_eq!(fixture.sts(&key, "AssumeRole", &long).await.status, 200);
}

#[tokio::test]
async fn a_user_needs_no_permission_for_a_session_token_and_may_do_with_it_what_the_user_may() {
    let fixture = Fixture::new().await;
    let key = alice(&fixture).await;
    let given = fixture.sts(&key, "GetSessionToken", &[("DurationSeconds", "900")]).await;
    assert_eq!(given.status, 200, "{given:?}");
    let session = element(&given, "AccessKeyId");
    let identity = fixture.sts(&session, "GetCallerIdentity", &[]).await;
    assert_eq!(element(&identity, "Arn"), format!("arn:aws:iam::{ACCOUNT}:user/alice"));
    assert_eq!(shape(&fixture.get_item(&session).unwrap()), "AccessDeniedException");
    let tables = json!([statement("Allow", "dynamodb:*", "*")]);
    put(&fixture, "PutUserPolicy", ("UserName", "alice"), tables).await;
    assert!(fixture.get_item(&session).is_none());
    for of_session in [&session, &fixture.key] {
        let refused = fixture.sts(of_session, "GetSessionToken", &[]).await;
        assert_eq!((refused.status.as_u16(), element(&refused, "Code").as_str()), (403, "AccessDenied"));
    }
    for unsound in [("DurationSeconds", "129601"), ("TokenCode", "123456")] {
        let refused = fixture.sts(&key, "GetSessionToken", &[unsound]).await;
        assert_eq!(element(&refused, "Code"), "ValidationError", "{unsound:?}");
    }
    fixture.hand.advance(Duration::from_secs(900));
    assert_eq!(shape(&fixture.get_item(&session).unwrap()), "ExpiredTokenException");
}

#[tokio::test]
async fn a_session_is_not_lent_the_rights_of_the_next_of_its_name() {
    let fixture = operator(&trust(&account_root(), &json!({}))).await;
    let key = element(&fixture.sts(ADMINISTRATOR, "AssumeRole", &PLAIN).await, "AccessKeyId");
    assert_eq!(fixture.call("DeleteRole", &[("RoleName", "operator")]).await.status, 200);
    assert_eq!(shape(&fixture.get_item(&key).unwrap()), "UnrecognizedClientException");
    let trust = json!({"Version": "2012-10-17", "Statement": trust(&account_root(), &json!({}))}).to_string();
    let role = [("RoleName", "operator"), ("AssumeRolePolicyDocument", trust.as_str())];
    assert_eq!(fixture.call("CreateRole", &role).await.status, 200);
    fixture.allow_role("operator", "all", json!([statement("Allow", "dynamodb:*", "*")])).await;
    assert_eq!(shape(&fixture.get_item(&key).unwrap()), "UnrecognizedClientException");
    let key = element(&fixture.sts(ADMINISTRATOR, "AssumeRole", &PLAIN).await, "AccessKeyId");
    assert!(fixture.get_item(&key).is_none());
}

#[tokio::test]
async fn a_key_that_was_given_before_a_restart_is_nobodys() {
    let before = operator(&trust(&account_root(), &json!({}))).await;
    let key = element(&before.sts(ADMINISTRATOR, "AssumeRole", &PLAIN).await, "AccessKeyId");
    let after = operator(&trust(&account_root(), &json!({}))).await;
    assert_eq!(shape(&after.get_item(&key).unwrap()), "UnrecognizedClientException");
    assert!(after.get_item(ADMINISTRATOR).is_none());
}

#[tokio::test]
async fn what_is_no_sound_request_is_refused_with_its_reason() {
    let fixture = operator(&trust(&account_root(), &json!({}))).await;
    let long_name = "a".repeat(65);
    let cases: [(&[(&str, &str)], &str); 11] = [
        (&[("RoleSessionName", "alice")], "'roleArn'"),
        (&[("RoleArn", OPERATOR)], "'roleSessionName'"),
        (&[("RoleArn", "operator"), ("RoleSessionName", "alice")], "operator is invalid"),
        (&[("RoleArn", OPERATOR), ("RoleSessionName", "a")], "length between 2 and 64"),
        (&[("RoleArn", OPERATOR), ("RoleSessionName", &long_name)], "length between 2 and 64"),
        (&[("RoleArn", OPERATOR), ("RoleSessionName", "a/b")], "regular expression"),
        (&[PLAIN[0], PLAIN[1], ("DurationSeconds", "899")], "'durationSeconds'"),
        (&[PLAIN[0], PLAIN[1], ("DurationSeconds", "1h")], "'durationSeconds'"),
        (&[PLAIN[0], PLAIN[1], ("Policy", "{}")], "session policies"),
        (
            &[PLAIN[0], PLAIN[1], ("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "blue")],
            "session tags",
        ),
        (&[PLAIN[0], PLAIN[1], ("SourceIdentity", "ann")], "session tags"),
    ];
    for (asked, reason) in cases {
        let refused = fixture.sts(ADMINISTRATOR, "AssumeRole", asked).await;
        assert_eq!((refused.status.as_u16(), element(&refused, "Code").as_str()), (400, "ValidationError"));
        assert!(element(&refused, "Message").contains(reason), "{refused:?}");
    }
}
