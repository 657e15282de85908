//! Pages of events. A token is a place among the events, so that it stays valid while events come and go.
//! What comes late, with an earlier time, stands before the place at which a reader already is.

use serde_json::{Value, json};

use super::store::{Event, Place, Stream};

/// "The maximum is as many log events as can fit in a response size of 1 MB, up to 10,000 log events."
pub(super) const EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Which events are wanted. Whether one at the end is among them is another matter for a stream than for a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) limit: usize,
}

impl Window {
    pub(super) fn holds(&self, event: &Event) -> bool {
        event.at_ms >= self.start_ms && event.at_ms < self.end_ms
    }
}

/// Where a page begins and which way it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    Head,
    Tail,
    /// Events from this place on.
    Forward(Place),
    /// Events before this place.
    Backward(Place),
}

impl Cursor {
    pub(super) fn parse(token: &str) -> Option<Self> {
        let (way, place) = token.split_once('/')?;
        let place = Place::parse(place)?;
        match way {
            "f" => Some(Self::Forward(place)),
            "b" => Some(Self::Backward(place)),
            _ => None,
        }
    }
}

/// GetLogEvents: events from old to new, and the tokens around them. At the end of the stream the same token comes
/// back, which is how a reader knows.
pub(super) fn events(stream: &Stream, window: Window, cursor: Cursor) -> Value {
    let held = stream.events.iter().filter(|event| window.holds(event));
    let wanted: Vec<&Event> = match cursor {
        Cursor::Head => fit(held, window.limit),
        Cursor::Forward(from) => fit(held.filter(|event| event.place() >= from), window.limit),
        Cursor::Tail => reversed(fit(held.rev(), window.limit)),
        Cursor::Backward(to) => reversed(fit(held.rev().filter(|event| event.place() < to), window.limit)),
    };
    let (backward, forward) = match (wanted.first(), wanted.last()) {
        (Some(first), Some(last)) => (first.place(), last.place().following()),
        _ => {
            let at = match cursor {
                Cursor::Forward(at) | Cursor::Backward(at) => at,
                Cursor::Head => Place::default(),
                Cursor::Tail => end(stream),
            };
            (at, at)
        }
    };
    let events: Vec<Value> = wanted
        .into_iter()
        .map(|event| {
            json!({"timestamp": event.at_ms, "ingestionTime": event.ingested_ms, "message": event.message})
        })
        .collect();
    json!({
        "events": events,
        "nextForwardToken": format!("f/{forward}"),
        "nextBackwardToken": format!("b/{backward}"),
    })
}

fn end(stream: &Stream) -> Place {
    stream.events.back().map(|last| last.place().following()).unwrap_or_default()
}

/// What is on a page so far.
#[derive(Debug)]
pub(super) struct Filled {
    events: usize,
    bytes: usize,
    limit: usize,
}

impl Filled {
    /// By nothing yet.
    pub(super) const fn of_at_most(limit: usize) -> Self {
        Self { events: 0, bytes: 0, limit }
    }

    /// Whether the next event is on the page too. The first is in any case: a reader would never get past one that no page
    /// holds.
    pub(super) fn takes(&mut self, event: &Event) -> bool {
        self.bytes += event.message.len();
        let is_taken = self.events == 0 || (self.events < self.limit && self.bytes <= PAGE_BYTES_MAX);
        self.events += 1;
        is_taken
    }
}

fn fit<'a>(events: impl Iterator<Item = &'a Event>, limit: usize) -> Vec<&'a Event> {
    let mut filled = Filled::of_at_most(limit);
    events.take_while(|event| filled.takes(event)).collect()
}

fn reversed<T>(mut items: Vec<T>) -> Vec<T> {
    items.reverse();
    items
}
