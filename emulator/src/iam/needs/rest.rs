//! Services whose operation is in method and path.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{Need, Place, decode};
use crate::lambda::{FunctionRef, function_of};
use crate::wire::{AwsRequest, Object};

/// The actions of Lambda that are about one version or alias, where the call names one.
const QUALIFIED: [&str; 11] = [
    "InvokeFunction",
    "GetFunction",
    "GetFunctionConfiguration",
    "DeleteFunction",
    "AddPermission",
    "GetPolicy",
    "RemovePermission",
    "GetFunctionEventInvokeConfig",
    "PutFunctionEventInvokeConfig",
    "UpdateFunctionEventInvokeConfig",
    "DeleteFunctionEventInvokeConfig",
];
const OF_TAGS: [&str; 3] = ["ListTags", "TagResource", "UntagResource"];

/// The parts of a path, decoded.
fn parts(request: &AwsRequest) -> Vec<String> {
    request.path.trim_matches('/').split('/').map(decode).collect()
}

/// The members that decide, and no other: what the service does not read may be of any type, and hides nothing.
fn read<T: DeserializeOwned>(request: &AwsRequest) -> Option<T> {
    serde_json::from_slice(&request.body).ok()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewFunction {
    function_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Executing {
    role: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WithCode {
    code: Option<Object<Packaged>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Packaged {
    zip_file: Option<IgnoredAny>,
    s3_bucket: Option<String>,
    s3_key: Option<String>,
}

impl Packaged {
    /// Bucket and key. None: S3 is not asked.
    fn in_s3(self) -> Option<String> {
        let (bucket, key) = self.s3_bucket.zip(self.s3_key)?;
        self.zip_file.is_none().then(|| format!("{bucket}/{key}"))
    }
}

pub(super) fn lambda(request: &AwsRequest, place: Place<'_>) -> Vec<Need> {
    let parts = parts(request);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let Some((action, name)) = lambda_action(&request.method, &parts) else { return Vec::new() };
    let arn = match name {
        Some(name) => lambda_arn(action, name, request, place),
        None if action == "CreateFunction" => new_function_arn(request, place),
        None => None,
    };
    let passes = match action {
        "CreateFunction" | "UpdateFunctionConfiguration" => {
            pass_role(request, |Executing { role }| role, "lambda.amazonaws.com")
        }
        _ => None,
    };
    // What cannot be read must not pass for what needs nothing.
    let need = Need::new(format!("lambda:{action}"), arn.unwrap_or_else(|| "*".to_owned()));
    std::iter::once(need).chain(passes).chain(reads_code(action, request)).collect()
}

/// Lambda reads a package from S3 as whoever gives it: else anyone could run, and so read, any object. A body that cannot be read may
/// name any.
fn reads_code(action: &str, request: &AwsRequest) -> Option<Need> {
    let code = match action {
        "CreateFunction" => read(request).map(|WithCode { code }| code.map(|Object(code)| code)),
        "UpdateFunctionCode" => read(request).map(Some),
        _ => return None,
    };
    let object = match code {
        Some(code) => code.and_then(Packaged::in_s3)?,
        None if request.body.is_empty() => return None,
        None => "*".to_owned(),
    };
    Some(Need::new("s3:GetObject", format!("arn:aws:s3:::{object}")))
}

/// Of a function, or of a mapping, which a path names by its id. As Lambda reads it: whatever account an ARN names, it is its
/// own function, and a version or an alias counts only where the operation is about one.
fn lambda_arn(action: &str, name: &str, request: &AwsRequest, place: Place<'_>) -> Option<String> {
    if action.ends_with("EventSourceMapping") {
        return Some(place.arn("lambda", &format!("event-source-mapping:{name}")));
    }
    if OF_TAGS.contains(&action) {
        // A mapping has tags, too.
        let function = FunctionRef::parse(name).filter(|_| name.starts_with("arn:"));
        return Some(
            function.map_or_else(|| name.to_owned(), |function| function_arn(&function.name, place)),
        );
    }
    let function = function_of(request, name)?;
    let whole = function_arn(&function.name, place);
    let qualifier = function.qualifier.filter(|_| QUALIFIED.contains(&action));
    Some(qualifier.map_or(whole.clone(), |qualifier| format!("{whole}:{qualifier}")))
}

fn new_function_arn(request: &AwsRequest, place: Place<'_>) -> Option<String> {
    let NewFunction { function_name } = read(request)?;
    FunctionRef::parse(&function_name?).map(|function| function_arn(&function.name, place))
}

fn function_arn(name: &str, place: Place<'_>) -> String {
    place.arn("lambda", &format!("function:{name}"))
}

/// Whoever gives a role to a service must be allowed to: else anyone could do what any role may. A body that cannot be read
/// may give any.
fn pass_role<T: DeserializeOwned>(
    request: &AwsRequest,
    role_arn: impl FnOnce(T) -> Option<String>,
    service: &str,
) -> Option<Need> {
    let role_arn = match read(request) {
        Some(body) => role_arn(body)?,
        None if request.body.is_empty() => return None,
        None => "*".to_owned(),
    };
    let mut need = Need::new("iam:PassRole", role_arn);
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

#[derive(Deserialize)]
struct Tagged {
    tags: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfTemplate {
    experiment_template_id: Option<String>,
}

#[derive(Deserialize)]
struct Using {
    actions: Option<BTreeMap<String, Object<Used>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Used {
    action_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acting {
    role_arn: Option<String>,
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
        let tags = read(request).and_then(|Tagged { tags }| tags);
        if tags.is_some_and(|tags| !tags.is_empty()) {
            needs.push(Need::new("fis:TagResource", resource));
        }
        if let Some(id) =
            read(request).and_then(|OfTemplate { experiment_template_id }| experiment_template_id)
        {
            needs.push(Need::new(
                "fis:StartExperiment",
                place.arn("fis", &format!("experiment-template/{id}")),
            ));
        }
        if matches!(action, "CreateExperimentTemplate" | "UpdateExperimentTemplate") {
            for used in actions_in(request) {
                needs.push(Need::new(format!("fis:{action}"), place.arn("fis", &format!("action/{used}"))));
            }
            needs.extend(pass_role(request, |Acting { role_arn }| role_arn, "fis.amazonaws.com"));
        }
    }
    needs
}

/// The ids of the actions that a template uses; any, if they cannot be read.
fn actions_in(request: &AwsRequest) -> Vec<String> {
    match read(request) {
        Some(Using { actions }) => {
            let used = actions.unwrap_or_default().into_values();
            used.filter_map(|Object(used)| used.action_id).collect()
        }
        None if request.body.is_empty() => Vec::new(),
        None => vec!["*".to_owned()],
    }
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InGroup {
    group_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Calling {
    target: Option<Object<Called>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Called {
    role_arn: Option<String>,
}

/// Where the service reads it: what makes or replaces a schedule names its group in the body, the rest in the query.
fn group_of(request: &AwsRequest) -> String {
    let group = match request.method {
        Method::POST | Method::PUT => read(request).and_then(|InGroup { group_name }| group_name),
        _ => request.query_value("groupName"),
    };
    group.unwrap_or_else(|| "default".to_owned())
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
    let group = group_of(request);
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
    let passes = match action.as_str() {
        "CreateSchedule" | "UpdateSchedule" => {
            pass_role(request, |Calling { target }| target?.0.role_arn, "scheduler.amazonaws.com")
        }
        _ => None,
    };
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
