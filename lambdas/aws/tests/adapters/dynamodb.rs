//! The table of tasks.

use serde_json::{Value, json};
use task_aws::sdk;
use task_aws::tasks::DynamoTasks;
use task_core::error::ErrorClass;
use task_core::limits;
use task_core::list::SortKey;
use task_core::ports::{
    Created, Extended, OpenTasks as _, OwnerIndex as _, ShardQuery, Swapped, TaskStore as _,
};
use task_core::record::{Mover, TaskRecord};
use task_core::state::{Event, Judge, Lease};
use task_core::testing::digest;
use task_core::wire::{Status, TaskError};
use task_core::{EpochMs, LeaseToken, Owner};

use crate::replay::{Replay, Reply, error, ok};

const ID: &str = "0193b0e2-7c00-7000-8000-000000000001";
const SHARDS: u16 = 2;

/// What is answered, what it means, and how many attempts the SDK makes.
type Case = (fn() -> Reply, ErrorClass, usize);

fn queued() -> TaskRecord {
    TaskRecord::queued(&digest(ID.parse().unwrap(), &Owner::parse("alice").unwrap(), EpochMs(1_000)))
}

fn lease(number: u8, until: u64) -> Lease {
    let token: LeaseToken = format!("00000000-0000-4000-8000-0000000000{number:02}").parse().unwrap();
    Lease { token, until: EpochMs(until) }
}

fn running() -> TaskRecord {
    queued().advance(&Event::Claim(lease(1, 5_000)), EpochMs(2_000)).unwrap()
}

/// `claimed` at its end, by the holder of the lease of this number.
fn succeeded(claimed: &TaskRecord, holder: u8, at: u64) -> TaskRecord {
    let end = Event::Succeed { token: lease(holder, 0).token, result: json!({"sha256": "0"}) };
    claimed.advance(&end, EpochMs(at)).unwrap()
}

/// The item of [`running`], as the table has it.
fn item() -> Value {
    json!({
        "task_id": {"S": ID}, "owner": {"S": "alice"}, "owner_shard": {"S": "alice#1"},
        "owner_sort": {"S": format!("0000000001000#{ID}")}, "kind": {"S": "digest"}, "payload": {"S": r#"{"text":"a"}"#},
        "status": {"S": "running"}, "version": {"N": "2"}, "attempts": {"N": "1"}, "deliveries": {"N": "0"},
        "completions": {"N": "0"}, "lease_token": {"S": lease(1, 0).token.to_string()}, "lease_until_ms": {"N": "5000"},
        "created_at_ms": {"N": "1000"}, "updated_at_ms": {"N": "2000"},
        "request_hash": {"S": queued().request_hash.to_string()},
        "history": {"L": [{"S": "1 queued 1000"}, {"S": "2 running 2000"}]}, "expires_at_seconds": {"N": "2592002"},
    })
}

fn conflict(item: Option<Value>) -> Reply {
    let mut body =
        json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "m"});
    if let Some(item) = item {
        body["Item"] = item;
    }
    Reply::Answer { status: 400, body }
}

fn tasks(replay: &Replay) -> DynamoTasks {
    DynamoTasks::new(sdk::dynamodb(&replay.sdk), "tasks", SHARDS)
}

#[tokio::test]
async fn a_claim_is_one_update_under_a_condition_on_what_the_record_was() {
    let replay = Replay::start([ok(json!({}))]).await;
    assert_eq!(tasks(&replay).swap(&queued(), &running(), Mover::Other).await, Ok(Swapped::Done));
    let body = replay.only_body();
    assert_eq!(replay.asked()[0].0, "UpdateItem");
    assert_eq!(
        body["ConditionExpression"],
        "#version = :if_version AND #request_hash = :if_request_hash AND #created_at_ms = :if_created_at_ms \
         AND attribute_not_exists(#lease_token)"
    );
    assert_eq!(body["ReturnValuesOnConditionCheckFailure"], "ALL_OLD");
    assert_eq!(body["ExpressionAttributeValues"][":version"]["N"], "2");
    assert_eq!(body["ExpressionAttributeValues"][":history"]["L"][0]["S"], "2 running 2000");
}

/// Also when the work needed no lease and is over, and when an audit says that nobody is at it any more.
#[tokio::test]
async fn a_takeover_also_asks_for_the_end_of_the_lease_that_it_takes_over() {
    let taken_over = running().advance(&Event::Claim(lease(2, 9_000)), EpochMs(6_000)).unwrap();
    let error = TaskError { kind: "dead_lettered".into(), message: "m".into() };
    let buried = Event::DeadLetter { judge: Judge::Auditor, error };
    let buried = running().advance(&buried, EpochMs(6_000)).unwrap();
    for after in [taken_over.clone(), succeeded(&taken_over, 2, 6_000), buried] {
        let replay = Replay::start([ok(json!({}))]).await;
        assert_eq!(tasks(&replay).swap(&running(), &after, Mover::Other).await, Ok(Swapped::Done));
        let condition = replay.only_body()["ConditionExpression"].as_str().unwrap().to_owned();
        assert!(
            condition.ends_with("#lease_token = :if_lease_token AND #lease_until_ms = :if_lease_until_ms"),
            "{condition}"
        );
    }
}

#[tokio::test]
async fn the_end_of_an_attempt_asks_for_the_token_alone_since_a_heartbeat_may_have_moved_the_end() {
    let replay = Replay::start([ok(json!({}))]).await;
    let after = succeeded(&running(), 1, 3_000);
    assert_eq!(tasks(&replay).swap(&running(), &after, Mover::Holder).await, Ok(Swapped::Done));
    let condition = replay.only_body()["ConditionExpression"].as_str().unwrap().to_owned();
    assert!(condition.ends_with("#lease_token = :if_lease_token"), "{condition}");
}

#[tokio::test]
async fn work_without_a_lease_is_claimed_and_ended_by_one_update_that_notes_both() {
    let replay = Replay::start([ok(json!({}))]).await;
    let after = succeeded(&running(), 1, 2_000);
    assert_eq!(tasks(&replay).swap(&queued(), &after, Mover::Other).await, Ok(Swapped::Done));
    let body = replay.only_body();
    let values = &body["ExpressionAttributeValues"];
    assert_eq!(
        values[":history"],
        json!({"L": [{"S": "2 running 2000"}, {"S": "3 succeeded 2000"}]}),
        "no version is missing"
    );
    let numbers = [":version", ":attempts", ":completions"].map(|name| values[name]["N"].as_str().unwrap());
    assert_eq!(numbers, ["3", "1", "1"]);
    let expression = body["UpdateExpression"].as_str().unwrap();
    let (_, removed) = expression.split_once("REMOVE").unwrap();
    assert!(removed.contains("#lease_token") && removed.contains("#lease_until_ms"), "{expression}");
    let condition = body["ConditionExpression"].as_str().unwrap();
    assert!(condition.ends_with("attribute_not_exists(#lease_token)"), "{condition}");
}

#[tokio::test]
async fn a_lost_race_says_what_the_record_is_now() {
    let replay = Replay::start([conflict(Some(item())), conflict(None)]).await;
    let swapped = tasks(&replay).swap(&queued(), &running(), Mover::Other).await;
    assert_eq!(swapped, Ok(Swapped::Conflict(Some(Box::new(running())))));
    assert_eq!(tasks(&replay).swap(&queued(), &running(), Mover::Other).await, Ok(Swapped::Conflict(None)));
}

#[tokio::test]
async fn a_record_that_exists_is_not_made_again() {
    let replay = Replay::start([ok(json!({})), conflict(Some(item()))]).await;
    assert_eq!(tasks(&replay).create(&queued()).await, Ok(Created::New));
    assert_eq!(tasks(&replay).create(&queued()).await, Ok(Created::Exists(Box::new(running()))));
    assert_eq!(replay.asked()[0].1["ConditionExpression"], "attribute_not_exists(task_id)");
}

#[tokio::test]
async fn what_is_written_is_what_is_read() {
    let replay = Replay::start([ok(json!({})), ok(json!({"Item": item()}))]).await;
    let tasks = tasks(&replay);
    tasks.create(&running()).await.unwrap();
    let shards = replay.asked()[0].1["Item"]["owner_shard"].clone();
    let mut written = replay.asked()[0].1["Item"].clone();
    written["owner_shard"] = item()["owner_shard"].clone();
    assert_eq!(written, item());
    assert!(shards["S"].as_str().unwrap().starts_with("alice#"));
    assert_eq!(tasks.get(running().id).await, Ok(Some(running())));
}

#[tokio::test]
async fn a_heartbeat_touches_the_lease_alone_and_only_while_it_is_held() {
    let replay = Replay::start([ok(json!({})), conflict(None), conflict(Some(item()))]).await;
    let tasks = tasks(&replay);
    assert_eq!(tasks.extend(running().id, lease(1, 9_000)).await, Ok(Extended::Yes));
    assert_eq!(tasks.extend(running().id, lease(1, 9_000)).await, Ok(Extended::Lost), "the record is gone");
    assert_eq!(
        tasks.extend(running().id, lease(2, 9_000)).await,
        Ok(Extended::Lost),
        "another has taken over"
    );
    let asked = &replay.asked()[0].1;
    assert_eq!(asked["UpdateExpression"], "SET lease_until_ms = :until");
    assert_eq!(asked["ConditionExpression"], "lease_token = :token AND lease_until_ms <= :until");
    assert_eq!(asked["ReturnValuesOnConditionCheckFailure"], "ALL_OLD");
}

/// The first attempt of a heartbeat may arrive after the heartbeat that followed it.
#[tokio::test]
async fn a_heartbeat_that_comes_late_leaves_the_longer_lease_and_loses_nothing() {
    // The table has a lease until 5,000.
    let replay = Replay::start([conflict(Some(item()))]).await;
    assert_eq!(tasks(&replay).extend(running().id, lease(1, 4_000)).await, Ok(Extended::Yes));
    let asked = replay.only_body();
    assert_eq!(asked["ExpressionAttributeValues"][":until"]["N"], "4000");
    assert_eq!(asked["ConditionExpression"], "lease_token = :token AND lease_until_ms <= :until");
}

#[tokio::test]
async fn failures_are_classed_by_what_they_mean_and_tried_twice_at_most() {
    let throttled = || error(400, "com.amazon.coral.availability#ThrottlingException");
    let cases: [Case; 6] = [
        (|| error(400, "com.amazon.coral.availability#ThrottlingException"), ErrorClass::Throttled, 2),
        (
            || error(400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
            ErrorClass::Throttled,
            2,
        ),
        (|| error(500, "com.amazonaws.dynamodb.v20120810#InternalServerError"), ErrorClass::Unknown, 2),
        (|| error(503, "ServiceUnavailable"), ErrorClass::Unknown, 2),
        (|| error(400, "com.amazon.coral.validate#ValidationException"), ErrorClass::Permanent, 1),
        (|| error(400, "com.amazon.coral.service#AccessDeniedException"), ErrorClass::Permanent, 1),
    ];
    for (reply, class, attempts) in cases {
        let replay = Replay::start([reply(), reply()]).await;
        let failed = tasks(&replay).swap(&queued(), &running(), Mover::Other).await.unwrap_err();
        assert_eq!((failed.class, replay.asked().len()), (class, attempts), "{failed}");
    }
    // One throttle is made up for.
    let replay = Replay::start([throttled(), ok(json!({}))]).await;
    assert_eq!(tasks(&replay).swap(&queued(), &running(), Mover::Other).await, Ok(Swapped::Done));
}

#[tokio::test]
async fn an_answer_that_was_lost_and_a_retry_that_meets_itself_show_the_own_write() {
    let replay = Replay::start([Reply::Hangup, conflict(Some(item()))]).await;
    let swapped = tasks(&replay).swap(&queued(), &running(), Mover::Other).await;
    assert_eq!(swapped, Ok(Swapped::Conflict(Some(Box::new(running())))));
}

#[tokio::test]
async fn silence_is_no_refusal_and_ends_before_the_shortest_deadline() {
    let replay = Replay::start([Reply::Silence, Reply::Silence]).await;
    let began = std::time::Instant::now();
    let failed = tasks(&replay).get(running().id).await.unwrap_err();
    assert_eq!(failed.class, ErrorClass::Unknown);
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_an_error_and_no_panic() {
    let mut broken = item();
    broken["history"] = json!({"L": [{"S": "nonsense"}]});
    let replay = Replay::start([ok(json!({"Item": broken}))]).await;
    assert_eq!(tasks(&replay).get(running().id).await.unwrap_err().class, ErrorClass::Permanent);
}

#[tokio::test]
async fn a_page_of_a_shard_says_where_it_stopped() {
    let key = json!({"task_id": {"S": ID}, "owner_shard": {"S": "alice#0"}, "owner_sort": {"S": format!("0000000001000#{ID}")}});
    let replay = Replay::start([ok(json!({"Items": [item()], "Count": 1, "LastEvaluatedKey": key}))]).await;
    let owner = Owner::parse("alice").unwrap();
    let query =
        ShardQuery { owner: &owner, shard: 0, before: None, status: Some(Status::Running), limit: 20 };
    let page = tasks(&replay).shard(query).await.unwrap();
    assert_eq!(page.tasks, [running().to_wire()]);
    assert_eq!(page.stopped_at, Some(SortKey::of(&running())));
    let body = replay.only_body();
    assert_eq!(
        (body["IndexName"].as_str(), body["ScanIndexForward"].as_bool()),
        (Some("owner-index"), Some(false))
    );
    // The limit counts what is examined, the filter what is shown.
    assert_eq!(body["Limit"], 1_000);
}

/// With a status as without. A page of large tasks would be a megabyte for each shard.
#[tokio::test]
async fn a_page_is_read_without_the_payloads_that_it_does_not_show() {
    let owner = Owner::parse("alice").unwrap();
    for status in [None, Some(Status::Queued)] {
        let replay = Replay::start([ok(json!({"Items": [], "Count": 0}))]).await;
        let query = ShardQuery { owner: &owner, shard: 0, before: None, status, limit: 20 };
        tasks(&replay).shard(query).await.unwrap();
        let body = replay.only_body();
        let names = body["ExpressionAttributeNames"].as_object().unwrap();
        let asked = body["ProjectionExpression"].as_str().unwrap().split(", ");
        let asked: Vec<_> = asked.map(|placeholder| names[placeholder].as_str().unwrap()).collect();
        assert!(asked.contains(&"status") && asked.contains(&"result"), "{asked:?}");
        assert!(!asked.contains(&"payload") && !asked.contains(&"history"), "{asked:?}");
        assert_eq!(asked.len(), names.len(), "DynamoDB refuses a name that is not used");
    }
}

#[tokio::test]
async fn open_tasks_are_counted_over_all_shards_without_reading_them() {
    let replay = Replay::start([ok(json!({"Count": 3})), ok(json!({"Count": 4}))]).await;
    assert_eq!(tasks(&replay).open(&Owner::parse("alice").unwrap(), 5_000).await, Ok(7));
    let counts = |(operation, body): &(String, Value)| {
        operation == "Query" && body["Select"] == "COUNT" && body["Limit"] == limits::COUNT_ITEMS_EXAMINED_MAX
    };
    assert!(replay.asked().iter().all(counts));
}

/// Where a page of a count ended, while there is more.
fn end_of_page() -> Value {
    let sort = format!("0000000001000#{ID}");
    json!({"task_id": {"S": ID}, "owner_shard": {"S": "alice#0"}, "owner_sort": {"S": sort}})
}

fn open_of(open: u16, scanned: u16) -> Reply {
    ok(json!({"Count": open, "ScannedCount": scanned, "LastEvaluatedKey": end_of_page()}))
}

/// A page with nothing else.
fn open_and_more(open: u16) -> Reply {
    open_of(open, open)
}

/// As many pages as one count may read.
fn all_pages(open: u16, scanned: u16) -> Vec<Reply> {
    (0..limits::COUNT_PAGES_MAX).map(|_| open_of(open, scanned)).collect()
}

/// What a count of one shard came to, and where each of its pages began.
async fn counted(enough: u32, pages: Vec<Reply>) -> (u32, Vec<Value>) {
    let replay = Replay::start(pages).await;
    let tasks = DynamoTasks::new(sdk::dynamodb(&replay.sdk), "tasks", 1);
    let open = tasks.open(&Owner::parse("alice").unwrap(), enough).await.unwrap();
    (open, replay.asked().into_iter().map(|(_, body)| body["ExclusiveStartKey"].clone()).collect())
}

/// A page is 1 MB at most, or as many items as were asked for.
#[tokio::test]
async fn a_count_goes_on_past_a_page_that_was_full() {
    let pages = vec![open_and_more(50), open_and_more(50), ok(json!({"Count": 1}))];
    assert_eq!(counted(5_000, pages).await, (101, vec![Value::Null, end_of_page(), end_of_page()]));
}

#[tokio::test]
async fn a_count_ends_with_enough_with_few_open_and_after_its_last_page() {
    assert_eq!(counted(100, vec![open_and_more(50), open_and_more(50)]).await.0, 100);
    assert_eq!(counted(100, vec![open_and_more(100)]).await.0, 100);
    assert_eq!(counted(5_000, vec![open_and_more(3), open_of(0, 1_700)]).await.0, 3);
    assert_eq!(counted(5_000, vec![open_and_more(3), open_of(9, 100)]).await.0, 12);
    // An ordinary owner: a few open, and a long history.
    assert_eq!(counted(5_000, vec![open_of(60, 1_700)]).await.0, 60);
    // A backlog that has come to its end: what it was before is not to be expected again.
    assert_eq!(counted(5_000, vec![open_and_more(400), open_of(10, 1_700)]).await.0, 410);
}

/// Where most tasks end at once and the others stay open for minutes, no page is full of them.
#[tokio::test]
async fn a_count_goes_on_as_long_as_half_of_the_limit_is_in_sight() {
    let (open, asked) = counted(1_000, all_pages(150, 1_700)).await;
    assert_eq!((open, asked.len()), (1_050, 7), "it has enough");
    let (open, asked) = counted(1_000, all_pages(120, 1_700)).await;
    assert_eq!((open, asked.len()), (960, 8), "an owner near the limit is not taken for one far below it");
    let (open, asked) = counted(1_000, all_pages(60, 1_700)).await;
    assert_eq!((open, asked.len()), (60, 1), "all pages together would be 480");
}

/// None of them alone would go on.
#[tokio::test]
async fn what_is_in_sight_is_what_all_shards_have() {
    let pages = 2 * usize::from(limits::COUNT_PAGES_MAX);
    let replay = Replay::start(all_pages(80, 1_700).into_iter().chain(all_pages(80, 1_700))).await;
    let open = tasks(&replay).open(&Owner::parse("alice").unwrap(), 2_000).await;
    assert_eq!((open, replay.asked().len()), (Ok(1_280), pages));
}

/// Otherwise nobody whose tasks are large in the index would come to the limit.
#[tokio::test]
async fn as_many_pages_as_a_count_may_read_are_enough_when_they_are_full_of_open_tasks() {
    let (open, asked) = counted(5_000, all_pages(8, 8)).await;
    assert_eq!((open, asked.len()), (5_000, usize::from(limits::COUNT_PAGES_MAX)));
    let mut with_one_that_ended = all_pages(8, 8);
    with_one_that_ended.pop();
    with_one_that_ended.push(open_of(7, 8));
    assert_eq!(counted(5_000, with_one_that_ended).await.0, 63);
}

#[tokio::test]
async fn a_count_that_fails_on_its_way_is_what_it_has_counted() {
    let refused = || error(400, "com.amazon.coral.validate#ValidationException");
    assert_eq!(counted(5_000, vec![open_and_more(50), refused()]).await.0, 50);
    let replay = Replay::start([refused(), refused()]).await;
    assert!(tasks(&replay).open(&Owner::parse("alice").unwrap(), 5_000).await.is_err());
}
