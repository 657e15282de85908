//! What AWS may do and a laptop never shows, done on purpose and by a seed: `emulator up --adversary SEED`.
//!
//! Every act is one that AWS documents, and each has a rate, a bound and a sentence in `docs/emulator.md`. The choice at
//! the n-th opportunity of an act is a function of seed, act and n alone, so that the acts do not disturb each other and
//! no lock is taken to choose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};

/// What the adversary may do. The comments quote AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// "More than one copy of a message might be delivered": once more, while it is in flight.
    DuplicateDelivery,
    /// "Occasionally [...] messages are delivered out of order."
    Reorder,
    /// "The copy of the message isn't deleted on that unavailable server, and you might get that message copy again."
    LateDelete,
    /// "The ApproximateNumberOf* metrics may not achieve consistency until at least 1 minute after the producers stop
    /// sending messages"; "changes to attributes can take up to 60 seconds to propagate".
    StaleAttributes,
    /// "Lambda terminates execution environments every few hours": do not assume that one persists.
    ColdStart,
    /// "410 GoneException: the connection with the provided id no longer exists": its network ended just now.
    GoneConnection,
    /// "When you perform an eventually consistent read, the response might not reflect the results of a recently
    /// completed write operation."
    StaleRead,
}

impl Act {
    pub const ALL: [Self; 7] = [
        Self::DuplicateDelivery,
        Self::Reorder,
        Self::LateDelete,
        Self::StaleAttributes,
        Self::ColdStart,
        Self::GoneConnection,
        Self::StaleRead,
    ];

    /// As the health answer and the documentation call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DuplicateDelivery => "duplicate_delivery",
            Self::Reorder => "reorder",
            Self::LateDelete => "late_delete",
            Self::StaleAttributes => "stale_attributes",
            Self::ColdStart => "cold_start",
            Self::GoneConnection => "gone_connection",
            Self::StaleRead => "stale_read",
        }
    }

    /// Once in so many opportunities, on average. Far more often than AWS does it: a run of minutes must meet each.
    #[must_use]
    pub const fn once_in(self) -> u64 {
        match self {
            Self::DuplicateDelivery => 50,
            Self::Reorder => 10,
            Self::LateDelete => 100,
            Self::StaleAttributes => 4,
            // A cold start costs a process: at 300 invocations a second this is one of them a second.
            Self::ColdStart => 300,
            // Every client that is cut off connects again: seldom enough that most of them stay.
            Self::GoneConnection => 500,
            Self::StaleRead => 20,
        }
    }
}

/// How far a duplicate lies behind the first delivery, at most.
pub const DUPLICATE_WITHIN_MS: u64 = 1_000;
/// How many messages a reordered one overtakes, at most.
pub const OVERTAKES_MAX: u64 = 20;
/// How old a stale answer is, at most. AWS allows a minute; a run must not wait for one.
pub const STALE_MS_MAX: i64 = 1_000;

/// The choices of one run. Without a seed it never does anything, and costs a test of a pointer.
#[derive(Clone, Debug, Default)]
pub struct Adversary(Option<Arc<Plan>>);

#[derive(Debug)]
struct Plan {
    seed: u64,
    /// Opportunities met and acts done, by act.
    met: [AtomicU64; Act::ALL.len()],
    done: [AtomicU64; Act::ALL.len()],
}

impl Adversary {
    #[must_use]
    pub fn from_seed(seed: Option<u64>) -> Self {
        Self(seed.map(|seed| Arc::new(Plan { seed, met: Default::default(), done: Default::default() })))
    }

    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Called at every opportunity. None: behave. Otherwise a number by which to choose how.
    #[must_use]
    pub fn strikes(&self, act: Act) -> Option<u64> {
        let plan = self.0.as_deref()?;
        let turn = plan.met[act as usize].fetch_add(1, Ordering::Relaxed);
        let dice = scramble(plan.seed ^ scramble(act as u64 + 1) ^ scramble(turn).rotate_left(17));
        if !dice.is_multiple_of(act.once_in()) {
            return None;
        }
        plan.done[act as usize].fetch_add(1, Ordering::Relaxed);
        Some(dice / act.once_in())
    }

    /// Proof of dose: the seed, and how often each act was possible and done. Null when off.
    #[must_use]
    pub fn show(&self) -> Value {
        let Some(plan) = self.0.as_deref() else { return Value::Null };
        let count = |counts: &[AtomicU64], act: Act| counts[act as usize].load(Ordering::Relaxed);
        let acts = Act::ALL.map(|act| {
            let counts = json!({ "met": count(&plan.met, act), "done": count(&plan.done, act) });
            (act.name().to_owned(), counts)
        });
        json!({ "seed": plan.seed, "acts": Map::from_iter(acts) })
    }
}

/// The finaliser of SplitMix64: every bit of the input changes half of the output's.
const fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURNS: usize = 20_000;

    fn choices(seed: u64, act: Act) -> Vec<Option<u64>> {
        let adversary = Adversary::from_seed(Some(seed));
        (0..TURNS).map(|_| adversary.strikes(act)).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_choices_and_another_seed_others() {
        for act in Act::ALL {
            assert_eq!(choices(7, act), choices(7, act));
            assert_ne!(choices(7, act), choices(8, act));
        }
    }

    #[test]
    fn one_act_does_not_disturb_the_choices_of_another() {
        let adversary = Adversary::from_seed(Some(7));
        let mixed: Vec<_> = (0..TURNS)
            .map(|_| (adversary.strikes(Act::Reorder), adversary.strikes(Act::LateDelete)).1)
            .collect();
        assert_eq!(mixed, choices(7, Act::LateDelete));
    }

    #[test]
    fn each_act_keeps_to_its_rate() {
        for act in Act::ALL {
            let done = choices(1, act).iter().flatten().count();
            let expected = TURNS / usize::try_from(act.once_in()).unwrap();
            assert!((expected / 2..expected * 2).contains(&done), "{act:?}: {done}, about {expected}");
        }
    }

    #[test]
    fn without_a_seed_nothing_ever_happens() {
        let off = Adversary::default();
        assert!(Act::ALL.iter().all(|act| (0..1_000).all(|_| off.strikes(*act).is_none())));
        assert_eq!(off.show(), Value::Null);
    }

    #[test]
    fn what_was_done_is_shown() {
        let adversary = Adversary::from_seed(Some(3));
        let done = (0..1_000).filter(|_| adversary.strikes(Act::Reorder).is_some()).count();
        let shown = &adversary.show()["acts"]["reorder"];
        assert_eq!((&shown["met"], &shown["done"]), (&json!(1_000), &json!(done)));
        assert!(done > 0);
    }
}
