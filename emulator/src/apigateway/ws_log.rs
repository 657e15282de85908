//! What is said of one event of a connection, in metrics and in the access log.

use serde_json::{Map, Value};

use super::access_log;
use super::connections::Connection;
use super::http_log::millis;
use super::integration::Integrated;
use super::live::LiveStage;
use super::measure::Meter;
use super::names;
use super::stage_authorizer::{Denied, Grant, text};
use super::ws_event::Moment;
use crate::metrics::Unit;
use crate::settings::Settings;

#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) settings: &'a Settings,
    pub(super) stage: &'a LiveStage,
    pub(super) connection: &'a Connection,
    pub(super) moment: &'a Moment,
    pub(super) event_type: &'static str,
    /// Empty where no route was selected.
    pub(super) route_key: &'a str,
}

/// How an event ended, for its line in the access log.
#[derive(Clone, Copy, Default)]
pub(super) struct Ended<'a> {
    pub(super) status: u16,
    /// The gateway's own, where it refused.
    pub(super) message: Option<&'a str>,
    /// Of `$connect`.
    pub(super) grant: Option<&'a Grant>,
    pub(super) denied: Option<&'a Denied>,
    /// Where the function was called.
    pub(super) integrated: Option<&'a Integrated>,
}

impl Occasion<'_> {
    pub(super) fn meter(&self) -> Meter<'_> {
        Meter::of_websocket(self.settings, self.stage, self.route_key)
    }

    /// What a function answers counts as well: its 4XX with what the gateway refuses, its 5XX with the calls that have no
    /// usable answer. IntegrationError stays 0, and zeroes are recorded so that the average is a rate.
    pub(super) fn measure(&self, integrated: &Integrated) {
        let status = integrated.function_status.unwrap_or_default();
        let meter = self.meter();
        meter.record("IntegrationLatency", millis(integrated.took), Unit::Milliseconds);
        meter.count("IntegrationError", 0);
        meter.count("ExecutionError", u32::from(integrated.error.is_some() || status >= 500));
        if integrated.error.is_none() && (400..500).contains(&status) {
            meter.count("ClientError", 1);
        }
    }

    /// A `$context` variable that is known before anything is answered: an authorizer may be asked by it.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let Self { connection, moment, stage, .. } = self;
        let value = match name {
            "requestId" | "extendedRequestId" => moment.request_id.clone(),
            "messageId" => moment.message_id.clone()?,
            "messageDirection" => "IN".to_owned(),
            "connectionId" => connection.id.clone(),
            "connectedAt" => connection.connected_ms.to_string(),
            "eventType" => self.event_type.to_owned(),
            "routeKey" => self.route_key.to_owned(),
            "apiId" | "domainPrefix" => stage.api_id.clone(),
            "accountId" => self.settings.account_id.to_string(),
            "domainName" => names::domain_name(self.settings, &stage.api_id),
            "stage" => stage.name.clone(),
            "requestTime" => names::request_time(moment.at_ms),
            "requestTimeEpoch" => (moment.at_ms / 1_000).to_string(),
            "identity.sourceIp" => connection.source_ip.clone(),
            "identity.userAgent" => connection.user_agent.clone()?,
            _ => return None,
        };
        Some(value)
    }

    /// Writes the line of the access log.
    pub(super) fn log(&self, ended: &Ended<'_>) {
        let Some(log) = &self.stage.access_log else { return };
        let line = log.line(|name| self.ended_variable(name, ended));
        let stream = format!("access/{}", self.stage.name);
        self.settings.logs.put(&log.group, &stream, self.moment.at_ms, &line);
    }

    fn ended_variable(&self, name: &str, ended: &Ended<'_>) -> Option<String> {
        match name {
            "status" => Some(ended.status.to_string()),
            "error.message" => ended.message.map(str::to_owned),
            "error.messageString" => Some(access_log::quoted(ended.message)),
            "error.responseType" => Some(ended.response_type()?.to_owned()),
            _ => match name.strip_prefix("authorizer.") {
                Some("error") => ended.denied?.error(),
                Some(name) => self.authorizer(name, ended.grant),
                None => self
                    .variable(name)
                    .or_else(|| ended.grant?.identity()?.variable(name))
                    .or_else(|| ended.integrated?.variable(name)),
            },
        }
    }

    /// What an authorizer said: now, or when the connection was made.
    fn authorizer(&self, name: &str, grant: Option<&Grant>) -> Option<String> {
        if let Some(grant) = grant {
            return grant.property(name);
        }
        let lasting: Map<String, Value> =
            serde_json::from_str(self.connection.authorizer.get()?.get()).ok()?;
        lasting.get(name).map(text)
    }
}

impl Ended<'_> {
    fn response_type(&self) -> Option<&'static str> {
        self.message?;
        Some(match self.denied {
            Some(denied) => denied.response_type(self.status),
            None => access_log::response_type(self.status),
        })
    }
}
