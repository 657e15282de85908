//! What happened to the alarms, also to those that are gone.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::reason::iso;
use crate::cloudwatch::failure::Failure;
use crate::cloudwatch::protocol::drop_absent;
use crate::cloudwatch::request::{text, texts, time_ms, token};
use crate::cloudwatch::times;
use crate::pages;

/// Of all alarms together, the newest stay. AWS keeps 30 days of them.
const ITEMS_MAX: usize = 5_000;
const VERSION: &str = "1.0";
/// Of DescribeAlarms, and not of what the history says of an alarm.
const STATE_MEMBERS: [&str; 5] = [
    "StateReason",
    "StateReasonData",
    "StateTransitionedTimestamp",
    "ActionsSuppressedBy",
    "ActionsSuppressedReason",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ConfigurationUpdate,
    StateUpdate,
    Action,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::ConfigurationUpdate => "ConfigurationUpdate",
            Self::StateUpdate => "StateUpdate",
            Self::Action => "Action",
        }
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let all = [Self::ConfigurationUpdate, Self::StateUpdate, Self::Action];
        let names = "ConfigurationUpdate, StateUpdate, Action";
        let kind = all.into_iter().find(|kind| kind.name() == text);
        kind.ok_or_else(|| Failure::not_in_enum(text, "historyItemType", names))
    }
}

/// The two kinds of alarms, in the order in which they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AlarmKind {
    Metric,
    Composite,
}

impl AlarmKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Metric => "MetricAlarm",
            Self::Composite => "CompositeAlarm",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Metric, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }

    /// "If you omit this parameter, only metric alarms are returned."
    pub(super) fn is_wanted(self, input: &Value) -> bool {
        let types = texts(input, "AlarmTypes");
        if types.is_empty() { self == Self::Metric } else { types.iter().any(|name| name == self.name()) }
    }
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed(String),
    Suppressed,
}

impl Outcome {
    const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed(_) => "Failed",
            Self::Suppressed => "Suppressed",
        }
    }

    fn summary(&self, action: &str) -> String {
        match self {
            Self::Succeeded => format!("Successfully executed action {action}"),
            Self::Failed(error) => format!("Failed to execute action {action}. Received error: \"{error}\""),
            Self::Suppressed => format!("Suppressed action {action}"),
        }
    }

    fn error(&self) -> Option<&str> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Succeeded | Self::Suppressed => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Item {
    alarm_kind: AlarmKind,
    alarm: String,
    at_ms: i64,
    kind: Kind,
    summary: String,
    data: String,
}

impl Item {
    /// `alarm` is as DescribeAlarms has it.
    pub(super) fn created(of: AlarmKind, name: &str, at_ms: i64, alarm: Value) -> Self {
        let data = json!({"version": VERSION, "type": "Create", "createdAlarm": configuration(alarm)});
        Self::configuration_update(of, name, at_ms, "created", &data)
    }

    pub(super) fn updated(of: AlarmKind, name: &str, at_ms: i64, before: Value, after: Value) -> Self {
        let (before, after) = (configuration(before), configuration(after));
        let changed = changed(&before, &after);
        let data = json!({
            "version": VERSION, "type": "Update", "updatedAlarm": after, "originalUpdatedFields": changed,
        });
        Self::configuration_update(of, name, at_ms, "updated", &data)
    }

    pub(super) fn deleted(of: AlarmKind, name: &str, at_ms: i64, alarm: Value) -> Self {
        let data = json!({"version": VERSION, "type": "Delete", "deletedAlarm": configuration(alarm)});
        Self::configuration_update(of, name, at_ms, "deleted", &data)
    }

    fn configuration_update(alarm_kind: AlarmKind, name: &str, at_ms: i64, verb: &str, data: &Value) -> Self {
        let summary = format!("Alarm \"{name}\" {verb}");
        let (alarm, data) = (name.to_owned(), data.to_string());
        Self { alarm_kind, alarm, at_ms, kind: Kind::ConfigurationUpdate, summary, data }
    }

    /// `old` and `new` have a `stateValue`.
    pub(super) fn state_update(
        alarm_kind: AlarmKind,
        name: &str,
        at_ms: i64,
        old: &Value,
        new: &Value,
    ) -> Self {
        let state = |of: &Value| of["stateValue"].as_str().unwrap_or_default().to_owned();
        let summary = format!("Alarm updated from {} to {}", state(old), state(new));
        let data = json!({"version": VERSION, "oldState": old, "newState": new}).to_string();
        Self { alarm_kind, alarm: name.to_owned(), at_ms, kind: Kind::StateUpdate, summary, data }
    }

    /// AWS writes the members that say nothing too.
    pub(super) fn action(
        alarm_kind: AlarmKind,
        name: &str,
        at_ms: i64,
        action: &str,
        outcome: &Outcome,
    ) -> Self {
        let data = json!({
            "actionState": outcome.name(), "stateUpdateTimestamp": at_ms, "notificationResource": action,
            "publishedMessage": null, "error": outcome.error(), "muteWindowEndTimestamp": null,
        });
        let (alarm, summary, data) = (name.to_owned(), outcome.summary(action), data.to_string());
        Self { alarm_kind, alarm, at_ms, kind: Kind::Action, summary, data }
    }

    fn describe(&self) -> Value {
        json!({
            "AlarmName": self.alarm, "AlarmType": self.alarm_kind.name(), "HistoryItemType": self.kind.name(),
            "Timestamp": times::from_ms(self.at_ms), "HistorySummary": self.summary, "HistoryData": self.data,
        })
    }
}

/// What AWS writes of an alarm into its history: of the state only the value.
fn configuration(mut alarm: Value) -> Value {
    if let Some(members) = alarm.as_object_mut() {
        members.retain(|name, _| !STATE_MEMBERS.contains(&name.as_str()));
    }
    drop_absent(&mut alarm);
    uncapitalized(alarm)
}

/// With small first letters of the members, and times as text.
fn uncapitalized(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let renamed = members.into_iter().map(|(name, value)| match times::to_ms(&value) {
                Some(at_ms) if times::is_time(&name) => (uncapitalize(&name), Value::from(iso(at_ms))),
                _ => (uncapitalize(&name), uncapitalized(value)),
            });
            Value::Object(renamed.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(uncapitalized).collect()),
        value => value,
    }
}

/// Two small letters where AWS writes two.
fn uncapitalize(name: &str) -> String {
    if name == "OKActions" {
        return "okactions".to_owned();
    }
    let mut rest = name.chars();
    let first = rest.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(rest).collect()
}

/// What the members that changed were before.
fn changed(before: &Value, after: &Value) -> Map<String, Value> {
    let members = before.as_object().into_iter().flatten();
    let changed = members.filter(|(name, value)| after.get(name.as_str()) != Some(*value));
    changed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Where an item stands: by its time, and among those of one time by how many there were before it.
type Place = (i64, u64);

#[derive(Debug, Default)]
pub(super) struct History {
    /// Each with how many there were before it, sorted by their places.
    items: VecDeque<(u64, Item)>,
    pushed: u64,
}

impl History {
    pub(super) fn push(&mut self, item: Item) {
        if self.items.len() == ITEMS_MAX {
            self.items.pop_front();
        }
        let at = self.items.partition_point(|(_, known)| known.at_ms <= item.at_ms);
        self.items.insert(at, (self.pushed, item));
        self.pushed += 1;
    }

    /// Newest first, unless asked otherwise.
    pub(super) fn describe(&self, input: &Value, limit: usize) -> Result<Value, Failure> {
        let (start_ms, end_ms) = (time_ms(input, "StartDate")?, time_ms(input, "EndDate")?);
        let kind = text(input, "HistoryItemType").map(Kind::parse).transpose()?;
        let kinds = [AlarmKind::Metric, AlarmKind::Composite].map(|kind| (kind, kind.is_wanted(input)));
        let is_wanted = |item: &Item| {
            kinds.contains(&(item.alarm_kind, true))
                && text(input, "AlarmName").is_none_or(|name| name == item.alarm)
                && kind.is_none_or(|kind| kind == item.kind)
                && start_ms.is_none_or(|start_ms| start_ms <= item.at_ms)
                && end_ms.is_none_or(|end_ms| item.at_ms <= end_ms)
        };
        let wanted = self.items.iter().filter(|(_, item)| is_wanted(item));
        let mut wanted: Vec<(Place, &Item)> =
            wanted.map(|(before, item)| ((item.at_ms, *before), item)).collect();
        let is_ascending = text(input, "ScanBy") == Some("TimestampAscending");
        if !is_ascending {
            wanted.reverse();
        }
        let after = token(input, read_place, Failure::next_token)?;
        let is_behind = |place: &Place| {
            after.is_none_or(|after| if is_ascending { *place > after } else { *place < after })
        };
        let (page, last) = pages::page(wanted, is_behind, limit);
        let page: Vec<Value> = page.into_iter().map(Item::describe).collect();
        let token = last.map(|(at_ms, before)| format!("{at_ms}/{before}"));
        Ok(json!({"AlarmHistoryItems": page, "NextToken": token}))
    }
}

fn read_place(token: &str) -> Option<Place> {
    let (at_ms, before) = token.split_once('/')?;
    Some((at_ms.parse().ok()?, before.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_items_make_room_for_new_ones() {
        let mut history = History::default();
        for at_ms in 0..=i64::try_from(ITEMS_MAX).unwrap() {
            history.push(Item::action(AlarmKind::Metric, "a", at_ms, "arn", &Outcome::Succeeded));
        }
        let times: Vec<i64> = history.items.iter().map(|(_, item)| item.at_ms).collect();
        assert_eq!((times.len(), times[0], times[ITEMS_MAX - 1]), (ITEMS_MAX, 1, 5_000));
    }

    #[test]
    fn an_item_that_comes_late_is_in_its_place() {
        let mut history = History::default();
        for at_ms in [2_000, 1_000, 2_000] {
            history.push(Item::action(AlarmKind::Metric, "a", at_ms, "arn", &Outcome::Succeeded));
        }
        let places: Vec<Place> = history.items.iter().map(|(before, item)| (item.at_ms, *before)).collect();
        assert_eq!(places, [(1_000, 1), (2_000, 0), (2_000, 2)]);
    }
}
