//! CloudWatch: metrics, alarms that are really evaluated, and dashboards, over three protocols.

mod alarms;
mod cbor;
mod dashboards;
mod data;
mod evaluate;
mod failure;
mod form;
mod get_metric_data;
mod math;
mod protocol;
mod queries;
mod request;
mod statistic;
#[cfg(test)]
mod tests;
mod times;
mod unit;
mod window;
mod xml;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;
use tokio::task::AbortHandle;

use self::alarms::Alarms;
pub use self::alarms::Functions;
use self::dashboards::Dashboards;
pub(crate) use self::failure::Bar;
use self::failure::Failure;
use self::protocol::Call;
#[cfg(test)]
pub(crate) use self::protocol::cbor_call;
use crate::settings::Settings;
use crate::threads::Threads;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// High-resolution alarms are evaluated every 10 s, the others every minute.
const EVALUATION_STEP_MS: i64 = 10_000;

/// Reads and computes as much as a caller likes.
const READ: &str = "GetMetricData";
/// How many of them may hold a thread and their datapoints at once.
const READS_MAX: usize = 4;

/// Metrics, alarms and dashboards of the account.
#[derive(Debug)]
pub struct CloudWatch {
    account: Account,
    reads: Threads,
    evaluator: OnceLock<AbortHandle>,
}

#[derive(Clone, Debug)]
struct Account {
    settings: Settings,
    alarms: Arc<Mutex<Alarms>>,
    dashboards: Arc<Mutex<Dashboards>>,
}

impl CloudWatch {
    /// No alarm is evaluated before the service begins.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let account =
            Account { settings: settings.clone(), alarms: Arc::default(), dashboards: Arc::default() };
        Self { account, reads: Threads::at_most(READS_MAX), evaluator: OnceLock::new() }
    }

    /// Without them the alarms invoke nothing.
    pub fn set_functions(&self, functions: Arc<dyn Functions>) {
        self.account.alarms().set_functions(functions);
    }

    /// The state of an alarm (`OK`, `ALARM`, `INSUFFICIENT_DATA`), for services that stop on it.
    #[must_use]
    pub fn alarm_state(&self, arn: &str) -> Option<&'static str> {
        self.account.alarms().state_by_arn(arn)
    }

    /// A read is on a thread of its own, so that it keeps no other call of the account waiting.
    async fn answer(&self, call: &Call) -> Result<Value, Failure> {
        call.check_size()?;
        if call.operation != READ {
            return self.account.call(&call.operation, &call.input);
        }
        let (account, input) = (self.account.clone(), call.input.clone());
        let ended = self.reads.run(move || account.call(READ, &input)).await;
        ended.unwrap_or_else(|error| Err(Failure::internal(error.to_string())))
    }
}

/// A call that IAM does not let through, refused in the protocol of the call.
pub(crate) fn barred(request: &AwsRequest, bar: Bar, message: String) -> AwsResponse {
    protocol::refuse(request, &Failure::barred(bar, message))
}

/// Whether a call asks for what AWS shows only to who may see it of all alarms.
pub(crate) fn may_show_composite_alarms(request: &AwsRequest) -> bool {
    protocol::read(request).is_ok_and(|call| alarms::may_show_composites(&call.input))
}

/// The operation that a call asks for, in whichever protocol the service will read it. None of what is no call.
pub(crate) fn operation(request: &AwsRequest) -> Option<String> {
    protocol::operation(request)
}

/// The members of a call, freed from its protocol. Null for what is no call: it will be refused.
pub(crate) fn input(request: &AwsRequest) -> Value {
    protocol::read(request).map(|call| call.input).unwrap_or_default()
}

impl Service for CloudWatch {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            match protocol::read(&request) {
                Ok(call) => {
                    let outcome = self.answer(&call).await;
                    protocol::write(&call, outcome)
                }
                Err(refused) => refused.answer(),
            }
        })
    }

    /// Alarms are evaluated on the account's clock from now on.
    fn begin(&self) {
        self.evaluator.get_or_init(|| tokio::spawn(evaluate_forever(self.account.clone())).abort_handle());
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        if let Some(evaluator) = self.evaluator.get() {
            evaluator.abort();
        }
        Box::pin(async {})
    }
}

impl Account {
    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dashboards(&self) -> MutexGuard<'_, Dashboards> {
        self.dashboards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, operation: &str, input: &Value) -> Result<Value, Failure> {
        let settings = &self.settings;
        match operation {
            "PutMetricData" => data::put_metric_data(settings, input),
            "GetMetricData" => get_metric_data::get_metric_data(settings, input),
            "GetMetricStatistics" => data::get_metric_statistics(settings, input),
            "ListMetrics" => data::list_metrics(settings, input),
            "PutMetricAlarm" => self.alarms().put(settings, input),
            "PutCompositeAlarm" => self.alarms().put_composite(settings, input),
            "DescribeAlarms" => self.alarms().describe(input),
            "DescribeAlarmsForMetric" => self.alarms().describe_for_metric(input),
            "DescribeAlarmHistory" => self.alarms().history(input),
            "DeleteAlarms" => self.alarms().delete(settings, input),
            "SetAlarmState" => self.alarms().set_state(settings, input),
            "EnableAlarmActions" => self.alarms().enable_actions(settings, input, true),
            "DisableAlarmActions" => self.alarms().enable_actions(settings, input, false),
            "ListTagsForResource" => self.alarms().list_tags(input),
            "TagResource" => self.alarms().tag(input),
            "UntagResource" => self.alarms().untag(input),
            "PutDashboard" => self.dashboards().put(settings, input),
            "GetDashboard" => self.dashboards().get(input),
            "DeleteDashboards" => self.dashboards().delete(input),
            "ListDashboards" => self.dashboards().list(input),
            _ => Err(Failure::unknown_operation(operation)),
        }
    }
}

async fn evaluate_forever(account: Account) {
    let (clock, held_back) = (&account.settings.clock, account.alarms().held_back());
    let mut step_ms = next_step(clock.now_ms());
    loop {
        let due_ms = account.alarms().due_ms().map_or(step_ms, |due_ms| due_ms.min(step_ms));
        tokio::select! {
            () = clock.sleep_until(due_ms) => {}
            // Something may be due earlier than it thought. A step whose time has come is still taken.
            () = held_back.notified() => continue,
        }
        account.alarms().release(&account.settings, due_ms);
        if due_ms == step_ms {
            account.alarms().evaluate(&account.settings, step_ms);
            step_ms = next_step(clock.now_ms());
        }
    }
}

fn next_step(now_ms: i64) -> i64 {
    (now_ms.div_euclid(EVALUATION_STEP_MS) + 1) * EVALUATION_STEP_MS
}
