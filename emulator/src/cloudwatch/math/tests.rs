//! The tables of AWS's own page on metric math, and what must hold for any expression.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const GRID: Grid = Grid::new(0, 300_000, 60_000);
/// Of twenty series.
const POINTS_MAX: i64 = 100;

/// `30 - 0` is a series with a value at the first and at the third minute.
fn series(label: &str, text: &str) -> Series {
    let values = text.split(' ').zip(GRID.times());
    Series::new(label, GRID, values.filter_map(|(value, at_ms)| Some((at_ms, value.parse().ok()?))))
}

fn shown(series: &Series) -> String {
    let value = |at_ms| series.at(at_ms).map_or("-".to_owned(), |value| value.to_string());
    GRID.times().map(value).collect::<Vec<_>>().join(" ")
}

fn evaluate(text: &str, metrics: &[(&'static str, &str)]) -> Result<Value, Problem> {
    let metrics: Vec<(&str, Series)> =
        metrics.iter().map(|(id, values)| (*id, series(&id.to_uppercase(), values))).collect();
    let scope = Scope { metrics: &metrics, results: &HashMap::new(), grid: GRID, points_max: POINTS_MAX };
    scope.result(&Expression::parse(text)?)
}

fn one(text: &str, metrics: &[(&'static str, &str)]) -> String {
    match evaluate(text, metrics) {
        Ok(Value::Series(series)) => shown(&series),
        other => panic!("{text} is {other:?}"),
    }
}

fn many(text: &str, metrics: &[(&'static str, &str)]) -> Vec<(String, String)> {
    match evaluate(text, metrics) {
        Ok(Value::Array(all)) => all.iter().map(|series| (series.label.clone(), shown(series))).collect(),
        other => panic!("{text} is {other:?}"),
    }
}

#[test]
fn operators_are_as_documented() {
    let metrics = [("metric1", "30 20 0 0 -"), ("metric2", "20 - 20 - -")];
    for (text, expected) in [
        ("(metric1 < metric2)", "0 0 1 0 -"),
        ("(metric1 >= 30)", "1 0 0 0 -"),
        ("(metric1 > 15 AND metric2 > 15)", "1 0 0 0 -"),
        ("(metric1 > 15 && metric2 > 15)", "1 0 0 0 -"),
        ("metric1 == 0 OR metric2 != 20", "0 0 1 1 -"),
        ("metric1 - metric2", "10 20 -20 0 -"),
        // "If the value of a data point causes a function to attempt to divide by zero, the data point is dropped."
        ("100 / metric1", &format!("{} 5 - - -", 100.0 / 30.0)),
        ("metric1 / metric2", "1.5 - 0 - -"),
        ("1 + 2 * metric1 ^ 2 - -1", "1802 802 2 2 -"),
        ("-metric1", "-30 -20 -0 -0 -"),
        ("metric1 - AVG(metric1)", "17.5 7.5 -12.5 -12.5 -"),
        ("PERIOD(metric1) / 60 * metric1", "30 20 0 0 -"),
    ] {
        assert_eq!(one(text, &metrics), expected, "{text}");
    }
}

#[test]
fn the_if_tables_are_as_documented() {
    let metrics = [("metric1", "1 1 0 0 -"), ("metric2", "30 - 0 0 30"), ("metric3", "0 0 20 - 20")];
    for (text, expected) in [
        ("IF(metric1, metric2, metric3)", "30 0 20 - -"),
        ("IF(metric1, 5, metric3)", "5 5 20 - -"),
        ("IF(metric1, metric2, 5)", "30 0 5 5 -"),
        ("IF(metric1, metric2)", "30 0 - - -"),
        ("IF(metric1 < 1, 10, 2)", "2 2 10 10 -"),
        ("IF(1, metric2, metric3)", "30 - 0 0 30"),
        ("IF(0, metric2, metric3)", "0 0 20 - 20"),
        ("IF(0, metric2)", "- - - - -"),
    ] {
        assert_eq!(one(text, &metrics), expected, "{text}");
    }
}

#[test]
fn functions_of_one_series() {
    let metrics = [("m1", "- 10 - 40 -"), ("m2", "1 1 1 1 1")];
    for (text, expected) in [
        ("FILL(m1, 0)", "0 10 0 40 0"),
        ("FILL(m1, REPEAT)", "- 10 10 40 40"),
        ("FILL(m1, LINEAR)", "- 10 25 40 -"),
        ("FILL(m1, m2)", "1 10 1 40 1"),
        ("FILL(m1, MIN(m1))", "10 10 10 40 10"),
        ("DIFF(m1)", "- - - 30 -"),
        ("DIFF_TIME(m1)", "- - - 120 -"),
        ("RATE(m1)", "- - - 0.25 -"),
        ("RUNNING_SUM(m1)", "- 10 - 50 -"),
        ("ABS(-m1)", "- 10 - 40 -"),
        ("CEIL(m1 / 3) - FLOOR(m1 / 3)", "- 1 - 1 -"),
        ("LOG10(m1 * 10)", &format!("- 2 - {} -", 400_f64.log10())),
        ("m2 * SUM(m1)", "50 50 50 50 50"),
        ("m2 * DATAPOINT_COUNT(m1)", "2 2 2 2 2"),
        ("m2 * STDDEV(m1)", "15 15 15 15 15"),
        ("TIME_SERIES(MAX(m1))", "40 40 40 40 40"),
        ("MINUTE(m1)", "0 1 2 3 4"),
        // The first of January 1970 was a Thursday.
        ("DAY(m1) + DATE(m1) + MONTH(m1) + YEAR(m1) + HOUR(m1)", "1976 1976 1976 1976 1976"),
        ("EPOCH(m2)", "0 60 120 180 240"),
    ] {
        assert_eq!(one(text, &metrics), expected, "{text}");
    }
}

#[test]
fn functions_of_an_array() {
    let metrics = [("errors1", "1 - 3 - -"), ("errors2", "2 5 - - -"), ("requests", "10 10 10 10 -")];
    for (text, expected) in [
        (r#"SUM(METRICS("errors"))"#, "3 5 3 - -"),
        (r#"SUM(METRICS("errors")) / SUM(METRICS('requests')) * 100"#, "30 50 30 0 -"),
        ("SUM([errors1, errors2])", "3 5 3 - -"),
        ("AVG([errors1, errors2])", "1.5 2.5 1.5 - -"),
        ("MIN([errors1, errors2])", "1 5 3 - -"),
        ("MAX(METRICS())", "10 10 10 10 -"),
        ("DATAPOINT_COUNT([errors1, errors2])", "2 1 1 - -"),
        (
            "requests / METRIC_COUNT(METRICS())",
            "3.3333333333333335 3.3333333333333335 3.3333333333333335 3.3333333333333335 -",
        ),
        ("FIRST(SORT(METRICS(), AVG, DESC))", "10 10 10 10 -"),
        ("LAST(SORT(METRICS(), SUM, DESC))", "1 - 3 - -"),
    ] {
        assert_eq!(one(text, &metrics), expected, "{text}");
    }
    let row = |label: &str, values: &str| (label.to_owned(), values.to_owned());
    let both = [row("ERRORS1", "10 - 30 - -"), row("ERRORS2", "20 50 - - -")];
    assert_eq!(many(r#"METRICS("errors") * 10"#, &metrics), both);
    assert_eq!(many("10 * [errors1, errors2]", &metrics), both);
    assert_eq!(
        many(r#"requests / [METRICS("errors1"), errors2]"#, &metrics),
        [row("ERRORS1", "10 - 3.3333333333333335 - -"), row("ERRORS2", "5 2 - - -")]
    );
    assert_eq!(many("SLICE(SORT(METRICS(), MAX, ASC, 2), 1)", &metrics), [row("ERRORS2", "2 5 - - -")]);
    assert_eq!(many("REMOVE_EMPTY([errors1, IF(0, errors2)])", &metrics), [row("ERRORS1", "1 - 3 - -")]);
}

#[test]
fn a_series_without_a_value_is_behind_all_others_in_either_order() {
    let metrics = [("empty", "- - - - -"), ("high", "4 8 - - -"), ("low", "-2 1 - - -")];
    for function in ["AVG", "MIN", "MAX", "SUM"] {
        for (order, first) in [("ASC", "-2 1 - - -"), ("DESC", "4 8 - - -")] {
            let sorted = format!("SORT(METRICS(), {function}, {order}");
            assert_eq!(one(&format!("FIRST({sorted}))"), &metrics), first, "{function} {order}");
            assert_eq!(one(&format!("LAST({sorted}))"), &metrics), "- - - - -", "{function} {order}");
            let only = many(&format!("{sorted}, 1)"), &metrics);
            assert_eq!(only.len(), 1, "{function} {order}");
            assert_eq!(only[0].1, first, "{function} {order}");
        }
    }
}

#[test]
fn what_has_no_result_says_why() {
    let metrics = [("m1", "1 2 3 4 5"), ("m2", "1 2 3 4 5")];
    for (text, problem) in [
        ("", "Invalid syntax"),
        ("m1 +", "Invalid syntax"),
        ("m1 m2", "Invalid syntax"),
        ("(m1", "Invalid syntax"),
        ("m1 % m2", "Invalid syntax"),
        ("FILL(m1)", "Invalid syntax"),
        ("METRICS(m1)", "Invalid syntax"),
        ("SORT(METRICS(), AVG, UP)", "Invalid syntax"),
        ("NOPE(m1)", "Function 'NOPE' not found"),
        ("SEARCH('{N} x', 'Sum', 60)", "Function 'SEARCH' is not emulated"),
        ("m3 + 1", "'m3' is not the Id of a metric or an expression"),
        ("SUM(m1)", "The result is not a time series"),
        (
            "METRICS() + METRICS()",
            "Unsupported operand type(s) for +: '[Array[TimeSeries], Array[TimeSeries]]'",
        ),
        ("METRICS() > 1", "Unsupported operand type(s) for >: '[Array[TimeSeries], Scalar]'"),
        ("m1 + ABS(5)", "Unsupported operand type(s) for ABS: '[Scalar]'"),
        ("IF(1, 2, 3)", "Unsupported operand type(s) for IF: '[Scalar, Scalar, Scalar]'"),
    ] {
        assert_eq!(evaluate(text, &metrics).unwrap_err().to_string(), problem, "{text}");
    }
}

#[test]
fn the_stack_has_an_end_and_a_long_sum_does_not_reach_it() {
    assert_eq!(Expression::parse(&"(".repeat(2_000)), Err(Problem::Syntax));
    assert_eq!(Expression::parse(&"-".repeat(2_000)), Err(Problem::Syntax));
    let sum = vec!["m1"; 600].join("+");
    assert_eq!(one(&sum, &[("m1", "1 - - - -")]), "600 - - - -");
}

#[test]
fn an_array_has_an_end_whatever_is_in_its_series() {
    let array = |count: usize| format!("[{}]", vec!["m1"; count].join(","));
    let metrics = [("m1", "- - - - -")];
    assert_eq!(many(&array(20), &metrics).len(), 20);
    for text in [array(21), format!("SUM([{}, METRICS()])", array(20))] {
        assert_eq!(evaluate(&text, &metrics), Err(Problem::TooManyPoints(POINTS_MAX)), "{text}");
    }
    let names: Vec<String> = (0..21).map(|number| format!("m{number}")).collect();
    let all: Vec<(&str, Series)> = names.iter().map(|name| (name.as_str(), series("", "1"))).collect();
    let scope = Scope { metrics: &all, results: &HashMap::new(), grid: GRID, points_max: POINTS_MAX };
    let every = scope.result(&Expression::parse("METRICS()").unwrap());
    assert_eq!(every, Err(Problem::TooManyPoints(POINTS_MAX)));
}

#[test]
fn series_of_different_periods_are_not_mixed() {
    let hourly = Grid::new(GRID.start_ms, GRID.end_ms, 3_600_000);
    let metrics = [("m1", series("M1", "1 - - - -")), ("m2", Series::new("M2", hourly, [(0, 1.0)]))];
    let scope = Scope { metrics: &metrics, results: &HashMap::new(), grid: GRID, points_max: POINTS_MAX };
    for text in ["m1 + m2", "SUM(METRICS())", "[m1, m2]", "FILL(m1, m2)", "IF(m1, m2)", "m1 + METRICS()"] {
        assert_eq!(scope.result(&Expression::parse(text).unwrap()), Err(Problem::Periods), "{text}");
    }
}

/// A tree, written with every bracket, and its value by Rust's own arithmetic.
fn tree() -> impl Strategy<Value = (String, f64)> {
    let leaf = (1..100_u32).prop_map(|number| (number.to_string(), f64::from(number)));
    leaf.prop_recursive(5, 40, 2, |inner| {
        (inner.clone(), "[-+*/]", inner).prop_map(|((left, a), operator, (right, b))| {
            let value = match operator.as_str() {
                "+" => a + b,
                "-" => a - b,
                "*" => a * b,
                _ => a / b,
            };
            (format!("({left} {operator} {right})"), value)
        })
    })
}

proptest! {
    #[test]
    fn arithmetic_is_arithmetic((text, expected) in tree()) {
        let found = evaluate(&format!("TIME_SERIES({text})"), &[]).unwrap();
        let Value::Series(series) = found else { panic!("no series") };
        prop_assert_eq!(series.at(0), Some(expected).filter(|value| value.is_finite()));
    }

    /// `a + b * c ^ d` without brackets is the same as with the customary ones.
    #[test]
    fn precedence_is_the_customary_one(a in 1..9_u32, b in 1..9_u32, c in 1..9_u32, d in 1..4_u32) {
        let bare = format!("m1 + {a} + {b} * {c} ^ {d} - {a} / {b} < {c} AND {d} > {a} OR {b} == {c}");
        let sum = format!("(((m1 + {a}) + ({b} * ({c} ^ {d}))) - ({a} / {b}))");
        let bracketed = format!("((({sum} < {c}) AND ({d} > {a})) OR ({b} == {c}))");
        let metrics = [("m1", "0 -40 -4000 - -")];
        let (bare, bracketed) = (one(&bare, &metrics), one(&bracketed, &metrics));
        prop_assert_eq!(bare, bracketed);
    }

    /// Any text has an answer, and what parses has the same kind of result with data and without.
    #[test]
    fn anything_is_answered_and_the_kind_does_not_depend_on_the_data(
        words in prop::collection::vec(prop::sample::select(vec![
            "m1", "m2", "METRICS()", "SUM(", "AVG(", "FILL(", "IF(", "RATE(", "FIRST(", "REMOVE_EMPTY(", "SORT(", ")", ")",
            "[", "]", ",", "+", "/", ">", "-", "1", "0", "REPEAT", "DESC", "AVG", "AND", "(", "'x'", "^", "TIME_SERIES(",
        ]), 0..12)
    ) {
        let text = words.join(" ");
        let kind = |result: Result<Value, Problem>| result.map(|value| value.kind());
        let full = kind(evaluate(&text, &[("m1", "1 2 - 4 5"), ("m2", "0 - 3 3 3")]));
        let empty = kind(evaluate(&text, &[("m1", "- - - - -"), ("m2", "- - - - -")]));
        prop_assert_eq!(full, empty);
    }
}
