//! Percentiles in little memory: values counted in buckets that grow by 2 %, so that an answer is within 1 %.

/// ln(1.02): the width of a bucket.
const LOG_WIDTH: f64 = 0.019_802_627_296_179_712;

/// The bucket of zero, and of what is below: where there is such a value, nobody is told a percentile.
const ZERO: i32 = -0x8000;
const HIGHEST: i32 = 0x7fff;

/// A bucket's index and the weight of the values in it.
type Bucket = (i32, f32);

/// Counts by logarithmic bucket, sorted.
#[derive(Clone, Debug)]
pub(super) enum Sketch {
    Open(Vec<Bucket>),
    /// Closed: some three bytes a bucket instead of eight and room to grow. Minutes are kept for a day.
    Packed(Box<[u8]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Sketch {
    #[expect(clippy::cast_possible_truncation, reason = "a count is a weight, and 24 bits of it are enough")]
    pub(super) fn add(&mut self, value: f64, count: f64) {
        tally(self.open(), (index(value), count as f32));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let buckets = self.open();
        other.for_each(|bucket| tally(buckets, bucket));
    }

    /// For a sketch to which hardly anything will be added. It can still be.
    pub(super) fn pack(&mut self) {
        if let Self::Open(buckets) = self {
            *self = Self::Packed(pack(buckets));
        }
    }

    pub(super) fn percentile(&self, percent: f64) -> Option<f64> {
        let mut total = 0.0;
        self.for_each(|(_, count)| total += f64::from(count));
        let wanted = total * percent / 100.0;
        let mut seen = 0.0;
        let mut found = None;
        self.for_each(|(index, count)| {
            if seen < wanted || found.is_none() {
                found = Some(middle(index));
            }
            seen += f64::from(count);
        });
        found
    }

    fn open(&mut self) -> &mut Vec<Bucket> {
        if let Self::Packed(bytes) = self {
            let mut buckets = Vec::new();
            unpack(bytes, |bucket| buckets.push(bucket));
            *self = Self::Open(buckets);
        }
        match self {
            Self::Open(buckets) => buckets,
            Self::Packed(_) => unreachable!("it was opened above"),
        }
    }

    fn for_each(&self, mut each: impl FnMut(Bucket)) {
        match self {
            Self::Open(buckets) => buckets.iter().copied().for_each(each),
            Self::Packed(bytes) => unpack(bytes, &mut each),
        }
    }
}

fn tally(buckets: &mut Vec<Bucket>, (index, count): Bucket) {
    match buckets.binary_search_by_key(&index, |(known, _)| *known) {
        Ok(at) => buckets[at].1 += count,
        Err(at) => buckets.insert(at, (index, count)),
    }
}

/// Per bucket the distance from the one before and the weight, both as variable-length integers. The bits of a weight are
/// reversed: those of a small whole number, nearly all of them, are then few. The first distance is from the bucket of zero.
fn pack(buckets: &[Bucket]) -> Box<[u8]> {
    let mut bytes = Vec::new();
    let mut before = ZERO;
    for (index, count) in buckets {
        push_varint(&mut bytes, index.wrapping_sub(before).cast_unsigned());
        push_varint(&mut bytes, count.to_bits().reverse_bits());
        before = *index;
    }
    bytes.into_boxed_slice()
}

fn unpack(bytes: &[u8], mut each: impl FnMut(Bucket)) {
    let mut rest = bytes.iter().copied();
    let mut index = ZERO;
    while let (Some(distance), Some(count)) = (take_varint(&mut rest), take_varint(&mut rest)) {
        index = index.wrapping_add_unsigned(distance);
        each((index, f32::from_bits(count.reverse_bits())));
    }
}

/// Seven bits a byte, the lowest first; the high bit says that another byte follows.
fn push_varint(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let byte = bytes.next()?;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to the range of the index first")]
fn index(value: f64) -> i32 {
    if value > 0.0 {
        (value.ln() / LOG_WIDTH).round().clamp(f64::from(ZERO + 1), f64::from(HIGHEST)) as i32
    } else {
        ZERO
    }
}

fn middle(index: i32) -> f64 {
    if index == ZERO { 0.0 } else { (f64::from(index) * LOG_WIDTH).exp() }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percentile_is_within_one_percent() {
        let mut sketch = Sketch::default();
        for value in 1..=1000_u32 {
            sketch.add(f64::from(value), 1.0);
        }
        for (percent, exact) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            let found = sketch.percentile(percent).unwrap();
            assert!((found - exact).abs() / exact < 0.012, "p{percent} is {found}");
        }
        assert_eq!(Sketch::default().percentile(50.0), None);
    }

    proptest! {
        #[test]
        fn packing_loses_nothing_and_lets_more_be_added(
            values in vec((0.0..1e9_f64, 0.1..1e6_f64), 0..200),
            late in vec(0.0..1e3_f64, 0..5),
        ) {
            let (mut open, mut packed) = (Sketch::default(), Sketch::default());
            let all = values.into_iter().chain(late.into_iter().map(|value| (value, 1.0)));
            for (value, count) in all {
                open.add(value, count);
                packed.add(value, count);
                packed.pack();
            }
            let read = |sketch: &Sketch| {
                let mut buckets = Vec::new();
                sketch.for_each(|bucket| buckets.push(bucket));
                buckets
            };
            prop_assert_eq!(read(&open), read(&packed));
        }
    }

    #[test]
    fn what_is_packed_takes_three_bytes_a_bucket() {
        let mut sketch = Sketch::default();
        for value in 1..=1000_u32 {
            sketch.add(f64::from(value), 1.0);
        }
        let buckets = sketch.open().len();
        sketch.pack();
        let Sketch::Packed(bytes) = sketch else { panic!("{sketch:?} is not packed") };
        assert!(bytes.len() <= 3 * buckets + 2, "{} bytes for {buckets} buckets", bytes.len());
    }
}
