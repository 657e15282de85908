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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::task::AbortHandle;

use self::alarms::Alarms;
use self::dashboards::Dashboards;
pub(crate) use self::failure::Bar;
use self::failure::Failure;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// High-resolution alarms are evaluated every 10 s, the others every minute.
const EVALUATION_STEP_MS: i64 = 10_000;

/// Metrics, alarms and dashboards of the account.
#[derive(Debug)]
pub struct CloudWatch {
    account: Account,
    evaluator: AbortHandle,
}

#[derive(Clone, Debug)]
struct Account {
    settings: Settings,
    alarms: Arc<Mutex<Alarms>>,
    dashboards: Arc<Mutex<Dashboards>>,
}

impl CloudWatch {
    /// Starts the evaluation of alarms on the account's clock.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let account =
            Account { settings: settings.clone(), alarms: Arc::default(), dashboards: Arc::default() };
        let evaluator = tokio::spawn(evaluate_forever(account.clone())).abort_handle();
        Self { account, evaluator }
    }

    /// The state of an alarm (`OK`, `ALARM`, `INSUFFICIENT_DATA`), for services that stop on it.
    #[must_use]
    pub fn alarm_state(&self, arn: &str) -> Option<&'static str> {
        self.account.alarms().state_by_arn(arn)
    }
}

/// A call that IAM does not let through, refused in the protocol of the call.
pub(crate) fn barred(request: &AwsRequest, bar: Bar, message: String) -> AwsResponse {
    protocol::refuse(request, &Failure::barred(bar, message))
}

impl Service for CloudWatch {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            match protocol::read(&request) {
                Ok(call) => {
                    let outcome = self.account.call(&call.operation, &call.input);
                    protocol::write(&call, outcome)
                }
                Err(refused) => refused.answer(),
            }
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.evaluator.abort();
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
            "DescribeAlarms" => self.alarms().describe(input),
            "DescribeAlarmsForMetric" => self.alarms().describe_for_metric(input),
            "DescribeAlarmHistory" => self.alarms().history(input),
            "DeleteAlarms" => self.alarms().delete(settings, input),
            "SetAlarmState" => self.alarms().set_state(settings, input),
            "EnableAlarmActions" => self.alarms().enable_actions(input, true),
            "DisableAlarmActions" => self.alarms().enable_actions(input, false),
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
    let clock = &account.settings.clock;
    loop {
        let next_ms = (clock.now_ms().div_euclid(EVALUATION_STEP_MS) + 1) * EVALUATION_STEP_MS;
        clock.sleep_until(next_ms).await;
        account.alarms().evaluate(&account.settings, next_ms);
    }
}
