//! A task id as sixteen bytes: what tasks are sorted and joined by.

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Keys of UUIDs sort as their texts do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskKey(pub(super) u128);

impl TaskKey {
    /// The service's ids are UUIDs. Any other text, and any other spelling of a UUID, gets a key of its own: two texts
    /// never share one, as far as 128 bits of SHA-256 can tell.
    pub(crate) fn of(id: &str) -> Self {
        match Uuid::try_parse(id) {
            Ok(uuid) if is_canonical(uuid, id) => Self(uuid.as_u128()),
            _ => Self(hash128(id.as_bytes())),
        }
    }
}

fn is_canonical(uuid: Uuid, id: &str) -> bool {
    let mut text = Uuid::encode_buffer();
    *uuid.hyphenated().encode_lower(&mut text) == *id
}

fn hash128(bytes: &[u8]) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    u128::from_be_bytes(half)
}

/// For what is only compared: owners, message ids, bodies.
pub(super) fn hash64(bytes: &[u8]) -> u64 {
    /// FNV-1a, 64 bits: its published offset and prime.
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_of_an_id_is_another_task() {
        let id = "0193e0a4-7c1e-5b6f-8a9d-00000000000a";
        let keys =
            [id, &id.to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}"), "task-1"].map(TaskKey::of);
        for (position, key) in keys.iter().enumerate() {
            assert!(!keys[position + 1..].contains(key));
        }
    }

    #[test]
    fn keys_sort_as_ids_do() {
        let (low, high) = ("0193e0a4-7c1e-5b6f-8a9d-00000000000a", "0193e0a4-7c1f-5b6f-8a9d-000000000001");
        assert!(TaskKey::of(low) < TaskKey::of(high));
    }
}
