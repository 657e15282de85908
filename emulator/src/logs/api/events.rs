//! Log streams and events.

use serde_json::{Value, json};

use super::groups::without_null;
use super::{Failure, LogsApi, Outcome, limit, text};
use crate::logs::emf;
use crate::logs::page::{Cursor, EVENTS_MAX, Window, events};
use crate::logs::pattern::Pattern;
use crate::logs::store::{Event, Stream};

const STREAMS_PAGE_MAX: usize = 50;
/// "The maximum number of log events in a batch is 10,000."
const PUT_EVENTS_MAX: usize = 10_000;

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
        let prefix = text(input, "logStreamNamePrefix").unwrap_or_default();
        let skip: usize = text(input, "nextToken").map_or(Ok(0), str::parse).map_err(|_| bad_token())?;
        let store = self.logs.store();
        let group = store.groups.get(name).ok_or_else(Failure::no_group)?;
        let mut streams: Vec<(&String, &Stream)> =
            group.streams.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
        if text(input, "orderBy") == Some("LastEventTime") {
            streams.sort_by_key(|(_, stream)| stream.events.back().map(|event| event.at_ms));
        }
        if input.get("descending").and_then(Value::as_bool) == Some(true) {
            streams.reverse();
        }
        let total = streams.len();
        let arn = self.group_arn(name);
        let page: Vec<Value> = streams
            .into_iter()
            .skip(skip)
            .take(page_max)
            .map(|(name, stream)| describe(&arn, name, stream))
            .collect();
        let next = skip + page.len();
        let token = (next < total).then(|| next.to_string());
        Ok(without_null(json!({"logStreams": page, "nextToken": token})))
    }

    pub(super) fn put_events(&self, input: &Value) -> Outcome {
        let (group, stream) = names(input)?;
        let given = input.get("logEvents").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if given.is_empty() || given.len() > PUT_EVENTS_MAX {
            return Err(Failure::invalid(format!(
                "logEvents must have between 1 and {PUT_EVENTS_MAX} members"
            )));
        }
        let now_ms = self.settings.clock.now_ms();
        let read = |event: &Value| -> Result<Event, Failure> {
            let at_ms = event.get("timestamp").and_then(Value::as_i64);
            let at_ms = at_ms.ok_or_else(|| Failure::invalid("timestamp is required"))?;
            let message = text(event, "message").ok_or_else(|| Failure::invalid("message is required"))?;
            Ok(Event { at_ms, ingested_ms: now_ms, message: message.into() })
        };
        let read: Vec<Event> = given.iter().map(read).collect::<Result<_, _>>()?;
        if read.windows(2).any(|pair| pair[0].at_ms > pair[1].at_ms) {
            return Err(Failure::invalid(
                "Log events in a single PutLogEvents request must be in chronological order.",
            ));
        }
        let mut store = self.logs.store();
        let known = store.groups.get(group).ok_or_else(Failure::no_group)?;
        if !known.streams.contains_key(stream) {
            return Err(Failure::no_stream());
        }
        for event in read {
            emf::record(&self.logs.metrics, now_ms, &event.message);
            store.append(group, stream, event, now_ms);
        }
        Ok(json!({"nextSequenceToken": "0"}))
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
        let skip: usize = text(input, "nextToken").map_or(Ok(0), str::parse).map_err(|_| bad_token())?;
        let pattern = text(input, "filterPattern").unwrap_or_default();
        let pattern = Pattern::parse(pattern).ok_or_else(|| {
            Failure::invalid("Only patterns of terms are emulated, not JSON or space-delimited ones.")
        })?;
        let prefix = text(input, "logStreamNamePrefix").unwrap_or_default();
        let wanted = input.get("logStreamNames").and_then(Value::as_array);
        let is_wanted = |name: &str| {
            name.starts_with(prefix)
                && wanted.is_none_or(|names| names.iter().any(|given| given.as_str() == Some(name)))
        };
        let store = self.logs.store();
        let group = store.groups.get(name).ok_or_else(Failure::no_group)?;
        let mut found: Vec<(&str, &Event, u64)> = Vec::new();
        for (name, stream) in group.streams.iter().filter(|(name, _)| is_wanted(name)) {
            let numbered = stream.numbered();
            let matching =
                numbered.filter(|(event, _)| window.holds(event) && pattern.matches(&event.message));
            found.extend(matching.map(|(event, number)| (name.as_str(), event, number)));
        }
        found.sort_by_key(|(_, event, _)| event.at_ms);
        let total = found.len();
        let page: Vec<Value> =
            found.into_iter().skip(skip).take(window.limit).map(describe_filtered).collect();
        let next = skip + page.len();
        let token = (next < total).then(|| next.to_string());
        Ok(without_null(json!({"events": page, "searchedLogStreams": [], "nextToken": token})))
    }
}

fn names(input: &Value) -> Result<(&str, &str), Failure> {
    let stream = text(input, "logStreamName").ok_or_else(|| Failure::invalid("logStreamName is required"))?;
    Ok((LogsApi::group_name(input, "logGroupName")?, stream))
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

fn describe(group_arn: &str, name: &str, stream: &Stream) -> Value {
    without_null(json!({
        "logStreamName": name, "creationTime": stream.created_ms,
        "firstEventTimestamp": stream.events.front().map(|event| event.at_ms),
        "lastEventTimestamp": stream.events.back().map(|event| event.at_ms),
        "lastIngestionTime": stream.events.back().map(|event| event.ingested_ms),
        "uploadSequenceToken": "0", "arn": format!("{group_arn}:log-stream:{name}"), "storedBytes": 0,
    }))
}

fn describe_filtered((stream, event, number): (&str, &Event, u64)) -> Value {
    json!({
        "logStreamName": stream, "timestamp": event.at_ms, "message": event.message,
        "ingestionTime": event.ingested_ms, "eventId": format!("{:020}{number:020}", event.at_ms),
    })
}
