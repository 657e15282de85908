//! What alarms look at, when, and how they explain their state.

use std::time::Duration;

use super::*;
use crate::repeatable;

impl Account {
    fn state(&self) -> String {
        self.described()["StateValue"].as_str().unwrap().to_owned()
    }

    /// What the one alarm says of its state.
    fn reason(&self) -> String {
        self.described()["StateReason"].as_str().unwrap().to_owned()
    }

    fn reason_data(&self) -> Value {
        serde_json::from_str(self.described()["StateReasonData"].as_str().unwrap()).unwrap()
    }
}

/// An account whose one alarm was evaluated at the end of minute 4, after these values by minute.
fn evaluated(members: Value, values: &[(i64, f64)]) -> Account {
    let account = account();
    account.put_alarm("a", members).unwrap();
    values.iter().for_each(|(minute, value)| account.record(*minute, "m", *value));
    account.evaluate(5);
    account
}

#[test]
fn an_alarm_with_a_unit_looks_at_values_with_that_unit() {
    for (unit, state) in [("Count", "OK"), ("Seconds", "ALARM"), ("Bytes", "INSUFFICIENT_DATA")] {
        let account = account();
        account.put_alarm("a", json!({"Unit": unit})).unwrap();
        account.record(0, "m", 1.0);
        account.settings.metrics.record(START_MS, "N", "m", &[], 20.0, Unit::Seconds);
        account.evaluate(1);
        assert_eq!(account.state(), state, "{unit}");
    }
}

#[test]
fn an_alarm_has_a_period_of_ten_twenty_or_thirty_seconds_or_of_minutes() {
    let account = account();
    let why = "The period of an alarm must be 10, 20, 30, or a multiple of 60.";
    for period_s in [0, 1, 5, 15, 90] {
        assert_eq!(message(account.put_alarm("a", json!({"Period": period_s}))), why);
    }
    for period_s in [10, 20, 30, 60, 180] {
        account.put_alarm("a", json!({"Period": period_s})).unwrap();
    }
    for period_s in [1, 5] {
        assert_eq!(message(account.alarm(json!([math("e", "m"), stat_of("m", "m", period_s)]))), why);
    }
}

#[test]
fn alarms_of_less_than_a_minute_are_evaluated_every_ten_seconds() {
    for (period_s, states) in [
        (10, ["ALARM", "INSUFFICIENT_DATA"]),
        (20, ["ALARM", "ALARM"]),
        (30, ["ALARM", "ALARM"]),
        (60, ["INSUFFICIENT_DATA", "INSUFFICIENT_DATA"]),
    ] {
        let account = account();
        account.put_alarm("a", json!({"Period": period_s})).unwrap();
        account.record(0, "m", 20.0);
        let evaluate = |seconds: i64| {
            account.alarms().evaluate(&account.settings, START_MS + seconds * 1000);
            account.state()
        };
        // More periods are looked at than the one: 10 s are over after 40.
        assert_eq!([evaluate(10), evaluate(40)], states, "{period_s}");
        assert_eq!(evaluate(60) == "ALARM", period_s > 10, "{period_s}");
    }
}

#[test]
fn an_alarm_of_less_than_a_minute_meets_the_values_of_its_own_seconds_only() {
    let (account, hand) = account_and_hand();
    hand.advance(Duration::from_secs(45));
    for (name, resolution) in [("standard", 60), ("high", 1)] {
        let datum = json!({"MetricName": name, "Value": 20, "StorageResolution": resolution});
        account.put(json!([datum])).unwrap();
    }
    account.settings.metrics.record(START_MS + 45_000, "N", "service", &[], 20.0, Unit::Count);
    for (name, state) in
        [("standard", "INSUFFICIENT_DATA"), ("service", "INSUFFICIENT_DATA"), ("high", "ALARM")]
    {
        account.put_alarm("a", json!({"MetricName": name, "Period": 10})).unwrap();
        account.alarms().evaluate(&account.settings, START_MS + 60_000);
        assert_eq!(account.state(), state, "{name}");
    }
}

#[tokio::test]
async fn an_alarm_looks_at_metrics_that_there_can_be() {
    let account = account();
    let of = |dimension: &str| json!({"Dimensions": [{"Name": dimension, "Value": "v"}]});
    let colon = |member: &str| format!("The value for parameter {member} must not start with a colon.");
    assert_eq!(message(account.put_alarm("a", json!({"Namespace": ":x"}))), colon("Namespace"));
    assert_eq!(message(account.put_alarm("a", of(":x"))), colon("Dimensions.Name"));
    let long = "The parameter MetricName must be shorter than 256 characters.";
    let name = "m".repeat(256);
    assert_eq!(message(account.put_alarm("a", json!({ "MetricName": name }))), long);
    assert_eq!(message(account.alarm(json!([shown(stat("m", &name))]))), long);
    account.put_alarm("a", json!({"MetricName": "m".repeat(255)})).unwrap();
    let again = async { account.put_alarm("b", of(":x")) };
    repeatable::scope_again(repeatable::RULES, 1, START_MS, again).await.unwrap();
}

#[test]
fn an_alarm_has_a_statistic_and_a_unit_of_aws() {
    let account = account();
    let not_in_set = |value: &str, member: &str, values: &str| {
        format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must \
             satisfy enum value set: [{values}]"
        )
    };
    let units = unit::STANDARD_UNITS.join(", ");
    for (members, why) in [
        (
            json!({"Statistic": "p99"}),
            not_in_set("p99", "statistic", "Maximum, SampleCount, Sum, Minimum, Average"),
        ),
        (json!({"Unit": "GB"}), not_in_set("GB", "unit", &units)),
        (
            json!({"ExtendedStatistic": "p99"}),
            "PutMetricAlarm request can not be made with both Statistic and ExtendedStatistic parameters. Only one \
             of them should be present"
                .to_owned(),
        ),
    ] {
        assert_eq!(message(account.put_alarm("a", members)), why);
    }
    for name in ["Sum", "p101"] {
        let refused =
            account.put_alarm("a", json!({"Statistic": null, "ExtendedStatistic": name})).unwrap_err();
        let why = format!("The value {name} for parameter ExtendedStatistic is not supported.");
        assert_eq!((refused.query_code, refused.message), ("InvalidParameterValue", why));
    }
    let mut query = shown(stat("m1", "m"));
    query["MetricStat"]["Unit"] = json!("GB");
    let refused = message(account.alarm(json!([query])));
    assert!(refused.starts_with("The parameter Metrics.member.1.MetricStat.Unit must be"), "{refused}");
}

#[tokio::test]
async fn an_alarm_that_an_earlier_version_took_is_made_again() {
    let account = account();
    for members in [
        json!({"Statistic": "p99"}),
        json!({"Statistic": null, "ExtendedStatistic": "Sum"}),
        json!({"Unit": "GB"}),
        json!({"AlarmActions": ["arn:aws:sns:eu-west-1:123456789012:topic", "no ARN"]}),
    ] {
        account.put_alarm("a", members.clone()).unwrap_err();
        let again = async { account.put_alarm("a", members.clone()) };
        repeatable::scope_again(0, 1, START_MS, again).await.unwrap();
    }
}

#[test]
fn an_alarm_on_a_percentile_may_ignore_periods_with_few_samples() {
    let percentile = |extended: &str, low: &str| json!({"Statistic": null, "ExtendedStatistic": extended, "EvaluateLowSampleCountPercentile": low});
    let ignoring = |extended: &str| percentile(extended, "ignore");
    for (members, samples, state) in [
        (ignoring("p90"), 99, "INSUFFICIENT_DATA"),
        (ignoring("p90"), 100, "ALARM"),
        (ignoring("p10"), 99, "INSUFFICIENT_DATA"),
        (ignoring("p10"), 100, "ALARM"),
        (percentile("p90", "evaluate"), 1, "ALARM"),
        (json!({"EvaluateLowSampleCountPercentile": "ignore"}), 1, "ALARM"),
    ] {
        let account = evaluated(members.clone(), &vec![(4, 20.0); samples]);
        assert_eq!(account.state(), state, "{samples} of {members}");
        // Without any sample it is missing data that decides.
        account.evaluate(20);
        assert_eq!(account.state(), "INSUFFICIENT_DATA", "{members}");
    }
    let wrong = account().put_alarm("a", percentile("p90", "perhaps"));
    assert_eq!(message(wrong), "The value perhaps for EvaluateLowSampleCountPercentile is invalid.");
}

#[test]
fn a_reason_says_which_datapoints_speak_for_the_state() {
    let m_of_n = |m: i64, n: i64| json!({"DatapointsToAlarm": m, "EvaluationPeriods": n});
    let at = |value: &str, minute: i64| format!("{value} (15/01/27 08:0{minute}:00)");
    for (members, values, reason) in [
        (
            json!({}),
            vec![(4, 21.5)],
            format!("1 datapoint [{}] was greater than the threshold (10.0).", at("21.5", 4)),
        ),
        (
            json!({}),
            vec![(4, 5.0)],
            format!("1 datapoint [{}] was not greater than the threshold (10.0).", at("5.0", 4)),
        ),
        (
            m_of_n(2, 3),
            vec![(2, 20.0), (3, 5.0), (4, 30.0)],
            format!(
                "2 out of the last 3 datapoints [{}, {}] were greater than the threshold (10.0) (minimum 2 datapoints \
                 for OK -> ALARM transition).",
                at("30.0", 4),
                at("20.0", 2)
            ),
        ),
        (
            m_of_n(2, 3),
            vec![(2, 5.0), (3, 20.0), (4, 6.0)],
            format!(
                "2 out of the last 3 datapoints [{}, {}] were not greater than the threshold (10.0) (minimum 2 \
                 datapoints for ALARM -> OK transition).",
                at("6.0", 4),
                at("5.0", 2)
            ),
        ),
        (
            m_of_n(1, 3),
            vec![(4, 20.0)],
            format!(
                "1 out of the last 3 datapoints [{}] was greater than the threshold (10.0) (minimum 1 datapoint for \
                 OK -> ALARM transition).",
                at("20.0", 4)
            ),
        ),
        (
            json!({"EvaluationPeriods": 4}),
            vec![(1, 11.0), (2, 12.0), (3, 13.0), (4, 14.0)],
            format!(
                "4 datapoints were greater than the threshold (10.0). The most recent datapoints which crossed the \
                 threshold: [{}, {}, {}, {}].",
                at("14.0", 4),
                at("13.0", 3),
                at("12.0", 2),
                at("11.0", 1)
            ),
        ),
    ] {
        assert_eq!(evaluated(members, &values).reason(), format!("Threshold Crossed: {reason}"));
    }
}

#[test]
fn a_reason_says_what_missing_datapoints_counted_as() {
    let treat = |periods: i64, treat: &str| json!({"EvaluationPeriods": periods, "TreatMissingData": treat});
    for (members, values, reason) in [
        (
            treat(2, "breaching"),
            vec![],
            "no datapoints were received for 2 periods and 2 missing datapoints were treated as [Breaching].",
        ),
        (
            treat(1, "notBreaching"),
            vec![],
            "no datapoints were received for 1 period and 1 missing datapoint was treated as [NonBreaching].",
        ),
        (
            treat(2, "breaching"),
            vec![(4, 5.0)],
            "1 datapoint [5.0 (15/01/27 08:04:00)] was not greater than the threshold (10.0) and 1 missing datapoint was \
             treated as [Breaching].",
        ),
        (
            treat(2, "breaching"),
            vec![(4, 20.0)],
            "1 datapoint [20.0 (15/01/27 08:04:00)] was greater than the threshold (10.0) and 1 missing datapoint was \
             treated as [Breaching].",
        ),
        (
            with(treat(3, "breaching"), json!({"DatapointsToAlarm": 2})),
            vec![(4, 5.0)],
            "1 datapoint was received for 3 periods and 2 missing datapoints were treated as [Breaching].",
        ),
        (
            treat(3, "notBreaching"),
            vec![(4, 20.0)],
            "1 datapoint was received for 3 periods and 2 missing datapoints were treated as [NonBreaching].",
        ),
    ] {
        assert_eq!(evaluated(members, &values).reason(), format!("Threshold Crossed: {reason}"));
    }
}

#[test]
fn an_alarm_without_data_says_how_many_datapoints_are_unknown() {
    for (periods, unknown) in [(1, "1 datapoint was"), (3, "3 datapoints were")] {
        let account = evaluated(json!({"EvaluationPeriods": periods}), &[(4, 5.0)]);
        assert_eq!(account.state(), "OK");
        account.evaluate(12);
        assert_eq!(account.state(), "INSUFFICIENT_DATA");
        assert_eq!(account.reason(), format!("Insufficient Data: {unknown} unknown."));
    }
}

#[test]
fn the_data_of_a_reason_have_the_datapoints_that_were_evaluated() {
    let account = evaluated(json!({"Statistic": "Average", "Unit": "Count"}), &[(4, 20.0), (4, 23.0)]);
    let expected = json!({
        "version": "1.0", "queryDate": "2027-01-15T08:05:00.000+0000", "startDate": "2027-01-15T08:04:00.000+0000",
        "unit": "Count", "statistic": "Average", "period": 60, "recentDatapoints": [21.5], "threshold": 10.0,
        "evaluatedDatapoints": [{"timestamp": "2027-01-15T08:04:00.000+0000", "sampleCount": 2.0, "value": 21.5}],
    });
    assert_eq!(account.reason_data(), expected);

    let members = json!({"EvaluationPeriods": 2, "TreatMissingData": "breaching"});
    let expected = json!({
        "version": "1.0", "queryDate": "2027-01-15T08:05:00.000+0000", "statistic": "Sum", "period": 60,
        "recentDatapoints": [], "threshold": 10.0,
        "evaluatedDatapoints": [
            {"timestamp": "2027-01-15T08:04:00.000+0000"}, {"timestamp": "2027-01-15T08:03:00.000+0000"},
        ],
    });
    assert_eq!(evaluated(members, &[]).reason_data(), expected);

    let found = evaluated(json!({"EvaluationPeriods": 2}), &[(0, 1.0), (2, 11.0), (4, 12.0)]).reason_data();
    assert_eq!(found["recentDatapoints"], json!([11.0, 12.0]), "the oldest first, of those that were judged");
    assert_eq!(found["startDate"], "2027-01-15T08:02:00.000+0000");
    assert_eq!(found["evaluatedDatapoints"][0]["value"], 12.0, "the newest first");
}

#[test]
fn alarms_on_tables_ignore_missing_data_whatever_they_say() {
    let account = account();
    account.put_alarm("a", json!({"Namespace": "AWS/DynamoDB", "TreatMissingData": "breaching"})).unwrap();
    account.evaluate(1);
    assert_eq!(account.state(), "INSUFFICIENT_DATA");
    account.settings.metrics.record(START_MS + MINUTE_MS, "AWS/DynamoDB", "m", &[], 1.0, Unit::Count);
    for minute in [2, 12] {
        account.evaluate(minute);
        assert_eq!(account.state(), "OK");
    }
}

#[test]
fn an_alarm_that_is_not_there_has_no_tags_and_no_state() {
    let account = account();
    account.put_alarm("a", json!({"Tags": [{"Key": "k", "Value": "v"}]})).unwrap();
    let arn = json!({"ResourceARN": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a"});
    let tags = || account.call("ListTagsForResource", &arn).unwrap()["Tags"].clone();
    assert_eq!(tags(), json!([{"Key": "k", "Value": "v"}]));
    account.call("DeleteAlarms", &json!({"AlarmNames": ["a"]})).unwrap();
    assert_eq!(tags(), json!([]));
    let set = json!({"AlarmName": "a", "StateValue": "OK", "StateReason": "test"});
    let refused = account.call("SetAlarmState", &set).unwrap_err();
    assert_eq!((refused.query_code, refused.message()), ("ResourceNotFound", None));
    let set = with(set, json!({"StateValue": "INVALID"}));
    assert_eq!(
        message(account.call("SetAlarmState", &set)),
        "1 validation error detected: Value 'INVALID' at 'stateValue' failed to satisfy constraint: Member must satisfy \
         enum value set: [INSUFFICIENT_DATA, ALARM, OK]"
    );
}

#[test]
fn a_state_is_set_with_a_reason_that_may_be_empty_and_data_that_are_json() {
    let account = account();
    account.put_alarm("a", json!({})).unwrap();
    let set = |members: Value| {
        account.call("SetAlarmState", &with(json!({"AlarmName": "a", "StateValue": "OK"}), members))
    };
    assert_eq!(set(json!({})).unwrap_err(), Failure::missing("StateReason"));
    let refused = set(json!({"StateReason": "", "StateReasonData": "{probe}"})).unwrap_err();
    let why = "Data was not syntactically valid JSON.";
    assert_eq!((refused.query_code, refused.message()), ("InvalidFormat", Some(why)));
    assert_eq!(account.state(), "INSUFFICIENT_DATA");
    set(json!({"StateReason": "", "StateReasonData": "{\"probe\":1}"})).unwrap();
    assert_eq!((account.state().as_str(), account.reason().as_str()), ("OK", ""));
    assert_eq!(account.reason_data(), json!({"probe": 1}));
}

#[test]
fn alarms_of_a_metric_are_those_of_the_statistic_period_and_unit() {
    let account = account();
    for (name, members) in [
        ("sum", json!({})),
        ("hourly", json!({"Period": 3600})),
        ("seconds", json!({"Unit": "Seconds"})),
        ("p99", json!({"Statistic": null, "ExtendedStatistic": "p99"})),
    ] {
        account.put_alarm(name, members).unwrap();
    }
    for (members, names) in [
        (json!({}), json!(["hourly", "p99", "seconds", "sum"])),
        (json!({"Statistic": "Sum"}), json!(["hourly", "seconds", "sum"])),
        (json!({"ExtendedStatistic": "p99"}), json!(["p99"])),
        (json!({"Period": 3600}), json!(["hourly"])),
        (json!({"Unit": "Seconds"}), json!(["seconds"])),
        (json!({"MetricName": "other"}), json!([])),
    ] {
        let input = with(json!({"Namespace": "N", "MetricName": "m"}), members);
        let found = account.call("DescribeAlarmsForMetric", &input).unwrap();
        let found = found["MetricAlarms"].as_array().unwrap().iter();
        assert_eq!(found.map(|alarm| alarm["AlarmName"].clone()).collect::<Value>(), names);
    }
}

#[test]
fn a_dashboard_has_a_name_of_letters_digits_dashes_and_underscores() {
    let input = json!({"DashboardName": "a b", "DashboardBody": "{}"});
    let refused = account().call("PutDashboard", &input).unwrap_err();
    let why = "The value for field DashboardName contains invalid characters. It can only contain alphanumerics, dash (-) \
               and underscore (_).\n";
    assert_eq!((refused.query_code, refused.message.as_str()), ("InvalidParameterValue", why));
}

#[test]
fn alarms_that_are_deleted_page_by_page_are_all_found() {
    let account = account();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        account.put_alarm(name, json!({})).unwrap();
    }
    let (mut found, mut token) = (Vec::new(), Value::Null);
    loop {
        let page = account.call("DescribeAlarms", &json!({"MaxRecords": 2, "NextToken": token})).unwrap();
        let shown = page["MetricAlarms"].as_array().unwrap().iter();
        let shown: Vec<String> = shown.map(|alarm| alarm["AlarmName"].as_str().unwrap().to_owned()).collect();
        account.call("DeleteAlarms", &json!({ "AlarmNames": shown })).unwrap();
        found.extend(shown);
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(found, names);
    for token in ["2", "Alarm/a"] {
        let refused = account.call("DescribeAlarms", &json!({ "NextToken": token })).unwrap_err();
        assert_eq!(refused.query_code, "InvalidNextToken", "{token}");
    }
}
