//! The functions of the account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rand::RngExt as _;
use serde_json::Value;

use super::FaultTarget;
use super::error::LambdaError;
use super::event_config::EventConfig;
use super::exec::Pool;
use super::model::{FunctionConfig, Phase, describe};
use super::names::FunctionRef;
use super::options::Options;
use super::policy::Policy;
use super::rate::InvocationRate;
use crate::settings::Random;

/// "Pending" and "InProgress" last this long: AWS takes seconds, a laptop need not.
pub(crate) const SETTLE_MS: i64 = 100;
pub(crate) const LATEST: &str = "$LATEST";

/// One version with its environments. Nothing of it changes but its revision.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) pool: Arc<Pool>,
    /// Until it is active. AWS then gives another; both are chosen with the call, which may have to be made again.
    pub(crate) first_revision_id: String,
    pub(crate) revision_id: String,
    pub(crate) modified_ms: i64,
    pub(crate) active_at_ms: i64,
}

impl Version {
    pub(crate) fn phase(&self, now_ms: i64) -> Phase {
        if now_ms < self.active_at_ms { Phase::Pending } else { Phase::Ready }
    }

    pub(crate) fn describe(&self, now_ms: i64) -> Value {
        self.describe_in(self.phase(now_ms))
    }

    fn describe_in(&self, phase: Phase) -> Value {
        describe(&self.pool.spec, self.revision_in(phase), self.modified_ms, phase)
    }

    fn revision_in(&self, phase: Phase) -> &str {
        match phase {
            Phase::Pending | Phase::Updating => &self.first_revision_id,
            Phase::Ready => &self.revision_id,
        }
    }

    fn revision_mut(&mut self, phase: Phase) -> &mut String {
        match phase {
            Phase::Pending | Phase::Updating => &mut self.first_revision_id,
            Phase::Ready => &mut self.revision_id,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Alias {
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) revision_id: String,
    pub(crate) routing: Option<Routing>,
}

impl Alias {
    /// Whether it sends anything to this version, or might.
    pub(crate) fn names(&self, version: &str) -> bool {
        self.version == version || self.routing.as_ref().is_some_and(|routing| routing.version == version)
    }
}

/// The second version of an alias, and its share of the invocations: 0 is none of them, 1 all.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    pub(crate) version: String,
    pub(crate) weight: f64,
}

impl Routing {
    /// Whether the lot falls on the second version.
    fn takes(&self, random: &Random) -> bool {
        random.with(|random| random.random::<f64>()) < self.weight
    }
}

/// The version that one invocation runs.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) version: Arc<Version>,
    /// By lot: the alias has a second one.
    is_routed: bool,
}

impl Chosen {
    /// What is measured of it beside the alias, where that alone does not tell.
    pub(crate) fn executed_version(&self) -> Option<&str> {
        self.is_routed.then_some(self.version.pool.spec.version.as_str())
    }
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) arn: String,
    pub(crate) latest: Arc<Version>,
    /// An update in progress: invocations use the previous code until it is active.
    pub(crate) next: Option<Arc<Version>>,
    pub(crate) versions: BTreeMap<u64, Arc<Version>>,
    pub(crate) last_version: u64,
    /// The configuration of `$LATEST` of which the last version was made. That one may have a description of its own.
    pub(crate) published: Option<FunctionConfig>,
    pub(crate) aliases: BTreeMap<String, Alias>,
    pub(crate) reserved: Option<u32>,
    pub(crate) tags: BTreeMap<String, String>,
    /// By qualifier; "" for the function itself.
    pub(crate) policies: BTreeMap<String, Policy>,
    /// By qualifier; that of `$LATEST` is the function's own.
    pub(crate) event_configs: BTreeMap<String, EventConfig>,
    pub(crate) running: Arc<AtomicU32>,
    /// Of a function with reserved concurrency.
    pub(crate) rate: InvocationRate,
}

impl Function {
    fn settle(&mut self, now_ms: i64) {
        if let Some(version) = self.next.take_if(|next| next.active_at_ms <= now_ms) {
            self.latest.pool.close();
            self.latest = version;
        }
    }

    pub(crate) fn phase(&self, now_ms: i64) -> Phase {
        if self.next.is_some() { Phase::Updating } else { self.latest.phase(now_ms) }
    }

    /// What GetFunction shows: the newest configuration, in force or not.
    pub(crate) fn shown(&self) -> &Arc<Version> {
        self.next.as_ref().unwrap_or(&self.latest)
    }

    pub(crate) fn describe(&self, now_ms: i64) -> Value {
        self.shown().describe_in(self.phase(now_ms))
    }

    pub(crate) fn revision_id(&self, now_ms: i64) -> &str {
        self.shown().revision_in(self.phase(now_ms))
    }

    /// Of the function itself, a version or an alias, each of which has one: its policy has the same.
    pub(crate) fn revision_mut(&mut self, qualifier: Option<&str>, now_ms: i64) -> Option<&mut String> {
        let Some(qualifier) = qualifier.filter(|qualifier| *qualifier != LATEST) else {
            let phase = self.phase(now_ms);
            let shown = self.next.as_mut().unwrap_or(&mut self.latest);
            return Some(Arc::make_mut(shown).revision_mut(phase));
        };
        if let Some(alias) = self.aliases.get_mut(qualifier) {
            return Some(&mut alias.revision_id);
        }
        let version = self.versions.get_mut(&qualifier.parse().ok()?)?;
        let phase = version.phase(now_ms);
        Some(Arc::make_mut(version).revision_mut(phase))
    }

    /// The version behind a qualifier (version, alias, `$LATEST` or none). Of an alias with two it is the first.
    pub(crate) fn version(&self, qualifier: Option<&str>) -> Option<&Arc<Version>> {
        let Some(qualifier) = qualifier.filter(|qualifier| *qualifier != LATEST) else {
            return Some(&self.latest);
        };
        let number = self.aliases.get(qualifier).map_or(qualifier, |alias| alias.version.as_str());
        if number == LATEST {
            return Some(&self.latest);
        }
        self.versions.get(&number.parse().ok()?)
    }

    /// A numbered version, written as it is shown.
    pub(crate) fn published(&self, number: &str) -> Option<&Arc<Version>> {
        self.versions.get(&number.parse().ok()?).filter(|version| version.pool.spec.version == number)
    }

    /// The version that the next invocation runs.
    pub(crate) fn choose(&self, qualifier: Option<&str>, random: &Random) -> Option<Chosen> {
        let routing = self.routing(qualifier);
        let second = routing.filter(|routing| routing.takes(random)).map(|routing| routing.version.as_str());
        let version = Arc::clone(self.version(second.or(qualifier))?);
        Some(Chosen { version, is_routed: routing.is_some() })
    }

    fn routing(&self, qualifier: Option<&str>) -> Option<&Routing> {
        self.aliases.get(qualifier?)?.routing.as_ref()
    }

    /// The longest of the versions that an invocation may run.
    fn timeout_seconds(&self, qualifier: Option<&str>) -> Option<u32> {
        let of = |version: &Arc<Version>| version.pool.spec.config.timeout_seconds;
        let second = self.routing(qualifier).and_then(|routing| self.published(&routing.version));
        Some(of(self.version(qualifier)?).max(second.map_or(0, of)))
    }

    /// The bytes of the packages of all its versions.
    pub(crate) fn code_bytes(&self) -> usize {
        let versions = std::iter::once(self.shown()).chain(self.versions.values());
        versions.map(|version| version.pool.spec.code.size).sum()
    }

    pub(crate) fn pools(&self) -> impl Iterator<Item = Arc<Pool>> {
        let versions = self.next.iter().chain([&self.latest]).chain(self.versions.values());
        versions.map(|version| Arc::clone(&version.pool))
    }

    fn fault_target(&self, qualifier: Option<&str>) -> Option<FaultTarget> {
        let spec = &self.version(qualifier)?.pool.spec;
        let location =
            spec.config.environment.as_ref().and_then(|all| all.get("AWS_FIS_CONFIGURATION_LOCATION"));
        Some(FaultTarget {
            name: spec.name.clone(),
            arn: self.arn.clone(),
            configuration_location: location.cloned(),
        })
    }
}

/// How much of the account's concurrency is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) executions: u32,
    /// Those of functions without reserved concurrency.
    pub(crate) unreserved: u32,
    /// Kept for functions, used or not.
    reserved: u32,
}

impl Taken {
    /// What is not there for invocations on demand.
    pub(crate) const fn claimed(self) -> u32 {
        self.reserved.saturating_add(self.unreserved)
    }
}

/// Counts one running invocation while it lives.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) function: Arc<AtomicU32>,
    /// When it began, with itself.
    pub(crate) taken: Taken,
    account: Arc<AtomicU32>,
    unreserved: Option<Arc<AtomicU32>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.function.fetch_sub(1, Ordering::SeqCst);
        self.account.fetch_sub(1, Ordering::SeqCst);
        if let Some(unreserved) = &self.unreserved {
            unreserved.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) functions: BTreeMap<String, Function>,
    running: Arc<AtomicU32>,
    unreserved_running: Arc<AtomicU32>,
    unreserved_rate: InvocationRate,
}

/// Whether the caller waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Synchronous,
    Asynchronous,
}

impl Store {
    /// The function, with an update that is due put in force.
    pub(crate) fn get(&mut self, name: &str, now_ms: i64) -> Option<&mut Function> {
        let function = self.functions.get_mut(name)?;
        function.settle(now_ms);
        Some(function)
    }

    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        self.functions.values().flat_map(Function::pools).collect()
    }

    pub(crate) fn reserved_total(&self) -> u32 {
        self.functions.values().filter_map(|function| function.reserved).sum()
    }

    /// Takes one unit of concurrency or says which limit is reached. A reservation is both a guarantee and a cap.
    pub(crate) fn enter(
        &self,
        function: &Function,
        options: &Options,
        kind: Kind,
        now_ms: i64,
    ) -> Result<Running, LambdaError> {
        let is_too_often =
            |rate: &InvocationRate, limit| kind == Kind::Synchronous && !rate.admits(limit, now_ms);
        let reserved = self.reserved_total();
        let unreserved = match function.reserved {
            Some(limit) => {
                if function.running.load(Ordering::SeqCst) >= limit {
                    return Err(LambdaError::throttled("ReservedFunctionConcurrentInvocationLimitExceeded"));
                }
                if is_too_often(&function.rate, limit) {
                    return Err(LambdaError::throttled("ReservedFunctionInvocationRateLimitExceeded"));
                }
                None
            }
            None => {
                let limit = options.account_concurrency.saturating_sub(reserved);
                if self.unreserved_running.load(Ordering::SeqCst) >= limit {
                    return Err(LambdaError::throttled("ConcurrentInvocationLimitExceeded"));
                }
                if is_too_often(&self.unreserved_rate, limit) {
                    return Err(LambdaError::throttled("FunctionInvocationRateLimitExceeded"));
                }
                self.unreserved_running.fetch_add(1, Ordering::SeqCst);
                Some(Arc::clone(&self.unreserved_running))
            }
        };
        function.running.fetch_add(1, Ordering::SeqCst);
        let executions = self.running.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let taken =
            Taken { executions, unreserved: self.unreserved_running.load(Ordering::SeqCst), reserved };
        Ok(Running {
            function: Arc::clone(&function.running),
            taken,
            account: Arc::clone(&self.running),
            unreserved,
        })
    }

    pub(crate) fn timeout_seconds(&mut self, reference: &str, now_ms: i64) -> Option<u32> {
        let wanted = FunctionRef::parse(reference)?;
        self.get(&wanted.name, now_ms)?.timeout_seconds(wanted.qualifier.as_deref())
    }

    pub(crate) fn role_arn(&self, reference: &str) -> Option<String> {
        let wanted = FunctionRef::parse(reference)?;
        let version = self.functions.get(&wanted.name)?.version(wanted.qualifier.as_deref())?;
        Some(version.pool.spec.config.role.clone())
    }

    pub(crate) fn fault_target(&self, name: &str, qualifier: Option<&str>) -> Option<FaultTarget> {
        self.functions.get(name)?.fault_target(qualifier)
    }

    pub(crate) fn fault_targets_tagged(&self, tags: &BTreeMap<String, String>) -> Vec<FaultTarget> {
        let carries =
            |function: &&Function| tags.iter().all(|(key, value)| function.tags.get(key) == Some(value));
        self.functions.values().filter(carries).filter_map(|function| function.fault_target(None)).collect()
    }
}
