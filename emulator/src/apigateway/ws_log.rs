//! What is said of one event of a connection, in metrics and in the access log.

use super::connections::Connection;
use super::http_log::millis;
use super::integration::Integrated;
use super::live::LiveStage;
use super::measure::Meter;
use super::names;
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

impl Occasion<'_> {
    pub(super) fn meter(&self) -> Meter<'_> {
        Meter::new(self.settings, self.stage, self.route_key)
    }

    /// "IntegrationError: requests that return a 4XX/5XX response from the integration"; "ExecutionError: errors that
    /// occurred when calling the integration". Zeroes are recorded too, so that the average is a rate.
    pub(super) fn measure(&self, integrated: &Integrated) {
        let statuses = [integrated.lambda_status, integrated.function_status];
        let is_error = statuses.into_iter().flatten().any(|status| status >= 400);
        let meter = self.meter();
        meter.record("IntegrationLatency", millis(integrated.took), Unit::Milliseconds);
        meter.count("IntegrationError", u32::from(is_error));
        meter.count("ExecutionError", u32::from(integrated.error.is_some() && !is_error));
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

    /// One line, with the gateway's own message where it refused.
    pub(super) fn log(&self, status: u16, message: Option<&str>, integrated: Option<&Integrated>) {
        let Some(log) = &self.stage.access_log else { return };
        let line = log.line(|name| match name {
            "status" => Some(status.to_string()),
            "error.message" | "error.messageString" => message.map(str::to_owned),
            _ => self.variable(name).or_else(|| integrated?.variable(name)),
        });
        let stream = format!("access/{}", self.stage.name);
        self.settings.logs.put(&log.group, &stream, self.moment.at_ms, &line);
    }
}
