//! Schedules and groups: what a caller may ask for, and how it is shown.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::SchedulerError;
use super::expression::Expression;
use crate::repeatable;
use crate::wire::Object;

/// AWS quotas and defaults of the retry policy.
const AGE_SECONDS: (i64, i64) = (60, 86_400);
const RETRIES: (i64, i64) = (0, 185);
/// AWS quota of a flexible time window, in minutes.
const WINDOW_MINUTES: (i64, i64) = (1, 1_440);
/// "The StartDate you specify cannot be earlier than 5 minutes ago."
const START_IN_THE_PAST_MAX_MS: i64 = 5 * 60_000;
/// Since these rules AWS's bounds of both dates are kept.
const RULES_OF_DATES: u32 = 1;
/// Since these rules it is kept that a schedule has deleted itself.
pub(super) const RULES_OF_ENDS: u32 = 3;
/// Members of a target that only kinds of targets need that are not emulated.
const REFUSED: [&str; 5] = [
    "EcsParameters",
    "EventBridgeParameters",
    "KinesisParameters",
    "SageMakerPipelineParameters",
    "SqsParameters",
];

/// The body of CreateSchedule and of UpdateSchedule, which replaces everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Input {
    pub(super) client_token: Option<String>,
    pub(super) group_name: Option<String>,
    description: Option<String>,
    schedule_expression: Option<String>,
    schedule_expression_timezone: Option<String>,
    start_date: Option<f64>,
    end_date: Option<f64>,
    state: Option<String>,
    flexible_time_window: Option<Object<Window>>,
    target: Option<Box<RawValue>>,
    action_after_completion: Option<String>,
    kms_key_arn: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Window {
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum_window_in_minutes: Option<i64>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Target {
    pub(super) arn: String,
    pub(super) role_arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<String>,
    #[serde(default, deserialize_with = "retry_policy")]
    pub(super) retry_policy: RetryPolicy,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "dead_letters")]
    pub(super) dead_letter_config: Option<DeadLetters>,
}

/// Read as by whoever judges the call.
fn retry_policy<'de, D: Deserializer<'de>>(members: D) -> Result<RetryPolicy, D::Error> {
    Object::deserialize(members).map(|Object(policy)| policy)
}

/// Likewise.
fn dead_letters<'de, D: Deserializer<'de>>(members: D) -> Result<Option<DeadLetters>, D::Error> {
    let letters = Option::<Object<DeadLetters>>::deserialize(members)?;
    Ok(letters.map(|Object(letters)| letters))
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RetryPolicy {
    pub(super) maximum_event_age_in_seconds: i64,
    pub(super) maximum_retry_attempts: i64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { maximum_event_age_in_seconds: AGE_SECONDS.1, maximum_retry_attempts: RETRIES.1 }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeadLetters {
    pub(super) arn: String,
}

/// One schedule, and when it runs next.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) name: String,
    pub(super) group: String,
    pub(super) arn: String,
    description: Option<String>,
    text: String,
    zone_name: String,
    pub(super) expression: Expression,
    pub(super) zone: TimeZone,
    start_ms: Option<i64>,
    pub(super) end_ms: Option<i64>,
    pub(super) enabled: bool,
    window: Window,
    pub(super) target: Target,
    deletes_itself: bool,
    /// Whether a later process would know that it has deleted itself.
    end_is_kept: bool,
    pub(super) created_ms: i64,
    pub(super) modified_ms: i64,
    /// None when it will not run again, or not while it is disabled.
    pub(super) due_ms: Option<i64>,
    /// Tells a run of this definition from one of a definition before.
    pub(super) revision: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) arn: String,
    pub(super) created_ms: i64,
    pub(super) tags: BTreeMap<String, String>,
}

type Checked<T> = Result<T, SchedulerError>;

fn invalid<T>(message: impl Into<String>) -> Checked<T> {
    Err(SchedulerError::Validation(message.into()))
}

/// "Pattern: ^[0-9a-zA-Z-_.]+$, maximum length of 64."
pub(super) fn check_name(name: &str, member: &str) -> Checked<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=64).contains(&name.len()) && name.bytes().all(legal) {
        return Ok(());
    }
    invalid(format!(
        "1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: ^[0-9a-zA-Z-_.]+$"
    ))
}

impl Schedule {
    pub(super) fn new(name: &str, group: &str, arn: String, input: Input, now_ms: i64) -> Checked<Self> {
        check_name(name, "name")?;
        if input.kms_key_arn.is_some() {
            return invalid("KmsKeyArn is not supported by the emulator.");
        }
        let zone_name = input.schedule_expression_timezone.unwrap_or_else(|| "UTC".to_owned());
        let zone = if zone_name == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(&zone_name) };
        let Ok(zone) = zone else {
            return invalid(format!("Invalid ScheduleExpressionTimezone {zone_name}."));
        };
        let text = input.schedule_expression.unwrap_or_default();
        let Some(expression) = Expression::parse(&text, &zone) else {
            return invalid(format!("Invalid Schedule Expression {text}."));
        };
        let mut schedule = Self {
            name: name.to_owned(),
            group: group.to_owned(),
            arn,
            description: input.description.filter(|text| !text.is_empty()),
            text,
            zone_name,
            expression,
            zone,
            start_ms: input.start_date.map(millis),
            end_ms: input.end_date.map(millis),
            enabled: enabled(input.state.as_deref())?,
            window: window(input.flexible_time_window)?,
            target: target(input.target)?,
            deletes_itself: deletes_itself(input.action_after_completion.as_deref())?,
            end_is_kept: !repeatable::is_older_than(RULES_OF_ENDS),
            created_ms: now_ms,
            modified_ms: now_ms,
            due_ms: None,
            revision: 0,
        };
        if schedule.expression.is_recurring() && !repeatable::is_older_than(RULES_OF_DATES) {
            schedule.check_dates(now_ms)?;
        }
        schedule.due_ms = schedule.first(now_ms);
        Ok(schedule)
    }

    /// Of what recurs: AWS ignores both dates of what runs once.
    fn check_dates(&self, now_ms: i64) -> Checked<()> {
        if self.start_ms.is_some_and(|start_ms| start_ms < now_ms - START_IN_THE_PAST_MAX_MS) {
            return invalid("The StartDate you specify cannot be earlier than 5 minutes ago.");
        }
        if self.end_ms.is_some_and(|end_ms| end_ms < now_ms) {
            return invalid("The EndDate you specify must be in the future.");
        }
        if self.start_ms.zip(self.end_ms).is_some_and(|(start_ms, end_ms)| end_ms <= start_ms) {
            return invalid("The StartDate you specify must come before the EndDate.");
        }
        Ok(())
    }

    fn first(&self, now_ms: i64) -> Option<i64> {
        let start_ms = self.start_ms.filter(|_| self.expression.is_recurring()).unwrap_or(now_ms).max(now_ms);
        let first_ms = self.expression.first(start_ms, &self.zone)?;
        // A time that has passed is never made up for.
        self.within(first_ms).filter(|first_ms| self.enabled && *first_ms >= now_ms)
    }

    /// Sets when it runs after the run that was due.
    pub(super) fn advance(&mut self, now_ms: i64) {
        let Some(due_ms) = self.due_ms else { return };
        self.due_ms =
            self.expression.after(due_ms, now_ms, &self.zone).and_then(|next_ms| self.within(next_ms));
    }

    /// "If you configure a schedule with automatic deletion but do not specify a value for EndDate, EventBridge Scheduler
    /// does not automatically delete the schedule": of those that recur.
    pub(super) const fn is_deleted_when_done(&self) -> bool {
        self.deletes_itself && (!self.expression.is_recurring() || self.end_ms.is_some())
    }

    /// Whether it would not be there any more if it had run.
    pub(super) const fn ends_with_its_run(&self) -> bool {
        self.deletes_itself && self.end_is_kept && !self.expression.is_recurring()
    }

    fn within(&self, at_ms: i64) -> Option<i64> {
        let ended = self.expression.is_recurring() && self.end_ms.is_some_and(|end_ms| at_ms > end_ms);
        (!ended).then_some(at_ms)
    }

    /// How much later than due a run may be.
    pub(super) fn window_ms(&self) -> i64 {
        self.window.maximum_window_in_minutes.unwrap_or(0) * 60_000
    }

    pub(super) fn show(&self) -> Value {
        let mut out = self.summary();
        out["ActionAfterCompletion"] = json!(if self.deletes_itself { "DELETE" } else { "NONE" });
        out["FlexibleTimeWindow"] = json!(self.window);
        out["ScheduleExpression"] = json!(self.text);
        out["ScheduleExpressionTimezone"] = json!(self.zone_name);
        out["Target"] = json!(self.target);
        if let Some(description) = &self.description {
            out["Description"] = json!(description);
        }
        for (member, at_ms) in [("StartDate", self.start_ms), ("EndDate", self.end_ms)] {
            if let Some(at_ms) = at_ms {
                out[member] = json!(seconds(at_ms));
            }
        }
        out
    }

    /// As a list shows it.
    pub(super) fn summary(&self) -> Value {
        json!({
            "Arn": self.arn,
            "CreationDate": seconds(self.created_ms),
            "GroupName": self.group,
            "LastModificationDate": seconds(self.modified_ms),
            "Name": self.name,
            "State": self.state(),
            "Target": {"Arn": self.target.arn},
        })
    }

    pub(super) const fn state(&self) -> &'static str {
        if self.enabled { "ENABLED" } else { "DISABLED" }
    }
}

impl Group {
    pub(super) fn show(&self, name: &str) -> Value {
        json!({
            "Arn": self.arn,
            "CreationDate": seconds(self.created_ms),
            "LastModificationDate": seconds(self.created_ms),
            "Name": name,
            "State": "ACTIVE",
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a date in milliseconds fits 64 bits; one that does not saturates"
)]
fn millis(seconds: f64) -> i64 {
    (seconds * 1e3) as i64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch fit 2^53 for 280,000 years")]
fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}

fn enabled(state: Option<&str>) -> Checked<bool> {
    match state {
        None | Some("ENABLED") => Ok(true),
        Some("DISABLED") => Ok(false),
        Some(other) => invalid(format!(
            "1 validation error detected: Value '{other}' at 'state' failed to satisfy constraint: Member must satisfy \
             enum value set: [ENABLED, DISABLED]"
        )),
    }
}

fn deletes_itself(action: Option<&str>) -> Checked<bool> {
    match action {
        None | Some("NONE") => Ok(false),
        Some("DELETE") => Ok(true),
        Some(other) => invalid(format!("Invalid ActionAfterCompletion {other}.")),
    }
}

fn window(given: Option<Object<Window>>) -> Checked<Window> {
    let Some(Object(window)) = given else { return invalid("FlexibleTimeWindow must not be null.") };
    match (window.mode.as_str(), window.maximum_window_in_minutes) {
        ("OFF", None) => Ok(window),
        ("FLEXIBLE", Some(minutes)) if (WINDOW_MINUTES.0..=WINDOW_MINUTES.1).contains(&minutes) => Ok(window),
        _ => invalid("Invalid FlexibleTimeWindow: OFF has no maximum, FLEXIBLE one of 1 to 1440 minutes."),
    }
}

fn target(given: Option<Box<RawValue>>) -> Checked<Target> {
    let Some(given) = given else { return invalid("Target must not be null.") };
    let refuse = |error: serde_json::Error| SchedulerError::Validation(format!("Invalid Target: {error}."));
    let members: Value = serde_json::from_str(given.get()).map_err(refuse)?;
    if let Some(refused) = REFUSED.iter().find(|member| !members[**member].is_null()) {
        return invalid(format!("{refused} is not supported by the emulator."));
    }
    let target = if repeatable::is_repeated() {
        // An older emulator took the last of a member that came twice, and a list.
        serde_json::from_value(members)
    } else {
        serde_json::from_str(given.get()).map(|Object(target)| target)
    };
    let target: Target = target.map_err(refuse)?;
    match target.arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "lambda", _, _, "function", ..] => {
            let sound = |input: &String| serde_json::from_str::<serde::de::IgnoredAny>(input).is_ok();
            if !target.input.as_ref().is_none_or(sound) {
                return invalid("Provided Input is not a valid JSON.");
            }
        }
        ["arn", _, "sqs", _, _, _] => {}
        _ => {
            return invalid(format!(
                "Provided Arn is not in correct format, or not emulated: {}.",
                target.arn
            ));
        }
    }
    let policy = &target.retry_policy;
    let within = |value: i64, range: (i64, i64)| (range.0..=range.1).contains(&value);
    if !within(policy.maximum_event_age_in_seconds, AGE_SECONDS)
        || !within(policy.maximum_retry_attempts, RETRIES)
    {
        return invalid(
            "RetryPolicy: MaximumEventAgeInSeconds is 60 to 86400, MaximumRetryAttempts 0 to 185.",
        );
    }
    if target.dead_letter_config.as_ref().is_some_and(|letters| !letters.arn.contains(":sqs:")) {
        return invalid("The dead-letter queue must be an SQS queue.");
    }
    Ok(target)
}
