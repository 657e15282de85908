//! Asking a Lambda authorizer, with its cache before it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::access_log;
use super::authorizer_cache::cache_key;
use super::definition::{AUTHORIZER_TIMEOUT, Authorizer};
use super::http_response::Malformed;
use super::iam_authorizer::Identity;
use super::identity::Sources;
use super::integration::{Called, Sent, call};
use super::jwt::{Claims, Rejected};
use super::live::LiveStage;
use super::plane::Plane;
use super::policy::Verdict;

/// `callback("Unauthorized")`: the error by which an authorizer of a WebSocket API says 401.
const UNAUTHORIZED: &str = "Unauthorized";
/// How long the authorizer took, beside its context.
const LATENCY: &str = "integrationLatency";

/// A request that an authorizer let through.
#[derive(Debug)]
pub(super) enum Grant {
    Lambda { verdict: Arc<Verdict>, latency_ms: u64 },
    Token(Claims),
    Iam(Identity),
}

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// A JWT authorizer refused. 401 or 403, with a challenge.
    Token(Rejected),
    /// An identity source is missing: the authorizer was not even asked. 401.
    Unidentified,
    /// Who signed may not invoke the route, or nobody signed. 403.
    Forbidden,
    /// By the answer of a Lambda authorizer, which said so or said nothing of the route. 403.
    ByAnswer { explicitly: bool },
    /// A Lambda authorizer failed with the error that means it. 401 for WebSocket APIs.
    Unauthorized,
    /// The authorizer failed or took too long: why. 500.
    Failed(String),
    /// It answered in no known shape. 500.
    Malformed,
}

impl Denied {
    /// `$context.authorizer.error` in an access log.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::Token(rejected) => rejected.description().map(str::to_owned),
            Self::Unidentified => None,
            Self::Forbidden | Self::ByAnswer { .. } => Some("Forbidden".to_owned()),
            Self::Unauthorized => Some(UNAUTHORIZED.to_owned()),
            Self::Failed(reason) => Some(reason.clone()),
            Self::Malformed => Some(Malformed.to_string()),
        }
    }

    /// `$context.error.responseType`, of a refusal with this status.
    pub(super) fn response_type(&self, status: u16) -> &'static str {
        match self {
            Self::Failed(_) => "AUTHORIZER_FAILURE",
            Self::Malformed => "AUTHORIZER_CONFIGURATION_ERROR",
            _ => access_log::response_type(status),
        }
    }
}

pub(super) async fn authorize(
    plane: &Plane,
    stage: &LiveStage,
    authorizer: &Authorizer,
    sources: &Sources<'_>,
    arn: &str,
    event: impl FnOnce(&[String]) -> Vec<u8>,
) -> Result<Grant, Denied> {
    let identity = sources.values(&authorizer.sources).ok_or(Denied::Unidentified)?;
    let key = cache_key(&authorizer.id, &identity);
    let now_ms = plane.settings.clock.now_ms();
    let cached = if authorizer.ttl_ms > 0 { stage.authorizer_cache.get(&key, now_ms) } else { None };
    let (verdict, latency_ms) = match cached {
        Some(verdict) => (verdict, 0),
        None => {
            let started = Instant::now();
            let verdict = Arc::new(ask(plane, stage, authorizer, event(&identity)).await?);
            stage.authorizer_cache.put(key, Arc::clone(&verdict), now_ms, authorizer.ttl_ms);
            (verdict, u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
        }
    };
    if verdict.allows(arn, now_ms) {
        Ok(Grant::Lambda { verdict, latency_ms })
    } else {
        Err(Denied::ByAnswer { explicitly: verdict.denies(arn, now_ms) })
    }
}

async fn ask(
    plane: &Plane,
    stage: &LiveStage,
    authorizer: &Authorizer,
    event: Vec<u8>,
) -> Result<Verdict, Denied> {
    let source = format!("authorizers/{}", authorizer.id);
    let sent = Sent { payload: Bytes::from(event), trace_id: None, request_id: None, source: &source };
    match call(plane, stage, &authorizer.target, AUTHORIZER_TIMEOUT, sent).await {
        Called::Answered(answer) => Verdict::parse(&answer, authorizer.shape).ok_or(Denied::Malformed),
        Called::Failed(failure) if failure.says(UNAUTHORIZED) => Err(Denied::Unauthorized),
        failed => {
            let reason = failed.error().unwrap_or_default();
            tracing::warn!(authorizer.id, reason, "an authorizer failed");
            Err(Denied::Failed(reason))
        }
    }
}

impl Grant {
    /// `requestContext.authorizer` of format 2.0.
    pub(super) fn context(&self) -> Authorized<'_> {
        match self {
            Self::Lambda { verdict, .. } => Authorized::Lambda(Context(verdict.context.as_deref())),
            Self::Token(claims) => Authorized::Jwt(claims),
            Self::Iam(identity) => Authorized::Iam(identity),
        }
    }

    /// `requestContext.authorizer` of format 1.0 and of WebSocket events; of a signature that format says it elsewhere.
    pub(super) fn principal(&self) -> Option<Principal<'_>> {
        self.identity().is_none().then_some(Principal { grant: self, of_its_own_event: true })
    }

    /// The same as the later events of a connection have it.
    pub(super) fn lasting(&self) -> Option<Principal<'_>> {
        self.identity().is_none().then_some(Principal { grant: self, of_its_own_event: false })
    }

    /// Who signed.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Iam(identity) => Some(identity),
            Self::Lambda { .. } | Self::Token(_) => None,
        }
    }

    /// One property, for access logs.
    pub(super) fn property(&self, name: &str) -> Option<String> {
        match self {
            Self::Lambda { verdict, .. } if name == "principalId" => verdict.principal_id.clone(),
            Self::Lambda { latency_ms, .. } if name == LATENCY => Some(latency_ms.to_string()),
            Self::Lambda { verdict, .. } => members(verdict).get(name).map(text),
            Self::Token(claims) => claims.text(name.strip_prefix("claims.")?),
            Self::Iam(_) => None,
        }
    }
}

fn members(verdict: &Verdict) -> Map<String, Value> {
    let context = verdict.context.as_ref();
    context.and_then(|context| serde_json::from_str(context.get()).ok()).unwrap_or_default()
}

/// `{"lambda": {...}}`, `{"jwt": {...}}` or `{"iam": {...}}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Authorized<'a> {
    Lambda(Context<'a>),
    Jwt(&'a Claims),
    Iam(&'a Identity),
}

/// A value as text, which a string already is.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[derive(Debug)]
pub(super) struct Context<'a>(Option<&'a serde_json::value::RawValue>);

impl Serialize for Context<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(context) => context.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

/// "API Gateway … stringified": context values of these events are strings, whatever they were.
#[derive(Debug)]
pub(super) struct Principal<'a> {
    grant: &'a Grant,
    /// Of the event that the authorizer was asked for: this one has the time that it took.
    of_its_own_event: bool,
}

impl Serialize for Principal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (verdict, latency_ms) = match self.grant {
            Grant::Lambda { verdict, latency_ms } => (verdict, latency_ms),
            Grant::Token(claims) => return claims.serialize(serializer),
            Grant::Iam(identity) => return identity.serialize(serializer),
        };
        let mut map = serializer.serialize_map(None)?;
        if let Some(principal) = &verdict.principal_id {
            map.serialize_entry("principalId", principal)?;
        }
        for (name, value) in &members(verdict) {
            map.serialize_entry(name, &text(value))?;
        }
        if self.of_its_own_event {
            map.serialize_entry(LATENCY, latency_ms)?;
        }
        map.end()
    }
}
