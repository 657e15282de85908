//! Metric data in, and out by statistics and by queries.

use super::*;

const SECONDS: i64 = START_MS / 1000;

impl Account {
    /// GetMetricStatistics of `m` over the first minute, with other members.
    fn statistics(&self, members: Value) -> Result<Value, Failure> {
        let input = json!({"Namespace": "N", "MetricName": "m", "Period": 60, "StartTime": SECONDS,
            "EndTime": SECONDS + 60, "Statistics": ["Sum"]});
        self.call("GetMetricStatistics", &with(input, members))
    }

    /// GetMetricData of the first three minutes, with other members.
    fn page(&self, queries: &Value, members: Value) -> Result<Value, Failure> {
        let input = json!({"StartTime": SECONDS, "EndTime": SECONDS + 180, "MetricDataQueries": queries});
        self.call("GetMetricData", &with(input, members))
    }
}

fn refusal(refused: Result<Value, Failure>) -> (&'static str, String) {
    let refused = refused.unwrap_err();
    (refused.query_code, refused.message)
}

#[test]
fn each_unit_has_datapoints_of_its_own() {
    let account = account();
    let data = [("None", 10.0), ("Count", 5.0), ("Seconds", 1.0)]
        .map(|(unit, value)| json!({"MetricName": "m", "Value": value, "Unit": unit}));
    account.put(json!(data)).unwrap();
    let point =
        |unit: &str, sum: f64| json!({"Sum": sum, "Timestamp": times::from_ms(START_MS), "Unit": unit});
    let all = json!([point("Count", 5.0), point("None", 10.0), point("Seconds", 1.0)]);
    assert_eq!(account.statistics(json!({})).unwrap()["Datapoints"], all);
    let seconds = account.statistics(json!({"Unit": "Seconds"})).unwrap();
    assert_eq!(seconds["Datapoints"], json!([point("Seconds", 1.0)]));
    assert_eq!(account.statistics(json!({"Unit": "Bytes"})).unwrap()["Datapoints"], json!([]));
}

#[test]
fn a_query_without_a_unit_reads_one_and_names_all() {
    let account = account();
    let units = |listed: &str| {
        let value = format!("Multiple units returned: '[{listed}]'");
        json!([{"Code": "MultipleUnits", "Value": value}])
    };
    for (unit, value, read, messages) in [
        ("Seconds", 60.0, 60.0, Value::Null),
        ("Milliseconds", 60_000.0, 60_000.0, units("Milliseconds, Seconds")),
        ("Count", 5.0, 5.0, units("Count, Milliseconds, Seconds")),
    ] {
        account.put(json!([{"MetricName": "m", "Value": value, "Unit": unit}])).unwrap();
        let found = account.data(json!([shown(stat("m1", "m"))])).unwrap();
        assert_eq!((&found[0]["Values"], &found[0]["Messages"]), (&json!([read]), &messages), "{unit}");
    }
    let mut query = shown(stat("m1", "m"));
    query["MetricStat"]["Unit"] = json!("Seconds");
    let found = account.data(json!([query])).unwrap();
    assert_eq!((&found[0]["Values"], &found[0]["Messages"]), (&json!([60.0]), &Value::Null));
}

#[test]
fn a_datum_that_cannot_be_is_refused_and_none_is_kept() {
    let account = account();
    let exclusive = |one: &str, other: &str| {
        let message = format!(
            "The parameters MetricData.member.2.{one} and MetricData.member.2.{other} are mutually exclusive and you \
             have specified both."
        );
        ("InvalidParameterCombination", message)
    };
    let invalid = |message: &str| ("InvalidParameterValue", message.to_owned());
    let set = json!({"SampleCount": 1, "Sum": 1, "Minimum": 1, "Maximum": 1});
    for (datum, refused) in [
        (json!({"Value": 1, "Values": [1]}), exclusive("Value", "Values")),
        (json!({"Value": 1, "StatisticValues": set}), exclusive("Value", "StatisticValues")),
        (json!({"Values": [1], "StatisticValues": set}), exclusive("Values", "StatisticValues")),
        (
            json!({"Values": [1, 2], "Counts": [1]}),
            invalid(
                "The parameters MetricData.member.2.Values and MetricData.member.2.Counts must be of the same size.",
            ),
        ),
        (
            json!({"Values": [1], "Counts": [-1]}),
            invalid("The value -1 for parameter MetricData.member.2.Counts is invalid."),
        ),
        (
            json!({"Values": [1], "Counts": ["NaN"]}),
            invalid("The value NaN for parameter MetricData.member.2.Counts is invalid."),
        ),
    ] {
        let data = json!([{"MetricName": "m", "Value": 1}, with(json!({"MetricName": "m"}), datum)]);
        assert_eq!(refusal(account.put(data)), refused);
    }
    assert_eq!(account.call("ListMetrics", &json!({})).unwrap()["Metrics"], json!([]));
}

#[test]
fn what_occurred_no_times_is_no_value() {
    let account = account();
    account.put(json!([{"MetricName": "m", "Values": [5, 7], "Counts": [2, 0]}])).unwrap();
    let found = account.statistics(json!({"Statistics": ["SampleCount", "Maximum"]})).unwrap();
    let point = &found["Datapoints"][0];
    assert_eq!((&point["SampleCount"], &point["Maximum"]), (&json!(2.0), &json!(5.0)));
}

#[test]
fn a_window_is_counted_before_it_is_aligned_and_must_not_be_empty() {
    let account = account();
    let start_ms = START_MS + 12_345;
    let read = |period_s: i64, span_ms: i64| {
        let (start, end) = (times::from_ms(start_ms), times::from_ms(start_ms + span_ms));
        account.statistics(json!({"Period": period_s, "StartTime": start, "EndTime": end}))
    };
    let day_ms = 86_400_000;
    let too_many = "You have requested up to 86400 datapoints, which exceeds the limit of 1440. You may reduce the \
                    datapoints requested by increasing Period, or decreasing the time range.";
    assert_eq!(refusal(read(1, day_ms)), ("InvalidParameterCombination", too_many.to_owned()));
    assert_eq!(read(60, day_ms).unwrap()["Datapoints"], json!([]));
    let empty = "The parameter StartTime must be less than the parameter EndTime.";
    assert_eq!(refusal(read(60, 0)), ("InvalidParameterValue", empty.to_owned()));
    let found = account.page(&json!([shown(stat("a", "m"))]), json!({"EndTime": SECONDS}));
    assert_eq!(refusal(found), ("ValidationError", empty.to_owned()));
}

#[test]
fn a_label_has_what_tells_queries_of_one_metric_apart() {
    let account = account();
    let query = |id: &str, name: &str, (stat, period, unit): (&str, i64, &str)| {
        let metric = json!({"Namespace": "N", "MetricName": name});
        json!({"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat, "Unit": unit}})
    };
    let sum = ("Sum", 60, "Seconds");
    for (other, labels) in [
        (("Minimum", 30, "Seconds"), ["metric1 Sum 60", "metric1 Minimum 30"]),
        (("Minimum", 60, "Seconds"), ["metric1 Sum", "metric1 Minimum"]),
        (("Sum", 30, "Seconds"), ["metric1 60", "metric1 30"]),
        (("Minimum", 30, "Milliseconds"), ["metric1 Sum 60", "metric1 Minimum 30"]),
        (("Minimum", 60, "Milliseconds"), ["metric1 Sum", "metric1 Minimum"]),
        (("Sum", 30, "Milliseconds"), ["metric1 60", "metric1 30"]),
        (("Sum", 60, "Milliseconds"), ["metric1", "metric1"]),
    ] {
        let named = with(query("d", "metric1", sum), json!({"Label": "mine"}));
        let alone = query("c", "metric2", ("Maximum", 120, "Bytes"));
        let queries = json!([query("a", "metric1", sum), query("b", "metric1", other), alone, named]);
        let found = account.data(queries).unwrap();
        let shown: Vec<&str> = found.iter().map(|one| one["Label"].as_str().unwrap()).collect();
        assert_eq!(shown, [labels[0], labels[1], "metric2", "mine"]);
    }
}

#[test]
fn percentiles_are_within_one_percent_of_either_sign() {
    let account = account();
    let values: Vec<u32> = (1..=100).collect();
    account.put(json!([{"MetricName": "m", "Values": values}])).unwrap();
    account.put(json!([{"MetricName": "below", "Values": [-5, -5]}])).unwrap();
    let near = |found: &Value, exact: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - exact).abs() <= exact.abs() * 0.012, "{found} is not {exact}");
    };
    let extended = json!({"Statistics": [], "ExtendedStatistics": ["p50", "p99.5"]});
    let found = account.statistics(extended).unwrap();
    near(&found["Datapoints"][0]["ExtendedStatistics"]["p50"], 50.0);
    near(&found["Datapoints"][0]["ExtendedStatistics"]["p99.5"], 100.0);
    for (name, exact) in [("m", 90.0), ("below", -5.0)] {
        let mut query = shown(stat("a", name));
        query["MetricStat"]["Stat"] = json!("p90");
        near(&account.data(json!([query])).unwrap()[0]["Values"][0], exact);
    }
}

#[test]
fn the_newest_datapoint_is_first_unless_asked_otherwise() {
    let account = account();
    for (minute, value) in [(0, 1.0), (1, 2.0), (2, 3.0)] {
        account.record(minute, "m", value);
    }
    let queries = json!([shown(stat("a", "m"))]);
    for (scan_by, values) in [
        (json!({}), json!([3.0, 2.0, 1.0])),
        (json!({"ScanBy": "TimestampDescending"}), json!([3.0, 2.0, 1.0])),
        (json!({"ScanBy": "TimestampAscending"}), json!([1.0, 2.0, 3.0])),
    ] {
        let found = account.page(&queries, scan_by).unwrap();
        assert_eq!(found["MetricDataResults"][0]["Values"], values);
    }
}

#[test]
fn datapoints_come_in_pages() {
    let account = account();
    for minute in 0..3 {
        account.record(minute, "a", 1.0);
        account.record(minute, "b", 2.0);
    }
    let queries = json!([shown(stat("a", "a")), shown(stat("none", "none")), shown(stat("b", "b"))]);
    let page = |token: Option<&str>| {
        let found = account.page(&queries, json!({"MaxDatapoints": 4, "NextToken": token})).unwrap();
        let results = found["MetricDataResults"].as_array().unwrap().iter();
        let shown: Vec<Value> =
            results.map(|result| json!([result["Id"], result["Values"], result["StatusCode"]])).collect();
        (json!(shown), found["NextToken"].clone())
    };
    let first =
        json!([["a", [1.0, 1.0, 1.0], "Complete"], ["none", [], "Complete"], ["b", [2.0], "PartialData"]]);
    assert_eq!(page(None), (first, json!("4")));
    assert_eq!(page(Some("4")), (json!([["b", [2.0, 2.0], "Complete"]]), Value::Null));
    let refused = refusal(account.page(&queries, json!({"NextToken": "x"})));
    assert_eq!(refused, ("InvalidNextToken", "The NextToken is not valid.".to_owned()));
    for limit in [0, 100_801] {
        let refused = message(account.page(&queries, json!({"MaxDatapoints": limit})));
        assert_eq!(refused, "MaxDatapoints must be between 1 and 100800.");
    }
}

#[test]
fn a_request_with_metric_math_is_one_page() {
    let account = account();
    for minute in 0..3 {
        account.record(minute, "m", 1.0);
    }
    let queries = json!([math("twice", "m * 2"), shown(stat("m", "m"))]);
    let found = account.page(&queries, json!({"MaxDatapoints": 1})).unwrap();
    assert_eq!(found["NextToken"], Value::Null);
    let values = |at: usize| found["MetricDataResults"][at]["Values"].as_array().unwrap().len();
    assert_eq!((values(0), values(1)), (3, 3));
}
