//! Create, get, list, update and delete mappings, and their tags (restJson1).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Inner;
use super::error::EsmError;
use super::filter::Filter;
use super::mapping::{Change, Config, Mapping};
use super::permission;
use super::poller::Runner;
use crate::lambda::FunctionRef;
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, not_emulated};

const MAPPINGS: &str = "/2015-03-31/event-source-mappings";
const TAGS: &str = "/2017-03-31/tags/";
/// The beginning of the ARN of a queue, the only kind of event source here.
const QUEUES: &str = "arn:aws:sqs:";
const BATCH_SIZE_DEFAULT: i64 = 10;
/// AWS quota for standard queues.
const BATCH_SIZE: RangeInclusive<i64> = 1..=10_000;
/// The first rules by which a function is told from its qualifier as Lambda's other calls do.
pub(super) const RULES_OF_NAMES: u32 = 4;
/// Above this, a window is required.
const BATCH_SIZE_WITHOUT_WINDOW_MAX: i64 = 10;
const WINDOW_SECONDS: RangeInclusive<i64> = 0..=300;
const CONCURRENCY: RangeInclusive<i64> = 2..=1_000;
/// AWS quota. An account can have it raised to 10; this one has not.
const FILTERS_MAX: usize = 5;
const LIST_MAX: i64 = 100;
/// Members that AWS has and this emulator does not act on: refused, so that nothing is silently ignored.
const REFUSED: [&str; 13] = [
    "AmazonManagedKafkaEventSourceConfig",
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "DocumentDBEventSourceConfig",
    "KMSKeyArn",
    "MetricsConfig",
    "ParallelizationFactor",
    "ProvisionedPollerConfig",
    "SelfManagedEventSource",
    "SelfManagedKafkaEventSourceConfig",
    "SourceAccessConfigurations",
    "StartingPosition",
    "TumblingWindowInSeconds",
];

type Answer = Result<(StatusCode, Value), EsmError>;

/// The members that may be given; the same for creating and updating.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    event_source_arn: Option<String>,
    function_name: Option<String>,
    enabled: Option<bool>,
    batch_size: Option<i64>,
    maximum_batching_window_in_seconds: Option<i64>,
    function_response_types: Option<Vec<String>>,
    scaling_config: Option<ScalingInput>,
    filter_criteria: Option<FilterInput>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ScalingInput {
    maximum_concurrency: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FilterInput {
    filters: Option<Vec<PatternInput>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PatternInput {
    pattern: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TagsInput {
    tags: BTreeMap<String, String>,
}

/// Routes by method and path.
#[must_use]
pub fn answer(inner: &Arc<Inner>, request: &AwsRequest) -> AwsResponse {
    let answer = if let Some(arn) = request.path.strip_prefix(TAGS) {
        tags(inner, request, &decode(arn))
    } else {
        let uuid = request.path.strip_prefix(MAPPINGS).map(|rest| decode(rest.trim_matches('/')));
        match (&request.method, uuid.as_deref()) {
            (&Method::POST, Some("")) => create(inner, &request.body),
            (&Method::GET, Some("")) => list(inner, &request.query),
            (&Method::GET, Some(uuid)) => get(inner, uuid),
            (&Method::PUT, Some(uuid)) if !uuid.is_empty() => update(inner, uuid, &request.body),
            (&Method::DELETE, Some(uuid)) if !uuid.is_empty() => delete(inner, uuid),
            _ => Err(EsmError::UnknownOperation),
        }
    };
    match answer {
        Ok((status, Value::Null)) => AwsResponse::new(status, "application/json", ""),
        Ok((status, body)) => AwsResponse::new(status, "application/json", body.to_string()),
        Err(error) => error.response(),
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, EsmError> {
    serde_json::from_slice(body).map_err(|error| EsmError::Content(error.to_string()))
}

fn parse_input(body: &[u8]) -> Result<Input, EsmError> {
    let members: BTreeMap<String, Value> = parse(body)?;
    let source = members.get("EventSourceArn").and_then(Value::as_str);
    if let Some(source) = source.filter(|arn| arn.starts_with("arn:") && !arn.starts_with(QUEUES)) {
        return Err(EsmError::InvalidParameter(not_emulated(&format!("The event source {source}"))));
    }
    let given = |name: &&&str| members.get(**name).is_some_and(|value| !is_empty(value));
    if let Some(refused) = REFUSED.iter().find(given) {
        let message = format!("{refused} is not part of this emulator for Amazon SQS event sources.");
        return Err(EsmError::InvalidParameter(message));
    }
    parse(body)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn create(inner: &Arc<Inner>, body: &[u8]) -> Answer {
    let mut input = parse_input(body)?;
    input.batch_size.get_or_insert(BATCH_SIZE_DEFAULT);
    let required = |value: &Option<String>, name: &str| {
        value.clone().ok_or_else(|| EsmError::InvalidParameter(format!("{name} is required.")))
    };
    let now_ms = inner.settings.clock.now_ms();
    let mut config = Config {
        uuid: inner.queues.new_id().to_string(),
        queue_arn: required(&input.event_source_arn, "EventSourceArn")?,
        function_arn: known_function_arn(inner, &required(&input.function_name, "FunctionName")?)?,
        enabled: true,
        batch_size: 0,
        window_seconds: 0,
        reports_failures: false,
        concurrency_max: None,
        filters: Vec::new(),
    };
    apply(&mut config, &input)?;
    check_peers(inner, &config)?;
    let mut mappings = inner.lock();
    check_unique(mappings.values(), &config)?;
    let mut mapping = Mapping::new(config, input.tags.unwrap_or_default(), now_ms);
    start_if_enabled(inner, &mut mapping);
    let shown = mapping.show(&arn(inner, &mapping.config.uuid), now_ms);
    mappings.insert(mapping.config.uuid.clone(), mapping);
    Ok((StatusCode::ACCEPTED, shown))
}

/// Takes over the members that are given.
fn apply(config: &mut Config, input: &Input) -> Result<(), EsmError> {
    if let Some(enabled) = input.enabled {
        config.enabled = enabled;
    }
    if let Some(size) = input.batch_size {
        config.batch_size = within(size, "batchSize", &BATCH_SIZE)?;
    }
    if let Some(seconds) = input.maximum_batching_window_in_seconds {
        within(seconds, "maximumBatchingWindowInSeconds", &WINDOW_SECONDS)?;
        config.window_seconds = seconds;
    }
    if i64::try_from(config.batch_size).unwrap_or(i64::MAX) > BATCH_SIZE_WITHOUT_WINDOW_MAX
        && config.window_seconds == 0
    {
        return Err(EsmError::InvalidParameter(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
                .to_owned(),
        ));
    }
    if let Some(types) = &input.function_response_types {
        config.reports_failures = reports_failures(types)?;
    }
    if let Some(scaling) = &input.scaling_config {
        let range = "scalingConfig.maximumConcurrency";
        let max = scaling.maximum_concurrency.map(|max| within(max, range, &CONCURRENCY));
        config.concurrency_max = max.transpose()?;
    }
    if let Some(criteria) = &input.filter_criteria {
        config.filters = filters(criteria)?;
    }
    Ok(())
}

fn within(value: i64, member: &str, range: &RangeInclusive<i64>) -> Result<usize, EsmError> {
    let number = usize::try_from(value).ok().filter(|_| range.contains(&value));
    number.ok_or_else(|| EsmError::constraint(value, member, range))
}

fn reports_failures(types: &[String]) -> Result<bool, EsmError> {
    match types {
        [] => Ok(false),
        [one] if one == "ReportBatchItemFailures" => Ok(true),
        other => Err(EsmError::Validation(format!(
            "Value '[{}]' at 'functionResponseTypes' failed to satisfy constraint: Member must satisfy constraint: [Member \
             must satisfy enum value set: [ReportBatchItemFailures]]",
            other.join(", ")
        ))),
    }
}

fn filters(criteria: &FilterInput) -> Result<Vec<Filter>, EsmError> {
    let given = criteria.filters.as_deref().unwrap_or_default();
    if given.len() > FILTERS_MAX {
        let message = format!("You can have at most {FILTERS_MAX} filters for an event source mapping.");
        return Err(EsmError::InvalidParameter(message));
    }
    let parse = |one: &PatternInput| Filter::parse(one.pattern.as_deref().unwrap_or_default());
    let parsed: Result<_, _> = given.iter().map(parse).collect();
    parsed.map_err(|error| EsmError::InvalidParameter(error.to_string()))
}

/// Queue and function must exist and fit each other. AWS checks this here only, not when either is changed later.
fn check_peers(inner: &Inner, config: &Config) -> Result<(), EsmError> {
    if !config.queue_arn.starts_with(QUEUES) {
        return Err(EsmError::InvalidParameter("Unrecognized event source.".to_owned()));
    }
    let queue = inner.queues.by_arn(&config.queue_arn).ok_or_else(|| {
        EsmError::InvalidParameter(
            "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error \
             Message: The specified queue does not exist."
                .to_owned(),
        )
    })?;
    let timeout_seconds = inner.functions.timeout_seconds(&config.function_arn).ok_or_else(no_function)?;
    permission::check_all(inner, &config.function_arn, &config.queue_arn)?;
    let visibility_seconds = queue.attributes().visibility_seconds;
    if visibility_seconds < i64::from(timeout_seconds) {
        return Err(EsmError::InvalidParameter(format!(
            "Queue visibility timeout: {visibility_seconds} seconds is less than Function timeout: {timeout_seconds} seconds"
        )));
    }
    Ok(())
}

fn check_unique<'a>(mut others: impl Iterator<Item = &'a Mapping>, config: &Config) -> Result<(), EsmError> {
    let same = |other: &&Mapping| {
        let other = &other.config;
        other.uuid != config.uuid
            && other.queue_arn == config.queue_arn
            && other.function_arn == config.function_arn
    };
    let Some(other) = others.find(same) else { return Ok(()) };
    let function = config.function_arn.rsplit(":function:").next().unwrap_or_default();
    Err(EsmError::Conflict(format!(
        "An event source mapping with SQS arn (\" {} \") and function (\" {function} \") already exists. Please update or \
         delete the existing mapping with UUID {}",
        config.queue_arn, other.config.uuid
    )))
}

fn no_function() -> EsmError {
    EsmError::InvalidParameter("Function does not exist".to_owned())
}

/// The full ARN for a name, a partial or a full ARN, qualified or not. None of what names no function.
fn function_arn(inner: &Inner, reference: &str) -> Option<String> {
    let tail = if repeatable::is_older_than(RULES_OF_NAMES) {
        reference.split_once("function:").map_or(reference, |(_, tail)| tail).to_owned()
    } else {
        let FunctionRef { name, qualifier } = FunctionRef::parse(reference)?;
        qualifier.map_or(name.clone(), |qualifier| format!("{name}:{qualifier}"))
    };
    let settings = &inner.settings;
    Some(format!("arn:aws:lambda:{}:{}:function:{tail}", settings.region, settings.account_id))
}

/// Of a function that is there.
fn known_function_arn(inner: &Inner, reference: &str) -> Result<String, EsmError> {
    let is_there = |arn: &String| inner.functions.timeout_seconds(arn).is_some();
    function_arn(inner, reference).filter(is_there).ok_or_else(no_function)
}

fn arn(inner: &Inner, uuid: &str) -> String {
    let settings = &inner.settings;
    format!("arn:aws:lambda:{}:{}:event-source-mapping:{uuid}", settings.region, settings.account_id)
}

fn start_if_enabled(inner: &Arc<Inner>, mapping: &mut Mapping) {
    if mapping.config.enabled {
        let (config, start_ms) = (mapping.config.clone(), mapping.settled_at_ms());
        mapping.run(Runner::start(Arc::clone(inner), config, start_ms));
    }
}

fn get(inner: &Inner, uuid: &str) -> Answer {
    let mappings = inner.lock();
    let mapping = mappings.get(uuid).ok_or(EsmError::NotFound)?;
    Ok((StatusCode::OK, mapping.show(&arn(inner, uuid), inner.settings.clock.now_ms())))
}

fn list(inner: &Inner, query: &str) -> Answer {
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decode(value)).next()
    };
    let queue = parameter("EventSourceArn");
    let wanted = |name: String| function_arn(inner, &name).ok_or_else(no_function);
    let function = parameter("FunctionName").map(wanted).transpose()?;
    let after = parameter("Marker").unwrap_or_default();
    let page = match parameter("MaxItems").map(|text| text.parse::<i64>()) {
        None => LIST_MAX,
        Some(Ok(max)) if max >= 1 => max.min(LIST_MAX),
        Some(_) => return Err(EsmError::InvalidParameter("MaxItems must be a positive number.".to_owned())),
    };
    let page = usize::try_from(page).unwrap_or(usize::MAX);
    let now_ms = inner.settings.clock.now_ms();
    let mappings = inner.lock();
    let mut shown: Vec<(&String, Value)> = mappings
        .iter()
        .filter(|(uuid, mapping)| {
            **uuid > after
                && queue.as_ref().is_none_or(|queue| *queue == mapping.config.queue_arn)
                && function.as_ref().is_none_or(|function| *function == mapping.config.function_arn)
        })
        .take(page + 1)
        .map(|(uuid, mapping)| (uuid, mapping.show(&arn(inner, uuid), now_ms)))
        .collect();
    let more = shown.len() > page;
    shown.truncate(page);
    let marker = shown.last().filter(|_| more).map(|(uuid, _)| (*uuid).clone());
    let mut body =
        json!({ "EventSourceMappings": shown.into_iter().map(|(_, one)| one).collect::<Vec<_>>() });
    if let Some(marker) = marker {
        body["NextMarker"] = Value::from(marker);
    }
    Ok((StatusCode::OK, body))
}

fn update(inner: &Arc<Inner>, uuid: &str, body: &[u8]) -> Answer {
    let input = parse_input(body)?;
    let now_ms = inner.settings.clock.now_ms();
    let mut mappings = inner.lock();
    let current = mappings.get(uuid).ok_or(EsmError::NotFound)?;
    if current.is_changing(now_ms) {
        return Err(EsmError::InUse);
    }
    let mut config = current.config.clone();
    let was_enabled = config.enabled;
    if let Some(name) = &input.function_name {
        config.function_arn = known_function_arn(inner, name)?;
    }
    apply(&mut config, &input)?;
    check_peers(inner, &config)?;
    check_unique(mappings.values(), &config)?;
    let change = match (was_enabled, config.enabled) {
        (false, true) => Change::Enabling,
        (true, false) => Change::Disabling,
        _ => Change::Updating,
    };
    let mapping = mappings.get_mut(uuid).ok_or(EsmError::NotFound)?;
    mapping.config = config;
    mapping.begin(change, now_ms);
    start_if_enabled(inner, mapping);
    Ok((StatusCode::ACCEPTED, mapping.show(&arn(inner, uuid), now_ms)))
}

fn delete(inner: &Inner, uuid: &str) -> Answer {
    let now_ms = inner.settings.clock.now_ms();
    let mut mappings = inner.lock();
    let mapping = mappings.get_mut(uuid).ok_or(EsmError::NotFound)?;
    if mapping.is_changing(now_ms) {
        return Err(EsmError::InUse);
    }
    mapping.begin(Change::Deleting, now_ms);
    Ok((StatusCode::ACCEPTED, mapping.show(&arn(inner, uuid), now_ms)))
}

fn tags(inner: &Inner, request: &AwsRequest, arn: &str) -> Answer {
    let uuid = arn.rsplit(':').next().unwrap_or_default();
    let mut mappings = inner.lock();
    let mapping = mappings.get_mut(uuid).ok_or(EsmError::NotFound)?;
    match request.method {
        Method::GET => Ok((StatusCode::OK, json!({ "Tags": mapping.tags }))),
        Method::POST => {
            mapping.tags.extend(parse::<TagsInput>(&request.body)?.tags);
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        Method::DELETE => {
            let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
            let keys: Vec<String> =
                pairs.filter(|(name, _)| *name == "tagKeys").map(|(_, value)| decode(value)).collect();
            mapping.tags.retain(|key, _| !keys.contains(key));
            Ok((StatusCode::NO_CONTENT, Value::Null))
        }
        _ => Err(EsmError::UnknownOperation),
    }
}
