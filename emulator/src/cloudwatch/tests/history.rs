//! DescribeAlarmHistory.

use std::time::Duration;

use super::*;

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:topic";

impl Account {
    /// With other members of the request.
    fn history(&self, members: Value) -> Vec<Value> {
        let found = self.call("DescribeAlarmHistory", &members).unwrap();
        found["AlarmHistoryItems"].as_array().unwrap().clone()
    }

    fn set(&self, name: &str, state: &str) {
        let input = json!({"AlarmName": name, "StateValue": state, "StateReason": "test"});
        self.call("SetAlarmState", &input).unwrap();
    }
}

fn summaries(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["HistorySummary"].as_str().unwrap()).collect()
}

fn data(item: &Value) -> Value {
    serde_json::from_str(item["HistoryData"].as_str().unwrap()).unwrap()
}

#[test]
fn a_change_of_state_is_remembered_with_both_states_and_their_reasons() {
    let (account, hand) = account_and_hand();
    account.put_alarm("a", json!({})).unwrap();
    account.record(0, "m", 20.0);
    account.evaluate(1);
    hand.advance(Duration::from_secs(120));
    account.set("a", "OK");
    let items = account.history(json!({"HistoryItemType": "StateUpdate"}));
    let [set, evaluated] = &items[..] else { panic!("{items:?} are not two changes") };
    assert_eq!(evaluated["HistorySummary"], "Alarm updated from INSUFFICIENT_DATA to ALARM");
    assert_eq!((&evaluated["AlarmName"], &evaluated["AlarmType"]), (&json!("a"), &json!("MetricAlarm")));
    let (old, alarm) = (data(evaluated)["oldState"].clone(), data(evaluated)["newState"].clone());
    let new = json!({"stateValue": "INSUFFICIENT_DATA", "stateReason": "Unchecked: Initial alarm creation"});
    assert_eq!(old, new);
    assert_eq!(
        alarm["stateReason"],
        "Threshold Crossed: 1 datapoint [20.0 (15/01/27 08:00:00)] was greater than the threshold (10.0)."
    );
    assert_eq!(alarm["stateReasonData"]["recentDatapoints"], json!([20.0]));
    assert_eq!(data(set)["oldState"], alarm);
    assert_eq!(data(set)["newState"], json!({"stateValue": "OK", "stateReason": "test"}));
}

#[test]
fn the_life_of_an_alarm_is_remembered_after_its_end() {
    let (account, hand) = account_and_hand();
    account.put_alarm("a", json!({"OKActions": [TOPIC]})).unwrap();
    hand.advance(Duration::from_secs(60));
    account.put_alarm("a", json!({"OKActions": [TOPIC], "Threshold": 20})).unwrap();
    account.call("DeleteAlarms", &json!({"AlarmNames": ["a", "unknown"]})).unwrap();
    let input =
        json!({"AlarmName": "a", "HistoryItemType": "ConfigurationUpdate", "ScanBy": "TimestampAscending"});
    let items = account.history(input);
    let life = ["Alarm \"a\" created", "Alarm \"a\" updated", "Alarm \"a\" deleted"];
    assert_eq!(summaries(&items), life);
    let created = json!({
        "version": "1.0", "type": "Create", "createdAlarm": {
            "alarmName": "a", "alarmArn": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a",
            "alarmConfigurationUpdatedTimestamp": "2027-01-15T08:00:00.000+0000", "namespace": "N", "metricName": "m",
            "statistic": "Sum", "period": 60, "dimensions": [], "threshold": 10.0,
            "comparisonOperator": "GreaterThanThreshold", "evaluationPeriods": 1, "stateValue": "INSUFFICIENT_DATA",
            "stateUpdatedTimestamp": "2027-01-15T08:00:00.000+0000", "actionsEnabled": true, "alarmActions": [],
            "insufficientDataActions": [], "okactions": [TOPIC],
        },
    });
    assert_eq!(data(&items[0]), created);
    let updated = data(&items[1]);
    let original =
        json!({"threshold": 10.0, "alarmConfigurationUpdatedTimestamp": "2027-01-15T08:00:00.000+0000"});
    assert_eq!((&updated["type"], &updated["originalUpdatedFields"]), (&json!("Update"), &original));
    assert_eq!(updated["updatedAlarm"]["threshold"], 20.0);
    assert_eq!(data(&items[2])["deletedAlarm"], updated["updatedAlarm"]);
}

#[test]
fn the_actions_of_a_state_are_remembered_unless_they_are_off() {
    let account = account();
    account.put_alarm("a", json!({"AlarmActions": [TOPIC]})).unwrap();
    for state in ["ALARM", "OK", "ALARM"] {
        account.set("a", state);
        account.call("DisableAlarmActions", &json!({"AlarmNames": ["a"]})).unwrap();
    }
    let items = account.history(json!({"HistoryItemType": "Action"}));
    let [action] = &items[..] else { panic!("{items:?} are not one action") };
    assert_eq!(action["HistorySummary"], format!("Successfully executed action {TOPIC}"));
    let expected = json!({
        "actionState": "Succeeded", "stateUpdateTimestamp": START_MS, "notificationResource": TOPIC,
        "publishedMessage": null, "error": null, "muteWindowEndTimestamp": null,
    });
    assert_eq!(data(action), expected);
}

#[test]
fn actions_that_are_turned_on_or_off_are_an_update_of_the_alarm() {
    let (account, hand) = account_and_hand();
    account.put_alarm("a", json!({})).unwrap();
    hand.advance(Duration::from_secs(60));
    for operation in ["EnableAlarmActions", "DisableAlarmActions", "DisableAlarmActions"] {
        account.call(operation, &json!({"AlarmNames": ["a"]})).unwrap();
    }
    let items = account.history(json!({}));
    assert_eq!(summaries(&items), ["Alarm \"a\" updated", "Alarm \"a\" created"]);
    let changed = json!({
        "actionsEnabled": true, "alarmConfigurationUpdatedTimestamp": "2027-01-15T08:00:00.000+0000",
    });
    assert_eq!(data(&items[0])["originalUpdatedFields"], changed);
}

#[test]
fn a_state_that_is_set_again_stays_as_it_was() {
    let (account, hand) = account_and_hand();
    account.put_alarm("a", json!({})).unwrap();
    account.set("a", "ALARM");
    let before = account.described();
    hand.advance(Duration::from_secs(60));
    let again = json!({"AlarmName": "a", "StateValue": "ALARM", "StateReason": "again"});
    account.call("SetAlarmState", &again).unwrap();
    assert_eq!(account.described(), before);
    assert_eq!(account.history(json!({"HistoryItemType": "StateUpdate"})).len(), 1);
}

#[test]
fn history_is_found_by_alarm_and_time_in_pages_from_either_end() {
    let (account, hand) = account_and_hand();
    for name in ["a", "b"] {
        account.put_alarm(name, json!({})).unwrap();
    }
    for (name, state) in [("a", "OK"), ("b", "ALARM"), ("a", "ALARM")] {
        hand.advance(Duration::from_secs(60));
        account.set(name, state);
    }
    let changes = |members: Value| account.history(with(json!({"HistoryItemType": "StateUpdate"}), members));
    let (first, second, third) = (
        "Alarm updated from INSUFFICIENT_DATA to OK",
        "Alarm updated from INSUFFICIENT_DATA to ALARM",
        "Alarm updated from OK to ALARM",
    );
    let minute = |minute: i64| times::from_ms(START_MS + minute * MINUTE_MS);
    for (members, expected) in [
        (json!({}), vec![third, second, first]),
        (json!({"ScanBy": "TimestampAscending"}), vec![first, second, third]),
        (json!({"AlarmName": "a"}), vec![third, first]),
        (json!({"StartDate": minute(2)}), vec![third, second]),
        (json!({"EndDate": minute(2)}), vec![second, first]),
        (json!({"StartDate": minute(2), "EndDate": minute(2)}), vec![second]),
        (json!({"AlarmTypes": ["CompositeAlarm"]}), vec![]),
        (json!({"MaxRecords": 2}), vec![third, second]),
    ] {
        assert_eq!(summaries(&changes(members.clone())), expected, "{members}");
    }
    let token = |members: Value| account.call("DescribeAlarmHistory", &members).unwrap()["NextToken"].clone();
    assert_eq!(token(json!({"HistoryItemType": "StateUpdate", "MaxRecords": 3})), Value::Null);
    let next = token(json!({"HistoryItemType": "StateUpdate", "MaxRecords": 2}));
    // What happens between two pages is on neither, and moves nothing.
    account.set("b", "OK");
    assert_eq!(summaries(&changes(json!({"MaxRecords": 2, "NextToken": next}))), [first]);
    let refused = account.call("DescribeAlarmHistory", &json!({"NextToken": "x"})).unwrap_err();
    assert_eq!(refused.query_code, "InvalidNextToken");
    let refused = message(account.call("DescribeAlarmHistory", &json!({"HistoryItemType": "Other"})));
    assert!(refused.contains("Value 'Other' at 'historyItemType' failed to satisfy constraint"), "{refused}");
}
