//! Reading members of a neutral value. The query protocol has only text, so numbers and flags may be text too.

use serde_json::Value;

use super::failure::Failure;
use super::times;
use crate::metrics::MetricId;

/// "You can assign up to 30 dimensions to a metric."
const DIMENSIONS_MAX: usize = 30;

pub(super) fn text<'a>(input: &'a Value, member: &str) -> Option<&'a str> {
    input.get(member)?.as_str().filter(|text| !text.is_empty())
}

pub(super) fn required_text<'a>(input: &'a Value, member: &str) -> Result<&'a str, Failure> {
    text(input, member).ok_or_else(|| Failure::missing(member))
}

pub(super) fn number(input: &Value, member: &str) -> Result<Option<f64>, Failure> {
    let Some(value) = input.get(member).filter(|value| !value.is_null()) else { return Ok(None) };
    let parsed = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    parsed.map(Some).ok_or_else(|| Failure::invalid(format!("The value of {member} is not a number.")))
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within range first")]
pub(super) fn integer(input: &Value, member: &str) -> Result<Option<i64>, Failure> {
    let Some(value) = number(input, member)? else { return Ok(None) };
    if value.fract() != 0.0 || value.abs() > 1e15 {
        return Err(Failure::invalid(format!("The value of {member} is not an integer.")));
    }
    Ok(Some(value as i64))
}

pub(super) fn flag(input: &Value, member: &str) -> Option<bool> {
    let value = input.get(member)?;
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

pub(super) fn time_ms(input: &Value, member: &str) -> Result<Option<i64>, Failure> {
    let Some(value) = input.get(member).filter(|value| !value.is_null()) else { return Ok(None) };
    let at = times::to_ms(value);
    at.map(Some).ok_or_else(|| Failure::invalid(format!("The value of {member} is not a time.")))
}

pub(super) fn list<'a>(input: &'a Value, member: &str) -> &'a [Value] {
    input.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn texts(input: &Value, member: &str) -> Vec<String> {
    list(input, member).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// What the token of the page before says, if there was one. `refuse` is the code with which the operation refuses another.
pub(super) fn token<'a, T>(
    input: &'a Value,
    read: impl Fn(&'a str) -> Option<T>,
    refuse: fn(&'static str) -> Failure,
) -> Result<Option<T>, Failure> {
    let Some(token) = text(input, "NextToken") else { return Ok(None) };
    read(token).map(Some).ok_or_else(|| refuse("The NextToken is not valid."))
}

pub(super) fn dimensions(input: &Value) -> Result<Vec<(String, String)>, Failure> {
    let items = list(input, "Dimensions");
    if items.len() > DIMENSIONS_MAX {
        return Err(Failure::invalid(format!(
            "The collection Dimensions must not have more than {DIMENSIONS_MAX} elements."
        )));
    }
    items
        .iter()
        .map(|item| Ok((required_text(item, "Name")?.to_owned(), required_text(item, "Value")?.to_owned())))
        .collect()
}

/// `Namespace`, `MetricName` and `Dimensions`.
pub(super) fn metric(input: &Value) -> Result<MetricId, Failure> {
    let (namespace, name) = (required_text(input, "Namespace")?, required_text(input, "MetricName")?);
    Ok(MetricId::new(namespace, name, dimensions(input)?))
}
