//! Resource policies: who else may invoke a function.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Lambda;
use super::control::on_function;
use super::error::LambdaError;
use super::input::one_of;
use super::names::FunctionRef;
use super::router::{Answer, Call, empty, json};
use crate::iam::{self, Ask, Caller, Context, PolicySource};
use crate::invoke::Source;

/// AWS quota: a resource policy has at most 20 KB.
const POLICY_MAX_BYTES: usize = 20_480;

#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) statements: Vec<Value>,
    pub(crate) revision_id: String,
    /// The same, read; made anew with every change.
    rules: Option<Arc<iam::Policy>>,
}

impl Policy {
    fn document(&self) -> String {
        json!({"Version": "2012-10-17", "Id": "default", "Statement": self.statements}).to_string()
    }

    fn changed(&mut self, revision_id: String) {
        self.revision_id = revision_id;
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
    on_function(lambda, &function, |found, _| {
        let qualifier = function.qualifier.clone().unwrap_or_default();
        let resource =
            if qualifier.is_empty() { found.arn.clone() } else { format!("{}:{qualifier}", found.arn) };
        let policy = found.policies.entry(qualifier).or_default();
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
        policy.changed(lambda.new_revision());
        Ok(json(StatusCode::CREATED, &json!({"Statement": text})))
    })
}

fn statement(sid: &str, action: &str, principal: &str, resource: &str, input: &AddInput) -> Value {
    let who = match principal {
        "*" => json!("*"),
        account if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) => {
            json!({"AWS": format!("arn:aws:iam::{account}:root")})
        }
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
    on_function(lambda, &function, |found, _| {
        let policy = found
            .policies
            .get(function.qualifier.as_deref().unwrap_or_default())
            .filter(|policy| !policy.statements.is_empty())
            .ok_or_else(|| LambdaError::not_found("The resource you requested does not exist."))?;
        let body = json!({"Policy": policy.document(), "RevisionId": policy.revision_id});
        Ok(json(StatusCode::OK, &body))
    })
}

pub(crate) fn remove(lambda: &Lambda, call: &Call<'_>, name: &str, sid: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |found, _| {
        let key = function.qualifier.clone().unwrap_or_default();
        let Some(policy) = found.policies.get_mut(&key).filter(|policy| !policy.statements.is_empty()) else {
            return Err(LambdaError::not_found("No policy is associated with the given resource."));
        };
        let position = policy.position(sid).ok_or_else(|| {
            LambdaError::not_found(format!("Statement {sid} is not found in resource policy."))
        })?;
        policy.statements.remove(position);
        policy.changed(lambda.new_revision());
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
