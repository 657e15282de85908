//! Metric data in, and out by statistics and by queries.

use std::time::Duration;

use super::*;

const SECONDS: i64 = START_MS / 1000;

impl Account {
    /// GetMetricStatistics of `m` over the first minute, with other members.
    fn statistics(&self, members: Value) -> Result<Value, Failure> {
        let input = json!({"Namespace": "N", "MetricName": "m", "Period": 60, "StartTime": SECONDS,
            "EndTime": SECONDS + 60, "Statistics": ["Sum"]});
        self.call("GetMetricStatistics", &with(input, members))
    }

    /// The 90th percentiles of a metric, by GetMetricData.
    fn p90(&self, name: &str) -> Value {
        let mut query = shown(stat("a", name));
        query["MetricStat"]["Stat"] = json!("p90");
        self.data(json!([query])).unwrap()[0]["Values"].clone()
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
fn a_value_is_within_two_to_the_360() {
    let account = account();
    let largest = 2_f64.powi(360);
    account.put(json!([{"MetricName": "m", "Values": [-largest, largest]}])).unwrap();
    let found = account.statistics(json!({"Statistics": ["Minimum", "Maximum"]})).unwrap();
    let point = &found["Datapoints"][0];
    assert_eq!((&point["Minimum"], &point["Maximum"]), (&json!(-largest), &json!(largest)));
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
            invalid("The value -1.0 for parameter MetricData.member.2.Counts is invalid."),
        ),
        (
            json!({"Values": [1], "Counts": ["NaN"]}),
            invalid("The value NaN for parameter MetricData.member.2.Counts is invalid."),
        ),
        (
            json!({"Value": 1e200}),
            invalid("The value 1e200 for parameter MetricData.member.2.Value is invalid."),
        ),
        (
            json!({"Values": [1, -2.4e108]}),
            invalid("The value -2.4e108 for parameter MetricData.member.2.Values is invalid."),
        ),
        (
            json!({"StatisticValues": {"SampleCount": 1, "Sum": "NaN", "Minimum": 1, "Maximum": 1}}),
            invalid("The value NaN for parameter MetricData.member.2.StatisticValues.Sum is invalid."),
        ),
        (
            json!({"StatisticValues": {"SampleCount": -1, "Sum": 1, "Minimum": 1, "Maximum": 1}}),
            invalid(
                "The value -1.0 for parameter MetricData.member.2.StatisticValues.SampleCount is invalid.",
            ),
        ),
        (
            json!({"Value": 1, "StorageResolution": 2}),
            invalid(
                "The parameter MetricData.member.2.StorageResolution must be a value in the set [ 1, 60 ].",
            ),
        ),
        (json!({"Value": 1, "Unit": "seconds"}), invalid(&no_unit("MetricData.member.2.Unit"))),
        (
            json!({"Value": 1, "MetricName": "m".repeat(256)}),
            invalid("The parameter MetricData.member.2.MetricName must be shorter than 256 characters."),
        ),
        (
            json!({"Value": 1, "Dimensions": [{"Name": "d", "Value": "v".repeat(1_025)}]}),
            invalid(
                "The parameter MetricData.member.2.Dimensions.Value must be shorter than 1025 characters.",
            ),
        ),
        (
            json!({"Value": 1, "Dimensions": [{"Name": "d", "Value": "é"}]}),
            invalid(
                "The value for parameter MetricData.member.2.Dimensions.Value contains non-ASCII characters.",
            ),
        ),
        (
            json!({"Value": 1, "Dimensions": [{"Name": ":x", "Value": "v"}]}),
            invalid(
                "The value for parameter MetricData.member.2.Dimensions.Name must not start with a colon.",
            ),
        ),
    ] {
        let data = json!([{"MetricName": "m", "Value": 1}, with(json!({"MetricName": "m"}), datum)]);
        assert_eq!(refusal(account.put(data)), refused);
    }
    assert_eq!(account.call("ListMetrics", &json!({})).unwrap()["Metrics"], json!([]));
}

#[test]
fn the_names_of_a_metric_are_taken_up_to_their_bounds() {
    let account = account();
    let dimensions = json!([{"Name": "d".repeat(255), "Value": "v".repeat(1_024)}]);
    account.put(json!([{"MetricName": "m".repeat(255), "Value": 1, "Dimensions": dimensions}])).unwrap();
    let put = |namespace: &str| {
        let input = json!({"Namespace": namespace, "MetricData": [{"MetricName": "m", "Value": 1}]});
        account.call("PutMetricData", &input)
    };
    put(&"n".repeat(255)).unwrap();
    let why = "The parameter Namespace must be shorter than 256 characters.";
    assert_eq!(refusal(put(&"n".repeat(256))), ("InvalidParameterValue", why.to_owned()));
    let why = "The value for parameter Namespace must not start with a colon.";
    assert_eq!(refusal(put(":x")), ("InvalidParameterValue", why.to_owned()));
    let listed = account.call("ListMetrics", &json!({})).unwrap();
    assert_eq!(listed["Metrics"].as_array().unwrap().len(), 2);
}

/// What AWS says where a member of that name is none of its units.
fn no_unit(member: &str) -> String {
    format!(
        "The parameter {member} must be a value in the set [ Seconds, Microseconds, Milliseconds, Bytes, Kilobytes, \
         Megabytes, Gigabytes, Terabytes, Bits, Kilobits, Megabits, Gigabits, Terabits, Percent, Count, \
         Bytes/Second, Kilobytes/Second, Megabytes/Second, Gigabytes/Second, Terabytes/Second, Bits/Second, \
         Kilobits/Second, Megabits/Second, Gigabits/Second, Terabits/Second, Count/Second, None ]."
    )
}

#[test]
fn statistics_and_units_are_those_of_their_members() {
    let account = account();
    let invalid = |message: &str| ("InvalidParameterValue", message.to_owned());
    let plain = |number: i64| {
        let member = format!("Statistics.member.{number}.<list element>");
        let values = "SampleCount, Average, Sum, Minimum, Maximum";
        invalid(&format!("The parameter {member} must be a value in the set [{values}]."))
    };
    let extended = |name: &str| {
        let member = "ExtendedStatistics.member.1.<list element>";
        invalid(&format!("The value {name} for parameter {member} is not supported."))
    };
    let not_emulated = ("ValidationError", "The statistic tm90 is not emulated.".to_owned());
    for (members, refused) in [
        (json!({"Statistics": ["p99"]}), plain(1)),
        (json!({"Statistics": ["Sum", "Median"]}), plain(2)),
        (json!({"ExtendedStatistics": ["Sum"]}), extended("Sum")),
        (json!({"ExtendedStatistics": ["p101"]}), extended("p101")),
        (json!({"ExtendedStatistics": ["tm90"]}), not_emulated.clone()),
        (json!({"Unit": "seconds"}), invalid(&no_unit("Unit"))),
        (
            json!({"ExtendedStatistics": ["p50"]}),
            (
                "InvalidParameterCombination",
                "The parameters Statistics and ExtendedStatistics are mutually exclusive and you have specified both."
                    .to_owned(),
            ),
        ),
    ] {
        assert_eq!(refusal(account.statistics(members.clone())), refused, "{members}");
    }
    let not_valid =
        "The value for parameter MetricDataQueries.member.1.MetricStat.Stat is not a valid statistic.";
    for (members, refused) in [
        (json!({"Stat": "not-a-stat"}), ("ValidationError", not_valid.to_owned())),
        (json!({"Stat": "tm90"}), not_emulated),
        (
            json!({"Unit": "seconds"}),
            ("ValidationError", no_unit("MetricDataQueries.member.1.MetricStat.Unit")),
        ),
    ] {
        let mut query = shown(stat("a", "m"));
        query["MetricStat"] = with(query["MetricStat"].clone(), members.clone());
        assert_eq!(refusal(account.page(&json!([query]), json!({}))), refused, "{members}");
    }
}

#[test]
fn a_value_is_of_its_minute_unless_it_asks_for_its_second() {
    let (account, hand) = account_and_hand();
    hand.advance(Duration::from_secs(120));
    for (name, resolution) in [("default", Value::Null), ("standard", json!(60)), ("high", json!(1))] {
        let datum = |second: i64, value: f64| {
            let at = times::from_ms(START_MS + second * 1000);
            json!({"MetricName": name, "Timestamp": at, "Value": value, "StorageResolution": resolution})
        };
        account.put(json!([datum(1, 2.0), datum(2, 3.0), datum(5, 7.0), datum(60, 11.0)])).unwrap();
    }
    let set = json!({"SampleCount": 1, "Sum": 4, "Minimum": 4, "Maximum": 4});
    let at = times::from_ms(START_MS + 9_000);
    account.put(json!([{"MetricName": "set", "Timestamp": at, "StatisticValues": set}])).unwrap();
    // As AWS answered the same.
    for (name, period_s, sums) in [
        ("default", 1, json!([[0, 12.0]])),
        ("standard", 1, json!([[0, 12.0]])),
        ("standard", 10, json!([[0, 12.0]])),
        ("set", 1, json!([[0, 4.0]])),
        ("high", 1, json!([[1, 2.0], [2, 3.0], [5, 7.0]])),
        ("high", 5, json!([[0, 5.0], [5, 7.0]])),
        ("high", 10, json!([[0, 12.0]])),
        ("high", 60, json!([[0, 12.0]])),
    ] {
        let found = account.statistics(json!({"MetricName": name, "Period": period_s})).unwrap();
        let points = found["Datapoints"].as_array().unwrap().iter();
        let second = |point: &Value| times::to_ms(&point["Timestamp"]).unwrap() / 1000 - SECONDS;
        let found: Value = points.map(|point| json!([second(point), point["Sum"]])).collect();
        assert_eq!(found, sums, "{name} {period_s}");
    }
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
fn percentiles_are_within_one_percent_and_there_are_none_where_a_value_is_negative() {
    let account = account();
    let values: Vec<u32> = (1..=100).collect();
    account.put(json!([{"MetricName": "m", "Values": values}])).unwrap();
    account.put(json!([{"MetricName": "below", "Values": [-5, 5]}])).unwrap();
    let near = |found: &Value, exact: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - exact).abs() <= exact.abs() * 0.012, "{found} is not {exact}");
    };
    let extended = json!({"Statistics": [], "ExtendedStatistics": ["p50", "p99.5"]});
    let found = account.statistics(extended.clone()).unwrap();
    near(&found["Datapoints"][0]["ExtendedStatistics"]["p50"], 50.0);
    near(&found["Datapoints"][0]["ExtendedStatistics"]["p99.5"], 100.0);
    near(&account.p90("m")[0], 90.0);
    let below = with(extended, json!({"MetricName": "below"}));
    assert_eq!(account.statistics(below).unwrap()["Datapoints"], json!([]));
    assert_eq!(account.p90("below"), json!([]));
}

#[test]
fn a_statistic_set_has_percentiles_where_it_is_of_one_value() {
    let account = account();
    for (name, count, minimum, maximum, found) in
        [("single", 1, 2, 4, json!([4.0])), ("equal", 3, 4, 4, json!([4.0])), ("several", 2, 2, 4, json!([]))]
    {
        let sum = count * maximum;
        let set = json!({"SampleCount": count, "Sum": sum, "Minimum": minimum, "Maximum": maximum});
        account.put(json!([{"MetricName": name, "StatisticValues": set}])).unwrap();
        let values = account.p90(name);
        let rounded = values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap().round());
        assert_eq!(rounded.collect::<Value>(), found, "{name}");
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
    let token = format!("2/{}", START_MS + 2 * MINUTE_MS);
    assert_eq!(page(None), (first, json!(token)));
    assert_eq!(page(Some(&token)), (json!([["b", [2.0, 2.0], "Complete"]]), Value::Null));
    for token in ["x", "4", "x/4", "4/x"] {
        let refused = refusal(account.page(&queries, json!({ "NextToken": token })));
        assert_eq!(refused, ("InvalidNextToken", "The NextToken is not valid.".to_owned()), "{token}");
    }
    for limit in [0, 100_801] {
        let refused = message(account.page(&queries, json!({"MaxDatapoints": limit})));
        assert_eq!(refused, "MaxDatapoints must be between 1 and 100800.");
    }
}

#[test]
fn a_datapoint_that_comes_between_two_pages_moves_no_other() {
    for (scan_by, first, comes, second) in [("TimestampDescending", 1, 2, 0), ("TimestampAscending", 1, 0, 2)]
    {
        let account = account();
        let value = |minute: i64| [10.0, 20.0, 30.0][usize::try_from(minute).unwrap()];
        for minute in [first, second] {
            account.record(minute, "m", value(minute));
        }
        let page = |token: Value| {
            let members = json!({"ScanBy": scan_by, "MaxDatapoints": 1, "NextToken": token});
            let found = account.page(&json!([shown(stat("a", "m"))]), members).unwrap();
            (found["MetricDataResults"][0]["Values"].clone(), found["NextToken"].clone())
        };
        let (values, token) = page(Value::Null);
        assert_eq!(values, json!([value(first)]), "{scan_by}");
        account.record(comes, "m", value(comes));
        assert_eq!(page(token), (json!([value(second)]), Value::Null), "{scan_by}");
    }
}

#[test]
fn a_result_without_datapoints_is_on_one_page() {
    let account = account();
    for name in ["a", "b"] {
        account.record(0, name, 1.0);
    }
    let queries = ["none", "a", "empty", "b", "last"].map(|name| shown(stat(name, name)));
    let (mut token, mut pages) = (Value::Null, Vec::new());
    loop {
        let found = account.page(&json!(queries), json!({"MaxDatapoints": 1, "NextToken": token})).unwrap();
        let results = found["MetricDataResults"].as_array().unwrap().iter();
        pages.push(results.map(|result| result["Id"].as_str().unwrap().to_owned()).collect::<Vec<_>>());
        token = found["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(pages, [vec!["none", "a", "empty"], vec!["b", "last"]]);
}

#[test]
fn a_request_with_metric_math_has_so_many_datapoints_in_all() {
    let account = account();
    let read = |expressions: &[&str], start_ms: i64, seconds: i64| {
        let ids = (0..).map(|number| format!("e{number}"));
        let queries = ids.zip(expressions).map(|(id, text)| with(math(&id, text), json!({"Period": 1})));
        let queries: Value = queries.collect();
        let (start, end) = (times::from_ms(start_ms), times::from_ms(start_ms + seconds * 1000));
        account.page(&queries, json!({"StartTime": start, "EndTime": end}))
    };
    let all = |expressions: &[&str], seconds: i64| read(expressions, START_MS, seconds);
    let half = 100_800 / 2;
    all(&["TIME_SERIES(1)", "TIME_SERIES(2)"], half).unwrap();
    let too_many = "More than 100800 datapoints requested.";
    assert_eq!(message(all(&["TIME_SERIES(1)", "TIME_SERIES(2)"], half + 1)), too_many);
    assert_eq!(message(all(&["TIME_SERIES(1)", "[e0, e0]"], half)), too_many);
    let of_one = "Error in expression 'e1': The result has more than 100800 datapoints";
    assert_eq!(message(all(&["TIME_SERIES(1)", "SUM([e0, e0, e0])"], half)), of_one);
    // Aligned, each of them has one period more than was asked for.
    let within_a_second = START_MS + 500;
    for expressions in [&["TIME_SERIES(1)", "TIME_SERIES(2)"], &["TIME_SERIES(1)", "SUM([e0, e0])"]] {
        read(expressions, within_a_second, half).unwrap();
        read(expressions, within_a_second, half + 1).unwrap_err();
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

#[test]
fn a_metric_that_begins_between_two_pages_moves_no_other() {
    let account = account();
    // One more than a page holds.
    for number in 0..=500 {
        account.record(0, &format!("m{number:03}"), 1.0);
    }
    let listed = |token: Value| {
        let page = account.call("ListMetrics", &json!({ "NextToken": token })).unwrap();
        let metrics = page["Metrics"].as_array().unwrap().iter();
        let names: Vec<String> =
            metrics.map(|metric| metric["MetricName"].as_str().unwrap().to_owned()).collect();
        (names, page["NextToken"].clone())
    };
    let (names, token) = listed(Value::Null);
    assert_eq!((names.len(), names[499].as_str()), (500, "m499"));
    account.record(0, "a", 1.0);
    assert_eq!(listed(token), (vec!["m500".to_owned()], Value::Null));
    let refused = refusal(account.call("ListMetrics", &json!({"NextToken": "500"})));
    assert_eq!(refused.0, "InvalidParameterValue");
}
