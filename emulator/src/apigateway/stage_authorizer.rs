//! Asking a Lambda authorizer, with its cache before it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::authorizer_cache::cache_key;
use super::definition::{AUTHORIZER_TIMEOUT, Authorizer};
use super::iam_authorizer::Identity;
use super::identity::Sources;
use super::integration::{Called, call};
use super::jwt::{Claims, Rejected};
use super::live::LiveStage;
use super::names;
use super::plane::Plane;
use super::policy::Verdict;
use crate::invoke::InvokeRequest;

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
    /// 403.
    Forbidden,
    /// The authorizer failed, took too long or answered in no known shape. 500.
    Broken,
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
            let verdict = Arc::new(ask(plane, &stage.api_id, authorizer, event(&identity)).await?);
            stage.authorizer_cache.put(key, Arc::clone(&verdict), now_ms, authorizer.ttl_ms);
            (verdict, u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
        }
    };
    if verdict.allows(arn, now_ms) {
        Ok(Grant::Lambda { verdict, latency_ms })
    } else {
        Err(Denied::Forbidden)
    }
}

async fn ask(
    plane: &Plane,
    api_id: &str,
    authorizer: &Authorizer,
    event: Vec<u8>,
) -> Result<Verdict, Denied> {
    let request = InvokeRequest {
        function: authorizer.function.clone(),
        payload: Bytes::from(event),
        trace_id: None,
        source: Some(names::source(&plane.settings, api_id, &format!("authorizers/{}", authorizer.id))),
    };
    match call(&plane.invoke, &plane.settings.clock, AUTHORIZER_TIMEOUT, request).await {
        Called::Answered(answer) => Verdict::parse(&answer, authorizer.simple).ok_or(Denied::Broken),
        Called::Failed(reason) => {
            tracing::warn!(authorizer.id, reason, "an authorizer failed");
            Err(Denied::Broken)
        }
        Called::Throttled | Called::TimedOut => Err(Denied::Broken),
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
        self.identity().is_none().then_some(Principal(self))
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

fn text(value: &Value) -> String {
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
pub(super) struct Principal<'a>(&'a Grant);

impl Serialize for Principal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (verdict, latency_ms) = match self.0 {
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
        map.serialize_entry("integrationLatency", latency_ms)?;
        map.end()
    }
}
