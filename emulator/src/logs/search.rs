//! The events of a group that match a pattern, over all of its streams and in the order of their places.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Logs;
use super::page::{Filled, Window};
use super::pattern::{Message, Pattern};
use super::store::{Event, Place, Store};

/// What is copied at a time, or one event that is larger: matching takes long, and functions log meanwhile.
const SLICE_EVENTS_MAX: usize = 2048;
const SLICE_BYTES_MAX: usize = 1024 * 1024;

/// What is looked for, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search<'a> {
    pub(super) group: &'a str,
    /// Of the names of streams.
    pub(super) prefix: &'a str,
    /// None: all streams.
    pub(super) streams: Option<&'a [Value]>,
    pub(super) window: Window,
    pub(super) pattern: &'a Pattern,
}

#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) stream: String,
    pub(super) event: Event,
}

#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) found: Vec<Found>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<Place>,
}

impl Search<'_> {
    /// The page from this place on; None where there is no such group. What comes while it runs is not on it, so that it ends
    /// however fast functions log.
    pub(super) fn run(&self, logs: &Logs, mut from: Place) -> Option<Page> {
        let taken = logs.store().taken;
        let (mut found, mut filled) = (Vec::new(), Filled::of_at_most(self.window.limit));
        loop {
            let slice = self.slice(&logs.store(), from, taken)?;
            let Some(last) = slice.last() else { return Some(Page { found, next: None }) };
            from = last.event.place().following();
            for matching in slice.into_iter().filter(|candidate| self.is_match(candidate)) {
                if !filled.takes(&matching.event) {
                    return Some(Page { found, next: Some(matching.event.place()) });
                }
                found.push(matching);
            }
        }
    }

    fn is_match(&self, candidate: &Found) -> bool {
        self.pattern.matches(&Message::new(&candidate.event.message))
    }

    fn is_wanted(&self, stream: &str) -> bool {
        stream.starts_with(self.prefix)
            && self.streams.is_none_or(|names| names.iter().any(|given| given.as_str() == Some(stream)))
    }

    /// The next candidates from this place on, of the first events that the store has taken. None: no such group.
    fn slice(&self, store: &Store, from: Place, taken: u64) -> Option<Vec<Found>> {
        let group = store.groups.get(self.group)?;
        let is_before = |event: &Event| event.place() < from || event.at_ms < self.window.start_ms;
        // The next event of each stream, with those behind it.
        let mut heads = BTreeMap::new();
        for (name, stream) in group.streams.iter().filter(|(name, _)| self.is_wanted(name)) {
            let start = stream.events.partition_point(is_before);
            let mut rest = stream
                .events
                .range(start..)
                // "Events with a timestamp later than this time are not returned." GetLogEvents also leaves out those at it.
                .take_while(|event| event.at_ms <= self.window.end_ms)
                .filter(|event| event.is_of_first(taken));
            if let Some(event) = rest.next() {
                heads.insert(event.place(), (name, event, rest));
            }
        }
        let (mut slice, mut bytes) = (Vec::new(), 0);
        while slice.len() < SLICE_EVENTS_MAX && bytes < SLICE_BYTES_MAX {
            let Some((_, (name, event, mut rest))) = heads.pop_first() else { break };
            bytes += event.bytes();
            slice.push(Found { stream: name.clone(), event: event.clone() });
            if let Some(next) = rest.next() {
                heads.insert(next.place(), (name, next, rest));
            }
        }
        Some(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn search(pattern: &Pattern, limit: usize) -> Search<'_> {
        let window = Window { start_ms: i64::MIN, end_ms: i64::MAX, limit };
        Search { group: "g", prefix: "", streams: None, window, pattern }
    }

    fn append(store: &mut Store, stream: &str, at_ms: i64, message: &str) {
        store.append("g", stream, Event::new(at_ms, at_ms, message), at_ms);
    }

    fn messages(found: &[Found]) -> Vec<&str> {
        found.iter().map(|found| &*found.event.message).collect()
    }

    #[test]
    fn pages_over_many_slices_have_every_match_once_and_in_order() {
        let logs = Logs::new(Metrics::default(), usize::MAX);
        let count = 3 * SLICE_EVENTS_MAX;
        for number in 0..count {
            let kind = if number % 3 == 0 { "hit" } else { "miss" };
            // Several events of one time, in streams that take turns.
            let (stream, at_ms) = (["a", "b", "c", "d"][number % 4], i64::try_from(number / 10).unwrap());
            logs.put("g", stream, at_ms, &format!("{kind} {number}"));
        }
        let expected: Vec<String> = (0..count).step_by(3).map(|number| format!("hit {number}")).collect();
        for limit in [1000, 10_000] {
            let pattern = Pattern::parse("hit").unwrap();
            let (mut from, mut all) = (Some(Place::default()), Vec::new());
            while let Some(place) = from {
                let page = search(&pattern, limit).run(&logs, place).unwrap();
                assert!(page.found.len() <= limit);
                from = page.next;
                all.extend(page.found);
            }
            assert_eq!(messages(&all), expected, "{limit}");
        }
        let pattern = Pattern::parse("none").unwrap();
        assert!(search(&pattern, 1).run(&logs, Place::default()).unwrap().found.is_empty());
    }

    #[test]
    fn a_slice_is_bounded_and_one_event_at_least() {
        let (mut store, pattern) = (Store::new(usize::MAX), Pattern::parse("").unwrap());
        let message = "x".repeat(SLICE_BYTES_MAX / 2);
        for (at_ms, times) in [(1, 1), (2, 1), (3, 1), (4, 3), (5, 3)] {
            append(&mut store, "a", at_ms, &message.repeat(times));
        }
        let (mut from, mut lengths) = (Place::default(), Vec::new());
        loop {
            let slice = search(&pattern, 1).slice(&store, from, u64::MAX).unwrap();
            let Some(last) = slice.last() else { break };
            from = last.event.place().following();
            lengths.push(slice.len());
        }
        assert_eq!(lengths, [2, 2, 1]);
    }

    #[test]
    fn what_comes_and_goes_between_slices_is_neither_repeated_nor_waited_for() {
        let (mut store, pattern) = (Store::default(), Pattern::parse("").unwrap());
        for number in 0..i64::try_from(SLICE_EVENTS_MAX).unwrap() {
            append(&mut store, "a", number, "first");
        }
        let after = i64::try_from(SLICE_EVENTS_MAX).unwrap();
        append(&mut store, "b", after, "dropped");
        append(&mut store, "c", after, "last");
        let search = search(&pattern, 1);
        let taken = store.taken;
        let slice = search.slice(&store, Place::default(), taken).unwrap();
        assert_eq!(messages(&slice), ["first"; SLICE_EVENTS_MAX]);
        append(&mut store, "a", 0, "late");
        append(&mut store, "c", after, "later");
        store.remove_stream("g", "a");
        store.remove_stream("g", "b");
        let from = slice.last().unwrap().event.place().following();
        let slice = search.slice(&store, from, taken).unwrap();
        assert_eq!(messages(&slice), ["last"]);
        let from = slice.last().unwrap().event.place().following();
        assert!(search.slice(&store, from, taken).unwrap().is_empty());
        assert_eq!(messages(&search.slice(&store, from, store.taken).unwrap()), ["later"]);
        store.remove_group("g");
        assert!(search.slice(&store, from, taken).is_none());
    }

    #[test]
    fn a_window_and_names_of_streams_bound_what_is_searched() {
        let logs = Logs::default();
        for (stream, at_ms) in [("a-1", 1), ("a-2", 2), ("b-1", 2), ("a-1", 3), ("a-2", 4)] {
            logs.put("g", stream, at_ms, &format!("{stream} {at_ms}"));
        }
        let (pattern, names) = (Pattern::parse("").unwrap(), [Value::from("a-2"), Value::from("b-1")]);
        let all = search(&pattern, 10);
        let found = |search: Search<'_>| {
            let page = search.run(&logs, Place::default()).unwrap();
            messages(&page.found).join(", ")
        };
        let window = Window { start_ms: 2, end_ms: 3, limit: 10 };
        assert_eq!(found(Search { window, ..all }), "a-2 2, b-1 2, a-1 3");
        assert_eq!(found(Search { prefix: "a-", ..all }), "a-1 1, a-2 2, a-1 3, a-2 4");
        assert_eq!(found(Search { streams: Some(&names), ..all }), "a-2 2, b-1 2, a-2 4");
    }
}
