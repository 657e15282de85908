//! Every limit of the service, with the AWS quota that it keeps clear of.

use crate::time::DurationMs;

/// Bytes of a `POST /tasks` body. AWS: HTTP API 10 MB, SQS message 256 KiB (as our Terraform sets it), DynamoDB item 400 KB;
/// half a message leaves room for the envelope and for JSON escapes.
pub const REQUEST_BODY_BYTES_MAX: usize = 128 * 1024;

/// Bytes of a queue message. AWS: the queue's `MaximumMessageSize`, which Terraform's provider sets to 262,144.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a token. AWS: request line and headers of an HTTP API together 10,240 bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Keys of one key document. Issuers keep two or three; more would only be work for whoever sends tokens at us. AWS: all
/// environment variables of a function together 4 KB, where a configured document lies.
pub const KEYS_MAX: usize = 32;

/// Characters of `Idempotency-Key`. AWS: request line and headers of an HTTP API together 10,240 bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Bytes of an owner. AWS: DynamoDB partition key 2,048 bytes; the index key adds `#` and a shard.
pub const OWNER_BYTES_MAX: usize = 255;

/// Bytes of a connection id. API Gateway's are about 16; its documentation promises no length.
pub const CONNECTION_ID_BYTES_MAX: usize = 128;

/// Bytes of a cursor: a moment and an id in base64 are 68. AWS: as for the headers, 10,240 bytes.
pub const CURSOR_BYTES_MAX: usize = 128;

/// For how long an environment goes by one count of an owner's open tasks.
pub const ADMISSION_WINDOW: DurationMs = DurationMs::from_seconds(10);

/// Submissions of one owner that one environment admits between two counts. Most owners seldom come to a count, which costs at least
/// a page per shard of the index: see [`COUNT_PAGES_MAX`].
pub const ADMISSION_UNCOUNTED_MAX: u32 = 100;

/// Of a small limit they are one part in so many: what passes uncounted must not be most of it.
pub const ADMISSION_UNCOUNTED_PART: u32 = 10;

/// Owners that an environment remembers at once: about 1 MB of its memory, of which Lambda gives at least 128 MB.
pub const ADMISSION_OWNERS_MAX: usize = 10_000;

/// Highest limit that may be configured.
pub const TASKS_IN_FLIGHT_PER_OWNER_MAX: u32 = 100_000;

/// Open tasks that a count can see in one shard: [`COUNT_PAGES_MAX`] pages of records as they lie in the index, without payloads. Most
/// are some 200 bytes; this many are seen when each is 600, as with an owner's name of 255. Terraform refuses a limit above that.
pub const COUNTED_PER_SHARD_MAX: u32 = 12_500;

/// Pages that one count may read per shard. AWS: a page is 1 MB of items as they lie in the index, and 128 read units, of which a
/// shard gives 3,000 a second; [`COUNT_ITEMS_EXAMINED_MAX`] of ours are mostly some 50. One page is enough while little is open.
/// This many cost 1,024 units per shard at most, once per owner, environment and window, and only while half of the limit is in
/// sight: what somebody who floods us can make us pay.
pub const COUNT_PAGES_MAX: u16 = 8;

/// A count goes on while it may still come to one part in so many of what is enough, if each page that is left holds as much as the
/// last. Where it does not, there is only history behind, which every owner has who submits much. To half and not to all: of an
/// owner who is near the limit it would see a part, and let the rest pass until the next count.
pub const COUNT_MARGIN: u64 = 2;

/// Items that one page of a count may examine: enough for [`COUNTED_PER_SHARD_MAX`], and a part of what 1 MB can hold of the index.
/// Who reads a history whole before cutting the page, as emulators do, is kept from that.
pub const COUNT_ITEMS_EXAMINED_MAX: u16 = 2_000;

/// Tasks of one page. AWS: a DynamoDB query page is at most 1 MB, and a Lambda response 6 MB.
pub const PAGE_TASKS_MAX: u16 = 100;

/// Tasks of one page when the request names no limit.
pub const PAGE_TASKS_DEFAULT: u16 = 20;

/// Items that one page may examine per shard when a `status` filter hides most of them: a page may then be short and carry
/// a cursor, but a request never walks an owner's whole history.
pub const PAGE_ITEMS_EXAMINED_MAX: u32 = 1_000;

/// Shards of the owner index. AWS: one DynamoDB partition takes 1,000 writes per second; 64 shards are 64 parallel queries.
pub const OWNER_INDEX_SHARDS_MAX: u16 = 64;

/// Characters of an error message that is stored and pushed. AWS: a WebSocket frame is 32 KB.
pub const ERROR_MESSAGE_CHARS_MAX: usize = 500;

/// Entries of a record's history, so that an item never reaches DynamoDB's 400 KB: about 40 bytes each.
/// A redrive loop of twenty rounds at five attempts stays below it.
pub const HISTORY_ENTRIES_MAX: usize = 400;

/// Connections of one owner that a change is pushed to, newest first. AWS: `PostToConnection` shares an account-wide rate.
pub const CONNECTIONS_PER_OWNER_MAX: u16 = 50;

/// Connections of one owner among which the newest are looked for. AWS: one page of a query is at most 1 MB; our largest row
/// is about 500 bytes.
pub const CONNECTIONS_READ_MAX: u16 = 1_000;

/// Pushes in flight at once to the connections of one owner: where all of them are slow, they take no other owner's share.
pub const PUSHES_IN_FLIGHT_PER_OWNER_MAX: usize = 16;

/// Pushes in flight at once: the shares of sixteen owners, which is more than a batch of ten messages can have. AWS: a Lambda
/// environment has 1,024 file descriptors.
pub const PUSHES_IN_FLIGHT_MAX: usize = 16 * PUSHES_IN_FLIGHT_PER_OWNER_MAX;

/// Pushes to one connection that may fail in one batch before the rest of the batch passes it by: a client that does not
/// read must not cost the others their time. It catches up with `watch`.
pub const PUSH_FAILURES_PER_CONNECTION_MAX: u32 = 2;

/// How long the news that a task has begun is held back: a task that has ended by then costs one push and not two. AWS: every
/// `PostToConnection` is billed, and all of an account share a rate.
pub const BEGUN_HELD: DurationMs = DurationMs(100);

/// For how long a connection that is said to be gone may still be one that is not open yet: its row is written before `$connect` is
/// answered, and it is kept. AWS: an integration answers within 29 s.
pub const CONNECT_TIME_MAX: DurationMs = DurationMs::from_seconds(30);

/// How long pushes may go on when the work of a batch is done: until then the batch is not answered.
pub const PUSH_GRACE: DurationMs = DurationMs(600);

/// Bytes of a message from a WebSocket client. AWS: 128 KB; no message of ours needs more than this.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 4 * 1024;

/// Messages of one receive. AWS: at most 10.
pub const RECEIVE_MAX: u16 = 10;

/// Records of one batch that are worked on at once. AWS: a batch may hold 10,000; an environment has 1,024 file descriptors.
pub const RECORDS_IN_FLIGHT_MAX: usize = 32;

/// Receives of one message, as the redrive policy may have it. AWS: `maxReceiveCount` is 1 to 1,000.
pub const RECEIVE_COUNT_MAX: u32 = 1_000;

/// Seconds that a message may be hidden. AWS: 0 to 43,200.
pub const VISIBILITY_SECONDS_MAX: u64 = 43_200;

/// Compare-and-swap rounds on one record before the delivery is given back: each lost round means that another writer won.
pub const SWAP_ROUNDS_MAX: u32 = 4;

/// Age at which a record expires, counted from its last change. Above SQS's longest retention (14 days) in the queue and
/// again in the dead-letter queue, so that no record vanishes before its message.
pub const RECORD_TTL: DurationMs = DurationMs::from_days(30);

/// Age at which a connection row expires. AWS: a WebSocket lasts 2 hours at most.
pub const CONNECTION_TTL: DurationMs = DurationMs::from_seconds(2 * 60 * 60 + 300);

/// How long a lease lasts without a heartbeat, unless the function ends before: so long is a task held up by a worker that
/// died. AWS: a function runs for up to 15 minutes, which would be too long to wait.
pub const LEASE_TIME: DurationMs = DurationMs::from_seconds(15);

/// How often a worker at long work extends its lease. Two heartbeats may fail, each after the longest time that a call may take:
/// the third is due 12 s after the lease was taken or last extended, and answered within 12.85 s.
pub const HEARTBEAT_EVERY: DurationMs = DurationMs::from_seconds(4);

/// Longest time of one call to the table, with the second attempt that the SDK makes.
pub const CALL_TIME_MAX: DurationMs = DurationMs(850);

const _: () = assert!(3 * HEARTBEAT_EVERY.0 + CALL_TIME_MAX.0 < LEASE_TIME.0);
// One has failed before the next is due.
const _: () = assert!(CALL_TIME_MAX.0 < HEARTBEAT_EVERY.0);

/// What a lease lasts beyond the function's deadline: the clocks of two machines differ, and Lambda kills at the deadline.
/// A message comes back this much after its lease, for the same reason.
pub const LEASE_MARGIN: DurationMs = DurationMs(500);

/// Time kept free after the work, to record how it ended.
pub const SETTLE_MARGIN: DurationMs = DurationMs(250);

/// Time kept free before the function's deadline, so that a batch is answered and not killed.
pub const ANSWER_MARGIN: DurationMs = DurationMs(100);

/// Calls through ports that one delivery may make, heartbeats apart: a read, the rounds of the claim, the end of the
/// attempt, one change of visibility. The SDK makes at most two attempts of each. This and the receives bound what one
/// task can cost in an outage.
pub const CALLS_PER_DELIVERY_MAX: u32 = 1 + SWAP_ROUNDS_MAX + 1 + 1;

/// First ceiling of the back-off of a failed attempt; doubles with every receive.
pub const BACKOFF_BASE: DurationMs = DurationMs::from_seconds(1);

/// Last ceiling of the back-off, unless the queue's visibility timeout is longer. AWS: visibility may be extended to 12 hours after
/// the receive. Terraform refuses more receives than fit into the queue's retention with a pause of this length after each.
pub const BACKOFF_CEILING: DurationMs = DurationMs::from_seconds(15 * 60);

/// What a refused client waits before it tries again.
pub const RETRY_AFTER_SECONDS: u32 = 2;

/// Longest `sleep` test task. AWS: a function runs for 15 minutes at most.
pub const SLEEP_MAX: DurationMs = DurationMs::from_seconds(15 * 60);

/// Dead letters that one audit remembers: about 10 MB of ids. Its deadline comes first: a round of [`RECEIVE_MAX`] takes some 50 ms.
pub const AUDIT_LETTERS_MAX: usize = 100_000;

/// For how long each audit tells the end of a dead-lettered task again, once its message must have come to the dead letters: whoever
/// wrote it may have died before anybody was told. Audits come every minute, so that a few of them may fail; every further one
/// would be a push for each letter and connection.
pub const AUDIT_TELLS_FOR: DurationMs = DurationMs::from_seconds(5 * 60);

/// Rounds in a row without a letter that the audit has not met, before it ends. When a queue is so long that its first letters are
/// shown again before the last was seen, one round without news may be chance. Each letter that is met again costs a receive.
pub const AUDIT_ROUNDS_WITHOUT_NEWS_MAX: u32 = 3;

/// What one round of an audit may take: no round begins later than this before the deadline.
pub const AUDIT_ROUND_TIME: DurationMs = DurationMs::from_seconds(2);

/// For how long an audited message is hidden: long enough that rounds do not meet it again at once, short enough that
/// neither a redrive nor another reader is held up.
pub const AUDIT_VISIBILITY: DurationMs = DurationMs::from_seconds(5);

const _: () = assert!(AUDIT_VISIBILITY.as_seconds_ceil() <= VISIBILITY_SECONDS_MAX);
const _: () = assert!(BACKOFF_CEILING.as_seconds_ceil() <= VISIBILITY_SECONDS_MAX);
// Terraform's rule on receives and retention knows no other pause, and a message that waits for the end of a lease pauses too.
const _: () = assert!(LEASE_TIME.0 + LEASE_MARGIN.0 <= BACKOFF_CEILING.0);

/// Task ids listed in an audit's summary.
pub const AUDIT_TASK_IDS_MAX: usize = 100;
