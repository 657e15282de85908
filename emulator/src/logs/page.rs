//! Pages of events. A token names an event by number, so that it stays valid while events come and go.

use serde_json::{Value, json};

use super::store::{Event, Stream};

/// "The maximum is as many log events as can fit in a response size of 1 MB, up to 10,000 log events."
pub(super) const EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Which events of a stream are wanted.
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
    /// Events from this number on.
    Forward(u64),
    /// Events before this number.
    Backward(u64),
}

impl Cursor {
    pub(super) fn parse(token: &str) -> Option<Self> {
        let (way, number) = token.split_once('/')?;
        let number = number.parse().ok()?;
        match way {
            "f" => Some(Self::Forward(number)),
            "b" => Some(Self::Backward(number)),
            _ => None,
        }
    }
}

/// GetLogEvents: events from old to new, and the tokens around them. At the end of the stream the same token comes
/// back, which is how a reader knows.
pub(super) fn events(stream: &Stream, window: Window, cursor: Cursor) -> Value {
    let numbered = stream.numbered().filter(|(event, _)| window.holds(event));
    let wanted: Vec<(&Event, u64)> = match cursor {
        Cursor::Head => fit(numbered, window.limit),
        Cursor::Forward(from) => fit(numbered.filter(|(_, number)| *number >= from), window.limit),
        Cursor::Tail => reversed(fit(numbered.rev(), window.limit)),
        Cursor::Backward(to) => {
            reversed(fit(numbered.rev().filter(|(_, number)| *number < to), window.limit))
        }
    };
    let (backward, forward) = match (wanted.first(), wanted.last()) {
        (Some((_, first)), Some((_, last))) => (*first, *last + 1),
        _ => match cursor {
            Cursor::Forward(at) | Cursor::Backward(at) => (at, at),
            Cursor::Head => (stream.first_number, stream.first_number),
            Cursor::Tail => {
                let end = stream.first_number + stream.events.len() as u64;
                (end, end)
            }
        },
    };
    let events: Vec<Value> = wanted
        .into_iter()
        .map(|(event, _)| {
            json!({"timestamp": event.at_ms, "ingestionTime": event.ingested_ms, "message": event.message})
        })
        .collect();
    json!({
        "events": events,
        "nextForwardToken": format!("f/{forward}"),
        "nextBackwardToken": format!("b/{backward}"),
    })
}

fn fit<'a>(events: impl Iterator<Item = (&'a Event, u64)>, limit: usize) -> Vec<(&'a Event, u64)> {
    let mut bytes = 0;
    events
        .take(limit)
        .take_while(|(event, _)| {
            bytes += event.message.len();
            bytes <= PAGE_BYTES_MAX
        })
        .collect()
}

fn reversed<T>(mut items: Vec<T>) -> Vec<T> {
    items.reverse();
    items
}
