//! The `Condition` element of a statement.

use serde_json::{Map, Value};

use super::context::Context;
use super::policy::Malformed;
use super::variable::{Text, Version};

/// One operator on one key. All conditions of a statement must hold, and one of the values of each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    comparison: Comparison,
    negated: bool,
    /// `...IfExists`: holds where the request does not have the key.
    if_exists: bool,
    set: Set,
    /// In lower case.
    key: String,
    values: Vec<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Text,
    TextIgnoringCase,
    TextPattern,
    Arn,
    Bool,
    Null,
    Number(Order),
    Time(Order),
    /// Known to IAM and not evaluated here (`IpAddress`, `BinaryEquals`): holds for nothing.
    NotEvaluated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How several values of a key in the request count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// No prefix: the key has one value.
    One,
    Any,
    All,
}

impl Set {
    /// What a comparison, `negated` or not, comes to when the request lacks the key.
    const fn of_nothing(self, negated: bool) -> bool {
        match self {
            Self::One => negated,
            // "If the key does not exist, the condition returns false", also a negated one.
            Self::Any => false,
            // "ForAllValues … returns true if there are no keys in the request".
            Self::All => true,
        }
    }
}

/// # Errors
/// For an operator that IAM does not have, or a value that is no text, number or boolean.
pub(super) fn parse(blocks: &Map<String, Value>, version: Version) -> Result<Vec<Condition>, Malformed> {
    let mut all = Vec::new();
    for (operator, keys) in blocks {
        let keys = keys.as_object().ok_or(Malformed::Condition)?;
        for (key, values) in keys {
            all.push(Condition::parse(operator, key, values, version)?);
        }
    }
    Ok(all)
}

impl Condition {
    fn parse(operator: &str, key: &str, values: &Value, version: Version) -> Result<Self, Malformed> {
        let (set, operator) = match operator.split_once(':') {
            Some(("ForAnyValue", rest)) => (Set::Any, rest),
            Some(("ForAllValues", rest)) => (Set::All, rest),
            Some(_) => return Err(Malformed::Operator(operator.to_owned())),
            None => (Set::One, operator),
        };
        let (operator, if_exists) =
            operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
        let (comparison, negated) =
            comparison(operator).ok_or_else(|| Malformed::Operator(operator.to_owned()))?;
        let values = texts(values).ok_or(Malformed::Condition)?;
        let value = |written: &String| match comparison.takes_variables() {
            true => Text::new(written, version),
            false => Text::plain(written),
        };
        let values = values.iter().map(value).collect();
        Ok(Self { comparison, negated, if_exists, set, key: key.to_ascii_lowercase(), values })
    }

    pub(super) fn holds(&self, context: &Context<'_>) -> bool {
        if self.comparison == Comparison::NotEvaluated {
            return false;
        }
        let found = context.values(&self.key);
        if self.comparison == Comparison::Null {
            let wanted = if found.is_empty() { "true" } else { "false" };
            return self.values.iter().any(|value| value.written() == wanted);
        }
        // "If AWS cannot resolve a variable, this might cause the entire statement to be invalid": also a negated one, and
        // one on a key that is not there.
        if self.values.iter().any(|expected| expected.value(context).is_none()) {
            return false;
        }
        if found.is_empty() {
            // "If the key that you specify in a policy condition is not present in the request context, the values do not
            // match and the condition is false", and a negated operator is true.
            return self.if_exists || self.set.of_nothing(self.negated);
        }
        let one = |value: &str| {
            self.values.iter().any(|expected| self.comparison.holds(expected, value, context)) != self.negated
        };
        match self.set {
            Set::One | Set::Any => found.iter().any(|value| one(value)),
            Set::All => found.iter().all(|value| one(value)),
        }
    }
}

fn comparison(operator: &str) -> Option<(Comparison, bool)> {
    use Comparison::{Arn, Bool, NotEvaluated, Null, Text, TextIgnoringCase, TextPattern};
    Some(match operator {
        "StringEquals" => (Text, false),
        "StringNotEquals" => (Text, true),
        "StringEqualsIgnoreCase" => (TextIgnoringCase, false),
        "StringNotEqualsIgnoreCase" => (TextIgnoringCase, true),
        "StringLike" => (TextPattern, false),
        "StringNotLike" => (TextPattern, true),
        // "ArnEquals and ArnLike behave identically."
        "ArnEquals" | "ArnLike" => (Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Arn, true),
        "Bool" => (Bool, false),
        "Null" => (Null, false),
        "IpAddress" | "NotIpAddress" | "BinaryEquals" => (NotEvaluated, false),
        _ => return ordered(operator),
    })
}

fn ordered(operator: &str) -> Option<(Comparison, bool)> {
    let (make, order): (fn(Order) -> Comparison, &str) = match operator.strip_prefix("Numeric") {
        Some(order) => (Comparison::Number, order),
        None => (Comparison::Time, operator.strip_prefix("Date")?),
    };
    let (order, negated) = match order {
        "Equals" => (Order::Equal, false),
        "NotEquals" => (Order::Equal, true),
        "LessThan" => (Order::Less, false),
        "LessThanEquals" => (Order::LessOrEqual, false),
        "GreaterThan" => (Order::Greater, false),
        "GreaterThanEquals" => (Order::GreaterOrEqual, false),
        _ => return None,
    };
    Some((make(order), negated))
}

impl Comparison {
    /// "You can use a policy variable … with string operators or ARN operators."
    const fn takes_variables(self) -> bool {
        matches!(self, Self::Text | Self::TextIgnoringCase | Self::TextPattern | Self::Arn)
    }

    fn holds(self, expected: &Text, found: &str, context: &Context<'_>) -> bool {
        let value = || expected.value(context);
        match self {
            Self::Text => value().is_some_and(|value| value == found),
            Self::TextIgnoringCase | Self::Bool => {
                value().is_some_and(|value| value.eq_ignore_ascii_case(found))
            }
            Self::TextPattern => expected.matches(found, context) == Some(true),
            Self::Arn => expected.matches_arn(found, context) == Some(true),
            Self::Number(order) => match (expected.written().parse::<f64>(), found.parse::<f64>()) {
                (Ok(expected), Ok(found)) => order.holds(found, expected),
                _ => false,
            },
            Self::Time(order) => match (time_seconds(expected.written()), time_seconds(found)) {
                (Some(expected), Some(found)) => order.holds(found, expected),
                _ => false,
            },
            Self::Null | Self::NotEvaluated => false,
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, found: T, expected: T) -> bool {
        match self {
            Self::Equal => found == expected,
            Self::Less => found < expected,
            Self::LessOrEqual => found <= expected,
            Self::Greater => found > expected,
            Self::GreaterOrEqual => found >= expected,
        }
    }
}

/// "You must specify date/time values with one of the W3C implementations of the ISO 8601 formats or in epoch time."
fn time_seconds(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_second());
    }
    let date = text.parse::<jiff::civil::Date>().ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp().as_second())
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => {
            values.iter().map(texts).collect::<Option<Vec<_>>>().map(|lists| lists.concat())
        }
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(number) => Some(vec![number.to_string()]),
        Value::Bool(bool) => Some(vec![bool.to_string()]),
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(blocks: &Value, pairs: &[(&str, &str)], now_ms: i64) -> bool {
        let conditions = parse(blocks.as_object().unwrap(), Version::Of2012).unwrap();
        conditions.iter().all(|condition| condition.holds(&Context::with(now_ms, pairs)))
    }

    #[test]
    fn every_condition_must_hold_and_one_of_its_values_is_enough() {
        let blocks = json!({
            "StringLike": {"s3:prefix": ["other/*", "FisConfigs/*"]},
            "StringEquals": {"aws:SourceAccount": "123456789012"},
        });
        let ours = ("aws:sourceaccount", "123456789012");
        assert!(holds(&blocks, &[("s3:prefix", "FisConfigs/a"), ours], 0));
        assert!(!holds(&blocks, &[("s3:prefix", "FisConfigs"), ours], 0));
        assert!(!holds(&blocks, &[("s3:prefix", "FisConfigs/a"), ("aws:sourceaccount", "1")], 0));
    }

    #[test]
    fn a_key_that_the_request_lacks_fails_an_operator_and_satisfies_its_negation() {
        assert!(!holds(&json!({"StringEquals": {"s3:prefix": "a"}}), &[], 0));
        assert!(holds(&json!({"StringNotEquals": {"s3:prefix": "a"}}), &[], 0));
        assert!(holds(&json!({"StringEqualsIfExists": {"s3:prefix": "a"}}), &[], 0));
        assert!(!holds(&json!({"StringEqualsIfExists": {"s3:prefix": "a"}}), &[("s3:prefix", "b")], 0));
        assert!(holds(&json!({"Null": {"s3:prefix": "true"}}), &[], 0));
        assert!(holds(&json!({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}), &[], 0));
        assert!(!holds(&json!({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}), &[], 0));
        assert!(!holds(&json!({"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}}), &[], 0));
        assert!(holds(
            &json!({"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}}),
            &[("aws:tagkeys", "b")],
            0
        ));
    }

    #[test]
    fn times_are_compared_in_any_of_the_forms_that_iam_takes() {
        let at_ms = 1_767_225_610_000;
        for end in ["2026-01-01T00:00:10Z", "1767225610"] {
            let blocks = json!({"DateLessThan": {"aws:CurrentTime": end}});
            assert!(holds(&blocks, &[], at_ms - 1_000), "{end}");
            assert!(!holds(&blocks, &[], at_ms), "{end}");
        }
        assert!(holds(&json!({"DateGreaterThanEquals": {"aws:CurrentTime": "2026-01-01"}}), &[], at_ms));
        assert!(holds(&json!({"NumericLessThanEquals": {"aws:EpochTime": 1_767_225_610}}), &[], at_ms));
    }

    #[test]
    fn arns_are_compared_component_by_component() {
        let blocks = json!({"ArnLike": {"AWS:SourceArn": "arn:aws:fis:us-east-1:1:experiment/*"}});
        assert!(holds(&blocks, &[("aws:sourcearn", "arn:aws:fis:us-east-1:1:experiment/E1")], 0));
        assert!(!holds(&blocks, &[("aws:sourcearn", "arn:aws:fis:us-east-1:2:experiment/E1")], 0));
    }

    #[test]
    fn variables_stand_for_keys_in_texts_and_arns_only() {
        let pairs = [("s3:prefix", "home/ann"), ("aws:principaltag/user", "ann"), ("aws:epoch", "1")];
        assert!(holds(&json!({"StringEquals": {"s3:prefix": "home/${aws:PrincipalTag/user}"}}), &pairs, 0));
        assert!(holds(&json!({"StringLike": {"s3:prefix": "*/${aws:PrincipalTag/user}"}}), &pairs, 0));
        assert!(!holds(&json!({"StringEquals": {"s3:prefix": "home/${aws:username}"}}), &pairs, 0));
        let negated = json!({"StringNotEquals": {"s3:prefix": "home/${aws:username}"}});
        assert!(!holds(&negated, &pairs, 0), "a variable without a value makes no statement true");
        for operator in ["StringNotEquals", "StringEqualsIfExists", "ForAllValues:StringEquals"] {
            let absent = |value: &str| json!({operator: {"aws:tagkeys": value}});
            assert!(!holds(&absent("${aws:username}"), &pairs, 0), "{operator} on a key that is not there");
            assert!(holds(&absent("${aws:PrincipalTag/user}"), &pairs, 0), "{operator}");
        }
        assert!(!holds(&json!({"NumericEquals": {"aws:epoch": "${aws:epoch}"}}), &pairs, 0));
    }

    #[test]
    fn an_operator_that_iam_does_not_have_is_refused_and_one_not_evaluated_never_holds() {
        let unknown = json!({"StringIsh": {"a": "b"}});
        assert_eq!(
            parse(unknown.as_object().unwrap(), Version::Of2012),
            Err(Malformed::Operator("StringIsh".into()))
        );
        assert!(!holds(
            &json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
            &[("aws:sourceip", "1.1.1.1")],
            0
        ));
    }
}
