//! One fault as it is written, and which fields each kind needs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// The functions, by their names in the repository.
const WORKER: &str = "process-task";
const SUBMITTER: &str = "submit-task";
const AUDITOR: &str = "audit-dead-letters";
/// The route whose answers the load keeps one by one.
const SUBMISSIONS: &str = "POST /tasks";
/// The queue that submissions are sent to.
const TASKS: &str = "tasks";
/// Of all that a denial may deny, what the harness itself can try without harm, to see that it is denied.
pub(crate) const QUEUE_PROBE: &str = "sqs:DeleteMessage";
pub(crate) const TABLE_PROBE: &str = "dynamodb:GetItem";
/// Without it a submission is refused; without all else it is accepted as ever, or late.
const SUBMITS_BY: &str = "sqs:SendMessage";
/// The claim of a task. A worker reads it before only where it was received already.
const BEGINS_BY: &str = "dynamodb:UpdateItem";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// FIS `aws:lambda:invocation-error`.
    FisInvocationError,
    /// FIS `aws:lambda:invocation-add-delay`.
    FisInvocationDelay,
    /// FIS `aws:lambda:invocation-http-integration-response`.
    FisHttpResponse,
    /// Any FIS action on a function, by its id and parameters. What FIS offers is asked of it before the run.
    FisAction,
    /// Reserved concurrency of a function; 0 throttles every invocation.
    LambdaReservedConcurrency,
    /// The event source mapping is disabled: nothing is received.
    MappingDisabled,
    /// The event source mapping runs at most this many batches at once.
    MappingMaximumConcurrency,
    /// The HTTP API's stage, or one of its routes, answers 429 above a rate.
    HttpThrottle,
    /// The on-demand table refuses requests above a cap.
    TableOnDemandCap,
    /// A table of provisioned capacity has this much of it. A table on demand is refused: use `table-on-demand-cap`.
    TableProvisionedCapacity,
    /// The queue's visibility timeout is too short or too long.
    QueueVisibilityTimeout,
    /// The queue's policy denies its data plane, until a time that is part of the policy.
    QueueDeny,
    /// The table's policy denies its data plane, until a time that is part of the policy.
    TableDeny,
    /// A function's role is denied these actions, by an inline policy until a time that is part of it.
    RolePermission,
}

/// What a field of a kind is to its author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    pub kind: FaultKind,
    /// Name in the stack file: a function, a queue, a table, or `http-api`. Mapping faults have one target only.
    pub target: String,
    /// After the first arrival.
    pub start: Span,
    pub duration: Span,
    /// Pieces of evidence below which the fault counts as not in effect.
    #[serde(default = "one")]
    pub evidence_min: u64,
    /// FIS kinds: share of invocations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// `fis-invocation-error`, `fis-http-response`: `false` runs the code and then spoils its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prevent_execution: Option<bool>,
    /// `fis-invocation-delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 900_000))]
    pub delay_ms: Option<u32>,
    /// `fis-http-response`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub status_code: Option<u16>,
    /// `fis-action`: for example `aws:lambda:invocation-error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_id: Option<String>,
    /// `fis-action`: besides `duration`, which is the fault's own. FIS takes strings only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// `lambda-reserved-concurrency`, `mapping-maximum-concurrency` (2 to 1000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub concurrency: Option<u32>,
    /// `http-throttle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// `http-throttle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// `http-throttle`: `POST /tasks`; without it the whole stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// `table-on-demand-cap`, `table-provisioned-capacity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub read_units: Option<u32>,
    /// `table-on-demand-cap`, `table-provisioned-capacity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub write_units: Option<u32>,
    /// `queue-visibility-timeout`. A receive is the timeout as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility_timeout: Option<Span>,
    /// `queue-deny`, `table-deny`: actions such as `sqs:SendMessage`; without it the whole data plane. One must be among them by
    /// which it is seen that they are denied: `sqs:DeleteMessage`, `sqs:SendMessage` of the queue `tasks`, `dynamodb:GetItem`.
    /// `role-permission`: the actions that the role is to lack; among them `dynamodb:UpdateItem` of `process-task`,
    /// `sqs:SendMessage` of `submit-task`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
}

impl FaultKind {
    pub const ALL: [Self; 14] = [
        Self::FisInvocationError,
        Self::FisInvocationDelay,
        Self::FisHttpResponse,
        Self::FisAction,
        Self::LambdaReservedConcurrency,
        Self::MappingDisabled,
        Self::MappingMaximumConcurrency,
        Self::HttpThrottle,
        Self::TableOnDemandCap,
        Self::TableProvisionedCapacity,
        Self::QueueVisibilityTimeout,
        Self::QueueDeny,
        Self::TableDeny,
        Self::RolePermission,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::FisInvocationError => "fis-invocation-error",
            Self::FisInvocationDelay => "fis-invocation-delay",
            Self::FisHttpResponse => "fis-http-response",
            Self::FisAction => "fis-action",
            Self::LambdaReservedConcurrency => "lambda-reserved-concurrency",
            Self::MappingDisabled => "mapping-disabled",
            Self::MappingMaximumConcurrency => "mapping-maximum-concurrency",
            Self::HttpThrottle => "http-throttle",
            Self::TableOnDemandCap => "table-on-demand-cap",
            Self::TableProvisionedCapacity => "table-provisioned-capacity",
            Self::QueueVisibilityTimeout => "queue-visibility-timeout",
            Self::QueueDeny => "queue-deny",
            Self::TableDeny => "table-deny",
            Self::RolePermission => "role-permission",
        }
    }

    const fn parameters(self) -> &'static [(&'static str, Need)] {
        use Need::{Optional, Required};
        match self {
            Self::FisInvocationError => &[("percent", Optional), ("prevent_execution", Required)],
            Self::FisInvocationDelay => &[("percent", Optional), ("delay_ms", Required)],
            Self::FisHttpResponse => {
                &[("percent", Optional), ("prevent_execution", Required), ("status_code", Required)]
            }
            Self::FisAction => &[("action_id", Required), ("parameters", Optional)],
            Self::LambdaReservedConcurrency | Self::MappingMaximumConcurrency => &[("concurrency", Required)],
            Self::MappingDisabled => &[],
            Self::HttpThrottle => &[("rate_per_second", Required), ("burst", Required), ("route", Optional)],
            Self::TableOnDemandCap => &[("read_units", Optional), ("write_units", Optional)],
            Self::TableProvisionedCapacity => &[("read_units", Required), ("write_units", Required)],
            Self::QueueVisibilityTimeout => &[("visibility_timeout", Required)],
            Self::QueueDeny | Self::TableDeny => &[("actions", Optional)],
            Self::RolePermission => &[("actions", Required)],
        }
    }
}

impl FaultSpec {
    fn given(&self) -> [(&'static str, bool); 14] {
        [
            ("percent", self.percent.is_some()),
            ("prevent_execution", self.prevent_execution.is_some()),
            ("delay_ms", self.delay_ms.is_some()),
            ("status_code", self.status_code.is_some()),
            ("action_id", self.action_id.is_some()),
            ("parameters", !self.parameters.is_empty()),
            ("concurrency", self.concurrency.is_some()),
            ("rate_per_second", self.rate_per_second.is_some()),
            ("burst", self.burst.is_some()),
            ("route", self.route.is_some()),
            ("read_units", self.read_units.is_some()),
            ("write_units", self.write_units.is_some()),
            ("visibility_timeout", self.visibility_timeout.is_some()),
            ("actions", !self.actions.is_empty()),
        ]
    }

    /// The action of FIS that this is, if it is one.
    pub fn fis_action_id(&self) -> Option<&str> {
        match self.kind {
            FaultKind::FisAction => self.action_id.as_deref(),
            FaultKind::FisInvocationError => Some("aws:lambda:invocation-error"),
            FaultKind::FisInvocationDelay => Some("aws:lambda:invocation-add-delay"),
            FaultKind::FisHttpResponse => Some("aws:lambda:invocation-http-integration-response"),
            _ => None,
        }
    }

    /// Whether clients may be refused because of it: then no error budget can be counted by their refusals.
    pub fn refuses_clients(&self) -> bool {
        match self.kind {
            FaultKind::HttpThrottle | FaultKind::QueueDeny => true,
            FaultKind::FisInvocationError
            | FaultKind::FisInvocationDelay
            | FaultKind::FisHttpResponse
            | FaultKind::FisAction
            | FaultKind::LambdaReservedConcurrency
            | FaultKind::RolePermission => self.is_on_the_clients_way(),
            FaultKind::MappingDisabled
            | FaultKind::MappingMaximumConcurrency
            | FaultKind::TableOnDemandCap
            | FaultKind::TableProvisionedCapacity
            | FaultKind::QueueVisibilityTimeout
            | FaultKind::TableDeny => false,
        }
    }

    /// Whether no task can be worked on because of it, though messages go on being received.
    pub(crate) fn stops_the_worker(&self) -> bool {
        self.kind == FaultKind::LambdaReservedConcurrency
            && self.target == WORKER
            && self.concurrency == Some(0)
    }

    fn is_on_the_clients_way(&self) -> bool {
        [SUBMITTER, "list-tasks", "authorizer"].contains(&self.target.as_str())
    }

    /// Whether clients wait longer for their answers because of it.
    pub(super) fn delays_clients(&self) -> bool {
        let table = matches!(
            self.kind,
            FaultKind::TableDeny | FaultKind::TableOnDemandCap | FaultKind::TableProvisionedCapacity
        );
        // A submission waits for the table before it answers without it; a refusal is quick, and its repeats are not.
        table || self.refuses_clients()
    }

    /// The first field that this kind lacks, does not have, or cannot have with this value.
    pub(super) fn problem(&self) -> Option<(String, String)> {
        let parameters = self.kind.parameters();
        let known = |name: &str| parameters.iter().find(|(parameter, _)| *parameter == name);
        for (name, given) in self.given() {
            match known(name) {
                Some((_, Need::Required)) if !given => {
                    return Some((name.into(), format!("a value: {} needs it", self.kind.name())));
                }
                None if given => {
                    return Some((name.into(), format!("no such field with {}", self.kind.name())));
                }
                _ => {}
            }
        }
        self.value_problem()
    }

    fn value_problem(&self) -> Option<(String, String)> {
        let problem = |field: &str, expected: &str| Some((field.to_owned(), expected.to_owned()));
        if self.percent.is_some_and(|percent| percent == 0 || percent > 100) {
            return problem("percent", "1 to 100");
        }
        if self.delay_ms.is_some_and(|delay| delay > 900_000) {
            return problem("delay_ms", "0 to 900000, the longest that FIS adds");
        }
        if self.status_code.is_some_and(|status| !(100..=599).contains(&status)) {
            return problem("status_code", "100 to 599");
        }
        if self.kind == FaultKind::MappingMaximumConcurrency
            && self.concurrency.is_some_and(|concurrency| !(2..=1000).contains(&concurrency))
        {
            return problem("concurrency", "2 to 1000, as the mapping allows");
        }
        if self.concurrency.is_some_and(|concurrency| concurrency > 1000) {
            return problem("concurrency", "0 to 1000");
        }
        if self.rate_per_second.is_some_and(|rate| !rate.is_finite() || rate < 0.0) {
            return problem("rate_per_second", "a number from 0");
        }
        if self.kind == FaultKind::TableOnDemandCap && self.read_units.is_none() && self.write_units.is_none()
        {
            return problem("write_units", "read_units, write_units or both");
        }
        for (field, units) in [("read_units", self.read_units), ("write_units", self.write_units)] {
            if units == Some(0) {
                return problem(field, "at least 1, as DynamoDB asks");
            }
        }
        if self.parameters.values().any(|value| value.is_empty() || value.contains(char::is_whitespace)) {
            return problem("parameters", "values without blanks, as FIS asks");
        }
        if self.evidence_min == 0 {
            return problem("evidence_min", "at least 1: a fault without evidence proves nothing");
        }
        self.evidence_problem().map(|(field, expected)| (field.to_owned(), expected))
    }

    /// What would leave no evidence, or spoil it: such a fault would be INCONCLUSIVE however long it lasted.
    fn evidence_problem(&self) -> Option<(&'static str, String)> {
        let denies = |action: &str| self.actions.iter().any(|denied| denied == action);
        match self.kind {
            FaultKind::HttpThrottle if self.route.as_ref().is_some_and(|route| route != SUBMISSIONS) => {
                let why = "of other routes nobody counts the answers with 429";
                Some(("route", format!("`{SUBMISSIONS}`, or none for the whole stage: {why}")))
            }
            FaultKind::QueueDeny
                if !(self.actions.is_empty()
                    || denies(QUEUE_PROBE)
                    || denies(SUBMITS_BY) && self.target == TASKS) =>
            {
                let either = format!("{QUEUE_PROBE} among them, or {SUBMITS_BY} of the queue {TASKS}");
                Some(("actions", format!("{either}: of others nobody sees that they are denied")))
            }
            FaultKind::TableDeny if !self.actions.is_empty() && !denies(TABLE_PROBE) => {
                let expected =
                    format!("{TABLE_PROBE} among them: of others nobody sees that they are denied");
                Some(("actions", expected))
            }
            FaultKind::RolePermission => {
                let needed = match self.target.as_str() {
                    WORKER => BEGINS_BY,
                    SUBMITTER => SUBMITS_BY,
                    _ => {
                        let expected =
                            format!("{WORKER} or {SUBMITTER}: of others nobody sees what their role lacks");
                        return Some(("target", expected));
                    }
                };
                let expected = format!("{needed} among them: of others nobody sees that the role lacks them");
                (!denies(needed)).then_some(("actions", expected))
            }
            FaultKind::FisInvocationError
            | FaultKind::FisInvocationDelay
            | FaultKind::FisHttpResponse
            | FaultKind::FisAction
            | FaultKind::LambdaReservedConcurrency
                if self.target == AUDITOR =>
            {
                let expected =
                    "another function: each canary would be an audit, which SQS counts as a receive";
                Some(("target", expected.to_owned()))
            }
            _ => None,
        }
    }
}

const fn one() -> u64 {
    1
}
