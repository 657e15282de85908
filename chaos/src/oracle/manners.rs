//! How the service behaves besides being right: does a failed attempt wait before the next one, is every end pushed, do
//! workers get every receive, and is what must be refused refused?
//!
//! Back-off, pushes and receives are judged by shares and not one by one: a random pause may be nearly nothing, a push is best
//! effort, and a worker may die before it writes a receive down. When the share is too large every task of it is named.

use loadtest::TaskStatus;

use super::Record;
use super::history::{Step, parse};

/// A pause drawn evenly from at least a second is shorter than this in at most three of ten cases.
pub const EAGER_GAP_MS: u64 = 300;
/// Of retries that may be eager by chance. Of 20 with a chance of three in ten each, more than half are in 2 of 100 runs;
/// with pauses in whole seconds, as SQS takes them, in none.
const EAGER_PERCENT_MAX: f64 = 50.0;
/// Fewer retries say nothing.
const RETRIES_MIN: u64 = 20;

/// Of dead letters whose last receive no worker wrote down, and no fault was in the way: workers that die of themselves are
/// fewer by far.
const UNSEEN_PERCENT_MAX: f64 = 50.0;
/// Fewer dead letters say nothing.
const LETTERS_MIN: u64 = 20;

/// Of final tasks whose end was pushed to nobody because their owner had no socket: a service that throws its clients out tells
/// nothing of its pushes, and a network that does so neither.
const AWAY_PERCENT_MAX: f64 = 50.0;

/// From each failed attempt until the next one began. A task that waited for its first attempt was not retried.
pub(super) fn retry_gaps_ms(record: &Record) -> impl Iterator<Item = u64> {
    let steps: Vec<Step> = record.history.iter().filter_map(|line| parse(line)).collect();
    let gaps = steps.windows(3).filter_map(|steps| match steps {
        [ran, failed, again]
            if (ran.status, failed.status, again.status)
                == (TaskStatus::Running, TaskStatus::Queued, TaskStatus::Running) =>
        {
            Some(again.at_ms.saturating_sub(failed.at_ms))
        }
        _ => None,
    });
    gaps.collect::<Vec<_>>().into_iter()
}

pub(super) fn are_too_eager(eager: u64, retries: u64) -> bool {
    retries >= RETRIES_MIN && percent(eager, retries) > EAGER_PERCENT_MAX
}

pub(super) fn are_too_many_unseen(unseen: u64, letters: u64) -> bool {
    letters >= LETTERS_MIN && percent(unseen, letters) > UNSEEN_PERCENT_MAX
}

pub(super) fn are_too_many_missed(missed: u64, all: u64, percent_max: f64) -> bool {
    percent(missed, all) > percent_max
}

pub(super) fn are_too_many_away(away: u64, ended: u64) -> bool {
    percent(away, ended) > AWAY_PERCENT_MAX
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
