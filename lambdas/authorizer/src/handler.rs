//! Both authorizer events, and the answer that each API wants.

use std::collections::HashMap;

use lambda_runtime::Diagnostic;
use serde::Deserialize;
use serde_json::{Value, json};
use task_aws::event::map_or_null;
use task_aws::telemetry::WideEvent;
use task_core::Owner;
use task_core::ports::Clock;

use crate::keys::FetchJwks;
use crate::token::{Disbelief, Verifier};

/// HTTP API, format 2.0, or WebSocket `REQUEST`, which alone has `methodArn`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthorizerEvent {
    #[serde(default)]
    method_arn: Option<String>,
    #[serde(default, deserialize_with = "map_or_null")]
    headers: HashMap<String, String>,
    #[serde(default, deserialize_with = "map_or_null")]
    query_string_parameters: HashMap<String, String>,
}

impl AuthorizerEvent {
    /// From the header; browsers cannot set one on a WebSocket, hence the query.
    fn token(&self) -> Option<&str> {
        // HTTP APIs hand names over in lower case, WebSocket APIs as received.
        let header = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value);
        match header {
            Some(value) => bearer(value),
            // Only there: a token in a URL ends up in logs, so HTTP requests must not carry one.
            None if self.method_arn.is_some() => {
                self.query_string_parameters.get("token").map(String::as_str)
            }
            None => None,
        }
    }
}

/// RFC 9110: the scheme's case does not matter.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) async fn answer<F: FetchJwks, C: Clock>(
    verifier: &Verifier<F, C>,
    event: &AuthorizerEvent,
    request_id: &str,
    trace: Option<&str>,
) -> Result<Value, Diagnostic> {
    let mut wide = WideEvent::begin("authorizer", request_id, trace);
    let owner = verifier.owner(event.token()).await;
    match &owner {
        Ok(owner) => {
            wide.count("authorized", 1);
            wide.owner(owner);
        }
        Err(disbelief) => {
            wide.count("refused", 1);
            wide.field("reason", disbelief.to_string());
        }
    }
    if owner == Err(Disbelief::NoKeys) {
        // Not a refusal: API Gateway would cache that, and honest clients would look for the fault in their token.
        return Err(Diagnostic {
            error_type: "NoKeys".to_owned(),
            error_message: Disbelief::NoKeys.to_string(),
        });
    }
    let owner = owner.ok();
    Ok(match &event.method_arn {
        Some(arn) => policy(arn, owner.as_ref()),
        None => simple(owner.as_ref()),
    })
}

fn simple(owner: Option<&Owner>) -> Value {
    match owner {
        Some(owner) => json!({"isAuthorized": true, "context": {"sub": owner}}),
        None => json!({"isAuthorized": false}),
    }
}

/// WebSocket APIs know policies only.
fn policy(arn: &str, owner: Option<&Owner>) -> Value {
    let effect = if owner.is_some() { "Allow" } else { "Deny" };
    let mut answer = json!({
        "principalId": owner.map_or("nobody", Owner::as_str),
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": arn}],
        },
    });
    if let Some(owner) = owner {
        answer["context"] = json!({"sub": owner});
    }
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::AuthorizerEvent;

    #[test]
    fn a_request_without_a_query_has_no_map_an_empty_one_or_null() {
        let headers = json!({"authorization": "Bearer abc"});
        for event in [
            json!({"headers": headers}),
            json!({"headers": headers, "queryStringParameters": null}),
            json!({"headers": headers, "queryStringParameters": {}}),
        ] {
            let read: AuthorizerEvent = serde_json::from_value(event.clone()).unwrap();
            assert_eq!(read.token(), Some("abc"), "{event}");
        }
        let nothing: AuthorizerEvent = serde_json::from_value(json!({"headers": null})).unwrap();
        assert_eq!(nothing.token(), None);
    }
}
