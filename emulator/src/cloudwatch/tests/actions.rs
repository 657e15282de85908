//! Functions that alarms invoke.

use std::collections::HashSet;

use bytes::Bytes;

use super::*;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:f:live";
const ARN: &str = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:";

/// Remembers by which alarm each function was invoked, and with what.
#[derive(Default)]
struct Remembered {
    invoked: Mutex<Vec<(String, String, Value)>>,
    refuses: HashSet<&'static str>,
}

impl Functions for Remembered {
    fn invoke(&self, function_arn: &str, alarm_arn: &str, payload: Bytes) -> Result<(), String> {
        if self.refuses.contains(function_arn) {
            return Err("not authorized".to_owned());
        }
        let event = serde_json::from_slice(&payload).unwrap();
        self.invoked.lock().unwrap().push((function_arn.to_owned(), alarm_arn.to_owned(), event));
        Ok(())
    }
}

fn account_with(functions: Remembered) -> (Account, Arc<Remembered>) {
    let (account, functions) = (account(), Arc::new(functions));
    account.alarms().set_functions(Arc::<Remembered>::clone(&functions));
    (account, functions)
}

impl Account {
    fn enter(&self, name: &str, state: &str, data: Option<&str>) {
        let input =
            json!({"AlarmName": name, "StateValue": state, "StateReason": "test", "StateReasonData": data});
        self.call("SetAlarmState", &input).unwrap();
    }

    /// Outcome and error of the actions that are remembered, the oldest first.
    fn acted(&self, kind: &str) -> Vec<(String, Value)> {
        let input =
            json!({"HistoryItemType": "Action", "AlarmTypes": [kind], "ScanBy": "TimestampAscending"});
        let found = self.call("DescribeAlarmHistory", &input).unwrap();
        let items = found["AlarmHistoryItems"].as_array().unwrap().iter();
        items
            .map(|item| {
                let data: Value = serde_json::from_str(item["HistoryData"].as_str().unwrap()).unwrap();
                (item["HistorySummary"].as_str().unwrap().to_owned(), data["error"].clone())
            })
            .collect()
    }
}

#[test]
fn a_metric_alarm_invokes_a_function_with_both_states_and_its_metric() {
    let (account, functions) = account_with(Remembered::default());
    let members = json!({"AlarmActions": [FUNCTION], "AlarmDescription": "high", "Unit": "Count",
        "Dimensions": [{"Name": "Queue", "Value": "q"}]});
    account.put_alarm("a", members).unwrap();
    account.enter("a", "ALARM", Some(r#"{"probe":1}"#));
    account.enter("a", "OK", None);
    let mut invoked = functions.invoked.lock().unwrap().clone();
    let [(function, alarm, event)] = &mut invoked[..] else { panic!("{invoked:?} is not one invocation") };
    assert_eq!((function.as_str(), alarm.as_str()), (FUNCTION, format!("{ARN}a").as_str()));
    let id = event["alarmData"]["configuration"]["metrics"][0]["id"].take();
    assert_eq!(id.as_str().unwrap().len(), 36);
    let time = "2027-01-15T08:00:00.000+0000";
    let expected = json!({
        "source": "aws.cloudwatch", "alarmArn": format!("{ARN}a"), "accountId": "123456789012", "time": time,
        "region": "us-east-1",
        "alarmData": {
            "alarmName": "a",
            "state": {"value": "ALARM", "reason": "test", "reasonData": r#"{"probe":1}"#, "timestamp": time},
            "previousState": {
                "value": "INSUFFICIENT_DATA", "reason": "Unchecked: Initial alarm creation", "timestamp": time,
            },
            "configuration": {"description": "high", "metrics": [{
                "id": null, "returnData": true, "metricStat": {
                    "metric": {"namespace": "N", "name": "m", "dimensions": {"Queue": "q"}}, "period": 60, "stat": "Sum",
                    "unit": "Count",
                },
            }]},
        },
    });
    assert_eq!(*event, expected);
    let acted = (format!("Successfully executed action {FUNCTION}"), Value::Null);
    assert_eq!(account.acted("MetricAlarm"), [acted]);
}

#[test]
fn an_alarm_on_metric_math_tells_its_queries() {
    let (account, functions) = account_with(Remembered::default());
    let input = json!({"AlarmName": "rate", "Metrics": [math("e", "m1 * 2"), stat("m1", "m")], "EvaluationPeriods": 1,
        "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "OKActions": [FUNCTION]});
    account.call("PutMetricAlarm", &input).unwrap();
    account.enter("rate", "OK", None);
    let invoked = functions.invoked.lock().unwrap();
    let expected = json!([
        {"id": "e", "expression": "m1 * 2", "returnData": true},
        {"id": "m1", "returnData": false, "metricStat":
            {"metric": {"namespace": "N", "name": "m", "dimensions": {}}, "period": 60, "stat": "Sum"}},
    ]);
    assert_eq!(invoked[0].2["alarmData"]["configuration"], json!({"metrics": expected}));
}

#[test]
fn a_composite_alarm_invokes_a_function_with_its_rule() {
    let (account, functions) = account_with(Remembered::default());
    account.put_alarm("a", json!({})).unwrap();
    let input = json!({"AlarmName": "c", "AlarmRule": "ALARM(a)", "AlarmActions": [FUNCTION], "ActionsSuppressor": "a",
        "ActionsSuppressorWaitPeriod": 0, "ActionsSuppressorExtensionPeriod": 0});
    account.call("PutCompositeAlarm", &input).unwrap();
    account.enter("c", "ALARM", None);
    let invoked = functions.invoked.lock().unwrap();
    let data = &invoked[0].2["alarmData"];
    let configuration = json!({"alarmRule": "ALARM(a)", "actionsSuppressor": "a", "actionsSuppressorWaitPeriod": 0,
        "actionsSuppressorExtensionPeriod": 0});
    assert_eq!((&data["alarmName"], &data["configuration"]), (&json!("c"), &configuration));
    assert_eq!((&data["state"]["value"], &data["previousState"]["value"]), (&json!("ALARM"), &json!("OK")));
}

#[test]
fn the_history_says_why_a_function_was_not_invoked() {
    let (account, functions) =
        account_with(Remembered { refuses: HashSet::from([FUNCTION]), ..Remembered::default() });
    let elsewhere = "arn:aws:lambda:us-east-1:111111111111:function:f";
    let topic = "arn:aws:sns:us-east-1:123456789012:lambda";
    account.put_alarm("a", json!({"AlarmActions": [FUNCTION, elsewhere, topic]})).unwrap();
    account.enter("a", "ALARM", None);
    let gone = format!("Function not found: {elsewhere}");
    let expected = [
        (
            format!("Failed to execute action {FUNCTION}. Received error: \"not authorized\""),
            json!("not authorized"),
        ),
        (format!("Failed to execute action {elsewhere}. Received error: \"{gone}\""), json!(gone)),
        (format!("Successfully executed action {topic}"), Value::Null),
    ];
    assert_eq!(account.acted("MetricAlarm"), expected);
    assert!(functions.invoked.lock().unwrap().is_empty());
}

#[test]
fn an_action_is_an_arn_of_the_partition_and_the_region_of_the_alarm() {
    let account = account();
    let region = |given: &str| format!("Invalid region {given} specified. Only us-east-1 is supported.");
    let no_arn = |given: &str| format!("Invalid arn syntax: {given}");
    for (action, why) in [
        ("arn:aws:sns:eu-west-1:123456789012:topic", region("eu-west-1")),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", region("eu-west-1")),
        ("arn:aws:automate:us-west-2:ec2:stop", region("us-west-2")),
        (
            "arn:aws:swf:us-west-2:123456789012:action/actions/AWS_EC2.InstanceId.Stop/1.0",
            region("us-west-2"),
        ),
        ("arn:aws:sns::123456789012:topic", region("")),
        (
            "arn:aws-us-gov:sns:us-gov-west-1:123456789012:topic",
            "Invalid partition aws-us-gov specified. Only aws is supported.".to_owned(),
        ),
        ("topic", no_arn("topic")),
        ("arn:aws:sns:us-east-1:topic", no_arn("arn:aws:sns:us-east-1:topic")),
    ] {
        for member in ["OKActions", "AlarmActions", "InsufficientDataActions"] {
            assert_eq!(message(account.put_alarm("a", json!({ member: [action] }))), why);
            let composite = json!({"AlarmName": "c", "AlarmRule": "TRUE", member: [action]});
            assert_eq!(message(account.call("PutCompositeAlarm", &composite)), why);
        }
    }
    for action in [
        "arn:aws:automate:us-east-1:ec2:stop",
        "arn:aws:ssm:us-east-1:123456789012:opsitem:1#CATEGORY=Cost",
        "arn:aws:ssm-incidents::123456789012:responseplan/plan",
    ] {
        account.put_alarm("a", json!({"AlarmActions": [action]})).unwrap();
    }
}

#[test]
fn nothing_is_invoked_while_actions_are_off() {
    let (account, functions) = account_with(Remembered::default());
    account.put_alarm("a", json!({"AlarmActions": [FUNCTION], "ActionsEnabled": false})).unwrap();
    account.enter("a", "ALARM", None);
    assert!(functions.invoked.lock().unwrap().is_empty());
    assert!(account.acted("MetricAlarm").is_empty());
}
