//! The rules of each kind of resource: what AWS fills in, what it refuses.

use serde_json::{Map, Value};

use super::error::{ApiError, bad};
use super::identity::IdentitySource;
use super::jwt;
use super::mapping::{self, RequestMapping, ResponseMapping};
use super::model::{
    Api, AuthorizationType, Authorizer, CorsConfiguration, Deployment, Integration, IntegrationResponse,
    Model, Protocol, Route, RouteResponse, RouteSettings, Stage,
};
use super::record::{ApiRecord, Collection, Document, Stored};
use super::router::RouteKey;
use super::target::lambda_function;
use super::{RULES_OF_GUARDS, access_log, is_older_call};
use crate::clock::iso8601;
use crate::logs::group_in_arn;
use crate::repeatable;

/// Quotas per API (API Gateway quotas for HTTP and WebSocket APIs).
const ROUTES_MAX: usize = 300;
const INTEGRATIONS_MAX: usize = 300;
const STAGES_MAX: usize = 10;
const AUTHORIZERS_MAX: usize = 10;
/// Of each authorizer, route and stage (the same page; those of variables are of HTTP APIs only).
const AUDIENCES_MAX: usize = 50;
const SCOPES_MAX: usize = 10;
const STAGE_VARIABLES_MAX: usize = 100;
/// "Length, in characters, of the key" and "of the value in a stage variable".
const VARIABLE_KEY_CHARS_MAX: usize = 64;
const VARIABLE_VALUE_CHARS_MAX: usize = 512;
/// "Stage names can contain only alphanumeric characters, hyphens, and underscores, or be $default. Maximum length is 128
/// characters."
const STAGE_NAME_CHARS_MAX: usize = 128;
/// Only an HTTP API has it.
const DEFAULT_STAGE: &str = "$default";
/// "Access log template size: 3 KB".
const LOG_FORMAT_BYTES_MAX: usize = 3 * 1_024;
/// AWS states no number for these: a bound that no configuration by hand reaches.
const OTHERS_MAX: usize = 1_000;

/// An integration may take 50 ms to 30 s behind an HTTP API, to 29 s behind a WebSocket API.
const INTEGRATION_TIMEOUT_MS_MIN: u32 = 50;
const HTTP_INTEGRATION_TIMEOUT_MS_MAX: u32 = 30_000;
const WEBSOCKET_INTEGRATION_TIMEOUT_MS_MAX: u32 = 29_000;

/// "The maximum value is 3600, or 1 hour"; 300 when a REQUEST authorizer of an HTTP API does not say.
const AUTHORIZER_TTL_SECONDS_MAX: u32 = 3_600;
const AUTHORIZER_TTL_SECONDS_DEFAULT: u32 = 300;

fn required(value: &str, member: &str) -> Result<(), ApiError> {
    if value.is_empty() { bad(format!("{member} is a required parameter")) } else { Ok(()) }
}

/// A quota. What was accepted before it was asked for here is accepted again, and may stay as large as it is.
fn at_most(max: usize, before: usize, count: usize, what: &str) -> Result<(), ApiError> {
    if count <= max.max(before) || repeatable::is_repeated() {
        return Ok(());
    }
    bad(format!("The maximum number of {what} is {max}"))
}

/// What is changed; None of what is made.
fn stored<'a, D>(all: &'a Collection<D>, id: Option<&str>) -> Option<&'a D> {
    all.get(id?).map(|stored| &stored.settings)
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

fn is_of(text: &str, symbols: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || symbols.contains(&byte))
}

fn is_stage_name(name: &str, protocol: Protocol) -> bool {
    let is_plain = name.len() <= STAGE_NAME_CHARS_MAX && is_of(name, b"-_");
    is_plain || (protocol == Protocol::Http && name == DEFAULT_STAGE)
}

/// "The variable names can have alphanumeric and underscore characters".
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && is_of(name, b"_")
}

/// "The values must match [A-Za-z0-9-._~:/?#&=,]+."
fn is_variable_value(value: &str) -> bool {
    !value.is_empty() && is_of(value, b"-._~:/?#&=,")
}

impl Api {
    pub(super) fn settle(&mut self) -> Result<(), ApiError> {
        required(&self.name, "name")?;
        let Some(protocol) = self.protocol_type else { return bad("protocolType must be HTTP or WEBSOCKET") };
        let selection = self.route_selection_expression.get_or_insert_default();
        match protocol {
            Protocol::Http if selection.is_empty() => "$request.method $request.path".clone_into(selection),
            Protocol::Http if selection != "$request.method $request.path" => {
                return bad("routeSelectionExpression of an HTTP API must be $request.method $request.path");
            }
            Protocol::WebSocket if selection.is_empty() => {
                return bad("routeSelectionExpression is required for a WebSocket API");
            }
            Protocol::WebSocket if !selection.starts_with("$request.body.") => {
                return bad(
                    "only route selection expressions of the form $request.body.x are supported here",
                );
            }
            Protocol::Http | Protocol::WebSocket => {}
        }
        if protocol == Protocol::WebSocket && self.cors_configuration.is_some() {
            return bad("CORS configuration is supported only for HTTP APIs");
        }
        // Terraform takes CORS away by setting it to nothing.
        self.cors_configuration.take_if(|cors| *cors == CorsConfiguration::default());
        self.check_cors()?;
        self.api_key_selection_expression.get_or_insert_with(|| "$request.header.x-api-key".to_owned());
        self.ip_address_type.get_or_insert_with(|| "ipv4".to_owned());
        Ok(())
    }

    fn check_cors(&self) -> Result<(), ApiError> {
        let Some(cors) = &self.cors_configuration else { return Ok(()) };
        if cors.allow_credentials == Some(true) && cors.allow_origins.iter().any(|origin| origin == "*") {
            return bad("allowCredentials is not supported for origin *");
        }
        Ok(())
    }
}

impl Document for Route {
    const KIND: &'static str = "Route";
    const ID_MEMBER: Option<&'static str> = Some("routeId");
    const SERVED: bool = true;
    const MERGED_MEMBERS: &'static [&'static str] = &["requestParameters", "requestModels"];
    const COUNT_MAX: usize = ROUTES_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, _parent: &str) -> &'a mut Collection<Self> {
        &mut api.routes
    }

    fn settle(&mut self, api: &ApiRecord, id: Option<&str>) -> Result<(), ApiError> {
        required(&self.route_key, "routeKey")?;
        if api.protocol() == Protocol::Http && RouteKey::parse(&self.route_key).is_none() {
            return bad(format!(
                "The provided route key is not formatted properly for HTTP protocol: {}",
                self.route_key
            ));
        }
        let taken = api
            .routes
            .iter()
            .any(|(other, route)| Some(other.as_str()) != id && route.settings.route_key == self.route_key);
        if taken {
            return Err(ApiError::Conflict(format!(
                "Route with key {} already exists for this API",
                self.route_key
            )));
        }
        // There are no keys to ask for: refused rather than ignored.
        if std::mem::take(&mut self.api_key_required) && !is_older_call() {
            return bad("API keys (apiKeyRequired) are not supported here");
        }
        // Messages would have to be judged by it: refused rather than ignored.
        if self.model_selection_expression.as_ref().is_some_and(|expression| !expression.is_empty()) {
            return bad("models of messages (modelSelectionExpression) are not supported here");
        }
        self.settle_guard(stored(&api.routes, id))?;
        self.check_target(api)?;
        self.check_authorization(api)
    }

    /// Another authorizer comes with the type that it is for, even if that stays.
    fn before_change(&self, changes: &Map<String, Value>) -> Result<(), ApiError> {
        let said = |member: &str| changes.get(member).filter(|value| !value.is_null());
        let is_another = said("authorizerId").is_some_and(|id| id.as_str() != self.asked_authorizer());
        let is_alone = is_another && said("authorizationType").is_none();
        if is_alone && self.asked_authorizer().is_some() && !repeatable::is_repeated() {
            return bad("Unable to update route. Authorizer type is invalid or null.");
        }
        Ok(())
    }
}

impl Route {
    /// The authorizer that has to let a request in.
    pub(super) fn asked_authorizer(&self) -> Option<&str> {
        match self.authorization_type {
            AuthorizationType::Jwt | AuthorizationType::Custom => self.authorizer_id.as_deref(),
            AuthorizationType::None | AuthorizationType::AwsIam => None,
        }
    }

    /// Another authorization takes the authorizer away, whether a change says so or not. Calls that were made after an older
    /// one may count on what that one left.
    fn settle_guard(&mut self, before: Option<&Self>) -> Result<(), ApiError> {
        if self.asked_authorizer().is_none() && !repeatable::is_older_than(RULES_OF_GUARDS) {
            self.authorizer_id = None;
            self.authorization_scopes = None;
        }
        at_most(SCOPES_MAX, before.map_or(0, Self::scopes), self.scopes(), "scopes of a route")
    }

    fn scopes(&self) -> usize {
        self.authorization_scopes.as_ref().map_or(0, Vec::len)
    }

    fn check_target(&self, api: &ApiRecord) -> Result<(), ApiError> {
        let Some(target) = &self.target else { return Ok(()) };
        match target.strip_prefix("integrations/") {
            Some(id) if api.integrations.contains_key(id) => Ok(()),
            Some(id) => Err(ApiError::missing("Integration", id)),
            None => bad(format!("Invalid target: {target}")),
        }
    }

    fn check_authorization(&self, api: &ApiRecord) -> Result<(), ApiError> {
        if self.authorization_type == AuthorizationType::None {
            return Ok(());
        }
        if api.protocol() == Protocol::WebSocket && self.route_key != "$connect" {
            return bad("Currently, authorization is restricted to the $connect route only");
        }
        if self.authorization_type == AuthorizationType::AwsIam {
            return Ok(());
        }
        let Some(id) = &self.authorizer_id else {
            return bad("authorizerId is required for this authorization type");
        };
        let Some(authorizer) = api.authorizers.get(id) else {
            return Err(ApiError::missing("Authorizer", id));
        };
        let wanted = if self.authorization_type == AuthorizationType::Jwt { "JWT" } else { "REQUEST" };
        if authorizer.settings.authorizer_type == wanted {
            Ok(())
        } else {
            bad("The authorizer does not fit the authorization type of the route")
        }
    }
}

impl Document for RouteResponse {
    const KIND: &'static str = "RouteResponse";
    const ID_MEMBER: Option<&'static str> = Some("routeResponseId");
    const SERVED: bool = true;
    const COUNT_MAX: usize = OTHERS_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, parent: &str) -> &'a mut Collection<Self> {
        api.route_responses.entry(parent.to_owned()).or_default()
    }

    fn settle(&mut self, api: &ApiRecord, _id: Option<&str>) -> Result<(), ApiError> {
        if api.protocol() != Protocol::WebSocket {
            return bad("Route responses are supported only for WebSocket APIs");
        }
        // "You can only define the $default route response for WebSocket APIs."
        if self.route_response_key == "$default" { Ok(()) } else { bad("routeResponseKey must be $default") }
    }
}

impl Document for Integration {
    const KIND: &'static str = "Integration";
    const ID_MEMBER: Option<&'static str> = Some("integrationId");
    const SERVED: bool = true;
    const MERGED_MEMBERS: &'static [&'static str] = &["requestParameters", "responseParameters"];
    const COUNT_MAX: usize = INTEGRATIONS_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, _parent: &str) -> &'a mut Collection<Self> {
        &mut api.integrations
    }

    fn settle(&mut self, api: &ApiRecord, _id: Option<&str>) -> Result<(), ApiError> {
        required(&self.integration_type, "integrationType")?;
        let function = self.integration_uri.as_deref().and_then(lambda_function);
        if self.integration_type != "AWS_PROXY" || self.integration_subtype.is_some() || function.is_none() {
            return bad("only AWS_PROXY integrations with a Lambda function are supported here");
        }
        self.settle_mappings(api.protocol())?;
        // Terraform takes the role away by setting it to nothing.
        self.credentials_arn.take_if(|role| role.is_empty());
        self.fill_in(api.protocol())
    }

    fn before_delete(api: &ApiRecord, id: &str) -> Result<(), ApiError> {
        let target = format!("integrations/{id}");
        match api.routes.values().find(|route| route.settings.target.as_deref() == Some(&target)) {
            Some(route) => Err(ApiError::Conflict(format!(
                "Cannot delete Integration '{id}'. Route '{}' is currently referencing this Integration.",
                route.settings.route_key
            ))),
            None => Ok(()),
        }
    }
}

impl Integration {
    fn settle_mappings(&mut self, protocol: Protocol) -> Result<(), ApiError> {
        if let Some(by_status) = &mut self.response_parameters {
            by_status.retain(|_, map| !map.is_empty());
        }
        self.request_parameters.take_if(|map| map.is_empty());
        self.response_parameters.take_if(|map| map.is_empty());
        if let Some(map) = &mut self.request_parameters {
            mapping::settle_removals(map);
        }
        let (requests, responses) = (&self.request_parameters, &self.response_parameters);
        // Those of a WebSocket API have a form of their own: refused rather than ignored.
        if protocol == Protocol::WebSocket && (requests.is_some() || responses.is_some()) {
            return bad("parameter mappings are supported here only for HTTP APIs");
        }
        requests.as_ref().map_or(Ok(()), |map| RequestMapping::parse(map).map(drop))?;
        responses.as_ref().map_or(Ok(()), |map| ResponseMapping::parse(map).map(drop))
    }

    fn fill_in(&mut self, protocol: Protocol) -> Result<(), ApiError> {
        self.integration_method.get_or_insert_with(|| "POST".to_owned());
        self.connection_type.get_or_insert_with(|| "INTERNET".to_owned());
        let format = self.payload_format_version.get_or_insert_with(|| "1.0".to_owned());
        if !matches!(format.as_str(), "1.0" | "2.0") {
            return bad(format!("Invalid payloadFormatVersion: {format}"));
        }
        let longest_ms = match protocol {
            Protocol::Http => HTTP_INTEGRATION_TIMEOUT_MS_MAX,
            Protocol::WebSocket => {
                self.passthrough_behavior.get_or_insert_with(|| "WHEN_NO_MATCH".to_owned());
                WEBSOCKET_INTEGRATION_TIMEOUT_MS_MAX
            }
        };
        let timeout_ms = *self.timeout_in_millis.get_or_insert(longest_ms);
        if (INTEGRATION_TIMEOUT_MS_MIN..=longest_ms).contains(&timeout_ms) {
            Ok(())
        } else {
            bad(format!("Timeout should be between {INTEGRATION_TIMEOUT_MS_MIN} ms and {longest_ms} ms"))
        }
    }
}

impl Document for IntegrationResponse {
    const KIND: &'static str = "IntegrationResponse";
    const ID_MEMBER: Option<&'static str> = Some("integrationResponseId");
    const SERVED: bool = true;
    const COUNT_MAX: usize = OTHERS_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, parent: &str) -> &'a mut Collection<Self> {
        api.integration_responses.entry(parent.to_owned()).or_default()
    }

    fn settle(&mut self, api: &ApiRecord, _id: Option<&str>) -> Result<(), ApiError> {
        if api.protocol() != Protocol::WebSocket {
            return bad("Integration responses are supported only for WebSocket APIs");
        }
        required(&self.integration_response_key, "integrationResponseKey")
    }
}

impl Document for Authorizer {
    const KIND: &'static str = "Authorizer";
    const ID_MEMBER: Option<&'static str> = Some("authorizerId");
    const SERVED: bool = true;
    const COUNT_MAX: usize = AUTHORIZERS_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, _parent: &str) -> &'a mut Collection<Self> {
        &mut api.authorizers
    }

    fn settle(&mut self, api: &ApiRecord, id: Option<&str>) -> Result<(), ApiError> {
        required(&self.name, "name")?;
        if api
            .authorizers
            .iter()
            .any(|(other, stored)| Some(other.as_str()) != id && stored.settings.name == self.name)
        {
            return bad(format!("Authorizer name must be unique. Authorizer {} already exists", self.name));
        }
        match self.authorizer_type.as_str() {
            "REQUEST" => self.settle_request(api.protocol()),
            "JWT" => self.settle_jwt(api.protocol(), stored(&api.authorizers, id)),
            other => bad(format!("Invalid authorizerType: {other}")),
        }
    }

    fn before_delete(api: &ApiRecord, id: &str) -> Result<(), ApiError> {
        match api.routes.values().find(|route| route.settings.asked_authorizer() == Some(id)) {
            Some(route) => Err(ApiError::Conflict(format!(
                "Cannot delete authorizer '{id}'. It is referenced by route '{}'",
                route.settings.route_key
            ))),
            None => Ok(()),
        }
    }
}

impl Authorizer {
    fn settle_jwt(&self, protocol: Protocol, before: Option<&Self>) -> Result<(), ApiError> {
        if protocol == Protocol::WebSocket {
            return bad("JWT authorizers are supported only for HTTP APIs");
        }
        let [source] = self.identity_source.as_slice() else {
            return bad("A JWT authorizer takes exactly one identity source");
        };
        let parsed = IdentitySource::parse(source);
        if !matches!(parsed, Some(IdentitySource::Header(_) | IdentitySource::Query(_))) {
            return bad(format!("Invalid identity source for a JWT authorizer: {source}"));
        }
        let issuer = self.jwt_configuration.as_ref().and_then(|jwt| jwt.issuer.clone()).unwrap_or_default();
        if self.audiences() == 0 {
            return bad("A JWT authorizer needs at least one audience");
        }
        at_most(
            AUDIENCES_MAX,
            before.map_or(0, Self::audiences),
            self.audiences(),
            "audiences of an authorizer",
        )?;
        // AWS fetches the discovery document when the authorizer is made, from anywhere.
        if jwt::is_loopback(&issuer) {
            return Ok(());
        }
        bad(format!(
            "Invalid issuer: {issuer}. Issuers are asked on this machine only: http://127.0.0.1:PORT"
        ))
    }

    fn audiences(&self) -> usize {
        self.jwt_configuration.as_ref().map_or(0, |jwt| jwt.audience.len())
    }

    fn settle_request(&mut self, protocol: Protocol) -> Result<(), ApiError> {
        if self.authorizer_uri.as_deref().and_then(lambda_function).is_none() {
            return bad("authorizerUri must name a Lambda function");
        }
        self.authorizer_credentials_arn.take_if(|role| role.is_empty());
        for source in &self.identity_source {
            if IdentitySource::parse(source).is_none() {
                return bad(format!("Invalid identity source: {source}"));
            }
        }
        match protocol {
            Protocol::Http => self.settle_http(),
            Protocol::WebSocket => self.settle_websocket(),
        }
    }

    fn settle_websocket(&mut self) -> Result<(), ApiError> {
        if self.enable_simple_responses == Some(true) {
            return bad("enableSimpleResponses is supported only for HTTP APIs");
        }
        // It is asked once, when a connection is made: there is nothing to keep an answer for.
        if self.authorizer_result_ttl_in_seconds.take().is_some() && !is_older_call() {
            return bad("AuthorizerResultTtlInSeconds cannot be set for WEBSOCKET protocol Apis.");
        }
        Ok(())
    }

    fn settle_http(&mut self) -> Result<(), ApiError> {
        match self.authorizer_payload_format_version.as_deref() {
            Some("2.0") => {}
            Some("1.0") if self.enable_simple_responses == Some(true) => {
                return bad("Simple responses are supported only with format version 2.0");
            }
            Some("1.0") => {}
            _ => return bad("AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizer"),
        }
        let default = if self.identity_source.is_empty() { 0 } else { AUTHORIZER_TTL_SECONDS_DEFAULT };
        let ttl = *self.authorizer_result_ttl_in_seconds.get_or_insert(default);
        if ttl > AUTHORIZER_TTL_SECONDS_MAX {
            return bad(format!("authorizerResultTtlInSeconds must be at most {AUTHORIZER_TTL_SECONDS_MAX}"));
        }
        // The values of the identity sources are the cache key: without one there is nothing to look up by.
        if ttl > 0 && self.identity_source.is_empty() {
            bad("Identity sources are required when caching is on")
        } else {
            Ok(())
        }
    }
}

impl Document for Model {
    const KIND: &'static str = "Model";
    const ID_MEMBER: Option<&'static str> = Some("modelId");
    const COUNT_MAX: usize = OTHERS_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, _parent: &str) -> &'a mut Collection<Self> {
        &mut api.models
    }

    fn settle(&mut self, _api: &ApiRecord, _id: Option<&str>) -> Result<(), ApiError> {
        required(&self.name, "name")
    }
}

impl Document for Deployment {
    const KIND: &'static str = "Deployment";
    const ID_MEMBER: Option<&'static str> = Some("deploymentId");
    const DATED: bool = true;
    const COUNT_MAX: usize = OTHERS_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, _parent: &str) -> &'a mut Collection<Self> {
        &mut api.deployments
    }

    fn settle(&mut self, api: &ApiRecord, id: Option<&str>) -> Result<(), ApiError> {
        if id.is_none() && api.routes.is_empty() {
            return bad("At least one route is required before deploying the Api.");
        }
        match &self.stage_name {
            Some(stage) if !api.stages.contains_key(stage) => Err(ApiError::missing("Stage", stage)),
            _ => Ok(()),
        }
    }

    fn before_delete(api: &ApiRecord, id: &str) -> Result<(), ApiError> {
        if api.stages.values().any(|stage| stage.settings.deployment_id.as_deref() == Some(id)) {
            return bad("Active stages pointing to this deployment must be moved or deleted");
        }
        Ok(())
    }

    fn complete(_stored: &Stored<Self>, view: &mut Map<String, Value>) {
        view.insert("deploymentStatus".to_owned(), Value::from("DEPLOYED"));
    }
}

impl Document for Stage {
    const KIND: &'static str = "Stage";
    const ID_MEMBER: Option<&'static str> = None;
    // `defaultRouteSettings` is replaced whole: a caller that leaves the limits out takes them away.
    const MERGED_MEMBERS: &'static [&'static str] = &["routeSettings", "stageVariables"];
    const DATED: bool = true;
    const COUNT_MAX: usize = STAGES_MAX;

    fn collection<'a>(api: &'a mut ApiRecord, _parent: &str) -> &'a mut Collection<Self> {
        &mut api.stages
    }

    fn settle(&mut self, api: &ApiRecord, id: Option<&str>) -> Result<(), ApiError> {
        required(&self.stage_name, "stageName")?;
        if id.is_none() && api.stages.contains_key(&self.stage_name) {
            return Err(ApiError::Conflict("Stage already exists".to_owned()));
        }
        if let Some(deployment) = &self.deployment_id
            && !api.deployments.contains_key(deployment)
        {
            return Err(ApiError::missing("Deployment", deployment));
        }
        self.access_log_settings =
            self.access_log_settings.take().filter(|log| log.destination_arn.is_some());
        let before = stored(&api.stages, id);
        self.check_names(api.protocol(), before)?;
        self.check_log_destination(before)?;
        self.check_log_format(api.protocol(), before)?;
        if api.protocol() == Protocol::Http {
            self.check_variables(before)?;
        }
        for settings in
            std::iter::once(&mut self.default_route_settings).chain(self.route_settings.values_mut())
        {
            settings.settle(api.protocol())?;
        }
        match self
            .route_settings
            .keys()
            .find(|key| !api.routes.values().any(|route| route.settings.route_key == **key))
        {
            Some(key) => Err(ApiError::NotFound {
                message: format!("Unable to find Route by key {key} within the provided RouteSettings"),
                resource: "Route",
            }),
            None => Ok(()),
        }
    }

    fn complete(stored: &Stored<Self>, view: &mut Map<String, Value>) {
        view.insert("lastUpdatedDate".to_owned(), Value::from(iso8601(stored.updated_ms)));
        if let (true, Some(id)) = (stored.settings.auto_deploy, &stored.settings.deployment_id) {
            let message = format!("Successfully deployed stage with deployment ID '{id}'");
            view.insert("lastDeploymentStatusMessage".to_owned(), Value::from(message));
        }
    }
}

impl Stage {
    /// Of the stage and its variables. What an older call left stays, whatever else of the stage is changed.
    fn check_names(&self, protocol: Protocol, before: Option<&Self>) -> Result<(), ApiError> {
        if repeatable::is_repeated() {
            return Ok(());
        }
        let is_new = before.is_none_or(|stage| stage.stage_name != self.stage_name);
        if is_new && !is_stage_name(&self.stage_name, protocol) {
            return bad(format!(
                "Invalid stageName: {}. At most {STAGE_NAME_CHARS_MAX} letters, digits, hyphens and underscores, or \
                 {DEFAULT_STAGE} of an HTTP API",
                self.stage_name
            ));
        }
        for (key, value) in &self.stage_variables {
            let value_before = before.and_then(|stage| stage.stage_variables.get(key));
            if value_before.is_none() && !is_variable_name(key) {
                return bad(format!("Invalid name of a stage variable: {key}"));
            }
            if value_before != Some(value) && !is_variable_value(value) {
                return bad(format!("Invalid value of the stage variable {key}: {value}"));
            }
        }
        Ok(())
    }

    /// One that an older call left stays, and nothing is logged there.
    fn check_log_destination(&self, before: Option<&Self>) -> Result<(), ApiError> {
        let Some(arn) = self.log_destination() else { return Ok(()) };
        let is_group = group_in_arn(arn).is_some_and(|group| !group.is_empty());
        let is_old = before.and_then(Self::log_destination) == Some(arn) || repeatable::is_repeated();
        if is_group || is_old {
            return Ok(());
        }
        bad(format!("Access logs go to a log group only, not to {arn}"))
    }

    fn log_destination(&self) -> Option<&str> {
        self.access_log_settings.as_ref()?.destination_arn.as_deref()
    }

    /// One that an older call left stays, whatever else of the stage is changed.
    fn check_log_format(&self, protocol: Protocol, before: Option<&Self>) -> Result<(), ApiError> {
        let before = before.and_then(Self::log_format);
        let Some(format) = self.log_format() else { return Ok(()) };
        if format.is_empty() || before == Some(format) || is_older_call() {
            return Ok(());
        }
        access_log::check(format, protocol)?;
        let bytes_before = before.map_or(0, str::len);
        at_most(LOG_FORMAT_BYTES_MAX, bytes_before, format.len(), "bytes of an access log format")
    }

    fn log_format(&self) -> Option<&str> {
        self.access_log_settings.as_ref()?.format.as_deref()
    }

    fn check_variables(&self, before: Option<&Self>) -> Result<(), ApiError> {
        let count_before = before.map_or(0, |stage| stage.stage_variables.len());
        at_most(STAGE_VARIABLES_MAX, count_before, self.stage_variables.len(), "variables of a stage")?;
        for (key, value) in &self.stage_variables {
            let value_before = before.and_then(|stage| stage.stage_variables.get(key));
            let (of_key, of_value) =
                value_before.map_or((0, 0), |value| (characters(key), characters(value)));
            at_most(VARIABLE_KEY_CHARS_MAX, of_key, characters(key), "characters of the key of a variable")?;
            let what = "characters of the value of a variable";
            at_most(VARIABLE_VALUE_CHARS_MAX, of_value, characters(value), what)?;
        }
        Ok(())
    }
}

impl RouteSettings {
    fn settle(&mut self, protocol: Protocol) -> Result<(), ApiError> {
        if self.throttling_rate_limit.is_some_and(|rate| !rate.is_finite() || rate < 0.0) {
            return bad("throttlingRateLimit must not be negative");
        }
        match protocol {
            Protocol::Http if self.logging_level.as_deref().is_some_and(|level| level != "OFF") => {
                return bad("Execution logs are not supported on protocolType HTTP");
            }
            Protocol::Http => {}
            Protocol::WebSocket => {
                self.data_trace_enabled.get_or_insert(false);
                self.logging_level.get_or_insert_with(|| "OFF".to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::apigateway::management;
    use crate::apigateway::model::AccessLogSettings;
    use crate::apigateway::state::{Live, State};
    use crate::apigateway::{RULES_OF_GUARDS, RULES_OF_SETTINGS};
    use crate::repeatable::{RULES, scope_again};
    use crate::settings::Settings;
    use crate::wire::{AwsRequest, AwsResponse};

    /// Whether a key for a route, a cache of a WebSocket authorizer and a format without a request id are accepted.
    fn accepted() -> [bool; 3] {
        let settings = Api { protocol_type: Some(Protocol::WebSocket), ..Api::default() };
        let api = ApiRecord::new("a".to_owned(), 0, settings);
        let mut route = Route { route_key: "x".to_owned(), api_key_required: true, ..Route::default() };
        let mut authorizer = Authorizer {
            name: "a".to_owned(),
            authorizer_type: "REQUEST".to_owned(),
            authorizer_uri: Some("arn:aws:lambda:us-east-1:123456789012:function:a".to_owned()),
            authorizer_result_ttl_in_seconds: Some(60),
            ..Authorizer::default()
        };
        let log = AccessLogSettings {
            destination_arn: Some("arn:aws:logs:us-east-1:123456789012:log-group:/a".to_owned()),
            format: Some("$context.status".to_owned()),
        };
        let mut stage =
            Stage { stage_name: "live".to_owned(), access_log_settings: Some(log), ..Stage::default() };
        let settled = [route.settle(&api, None), authorizer.settle(&api, None), stage.settle(&api, None)];
        settled.map(|settled| settled.is_ok())
    }

    #[tokio::test]
    async fn what_was_accepted_under_older_rules_is_accepted_again() {
        assert_eq!(accepted(), [false; 3]);
        assert_eq!(scope_again(RULES_OF_SETTINGS - 1, 1, 0, async { accepted() }).await, [true; 3]);
        assert_eq!(scope_again(RULES_OF_SETTINGS, 1, 0, async { accepted() }).await, [false; 3]);
    }

    #[tokio::test]
    async fn what_an_older_call_left_of_an_authorizer_stays_and_is_not_asked() {
        let settings = Api { protocol_type: Some(Protocol::Http), ..Api::default() };
        let api = ApiRecord::new("a".to_owned(), 0, settings);
        let settled = || {
            let mut route = Route { route_key: "GET /x".to_owned(), ..Route::default() };
            route.authorizer_id = Some("b".to_owned());
            route.settle(&api, None).unwrap();
            assert_eq!(route.asked_authorizer(), None);
            route.authorizer_id
        };
        assert_eq!(settled(), None);
        let older = scope_again(RULES_OF_GUARDS - 1, 1, 0, async { settled() }).await;
        assert_eq!(older.as_deref(), Some("b"));
        assert_eq!(scope_again(RULES_OF_GUARDS, 1, 0, async { settled() }).await, None);
    }

    /// The status of a management call.
    fn called(state: &mut State, method: Method, path: &str, body: &Value) -> u16 {
        let request = AwsRequest::unsigned("apigateway", method, path, &body.to_string());
        let answer = management::handle(state, &request);
        answer.map_or_else(AwsResponse::from, AwsResponse::from).status.as_u16()
    }

    /// An HTTP API, and its path.
    fn with_api() -> (State, String) {
        let mut state = State::new(Settings::by_hand(0).0, Live::default());
        let settings =
            Api { name: "tasks".to_owned(), protocol_type: Some(Protocol::Http), ..Api::default() };
        let path = format!("/v2/apis/{}", state.add(settings));
        (state, path)
    }

    fn many(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("n{n}")).collect()
    }

    fn tokens(audiences: usize) -> Value {
        json!({"name": "a", "authorizerType": "JWT", "identitySource": ["$request.header.Authorization"],
            "jwtConfiguration": {"issuer": "http://127.0.0.1:1", "audience": many(audiences)}})
    }

    /// Makes something as an older call made it.
    async fn make_as_before(state: &mut State, path: &str, settings: &Value) {
        let again = async { called(state, Method::POST, path, settings) };
        assert_eq!(scope_again(RULES_OF_SETTINGS - 1, 1, 0, again).await, 201, "{path}");
    }

    fn the_authorizer(state: &State) -> String {
        state.apis.values().find_map(|api| api.authorizers.keys().next()).unwrap().clone()
    }

    fn the_route(state: &State) -> String {
        state.apis.values().find_map(|api| api.routes.keys().next()).unwrap().clone()
    }

    fn log(format: &str) -> Value {
        let group = "arn:aws:logs:us-east-1:123456789012:log-group:/access";
        json!({"accessLogSettings": {"destinationArn": group, "format": format}})
    }

    /// As many variables as there may be, and one with a key and a value that are too long.
    fn too_many_variables() -> Map<String, Value> {
        let key = "k".repeat(VARIABLE_KEY_CHARS_MAX + 1);
        let value = json!("v".repeat(VARIABLE_VALUE_CHARS_MAX + 1));
        let rest = many(STAGE_VARIABLES_MAX).into_iter().map(|key| (key, json!("v")));
        rest.chain([(key, value)]).collect()
    }

    #[tokio::test]
    async fn what_is_above_a_quota_already_may_be_changed_and_not_grow() {
        let (mut state, api) = with_api();
        make_as_before(&mut state, &format!("{api}/authorizers"), &tokens(AUDIENCES_MAX + 1)).await;
        let authorizer = the_authorizer(&state);
        let guarded = json!({"routeKey": "GET /x", "authorizationType": "JWT", "authorizerId": authorizer,
            "authorizationScopes": many(SCOPES_MAX + 1)});
        make_as_before(&mut state, &format!("{api}/routes"), &guarded).await;
        let mut stage = log("$context.status");
        stage["stageName"] = json!("live");
        stage["stageVariables"] = Value::Object(too_many_variables());
        make_as_before(&mut state, &format!("{api}/stages"), &stage).await;

        let authorizer = format!("{api}/authorizers/{authorizer}");
        let route = format!("{api}/routes/{}", the_route(&state));
        let stage = format!("{api}/stages/live");
        let long_value = "w".repeat(VARIABLE_VALUE_CHARS_MAX + 1);
        let long_key = "l".repeat(VARIABLE_KEY_CHARS_MAX + 1);
        for (path, change, expected) in [
            (&authorizer, json!({"name": "b"}), 200),
            (&authorizer, tokens(AUDIENCES_MAX + 2), 400),
            (&route, json!({"operationName": "x"}), 200),
            (&route, json!({"authorizationScopes": many(SCOPES_MAX + 2)}), 400),
            (&stage, json!({"description": "d"}), 200),
            (&stage, json!({"stageVariables": {"n0": "w"}}), 200),
            (&stage, json!({"stageVariables": {"more": "v"}}), 400),
            (&stage, json!({"stageVariables": {"n0": long_value}}), 400),
            (&stage, json!({"stageVariables": {"n0": "", long_key: "v"}}), 400),
            (&stage, log("$context.path"), 400),
        ] {
            assert_eq!(called(&mut state, Method::PATCH, path, &change), expected, "{path} {change}");
        }
    }

    /// Settings of a stage that an older call took: a name, a variable and a destination that are none.
    fn odd_stage() -> Value {
        json!({"stageName": "not one", "stageVariables": {"a-b": "é", "c": "v"},
            "accessLogSettings": {"destinationArn": "arn:aws:s3:::logs", "format": "$context.requestId"}})
    }

    #[tokio::test]
    async fn a_stage_that_an_older_call_left_may_be_changed_and_made_again() {
        let (mut state, api) = with_api();
        let stages = format!("{api}/stages");
        assert_eq!(called(&mut state, Method::POST, &stages, &odd_stage()), 400);
        let again = async { called(&mut state, Method::POST, &stages, &odd_stage()) };
        assert_eq!(scope_again(RULES, 1, 0, again).await, 201);
        let path = format!("{stages}/not%20one");
        for (change, expected) in [
            (json!({"description": "d"}), 200),
            (json!({"stageVariables": {"a-b": "w"}}), 200),
            (json!({"stageVariables": {"c": "a b"}}), 400),
            (json!({"stageVariables": {"d-e": "v"}}), 400),
            (json!({"accessLogSettings": {"destinationArn": "arn:aws:s3:::other"}}), 400),
            (log("$context.requestId"), 200),
        ] {
            assert_eq!(called(&mut state, Method::PATCH, &path, &change), expected, "{change}");
        }
    }

    #[test]
    fn a_stage_and_its_variables_have_names_of_few_characters() {
        let http = |name: &str| is_stage_name(name, Protocol::Http);
        assert!(http("$default") && http("Live_2-b") && http(&"n".repeat(128)));
        let websocket = |name: &str| is_stage_name(name, Protocol::WebSocket);
        assert!(websocket("live") && !websocket("$default"));
        for name in ["a b", "a.b", "a/b", "é", "$other", "", &"n".repeat(129)] {
            let (mut state, api) = with_api();
            let stages = format!("{api}/stages");
            let status = called(&mut state, Method::POST, &stages, &json!({ "stageName": name }));
            assert_eq!(status, 400, "{name}");
        }
        for (key, value, is_taken) in [
            ("A_1", "aZ0-._~:/?#&=,", true),
            ("a-b", "v", false),
            ("é", "v", false),
            ("a", "a b", false),
            ("a", "é", false),
            ("a", "$", false),
        ] {
            let (mut state, api) = with_api();
            let stage = json!({"stageName": "live", "stageVariables": {key: value}});
            let status = called(&mut state, Method::POST, &format!("{api}/stages"), &stage);
            assert_eq!(status, if is_taken { 201 } else { 400 }, "{key} {value}");
        }
    }

    #[test]
    fn access_logs_go_to_a_log_group_only() {
        let group = "arn:aws:logs:us-east-1:123456789012:log-group";
        for (destination, expected) in [
            (format!("{group}:/a"), 201),
            (format!("{group}:/a:*"), 201),
            (format!("{group}:"), 400),
            ("arn:aws:firehose:us-east-1:123456789012:deliverystream/amazon-apigateway-a".to_owned(), 400),
            (String::new(), 400),
        ] {
            let (mut state, api) = with_api();
            let log = json!({"destinationArn": destination, "format": "$context.requestId"});
            let stage = json!({"stageName": "live", "accessLogSettings": log});
            let status = called(&mut state, Method::POST, &format!("{api}/stages"), &stage);
            assert_eq!(status, expected, "{destination}");
        }
    }

    #[tokio::test]
    async fn another_authorizer_without_its_type_is_accepted_again_and_not_anew() {
        let (mut state, api) = with_api();
        assert_eq!(called(&mut state, Method::POST, &format!("{api}/authorizers"), &tokens(1)), 201);
        let change = json!({"authorizerId": the_authorizer(&state)});
        let mut guarded = change.clone();
        guarded["routeKey"] = json!("GET /x");
        guarded["authorizationType"] = json!("JWT");
        assert_eq!(called(&mut state, Method::POST, &format!("{api}/routes"), &guarded), 201);
        let route = format!("{api}/routes/{}", the_route(&state));
        assert_eq!(called(&mut state, Method::PATCH, &route, &change), 200, "it is the one that is there");
        let mut second = tokens(1);
        second["name"] = json!("second");
        assert_eq!(called(&mut state, Method::POST, &format!("{api}/authorizers"), &second), 201);
        let mut ids = state.apis.values().flat_map(|api| api.authorizers.keys());
        let second = ids.find(|id| change["authorizerId"] != **id).unwrap();
        let change = json!({"authorizerId": second});
        assert_eq!(called(&mut state, Method::PATCH, &route, &change), 400);
        let again = async { called(&mut state, Method::PATCH, &route, &change) };
        assert_eq!(scope_again(RULES, 1, 0, again).await, 200);
    }
}
