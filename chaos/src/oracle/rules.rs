//! What the oracle judges by, and which tasks must be in the dead-letter queue and may be by it.

use std::collections::HashMap;
use std::time::Duration;

use loadtest::TaskStatus;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fact::{Answer, EntryFact, LetterFact, RecordFact};
use super::judge::Case;
use crate::clock::millis;
use crate::experiment::DlqRule;

#[derive(Clone, Copy, Debug, Default)]
pub struct QueueRules {
    pub visibility_timeout: Duration,
    pub max_receive_count: u64,
    /// How far the clock of the receives may be off.
    pub slack: Duration,
}

/// While a fault was in effect, as measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    pub from_ms: u64,
    pub to_ms: u64,
}

/// How the dead letters are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    By(DlqRule),
    /// The dead letters went back and all is quiet: only what can never succeed may be there again.
    AfterRedrive,
}

/// `must ⊆ found ⊆ may` for dead letters; set equality where both are the same.
#[derive(Clone, Debug)]
pub struct Rules {
    pub dead_letters: Ending,
    /// Each time that the worker could not run at all.
    pub throttled: Vec<Window>,
    pub queue: QueueRules,
    /// The measured end of the last fault: what was acknowledged before it is the backlog.
    pub faults_end_ms: Option<u64>,
    /// From then on no fault keeps a receive from the workers; `None` where no such time is known.
    pub calm_from_ms: Option<u64>,
    /// Share of final tasks whose end no push need have told.
    pub missed_pushes_percent_max: f64,
    /// While an owner had no socket to push to.
    pub absences: Absences,
}

/// The push follows the move in the table: a socket that is lost within this time took the push with it.
const PUSH_MAX_MS: u64 = 1_000;
/// The index by which connections are found is eventually consistent: a new one may stay unseen for a moment.
const CONNECTION_UNSEEN_MAX_MS: u64 = 2_000;

/// How often the auditor looks by its schedule. Each of its looks counts as a receive, and an audit that takes so long that
/// it meets a dead letter twice counts twice.
const AUDIT_EVERY_MS: u64 = 60_000;
/// A dead letter that became one within the time between two audits can have been spared by so many of those that
/// [`looks_max`] reckons with: the first, and one at the edge.
pub(super) const LOOKS_SPARED_MAX: u64 = 2;
/// A worker that dies of the last receive writes nothing down.
pub(super) const RECEIVES_UNSEEN_MAX: u64 = 1;

/// The most looks of the auditor that can be among the receives of a dead letter: as if it had been one from the first.
pub(super) fn looks_max(created_at_ms: u64, at_ms: u64) -> u64 {
    at_ms.saturating_sub(created_at_ms) / AUDIT_EVERY_MS + 1
}

/// What is known of how often a dead letter was received before it became one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receives {
    /// Less often than is allowed, whoever has looked at it.
    TooFew,
    /// As often as is allowed.
    Enough,
    /// Nothing speaks against it, and at most a look or two, or the last receive, against the proof.
    Likely,
    /// The auditor's looks may stand for receives that never were.
    Untold,
}

/// When each owner was away. Pushes go to who is there; who comes back reads what it missed.
#[derive(Clone, Debug, Default)]
pub struct Absences(HashMap<String, Vec<Window>>);

impl Absences {
    pub fn of(absences: &[loadtest::Absence]) -> Self {
        let mut of_owners: HashMap<String, Vec<Window>> = HashMap::new();
        for absence in absences {
            let to_ms = absence.to_ms.map_or(u64::MAX, |to_ms| to_ms + CONNECTION_UNSEEN_MAX_MS);
            let window = Window { from_ms: absence.from_ms.saturating_sub(PUSH_MAX_MS), to_ms };
            of_owners.entry(absence.owner.clone()).or_default().push(window);
        }
        Self(of_owners)
    }

    pub(super) fn cover(&self, owner: &str, at_ms: u64) -> bool {
        let windows = self.0.get(owner).into_iter().flatten();
        windows.into_iter().any(|window| (window.from_ms..=window.to_ms).contains(&at_ms))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) must: bool,
    pub(super) may: bool,
    /// How many requests for it say so by the clock alone.
    pub(super) by_clock: Option<(u64, u64)>,
}

impl Rules {
    pub(super) fn fate(&self, case: &Case) -> Fate {
        let mut fate = self.ending(case);
        match self.dead_letters {
            Ending::By(DlqRule::ReceiveCounts) if !self.throttled.is_empty() => {
                self.by_receive_counts(&mut fate, case);
            }
            Ending::By(DlqRule::Deliveries) => {
                fate.may |= case.record.is_some_and(|record| self.is_used_up(&record));
            }
            Ending::By(DlqRule::OwnReceives) => fate.may |= self.is_letter_used_up(case),
            Ending::By(DlqRule::Poison | DlqRule::ReceiveCounts) | Ending::AfterRedrive => {}
        }
        fate
    }

    /// Acknowledged ones that end there must be there, those of unknown fate may be.
    fn ending(&self, case: &Case) -> Fate {
        let ends = |entry: &&EntryFact| match self.dead_letters {
            Ending::By(_) => entry.is_poison,
            Ending::AfterRedrive => entry.is_hopeless,
        };
        let must = case.acknowledged().any(|entry| ends(&entry));
        let mut unknown =
            case.entries.iter().filter(|entry| entry.is_named && entry.answer == Answer::Unknown);
        Fate { must, may: must || unknown.any(|entry| ends(&entry)), by_clock: None }
    }

    /// SQS hands out a message no more often than this: what a worker saw on its last receive may be a dead letter next.
    fn is_used_up(&self, record: &RecordFact) -> bool {
        u64::from(record.deliveries) >= self.queue.max_receive_count
    }

    /// By SQS's own count, the looks of the auditor included: a worker may have acknowledged an older receive than the last.
    fn is_letter_used_up(&self, case: &Case) -> bool {
        case.letters.iter().any(|letter| u64::from(letter.receives) >= self.queue.max_receive_count)
    }

    /// A worker may have written down the last receive, the clock may demand it, or the count may be beyond all looks.
    pub(super) fn receives(&self, case: &Case, letter: &LetterFact, at_ms: u64) -> Receives {
        let (allowed, counted) = (self.queue.max_receive_count, u64::from(letter.receives));
        if counted < allowed {
            return Receives::TooFew;
        }
        let seen = case.record.map_or(0, |record| u64::from(record.deliveries));
        let least = counted.saturating_sub(looks_max(letter.created_at_ms, at_ms));
        if seen >= allowed || least >= allowed || self.is_due(case) {
            Receives::Enough
        } else if seen + RECEIVES_UNSEEN_MAX >= allowed || least + LOOKS_SPARED_MAX >= allowed {
            Receives::Likely
        } else {
            Receives::Untold
        }
    }

    /// It was asked for when no fault could keep a receive of it from the workers.
    pub(super) fn is_calm(&self, case: &Case) -> bool {
        let sent_at_ms = case.acknowledged().next_back().and_then(EntryFact::sent_at_ms);
        sent_at_ms.zip(self.calm_from_ms).is_some_and(|(sent_at_ms, from_ms)| sent_at_ms >= from_ms)
    }

    /// Its receives were used up while the worker was throttled, by the clock, and nobody did it before.
    fn is_due(&self, case: &Case) -> bool {
        let may = |entry: &EntryFact| self.receive_fate(entry).1;
        self.dead_letters == Ending::By(DlqRule::ReceiveCounts)
            && !self.throttled.is_empty()
            && case.status() != Some(TaskStatus::Succeeded)
            && case.acknowledged().any(may)
    }

    /// The clock first, with a margin on both sides; inside of it the receives that workers saw decide.
    fn by_receive_counts(&self, fate: &mut Fate, case: &Case) {
        let (mut must_by_clock, mut may_by_clock) = (u64::from(fate.must), u64::from(fate.may));
        for entry in case.acknowledged().filter(|entry| !entry.is_poison) {
            let (must, may) = self.receive_fate(entry);
            must_by_clock += u64::from(must);
            may_by_clock += u64::from(may);
            if !may {
                continue;
            }
            match case.record {
                Some(record)
                    if record.status == TaskStatus::Succeeded
                        && !self.is_used_up(&record)
                        && !self.is_letter_used_up(case) => {}
                Some(record) if record.deliveries > 0 => fate.may = true,
                _ => (fate.must, fate.may) = (true, true),
            }
        }
        fate.by_clock = Some((must_by_clock, may_by_clock));
    }

    /// A throttled consumer's pollers keep receiving, and each receive counts: the first at once, then one per visibility
    /// timeout. After `maxReceiveCount` of them the next one sends the message to the dead-letter queue. Whether it must, and
    /// whether it may be there, by any of the times.
    fn receive_fate(&self, entry: &EntryFact) -> (bool, bool) {
        let (Some(sent_at_ms), Some(answered_at_ms)) = (entry.sent_at_ms(), entry.answered_at_ms()) else {
            return (false, true);
        };
        let life_ms = millis(self.queue.visibility_timeout).saturating_mul(self.queue.max_receive_count);
        let slack_ms = millis(self.queue.slack);
        let must = |window: &Window| {
            let surely_inside = sent_at_ms >= window.from_ms + slack_ms;
            surely_inside && answered_at_ms + life_ms + slack_ms < window.to_ms
        };
        let may = |window: &Window| sent_at_ms + life_ms < window.to_ms + slack_ms;
        (self.throttled.iter().any(must), self.throttled.iter().any(may))
    }
}
