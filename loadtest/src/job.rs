//! The task of one arrival: a function of plan and sequence alone, so that a seed replays a run.

use aws_lc_rs::digest::{SHA256, digest};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::ledger::{Abuse, Expectation, TaskKind};
use crate::plan::{LoadPlan, TaskMix};
use crate::wire::Digest;

/// Far beyond what the service takes, and far below what API Gateway does: the function itself must refuse it.
const OVERSIZE_BYTES: usize = 300 * 1024;
/// The end of a conflicting text. No letter of a task's own, so that the two differ however short they are.
const FOREIGN: char = 'X';
/// Spreads neighbouring sequences over the seeds: 2^64 divided by the golden ratio.
const SEED_STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz 01234";

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) idempotency_key: String,
    pub(crate) body: String,
    pub(crate) duplicate: bool,
    pub(crate) abuses: Vec<Abuse>,
    /// Of a digest task: what its result must be.
    pub(crate) digest: Option<Digest>,
}

impl Job {
    pub(crate) fn new(plan: &LoadPlan, sequence: u64) -> Self {
        let (body, digest) = match kind_of(&plan.mix, sequence) {
            TaskKind::Digest => digest_body(plan, sequence),
            TaskKind::Poison => (r#"{"kind":"poison","payload":{"failure":"permanent"}}"#.to_owned(), None),
            TaskKind::Flaky => {
                let failures = plan.mix.flaky_failures;
                (format!(r#"{{"kind":"flaky","payload":{{"failures":{failures}}}}}"#), None)
            }
            TaskKind::Sleep => {
                let duration_ms = plan.mix.sleep_ms;
                (format!(r#"{{"kind":"sleep","payload":{{"duration_ms":{duration_ms}}}}}"#), None)
            }
        };
        let duplicate = falls_on(plan.mix.duplicate_one_in, sequence, 3);
        let abuses = [
            (Abuse::Conflict, falls_on(plan.mix.conflict_one_in, sequence, 4)),
            (Abuse::Oversize, falls_on(plan.mix.oversize_one_in, sequence, 5)),
        ];
        let abuses = abuses.into_iter().filter_map(|(abuse, falls)| falls.then_some(abuse)).collect();
        Self { idempotency_key: idempotency_key(&plan.run_id, sequence), body, duplicate, abuses, digest }
    }

    /// What the client tries to have accepted besides.
    pub(crate) fn abusive(&self, abuse: Abuse, plan: &LoadPlan, sequence: u64) -> Self {
        let (idempotency_key, text) = match abuse {
            Abuse::Conflict => (self.idempotency_key.clone(), conflicting_text(plan, sequence)),
            Abuse::Oversize => {
                let key = format!("{}-oversize", self.idempotency_key);
                (key, text(plan.seed, sequence, OVERSIZE_BYTES))
            }
        };
        let body = format!(r#"{{"kind":"digest","payload":{{"text":"{text}"}}}}"#);
        Self { idempotency_key, body, duplicate: false, abuses: Vec::new(), digest: None }
    }
}

pub(crate) fn idempotency_key(run_id: &str, sequence: u64) -> String {
    format!("{run_id}-{sequence}")
}

/// Different offsets keep kinds with a common divisor apart.
pub(crate) fn kind_of(mix: &TaskMix, sequence: u64) -> TaskKind {
    if falls_on(mix.poison_one_in, sequence, 0) {
        TaskKind::Poison
    } else if falls_on(mix.flaky_one_in, sequence, 1) {
        TaskKind::Flaky
    } else if falls_on(mix.sleep_one_in, sequence, 2) {
        TaskKind::Sleep
    } else {
        TaskKind::Digest
    }
}

fn falls_on(one_in: Option<std::num::NonZeroU32>, sequence: u64, offset: u64) -> bool {
    one_in.is_some_and(|n| sequence % u64::from(n.get()) == offset % u64::from(n.get()))
}

pub(crate) fn expectation(mix: &TaskMix, kind: TaskKind, max_receive_count: Option<u32>) -> Expectation {
    let dead_letters = match kind {
        TaskKind::Poison => true,
        TaskKind::Flaky => max_receive_count.is_some_and(|receives| mix.flaky_failures >= receives),
        TaskKind::Digest | TaskKind::Sleep => false,
    };
    if dead_letters { Expectation::DeadLetters } else { Expectation::Succeeds }
}

fn digest_body(plan: &LoadPlan, sequence: u64) -> (String, Option<Digest>) {
    let text = text(plan.seed, sequence, plan.mix.payload_bytes);
    let mut sha256 = Digest::default();
    sha256.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    (format!(r#"{{"kind":"digest","payload":{{"text":"{text}"}}}}"#), Some(sha256))
}

/// As long as the task's own, and one letter where that has none: it must not be refused for its length.
fn conflicting_text(plan: &LoadPlan, sequence: u64) -> String {
    let mut text = text(plan.seed, sequence, plan.mix.payload_bytes.saturating_sub(1));
    text.push(FOREIGN);
    text
}

/// Letters, digits and blanks only, so that it needs no escapes in JSON.
fn text(seed: u64, sequence: u64, bytes: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ sequence.wrapping_mul(SEED_STEP));
    (0..bytes).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn the_same_plan_and_sequence_make_the_same_task() {
        let plan = LoadPlan::default();
        let (one, other) = (Job::new(&plan, 7), Job::new(&plan, 7));
        assert_eq!((one.body, one.digest), (other.body, other.digest));
        assert_ne!(Job::new(&plan, 8).body, Job::new(&plan, 7).body);
    }

    #[test]
    fn one_in_n_means_exactly_that_and_kinds_do_not_collide() {
        let ten = NonZeroU32::new(10);
        let mix = TaskMix { poison_one_in: ten, flaky_one_in: ten, sleep_one_in: ten, ..TaskMix::default() };
        let kinds: Vec<_> = (0..100).map(|sequence| kind_of(&mix, sequence)).collect();
        for (kind, expected) in
            [(TaskKind::Poison, 10), (TaskKind::Flaky, 10), (TaskKind::Sleep, 10), (TaskKind::Digest, 70)]
        {
            assert_eq!(kinds.iter().filter(|found| **found == kind).count(), expected, "{kind:?}");
        }
    }

    #[test]
    fn an_abuse_differs_from_the_task_in_what_must_be_refused() {
        let mix = TaskMix {
            conflict_one_in: NonZeroU32::new(1),
            oversize_one_in: NonZeroU32::new(2),
            ..TaskMix::default()
        };
        let plan = LoadPlan { mix, ..LoadPlan::default() };
        let job = Job::new(&plan, 1);
        assert_eq!(job.abuses, [Abuse::Conflict, Abuse::Oversize]);
        let conflict = job.abusive(Abuse::Conflict, &plan, 1);
        assert_eq!(conflict.idempotency_key, job.idempotency_key);
        assert_ne!(conflict.body, job.body);
        let oversize = job.abusive(Abuse::Oversize, &plan, 1);
        assert_ne!(oversize.idempotency_key, job.idempotency_key);
        assert!(oversize.body.len() > OVERSIZE_BYTES);
        assert_eq!(Job::new(&plan, 2).abuses, [Abuse::Conflict]);
    }

    #[test]
    fn a_conflicting_body_is_another_one_of_the_same_length_however_short_the_task_s_is() {
        for payload_bytes in [0, 1, 2, 64] {
            let mix = TaskMix { payload_bytes, ..TaskMix::default() };
            let plan = LoadPlan { mix, ..LoadPlan::default() };
            for sequence in 0..100 {
                let job = Job::new(&plan, sequence);
                let conflict = job.abusive(Abuse::Conflict, &plan, sequence);
                assert_ne!(conflict.body, job.body, "{payload_bytes} bytes");
                assert_eq!(conflict.body.len(), job.body.len() + usize::from(payload_bytes == 0));
            }
        }
    }

    #[test]
    fn one_in_one_is_every_task() {
        let mix = TaskMix { flaky_one_in: NonZeroU32::new(1), ..TaskMix::default() };
        assert!((0..10).all(|sequence| kind_of(&mix, sequence) == TaskKind::Flaky));
    }

    #[test]
    fn a_flaky_task_that_outlasts_the_receives_is_expected_to_dead_letter() {
        let mix = TaskMix { flaky_failures: 5, ..TaskMix::default() };
        assert_eq!(expectation(&mix, TaskKind::Flaky, Some(5)), Expectation::DeadLetters);
        assert_eq!(expectation(&mix, TaskKind::Flaky, Some(6)), Expectation::Succeeds);
    }

    #[test]
    fn a_digest_body_carries_the_text_whose_sha256_is_expected() {
        let plan = LoadPlan::default();
        let job = Job::new(&plan, 3);
        let body: serde_json::Value = serde_json::from_str(&job.body).unwrap();
        let text = body["payload"]["text"].as_str().unwrap();
        assert_eq!(text.len(), plan.mix.payload_bytes);
        assert_eq!(job.digest.unwrap().as_slice(), digest(&SHA256, text.as_bytes()).as_ref());
    }
}
