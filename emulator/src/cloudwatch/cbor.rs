//! Smithy RPC v2 CBOR to neutral values and back. A time is tag 1 over seconds since the epoch.

use ciborium::Value as Cbor;
use serde_json::{Map, Number, Value};

use super::times;

const TIME_TAG: u64 = 1;

pub(super) fn decode(body: &[u8]) -> Result<Value, ()> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    let value: Cbor = ciborium::from_reader(body).map_err(|_| ())?;
    into_json(value)
}

fn into_json(value: Cbor) -> Result<Value, ()> {
    Ok(match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(value) => Value::Bool(value),
        Cbor::Integer(value) => Value::from(i64::try_from(value).map_err(|_| ())?),
        Cbor::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
        Cbor::Text(text) => Value::String(text),
        Cbor::Tag(TIME_TAG, value) => into_json(*value)?,
        Cbor::Array(values) => Value::Array(values.into_iter().map(into_json).collect::<Result<_, ()>>()?),
        Cbor::Map(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| Ok((key.into_text().map_err(|_| ())?, into_json(value)?)))
                .collect::<Result<_, ()>>()?,
        ),
        _ => return Err(()),
    })
}

pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    // Writing to memory cannot fail, and a neutral value has no part that CBOR lacks.
    if let Err(error) = ciborium::into_writer(&from_json(value, false), &mut body) {
        tracing::error!(%error, "failed to encode an answer");
    }
    body
}

fn from_json(value: &Value, is_time: bool) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(value) => Cbor::Bool(*value),
        Value::Number(number) if is_time => {
            Cbor::Tag(TIME_TAG, Box::new(Cbor::Float(number.as_f64().unwrap_or_default())))
        }
        Value::Number(number) => from_number(number),
        Value::String(text) => Cbor::Text(text.clone()),
        Value::Array(values) => Cbor::Array(values.iter().map(|value| from_json(value, is_time)).collect()),
        Value::Object(members) => Cbor::Map(
            members
                .iter()
                .map(|(key, value)| (Cbor::Text(key.clone()), from_json(value, times::is_time(key))))
                .collect(),
        ),
    }
}

fn from_number(number: &Number) -> Cbor {
    match number.as_i64() {
        Some(integer) => Cbor::Integer(integer.into()),
        None => Cbor::Float(number.as_f64().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_survives_the_way_there_and_back() {
        let value = json!({"Values": [1.5, 2.0], "Timestamps": [1_700_000_000.0], "Id": "m1", "Period": 60});
        assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn a_time_is_tagged() {
        assert_eq!(encode(&json!({"Timestamp": 1.0}))[11], 0xc1);
    }
}
