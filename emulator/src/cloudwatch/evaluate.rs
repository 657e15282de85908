//! What state a row of datapoints means. A function of its arguments, so that AWS's own tables are its test.

/// How a datapoint compares with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    GreaterOrEqual,
    Greater,
    Less,
    LessOrEqual,
}

impl Comparison {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "GreaterThanOrEqualToThreshold" => Self::GreaterOrEqual,
            "GreaterThanThreshold" => Self::Greater,
            "LessThanThreshold" => Self::Less,
            "LessThanOrEqualToThreshold" => Self::LessOrEqual,
            _ => return None,
        })
    }

    pub(super) fn is_breaching(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::GreaterOrEqual => value >= threshold,
            Self::Greater => value > threshold,
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::GreaterOrEqual => "greater than or equal to",
            Self::Greater => "greater than",
            Self::Less => "less than",
            Self::LessOrEqual => "less than or equal to",
        }
    }
}

/// What a missing datapoint counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingData {
    Missing,
    Ignore,
    Breaching,
    NotBreaching,
}

impl MissingData {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "missing" => Self::Missing,
            "ignore" => Self::Ignore,
            "breaching" => Self::Breaching,
            "notBreaching" => Self::NotBreaching,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Ok,
    Alarm,
    InsufficientData,
}

impl State {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Ok, Self::Alarm, Self::InsufficientData].into_iter().find(|state| state.name() == text)
    }
}

/// M of N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) datapoints_to_alarm: usize,
    pub(super) evaluation_periods: usize,
    pub(super) missing: MissingData,
}

/// CloudWatch looks at more periods than it needs, so that late datapoints count: 5 for N = 3 in its documentation.
pub(super) const PERIODS_BEYOND: usize = 2;

/// `breaches` runs from old to new; None is a missing datapoint. None as the answer keeps the current state.
pub(super) fn evaluate(breaches: &[Option<bool>], rule: Rule) -> Option<State> {
    let (m, n) = (rule.datapoints_to_alarm, rule.evaluation_periods);
    let real: Vec<bool> = breaches.iter().rev().filter_map(|breach| *breach).take(n).collect();
    let breaching = real.iter().filter(|breach| **breach).count();
    if breaching >= m {
        return Some(State::Alarm);
    }
    // "If there are as many real datapoints as needed, the setting for missing data is not used."
    let to_fill = n - real.len();
    if to_fill == 0 {
        return Some(State::Ok);
    }
    match rule.missing {
        MissingData::Breaching if breaching + to_fill >= m => Some(State::Alarm),
        MissingData::Breaching | MissingData::NotBreaching => Some(State::Ok),
        _ if real.iter().any(|breach| !breach) => Some(State::Ok),
        MissingData::Ignore => None,
        MissingData::Missing if real.is_empty() => Some(State::InsufficientData),
        MissingData::Missing => premature(breaches, m),
    }
}

/// All real datapoints breach, but fewer than M: "if the oldest breaching datapoint is at least as old as M periods,
/// and all newer ones are breaching or missing, the alarm goes to ALARM".
fn premature(breaches: &[Option<bool>], m: usize) -> Option<State> {
    let oldest = breaches.iter().position(|breach| *breach == Some(true))?;
    (breaches.len() - oldest >= m).then_some(State::Alarm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Vec<Option<bool>> {
        let point = |c| match c {
            'X' => Some(true),
            '0' => Some(false),
            _ => None,
        };
        text.split(' ').map(|part| point(part.chars().next().unwrap())).collect()
    }

    fn states(text: &str, m: usize) -> [Option<State>; 4] {
        [MissingData::Missing, MissingData::Ignore, MissingData::Breaching, MissingData::NotBreaching].map(
            |missing| evaluate(&row(text), Rule { datapoints_to_alarm: m, evaluation_periods: 3, missing }),
        )
    }

    const OK: Option<State> = Some(State::Ok);
    const ALARM: Option<State> = Some(State::Alarm);
    const KEEP: Option<State> = None;

    #[test]
    fn three_of_three_is_as_documented() {
        assert_eq!(states("0 - X - X", 3), [OK, OK, OK, OK]);
        assert_eq!(states("0 - - - -", 3), [OK, OK, OK, OK]);
        assert_eq!(states("- - - - -", 3), [Some(State::InsufficientData), KEEP, ALARM, OK]);
        assert_eq!(states("0 X X - X", 3), [ALARM, ALARM, ALARM, ALARM]);
        assert_eq!(states("- - X - -", 3), [ALARM, KEEP, ALARM, OK]);
    }

    #[test]
    fn two_of_three_is_as_documented() {
        assert_eq!(states("0 - X - X", 2), [ALARM, ALARM, ALARM, ALARM]);
        assert_eq!(states("0 0 X 0 X", 2), [ALARM, ALARM, ALARM, ALARM]);
        assert_eq!(states("0 - X - -", 2), [OK, OK, ALARM, OK]);
        assert_eq!(states("- - - - 0", 2), [OK, OK, ALARM, OK]);
        assert_eq!(states("- - - X -", 2), [ALARM, KEEP, ALARM, OK]);
    }

    #[test]
    fn one_fresh_breach_does_not_alarm_before_its_time() {
        assert_eq!(states("- - - - X", 3)[0], KEEP);
    }
}
