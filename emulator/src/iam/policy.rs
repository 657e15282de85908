//! Policy documents, read once into a form that is cheap to ask.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

use super::condition::{self, Condition};
use super::context::Context;
use super::pattern::{Case, matches};
use super::principal::{Caller, Fit, Principal, one_or_many};
use super::variable::{Text, Version};

/// Why a document is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the document is not a JSON object with statements")]
    Document,
    #[error("the version must be 2012-10-17 or 2008-10-17")]
    Version,
    #[error("a statement's effect must be Allow or Deny")]
    Effect,
    #[error("a statement must have either an action or a not-action, in the form service:name or *")]
    Action,
    #[error("a statement must have either a resource or a not-resource, in ARN format or *")]
    Resource,
    #[error("a principal must be * or an object of lists")]
    Principal,
    #[error("a condition must be an object of operators, keys and values")]
    Condition,
    #[error("there is no condition operator {0}")]
    Operator(String),
}

/// Where a document is attached decides what its statements must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a role: no principal, a resource.
    Identity,
    /// Of a resource: a principal; a missing resource means the resource itself.
    Resource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug)]
pub struct Policy {
    pub(super) statements: Vec<Statement>,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    pub(super) actions: Actions,
    pub(super) resources: Names,
    principals: Who,
    conditions: Vec<Condition>,
}

/// `Action` or `NotAction`.
#[derive(Debug)]
pub(super) enum Actions {
    These(Vec<Granted>),
    /// Whatever it is used for is one grant.
    AllBut(Vec<String>, Granted),
}

/// One action pattern, or all but some, as it is shown; and whether a request was ever allowed by it.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) pattern: String,
    used: AtomicBool,
}

impl Granted {
    const fn new(pattern: String) -> Self {
        Self { pattern, used: AtomicBool::new(false) }
    }

    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn note_use(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

impl Actions {
    pub(super) fn granted(&self) -> &[Granted] {
        match self {
            Self::These(all) => all,
            Self::AllBut(_, rest) => std::slice::from_ref(rest),
        }
    }

    /// By which of them an action is meant.
    fn find(&self, action: &str) -> Option<&Granted> {
        match self {
            Self::These(all) => all.iter().find(|granted| is_action(&granted.pattern, action)),
            Self::AllBut(others, rest) => {
                (!others.iter().any(|pattern| is_action(pattern, action))).then_some(rest)
            }
        }
    }
}

/// `Resource` or `NotResource`.
#[derive(Debug)]
pub(super) enum Names {
    These(Vec<Text>),
    AllBut(Vec<Text>),
}

#[derive(Debug)]
enum Who {
    /// An identity policy speaks of its own identity.
    Bearer,
    These(Vec<Principal>),
    AllBut(Vec<Principal>),
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub action: &'a str,
    pub resource: &'a str,
    pub context: Context<'a>,
}

/// What one policy says. A denial wins over an allowance, and saying nothing is neither. In the order in which they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Silent,
    /// Names the caller's account only: the caller's own policies decide.
    AllowsAccount,
    Allows,
    /// Names the caller's session itself: no boundary of its role limits that.
    AllowsSession,
    Denies,
}

impl Verdict {
    /// Whether it lets the caller pass, whatever the caller's own policies say.
    pub(super) const fn is_enough(self) -> bool {
        matches!(self, Self::Allows | Self::AllowsSession)
    }
}

impl Policy {
    /// # Errors
    /// For what IAM would refuse as a malformed policy document.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        let value: Value = serde_json::from_str(text).map_err(|_| Malformed::Document)?;
        Self::from_value(&value, kind)
    }

    /// # Errors
    /// As of [`Policy::parse`].
    pub fn from_value(value: &Value, kind: Kind) -> Result<Self, Malformed> {
        let document = value.as_object().ok_or(Malformed::Document)?;
        // "If you do not include a Version element, the value defaults to 2008-10-17."
        let version = match document.get("Version").map(Value::as_str) {
            None | Some(Some("2008-10-17")) => Version::Of2008,
            Some(Some("2012-10-17")) => Version::Of2012,
            Some(_) => return Err(Malformed::Version),
        };
        let statements = match document.get("Statement") {
            Some(Value::Array(all)) => all.iter().map(|one| Statement::parse(one, kind, version)).collect(),
            Some(one @ Value::Object(_)) => Statement::parse(one, kind, version).map(|one| vec![one]),
            _ => Err(Malformed::Document),
        };
        Ok(Self { statements: statements? })
    }

    /// Every resource that it names, as written.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|statement| statement.resources.written())
    }

    #[must_use]
    pub fn ask(&self, ask: &Ask<'_>, caller: &Caller<'_>) -> Verdict {
        self.ask_for_grants(ask, caller, |_| {})
    }

    /// Tells the grants that allow this: whether it is allowed at all, others may still have to say.
    pub(super) fn ask_for_grants<'p>(
        &'p self,
        ask: &Ask<'_>,
        caller: &Caller<'_>,
        mut tell: impl FnMut(&'p Granted),
    ) -> Verdict {
        let ask = &Ask { context: ask.context.by(caller), ..*ask };
        let mut verdict = Verdict::Silent;
        for statement in &self.statements {
            let Some((said, granted)) = statement.says(ask, caller) else { continue };
            if said == Verdict::Denies {
                return Verdict::Denies;
            }
            tell(granted);
            // Of several allowances the most exact one counts.
            verdict = verdict.max(said);
        }
        verdict
    }

    /// Whether the policy alone lets this pass, as API Gateway asks the policy of an authorizer.
    #[must_use]
    pub fn allows(&self, ask: &Ask<'_>, caller: &Caller<'_>) -> bool {
        self.ask(ask, caller).is_enough()
    }
}

impl Statement {
    fn parse(value: &Value, kind: Kind, version: Version) -> Result<Self, Malformed> {
        let statement = value.as_object().ok_or(Malformed::Document)?;
        let effect = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err(Malformed::Effect),
        };
        let conditions = match statement.get("Condition") {
            None => Vec::new(),
            Some(blocks) => condition::parse(blocks.as_object().ok_or(Malformed::Condition)?, version)?,
        };
        Ok(Self {
            effect,
            actions: actions(statement)?,
            resources: resources(statement, kind, version)?,
            principals: who(statement, kind)?,
            conditions,
        })
    }

    /// And by which of its actions. None: nothing.
    fn says(&self, ask: &Ask<'_>, caller: &Caller<'_>) -> Option<(Verdict, &Granted)> {
        let fit = self.principals.fit(caller, self.effect, ask.context.is_bounded());
        if fit == Fit::No || !self.resources.hold(ask) {
            return None;
        }
        let granted = self.actions.find(ask.action)?;
        if !self.conditions.iter().all(|condition| condition.holds(&ask.context)) {
            return None;
        }
        let said = match (self.effect, fit) {
            (Effect::Deny, _) => Verdict::Denies,
            (Effect::Allow, Fit::Account) => Verdict::AllowsAccount,
            (Effect::Allow, Fit::Session) => Verdict::AllowsSession,
            (Effect::Allow, Fit::No | Fit::Exact) => Verdict::Allows,
        };
        Some((said, granted))
    }
}

fn is_action(pattern: &str, action: &str) -> bool {
    matches(pattern, action, Case::Insensitive)
}

impl Names {
    /// A name whose variable has no value makes the statement say nothing.
    fn hold(&self, ask: &Ask<'_>) -> bool {
        let found = |names: &[Text]| {
            let mut any = false;
            for name in names {
                any |= name.matches(ask.resource, &ask.context)?;
            }
            Some(any)
        };
        match self {
            Self::These(names) => {
                names.iter().any(|name| name.matches(ask.resource, &ask.context) == Some(true))
            }
            Self::AllBut(names) => found(names) == Some(false),
        }
    }

    pub(super) fn shown(&self) -> Vec<String> {
        match self {
            Self::These(names) => names.iter().map(|name| name.written().to_owned()).collect(),
            Self::AllBut(names) => names.iter().map(|name| format!("not {}", name.written())).collect(),
        }
    }

    pub(super) fn written(&self) -> impl Iterator<Item = &str> {
        let (Self::These(names) | Self::AllBut(names)) = self;
        names.iter().map(Text::written)
    }
}

impl Who {
    fn fit(&self, caller: &Caller<'_>, effect: Effect, is_bounded: bool) -> Fit {
        let best = |all: &[Principal]| all.iter().map(|one| one.fit(caller)).max().unwrap_or(Fit::No);
        let is_excepted = |all: &[Principal]| match effect {
            Effect::Allow => best(all) != Fit::No,
            // "The NotPrincipal element with a Deny effect will always deny any IAM principal that has a permissions boundary
            // policy attached."
            Effect::Deny => !is_bounded && Principal::name_whole(all, caller),
        };
        match self {
            Self::Bearer => Fit::Exact,
            Self::These(all) => best(all),
            Self::AllBut(all) if is_excepted(all) => Fit::No,
            Self::AllBut(_) => Fit::Exact,
        }
    }
}

fn actions(statement: &Map<String, Value>) -> Result<Actions, Malformed> {
    let read = |value: &Value| {
        let all = one_or_many(value).ok_or(Malformed::Action)?;
        let sound = |action: &&str| *action == "*" || action.split_once(':').is_some();
        if all.is_empty() || !all.iter().all(sound) {
            return Err(Malformed::Action);
        }
        Ok(all.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    match (statement.get("Action"), statement.get("NotAction")) {
        (Some(these), None) => Ok(Actions::These(read(these)?.into_iter().map(Granted::new).collect())),
        (None, Some(others)) => {
            let others = read(others)?;
            let shown: Vec<String> = others.iter().map(|action| format!("not {action}")).collect();
            Ok(Actions::AllBut(others, Granted::new(shown.join(", "))))
        }
        _ => Err(Malformed::Action),
    }
}

fn resources(statement: &Map<String, Value>, kind: Kind, version: Version) -> Result<Names, Malformed> {
    let read = |value: &Value| {
        let all = one_or_many(value).ok_or(Malformed::Resource)?;
        let sound = |name: &&str| name.starts_with('*') || name.starts_with("arn:") || kind == Kind::Resource;
        if !all.iter().all(sound) {
            return Err(Malformed::Resource);
        }
        Ok(all.into_iter().map(|name| Text::new(name, version)).collect())
    };
    match (statement.get("Resource"), statement.get("NotResource")) {
        (Some(these), None) => Ok(Names::These(read(these)?)),
        (None, Some(others)) => Ok(Names::AllBut(read(others)?)),
        (None, None) if kind == Kind::Resource => Ok(Names::These(vec![Text::plain("*")])),
        _ => Err(Malformed::Resource),
    }
}

fn who(statement: &Map<String, Value>, kind: Kind) -> Result<Who, Malformed> {
    match (kind, statement.get("Principal"), statement.get("NotPrincipal")) {
        (Kind::Identity, None, None) => Ok(Who::Bearer),
        (Kind::Resource, Some(these), None) => Ok(Who::These(Principal::parse(these)?)),
        (Kind::Resource, None, Some(others)) => Ok(Who::AllBut(Principal::parse(others)?)),
        _ => Err(Malformed::Principal),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::iam::context;

    const ROOT: Caller<'_> = Caller::Root { account_id: "123456789012" };

    fn ask(policy: &str, action: &str, resource: &str) -> Verdict {
        let policy = Policy::parse(policy, Kind::Identity).unwrap();
        policy.ask(&Ask { action, resource, context: Context::at(0) }, &ROOT)
    }

    #[test]
    fn a_denial_wins_wherever_it_stands_and_silence_is_no_allowance() {
        let policy = r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":["sqs:Send*","sqs:DeleteMessage"],"Resource":"arn:aws:sqs:*:*:tasks"},
            {"Effect":"Deny","Action":"sqs:deletemessage","Resource":"*"}]}"#;
        assert_eq!(ask(policy, "sqs:SendMessage", "arn:aws:sqs:us-east-1:1:tasks"), Verdict::Allows);
        assert_eq!(ask(policy, "sqs:DeleteMessage", "arn:aws:sqs:us-east-1:1:tasks"), Verdict::Denies);
        assert_eq!(ask(policy, "sqs:SendMessage", "arn:aws:sqs:us-east-1:1:other"), Verdict::Silent);
        assert_eq!(ask(policy, "sqs:ReceiveMessage", "arn:aws:sqs:us-east-1:1:tasks"), Verdict::Silent);
    }

    #[test]
    fn not_action_and_not_resource_mean_all_others() {
        let policy = r#"{"Statement":{"Effect":"Allow","NotAction":"sqs:PurgeQueue","NotResource":"arn:aws:sqs:*:*:dlq"}}"#;
        assert_eq!(ask(policy, "sqs:SendMessage", "arn:aws:sqs:us-east-1:1:tasks"), Verdict::Allows);
        assert_eq!(ask(policy, "sqs:PurgeQueue", "arn:aws:sqs:us-east-1:1:tasks"), Verdict::Silent);
        assert_eq!(ask(policy, "sqs:SendMessage", "arn:aws:sqs:us-east-1:1:dlq"), Verdict::Silent);
    }

    #[test]
    fn an_allowance_of_the_account_is_told_apart_from_one_of_the_role() {
        let session = Caller::Signer {
            account_id: "123456789012",
            identity_arn: "arn:aws:iam::123456789012:role/f",
            arn: "arn:aws:sts::123456789012:assumed-role/f/f",
        };
        let policy = |who: &str| {
            let text = format!(
                r#"{{"Statement":[{{"Effect":"Allow","Principal":{who},"Action":"sqs:*","Resource":"*"}}]}}"#
            );
            Policy::parse(&text, Kind::Resource).unwrap()
        };
        let ask = Ask { action: "sqs:SendMessage", resource: "q", context: Context::at(0) };
        assert_eq!(policy(r#"{"AWS":"123456789012"}"#).ask(&ask, &session), Verdict::AllowsAccount);
        assert_eq!(
            policy(r#"{"AWS":"arn:aws:iam::123456789012:role/f"}"#).ask(&ask, &session),
            Verdict::Allows
        );
        let of_session = policy(r#"{"AWS":["arn:aws:sts::123456789012:assumed-role/f/f","123456789012"]}"#);
        assert_eq!(of_session.ask(&ask, &session), Verdict::AllowsSession);
        assert!(of_session.allows(&ask, &session));
    }

    #[test]
    fn a_denial_of_all_others_spares_who_is_named_with_the_account_and_has_no_boundary() {
        let session = |role: &'static str| Caller::Signer {
            account_id: "123456789012",
            identity_arn: role,
            arn: "arn:aws:sts::123456789012:assumed-role/any/any",
        };
        let (worker, other) =
            ("arn:aws:iam::123456789012:role/worker", "arn:aws:iam::123456789012:role/other");
        let root = "arn:aws:iam::123456789012:root";
        let said = |effect: &str, named: &[&str], caller: &Caller<'_>, is_bounded: bool| {
            let policy =
                json!({"Statement": {"Effect": effect, "NotPrincipal": {"AWS": named}, "Action": "*"}});
            let policy = Policy::from_value(&policy, Kind::Resource).unwrap();
            let own =
                context::Principal::Identity { keys: &[], unique_id: "A", session_name: None, is_bounded };
            let context = Context::at(0).of(own);
            policy.ask(&Ask { action: "sqs:SendMessage", resource: "q", context }, caller)
        };
        let both = [worker, root];
        assert_eq!(said("Deny", &both, &session(worker), false), Verdict::Silent);
        assert_eq!(said("Deny", &both, &session(worker), true), Verdict::Denies, "who has a boundary");
        assert_eq!(said("Deny", &both, &session(other), false), Verdict::Denies);
        assert_eq!(said("Deny", &[worker], &session(worker), false), Verdict::Denies, "without its account");
        assert_eq!(said("Deny", &[root], &session(worker), false), Verdict::Denies, "through its account");
        assert_eq!(said("Deny", &[root], &ROOT, false), Verdict::Silent);
        assert_eq!(said("Deny", &["*"], &session(worker), false), Verdict::Silent);
        assert_eq!(said("Deny", &both, &Caller::Anonymous, false), Verdict::Denies);
        // An allowance of all others is none to whoever is named in any way.
        assert_eq!(said("Allow", &[root], &session(worker), false), Verdict::Silent);
        assert_eq!(said("Allow", &[other], &session(worker), false), Verdict::Allows);
    }

    #[test]
    fn the_administrator_has_the_keys_of_the_accounts_root() {
        let denies = |key: &str, value: &str| {
            let policy = json!({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*",
                "Condition": {"StringNotEquals": {key: value}}}});
            let policy = Policy::from_value(&policy, Kind::Resource).unwrap();
            let ask = Ask { action: "s3:GetObject", resource: "b", context: Context::at(0) };
            policy.ask(&ask, &ROOT) == Verdict::Denies
        };
        for (key, value) in [
            ("aws:PrincipalAccount", "123456789012"),
            ("aws:PrincipalArn", "arn:aws:iam::123456789012:root"),
            ("aws:PrincipalType", "Account"),
            ("aws:userid", "123456789012"),
        ] {
            assert!(!denies(key, value), "{key}");
            assert!(denies(key, "other"), "{key}");
        }
        assert!(denies("aws:username", "root"), "the root is no user");
    }

    #[test]
    fn a_resource_whose_variable_has_no_value_is_not_named() {
        let policy = |version: &str, element: &str| {
            format!(
                r#"{{{version}"Statement":{{"Effect":"Allow","Action":"s3:*","{element}":"arn:aws:s3:::b/${{aws:username}}"}}}}"#
            )
        };
        let now = r#""Version":"2012-10-17","#;
        let (literal, other) = ("arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::b/x");
        assert_eq!(ask(&policy(now, "Resource"), "s3:GetObject", literal), Verdict::Silent);
        assert_eq!(ask(&policy(now, "NotResource"), "s3:GetObject", other), Verdict::Silent);
        assert_eq!(ask(&policy("", "Resource"), "s3:GetObject", literal), Verdict::Allows);
        assert_eq!(ask(&policy("", "NotResource"), "s3:GetObject", other), Verdict::Allows);
    }

    #[test]
    fn what_is_not_a_policy_is_refused_with_the_reason() {
        for (bad, why) in [
            ("x", Malformed::Document),
            ("{}", Malformed::Document),
            (r#"{"Version":"2020-01-01","Statement":[]}"#, Malformed::Version),
            (r#"{"Statement":[{"Effect":"Maybe"}]}"#, Malformed::Effect),
            (r#"{"Statement":[{"Effect":"Allow","Resource":"*"}]}"#, Malformed::Action),
            (r#"{"Statement":[{"Effect":"Allow","Action":"send","Resource":"*"}]}"#, Malformed::Action),
            (r#"{"Statement":[{"Effect":"Allow","Action":"*"}]}"#, Malformed::Resource),
            (r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"queue"}]}"#, Malformed::Resource),
            (
                r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}]}"#,
                Malformed::Principal,
            ),
        ] {
            assert_eq!(Policy::parse(bad, Kind::Identity).unwrap_err(), why, "{bad}");
        }
    }
}
