//! STS: who one is, and sessions of roles. The rest of its API is an engine's.

use std::sync::Arc;

use http::StatusCode;
use uuid::Uuid;

use super::context::Context;
use super::identity::Identity;
use super::needs::form_value;
use super::policy::Ask;
use super::principal::Caller;
use super::{Credentials, Signer, Validity, refusal};
use crate::clock::iso8601;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

const NAMESPACE: &str = " xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"";
/// "From 900 seconds (15 minutes) up to the maximum session duration set for the role", which is 12 hours at most.
const SECONDS: std::ops::RangeInclusive<i64> = 900..=43_200;
const SECONDS_DEFAULT: i64 = 3_600;
/// Of GetSessionToken: "from 900 seconds (15 minutes) to 129,600 seconds (36 hours), with 43,200 seconds (12 hours) as the default".
const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 900..=129_600;
const TOKEN_SECONDS_DEFAULT: i64 = 43_200;
/// "Role chaining limits your role session to a maximum of one hour."
const CHAINED_SECONDS_MAX: i64 = 3_600;
const NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=64;
const NAME_PUNCTUATION: &[u8] = b"_+=,.@-";

/// The API in front of the engine that has the rest of it.
pub struct StsApi {
    settings: Settings,
    engine: Arc<dyn Service>,
}

impl std::fmt::Debug for StsApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StsApi").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {rule}")]
    Constraint { member: &'static str, value: String, rule: &'static str },
    #[error("{0} is invalid")]
    RoleArn(String),
    #[error("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")]
    TooLong,
    #[error(
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
    )]
    ChainedTooLong,
    #[error("session policies are not emulated: pass neither Policy nor PolicyArns")]
    SessionPolicy,
    #[error("session tags and source identities are not emulated: pass neither Tags nor SourceIdentity")]
    SessionTags,
    #[error("MFA is not emulated: pass neither SerialNumber nor TokenCode")]
    Mfa,
    #[error("Cannot call GetSessionToken with session credentials")]
    OfSession,
    #[error("User: {principal} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")]
    Denied { principal: String, role_arn: String },
}

impl Refused {
    fn response(&self) -> AwsResponse {
        let (status, code) = match self {
            Self::Denied { .. } | Self::OfSession => (StatusCode::FORBIDDEN, "AccessDenied"),
            _ => (StatusCode::BAD_REQUEST, "ValidationError"),
        };
        refusal::query(status, NAMESPACE, code, &self.to_string())
    }
}

/// What an AssumeRole asks for.
struct Wanted {
    role_arn: String,
    name: String,
    seconds: i64,
}

impl Wanted {
    fn read(request: &AwsRequest) -> Result<Self, Refused> {
        let required = |member: &'static str, name: &str| {
            let absent =
                || Refused::Constraint { member, value: "null".to_owned(), rule: "Member must not be null" };
            form_value(request, name).ok_or_else(absent)
        };
        let wanted = Self {
            role_arn: required("roleArn", "RoleArn")?,
            name: required("roleSessionName", "RoleSessionName")?,
            seconds: seconds(request, SECONDS_DEFAULT)?,
        };
        wanted.check()?;
        let is_given = |name| form_value(request, name).is_some();
        if is_given("Policy") || is_given("PolicyArns.member.1.arn") {
            return Err(Refused::SessionPolicy);
        }
        if ["Tags.member.1.Key", "TransitiveTagKeys.member.1", "SourceIdentity"].into_iter().any(is_given) {
            return Err(Refused::SessionTags);
        }
        Ok(wanted)
    }

    fn check(&self) -> Result<(), Refused> {
        let constraint = |member, value: &dyn std::fmt::Display, rule| {
            Err(Refused::Constraint { member, value: format!("'{value}'"), rule })
        };
        let is_role = |arn: &str| arn.starts_with("arn:") && arn.contains(":role/");
        if !is_role(&self.role_arn) {
            return Err(Refused::RoleArn(self.role_arn.clone()));
        }
        if !NAME_CHARS.contains(&self.name.len()) {
            let rule = "Member must have length between 2 and 64";
            return constraint("roleSessionName", &self.name, rule);
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || NAME_PUNCTUATION.contains(&byte);
        if !self.name.bytes().all(is_name) {
            let rule = "Member must satisfy regular expression pattern: [\\w+=,.@-]*";
            return constraint("roleSessionName", &self.name, rule);
        }
        if !SECONDS.contains(&self.seconds) {
            let rule = "Member must have value between 900 and 43200";
            return constraint("durationSeconds", &self.seconds, rule);
        }
        Ok(())
    }
}

fn seconds(request: &AwsRequest, default: i64) -> Result<i64, Refused> {
    let given = form_value(request, "DurationSeconds");
    given.map_or(Ok(default), |text| text.parse().map_err(|_| text)).map_err(|value| Refused::Constraint {
        member: "durationSeconds",
        value: format!("'{value}'"),
        rule: "Member must be a number",
    })
}

impl StsApi {
    #[must_use]
    pub fn new(settings: &Settings, engine: Arc<dyn Service>) -> Self {
        Self { settings: settings.clone(), engine }
    }

    async fn answer(&self, request: AwsRequest) -> AwsResponse {
        let signer = self.settings.iam.signer(&request.access_key_id);
        let signer = signer.as_deref();
        match (form_value(&request, "Action").as_deref(), signer) {
            (Some("AssumeRole"), _) => {
                self.assume_role(&request, signer).unwrap_or_else(|refused| refused.response())
            }
            // What the engine gives to the administrator is the administrator's, too.
            (Some("GetSessionToken"), Some(user)) => {
                self.session_token(&request, user).unwrap_or_else(|refused| refused.response())
            }
            // Of temporary keys that are not ours the engine knows whose they are.
            (Some("GetCallerIdentity"), _)
                if signer.is_some() || !request.access_key_id.starts_with("ASIA") =>
            {
                self.identity(signer)
            }
            _ => self.engine.handle(request).await,
        }
    }

    /// That the policies of the caller allow it was asked before; here it is the role's turn.
    fn assume_role(&self, request: &AwsRequest, by: Option<&Signer>) -> Result<AwsResponse, Refused> {
        let wanted = Wanted::read(request)?;
        let role = self.trusting_role(request, &wanted, by)?;
        if role.role.as_ref().is_none_or(|role| wanted.seconds > role.session_seconds_max) {
            return Err(Refused::TooLong);
        }
        let is_chained = by.is_some_and(|by| by.caller().session_name().is_some());
        if is_chained && wanted.seconds > CHAINED_SECONDS_MAX {
            return Err(Refused::ChainedTooLong);
        }
        let ends_ms = self.settings.clock.now_ms() + wanted.seconds * 1_000;
        let validity = Validity::Until { ends_ms };
        let identity_id = Some(role.unique_id.clone());
        let session = Signer { validity, identity_id, ..Signer::session(&role.arn, &wanted.name) };
        let arn = session.arn.clone();
        let credentials = self.settings.iam.inner.sessions.issue(&self.settings.random, session);
        Ok(assumed(&credentials, ends_ms, &arn, &format!("{}:{}", role.unique_id, wanted.name)))
    }

    /// With it one may do what the user may.
    fn session_token(&self, request: &AwsRequest, by: &Signer) -> Result<AwsResponse, Refused> {
        if by.caller().session_name().is_some() || by.validity != Validity::Lasting {
            return Err(Refused::OfSession);
        }
        if ["SerialNumber", "TokenCode"].into_iter().any(|name| form_value(request, name).is_some()) {
            return Err(Refused::Mfa);
        }
        let seconds = seconds(request, TOKEN_SECONDS_DEFAULT)?;
        if !TOKEN_SECONDS.contains(&seconds) {
            let rule = "Member must have value between 900 and 129600";
            let value = format!("'{seconds}'");
            return Err(Refused::Constraint { member: "durationSeconds", value, rule });
        }
        let ends_ms = self.settings.clock.now_ms() + seconds * 1_000;
        let identity_id = self.settings.iam.user_id(by);
        let session = Signer { validity: Validity::Until { ends_ms }, identity_id, ..by.clone() };
        let credentials = self.settings.iam.inner.sessions.issue(&self.settings.random, session);
        Ok(succeeded("GetSessionToken", &shown(&credentials, ends_ms)))
    }

    /// A role that is not there is refused as one that trusts nobody: nobody can find out which names are taken.
    fn trusting_role(
        &self,
        request: &AwsRequest,
        wanted: &Wanted,
        by: Option<&Signer>,
    ) -> Result<Arc<Identity>, Refused> {
        let iam = &self.settings.iam;
        let account_id: &str = &self.settings.account_id;
        let (caller, principal) = match by {
            Some(signer) => (signer.caller(), signer.arn.clone()),
            None => (Caller::Root { account_id }, format!("arn:aws:iam::{account_id}:root")),
        };
        let external_id = form_value(request, "ExternalId");
        let mut pairs = vec![("sts:rolesessionname", wanted.name.as_str())];
        pairs.extend(external_id.as_deref().map(|id| ("sts:externalid", id)));
        let context = Context::with(self.settings.clock.now_ms(), &pairs);
        let ask = Ask { action: "sts:AssumeRole", resource: &wanted.role_arn, context };
        let identities = iam.identities();
        let own = by.and_then(|signer| identities.get(&signer.identity_arn));
        let role = identities.get(&wanted.role_arn);
        let role = role.filter(|role| !iam.is_enforced() || role.trusts(&ask, &caller, own.map(Arc::as_ref)));
        role.cloned().ok_or_else(|| Refused::Denied { principal, role_arn: wanted.role_arn.clone() })
    }

    fn identity(&self, signer: Option<&Signer>) -> AwsResponse {
        let account_id = &self.settings.account_id;
        let (arn, user_id) = match signer {
            Some(signer) => (signer.arn.clone(), self.settings.iam.user_id(signer).unwrap_or_default()),
            None => (format!("arn:aws:iam::{account_id}:root"), account_id.to_string()),
        };
        let result = format!("<Arn>{arn}</Arn><UserId>{user_id}</UserId><Account>{account_id}</Account>");
        succeeded("GetCallerIdentity", &result)
    }
}

impl Service for StsApi {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(self.answer(request))
    }
}

fn assumed(credentials: &Credentials, ends_ms: i64, arn: &str, id: &str) -> AwsResponse {
    let user =
        format!("<AssumedRoleUser><AssumedRoleId>{id}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>");
    succeeded("AssumeRole", &(user + &shown(credentials, ends_ms)))
}

fn shown(credentials: &Credentials, ends_ms: i64) -> String {
    let Credentials { access_key_id, secret_access_key, session_token } = credentials;
    let ends = iso8601(ends_ms);
    format!(
        "<Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{secret_access_key}</SecretAccessKey>\
         <SessionToken>{session_token}</SessionToken><Expiration>{ends}</Expiration></Credentials>"
    )
}

fn succeeded(operation: &str, result: &str) -> AwsResponse {
    let body = format!(
        "<{operation}Response{NAMESPACE}><{operation}Result>{result}\
         </{operation}Result><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{operation}Response>",
        Uuid::new_v4()
    );
    AwsResponse::new(StatusCode::OK, "text/xml", body)
}

#[cfg(test)]
mod tests;
