//! Names that make a repeated request the same request.

use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::id::{IdempotencyKey, LeaseToken, Owner, RequestHash, TaskId};
use crate::ports::Random;
use crate::time::EpochMs;

/// Names under this UUID are tasks of owners. Never changes: stored ids depend on it.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_51f2_93c4_4d8e_9b57_2c1a_70e8_d3b6);

/// The same owner and key always name the same task.
pub fn named_task_id(owner: &Owner, key: &IdempotencyKey) -> TaskId {
    // NUL cannot occur in either part, so that two different pairs never make one name.
    let name = format!("{owner}\0{key}");
    TaskId::new(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}

/// A fresh id that sorts by time.
pub fn fresh_task_id<R: Random>(now: EpochMs, random: &R) -> TaskId {
    let mut bytes = [0; 10];
    random.fill(&mut bytes);
    TaskId::new(uuid::Builder::from_unix_timestamp_millis(now.0, &bytes).into_uuid())
}

pub fn fresh_lease_token<R: Random>(random: &R) -> LeaseToken {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    LeaseToken::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// SHA-256 over the request in one spelling: members sorted, no spaces. The order of a client's members does not matter.
pub fn request_hash(kind: &str, payload: &Value) -> RequestHash {
    let mut canonical = String::new();
    write_canonical(&Value::String(kind.to_owned()), &mut canonical);
    write_canonical(payload, &mut canonical);
    RequestHash::parse(hex(&Sha256::digest(canonical))).expect("SHA-256 in hex is 64 lower-case hex digits")
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Sorts by itself: whether `serde_json` keeps the order of members depends on features that other packages choose.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (name, member) in members {
                out.push_str(&Value::String(name.clone()).to_string());
                out.push(':');
                write_canonical(member, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner(text: &str) -> Owner {
        Owner::parse(text).unwrap()
    }

    #[test]
    fn the_order_of_members_does_not_change_the_hash() {
        let (one, other): (Value, Value) = (
            serde_json::from_str(r#"{"a":1,"b":{"c":[1,2],"d":null}}"#).unwrap(),
            serde_json::from_str(r#"{ "b":{"d":null,"c":[1,2]}, "a":1 }"#).unwrap(),
        );
        assert_eq!(request_hash("k", &one), request_hash("k", &other));
        assert_ne!(request_hash("k", &one), request_hash("l", &one));
        assert_ne!(request_hash("k", &json!([1, 2])), request_hash("k", &json!([[1], 2])));
    }

    #[test]
    fn a_key_names_one_task_per_owner() {
        let key = IdempotencyKey::parse("order-7").unwrap();
        assert_eq!(named_task_id(&owner("alice"), &key), named_task_id(&owner("alice"), &key));
        assert_ne!(named_task_id(&owner("alice"), &key), named_task_id(&owner("bob"), &key));
        assert_eq!(
            named_task_id(&owner("alice"), &key).to_string(),
            "87ac6287-328c-5269-aebf-e1b5109efb6e",
            "stored ids depend on the namespace"
        );
    }
}
