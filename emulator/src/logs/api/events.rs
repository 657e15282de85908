//! Log streams and events.

use std::ops::Range;

use serde_json::{Value, json};

use super::groups::without_null;
use super::{Failure, LogsApi, Outcome, limit, text};
use crate::logs::metric_filter;
use crate::logs::page::{Cursor, EVENTS_MAX, Window, events};
use crate::logs::pattern::{Flaw, Pattern};
use crate::logs::search::{Found, Page, Search};
use crate::logs::store::{Event, Group, Place, Stream};
use crate::logs::{FUTURE_MAX_MS, PAST_MAX_MS, emf};
use crate::pages;

const STREAMS_PAGE_MAX: usize = 50;
const STREAM_CHARS_MAX: usize = 512;
/// "Array Members: Minimum number of 1 item. Maximum number of 100 items."
const STREAMS_SEARCHED_MAX: usize = 100;
/// What sorts streams: the time of the last event, where they are listed by it, and the name.
type StreamKey<'a> = (Option<i64>, &'a str);
/// "The maximum number of log events in a batch is 10,000."
const PUT_EVENTS_MAX: usize = 10_000;
/// "The maximum batch size is 1,048,576 bytes. This size is calculated as the sum of all event messages in
/// UTF-8, plus 26 bytes for each log event."
const PUT_BYTES_MAX: usize = 1024 * 1024;
/// "Each log event can be no larger than 1 MB", counted as a batch is.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Of the events of a batch that are not rejected.
const PUT_SPAN_MAX_MS: i64 = 24 * 3600 * 1000;

impl LogsApi {
    pub(super) fn create_stream(&self, input: &Value) -> Outcome {
        let (group, stream) = names(input)?;
        let mut store = self.logs.store();
        let group = store.groups.get_mut(group).ok_or_else(Failure::no_group)?;
        if group.streams.contains_key(stream) {
            return Err(Failure::new(
                "ResourceAlreadyExistsException",
                "The specified log stream already exists",
            ));
        }
        group.streams.insert(stream.to_owned(), Stream::new(self.settings.clock.now_ms()));
        Ok(json!({}))
    }

    pub(super) fn delete_stream(&self, input: &Value) -> Outcome {
        let (group, stream) = names(input)?;
        if self.logs.store().remove_stream(group, stream) { Ok(json!({})) } else { Err(Failure::no_stream()) }
    }

    pub(super) fn describe_streams(&self, input: &Value) -> Outcome {
        let name = Self::group_name(input, "logGroupName")?;
        let page_max = limit(input, STREAMS_PAGE_MAX, STREAMS_PAGE_MAX)?;
        let prefix = stream_name(input, "logStreamNamePrefix")?;
        let after = text(input, "nextToken").map(read_key).transpose()?;
        let is_by_time = is_by_time(input)?;
        // "If you order the results by event time, you cannot specify the logStreamNamePrefix parameter."
        if is_by_time && prefix.is_some() {
            return Err(Failure::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let prefix = prefix.unwrap_or_default();
        let is_descending = input.get("descending").and_then(Value::as_bool) == Some(true);
        let store = self.logs.store();
        let group = store.groups.get(name).ok_or_else(Failure::no_group)?;
        let matching = group.streams.iter().filter(|(name, _)| name.starts_with(prefix));
        let mut streams: Vec<(StreamKey<'_>, &Stream)> = matching
            .map(|(name, stream)| {
                let last = stream.events.back().filter(|_| is_by_time);
                ((last.map(|event| event.at_ms), name.as_str()), stream)
            })
            .collect();
        streams.sort_unstable_by_key(|(key, _)| *key);
        if is_descending {
            streams.reverse();
        }
        let is_behind = |key: &StreamKey<'_>| {
            after.is_none_or(|after| if is_descending { *key < after } else { *key > after })
        };
        let streams = streams.into_iter().map(|(key, stream)| (key, (key.1, stream)));
        let (page, last) = pages::page(streams, is_behind, page_max);
        let arn = self.group_arn(name);
        let page: Vec<Value> = page.into_iter().map(|(name, stream)| describe(&arn, name, stream)).collect();
        Ok(without_null(json!({"logStreams": page, "nextToken": last.map(written)})))
    }

    pub(super) fn put_events(&self, input: &Value) -> Outcome {
        let (group, stream) = names(input)?;
        let now_ms = self.settings.clock.now_ms();
        let mut events = read_batch(input, now_ms)?;
        let mut store = self.logs.store();
        let known = store.groups.get(group).ok_or_else(Failure::no_group)?;
        if !known.streams.contains_key(stream) {
            return Err(Failure::no_stream());
        }
        let (accepted, rejected) = sift(&events, known, now_ms);
        check_span(&events[accepted.clone()])?;
        let filters = known.metric_filters.clone();
        let filtered = if filters.is_some() { events[accepted.clone()].to_vec() } else { Vec::new() };
        for event in events.drain(accepted) {
            emf::record(&self.logs.metrics, now_ms, &event.message);
            store.append(group, stream, event, now_ms);
        }
        // Patterns take their time: functions log meanwhile.
        drop(store);
        if let Some(filters) = filters {
            for event in filtered {
                metric_filter::record(&filters, &self.logs.metrics, event.at_ms, &event.message);
            }
        }
        Ok(without_null(json!({"nextSequenceToken": "0", "rejectedLogEventsInfo": rejected})))
    }

    pub(super) fn get_events(&self, input: &Value) -> Outcome {
        let (group, stream) = names(input)?;
        let window = window(input)?;
        let from_head = input.get("startFromHead").and_then(Value::as_bool) == Some(true);
        let cursor = match text(input, "nextToken") {
            Some(token) => Cursor::parse(token).ok_or_else(bad_token)?,
            None if from_head => Cursor::Head,
            None => Cursor::Tail,
        };
        let store = self.logs.store();
        let group = store.groups.get(group).ok_or_else(Failure::no_group)?;
        Ok(events(group.streams.get(stream).ok_or_else(Failure::no_stream)?, window, cursor))
    }

    pub(super) fn filter_events(&self, input: &Value) -> Outcome {
        let name = Self::group_name(input, "logGroupName")?;
        let window = window(input)?;
        let token = text(input, "nextToken");
        let from = token.map_or(Some(Place::default()), Place::parse).ok_or_else(bad_token)?;
        let pattern = text(input, "filterPattern").unwrap_or_default();
        let pattern = Pattern::parse(pattern).map_err(|flaw| match flaw {
            Flaw::Syntax => Failure::invalid("Invalid filter pattern"),
            Flaw::Named(message) => Failure::invalid(message),
        })?;
        let prefix = stream_name(input, "logStreamNamePrefix")?;
        let streams = searched(input)?;
        // "If you specify a value for both", that is an InvalidParameterException.
        if prefix.is_some() && streams.is_some() {
            return Err(Failure::invalid("logStreamNames and logStreamNamePrefix are mutually exclusive."));
        }
        self.check_streams(name, streams.unwrap_or_default())?;
        let prefix = prefix.unwrap_or_default();
        let search = Search { group: name, prefix, streams, window, pattern: &pattern };
        let Page { found, next } = search.run(&self.logs, from).ok_or_else(Failure::no_group)?;
        let found: Vec<Value> = found.into_iter().map(describe_filtered).collect();
        let token = next.map(|place| place.to_string());
        Ok(without_null(json!({"events": found, "searchedLogStreams": [], "nextToken": token})))
    }

    /// Whether all of these are there.
    fn check_streams(&self, group: &str, names: &[Value]) -> Result<(), Failure> {
        let store = self.logs.store();
        let streams = &store.groups.get(group).ok_or_else(Failure::no_group)?.streams;
        let is_there = |name: &Value| name.as_str().is_some_and(|name| streams.contains_key(name));
        if names.iter().all(is_there) { Ok(()) } else { Err(Failure::no_stream()) }
    }
}

/// The events of PutLogEvents, as far as they can be judged by themselves.
fn read_batch(input: &Value, now_ms: i64) -> Result<Vec<Event>, Failure> {
    let given = input.get("logEvents").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if given.is_empty() || given.len() > PUT_EVENTS_MAX {
        return Err(Failure::invalid(format!("logEvents must have between 1 and {PUT_EVENTS_MAX} members")));
    }
    let read = |event: &Value| -> Result<Event, Failure> {
        let at_ms = event.get("timestamp").and_then(Value::as_i64);
        let at_ms = at_ms.ok_or_else(|| Failure::invalid("timestamp is required"))?;
        let message = text(event, "message").ok_or_else(|| Failure::invalid("message is required"))?;
        Ok(Event::new(at_ms, now_ms, message))
    };
    let events: Vec<Event> = given.iter().map(read).collect::<Result<_, _>>()?;
    check_sizes(&events)?;
    if events.windows(2).any(|pair| pair[0].at_ms > pair[1].at_ms) {
        return Err(Failure::invalid(
            "Log events in a single PutLogEvents request must be in chronological order.",
        ));
    }
    Ok(events)
}

fn check_sizes(events: &[Event]) -> Result<(), Failure> {
    let refuse = |what: &str, bytes: usize, limit: usize| {
        Err(Failure::invalid(format!("{what} too large: {bytes} bytes exceeds limit of {limit}")))
    };
    if let Some(bytes) = events.iter().map(Event::bytes).find(|bytes| *bytes > EVENT_BYTES_MAX) {
        return refuse("Log event", bytes, EVENT_BYTES_MAX);
    }
    let bytes: usize = events.iter().map(Event::bytes).sum();
    if bytes > PUT_BYTES_MAX { refuse("Upload", bytes, PUT_BYTES_MAX) } else { Ok(()) }
}

/// Which events of a batch are kept, and what AWS says of the others, if there are any: a start is the first
/// that is rejected, an end is behind the last.
fn sift(events: &[Event], group: &Group, now_ms: i64) -> (Range<usize>, Option<Value>) {
    let before = |oldest_ms| events.partition_point(|event| event.at_ms < oldest_ms);
    let too_old = before(now_ms - PAST_MAX_MS);
    let expired = group.oldest_ms(now_ms).map_or(0, before);
    let too_new = events.partition_point(|event| event.at_ms <= now_ms + FUTURE_MAX_MS);
    let accepted = too_old.max(expired)..too_new;
    let is_any = accepted.len() < events.len();
    let end = |index: usize| (index > 0).then_some(index);
    let rejected = json!({
        "tooNewLogEventStartIndex": Some(too_new).filter(|index| *index < events.len()),
        "tooOldLogEventEndIndex": end(too_old),
        "expiredLogEventEndIndex": end(expired),
    });
    (accepted, is_any.then(|| without_null(rejected)))
}

fn check_span(accepted: &[Event]) -> Result<(), Failure> {
    let (Some(first), Some(last)) = (accepted.first(), accepted.last()) else { return Ok(()) };
    if last.at_ms - first.at_ms > PUT_SPAN_MAX_MS {
        return Err(Failure::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(())
}

fn names(input: &Value) -> Result<(&str, &str), Failure> {
    let stream = stream_name(input, "logStreamName")?;
    let stream = stream.ok_or_else(|| Failure::invalid("logStreamName is required"))?;
    Ok((LogsApi::group_name(input, "logGroupName")?, stream))
}

/// The name of a stream, or how it begins: "Log stream names can be between 1 and 512 characters long. Don't use ':' (colon) or
/// '*' (asterisk) characters."
fn stream_name<'a>(input: &'a Value, member: &str) -> Result<Option<&'a str>, Failure> {
    let Some(name) = input.get(member).and_then(Value::as_str) else { return Ok(None) };
    let refuse = |constraint: &str| Err(Failure::bad_value(name, member, constraint));
    match name.chars().count() {
        0 => refuse("have length greater than or equal to 1"),
        1..=STREAM_CHARS_MAX if name.contains([':', '*']) => {
            refuse("satisfy regular expression pattern: [^:*]*")
        }
        1..=STREAM_CHARS_MAX => Ok(Some(name)),
        _ => refuse(&format!("have length less than or equal to {STREAM_CHARS_MAX}")),
    }
}

/// The streams that are named, where a search is not of all.
fn searched(input: &Value) -> Result<Option<&[Value]>, Failure> {
    let Some(names) = input.get("logStreamNames").and_then(Value::as_array) else { return Ok(None) };
    let constraint = match names.len() {
        0 => "have length greater than or equal to 1".to_owned(),
        1..=STREAMS_SEARCHED_MAX => return Ok(Some(names.as_slice())),
        _ => format!("have length less than or equal to {STREAMS_SEARCHED_MAX}"),
    };
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    Err(Failure::bad_value(&format!("[{}]", names.join(", ")), "logStreamNames", &constraint))
}

/// Whether streams are listed by the time of their last event, and not by name.
fn is_by_time(input: &Value) -> Result<bool, Failure> {
    match text(input, "orderBy") {
        None | Some("LogStreamName") => Ok(false),
        Some("LastEventTime") => Ok(true),
        Some(other) => {
            let values = "satisfy enum value set: [LogStreamName, LastEventTime]";
            Err(Failure::bad_value(other, "orderBy", values))
        }
    }
}

fn window(input: &Value) -> Result<Window, Failure> {
    let time = |member: &str, default| input.get(member).and_then(Value::as_i64).unwrap_or(default);
    Ok(Window {
        start_ms: time("startTime", i64::MIN),
        end_ms: time("endTime", i64::MAX),
        limit: limit(input, EVENTS_MAX, EVENTS_MAX)?,
    })
}

fn bad_token() -> Failure {
    Failure::invalid("The specified nextToken is invalid.")
}

fn read_key(token: &str) -> Result<StreamKey<'_>, Failure> {
    let (at_ms, name) = token.split_once(':').ok_or_else(bad_token)?;
    if at_ms.is_empty() {
        return Ok((None, name));
    }
    Ok((Some(at_ms.parse().map_err(|_| bad_token())?), name))
}

fn written((at_ms, name): StreamKey<'_>) -> String {
    at_ms.map_or_else(|| format!(":{name}"), |at_ms| format!("{at_ms}:{name}"))
}

fn describe(group_arn: &str, name: &str, stream: &Stream) -> Value {
    without_null(json!({
        "logStreamName": name, "creationTime": stream.created_ms,
        "firstEventTimestamp": stream.events.front().map(|event| event.at_ms),
        "lastEventTimestamp": stream.events.back().map(|event| event.at_ms),
        "lastIngestionTime": stream.ingested_ms,
        "uploadSequenceToken": "0", "arn": format!("{group_arn}:log-stream:{name}"), "storedBytes": 0,
    }))
}

fn describe_filtered(Found { stream, event }: Found) -> Value {
    json!({
        "logStreamName": stream, "timestamp": event.at_ms, "message": event.message,
        "ingestionTime": event.ingested_ms, "eventId": event.place().to_string(),
    })
}
