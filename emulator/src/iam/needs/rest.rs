//! Services whose operation is in method and path.

use http::Method;
use serde_json::Value;

use super::{Need, Place, body, decode};
use crate::wire::AwsRequest;

/// A subresource in the query names the action; the others are objects, buckets and their list.
pub(super) fn s3(request: &AwsRequest) -> Vec<Need> {
    let path = request.path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (bucket, key) = (decode(bucket), decode(key));
    if bucket.is_empty() {
        return vec![Need::anywhere("s3:ListAllMyBuckets")];
    }
    let bucket_arn = format!("arn:aws:s3:::{bucket}");
    if let Some(action) = subresource(request, key.is_empty()) {
        let arn = if key.is_empty() { bucket_arn } else { format!("{bucket_arn}/{key}") };
        return vec![Need::new(action, arn)];
    }
    if !key.is_empty() {
        let action = match request.method {
            Method::PUT | Method::POST => "s3:PutObject",
            Method::DELETE => "s3:DeleteObject",
            _ => "s3:GetObject",
        };
        return vec![Need::new(action, format!("{bucket_arn}/{key}"))];
    }
    let action = match request.method {
        Method::PUT => "s3:CreateBucket",
        Method::DELETE => "s3:DeleteBucket",
        Method::POST => "s3:DeleteObject",
        _ => "s3:ListBucket",
    };
    let mut need = Need::new(action, bucket_arn);
    for (parameter, key) in [("prefix", "s3:prefix"), ("delimiter", "s3:delimiter")] {
        if let Some(value) = query_value(request, parameter) {
            need.context.push((key, value));
        }
    }
    vec![need]
}

fn subresource(request: &AwsRequest, of_bucket: bool) -> Option<String> {
    const OF_BUCKETS: [(&str, &str); 12] = [
        ("acl", "BucketAcl"),
        ("cors", "BucketCORS"),
        ("encryption", "EncryptionConfiguration"),
        ("lifecycle", "LifecycleConfiguration"),
        ("location", "BucketLocation"),
        ("logging", "BucketLogging"),
        ("notification", "BucketNotification"),
        ("policy", "BucketPolicy"),
        ("publicAccessBlock", "BucketPublicAccessBlock"),
        ("tagging", "BucketTagging"),
        ("versioning", "BucketVersioning"),
        ("website", "BucketWebsite"),
    ];
    const OF_OBJECTS: [(&str, &str); 2] = [("acl", "ObjectAcl"), ("tagging", "ObjectTagging")];
    let known: &[(&str, &str)] = if of_bucket { &OF_BUCKETS } else { &OF_OBJECTS };
    let has = |name: &str| request.query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let (_, what) = known.iter().find(|(name, _)| has(name))?;
    let verb = match request.method {
        Method::PUT => "Put",
        Method::DELETE => "Delete",
        _ => "Get",
    };
    Some(format!("s3:{verb}{what}"))
}

fn query_value(request: &AwsRequest, name: &str) -> Option<String> {
    let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(&value.replace('+', " "))).next()
}

/// The parts of a path, decoded.
fn parts(request: &AwsRequest) -> Vec<String> {
    request.path.trim_matches('/').split('/').map(decode).collect()
}

pub(super) fn lambda(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let parts = parts(request);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let Some((action, name)) = lambda_action(&request.method, &parts) else { return Vec::new() };
    let action = format!("lambda:{action}");
    let passes = match action.as_str() {
        "lambda:CreateFunction" | "lambda:UpdateFunctionConfiguration" => {
            pass_role(&body(request)["Role"], "lambda.amazonaws.com")
        }
        _ => None,
    };
    let Some(name) = name else { return [Need::anywhere(action)].into_iter().chain(passes).collect() };
    let arn = if name.starts_with("arn:") {
        name.to_owned()
    } else {
        place.arn("lambda", &format!("function:{name}"))
    };
    let qualifier = query_value(request, "Qualifier").filter(|_| action == "lambda:InvokeFunction");
    let need = Need::new(action, qualifier.map_or(arn.clone(), |qualifier| format!("{arn}:{qualifier}")));
    [need].into_iter().chain(passes).collect()
}

/// Whoever gives a role to a service must be allowed to: else anyone could do what any role may.
fn pass_role(role_arn: &Value, service: &str) -> Option<Need> {
    let mut need = Need::new("iam:PassRole", role_arn.as_str()?);
    need.context.push(("iam:passedtoservice", service.to_owned()));
    Some(need)
}

fn lambda_action<'a>(method: &Method, parts: &[&'a str]) -> Option<(&'static str, Option<&'a str>)> {
    Some(match (method.as_str(), parts) {
        ("POST", ["2015-03-31", "functions", name, "invocations"])
        | ("POST", ["2014-11-13", "functions", name, "invoke-async"]) => ("InvokeFunction", Some(name)),
        ("POST", ["2015-03-31", "functions"]) => ("CreateFunction", None),
        ("GET", ["2015-03-31", "functions"]) => ("ListFunctions", None),
        ("GET", ["2015-03-31", "functions", name]) => ("GetFunction", Some(name)),
        ("DELETE", ["2015-03-31", "functions", name]) => ("DeleteFunction", Some(name)),
        ("GET", [_, "functions", name, "configuration"]) => ("GetFunctionConfiguration", Some(name)),
        ("PUT", [_, "functions", name, "configuration"]) => ("UpdateFunctionConfiguration", Some(name)),
        ("PUT", [_, "functions", name, "code"]) => ("UpdateFunctionCode", Some(name)),
        ("GET", [_, "functions", name, "versions"]) => ("ListVersionsByFunction", Some(name)),
        ("POST", [_, "functions", name, "versions"]) => ("PublishVersion", Some(name)),
        ("PUT", [_, "functions", name, "concurrency"]) => ("PutFunctionConcurrency", Some(name)),
        ("DELETE", [_, "functions", name, "concurrency"]) => ("DeleteFunctionConcurrency", Some(name)),
        ("GET", [_, "functions", name, "concurrency"]) => ("GetFunctionConcurrency", Some(name)),
        ("POST", [_, "functions", name, "policy"]) => ("AddPermission", Some(name)),
        ("GET", [_, "functions", name, "policy"]) => ("GetPolicy", Some(name)),
        ("DELETE", [_, "functions", name, "policy", _]) => ("RemovePermission", Some(name)),
        ("POST", [_, "functions", name, "aliases"]) => ("CreateAlias", Some(name)),
        ("GET", [_, "functions", name, "aliases"]) => ("ListAliases", Some(name)),
        ("GET", [_, "functions", name, "aliases", _]) => ("GetAlias", Some(name)),
        ("PUT", [_, "functions", name, "aliases", _]) => ("UpdateAlias", Some(name)),
        ("DELETE", [_, "functions", name, "aliases", _]) => ("DeleteAlias", Some(name)),
        (_, [_, "functions", name, "event-invoke-config"]) => match *method {
            Method::GET => ("GetFunctionEventInvokeConfig", Some(name)),
            Method::DELETE => ("DeleteFunctionEventInvokeConfig", Some(name)),
            Method::POST => ("UpdateFunctionEventInvokeConfig", Some(name)),
            _ => ("PutFunctionEventInvokeConfig", Some(name)),
        },
        ("POST", [_, "event-source-mappings"]) => ("CreateEventSourceMapping", None),
        ("GET", [_, "event-source-mappings"]) => ("ListEventSourceMappings", None),
        ("GET", [_, "event-source-mappings", _]) => ("GetEventSourceMapping", None),
        ("PUT", [_, "event-source-mappings", _]) => ("UpdateEventSourceMapping", None),
        ("DELETE", [_, "event-source-mappings", _]) => ("DeleteEventSourceMapping", None),
        ("GET", [_, "account-settings"]) => ("GetAccountSettings", None),
        ("GET", [_, "tags", arn]) => ("ListTags", Some(arn)),
        ("POST", [_, "tags", arn]) => ("TagResource", Some(arn)),
        ("DELETE", [_, "tags", arn]) => ("UntagResource", Some(arn)),
        _ => return None,
    })
}

/// API Gateway's actions are the methods of HTTP; an ARN has the path without its version.
pub(super) fn apigateway(request: &AwsRequest) -> Need {
    let path = decode(&request.path);
    let path = path.strip_prefix("/v2").unwrap_or(&path);
    let resource = format!("arn:aws:apigateway:{}::{path}", request.region);
    Need::new(format!("apigateway:{}", request.method), resource)
}

pub(super) fn fis(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let parts = parts(request);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (action, resource) = match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["experimentTemplates"]) => ("CreateExperimentTemplate", "experiment-template/*".to_owned()),
        ("GET", ["experimentTemplates"]) => ("ListExperimentTemplates", String::new()),
        ("GET", ["experimentTemplates", id]) => {
            ("GetExperimentTemplate", format!("experiment-template/{id}"))
        }
        ("PATCH", ["experimentTemplates", id]) => {
            ("UpdateExperimentTemplate", format!("experiment-template/{id}"))
        }
        ("DELETE", ["experimentTemplates", id]) => {
            ("DeleteExperimentTemplate", format!("experiment-template/{id}"))
        }
        ("POST", ["experiments"]) => ("StartExperiment", "experiment/*".to_owned()),
        ("GET", ["experiments"]) => ("ListExperiments", String::new()),
        ("GET", ["experiments", id]) => ("GetExperiment", format!("experiment/{id}")),
        ("DELETE", ["experiments", id]) => ("StopExperiment", format!("experiment/{id}")),
        ("GET", ["safetyLevers", id]) => ("GetSafetyLever", format!("safety-lever/{id}")),
        ("PATCH", ["safetyLevers", id, "state"]) => ("UpdateSafetyLeverState", format!("safety-lever/{id}")),
        ("GET", ["actions"]) => ("ListActions", String::new()),
        ("GET", ["actions", id]) => ("GetAction", format!("action/{id}")),
        ("GET", ["targetResourceTypes"]) => ("ListTargetResourceTypes", String::new()),
        ("GET", ["targetResourceTypes", _]) => ("GetTargetResourceType", String::new()),
        (method, ["tags", arn @ ..]) => return fis_tags(method, &arn.join("/")),
        _ => return Vec::new(),
    };
    let resource = if resource.is_empty() { "*".to_owned() } else { place.arn("fis", &resource) };
    let mut needs = vec![Need::new(format!("fis:{action}"), resource.clone())];
    if request.method != Method::GET {
        let body = body(request);
        if body["tags"].as_object().is_some_and(|tags| !tags.is_empty()) {
            needs.push(Need::new("fis:TagResource", resource));
        }
        if let Some(id) = body["experimentTemplateId"].as_str() {
            needs.push(Need::new(
                "fis:StartExperiment",
                place.arn("fis", &format!("experiment-template/{id}")),
            ));
        }
        needs.extend(pass_role(&body["roleArn"], "fis.amazonaws.com"));
    }
    needs
}

fn fis_tags(method: &str, arn: &str) -> Vec<Need> {
    let action = match method {
        "POST" => "fis:TagResource",
        "DELETE" => "fis:UntagResource",
        _ => "fis:ListTagsForResource",
    };
    vec![Need::new(action, arn)]
}

pub(super) fn scheduler(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let parts = parts(request);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let verb = match request.method.as_str() {
        "POST" => "Create",
        "PUT" => "Update",
        "DELETE" => "Delete",
        _ => "Get",
    };
    let group = query_value(request, "groupName").unwrap_or_else(|| "default".to_owned());
    let (action, resource) = match parts.as_slice() {
        ["schedules"] => ("ListSchedules".to_owned(), "*".to_owned()),
        ["schedules", name] => {
            (format!("{verb}Schedule"), place.arn("scheduler", &format!("schedule/{group}/{name}")))
        }
        ["schedule-groups"] => ("ListScheduleGroups".to_owned(), "*".to_owned()),
        ["schedule-groups", name] => {
            (format!("{verb}ScheduleGroup"), place.arn("scheduler", &format!("schedule-group/{name}")))
        }
        _ => return Vec::new(),
    };
    let passes = pass_role(&body(request)["Target"]["RoleArn"], "scheduler.amazonaws.com");
    [Need::new(format!("scheduler:{action}"), resource)].into_iter().chain(passes).collect()
}

/// X-Ray is not emulated; a function that sends traces learns first whether it may.
pub(super) fn xray(request: &AwsRequest) -> Vec<Need> {
    let action = match request.path.as_str() {
        "/TraceSegments" => "xray:PutTraceSegments",
        "/TelemetryRecords" => "xray:PutTelemetryRecords",
        _ => return Vec::new(),
    };
    vec![Need::anywhere(action)]
}
