//! Alarms: kept, read back, and evaluated.

mod alarm;
mod definition;
mod watched;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::alarm::Alarm;
use self::definition::Definition;
use super::evaluate::State;
use super::failure::Failure;
use super::request::{integer, list, metric, required_text, text, texts};
use crate::settings::Settings;

/// The default quota of an account and Region.
const ALARMS_MAX: usize = 5_000;
const RECORDS_DEFAULT: usize = 50;
const RECORDS_MAX: i64 = 100;

/// The alarms of the account, by name.
#[derive(Debug, Default)]
pub(super) struct Alarms(BTreeMap<String, Alarm>);

impl Alarms {
    pub(super) fn put(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let definition = Definition::read(input)?;
        let name = definition.name.clone();
        if let Some(alarm) = self.0.get_mut(&name) {
            // "The tags of an existing alarm are not changed by this operation."
            alarm.redefine(definition, settings.clock.now_ms());
            return Ok(json!({}));
        }
        if self.0.len() >= ALARMS_MAX {
            return Err(Failure::limit(format!("An account has at most {ALARMS_MAX} alarms.")));
        }
        let arn = format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", settings.region, settings.account_id);
        let mut alarm = Alarm::new(arn, definition, settings.clock.now_ms());
        alarm.tag(&tags_of(input)?);
        self.0.insert(name, alarm);
        Ok(json!({}))
    }

    pub(super) fn describe(&self, input: &Value) -> Result<Value, Failure> {
        let types = texts(input, "AlarmTypes");
        if !types.is_empty() && !types.iter().any(|kind| kind == "MetricAlarm") {
            return Ok(json!({"MetricAlarms": [], "CompositeAlarms": []}));
        }
        let limit = records(input)?;
        let skip: usize = match text(input, "NextToken") {
            None => 0,
            Some(token) => token.parse().map_err(|_| Failure::invalid("The NextToken is not valid."))?,
        };
        let names = texts(input, "AlarmNames");
        let matching: Vec<&Alarm> = self.0.values().filter(|alarm| is_wanted(alarm, &names, input)).collect();
        let page: Vec<Value> = matching.iter().skip(skip).take(limit).map(|alarm| alarm.describe()).collect();
        let next = skip + page.len();
        let token = (next < matching.len()).then(|| next.to_string());
        Ok(json!({"MetricAlarms": page, "CompositeAlarms": [], "NextToken": token}))
    }

    pub(super) fn describe_for_metric(&self, input: &Value) -> Result<Value, Failure> {
        let wanted = metric(input)?;
        let alarms: Vec<Value> =
            self.0.values().filter(|alarm| alarm.metric() == Some(&wanted)).map(Alarm::describe).collect();
        Ok(json!({"MetricAlarms": alarms}))
    }

    pub(super) fn history(&self, input: &Value) -> Result<Value, Failure> {
        let name = text(input, "AlarmName");
        let limit = records(input)?;
        let alarms = self.0.values().filter(|alarm| name.is_none_or(|name| name == alarm.name()));
        let items: Vec<Value> = alarms.flat_map(Alarm::history).take(limit).collect();
        Ok(json!({"AlarmHistoryItems": items}))
    }

    /// Unknown names are no error here, as on AWS.
    pub(super) fn delete(&mut self, input: &Value) -> Result<Value, Failure> {
        let names = texts(input, "AlarmNames");
        self.0.retain(|name, _| !names.contains(name));
        Ok(json!({}))
    }

    pub(super) fn set_state(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let name = required_text(input, "AlarmName")?;
        let value = required_text(input, "StateValue")?;
        let state = State::parse(value).ok_or_else(|| {
            Failure::validation(format!(
                "1 validation error detected: Value '{value}' at 'stateValue' failed to satisfy constraint: \
                 Member must satisfy enum value set: [INSUFFICIENT_DATA, ALARM, OK]"
            ))
        })?;
        let reason = required_text(input, "StateReason")?;
        let data = text(input, "StateReasonData").map(str::to_owned);
        let alarm = self.0.get_mut(name).ok_or_else(Failure::alarm_not_found)?;
        alarm.enter(state, reason.to_owned(), data, settings.clock.now_ms());
        Ok(json!({}))
    }

    pub(super) fn enable_actions(&mut self, input: &Value, is_enabled: bool) -> Result<Value, Failure> {
        for name in texts(input, "AlarmNames") {
            if let Some(alarm) = self.0.get_mut(&name) {
                alarm.enable_actions(is_enabled);
            }
        }
        Ok(json!({}))
    }

    pub(super) fn list_tags(&mut self, input: &Value) -> Result<Value, Failure> {
        let arn = required_text(input, "ResourceARN")?;
        // A dashboard has an ARN too, and no tags in this version of the API.
        let tags = match self.by_arn(arn) {
            Some(alarm) => alarm.tags(),
            None if arn.contains(":dashboard/") => Vec::new(),
            None => return Err(Failure::not_found(format!("{arn} does not exist"))),
        };
        Ok(json!({ "Tags": tags }))
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
        self.0.values().find(|alarm| alarm.arn() == arn).map(|alarm| alarm.state().name())
    }

    pub(super) fn evaluate(&mut self, settings: &Settings, now_ms: i64) {
        for alarm in self.0.values_mut() {
            alarm.evaluate(&settings.metrics, now_ms);
        }
    }

    fn by_arn(&mut self, arn: &str) -> Option<&mut Alarm> {
        self.0.values_mut().find(|alarm| alarm.arn() == arn)
    }
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
