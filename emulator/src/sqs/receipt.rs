//! Receipt handles: opaque to callers, self-describing to the queue.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::queue::Key;

/// Bytes of a decoded handle: queue, sent time, sequence, receive count, check sum.
const HANDLE_BYTES: usize = 8 + 8 + 8 + 4 + 4;
/// Marks the handle of a second delivery. No count comes near it: a message lives 14 days.
const COPY_BIT: u32 = 1 << 31;
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// Names one receive of one message of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// A queue that is deleted and made again does not know the handles of the old one.
    pub queue: u64,
    pub key: Key,
    /// The value of the receive count that this receive set: a later receive supersedes the handle.
    pub receive_count: u32,
    /// "Each time you receive a message, you get a different receipt handle": so does a second delivery.
    pub is_copy: bool,
}

impl Receipt {
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = [0; HANDLE_BYTES];
        bytes[0..8].copy_from_slice(&self.queue.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.key.sent_ms.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.key.sequence.to_be_bytes());
        let copy = if self.is_copy { COPY_BIT } else { 0 };
        bytes[24..28].copy_from_slice(&(self.receive_count | copy).to_be_bytes());
        let sum = check_sum(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// None for anything that [`Receipt::encode`] did not make.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut bytes = [0; HANDLE_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (content, sum) = bytes.split_at(28);
        if length != HANDLE_BYTES || check_sum(content).to_be_bytes() != sum {
            return None;
        }
        let receive_count = u32::from_be_bytes(content[24..28].try_into().ok()?);
        Some(Self {
            queue: u64::from_be_bytes(content[0..8].try_into().ok()?),
            key: Key {
                sent_ms: i64::from_be_bytes(content[8..16].try_into().ok()?),
                sequence: u64::from_be_bytes(content[16..24].try_into().ok()?),
            },
            receive_count: receive_count & !COPY_BIT,
            is_copy: receive_count & COPY_BIT != 0,
        })
    }
}

/// FNV-1a: tells a typing error from a handle; it is not a secret.
fn check_sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(FNV_OFFSET, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(FNV_PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIPT: Receipt = Receipt {
        queue: 7,
        key: Key { sent_ms: 1_700_000_000_000, sequence: 3 },
        receive_count: 2,
        is_copy: false,
    };

    #[test]
    fn a_handle_survives_the_round_trip() {
        assert_eq!(Receipt::decode(&RECEIPT.encode()), Some(RECEIPT));
        let copy = Receipt { is_copy: true, ..RECEIPT };
        assert_eq!(Receipt::decode(&copy.encode()), Some(copy));
        assert_ne!(copy.encode(), RECEIPT.encode());
    }

    #[test]
    fn a_tampered_or_foreign_handle_is_not_decoded() {
        let mut tampered = RECEIPT.encode().into_bytes();
        tampered[10] = if tampered[10] == b'A' { b'B' } else { b'A' };
        let longer = format!("{}AAAA", RECEIPT.encode());
        for bad in ["", "garbage", std::str::from_utf8(&tampered).unwrap(), &longer, "ünïcode"] {
            assert_eq!(Receipt::decode(bad), None, "{bad}");
        }
    }
}
