//! The calls that were kept: recorded when they succeed, and made again at the next start.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE,
    EXPIRES, HeaderName, HeaderValue,
};
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::by_itself;
use super::kept::{is_complete_upload, is_kept, operation};
use super::{Journal, REQUESTS_BYTES_MAX, Store, StoreError, compact, touch};
use crate::repeatable;
use crate::server::Registry;
use crate::settings::Settings;
use crate::wire::{AwsRequest, AwsResponse, Service};
use crate::xml::{elements, text_of};

/// Records read ahead of the calls.
const READ_AHEAD: usize = 16;

/// What an object is answered with, besides its own metadata, because it was put with it.
const OBJECT_HEADERS: [HeaderName; 8] = [
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    EXPIRES,
    HeaderName::from_static("x-amz-storage-class"),
    HeaderName::from_static("x-amz-website-redirect-location"),
];
const OBJECT_TAGS: HeaderName = HeaderName::from_static("x-amz-tagging");

/// What stands before the body in a record, as JSON behind its length.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    at_ms: i64,
    seed: u64,
    /// Under which the call was accepted. Absent: by an emulator that knew of none.
    #[serde(default)]
    rules: u32,
    service: String,
    region: String,
    access_key_id: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    /// The id that the answer gave to what the call made, where the call itself does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<String>,
}

/// Why the state of an earlier process could not be made again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("failed to read the calls that were kept")]
    Store(#[from] StoreError),
    #[error("a call that was kept cannot be read: {0}")]
    Record(String),
    #[error("call {number} that was kept, {what}, was refused when made again: {status} {body}")]
    Refused { number: usize, what: String, status: StatusCode, body: String },
}

/// Taken by each call that changes something, so that the order of the records is the order of the changes.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Of the journal when it was last without the calls about what is gone.
    compacted_bytes: u64,
}

impl Turn {
    /// Drops the calls about what is gone: in the turn nobody adds one. Returns how many.
    pub(super) async fn compact(&mut self, store: &Store) -> Result<usize, StoreError> {
        let Some((dir, journal)) = store.dir().zip(store.requests()) else { return Ok(0) };
        // With the directory's lock: a stop ends this wait and not the work, which must not put a file in the place of one
        // that another emulator adds to by then.
        let holder = store.clone();
        let work = move || holder.requests().map_or(Ok(0), compact::compact);
        let compacted = tokio::task::spawn_blocking(work).await;
        self.compacted_bytes = journal.file_bytes();
        compacted.unwrap_or_else(|error| Err(StoreError::io("make smaller", dir)(error.into())))
    }
}

/// The service's answer. Where there is a data directory, an answer that says that something changed is given only once that
/// is on disk.
pub async fn call(settings: &Settings, service: &Arc<dyn Service>, request: AwsRequest) -> AwsResponse {
    let Some((journal, turn)) = settings.store.calls().filter(|_| is_kept(&request)) else {
        return service.handle(request).await;
    };
    if journal.file_bytes() > REQUESTS_BYTES_MAX {
        return refused("the data directory holds as many calls as it may: begin a new one");
    }
    let (turn, journal) = (Arc::clone(turn), journal.clone());
    let (settings, service) = (settings.clone(), Arc::clone(service));
    // On a task of its own: a caller that hangs up must not leave a change without its record.
    let call = tokio::spawn(async move {
        let mut turn = turn.lock().await;
        let answer = record(&journal, &settings, &*service, request).await;
        // What was answered is on disk whether it works or not.
        if compact::is_due(journal.file_bytes(), turn.compacted_bytes)
            && let Err(error) = turn.compact(&settings.store).await
        {
            tracing::warn!(%error, "the journal of calls was not made anew");
        }
        answer
    });
    call.await.unwrap_or_else(|_| refused("the call broke off"))
}

async fn record(
    journal: &Journal,
    settings: &Settings,
    service: &dyn Service,
    request: AwsRequest,
) -> AwsResponse {
    // What is known to be refused must not take effect.
    if let Err(failed) = journal.check() {
        return refused(&failed.to_string());
    }
    let (seed, at_ms) = (settings.random.seed(), settings.clock.now_ms());
    let answer = repeatable::scope(seed, Some(at_ms), service.handle(request.clone())).await;
    if !answer.status.is_success() {
        return answer;
    }
    let kept = if is_complete_upload(&request) { whole_object(service, &request).await } else { Ok(request) };
    let bytes = kept.and_then(|kept| {
        let made = touch::made(&kept, &answer.body);
        encode(&kept, at_ms, seed, made).map_err(|error| error.to_string())
    });
    match bytes {
        Ok(bytes) => journal.append(&bytes),
        // It happened and cannot be told: no later call that is about it could be made again.
        Err(reason) => journal.fail(&reason),
    }
    match journal.committed().await {
        Ok(()) => answer,
        Err(failed) => refused(&failed.to_string()),
    }
}

/// The call that puts at once what was uploaded in parts.
async fn whole_object(service: &dyn Service, request: &AwsRequest) -> Result<AwsRequest, String> {
    let get = AwsRequest {
        method: Method::GET,
        query: String::new(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        ..request.clone()
    };
    let tags = AwsRequest { query: "tagging".to_owned(), ..get.clone() };
    let (object, tags) = (service.handle(get.clone()).await, service.handle(tags).await);
    if let Some(refused) = [object.status, tags.status].into_iter().find(|status| *status != StatusCode::OK) {
        return Err(format!("{} was uploaded in parts and cannot be read: {refused}", request.path));
    }
    let is_said_again =
        |name: &HeaderName| name.as_str().starts_with("x-amz-meta-") || OBJECT_HEADERS.contains(name);
    let headers = object.headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
    let mut headers: HeaderMap = headers.filter(|(name, _)| is_said_again(name)).collect();
    headers.extend(tags_of(&tags).map(|tags| (OBJECT_TAGS, tags)));
    Ok(AwsRequest { method: Method::PUT, headers, body: object.body, ..get })
}

/// As the header of the call that puts an object says them. None: there are none.
fn tags_of(answer: &AwsResponse) -> Option<HeaderValue> {
    let text = String::from_utf8_lossy(&answer.body);
    let encoded = |tag: &str, name: &str| {
        let text = text_of(tag, name).unwrap_or_default();
        utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()
    };
    let tags = elements(&text, "Tag").into_iter();
    let tags: Vec<String> =
        tags.map(|tag| format!("{}={}", encoded(tag, "Key"), encoded(tag, "Value"))).collect();
    HeaderValue::from_str(&tags.join("&")).ok().filter(|tags| !tags.is_empty())
}

fn refused(message: &str) -> AwsResponse {
    let body = serde_json::json!({ "__type": "InternalFailure", "message": message });
    AwsResponse::new(StatusCode::INTERNAL_SERVER_ERROR, "application/json", body.to_string())
}

/// Makes every kept call again, in order, each at its own time and with its own random choices. Returns how many.
///
/// # Errors
/// A record that cannot be read, or a call that does not succeed as it did.
pub async fn replay(settings: &Settings, services: &Registry) -> Result<usize, ReplayError> {
    let Some(journal) = settings.store.requests().cloned() else { return Ok(0) };
    let (records, mut next) = mpsc::channel::<Vec<u8>>(READ_AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        // A receiver that is gone has met an error of its own.
        journal.read(|record| records.blocking_send(record.to_vec()).map_err(|_| "abandoned".to_owned()))
    });
    let mut made = 0;
    while let Some(record) = next.recv().await {
        made += 1;
        make_again(services, &record, made).await?;
    }
    reading.await.map_err(|error| ReplayError::Record(error.to_string()))??;
    Ok(made)
}

async fn make_again(services: &Registry, record: &[u8], number: usize) -> Result<(), ReplayError> {
    let (head, mut request) = decode(record).map_err(ReplayError::Record)?;
    drop_conditions(&mut request);
    let what = format!(
        "{} {} {}",
        head.service,
        request.method,
        operation(&request).unwrap_or_else(|| request.path.clone())
    );
    let service = services
        .get(&head.service)
        .ok_or_else(|| ReplayError::Record(format!("{what}: there is no such service")))?;
    let call = |request| repeatable::scope_again(head.rules, head.seed, head.at_ms, service.handle(request));
    let mut answer = call(request.clone()).await;
    if let Some(first) = by_itself::missing(&request, &answer) {
        call(first).await;
        answer = call(request).await;
    }
    if answer.status.is_success() {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    Err(ReplayError::Refused { number, what, status: answer.status, body })
}

/// S3's conditions were met when the call was made. Now they need not be: an object that was uploaded in parts has another
/// `ETag`, and every one another date.
fn drop_conditions(request: &mut AwsRequest) {
    if request.service != "s3" {
        return;
    }
    let is_condition =
        |name: &str| !name.starts_with("x-amz-meta-") && (name.starts_with("if-") || name.contains("-if-"));
    let met: Vec<_> = request.headers.keys().filter(|name| is_condition(name.as_str())).cloned().collect();
    for name in met {
        request.headers.remove(name);
    }
}

fn encode(
    request: &AwsRequest,
    at_ms: i64,
    seed: u64,
    made: Option<String>,
) -> Result<Vec<u8>, serde_json::Error> {
    let headers = request.headers.iter().filter(|(name, _)| **name != AUTHORIZATION);
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let head = serde_json::to_vec(&Head {
        at_ms,
        seed,
        rules: repeatable::RULES,
        service: request.service.clone(),
        region: request.region.clone(),
        access_key_id: request.access_key_id.clone(),
        method: request.method.to_string(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: headers.collect(),
        made,
    })?;
    let mut bytes = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.extend(head);
    bytes.extend(&request.body);
    Ok(bytes)
}

/// A kept call and the id of what it made.
pub(super) fn decode_call(record: &[u8]) -> Result<(AwsRequest, Option<String>), String> {
    decode(record).map(|(head, request)| (request, head.made))
}

fn decode(record: &[u8]) -> Result<(Head, AwsRequest), String> {
    let (length, rest) = record.split_first_chunk().ok_or("too short")?;
    let (head, body) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or("too short")?;
    let head: Head = serde_json::from_slice(head).map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
    }
    let request = AwsRequest {
        method: Method::from_bytes(head.method.as_bytes()).map_err(|error| error.to_string())?,
        path: head.path.clone(),
        query: head.query.clone(),
        headers,
        body: Bytes::copy_from_slice(body),
        service: head.service.clone(),
        region: head.region.clone(),
        access_key_id: head.access_key_id.clone(),
    };
    Ok((head, request))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::time::Duration;

    use nix::fcntl::{Flock, FlockArg};
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;
    use crate::store::account;
    use crate::wire::BoxFuture;

    async fn keep(journal: &Journal, operation: &str, body: &str) {
        let mut request = AwsRequest::unsigned("sqs", Method::POST, "/", body);
        request.headers.insert("x-amz-target", format!("AmazonSQS.{operation}").parse().unwrap());
        journal.append(&encode(&request, 5, 9, None).unwrap());
        journal.committed().await.unwrap();
    }

    #[tokio::test]
    async fn a_journal_grows_from_what_the_start_left_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (journal, turn) = store.calls().unwrap();
        keep(journal, "CreateQueue", r#"{"QueueName":"gone"}"#).await;
        keep(journal, "DeleteQueue", r#"{"QueueUrl":"http://h/1/gone"}"#).await;
        keep(journal, "CreateQueue", r#"{"QueueName":"there"}"#).await;
        for dropped in [2, 0] {
            assert_eq!(store.compact().await.unwrap(), dropped);
            assert_eq!(turn.lock().await.compacted_bytes, journal.file_bytes(), "{dropped}");
            keep(journal, "CreateQueue", r#"{"QueueName":"another"}"#).await;
        }
        journal.close();
    }

    #[tokio::test]
    async fn the_directory_is_locked_until_a_compaction_ends_though_nobody_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        // A file that is not read to its end before somebody had it open to write.
        let endless = directory.path().join("requests").join("0000000002.log");
        mkfifo(endless.as_path(), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let waited = tokio::time::timeout(Duration::ZERO, store.compact()).await;
        store.close();
        drop(store);
        let lock = File::open(directory.path().join("lock")).unwrap();
        let second = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map(drop);
        // Opened for both it waits for no reader. Whoever has not begun to read finds no such file.
        let end = OpenOptions::new().read(true).write(true).open(&endless).unwrap();
        std::fs::remove_file(&endless).unwrap();
        drop(end);
        assert!(waited.is_err(), "{waited:?}");
        assert!(second.is_err(), "another emulator may begin");
        assert!(account::lock(directory.path()).is_ok(), "the lock is given back at the end");
    }

    #[test]
    fn a_call_reads_back_as_it_was_without_its_signature() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-target", HeaderValue::from_static("AmazonSQS.CreateQueue"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=..."));
        let request = AwsRequest {
            method: Method::POST,
            path: "/a%20b".to_owned(),
            query: "x=1".to_owned(),
            headers,
            body: Bytes::from_static(b"\0\xffbody"),
            service: "sqs".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: "AKID".to_owned(),
        };
        let (head, again) = decode(&encode(&request, 5, 9, Some("id".to_owned())).unwrap()).unwrap();
        assert_eq!((head.at_ms, head.seed, head.made.as_deref()), (5, 9, Some("id")));
        assert_eq!(head.rules, repeatable::RULES);
        assert_eq!((again.method, again.path, again.query), (request.method, request.path, request.query));
        assert_eq!((again.body, again.access_key_id), (request.body, request.access_key_id));
        assert_eq!(again.headers.len(), 1);
        assert_eq!(again.headers["x-amz-target"], "AmazonSQS.CreateQueue");
    }

    #[test]
    fn a_call_that_an_older_emulator_kept_is_under_no_rules() {
        let head = serde_json::json!({
            "at_ms": 5, "seed": 9, "service": "lambda", "region": "us-east-1", "access_key_id": "AKID",
            "method": "DELETE", "path": "/2015-03-31/functions/f", "query": "", "headers": [],
        });
        let head = head.to_string().into_bytes();
        let mut record = u32::try_from(head.len()).unwrap().to_le_bytes().to_vec();
        record.extend(head);
        let (head, request) = decode(&record).unwrap();
        assert_eq!((head.rules, head.made, request.path.as_str()), (0, None, "/2015-03-31/functions/f"));
    }

    #[test]
    fn a_call_is_made_again_without_the_conditions_that_it_met() {
        let mut request = AwsRequest::unsigned("s3", Method::PUT, "/bucket/key", "content");
        let conditions = [
            "if-match",
            "if-none-match",
            "if-unmodified-since",
            "x-amz-if-match-last-modified-time",
            "x-amz-if-match-size",
            "x-amz-copy-source-if-modified-since",
        ];
        for name in conditions.into_iter().chain(["x-amz-meta-what-if-not", "x-amz-copy-source"]) {
            request.headers.insert(name, HeaderValue::from_static("1"));
        }
        let mut other = AwsRequest { service: "lambda".to_owned(), ..request.clone() };
        drop_conditions(&mut request);
        let mut left: Vec<&str> = request.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-amz-copy-source", "x-amz-meta-what-if-not"]);
        drop_conditions(&mut other);
        assert_eq!(other.headers.len(), 8);
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_is_not_kept_as_its_error() {
        struct Gone;
        impl Service for Gone {
            fn handle(&self, _: AwsRequest) -> BoxFuture<'_, AwsResponse> {
                let answer = AwsResponse::new(StatusCode::NOT_FOUND, "application/xml", "<Error/>");
                Box::pin(std::future::ready(answer))
            }
        }
        let complete = AwsRequest::unsigned("s3", Method::POST, "/bucket/key", "");
        let refusal = whole_object(&Gone, &complete).await.unwrap_err();
        assert!(refusal.contains("/bucket/key") && refusal.contains("404"), "{refusal}");
    }

    #[tokio::test]
    async fn an_object_that_was_uploaded_in_parts_is_kept_with_its_headers_and_tags() {
        struct Uploaded;
        impl Service for Uploaded {
            fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
                let tags = "<Tagging><TagSet><Tag><Key>a&amp;</Key><Value>b c</Value></Tag>\
                            <Tag><Key>d</Key><Value></Value></Tag></TagSet></Tagging>";
                let answer = |body: &'static str| AwsResponse::new(StatusCode::OK, "text/plain", body);
                let answer = match request.query.as_str() {
                    "tagging" => answer(tags),
                    _ => answer("whole")
                        .with_header("x-amz-storage-class", "GLACIER")
                        .with_header("x-amz-meta-e", "f")
                        .with_header("expires", "0")
                        .with_header("etag", "g"),
                };
                Box::pin(std::future::ready(answer))
            }
        }
        let complete = AwsRequest::unsigned("s3", Method::POST, "/bucket/key", "");
        let complete = AwsRequest { query: "uploadId=u".to_owned(), ..complete };
        let put = whole_object(&Uploaded, &complete).await.unwrap();
        assert_eq!((put.method, put.query.as_str(), &put.body[..]), (Method::PUT, "", &b"whole"[..]));
        let mut headers: Vec<(&str, &str)> =
            put.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        headers.sort_unstable();
        let expected = [
            ("content-type", "text/plain"),
            ("expires", "0"),
            ("x-amz-meta-e", "f"),
            ("x-amz-storage-class", "GLACIER"),
            ("x-amz-tagging", "a%26=b%20c&d="),
        ];
        assert_eq!(headers, expected);
    }

    #[test]
    fn garbage_is_refused_and_never_a_panic() {
        for bad in [&b""[..], b"\x01", b"\xff\xff\xff\xff", b"\x02\0\0\0{}", b"\x02\0\0\0[]rest"] {
            assert!(decode(bad).is_err(), "{bad:?}");
        }
    }
}
