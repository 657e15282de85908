//! Events as a caller meets them, on a clock that is moved by hand.

mod metric_filters;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::repeatable;

const START_MS: i64 = 1_800_000_000_000;
const HOUR_MS: i64 = 3600 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Counted with the 26 bytes of an event.
const LONGEST: usize = 1024 * 1024 - 26;

/// An account with the group `g` and the streams `a` and `b` in it.
fn account() -> LogsApi {
    account_and_hand().0
}

/// The hand moves the clock.
fn account_and_hand() -> (LogsApi, Arc<ManualClock>) {
    let (settings, hand) = Settings::by_hand(START_MS);
    let account = LogsApi::new(&settings);
    account.call("CreateLogGroup", &json!({"logGroupName": "g"})).unwrap();
    for stream in ["a", "b"] {
        account.call("CreateLogStream", &json!({"logGroupName": "g", "logStreamName": stream})).unwrap();
    }
    (account, hand)
}

impl LogsApi {
    /// Events by how long after the start they are.
    fn put(&self, stream: &str, events: &[(i64, &str)]) -> Outcome {
        let event =
            |(after_ms, message): &(i64, &str)| json!({"timestamp": START_MS + after_ms, "message": message});
        let events: Vec<Value> = events.iter().map(event).collect();
        let input = json!({"logGroupName": "g", "logStreamName": stream, "logEvents": events});
        self.call("PutLogEvents", &input)
    }

    /// GetLogEvents of the stream `a`, with other members.
    fn page(&self, members: Value) -> Value {
        let mut input = json!({"logGroupName": "g", "logStreamName": "a", "startFromHead": true});
        input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.call("GetLogEvents", &input).unwrap()
    }

    /// FilterLogEvents of all streams, with other members.
    fn filtered(&self, members: Value) -> Value {
        let mut input = json!({"logGroupName": "g"});
        input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.call("FilterLogEvents", &input).unwrap()
    }
}

fn all<'a>(page: &'a Value, member: &str) -> Vec<&'a str> {
    page["events"].as_array().unwrap().iter().map(|event| event[member].as_str().unwrap()).collect()
}

fn messages(page: &Value) -> Vec<&str> {
    all(page, "message")
}

fn refusal(outcome: Outcome) -> String {
    let refused = outcome.unwrap_err();
    assert_eq!(refused.shape, "InvalidParameterException");
    refused.message
}

#[test]
fn an_event_has_an_id_of_its_own_and_keeps_it() {
    let account = account();
    account.put("a", &[(5, "first"), (5, "second")]).unwrap();
    account.put("b", &[(5, "third")]).unwrap();
    let before = account.filtered(json!({}));
    assert_eq!(messages(&before), ["first", "second", "third"]);
    let ids = all(&before, "eventId");
    assert!(ids.is_sorted() && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    account.put("a", &[(3, "late")]).unwrap();
    let after = account.filtered(json!({}));
    assert_eq!(messages(&after), ["late", "first", "second", "third"]);
    assert_eq!(all(&after, "eventId")[1..], ids);
}

#[test]
fn a_reader_meets_no_event_twice_when_one_comes_late() {
    let account = account();
    account.put("a", &[(5, "first"), (6, "second")]).unwrap();
    let read = account.page(json!({}));
    assert_eq!(messages(&read), ["first", "second"]);
    account.put("a", &[(5, "late"), (7, "third")]).unwrap();
    let token = |page: &Value, way: &str| json!({"nextToken": page[way]});
    let next = account.page(token(&read, "nextForwardToken"));
    assert_eq!(messages(&next), ["third"]);
    let end = account.page(token(&next, "nextForwardToken"));
    assert_eq!((messages(&end), &end["nextForwardToken"]), (vec![], &next["nextForwardToken"]));
    let back = account.page(token(&next, "nextBackwardToken"));
    assert_eq!(messages(&back), ["first", "late", "second"]);
    assert_eq!(messages(&account.page(token(&back, "nextBackwardToken"))), Vec::<&str>::new());
}

#[test]
fn an_empty_stream_is_read_on_from_either_end_once_it_has_events() {
    let account = account();
    let tokens =
        [true, false].map(|head| account.page(json!({"startFromHead": head}))["nextForwardToken"].clone());
    account.put("a", &[(5, "first")]).unwrap();
    for token in tokens {
        assert_eq!(messages(&account.page(json!({"nextToken": token}))), ["first"]);
    }
}

#[test]
fn pages_of_all_streams_neither_repeat_nor_skip_an_event_when_one_comes_late() {
    let account = account();
    account.put("a", &[(5, "first"), (6, "third")]).unwrap();
    account.put("b", &[(5, "second")]).unwrap();
    let first = account.filtered(json!({"limit": 1}));
    account.put("b", &[(4, "late")]).unwrap();
    let second = account.filtered(json!({"limit": 1, "nextToken": first["nextToken"]}));
    let third = account.filtered(json!({"limit": 1, "nextToken": second["nextToken"]}));
    assert_eq!([&first, &second, &third].map(messages), [["first"], ["second"], ["third"]]);
    assert_eq!(third.get("nextToken"), None);
}

/// The names of the streams on a page of DescribeLogStreams, and the token of the next.
fn streams(account: &LogsApi, members: &Value, token: &Value) -> (Vec<String>, Value) {
    let mut input = json!({"logGroupName": "g", "limit": 2, "nextToken": token});
    input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let page = account.call("DescribeLogStreams", &input).unwrap();
    let name = |stream: &Value| stream["logStreamName"].as_str().unwrap().to_owned();
    (page["logStreams"].as_array().unwrap().iter().map(name).collect(), page["nextToken"].clone())
}

#[test]
fn a_stream_that_is_deleted_between_two_pages_takes_no_other_off_them() {
    for (members, first, rest) in [
        (json!({}), ["a", "b"], ["c", "d"]),
        (json!({"descending": true}), ["d", "c"], ["b", "a"]),
        (json!({"orderBy": "LastEventTime"}), ["a", "d"], ["c", "b"]),
        (json!({"orderBy": "LastEventTime", "descending": true}), ["b", "c"], ["d", "a"]),
    ] {
        let account = account();
        for name in ["c", "d"] {
            account.call("CreateLogStream", &json!({"logGroupName": "g", "logStreamName": name})).unwrap();
        }
        // `a` has no event.
        for (after_ms, name) in [(1, "d"), (2, "c"), (3, "b")] {
            account.put(name, &[(after_ms, "event")]).unwrap();
        }
        let (shown, token) = streams(&account, &members, &Value::Null);
        assert_eq!(shown, first, "{members}");
        for name in first {
            account.call("DeleteLogStream", &json!({"logGroupName": "g", "logStreamName": name})).unwrap();
        }
        let (shown, token) = streams(&account, &members, &token);
        assert_eq!((shown, token), (rest.map(str::to_owned).to_vec(), Value::Null), "{members}");
    }
}

#[test]
fn a_token_that_nobody_was_given_is_refused() {
    let account = account();
    let refused = |token: &str| {
        refusal(account.call("DescribeLogStreams", &json!({"logGroupName": "g", "nextToken": token})))
    };
    for token in ["2", "x:a"] {
        assert_eq!(refused(token), "The specified nextToken is invalid.", "{token}");
    }
    for token in ["2", "f/2", "x/00000000000000000000000000000000000000000"] {
        let input = json!({"logGroupName": "g", "logStreamName": "a", "nextToken": token});
        for operation in ["GetLogEvents", "FilterLogEvents"] {
            let refused = refusal(account.call(operation, &input));
            assert_eq!(refused, "The specified nextToken is invalid.", "{operation} {token}");
        }
    }
}

#[test]
fn events_that_are_too_old_too_new_or_expired_are_named_and_the_others_kept() {
    let (minute_ms, far) = (60_000, HOUR_MS * 2);
    let events = [
        (-15 * DAY_MS, "too old"),
        (-14 * DAY_MS - 1, "too old"),
        (-2 * DAY_MS, "expired"),
        (-DAY_MS + minute_ms, "kept"),
        (0, "kept"),
        (far + 1, "too new"),
    ];
    for (retention_days, batch, rejected, kept) in [
        (
            Some(1),
            &events[..],
            json!({"tooNewLogEventStartIndex": 5, "tooOldLogEventEndIndex": 2, "expiredLogEventEndIndex": 3}),
            2,
        ),
        (Some(3), &events[1..3], json!({"tooOldLogEventEndIndex": 1, "expiredLogEventEndIndex": 1}), 1),
        (None, &events[1..3], json!({"tooOldLogEventEndIndex": 1}), 1),
        (None, &events[5..], json!({"tooNewLogEventStartIndex": 0}), 0),
        (Some(1), &events[3..5], Value::Null, 2),
        (None, &[(-14 * DAY_MS, "kept")][..], Value::Null, 1),
        (None, &[(far, "kept")][..], Value::Null, 1),
    ] {
        let account = account();
        if let Some(days) = retention_days {
            let input = json!({"logGroupName": "g", "retentionInDays": days});
            account.call("PutRetentionPolicy", &input).unwrap();
        }
        let answer = account.put("a", batch).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], rejected, "{batch:?}");
        assert_eq!(messages(&account.page(json!({}))).len(), kept, "{batch:?}");
    }
}

#[test]
fn the_kept_events_of_a_batch_span_a_day_at_most() {
    let account = account();
    let why = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.";
    assert_eq!(refusal(account.put("a", &[(-DAY_MS - 1, "first"), (0, "last")])), why);
    assert_eq!(messages(&account.page(json!({}))), Vec::<&str>::new());
    account.put("a", &[(-15 * DAY_MS, "too old"), (-DAY_MS, "first"), (0, "last")]).unwrap();
    assert_eq!(messages(&account.page(json!({}))), ["first", "last"]);
}

#[test]
fn an_event_and_a_batch_have_a_size_in_bytes() {
    let account = account();
    let two_bytes_each = |count: usize| "\u{e9}".repeat(count);
    let too_long = two_bytes_each(LONGEST / 2 + 1);
    let why = "Log event too large: 1048578 bytes exceeds limit of 1048576";
    assert_eq!(refusal(account.put("a", &[(0, "short"), (0, too_long.as_str())])), why);
    let half = "x".repeat(LONGEST / 2);
    let why = "Upload too large: 1048602 bytes exceeds limit of 1048576";
    assert_eq!(refusal(account.put("a", &[(0, half.as_str()), (0, half.as_str())])), why);
    assert_eq!(messages(&account.page(json!({}))), Vec::<&str>::new());
    account.put("a", &[(0, two_bytes_each(LONGEST / 2).as_str())]).unwrap();
    assert_eq!(messages(&account.page(json!({}))).len(), 1);
}

#[test]
fn an_event_that_is_larger_than_a_page_is_read_past() {
    let account = account();
    // Functions and gateways write without the limits of the API.
    let large = "x".repeat(2 * 1024 * 1024);
    for message in ["before", large.as_str(), "after"] {
        account.logs.put("g", "a", START_MS, message);
    }
    let (mut token, mut lengths) = (Value::Null, Vec::new());
    for _ in 0..3 {
        let page = account.page(json!({ "nextToken": token }));
        lengths.push(messages(&page).iter().map(|message| message.len()).collect::<Vec<_>>());
        token = page["nextForwardToken"].clone();
    }
    assert_eq!(lengths, [vec!["before".len()], vec![large.len()], vec!["after".len()]]);
}

#[test]
fn a_page_of_a_search_has_a_size_in_bytes_and_the_next_begins_with_what_was_left_out() {
    let account = account();
    let lengths = [600 * 1024, 424 * 1024, 1, 2 * 1024 * 1024, 2];
    for length in lengths {
        account.logs.put("g", "a", START_MS, &"x".repeat(length));
    }
    let (mut token, mut pages) = (Value::Null, Vec::new());
    loop {
        let page = account.filtered(json!({ "nextToken": token }));
        pages.push(messages(&page).iter().map(|message| message.len()).collect::<Vec<_>>());
        let Some(next) = page.get("nextToken") else { break };
        token = next.clone();
    }
    assert_eq!(pages, [&lengths[..2], &lengths[2..3], &lengths[3..4], &lengths[4..]]);
}

#[test]
fn an_event_at_the_end_is_among_those_of_a_search_and_not_among_those_of_its_stream() {
    let account = account();
    account.put("a", &[(4, "before"), (5, "at"), (6, "after")]).unwrap();
    let end = json!({"endTime": START_MS + 5});
    assert_eq!(messages(&account.filtered(end.clone())), ["before", "at"]);
    assert_eq!(messages(&account.page(end)), ["before"]);
}

#[test]
fn a_search_names_streams_or_how_they_begin() {
    let account = account();
    for stream in ["a", "b"] {
        account.put(stream, &[(0, stream)]).unwrap();
    }
    let (names, prefix) = (json!({"logStreamNames": ["a", "b"]}), json!({"logStreamNamePrefix": "a"}));
    assert_eq!(messages(&account.filtered(names)), ["a", "b"]);
    assert_eq!(messages(&account.filtered(prefix)), ["a"]);
    let both = json!({"logGroupName": "g", "logStreamNames": ["a", "b"], "logStreamNamePrefix": "a"});
    let refused = refusal(account.call("FilterLogEvents", &both));
    assert_eq!(refused, "logStreamNames and logStreamNamePrefix are mutually exclusive.");
}

/// What AWS says of a value that its model does not let in.
fn bad_value(value: &str, member: &str, constraint: &str) -> String {
    format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must {constraint}"
    )
}

#[test]
fn a_search_of_streams_that_are_not_there_is_refused() {
    let account = account();
    let search = |names: Value| {
        account.call("FilterLogEvents", &json!({"logGroupName": "g", "logStreamNames": names}))
    };
    assert_eq!(search(json!(["a", "gone"])).unwrap_err(), Failure::no_stream());
    let least = bad_value("[]", "logStreamNames", "have length greater than or equal to 1");
    assert_eq!(refusal(search(json!([]))), least);
    let refused = refusal(search(json!(vec!["a"; 101])));
    assert!(refused.ends_with("Member must have length less than or equal to 100"), "{refused}");
    search(json!(vec!["a"; 100])).unwrap();
    let input = json!({"logGroupName": "gone", "logStreamNames": ["a"]});
    assert_eq!(account.call("FilterLogEvents", &input).unwrap_err(), Failure::no_group());
}

#[test]
fn the_name_of_a_stream_is_of_512_characters_at_most_without_colons_and_asterisks() {
    let account = account();
    let (longest, longer) = ("\u{e9}".repeat(512), "x".repeat(513));
    let pattern = "satisfy regular expression pattern: [^:*]*";
    for (name, constraint) in [
        ("", "have length greater than or equal to 1"),
        ("a:b", pattern),
        ("a*", pattern),
        (longer.as_str(), "have length less than or equal to 512"),
    ] {
        for (operation, member) in [
            ("CreateLogStream", "logStreamName"),
            ("DescribeLogStreams", "logStreamNamePrefix"),
            ("FilterLogEvents", "logStreamNamePrefix"),
        ] {
            let refused = refusal(account.call(operation, &json!({"logGroupName": "g", member: name})));
            assert_eq!(refused, bad_value(name, member, constraint), "{operation}");
        }
    }
    for name in [longest.as_str(), "2026/01/01/[$LATEST]0123"] {
        account.call("CreateLogStream", &json!({"logGroupName": "g", "logStreamName": name})).unwrap();
    }
}

#[test]
fn streams_are_listed_by_name_or_by_the_time_of_their_last_event() {
    let account = account();
    let refused = |members: Value| {
        let mut input = json!({"logGroupName": "g"});
        input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        refusal(account.call("DescribeLogStreams", &input))
    };
    let values = "satisfy enum value set: [LogStreamName, LastEventTime]";
    assert_eq!(refused(json!({"orderBy": "name"})), bad_value("name", "orderBy", values));
    let both = refused(json!({"orderBy": "LastEventTime", "logStreamNamePrefix": "a"}));
    assert_eq!(both, "Cannot order by LastEventTime with a logStreamNamePrefix.");
    let by_name = json!({"orderBy": "LogStreamName", "logStreamNamePrefix": "a"});
    assert_eq!(streams(&account, &by_name, &Value::Null).0, ["a"]);
}

#[test]
fn a_stream_tells_when_its_last_event_came_whatever_the_time_of_that() {
    let (account, hand) = account_and_hand();
    account.put("a", &[(5, "first")]).unwrap();
    hand.advance(Duration::from_secs(60));
    account.put("a", &[(3, "late")]).unwrap();
    let found = account.call("DescribeLogStreams", &json!({"logGroupName": "g"})).unwrap();
    let (a, b) = (&found["logStreams"][0], &found["logStreams"][1]);
    let last = [&a["lastEventTimestamp"], &a["lastIngestionTime"]];
    assert_eq!(last, [&json!(START_MS + 5), &json!(START_MS + 60_000)]);
    assert_eq!(b.get("lastIngestionTime"), None, "of a stream to which none came");
}

#[tokio::test]
async fn a_group_shows_the_key_that_it_was_given_until_it_is_taken() {
    let account = account();
    let key = |number: u32| format!("arn:aws:kms:us-east-1:123456789012:key/{number}");
    account.call("CreateLogGroup", &json!({"logGroupName": "h", "kmsKeyId": key(1)})).unwrap();
    let shown = || {
        let found = account.call("DescribeLogGroups", &json!({"logGroupNamePrefix": "h"})).unwrap();
        found["logGroups"][0].get("kmsKeyId").cloned()
    };
    assert_eq!(shown(), Some(json!(key(1))));
    account.call("AssociateKmsKey", &json!({"logGroupName": "h", "kmsKeyId": key(2)})).unwrap();
    assert_eq!(shown(), Some(json!(key(2))));
    let arn = account.group_arn("h");
    account.call("AssociateKmsKey", &json!({"resourceIdentifier": arn, "kmsKeyId": key(3)})).unwrap();
    assert_eq!(shown(), Some(json!(key(3))));
    account.call("DisassociateKmsKey", &json!({ "resourceIdentifier": arn })).unwrap();
    assert_eq!(shown(), None);
    for input in [
        json!({"kmsKeyId": key(1)}),
        json!({"logGroupName": "h"}),
        json!({"logGroupName": "h", "resourceIdentifier": arn, "kmsKeyId": key(1)}),
        json!({"resourceIdentifier": "arn:aws:logs:us-east-1:123456789012:query-result:*", "kmsKeyId": key(1)}),
    ] {
        refusal(account.call("AssociateKmsKey", &input));
    }
    let missing = account.call("AssociateKmsKey", &json!({"logGroupName": "gone", "kmsKeyId": key(1)}));
    assert_eq!(missing.unwrap_err(), Failure::no_group());
    let no_arn = json!({"logGroupName": "i", "kmsKeyId": "1"});
    let refused = refusal(account.call("CreateLogGroup", &no_arn));
    assert_eq!(refused, "The specified KMS Key Id could not be found.");
    let again = async { account.call("CreateLogGroup", &no_arn) };
    repeatable::scope_again(0, 1, START_MS, again).await.unwrap();
}

#[test]
fn groups_are_found_by_name_by_class_and_by_identifier() {
    let account = account();
    for (name, class) in [("app/Data", json!("INFREQUENT_ACCESS")), ("app/data", json!("STANDARD"))] {
        account.call("CreateLogGroup", &json!({"logGroupName": name, "logGroupClass": class})).unwrap();
    }
    let found = |input: Value| {
        let found = account.call("DescribeLogGroups", &input).unwrap();
        let groups = found["logGroups"].as_array().unwrap().iter();
        groups.map(|group| group["logGroupName"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let arn = account.group_arn("app/data");
    for (input, names) in [
        (json!({}), "app/Data app/data g"),
        (json!({"logGroupNamePrefix": "app/d"}), "app/data"),
        (json!({"logGroupNamePattern": "Data"}), "app/Data"),
        (json!({"logGroupNamePattern": "data"}), "app/data"),
        (json!({"logGroupClass": "STANDARD"}), "app/data g"),
        (json!({"logGroupClass": "INFREQUENT_ACCESS"}), "app/Data"),
        (json!({"logGroupIdentifiers": ["g", arn.clone()]}), "app/data g"),
        (json!({"logGroupIdentifiers": [format!("{arn}:*"), "gone"]}), "app/data"),
    ] {
        assert_eq!(found(input.clone()), names, "{input}");
    }
    let both = json!({"logGroupNamePrefix": "app", "logGroupNamePattern": "data"});
    let why = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.";
    assert_eq!(refusal(account.call("DescribeLogGroups", &both)), why);
}

#[tokio::test]
async fn a_protected_group_is_not_deleted() {
    let account = account();
    let protected = json!({"logGroupName": "p", "deletionProtectionEnabled": true});
    account.call("CreateLogGroup", &protected).unwrap();
    let shown = |name: &str| {
        let found = account.call("DescribeLogGroups", &json!({ "logGroupNamePrefix": name })).unwrap();
        found["logGroups"][0]["deletionProtectionEnabled"].clone()
    };
    let delete = |name: &str| account.call("DeleteLogGroup", &json!({ "logGroupName": name }));
    let protect = |group: &str, is_protected: Value| {
        let input = json!({"logGroupIdentifier": group, "deletionProtectionEnabled": is_protected});
        account.call("PutLogGroupDeletionProtection", &input)
    };
    let why = "Cannot delete log group with deletion protection enabled. Disable deletion protection first.";
    let refused = Failure::new("ValidationException", why);
    assert_eq!((shown("p"), shown("g")), (json!(true), json!(false)));
    assert_eq!(delete("p"), Err(refused.clone()));
    protect(&account.group_arn("p"), json!(false)).unwrap();
    delete("p").unwrap();
    protect("g", json!(true)).unwrap();
    assert_eq!((shown("g"), delete("g")), (json!(true), Err(refused)));
    assert_eq!(refusal(protect("g", Value::Null)), "deletionProtectionEnabled is required");
    assert_eq!(protect("gone", json!(true)), Err(Failure::no_group()));
    repeatable::scope_again(0, 1, START_MS, async { delete("g") }).await.unwrap();
}

#[tokio::test]
async fn a_group_is_of_a_class_that_there_is() {
    let account = account();
    let create = |class: &str| {
        let input = json!({"logGroupName": class, "logGroupClass": class});
        account.call("CreateLogGroup", &input)
    };
    for class in ["STANDARD", "INFREQUENT_ACCESS", "DELIVERY"] {
        create(class).unwrap();
    }
    let refused = refusal(create("standard"));
    assert!(refused.contains("'standard' at 'logGroupClass'"), "{refused}");
    repeatable::scope_again(0, 1, START_MS, async { create("standard") }).await.unwrap();
}

#[test]
fn an_event_that_is_rejected_is_no_metric() {
    let account = account();
    let directive = json!({"Namespace": "N", "Metrics": [{"Name": "M"}]});
    let line = json!({"_aws": {"Timestamp": START_MS, "CloudWatchMetrics": [directive]}, "M": 1}).to_string();
    for (after_ms, count) in [(-15 * DAY_MS, 0), (0, 1)] {
        account.put("a", &[(after_ms, line.as_str())]).unwrap();
        assert_eq!(account.logs.metrics.list(0).len(), count, "{after_ms}");
    }
}
