//! A function's configuration, as the API takes and gives it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::exec::{Spec, last_modified, runtime_arn};

/// AWS default and range.
pub(crate) const MEMORY_DEFAULT_MB: u32 = 128;
pub(crate) const TIMEOUT_DEFAULT_SECONDS: u32 = 3;
pub(crate) const EPHEMERAL_DEFAULT_MB: u32 = 512;

/// Everything that UpdateFunctionConfiguration can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionConfig {
    pub(crate) role: String,
    pub(crate) handler: String,
    pub(crate) runtime: String,
    pub(crate) architectures: Vec<String>,
    pub(crate) description: String,
    pub(crate) environment: Option<BTreeMap<String, String>>,
    pub(crate) memory_mb: u32,
    pub(crate) timeout_seconds: u32,
    pub(crate) ephemeral_mb: u32,
    pub(crate) logging: Logging,
    pub(crate) tracing_mode: String,
    pub(crate) layers: Vec<String>,
    pub(crate) dead_letter_target: Option<String>,
    /// Shown as it was given: nothing is encrypted.
    pub(crate) kms_key_arn: Option<String>,
}

/// `LoggingConfig`, with what was not given kept apart from what is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logging {
    pub(crate) json: bool,
    pub(crate) custom_group: Option<String>,
    pub(crate) application: Option<String>,
    pub(crate) system: Option<String>,
}

impl Logging {
    pub(crate) fn group(&self, function: &str) -> String {
        self.custom_group.clone().unwrap_or_else(|| format!("/aws/lambda/{function}"))
    }

    pub(crate) fn application_level(&self) -> &str {
        self.application.as_deref().unwrap_or("INFO")
    }

    pub(crate) fn system_level(&self) -> &str {
        self.system.as_deref().unwrap_or("INFO")
    }

    fn describe(&self, function: &str) -> Value {
        let mut out = json!({
            "LogFormat": if self.json { "JSON" } else { "Text" },
            "LogGroup": self.group(function),
        });
        if self.json {
            out["ApplicationLogLevel"] = json!(self.application_level());
            out["SystemLogLevel"] = json!(self.system_level());
        }
        out
    }
}

/// The members that creation and update of a configuration share. Absent means "leave as it is" or the default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ConfigInput {
    pub(crate) role: Option<String>,
    pub(crate) handler: Option<String>,
    pub(crate) runtime: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) environment: Option<EnvironmentInput>,
    pub(crate) memory_size: Option<i64>,
    pub(crate) timeout: Option<i64>,
    pub(crate) ephemeral_storage: Option<EphemeralInput>,
    pub(crate) logging_config: Option<LoggingInput>,
    pub(crate) tracing_config: Option<TracingInput>,
    pub(crate) layers: Option<Vec<String>>,
    pub(crate) dead_letter_config: Option<DeadLetterInput>,
    #[serde(rename = "KMSKeyArn")]
    pub(crate) kms_key_arn: Option<String>,
    pub(crate) capacity_provider_config: Option<Value>,
    pub(crate) durable_config: Option<Value>,
    pub(crate) vpc_config: Option<Value>,
    pub(crate) file_system_configs: Option<Vec<Value>>,
    pub(crate) image_config: Option<Value>,
    pub(crate) snap_start: Option<Value>,
    pub(crate) revision_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EnvironmentInput {
    pub(crate) variables: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct EphemeralInput {
    pub(crate) size: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LoggingInput {
    pub(crate) log_format: Option<String>,
    pub(crate) log_group: Option<String>,
    pub(crate) application_log_level: Option<String>,
    pub(crate) system_log_level: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TracingInput {
    pub(crate) mode: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeadLetterInput {
    pub(crate) target_arn: Option<String>,
}

/// Where the package comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CodeInput {
    pub(crate) zip_file: Option<String>,
    pub(crate) s3_bucket: Option<String>,
    pub(crate) s3_key: Option<String>,
    pub(crate) s3_object_version: Option<String>,
    pub(crate) image_uri: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateInput {
    pub(crate) function_name: Option<String>,
    pub(crate) code: Option<CodeInput>,
    pub(crate) package_type: Option<String>,
    pub(crate) architectures: Option<Vec<String>>,
    pub(crate) code_signing_config_arn: Option<String>,
    pub(crate) tenancy_config: Option<Value>,
    pub(crate) publish: Option<bool>,
    pub(crate) tags: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    pub(crate) config: ConfigInput,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateCodeInput {
    #[serde(flatten)]
    pub(crate) code: CodeInput,
    pub(crate) architectures: Option<Vec<String>>,
    pub(crate) publish: Option<bool>,
    pub(crate) dry_run: Option<bool>,
    pub(crate) revision_id: Option<String>,
}

/// Where a version stands in its life, as GetFunction shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Updating,
    Ready,
}

/// The FunctionConfiguration shape, member for member as recorded.
pub(crate) fn describe(spec: &Spec, revision_id: &str, modified_ms: i64, phase: Phase) -> Value {
    let config = &spec.config;
    let mut out = json!({
        "FunctionName": spec.name,
        "FunctionArn": spec.arn,
        "Runtime": config.runtime,
        "Role": config.role,
        "Handler": config.handler,
        "CodeSize": spec.code.size,
        "CodeSha256": spec.code.sha256,
        "Description": config.description,
        "Timeout": config.timeout_seconds,
        "MemorySize": config.memory_mb,
        "LastModified": last_modified(modified_ms),
        "Version": spec.version,
        "TracingConfig": {"Mode": config.tracing_mode},
        "RevisionId": revision_id,
        "PackageType": "Zip",
        "Architectures": config.architectures,
        "EphemeralStorage": {"Size": config.ephemeral_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {"RuntimeVersionArn": runtime_arn(&spec.host.settings.region)},
        "LoggingConfig": config.logging.describe(&spec.name),
    });
    if let Some(variables) = &config.environment {
        out["Environment"] = json!({"Variables": variables});
    }
    if !config.layers.is_empty() {
        // The emulator does not hold the layers, so it knows no size; AWS never shows 0.
        out["Layers"] = config.layers.iter().map(|arn| json!({"Arn": arn, "CodeSize": 1})).collect();
    }
    if let Some(arn) = &config.dead_letter_target {
        out["DeadLetterConfig"] = json!({"TargetArn": arn});
    }
    if let Some(arn) = &config.kms_key_arn {
        out["KMSKeyArn"] = json!(arn);
    }
    state(&mut out, phase);
    out
}

fn state(out: &mut Value, phase: Phase) {
    let being_created = "The function is being created.";
    match phase {
        Phase::Pending => {
            out["State"] = json!("Pending");
            out["StateReason"] = json!(being_created);
            out["StateReasonCode"] = json!("Creating");
        }
        Phase::Updating => {
            out["State"] = json!("Active");
            out["LastUpdateStatus"] = json!("InProgress");
            out["LastUpdateStatusReason"] = json!(being_created);
            out["LastUpdateStatusReasonCode"] = json!("Creating");
        }
        Phase::Ready => {
            out["State"] = json!("Active");
            out["LastUpdateStatus"] = json!("Successful");
        }
    }
}
