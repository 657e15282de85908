//! What the data planes serve: rebuilt after each change, read without waiting for one.

use std::collections::HashMap;
use std::sync::Arc;

use super::access_log::AccessLog;
use super::authorizer_cache::AuthorizerCache;
use super::definition::Definition;
use super::model::{CorsConfiguration, Protocol, RouteSettings, Stage, Texts};
use super::record::ApiRecord;
use super::throttle::{ACCOUNT_BURST, ACCOUNT_RATE_PER_SECOND};
use crate::token_bucket::TokenBucket;

#[derive(Debug)]
pub(super) struct LiveApi {
    pub(super) protocol: Protocol,
    pub(super) stages: HashMap<String, Arc<LiveStage>>,
}

#[derive(Debug)]
pub(super) struct LiveStage {
    pub(super) api_id: String,
    pub(super) name: String,
    pub(super) definition: Arc<Definition>,
    pub(super) variables: Texts,
    pub(super) access_log: Option<AccessLog>,
    pub(super) cors: Option<CorsConfiguration>,
    pub(super) authorizer_cache: AuthorizerCache,
    detailed_metrics: bool,
    /// None where only the account's limit holds.
    bucket: Option<Arc<TokenBucket>>,
    routes: HashMap<String, RouteLimits>,
}

#[derive(Debug)]
struct RouteLimits {
    detailed_metrics: bool,
    bucket: Option<Arc<TokenBucket>>,
}

impl LiveApi {
    /// `before` is what was served until now: tokens that were taken and answers of authorizers outlive a change of
    /// something else.
    pub(super) fn build(api: &ApiRecord, before: Option<&Self>, now_ms: i64) -> Self {
        let stages = if api.settings.disable_execute_api_endpoint {
            HashMap::new()
        } else {
            api.stages
                .values()
                .filter_map(|stage| {
                    let before = before.and_then(|before| before.stages.get(&stage.settings.stage_name));
                    LiveStage::build(api, &stage.settings, before.map(|stage| &**stage), now_ms)
                })
                .map(|stage| (stage.name.clone(), Arc::new(stage)))
                .collect()
        };
        Self { protocol: api.protocol(), stages }
    }
}

impl LiveStage {
    /// None for a stage that nothing was deployed to.
    fn build(api: &ApiRecord, stage: &Stage, before: Option<&Self>, now_ms: i64) -> Option<Self> {
        let definition = api.snapshots.get(stage.deployment_id.as_deref()?)?;
        Some(Self {
            api_id: api.id.clone(),
            name: stage.stage_name.clone(),
            definition: Arc::clone(definition),
            variables: stage.stage_variables.clone(),
            access_log: stage.access_log_settings.as_ref().and_then(AccessLog::compile),
            cors: api.settings.cors_configuration.clone(),
            authorizer_cache: before.map(|before| before.answers_for(definition)).unwrap_or_default(),
            detailed_metrics: stage.default_route_settings.detailed_metrics_enabled,
            bucket: bucket(
                &stage.default_route_settings,
                before.and_then(|before| before.bucket.as_ref()),
                now_ms,
            ),
            routes: stage
                .route_settings
                .iter()
                .map(|(key, settings)| {
                    let before = before.and_then(|before| before.routes.get(key));
                    (key.clone(), RouteLimits::new(settings, before, now_ms))
                })
                .collect(),
        })
    }

    /// What authorizers that are the same in `definition` have answered.
    fn answers_for(&self, definition: &Definition) -> AuthorizerCache {
        let before = &self.definition.authorizers;
        let is_same = |id: &str| before.contains_key(id) && before.get(id) == definition.authorizers.get(id);
        self.authorizer_cache.of_those(is_same)
    }

    /// Takes a token of the route's own bucket where it has one, else of the stage's.
    pub(super) fn admits(&self, route_key: &str, now_ms: i64) -> bool {
        let own = self.routes.get(route_key).and_then(|limits| limits.bucket.as_ref());
        own.or(self.bucket.as_ref()).is_none_or(|bucket| bucket.try_take(now_ms))
    }

    /// Whether its access log shows the request ids of invocations.
    pub(super) fn logs_invocations(&self) -> bool {
        self.access_log.as_ref().is_some_and(|log| log.shows_invocations)
    }

    pub(super) fn has_detailed_metrics(&self, route_key: &str) -> bool {
        self.routes.get(route_key).map_or(self.detailed_metrics, |limits| limits.detailed_metrics)
    }
}

impl RouteLimits {
    fn new(settings: &RouteSettings, before: Option<&Self>, now_ms: i64) -> Self {
        let before = before.and_then(|limits| limits.bucket.as_ref());
        Self { detailed_metrics: settings.detailed_metrics_enabled, bucket: bucket(settings, before, now_ms) }
    }
}

/// One limit alone leaves the other at the account's. What was taken stays taken when the limits change.
fn bucket(
    settings: &RouteSettings,
    before: Option<&Arc<TokenBucket>>,
    now_ms: i64,
) -> Option<Arc<TokenBucket>> {
    if settings.throttling_rate_limit.is_none() && settings.throttling_burst_limit.is_none() {
        return None;
    }
    let rate = settings.throttling_rate_limit.unwrap_or(ACCOUNT_RATE_PER_SECOND);
    let burst = settings.throttling_burst_limit.map_or(ACCOUNT_BURST, f64::from);
    let bucket = before.cloned().unwrap_or_else(|| Arc::new(TokenBucket::new(rate, burst, now_ms)));
    bucket.limit_to(rate, burst, now_ms);
    Some(bucket)
}
