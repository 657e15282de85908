//! What is remembered of one request, for its metrics and its line in the access log.

use std::time::Duration;

use super::access_log;
use super::integration::Integrated;
use super::live::LiveStage;
use super::measure::Meter;
use super::names;
use super::reply::Reply;
use super::stage_authorizer::{Denied, Grant};
use crate::metrics::Unit;
use crate::settings::Settings;

pub(super) struct Exchange<'a> {
    settings: &'a Settings,
    stage: &'a LiveStage,
    request_id: &'a str,
    source_ip: &'a str,
    path: &'a str,
    method: String,
    user_agent: String,
    /// Of the body: as announced, and once it came as it is.
    request_bytes: f64,
    pub(super) started_ms: i64,
    pub(super) route_key: String,
    pub(super) grant: Option<Grant>,
    pub(super) denied: Option<Denied>,
    /// Once the function was called.
    pub(super) integration: Option<Integrated>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        stage: &'a LiveStage,
        head: &http::request::Parts,
        request_id: &'a str,
        source_ip: &'a str,
        path: &'a str,
    ) -> Self {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            settings,
            stage,
            request_id,
            source_ip,
            path,
            method: head.method.to_string(),
            user_agent: header(http::header::USER_AGENT).to_owned(),
            request_bytes: header(http::header::CONTENT_LENGTH).parse().unwrap_or_default(),
            started_ms: settings.clock.now_ms(),
            route_key: String::new(),
            grant: None,
            denied: None,
            integration: None,
        }
    }

    /// The whole body came, whether or not its length was announced.
    pub(super) fn received(&mut self, body_bytes: usize) {
        self.request_bytes = bytes(body_bytes);
    }

    pub(super) fn finish(&self, reply: &Reply, took: Duration) {
        self.measure(reply, took);
        if let Some(log) = &self.stage.access_log {
            let line = log.line(|name| self.variable(name, reply, took));
            self.settings.logs.put(
                &log.group,
                &format!("access/{}", self.stage.name),
                self.started_ms,
                &line,
            );
        }
    }

    fn measure(&self, reply: &Reply, took: Duration) {
        let meter = Meter::of_http(self.settings, self.stage, &self.route_key);
        meter.count("Count", 1);
        // Zeroes are recorded too, so that the average of an error metric is the error rate.
        meter.count("4xx", u32::from(reply.status.is_client_error()));
        meter.count("5xx", u32::from(reply.status.is_server_error()));
        meter.record("Latency", millis(took), Unit::Milliseconds);
        if let Some(integration) = &self.integration {
            meter.record("IntegrationLatency", millis(integration.took), Unit::Milliseconds);
        }
        meter.record("DataProcessed", self.data_processed(reply), Unit::Bytes);
    }

    fn data_processed(&self, reply: &Reply) -> f64 {
        self.request_bytes + bytes(reply.body.len())
    }

    fn variable(&self, name: &str, reply: &Reply, took: Duration) -> Option<String> {
        match name {
            "status" => Some(reply.status.as_u16().to_string()),
            "responseLength" => Some(reply.body.len().to_string()),
            "responseLatency" => Some(took.as_millis().to_string()),
            "dataProcessed" => Some(self.data_processed(reply).to_string()),
            "error.message" => self.error_message(reply),
            "error.messageString" => Some(access_log::quoted(self.error_message(reply).as_deref())),
            "error.responseType" => Some(self.response_type(reply)?.to_owned()),
            _ => self.known_variable(name),
        }
    }

    /// A `$context` variable that is known before there is a reply.
    pub(super) fn known_variable(&self, name: &str) -> Option<String> {
        match name.strip_prefix("authorizer.") {
            Some("error") => self.denied.as_ref()?.error(),
            Some(name) => self.grant.as_ref()?.property(name),
            None => self
                .request_variable(name)
                .or_else(|| self.grant.as_ref()?.identity()?.variable(name))
                .or_else(|| self.integration.as_ref()?.variable(name)),
        }
    }

    /// A `$context` variable that is known when the request arrives: an authorizer may be asked by it.
    pub(super) fn request_variable(&self, name: &str) -> Option<String> {
        let value = match name {
            "requestId" | "extendedRequestId" => self.request_id.to_owned(),
            "accountId" => self.settings.account_id.to_string(),
            "apiId" | "domainPrefix" => self.stage.api_id.clone(),
            "domainName" => names::domain_name(self.settings, &self.stage.api_id),
            "stage" => self.stage.name.clone(),
            "routeKey" => self.route_key.clone(),
            "httpMethod" => self.method.clone(),
            "path" => self.path.to_owned(),
            "protocol" => "HTTP/1.1".to_owned(),
            "requestTime" => names::request_time(self.started_ms),
            "requestTimeEpoch" => (self.started_ms / 1_000).to_string(),
            "identity.sourceIp" => self.source_ip.to_owned(),
            "identity.userAgent" => self.user_agent.clone(),
            _ => return None,
        };
        Some(value)
    }

    /// The gateway's own message: only where it was the gateway that refused.
    fn error_message(&self, reply: &Reply) -> Option<String> {
        let is_answered = self.integration.as_ref().is_some_and(|call| call.error.is_none());
        if is_answered || !is_error(reply) { None } else { reply.own_message() }
    }

    fn response_type(&self, reply: &Reply) -> Option<&'static str> {
        self.error_message(reply)?;
        let status = reply.status.as_u16();
        Some(match &self.denied {
            Some(denied) => denied.response_type(status),
            None => access_log::response_type(status),
        })
    }
}

fn bytes(length: usize) -> f64 {
    u32::try_from(length).map_or(f64::MAX, f64::from)
}

fn is_error(reply: &Reply) -> bool {
    reply.status.is_client_error() || reply.status.is_server_error()
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
