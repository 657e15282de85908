//! What a deployment froze: routes resolved to functions and authorizers, ready to serve.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::identity::IdentitySource;
use super::jwt::JwtAuthorizer;
use super::mapping::{RequestMapping, ResponseMapping};
use super::model::{self, AuthorizationType, Protocol};
use super::policy::Shape;
use super::record::ApiRecord;
use super::router::{RouteKey, Router};
use super::target::Target;

/// "The maximum authorizer timeout is 10,000 milliseconds."
pub(super) const AUTHORIZER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Definition {
    pub(super) http: Router<Arc<Route>>,
    pub(super) websocket: HashMap<String, Arc<Route>>,
    /// The path in the message body that selects the route: `action` of `$request.body.action`.
    pub(super) selection: Vec<String>,
    /// By id.
    pub(super) authorizers: HashMap<String, Arc<Authorizer>>,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) key: String,
    /// None: the route exists and leads nowhere.
    pub(super) integration: Option<Integration>,
    pub(super) authorizer: Option<Arc<Authorizer>>,
    /// A token is asked for instead, and one of these scopes where there are any.
    pub(super) tokens: Option<(JwtAuthorizer, Vec<String>)>,
    /// A signature is asked for instead, and `execute-api:Invoke` of who signed.
    pub(super) signed: bool,
    /// A WebSocket route whose function's answer goes back to the caller.
    pub(super) answers: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Integration {
    pub(super) target: Target,
    pub(super) timeout: Duration,
    pub(super) format: Format,
    pub(super) requests: Option<RequestMapping>,
    pub(super) responses: Option<ResponseMapping>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V1,
    V2,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorizer {
    pub(super) id: String,
    pub(super) target: Target,
    pub(super) format: Format,
    pub(super) shape: Shape,
    pub(super) sources: Vec<IdentitySource>,
    pub(super) ttl_ms: i64,
}

impl Route {
    /// Whether a request must show something before it gets through.
    pub(super) fn is_guarded(&self) -> bool {
        self.authorizer.is_some() || self.tokens.is_some() || self.signed
    }
}

impl Definition {
    pub(super) fn freeze(api: &ApiRecord) -> Self {
        let authorizers: HashMap<String, Arc<Authorizer>> = api
            .authorizers
            .iter()
            .filter_map(|(id, stored)| {
                Some((id.clone(), Arc::new(Authorizer::compile(id, &stored.settings, api.protocol())?)))
            })
            .collect();
        let routes: Vec<Arc<Route>> = api
            .routes
            .iter()
            .map(|(id, stored)| Arc::new(Route::compile(api, id, &stored.settings, &authorizers)))
            .collect();
        let websocket = match api.protocol() {
            Protocol::WebSocket => {
                routes.iter().map(|route| (route.key.clone(), Arc::clone(route))).collect()
            }
            Protocol::Http => HashMap::new(),
        };
        let http = match api.protocol() {
            Protocol::Http => Router::new(
                routes.into_iter().filter_map(|route| Some((RouteKey::parse(&route.key)?, route))),
            ),
            Protocol::WebSocket => Router::new([]),
        };
        Self { http, websocket, selection: selection(api), authorizers }
    }
}

fn selection(api: &ApiRecord) -> Vec<String> {
    let expression = api.settings.route_selection_expression.as_deref().unwrap_or_default();
    let path = expression.strip_prefix("$request.body.").unwrap_or_default();
    path.split('.').map(str::to_owned).collect()
}

impl Route {
    fn compile(
        api: &ApiRecord,
        id: &str,
        route: &model::Route,
        authorizers: &HashMap<String, Arc<Authorizer>>,
    ) -> Self {
        let integration = route.target.as_deref().and_then(|target| target.strip_prefix("integrations/"));
        let has_response = api.route_responses.get(id).is_some_and(|responses| !responses.is_empty());
        Self {
            key: route.route_key.clone(),
            integration: integration
                .and_then(|id| api.integrations.get(id))
                .and_then(|stored| Integration::compile(&stored.settings)),
            authorizer: route.asked_authorizer().and_then(|id| authorizers.get(id)).cloned(),
            tokens: tokens(api, route),
            signed: route.authorization_type == AuthorizationType::AwsIam,
            answers: has_response && route.route_response_selection_expression.as_deref() == Some("$default"),
        }
    }
}

fn tokens(api: &ApiRecord, route: &model::Route) -> Option<(JwtAuthorizer, Vec<String>)> {
    let stored = api.authorizers.get(route.asked_authorizer()?)?;
    let authorizer = JwtAuthorizer::compile(&stored.settings)?;
    Some((authorizer, route.authorization_scopes.clone().unwrap_or_default()))
}

impl Integration {
    fn compile(settings: &model::Integration) -> Option<Self> {
        Some(Self {
            target: Target::compile(
                settings.integration_uri.as_deref(),
                settings.credentials_arn.as_deref(),
            )?,
            timeout: Duration::from_millis(u64::from(settings.timeout_in_millis?)),
            format: Format::parse(settings.payload_format_version.as_deref()),
            // Others than these were refused when they were set.
            requests: settings.request_parameters.as_ref().and_then(|map| RequestMapping::parse(map).ok()),
            responses: settings.response_parameters.as_ref().and_then(|map| ResponseMapping::parse(map).ok()),
        })
    }
}

impl Format {
    fn parse(version: Option<&str>) -> Self {
        if version == Some("2.0") { Self::V2 } else { Self::V1 }
    }
}

impl Authorizer {
    fn compile(id: &str, settings: &model::Authorizer, protocol: Protocol) -> Option<Self> {
        let sources = settings
            .identity_source
            .iter()
            .map(|source| IdentitySource::parse(source))
            .collect::<Option<_>>()?;
        Some(Self {
            id: id.to_owned(),
            target: Target::compile(
                settings.authorizer_uri.as_deref(),
                settings.authorizer_credentials_arn.as_deref(),
            )?,
            format: Format::parse(settings.authorizer_payload_format_version.as_deref()),
            shape: Shape::of(protocol, settings.enable_simple_responses.unwrap_or_default()),
            sources,
            ttl_ms: i64::from(settings.authorizer_result_ttl_in_seconds.unwrap_or_default()) * 1_000,
        })
    }
}
