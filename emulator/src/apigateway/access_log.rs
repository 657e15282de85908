//! Access logs: the stage's format with `$context.*` filled in, one line per request.

use serde_json::Value;

use super::error::{ApiError, bad};
use super::model::{AccessLogSettings, Protocol};
use crate::logs::group_in_arn;

/// One of these must be in every format.
const REQUEST_IDS: [&str; 2] = ["requestId", "extendedRequestId"];

/// "The AWS endpoint's request ID": of Lambda, whose header is `x-amzn-requestid`.
const INVOCATION_IDS: [&str; 2] = ["integration.requestId", "awsEndpointRequestId"];

/// All that an HTTP API has, besides `authorizer.…`. AWS takes `resourcePath` as well, which has no value.
const OF_HTTP_APIS: [&str; 49] = [
    "accountId",
    "apiId",
    "awsEndpointRequestId",
    "awsEndpointRequestId2",
    "customDomain.basePathMatched",
    "dataProcessed",
    "domainName",
    "domainPrefix",
    "error.message",
    "error.messageString",
    "error.responseType",
    "extendedRequestId",
    "httpMethod",
    "identity.accountId",
    "identity.caller",
    "identity.clientCert.clientCertPem",
    "identity.clientCert.issuerDN",
    "identity.clientCert.serialNumber",
    "identity.clientCert.subjectDN",
    "identity.clientCert.validity.notAfter",
    "identity.clientCert.validity.notBefore",
    "identity.cognitoAuthenticationProvider",
    "identity.cognitoAuthenticationType",
    "identity.cognitoIdentityId",
    "identity.cognitoIdentityPoolId",
    "identity.principalOrgId",
    "identity.sourceIp",
    "identity.user",
    "identity.userAgent",
    "identity.userArn",
    "integration.error",
    "integration.integrationStatus",
    "integration.latency",
    "integration.requestId",
    "integration.status",
    "integrationErrorMessage",
    "integrationLatency",
    "integrationStatus",
    "path",
    "protocol",
    "requestId",
    "requestTime",
    "requestTimeEpoch",
    "resourcePath",
    "responseLatency",
    "responseLength",
    "routeKey",
    "stage",
    "status",
];

#[derive(Debug)]
pub(super) struct AccessLog {
    pub(super) group: String,
    /// Whether a line has the request id of an invocation, which is only made for one that does.
    pub(super) shows_invocations: bool,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Variable(String),
}

impl AccessLog {
    /// None when the destination is not a log group.
    pub(super) fn compile(settings: &AccessLogSettings) -> Option<Self> {
        let group = group_in_arn(settings.destination_arn.as_deref()?)?;
        let parts = parts(settings.format.as_deref().unwrap_or_default());
        let shows_invocations = parts
            .iter()
            .any(|part| matches!(part, Part::Variable(name) if INVOCATION_IDS.contains(&name.as_str())));
        Some(Self { group: group.to_owned(), shows_invocations, parts })
    }

    /// "-" stands for a variable that is unknown or empty.
    pub(super) fn line(&self, variable: impl Fn(&str) -> Option<String>) -> String {
        let mut line = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Variable(name) => match variable(name).filter(|value| !value.is_empty()) {
                    Some(value) => line.push_str(&value),
                    None => line.push('-'),
                },
            }
        }
        line
    }
}

/// What AWS refuses of a format. A WebSocket API takes any variable: one that it does not have is a dash.
///
/// # Errors
/// With the sentence of AWS.
pub(super) fn check(format: &str, protocol: Protocol) -> Result<(), ApiError> {
    let faulty = |fault: &str| {
        bad(format!("The following errors are found in Access Log Format: {fault}: '{format}'"))
    };
    if format.contains(['\r', '\n']) {
        return faulty("Access Log format must be single line");
    }
    let parts = parts(format);
    let variables = || {
        parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Variable(name) => Some(name.as_str()),
        })
    };
    let unknown: Vec<String> = variables()
        .filter(|name| protocol == Protocol::Http && !is_of_http_apis(name))
        .map(|name| format!("$context.{name}"))
        .collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        return bad(format!("The following context variables are not supported: [{unknown}]"));
    }
    if variables().any(|name| REQUEST_IDS.contains(&name)) {
        return Ok(());
    }
    faulty("Access Log format must include either $context.requestId or $context.extendedRequestId ")
}

pub(super) fn is_of_http_apis(name: &str) -> bool {
    let of_authorizer = name.strip_prefix("authorizer.").is_some_and(|property| !property.is_empty());
    of_authorizer || OF_HTTP_APIS.contains(&name)
}

/// "The quoted value of $context.error.message": a dash in quotes where there is none.
pub(super) fn quoted(message: Option<&str>) -> String {
    Value::from(message.filter(|message| !message.is_empty()).unwrap_or("-")).to_string()
}

/// The type of gateway response that an answer of the gateway's own has by its status.
pub(super) const fn response_type(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHORIZED",
        403 => "ACCESS_DENIED",
        413 => "REQUEST_TOO_LARGE",
        429 => "THROTTLED",
        502 => "INTEGRATION_FAILURE",
        504 => "INTEGRATION_TIMEOUT",
        500.. => "DEFAULT_5XX",
        _ => "DEFAULT_4XX",
    }
}

fn parts(format: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("$context.") {
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
            .unwrap_or(after.len());
        let name = after[..end].trim_end_matches(['.', '-']);
        parts.push(Part::Variable(name.to_owned()));
        rest = &after[name.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_unknown_ones_become_a_dash() {
        let settings = AccessLogSettings {
            destination_arn: Some("arn:aws:logs:us-east-1:123456789012:log-group:/api/x".into()),
            format: Some(
                r#"{"id":"$context.requestId","ip":"$context.identity.sourceIp","s":$context.status}"#.into(),
            ),
        };
        let log = AccessLog::compile(&settings).unwrap();
        let line = log.line(|name| match name {
            "requestId" => Some("r1".to_owned()),
            "status" => Some("202".to_owned()),
            _ => None,
        });
        assert_eq!(log.group, "/api/x");
        assert_eq!(line, r#"{"id":"r1","ip":"-","s":202}"#);
    }

    #[test]
    fn a_format_is_refused_for_what_aws_refuses() {
        let refusal = |format: &str, protocol| check(format, protocol).err().map(|error| error.to_string());
        let http = |format| refusal(format, Protocol::Http);
        let websocket = |format| refusal(format, Protocol::WebSocket);
        for fine in
            ["$context.requestId", r#"{"id":"$context.extendedRequestId","e":"$context.authorizer.error"}"#]
        {
            assert_eq!((http(fine), websocket(fine)), (None, None), "{fine}");
        }
        let prefix = "The following errors are found in Access Log Format: Access Log format must";
        for (format, fault) in [
            ("$context.requestId\n", "be single line: '$context.requestId\n'"),
            (
                "$context.status",
                "include either $context.requestId or $context.extendedRequestId : '$context.status'",
            ),
        ] {
            let expected = Some(format!("{prefix} {fault}"));
            assert_eq!((http(format), websocket(format)), (expected.clone(), expected));
        }
        let unknown = "$context.requestId $context.connectionId $context.authorizer. $context.nonsense";
        let expected = "The following context variables are not supported: [$context.connectionId, \
                        $context.authorizer, $context.nonsense]";
        assert_eq!(http(unknown).as_deref(), Some(expected));
        assert_eq!(websocket(unknown), None);
    }

    #[test]
    fn the_quoted_message_is_json_whatever_it_says() {
        assert_eq!(quoted(Some(r#"say "no""#)), r#""say \"no\"""#);
        assert_eq!((quoted(Some("")), quoted(None)), (r#""-""#.to_owned(), r#""-""#.to_owned()));
    }
}
