//! Metric filters as a caller meets them. Texts and values are those that AWS was seen to answer.

use super::*;
use crate::logs::emf::LINE_BYTES_MAX;
use crate::metrics::{MetricId, StatisticSet};

const MINUTE_MS: i64 = 60 * 1000;

fn filter(name: &str, pattern: &str, transformation: Value) -> Value {
    let mut given = json!({"metricNamespace": "N", "metricName": "M", "metricValue": "1"});
    given.as_object_mut().unwrap().extend(transformation.as_object().unwrap().clone());
    json!({"logGroupName": "g", "filterName": name, "filterPattern": pattern, "metricTransformations": [given]})
}

impl LogsApi {
    fn put_filter(&self, name: &str, pattern: &str, transformation: Value) -> Outcome {
        self.call("PutMetricFilter", &filter(name, pattern, transformation))
    }

    /// What there is of the metric `M` in the minute that begins so long after the start.
    fn measured(&self, dimensions: &[(&str, &str)], unit: &str, after_ms: i64) -> Option<StatisticSet> {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let id = MetricId::new("N", "M", dimensions.collect());
        let start_ms = START_MS + after_ms;
        self.logs.metrics.statistics(&id, unit, start_ms, start_ms + MINUTE_MS)
    }

    fn sum(&self) -> Option<f64> {
        self.measured(&[], "None", 0).map(|set| set.sum)
    }

    fn filters(&self, input: Value) -> Value {
        self.call("DescribeMetricFilters", &input).unwrap()
    }
}

fn names(page: &Value) -> Vec<&str> {
    page["metricFilters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| held["filterName"].as_str().unwrap())
        .collect()
}

#[test]
fn a_filter_is_made_replaced_described_and_deleted() {
    let (settings, hand) = Settings::by_hand(START_MS);
    let account = LogsApi::new(&settings);
    account.call("CreateLogGroup", &json!({"logGroupName": "g"})).unwrap();
    account.put_filter("f", "ERROR", json!({})).unwrap();
    let shown = |account: &LogsApi| account.filters(json!({"logGroupName": "g"}))["metricFilters"].clone();
    let plain = json!([{
        "filterName": "f", "filterPattern": "ERROR", "logGroupName": "g", "creationTime": START_MS,
        "metricTransformations": [{"metricName": "M", "metricNamespace": "N", "metricValue": "1"}],
        "applyOnTransformedLogs": false,
    }]);
    assert_eq!(shown(&account), plain);
    hand.advance(std::time::Duration::from_secs(5));
    let changed = json!({"metricValue": "$.n", "unit": "Count", "dimensions": {"Kind": "$.kind"}});
    account.put_filter("f", "{ $.n > 1 }", changed).unwrap();
    let replaced = shown(&account);
    assert_eq!(replaced[0]["creationTime"], START_MS);
    assert_eq!(
        replaced[0]["metricTransformations"],
        json!([{"metricName": "M", "metricNamespace": "N", "metricValue": "$.n", "unit": "Count",
            "dimensions": {"Kind": "$.kind"}}])
    );
    assert_eq!(
        refusal(account.put_filter("f", "{ $.broken = }", json!({}))),
        "Invalid metric filter pattern"
    );
    assert_eq!(shown(&account), replaced, "a refused change changes nothing");
    let count = |account: &LogsApi| {
        let groups = account.call("DescribeLogGroups", &json!({})).unwrap();
        groups["logGroups"][0]["metricFilterCount"].clone()
    };
    assert_eq!(count(&account), 1);
    let delete = json!({"logGroupName": "g", "filterName": "f"});
    account.call("DeleteMetricFilter", &delete).unwrap();
    assert_eq!((shown(&account), count(&account)), (json!([]), json!(0)));
    let refused = account.call("DeleteMetricFilter", &delete).unwrap_err();
    assert_eq!(
        (refused.shape, refused.message.as_str()),
        ("ResourceNotFoundException", "The specified metric filter does not exist.")
    );
}

#[test]
fn filters_are_found_by_group_and_prefix_or_by_metric_in_pages() {
    let account = account();
    account.call("CreateLogGroup", &json!({"logGroupName": "h"})).unwrap();
    for name in ["b-1", "a-2", "a-1"] {
        account.put_filter(name, "", json!({"metricName": name})).unwrap();
    }
    let mut other = filter("a-1", "", json!({"metricName": "b-1"}));
    other["logGroupName"] = json!("h");
    account.call("PutMetricFilter", &other).unwrap();
    let found = |input: Value| names(&account.filters(input)).join(" ");
    assert_eq!(found(json!({"logGroupName": "g"})), "a-1 a-2 b-1");
    assert_eq!(found(json!({"logGroupName": "g", "filterNamePrefix": "a-"})), "a-1 a-2");
    assert_eq!(found(json!({"filterNamePrefix": "b"})), "a-1 a-1 a-2 b-1", "only of a group");
    assert_eq!(found(json!({"metricName": "b-1", "metricNamespace": "N"})), "a-1 b-1");
    assert_eq!(found(json!({"metricName": "b-1", "metricNamespace": "other"})), "");
    let (mut token, mut pages) = (Value::Null, Vec::new());
    for _ in 0..4 {
        let page = account.filters(json!({"limit": 1, "nextToken": token}));
        let [held] = &page["metricFilters"].as_array().unwrap()[..] else { panic!("{page}") };
        pages.push(format!("{} {}", held["logGroupName"].as_str().unwrap(), names(&page)[0]));
        token = page["nextToken"].clone();
    }
    assert_eq!((pages.join(", "), token), ("g a-1, h a-1, g a-2, g b-1".to_owned(), Value::Null));
    let either =
        "Describe Metric Filters request must contain either logGroupName or metricName and metricNamespace";
    for (input, why) in [
        (json!({"logGroupName": "g", "metricName": "b-1", "metricNamespace": "N"}), either),
        (json!({"metricName": "b-1"}), either),
        (json!({"metricNamespace": "N"}), either),
        (
            json!({"logGroupName": "g", "nextToken": "none"}),
            "Pagination token in request is invalid. Only token from previous list call or null is valid.",
        ),
    ] {
        assert_eq!(refusal(account.call("DescribeMetricFilters", &input)), why, "{input}");
    }
    for operation in ["PutMetricFilter", "DescribeMetricFilters", "DeleteMetricFilter"] {
        let mut input = filter("f", "", json!({}));
        input["logGroupName"] = json!("none");
        assert_eq!(account.call(operation, &input).unwrap_err(), Failure::no_group(), "{operation}");
    }
}

#[test]
fn what_no_filter_has_is_refused() {
    let account = account();
    for (pattern, transformation, why) in [
        (
            "x",
            json!({"metricValue": "many"}),
            "Invalid metric transformation: metric value many must be a valid number",
        ),
        (
            "x",
            json!({"metricValue": "NaN"}),
            "Invalid metric transformation: metric value NaN must be a valid number",
        ),
        (
            "{ $.a[*].v = 1 }",
            json!({"metricValue": "$.a[*].v"}),
            "Invalid metric transformation: metric value $.a[*].v must be a valid number",
        ),
        (
            "x",
            json!({"dimensions": {"A": "$.a"}, "defaultValue": 0}),
            "Invalid metric transformation: dimensions and default value are mutually exclusive properties",
        ),
        (
            "x",
            json!({"dimensions": {"A": "$.a"}}),
            "The specified filter pattern does not support dimensions",
        ),
        (
            "[a]",
            json!({"dimensions": {"A": "$a", "B": "$a", "C": "$a", "D": "$a"}}),
            "Number of dimensions exceeds the maximum number of dimensions supported per metric filter",
        ),
        (
            "{ $.a = 1 }",
            json!({"dimensions": {"A": "literal"}}),
            "Invalid metric transformation: dimension value must be valid selector",
        ),
        (
            "x",
            json!({"metricName": "a:b"}),
            "1 validation error detected: Value at 'metricTransformations.1.member.metricName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [^:*$]*",
        ),
    ] {
        assert_eq!(refusal(account.put_filter("f", pattern, transformation)), why);
    }
    let unit = refusal(account.put_filter("f", "x", json!({"unit": "Widgets"})));
    assert!(unit.ends_with("Terabits/Second, Bits/Second, Seconds]"), "{unit}");
    let mut two = filter("f", "x", json!({}));
    two["metricTransformations"] = json!([two["metricTransformations"][0], {}]);
    assert_eq!(
        refusal(account.call("PutMetricFilter", &two)),
        "1 validation error detected: Value at 'metricTransformations' failed to satisfy constraint: Member must have \
         length less than or equal to 1"
    );
    for (member, value) in
        [("filterName", json!("a*b")), ("filterName", json!("")), ("filterPattern", json!(null))]
    {
        let mut input = filter("f", "x", json!({}));
        input[member] = value;
        let refused = refusal(account.call("PutMetricFilter", &input));
        assert!(refused.contains(&format!("Value at '{member}'")), "{refused}");
    }
    let mut system = filter("f", "x", json!({}));
    system["emitSystemFieldDimensions"] = json!(["@aws.account"]);
    assert_eq!(
        refusal(account.call("PutMetricFilter", &system)),
        "emitSystemFieldDimensions is not part of this emulator."
    );
    assert_eq!(names(&account.filters(json!({"logGroupName": "g"}))), Vec::<&str>::new());
}

#[test]
fn a_group_has_a_hundred_filters_and_five_with_expressions() {
    let account = account();
    let put = |name: String, pattern: &str| account.put_filter(&name, pattern, json!({}));
    put("regex".to_owned(), "{ $.a = %A% && $.b = %B% }").unwrap();
    for number in 0..4 {
        put(format!("regex-{number}"), "%A%").unwrap();
    }
    let refused = Failure::new("LimitExceededException", "Resource limit exceeded.");
    assert_eq!(put("more".to_owned(), "%A%").unwrap_err(), refused);
    put("regex-1".to_owned(), "%B%").unwrap();
    for number in 5..100 {
        put(format!("plain-{number}"), "A").unwrap();
    }
    assert_eq!(put("more".to_owned(), "A").unwrap_err(), refused);
    account.call("DeleteMetricFilter", &json!({"logGroupName": "g", "filterName": "regex"})).unwrap();
    put("more".to_owned(), "%A%").unwrap();
}

#[test]
fn a_matching_line_is_a_value_in_the_minute_of_the_line() {
    for (pattern, value, lines, sum) in [
        ("ERROR", "2.5", &["ERROR", "ERROR -1", "INFO"][..], Some(5.0)),
        ("ERROR", "1", &["INFO"], None),
        (
            "{ $.v = * }",
            "$.v",
            &[r#"{"v":7}"#, r#"{"v":"11.5"}"#, r#"{"v":"banana"}"#, r#"{"v":1e200}"#, r#"{"w":1}"#],
            Some(18.5),
        ),
        ("{ $.kind = x }", "$.missing", &[r#"{"kind":"x"}"#], None),
        ("[kind = \"S\", v, w]", "$v", &["S 13 A", "S banana A", "S", "S \"17.5\" A"], Some(30.5)),
        ("[kind, v]", "$missing", &["S 17"], None),
    ] {
        let account = account();
        account.put_filter("f", pattern, json!({"metricValue": value})).unwrap();
        let events: Vec<(i64, &str)> = lines.iter().map(|line| (5, *line)).collect();
        account.put("a", &events).unwrap();
        assert_eq!(account.sum(), sum, "{pattern}");
    }
    let account = account();
    account.put_filter("f", "ERROR", json!({"unit": "Count"})).unwrap();
    account.put("a", &[(-5 * MINUTE_MS, "ERROR"), (HOUR_MS, "ERROR")]).unwrap();
    for after_ms in [-5 * MINUTE_MS, HOUR_MS] {
        assert_eq!(account.measured(&[], "Count", after_ms).unwrap().sum, 1.0, "{after_ms}");
    }
    assert_eq!(account.measured(&[], "Count", 0), None);
}

#[test]
fn the_default_value_is_that_of_each_line_that_does_not_match() {
    let account = account();
    account.put_filter("f", "MATCH", json!({"metricValue": "5", "defaultValue": 3})).unwrap();
    account.put("a", &[(0, "MATCH"), (1, "other"), (2, "other"), (MINUTE_MS, "other")]).unwrap();
    let first = account.measured(&[], "None", 0).unwrap();
    assert_eq!((first.sum, first.count), (11.0, 3.0));
    assert_eq!(account.measured(&[], "None", MINUTE_MS).unwrap().sum, 3.0);
    assert_eq!(account.measured(&[], "None", 2 * MINUTE_MS), None, "no line, no value");
}

#[test]
fn dimensions_are_of_the_line_and_a_line_without_them_is_no_value() {
    let account = account();
    let dimensions = json!({"metricValue": "$.v", "dimensions": {"Kind": "$.kind", "Code": "$.code"}});
    account.put_filter("f", "{ $.v = * }", dimensions).unwrap();
    let lines = [
        r#"{"v":29,"kind":"a","code":404}"#,
        r#"{"v":31,"kind":"b","code":404}"#,
        r#"{"v":37,"kind":"a"}"#,
        r#"{"v":41,"kind":"","code":404}"#,
        r#"{"v":43,"kind":"é","code":404}"#,
    ];
    account.put("a", &lines.map(|line| (0, line))).unwrap();
    for (kind, sum) in [("a", 29.0), ("b", 31.0)] {
        let measured = account.measured(&[("Kind", kind), ("Code", "404")], "None", 0);
        assert_eq!(measured.unwrap().sum, sum, "{kind}");
    }
    assert_eq!(account.logs.metrics.list(0).len(), 2);
}

#[test]
fn a_dimension_that_no_metric_may_have_is_no_value() {
    let account = account();
    for (name, count) in [(":x", 0), ("é", 0), ("Kind", 1)] {
        let dimensions = json!({"metricValue": "$.v", "dimensions": {name: "$.kind"}});
        account.put_filter("f", "{ $.v = * }", dimensions).unwrap();
        account.put("a", &[(0, r#"{"v":1,"kind":"a"}"#)]).unwrap();
        assert_eq!(account.logs.metrics.list(0).len(), count, "{name}");
    }
}

#[test]
fn what_the_emulator_writes_is_filtered_too_and_a_group_takes_its_filters_along() {
    let account = account();
    account.logs.put("g", "a", START_MS, "ERROR before\n");
    account.put_filter("f", "ERROR", json!({})).unwrap();
    account.logs.put("g", "a", START_MS, "ERROR in it\n");
    account.logs.put("other", "a", START_MS, "ERROR elsewhere\n");
    account.put("a", &[(-15 * DAY_MS, "ERROR too old"), (0, "ERROR")]).unwrap();
    assert_eq!(account.sum(), Some(2.0));
    let mut transformed = filter("t", "", json!({"metricValue": "100"}));
    transformed["applyOnTransformedLogs"] = json!(true);
    account.call("PutMetricFilter", &transformed).unwrap();
    account.logs.put("g", "a", START_MS, "no transformer changes it\n");
    account.call("DeleteLogGroup", &json!({"logGroupName": "g"})).unwrap();
    account.logs.put("g", "a", START_MS, "ERROR in the next group of the name\n");
    assert_eq!(account.sum(), Some(2.0));
    assert_eq!(names(&account.filters(json!({}))), Vec::<&str>::new());
}

#[test]
fn a_line_that_is_too_long_for_embedded_metrics_is_not_filtered() {
    let account = account();
    account.put_filter("f", "", json!({"metricValue": "1"})).unwrap();
    account.put_filter("default", "none", json!({"metricValue": "1", "defaultValue": 10})).unwrap();
    for (bytes, sum) in [(LINE_BYTES_MAX + 1, None), (LINE_BYTES_MAX, Some(11.0))] {
        let line = "x".repeat(bytes);
        account.logs.put("g", "a", START_MS, &line);
        account.put("a", &[(MINUTE_MS, line.as_str())]).unwrap();
        assert_eq!(account.sum(), sum, "{bytes}");
        assert_eq!(account.measured(&[], "None", MINUTE_MS).map(|set| set.sum), sum, "{bytes}");
    }
}

#[test]
fn a_pattern_is_tried_on_messages() {
    let account = account();
    let messages = ["SPACE 13 A", "SPACE", "SPACE \"17.5\" A"];
    let tried = |pattern: &str| {
        let input = json!({"filterPattern": pattern, "logEventMessages": messages});
        account.call("TestMetricFilter", &input).unwrap()["matches"].clone()
    };
    assert_eq!(
        tried("[kind = \"SPACE\", value, bucket]"),
        json!([
            {"eventNumber": 1, "eventMessage": messages[0],
                "extractedValues": {"$kind": "SPACE", "$value": "13", "$bucket": "A"}},
            {"eventNumber": 3, "eventMessage": messages[2],
                "extractedValues": {"$kind": "SPACE", "$value": "17.5", "$bucket": "A"}},
        ])
    );
    assert_eq!(tried("13"), json!([{"eventNumber": 1, "eventMessage": messages[0], "extractedValues": {}}]));
    assert_eq!(tried("none"), json!([]));
    for (count, why) in [(0, "greater than or equal to 1"), (51, "less than or equal to 50")] {
        let input = json!({"filterPattern": "", "logEventMessages": vec!["m"; count]});
        let refused = refusal(account.call("TestMetricFilter", &input));
        assert!(refused.ends_with(&format!("Member must have length {why}")), "{refused}");
    }
}

#[test]
fn events_are_filtered_by_every_kind_of_pattern() {
    let account = account();
    let lines = [r#"{"level":"ERROR","ms":120}"#, r#"{"level":"INFO","ms":7}"#, "GET /tasks 404"];
    account.put("a", &lines.map(|line| (0, line))).unwrap();
    let found = |pattern: &str| account.filtered(json!({"filterPattern": pattern}));
    assert_eq!(messages(&found("{ $.level = \"ERR*\" && $.ms > 100 }")), [lines[0]]);
    assert_eq!(messages(&found("[verb, path, status = 4*]")), [lines[2]]);
    assert_eq!(messages(&found("%level|tasks%")), lines);
    let input = json!({"logGroupName": "g", "filterPattern": "{ $.v = }"});
    assert_eq!(refusal(account.call("FilterLogEvents", &input)), "Invalid filter pattern");
    let input = json!({"logGroupName": "g", "filterPattern": "\"ERROR"});
    assert_eq!(refusal(account.call("FilterLogEvents", &input)), "Invalid character(s) in term '\"ERROR'");
}
