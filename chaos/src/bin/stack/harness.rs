//! Who the harness is in a demo: a role that may do what the plan says, and nothing else. So every demo proves the policy that
//! `chaos plan` prints.

use std::fmt::Display;
use std::path::PathBuf;

use chaos::cloud::{CallError, Cloud};
use chaos::experiment::{self, Experiment};
use chaos::iam::RolePolicy;
use chaos::plan::{Plan, plan};
use loadtest::stack::Stack;

use crate::calls;
use crate::error::StackError;
use crate::workdir::Workdir;

const ROLE: &str = "chaos-harness";
const POLICY: &str = "planned";

/// What is wrong with a file is told before anything is started.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Experiment>, StackError> {
    experiment::load(files).map_err(cannot("read"))
}

pub(crate) struct Harness {
    pub(crate) role_arn: String,
    pub(crate) plan: Plan,
}

impl Harness {
    /// Makes the role for these experiments.
    pub(crate) fn prepare(workdir: &Workdir, experiments: &[Experiment]) -> Result<Self, StackError> {
        let stack = Stack::load(workdir.stack_file()).map_err(StackError::unreadable("the stack"))?;
        let plan = plan(experiments, &stack).map_err(cannot("plan"))?;
        let created =
            calls::runtime("the answers of IAM")?.block_on(create(&stack, &plan.policy.to_string()));
        created.map_err(StackError::unreadable("the answers of IAM"))?;
        Ok(Self { role_arn: format!("arn:aws:iam::{}:role/{ROLE}", stack.account_id), plan })
    }
}

/// For `map_err`.
fn cannot<E: Display>(action: &'static str) -> impl FnOnce(E) -> StackError {
    move |error| StackError::Experiments { action, reason: error.to_string() }
}

async fn create(stack: &Stack, policy: &str) -> Result<(), CallError> {
    let iam = Cloud::connect(stack.endpoint.as_deref(), &stack.region).await.iam;
    iam.create_role(ROLE, &stack.account_id).await?;
    iam.put(RolePolicy { role: ROLE, name: POLICY }, policy).await
}
