//! The token that is given: it must be there and be readable, and no experiment may outlast it.

use std::time::Duration;

use loadtest::stack::Stack;
use loadtest::{GIVEN_TOKEN_SLACK, LoadError, TOKEN_VARIABLE, TokenSource, token_source};

use super::{Finding, Intent};
use crate::fault::chain;
use crate::plan::plan;

/// Of each experiment, beyond what is planned: metrics of AWS are waited for up to three minutes, and what is nowhere for two
/// before it is called lost.
const JUDGING_MAX: Duration = Duration::from_secs(300);

/// Where the stack has a key of its own, tokens are made for as long as they are needed.
pub(super) fn look(stack: &Stack, intent: Intent<'_>) -> Option<Finding> {
    // What does not fit the stack has been told by the plan.
    let planned_seconds = plan(intent.experiments, stack).map_or(0.0, |plan| plan.seconds_max);
    let planned = Duration::try_from_secs_f64(planned_seconds).unwrap_or_default();
    let judging = intent.experiments.iter().map(|_| JUDGING_MAX).sum::<Duration>();
    judge(token_source(stack), planned + judging + GIVEN_TOKEN_SLACK)
}

fn judge(source: Result<TokenSource, LoadError>, needed: Duration) -> Option<Finding> {
    let (holds, told) = match source {
        Ok(TokenSource::Key) => return None,
        Ok(TokenSource::Given { left: None }) => (true, "has no end".to_owned()),
        Ok(TokenSource::Given { left: Some(left) }) => {
            let (left_seconds, needed_seconds) = (left.as_secs(), needed.as_secs());
            let told = format!("ends in {left_seconds} s, and is needed for {needed_seconds} s at most");
            (left >= needed, told)
        }
        Err(error) => return Some(Finding::new("token", false, chain(&error))),
    };
    let detail =
        format!("the one in {TOKEN_VARIABLE} {told}; it is one owner's, and each file is played with one");
    Some(Finding::new("token", holds, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Duration = Duration::from_secs(600);

    fn given(left: Option<Duration>) -> Finding {
        judge(Ok(TokenSource::Given { left }), NEEDED).unwrap()
    }

    #[test]
    fn a_token_that_ends_before_the_experiments_do_is_refused() {
        assert!(given(Some(NEEDED)).holds && given(None).holds);
        let finding = given(Some(Duration::from_secs(599)));
        let told = "refused token: the one in TASKS_TOKEN ends in 599 s, and is needed for 600 s at most; \
                    it is one owner's, and each file is played with one";
        assert_eq!(finding.to_string(), told);
    }

    #[test]
    fn a_token_that_is_missing_or_names_no_owner_is_refused_where_none_can_be_made() {
        let refused = |error| judge(Err(error), NEEDED).unwrap().to_string();
        let missing = refused(LoadError::NoToken { variable: TOKEN_VARIABLE });
        assert!(
            missing.starts_with("refused token: the stack has no private key and TASKS_TOKEN"),
            "{missing}"
        );
        let nobody_s = refused(LoadError::NoSubject { variable: TOKEN_VARIABLE });
        assert!(nobody_s.starts_with("refused token: the token in TASKS_TOKEN is no JWT"), "{nobody_s}");
        assert_eq!(judge(Ok(TokenSource::Key), NEEDED), None);
    }
}
