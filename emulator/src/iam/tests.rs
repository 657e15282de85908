//! The decisions as a caller meets them: roles made through the IAM API, requests judged on the wire.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::settings::Settings;
use crate::wire::Service;

pub(super) const ACCOUNT: &str = "123456789012";
const ROLE: &str = "arn:aws:iam::123456789012:role/worker";
const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/tasks";
const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:tasks";

pub(super) struct Fixture {
    pub(super) iam: Iam,
    api: Arc<dyn Service>,
    sts: Arc<dyn Service>,
    /// Of a session of the role `worker`.
    pub(super) key: String,
    pub(super) hand: Arc<ManualClock>,
    pub(super) clock: Clock,
}

impl Fixture {
    /// A role `worker` that Lambda may take, and a session of it.
    pub(super) async fn new() -> Self {
        let (settings, hand) = Settings::by_hand(0);
        let settings = Settings { iam: Iam::new(true), ..settings };
        let clock = settings.clock.clone();
        let (api, sts) = (crate::engines::iam(&settings), crate::engines::sts(&settings));
        let key = settings.iam.issue(&settings.random, ROLE, "worker").access_key_id;
        let fixture = Self { iam: settings.iam, api, sts, key, hand, clock };
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"},
        }]});
        let role = [("RoleName", "worker"), ("AssumeRolePolicyDocument", &trust.to_string())];
        assert_eq!(fixture.call("CreateRole", &role).await.status, 200);
        fixture
    }

    pub(super) async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> AwsResponse {
        self.api.handle(form("iam", "", action, parameters)).await
    }

    /// Judged first, as every request is.
    pub(super) async fn sts(&self, key: &str, action: &str, parameters: &[(&str, &str)]) -> AwsResponse {
        let request = form("sts", key, action, parameters);
        match self.iam.judge(&request, ACCOUNT, self.clock.now_ms()) {
            Some(refused) => refused,
            None => self.sts.handle(request).await,
        }
    }

    pub(super) async fn allow(&self, name: &str, statements: Value) {
        self.allow_role("worker", name, statements).await;
    }

    pub(super) async fn allow_role(&self, role: &str, name: &str, statements: Value) {
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let policy = [("RoleName", role), ("PolicyName", name), ("PolicyDocument", document.as_str())];
        assert_eq!(self.call("PutRolePolicy", &policy).await.status, 200);
    }

    fn dynamodb(&self, operation: &str, body: &Value) -> Option<AwsResponse> {
        let target = format!("DynamoDB_20120810.{operation}");
        self.judge("dynamodb", &target, body)
    }

    fn judge(&self, service: &str, target: &str, body: &Value) -> Option<AwsResponse> {
        self.judge_as(&self.key, service, target, body)
    }

    /// An item of the table `tasks`.
    pub(super) fn get_item(&self, key: &str) -> Option<AwsResponse> {
        let body = json!({"TableName": "tasks"});
        self.judge_as(key, "dynamodb", "DynamoDB_20120810.GetItem", &body)
    }

    pub(super) fn judge_as(
        &self,
        key: &str,
        service: &str,
        target: &str,
        body: &Value,
    ) -> Option<AwsResponse> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", HeaderValue::from_str(target).unwrap());
        let request = request(service, headers, body.to_string(), key);
        self.iam.judge(&request, ACCOUNT, self.clock.now_ms())
    }
}

/// A request of the query protocol. That each API has a version of its own is not looked at.
pub(crate) fn form(service: &str, key: &str, action: &str, parameters: &[(&str, &str)]) -> AwsRequest {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut form = format!("Action={action}&Version=2010-05-08");
    for (name, value) in parameters {
        form.push_str(&format!("&{name}={}", encode(value)));
    }
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    request(service, headers, form, key)
}

fn request(service: &str, headers: HeaderMap, body: String, key: &str) -> AwsRequest {
    AwsRequest {
        method: Method::POST,
        path: "/".to_owned(),
        query: String::new(),
        headers,
        body: Bytes::from(body),
        service: service.to_owned(),
        region: "us-east-1".to_owned(),
        access_key_id: key.to_owned(),
    }
}

pub(super) fn statement(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource})
}

fn message(answer: &AwsResponse) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["Message"].as_str().or_else(|| body["message"].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn a_call_is_denied_until_a_policy_of_the_role_allows_it() {
    let fixture = Fixture::new().await;
    let body = json!({"TableName": "tasks"});
    let denied = fixture.dynamodb("GetItem", &body).unwrap();
    assert_eq!(denied.status, 400);
    assert_eq!(
        message(&denied),
        format!(
            "User: arn:aws:sts::123456789012:assumed-role/worker/worker is not authorized to perform: dynamodb:GetItem on \
             resource: {TABLE} because no identity-based policy allows the dynamodb:GetItem action"
        )
    );
    let body_json: Value = serde_json::from_slice(&denied.body).unwrap();
    assert_eq!(body_json["__type"], "com.amazon.coral.service#AccessDeniedException");
    fixture.allow("read", json!([statement("Allow", "dynamodb:GetItem", TABLE)])).await;
    assert!(fixture.dynamodb("GetItem", &body).is_none());
    assert!(fixture.dynamodb("PutItem", &body).is_some(), "another action");
    assert!(fixture.dynamodb("GetItem", &json!({"TableName": "other"})).is_some(), "another table");
    let delete = [("RoleName", "worker"), ("PolicyName", "read")];
    assert_eq!(fixture.call("DeleteRolePolicy", &delete).await.status, 200);
    assert!(fixture.dynamodb("GetItem", &body).is_some(), "taken back");
}

#[tokio::test]
async fn a_denial_of_the_role_wins_over_its_allowance_and_says_so() {
    let fixture = Fixture::new().await;
    fixture.allow("all", json!([statement("Allow", "sqs:*", "*")])).await;
    fixture.allow("not-these", json!([statement("Deny", "sqs:SendMessage", QUEUE)])).await;
    let body = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/tasks"});
    let denied = fixture.judge("sqs", "AmazonSQS.SendMessageBatch", &body).unwrap();
    assert_eq!(denied.status, 403);
    assert_eq!(denied.headers["x-amzn-query-error"], "AccessDenied;Sender");
    assert_eq!(
        message(&denied),
        format!(
            "User: arn:aws:sts::123456789012:assumed-role/worker/worker is not authorized to perform: sqs:sendmessage on \
             resource: {QUEUE} with an explicit deny in an identity-based policy"
        )
    );
    assert!(fixture.judge("sqs", "AmazonSQS.ReceiveMessage", &body).is_none());
}

#[tokio::test]
async fn every_item_of_a_transaction_needs_its_own_action() {
    let fixture = Fixture::new().await;
    fixture.allow("write", json!([statement("Allow", "dynamodb:PutItem", TABLE)])).await;
    let put = json!({"Put": {"TableName": "tasks", "Item": {}}});
    assert!(fixture.dynamodb("TransactWriteItems", &json!({"TransactItems": [put]})).is_none());
    let with_check = json!({"TransactItems": [put, {"ConditionCheck": {"TableName": "tasks", "Key": {}}}]});
    let denied = fixture.dynamodb("TransactWriteItems", &with_check).unwrap();
    assert!(message(&denied).contains("dynamodb:ConditionCheckItem"), "{}", message(&denied));
    let elsewhere = json!({"TransactItems": [put], "TableName": 5});
    assert!(fixture.dynamodb("TransactWriteItems", &elsewhere).is_none(), "the service does not read that");
    let unreadable = json!({"TransactItems": [put, 5]});
    assert!(
        fixture.dynamodb("TransactWriteItems", &unreadable).is_some(),
        "what cannot be read needs everything"
    );
    let all_but_this = [statement("Allow", "dynamodb:*", "*"), statement("Deny", "dynamodb:PutItem", TABLE)];
    fixture.allow("write", json!(all_but_this)).await;
    let denied = fixture.dynamodb("TransactWriteItems", &elsewhere).unwrap();
    assert!(message(&denied).contains("explicit deny"), "{}", message(&denied));
}

#[tokio::test]
async fn managed_policies_count_those_of_aws_included_and_a_boundary_limits_them() {
    let fixture = Fixture::new().await;
    let send = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/tasks"});
    let own = json!({"Version": "2012-10-17", "Statement": [statement("Allow", "sqs:SendMessage", QUEUE)]});
    let create = [("PolicyName", "send"), ("PolicyDocument", &own.to_string())];
    assert_eq!(fixture.call("CreatePolicy", &create).await.status, 200);
    for arn in [
        "arn:aws:iam::123456789012:policy/send",
        "arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole",
    ] {
        let attach = [("RoleName", "worker"), ("PolicyArn", arn)];
        assert_eq!(fixture.call("AttachRolePolicy", &attach).await.status, 200, "{arn}");
    }
    assert!(fixture.judge("sqs", "AmazonSQS.SendMessage", &send).is_none());
    assert!(fixture.judge("sqs", "AmazonSQS.ReceiveMessage", &send).is_none());
    let boundary = [("RoleName", "worker"), ("PermissionsBoundary", "arn:aws:iam::123456789012:policy/send")];
    assert_eq!(fixture.call("PutRolePermissionsBoundary", &boundary).await.status, 200);
    assert!(fixture.judge("sqs", "AmazonSQS.SendMessage", &send).is_none());
    let denied = fixture.judge("sqs", "AmazonSQS.ReceiveMessage", &send).unwrap();
    assert!(
        message(&denied).ends_with("because no permissions boundary allows the sqs:receivemessage action")
    );
}

struct OnePolicy(Arc<Policy>);

impl PolicySource for OnePolicy {
    fn policy(&self, arn: &str) -> Option<Arc<Policy>> {
        (arn == QUEUE).then(|| Arc::clone(&self.0))
    }
}

#[tokio::test]
async fn the_policy_of_a_resource_allows_the_role_it_names_and_denies_whom_it_denies() {
    let fixture = Fixture::new().await;
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "sqs:SendMessage", "Resource": QUEUE},
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sqs:PurgeQueue", "Resource": QUEUE},
        {"Effect": "Deny", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": QUEUE},
    ]});
    let policy = Policy::from_value(&document, Kind::Resource).unwrap();
    fixture.iam.set_policy_source("sqs", Arc::new(OnePolicy(Arc::new(policy))));
    fixture.allow("receive", json!([statement("Allow", "sqs:ReceiveMessage", QUEUE)])).await;
    let body = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/tasks"});
    assert!(
        fixture.judge("sqs", "AmazonSQS.SendMessage", &body).is_none(),
        "no policy of the role is needed"
    );
    let purge = fixture.judge("sqs", "AmazonSQS.PurgeQueue", &body).unwrap();
    assert!(message(&purge).contains("no identity-based policy"), "the account's own policies decide");
    let receive = fixture.judge("sqs", "AmazonSQS.ReceiveMessage", &body).unwrap();
    assert!(message(&receive).ends_with("with an explicit deny in a resource-based policy"));
}

/// Two queues whose dead letters go to one.
struct TwoSources;

const DEAD_LETTERS: &str = "arn:aws:sqs:us-east-1:123456789012:dead";

impl PolicySource for TwoSources {
    fn policy(&self, _arn: &str) -> Option<Arc<Policy>> {
        None
    }

    fn dead_letter_sources(&self, arn: &str) -> Vec<String> {
        let sources = [QUEUE.to_owned(), format!("{QUEUE}-2")];
        if arn == DEAD_LETTERS { sources.into() } else { Vec::new() }
    }
}

#[tokio::test]
async fn moving_dead_letters_back_needs_to_send_to_each_queue_that_they_may_come_from() {
    let fixture = Fixture::new().await;
    fixture.iam.set_policy_source("sqs", Arc::new(TwoSources));
    let back = json!({"SourceArn": DEAD_LETTERS});
    let elsewhere = json!({"SourceArn": DEAD_LETTERS, "DestinationArn": QUEUE});
    let start = |body: &Value| fixture.judge("sqs", "AmazonSQS.StartMessageMoveTask", body);
    fixture.allow("dead-letters", json!([statement("Allow", "sqs:*", DEAD_LETTERS)])).await;
    for body in [&back, &elsewhere] {
        let denied = start(body).unwrap();
        let words = format!("sqs:sendmessage on resource: {QUEUE} because");
        assert!(message(&denied).contains(&words), "{}", message(&denied));
    }
    fixture.allow("one-source", json!([statement("Allow", "sqs:SendMessage", QUEUE)])).await;
    assert!(start(&elsewhere).is_none());
    assert!(message(&start(&back).unwrap()).contains(&format!("{QUEUE}-2 because")));
    fixture.allow("both", json!([statement("Allow", "sqs:SendMessage", &format!("{QUEUE}*"))])).await;
    assert!(start(&back).is_none());
}

#[tokio::test]
async fn other_callers_are_the_administrator_and_an_enforcement_that_is_off_judges_nobody() {
    let fixture = Fixture::new().await;
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.SendMessage"));
    let admin = request("sqs", headers, "{}".to_owned(), "AKIAADMIN");
    assert!(fixture.iam.judge(&admin, ACCOUNT, 0).is_none());
    let off = Iam::new(false);
    let key = off.issue(&Random::from_seed(1), ROLE, "worker").access_key_id;
    let call = AwsRequest { access_key_id: key, ..admin };
    assert!(off.judge(&call, ACCOUNT, 0).is_none());
    assert!(off.may_assume(ROLE, "fis.amazonaws.com", Context::at(0)));
}

#[tokio::test]
async fn who_does_not_sign_is_refused_in_the_words_of_each_service() {
    let fixture = Fixture::new().await;
    let target = |target: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", HeaderValue::from_static(target));
        headers
    };
    let judge = |request: &AwsRequest| fixture.iam.judge(request, ACCOUNT, 0);
    let text = |answer: &AwsResponse| String::from_utf8_lossy(&answer.body).into_owned();
    let plain = |service| request(service, HeaderMap::new(), "{}".to_owned(), "");
    let dynamodb = request("dynamodb", target("DynamoDB_20120810.GetItem"), "{}".to_owned(), "");
    let refused = judge(&dynamodb).unwrap();
    assert_eq!(refused.status, 400);
    assert!(text(&refused).contains("com.amazon.coral.service#MissingAuthenticationTokenException"));
    let refused = judge(&request("sqs", target("AmazonSQS.ListQueues"), "{}".to_owned(), "")).unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(refused.headers["x-amzn-query-error"], "MissingAuthenticationToken;Sender");
    let refused = judge(&form("sts", "", "GetCallerIdentity", &[])).unwrap();
    assert_eq!(refused.status, 403);
    assert!(text(&refused).contains("<Code>MissingAuthenticationToken</Code>"));
    let refused = judge(&plain("lambda")).unwrap();
    assert_eq!(refused.status, 403);
    assert_eq!(refused.headers["x-amzn-errortype"], "MissingAuthenticationTokenException");
    assert_eq!(message(&refused), "Missing Authentication Token");
    let refused = judge(&plain("monitoring")).unwrap();
    assert_eq!(refused.headers["x-amzn-query-error"], "MissingAuthenticationToken;Sender");
    assert!(text(&judge(&plain("s3")).unwrap()).contains("<Code>AccessDenied</Code>"));
    assert!(judge(&form("sts", "", "AssumeRoleWithWebIdentity", &[])).is_none());
    assert!(judge(&plain("")).is_none(), "that nothing tells the service is said elsewhere");
    assert!(Iam::new(false).judge(&dynamodb, ACCOUNT, 0).is_none());
}

#[tokio::test]
async fn who_does_not_sign_may_do_what_a_bucket_or_a_queue_allows_to_everybody() {
    let fixture = Fixture::new().await;
    let everybody = |action: &str, resource: &str| {
        let document = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource},
            {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "*", "Resource": resource},
        ]});
        Arc::new(Policy::from_value(&document, Kind::Resource).unwrap())
    };
    let bucket = everybody("s3:GetObject", "arn:aws:s3:::home/*");
    fixture.iam.set_policy_source("s3", Arc::new(Bucket(bucket)));
    fixture.iam.set_policy_source("sqs", Arc::new(OnePolicy(everybody("sqs:SendMessage", QUEUE))));
    let object = |method: Method| {
        let call = request("s3", HeaderMap::new(), String::new(), "");
        let call = AwsRequest { method, path: "/home/a".to_owned(), ..call };
        fixture.iam.judge(&call, ACCOUNT, 0).is_none()
    };
    assert!(object(Method::GET) && !object(Method::PUT));
    let body = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/tasks"});
    assert!(fixture.judge_as("", "sqs", "AmazonSQS.SendMessage", &body).is_none());
    assert!(fixture.judge_as("", "sqs", "AmazonSQS.ReceiveMessage", &body).is_some());
}

#[tokio::test]
async fn a_call_that_is_not_known_is_for_those_who_may_do_everything() {
    let fixture = Fixture::new().await;
    fixture.allow("read", json!([statement("Allow", "lambda:Get*", "*")])).await;
    let unknown = || {
        let call = request("lambda", HeaderMap::new(), String::new(), &fixture.key);
        let path = "/2020-04-22/code-signing-configs".to_owned();
        fixture.iam.judge(&AwsRequest { method: Method::GET, path, ..call }, ACCOUNT, 0)
    };
    let denied = message(&unknown().unwrap());
    assert!(
        denied.contains("lambda:UnknownOperation on resource: GET /2020-04-22/code-signing-configs"),
        "{denied}"
    );
    fixture.allow("all", json!([statement("Allow", "lambda:*", "*")])).await;
    assert!(unknown().is_none());
}

#[tokio::test]
async fn roles_users_and_groups_are_named_with_their_paths() {
    let fixture = Fixture::new().await;
    let trust = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    let path = ("Path", "/team/");
    let role = [("RoleName", "pathed"), path, ("AssumeRolePolicyDocument", trust.as_str())];
    for (action, parameters) in [
        ("CreateRole", role.as_slice()),
        ("CreateUser", &[("UserName", "alice"), path]),
        ("CreateGroup", &[("GroupName", "operators"), path]),
    ] {
        assert_eq!(fixture.call(action, parameters).await.status, 200, "{action}");
    }
    let own = |kind: &str| format!("arn:aws:iam::123456789012:{kind}/team/*");
    let own = json!([{"Effect": "Allow", "Action": "iam:*",
        "Resource": [own("role"), own("user"), own("group")]}]);
    fixture.allow("team", own).await;
    let may = |action: &str, parameters: &[(&str, &str)]| {
        fixture.iam.judge(&form("iam", &fixture.key, action, parameters), ACCOUNT, 0).is_none()
    };
    assert!(may("GetRole", &[("RoleName", "pathed")]));
    assert!(may("GetUser", &[("UserName", "alice")]));
    assert!(may("GetGroup", &[("GroupName", "operators")]));
    assert!(may("CreateRole", &[("RoleName", "new"), path]));
    assert!(!may("GetRole", &[("RoleName", "worker")]));
    assert!(!may("CreateRole", &[("RoleName", "new")]));
}

#[tokio::test]
async fn a_role_is_taken_only_by_the_service_that_it_trusts() {
    let fixture = Fixture::new().await;
    assert!(fixture.iam.may_assume(ROLE, "lambda.amazonaws.com", Context::at(0)));
    assert!(!fixture.iam.may_assume(ROLE, "fis.amazonaws.com", Context::at(0)));
    assert!(!fixture.iam.may_assume(
        "arn:aws:iam::123456789012:role/nobody",
        "lambda.amazonaws.com",
        Context::at(0)
    ));
}

#[tokio::test]
async fn what_is_no_policy_is_refused_and_nothing_is_kept() {
    let fixture = Fixture::new().await;
    let bad = [("RoleName", "worker"), ("PolicyName", "p"), ("PolicyDocument", r#"{"Statement":[{}]}"#)];
    let refused = fixture.call("PutRolePolicy", &bad).await;
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("<Code>MalformedPolicyDocument</Code>"));
    let get = [("RoleName", "worker"), ("PolicyName", "p")];
    assert_eq!(fixture.call("GetRolePolicy", &get).await.status, 404);
}

#[tokio::test]
async fn what_is_more_than_an_account_may_have_is_refused_and_nothing_is_kept() {
    let fixture = Fixture::new().await;
    let sized = |chars: usize| {
        let sid = "a".repeat(chars);
        format!(r#"{{"Statement":{{"Sid":"{sid}","Effect":"Allow","Action":"sqs:*","Resource":"*"}}}}"#)
    };
    let put = async |name: &str, text: &str| {
        let policy = [("RoleName", "worker"), ("PolicyName", name), ("PolicyDocument", text)];
        fixture.call("PutRolePolicy", &policy).await
    };
    assert_eq!(put("first", &sized(6_000)).await.status, 200);
    // The policy of this name gives its place to the new one.
    assert_eq!(put("first", &sized(6_001)).await.status, 200);
    let refused = put("second", &sized(6_000)).await;
    assert_eq!(refused.status, 409);
    let body = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(body.contains("<Code>LimitExceeded</Code>"), "{body}");
    assert!(body.contains("Maximum policy size of 10240 bytes exceeded for role worker"), "{body}");
    let large = [("PolicyName", "large"), ("PolicyDocument", &sized(6_144))];
    assert_eq!(fixture.call("CreatePolicy", &large).await.status, 409);
    for number in 0..11 {
        let (name, text) = (format!("p{number}"), sized(1));
        let made = [("PolicyName", name.as_str()), ("PolicyDocument", text.as_str())];
        assert_eq!(fixture.call("CreatePolicy", &made).await.status, 200);
        let arn = format!("arn:aws:iam::{ACCOUNT}:policy/{name}");
        let attached = fixture.call("AttachRolePolicy", &[("RoleName", "worker"), ("PolicyArn", &arn)]).await;
        assert_eq!(attached.status, if number < 10 { 200 } else { 409 }, "{number}");
    }
}

#[tokio::test]
async fn nobody_is_trusted_who_is_not_there_unless_the_trust_was_given_before() {
    let fixture = Fixture::new().await;
    let trust = |name: &str| {
        let principal = format!("arn:aws:iam::{ACCOUNT}:role/{name}");
        let statement =
            json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": principal}});
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    };
    let (nobody, worker) = (trust("nobody"), trust("worker"));
    let create = async |name: &str, trust: &str| {
        let role = [("RoleName", name), ("AssumeRolePolicyDocument", trust)];
        fixture.call("CreateRole", &role).await
    };
    let refused = create("a", &nobody).await;
    assert_eq!(refused.status, 400);
    let body = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(body.contains("Invalid principal in policy: "), "{body}");
    assert_eq!(create("a", &worker).await.status, 200);
    let again = crate::repeatable::scope_again(0, 1, 0, create("b", &nobody)).await;
    assert_eq!(again.status, 200, "{again:?}");
}

/// A user `alice` in the group `operators`, and the id of her key.
pub(super) async fn alice(fixture: &Fixture) -> String {
    let alice = ("UserName", "alice");
    assert_eq!(fixture.call("CreateUser", &[alice]).await.status, 200);
    assert_eq!(fixture.call("CreateGroup", &[("GroupName", "operators")]).await.status, 200);
    let member = [alice, ("GroupName", "operators")];
    assert_eq!(fixture.call("AddUserToGroup", &member).await.status, 200);
    let made = fixture.call("CreateAccessKey", &[alice]).await;
    let made = String::from_utf8(made.body.to_vec()).unwrap();
    made.split("<AccessKeyId>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

pub(super) async fn put(fixture: &Fixture, action: &str, whose: (&str, &str), statements: Value) {
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let policy = [whose, ("PolicyName", "p"), ("PolicyDocument", document.as_str())];
    assert_eq!(fixture.call(action, &policy).await.status, 200);
}

#[tokio::test]
async fn a_user_may_do_what_its_policies_and_its_groups_allow() {
    let fixture = Fixture::new().await;
    let key = alice(&fixture).await;
    let ask = |operation: &str, body: &Value| {
        fixture.judge_as(&key, "dynamodb", &format!("DynamoDB_20120810.{operation}"), body)
    };
    let body = json!({"TableName": "tasks"});
    let denied = ask("GetItem", &body).unwrap();
    assert!(
        message(&denied).starts_with("User: arn:aws:iam::123456789012:user/alice is not authorized"),
        "{}",
        message(&denied)
    );
    let own = "arn:aws:dynamodb:us-east-1:123456789012:table/${aws:username}";
    put(&fixture, "PutUserPolicy", ("UserName", "alice"), json!([statement("Allow", "dynamodb:*", own)]))
        .await;
    assert!(ask("GetItem", &json!({"TableName": "alice"})).is_none());
    assert!(ask("GetItem", &body).is_some());
    let operators = ("GroupName", "operators");
    put(&fixture, "PutGroupPolicy", operators, json!([statement("Allow", "dynamodb:GetItem", TABLE)])).await;
    assert!(ask("GetItem", &body).is_none());
    assert!(ask("PutItem", &body).is_some());
    let condition = json!([{"Effect": "Deny", "Action": "dynamodb:GetItem", "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalType": "User", "aws:username": "alice"}}}]);
    put(&fixture, "PutGroupPolicy", operators, condition).await;
    assert!(
        message(&ask("GetItem", &body).unwrap())
            .ends_with("with an explicit deny in an identity-based policy")
    );
    let reported = fixture.iam.report().identities;
    assert!(
        reported.iter().any(|one| one.arn.ends_with(":user/alice") && one.denied.len() == 2),
        "{reported:?}"
    );
}

#[tokio::test]
async fn a_key_of_a_user_that_is_not_active_or_deleted_is_nobodys() {
    let fixture = Fixture::new().await;
    let key = alice(&fixture).await;
    put(&fixture, "PutUserPolicy", ("UserName", "alice"), json!([statement("Allow", "*", "*")])).await;
    assert!(fixture.get_item(&key).is_none());
    let key_of_alice = [("UserName", "alice"), ("AccessKeyId", key.as_str())];
    for (action, status) in [("UpdateAccessKey", Some("Inactive")), ("DeleteAccessKey", None)] {
        let mut parameters = key_of_alice.to_vec();
        parameters.extend(status.map(|status| ("Status", status)));
        assert_eq!(fixture.call(action, &parameters).await.status, 200);
        let refused = fixture.get_item(&key).unwrap();
        let body: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(refused.status, 400);
        assert_eq!(body["__type"], "com.amazon.coral.service#UnrecognizedClientException", "{action}");
        let refused = fixture.sts(&key, "GetCallerIdentity", &[]).await;
        assert!(
            String::from_utf8_lossy(&refused.body).contains("<Code>InvalidClientTokenId</Code>"),
            "{action}"
        );
    }
}

#[tokio::test]
async fn a_key_of_a_user_who_was_gone_before_a_restart_is_nobodys() {
    let key = alice(&Fixture::new().await).await;
    let after = Fixture::new().await;
    assert!(
        String::from_utf8_lossy(&after.get_item(&key).unwrap().body).contains("UnrecognizedClientException")
    );
    assert!(after.get_item("AKIAADMIN").is_none());
}

#[tokio::test]
async fn the_boundary_of_a_user_limits_its_policies_and_not_what_a_resource_gives_it() {
    let fixture = Fixture::new().await;
    let key = alice(&fixture).await;
    put(&fixture, "PutUserPolicy", ("UserName", "alice"), json!([statement("Allow", "*", "*")])).await;
    limit_to_tables(&fixture, "PutUserPermissionsBoundary", ("UserName", "alice")).await;
    let send = || {
        let body = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/tasks"});
        fixture.judge_as(&key, "sqs", "AmazonSQS.SendMessage", &body)
    };
    assert!(message(&send().unwrap()).contains("no permissions boundary allows"));
    let_send(&fixture, "arn:aws:iam::123456789012:user/alice");
    assert!(send().is_none());
}

#[tokio::test]
async fn the_boundary_of_a_role_limits_what_a_resource_gives_to_the_role_and_not_to_its_session() {
    let fixture = Fixture::new().await;
    limit_to_tables(&fixture, "PutRolePermissionsBoundary", ("RoleName", "worker")).await;
    let send = || {
        let body = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/tasks"});
        fixture.judge("sqs", "AmazonSQS.SendMessage", &body)
    };
    let session = "arn:aws:sts::123456789012:assumed-role/worker/worker";
    let other = format!("{session}-2");
    for limited in [ROLE, other.as_str()] {
        let_send(&fixture, limited);
        assert!(message(&send().unwrap()).contains("no permissions boundary allows"), "{limited}");
    }
    let_send(&fixture, session);
    assert!(send().is_none());
}

/// A role that Lambda may take, and that may do everything within its boundary.
async fn create_bounded(fixture: &Fixture, name: &str, boundary: &str) -> AwsResponse {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"},
    }]});
    let trust = ("AssumeRolePolicyDocument", trust.to_string());
    let role = [("RoleName", name), (trust.0, trust.1.as_str()), ("PermissionsBoundary", boundary)];
    let made = fixture.call("CreateRole", &role).await;
    if made.status == 200 {
        fixture.allow_role(name, "all", json!([statement("Allow", "*", "*")])).await;
    }
    made
}

fn session_of(fixture: &Fixture, role: &str) -> String {
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/{role}");
    fixture.iam.issue(&Random::from_seed(3), &arn, "session").access_key_id
}

#[tokio::test]
async fn a_boundary_of_aws_limits_though_nobody_named_the_policy_before() {
    let fixture = Fixture::new().await;
    let logs = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    assert_eq!(create_bounded(&fixture, "bounded", logs).await.status, 200);
    let key = session_of(&fixture, "bounded");
    let denied = fixture.get_item(&key).unwrap();
    assert!(message(&denied).contains("no permissions boundary allows"), "{}", message(&denied));
    let group = json!({"logGroupName": "g", "logStreamName": "s", "logEvents": []});
    assert!(fixture.judge_as(&key, "logs", "Logs_20140328.PutLogEvents", &group).is_none());
}

#[tokio::test]
async fn a_boundary_that_is_not_there_is_refused_and_one_of_before_allows_nothing() {
    let fixture = Fixture::new().await;
    let nowhere = "arn:aws:iam::123456789012:policy/nowhere";
    let words = format!("Scope ARN: {nowhere} does not exist or is not attachable.");
    let put = [("RoleName", "worker"), ("PermissionsBoundary", nowhere)];
    for refused in [
        create_bounded(&fixture, "bounded", nowhere).await,
        fixture.call("CreateUser", &[("UserName", "u"), ("PermissionsBoundary", nowhere)]).await,
        fixture.call("PutRolePermissionsBoundary", &put).await,
    ] {
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        assert_eq!(refused.status, 404, "{body}");
        assert!(body.contains("<Code>NoSuchEntity</Code>") && body.contains(&words), "{body}");
    }
    assert_eq!(fixture.call("GetRole", &[("RoleName", "bounded")]).await.status, 404);
    let again = crate::repeatable::scope_again(0, 1, 0, create_bounded(&fixture, "bounded", nowhere)).await;
    assert_eq!(again.status, 200, "an older emulator took it: {again:?}");
    let denied = fixture.get_item(&session_of(&fixture, "bounded")).unwrap();
    assert!(message(&denied).contains("no permissions boundary allows"), "{}", message(&denied));
}

#[tokio::test]
async fn a_policy_is_not_deleted_while_it_bounds_somebody() {
    let fixture = Fixture::new().await;
    alice(&fixture).await;
    limit_to_tables(&fixture, "PutUserPermissionsBoundary", ("UserName", "alice")).await;
    let tables = [("PolicyArn", "arn:aws:iam::123456789012:policy/tables")];
    let refused = fixture.call("DeletePolicy", &tables).await;
    let body = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 409, "{body}");
    assert!(body.contains("<Code>DeleteConflict</Code>"), "{body}");
    let unbound = fixture.call("DeleteUserPermissionsBoundary", &[("UserName", "alice")]).await;
    assert_eq!(unbound.status, 200);
    assert_eq!(fixture.call("DeletePolicy", &tables).await.status, 200);
}

#[tokio::test]
async fn nothing_is_deleted_that_would_leave_its_rights_to_the_next_of_its_name() {
    let fixture = Fixture::new().await;
    let key = alice(&fixture).await;
    let (user, group) = (("UserName", "alice"), ("GroupName", "operators"));
    put(&fixture, "PutGroupPolicy", group, json!([statement("Allow", "dynamodb:*", "*")])).await;
    let done = async |action: &str, parameters: &[(&str, &str)]| {
        let answer = fixture.call(action, parameters).await;
        assert_eq!(answer.status, 200, "{action}: {answer:?}");
    };
    let refused = async |action: &str, parameters: &[(&str, &str)], why: &str| {
        let answer = fixture.call(action, parameters).await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 409, "{body}");
        assert!(body.contains("<Code>DeleteConflict</Code>") && body.contains(why), "{body}");
    };
    done("DeleteAccessKey", &[user, ("AccessKeyId", key.as_str())]).await;
    refused("DeleteUser", &[user], "must remove users from group first").await;
    done("RemoveUserFromGroup", &[user, group]).await;
    done("CreateLoginProfile", &[user, ("Password", "secret")]).await;
    refused("DeleteUser", &[user], "must delete login profile first").await;
    done("DeleteLoginProfile", &[user]).await;
    done("DeleteUser", &[user]).await;
    refused("DeleteGroup", &[group], "must delete policies first").await;
    done("DeleteGroupPolicy", &[group, ("PolicyName", "p")]).await;
    let document = json!({"Version": "2012-10-17", "Statement": [statement("Allow", "sqs:*", "*")]});
    let document = document.to_string();
    let document = ("PolicyDocument", document.as_str());
    let policy = ("PolicyArn", "arn:aws:iam::123456789012:policy/queues");
    done("CreatePolicy", &[("PolicyName", "queues"), document]).await;
    done("AttachGroupPolicy", &[group, policy]).await;
    refused("DeleteGroup", &[group], "must detach all policies first").await;
    done("DetachGroupPolicy", &[group, policy]).await;
    done("DeleteGroup", &[group]).await;
    done("CreatePolicyVersion", &[policy, document, ("SetAsDefault", "true")]).await;
    refused("DeletePolicy", &[policy], "more than one version").await;
    done("DeletePolicyVersion", &[policy, ("VersionId", "v1")]).await;
    done("DeletePolicy", &[policy]).await;
}

#[tokio::test]
async fn a_user_who_was_deleted_out_of_a_group_is_deleted_again() {
    let fixture = Fixture::new().await;
    let user = ("UserName", "bob");
    assert_eq!(fixture.call("CreateUser", &[user]).await.status, 200);
    assert_eq!(fixture.call("CreateGroup", &[("GroupName", "g")]).await.status, 200);
    assert_eq!(fixture.call("AddUserToGroup", &[user, ("GroupName", "g")]).await.status, 200);
    let again = crate::repeatable::scope_again(4, 1, 0, fixture.call("DeleteUser", &[user])).await;
    assert_eq!(again.status, 200, "an older emulator deleted it: {again:?}");
}

/// A boundary that has nothing but tables in it.
async fn limit_to_tables(fixture: &Fixture, action: &str, whom: (&str, &str)) {
    let tables = json!({"Version": "2012-10-17", "Statement": [statement("Allow", "dynamodb:*", "*")]});
    let tables = [("PolicyName", "tables"), ("PolicyDocument", &tables.to_string())];
    assert_eq!(fixture.call("CreatePolicy", &tables).await.status, 200);
    let boundary = [whom, ("PermissionsBoundary", "arn:aws:iam::123456789012:policy/tables")];
    assert_eq!(fixture.call(action, &boundary).await.status, 200);
}

/// The queue's policy lets that principal send to it, and nobody else.
fn let_send(fixture: &Fixture, principal: &str) {
    let given = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": QUEUE, "Principal": {"AWS": principal},
    }]});
    let given = Policy::from_value(&given, Kind::Resource).unwrap();
    fixture.iam.set_policy_source("sqs", Arc::new(OnePolicy(Arc::new(given))));
}

#[tokio::test]
async fn the_report_tells_the_used_from_the_never_used_and_counts_what_was_denied() {
    let fixture = Fixture::new().await;
    let both =
        json!([{"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:PutItem"], "Resource": TABLE}]);
    fixture.allow("table", both).await;
    let body = json!({"TableName": "tasks"});
    assert!(fixture.dynamodb("GetItem", &body).is_none());
    assert!(fixture.dynamodb("DeleteItem", &body).is_some());
    assert!(fixture.dynamodb("DeleteItem", &body).is_some());
    // Another policy must not make it forget what this one was used for.
    fixture.allow("other", json!([statement("Deny", "sqs:*", "*")])).await;
    let report = fixture.iam.report();
    let [role] = report.identities.as_slice() else { panic!("{report:?}") };
    let names = |grants: &[Grant]| grants.iter().map(|grant| grant.action.clone()).collect::<Vec<_>>();
    assert_eq!(names(&role.used), ["dynamodb:GetItem"]);
    assert_eq!(names(&role.never_used), ["dynamodb:PutItem"]);
    assert_eq!(role.denied.len(), 1);
    assert_eq!((role.denied[0].action.as_str(), role.denied[0].count), ("dynamodb:DeleteItem", 2));
    let text = report.to_string();
    assert!(text.contains(&format!("never used  dynamodb:PutItem on {TABLE}")), "{text}");
    assert!(
        text.contains(&format!("denied      dynamodb:DeleteItem on {TABLE}: not granted (2 times)")),
        "{text}"
    );
}

#[tokio::test]
async fn a_grant_of_what_something_else_denies_is_no_use_and_all_but_some_is_one_grant() {
    let fixture = Fixture::new().await;
    let rest = json!({"Effect": "Allow", "NotAction": ["sqs:*", "iam:*"], "Resource": "*"});
    fixture.allow("grants", json!([statement("Allow", "dynamodb:GetItem", TABLE), rest])).await;
    fixture.allow("no-reads", json!([statement("Deny", "dynamodb:GetItem", "*")])).await;
    let body = json!({"TableName": "tasks"});
    assert!(fixture.dynamodb("GetItem", &body).is_some());
    let names = |grants: &[Grant]| grants.iter().map(|grant| grant.action.clone()).collect::<Vec<_>>();
    let report = || fixture.iam.report().identities.remove(0);
    assert!(report().used.is_empty());
    assert_eq!(names(&report().never_used), ["dynamodb:GetItem", "not sqs:*, not iam:*"]);
    assert!(fixture.dynamodb("PutItem", &body).is_none());
    assert_eq!(names(&report().used), ["not sqs:*, not iam:*"]);
    assert_eq!(names(&report().never_used), ["dynamodb:GetItem"]);
}

#[tokio::test]
async fn a_decision_costs_microseconds() {
    const CALLS: u32 = 5_000;
    /// Fifty times what it takes without optimisation on two busy cores: parsing a policy per call would exceed it.
    const CALL_MAX: std::time::Duration = std::time::Duration::from_micros(1_000);
    let fixture = Fixture::new().await;
    for n in 0..8 {
        fixture.allow(&format!("p{n}"), json!([statement("Allow", "dynamodb:Get*", TABLE)])).await;
    }
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-target", HeaderValue::from_static("DynamoDB_20120810.GetItem"));
    let body = json!({"TableName": "tasks", "Key": {"task_id": {"S": "1"}}}).to_string();
    let call = request("dynamodb", headers, body, &fixture.key);
    let started = std::time::Instant::now();
    for _ in 0..CALLS {
        assert!(fixture.iam.judge(&call, ACCOUNT, 0).is_none());
    }
    let each = started.elapsed() / CALLS;
    println!("one decision: {each:?}");
    assert!(each < CALL_MAX, "{each:?}");
}

#[tokio::test]
async fn variables_stand_for_the_tags_the_account_and_the_session_of_the_role() {
    let fixture = Fixture::new().await;
    let tag = [("RoleName", "worker"), ("Tags.member.1.Key", "Team"), ("Tags.member.1.Value", "blue")];
    assert_eq!(fixture.call("TagRole", &tag).await.status, 200);
    fixture
        .allow(
            "own",
            json!([
                statement("Allow", "dynamodb:GetItem", "arn:aws:dynamodb:*:${aws:PrincipalAccount}:table/${aws:PrincipalTag/team}"),
                statement("Allow", "dynamodb:PutItem", "arn:aws:dynamodb:*:*:table/${aws:username}"),
                {"Effect": "Allow", "Action": "dynamodb:DeleteItem", "Resource": "*",
                    "Condition": {"StringLike": {"aws:userid": "*:worker"}, "ArnEquals": {"aws:PrincipalArn": ROLE}}},
            ]),
        )
        .await;
    let may =
        |operation: &str, table: &str| fixture.dynamodb(operation, &json!({"TableName": table})).is_none();
    assert!(may("GetItem", "blue"));
    assert!(!may("GetItem", "red"));
    // A role has no user name.
    assert!(!may("PutItem", "worker"));
    assert!(may("DeleteItem", "any"));
}

/// The policy of a bucket, as the service that keeps it would tell it.
struct Bucket(Arc<Policy>);

impl PolicySource for Bucket {
    fn policy(&self, arn: &str) -> Option<Arc<Policy>> {
        arn.starts_with("arn:aws:s3:::home").then(|| Arc::clone(&self.0))
    }
}

#[tokio::test]
async fn the_policy_of_a_bucket_is_part_of_the_decision_and_can_always_be_taken_back() {
    let fixture = Fixture::new().await;
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::home/*"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::home", "arn:aws:s3:::home/secret"]},
    ]});
    let policy = Policy::from_value(&document, Kind::Resource).unwrap();
    fixture.iam.set_policy_source("s3", Arc::new(Bucket(Arc::new(policy))));
    let call = |method: Method, path: &str, query: &str, key: &str| {
        let mut call = request("s3", HeaderMap::new(), String::new(), key);
        (call.method, call.path, call.query) = (method, path.to_owned(), query.to_owned());
        fixture.iam.judge(&call, ACCOUNT, 0).map(|answer| String::from_utf8_lossy(&answer.body).into_owned())
    };
    assert_eq!(call(Method::GET, "/home/a", "", &fixture.key), None);
    assert!(call(Method::PUT, "/home/a", "", &fixture.key).unwrap().contains("no identity-based policy"));
    for key in [fixture.key.as_str(), "AKIAADMIN"] {
        let denied = call(Method::GET, "/home/secret", "", key).unwrap();
        assert!(denied.contains("explicit deny in a resource-based policy"), "{denied}");
    }
    assert_eq!(call(Method::GET, "/home/a", "", "AKIAADMIN"), None);
    assert_eq!(call(Method::DELETE, "/home", "policy", "AKIAADMIN"), None);
    assert_eq!(call(Method::GET, "/other/secret", "", "AKIAADMIN"), None);
}

#[tokio::test]
async fn a_denial_of_all_but_the_account_does_not_lock_its_administrator_out() {
    let fixture = Fixture::new().await;
    let of_another_account = |account: &str| {
        let document = json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::home/*",
            "Condition": {"StringNotEquals": {"aws:PrincipalAccount": account}},
        }});
        let policy = Policy::from_value(&document, Kind::Resource).unwrap();
        fixture.iam.set_policy_source("s3", Arc::new(Bucket(Arc::new(policy))));
        let call = request("s3", HeaderMap::new(), String::new(), "AKIAADMIN");
        let call = AwsRequest { method: Method::GET, path: "/home/a".to_owned(), ..call };
        fixture.iam.judge(&call, ACCOUNT, 0).is_some()
    };
    assert!(!of_another_account(ACCOUNT));
    assert!(of_another_account("999999999999"));
}

#[tokio::test]
async fn that_an_object_is_not_there_is_told_to_who_may_list_its_bucket() {
    let fixture = Fixture::new().await;
    let everybody = |action: &str, resource: &str| {
        let document = json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource,
        }});
        let policy = Policy::from_value(&document, Kind::Resource).unwrap();
        fixture.iam.set_policy_source("s3", Arc::new(Bucket(Arc::new(policy))));
    };
    let hidden = |method: &Method, path: &str, key: &str| {
        let call = request("s3", HeaderMap::new(), String::new(), key);
        let call = AwsRequest { method: method.clone(), path: path.to_owned(), ..call };
        fixture.iam.hide_absence(&call, 0).map(|answer| answer.status.as_u16())
    };
    fixture.allow("get", json!([statement("Allow", "s3:GetObject", "*")])).await;
    everybody("s3:GetObject", "arn:aws:s3:::home/*");
    for method in [Method::GET, Method::HEAD] {
        for key in [fixture.key.as_str(), ""] {
            assert_eq!(hidden(&method, "/home/a", key), Some(403), "{method} {key}");
        }
        assert_eq!(hidden(&method, "/home/a", "AKIAADMIN"), None);
    }
    for (method, path) in [(Method::GET, "/home"), (Method::PUT, "/home/a"), (Method::GET, "/")] {
        assert_eq!(hidden(&method, path, &fixture.key), None, "no object is read: {method} {path}");
    }
    fixture.allow("list", json!([statement("Allow", "s3:ListBucket", "arn:aws:s3:::home")])).await;
    assert_eq!(hidden(&Method::GET, "/home/a", &fixture.key), None);
    assert_eq!(hidden(&Method::GET, "/other/a", &fixture.key), Some(403));
    everybody("s3:ListBucket", "arn:aws:s3:::home");
    assert_eq!(hidden(&Method::GET, "/home/a", ""), None);
    let mut form = request("s3", HeaderMap::new(), String::new(), "");
    form.path = "/home".to_owned();
    assert!(fixture.iam.judge(&form, ACCOUNT, 0).is_some());
    form.headers.insert("content-type", HeaderValue::from_static("multipart/form-data; boundary=a"));
    assert!(fixture.iam.judge(&form, ACCOUNT, 0).is_none(), "S3 says that it is not emulated");
}

#[tokio::test]
async fn a_package_of_a_function_is_read_from_s3_as_whoever_gives_it() {
    let fixture = Fixture::new().await;
    fixture.allow("update", json!([statement("Allow", "lambda:*", "*")])).await;
    let update = |key: &str| {
        let body = json!({"S3Bucket": "home", "S3Key": "a/code.zip"}).to_string();
        let call = request("lambda", HeaderMap::new(), body, key);
        let path = "/2015-03-31/functions/f/code".to_owned();
        fixture.iam.judge(&AwsRequest { method: Method::PUT, path, ..call }, ACCOUNT, 0)
    };
    let denied = update(&fixture.key).unwrap();
    assert_eq!(denied.status, 403);
    assert_eq!(denied.headers["x-amzn-errortype"], "AccessDeniedException");
    assert_eq!(
        message(&denied),
        "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for \
         home/a/code.zip. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
    );
    assert!(update("AKIAADMIN").is_none());
    fixture.allow("read", json!([statement("Allow", "s3:GetObject", "arn:aws:s3:::home/a/*")])).await;
    assert!(update(&fixture.key).is_none());
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::home/*"},
    ]});
    let policy = Policy::from_value(&document, Kind::Resource).unwrap();
    fixture.iam.set_policy_source("s3", Arc::new(Bucket(Arc::new(policy))));
    for key in [fixture.key.as_str(), "AKIAADMIN"] {
        assert!(update(key).is_some(), "the policy of the bucket counts for {key}");
    }
}

#[tokio::test]
async fn a_copy_is_denied_by_the_policy_of_the_bucket_that_it_reads() {
    let fixture = Fixture::new().await;
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::home/secret"},
    ]});
    let policy = Policy::from_value(&document, Kind::Resource).unwrap();
    fixture.iam.set_policy_source("s3", Arc::new(Bucket(Arc::new(policy))));
    fixture.allow("put", json!([statement("Allow", "s3:PutObject", "*")])).await;
    let copy = |source: &'static str, key: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-copy-source", HeaderValue::from_static(source));
        let call = request("s3", headers, String::new(), key);
        let call = AwsRequest { method: Method::PUT, path: "/other/k".to_owned(), ..call };
        fixture.iam.judge(&call, ACCOUNT, 0).map(|answer| String::from_utf8_lossy(&answer.body).into_owned())
    };
    assert!(copy("home/a", &fixture.key).unwrap().contains("no identity-based policy"));
    fixture.allow("get", json!([statement("Allow", "s3:GetObject", "*")])).await;
    for key in [fixture.key.as_str(), "AKIAADMIN"] {
        assert_eq!(copy("home/a", key), None);
        let denied = copy("/home/secret", key).unwrap();
        assert!(denied.contains("explicit deny in a resource-based policy"), "{denied}");
    }
}
