//! Rules such as `p99<500ms for POST`, judged after a run.

use std::str::FromStr;

use crate::outcome::{Latency, LoadOutcome};

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Intended start to the answer of the POST.
    Post,
    /// Intended start to the push of the final state.
    EndToEnd,
    /// Answer of the POST to the push of the final state.
    Push,
    /// WebSocket handshakes.
    Connect,
    /// Ping to pong on a session.
    Ping,
    /// GET /tasks and GET /tasks/{id}: their error rate.
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    P50,
    P90,
    P99,
    Mean,
    Max,
    /// POSTs that were not acknowledged, or GETs that were not answered rightly, of all.
    ErrorRate,
    /// Acknowledged POSTs per second.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// One rule. Latencies are in milliseconds, rates per second, an error rate a share.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: Metric,
    comparison: Comparison,
    limit: f64,
    row: Row,
}

/// How a rule was met.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Judged {
    pub threshold: String,
    pub met: bool,
    /// Absent when nothing was measured: then the rule is not met.
    pub measured: Option<f64>,
}

/// What rules are judged by.
pub trait Measured {
    fn latency(&self, row: Row) -> Option<Latency>;
    /// Of [`Row::Post`] or [`Row::Get`].
    fn error_rate(&self, row: Row) -> Option<f64>;
    fn accepted_per_second(&self) -> Option<f64>;
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    #[error("no comparison: write one of < <= > >=, as in `p99<500ms for POST`")]
    NoComparison,
    #[error("unknown metric {0:?}: one of p50, p90, p99, avg, max, error-rate, rate")]
    Metric(String),
    #[error("unknown limit {0:?}: a time such as 500ms or 2s, a share such as 1%, or for a rate a number")]
    Limit(String),
    #[error("unknown row {0:?}: one of POST, end-to-end, push, connect, ping, GET")]
    Row(String),
    #[error("{metric} is not measured for {row}")]
    NotMeasured { metric: String, row: String },
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let (rule, row) = text.split_once(" for ").unwrap_or((text, "POST"));
        let at = rule.find(['<', '>']).ok_or(ThresholdError::NoComparison)?;
        let (metric_name, rest) = rule.split_at(at);
        let (comparison, limit) = comparison(rest);
        let metric = metric(metric_name.trim())?;
        let (row_name, row) = (row.trim(), parse_row(row.trim())?);
        let is_measured = match metric {
            Metric::ErrorRate => matches!(row, Row::Post | Row::Get),
            Metric::Rate => row == Row::Post,
            Metric::P50 | Metric::P90 | Metric::P99 | Metric::Mean | Metric::Max => row != Row::Get,
        };
        if !is_measured {
            let (metric, row) = (metric_name.trim().to_owned(), row_name.to_owned());
            return Err(ThresholdError::NotMeasured { metric, row });
        }
        let limit = parse_limit(metric, limit.trim())?;
        Ok(Self { text: text.to_owned(), metric, comparison, limit, row })
    }
}

fn comparison(text: &str) -> (Comparison, &str) {
    let below = text.starts_with('<');
    match text[1..].strip_prefix('=') {
        Some(limit) if below => (Comparison::AtMost, limit),
        Some(limit) => (Comparison::AtLeast, limit),
        None if below => (Comparison::Below, &text[1..]),
        None => (Comparison::Above, &text[1..]),
    }
}

fn metric(name: &str) -> Result<Metric, ThresholdError> {
    Ok(match name {
        "p50" => Metric::P50,
        "p90" => Metric::P90,
        "p99" => Metric::P99,
        "avg" => Metric::Mean,
        "max" => Metric::Max,
        "error-rate" => Metric::ErrorRate,
        "rate" => Metric::Rate,
        other => return Err(ThresholdError::Metric(other.to_owned())),
    })
}

fn parse_row(name: &str) -> Result<Row, ThresholdError> {
    Ok(match name {
        "POST" => Row::Post,
        "end-to-end" => Row::EndToEnd,
        "push" => Row::Push,
        "connect" => Row::Connect,
        "ping" => Row::Ping,
        "GET" => Row::Get,
        other => return Err(ThresholdError::Row(other.to_owned())),
    })
}

fn parse_limit(metric: Metric, text: &str) -> Result<f64, ThresholdError> {
    let (number, factor) = match metric {
        Metric::Rate => (Some(text), 1.0),
        Metric::ErrorRate => match text.strip_suffix('%') {
            Some(percent) => (Some(percent), 0.01),
            None => (Some(text), 1.0),
        },
        Metric::P50 | Metric::P90 | Metric::P99 | Metric::Mean | Metric::Max => {
            match text.strip_suffix("ms") {
                Some(milliseconds) => (Some(milliseconds), 1.0),
                None => (text.strip_suffix('s'), 1_000.0),
            }
        }
    };
    number
        .and_then(|number| number.trim().parse::<f64>().ok())
        .map(|number| number * factor)
        .filter(|limit| limit.is_finite() && *limit >= 0.0)
        .ok_or_else(|| ThresholdError::Limit(text.to_owned()))
}

impl Threshold {
    pub fn judge(&self, measured: &impl Measured) -> Judged {
        let value = self.value(measured);
        let met = value.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Above => value > self.limit,
            Comparison::AtLeast => value >= self.limit,
        });
        Judged { threshold: self.text.clone(), met, measured: value }
    }

    fn value(&self, measured: &impl Measured) -> Option<f64> {
        let latency = || measured.latency(self.row).filter(|latency| latency.count > 0);
        match self.metric {
            Metric::P50 => latency().map(|latency| latency.p50_ms),
            Metric::P90 => latency().map(|latency| latency.p90_ms),
            Metric::P99 => latency().map(|latency| latency.p99_ms),
            Metric::Mean => latency().map(|latency| latency.mean_ms),
            Metric::Max => latency().map(|latency| latency.max_ms),
            Metric::ErrorRate => measured.error_rate(self.row),
            Metric::Rate => measured.accepted_per_second(),
        }
    }
}

impl Measured for LoadOutcome {
    fn latency(&self, row: Row) -> Option<Latency> {
        Some(match row {
            Row::Post => self.total.post,
            Row::EndToEnd => self.total.end_to_end,
            Row::Push => self.total.push,
            Row::Connect => self.connection_stats.connect,
            Row::Ping => self.connection_stats.ping,
            Row::Get => return None,
        })
    }

    fn error_rate(&self, row: Row) -> Option<f64> {
        let reads = &self.total.reads;
        match row {
            Row::Get => share(reads.all() - reads.right, reads.all()),
            _ => share(self.counts.refused + self.counts.unknown, self.counts.attempted),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn accepted_per_second(&self) -> Option<f64> {
        Some(self.counts.acknowledged as f64 / self.plan.duration.as_secs_f64())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Latency);

    impl Measured for Fixed {
        fn latency(&self, _row: Row) -> Option<Latency> {
            Some(self.0)
        }

        fn error_rate(&self, row: Row) -> Option<f64> {
            Some(if row == Row::Get { 0.5 } else { 0.02 })
        }

        fn accepted_per_second(&self) -> Option<f64> {
            Some(512.0)
        }
    }

    fn is_met(rule: &str) -> bool {
        let latency = Latency { count: 10, p99_ms: 500.0, max_ms: 2_000.0, ..Latency::default() };
        rule.parse::<Threshold>().unwrap().judge(&Fixed(latency)).met
    }

    #[test]
    fn a_rule_is_met_exactly_up_to_its_limit() {
        for (rule, expected) in [
            ("p99<500ms for POST", false),
            ("p99<=500ms", true),
            ("p99 <= 0.5s for end-to-end", true),
            ("max<2s", false),
            ("error-rate<2%", false),
            ("error-rate<=0.02", true),
            ("error-rate<=0.02 for GET", false),
            ("rate>=512", true),
            ("rate>512", false),
        ] {
            assert_eq!(is_met(rule), expected, "{rule}");
        }
    }

    #[test]
    fn what_was_not_measured_meets_no_rule() {
        let judged = "p99<1s".parse::<Threshold>().unwrap().judge(&Fixed(Latency::default()));
        assert_eq!((judged.met, judged.measured), (false, None));
    }

    #[test]
    fn a_rule_that_cannot_be_read_says_which_part() {
        let error = |rule: &str| rule.parse::<Threshold>().unwrap_err();
        assert_eq!(error("p99=5ms"), ThresholdError::NoComparison);
        assert_eq!(error("p98<5ms"), ThresholdError::Metric("p98".to_owned()));
        assert_eq!(error("p99<5"), ThresholdError::Limit("5".to_owned()));
        assert_eq!(error("p99<-1ms"), ThresholdError::Limit("-1ms".to_owned()));
        assert_eq!(error("p99<5ms for PUT"), ThresholdError::Row("PUT".to_owned()));
        for (rule, metric, row) in [("rate>5 for push", "rate", "push"), ("p99<5ms for GET", "p99", "GET")] {
            let (metric, row) = (metric.to_owned(), row.to_owned());
            assert_eq!(error(rule), ThresholdError::NotMeasured { metric, row });
        }
    }
}
