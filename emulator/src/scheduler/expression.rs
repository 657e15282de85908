//! When a schedule runs: `rate(…)`, `cron(…)` or `at(…)`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::cron::Cron;
use crate::repeatable;

/// AWS: `at(yyyy-mm-ddThh:mm:ss)`. No part may be left out, and no offset added.
const AT_FORM: &str = "%Y-%m-%dT%H:%M:%S";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Rate { every_ms: i64 },
    Cron(Box<Cron>),
    At { at_ms: i64 },
}

impl Expression {
    /// None for what is no expression.
    pub(super) fn parse(text: &str, zone: &TimeZone) -> Option<Self> {
        let (kind, inner) = text.strip_suffix(')')?.split_once('(')?;
        match kind {
            "rate" => rate(inner),
            "cron" => Some(Self::Cron(Box::new(Cron::parse(inner)?))),
            "at" => {
                let at: DateTime = inner.parse().ok()?;
                // An older emulator took whatever begins with a date.
                let is_taken = at.strftime(AT_FORM).to_string() == inner || repeatable::is_repeated();
                is_taken.then_some(Self::At { at_ms: zone.to_zoned(at).ok()?.timestamp().as_millisecond() })
            }
            _ => None,
        }
    }

    pub(super) const fn is_recurring(&self) -> bool {
        !matches!(self, Self::At { .. })
    }

    /// The first run at or after `start_ms`. "If you do not provide a StartDate for a rate-based schedule, your schedule
    /// starts invoking the target immediately."
    pub(super) fn first(&self, start_ms: i64, zone: &TimeZone) -> Option<i64> {
        match self {
            Self::Rate { .. } => Some(start_ms),
            Self::Cron(cron) => cron.next(start_ms - 1, zone),
            Self::At { at_ms } => Some(*at_ms),
        }
    }

    /// The run that follows one that was due at `due_ms`; those that passed meanwhile are not made up for.
    pub(super) fn after(&self, due_ms: i64, now_ms: i64, zone: &TimeZone) -> Option<i64> {
        match self {
            Self::Rate { every_ms } => {
                let passed = (now_ms - due_ms).max(0) / every_ms;
                // A rate of more than all time there is never comes round.
                (passed + 1).checked_mul(*every_ms)?.checked_add(due_ms)
            }
            Self::Cron(cron) => cron.next(now_ms.max(due_ms), zone),
            Self::At { .. } => None,
        }
    }
}

fn rate(text: &str) -> Option<Expression> {
    let (value, unit) = text.split_once(' ')?;
    let value: i64 = value.parse().ok().filter(|value| *value > 0)?;
    let unit_ms = match unit {
        "minute" | "minutes" => 60_000,
        "hour" | "hours" => 3_600_000,
        "day" | "days" => 86_400_000,
        _ => return None,
    };
    Some(Expression::Rate { every_ms: value.checked_mul(unit_ms)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Expression> {
        Expression::parse(text, &TimeZone::UTC)
    }

    #[test]
    fn a_rate_starts_at_once_and_keeps_its_beat_over_a_gap() {
        let rate = parse("rate(5 minutes)").unwrap();
        assert_eq!(rate.first(1_000, &TimeZone::UTC), Some(1_000));
        assert_eq!(rate.after(1_000, 1_001, &TimeZone::UTC), Some(301_000));
        assert_eq!(rate.after(1_000, 901_500, &TimeZone::UTC), Some(1_201_000), "three runs were missed");
        let ages = parse("rate(106751991167 days)").unwrap();
        assert_eq!(ages.after(1_800_000_000_000, 1_800_000_000_001, &TimeZone::UTC), None);
    }

    #[test]
    fn a_one_time_schedule_runs_once() {
        let at = parse("at(2026-11-22T10:00:00)").unwrap();
        assert!(!at.is_recurring());
        assert_eq!(at.first(0, &TimeZone::UTC), Some(1_795_341_600_000));
        assert_eq!(at.after(1_795_341_600_000, 1_795_341_600_000, &TimeZone::UTC), None);
    }

    #[tokio::test]
    async fn the_time_of_a_one_time_schedule_has_one_form() {
        for other in [
            "at(2026-11-22)",
            "at(2026-11-22 10:00:00)",
            "at(2026-11-22T10:00)",
            "at(2026-11-22T10:00:00.5)",
            "at(2026-11-22T10:00:60)",
            "at(2026-11-22T10:00:00+02:00)",
        ] {
            assert_eq!(parse(other), None, "{other}");
            let again = repeatable::scope_again(repeatable::RULES, 1, 0, async { parse(other) }).await;
            assert!(again.is_some(), "as an older emulator took it: {other}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for bad in [
            "rate(0 minutes)",
            "rate(1 second)",
            "rate(5)",
            "at(tomorrow)",
            "cron(* * *)",
            "every(1 day)",
            "rate(1 day",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
