//! What a function's answer says about its batch.

use std::collections::HashSet;

use serde_json::Value;

/// The outcome of a batch whose function answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    AllSucceeded,
    /// The messages with these ids failed; the others succeeded.
    Failed(HashSet<String>),
    /// The report cannot be trusted: "Lambda treats a batch as a complete failure".
    BatchFailed(&'static str),
}

/// Reads a partial batch response for a batch that holds `knows`.
///
/// Complete success: an empty `batchItemFailures`, a null one, an empty or null response. Complete failure: invalid
/// JSON, an empty or null `itemIdentifier`, a bad key name, an id that is not in the batch.
#[must_use]
pub fn read(answer: &[u8], knows: impl Fn(&str) -> bool) -> Report {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Report::AllSucceeded;
    }
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return Report::BatchFailed("the answer is not JSON");
    };
    match &answer {
        Value::Object(members) => match members.get("batchItemFailures") {
            None | Some(Value::Null) => Report::AllSucceeded,
            Some(Value::Array(failures)) => read_failures(failures, knows),
            Some(_) => Report::BatchFailed("batchItemFailures is not a list"),
        },
        Value::Null => Report::AllSucceeded,
        Value::String(text) if text.is_empty() => Report::AllSucceeded,
        Value::Array(items) if items.is_empty() => Report::AllSucceeded,
        _ => Report::BatchFailed("the answer is not an object"),
    }
}

fn read_failures(failures: &[Value], knows: impl Fn(&str) -> bool) -> Report {
    let mut ids = HashSet::new();
    for failure in failures {
        match failure.get("itemIdentifier").and_then(Value::as_str) {
            None => return Report::BatchFailed("a failure has no itemIdentifier"),
            Some("") => return Report::BatchFailed("an itemIdentifier is empty"),
            Some(id) if !knows(id) => return Report::BatchFailed("an itemIdentifier is not in the batch"),
            Some(id) => ids.insert(id.to_owned()),
        };
    }
    if ids.is_empty() { Report::AllSucceeded } else { Report::Failed(ids) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &str) -> Report {
        read(answer.as_bytes(), |id| ["a", "b"].contains(&id))
    }

    #[test]
    fn an_empty_report_is_a_complete_success() {
        for answer in [
            "",
            " \n",
            "null",
            "{}",
            "\"\"",
            "[]",
            r#"{"batchItemFailures":[]}"#,
            r#"{"batchItemFailures":null}"#,
            r#"{"other":1}"#,
        ] {
            assert_eq!(of(answer), Report::AllSucceeded, "{answer}");
        }
    }

    #[test]
    fn named_messages_fail_and_the_rest_succeed() {
        let report = of(r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}"#);
        assert_eq!(report, Report::Failed(HashSet::from(["b".to_owned()])));
    }

    #[test]
    fn a_malformed_report_fails_the_whole_batch() {
        for answer in [
            "{not json",
            "\"ok\"",
            "true",
            "[1]",
            r#"{"batchItemFailures":{}}"#,
            r#"{"batchItemFailures":"a"}"#,
            r#"{"batchItemFailures":["a"]}"#,
            r#"{"batchItemFailures":[{"foo":"a"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":7}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"unknown"}]}"#,
        ] {
            assert!(matches!(of(answer), Report::BatchFailed(_)), "{answer}");
        }
    }
}
