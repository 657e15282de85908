//! Alarms: kept, read back, and evaluated.

mod alarm;
mod definition;
mod history;
mod reason;
mod watched;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::alarm::{Alarm, Verdict};
use self::definition::Definition;
use self::history::{History, Item};
use super::evaluate::State;
use super::failure::Failure;
use super::request::{integer, list, metric, page, required_text, text, texts};
use super::statistic::MetricStat;
use crate::settings::Settings;

/// The default quota of an account and Region.
const ALARMS_MAX: usize = 5_000;
const RECORDS_DEFAULT: usize = 50;
const RECORDS_MAX: i64 = 100;

/// The alarms of the account.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_name: BTreeMap<String, Alarm>,
    history: History,
}

impl Alarms {
    pub(super) fn put(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let definition = Definition::read(input)?;
        let (name, now_ms) = (definition.name.clone(), settings.clock.now_ms());
        if let Some(alarm) = self.by_name.get_mut(&name) {
            // "The tags of an existing alarm are not changed by this operation."
            alarm.redefine(definition, now_ms, &mut self.history);
            return Ok(json!({}));
        }
        if self.by_name.len() >= ALARMS_MAX {
            return Err(Failure::limit(format!("An account has at most {ALARMS_MAX} alarms.")));
        }
        let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", settings.region, settings.account_id);
        let mut alarm = Alarm::new(arn, definition, now_ms);
        alarm.tag(&tags_of(input)?);
        self.history.push(Item::created(&name, now_ms, alarm.describe()));
        self.by_name.insert(name, alarm);
        Ok(json!({}))
    }

    pub(super) fn describe(&self, input: &Value) -> Result<Value, Failure> {
        if !wants_metric_alarms(input) {
            return Ok(json!({"MetricAlarms": [], "CompositeAlarms": []}));
        }
        let names = texts(input, "AlarmNames");
        let matching = self.by_name.values().filter(|alarm| is_wanted(alarm, &names, input));
        let (page, token) = page(input, records(input)?, matching.map(Alarm::describe), Failure::next_token)?;
        Ok(json!({"MetricAlarms": page, "CompositeAlarms": [], "NextToken": token}))
    }

    pub(super) fn describe_for_metric(&self, input: &Value) -> Result<Value, Failure> {
        let (metric, period_s) = (metric(input)?, integer(input, "Period")?);
        let stat = text(input, "Statistic").or(text(input, "ExtendedStatistic"));
        let unit = text(input, "Unit");
        let is_wanted = |of: &MetricStat| {
            of.metric == metric
                && stat.is_none_or(|stat| stat == of.stat)
                && period_s.is_none_or(|period_s| period_s == of.period_s)
                && unit.is_none_or(|unit| of.unit.as_deref() == Some(unit))
        };
        let alarms = self.by_name.values().filter(|alarm| alarm.stat().is_some_and(is_wanted));
        Ok(json!({"MetricAlarms": alarms.map(Alarm::describe).collect::<Vec<_>>()}))
    }

    pub(super) fn history(&self, input: &Value) -> Result<Value, Failure> {
        if !wants_metric_alarms(input) {
            return Ok(json!({"AlarmHistoryItems": []}));
        }
        self.history.describe(input, records(input)?)
    }

    /// Unknown names are no error here, as on AWS.
    pub(super) fn delete(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        for name in texts(input, "AlarmNames") {
            if let Some(alarm) = self.by_name.remove(&name) {
                self.history.push(Item::deleted(&name, settings.clock.now_ms(), alarm.describe()));
            }
        }
        Ok(json!({}))
    }

    pub(super) fn set_state(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let name = required_text(input, "AlarmName")?;
        let value = required_text(input, "StateValue")?;
        let refuse = || Failure::not_in_enum(value, "stateValue", "INSUFFICIENT_DATA, ALARM, OK");
        let state = State::parse(value).ok_or_else(refuse)?;
        let reason = required_text(input, "StateReason")?.to_owned();
        let reason_data = text(input, "StateReasonData").map(str::to_owned);
        let alarm = self.by_name.get_mut(name).ok_or_else(Failure::alarm_not_found)?;
        let verdict = Verdict { state, reason, reason_data };
        alarm.enter(verdict, settings.clock.now_ms(), &mut self.history);
        Ok(json!({}))
    }

    pub(super) fn enable_actions(&mut self, input: &Value, is_enabled: bool) -> Result<Value, Failure> {
        for name in texts(input, "AlarmNames") {
            if let Some(alarm) = self.by_name.get_mut(&name) {
                alarm.enable_actions(is_enabled);
            }
        }
        Ok(json!({}))
    }

    /// What is not there has no tags, as on AWS.
    pub(super) fn list_tags(&mut self, input: &Value) -> Result<Value, Failure> {
        let alarm = self.by_arn(required_text(input, "ResourceARN")?);
        Ok(json!({"Tags": alarm.map(|alarm| alarm.tags()).unwrap_or_default()}))
    }

    pub(super) fn tag(&mut self, input: &Value) -> Result<Value, Failure> {
        let arn = required_text(input, "ResourceARN")?;
        let tags = tags_of(input)?;
        let alarm = self.by_arn(arn).ok_or_else(|| Failure::not_found(format!("{arn} does not exist")))?;
        alarm.tag(&tags);
        Ok(json!({}))
    }

    pub(super) fn untag(&mut self, input: &Value) -> Result<Value, Failure> {
        let arn = required_text(input, "ResourceARN")?;
        let keys = texts(input, "TagKeys");
        let alarm = self.by_arn(arn).ok_or_else(|| Failure::not_found(format!("{arn} does not exist")))?;
        alarm.untag(&keys);
        Ok(json!({}))
    }

    pub(super) fn state_by_arn(&self, arn: &str) -> Option<&'static str> {
        self.by_name.values().find(|alarm| alarm.arn() == arn).map(|alarm| alarm.state().name())
    }

    pub(super) fn evaluate(&mut self, settings: &Settings, now_ms: i64) {
        for alarm in self.by_name.values_mut() {
            alarm.evaluate(&settings.metrics, now_ms, &mut self.history);
        }
    }

    fn by_arn(&mut self, arn: &str) -> Option<&mut Alarm> {
        self.by_name.values_mut().find(|alarm| alarm.arn() == arn)
    }
}

/// "If you omit this parameter, only metric alarms are returned", and there are no others here.
fn wants_metric_alarms(input: &Value) -> bool {
    let types = texts(input, "AlarmTypes");
    types.is_empty() || types.iter().any(|kind| kind == "MetricAlarm")
}

fn is_wanted(alarm: &Alarm, names: &[String], input: &Value) -> bool {
    (names.is_empty() || names.iter().any(|name| name == alarm.name()))
        && text(input, "AlarmNamePrefix").is_none_or(|prefix| alarm.name().starts_with(prefix))
        && text(input, "StateValue").is_none_or(|state| state == alarm.state().name())
}

fn records(input: &Value) -> Result<usize, Failure> {
    match integer(input, "MaxRecords")? {
        None => Ok(RECORDS_DEFAULT),
        Some(limit) if (1..=RECORDS_MAX).contains(&limit) => {
            Ok(usize::try_from(limit).unwrap_or(RECORDS_DEFAULT))
        }
        Some(_) => Err(Failure::validation(format!("MaxRecords must be between 1 and {RECORDS_MAX}."))),
    }
}

fn tags_of(input: &Value) -> Result<Vec<(String, String)>, Failure> {
    let pair = |tag: &Value| -> Result<(String, String), Failure> {
        let value = tag.get("Value").and_then(Value::as_str).unwrap_or_default();
        Ok((required_text(tag, "Key")?.to_owned(), value.to_owned()))
    };
    list(input, "Tags").iter().map(pair).collect()
}
