//! Queries and alarms as a caller meets them, on a clock that is moved by hand.

mod actions;
mod alarms;
mod composites;
mod data;
mod history;

use std::sync::mpsc;

use futures_util::FutureExt as _;
use http::StatusCode;
use serde_json::{Value, json};

use super::failure::Failure;
use super::*;
use crate::clock::ManualClock;
use crate::metrics::Unit;

const MINUTE_MS: i64 = 60_000;
/// A whole minute.
const START_MS: i64 = 1_800_000_000_000;

fn account() -> Account {
    account_and_hand().0
}

/// The hand moves the clock.
fn account_and_hand() -> (Account, Arc<ManualClock>) {
    let (settings, hand) = Settings::by_hand(START_MS);
    (Account { settings, alarms: Arc::default(), dashboards: Arc::default() }, hand)
}

impl Account {
    fn record(&self, minute: i64, name: &str, value: f64) {
        let at_ms = START_MS + minute * MINUTE_MS;
        self.settings.metrics.record(at_ms, "N", name, &[], value, Unit::Count);
    }

    /// PutMetricData, at the time of the clock.
    fn put(&self, data: Value) -> Result<Value, Failure> {
        self.call("PutMetricData", &json!({"Namespace": "N", "MetricData": data}))
    }

    /// An alarm on the sum of a minute above 10, with other members.
    fn put_alarm(&self, name: &str, members: Value) -> Result<Value, Failure> {
        let input = json!({"AlarmName": name, "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 10, "ComparisonOperator": "GreaterThanThreshold"});
        self.call("PutMetricAlarm", &with(input, members))
    }

    fn evaluate(&self, minute: i64) {
        self.alarms().evaluate(&self.settings, START_MS + minute * MINUTE_MS);
    }

    fn data(&self, queries: Value) -> Result<Vec<Value>, Failure> {
        let (start, end) = (START_MS / 1000, START_MS / 1000 + 180);
        let input = json!({"StartTime": start, "EndTime": end, "ScanBy": "TimestampAscending", "MetricDataQueries": queries});
        let found = self.call("GetMetricData", &input)?;
        Ok(found["MetricDataResults"].as_array().unwrap().clone())
    }

    fn alarm(&self, queries: Value) -> Result<Value, Failure> {
        let input = json!({"AlarmName": "rate", "Metrics": queries, "EvaluationPeriods": 2, "Threshold": 10,
            "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"});
        self.call("PutMetricAlarm", &input)
    }

    fn described(&self) -> Value {
        let found = self.call("DescribeAlarms", &json!({})).unwrap();
        found["MetricAlarms"][0].clone()
    }
}

fn with(mut input: Value, members: Value) -> Value {
    input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    input
}

fn shown(query: Value) -> Value {
    with(query, json!({"ReturnData": true}))
}

fn stat(id: &str, name: &str) -> Value {
    stat_of(id, name, 60)
}

fn stat_of(id: &str, name: &str, period_s: i64) -> Value {
    let metric = json!({"Namespace": "N", "MetricName": name});
    json!({"Id": id, "ReturnData": false, "MetricStat": {"Metric": metric, "Period": period_s, "Stat": "Sum"}})
}

fn math(id: &str, expression: &str) -> Value {
    json!({"Id": id, "Expression": expression})
}

fn message(refused: Result<impl std::fmt::Debug, Failure>) -> String {
    let refused = refused.unwrap_err();
    assert_eq!(refused.query_code, "ValidationError");
    refused.message
}

#[tokio::test]
async fn a_read_of_metrics_keeps_no_other_call_waiting() {
    let (settings, _) = Settings::by_hand(START_MS);
    let cloudwatch = CloudWatch::new(&settings);
    let mut ends = Vec::new();
    for _ in 0..READS_MAX {
        let (end, ended) = mpsc::channel::<()>();
        // Polled once and dropped, as when a client closes its connection: its thread still works.
        let busy = cloudwatch.reads.run(move || ended.recv().ok());
        assert!(Box::pin(busy).now_or_never().is_none());
        ends.push(end);
    }
    let query = json!({"StartTime": 1, "EndTime": 2, "MetricDataQueries": [shown(stat("a", "m"))]});
    let mut read = cloudwatch.handle(cbor_call("GetMetricData", &query));
    assert!((&mut read).now_or_never().is_none());
    let listed = cloudwatch.handle(cbor_call("ListMetrics", &json!({}))).now_or_never();
    assert_eq!(listed.unwrap().status, StatusCode::OK);
    drop(ends);
    assert_eq!(read.await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_put_of_more_than_a_megabyte_is_too_large() {
    let (settings, _) = Settings::by_hand(START_MS);
    let cloudwatch = CloudWatch::new(&settings);
    for (length, status) in [(1_000_000, StatusCode::OK), (1024 * 1024, StatusCode::PAYLOAD_TOO_LARGE)] {
        let datum = json!({"MetricName": "m", "Value": 1, "Unread": "x".repeat(length)});
        let put = cbor_call("PutMetricData", &json!({"Namespace": "N", "MetricData": [datum]}));
        assert_eq!(cloudwatch.handle(put).await.status, status, "{length}");
    }
}

#[test]
fn expressions_name_metrics_and_each_other_in_any_order_and_hide_what_returns_no_data() {
    let account = account();
    for (minute, errors, requests) in [(0, 1.0, 10.0), (1, 0.0, 0.0), (2, 3.0, 4.0)] {
        account.record(minute, "errors", errors);
        account.record(minute, "requests", requests);
    }
    let mut hidden = math("share", "errors / requests");
    hidden["ReturnData"] = json!(false);
    let mut every = math("every", "METRICS() * 2");
    every["Label"] = json!("twice");
    let queries = [
        math("percent", "share * 100"),
        hidden,
        stat("errors", "errors"),
        stat("requests", "requests"),
        every,
    ];
    let found = account.data(json!(queries)).unwrap();
    let shown: Vec<(&str, &str, &Value)> = found
        .iter()
        .map(|one| (one["Id"].as_str().unwrap(), one["Label"].as_str().unwrap(), &one["Values"]))
        .collect();
    let (percent, errors, requests) = (json!([10.0, 75.0]), json!([2.0, 0.0, 6.0]), json!([20.0, 0.0, 8.0]));
    assert_eq!(
        shown,
        [
            ("percent", "percent", &percent),
            ("every", "twice errors", &errors),
            ("every", "twice requests", &requests)
        ]
    );
    // The minute in which 0 was divided by 0 has no datapoint.
    let seconds = START_MS / 1000;
    assert_eq!(found[0]["Timestamps"], json!([seconds as f64, (seconds + 120) as f64]));
}

#[test]
fn a_statistic_with_another_unit_has_no_values() {
    let account = account();
    account.record(0, "m", 1.0);
    for (unit, values) in [("Count", json!([1.0])), ("Bytes", json!([]))] {
        let mut query = shown(stat("a", "m"));
        query["MetricStat"]["Unit"] = json!(unit);
        assert_eq!(account.data(json!([query])).unwrap()[0]["Values"], values, "{unit}");
    }
}

#[test]
fn queries_that_cannot_be_are_refused() {
    let account = account();
    let both = json!({"Id": "a", "Expression": "m", "MetricStat": stat("a", "m")["MetricStat"]});
    for (queries, why) in [
        (json!([{"Id": "a"}]), "The parameter MetricDataQueries.member.1.MetricStat is required.\n"),
        (json!([math("e1", "m1 +"), stat("m1", "m")]), "Error in expression 'e1': Invalid syntax"),
        (
            json!([math("e1", "NOPE(m1)"), stat("m1", "m")]),
            "Error in expression 'e1': Function 'NOPE' not found",
        ),
        (
            json!([math("e1", "m2")]),
            "Error in expression 'e1': 'm2' is not the Id of a metric or an expression",
        ),
        (
            json!([math("e1", "e2 + 1"), math("e2", "-e1"), math("e3", "e1")]),
            "Error in expression 'e1': The expression depends on itself",
        ),
        (
            json!([math("e1", "m1 + m2"), stat_of("m1", "m", 60), stat_of("m2", "m", 120)]),
            "Error in expression 'e1': The time series have different periods",
        ),
        (
            json!([stat("a", "m"), stat("a", "n")]),
            "The values for parameter id in MetricDataQueries are not unique.",
        ),
        (json!([math("e1", "SELECT AVG(a) FROM b")]), "Metrics Insights queries are not emulated."),
        (
            json!([both]),
            "The parameters MetricDataQueries.member.1.MetricStat and MetricDataQueries.member.1.Expression are mutually \
             exclusive and you have specified both.",
        ),
    ] {
        assert_eq!(message(account.data(queries)), why);
    }
    assert!(message(account.data(json!([math("E1", "1")]))).contains("not matching the expected pattern"));
    let long = format!("m{}", " ".repeat(2_048));
    assert!(message(account.data(json!([math("e1", &long), stat("m", "m")]))).contains("2048"));
}

#[test]
fn an_alarm_on_metric_math_changes_its_state() {
    let account = account();
    let queries =
        json!([math("rate", "100 * errors / requests"), stat("errors", "e"), stat("requests", "r")]);
    account.alarm(queries).unwrap();
    for minute in 0..4 {
        account.record(minute, "r", 10.0);
        account.record(minute, "e", if minute < 2 { 1.0 } else { 2.0 });
    }
    let mut states = Vec::new();
    for minute in 1..=6 {
        account.evaluate(minute);
        states.push(account.described()["StateValue"].as_str().unwrap().to_owned());
    }
    // 10 % is not above 10, 20 % is; two of two datapoints must be.
    assert_eq!(states, ["OK", "OK", "OK", "ALARM", "ALARM", "ALARM"]);
    let reason = account.described()["StateReason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("Threshold Crossed: 2 datapoints [20.0 ("), "{reason}");
}

#[test]
fn an_alarm_on_metric_math_is_described_as_it_was_put() {
    let account = account();
    let mut stat = stat("m1", "m");
    stat["MetricStat"]["Period"] = json!("60");
    stat["ReturnData"] = json!("false");
    account.alarm(json!([math("e1", "RATE(m1)"), stat])).unwrap();
    let shown = account.described();
    assert_eq!(shown.get("MetricName"), None);
    let expected = json!([
        {"Id": "e1", "Expression": "RATE(m1)", "MetricStat": null, "Label": null, "ReturnData": true, "Period": null},
        {"Id": "m1", "Expression": null, "Label": null, "ReturnData": false, "Period": null, "MetricStat":
            {"Metric": {"Namespace": "N", "MetricName": "m", "Dimensions": []}, "Period": 60, "Stat": "Sum", "Unit": null}},
    ]);
    assert_eq!(shown["Metrics"], expected);
    let of_metric =
        account.call("DescribeAlarmsForMetric", &json!({"Namespace": "N", "MetricName": "m"})).unwrap();
    assert_eq!(of_metric["MetricAlarms"], json!([]), "it does not return alarms based on math expressions");
}

#[test]
fn alarms_on_metric_math_that_cannot_be_are_refused() {
    let account = account();
    for (queries, why) in [
        (
            json!([math("e1", "m1"), shown(stat("m1", "m"))]),
            "Exactly one element of the metrics list should return data.",
        ),
        (json!([stat("m1", "m")]), "Exactly one element of the metrics list should return data."),
        (json!([math("e1", "TIME_SERIES(1)")]), "Period must not be null"),
        (
            json!([math("e1", "METRICS()"), stat("m1", "m"), stat("m2", "n")]),
            "Metrics expression that return multi time series are only allowed for MetricsInsights expression with an \
             ORDER BY clause",
        ),
        (
            json!([math("e1", "SEARCH('{N} m', 'Sum', 60)"), stat("m1", "m")]),
            "Error in expression 'e1': Function 'SEARCH' is not emulated",
        ),
        (
            json!([math("e1", "m1"), stat_of("m1", "m", 60), stat_of("m2", "m", 120)]),
            "All metrics of an alarm must have the same period.",
        ),
    ] {
        assert_eq!(message(account.alarm(queries)), why);
    }
    let eleven: Vec<Value> =
        (0..11).map(|number| stat(&format!("m{number}"), "m")).chain([math("e", "SUM(METRICS())")]).collect();
    assert!(message(account.alarm(json!(eleven))).contains("at most 10"));
    let input = json!({"AlarmName": "a", "Metrics": [math("e1", "m1"), stat("m1", "m")], "EvaluationPeriods": 1,
        "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold", "Statistic": "Sum"});
    assert_eq!(
        message(account.call("PutMetricAlarm", &input)),
        "Statistic should not be set if list of Metrics is set."
    );
}
