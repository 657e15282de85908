//! Groups, streams and events, in bounded memory.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::metric_filter::MetricFilters;

/// The most bytes of messages kept over all groups, unless told otherwise: the oldest events of the fullest stream go first.
/// A run at full load writes some megabytes a minute; reading the log of a run needs no more than its end.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What AWS charges, and what we count, for an event beside its message.
const EVENT_OVERHEAD_BYTES: usize = 26;

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at_ms: i64,
    pub(super) ingested_ms: i64,
    pub(super) message: Box<str>,
    /// How many events the store had taken before it.
    sequence: u64,
}

impl Event {
    pub(super) fn new(at_ms: i64, ingested_ms: i64, message: impl Into<Box<str>>) -> Self {
        Self { at_ms, ingested_ms, message: message.into(), sequence: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.message.len() + EVENT_OVERHEAD_BYTES
    }

    pub(super) fn place(&self) -> Place {
        Place { at_ms: self.at_ms, sequence: self.sequence }
    }

    /// Whether it is one of the first events that the store has taken.
    pub(super) fn is_of_first(&self, taken: u64) -> bool {
        self.sequence < taken
    }
}

/// Where an event of the store stands: by its time, and among those of one time by its arrival, as AWS sorts
/// them. No two events share a place, and none ever gets another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    at_ms: i64,
    sequence: u64,
}

impl Place {
    /// Of each half of its text: as many as the largest sequence has.
    const DIGITS: usize = 20;

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (at_ms, sequence) = text.split_at_checked(Self::DIGITS)?;
        Some(Self { at_ms: at_ms.parse().ok()?, sequence: sequence.parse().ok()? })
    }

    /// The place before which this one is the last.
    pub(super) fn following(self) -> Self {
        Self { sequence: self.sequence.saturating_add(1), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:0width$}{:0width$}", self.at_ms, self.sequence, width = Self::DIGITS)
    }
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) created_ms: i64,
    /// When the last event came, whatever its time. It may be gone.
    pub(super) ingested_ms: Option<i64>,
    /// Sorted by their places.
    pub(super) events: VecDeque<Event>,
    bytes: usize,
}

impl Stream {
    pub(super) fn new(created_ms: i64) -> Self {
        Self { created_ms, ..Self::default() }
    }

    fn push(&mut self, event: Event) {
        self.bytes += event.bytes();
        self.ingested_ms = Some(event.ingested_ms);
        // Nearly all come in order: no search through what is in no cache.
        if self.events.back().is_none_or(|last| last.at_ms <= event.at_ms) {
            return self.events.push_back(event);
        }
        let at = self.events.partition_point(|known| known.at_ms <= event.at_ms);
        self.events.insert(at, event);
    }

    fn drop_oldest(&mut self) -> usize {
        let dropped = self.events.pop_front().map_or(0, |event| event.bytes());
        self.bytes -= dropped;
        dropped
    }

    /// Gives back what most of is empty. Every environment that ever was has a stream, and each would keep the room that it
    /// once needed.
    fn trim(&mut self) {
        if self.events.len() < self.events.capacity() / 2 {
            self.events.shrink_to_fit();
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) created_ms: i64,
    pub(super) retention_days: Option<u32>,
    pub(super) class: Option<String>,
    /// The ARN of a key, with which nothing is encrypted.
    pub(super) kms_key_id: Option<String>,
    /// Then it cannot be deleted.
    pub(super) is_protected: bool,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) streams: BTreeMap<String, Stream>,
    /// None where there are none, so that a line of such a group costs nothing more.
    pub(super) metric_filters: Option<Arc<MetricFilters>>,
}

impl Group {
    pub(super) fn bytes(&self) -> usize {
        self.streams.values().map(|stream| stream.bytes).sum()
    }

    /// The time of the oldest event that the retention covers; None where it covers all.
    pub(super) fn oldest_ms(&self, now_ms: i64) -> Option<i64> {
        self.retention_days.map(|days| now_ms - i64::from(days) * 24 * 3600 * 1000)
    }
}

/// All groups, by name.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) groups: BTreeMap<String, Group>,
    /// Events, those included that are gone.
    pub(super) taken: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl Store {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { groups: BTreeMap::new(), taken: 0, bytes: 0, bytes_max }
    }

    /// Returns what the event is still to be put through.
    pub(super) fn append(
        &mut self,
        group: &str,
        stream: &str,
        mut event: Event,
        now_ms: i64,
    ) -> Option<Arc<MetricFilters>> {
        event.sequence = self.taken;
        self.taken += 1;
        // Two lookups for a known stream, and no allocation: this is called for every line of every function.
        if !self.groups.contains_key(group) {
            let made = Group { created_ms: now_ms, ..Group::default() };
            self.groups.insert(group.to_owned(), made);
        }
        let group = self.groups.get_mut(group)?;
        let filters = group.metric_filters.clone();
        if !group.streams.contains_key(stream) {
            group.streams.insert(stream.to_owned(), Stream::new(now_ms));
        }
        if let Some(stream) = group.streams.get_mut(stream) {
            self.bytes += event.bytes();
            stream.push(event);
        }
        if self.bytes > self.bytes_max {
            self.make_room();
        }
        filters
    }

    pub(super) fn remove_group(&mut self, name: &str) -> Option<Group> {
        let group = self.groups.remove(name)?;
        self.bytes -= group.bytes();
        Some(group)
    }

    pub(super) fn remove_stream(&mut self, group: &str, name: &str) -> bool {
        let removed = self.groups.get_mut(group).and_then(|group| group.streams.remove(name));
        self.bytes -= removed.as_ref().map_or(0, |stream| stream.bytes);
        removed.is_some()
    }

    /// Frees an eighth at a time, so that a full store does not search its fullest stream for every line.
    fn make_room(&mut self) {
        while self.bytes > self.bytes_max - self.bytes_max / 8 {
            let streams = self.groups.values_mut().flat_map(|group| group.streams.values_mut());
            let Some(fullest) = streams.max_by_key(|stream| stream.bytes) else { return };
            let wanted = fullest.bytes / 2;
            let mut freed = 0;
            while freed <= wanted && !fullest.events.is_empty() {
                freed += fullest.drop_oldest();
            }
            fullest.trim();
            self.bytes -= freed;
        }
    }

    /// Forgets what the groups' retention no longer covers.
    pub(super) fn expire(&mut self, now_ms: i64) {
        for group in self.groups.values_mut() {
            let Some(oldest_ms) = group.oldest_ms(now_ms) else { continue };
            for stream in group.streams.values_mut() {
                while stream.events.front().is_some_and(|event| event.at_ms < oldest_ms) {
                    self.bytes -= stream.drop_oldest();
                }
                stream.trim();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at_ms: i64, bytes: usize) -> Event {
        Event::new(at_ms, at_ms, "x".repeat(bytes))
    }

    #[test]
    fn a_flood_of_lines_keeps_the_newest_within_the_bound() {
        let bytes_max = 16 * 1024 * 1024;
        let mut store = Store::new(bytes_max);
        for number in 0..200 {
            store.append("g", "s", event(number, 1024 * 1024), number);
        }
        assert!(store.bytes <= bytes_max);
        let stream = &store.groups["g"].streams["s"];
        assert_eq!(stream.events.back().unwrap().place(), Place { at_ms: 199, sequence: 199 });
    }

    #[test]
    fn a_place_is_of_one_event_and_sorts_by_time_and_arrival() {
        let mut store = Store::default();
        for (stream, at_ms) in [("a", 7), ("b", 7), ("a", 5), ("a", 7)] {
            store.append("g", stream, event(at_ms, 1), 0);
        }
        let places = |stream: &str| {
            store.groups["g"].streams[stream].events.iter().map(Event::place).collect::<Vec<_>>()
        };
        let place = |at_ms, sequence| Place { at_ms, sequence };
        assert_eq!(places("a"), [place(5, 2), place(7, 0), place(7, 3)]);
        assert_eq!(places("b"), [place(7, 1)]);
        assert_eq!(place(7, 0).to_string(), "0000000000000000000700000000000000000000");
    }

    #[test]
    fn a_place_is_read_back_and_nothing_else_is() {
        for place in [Place { at_ms: i64::MAX, sequence: u64::MAX }, Place { at_ms: -5, sequence: 7 }] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        for text in ["", "2", "00000000000000000007", "0000000000000000000é", "x000000000000000000700"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_dropped_leaves_no_room_behind() {
        let mut store = Store::new(1024 * 1024);
        for stream in ["a", "b", "c"] {
            for number in 0..100_000 {
                store.append("g", stream, event(number, 10), number);
            }
        }
        let group = store.groups.get_mut("g").unwrap();
        group.retention_days = Some(1);
        let is_tight = |store: &Store| {
            let streams = store.groups["g"].streams.values();
            streams.map(|stream| &stream.events).all(|kept| kept.capacity() <= 2 * kept.len() + 4)
        };
        assert!(is_tight(&store));
        store.expire(2 * 24 * 3600 * 1000);
        assert!(store.groups["g"].streams.values().all(|stream| stream.events.is_empty()));
        assert!(is_tight(&store));
    }

    #[test]
    fn events_are_kept_in_the_order_of_time_and_expire() {
        let mut store = Store::default();
        for at_ms in [5, 1, 3] {
            store.append("g", "s", event(at_ms, 1), 0);
        }
        let times: Vec<i64> = store.groups["g"].streams["s"].events.iter().map(|event| event.at_ms).collect();
        assert_eq!(times, [1, 3, 5]);
        store.groups.get_mut("g").unwrap().retention_days = Some(1);
        store.expire(24 * 3600 * 1000 + 4);
        assert_eq!(store.groups["g"].streams["s"].events.len(), 1);
    }
}
