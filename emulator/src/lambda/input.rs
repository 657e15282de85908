//! Checks what a caller wants a function to be.

use std::collections::BTreeMap;

use super::error::LambdaError;
use super::is_older_call;
use super::model::{
    ConfigInput, CreateInput, DeadLetterInput, EPHEMERAL_DEFAULT_MB, FunctionConfig, Logging, LoggingInput,
    MEMORY_DEFAULT_MB, TIMEOUT_DEFAULT_SECONDS,
};
use crate::wire::not_emulated;

/// AWS quota: all names and values together.
const ENVIRONMENT_MAX_BYTES: usize = 4_096;
/// AWS quota.
const LAYERS_MAX: usize = 5;
/// The OS-only runtimes: there is no other runtime here to run.
const RUNTIMES: &[&str] = &["provided.al2", "provided.al2023"];
/// Lambda sets these itself.
const RESERVED_KEYS: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];
const ROLE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";

/// A new function's configuration: what is not given takes its default.
pub(crate) fn created(
    input: &ConfigInput,
    architectures: Option<&[String]>,
) -> Result<FunctionConfig, LambdaError> {
    let role = input
        .role
        .clone()
        .ok_or_else(|| LambdaError::validation("null", "role", "Member must not be null"))?;
    let runtime = input.runtime.clone().ok_or_else(|| {
        LambdaError::invalid_parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        )
    })?;
    let handler = input.handler.clone().ok_or_else(|| {
        LambdaError::invalid_parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        )
    })?;
    let base = FunctionConfig {
        role,
        handler,
        runtime,
        architectures: checked_architectures(architectures)?,
        description: String::new(),
        environment: None,
        memory_mb: MEMORY_DEFAULT_MB,
        timeout_seconds: TIMEOUT_DEFAULT_SECONDS,
        ephemeral_mb: EPHEMERAL_DEFAULT_MB,
        logging: Logging::default(),
        tracing_mode: "PassThrough".into(),
        layers: Vec::new(),
        dead_letter_target: None,
        kms_key_arn: None,
    };
    updated(base, input)
}

/// `base` with the given members changed.
pub(crate) fn updated(mut base: FunctionConfig, input: &ConfigInput) -> Result<FunctionConfig, LambdaError> {
    refuse_unsupported(input)?;
    base.role = input.role.clone().unwrap_or(base.role);
    base.handler = input.handler.clone().unwrap_or(base.handler);
    base.runtime = input.runtime.clone().unwrap_or(base.runtime);
    base.description = input.description.clone().unwrap_or(base.description);
    check_role(&base.role)?;
    if !RUNTIMES.contains(&base.runtime.as_str()) {
        let constraint = format!("Member must satisfy enum value set: [{}]", RUNTIMES.join(", "));
        return Err(LambdaError::validation(&base.runtime, "runtime", &constraint));
    }
    if let Some(size) = input.memory_size {
        base.memory_mb = in_range(size, "memorySize", 128, 10_240)?;
    }
    if let Some(timeout) = input.timeout {
        base.timeout_seconds = in_range(timeout, "timeout", 1, 900)?;
    }
    if let Some(storage) = &input.ephemeral_storage {
        base.ephemeral_mb = in_range(storage.size, "ephemeralStorage.size", 512, 10_240)?;
    }
    if let Some(environment) = &input.environment {
        base.environment = checked_environment(environment.variables.clone().unwrap_or_default())?;
    }
    if let Some(logging) = &input.logging_config {
        base.logging = checked_logging(logging)?;
    }
    if let Some(mode) = input.tracing_config.as_ref().and_then(|tracing| tracing.mode.clone()) {
        one_of(&mode, "tracingConfig.mode", &["Active", "PassThrough"])?;
        base.tracing_mode = mode;
    }
    if let Some(layers) = &input.layers {
        base.layers = checked_layers(layers)?;
    }
    if let Some(dead_letter) = &input.dead_letter_config {
        base.dead_letter_target = checked_dead_letters(dead_letter)?;
    }
    if let Some(arn) = &input.kms_key_arn {
        base.kms_key_arn = Some(arn.clone()).filter(|arn| !arn.is_empty());
    }
    Ok(base)
}

/// What only a new function can be given.
pub(crate) fn refuse_unsupported_creation(input: &CreateInput) -> Result<(), LambdaError> {
    if input.package_type.as_deref().is_some_and(|kind| kind != "Zip") {
        return Err(LambdaError::invalid_parameter("Container images are not supported by the emulator."));
    }
    if is_older_call() {
        return Ok(());
    }
    if input.code_signing_config_arn.as_ref().is_some_and(|arn| !arn.is_empty()) {
        return unsupported("CodeSigningConfigArn");
    }
    if input.tenancy_config.is_some() {
        return unsupported("TenancyConfig");
    }
    Ok(())
}

fn unsupported(what: &str) -> Result<(), LambdaError> {
    Err(LambdaError::invalid_parameter(format!("{what} is not supported by the emulator.")))
}

/// What would change how a function runs and is not built is refused, not dropped.
fn refuse_unsupported(input: &ConfigInput) -> Result<(), LambdaError> {
    let in_vpc = |vpc: &serde_json::Value| {
        ["SubnetIds", "SecurityGroupIds"]
            .iter()
            .any(|key| vpc[*key].as_array().is_some_and(|ids| !ids.is_empty()))
    };
    if input.vpc_config.as_ref().is_some_and(in_vpc) {
        return unsupported("VpcConfig");
    }
    if input.file_system_configs.as_ref().is_some_and(|all| !all.is_empty()) {
        return unsupported("FileSystemConfigs");
    }
    if input
        .image_config
        .as_ref()
        .is_some_and(|image| image.as_object().is_some_and(|image| !image.is_empty()))
    {
        return unsupported("ImageConfig");
    }
    if input.snap_start.as_ref().is_some_and(|snap| snap["ApplyOn"] == "PublishedVersions") {
        return unsupported("SnapStart");
    }
    if is_older_call() {
        return Ok(());
    }
    if input.capacity_provider_config.is_some() {
        return unsupported("CapacityProviderConfig");
    }
    if input.durable_config.is_some() {
        return unsupported("DurableConfig");
    }
    Ok(())
}

/// Queues are what there is here.
fn checked_dead_letters(input: &DeadLetterInput) -> Result<Option<String>, LambdaError> {
    let Some(arn) = input.target_arn.clone().filter(|arn| !arn.is_empty()) else { return Ok(None) };
    if arn.split(':').nth(2) == Some("sqs") || is_older_call() {
        return Ok(Some(arn));
    }
    Err(LambdaError::invalid_parameter(not_emulated(&format!("The dead-letter target {arn}"))))
}

fn check_role(role: &str) -> Result<(), LambdaError> {
    let valid = match role.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "iam", "", account, path] => {
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && path.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        }
        _ => false,
    };
    if valid {
        return Ok(());
    }
    let constraint = format!("Member must satisfy regular expression pattern: {ROLE_PATTERN}");
    Err(LambdaError::validation(role, "role", &constraint))
}

pub(crate) fn in_range(value: i64, member: &str, low: u32, high: u32) -> Result<u32, LambdaError> {
    let constraint = if value < i64::from(low) {
        format!("Member must have value greater than or equal to {low}")
    } else {
        format!("Member must have value less than or equal to {high}")
    };
    u32::try_from(value)
        .ok()
        .filter(|value| (low..=high).contains(value))
        .ok_or_else(|| LambdaError::validation(&value.to_string(), member, &constraint))
}

pub(super) fn one_of(value: &str, member: &str, allowed: &[&str]) -> Result<(), LambdaError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let constraint = format!("Member must satisfy enum value set: [{}]", allowed.join(", "));
    Err(LambdaError::validation(value, member, &constraint))
}

/// An empty map that was sent is shown; one that was not sent is absent.
fn checked_environment(
    variables: BTreeMap<String, String>,
) -> Result<Option<BTreeMap<String, String>>, LambdaError> {
    let unable = "Lambda was unable to configure your environment variables because the environment variables you have provided";
    let reserved: Vec<&str> =
        variables.keys().map(String::as_str).filter(|key| RESERVED_KEYS.contains(key)).collect();
    if !reserved.is_empty() {
        return Err(LambdaError::invalid_parameter(format!(
            "{unable} contains reserved keys that are currently not supported for modification. \
             Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    for key in variables.keys() {
        let starts = key.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if !starts || key.len() < 2 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let constraint = "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]";
            return Err(LambdaError::validation(key, "environment.variables", constraint));
        }
    }
    let measured = serde_json::to_string(&variables).unwrap_or_default();
    if measured.len() > ENVIRONMENT_MAX_BYTES {
        return Err(LambdaError::invalid_parameter(format!(
            "{unable} exceeded the 4KB limit. String measured: {measured}"
        )));
    }
    Ok(Some(variables))
}

fn checked_logging(input: &LoggingInput) -> Result<Logging, LambdaError> {
    let format = input.log_format.as_deref().unwrap_or("Text");
    one_of(format, "loggingConfig.logFormat", &["JSON", "Text"])?;
    let json = format == "JSON";
    let given = |level: &Option<String>| level.clone().filter(|level| !level.is_empty());
    let (application, system) = (given(&input.application_log_level), given(&input.system_log_level));
    if !json && (application.is_some() || system.is_some()) {
        return Err(LambdaError::invalid_parameter(
            "To use ApplicationLogLevel or SystemLogLevel, you must set LogFormat to JSON.",
        ));
    }
    if let Some(level) = &application {
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
        one_of(level, "loggingConfig.applicationLogLevel", &levels)?;
    }
    if let Some(level) = &system {
        one_of(level, "loggingConfig.systemLogLevel", &["DEBUG", "INFO", "WARN"])?;
    }
    Ok(Logging { json, custom_group: given(&input.log_group), application, system })
}

fn checked_layers(layers: &[String]) -> Result<Vec<String>, LambdaError> {
    if layers.len() > LAYERS_MAX {
        return Err(LambdaError::invalid_parameter(format!("Layers should not exceed {LAYERS_MAX}.")));
    }
    for arn in layers {
        if !matches!(arn.split(':').collect::<Vec<_>>().as_slice(), ["arn", _, "lambda", _, _, "layer", _, _])
        {
            let constraint = "Member must satisfy regular expression pattern: arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+";
            return Err(LambdaError::validation(arn, "layers", constraint));
        }
    }
    Ok(layers.to_vec())
}

pub(crate) fn checked_architectures(given: Option<&[String]>) -> Result<Vec<String>, LambdaError> {
    match given {
        None | Some([]) => Ok(vec!["x86_64".into()]),
        Some([one]) => {
            one_of(one, "architectures", &["x86_64", "arm64"])?;
            Ok(vec![one.clone()])
        }
        Some(_) => Err(LambdaError::validation(
            "architectures",
            "architectures",
            "Member must have length less than or equal to 1",
        )),
    }
}
