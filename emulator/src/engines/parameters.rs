//! What the engine of SSM forgets of a parameter, and how parameters are found: by ARN, version or label, and by filters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, StatusCode};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::adapter::Engine;
use crate::pages;
use crate::repeatable;
use crate::settings::Settings;
use crate::store::operation;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service, not_emulated};

const JSON: &str = "application/x-amz-json-1.1";
/// AWS's largest page of DescribeParameters.
const PAGE_MAX: u64 = 50;
/// AWS quotas of a parameter's value in the standard and in the advanced tier.
const STANDARD_MAX_BYTES: usize = 4_096;
const ADVANCED_MAX_BYTES: usize = 8_192;
const STANDARD: &str = "Standard";
const ADVANCED: &str = "Advanced";
const TIERS: [&str; 3] = [STANDARD, ADVANCED, "Intelligent-Tiering"];
/// "If you don't specify a key ID, the system uses the default key associated with your Amazon Web Services account."
const DEFAULT_KEY: &str = "alias/aws/ssm";
/// Since these rules a label is of one version only, and a new version has the type of the one before if the call names none.
const RULES_OF_VERSIONS: u32 = 5;

/// SSM with the members that the engine does not keep.
pub(super) struct Parameters {
    engine: Engine,
    account_id: Arc<str>,
    /// By Region and name.
    known: Mutex<BTreeMap<(String, String), Versions>>,
    /// Of whoever moves a label.
    turn: tokio::sync::Mutex<()>,
}

/// What was said of each version.
type Versions = BTreeMap<i64, Map<String, Value>>;

/// Why a call is not done: AWS's code and a text.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    code: String,
    message: String,
}

impl Failure {
    fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    fn response(&self) -> AwsResponse {
        let body = json!({"__type": self.code, "message": self.message});
        AwsResponse::new(StatusCode::BAD_REQUEST, JSON, body.to_string())
    }
}

impl Parameters {
    pub(super) fn new(settings: &Settings, engine: Engine) -> Self {
        let account_id = Arc::clone(&settings.account_id);
        Self { engine, account_id, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(String, String), Versions>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, mut request: AwsRequest) -> AwsResponse {
        let (mut input, region) = (body_of(&request.body), request.region.clone());
        // What an older emulator took is taken again.
        if !repeatable::is_repeated()
            && let Err(failure) = self.check(&region, &input)
        {
            return failure.response();
        }
        self.say_type(&mut request, &mut input).await;
        let answer = self.engine.handle(request).await;
        let mut shown = body_of(&answer.body);
        let Some((name, version)) = input["Name"].as_str().zip(shown["Version"].as_i64()) else {
            return answer;
        };
        shown["Tier"] = self.keep(&region, name, version, &input);
        succeeded(&shown)
    }

    /// A type stays until another one is given; the engine would take a String.
    async fn say_type(&self, request: &mut AwsRequest, input: &mut Value) {
        if text(input, "Type").is_some() || repeatable::is_older_than(RULES_OF_VERSIONS) {
            return;
        }
        let Some(name) = text(input, "Name") else { return };
        if let Ok(found) = self.ask(request, "GetParameter", &json!({"Name": name})).await {
            input["Type"] = found["Parameter"]["Type"].clone();
            request.body = input.to_string().into();
            request.headers.remove(CONTENT_LENGTH);
        }
    }

    fn check(&self, region: &str, input: &Value) -> Result<(), Failure> {
        if text(input, "Policies").is_some_and(|policies| policies.trim() != "[]") {
            return Err(Failure::new("ValidationException", not_emulated("A policy of a parameter")));
        }
        let tier = text(input, "Tier");
        if tier.is_some_and(|tier| !TIERS.contains(&tier)) {
            return Err(Failure::new("ValidationException", format!("Tier must be one of {TIERS:?}.")));
        }
        let last = self.last(region, input["Name"].as_str().unwrap_or_default());
        if tier == Some(STANDARD) && last["Tier"] == ADVANCED {
            return Err(Failure::new(
                "ValidationException",
                "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the \
                 advanced-parameter tier to the standard-parameter tier.",
            ));
        }
        check_size(input, tier_of(input, &last))?;
        check_pattern(input)
    }

    /// What was said of the newest version.
    fn last(&self, region: &str, name: &str) -> Value {
        let known = self.known();
        let versions = known.get(&(region.to_owned(), name.to_owned()));
        let last = versions.and_then(|versions| versions.last_key_value());
        last.map_or(Value::Null, |(_, members)| Value::Object(members.clone()))
    }

    /// Keeps what the call says of the version that it made. Its tier.
    fn keep(&self, region: &str, name: &str, version: i64, input: &Value) -> Value {
        let before = self.last(region, name);
        let mut members = Map::new();
        let mut say = |member: &str, said: Option<&str>| {
            if let Some(said) = said.filter(|said| !said.is_empty()) {
                members.insert(member.to_owned(), json!(said));
            }
        };
        // A description stays until another one is given, and the tier too.
        say("Description", input["Description"].as_str().or_else(|| before["Description"].as_str()));
        let tier = tier_of(input, &before);
        say("Tier", Some(tier));
        say("AllowedPattern", text(input, "AllowedPattern"));
        if text(input, "Type") == Some("SecureString") {
            say("KeyId", Some(text(input, "KeyId").unwrap_or(DEFAULT_KEY)));
        }
        let key = (region.to_owned(), name.to_owned());
        self.known().entry(key).or_default().insert(version, members);
        json!(tier)
    }

    /// Adds to a parameter, or to one of its versions, what was said of it.
    fn complete(&self, region: &str, parameter: &mut Value) {
        let name = parameter["Name"].as_str().unwrap_or_default().to_owned();
        let version = parameter["Version"].as_i64().unwrap_or_default();
        let Some(parameter) = parameter.as_object_mut() else { return };
        let known = self.known();
        let said = known.get(&(region.to_owned(), name)).and_then(|versions| versions.get(&version));
        match said {
            Some(said) => parameter.extend(said.clone()),
            None => drop(parameter.insert("Tier".to_owned(), json!(STANDARD))),
        }
    }

    async fn delete(&self, request: AwsRequest) -> AwsResponse {
        let (input, region) = (body_of(&request.body), request.region.clone());
        let answer = self.engine.handle(request).await;
        if !answer.status.is_success() {
            return answer;
        }
        let shown = body_of(&answer.body);
        let one = input["Name"].as_str().into_iter();
        let many = shown["DeletedParameters"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in one.chain(many) {
            self.known().remove(&(region.clone(), name.to_owned()));
        }
        answer
    }

    /// One more question to the engine.
    async fn ask(&self, request: &AwsRequest, operation: &str, input: &Value) -> Result<Value, Failure> {
        let mut headers = HeaderMap::new();
        if let Ok(target) = HeaderValue::from_str(&format!("AmazonSSM.{operation}")) {
            headers.insert("x-amz-target", target);
        }
        let body = input.to_string().into();
        let answer = self.engine.handle(AwsRequest { headers, body, ..request.clone() }).await;
        let shown = body_of(&answer.body);
        if answer.status.is_success() {
            return Ok(shown);
        }
        let said = |member: &str| shown[member].as_str().unwrap_or_default().to_owned();
        Err(Failure { code: said("__type"), message: said("message") })
    }

    async fn get(&self, request: AwsRequest) -> AwsResponse {
        let input = body_of(&request.body);
        let Some(name) = input["Name"].as_str() else { return self.engine.handle(request).await };
        match self.find(&request, name).await {
            Ok(parameter) => succeeded(&json!({"Parameter": parameter})),
            Err(failure) => failure.response(),
        }
    }

    async fn get_many(&self, request: AwsRequest) -> AwsResponse {
        let input = body_of(&request.body);
        let names: Option<Vec<&str>> =
            input["Names"].as_array().and_then(|names| names.iter().map(Value::as_str).collect());
        let Some(names) = names else { return self.engine.handle(request).await };
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        for name in names {
            match self.find(&request, name).await {
                Ok(parameter) => found.push(parameter),
                Err(_) => invalid.push(name),
            }
        }
        succeeded(&json!({"Parameters": found, "InvalidParameters": invalid}))
    }

    /// The parameter of this name or ARN, in the version that it may name.
    async fn find(&self, request: &AwsRequest, asked: &str) -> Result<Value, Failure> {
        let (names, selector) = self.named(request, asked);
        let mut found = Err(Failure::new("ParameterNotFound", format!("Parameter {asked} not found.")));
        for name in names {
            if found.is_err() {
                let answer = self.ask(request, "GetParameter", &json!({"Name": name})).await;
                found = answer.map(|answer| (name, answer["Parameter"].clone()));
            }
        }
        let (name, mut parameter) = found?;
        let Some(selector) = selector else { return Ok(parameter) };
        let history = self.ask(request, "GetParameterHistory", &json!({"Name": name})).await?;
        let mut versions = history["Parameters"].as_array().into_iter().flatten();
        let version = versions.find(|version| is_selected(version, selector)).ok_or_else(|| {
            Failure::new(
                "ParameterVersionNotFound",
                format!("Systems Manager could not find version {selector} of {name}. Verify the version and try again."),
            )
        })?;
        for member in ["Type", "Value", "Version", "LastModifiedDate"] {
            parameter[member] = version[member].clone();
        }
        parameter["Selector"] = json!(format!(":{selector}"));
        Ok(parameter)
    }

    /// The names that it may stand for, and the version or label behind it. The ARN of `a` is that of `/a`.
    fn named<'a>(&self, request: &AwsRequest, asked: &'a str) -> (Vec<&'a str>, Option<&'a str>) {
        let split =
            |text: &'a str| text.split_once(':').map_or((text, None), |(name, end)| (name, Some(end)));
        if !asked.starts_with("arn:") {
            let (name, selector) = split(asked);
            return (vec![name], selector);
        }
        let parts: Vec<&str> = asked.splitn(6, ':').collect();
        let [_, _, "ssm", region, account, resource] = parts.as_slice() else { return (Vec::new(), None) };
        let path = resource.strip_prefix("parameter").filter(|path| path.starts_with('/'));
        let is_here = *region == request.region && **account == *self.account_id;
        let Some((path, selector)) = path.filter(|_| is_here).map(split) else { return (Vec::new(), None) };
        let bare = path.strip_prefix('/').filter(|name| !name.contains('/'));
        (bare.into_iter().chain([path]).collect(), selector)
    }

    /// A label that another version has is moved. The engine would leave it there as well.
    async fn label(&self, request: &AwsRequest) -> Result<AwsResponse, Failure> {
        let _turn = self.turn.lock().await;
        let mut input = body_of(&request.body);
        let name = input["Name"].clone();
        let history = self.ask(request, "GetParameterHistory", &json!({"Name": name})).await?;
        let versions = history["Parameters"].as_array().cloned().unwrap_or_default();
        if input["ParameterVersion"].is_null() {
            let last = versions.iter().filter_map(|version| version["Version"].as_i64()).max();
            input["ParameterVersion"] = json!(last);
        }
        let shown = self.ask(request, "LabelParameterVersion", &input).await?;
        let is_in =
            |labels: &Value, label: &Value| labels.as_array().is_some_and(|labels| labels.contains(label));
        for version in versions.iter().filter(|version| version["Version"] != input["ParameterVersion"]) {
            let moved = labels_of(version)
                .filter(|label| is_in(&input["Labels"], label) && !is_in(&shown["InvalidLabels"], label));
            let moved: Vec<&Value> = moved.collect();
            if !moved.is_empty() {
                let taken = json!({"Name": name, "ParameterVersion": version["Version"], "Labels": moved});
                self.ask(request, "UnlabelParameterVersion", &taken).await?;
            }
        }
        Ok(succeeded(&shown))
    }

    async fn history(&self, request: AwsRequest) -> AwsResponse {
        let region = request.region.clone();
        let answer = self.engine.handle(request).await;
        let mut shown = body_of(&answer.body);
        let Some(versions) = shown["Parameters"].as_array_mut() else { return answer };
        versions.iter_mut().for_each(|version| self.complete(&region, version));
        succeeded(&shown)
    }

    async fn describe(&self, request: &AwsRequest) -> Result<AwsResponse, Failure> {
        let input = body_of(&request.body);
        let filters = filters(&input)?;
        let size = match &input["MaxResults"] {
            Value::Null => PAGE_MAX,
            size => size.as_u64().filter(|size| (1..=PAGE_MAX).contains(size)).ok_or_else(|| {
                Failure::new("ValidationException", format!("MaxResults must be 1 to {PAGE_MAX}."))
            })?,
        };
        let mut all = BTreeMap::new();
        let described = self.ask(request, "DescribeParameters", &json!({})).await?;
        for mut parameter in described["Parameters"].as_array().cloned().unwrap_or_default() {
            self.complete(&request.region, &mut parameter);
            let name = parameter["Name"].as_str().unwrap_or_default().to_owned();
            parameter["ARN"] = json!(format!(
                "arn:aws:ssm:{}:{}:parameter/{}",
                request.region,
                self.account_id,
                name.trim_start_matches('/')
            ));
            if filters.iter().all(|filter| filter.is_met(&parameter)) {
                all.insert(name, parameter);
            }
        }
        let after = text(&input, "NextToken").unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (page, last) = pages::page(all, |name| name.as_str() > after, size);
        let mut shown = json!({"Parameters": page});
        if let Some(last) = last {
            shown["NextToken"] = json!(last);
        }
        Ok(succeeded(&shown))
    }
}

impl Service for Parameters {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            match operation(&request).as_deref() {
                Some("PutParameter") => self.put(request).await,
                Some("GetParameter") => self.get(request).await,
                Some("GetParameters") => self.get_many(request).await,
                Some("GetParameterHistory") => self.history(request).await,
                Some("DescribeParameters") => {
                    self.describe(&request).await.unwrap_or_else(|failure| failure.response())
                }
                Some("DeleteParameter" | "DeleteParameters") => self.delete(request).await,
                Some("LabelParameterVersion") if !repeatable::is_older_than(RULES_OF_VERSIONS) => {
                    self.label(&request).await.unwrap_or_else(|failure| failure.response())
                }
                _ => self.engine.handle(request).await,
            }
        })
    }
}

/// Of DescribeParameters.
#[derive(Debug)]
struct Filter<'a> {
    key: &'a str,
    option: &'a str,
    values: Vec<&'a str>,
}

impl<'a> Filter<'a> {
    fn new(given: &'a Value) -> Result<Self, Failure> {
        let key = given["Key"].as_str().unwrap_or_default();
        let (options, usual): (&[&str], _) = match key {
            "Name" => (&["Equals", "BeginsWith", "Contains"], "Equals"),
            "Type" | "KeyId" | "Tier" | "DataType" => (&["Equals", "BeginsWith"], "Equals"),
            "Path" => (&["Recursive", "OneLevel"], "OneLevel"),
            _ => return Err(Failure::new("InvalidFilterKey", not_emulated(&format!("The filter {key}")))),
        };
        let option = given["Option"].as_str().unwrap_or(usual);
        if !options.contains(&option) {
            let message = format!("The filter option {option} is not valid for {key}.");
            return Err(Failure::new("InvalidFilterOption", message));
        }
        let values = given["Values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values: Vec<&str> = values.collect();
        if values.is_empty() {
            return Err(Failure::new("InvalidFilterValue", format!("The filter {key} has no values.")));
        }
        Ok(Self { key, option, values })
    }

    fn is_met(&self, parameter: &Value) -> bool {
        let member = if self.key == "Path" { "Name" } else { self.key };
        let Some(has) = parameter[member].as_str() else { return false };
        self.values.iter().any(|wanted| match self.option {
            "BeginsWith" => has.starts_with(wanted),
            "Contains" => has.contains(wanted),
            "Recursive" => below(has, wanted).is_some(),
            "OneLevel" => below(has, wanted).is_some_and(|rest| !rest.contains('/')),
            _ => has == *wanted,
        })
    }
}

fn filters(input: &Value) -> Result<Vec<Filter<'_>>, Failure> {
    if input["Filters"].as_array().is_some_and(|filters| !filters.is_empty()) {
        // Which "ParameterFilters" have replaced.
        return Err(Failure::new("ValidationException", not_emulated("Filters")));
    }
    input["ParameterFilters"].as_array().into_iter().flatten().map(Filter::new).collect()
}

/// What of a name is behind a path.
fn below<'a>(name: &'a str, path: &str) -> Option<&'a str> {
    name.strip_prefix(path.trim_end_matches('/'))?.strip_prefix('/')
}

/// Whether a version has this number or label.
fn is_selected(version: &Value, selector: &str) -> bool {
    match selector.parse::<i64>() {
        Ok(number) => version["Version"] == number,
        Err(_) => labels_of(version).any(|label| *label == selector),
    }
}

fn labels_of(version: &Value) -> impl Iterator<Item = &Value> {
    version["Labels"].as_array().into_iter().flatten()
}

/// Of the version that a call makes, where this was said of the one before.
fn tier_of<'a>(input: &'a Value, before: &'a Value) -> &'a str {
    let is_large = input["Value"].as_str().is_some_and(|value| value.len() > STANDARD_MAX_BYTES);
    match text(input, "Tier") {
        Some(tier @ (STANDARD | ADVANCED)) => tier,
        Some(_) if is_large => ADVANCED,
        _ => before["Tier"].as_str().unwrap_or(STANDARD),
    }
}

fn check_size(input: &Value, tier: &str) -> Result<(), Failure> {
    let size = input["Value"].as_str().map_or(0, str::len);
    let message = if tier == STANDARD && size > STANDARD_MAX_BYTES {
        "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger \
         parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see \
         https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
    } else if size > ADVANCED_MAX_BYTES {
        "The specified parameter value is too large. Advanced-tier parameters support a maximum parameter value of \
         8192 characters."
    } else {
        return Ok(());
    };
    Err(Failure::new("ValidationException", message))
}

/// AWS asks the whole value.
fn check_pattern(input: &Value) -> Result<(), Failure> {
    let Some(pattern) = text(input, "AllowedPattern") else { return Ok(()) };
    let Ok(whole) = Regex::new(&format!("^(?:{pattern})$")) else {
        let message = format!("The pattern {pattern} cannot be read.");
        return Err(Failure::new("InvalidAllowedPatternException", message));
    };
    if input["Value"].as_str().is_none_or(|value| whole.is_match(value)) {
        return Ok(());
    }
    let message = format!("Parameter value, cannot be validated against allowedPattern: {pattern}");
    Err(Failure::new("ParameterPatternMismatchException", message))
}

fn text<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input[member].as_str().filter(|text| !text.is_empty())
}

/// Null where it is no JSON.
fn body_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn succeeded(body: &Value) -> AwsResponse {
    AwsResponse::new(StatusCode::OK, JSON, body.to_string())
}

#[cfg(test)]
mod tests {
    use http::Method;
    use winterbaume_ssm::SsmService;

    use super::super::adapter::Scope;
    use super::*;
    use crate::sqs::tests::settings;

    fn parameters() -> Parameters {
        let engine = Engine::new("ssm", Scope::Regional, Arc::new(SsmService::new()));
        Parameters::new(&settings().0, engine)
    }

    async fn call(ssm: &Parameters, operation: &str, input: Value) -> (u16, Value) {
        let mut request = AwsRequest::unsigned("ssm", Method::POST, "/", &input.to_string());
        request.headers.insert("x-amz-target", format!("AmazonSSM.{operation}").parse().unwrap());
        let answer = ssm.handle(request).await;
        (answer.status.as_u16(), body_of(&answer.body))
    }

    async fn done(ssm: &Parameters, operation: &str, input: Value) -> Value {
        let (status, answer) = call(ssm, operation, input).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    async fn refused(ssm: &Parameters, operation: &str, input: Value) -> String {
        let (status, answer) = call(ssm, operation, input).await;
        assert_eq!(status, 400, "{operation}: {answer}");
        answer["__type"].as_str().unwrap().to_owned()
    }

    async fn described(ssm: &Parameters, name: &str) -> Value {
        let filters = json!([{"Key": "Name", "Values": [name]}]);
        let found = done(ssm, "DescribeParameters", json!({"ParameterFilters": filters})).await;
        found["Parameters"][0].clone()
    }

    #[tokio::test]
    async fn what_is_said_of_a_parameter_is_shown_of_each_version_until_it_is_deleted() {
        let ssm = parameters();
        let put = |value: &str, more: Value| {
            let mut input = json!({"Name": "/a", "Type": "SecureString", "Value": value, "Overwrite": true});
            input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            done(&ssm, "PutParameter", input)
        };
        let said = json!({"Description": "d", "Tier": "Advanced", "AllowedPattern": "[0-9]+"});
        assert_eq!(put("1", said).await, json!({"Version": 1, "Tier": "Advanced"}));
        let shown = described(&ssm, "/a").await;
        for (member, value) in [
            ("Description", json!("d")),
            ("Tier", json!("Advanced")),
            ("AllowedPattern", json!("[0-9]+")),
            ("KeyId", json!("alias/aws/ssm")),
            ("ARN", json!("arn:aws:ssm:us-east-1:123456789012:parameter/a")),
        ] {
            assert_eq!(shown[member], value, "{member}");
        }
        put("x", json!({"KeyId": "alias/mine"})).await;
        let history = done(&ssm, "GetParameterHistory", json!({"Name": "/a"})).await;
        let of_versions = |member: &str| -> Vec<Value> {
            history["Parameters"].as_array().unwrap().iter().map(|version| version[member].clone()).collect()
        };
        assert_eq!(of_versions("Description"), ["d", "d"], "nobody has said another one");
        assert_eq!(of_versions("AllowedPattern"), [json!("[0-9]+"), Value::Null]);
        assert_eq!(of_versions("KeyId"), ["alias/aws/ssm", "alias/mine"]);
        put("x", json!({"Description": ""})).await;
        assert_eq!(described(&ssm, "/a").await["Description"], Value::Null);

        done(&ssm, "DeleteParameters", json!({"Names": ["/a"]})).await;
        done(&ssm, "PutParameter", json!({"Name": "/a", "Type": "String", "Value": "x"})).await;
        let shown = described(&ssm, "/a").await;
        assert_eq!((&shown["Tier"], &shown["KeyId"]), (&json!("Standard"), &Value::Null));
    }

    #[tokio::test]
    async fn a_value_that_a_parameter_must_not_have_is_refused() {
        let ssm = parameters();
        let put = |more: Value| {
            let mut input = json!({"Name": "/a", "Type": "String", "Value": "12x", "Overwrite": true});
            input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            input
        };
        for (more, code) in [
            (json!({"AllowedPattern": "[0-9]+"}), "ParameterPatternMismatchException"),
            (json!({"AllowedPattern": "["}), "InvalidAllowedPatternException"),
            (json!({"Policies": "[{\"Type\":\"Expiration\"}]"}), "ValidationException"),
            (json!({"Tier": "Best"}), "ValidationException"),
        ] {
            assert_eq!(refused(&ssm, "PutParameter", put(more.clone())).await, code, "{more}");
        }
        assert_eq!(refused(&ssm, "GetParameter", json!({"Name": "/a"})).await, "ParameterNotFound");
        done(&ssm, "PutParameter", put(json!({"Tier": "Advanced"}))).await;
        assert_eq!(
            refused(&ssm, "PutParameter", put(json!({"Tier": "Standard"}))).await,
            "ValidationException"
        );
    }

    #[tokio::test]
    async fn a_value_is_no_larger_than_its_tier_takes() {
        let ssm = parameters();
        let put = |name: &str, size: usize, tier: Option<&str>| {
            let mut input =
                json!({"Name": name, "Type": "String", "Value": "x".repeat(size), "Overwrite": true});
            input["Tier"] = json!(tier);
            input
        };
        for (name, size, tier, expected) in [
            ("/unsaid", STANDARD_MAX_BYTES, None, "Standard"),
            ("/standard", STANDARD_MAX_BYTES, Some("Standard"), "Standard"),
            ("/small", STANDARD_MAX_BYTES, Some("Intelligent-Tiering"), "Standard"),
            ("/large", STANDARD_MAX_BYTES + 1, Some("Intelligent-Tiering"), "Advanced"),
            ("/advanced", ADVANCED_MAX_BYTES, Some("Advanced"), "Advanced"),
            ("/advanced", ADVANCED_MAX_BYTES, None, "Advanced"),
        ] {
            let answer = done(&ssm, "PutParameter", put(name, size, tier)).await;
            assert_eq!(answer["Tier"], expected, "{name}");
        }
        let too_large = put("/unsaid", STANDARD_MAX_BYTES + 1, None);
        for input in [
            too_large.clone(),
            put("/standard", STANDARD_MAX_BYTES + 1, Some("Standard")),
            put("/large", ADVANCED_MAX_BYTES + 1, Some("Intelligent-Tiering")),
            put("/advanced", ADVANCED_MAX_BYTES + 1, None),
        ] {
            assert_eq!(refused(&ssm, "PutParameter", input).await, "ValidationException");
        }
        // An older emulator took it.
        let again = call(&ssm, "PutParameter", too_large);
        assert_eq!(repeatable::scope_again(RULES_OF_VERSIONS, 1, 0, again).await.0, 200);
    }

    #[tokio::test]
    async fn a_type_stays_until_another_one_is_given() {
        let ssm = parameters();
        let put = |more: Value| {
            let mut input = json!({"Name": "/a", "Value": "x", "Overwrite": true});
            input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            call(&ssm, "PutParameter", input)
        };
        for (more, kind) in [
            (json!({}), "String"),
            (json!({"Type": "SecureString"}), "SecureString"),
            (json!({}), "SecureString"),
            (json!({"Type": "StringList"}), "StringList"),
        ] {
            assert_eq!(put(more.clone()).await.0, 200, "{more}");
            let shown = described(&ssm, "/a").await;
            assert_eq!(shown["Type"], kind, "{more}");
            assert_eq!(shown["KeyId"].is_string(), kind == "SecureString", "{more}");
        }
        // As an older emulator took it.
        repeatable::scope_again(RULES_OF_VERSIONS - 1, 1, 0, put(json!({}))).await;
        assert_eq!(described(&ssm, "/a").await["Type"], "String");
    }

    #[tokio::test]
    async fn a_label_is_of_one_version_only() {
        let ssm = parameters();
        for value in ["one", "two", "three"] {
            let input = json!({"Name": "/a", "Type": "String", "Value": value, "Overwrite": true});
            done(&ssm, "PutParameter", input).await;
        }
        let label = |version: Value, labels: &[&str]| {
            let input = json!({"Name": "/a", "ParameterVersion": version, "Labels": labels});
            call(&ssm, "LabelParameterVersion", input)
        };
        let labels = async || -> Vec<Value> {
            let history = done(&ssm, "GetParameterHistory", json!({"Name": "/a"})).await;
            history["Parameters"].as_array().unwrap().iter().map(|one| one["Labels"].clone()).collect()
        };
        assert_eq!(label(json!(1), &["prod", "first"]).await.0, 200);
        assert_eq!(label(json!(2), &["prod"]).await.0, 200);
        let found = done(&ssm, "GetParameter", json!({"Name": "/a:prod"})).await;
        assert_eq!(found["Parameter"]["Value"], "two");
        assert_eq!(labels().await, [json!(["first"]), json!(["prod"]), Value::Null]);
        // Of the last one if none is named.
        assert_eq!(label(Value::Null, &["prod"]).await, (200, json!({"ParameterVersion": 3})));
        assert_eq!(labels().await, [json!(["first"]), Value::Null, json!(["prod"])]);
        let none = refused(&ssm, "LabelParameterVersion", json!({"Name": "/b", "Labels": ["prod"]})).await;
        assert_eq!(none, "ParameterNotFound");
        assert_eq!(label(json!(9), &["prod"]).await.0, 400);
        assert_eq!(labels().await, [json!(["first"]), Value::Null, json!(["prod"])]);
        // An older emulator left it where it was.
        repeatable::scope_again(RULES_OF_VERSIONS - 1, 1, 0, label(json!(1), &["prod"])).await;
        assert_eq!(labels().await, [json!(["first", "prod"]), Value::Null, json!(["prod"])]);
    }

    #[tokio::test]
    async fn a_parameter_is_found_by_its_arn_and_in_each_version_by_number_or_label() {
        let ssm = parameters();
        for name in ["/a/b", "plain"] {
            for value in ["one", "two"] {
                let input = json!({"Name": name, "Type": "String", "Value": value, "Overwrite": true});
                done(&ssm, "PutParameter", input).await;
            }
        }
        let label = json!({"Name": "/a/b", "ParameterVersion": 1, "Labels": ["first"]});
        done(&ssm, "LabelParameterVersion", label).await;
        let arn = "arn:aws:ssm:us-east-1:123456789012:parameter";
        for (asked, value, selector) in [
            ("/a/b", "two", Value::Null),
            ("/a/b:1", "one", json!(":1")),
            ("/a/b:first", "one", json!(":first")),
            ("ARN/a/b", "two", Value::Null),
            ("ARN/a/b:1", "one", json!(":1")),
            ("ARN/plain", "two", Value::Null),
            ("plain:2", "two", json!(":2")),
        ] {
            let asked = asked.replace("ARN", arn);
            let found = done(&ssm, "GetParameter", json!({"Name": asked})).await;
            let found = &found["Parameter"];
            assert_eq!((&found["Value"], &found["Selector"]), (&json!(value), &selector), "{asked}");
        }
        assert_eq!(
            refused(&ssm, "GetParameter", json!({"Name": "/a/b:3"})).await,
            "ParameterVersionNotFound"
        );
        let elsewhere = "arn:aws:ssm:eu-west-1:123456789012:parameter/a/b";
        assert_eq!(refused(&ssm, "GetParameter", json!({"Name": elsewhere})).await, "ParameterNotFound");
        let names = json!({"Names": ["/a/b:1", "/a/b:9", "plain"]});
        let many = done(&ssm, "GetParameters", names).await;
        let values: Vec<&Value> =
            many["Parameters"].as_array().unwrap().iter().map(|found| &found["Value"]).collect();
        assert_eq!(values, ["one", "two"]);
        assert_eq!(many["InvalidParameters"], json!(["/a/b:9"]));
    }

    #[tokio::test]
    async fn parameters_are_described_by_filters_and_on_pages() {
        let ssm = parameters();
        for (name, kind) in
            [("/a/b", "String"), ("/a/b/c", "SecureString"), ("/ab", "StringList"), ("z", "String")]
        {
            done(&ssm, "PutParameter", json!({"Name": name, "Type": kind, "Value": "x"})).await;
        }
        let ask = async |input: Value| -> Vec<String> {
            let found = done(&ssm, "DescribeParameters", input).await;
            let names = found["Parameters"].as_array().unwrap().iter();
            names.map(|one| one["Name"].as_str().unwrap().to_owned()).collect()
        };
        for (key, option, value, names) in [
            ("Name", "Equals", "/a/b", &["/a/b"][..]),
            ("Name", "BeginsWith", "/a", &["/a/b", "/a/b/c", "/ab"]),
            ("Name", "Contains", "b/", &["/a/b/c"]),
            ("Type", "Equals", "String", &["/a/b", "z"]),
            ("KeyId", "BeginsWith", "alias/", &["/a/b/c"]),
            ("Tier", "Equals", "Standard", &["/a/b", "/a/b/c", "/ab", "z"]),
            ("Path", "Recursive", "/a", &["/a/b", "/a/b/c"]),
            ("Path", "OneLevel", "/a/", &["/a/b"]),
            ("Path", "Recursive", "/", &["/a/b", "/a/b/c", "/ab"]),
        ] {
            let filter = json!([{"Key": key, "Option": option, "Values": [value]}]);
            assert_eq!(ask(json!({"ParameterFilters": filter})).await, names, "{key} {option} {value}");
        }
        let both = json!([
            {"Key": "Name", "Option": "BeginsWith", "Values": ["/a"]},
            {"Key": "Type", "Values": ["String", "StringList"]},
        ]);
        assert_eq!(ask(json!({"ParameterFilters": both})).await, ["/a/b", "/ab"]);
        assert_eq!(ask(json!({"MaxResults": 2})).await, ["/a/b", "/a/b/c"]);
        assert_eq!(ask(json!({"MaxResults": 2, "NextToken": "/a/b/c"})).await, ["/ab", "z"]);
        for (filter, code) in [
            (json!({"Key": "tag:a", "Values": ["b"]}), "InvalidFilterKey"),
            (json!({"Key": "Type", "Option": "Contains", "Values": ["S"]}), "InvalidFilterOption"),
            (json!({"Key": "Name"}), "InvalidFilterValue"),
        ] {
            let refusal = refused(&ssm, "DescribeParameters", json!({"ParameterFilters": [filter]})).await;
            assert_eq!(refusal, code);
        }
        let old = json!({"Filters": [{"Key": "Name", "Values": ["z"]}]});
        assert_eq!(refused(&ssm, "DescribeParameters", old).await, "ValidationException");
    }
}
