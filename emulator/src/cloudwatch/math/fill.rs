//! FILL: what stands where a series has no value.

use super::series::Series;

#[derive(Clone, Debug)]
pub(super) enum Filler {
    Number(f64),
    Series(Series),
    /// "The most recent actual value of the metric before the missing value."
    Repeat,
    /// "A linear interpolation between the values at the beginning and the end of the gap."
    Linear,
}

pub(super) fn fill(series: &Series, filler: &Filler) -> Series {
    let mut points = Vec::new();
    let mut before: Option<(i64, f64)> = None;
    let mut rest = series.points();
    for at_ms in series.grid.times() {
        if let Some((first, after)) = rest.split_first().filter(|(first, _)| first.0 == at_ms) {
            (before, rest) = (Some(*first), after);
            points.push(*first);
            continue;
        }
        let value = match filler {
            Filler::Number(number) => Some(*number),
            Filler::Series(other) => other.at(at_ms),
            Filler::Repeat => before.map(|(_, value)| value),
            Filler::Linear => before.zip(rest.first()).map(|(from, to)| between(from, *to, at_ms)),
        };
        points.extend(value.map(|value| (at_ms, value)));
    }
    series.with(points)
}

#[expect(clippy::cast_precision_loss, reason = "a gap is far below 2^53 milliseconds")]
fn between(from: (i64, f64), to: (i64, f64), at_ms: i64) -> f64 {
    let share = (at_ms - from.0) as f64 / (to.0 - from.0) as f64;
    from.1 + (to.1 - from.1) * share
}
