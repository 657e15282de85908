//! From what an experiment file says to the setting of the resource that it means, on this stack.

use std::collections::HashMap;
use std::time::Duration;

use loadtest::stack::{Function, Queue, Stack, Table};

use super::policy::{QUEUE_DATA_PLANE, TABLE_DATA_PLANE};
use super::{
    FisAction, HttpThrottle, Lever, Mapping, MappingChange, OnDemandCap, ProvisionedCapacity, QueueDeny,
    QueueVisibility, ReservedConcurrency, RolePermission, TableDeny,
};
use crate::clock::{millis, now_ms, whole_seconds};
use crate::experiment::{FaultKind, FaultSpec};

/// A denial outlives its fault by this much when nobody releases it.
const DENIAL_MARGIN: Duration = Duration::from_secs(60);
const PERCENT_DEFAULT: u8 = 100;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    #[error("{kind}: the stack has no {what} named `{target}`; it has {known}")]
    NoTarget { kind: &'static str, what: &'static str, target: String, known: String },
    #[error("{kind}: the stack was made without fault injection; FIS cannot reach its functions")]
    NoFaultInjection { kind: &'static str },
}

pub fn resolve(
    spec: &FaultSpec,
    stack: &Stack,
    duration: Duration,
    token: String,
) -> Result<Lever, ResolveError> {
    let target = Targets { spec, stack };
    Ok(match spec.kind {
        FaultKind::FisInvocationError
        | FaultKind::FisInvocationDelay
        | FaultKind::FisHttpResponse
        | FaultKind::FisAction => Lever::Fis(fis_action(&target, duration, token)?),
        FaultKind::LambdaReservedConcurrency => {
            let function = target.function()?;
            Lever::ReservedConcurrency(ReservedConcurrency {
                function: function.name.clone(),
                function_arn: function.arn.clone(),
                concurrency: signed(spec.concurrency),
            })
        }
        FaultKind::MappingDisabled => Lever::Mapping(target.mapping(MappingChange::Disabled)),
        FaultKind::MappingMaximumConcurrency => {
            let concurrency = signed(spec.concurrency);
            Lever::Mapping(target.mapping(MappingChange::MaximumConcurrency { concurrency }))
        }
        FaultKind::HttpThrottle => Lever::HttpThrottle(HttpThrottle {
            api_id: stack.http_api.id.clone(),
            stage: stack.http_api.stage.clone(),
            route: spec.route.clone(),
            rate_per_second: spec.rate_per_second.unwrap_or_default(),
            burst: signed(spec.burst),
        }),
        FaultKind::TableOnDemandCap => {
            let table = target.table()?;
            Lever::OnDemandCap(OnDemandCap {
                table: table.name.clone(),
                table_arn: table.arn.clone(),
                read_units: spec.read_units.map(i64::from),
                write_units: spec.write_units.map(i64::from),
            })
        }
        FaultKind::TableProvisionedCapacity => {
            let table = target.table()?;
            Lever::ProvisionedCapacity(ProvisionedCapacity {
                table: table.name.clone(),
                table_arn: table.arn.clone(),
                read_units: i64::from(spec.read_units.unwrap_or(1)),
                write_units: i64::from(spec.write_units.unwrap_or(1)),
            })
        }
        FaultKind::QueueVisibilityTimeout => {
            let queue = target.queue()?;
            Lever::QueueVisibility(QueueVisibility {
                queue_url: queue.url.clone(),
                queue_arn: queue.arn.clone(),
                visibility_seconds: spec.visibility_seconds.unwrap_or_default(),
            })
        }
        FaultKind::QueueDeny => {
            let queue = target.queue()?;
            Lever::QueueDeny(QueueDeny {
                queue_url: queue.url.clone(),
                queue_arn: queue.arn.clone(),
                actions: actions(spec, &QUEUE_DATA_PLANE),
                until_ms: now_ms() + millis(duration + DENIAL_MARGIN),
            })
        }
        FaultKind::RolePermission => {
            let function = target.function()?;
            Lever::RolePermission(RolePermission {
                function: function.name.clone(),
                function_arn: function.arn.clone(),
                actions: spec.actions.clone(),
                until_ms: now_ms() + millis(duration + DENIAL_MARGIN),
            })
        }
        FaultKind::TableDeny => {
            let table = target.table()?;
            Lever::TableDeny(TableDeny {
                table: table.name.clone(),
                table_arn: table.arn.clone(),
                actions: actions(spec, &TABLE_DATA_PLANE),
                until_ms: now_ms() + millis(duration + DENIAL_MARGIN),
            })
        }
    })
}

fn fis_action(target: &Targets<'_>, duration: Duration, token: String) -> Result<FisAction, ResolveError> {
    let spec = target.spec;
    let injection = target.stack.fault_injection.as_ref();
    let injection = injection.ok_or(ResolveError::NoFaultInjection { kind: spec.kind.name() })?;
    let mut parameters: HashMap<String, String> = spec.parameters.clone().into_iter().collect();
    if spec.kind != FaultKind::FisAction {
        let percent = spec.percent.unwrap_or(PERCENT_DEFAULT);
        parameters.insert("invocationPercentage".into(), percent.to_string());
    }
    if let Some(prevent) = spec.prevent_execution {
        parameters.insert("preventExecution".into(), prevent.to_string());
    }
    if let Some(delay_ms) = spec.delay_ms {
        parameters.insert("startupDelayMilliseconds".into(), delay_ms.to_string());
    }
    if let Some(status) = spec.status_code {
        parameters.insert("statusCode".into(), status.to_string());
        parameters.insert("contentTypeHeader".into(), "application/json".into());
    }
    let action_id = match spec.kind {
        FaultKind::FisAction => spec.action_id.as_deref().unwrap_or_default(),
        FaultKind::FisInvocationDelay => "aws:lambda:invocation-add-delay",
        FaultKind::FisHttpResponse => "aws:lambda:invocation-http-integration-response",
        _ => "aws:lambda:invocation-error",
    };
    Ok(FisAction {
        token,
        role_arn: injection.role_arn.clone(),
        function_arn: target.function()?.arn.clone(),
        action_id: action_id.into(),
        duration_seconds: whole_seconds(duration),
        parameters,
    })
}

fn actions(spec: &FaultSpec, data_plane: &[&str]) -> Vec<String> {
    if spec.actions.is_empty() {
        data_plane.iter().map(|action| (*action).to_owned()).collect()
    } else {
        spec.actions.clone()
    }
}

/// The file's ranges keep every value far below the limit.
fn signed(value: Option<u32>) -> i32 {
    value.and_then(|value| i32::try_from(value).ok()).unwrap_or(i32::MAX)
}

struct Targets<'a> {
    spec: &'a FaultSpec,
    stack: &'a Stack,
}

impl<'a> Targets<'a> {
    fn function(&self) -> Result<&'a Function, ResolveError> {
        self.named("function", &self.stack.functions)
    }

    fn queue(&self) -> Result<&'a Queue, ResolveError> {
        self.named("queue", &self.stack.queues)
    }

    fn table(&self) -> Result<&'a Table, ResolveError> {
        self.named("table", &self.stack.tables)
    }

    fn mapping(&self, change: MappingChange) -> Mapping {
        Mapping { uuid: self.stack.event_source_mapping_id.clone(), change }
    }

    fn named<T>(
        &self,
        what: &'static str,
        all: &'a std::collections::BTreeMap<String, T>,
    ) -> Result<&'a T, ResolveError> {
        all.get(&self.spec.target).ok_or_else(|| ResolveError::NoTarget {
            kind: self.spec.kind.name(),
            what,
            target: self.spec.target.clone(),
            known: all.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}
