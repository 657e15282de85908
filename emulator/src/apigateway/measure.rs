//! What the gateways report: `AWS/ApiGateway` metrics.

use super::live::LiveStage;
use crate::metrics::Unit;
use crate::settings::Settings;

const NAMESPACE: &str = "AWS/ApiGateway";
/// The method of a route that catches any, `$default` included.
const ANY_METHOD: &str = "ANY";

/// The dimensions of one request: AWS records each metric per API, per stage and, with detailed metrics, per
/// route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter<'a> {
    pub(super) settings: &'a Settings,
    pub(super) api_id: &'a str,
    pub(super) stage: &'a str,
    /// None without detailed metrics or without a route.
    pub(super) route: Option<MeteredRoute<'a>>,
}

/// A route, as its API's dimensions name it. AWS documents those of HTTP APIs for WebSocket APIs too, and records
/// another for them.
#[derive(Clone, Copy, Debug)]
pub(super) enum MeteredRoute<'a> {
    Http { method: &'a str, resource: &'a str },
    WebSocket { key: &'a str },
}

impl<'a> Meter<'a> {
    /// Of a request to a stage of an HTTP API; the key is empty where no route was found.
    pub(super) fn of_http(settings: &'a Settings, stage: &'a LiveStage, route_key: &'a str) -> Self {
        let (method, resource) = route_key.split_once(' ').unwrap_or((ANY_METHOD, route_key));
        Self::new(settings, stage, route_key, MeteredRoute::Http { method, resource })
    }

    /// Of an event of a stage of a WebSocket API; the key is empty where no route was selected.
    pub(super) fn of_websocket(settings: &'a Settings, stage: &'a LiveStage, route_key: &'a str) -> Self {
        Self::new(settings, stage, route_key, MeteredRoute::WebSocket { key: route_key })
    }

    fn new(settings: &'a Settings, stage: &'a LiveStage, route_key: &str, route: MeteredRoute<'a>) -> Self {
        // CloudWatch has no dimension without a value.
        let is_detailed = !route_key.is_empty() && stage.has_detailed_metrics(route_key);
        Self { settings, api_id: &stage.api_id, stage: &stage.name, route: is_detailed.then_some(route) }
    }

    pub(super) fn count(&self, name: &str, value: u32) {
        self.record(name, f64::from(value), Unit::Count);
    }

    pub(super) fn record(&self, name: &str, value: f64, unit: Unit) {
        let at_ms = self.settings.clock.now_ms();
        let record = |dimensions: &[(&str, &str)]| {
            self.settings.metrics.record(at_ms, NAMESPACE, name, dimensions, value, unit);
        };
        let (api, stage) = (("ApiId", self.api_id), ("Stage", self.stage));
        record(&[api]);
        record(&[api, stage]);
        match self.route {
            None => {}
            Some(MeteredRoute::Http { method, resource }) => {
                record(&[api, stage, ("Method", method), ("Resource", resource)]);
            }
            Some(MeteredRoute::WebSocket { key }) => record(&[api, stage, ("Route", key)]),
        }
    }
}
