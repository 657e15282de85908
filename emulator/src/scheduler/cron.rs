//! `cron(minutes hours day-of-month month day-of-week year)`, in the dialect of EventBridge.

use jiff::Zoned;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;

/// "Year: 1970-2199".
const YEARS: (i16, i16) = (1970, 2199);
const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
/// Sunday is 1.
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: Vec<i16>,
    hours: Vec<i16>,
    months: Vec<i16>,
    years: Vec<i16>,
    day: Day,
}

/// "You can't specify the day-of-month and day-of-week fields in the same cron expression": one of them is `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Day {
    OfMonth(Vec<i16>),
    LastOfMonth,
    /// `15W`: the weekday nearest to the day.
    NearestWeekday(i16),
    OfWeek(Vec<i16>),
    /// `6L`: the last Friday of the month.
    LastOfWeek(i16),
    /// `3#2`: the second Tuesday of the month.
    NthOfWeek(i16, i16),
}

impl Cron {
    /// None for what is no such expression.
    pub(super) fn parse(fields: &str) -> Option<Self> {
        let fields: Vec<String> = fields.split_whitespace().map(str::to_ascii_uppercase).collect();
        let [minutes, hours, day_of_month, month, day_of_week, year] = fields.as_slice() else { return None };
        Some(Self {
            minutes: values(minutes, (0, 59), &[], 0)?,
            hours: values(hours, (0, 23), &[], 0)?,
            months: values(month, (1, 12), &MONTHS, 1)?,
            years: values(year, YEARS, &[], 0)?,
            day: day(day_of_month, day_of_week)?,
        })
    }

    /// The first time after `after_ms` (milliseconds since the epoch); None when there is no more.
    pub(super) fn next(&self, after_ms: i64, zone: &TimeZone) -> Option<i64> {
        let after = jiff::Timestamp::from_millisecond(after_ms).ok()?.to_zoned(zone.clone());
        let mut date = after.date();
        loop {
            if date.year() > *self.years.last()? {
                return None;
            }
            if !self.years.contains(&date.year()) {
                date = Date::new(date.year() + 1, 1, 1).ok()?;
                continue;
            }
            if self.is_on(date)
                && let Some(at_ms) = self.first_on(date, &after, zone)
            {
                return Some(at_ms);
            }
            date = date.tomorrow().ok()?;
        }
    }

    /// "When the time shifts forward in Spring, your schedule invocation gets skipped if the cron expression falls on a
    /// non-existent date and time", and "when the time shifts back in the Fall, your schedule runs only once".
    fn first_on(&self, date: Date, after: &Zoned, zone: &TimeZone) -> Option<i64> {
        for &hour in &self.hours {
            for &minute in &self.minutes {
                let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
                let wanted = DateTime::from_parts(date, jiff::civil::time(hour, minute, 0, 0));
                let at = zone.to_zoned(wanted).ok()?;
                if at > *after && at.datetime() == wanted {
                    return Some(at.timestamp().as_millisecond());
                }
            }
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        if !self.months.contains(&i16::from(date.month())) {
            return false;
        }
        let (day, last) = (i16::from(date.day()), i16::from(date.days_in_month()));
        let of_week = sunday_one(date.weekday());
        match &self.day {
            Day::OfMonth(days) => days.contains(&day),
            Day::LastOfMonth => day == last,
            Day::NearestWeekday(wanted) => nearest_weekday(date, *wanted) == Some(date),
            Day::OfWeek(days) => days.contains(&of_week),
            Day::LastOfWeek(wanted) => of_week == *wanted && day + 7 > last,
            Day::NthOfWeek(wanted, nth) => of_week == *wanted && (day - 1) / 7 + 1 == *nth,
        }
    }
}

fn sunday_one(weekday: Weekday) -> i16 {
    i16::from(weekday.to_sunday_one_offset())
}

/// Never in another month than the day itself.
fn nearest_weekday(month: Date, day: i16) -> Option<Date> {
    let last = i16::from(month.days_in_month());
    let date = Date::new(month.year(), month.month(), i8::try_from(day.min(last)).ok()?).ok()?;
    match date.weekday() {
        Weekday::Saturday if date.day() == 1 => date.checked_add(jiff::Span::new().days(2)).ok(),
        Weekday::Saturday => date.yesterday().ok(),
        Weekday::Sunday if i16::from(date.day()) == last => date.checked_sub(jiff::Span::new().days(2)).ok(),
        Weekday::Sunday => date.tomorrow().ok(),
        _ => Some(date),
    }
}

fn day(of_month: &str, of_week: &str) -> Option<Day> {
    match (of_month, of_week) {
        ("?", "?") => None,
        ("L", "?") => Some(Day::LastOfMonth),
        (day, "?") => match day.strip_suffix('W') {
            Some(day) => Some(Day::NearestWeekday(number(day, (1, 31), &[], 0)?)),
            None => Some(Day::OfMonth(values(day, (1, 31), &[], 0)?)),
        },
        ("?", "L") => Some(Day::OfWeek(vec![7])),
        ("?", day) => {
            if let Some((day, nth)) = day.split_once('#') {
                return Some(Day::NthOfWeek(number(day, (1, 7), &DAYS, 1)?, number(nth, (1, 5), &[], 0)?));
            }
            match day.strip_suffix('L').filter(|day| !day.is_empty()) {
                Some(day) => Some(Day::LastOfWeek(number(day, (1, 7), &DAYS, 1)?)),
                None => Some(Day::OfWeek(values(day, (1, 7), &DAYS, 1)?)),
            }
        }
        _ => None,
    }
}

/// A list of values, ranges and steps; sorted.
fn values(field: &str, range: (i16, i16), names: &[&str], first: i16) -> Option<Vec<i16>> {
    let mut all = Vec::new();
    for part in field.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, Some(number(step, (1, range.1.max(1)), &[], 0)?)),
            None => (part, None),
        };
        let (low, high) = match span.split_once('-') {
            _ if span == "*" => range,
            Some((low, high)) => (number(low, range, names, first)?, number(high, range, names, first)?),
            // `5/15` runs from 5 to the end of the range.
            None => {
                let low = number(span, range, names, first)?;
                (low, if step.is_some() { range.1 } else { low })
            }
        };
        if low > high {
            return None;
        }
        all.extend((low..=high).step_by(usize::try_from(step.unwrap_or(1)).ok()?));
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

fn number(text: &str, range: (i16, i16), names: &[&str], first: i16) -> Option<i16> {
    let named = names.iter().position(|name| *name == text).and_then(|at| i16::try_from(at).ok());
    let value = named.map(|at| at + first).or_else(|| text.parse().ok())?;
    (range.0..=range.1).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nexts(fields: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(fields).unwrap_or_else(|| panic!("{fields}"));
        let mut at_ms = from.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let mut all = Vec::new();
        for _ in 0..count {
            let Some(next_ms) = cron.next(at_ms, &TimeZone::UTC) else { break };
            at_ms = next_ms;
            all.push(jiff::Timestamp::from_millisecond(at_ms).unwrap().to_string());
        }
        all
    }

    #[test]
    fn the_examples_of_the_user_guide_run_when_it_says() {
        let from = "2026-11-22T10:00:00Z"; // A Sunday.
        for (fields, expected) in [
            ("15 10 * * ? *", vec!["2026-11-22T10:15:00Z", "2026-11-23T10:15:00Z"]),
            ("0 18 ? * MON-FRI *", vec!["2026-11-23T18:00:00Z", "2026-11-24T18:00:00Z"]),
            ("0 8 1 * ? *", vec!["2026-12-01T08:00:00Z", "2027-01-01T08:00:00Z"]),
            ("0/10 * ? * MON-FRI *", vec!["2026-11-23T00:00:00Z", "2026-11-23T00:10:00Z"]),
            ("0 9 ? * 2#1 *", vec!["2026-12-07T09:00:00Z", "2027-01-04T09:00:00Z"]),
            ("0 9 L * ? *", vec!["2026-11-30T09:00:00Z", "2026-12-31T09:00:00Z"]),
            ("0 9 ? * 6L *", vec!["2026-11-27T09:00:00Z", "2026-12-25T09:00:00Z"]),
            ("0 9 5W DEC ? *", vec!["2026-12-04T09:00:00Z", "2027-12-06T09:00:00Z"]),
            ("0 0 29 2 ? *", vec!["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        ] {
            assert_eq!(nexts(fields, from, 2), expected, "{fields}");
        }
    }

    #[test]
    fn a_schedule_whose_years_are_over_never_runs_again() {
        assert!(nexts("0 0 1 1 ? 2020", "2026-01-01T00:00:00Z", 1).is_empty());
        assert_eq!(nexts("0 0 1 1 ? 2027-2028", "2026-01-01T00:00:00Z", 5).len(), 2);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for bad in [
            "",
            "* * * * * *",
            "* * ? * ? *",
            "60 * * * ? *",
            "* * 1 * MON *",
            "* * * * ?",
            "5-1 * * * ? *",
            "x * * * ? *",
        ] {
            assert_eq!(Cron::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_zone_moves_the_hour_with_its_summer_time() {
        // In the binary: the machine need not have any.
        let zone = jiff::tz::TimeZoneDatabase::bundled().get("Europe/Berlin").unwrap();
        let next = |fields: &str, from: &str| {
            let from_ms = from.parse::<jiff::Timestamp>().unwrap().as_millisecond();
            let next_ms = Cron::parse(fields).unwrap().next(from_ms, &zone).unwrap();
            jiff::Timestamp::from_millisecond(next_ms).unwrap().to_string()
        };
        assert_eq!(next("0 8 * * ? *", "2026-01-10T00:00:00Z"), "2026-01-10T07:00:00Z");
        assert_eq!(next("0 8 * * ? *", "2026-07-10T00:00:00Z"), "2026-07-10T06:00:00Z");
        // 02:30 is not on the clock of 2026-03-29, and twice on that of 2026-10-25.
        assert_eq!(next("30 2 * * ? *", "2026-03-28T12:00:00Z"), "2026-03-30T00:30:00Z");
        assert_eq!(next("30 2 * * ? *", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("30 2 * * ? *", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    }
}
