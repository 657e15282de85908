//! Reading a request into the engine's types, and wording what cannot be read as DynamoDB does.

use dynoxide::DynoxideError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Failure;
use super::{parts, statement};

/// Prefixes with which the engine's readers mark the class of their error; none may reach the caller.
const VALIDATION: [&str; 2] = ["VALIDATION_AS_READ:", "VALIDATION:"];
const SERIALIZATION: [&str; 2] = ["SERIALIZATION_AS_READ:", "SERIALIZATION:"];
const ENVELOPED: &str = "VALIDATION_REQUEST:";

/// # Errors
/// A `ValidationException` or a `SerializationException`.
pub(super) fn decode<T: DeserializeOwned>(operation: &str, body: &str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| {
        if error.is_syntax() || error.is_eof() {
            return Failure::unreadable();
        }
        Failure::Engine(classify(operation, &error.to_string()))
    })
}

/// Of a call of many parts. The engine takes a list for the members of a part in order, by which nobody was judged.
///
/// # Errors
/// As of [`decode`].
pub(super) fn decode_parts<T: DeserializeOwned>(operation: &str, body: &str) -> Result<T, Failure> {
    let request = decode(operation, body)?;
    parts::read(operation, body.as_bytes()).map(|_| request).ok_or_else(Failure::unreadable)
}

fn classify(operation: &str, message: &str) -> DynoxideError {
    let text = without_position(message);
    if let Some(text) = text.strip_prefix(ENVELOPED) {
        return enveloped(operation, text);
    }
    if let Some(text) = VALIDATION.iter().find_map(|mark| text.strip_prefix(mark)) {
        return DynoxideError::ValidationException(text.to_owned());
    }
    if let Some(text) = SERIALIZATION.iter().find_map(|mark| text.strip_prefix(mark)) {
        return DynoxideError::SerializationException(text.to_owned());
    }
    let invalid = ["missing field", "unknown variant", "invalid type: null", "Supplied AttributeValue"];
    if invalid.iter().any(|part| text.contains(part)) {
        return DynoxideError::ValidationException(text.to_owned());
    }
    DynoxideError::SerializationException(text.to_owned())
}

/// DynamoDB wraps the refusal of a malformed value on these three only.
fn enveloped(operation: &str, text: &str) -> DynoxideError {
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => {
            DynoxideError::ValidationException(format!("1 validation error detected: {text}"))
        }
        _ => DynoxideError::ValidationException(text.to_owned()),
    }
}

/// Drops ` at line 1 column 42`, which is the reader's and not DynamoDB's.
fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |at| &message[..at])
}

#[derive(Deserialize)]
struct Names {
    #[serde(rename = "TableName")]
    table_name: Option<String>,
    #[serde(rename = "Statement")]
    statement: Option<String>,
}

/// The table of a request that names one, by itself or in its statement.
pub(super) fn table_of(body: &str) -> Option<String> {
    let names: Names = serde_json::from_str(body).ok()?;
    names.table_name.or_else(|| {
        let statement = names.statement?;
        statement::named(&statement)?.table.filter(|table| !table.is_empty()).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readers_mark_and_position_never_reach_the_caller() {
        let error = classify("GetItem", "VALIDATION:The parameter cannot be converted at line 1 column 9");
        assert_eq!(error.to_string(), "The parameter cannot be converted");
        let error = classify("PutItem", "VALIDATION_REQUEST:bad NULL at line 1 column 9");
        assert_eq!(error.to_string(), "1 validation error detected: bad NULL");
        let error = classify("Query", "VALIDATION_REQUEST:bad NULL");
        assert_eq!(error.to_string(), "bad NULL");
    }
}
