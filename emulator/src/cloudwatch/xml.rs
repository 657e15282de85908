//! Neutral values as the query protocol's XML.

use std::fmt::Write;

use serde_json::Value;

use super::failure::Failure;
use super::times;
use crate::xml::escape;

const NAMESPACE: &str = "http://monitoring.amazonaws.com/doc/2010-08-01/";

/// The one map of the API: it is written as entries.
const MAP_MEMBER: &str = "ExtendedStatistics";

pub(super) fn success(operation: &str, output: &Value, request_id: &str) -> String {
    let mut xml = format!("<{operation}Response xmlns=\"{NAMESPACE}\"><{operation}Result>");
    members(&mut xml, output);
    push(&mut xml, format_args!("</{operation}Result><ResponseMetadata><RequestId>{request_id}</RequestId>"));
    push(&mut xml, format_args!("</ResponseMetadata></{operation}Response>"));
    xml
}

pub(super) fn failure(failure: &Failure, request_id: &str) -> String {
    let message = failure.message().map(|message| format!("<Message>{}</Message>", escape(message)));
    let message = message.unwrap_or_default();
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{}</Code>{message}</Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>",
        failure.query_code
    )
}

fn members(xml: &mut String, value: &Value) {
    let Some(object) = value.as_object() else { return };
    for (name, value) in object {
        push(xml, format_args!("<{name}>"));
        if name == MAP_MEMBER {
            entries(xml, value);
        } else {
            content(xml, value, times::is_time(name));
        }
        push(xml, format_args!("</{name}>"));
    }
}

fn entries(xml: &mut String, value: &Value) {
    for (key, value) in value.as_object().into_iter().flatten() {
        push(xml, format_args!("<entry><key>{}</key><value>{value}</value></entry>", escape(key)));
    }
}

fn content(xml: &mut String, value: &Value, is_time: bool) {
    match value {
        Value::Null => {}
        Value::Object(_) => members(xml, value),
        Value::Array(values) => {
            for value in values {
                xml.push_str("<member>");
                content(xml, value, is_time);
                xml.push_str("</member>");
            }
        }
        Value::Number(_) if is_time => xml.push_str(&times::iso(value)),
        Value::String(text) => xml.push_str(&escape(text)),
        Value::Bool(_) | Value::Number(_) => push(xml, format_args!("{value}")),
    }
}

fn push(xml: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    if xml.write_fmt(text).is_err() {
        tracing::error!("failed to write an answer");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_times_and_text_are_written_as_the_query_protocol_does() {
        for (output, result) in [
            (json!({"L": [1, "a<b"]}), "<XResult><L><member>1</member><member>a&lt;b</member></L></XResult>"),
            (json!({"Timestamp": 1.5}), "<XResult><Timestamp>1970-01-01T00:00:01.500Z</Timestamp></XResult>"),
        ] {
            let xml = success("X", &output, "id");
            assert!(xml.contains(result), "{xml}");
        }
    }
}
