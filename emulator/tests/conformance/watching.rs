//! CloudWatch: alarms whose state is set, and statistics that cannot be read. The texts are recorded.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::ProvideErrorMetadata;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{ComparisonOperator, MetricAlarm, StateValue, Statistic};

use crate::world::{Made, World};

const NAMESPACE: &str = "conformance";
const HOUR_SECONDS: i64 = 3_600;
const DAY_SECONDS: i64 = 86_400;

async fn described(metrics: &Client, alarm: &str) -> MetricAlarm {
    let found = metrics.describe_alarms().alarm_names(alarm).send().await.unwrap();
    found.metric_alarms.unwrap().pop().unwrap()
}

pub(crate) async fn an_alarm_has_the_state_that_it_was_given(world: &World) {
    let metrics = Client::new(&world.config);
    let name = world.name("alarm");
    world.made(Made::Alarm(name.clone()));
    let alarm = metrics.put_metric_alarm().alarm_name(&name).namespace(NAMESPACE).metric_name("none");
    let alarm = alarm.statistic(Statistic::Sum).period(60).evaluation_periods(1).threshold(1.0);
    let alarm = alarm.comparison_operator(ComparisonOperator::GreaterThanThreshold);
    // Without data its state is left alone.
    alarm.treat_missing_data("ignore").send().await.unwrap();
    let found = described(&metrics, &name).await;
    assert_eq!(found.state_value(), Some(&StateValue::InsufficientData));
    assert_eq!(found.state_reason(), Some("Unchecked: Initial alarm creation"));
    let set = |state| metrics.set_alarm_state().alarm_name(&name).state_value(state).state_reason("as asked");
    for state in [StateValue::Alarm, StateValue::Ok] {
        set(state.clone()).send().await.unwrap();
        let found = described(&metrics, &name).await;
        assert_eq!((found.state_value(), found.state_reason()), (Some(&state), Some("as asked")));
    }
    let error = set(StateValue::from("INVALID")).send().await.unwrap_err();
    assert_eq!(error.code(), Some("ValidationError"), "{error:?}");
    assert_eq!(
        error.message(),
        Some(
            "1 validation error detected: Value 'INVALID' at 'stateValue' failed to satisfy constraint: \
             Member must satisfy enum value set: [INSUFFICIENT_DATA, ALARM, OK]"
        )
    );
}

pub(crate) async fn an_alarm_that_is_not_there_has_no_state(world: &World) {
    let metrics = Client::new(&world.config);
    let set = metrics.set_alarm_state().alarm_name(world.name("alarm")).state_value(StateValue::Ok);
    let error = set.state_reason("as asked").send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found());
}

pub(crate) async fn statistics_that_cannot_be_are_refused(world: &World) {
    let metrics = Client::new(&world.config);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = i64::try_from(now).unwrap();
    let read = |from, to, period| {
        let request = metrics.get_metric_statistics().namespace(NAMESPACE).metric_name("none");
        let request = request.start_time(DateTime::from_secs(from)).end_time(DateTime::from_secs(to));
        request.period(period).statistics(Statistic::Sum).send()
    };
    assert!(read(now - HOUR_SECONDS, now, 60).await.unwrap().datapoints().is_empty());
    let error = read(now - DAY_SECONDS, now, 1).await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterCombination"), "{error:?}");
    assert_eq!(
        error.message(),
        Some(
            "You have requested up to 86400 datapoints, which exceeds the limit of 1440. \
             You may reduce the datapoints requested by increasing Period, or decreasing the time range."
        )
    );
    let error = read(now, now - HOUR_SECONDS, 60).await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"), "{error:?}");
    assert_eq!(error.message(), Some("The parameter StartTime must be less than the parameter EndTime."));
}
