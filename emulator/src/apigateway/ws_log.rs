//! What is said of one event of a connection, in metrics and in the access log, and there of a call of `@connections`.

use std::net::SocketAddr;

use http::header::USER_AGENT;
use http::{Method, Request, StatusCode};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::access_log;
use super::connections::Connection;
use super::http_log::millis;
use super::iam_authorizer::{self, Identity};
use super::integration::Integrated;
use super::live::LiveStage;
use super::measure::Meter;
use super::names;
use super::stage_authorizer::{Denied, Grant, text};
use super::ws_event::Moment;
use crate::metrics::Unit;
use crate::settings::Settings;

/// Recorded as a dash of every event of a WebSocket API, whose function was called or not.
const WITHOUT_VALUE: [&str; 6] = [
    "integration.error",
    "integration.integrationStatus",
    "integration.latency",
    "integration.requestId",
    "integration.status",
    "integrationStatus",
];

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
            "identity.sourceIp" => connection.source_ip.clone(),
            "identity.userAgent" => connection.user_agent.clone()?,
            _ => return common(self.settings, stage, moment.at_ms, name),
        };
        Some(value)
    }

    /// Writes the line of the access log.
    pub(super) fn log(&self, ended: &Ended<'_>) {
        write(self.settings, self.stage, self.moment.at_ms, |name| self.ended_variable(name, ended));
    }

    fn ended_variable(&self, name: &str, ended: &Ended<'_>) -> Option<String> {
        match name {
            "status" => Some(ended.status.to_string()),
            name if WITHOUT_VALUE.contains(&name) => None,
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

/// A call of `@connections`, to be written to the access log of its stage.
pub(super) struct ConnectionCall<'a> {
    settings: &'a Settings,
    stage: &'a LiveStage,
    /// As the path names it: the connection may be gone.
    connection_id: &'a str,
    route_key: &'static str,
    /// Unlike those of events, a UUID.
    pub(super) request_id: String,
    extended_request_id: String,
    at_ms: i64,
    source_ip: String,
    user_agent: Option<String>,
    identity: Option<Identity>,
}

impl<'a> ConnectionCall<'a> {
    /// None where there is no log.
    pub(super) fn begin<B>(
        settings: &'a Settings,
        stage: &'a LiveStage,
        connection_id: &'a str,
        request: &Request<B>,
        peer: SocketAddr,
    ) -> Option<Self> {
        stage.access_log.as_ref()?;
        let headers = request.headers();
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Some(Self {
            settings,
            stage,
            connection_id,
            route_key: route_key(request.method()),
            request_id: Uuid::new_v4().to_string(),
            extended_request_id: names::opaque_id(settings),
            at_ms: settings.clock.now_ms(),
            source_ip: peer.ip().to_string(),
            user_agent: agent.map(str::to_owned),
            identity: iam_authorizer::signed_by(settings, headers, request.uri().query()),
        })
    }

    /// Writes the line of the access log.
    pub(super) fn log(&self, status: StatusCode) {
        write(self.settings, self.stage, self.at_ms, |name| self.variable(name, status));
    }

    /// What of the connection, of the message and of the reason for a refusal is recorded as a dash has no value here.
    fn variable(&self, name: &str, status: StatusCode) -> Option<String> {
        let value = match name {
            "status" => status.as_u16().to_string(),
            "requestId" => self.request_id.clone(),
            "extendedRequestId" => self.extended_request_id.clone(),
            "eventType" => "CONNECTION_API".to_owned(),
            "routeKey" => self.route_key.to_owned(),
            // What cannot be an id may hold anything, a line break too.
            "connectionId" if names::is_opaque_id(self.connection_id) => self.connection_id.to_owned(),
            "integrationLatency" => "0".to_owned(),
            "error.messageString" => access_log::quoted(None),
            "identity.sourceIp" => self.source_ip.clone(),
            "identity.userAgent" => self.user_agent.clone()?,
            _ => {
                return common(self.settings, self.stage, self.at_ms, name)
                    .or_else(|| self.identity.as_ref()?.variable(name));
            }
        };
        Some(value)
    }
}

/// Empty for a method that `@connections` does not have.
fn route_key(method: &Method) -> &'static str {
    match *method {
        Method::POST => "POST /@connections/{connectionId}",
        Method::GET => "GET /@connections/{connectionId}",
        Method::DELETE => "DELETE /@connections/{connectionId}",
        _ => "",
    }
}

/// A `$context` variable of the stage or of the time.
fn common(settings: &Settings, stage: &LiveStage, at_ms: i64, name: &str) -> Option<String> {
    let value = match name {
        "apiId" | "domainPrefix" => stage.api_id.clone(),
        "accountId" => settings.account_id.to_string(),
        "domainName" => names::domain_name(settings, &stage.api_id),
        "stage" => stage.name.clone(),
        "requestTime" => names::request_time(at_ms),
        // In milliseconds, unlike that of HTTP APIs.
        "requestTimeEpoch" => at_ms.to_string(),
        _ => return None,
    };
    Some(value)
}

fn write(settings: &Settings, stage: &LiveStage, at_ms: i64, variable: impl Fn(&str) -> Option<String>) {
    let Some(log) = &stage.access_log else { return };
    let line = log.line(variable);
    settings.logs.put(&log.group, &format!("access/{}", stage.name), at_ms, &line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_connections_has_a_route_of_its_own_by_its_method() {
        assert_eq!(route_key(&Method::POST), "POST /@connections/{connectionId}");
        assert_eq!(route_key(&Method::GET), "GET /@connections/{connectionId}");
        assert_eq!(route_key(&Method::DELETE), "DELETE /@connections/{connectionId}");
        assert_eq!(route_key(&Method::PUT), "");
    }
}
