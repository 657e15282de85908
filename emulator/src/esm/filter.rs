//! Filter criteria: which messages a function gets to see. What matches no filter is deleted.

use serde_json::{Map, Value};

/// Beyond this EventBridge compares the text of numbers.
const COMPARED_MAX: f64 = 5e9;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Returned exactly as it was set.
    pub text: String,
    pattern: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid filter pattern definition.")]
pub struct InvalidPattern;

impl Filter {
    /// # Errors
    /// What is no object of objects and non-empty lists of rules.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        match serde_json::from_str(text) {
            Ok(Value::Object(pattern)) if is_pattern(&pattern) => Ok(Self { text: text.to_owned(), pattern }),
            _ => Err(InvalidPattern),
        }
    }

    /// `record` is the record of the event, its body parsed by [`with_parsed_body`].
    #[must_use]
    pub fn matches(&self, record: &Value) -> bool {
        record.as_object().is_some_and(|record| object_matches(&self.pattern, record))
    }
}

/// The record with its body as JSON, where it is an object or a list: a pattern for text does not match those, and a
/// pattern for JSON does not match text.
#[must_use]
pub fn with_parsed_body(record: &[u8]) -> Value {
    let mut record: Value = serde_json::from_slice(record).unwrap_or_default();
    let parsed = record["body"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok());
    if let Some(parsed) = parsed.filter(|parsed| parsed.is_object() || parsed.is_array()) {
        record["body"] = parsed;
    }
    record
}

fn is_pattern(pattern: &Map<String, Value>) -> bool {
    !pattern.is_empty()
        && pattern.iter().all(|(key, value)| match value {
            Value::Array(branches) if key == "$or" => {
                branches.len() > 1 && branches.iter().all(|branch| branch.as_object().is_some_and(is_pattern))
            }
            Value::Array(rules) => !rules.is_empty() && rules.iter().all(is_rule),
            Value::Object(inner) => is_pattern(inner),
            _ => false,
        })
}

fn is_rule(rule: &Value) -> bool {
    match rule {
        Value::Array(_) => false,
        Value::Object(operator) => {
            let mut entries = operator.iter();
            match (entries.next(), entries.next()) {
                (Some((name, operand)), None) => is_operator(name, operand),
                _ => false,
            }
        }
        _ => true,
    }
}

fn is_operator(name: &str, operand: &Value) -> bool {
    match name {
        "exists" => operand.is_boolean(),
        "prefix" | "suffix" | "equals-ignore-case" => operand.is_string(),
        "anything-but" => match operand {
            Value::Array(values) => {
                !values.is_empty() && values.iter().all(|value| value.is_string() || value.is_number())
            }
            Value::Object(inner) => {
                inner.len() == 1
                    && inner.get("prefix").or_else(|| inner.get("suffix")).is_some_and(Value::is_string)
            }
            other => other.is_string() || other.is_number(),
        },
        "numeric" => operand.as_array().is_some_and(|parts| is_numeric(parts)),
        _ => false,
    }
}

fn is_numeric(parts: &[Value]) -> bool {
    matches!(parts.len(), 2 | 4)
        && parts.chunks(2).all(|pair| {
            pair[0].as_str().is_some_and(|op| ["<", "<=", "=", ">=", ">"].contains(&op))
                && pair[1].is_number()
        })
}

fn object_matches(pattern: &Map<String, Value>, data: &Map<String, Value>) -> bool {
    pattern.iter().all(|(key, expected)| match expected {
        Value::Array(branches) if key == "$or" => branches
            .iter()
            .any(|branch| branch.as_object().is_some_and(|branch| object_matches(branch, data))),
        Value::Array(rules) => rules.iter().any(|rule| rule_matches(rule, data.get(key))),
        Value::Object(inner) => {
            let empty = Map::new();
            match data.get(key) {
                // Only "exists": false can match inside of what is not there.
                None => object_matches(inner, &empty),
                Some(Value::Object(data)) => object_matches(inner, data),
                Some(Value::Array(items)) => {
                    items.iter().any(|item| item.as_object().is_some_and(|item| object_matches(inner, item)))
                }
                Some(_) => false,
            }
        }
        _ => false,
    })
}

fn rule_matches(rule: &Value, data: Option<&Value>) -> bool {
    if let Some(wanted) = rule.get("exists").and_then(Value::as_bool) {
        return wanted == data.is_some_and(is_leaf);
    }
    match data {
        None => false,
        Some(Value::Array(items)) => items.iter().any(|item| value_matches(rule, item)),
        Some(value) => value_matches(rule, value),
    }
}

/// "The Exists operator only works on leaf nodes [...] It doesn't match intermediate nodes." To EventBridge, whose rules
/// these are, a list is what is in it.
fn is_leaf(data: &Value) -> bool {
    match data {
        Value::Object(_) => false,
        Value::Array(items) => items.iter().any(is_leaf),
        _ => true,
    }
}

fn value_matches(rule: &Value, value: &Value) -> bool {
    let Value::Object(operator) = rule else { return same(rule, value) };
    let Some((name, operand)) = operator.iter().next() else { return false };
    let (text, wanted) = (value.as_str(), operand.as_str());
    match name.as_str() {
        "prefix" => text.zip(wanted).is_some_and(|(text, prefix)| text.starts_with(prefix)),
        "suffix" => text.zip(wanted).is_some_and(|(text, suffix)| text.ends_with(suffix)),
        "equals-ignore-case" => {
            text.zip(wanted).is_some_and(|(text, other)| text.to_lowercase() == other.to_lowercase())
        }
        "anything-but" => match operand {
            Value::Array(values) => !values.iter().any(|one| same(one, value)),
            Value::Object(_) => !value_matches(operand, value),
            other => !same(other, value),
        },
        "numeric" => {
            value.as_f64().zip(operand.as_array()).is_some_and(|(number, parts)| in_range(parts, number))
        }
        _ => false,
    }
}

/// "300, 300.0, and 3.0e2 are not considered equal", says the guide. EventBridge, whose rules these are, was recorded to hold 300
/// equal to 300.0, and its published matcher compares values.
fn same(expected: &Value, value: &Value) -> bool {
    match (expected.as_f64(), value.as_f64()) {
        (Some(expected), Some(value)) if expected.abs() <= COMPARED_MAX => expected == value,
        _ => expected == value,
    }
}

fn in_range(parts: &[Value], number: f64) -> bool {
    parts.chunks(2).all(|pair| {
        let bound = pair[1].as_f64().unwrap_or(f64::NAN);
        match pair[0].as_str() {
            Some("<") => number < bound,
            Some("<=") => number <= bound,
            Some("=") => number == bound,
            Some(">=") => number >= bound,
            Some(">") => number > bound,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, body: &str) -> bool {
        let record = serde_json::json!({
            "body": body,
            "messageAttributes": {"kind": {"stringValue": "x", "dataType": "String"}},
        });
        let record = with_parsed_body(record.to_string().as_bytes());
        Filter::parse(pattern).unwrap().matches(&record)
    }

    #[test]
    fn operators_match_as_recorded_on_aws() {
        for (pattern, body, expected) in [
            (r#"{"body":{"a":["1"]}}"#, r#"{"a":"1"}"#, true),
            (r#"{"body":{"a":["1","2"]}}"#, r#"{"a":"2"}"#, true),
            (r#"{"body":{"a":["1"],"b":["2"]}}"#, r#"{"a":"1","b":"3"}"#, false),
            (r#"{"body":{"a":[{"exists":true}]}}"#, r#"{"b":1}"#, false),
            (r#"{"body":{"a":[{"exists":false}]}}"#, r#"{"b":1}"#, true),
            (r#"{"body":{"a":{"b":[{"exists":false}]}}}"#, r#"{"c":1}"#, true),
            (r#"{"body":{"a":[{"exists":true}]}}"#, r#"{"a":null}"#, true),
            (r#"{"body":{"a":[{"exists":true}]}}"#, r#"{"a":["x"]}"#, true),
            // "It doesn't match intermediate nodes."
            (r#"{"body":{"a":[{"exists":true}]}}"#, r#"{"a":{"b":1}}"#, false),
            (r#"{"body":{"a":[{"exists":false}]}}"#, r#"{"a":{"b":1}}"#, true),
            (r#"{"body":{"a":[{"exists":true}]}}"#, r#"{"a":[{"b":1}]}"#, false),
            (r#"{"body":{"a":[{"exists":true}]}}"#, r#"{"a":[]}"#, false),
            (r#"{"body":{"a":{"b":[{"exists":true}]}}}"#, r#"{"a":{"b":1}}"#, true),
            (r#"{"body":{"a":[{"anything-but":["x","y"]}]}}"#, r#"{"a":"z"}"#, true),
            (r#"{"body":{"a":[{"anything-but":"z"}]}}"#, r#"{"a":"z"}"#, false),
            (r#"{"body":{"a":[{"prefix":"us-1"}]}}"#, r#"{"a":"us-1-4"}"#, true),
            (r#"{"body":{"a":[{"suffix":".png"}]}}"#, r#"{"a":"x.jpg"}"#, false),
            (r#"{"body":{"a":[{"numeric":[">=",100,"<",200]}]}}"#, r#"{"a":100}"#, true),
            (r#"{"body":{"a":[{"numeric":["<",100]}]}}"#, r#"{"a":"99"}"#, false),
            (r#"{"body":{"a":[null]}}"#, r#"{"a":null}"#, true),
            // Recorded of EventBridge, against the words of both guides.
            (r#"{"body":{"a":[300]}}"#, r#"{"a":300.0}"#, true),
            (r#"{"body":{"a":[3.0e2]}}"#, r#"{"a":300.0}"#, true),
            (r#"{"body":{"a":[{"anything-but":300}]}}"#, r#"{"a":300.0}"#, false),
            (r#"{"body":{"a":["300"]}}"#, r#"{"a":300}"#, false),
            (r#"{"body":{"a":["x"]}}"#, r#"{"a":["w","x"]}"#, true),
            (r#"{"body":{"$or":[{"a":["1"]},{"b":["1"]}]}}"#, r#"{"b":"1"}"#, true),
            (r#"{"messageAttributes":{"kind":{"stringValue":["x"]}}}"#, "text", true),
        ] {
            assert_eq!(matches(pattern, body), expected, "{pattern} {body}");
        }
    }

    #[test]
    fn ids_that_differ_in_their_last_digit_only_are_not_the_same() {
        let pattern = r#"{"body":{"a":[9007199254740993]}}"#;
        assert!(matches(pattern, r#"{"a":9007199254740993}"#));
        assert!(!matches(pattern, r#"{"a":9007199254740992}"#));
    }

    #[test]
    fn a_pattern_for_json_drops_text_and_the_reverse() {
        assert!(!matches(r#"{"body":{"a":["1"]}}"#, "plain"));
        assert!(matches(r#"{"body":["plain"]}"#, "plain"));
        assert!(!matches(r#"{"body":["plain"]}"#, r#"{"a":"plain"}"#));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "null",
            "\"text\"",
            "[]",
            "{}",
            r#"{"body":null}"#,
            r#"{"body":"x"}"#,
            r#"{"body":{"a":"scalar"}}"#,
            r#"{"body":{"a":[]}}"#,
            r#"{"body":{"a":[{"unknown":1}]}}"#,
            r#"{"body":{"a":[{"numeric":[">"]}]}}"#,
            r#"{"body":{"a":[["nested"]]}}"#,
        ] {
            assert_eq!(Filter::parse(bad), Err(InvalidPattern), "{bad}");
        }
    }
}
