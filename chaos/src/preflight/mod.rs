//! What must hold before anything is touched: the right account, nothing of production, a stack that is well, and a way to
//! tell this run's evidence from everything else. Only reads.

mod checks;
mod clock_skew;
mod concurrency;
mod earlier;
mod tags;
mod token;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use loadtest::stack::Stack;

use crate::cloud::{CallError, Cloud};
use crate::experiment::Experiment;
use crate::fault::{Placed, place};
use crate::run::queue_facts;

/// Of no run: nothing is made with it.
const TOKEN: &str = "preflight";

/// What is about to be run.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    pub experiments: &'a [Experiment],
    /// The folder of the folders of runs.
    pub runs: &'a Path,
    /// Whether a redrive may move dead letters that are there before the run.
    pub redrive_all: bool,
}

impl Intent<'_> {
    /// What does not fit the stack has been told by the plan.
    fn placed(&self, stack: &Stack) -> Vec<Placed> {
        let visibility = queue_facts(stack).map_or(Duration::ZERO, |queue| queue.visibility_timeout);
        let of_each = self.experiments.iter().flat_map(|one| place(one, stack, visibility, TOKEN));
        of_each.flatten().collect()
    }
}

/// One condition, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub name: &'static str,
    pub holds: bool,
    pub detail: String,
}

impl Finding {
    fn new(name: &'static str, holds: bool, detail: impl Into<String>) -> Self {
        Self { name, holds, detail: detail.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, holds, detail } = self;
        write!(f, "{} {name}: {detail}", if *holds { "ok     " } else { "refused" })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    #[error("the stack could not be looked at; nothing was touched")]
    Read(#[from] CallError),
    #[error("refused; nothing was touched\n{}", lines(.0))]
    Refused(Vec<Finding>),
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
}

/// All conditions, those that hold included.
pub async fn preflight(cloud: &Cloud, stack: &Stack, intent: Intent<'_>) -> Result<Vec<Finding>, CallError> {
    let (experiments, placed) = (intent.experiments, intent.placed(stack));
    let mut findings = vec![checks::account(cloud, &stack.account_id).await?];
    findings.push(tags::account(cloud).await?);
    findings.extend(tags::look(cloud, stack, experiments).await?);
    findings.push(checks::alarms(cloud, stack).await?);
    findings.extend(checks::fis(cloud, experiments).await?);
    findings.push(checks::visibility(cloud, stack).await?);
    findings.push(checks::dead_letters(cloud, stack, intent).await?);
    findings.extend(concurrency::look(cloud, stack, &placed).await?);
    findings.push(earlier::runs(intent.runs, stack));
    findings.push(earlier::settings(cloud, &placed).await?);
    findings.extend(token::look(stack, intent));
    findings.push(clock_skew::look(cloud, stack).await?);
    Ok(findings)
}

/// Fails with every condition that does not hold.
pub async fn must_hold(
    cloud: &Cloud,
    stack: &Stack,
    intent: Intent<'_>,
) -> Result<Vec<Finding>, PreflightError> {
    all_hold(preflight(cloud, stack, intent).await?)
}

/// Fails unless the credentials are of this account.
pub async fn account_must_be(cloud: &Cloud, account_id: &str) -> Result<(), PreflightError> {
    all_hold(vec![checks::account(cloud, account_id).await?]).map(drop)
}

fn all_hold(findings: Vec<Finding>) -> Result<Vec<Finding>, PreflightError> {
    let refused: Vec<Finding> = findings.iter().filter(|finding| !finding.holds).cloned().collect();
    if refused.is_empty() { Ok(findings) } else { Err(PreflightError::Refused(refused)) }
}
