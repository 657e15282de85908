//! From what an experiment file says to the setting of the resource that it means, on this stack.

use std::collections::HashMap;
use std::time::Duration;

use loadtest::stack::{Function, Queue, Stack, Table};

use super::fis::{DELAY_PARAMETER, PERCENT_PARAMETER, STATUS_PARAMETER};
use super::policy::{QUEUE_DATA_PLANE, TABLE_DATA_PLANE};
use super::{
    FisAction, HttpThrottle, Lever, Mapping, MappingChange, OnDemandCap, ProvisionedCapacity, QueueDeny,
    QueueVisibility, ReservedConcurrency, RolePermission, TableDeny,
};
use crate::clock::whole_seconds;
use crate::experiment::{Experiment, FaultKind, FaultSpec, Span};

/// A denial is dated when it is applied: nobody knows before when its turn comes.
const UNDATED: u64 = 0;
const PERCENT_DEFAULT: u8 = 100;
/// Twelve hours, as SQS allows.
const VISIBILITY_SECONDS_MAX: u32 = 43_200;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ResolveError {
    #[error("{kind}: the stack has no {what} named `{target}`; it has {known}")]
    NoTarget { kind: &'static str, what: &'static str, target: String, known: String },
    #[error("{kind}: the stack was made without fault injection; FIS cannot reach its functions")]
    NoFaultInjection { kind: &'static str },
    #[error(
        "{experiment}: two faults change the {setting} at the same time; the first that ends would put back what the second found"
    )]
    SameSetting { experiment: String, setting: String },
}

/// A fault on the timeline of its experiment, in this stack's time.
#[derive(Clone, Debug)]
pub struct Placed {
    pub spec: FaultSpec,
    pub lever: Lever,
    pub start: Duration,
    pub duration: Duration,
}

impl Placed {
    fn end(&self) -> Duration {
        self.start + self.duration
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

/// All faults of an experiment. `token` tells this run's FIS templates from all others.
pub fn place(
    experiment: &Experiment,
    stack: &Stack,
    visibility_timeout: Duration,
    token: &str,
) -> Result<Vec<Placed>, ResolveError> {
    let mut all: Vec<Placed> = Vec::new();
    for (index, spec) in experiment.fault_specs().enumerate() {
        let start = spec.start.resolve(visibility_timeout);
        let duration = spec.duration.resolve(visibility_timeout);
        let token = format!("{token}-{}-{index}", experiment.name);
        let lever = resolve(spec, stack, Timing { duration, visibility_timeout }, token)?;
        let placed = Placed { spec: spec.clone(), lever, start, duration };
        let setting = placed.lever.setting();
        let is_shared = |other: &Placed| other.lever.setting() == setting && other.overlaps(&placed);
        if let Some(setting) = setting.clone().filter(|_| all.iter().any(is_shared)) {
            return Err(ResolveError::SameSetting { experiment: experiment.name.clone(), setting });
        }
        all.push(placed);
    }
    Ok(all)
}

#[derive(Clone, Copy)]
struct Timing {
    duration: Duration,
    visibility_timeout: Duration,
}

fn resolve(spec: &FaultSpec, stack: &Stack, timing: Timing, token: String) -> Result<Lever, ResolveError> {
    let target = Targets { spec, stack };
    Ok(match spec.kind {
        FaultKind::FisInvocationError
        | FaultKind::FisInvocationDelay
        | FaultKind::FisHttpResponse
        | FaultKind::FisAction => Lever::Fis(fis_action(&target, timing.duration, token)?),
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
                visibility_seconds: visibility_seconds(spec, timing.visibility_timeout),
            })
        }
        FaultKind::QueueDeny => {
            let queue = target.queue()?;
            Lever::QueueDeny(QueueDeny {
                queue_url: queue.url.clone(),
                queue_arn: queue.arn.clone(),
                actions: actions(spec, &QUEUE_DATA_PLANE),
                until_ms: UNDATED,
            })
        }
        FaultKind::RolePermission => {
            let function = target.function()?;
            Lever::RolePermission(RolePermission {
                role_arn: function.role_arn.clone(),
                actions: spec.actions.clone(),
                until_ms: UNDATED,
            })
        }
        FaultKind::TableDeny => {
            let table = target.table()?;
            Lever::TableDeny(TableDeny {
                table: table.name.clone(),
                table_arn: table.arn.clone(),
                actions: actions(spec, &TABLE_DATA_PLANE),
                until_ms: UNDATED,
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
        parameters.insert(PERCENT_PARAMETER.into(), percent.to_string());
    }
    if let Some(prevent) = spec.prevent_execution {
        parameters.insert("preventExecution".into(), prevent.to_string());
    }
    if let Some(delay_ms) = spec.delay_ms {
        parameters.insert(DELAY_PARAMETER.into(), delay_ms.to_string());
    }
    if let Some(status) = spec.status_code {
        parameters.insert(STATUS_PARAMETER.into(), status.to_string());
        parameters.insert("contentTypeHeader".into(), "application/json".into());
    }
    Ok(FisAction {
        token,
        role_arn: injection.role_arn.clone(),
        function_arn: target.function()?.arn.clone(),
        action_id: spec.fis_action_id().unwrap_or_default().into(),
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

/// In whole seconds, as SQS takes them.
fn visibility_seconds(spec: &FaultSpec, visibility_timeout: Duration) -> u32 {
    let asked = spec.visibility_timeout.unwrap_or(Span::ZERO).resolve(visibility_timeout);
    u32::try_from(whole_seconds(asked)).unwrap_or(VISIBILITY_SECONDS_MAX).min(VISIBILITY_SECONDS_MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = r#"{"region":"us-east-1","account_id":"123456789012","http_url":"https://h","websocket_url":"wss://w",
      "http_api":{"id":"abc","stage":"$default"},"websocket_api":{"id":"def","stage":"live"},
      "functions":{"process-task":{"name":"p","arn":"arn:p","role_arn":"arn:aws:iam::123456789012:role/p","timeout_seconds":10}},
      "queues":{"tasks":{"url":"u","arn":"arn:q"}},"tables":{"tasks":{"name":"t","arn":"arn:t"}},
      "event_source_mapping_id":"uuid","auth":{"issuer":"i","audience":"a"}}"#;
    const VISIBILITY: Duration = Duration::from_secs(6);

    fn placed(faults: &str) -> Result<Vec<Placed>, ResolveError> {
        let head = "name = \"e\"\nhypothesis = \"h\"\n[load]\nrate_per_second = 1\nduration = \"9s\"\nsettle = \"9s\"\n";
        let experiment: Experiment = toml::from_str(&format!("{head}{faults}")).unwrap();
        place(&experiment, &serde_json::from_str(STACK).unwrap(), VISIBILITY, "run")
    }

    fn narrowed(start: &str, concurrency: u32) -> String {
        format!(
            "[[fault]]\nkind = \"mapping-maximum-concurrency\"\ntarget = \"process-task\"\nstart = \"{start}\"\n\
             duration = \"5s\"\nconcurrency = {concurrency}\n"
        )
    }

    #[test]
    fn two_faults_on_one_setting_at_one_time_are_refused() {
        let error = placed(&(narrowed("1s", 2) + &narrowed("5s", 3))).unwrap_err();
        assert!(error.to_string().contains("maximum concurrency of the event source mapping"), "{error}");
        assert_eq!(
            placed(&(narrowed("1s", 2) + &narrowed("6s", 3))).unwrap().len(),
            2,
            "one after the other"
        );
        let disabled = "[[fault]]\nkind = \"mapping-disabled\"\ntarget = \"process-task\"\nstart = \"1s\"\nduration = \"5s\"\n";
        assert_eq!(placed(&(narrowed("1s", 2) + disabled)).unwrap().len(), 2, "another setting");
    }

    #[test]
    fn a_visibility_timeout_in_receives_is_so_many_times_what_it_was() {
        let all = placed(
            "[[fault]]\nkind = \"queue-visibility-timeout\"\ntarget = \"tasks\"\nstart = \"0s\"\nduration = \"5s\"\n\
             visibility_timeout = \"4 receives\"\n",
        );
        let Lever::QueueVisibility(lever) = &all.unwrap()[0].lever else { panic!("another lever") };
        assert_eq!(lever.visibility_seconds, 24);
    }
}
