//! In which partitions a request reads or writes, and what part of its price each of them pays.

use dynoxide::types::item_size;

use super::partitions::{Attributes, Partition};

/// A partition, and its part of what the request costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) partition: Partition,
    pub(super) share: f64,
}

impl Part {
    pub(super) const fn whole(partition: Partition) -> Self {
        Self { partition, share: 1.0 }
    }
}

/// The partitions of a table or an index that a request touches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Touched {
    /// Nobody knows.
    #[default]
    Unknown,
    /// Any of them, which only the answer shows; and not even that of what a condition leaves out.
    Any {
        is_shown: bool,
    },
    /// Nearly every request touches one, which needs no list.
    One(Part),
    Parts(Vec<Part>),
}

impl Touched {
    /// Each pays as much as the others.
    pub(super) fn each(partitions: Vec<Partition>) -> Self {
        match partitions.as_slice() {
            [] => Self::Unknown,
            [one] => Self::One(Part::whole(*one)),
            many => {
                let share = 1.0 / count(many.len());
                Self::Parts(many.iter().map(|partition| Part { partition: *partition, share }).collect())
            }
        }
    }

    /// A page of so many items that were read, of which these are shown: each pays by its size, and what is not shown keeps its
    /// part, that of as many mean items.
    pub(super) fn page<'a>(
        items: &'a [Attributes],
        read: usize,
        partition: impl Fn(&'a Attributes) -> Option<Partition>,
    ) -> Self {
        let sizes = items.iter().map(|item| count(item_size(item)));
        let all = sizes.clone().sum::<f64>() * count(read.max(items.len())) / count(items.len());
        let mut parts: Vec<Part> = Vec::new();
        for (item, size) in items.iter().zip(sizes) {
            let Some(partition) = partition(item) else { continue };
            let share = size / all;
            match parts.last_mut() {
                // Items of one partition follow each other.
                Some(last) if last.partition == partition => last.share += share,
                _ => parts.push(Part { partition, share }),
            }
        }
        Self::Parts(parts)
    }

    pub(super) fn parts(&self) -> &[Part] {
        match self {
            Self::Unknown | Self::Any { .. } => &[],
            Self::One(part) => std::slice::from_ref(part),
            Self::Parts(parts) => parts,
        }
    }
}

impl From<Option<Partition>> for Touched {
    fn from(partition: Option<Partition>) -> Self {
        partition.map_or(Self::Unknown, |partition| Self::One(Part::whole(partition)))
    }
}

/// How a price is divided among those who ran it up together: by what each costs by itself, where that is known, and the rest
/// among the others in equal parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    other: f64,
    scale: f64,
}

/// What nobody knows better costs at least this much beside what is known.
const OTHER_UNITS_MIN: f64 = 1.0;

impl Division {
    pub(super) fn of(units: f64, own: impl Iterator<Item = Option<f64>>) -> Self {
        let (mut known, mut others) = (0.0, 0.0);
        for own in own {
            match own {
                Some(units) => known += units,
                None => others += 1.0,
            }
        }
        let other = if others > 0.0 { ((units - known) / others).max(OTHER_UNITS_MIN) } else { 0.0 };
        let all = known + others * other;
        Self { other, scale: if all > 0.0 { units / all } else { 0.0 } }
    }

    pub(super) fn share(self, own: Option<f64>) -> f64 {
        own.unwrap_or(self.other) * self.scale
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes and numbers of items are far below 2^53")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(units: f64, own: &[Option<f64>]) -> Vec<f64> {
        let division = Division::of(units, own.iter().copied());
        own.iter().map(|own| division.share(*own)).collect()
    }

    #[test]
    fn each_pays_what_it_costs_and_the_others_the_rest_alike() {
        for (units, own, expected) in [
            (300.0, vec![None, None, None], vec![100.0, 100.0, 100.0]),
            (0.5, vec![None], vec![0.5]),
            (301.0, vec![Some(300.0), Some(1.0)], vec![300.0, 1.0]),
            // Twice the price, as in a transaction, and what replaces a larger item.
            (602.0, vec![Some(300.0), Some(1.0)], vec![600.0, 2.0]),
            (320.0, vec![Some(300.0), None, None], vec![300.0, 10.0, 10.0]),
            // Less than is known: an index that shows only some of them.
            (151.0, vec![Some(301.0), None], vec![150.5, 0.5]),
            (0.0, vec![Some(0.0)], vec![0.0]),
        ] {
            assert_eq!(shares(units, &own), expected, "{units} {own:?}");
        }
        assert_eq!(shares(1.0, &[]), Vec::<f64>::new());
    }
}
