//! Composite alarms: their rules, their states, and what holds their actions back.

use std::time::Duration;

use super::*;
use crate::repeatable;

const ARN: &str = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:topic";

impl Account {
    /// With other members of the request.
    fn put_composite(&self, name: &str, rule: &str, members: Value) -> Result<Value, Failure> {
        self.call("PutCompositeAlarm", &with(json!({"AlarmName": name, "AlarmRule": rule}), members))
    }

    fn turn(&self, name: &str, state: &str) {
        let input = json!({"AlarmName": name, "StateValue": state, "StateReason": "test"});
        self.call("SetAlarmState", &input).unwrap();
    }

    fn composite(&self, name: &str) -> Value {
        let input = json!({"AlarmNames": [name], "AlarmTypes": ["CompositeAlarm"]});
        self.call("DescribeAlarms", &input).unwrap()["CompositeAlarms"][0].clone()
    }

    fn state_of(&self, name: &str) -> String {
        self.composite(name)["StateValue"].as_str().unwrap().to_owned()
    }

    /// What the history says of the actions of a composite alarm, the oldest first.
    fn outcomes(&self, name: &str) -> Vec<String> {
        let input = json!({"AlarmName": name, "AlarmTypes": ["CompositeAlarm"], "HistoryItemType": "Action",
            "ScanBy": "TimestampAscending"});
        let found = self.call("DescribeAlarmHistory", &input).unwrap();
        let items = found["AlarmHistoryItems"].as_array().unwrap().iter();
        let data = items.map(|item| item["HistoryData"].as_str().unwrap());
        let data = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
        data.map(|data| data["actionState"].as_str().unwrap().to_owned()).collect()
    }
}

/// With two metric alarms `a` and `b`, of which nothing is known.
fn with_children() -> (Account, Arc<ManualClock>) {
    let (account, hand) = account_and_hand();
    for name in ["a", "b"] {
        account.put_alarm(name, json!({})).unwrap();
    }
    (account, hand)
}

#[test]
fn a_composite_alarm_is_described_as_aws_does() {
    let (account, _) = with_children();
    let rule = "ALARM(\"a\") OR ALARM(b)";
    let members = json!({"AlarmDescription": "either", "AlarmActions": [TOPIC], "ActionsSuppressor": "b",
        "ActionsSuppressorWaitPeriod": "0", "ActionsSuppressorExtensionPeriod": 60});
    account.put_composite("c", rule, members).unwrap();
    let now = times::from_ms(START_MS);
    let both = ["a", "b"].map(|name| {
        json!({"arn": format!("{ARN}{name}"), "state": {"value": "INSUFFICIENT_DATA",
            "timestamp": "2027-01-15T08:00:00.000+0000"}})
    });
    let expected = json!({
        "AlarmName": "c", "AlarmArn": format!("{ARN}c"), "AlarmDescription": "either", "AlarmRule": rule,
        "ActionsEnabled": true, "OKActions": [], "AlarmActions": [TOPIC], "InsufficientDataActions": [],
        "StateValue": "OK", "StateReason": format!("{ARN}c was created and its alarm rule evaluates to OK"),
        "StateReasonData": json!({"triggeringAlarms": both}).to_string(),
        "StateUpdatedTimestamp": now, "StateTransitionedTimestamp": now, "AlarmConfigurationUpdatedTimestamp": now,
        "ActionsSuppressor": "b", "ActionsSuppressorWaitPeriod": 0, "ActionsSuppressorExtensionPeriod": 60,
        "ActionsSuppressedBy": null, "ActionsSuppressedReason": null,
    });
    assert_eq!(account.composite("c"), expected);
}

#[test]
fn a_composite_alarm_follows_its_children_and_says_which() {
    let (account, hand) = with_children();
    account.put_composite("c", "ALARM(a) AND NOT ALARM(b)", json!({})).unwrap();
    account.put_composite("d", &format!("OK({ARN}c)"), json!({})).unwrap();
    assert_eq!((account.state_of("c").as_str(), account.state_of("d").as_str()), ("OK", "ALARM"));
    hand.advance(Duration::from_secs(62));
    account.turn("a", "ALARM");
    let c = account.composite("c");
    let reason = format!("{ARN}a transitioned to ALARM at Friday 15 January, 2027 08:01:02 UTC");
    assert_eq!((&c["StateValue"], &c["StateReason"]), (&json!("ALARM"), &json!(reason)));
    let trigger = json!({"triggeringAlarms": [
        {"arn": format!("{ARN}a"), "state": {"value": "ALARM", "timestamp": "2027-01-15T08:01:02.000+0000"}},
    ]});
    assert_eq!(c["StateReasonData"], trigger.to_string());
    let reason = format!("{ARN}c transitioned to ALARM at Friday 15 January, 2027 08:01:02 UTC");
    assert_eq!(account.composite("d")["StateReason"], reason);
    account.turn("b", "ALARM");
    assert_eq!((account.state_of("c").as_str(), account.state_of("d").as_str()), ("OK", "ALARM"));
}

#[test]
fn a_composite_alarm_follows_an_evaluation() {
    let (account, _) = with_children();
    account.put_composite("c", "ALARM(a)", json!({})).unwrap();
    account.record(0, "m", 20.0);
    account.evaluate(1);
    assert_eq!(account.state_of("c"), "ALARM");
}

#[test]
fn a_new_rule_is_evaluated_at_once() {
    let (account, hand) = with_children();
    account.put_composite("c", "TRUE", json!({})).unwrap();
    assert_eq!(account.state_of("c"), "ALARM");
    hand.advance(Duration::from_secs(1));
    account.put_composite("c", "TRUE OR ALARM(a)", json!({})).unwrap();
    let reason = format!("{ARN}c was created and its alarm rule evaluates to ALARM");
    assert_eq!(account.composite("c")["StateReason"], reason, "the state is the same");
    account.put_composite("c", "FALSE", json!({})).unwrap();
    let c = account.composite("c");
    let reason = format!("{ARN}c was updated and its new alarm rule evaluates to OK");
    assert_eq!((&c["StateValue"], &c["StateReason"]), (&json!("OK"), &json!(reason)));
    assert_eq!(c["StateReasonData"], json!({"triggeringAlarms": []}).to_string());
}

#[test]
fn each_of_many_ways_to_a_composite_alarm_counts() {
    let (account, _) = with_children();
    // `y` is before `z` by name, and looks at it.
    account.put_composite("z", "ALARM(a)", json!({})).unwrap();
    account.put_composite("y", "ALARM(z) AND ALARM(a)", json!({})).unwrap();
    account.turn("a", "ALARM");
    assert_eq!(account.state_of("y"), "ALARM");
}

#[test]
fn a_cycle_of_composite_alarms_ends_and_none_of_it_can_be_deleted() {
    let (account, _) = with_children();
    account.put_composite("c", "FALSE", json!({})).unwrap();
    account.put_composite("d", "ALARM(c)", json!({})).unwrap();
    account.put_composite("c", "NOT ALARM(d)", json!({})).unwrap();
    assert_eq!((account.state_of("c").as_str(), account.state_of("d").as_str()), ("OK", "ALARM"));
    for name in ["c", "d"] {
        let refused = message(account.call("DeleteAlarms", &json!({"AlarmNames": [name]})));
        assert_eq!(refused, format!("Cannot delete {name} as there are composite alarm(s) depending on it."));
    }
    account.put_composite("c", "FALSE", json!({})).unwrap();
    for name in ["d", "c"] {
        account.call("DeleteAlarms", &json!({"AlarmNames": [name]})).unwrap();
    }
}

#[test]
fn composite_alarms_that_cannot_be_are_refused() {
    let (account, _) = with_children();
    account.put_composite("c", "FALSE", json!({})).unwrap();
    let suppressor = |name: &str, wait: i64| json!({"ActionsSuppressor": name, "ActionsSuppressorWaitPeriod": wait, "ActionsSuppressorExtensionPeriod": 1});
    for (name, rule, members, why) in [
        (
            "x",
            "ALARM(gone) OR ALARM('a')",
            json!({}),
            format!("Could not save the composite alarm as alarms [{ARN}gone, {ARN}'a'] in the alarm rule do not exist"),
        ),
        (
            "c",
            "ALARM(c)",
            json!({}),
            "A composite alarm cannot have a child relation with itself via its AlarmRule, as it would introduce a \
             circular dependency"
                .to_owned(),
        ),
        (
            "x",
            "ALARM(a)\n",
            json!({}),
            "AlarmRule must not contain leading or trailing whitespace or be null".to_owned(),
        ),
        (
            "a",
            "FALSE",
            json!({}),
            "AlarmName [a] is already used by another alarm of a different type".to_owned(),
        ),
        (
            "x",
            "FALSE",
            suppressor("gone", 1),
            format!("Could not save the composite alarm as the actions suppressor [{ARN}gone] does not exist"),
        ),
        ("x", "FALSE", suppressor("a", -1), "ActionsSuppressorWaitPeriod must not be negative.".to_owned()),
        (
            "x",
            "FALSE",
            json!({"ActionsSuppressor": "a"}),
            "ActionsSuppressorWaitPeriod is required when ActionsSuppressor is specified.".to_owned(),
        ),
        (
            "x",
            "FALSE",
            json!({"ActionsSuppressorWaitPeriod": 1}),
            "ActionsSuppressorWaitPeriod must not be specified without ActionsSuppressor.".to_owned(),
        ),
    ] {
        assert_eq!(message(account.put_composite(name, rule, members)), why);
    }
    let why = "AlarmName [c] is already used by another alarm of a different type";
    assert_eq!(message(account.put_alarm("c", json!({}))), why);
    assert_eq!(account.composite("x"), Value::Null);
}

#[test]
fn alarms_go_only_when_no_composite_alarm_needs_them() {
    let (account, _) = with_children();
    account.put_composite("c", "ALARM(a) OR ALARM(b)", json!({})).unwrap();
    account.put_composite("d", "FALSE", json!({})).unwrap();
    let delete = |names: Value| account.call("DeleteAlarms", &json!({"AlarmNames": names}));
    for (names, why) in [
        (json!(["b", "gone"]), "Cannot delete b as there are composite alarm(s) depending on it."),
        (json!(["b", "a"]), "Cannot delete a,b as there are composite alarm(s) depending on them."),
        (json!(["c", "a"]), "Cannot delete a as there are composite alarm(s) depending on it."),
        (json!(["c", "d"]), "You can delete at most one composite alarm in one operation."),
    ] {
        assert_eq!(message(delete(names)), why);
    }
    let suppressor = json!({"ActionsSuppressor": "a", "ActionsSuppressorWaitPeriod": 0, "ActionsSuppressorExtensionPeriod": 0});
    account.put_composite("c", "ALARM(b)", suppressor).unwrap();
    assert_eq!(
        message(delete(json!(["a"]))),
        "Cannot delete a as there are composite alarm(s) depending on it."
    );
    for names in [json!(["c"]), json!(["a", "b", "d"])] {
        delete(names).unwrap();
    }
}

#[test]
fn alarms_are_found_by_kind_and_by_relation() {
    let (account, _) = with_children();
    account.put_composite("c", "ALARM(b) OR OK(a)", json!({})).unwrap();
    account.put_composite("d", "ALARM(c) OR ALARM(a)", json!({})).unwrap();
    let names = |members: Value| {
        let found = account.call("DescribeAlarms", &members).unwrap();
        let of = |kind: &str| -> Vec<String> {
            let alarms = found[kind].as_array().unwrap().iter();
            alarms.map(|alarm| alarm["AlarmName"].as_str().unwrap().to_owned()).collect()
        };
        (of("MetricAlarms").join(" "), of("CompositeAlarms").join(" "))
    };
    for (members, metric, composite) in [
        (json!({}), "a b", ""),
        (json!({"AlarmNames": ["c"]}), "", ""),
        (json!({"AlarmTypes": ["CompositeAlarm"]}), "", "c d"),
        (json!({"AlarmTypes": ["CompositeAlarm", "MetricAlarm"], "MaxRecords": 3}), "a b", "c"),
        (json!({"AlarmTypes": ["CompositeAlarm"], "StateValue": "ALARM"}), "", ""),
        (json!({"ChildrenOfAlarmName": "d"}), "a", "c"),
        (json!({"ChildrenOfAlarmName": "a"}), "", ""),
        (json!({"ParentsOfAlarmName": "a"}), "", "c d"),
        (json!({"ParentsOfAlarmName": "gone"}), "", ""),
    ] {
        assert_eq!(names(members.clone()), (metric.to_owned(), composite.to_owned()), "{members}");
    }
    let children = account.call("DescribeAlarms", &json!({"ChildrenOfAlarmName": "c"})).unwrap();
    let a = json!({"AlarmName": "a", "AlarmArn": format!("{ARN}a"), "StateValue": "INSUFFICIENT_DATA",
        "StateUpdatedTimestamp": times::from_ms(START_MS)});
    assert_eq!(children["MetricAlarms"][0], a);
    let both = json!({"ChildrenOfAlarmName": "c", "AlarmNames": ["a"]});
    message(account.call("DescribeAlarms", &both));
}

#[test]
fn alarms_of_both_kinds_are_found_by_how_an_action_of_theirs_begins() {
    let account = account();
    let function = "arn:aws:lambda:us-east-1:123456789012:function:f";
    for (name, members) in [
        ("a", json!({"OKActions": [function, TOPIC]})),
        ("b", json!({"AlarmActions": [function]})),
        ("none", json!({})),
    ] {
        account.put_alarm(name, members).unwrap();
    }
    account.put_composite("c", "ALARM(a)", json!({"InsufficientDataActions": [TOPIC]})).unwrap();
    account.put_composite("d", "ALARM(a)", json!({"AlarmActions": [function]})).unwrap();
    for (prefix, metric, composite) in [
        ("arn:aws:sns:", json!(["a"]), json!(["c"])),
        (function, json!(["a", "b"]), json!(["d"])),
        ("arn:aws:ssm:", json!([]), json!([])),
    ] {
        let input = json!({"AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "ActionPrefix": prefix});
        let found = account.call("DescribeAlarms", &input).unwrap();
        let names = |kind: &str| -> Value {
            found[kind].as_array().unwrap().iter().map(|alarm| alarm["AlarmName"].clone()).collect()
        };
        assert_eq!((names("MetricAlarms"), names("CompositeAlarms")), (metric, composite), "{prefix}");
    }
}

#[test]
fn tags_and_switches_of_a_composite_alarm_are_those_of_any_alarm() {
    let (account, _) = with_children();
    account.put_composite("c", "FALSE", json!({"Tags": [{"Key": "k", "Value": "v"}]})).unwrap();
    let arn = json!({"ResourceARN": format!("{ARN}c")});
    let tags = || account.call("ListTagsForResource", &arn).unwrap()["Tags"].clone();
    assert_eq!(tags(), json!([{"Key": "k", "Value": "v"}]));
    account.call("UntagResource", &with(arn.clone(), json!({"TagKeys": ["k"]}))).unwrap();
    assert_eq!(tags(), json!([]));
    for (operation, is_enabled) in [("DisableAlarmActions", false), ("EnableAlarmActions", true)] {
        account.call(operation, &json!({"AlarmNames": ["c"]})).unwrap();
        assert_eq!(account.composite("c")["ActionsEnabled"], is_enabled);
    }
    assert_eq!(account.alarms().state_by_arn(&format!("{ARN}c")), Some("OK"));
}

#[test]
fn the_history_of_a_composite_alarm_names_its_children() {
    let (account, hand) = with_children();
    account.put_composite("c", "FALSE", json!({})).unwrap();
    hand.advance(Duration::from_secs(1));
    account.put_composite("c", "ALARM(a)", json!({})).unwrap();
    let input = json!({"AlarmTypes": ["CompositeAlarm"], "ScanBy": "TimestampAscending"});
    let found = account.call("DescribeAlarmHistory", &input).unwrap();
    let items = found["AlarmHistoryItems"].as_array().unwrap();
    let summaries: Vec<&str> = items.iter().map(|item| item["HistorySummary"].as_str().unwrap()).collect();
    let expected =
        ["Alarm \"c\" created", "Alarm updated from INSUFFICIENT_DATA to OK", "Alarm \"c\" updated"];
    assert_eq!(summaries, expected);
    assert!(items.iter().all(|item| item["AlarmType"] == "CompositeAlarm"));
    let data = |item: &Value| serde_json::from_str::<Value>(item["HistoryData"].as_str().unwrap()).unwrap();
    let created = json!({
        "alarmName": "c", "alarmArn": format!("{ARN}c"), "alarmRule": "FALSE", "actionsEnabled": true,
        "alarmConfigurationUpdatedTimestamp": "2027-01-15T08:00:00.000+0000", "stateValue": "INSUFFICIENT_DATA",
        "stateUpdatedTimestamp": "2027-01-15T08:00:00.000+0000", "alarmActions": [], "insufficientDataActions": [],
        "okactions": [], "childStates": [],
    });
    assert_eq!(data(&items[0])["createdAlarm"], created);
    let time = "2027-01-15T08:00:00.000+0000";
    let child = json!({"arn": format!("{ARN}a"),
        "state": {"value": "INSUFFICIENT_DATA", "transitionTimestamp": time, "timestamp": time}});
    let updated = data(&items[2]);
    assert_eq!(updated["updatedAlarm"]["childStates"], json!([child]));
    let before = json!({"alarmRule": "FALSE", "childStates": [], "alarmConfigurationUpdatedTimestamp": time});
    assert_eq!(updated["originalUpdatedFields"], before);
}

/// With a composite alarm on `a` whose actions `b` holds back.
fn suppressed() -> (Account, Arc<ManualClock>) {
    let (account, hand) = with_children();
    let members = json!({"AlarmActions": [TOPIC], "ActionsSuppressor": "b", "ActionsSuppressorWaitPeriod": 5,
        "ActionsSuppressorExtensionPeriod": 7});
    account.put_composite("c", "ALARM(a)", members).unwrap();
    pass(&account, &hand, 5);
    (account, hand)
}

fn pass(account: &Account, hand: &ManualClock, seconds: u64) {
    hand.advance(Duration::from_secs(seconds));
    account.alarms().release(&account.settings, account.settings.clock.now_ms());
}

#[test]
fn actions_wait_for_the_suppressor_only_so_long() {
    let (account, hand) = suppressed();
    assert_eq!(
        account.composite("c")["ActionsSuppressedBy"],
        Value::Null,
        "the wait for its first state is over"
    );
    account.turn("a", "ALARM");
    let c = account.composite("c");
    assert_eq!((&c["StateValue"], &c["ActionsSuppressedBy"]), (&json!("ALARM"), &json!("WaitPeriod")));
    assert_eq!(c["ActionsSuppressedReason"], "Actions suppressed by WaitPeriod");
    let transitioned_ms = START_MS + 5_000;
    assert_eq!(account.alarms().due_ms(), Some(transitioned_ms + 5_000));
    pass(&account, &hand, 4);
    assert_eq!(account.outcomes("c"), ["Suppressed"]);
    pass(&account, &hand, 10);
    assert_eq!(account.outcomes("c"), ["Suppressed", "Succeeded"]);
    let c = account.composite("c");
    assert_eq!(c["ActionsSuppressedBy"], Value::Null);
    assert_eq!(c["StateTransitionedTimestamp"], times::from_ms(transitioned_ms));
    assert_eq!(c["StateUpdatedTimestamp"], times::from_ms(transitioned_ms + 5_000));
    assert_eq!(account.alarms().due_ms(), None);
    account.turn("b", "ALARM");
    assert_eq!(account.composite("c")["ActionsSuppressedBy"], Value::Null, "it comes too late");
}

#[test]
fn a_suppressor_in_alarm_holds_actions_back_and_some_time_beyond() {
    let (account, hand) = suppressed();
    account.turn("a", "ALARM");
    account.turn("b", "ALARM");
    let c = account.composite("c");
    assert_eq!(c["ActionsSuppressedBy"], "Alarm");
    let reason = format!(
        "Actions suppressed by {ARN}b that transitioned to ALARM at Friday 15 January, 2027 08:00:05 UTC"
    );
    assert_eq!(c["ActionsSuppressedReason"], reason);
    pass(&account, &hand, 600);
    account.turn("b", "OK");
    assert_eq!(account.composite("c")["ActionsSuppressedBy"], "ExtensionPeriod");
    pass(&account, &hand, 6);
    assert_eq!(account.outcomes("c"), ["Suppressed", "Suppressed", "Suppressed"]);
    pass(&account, &hand, 1);
    assert_eq!(account.outcomes("c"), ["Suppressed", "Suppressed", "Suppressed", "Succeeded"]);
}

#[test]
fn another_state_or_another_suppressor_begins_anew() {
    let (account, _) = suppressed();
    account.turn("b", "ALARM");
    account.turn("a", "ALARM");
    assert_eq!(account.composite("c")["ActionsSuppressedBy"], "Alarm");
    account.turn("b", "OK");
    account.turn("a", "OK");
    assert_eq!(account.composite("c")["ActionsSuppressedBy"], "WaitPeriod", "not the rest of the extension");
    account.turn("a", "ALARM");
    account.put_composite("c", "ALARM(a)", json!({"AlarmActions": [TOPIC]})).unwrap();
    assert_eq!(account.composite("c")["ActionsSuppressedBy"], Value::Null);
    assert_eq!(account.outcomes("c").last().unwrap(), "Succeeded");
}

#[tokio::test]
async fn a_composite_alarm_that_is_made_again_does_nothing() {
    let (account, _) = with_children();
    let members = json!({"OKActions": [TOPIC], "ActionsSuppressor": "b", "ActionsSuppressorWaitPeriod": 5,
        "ActionsSuppressorExtensionPeriod": 5});
    let again = async { account.put_composite("c", "ALARM(a)", members) };
    repeatable::scope_again(repeatable::RULES, 1, START_MS, again).await.unwrap();
    assert_eq!(account.state_of("c"), "OK");
    assert_eq!((account.outcomes("c").len(), account.alarms().due_ms()), (0, None));
}

/// What keeps the calls drops those of alarms that are gone, as far as it sees that nothing names them.
#[tokio::test]
async fn a_composite_alarm_is_made_again_also_without_what_it_named() {
    let (account, _) = with_children();
    let put = |rule| {
        account.put_composite(
            "c",
            rule,
            json!({"ActionsSuppressor": "gone",
        "ActionsSuppressorWaitPeriod": 1, "ActionsSuppressorExtensionPeriod": 1}),
        )
    };
    assert!(put("ALARM(gone) OR ALARM(a)").is_err());
    let again = async { put("ALARM(gone) OR ALARM(a)").map(drop) };
    repeatable::scope_again(repeatable::RULES, 1, 0, again).await.unwrap();
    assert_eq!(account.state_of("c"), "OK");
    account.turn("a", "ALARM");
    assert_eq!(account.state_of("c"), "ALARM");
}

#[test]
fn a_page_describes_what_is_on_it_and_the_kinds_that_were_asked_for() {
    let (account, _) = with_children();
    account.put_composite("c", "ALARM(a)", json!({})).unwrap();
    let mut input = json!({"AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": 2});
    let first = account.call("DescribeAlarms", &input).unwrap();
    let shown = |page: &Value, kind: &str| page[kind].as_array().map_or(0, Vec::len);
    assert_eq!((shown(&first, "MetricAlarms"), shown(&first, "CompositeAlarms")), (2, 0));
    input["NextToken"] = first["NextToken"].clone();
    let last = account.call("DescribeAlarms", &input).unwrap();
    assert_eq!((shown(&last, "MetricAlarms"), shown(&last, "CompositeAlarms")), (0, 1));
    assert!(last["NextToken"].is_null());
}
