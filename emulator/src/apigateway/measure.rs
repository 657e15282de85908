//! What the gateways report: `AWS/ApiGateway` metrics.

use super::live::LiveStage;
use crate::metrics::Unit;
use crate::settings::Settings;

const NAMESPACE: &str = "AWS/ApiGateway";

/// The dimensions of one request: AWS records each metric per API, per stage and, with detailed metrics, per route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter<'a> {
    pub(super) settings: &'a Settings,
    pub(super) api_id: &'a str,
    pub(super) stage: &'a str,
    /// None without detailed metrics or without a route.
    pub(super) route: Option<&'a str>,
}

impl<'a> Meter<'a> {
    /// Of a request for a route of a stage; the key is empty where no route was found.
    pub(super) fn new(settings: &'a Settings, stage: &'a LiveStage, route_key: &'a str) -> Self {
        // CloudWatch has no dimension without a value.
        let route = Some(route_key).filter(|key| !key.is_empty() && stage.has_detailed_metrics(key));
        Self { settings, api_id: &stage.api_id, stage: &stage.name, route }
    }

    pub(super) fn count(&self, name: &str, value: u32) {
        self.record(name, f64::from(value), Unit::Count);
    }

    pub(super) fn record(&self, name: &str, value: f64, unit: Unit) {
        let at_ms = self.settings.clock.now_ms();
        let dimensions =
            [("ApiId", self.api_id), ("Stage", self.stage), ("Route", self.route.unwrap_or_default())];
        let longest = if self.route.is_some() { 3 } else { 2 };
        for len in 1..=longest {
            self.settings.metrics.record(at_ms, NAMESPACE, name, &dimensions[..len], value, unit);
        }
    }
}
