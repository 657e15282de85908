//! What the verdict needs of one request, one record, one dead letter: a few dozen bytes each, of a fixed size.

use loadtest::{Duplicate, Expectation, LedgerEntry, Outcome, Push, TaskKind, TaskStatus};
use serde::Deserialize;
use serde_json::Value;

use super::key::{TaskKey, hash64};
use super::sort::{Bytes, Fact};
use crate::oracle::history::{illegal_step, parse, successes};
use crate::oracle::manners::{EAGER_GAP_MS, retry_gaps_ms};
use crate::oracle::{DeadLetter, Record};

/// Stands for a time that is not known. No clock reads it.
const NEVER_MS: u64 = u64::MAX;

/// Of a version: four bits are left of four bytes, one for each status. No task moves so often.
const VERSION_BITS: u32 = 28;
const VERSION_MAX: u32 = (1 << VERSION_BITS) - 1;

/// What the client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Acknowledged,
    Refused { status: u16 },
    Unknown,
    Unsent,
}

impl Answer {
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Acknowledged { .. } => Self::Acknowledged,
            Outcome::Refused { status, .. } => Self::Refused { status: *status },
            Outcome::Unknown { .. } => Self::Unknown,
            Outcome::Unsent => Self::Unsent,
        }
    }
}

/// The highest version that was pushed, and as what: as several, of a service that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed(u32);

impl Pushed {
    fn of(pushes: &[Push]) -> Self {
        let highest = pushes.iter().map(|push| push.version).max().unwrap_or_default();
        let of_it = pushes.iter().filter(|push| push.version == highest);
        let statuses = of_it.fold(0, |statuses, push| statuses | bit(push.status));
        Self((statuses << VERSION_BITS) | version(highest))
    }

    /// 0 when nothing was.
    pub(super) fn version(self) -> u32 {
        self.0 & VERSION_MAX
    }

    /// Whether this version, which has this status, was pushed as another.
    pub(super) fn is_wrong(self, version: u32, status: TaskStatus) -> bool {
        let is_known = self.version() == version && version < VERSION_MAX;
        is_known && (self.0 >> VERSION_BITS) & !bit(status) != 0
    }
}

fn version(number: u64) -> u32 {
    u32::try_from(number).map_or(VERSION_MAX, |number| number.min(VERSION_MAX))
}

fn bit(status: TaskStatus) -> u32 {
    1 << code(status)
}

fn code(status: TaskStatus) -> u8 {
    match status {
        TaskStatus::Queued => 0,
        TaskStatus::Running => 1,
        TaskStatus::Succeeded => 2,
        TaskStatus::DeadLettered => 3,
    }
}

/// One request, under the id that the answer named or under the id that its idempotency key names; where these are
/// the same, once.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryFact {
    pub(super) key: TaskKey,
    /// In the ledger.
    pub(super) position: u64,
    pub(super) owner: u64,
    sent_at_ms: u64,
    answered_at_ms: u64,
    pub(super) answer: Answer,
    /// Meant to be a dead letter.
    pub(super) is_poison: bool,
    /// Of the kind that can never succeed.
    pub(super) is_hopeless: bool,
    pub(super) has_wrong_result: bool,
    pub(super) has_other_task: bool,
    /// The answer named this task.
    pub(super) is_answered: bool,
    /// The idempotency key names this task.
    pub(super) is_named: bool,
    pub(super) pushes: u8,
    /// Of what was tried besides, how much was accepted.
    pub(super) accepted_abuses: u8,
    pub(super) pushed: Pushed,
}

impl EntryFact {
    /// One or two facts; none of a request that can have made no task.
    pub(super) fn of(position: u64, entry: &LedgerEntry, named: Option<&str>) -> impl Iterator<Item = Self> {
        let answered = entry.task_id().map(TaskKey::of);
        let named = named.map(TaskKey::of);
        let accepted = |probe: &&loadtest::Probe| matches!(probe.outcome, Outcome::Acknowledged { .. });
        let accepted_abuses = entry.probes.iter().filter(accepted).count();
        let fact = move |key, is_answered, is_named| Self {
            key,
            position,
            owner: hash64(entry.owner.as_bytes()),
            sent_at_ms: entry.sent_at_ms.unwrap_or(NEVER_MS),
            answered_at_ms: entry.answered_at_ms.unwrap_or(NEVER_MS),
            answer: Answer::of(&entry.outcome),
            is_poison: entry.expectation == Expectation::DeadLetters,
            is_hopeless: entry.kind == TaskKind::Poison,
            has_wrong_result: entry.result_ok == Some(false),
            has_other_task: matches!(entry.duplicate, Some(Duplicate::OtherTask { .. })),
            is_answered,
            is_named,
            pushes: u8::try_from(entry.pushes.len()).unwrap_or(u8::MAX),
            accepted_abuses: u8::try_from(accepted_abuses).unwrap_or(u8::MAX),
            pushed: Pushed::of(&entry.pushes),
        };
        let first = answered.map(|key| fact(key, true, named == Some(key)));
        let second = named.filter(|key| answered != Some(*key)).map(|key| fact(key, false, true));
        first.into_iter().chain(second)
    }

    pub(super) fn sent_at_ms(&self) -> Option<u64> {
        (self.sent_at_ms != NEVER_MS).then_some(self.sent_at_ms)
    }

    pub(super) fn answered_at_ms(&self) -> Option<u64> {
        (self.answered_at_ms != NEVER_MS).then_some(self.answered_at_ms)
    }
}

impl Fact for EntryFact {
    const BYTES: usize = 16 + 8 + 8 + 8 + 8 + 1 + 2 + 1 + 1 + 1 + 4;

    fn key(&self) -> TaskKey {
        self.key
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let (answer, status) = match self.answer {
            Answer::Acknowledged => (0_u8, 0),
            Answer::Refused { status } => (1, status),
            Answer::Unknown => (2, 0),
            Answer::Unsent => (3, 0),
        };
        bytes.extend(self.key.0.to_le_bytes());
        bytes.extend(self.position.to_le_bytes());
        bytes.extend(self.owner.to_le_bytes());
        bytes.extend(self.sent_at_ms.to_le_bytes());
        bytes.extend(self.answered_at_ms.to_le_bytes());
        bytes.push(answer);
        bytes.extend(status.to_le_bytes());
        bytes.push(pack([
            self.is_poison,
            self.has_wrong_result,
            self.has_other_task,
            self.is_answered,
            self.is_named,
            self.is_hopeless,
        ]));
        bytes.push(self.pushes);
        bytes.push(self.accepted_abuses);
        bytes.extend(self.pushed.0.to_le_bytes());
    }

    fn decode(bytes: &mut Bytes<'_>) -> Self {
        let key = TaskKey(u128::from_le_bytes(bytes.take()));
        let position = u64::from_le_bytes(bytes.take());
        let owner = u64::from_le_bytes(bytes.take());
        let sent_at_ms = u64::from_le_bytes(bytes.take());
        let answered_at_ms = u64::from_le_bytes(bytes.take());
        let [answer] = bytes.take();
        let status = u16::from_le_bytes(bytes.take());
        let [is_poison, has_wrong_result, has_other_task, is_answered, is_named, is_hopeless] =
            unpack(bytes.take());
        let [pushes, accepted_abuses] = bytes.take();
        let pushed = Pushed(u32::from_le_bytes(bytes.take()));
        let answer = match answer {
            0 => Answer::Acknowledged,
            1 => Answer::Refused { status },
            2 => Answer::Unknown,
            _ => Answer::Unsent,
        };
        Self {
            key,
            position,
            owner,
            sent_at_ms,
            answered_at_ms,
            answer,
            is_poison,
            is_hopeless,
            has_wrong_result,
            has_other_task,
            is_answered,
            is_named,
            pushes,
            accepted_abuses,
            pushed,
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordFact {
    pub(super) key: TaskKey,
    /// On the shelf that holds it whole.
    pub(super) position: u64,
    pub(super) owner: u64,
    pub(super) body: u64,
    pub(super) updated_at_ms: u64,
    pub(super) effects: u32,
    pub(super) deliveries: u32,
    pub(super) version: u32,
    /// Failed attempts that were followed by another one, and of these the eager ones.
    pub(super) retries: u16,
    pub(super) eager_retries: u16,
    /// Of the last eager one.
    pub(super) eager_gap_ms: u16,
    /// Steps of its history that can be read.
    pub(super) steps: u16,
    pub(super) status: TaskStatus,
    pub(super) is_effect_missing: bool,
    pub(super) is_history_illegal: bool,
}

impl RecordFact {
    pub(super) fn of(position: u64, record: &Record) -> Self {
        let effects = record.completions.max(successes(&record.history) as u64);
        let steps = record.history.iter().filter(|line| parse(line).is_some()).count();
        let gaps: Vec<u64> = retry_gaps_ms(record).collect();
        let eager = || gaps.iter().filter(|gap_ms| **gap_ms < EAGER_GAP_MS);
        let small = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            key: TaskKey::of(&record.task_id),
            position,
            owner: hash64(record.owner.as_bytes()),
            body: fingerprint(
                &record.owner,
                &record.kind,
                &record.payload,
                record.created_at_ms,
                &record.request_hash,
            ),
            updated_at_ms: record.updated_at_ms,
            effects: u32::try_from(effects).unwrap_or(u32::MAX),
            deliveries: u32::try_from(record.deliveries).unwrap_or(u32::MAX),
            version: version(record.version),
            retries: small(gaps.len()),
            eager_retries: small(eager().count()),
            eager_gap_ms: eager()
                .next_back()
                .and_then(|gap_ms| u16::try_from(*gap_ms).ok())
                .unwrap_or_default(),
            steps: small(steps),
            status: record.status,
            is_effect_missing: record.status == TaskStatus::Succeeded && record.completions == 0,
            is_history_illegal: illegal_step(&record.history).is_some(),
        }
    }
}

impl Fact for RecordFact {
    const BYTES: usize = 16 + 8 + 8 + 8 + 8 + 4 + 4 + 4 + 2 + 2 + 2 + 2 + 1 + 1;

    fn key(&self) -> TaskKey {
        self.key
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.key.0.to_le_bytes());
        bytes.extend(self.position.to_le_bytes());
        bytes.extend(self.owner.to_le_bytes());
        bytes.extend(self.body.to_le_bytes());
        bytes.extend(self.updated_at_ms.to_le_bytes());
        bytes.extend(self.effects.to_le_bytes());
        bytes.extend(self.deliveries.to_le_bytes());
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.retries.to_le_bytes());
        bytes.extend(self.eager_retries.to_le_bytes());
        bytes.extend(self.eager_gap_ms.to_le_bytes());
        bytes.extend(self.steps.to_le_bytes());
        bytes.push(code(self.status));
        bytes.push(pack([self.is_effect_missing, self.is_history_illegal]));
    }

    fn decode(bytes: &mut Bytes<'_>) -> Self {
        let key = TaskKey(u128::from_le_bytes(bytes.take()));
        let position = u64::from_le_bytes(bytes.take());
        let owner = u64::from_le_bytes(bytes.take());
        let body = u64::from_le_bytes(bytes.take());
        let updated_at_ms = u64::from_le_bytes(bytes.take());
        let effects = u32::from_le_bytes(bytes.take());
        let deliveries = u32::from_le_bytes(bytes.take());
        let version = u32::from_le_bytes(bytes.take());
        let retries = u16::from_le_bytes(bytes.take());
        let eager_retries = u16::from_le_bytes(bytes.take());
        let eager_gap_ms = u16::from_le_bytes(bytes.take());
        let steps = u16::from_le_bytes(bytes.take());
        let status = match bytes.take() {
            [0] => TaskStatus::Queued,
            [1] => TaskStatus::Running,
            [2] => TaskStatus::Succeeded,
            [_] => TaskStatus::DeadLettered,
        };
        let [is_effect_missing, is_history_illegal] = unpack(bytes.take());
        Self {
            key,
            position,
            owner,
            body,
            updated_at_ms,
            effects,
            deliveries,
            version,
            retries,
            eager_retries,
            eager_gap_ms,
            steps,
            status,
            is_effect_missing,
            is_history_illegal,
        }
    }
}

/// A message of the dead-letter queue that is one of the service's.
#[derive(Clone, Copy, Debug)]
pub(super) struct LetterFact {
    pub(super) key: TaskKey,
    pub(super) position: u64,
    pub(super) owner: u64,
    pub(super) body: u64,
    pub(super) message: u64,
    pub(super) created_at_ms: u64,
    /// Without the look that showed it.
    pub(super) receives: u32,
}

impl LetterFact {
    /// A body that cannot be read is nobody's poison.
    pub(super) fn of(position: u64, letter: &DeadLetter) -> Option<Self> {
        let body = Body::of(letter)?;
        Some(Self {
            key: TaskKey::of(&body.task_id),
            position,
            owner: hash64(body.owner.as_bytes()),
            body: fingerprint(&body.owner, &body.kind, &body.payload, body.created_at_ms, &body.request_hash),
            message: hash64(letter.message_id.as_bytes()),
            created_at_ms: body.created_at_ms,
            receives: u32::try_from(letter.receives()).unwrap_or(u32::MAX),
        })
    }
}

impl Fact for LetterFact {
    const BYTES: usize = 16 + 8 + 8 + 8 + 8 + 8 + 4;

    fn key(&self) -> TaskKey {
        self.key
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.key.0.to_le_bytes());
        bytes.extend(self.position.to_le_bytes());
        bytes.extend(self.owner.to_le_bytes());
        bytes.extend(self.body.to_le_bytes());
        bytes.extend(self.message.to_le_bytes());
        bytes.extend(self.created_at_ms.to_le_bytes());
        bytes.extend(self.receives.to_le_bytes());
    }

    fn decode(bytes: &mut Bytes<'_>) -> Self {
        Self {
            key: TaskKey(u128::from_le_bytes(bytes.take())),
            position: u64::from_le_bytes(bytes.take()),
            owner: u64::from_le_bytes(bytes.take()),
            body: u64::from_le_bytes(bytes.take()),
            message: u64::from_le_bytes(bytes.take()),
            created_at_ms: u64::from_le_bytes(bytes.take()),
            receives: u32::from_le_bytes(bytes.take()),
        }
    }
}

/// The body of a queue message, as far as it is compared.
#[derive(Deserialize)]
pub(crate) struct Body {
    pub(crate) task_id: String,
    pub(crate) owner: String,
    kind: String,
    payload: Value,
    pub(crate) created_at_ms: u64,
    request_hash: String,
}

impl Body {
    pub(crate) fn of(letter: &DeadLetter) -> Option<Self> {
        serde_json::from_str(&letter.body).ok()
    }

    /// The first member that is not what the record has.
    pub(super) fn difference(&self, record: &Record) -> Option<&'static str> {
        [
            ("owner", self.owner == record.owner),
            ("kind", self.kind == record.kind),
            ("payload", self.payload == record.payload),
            ("created_at_ms", self.created_at_ms == record.created_at_ms),
            ("request_hash", self.request_hash == record.request_hash),
        ]
        .into_iter()
        .find_map(|(member, same)| (!same).then_some(member))
    }
}

impl DeadLetter {
    /// `None` where the body is none of the service's.
    pub fn task_id(&self) -> Option<String> {
        Body::of(self).map(|body| body.task_id)
    }
}

/// Equal for equal members, whatever the order of a payload's keys.
fn fingerprint(owner: &str, kind: &str, payload: &Value, created_at_ms: u64, request_hash: &str) -> u64 {
    let parts = [
        hash64(owner.as_bytes()),
        hash64(kind.as_bytes()),
        hash_value(payload),
        created_at_ms,
        hash64(request_hash.as_bytes()),
    ];
    mix(&parts)
}

fn hash_value(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(flag) => 2 + u64::from(*flag),
        Value::Number(number) => mix(&[4, hash64(number.to_string().as_bytes())]),
        Value::String(text) => mix(&[5, hash64(text.as_bytes())]),
        Value::Array(values) => values.iter().fold(6, |hash, value| mix(&[hash, hash_value(value)])),
        // A sum does not depend on the order.
        Value::Object(members) => members.iter().fold(7_u64, |sum, (name, value)| {
            sum.wrapping_add(mix(&[hash64(name.as_bytes()), hash_value(value)]))
        }),
    }
}

fn mix(parts: &[u64]) -> u64 {
    let mut bytes = [0; 40];
    for (place, part) in bytes.chunks_exact_mut(8).zip(parts) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    hash64(&bytes[..parts.len() * 8])
}

fn pack<const N: usize>(flags: [bool; N]) -> u8 {
    flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag))
}

fn unpack<const N: usize>([byte]: [u8; 1]) -> [bool; N] {
    std::array::from_fn(|bit| byte >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn round_trip<F: Fact>(fact: F) -> F {
        let mut bytes = Vec::new();
        fact.encode(&mut bytes);
        assert_eq!(bytes.len(), F::BYTES);
        super::super::sort::decode(&bytes)
    }

    proptest! {
        #[test]
        fn a_fact_of_a_request_survives_the_disk(
            key: u128, numbers: (u64, u64, u64, u64), kind in 0..4, status: u16, flags: [bool; 6], small: (u8, u8, u32),
        ) {
            let answer = [Answer::Acknowledged, Answer::Refused { status }, Answer::Unknown, Answer::Unsent][kind as usize];
            let [is_poison, is_hopeless, has_wrong_result, has_other_task, is_answered, is_named] = flags;
            let (position, owner, sent_at_ms, answered_at_ms) = numbers;
            let (pushes, accepted_abuses, pushed) = small;
            let fact = EntryFact {
                key: TaskKey(key), position, owner, sent_at_ms, answered_at_ms, answer, is_poison, is_hopeless,
                has_wrong_result, has_other_task, is_answered, is_named, pushes, accepted_abuses,
                pushed: Pushed(pushed),
            };
            prop_assert_eq!(format!("{:?}", round_trip(fact)), format!("{fact:?}"));
        }

        #[test]
        fn a_fact_of_a_record_survives_the_disk(
            key: u128, numbers: (u64, u64, u64, u64, u32, u32), shorts: (u32, u16, u16, u16, u16), status in 0..4, flags: (bool, bool),
        ) {
            use TaskStatus::{DeadLettered, Queued, Running, Succeeded};
            let (position, owner, body, updated_at_ms, effects, deliveries) = numbers;
            let (version, retries, eager_retries, eager_gap_ms, steps) = shorts;
            let fact = RecordFact {
                key: TaskKey(key), position, owner, body, updated_at_ms, effects, deliveries, version, retries,
                eager_retries, eager_gap_ms, steps,
                status: [Queued, Running, Succeeded, DeadLettered][status as usize],
                is_effect_missing: flags.0, is_history_illegal: flags.1,
            };
            prop_assert_eq!(format!("{:?}", round_trip(fact)), format!("{fact:?}"));
        }

        #[test]
        fn a_fact_of_a_dead_letter_survives_the_disk(
            key: u128, numbers: (u64, u64, u64, u64, u64), receives: u32,
        ) {
            let (position, owner, body, message, created_at_ms) = numbers;
            let fact = LetterFact { key: TaskKey(key), position, owner, body, message, created_at_ms, receives };
            prop_assert_eq!(format!("{:?}", round_trip(fact)), format!("{fact:?}"));
        }
    }

    #[test]
    fn of_pushes_the_highest_version_counts_and_every_status_that_it_was_pushed_as() {
        use TaskStatus::{DeadLettered, Running, Succeeded};
        let push = |version, status| Push { at_ms: 0, version, status };
        let none = Pushed::of(&[]);
        assert_eq!((none.version(), none.is_wrong(3, Succeeded)), (0, false));
        let one = Pushed::of(&[push(3, Succeeded), push(2, Running), push(3, Succeeded)]);
        assert_eq!(one.version(), 3);
        assert_eq!([Succeeded, DeadLettered].map(|status| one.is_wrong(3, status)), [false, true]);
        assert!(!one.is_wrong(2, Succeeded) && !one.is_wrong(4, DeadLettered), "of these nothing is known");
        let both = Pushed::of(&[push(3, Succeeded), push(3, DeadLettered)]);
        assert_eq!([Succeeded, DeadLettered].map(|status| both.is_wrong(3, status)), [true, true]);
        let far = Pushed::of(&[push(u64::MAX, Running)]);
        assert_eq!(far.version(), version(u64::MAX - 1));
        assert!(!far.is_wrong(far.version(), Succeeded), "it stands for many");
    }

    #[test]
    fn payloads_are_the_same_whatever_the_order_of_their_keys_and_differ_in_every_value() {
        let hash = |text: &str| hash_value(&serde_json::from_str(text).unwrap());
        assert_eq!(hash(r#"{"a": 1, "b": [true, null]}"#), hash(r#"{"b": [true, null], "a": 1}"#));
        let different = [
            json!({"a": 1}),
            json!({"a": 1.0}),
            json!({"a": "1"}),
            json!({"b": 1}),
            json!({}),
            json!([1]),
            json!([[], 1]),
        ];
        for (position, value) in different.iter().enumerate() {
            assert!(different[position + 1..].iter().all(|other| hash_value(other) != hash_value(value)));
        }
    }
}
