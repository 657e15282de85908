//! What a kept call is about: which thing it makes, changes or ends. A call that is not known here is about anything.

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::kept::operation;
use crate::cloudwatch;
use crate::iam::{form_value, has_encoded_name, is_form, is_known_to_s3};
use crate::lambda::names_whole_function;
use crate::logs::group_in_arn;
use crate::wire::AwsRequest;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Makes it, or sets it anew while it is there.
    Create,
    Change,
    /// Whatever was there before is gone, and another stands in its place.
    Replace,
    Delete,
}

/// One thing of the account: its kind, and the name by which other calls would refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thing {
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// Of what may lie under one name in several; else empty.
    region: String,
}

impl Thing {
    const fn new(kind: &'static str, name: String) -> Self {
        Self { kind, name, region: String::new() }
    }
}

pub(super) type Touch = (Thing, Effect);

fn one(kind: &'static str, name: impl Into<String>, effect: Effect) -> Option<Vec<Touch>> {
    Some(vec![(Thing::new(kind, name.into()), effect)])
}

/// The id that the answer gave to what the call made, where the call does not name it.
pub(super) fn made(request: &AwsRequest, answer: &[u8]) -> Option<String> {
    if request.method != Method::POST {
        return None;
    }
    let path = request.path.trim_end_matches('/');
    let member = match request.service.as_str() {
        "apigateway" if path == "/v2/apis" => "/apiId",
        "lambda" if path.ends_with("/event-source-mappings") => "/UUID",
        "fis" if path == "/experimentTemplates" => "/experimentTemplate/id",
        _ => return None,
    };
    let answer: Value = serde_json::from_slice(answer).ok()?;
    answer.pointer(member)?.as_str().map(str::to_owned)
}

/// None: it may be about anything.
pub(super) fn touches(request: &AwsRequest, made: Option<&str>) -> Option<Vec<Touch>> {
    match request.service.as_str() {
        "sqs" => sqs(request),
        "iam" => iam(request),
        "logs" => logs(request),
        "ssm" => in_region(request, ssm(request)),
        "monitoring" => monitoring(request),
        "s3" => in_region(request, s3(request)),
        "lambda" => lambda(request, made),
        "apigateway" => apigateway(request, made),
        "fis" => fis(request, made),
        "scheduler" => scheduler(request),
        _ => None,
    }
}

fn in_region(request: &AwsRequest, touches: Option<Vec<Touch>>) -> Option<Vec<Touch>> {
    let mut touches = touches?;
    for (thing, _) in &mut touches {
        thing.region.clone_from(&request.region);
    }
    Some(touches)
}

fn effect(operation: &str, create: &str, delete: &str) -> Effect {
    match operation {
        operation if operation == create => Effect::Create,
        operation if operation == delete => Effect::Delete,
        _ => Effect::Change,
    }
}

fn sqs(request: &AwsRequest) -> Option<Vec<Touch>> {
    let (fields, operation) = (Fields::of(request), operation(request)?);
    // The others do not read the name.
    if operation == "CreateQueue" {
        return one("queue", fields.text("QueueName")?, Effect::Create);
    }
    let url = fields.text("QueueUrl").unwrap_or_else(|| request.path.clone());
    let name = url.trim_end_matches('/').rsplit('/').next()?;
    one("queue", name, effect(&operation, "CreateQueue", "DeleteQueue"))
}

/// A call that joins two things is about both. One that gives a thing another name is about anything: so are the later calls
/// of that name then, whose beginning is not known, and what the old name stood for stays, because this call needs it.
fn iam(request: &AwsRequest) -> Option<Vec<Touch>> {
    const KINDS: [(&str, &str, &str, &str); 4] = [
        ("RoleName", "role", "CreateRole", "DeleteRole"),
        ("UserName", "user", "CreateUser", "DeleteUser"),
        ("GroupName", "group", "CreateGroup", "DeleteGroup"),
        ("InstanceProfileName", "instance profile", "CreateInstanceProfile", "DeleteInstanceProfile"),
    ];
    let (fields, operation) = (Fields::of(request), operation(request)?);
    if ["NewUserName", "NewGroupName"].into_iter().any(|member| fields.text(member).is_some()) {
        return None;
    }
    let mut touches = Vec::new();
    for (field, kind, create, delete) in KINDS {
        if let Some(name) = fields.text(field) {
            touches.push((Thing::new(kind, name), effect(&operation, create, delete)));
        }
    }
    if !touches.is_empty() {
        return Some(touches);
    }
    let arn = fields.text("PolicyArn").and_then(|arn| Some(arn.rsplit('/').next()?.to_owned()));
    let policy = if operation == "CreatePolicy" { fields.text("PolicyName") } else { arn };
    one("policy", policy?, effect(&operation, "CreatePolicy", "DeletePolicy"))
}

fn logs(request: &AwsRequest) -> Option<Vec<Touch>> {
    let (fields, operation) = (Fields::of(request), operation(request)?);
    // It reads no other member.
    if operation == "PutLogGroupDeletionProtection" {
        let given = fields.text("logGroupIdentifier")?;
        return one("log group", group_in_arn(&given).unwrap_or(&given), Effect::Change);
    }
    let in_arn = || {
        let arn = ["resourceArn", "resourceIdentifier"].into_iter().find_map(|member| fields.text(member))?;
        group_in_arn(&arn).map(str::to_owned)
    };
    let name = fields.text("logGroupName").or_else(in_arn)?;
    one("log group", name, effect(&operation, "CreateLogGroup", "DeleteLogGroup"))
}

fn ssm(request: &AwsRequest) -> Option<Vec<Touch>> {
    let (name, operation) = (Fields::of(request).text("Name")?, operation(request)?);
    matches!(operation.as_str(), "PutParameter" | "DeleteParameter")
        .then(|| one("parameter", name, effect(&operation, "PutParameter", "DeleteParameter")))?
}

/// Its three protocols are read as the service reads them.
fn monitoring(request: &AwsRequest) -> Option<Vec<Touch>> {
    let input = cloudwatch::input(request);
    let created = |kind, member: &str| one(kind, input[member].as_str()?, Effect::Create);
    let deleted = |kind: &'static str, member: &str| {
        let names = input[member].as_array()?.iter().filter_map(Value::as_str);
        let touches: Vec<Touch> =
            names.map(|name| (Thing::new(kind, name.to_owned()), Effect::Delete)).collect();
        (!touches.is_empty()).then_some(touches)
    };
    match operation(request)?.as_str() {
        "PutMetricAlarm" | "PutCompositeAlarm" => created("alarm", "AlarmName"),
        "PutDashboard" => created("dashboard", "DashboardName"),
        "DeleteAlarms" => deleted("alarm", "AlarmNames"),
        "DeleteDashboards" => deleted("dashboard", "DashboardNames"),
        _ => None,
    }
}

/// Parts of uploads, copies and deletions of many are about anything, and so is a path or a query that an older emulator read in another
/// way.
fn s3(request: &AwsRequest) -> Option<Vec<Touch>> {
    if has_two_readings(&request.path) || has_encoded_name(&request.query) || !is_known_to_s3(request) {
        return None;
    }
    let path = percent_decode_str(request.path.trim_start_matches('/')).decode_utf8().ok()?;
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    let subresource = request.query_names().next();
    let is_plain = subresource.is_none() && request.header("x-amz-copy-source").is_none();
    match (&request.method, key) {
        (&Method::PUT, "") if is_plain => one("bucket", bucket, Effect::Create),
        (&Method::DELETE, "") if is_plain => one("bucket", bucket, Effect::Delete),
        (_, "") if subresource.is_some_and(|name| !["delete", "versioning"].contains(&name)) => {
            one("bucket", bucket, Effect::Change)
        }
        (&Method::PUT, _) if is_plain => one("object", path.as_ref(), Effect::Replace),
        (&Method::DELETE, _) if is_plain => one("object", path.as_ref(), Effect::Delete),
        // Whatever is written or deleted under the key takes both along.
        (_, key) if !key.is_empty() && subresource.is_some_and(|name| ["acl", "tagging"].contains(&name)) => {
            one("object", path.as_ref(), Effect::Change)
        }
        _ => None,
    }
}

/// Where a `+` was a space, and what is encoded badly was left out.
fn has_two_readings(path: &str) -> bool {
    let mut escapes = path.split('%').skip(1);
    let is_escape = |text: &str| text.len() >= 2 && text.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    path.contains('+') || !escapes.all(is_escape)
}

fn lambda(request: &AwsRequest, made: Option<&str>) -> Option<Vec<Touch>> {
    let parts = parts(request);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", [_, "functions"]) => {
            one("function", function_name(&Fields::of(request).text("FunctionName")?), Effect::Create)
        }
        // Of a version the function stays.
        ("DELETE", [_, "functions", name]) if names_whole_function(request, name) => {
            one("function", function_name(name), Effect::Delete)
        }
        (_, [_, "functions", name, ..]) => one("function", function_name(name), Effect::Change),
        ("POST", [_, "event-source-mappings"]) => one("mapping", made?, Effect::Create),
        ("DELETE", [_, "event-source-mappings", id]) => one("mapping", *id, Effect::Delete),
        (_, [_, "event-source-mappings", id]) => one("mapping", *id, Effect::Change),
        (_, [_, "tags", arn]) => match arn.split_once(":event-source-mapping:") {
            Some((_, id)) => one("mapping", id, Effect::Change),
            None => {
                arn.contains(":function:").then(|| one("function", function_name(arn), Effect::Change))?
            }
        },
        _ => None,
    }
}

/// Of a name, a partial or a whole ARN, with or without a qualifier.
fn function_name(text: &str) -> &str {
    let behind = text.rsplit_once("function:").map_or(text, |(_, name)| name);
    behind.split(':').next().unwrap_or(behind)
}

fn apigateway(request: &AwsRequest, made: Option<&str>) -> Option<Vec<Touch>> {
    let parts = parts(request);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (request.method.as_str(), parts.as_slice()) {
        (_, ["account"]) => one("apigateway account", "", Effect::Change),
        ("POST", ["v2", "apis"]) => one("api", made?, Effect::Create),
        ("DELETE", ["v2", "apis", id]) => one("api", *id, Effect::Delete),
        (_, ["v2", "apis", id, ..]) => one("api", *id, Effect::Change),
        (_, ["v2", "tags", arn]) => {
            let id = arn.split_once("/apis/")?.1.split('/').next()?;
            one("api", id, Effect::Change)
        }
        _ => None,
    }
}

fn fis(request: &AwsRequest, made: Option<&str>) -> Option<Vec<Touch>> {
    let parts = parts(request);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["experimentTemplates"]) => one("template", made?, Effect::Create),
        ("DELETE", ["experimentTemplates", id]) => one("template", *id, Effect::Delete),
        (_, ["experimentTemplates", id]) => one("template", *id, Effect::Change),
        _ => None,
    }
}

/// Groups are about anything. One takes its schedules along: each of them then lives on here, until another of its name is
/// deleted, and nothing is lost by that.
fn scheduler(request: &AwsRequest) -> Option<Vec<Touch>> {
    let parts = parts(request);
    let [kind, name] = parts.as_slice() else { return None };
    let in_body = || Fields::of(request).text("GroupName");
    // Where the service reads it.
    let (group, effect) = match request.method {
        Method::DELETE => (request.query_value("groupName"), Effect::Delete),
        Method::POST => (in_body(), Effect::Create),
        _ => (in_body(), Effect::Change),
    };
    let group = group.unwrap_or_else(|| "default".to_owned());
    (kind == "schedules").then(|| one("schedule", format!("{group}/{name}"), effect))?
}

/// The parts of a path, decoded.
fn parts(request: &AwsRequest) -> Vec<String> {
    let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    request.path.trim_matches('/').split('/').map(decode).collect()
}

/// The members of a JSON body, or the fields of a form, as the service reads the one or the other.
struct Fields<'a> {
    request: &'a AwsRequest,
    /// None: it is a form.
    json: Option<Value>,
}

impl<'a> Fields<'a> {
    fn of(request: &'a AwsRequest) -> Self {
        let is_form =
            is_form(request) || (request.service == "sqs" && request.header("x-amz-target").is_none());
        let json = (!is_form).then(|| serde_json::from_slice(&request.body).unwrap_or_default());
        Self { request, json }
    }

    fn text(&self, name: &str) -> Option<String> {
        match &self.json {
            Some(json) => json.get(name).and_then(Value::as_str).map(str::to_owned),
            None => form_value(self.request, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(request: &AwsRequest) -> Vec<(&'static str, String, Effect)> {
        let touches = touches(request, None).unwrap();
        touches.into_iter().map(|(thing, effect)| (thing.kind, thing.name, effect)).collect()
    }

    #[test]
    fn a_call_about_a_log_group_names_it_or_its_arn() {
        let arn = "arn:aws:logs:us-east-1:123456789012:log-group:g";
        for (operation, body) in [
            ("PutRetentionPolicy", serde_json::json!({"logGroupName": "g"})),
            ("TagResource", serde_json::json!({"resourceArn": format!("{arn}:*")})),
            ("AssociateKmsKey", serde_json::json!({"logGroupName": "g"})),
            ("DisassociateKmsKey", serde_json::json!({ "resourceIdentifier": arn })),
            ("PutLogGroupDeletionProtection", serde_json::json!({ "logGroupIdentifier": arn })),
            (
                "PutLogGroupDeletionProtection",
                serde_json::json!({"logGroupIdentifier": "g", "logGroupName": "other"}),
            ),
        ] {
            let mut request = AwsRequest::unsigned("logs", Method::POST, "/", &body.to_string());
            request.headers.insert("x-amz-target", format!("Logs_20140328.{operation}").parse().unwrap());
            assert_eq!(touched(&request), [("log group", "g".to_owned(), Effect::Change)], "{operation}");
        }
    }

    #[test]
    fn a_presigned_call_is_about_what_it_would_be_about_without_its_signature() {
        for signature in
            ["X-Amz-Algorithm=a&X-Amz-Signature=00&x-id=a", "AWSAccessKeyId=a&Expires=1&Signature=0"]
        {
            for (method, path, query, touch) in [
                (Method::PUT, "/b", "", ("bucket", "b", Effect::Create)),
                (Method::PUT, "/b", "&policy", ("bucket", "b", Effect::Change)),
                (Method::PUT, "/b/k", "", ("object", "b/k", Effect::Replace)),
                (Method::PUT, "/b/k", "&tagging", ("object", "b/k", Effect::Change)),
                (Method::PUT, "/b/k", "&acl", ("object", "b/k", Effect::Change)),
                (Method::DELETE, "/b/k", "", ("object", "b/k", Effect::Delete)),
            ] {
                let request = AwsRequest::unsigned("s3", method, path, "");
                let request = AwsRequest { query: format!("{signature}{query}"), ..request };
                let (kind, name, effect) = touch;
                assert_eq!(touched(&request), [(kind, name.to_owned(), effect)], "{path}?{}", request.query);
            }
        }
    }

    #[test]
    fn a_path_that_an_older_emulator_read_in_another_way_is_about_anything() {
        let touches_of = |path: &str| touches(&AwsRequest::unsigned("s3", Method::PUT, path, ""), None);
        for path in ["/b/a+b", "/b/a%zzb", "/b/a%2", "/b/%e4%"] {
            assert!(touches_of(path).is_none(), "{path}");
        }
        assert!(touches_of("/b/a%2Bb%20").is_some());
    }

    #[test]
    fn a_query_that_an_older_emulator_read_in_another_way_is_about_anything() {
        let touches_of = |query: &str| {
            let request = AwsRequest::unsigned("s3", Method::DELETE, "/b", "");
            touches(&AwsRequest { query: query.to_owned(), ..request }, None)
        };
        for query in ["%70olicy", "pol+icy", "x-id=a&%70olicy=", "acl", "abac"] {
            assert!(touches_of(query).is_none(), "{query}");
        }
        for query in ["policy", "x-id=%70olicy", "v=a+b"] {
            assert!(touches_of(query).is_some(), "{query}");
        }
    }

    #[test]
    fn a_form_is_about_what_its_service_reads_in_it() {
        let form = |service, query: &str, body| {
            let request = AwsRequest::unsigned(service, Method::POST, "/", body);
            touched(&AwsRequest { query: query.to_owned(), ..request })
        };
        let deleted = |kind, name: &str| vec![(kind, name.to_owned(), Effect::Delete)];
        let encoded = form("iam", "", "Action=DeleteUser&User%4eame=a%40b");
        assert_eq!(encoded, deleted("user", "a@b"));
        let twice = form("iam", "UserName=a", "%41ction=DeleteUser&UserName=b&User%4eame=c");
        assert_eq!(twice, deleted("user", "c"));
        let beside_json = form("iam", "Action=DeleteUser&UserName=a", r#"{"UserName":"b"}"#);
        assert_eq!(beside_json, deleted("user", "a"));
        let queue = form("sqs", "Action=DeleteQueue&QueueUrl=h%2F1%2Fa", r#"{"QueueUrl":"h/1/b"}"#);
        assert_eq!(queue, deleted("queue", "a"));
        let named = form("sqs", "", "Action=DeleteQueue&QueueUrl=h%2F1%2Fa%2F&QueueName=b");
        assert_eq!(named, deleted("queue", "a"));
    }
}
