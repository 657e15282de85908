//! What alarms of both kinds have: a state with its reason and times, and tags.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::reason::iso;
use crate::cloudwatch::evaluate::State;
use crate::cloudwatch::times::from_ms;

/// A state and what led to it.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) state: State,
    pub(super) reason: String,
    /// A JSON text, of an evaluation or of whoever set the state.
    pub(super) reason_data: Option<String>,
}

impl Verdict {
    /// As the history has it.
    pub(super) fn describe(&self) -> Value {
        let mut described = json!({"stateValue": self.state.name(), "stateReason": self.reason});
        if let (Some(data), Some(members)) = (&self.reason_data, described.as_object_mut()) {
            let data = serde_json::from_str(data).unwrap_or_else(|_| Value::from(data.as_str()));
            members.insert("stateReasonData".to_owned(), data);
        }
        described
    }
}

#[derive(Debug)]
pub(super) struct Standing {
    arn: String,
    verdict: Verdict,
    updated_ms: i64,
    transitioned_ms: i64,
    configured_ms: i64,
    tags: BTreeMap<String, String>,
}

impl Standing {
    pub(super) fn new(arn: String, now_ms: i64) -> Self {
        let reason = "Unchecked: Initial alarm creation".to_owned();
        Self {
            arn,
            verdict: Verdict { state: State::InsufficientData, reason, reason_data: None },
            updated_ms: now_ms,
            transitioned_ms: now_ms,
            configured_ms: now_ms,
            tags: BTreeMap::new(),
        }
    }

    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    pub(super) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    pub(super) fn state(&self) -> State {
        self.verdict.state
    }

    pub(super) fn updated_ms(&self) -> i64 {
        self.updated_ms
    }

    pub(super) fn transitioned_ms(&self) -> i64 {
        self.transitioned_ms
    }

    pub(super) fn configure(&mut self, now_ms: i64) {
        self.configured_ms = now_ms;
    }

    /// Another state, with its reason.
    pub(super) fn enter(&mut self, verdict: Verdict, now_ms: i64) {
        self.verdict = verdict;
        (self.updated_ms, self.transitioned_ms) = (now_ms, now_ms);
    }

    /// The same state, of which something else is new.
    pub(super) fn update(&mut self, now_ms: i64) {
        self.updated_ms = now_ms;
    }

    pub(super) fn tag(&mut self, tags: &[(String, String)]) {
        self.tags.extend(tags.iter().cloned());
    }

    pub(super) fn untag(&mut self, keys: &[String]) {
        self.tags.retain(|key, _| !keys.contains(key));
    }

    pub(super) fn tags(&self) -> Vec<Value> {
        self.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
    }

    /// The members that DescribeAlarms has of it.
    pub(super) fn describe_in(&self, members: &mut Map<String, Value>) {
        for (name, value) in [
            ("AlarmArn", json!(self.arn)),
            ("StateValue", json!(self.verdict.state.name())),
            ("StateReason", json!(self.verdict.reason)),
            ("StateReasonData", json!(self.verdict.reason_data)),
            ("StateUpdatedTimestamp", from_ms(self.updated_ms)),
            ("StateTransitionedTimestamp", from_ms(self.transitioned_ms)),
            ("AlarmConfigurationUpdatedTimestamp", from_ms(self.configured_ms)),
        ] {
            members.insert(name.to_owned(), value);
        }
    }

    /// As the events of alarms have a state.
    pub(super) fn event_state(&self) -> Value {
        json!({
            "value": self.verdict.state.name(), "reason": self.verdict.reason, "reasonData": self.verdict.reason_data,
            "timestamp": iso(self.updated_ms),
        })
    }
}
