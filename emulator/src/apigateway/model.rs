//! The members of the management API that a caller may set.
//!
//! Absent is not zero: an unset member is `None` and is left out of every answer, so that a second plan is empty.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) type Texts = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Protocol {
    #[default]
    Http,
    WebSocket,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AuthorizationType {
    #[default]
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "JWT")]
    Jwt,
    #[serde(rename = "CUSTOM")]
    Custom,
    #[serde(rename = "AWS_IAM")]
    AwsIam,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Api {
    pub(super) name: String,
    pub(super) protocol_type: Option<Protocol>,
    pub(super) description: Option<String>,
    pub(super) version: Option<String>,
    pub(super) route_selection_expression: Option<String>,
    pub(super) api_key_selection_expression: Option<String>,
    pub(super) cors_configuration: Option<CorsConfiguration>,
    pub(super) disable_execute_api_endpoint: bool,
    pub(super) disable_schema_validation: Option<bool>,
    pub(super) ip_address_type: Option<String>,
    pub(super) tags: Texts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CorsConfiguration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allow_credentials: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) allow_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) allow_methods: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) allow_origins: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) expose_headers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_age: Option<i64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Route {
    pub(super) route_key: String,
    pub(super) target: Option<String>,
    pub(super) api_key_required: bool,
    pub(super) authorization_type: AuthorizationType,
    pub(super) authorizer_id: Option<String>,
    pub(super) authorization_scopes: Option<Vec<String>>,
    pub(super) operation_name: Option<String>,
    pub(super) model_selection_expression: Option<String>,
    pub(super) request_models: Option<Texts>,
    pub(super) request_parameters: Option<Value>,
    pub(super) route_response_selection_expression: Option<String>,
    /// Written by the gateway: made by quick create.
    pub(super) api_gateway_managed: Option<bool>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RouteResponse {
    pub(super) route_response_key: String,
    pub(super) model_selection_expression: Option<String>,
    pub(super) response_models: Option<Texts>,
    pub(super) response_parameters: Option<Value>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Integration {
    pub(super) integration_type: String,
    pub(super) integration_uri: Option<String>,
    pub(super) integration_method: Option<String>,
    pub(super) integration_subtype: Option<String>,
    pub(super) connection_type: Option<String>,
    pub(super) connection_id: Option<String>,
    pub(super) content_handling_strategy: Option<String>,
    pub(super) credentials_arn: Option<String>,
    pub(super) description: Option<String>,
    pub(super) passthrough_behavior: Option<String>,
    pub(super) payload_format_version: Option<String>,
    pub(super) request_parameters: Option<Texts>,
    pub(super) request_templates: Option<Texts>,
    /// By status.
    pub(super) response_parameters: Option<BTreeMap<String, Texts>>,
    pub(super) template_selection_expression: Option<String>,
    pub(super) timeout_in_millis: Option<u32>,
    pub(super) tls_config: Option<Value>,
    /// Written by the gateway: made by quick create.
    pub(super) api_gateway_managed: Option<bool>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct IntegrationResponse {
    pub(super) integration_response_key: String,
    pub(super) content_handling_strategy: Option<String>,
    pub(super) response_parameters: Option<Value>,
    pub(super) response_templates: Option<Texts>,
    pub(super) template_selection_expression: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Authorizer {
    pub(super) name: String,
    pub(super) authorizer_type: String,
    pub(super) authorizer_uri: Option<String>,
    pub(super) authorizer_credentials_arn: Option<String>,
    pub(super) authorizer_payload_format_version: Option<String>,
    pub(super) authorizer_result_ttl_in_seconds: Option<u32>,
    pub(super) enable_simple_responses: Option<bool>,
    pub(super) identity_source: Vec<String>,
    pub(super) identity_validation_expression: Option<String>,
    pub(super) jwt_configuration: Option<JwtConfiguration>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct JwtConfiguration {
    pub(super) audience: Vec<String>,
    pub(super) issuer: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) content_type: Option<String>,
    pub(super) description: Option<String>,
    pub(super) schema: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Deployment {
    pub(super) description: Option<String>,
    /// Written by the gateway when an `autoDeploy` stage deploys itself.
    pub(super) auto_deployed: bool,
    /// Only in a request: the stage to move to the new deployment.
    #[serde(skip_serializing)]
    pub(super) stage_name: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Stage {
    pub(super) stage_name: String,
    pub(super) auto_deploy: bool,
    pub(super) deployment_id: Option<String>,
    pub(super) description: Option<String>,
    pub(super) client_certificate_id: Option<String>,
    pub(super) default_route_settings: RouteSettings,
    pub(super) route_settings: BTreeMap<String, RouteSettings>,
    pub(super) stage_variables: Texts,
    pub(super) access_log_settings: Option<AccessLogSettings>,
    pub(super) tags: Texts,
    /// Written by the gateway: made by quick create.
    pub(super) api_gateway_managed: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RouteSettings {
    pub(super) detailed_metrics_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_trace_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logging_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) throttling_burst_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) throttling_rate_limit: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AccessLogSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<String>,
}
