//! The account's concurrency, which all functions of the account and Region share.

use aws_sdk_lambda::types::ScalingConfig;
use loadtest::stack::Stack;

use super::Finding;
use crate::cloud::{CallError, Cloud};
use crate::fault::{Lever, Placed};

/// AWS refuses a reservation that leaves less to the functions without one; where the whole limit is lower, one that leaves
/// less than all of it.
const UNRESERVED_MIN: i64 = 100;

pub(super) async fn look(cloud: &Cloud, stack: &Stack, placed: &[Placed]) -> Result<Vec<Finding>, CallError> {
    let operation = "lambda:GetAccountSettings";
    let found = cloud.lambda.get_account_settings().send().await.map_err(CallError::of(operation))?;
    let limit = found.account_limit().ok_or_else(|| CallError::new(operation, "no limit answered"))?;
    let all = limit.concurrent_executions();
    let unreserved = limit.unreserved_concurrent_executions().unwrap_or(all);
    let mut findings = vec![of_worker(all, maximum(cloud, stack).await?)];
    for Placed { lever, .. } in placed {
        if let Lever::ReservedConcurrency(wanted) = lever {
            let own = lever.read(cloud).await?.as_i64().unwrap_or_default();
            let left = i64::from(unreserved) + own - i64::from(wanted.concurrency);
            findings.push(of_reservation(&wanted.function, left, all.into()));
        }
    }
    Ok(findings)
}

async fn maximum(cloud: &Cloud, stack: &Stack) -> Result<Option<i32>, CallError> {
    let call = cloud.lambda.get_event_source_mapping().uuid(&stack.event_source_mapping_id);
    let found = call.send().await.map_err(CallError::of("lambda:GetEventSourceMapping"))?;
    Ok(found.scaling_config().and_then(ScalingConfig::maximum_concurrency))
}

/// Where a backlog can take all of the limit, batches are throttled and use up their receives, and so are clients, whatever
/// the fault is.
fn of_worker(all: i32, maximum: Option<i32>) -> Finding {
    let name = "concurrency";
    match maximum {
        None => Finding::new(name, true, format!("{all} in the account; the worker has no maximum")),
        Some(maximum) => {
            let detail = format!("{all} in the account, which must be more than the worker's {maximum}");
            Finding::new(name, all > maximum, detail)
        }
    }
}

fn of_reservation(function: &str, left: i64, all: i64) -> Finding {
    let needed = UNRESERVED_MIN.min(all);
    let detail = format!("that of {function} leaves {left} unreserved, and AWS keeps {needed}");
    Finding::new("reserved concurrency", left >= needed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_could_take_the_whole_account_is_refused() {
        for (all, maximum, holds) in
            [(1000, Some(50), true), (10, Some(50), false), (50, Some(50), false), (10, None, true)]
        {
            assert_eq!(of_worker(all, maximum).holds, holds, "{all}, {maximum:?}");
        }
    }

    #[test]
    fn a_reservation_that_aws_would_refuse_is_refused_before() {
        for (left, all, holds) in [(100, 1000, true), (99, 1000, false), (10, 10, true), (9, 10, false)] {
            assert_eq!(of_reservation("worker", left, all).holds, holds, "{left} of {all}");
        }
    }
}
