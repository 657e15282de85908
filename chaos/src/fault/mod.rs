//! Faults. Each is a lever: a setting of the stack that is read, moved, and put back to exactly what was read.

mod concurrency;
mod fis;
mod guard;
mod mapping;
mod policy;
mod provisioned;
mod queue;
mod resolve;
mod role;
mod stage;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use loadtest::stack::Stack;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use concurrency::ReservedConcurrency;
pub(crate) use fis::{
    CREATE_SERVICE_LINKED_ROLE, DELAY_PARAMETER, FIS_SERVICE, PERCENT_PARAMETER, STATUS_PARAMETER,
};
pub use fis::{FisAction, action_minutes};
pub(crate) use guard::chain;
pub use guard::{Guards, Recovered, RevertReport, Turn, recover, release};
pub use mapping::{Mapping, MappingChange};
pub use policy::{QueueDeny, TableDeny};
pub use provisioned::ProvisionedCapacity;
pub use queue::QueueVisibility;
pub use resolve::{Placed, ResolveError, place};
pub use role::RolePermission;
pub use stage::HttpThrottle;
pub use table::OnDemandCap;

use crate::clock::millis;
use crate::cloud::{CallError, Cloud};

/// A denial outlives its fault by this much when nobody releases it.
const DENIAL_MARGIN: Duration = Duration::from_secs(60);

/// One setting of one resource. `Value::Null` means that the setting is absent, which is never the same as zero.
trait Setting {
    async fn read(&self, cloud: &Cloud) -> Result<Value, CallError>;
    /// What the setting is while the fault is in effect.
    fn faulted(&self, prior: &Value) -> Result<Value, CallError>;
    /// Whether `found` is what the fault made of `prior`, and nobody has changed anything of it since.
    fn is_left(&self, prior: &Value, found: &Value) -> bool {
        // What cannot be faulted never was.
        self.faulted(prior).is_ok_and(|faulted| faulted == *found)
    }
    /// Returns once AWS says that the setting is in effect.
    async fn write(&self, cloud: &Cloud, value: &Value) -> Result<(), CallError>;
    /// The calls that the three functions above make: API action as IAM names it, and the resource.
    fn calls(&self) -> Vec<Call>;
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Call {
    pub action: &'static str,
    pub resource: String,
}

/// Everything that is needed to release a fault is in here, and so in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Lever {
    Fis(FisAction),
    ReservedConcurrency(ReservedConcurrency),
    Mapping(Mapping),
    HttpThrottle(HttpThrottle),
    OnDemandCap(OnDemandCap),
    ProvisionedCapacity(ProvisionedCapacity),
    QueueVisibility(QueueVisibility),
    QueueDeny(QueueDeny),
    TableDeny(TableDeny),
    RolePermission(RolePermission),
}

/// Calls the same function of whichever setting the lever is.
macro_rules! each {
    ($lever:expr, $setting:ident => $call:expr) => {
        match $lever {
            Lever::Fis($setting) => $call,
            Lever::ReservedConcurrency($setting) => $call,
            Lever::Mapping($setting) => $call,
            Lever::HttpThrottle($setting) => $call,
            Lever::OnDemandCap($setting) => $call,
            Lever::ProvisionedCapacity($setting) => $call,
            Lever::QueueVisibility($setting) => $call,
            Lever::QueueDeny($setting) => $call,
            Lever::TableDeny($setting) => $call,
            Lever::RolePermission($setting) => $call,
        }
    };
}

impl Lever {
    pub async fn read(&self, cloud: &Cloud) -> Result<Value, CallError> {
        each!(self, setting => setting.read(cloud).await)
    }

    pub async fn engage(&self, cloud: &Cloud, prior: &Value) -> Result<(), CallError> {
        each!(self, setting => setting.write(cloud, &setting.faulted(prior)?).await)
    }

    pub async fn put_back(&self, cloud: &Cloud, prior: &Value) -> Result<(), CallError> {
        each!(self, setting => setting.write(cloud, prior).await)
    }

    /// Whether the setting reads as the fault left it. FIS is asked whether our template is there.
    pub async fn is_engaged(&self, cloud: &Cloud) -> Result<bool, CallError> {
        let found = self.read(cloud).await?;
        Ok(match self {
            Self::Fis(_) => found.as_array().is_some_and(|templates| !templates.is_empty()),
            _ => self.is_as_faulted(&found),
        })
    }

    /// As it is applied by a fault that is to be over at that time: only then a denial has its date.
    fn dated(self, ends_at_ms: u64) -> Self {
        let until_ms = ends_at_ms.saturating_add(millis(DENIAL_MARGIN));
        match self {
            Self::QueueDeny(deny) => Self::QueueDeny(QueueDeny { until_ms, ..deny }),
            Self::TableDeny(deny) => Self::TableDeny(TableDeny { until_ms, ..deny }),
            Self::RolePermission(of) => Self::RolePermission(RolePermission { until_ms, ..of }),
            other => other,
        }
    }

    /// Why the fault is in effect no more although nobody put it back, where its service tells.
    pub async fn ended_early(&self, cloud: &Cloud) -> Result<Option<String>, CallError> {
        match self {
            Self::Fis(action) => action.ended_early(cloud).await,
            _ => Ok(None),
        }
    }

    /// The setting that is changed, in words; the same words for the same setting. Each FIS experiment is one of its own.
    pub(crate) fn setting(&self) -> Option<String> {
        Some(match self {
            Self::Fis(_) => return None,
            Self::ReservedConcurrency(of) => format!("reserved concurrency of {}", of.function),
            Self::Mapping(mapping) => match mapping.change {
                MappingChange::Disabled => "state of the event source mapping".into(),
                MappingChange::MaximumConcurrency { .. } => {
                    "maximum concurrency of the event source mapping".into()
                }
            },
            Self::HttpThrottle(throttle) => match &throttle.route {
                Some(route) => format!("throttle of {route}"),
                None => "throttle of the stage".into(),
            },
            Self::OnDemandCap(cap) => format!("cap of table {}", cap.table),
            Self::ProvisionedCapacity(capacity) => format!("capacity of table {}", capacity.table),
            Self::QueueVisibility(of) => format!("visibility timeout of queue {}", of.queue_arn),
            Self::QueueDeny(deny) => format!("policy of queue {}", deny.queue_arn),
            Self::TableDeny(deny) => format!("policy of table {}", deny.table),
            Self::RolePermission(of) => format!("policy of role {}", of.role_arn),
        })
    }

    /// What the setting reads as where a run that begins now could not tell its own fault from it: another run's fault is in
    /// effect, or was left, and would be taken for what must be put back; or the fault would change nothing.
    pub async fn read_if_faulted(&self, cloud: &Cloud) -> Result<Option<Value>, CallError> {
        // A template carries the token of its run, and ends by itself.
        if matches!(self, Self::Fis(_)) {
            return Ok(None);
        }
        let found = self.read(cloud).await?;
        Ok(self.is_as_faulted(&found).then_some(found))
    }

    /// Whether a recovery may write what was before over what it finds.
    fn is_left(&self, prior: &Value, found: &Value) -> bool {
        each!(self, setting => setting.is_left(prior, found))
    }

    /// Whether the setting reads as a fault of this kind leaves it, be it another run's.
    fn is_as_faulted(&self, found: &Value) -> bool {
        match self {
            Self::QueueDeny(_) | Self::TableDeny(_) => policy::has_denial(found),
            // The whole policy is a fault's: of another run it has another date.
            Self::RolePermission(_) => !found.is_null(),
            // What cannot be faulted is told when it is tried.
            _ => each!(self, setting => setting.faulted(found)).is_ok_and(|faulted| faulted == *found),
        }
    }

    /// Whether what it changes is one of the stack's resources.
    pub fn is_of(&self, stack: &Stack) -> bool {
        let function = |arn: &str| stack.functions.values().any(|function| function.arn == arn);
        let queue = |arn: &str| stack.queues.values().any(|queue| queue.arn == arn);
        let table = |arn: &str| stack.tables.values().any(|table| table.arn == arn);
        match self {
            Self::Fis(action) => function(&action.function_arn),
            Self::ReservedConcurrency(of) => function(&of.function_arn),
            Self::Mapping(mapping) => mapping.uuid == stack.event_source_mapping_id,
            Self::HttpThrottle(of) => of.api_id == stack.http_api.id,
            Self::OnDemandCap(cap) => table(&cap.table_arn),
            Self::ProvisionedCapacity(capacity) => table(&capacity.table_arn),
            Self::TableDeny(deny) => table(&deny.table_arn),
            Self::QueueVisibility(of) => queue(&of.queue_arn),
            Self::QueueDeny(deny) => queue(&deny.queue_arn),
            Self::RolePermission(of) => {
                stack.functions.values().any(|function| function.role_arn == of.role_arn)
            }
        }
    }

    pub fn calls(&self) -> Vec<Call> {
        each!(self, setting => setting.calls())
    }
}

fn call(action: &'static str, resource: impl Into<String>) -> Call {
    Call { action, resource: resource.into() }
}
