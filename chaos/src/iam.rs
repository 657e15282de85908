//! The calls to IAM that the harness needs: the inline policy of a role, read, put and deleted, and the account's aliases;
//! and the one that makes a role for it.
//!
//! IAM speaks AWS's oldest protocol, a form that is answered with XML. A generated client has 170 operations, and would take
//! longer to compile than all of this harness.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_sqs::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use loadtest::loopback::client_for;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::StatusCode;
use serde_json::json;

use crate::cloud::CallError;

/// IAM is global: one endpoint, signed for this Region.
const ENDPOINT: &str = "https://iam.amazonaws.com";
const REGION: &str = "us-east-1";
const API_VERSION: &str = "2010-05-08";
const CONTENT_TYPE: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const ABSENT: &str = "<Code>NoSuchEntity</Code>";
/// Of one attempt.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// As many as the SDK's clients make.
const ATTEMPTS_MAX: u32 = 3;
/// A throttle lets a call through again within a second.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(500);
/// `Throttling`, which IAM answers with status 400, and its kin.
const THROTTLED: &str = "<Code>Throttl";

/// The inline policy of a role.
#[derive(Clone, Copy, Debug)]
pub struct RolePolicy<'a> {
    pub role: &'a str,
    pub name: &'a str,
}

impl<'a> RolePolicy<'a> {
    fn fields(self) -> [(&'static str, &'a str); 2] {
        [("RoleName", self.role), ("PolicyName", self.name)]
    }
}

/// A failed attempt.
struct Failed {
    error: CallError,
    /// The next one may succeed.
    is_passing: bool,
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self { error, is_passing: false }
    }
}

impl Failed {
    fn on_the_way(operation: &'static str) -> impl Fn(reqwest::Error) -> Self {
        move |error| Self { error: CallError::of(operation)(error), is_passing: true }
    }
}

#[derive(Clone, Debug)]
pub struct Iam {
    http: reqwest::Client,
    endpoint: String,
    credentials: Option<SharedCredentialsProvider>,
}

impl Iam {
    pub(crate) fn new(config: &SdkConfig, endpoint: Option<&str>) -> Self {
        let endpoint = endpoint.unwrap_or(ENDPOINT).trim_end_matches('/').to_owned();
        let http = client_for(&endpoint).build().expect("invariant: it is built like `Client::new`");
        Self { http, endpoint, credentials: config.credentials_provider() }
    }

    /// The document as it was put; `None` when the role has no policy of this name.
    pub async fn get(&self, policy: RolePolicy<'_>) -> Result<Option<String>, CallError> {
        let operation = "iam:GetRolePolicy";
        let answer = self.call(operation, "GetRolePolicy", &policy.fields()).await?;
        let Some(answer) = answer else { return Ok(None) };
        let document = between(&answer, "<PolicyDocument>", "</PolicyDocument>")
            .ok_or_else(|| CallError::new(operation, "no policy document answered"))?;
        let document = percent_decode_str(document).decode_utf8().map_err(CallError::of(operation))?;
        Ok(Some(document.into_owned()))
    }

    pub async fn put(&self, policy: RolePolicy<'_>, document: &str) -> Result<(), CallError> {
        let operation = "iam:PutRolePolicy";
        let [role, name] = policy.fields();
        let answer =
            self.call(operation, "PutRolePolicy", &[role, name, ("PolicyDocument", document)]).await?;
        answer.map(drop).ok_or_else(|| CallError::new(operation, format!("no role {}", policy.role)))
    }

    /// A role that identities of this account may assume, where their own policies let them.
    pub async fn create_role(&self, name: &str, account_id: &str) -> Result<(), CallError> {
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": account_id}, "Action": "sts:AssumeRole"}
        ]});
        let fields = [("RoleName", name), ("AssumeRolePolicyDocument", &trust.to_string())];
        self.call("iam:CreateRole", "CreateRole", &fields).await.map(drop)
    }

    /// Deleting what is not there is no error.
    pub async fn delete(&self, policy: RolePolicy<'_>) -> Result<(), CallError> {
        self.call("iam:DeleteRolePolicy", "DeleteRolePolicy", &policy.fields()).await.map(drop)
    }

    /// What people call the account: no name, or one.
    pub async fn account_aliases(&self) -> Result<Vec<String>, CallError> {
        let operation = "iam:ListAccountAliases";
        let answer = self.call(operation, "ListAccountAliases", &[]).await?;
        Ok(answer.as_deref().map(aliases).unwrap_or_default())
    }

    /// `None` when what was asked for is not there.
    async fn call(
        &self,
        operation: &'static str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<Option<String>, CallError> {
        let mut attempt = 1;
        loop {
            match self.attempt(operation, action, fields).await {
                Err(failed) if failed.is_passing && attempt < ATTEMPTS_MAX => {
                    attempt += 1;
                    tokio::time::sleep(ATTEMPT_PAUSE).await;
                }
                outcome => return outcome.map_err(|failed| failed.error),
            }
        }
    }

    async fn attempt(
        &self,
        operation: &'static str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<Option<String>, Failed> {
        let body = form(action, fields);
        let url = format!("{}/", self.endpoint);
        let mut request = self.http.post(&url).timeout(CALL_LIMIT).header(CONTENT_TYPE.0, CONTENT_TYPE.1);
        for (name, value) in self.signature(operation, &url, &body).await? {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await.map_err(Failed::on_the_way(operation))?;
        let status = answer.status();
        let text = answer.text().await.map_err(Failed::on_the_way(operation))?;
        match status {
            _ if status.is_success() => Ok(Some(text)),
            _ if text.contains(ABSENT) => Ok(None),
            _ => {
                let message = between(&text, "<Message>", "</Message>").unwrap_or(&text);
                let error = CallError::new(operation, format!("{status}: {message}"));
                let is_busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                Err(Failed { error, is_passing: is_busy || text.contains(THROTTLED) })
            }
        }
    }

    async fn signature(
        &self,
        operation: &'static str,
        url: &str,
        body: &str,
    ) -> Result<Vec<(String, String)>, CallError> {
        let Some(provider) = &self.credentials else {
            return Err(CallError::new(operation, "there are no credentials"));
        };
        let identity = provider.provide_credentials().await.map_err(CallError::of(operation))?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name("iam")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(CallError::of(operation))?
            .into();
        let body = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new("POST", url, [CONTENT_TYPE].into_iter(), body)
            .map_err(CallError::of(operation))?;
        let (instructions, _) = sign(request, &parameters).map_err(CallError::of(operation))?.into_parts();
        let headers = instructions.headers();
        Ok(headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

fn form(action: &str, fields: &[(&str, &str)]) -> String {
    let head = [("Action", action), ("Version", API_VERSION)];
    let fields = head.iter().chain(fields);
    let fields =
        fields.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    fields.collect::<Vec<_>>().join("&")
}

fn aliases(answer: &str) -> Vec<String> {
    let list = between(answer, "<AccountAliases>", "</AccountAliases>").unwrap_or_default();
    let names = list.split("<member>").skip(1).filter_map(|rest| rest.split_once("</member>"));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inside, _)| inside.trim())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use tokio::net::TcpListener;

    use super::*;
    use crate::cloud::Cloud;

    type Answers = Arc<Mutex<VecDeque<(StatusCode, &'static str)>>>;

    /// An IAM that gives these answers, one after the other.
    async fn iam(answers: &Answers) -> Iam {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::clone(answers);
        let answer = move || {
            let answer = answers.lock().unwrap().pop_front().unwrap();
            async move { answer }
        };
        tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
        Cloud::connect(Some(&endpoint), REGION).await.iam
    }

    #[tokio::test]
    async fn a_call_that_may_pass_the_next_time_is_tried_again_and_no_other() {
        let throttled =
            (StatusCode::BAD_REQUEST, "<Error><Code>Throttling</Code><Message>Rate</Message></Error>");
        let denied = (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
        let done = (StatusCode::OK, "<AccountAliases><member>acme-dev</member></AccountAliases>");
        let busy = (StatusCode::SERVICE_UNAVAILABLE, "");
        for (given, is_done, left) in [
            (vec![throttled, busy, done], true, 0),
            (vec![busy, throttled, busy, done], false, 1),
            (vec![denied, done], false, 1),
        ] {
            let answers: Answers = Arc::new(Mutex::new(given.into()));
            let outcome = iam(&answers).await.account_aliases().await;
            assert_eq!((outcome.is_ok(), answers.lock().unwrap().len()), (is_done, left), "{outcome:?}");
        }
    }

    #[test]
    fn a_form_carries_any_document() {
        let policy = RolePolicy { role: "local-process-task", name: "p" };
        let [role, name] = policy.fields();
        let text = form("PutRolePolicy", &[role, name, ("PolicyDocument", r#"{"a":"b&c=d"}"#)]);
        assert!(
            text.starts_with("Action=PutRolePolicy&Version=2010%2D05%2D08&RoleName=local%2Dprocess%2Dtask")
        );
        assert!(text.ends_with("PolicyDocument=%7B%22a%22%3A%22b%26c%3Dd%22%7D"), "{text}");
    }

    #[test]
    fn an_account_has_the_aliases_that_it_lists() {
        let none = "<ListAccountAliasesResult><AccountAliases/><IsTruncated>false</IsTruncated>";
        assert_eq!(aliases(none), Vec::<String>::new());
        let one = "<AccountAliases>\n<member>acme-prod</member>\n</AccountAliases>";
        assert_eq!(aliases(one), ["acme-prod"]);
    }

    #[test]
    fn what_stands_between_two_tags_is_found() {
        assert_eq!(between("<a><Message> no </Message></a>", "<Message>", "</Message>"), Some("no"));
        assert_eq!(between("<a/>", "<Message>", "</Message>"), None);
    }
}
