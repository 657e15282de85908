//! One composite alarm: its rule, its state, and what holds its actions back.

use serde_json::{Value, json};

use super::actions::{Actor, Scene};
use super::definition::{actions_on, has_action, read_actions};
use super::history::{AlarmKind, Item};
use super::reason::{iso, moment};
use super::rule::{Place, Rule};
use super::standing::{Standing, Verdict};
use crate::cloudwatch::evaluate::State;
use crate::cloudwatch::failure::Failure;
use crate::cloudwatch::request::{flag, integer, required_text, text};
use crate::repeatable;

/// The alarm that holds the actions of another back while it is in ALARM.
#[derive(Clone, Debug)]
struct Suppressor {
    name: String,
    wait_ms: i64,
    extension_ms: i64,
}

/// What PutCompositeAlarm says, checked.
#[derive(Clone, Debug)]
pub(super) struct CompositeDefinition {
    pub(super) name: String,
    pub(super) rule: Rule,
    suppressor: Option<Suppressor>,
    actions_enabled: bool,
    /// As DescribeAlarms answers it, without state.
    described: Value,
}

impl CompositeDefinition {
    pub(super) fn read(input: &Value, place: &Place<'_>) -> Result<Self, Failure> {
        let name = required_text(input, "AlarmName")?.to_owned();
        let text_of_rule = required_text(input, "AlarmRule")?;
        if text_of_rule.trim() != text_of_rule {
            let message = "AlarmRule must not contain leading or trailing whitespace or be null";
            return Err(Failure::validation(message));
        }
        let rule = Rule::read(text_of_rule, place)?;
        refuse_itself(&name, rule.children(), "AlarmRule")?;
        let suppressor = read_suppressor(input, place)?;
        let suppressors: Vec<String> = suppressor.iter().map(|suppressor| suppressor.name.clone()).collect();
        refuse_itself(&name, &suppressors, "ActionsSuppressor")?;
        let actions = |member: &str| read_actions(input, member, place.region);
        let described = json!({
            "AlarmName": name, "AlarmDescription": text(input, "AlarmDescription"), "AlarmRule": text_of_rule,
            "OKActions": actions("OKActions")?, "AlarmActions": actions("AlarmActions")?,
            "InsufficientDataActions": actions("InsufficientDataActions")?,
            "ActionsSuppressor": text(input, "ActionsSuppressor"),
            "ActionsSuppressorWaitPeriod": integer(input, "ActionsSuppressorWaitPeriod")?,
            "ActionsSuppressorExtensionPeriod": integer(input, "ActionsSuppressorExtensionPeriod")?,
        });
        let actions_enabled = flag(input, "ActionsEnabled").unwrap_or(true);
        Ok(Self { name, rule, suppressor, actions_enabled, described })
    }

    pub(super) fn suppressor(&self) -> Option<&str> {
        self.suppressor.as_ref().map(|suppressor| suppressor.name.as_str())
    }

    /// As events have it.
    fn event_configuration(&self) -> Value {
        let member = |name: &str| self.described.get(name).cloned();
        json!({
            "alarmRule": member("AlarmRule"), "description": member("AlarmDescription"),
            "actionsSuppressor": member("ActionsSuppressor"),
            "actionsSuppressorWaitPeriod": member("ActionsSuppressorWaitPeriod"),
            "actionsSuppressorExtensionPeriod": member("ActionsSuppressorExtensionPeriod"),
        })
    }
}

fn refuse_itself(name: &str, others: &[String], member: &str) -> Result<(), Failure> {
    if others.iter().any(|other| other == name) {
        return Err(Failure::validation(format!(
            "A composite alarm cannot have a child relation with itself via its {member}, as it would introduce a circular \
             dependency"
        )));
    }
    Ok(())
}

/// "WaitPeriod is required only when ActionsSuppressor is specified", and so is ExtensionPeriod.
fn read_suppressor(input: &Value, place: &Place<'_>) -> Result<Option<Suppressor>, Failure> {
    const MEMBER: &str = "ActionsSuppressor";
    let reference = text(input, MEMBER);
    let period_ms = |member: &str| -> Result<Option<i64>, Failure> {
        match (integer(input, member)?, reference) {
            (Some(seconds), Some(_)) if seconds >= 0 => Ok(Some(seconds.saturating_mul(1_000))),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(Failure::validation(format!("{member} must not be negative."))),
            (None, Some(_)) => {
                Err(Failure::validation(format!("{member} is required when {MEMBER} is specified.")))
            }
            (Some(_), None) => {
                Err(Failure::validation(format!("{member} must not be specified without {MEMBER}.")))
            }
        }
    };
    let wait_ms = period_ms("ActionsSuppressorWaitPeriod")?;
    let extension_ms = period_ms("ActionsSuppressorExtensionPeriod")?;
    let (Some(reference), Some(wait_ms), Some(extension_ms)) = (reference, wait_ms, extension_ms) else {
        return Ok(None);
    };
    let name = place.name(reference)?.to_owned();
    Ok(Some(Suppressor { name, wait_ms, extension_ms }))
}

/// An alarm, as others see it.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) arn: String,
    pub(super) state: State,
    pub(super) updated_ms: i64,
    pub(super) transitioned_ms: i64,
}

impl Sight {
    pub(super) fn of(standing: &Standing) -> Self {
        Self {
            arn: standing.arn().to_owned(),
            state: standing.state(),
            updated_ms: standing.updated_ms(),
            transitioned_ms: standing.transitioned_ms(),
        }
    }

    /// As AWS lists what made a composite alarm change.
    fn trigger(&self) -> Value {
        json!({"arn": self.arn, "state": {"value": self.state.name(), "timestamp": iso(self.updated_ms)}})
    }

    /// As the history has a child of a composite alarm.
    fn child(&self) -> Value {
        let (transitioned, updated) = (iso(self.transitioned_ms), iso(self.updated_ms));
        let state =
            json!({"value": self.state.name(), "transitionTimestamp": transitioned, "timestamp": updated});
        json!({"arn": self.arn, "state": state})
    }
}

/// Why a rule is evaluated.
#[derive(Debug)]
pub(super) enum Cause {
    Created,
    Updated,
    Child(Sight),
}

impl Cause {
    /// `by` are the alarms that the rule's outcome comes from.
    pub(super) fn verdict(&self, arn: &str, state: State, by: &[Sight]) -> Verdict {
        let (reason, triggers) = match self {
            Self::Created => {
                (format!("{arn} was created and its alarm rule evaluates to {}", state.name()), by)
            }
            Self::Updated => {
                (format!("{arn} was updated and its new alarm rule evaluates to {}", state.name()), by)
            }
            Self::Child(child) => {
                let at = moment(child.transitioned_ms);
                let reason = format!("{} transitioned to {} at {at}", child.arn, child.state.name());
                (reason, std::slice::from_ref(child))
            }
        };
        let triggers: Vec<Value> = triggers.iter().map(Sight::trigger).collect();
        let data = json!({"triggeringAlarms": triggers}).to_string();
        Verdict { state, reason, reason_data: Some(data) }
    }
}

/// What holds the actions back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the suppressor is in ALARM, at the longest until then.
    Wait { until_ms: i64 },
    /// The suppressor is in ALARM: why.
    Alarm { reason: String },
    /// The suppressor was in ALARM.
    Extension { until_ms: i64 },
}

impl Phase {
    fn of_alarm(suppressor: &Sight) -> Self {
        let at = moment(suppressor.transitioned_ms);
        let reason = format!("Actions suppressed by {} that transitioned to ALARM at {at}", suppressor.arn);
        Self::Alarm { reason }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Wait { .. } => "WaitPeriod",
            Self::Alarm { .. } => "Alarm",
            Self::Extension { .. } => "ExtensionPeriod",
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Wait { .. } | Self::Extension { .. } => format!("Actions suppressed by {}", self.name()),
            Self::Alarm { reason } => reason.clone(),
        }
    }

    const fn until_ms(&self) -> Option<i64> {
        match self {
            Self::Wait { until_ms } | Self::Extension { until_ms } => Some(*until_ms),
            Self::Alarm { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Composite {
    standing: Standing,
    definition: CompositeDefinition,
    phase: Option<Phase>,
}

impl Composite {
    pub(super) fn new(arn: String, definition: CompositeDefinition, now_ms: i64) -> Self {
        Self { standing: Standing::new(arn, now_ms), definition, phase: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.definition.name
    }

    pub(super) fn definition(&self) -> &CompositeDefinition {
        &self.definition
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }

    pub(super) fn has_action(&self, prefix: &str) -> bool {
        has_action(&self.definition.described, prefix)
    }

    /// Whether it looks at that alarm, in its rule or as its suppressor.
    pub(super) fn depends_on(&self, name: &str) -> bool {
        self.has_child(name) || self.definition.suppressor() == Some(name)
    }

    pub(super) fn has_child(&self, name: &str) -> bool {
        self.definition.rule.children().iter().any(|child| child == name)
    }

    pub(super) fn describe(&self) -> Value {
        let mut described = self.definition.described.clone();
        if let Some(members) = described.as_object_mut() {
            members.insert("ActionsEnabled".to_owned(), json!(self.definition.actions_enabled));
            members.insert("ActionsSuppressedBy".to_owned(), json!(self.phase.as_ref().map(Phase::name)));
            members
                .insert("ActionsSuppressedReason".to_owned(), json!(self.phase.as_ref().map(Phase::reason)));
            self.standing.describe_in(members);
        }
        described
    }

    /// As the history has it. `children` are those of its rule.
    pub(super) fn describe_with(&self, children: &[Sight]) -> Value {
        let mut described = self.describe();
        if let Some(members) = described.as_object_mut() {
            let children: Vec<Value> = children.iter().map(Sight::child).collect();
            members.insert("ChildStates".to_owned(), json!(children));
        }
        described
    }

    /// Its state is that of the new rule only once that is evaluated.
    pub(super) fn redefine(&mut self, definition: CompositeDefinition, now_ms: i64) {
        self.definition = definition;
        self.standing.configure(now_ms);
    }

    /// Whether that changes anything.
    pub(super) fn enable_actions(&mut self, is_enabled: bool, now_ms: i64) -> bool {
        if self.definition.actions_enabled == is_enabled {
            return false;
        }
        self.definition.actions_enabled = is_enabled;
        self.standing.configure(now_ms);
        true
    }

    /// Takes another state with its reason, remembers it, and acts on it unless the suppressor is in the way. Whether it is
    /// another one.
    pub(super) fn enter(
        &mut self,
        verdict: Verdict,
        suppressor: Option<&Sight>,
        now_ms: i64,
        scene: &mut Scene<'_>,
    ) -> bool {
        if verdict.state == self.standing.state() {
            return false;
        }
        let (old, new) = (self.standing.verdict().describe(), verdict.describe());
        scene.history.push(Item::state_update(AlarmKind::Composite, self.name(), now_ms, &old, &new));
        let before = self.event_state();
        self.standing.enter(verdict, now_ms);
        self.phase = self.first_phase(suppressor, now_ms);
        self.act(&before, now_ms, scene);
        true
    }

    /// Calls that are made again have been through it.
    fn first_phase(&self, suppressor: Option<&Sight>, now_ms: i64) -> Option<Phase> {
        let (of, suppressor) = (self.definition.suppressor.as_ref()?, suppressor?);
        if repeatable::is_repeated() {
            return None;
        }
        if suppressor.state == State::Alarm {
            return Some(Phase::of_alarm(suppressor));
        }
        (of.wait_ms > 0).then(|| Phase::Wait { until_ms: now_ms.saturating_add(of.wait_ms) })
    }

    /// The suppressor has another state.
    pub(super) fn see_suppressor(&mut self, suppressor: &Sight, now_ms: i64, scene: &mut Scene<'_>) {
        let Some(of) = &self.definition.suppressor else { return };
        let (is_alarm, extension_ms) = (suppressor.state == State::Alarm, of.extension_ms);
        let next = match &self.phase {
            Some(Phase::Wait { .. } | Phase::Extension { .. }) if is_alarm => {
                Some(Phase::of_alarm(suppressor))
            }
            Some(Phase::Alarm { .. }) if !is_alarm => {
                (extension_ms > 0).then(|| Phase::Extension { until_ms: now_ms.saturating_add(extension_ms) })
            }
            _ => return,
        };
        self.pass_to(next, now_ms, scene);
    }

    /// Another suppressor than before.
    pub(super) fn change_suppressor(
        &mut self,
        suppressor: Option<&Sight>,
        now_ms: i64,
        scene: &mut Scene<'_>,
    ) {
        if self.phase.is_some() {
            let alarm = suppressor.filter(|suppressor| suppressor.state == State::Alarm);
            self.pass_to(alarm.map(Phase::of_alarm), now_ms, scene);
        }
    }

    /// When the actions are held back no longer, if nothing happens before.
    pub(super) fn due_ms(&self) -> Option<i64> {
        self.phase.as_ref().and_then(Phase::until_ms)
    }

    /// Acts if its time has come, as of then.
    pub(super) fn release(&mut self, now_ms: i64, scene: &mut Scene<'_>) {
        if let Some(due_ms) = self.due_ms().filter(|due_ms| *due_ms <= now_ms) {
            self.pass_to(None, due_ms, scene);
        }
    }

    fn pass_to(&mut self, phase: Option<Phase>, now_ms: i64, scene: &mut Scene<'_>) {
        let before = self.event_state();
        self.phase = phase;
        self.standing.update(now_ms);
        self.act(&before, now_ms, scene);
    }

    fn act(&self, before: &Value, now_ms: i64, scene: &mut Scene<'_>) {
        let actions = if self.definition.actions_enabled {
            actions_on(self.standing.state(), &self.definition.described)
        } else {
            Vec::new()
        };
        if actions.is_empty() {
            return;
        }
        let actor = Actor { kind: AlarmKind::Composite, name: self.name(), arn: self.standing.arn() };
        if self.phase.is_some() {
            scene.suppress(actor, &actions, now_ms);
            return;
        }
        let data = json!({
            "state": self.event_state(), "previousState": before,
            "configuration": self.definition.event_configuration(),
        });
        scene.act(actor, &actions, now_ms, &data);
    }

    fn event_state(&self) -> Value {
        let mut state = self.standing.event_state();
        if let (Some(phase), Some(members)) = (&self.phase, state.as_object_mut()) {
            members.insert("actionsSuppressedBy".to_owned(), json!(phase.name()));
            members.insert("actionsSuppressedReason".to_owned(), json!(phase.reason()));
        }
        state
    }
}
