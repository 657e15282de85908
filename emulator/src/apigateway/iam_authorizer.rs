//! Routes with `AWS_IAM`: "API Gateway invokes your API route only if the client has execute-api permission for the route."

use http::HeaderMap;
use serde::Serialize;

use super::stage_authorizer::{Denied, Grant};
use crate::iam::{self, Ask, Context};
use crate::server::{is_signed, signed_for};
use crate::settings::Settings;

const SERVICE: &str = "execute-api";

/// Who signed, as a function sees it in `requestContext.authorizer.iam`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) access_key: String,
    pub(super) account_id: String,
    pub(super) caller_id: String,
    /// Nobody here comes from Cognito or belongs to an organization.
    cognito_identity: Option<()>,
    principal_org_id: Option<()>,
    pub(super) user_arn: String,
    pub(super) user_id: String,
}

/// The same in the names of `requestContext.identity`: in format 1.0, and in the `$connect` event of a WebSocket API.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Signer<'a> {
    access_key: &'a str,
    account_id: &'a str,
    caller: &'a str,
    user: &'a str,
    user_arn: &'a str,
}

impl<'a> From<&'a Identity> for Signer<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self {
            access_key: &identity.access_key,
            account_id: &identity.account_id,
            caller: &identity.caller_id,
            user: &identity.user_id,
            user_arn: &identity.user_arn,
        }
    }
}

impl Identity {
    /// `$context.identity…` in an access log.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match name {
            "identity.caller" | "identity.user" => Some(self.user_id.clone()),
            "identity.userArn" => Some(self.user_arn.clone()),
            "identity.accountId" => Some(self.account_id.clone()),
            _ => None,
        }
    }
}

/// Lets in whoever signed for this service and may invoke `arn`; all others are told the same.
pub(super) fn authorize(
    settings: &Settings,
    arn: &str,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Grant, Denied> {
    identify(settings, arn, headers, query).map(Grant::Iam).ok_or(Denied::Forbidden)
}

fn identify(settings: &Settings, arn: &str, headers: &HeaderMap, query: Option<&str>) -> Option<Identity> {
    if !is_signed(headers, query) {
        return None;
    }
    let (access_key, _) = signed_for(headers, query).filter(|(_, service)| service == SERVICE)?;
    let Some(signer) = settings.iam.signer(&access_key) else {
        return Some(administrator(settings, access_key));
    };
    let context = Context::at(settings.clock.now_ms());
    let ask = Ask { action: "execute-api:Invoke", resource: arn, context };
    settings.iam.check(&signer, &ask).ok()?;
    Some(of_signer(settings, &signer, access_key))
}

/// Who signed a request, whether that may do anything or not.
pub(super) fn signed_by(settings: &Settings, headers: &HeaderMap, query: Option<&str>) -> Option<Identity> {
    if !is_signed(headers, query) {
        return None;
    }
    let (access_key, _) = signed_for(headers, query)?;
    Some(match settings.iam.signer(&access_key) {
        Some(signer) => of_signer(settings, &signer, access_key),
        None => administrator(settings, access_key),
    })
}

fn administrator(settings: &Settings, access_key: String) -> Identity {
    let account_id = settings.account_id.to_string();
    Identity {
        access_key,
        caller_id: account_id.clone(),
        cognito_identity: None,
        principal_org_id: None,
        user_arn: format!("arn:aws:iam::{account_id}:root"),
        user_id: account_id.clone(),
        account_id,
    }
}

fn of_signer(settings: &Settings, signer: &iam::Signer, access_key: String) -> Identity {
    let user_id = settings.iam.user_id(signer).unwrap_or_default();
    Identity {
        access_key,
        account_id: signer.account_id.clone(),
        caller_id: user_id.clone(),
        cognito_identity: None,
        principal_org_id: None,
        user_arn: signer.arn.clone(),
        user_id,
    }
}
