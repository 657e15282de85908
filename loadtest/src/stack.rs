//! `target/stack.json`: where a running stack is, and what it is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What `stack up` wrote about the stack that it applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The emulator's endpoint; `None` on AWS.
    pub endpoint: Option<String>,
    pub region: String,
    pub account_id: String,
    /// Base URL of the HTTP API, without a trailing slash.
    pub http_url: String,
    /// Base URL of the WebSocket API, stage included.
    pub websocket_url: String,
    pub http_api: Api,
    pub websocket_api: Api,
    /// By the function's own name in the repository, for example `process-task`.
    pub functions: BTreeMap<String, Function>,
    /// `tasks` and `tasks-dlq`.
    pub queues: BTreeMap<String, Queue>,
    /// `tasks` and `connections`.
    pub tables: BTreeMap<String, Table>,
    pub event_source_mapping_id: String,
    /// `None` where fault injection is off.
    pub fault_injection: Option<FaultInjection>,
    pub auth: Auth,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Api {
    pub id: String,
    pub stage: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// The deployed name, prefix included.
    pub name: String,
    pub arn: String,
    /// Of the role that it runs as.
    pub role_arn: String,
    pub timeout_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub url: String,
    pub arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility_timeout_seconds: Option<u32>,
    /// From the redrive policy; a dead-letter queue has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_receive_count: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub arn: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultInjection {
    pub role_arn: String,
    pub bucket: String,
    pub prefix: String,
    /// Functions know of a fault, and that it is over, at once: an emulator that was told so. On AWS each environment of a
    /// function learns of either at a time of its own.
    #[serde(default)]
    pub at_once: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    pub issuer: String,
    pub audience: String,
    /// Only where the stack made its own key pair (Ed25519, PKCS#8 PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_path: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("cannot read {}; is the stack up?", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: field `{field}` is not as expected", path.display())]
    Field { path: PathBuf, field: String, source: serde_json::Error },
    #[error("{}: field `{field}` is missing from the stack", path.display())]
    Missing { path: PathBuf, field: &'static str },
    #[error("{}: field `{field}` must begin with {expected}, but is {found:?}", path.display())]
    Scheme { path: PathBuf, field: &'static str, expected: &'static str, found: String },
}

impl Stack {
    /// Reads the file and checks what every user of it relies on.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, StackError> {
        let path = path.as_ref();
        let text =
            std::fs::read(path).map_err(|source| StackError::Read { path: path.to_owned(), source })?;
        let mut stack = Self::parse(&text, path)?;
        stack.auth.private_key_path = stack.auth.private_key_path.map(|key| resolve(path, key));
        Ok(stack)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, StackError> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let mut stack: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = error.path().to_string();
            StackError::Field { path: path.to_owned(), field, source: error.into_inner() }
        })?;
        check_scheme(path, "http_url", &stack.http_url, &["http://", "https://"])?;
        check_scheme(path, "websocket_url", &stack.websocket_url, &["ws://", "wss://"])?;
        stack.http_url.truncate(stack.http_url.trim_end_matches('/').len());
        stack.websocket_url.truncate(stack.websocket_url.trim_end_matches('/').len());
        if !stack.queues.contains_key("tasks") {
            return Err(StackError::Missing { path: path.to_owned(), field: "queues.tasks" });
        }
        Ok(stack)
    }

    /// After how many receives SQS moves a message of the task queue to the dead-letter queue.
    pub fn max_receive_count(&self) -> Option<u32> {
        self.queues.get("tasks").and_then(|queue| queue.max_receive_count)
    }
}

fn check_scheme(
    path: &Path,
    field: &'static str,
    found: &str,
    schemes: &'static [&'static str; 2],
) -> Result<(), StackError> {
    if schemes.iter().any(|scheme| found.starts_with(scheme)) {
        return Ok(());
    }
    Err(StackError::Scheme { path: path.to_owned(), field, expected: schemes[0], found: found.to_owned() })
}

/// The key's path is written relative to the repository, whose `target/` holds the file; a tool that runs elsewhere
/// must still find it.
fn resolve(stack_file: &Path, key: PathBuf) -> PathBuf {
    if key.is_absolute() || key.exists() {
        return key;
    }
    match stack_file.parent().and_then(Path::parent) {
        Some(repository) => repository.join(key),
        None => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = r#"{"endpoint":"http://127.0.0.1:4566","region":"us-east-1","account_id":"123456789012",
      "http_url":"http://127.0.0.1:4566/_aws/execute-api/abc/","websocket_url":"ws://127.0.0.1:4566/_aws/execute-api/def/live",
      "http_api":{"id":"abc","stage":"$default"},"websocket_api":{"id":"def","stage":"live"},
      "functions":{"submit-task":{"name":"local-submit-task","arn":"arn","role_arn":"arn","timeout_seconds":1}},
      "queues":{"tasks":{"url":"u","arn":"a","visibility_timeout_seconds":6,"max_receive_count":5},"tasks-dlq":{"url":"u","arn":"a"}},
      "tables":{"tasks":{"name":"t","arn":"a"},"connections":{"name":"c","arn":"a"}},
      "event_source_mapping_id":"uuid",
      "fault_injection":{"role_arn":"r","bucket":"b","prefix":"FisConfigs/"},
      "auth":{"issuer":"i","audience":"a","private_key_path":"target/stack/token-key.pem"}}"#;

    fn parse(text: &str) -> Result<Stack, StackError> {
        Stack::parse(text.as_bytes(), Path::new("target/stack.json"))
    }

    #[test]
    fn the_contract_s_example_parses_whole() {
        let stack = parse(CONTRACT).unwrap();
        assert_eq!(stack.max_receive_count(), Some(5));
        assert_eq!(stack.queues["tasks-dlq"].max_receive_count, None);
        assert_eq!(stack.http_url, "http://127.0.0.1:4566/_aws/execute-api/abc");
        let faults = stack.fault_injection.unwrap();
        assert_eq!((faults.prefix.as_str(), faults.at_once), ("FisConfigs/", false), "as on AWS");
    }

    #[test]
    fn a_stack_on_aws_has_no_endpoint_no_faults_and_no_key() {
        let text = CONTRACT
            .replace(r#""http://127.0.0.1:4566","region""#, r#"null,"region""#)
            .replace(r#"{"role_arn":"r","bucket":"b","prefix":"FisConfigs/"}"#, "null")
            .replace(r#","private_key_path":"target/stack/token-key.pem""#, "");
        let stack = parse(&text).unwrap();
        assert_eq!((stack.endpoint, stack.fault_injection, stack.auth.private_key_path), (None, None, None));
    }

    #[test]
    fn a_wrong_field_is_named_with_its_path() {
        let error =
            parse(&CONTRACT.replace(r#""timeout_seconds":1"#, r#""timeout_seconds":"1""#)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "target/stack.json: field `functions.submit-task.timeout_seconds` is not as expected"
        );
    }

    #[test]
    fn a_websocket_url_with_an_http_scheme_is_refused() {
        let error = parse(&CONTRACT.replace("ws://", "http://")).unwrap_err();
        assert!(error.to_string().contains("`websocket_url` must begin with ws://"), "{error}");
    }

    #[test]
    fn a_missing_file_says_which() {
        let error = Stack::load("/nowhere/stack.json").unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/stack.json; is the stack up?");
    }

    #[test]
    fn the_key_is_found_beside_the_repository_s_target_folder() {
        let key = resolve(Path::new("/repo/target/stack.json"), PathBuf::from("target/stack/no-such.pem"));
        assert_eq!(key, Path::new("/repo/target/stack/no-such.pem"));
    }
}
