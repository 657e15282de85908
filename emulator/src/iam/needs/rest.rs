//! Services whose operation is in method and path.

use http::Method;
use serde_json::Value;

use super::{Need, Place, body, decode};
use crate::wire::AwsRequest;

pub(super) fn query_value(request: &AwsRequest, name: &str) -> Option<String> {
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
    let input = match action {
        "CreateFunction" | "UpdateFunctionConfiguration" => body(request),
        _ => Value::Null,
    };
    let name = name.or_else(|| input["FunctionName"].as_str());
    let arn = name.map_or_else(|| "*".to_owned(), |name| lambda_arn(action, name, place));
    let qualifier = query_value(request, "Qualifier").filter(|_| action == "InvokeFunction");
    let arn = qualifier.map_or(arn.clone(), |qualifier| format!("{arn}:{qualifier}"));
    let need = Need::new(format!("lambda:{action}"), arn);
    [need].into_iter().chain(pass_role(&input["Role"], "lambda.amazonaws.com")).collect()
}

/// Of a function, which a path may name in part (`123456789012:function:name`), or of a mapping, which it names by its id.
fn lambda_arn(action: &str, name: &str, place: Place<'_>) -> String {
    if name.starts_with("arn:") {
        return name.to_owned();
    }
    if action.ends_with("EventSourceMapping") {
        return place.arn("lambda", &format!("event-source-mapping:{name}"));
    }
    let name = name.split_once(":function:").map_or(name, |(_, name)| name);
    place.arn("lambda", &format!("function:{name}"))
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
        ("GET", [_, "functions", name, "code-signing-config"]) => {
            ("GetFunctionCodeSigningConfig", Some(name))
        }
        ("GET", [_, "functions", name, "event-invoke-config", "list"]) => {
            ("ListFunctionEventInvokeConfigs", Some(name))
        }
        (_, [_, "functions", name, "event-invoke-config"]) => match *method {
            Method::GET => ("GetFunctionEventInvokeConfig", Some(name)),
            Method::DELETE => ("DeleteFunctionEventInvokeConfig", Some(name)),
            Method::POST => ("UpdateFunctionEventInvokeConfig", Some(name)),
            _ => ("PutFunctionEventInvokeConfig", Some(name)),
        },
        ("POST", [_, "event-source-mappings"]) => ("CreateEventSourceMapping", None),
        ("GET", [_, "event-source-mappings"]) => ("ListEventSourceMappings", None),
        ("GET", [_, "event-source-mappings", id]) => ("GetEventSourceMapping", Some(id)),
        ("PUT", [_, "event-source-mappings", id]) => ("UpdateEventSourceMapping", Some(id)),
        ("DELETE", [_, "event-source-mappings", id]) => ("DeleteEventSourceMapping", Some(id)),
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
        ("GET", ["experiments", id, "resolvedTargets"]) => {
            ("ListExperimentResolvedTargets", format!("experiment/{id}"))
        }
        ("GET", ["safetyLevers", id]) => ("GetSafetyLever", format!("safety-lever/{id}")),
        ("PATCH", ["safetyLevers", id, "state"]) => ("UpdateSafetyLeverState", format!("safety-lever/{id}")),
        ("GET", ["actions"]) => ("ListActions", String::new()),
        ("GET", ["actions", id]) => ("GetAction", format!("action/{id}")),
        ("GET", ["targetResourceTypes"]) => ("ListTargetResourceTypes", String::new()),
        ("GET", ["targetResourceTypes", _]) => ("GetTargetResourceType", String::new()),
        (method, ["tags", arn @ ..]) => return vec![tags("fis", method, &arn.join("/"))],
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
        let actions = body["actions"].as_object().into_iter().flat_map(|actions| actions.values());
        for used in actions.filter_map(|used| used["actionId"].as_str()) {
            needs.push(Need::new(format!("fis:{action}"), place.arn("fis", &format!("action/{used}"))));
        }
        needs.extend(pass_role(&body["roleArn"], "fis.amazonaws.com"));
    }
    needs
}

/// An ARN in a path may hold slashes of its own.
fn tags(service: &str, method: &str, arn: &str) -> Need {
    let action = match method {
        "POST" => "TagResource",
        "DELETE" => "UntagResource",
        _ => "ListTagsForResource",
    };
    Need::new(format!("{service}:{action}"), arn)
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
    let body = body(request);
    // What makes or replaces a schedule names its group in the body.
    let group = body["GroupName"].as_str().map(str::to_owned).or_else(|| query_value(request, "groupName"));
    let group = group.unwrap_or_else(|| "default".to_owned());
    let (action, resource) = match parts.as_slice() {
        ["schedules"] => ("ListSchedules".to_owned(), place.arn("scheduler", "schedule/*/*")),
        ["schedules", name] => {
            (format!("{verb}Schedule"), place.arn("scheduler", &format!("schedule/{group}/{name}")))
        }
        ["schedule-groups"] => ("ListScheduleGroups".to_owned(), "*".to_owned()),
        ["schedule-groups", name] => {
            (format!("{verb}ScheduleGroup"), place.arn("scheduler", &format!("schedule-group/{name}")))
        }
        ["tags", arn @ ..] => return vec![tags("scheduler", request.method.as_str(), &arn.join("/"))],
        _ => return Vec::new(),
    };
    let passes = pass_role(&body["Target"]["RoleArn"], "scheduler.amazonaws.com");
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
