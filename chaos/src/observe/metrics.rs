//! CloudWatch sums.

use std::time::Duration;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric as CloudWatchMetric, MetricDataQuery, MetricDataResult, MetricStat,
};

use crate::clock::now_ms;
use crate::cloud::{CallError, Cloud};

const PERIOD_SECONDS: i32 = 60;
pub(crate) const MINUTE_MS: u64 = 60_000;
/// Metrics of AWS may carry the minute after; those of the emulator are there at once.
const MARGIN: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub namespace: &'static str,
    pub name: &'static str,
    pub dimensions: Vec<(&'static str, String)>,
}

/// The sum from the beginning of the minute of `from_ms` until now. Periods are whole minutes, so what happened earlier in
/// that minute counts as well: take the difference of two sums.
pub async fn sum_since(cloud: &Cloud, metric: &Metric, from_ms: u64) -> Result<f64, CallError> {
    let results = results_since(cloud, metric, from_ms).await?;
    Ok(results.iter().flat_map(|result| result.values()).sum())
}

/// The sum of these minutes alone, each named by its beginning.
pub async fn sum_of_minutes(cloud: &Cloud, metric: &Metric, minutes_ms: &[u64]) -> Result<f64, CallError> {
    let Some(first_ms) = minutes_ms.iter().min() else { return Ok(0.0) };
    let results = results_since(cloud, metric, *first_ms).await?;
    let points = results.iter().flat_map(|result| result.timestamps().iter().zip(result.values()));
    Ok(points.filter(|(at, _)| is_among(minutes_ms, at)).map(|(_, value)| value).sum())
}

fn is_among(minutes_ms: &[u64], at: &DateTime) -> bool {
    let at_ms = at.to_millis().ok().and_then(|at_ms| u64::try_from(at_ms).ok());
    at_ms.is_some_and(|at_ms| minutes_ms.contains(&at_ms))
}

async fn results_since(
    cloud: &Cloud,
    metric: &Metric,
    from_ms: u64,
) -> Result<Vec<MetricDataResult>, CallError> {
    let operation = "cloudwatch:GetMetricData";
    let dimensions = metric.dimensions.iter();
    let dimensions = dimensions.map(|(name, value)| Dimension::builder().name(*name).value(value).build());
    let what = CloudWatchMetric::builder()
        .namespace(metric.namespace)
        .metric_name(metric.name)
        .set_dimensions(Some(dimensions.collect()))
        .build();
    let stat = MetricStat::builder().metric(what).period(PERIOD_SECONDS).stat("Sum").build();
    let query = MetricDataQuery::builder().id("sum").metric_stat(stat).return_data(true).build();
    let mut pages = cloud
        .cloudwatch
        .get_metric_data()
        .metric_data_queries(query)
        .start_time(date_time(from_ms / MINUTE_MS * MINUTE_MS))
        .end_time(date_time(now_ms() + crate::clock::millis(MARGIN)))
        .into_paginator()
        .send();
    let mut results = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(CallError::of(operation))?;
        results.extend_from_slice(page.metric_data_results());
    }
    Ok(results)
}

fn date_time(at_ms: u64) -> DateTime {
    DateTime::from_millis(i64::try_from(at_ms).unwrap_or(i64::MAX))
}
