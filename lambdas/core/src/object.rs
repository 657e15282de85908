//! What the contracts call an object.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Something that is read from a JSON object alone. What serde derives also takes an array of the fields in their order, so
/// that `["digest",{"text":"a"}]` would be a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// The fields are handed on one by one: no second copy of a payload is made.
struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Object;
    use crate::wire::NewTask;

    #[test]
    fn an_object_is_read_as_before_and_an_array_of_its_fields_is_not() {
        let object = r#"{"kind":"digest","payload":{"text":"a"}}"#;
        let Object(read) = serde_json::from_str::<Object<NewTask>>(object).unwrap();
        assert_eq!(read, serde_json::from_str::<NewTask>(object).unwrap());
        let array = r#"["digest",{"text":"a"}]"#;
        assert!(serde_json::from_str::<NewTask>(array).is_ok(), "or it proves nothing");
        let refused = serde_json::from_str::<Object<NewTask>>(array).unwrap_err();
        assert!(refused.to_string().contains("expected an object at line 1"), "{refused}");
        for other in [json!(null), json!("digest"), json!(7), json!([])] {
            assert!(serde_json::from_value::<Object<Value>>(other.clone()).is_err(), "{other}");
        }
    }
}
