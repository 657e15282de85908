//! Metric filters: what becomes of the lines of a group in CloudWatch.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::emf::LINE_BYTES_MAX;
use super::pattern::{Extractor, Message, Pattern, number};
use crate::metrics::{MetricId, Metrics, Resolution, is_dimension, is_value};

/// Those of a group, by name.
pub(super) type MetricFilters = BTreeMap<String, Arc<MetricFilter>>;

/// The value of a line that matches.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Fixed(f64),
    Extracted(Extractor),
}

/// A dimension of the metric, and what in a line is its value.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    pub(super) name: String,
    pub(super) selector: String,
    pub(super) extractor: Extractor,
}

#[derive(Clone, Debug)]
pub(super) struct Transformation {
    /// Without its dimensions.
    pub(super) metric: MetricId,
    /// As it was given.
    pub(super) value: String,
    pub(super) source: Source,
    pub(super) default_value: Option<f64>,
    pub(super) unit: Option<String>,
    pub(super) dimensions: Vec<Dimension>,
}

#[derive(Clone, Debug)]
pub(super) struct MetricFilter {
    pub(super) created_ms: i64,
    /// As it was given.
    pub(super) pattern_text: String,
    pub(super) pattern: Pattern,
    pub(super) transformation: Transformation,
    /// Then it is for logs that a transformer has changed, and there is no transformer.
    pub(super) is_on_transformed_logs: bool,
}

/// Records what the filters of a group make of one of its lines, in the minute of the line. Whoever writes a line waits
/// meanwhile: one that is too long for embedded metrics is too long for filters.
pub(super) fn record(filters: &MetricFilters, metrics: &Metrics, at_ms: i64, line: &str) {
    if line.len() > LINE_BYTES_MAX {
        return;
    }
    let message = Message::new(line);
    for filter in filters.values().filter(|filter| !filter.is_on_transformed_logs) {
        filter.record(metrics, at_ms, &message);
    }
}

impl MetricFilter {
    /// AWS adds the default value for each line that does not match, also in a minute in which others do.
    fn record(&self, metrics: &Metrics, at_ms: i64, message: &Message<'_>) {
        let transformation = &self.transformation;
        let is_match = self.pattern.matches(message);
        let value = if is_match { self.value(message) } else { transformation.default_value };
        let Some(value) = value.filter(|value| is_value(*value)) else { return };
        let unit = transformation.unit.as_deref().unwrap_or("None");
        let put = |id: &MetricId| metrics.record_weighted(at_ms, Resolution::Minute, id, value, 1.0, unit);
        if transformation.dimensions.is_empty() {
            put(&transformation.metric);
        } else if let Some(dimensions) = self.dimensions(message) {
            let MetricId { namespace, name, .. } = &transformation.metric;
            put(&MetricId::new(namespace.as_str(), name.as_str(), dimensions));
        }
    }

    /// None: what was extracted is no number.
    fn value(&self, message: &Message<'_>) -> Option<f64> {
        match &self.transformation.source {
            Source::Fixed(value) => Some(*value),
            Source::Extracted(extractor) => number(&self.pattern.extract(extractor, message)?),
        }
    }

    /// None: the line does not have all of them, or has one that no metric may have.
    fn dimensions(&self, message: &Message<'_>) -> Option<Vec<(String, String)>> {
        let extract = |dimension: &Dimension| {
            let value = self.pattern.extract(&dimension.extractor, message)?;
            is_dimension(&dimension.name, &value).then(|| (dimension.name.clone(), value.into_owned()))
        };
        self.transformation.dimensions.iter().map(extract).collect()
    }
}
