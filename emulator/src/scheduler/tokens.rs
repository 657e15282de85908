//! Client tokens: a call that comes again, as a client makes it that lost the answer, gets that answer and changes nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Key;
use crate::repeatable;

/// AWS does not say for how long it knows a token. Longer than any client tries.
const KEPT_MS: i64 = 3_600_000;
/// Before these rules only CreateSchedule asked for its token.
pub(super) const RULES_OF_TOKENS: u32 = 5;

/// What a token is of. A group has no name besides its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    CreateSchedule,
    UpdateSchedule,
    DeleteSchedule,
    CreateGroup,
    DeleteGroup,
}

/// The last token of each call about each thing, with the answer.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeMap<(Call, Key), Answered>);

#[derive(Debug)]
struct Answered {
    token: String,
    at_ms: i64,
    answer: Value,
}

impl Tokens {
    /// The answer that the call with this token had.
    pub(super) fn answer(&self, call: Call, key: &Key, token: Option<&str>, now_ms: i64) -> Option<Value> {
        if call != Call::CreateSchedule && repeatable::is_older_than(RULES_OF_TOKENS) {
            return None;
        }
        let last = self.0.get(&(call, key.clone()))?;
        // A second creation or deletion that was kept came in time: late, it would have been refused. A change would not.
        let was_in_time = repeatable::is_repeated() && call != Call::UpdateSchedule;
        let is_known = now_ms - last.at_ms < KEPT_MS || was_in_time;
        (token == Some(last.token.as_str()) && is_known).then(|| last.answer.clone())
    }

    pub(super) fn keep(&mut self, call: Call, key: Key, token: Option<String>, now_ms: i64, answer: &Value) {
        let Some(token) = token else { return };
        if !repeatable::is_repeated() {
            self.0.retain(|_, last| now_ms - last.at_ms < KEPT_MS);
        }
        self.0.insert((call, key), Answered { token, at_ms: now_ms, answer: answer.clone() });
    }

    /// Of a thing that was deleted, or is made again: what came before is not about it.
    pub(super) fn forget(&mut self, calls: &[Call], key: &Key) {
        for call in calls {
            self.0.remove(&(*call, key.clone()));
        }
    }

    /// Of the schedules that go with their group.
    pub(super) fn forget_schedules(&mut self, group: &str) {
        self.0.retain(|(call, (of, _)), _| {
            of != group || !matches!(call, Call::CreateSchedule | Call::UpdateSchedule)
        });
    }
}
