//! The token that is given: no experiment may outlast it.

use std::time::Duration;

use loadtest::stack::Stack;
use loadtest::{GIVEN_TOKEN_SLACK, TOKEN_VARIABLE, given_token_left};

use super::{Finding, Intent};
use crate::plan::plan;

/// Of each experiment, beyond what is planned: metrics of AWS are waited for up to three minutes, and what is nowhere for two
/// before it is called lost.
const JUDGING_MAX: Duration = Duration::from_secs(300);

/// Where the stack has a key of its own, tokens are made for as long as they are needed.
pub(super) fn look(stack: &Stack, intent: Intent<'_>) -> Option<Finding> {
    let left = given_token_left(stack)?;
    // What does not fit the stack has been told by the plan.
    let planned_seconds = plan(intent.experiments, stack).map_or(0.0, |plan| plan.seconds_max);
    let planned = Duration::try_from_secs_f64(planned_seconds).unwrap_or_default();
    let judging = intent.experiments.iter().map(|_| JUDGING_MAX).sum::<Duration>();
    Some(judge(left, planned + judging + GIVEN_TOKEN_SLACK))
}

fn judge(left: Duration, needed: Duration) -> Finding {
    let (left_seconds, needed_seconds) = (left.as_secs(), needed.as_secs());
    let detail = format!(
        "the one in {TOKEN_VARIABLE} ends in {left_seconds} s, and is needed for {needed_seconds} s at most"
    );
    Finding::new("token", left >= needed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_ends_before_the_experiments_do_is_refused() {
        let needed = Duration::from_secs(600);
        assert!(judge(needed, needed).holds);
        let finding = judge(Duration::from_secs(599), needed);
        let told = "refused token: the one in TASKS_TOKEN ends in 599 s, and is needed for 600 s at most";
        assert_eq!(finding.to_string(), told);
    }
}
