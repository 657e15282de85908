//! Resource policies: who else may invoke a function.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::control::on_function;
use super::error::LambdaError;
use super::input::one_of;
use super::names::{FunctionRef, is_alias};
use super::publish::unknown_alias;
use super::router::{Answer, Call, empty, json};
use super::store::{Function, LATEST};
use super::{Lambda, is_older_call};
use crate::iam::{self, Ask, Caller, Context, PolicySource};
use crate::invoke::Source;
use crate::repeatable;

/// AWS quota: a resource policy has at most 20 KB.
const POLICY_MAX_BYTES: usize = 20_480;
/// What the names of services end with.
const SERVICES: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];
/// Services with names of their own.
const SKILLS: [&str; 2] = ["alexa-appkit.amazon.com", "alexa-connectedhome.amazon.com"];

#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) statements: Vec<Value>,
    /// The same, read; made anew with every change.
    rules: Option<Arc<iam::Policy>>,
}

impl Policy {
    fn document(&self) -> String {
        json!({"Version": "2012-10-17", "Id": "default", "Statement": self.statements}).to_string()
    }

    fn changed(&mut self) {
        self.rules = iam::Policy::parse(&self.document(), iam::Kind::Resource).ok().map(Arc::new);
    }

    fn position(&self, sid: &str) -> Option<usize> {
        self.statements.iter().position(|statement| statement["Sid"] == sid)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddInput {
    statement_id: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    source_arn: Option<String>,
    source_account: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    event_source_token: Option<String>,
    function_url_auth_type: Option<String>,
    revision_id: Option<String>,
}

pub(crate) fn add(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let input: AddInput = call.body()?;
    let required = |value: &Option<String>, member: &str| {
        value.clone().ok_or_else(|| LambdaError::validation("null", member, "Member must not be null"))
    };
    let sid = required(&input.statement_id, "statementId")?;
    let action = required(&input.action, "action")?;
    let principal = required(&input.principal, "principal")?;
    if sid.is_empty() || !sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        let constraint = "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)";
        return Err(LambdaError::validation(&sid, "statementId", constraint));
    }
    if action != "*" && !action.starts_with("lambda:") {
        let constraint = r"Member must satisfy regular expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])";
        return Err(LambdaError::validation(&action, "action", constraint));
    }
    if let Some(kind) = &input.function_url_auth_type {
        one_of(kind, "functionUrlAuthType", &["NONE", "AWS_IAM"])?;
    }
    let qualifier = function.qualifier.as_deref();
    if qualifier == Some(LATEST) && !is_older_call() {
        let message = "We currently do not support adding policies for $LATEST.";
        return Err(LambdaError::invalid_parameter(message));
    }
    check_principal(lambda, &principal)?;
    on_function(lambda, &function, |found, now_ms| {
        check_revision(found, qualifier, input.revision_id.as_deref(), now_ms)?;
        let resource = qualifier.map_or(found.arn.clone(), |qualifier| format!("{}:{qualifier}", found.arn));
        let policy = found.policies.entry(qualifier.unwrap_or_default().to_owned()).or_default();
        if policy.position(&sid).is_some() {
            return Err(LambdaError::conflict(format!(
                "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."
            )));
        }
        let statement = statement(&sid, &action, &principal, &resource, &input);
        let text = statement.to_string();
        if policy.document().len() + text.len() > POLICY_MAX_BYTES {
            return Err(LambdaError {
                status: 400,
                code: "PolicyLengthExceededException",
                message: format!(
                    "The final policy size ({}) is bigger than the limit ({POLICY_MAX_BYTES}).",
                    policy.document().len() + text.len()
                ),
                reason: None,
            });
        }
        policy.statements.push(statement);
        policy.changed();
        lambda.renew(found, qualifier);
        Ok(json(StatusCode::CREATED, &json!({"Statement": text})))
    })
}

/// A permission is for everybody, an account, somebody in one or a service.
fn check_principal(lambda: &Lambda, principal: &str) -> Result<(), LambdaError> {
    let settings = &lambda.inner.host.settings;
    let may_be = match principal.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, service, "", account, name] => {
            partition.starts_with("aws")
                && is_account(account)
                && is_identity(service, name)
                && settings.iam.may_be_named(&settings.account_id, principal)
        }
        [name] => *name == "*" || is_account(name) || is_service(name),
        _ => false,
    };
    // An older emulator took anybody.
    if may_be || repeatable::is_repeated() {
        return Ok(());
    }
    let message = "The provided principal was invalid. Please check the principal and try again.";
    Err(LambdaError::invalid_parameter(message))
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// By the last part of its ARN.
fn is_identity(service: &str, name: &str) -> bool {
    let is_one_of = |kinds: [&str; 2]| kinds.into_iter().any(|kind| name.starts_with(kind));
    match service {
        "iam" => name == "root" || is_one_of(["role/", "user/"]),
        "sts" => is_one_of(["assumed-role/", "federated-user/"]),
        _ => false,
    }
}

/// Which services there are nobody here knows.
fn is_service(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_of_aws = |suffix: &&str| {
        name.strip_suffix(*suffix).is_some_and(|service| !service.is_empty() && service.bytes().all(legal))
    };
    SKILLS.contains(&name) || SERVICES.iter().any(is_of_aws)
}

/// That what the policy is of is there, and has the revision that the caller knows, if it says which.
fn check_revision(
    found: &mut Function,
    qualifier: Option<&str>,
    given: Option<&str>,
    now_ms: i64,
) -> Result<(), LambdaError> {
    if is_older_call() {
        return Ok(());
    }
    let Some(current) = found.revision_mut(qualifier, now_ms) else {
        return Err(unknown_qualifier(&found.arn, qualifier.unwrap_or_default()));
    };
    if given.is_some_and(|given| given != current.as_str()) {
        return Err(LambdaError::stale_revision());
    }
    Ok(())
}

/// What could be the name of an alias is taken for one.
fn unknown_qualifier(arn: &str, qualifier: &str) -> LambdaError {
    if is_alias(qualifier) {
        return unknown_alias(arn, qualifier);
    }
    LambdaError::function_not_found(&format!("{arn}:{qualifier}"))
}

fn statement(sid: &str, action: &str, principal: &str, resource: &str, input: &AddInput) -> Value {
    let who = match principal {
        "*" => json!("*"),
        account if is_account(account) => json!({"AWS": format!("arn:aws:iam::{account}:root")}),
        arn if arn.starts_with("arn:") => json!({"AWS": arn}),
        service => json!({"Service": service}),
    };
    let mut out =
        json!({"Sid": sid, "Effect": "Allow", "Principal": who, "Action": action, "Resource": resource});
    let mut condition = json!({});
    if let Some(arn) = &input.source_arn {
        condition["ArnLike"] = json!({"AWS:SourceArn": arn});
    }
    let equals: Map<String, Value> = [
        ("AWS:SourceAccount", &input.source_account),
        ("aws:PrincipalOrgID", &input.principal_org_id),
        ("lambda:EventSourceToken", &input.event_source_token),
        ("lambda:FunctionUrlAuthType", &input.function_url_auth_type),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), json!(value.as_ref()?))))
    .collect();
    if !equals.is_empty() {
        condition["StringEquals"] = Value::Object(equals);
    }
    if condition.as_object().is_some_and(|condition| !condition.is_empty()) {
        out["Condition"] = condition;
    }
    out
}

pub(crate) fn get(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let qualifier = function.qualifier.as_deref();
    let none = || LambdaError::not_found("The resource you requested does not exist.");
    on_function(lambda, &function, |found, now_ms| {
        let policy = found
            .policies
            .get(qualifier.unwrap_or_default())
            .filter(|policy| !policy.statements.is_empty())
            .ok_or_else(none)?;
        let document = policy.document();
        let revision_id = found.revision_mut(qualifier, now_ms).ok_or_else(none)?;
        Ok(json(StatusCode::OK, &json!({"Policy": document, "RevisionId": revision_id})))
    })
}

pub(crate) fn remove(lambda: &Lambda, call: &Call<'_>, name: &str, sid: &str) -> Answer {
    let function = call.function(name)?;
    let qualifier = function.qualifier.as_deref();
    let given = call.query.get("RevisionId").map(String::as_str);
    on_function(lambda, &function, |found, now_ms| {
        check_revision(found, qualifier, given, now_ms)?;
        let policy = found.policies.get_mut(qualifier.unwrap_or_default());
        let Some(policy) = policy.filter(|policy| !policy.statements.is_empty()) else {
            return Err(LambdaError::not_found("No policy is associated with the given resource."));
        };
        let position = policy.position(sid).ok_or_else(|| {
            LambdaError::not_found(format!("Statement {sid} is not found in resource policy."))
        })?;
        policy.statements.remove(position);
        policy.changed();
        lambda.renew(found, qualifier);
        Ok(empty(StatusCode::NO_CONTENT))
    })
}

impl PolicySource for Lambda {
    fn policy(&self, arn: &str) -> Option<Arc<iam::Policy>> {
        let function = FunctionRef::parse(arn)?;
        let qualifier = function.qualifier.unwrap_or_default();
        self.store().functions.get(&function.name)?.policies.get(&qualifier)?.rules.clone()
    }
}

impl Lambda {
    /// Whether the function's policy lets that service invoke it for that resource.
    ///
    /// # Errors
    /// `AccessDeniedException` when no statement does.
    pub(crate) fn check_source(&self, function: &FunctionRef, source: &Source) -> Result<(), LambdaError> {
        let settings = &self.inner.host.settings;
        if !settings.iam.is_enforced() {
            return Ok(());
        }
        let arn = self.function_arn(&function.name);
        let arn = function.qualifier.as_ref().map_or(arn.clone(), |qualifier| format!("{arn}:{qualifier}"));
        let pairs = [("aws:sourcearn", source.arn.as_str()), ("aws:sourceaccount", &*settings.account_id)];
        let context = Context::with(self.now_ms(), &pairs);
        let ask = Ask { action: "lambda:InvokeFunction", resource: &arn, context };
        let policy = PolicySource::policy(self, &arn);
        if policy.is_some_and(|policy| policy.allows(&ask, &Caller::Service(source.service))) {
            return Ok(());
        }
        tracing::warn!(
            function.arn = arn,
            source.arn = source.arn,
            "the function's policy does not let it be invoked"
        );
        Err(LambdaError::access_denied(format!(
            "{} is not authorized to perform: lambda:InvokeFunction on resource: {arn} because no resource-based policy \
             allows the lambda:InvokeFunction action",
            source.service
        )))
    }
}
