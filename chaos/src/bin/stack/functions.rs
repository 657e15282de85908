//! The functions of a stack, as Lambda shows them.

use std::time::{Duration, Instant};

use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use base64::Engine;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::calls;
use crate::emulator::Ready;
use crate::error::StackError;
use crate::soak::median;
use crate::steps::LOOK_INTERVAL;

const UPDATE_LIMIT: Duration = Duration::from_secs(30);
/// An odd number has a middle one.
const COLD_STARTS: u32 = 9;
/// The function whose cold starts are measured: it builds the most clients.
const COLD_FUNCTION: &str = "process-task";
/// An SQS event without records: nothing is done, so that only the start is measured.
const EMPTY_EVENT: &str = r#"{"Records":[]}"#;

#[derive(Debug)]
pub(crate) struct Functions {
    client: aws_sdk_lambda::Client,
    runtime: Runtime,
    cold_function: String,
    mapping_id: String,
}

impl Functions {
    pub(crate) fn of(stack: &Value, ready: &Ready) -> Result<Self, StackError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(text(&stack["region"])))
            .endpoint_url(&ready.endpoint)
            .credentials_provider(Credentials::new("test", "test", None, None, "static"))
            .build();
        Ok(Self {
            client: aws_sdk_lambda::Client::from_conf(config),
            runtime: calls::runtime("functions")?,
            cold_function: text(&stack["functions"][COLD_FUNCTION]["name"]),
            mapping_id: text(&stack["event_source_mapping_id"]),
        })
    }

    /// Returns once the mapping is disabled, so that nothing of the worker is in the figures that follow.
    pub(crate) fn pause_worker(&self) -> Result<(), StackError> {
        let disabled = self.runtime.block_on(self.disable_mapping());
        disabled.map_err(StackError::unreadable("the event source mapping"))
    }

    async fn disable_mapping(&self) -> Result<(), String> {
        let id = &self.mapping_id;
        let update = self.client.update_event_source_mapping().uuid(id).enabled(false);
        update.send().await.map_err(|error| text(&error))?;
        let until = Instant::now() + UPDATE_LIMIT;
        while Instant::now() < until {
            let found = self.client.get_event_source_mapping().uuid(id).send().await;
            if found.map_err(|error| text(&error))?.state() == Some("Disabled") {
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(format!("not disabled within {} s", UPDATE_LIMIT.as_secs()))
    }

    /// The median over fresh environments of what Lambda reports as init plus duration.
    pub(crate) fn cold_start_ms(&self) -> Result<f64, StackError> {
        let mut measured = Vec::new();
        for round in 0..COLD_STARTS {
            let started = self.runtime.block_on(self.one_cold_start(round));
            measured.push(started.map_err(StackError::unreadable("a cold start"))?);
        }
        Ok(median(&measured))
    }

    /// A change of configuration retires every warm environment, on AWS as here.
    async fn one_cold_start(&self, round: u32) -> Result<f64, String> {
        let (lambda, name) = (&self.client, &self.cold_function);
        let change = lambda.update_function_configuration().function_name(name);
        change.description(format!("cold start {round}")).send().await.map_err(|error| text(&error))?;
        let updated = lambda.wait_until_function_updated_v2().function_name(name);
        updated.wait(UPDATE_LIMIT).await.map_err(|error| text(&error))?;
        let invoked = lambda.invoke().function_name(name).payload(Blob::new(EMPTY_EVENT));
        let answer = invoked.log_type(LogType::Tail).send().await.map_err(|error| text(&error))?;
        let log = base64::engine::general_purpose::STANDARD.decode(answer.log_result.unwrap_or_default());
        let log = String::from_utf8_lossy(&log.map_err(|error| error.to_string())?).into_owned();
        let field = |name: &str| reported(&log, name).ok_or_else(|| format!("no {name} in {log}"));
        Ok(field("Init Duration: ")? + field("\tDuration: ")?)
    }
}

/// Of an error of the SDK only the source says what happened.
fn text(error: &dyn std::error::Error) -> String {
    format!("{error}: {:?}", error.source())
}

/// A number of milliseconds in a REPORT line.
fn reported(log: &str, field: &str) -> Option<f64> {
    let report = log.lines().find(|line| line.starts_with("REPORT"))?;
    let value = &report[report.find(field)? + field.len()..];
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_line_gives_its_durations() {
        let log = "START RequestId: 1\nREPORT RequestId: 1\tDuration: 3.01 ms\tBilled Duration: 4 ms\tInit Duration: 110.10 ms\t\n";
        assert_eq!(reported(log, "\tDuration: "), Some(3.01));
        assert_eq!(reported(log, "Init Duration: "), Some(110.10));
        assert_eq!(reported("END RequestId: 1\n", "Duration: "), None);
    }
}
