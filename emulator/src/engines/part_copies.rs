//! S3 whose parts can be copied from a range of an object. The engine takes the whole object for each part, and the `ETag` of
//! one that was uploaded in parts for that of the part, which it cannot read when it puts the parts together.

use bytes::Bytes;
use http::header::{ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::adapter::refused_by_s3;
use super::object_calls::{COPY_SOURCE, call_of_source};
use super::object_lists::ObjectLists;
use crate::clock::{Clock, iso8601};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use crate::xml::escape;

const RANGE_OF_SOURCE: &str = "x-amz-copy-source-range";
/// Of a source, and how a call that reads it says the same.
const CONDITIONS: [(&str, HeaderName); 4] = [
    ("x-amz-copy-source-if-match", IF_MATCH),
    ("x-amz-copy-source-if-none-match", IF_NONE_MATCH),
    ("x-amz-copy-source-if-modified-since", IF_MODIFIED_SINCE),
    ("x-amz-copy-source-if-unmodified-since", IF_UNMODIFIED_SINCE),
];
const NO_RANGE: &str = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
                        zero-based offsets of the first and last bytes to copy";
const BEYOND_SOURCE: &str = "Range specified is not valid for source object";

/// S3 with UploadPartCopy as a GetObject and an UploadPart.
pub(super) struct PartCopies {
    engine: ObjectLists,
}

/// The first and the last byte of a part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    first: u64,
    last: u64,
}

impl PartCopies {
    pub(super) const fn new(engine: ObjectLists) -> Self {
        Self { engine }
    }

    async fn copy(&self, request: AwsRequest, mut source: AwsRequest) -> AwsResponse {
        let bounds = request.headers.get(RANGE_OF_SOURCE).map(Bounds::of);
        let bounds = match bounds {
            None => None,
            Some(Some(bounds)) => Some(bounds),
            Some(None) => return refused_by_s3("InvalidArgument", NO_RANGE),
        };
        source.headers = headers_of_source(&request, bounds);
        let read = self.engine.handle(source).await;
        match read.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
            StatusCode::NOT_MODIFIED | StatusCode::PRECONDITION_FAILED => return condition_failed(),
            StatusCode::RANGE_NOT_SATISFIABLE => return refused_by_s3("InvalidArgument", BEYOND_SOURCE),
            _ => return read,
        }
        if bounds.is_some_and(|bounds| !bounds.are_of(&read.body)) {
            return refused_by_s3("InvalidArgument", BEYOND_SOURCE);
        }
        let part = AwsRequest { headers: HeaderMap::new(), body: read.body, ..request };
        let uploaded = self.engine.handle(part).await;
        if uploaded.status.is_success() { copied(&uploaded) } else { uploaded }
    }
}

impl Service for PartCopies {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            match call_of_source(&request, Method::GET, "").filter(|_| copies_part(&request)) {
                Some(source) => self.copy(request, source).await,
                None => self.engine.handle(request).await,
            }
        })
    }
}

impl Bounds {
    /// `bytes=first-last`: both are said.
    fn of(range: &HeaderValue) -> Option<Self> {
        let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(Self { first, last })
    }

    /// Whether this is all that was asked for, and not only what there is of it.
    fn are_of(self, part: &Bytes) -> bool {
        let behind_first = u64::try_from(part.len()).ok().and_then(|length| length.checked_sub(1));
        behind_first == Some(self.last - self.first)
    }
}

/// The engine refuses a source whose name is no text, as long as it is asked to copy.
fn copies_part(request: &AwsRequest) -> bool {
    let is_text = |source| percent_decode_str(source).decode_utf8().is_ok();
    let is_text = request.header(COPY_SOURCE).is_some_and(is_text);
    is_text && request.has_query_name("partNumber") && request.has_query_name("uploadId")
}

fn headers_of_source(request: &AwsRequest, bounds: Option<Bounds>) -> HeaderMap {
    let conditions = CONDITIONS.into_iter();
    let mut headers: HeaderMap =
        conditions.filter_map(|(said, name)| Some((name, request.headers.get(said)?.clone()))).collect();
    let range = bounds.map(|Bounds { first, last }| format!("bytes={first}-{last}"));
    headers.extend(range.and_then(|range| Some((RANGE, HeaderValue::from_str(&range).ok()?))));
    headers
}

fn condition_failed() -> AwsResponse {
    let message = "At least one of the pre-conditions you specified did not hold";
    let refused = refused_by_s3("PreconditionFailed", message);
    AwsResponse { status: StatusCode::PRECONDITION_FAILED, ..refused }
}

fn copied(uploaded: &AwsResponse) -> AwsResponse {
    let tag = uploaded.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
    let body = format!(
        "<CopyPartResult><LastModified>{}</LastModified><ETag>{}</ETag></CopyPartResult>",
        iso8601(Clock::System.now_ms()),
        escape(tag)
    );
    AwsResponse::new(StatusCode::OK, "application/xml", body)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::{Engine, Scope};
    use crate::engines::object_keys::ObjectKeys;
    use crate::xml::text_of;

    /// MD5 of `1234`.
    const TAG: &str = "\"81dc9bdb52d04dc20036dbd8313ed055\"";

    fn s3() -> PartCopies {
        let engine = ObjectKeys::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())));
        PartCopies::new(ObjectLists::new(engine))
    }

    async fn ask(
        s3: &PartCopies,
        method: Method,
        path: &str,
        body: &str,
        headers: &[(&'static str, &str)],
    ) -> (u16, String) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = AwsRequest::unsigned("s3", method, path, body);
        let mut request = AwsRequest { query: query.to_owned(), ..request };
        for (name, value) in headers {
            request.headers.insert(*name, value.parse().unwrap());
        }
        let answer = s3.handle(request).await;
        (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
    }

    async fn begun(s3: &PartCopies, path: &str) -> String {
        let (_, begun) = ask(s3, Method::POST, &format!("{path}?uploads"), "", &[]).await;
        text_of(&begun, "UploadId").unwrap()
    }

    #[tokio::test]
    async fn parts_are_the_ranges_that_they_are_copied_from() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "", &[]).await;
        ask(&s3, Method::PUT, "/home/a%20b", "0123456789", &[]).await;
        let upload = begun(&s3, "/home/copy").await;
        let source = (COPY_SOURCE, "/home/a+b");
        for (number, range) in [(1, Some("bytes=5-9")), (2, Some("bytes=1-4")), (3, None)] {
            let path = format!("/home/copy?partNumber={number}&uploadId={upload}");
            let headers: Vec<_> =
                std::iter::once(source).chain(range.map(|range| (RANGE_OF_SOURCE, range))).collect();
            let (status, copied) = ask(&s3, Method::PUT, &path, "", &headers).await;
            assert_eq!(status, 200, "{copied}");
            let tag = text_of(&copied, "ETag").unwrap();
            assert_eq!(tag == TAG, number == 2, "{copied}");
        }
        let complete = format!("/home/copy?uploadId={upload}");
        assert_eq!(ask(&s3, Method::POST, &complete, "", &[]).await.0, 200);
        let (_, whole) = ask(&s3, Method::GET, "/home/copy", "", &[]).await;
        assert_eq!(whole, "5678912340123456789");
        // An object that was uploaded in parts, as a part.
        let upload = begun(&s3, "/home/again").await;
        let part = format!("/home/again?partNumber=1&uploadId={upload}");
        assert_eq!(ask(&s3, Method::PUT, &part, "", &[(COPY_SOURCE, "home/copy")]).await.0, 200);
        assert_eq!(ask(&s3, Method::POST, &format!("/home/again?uploadId={upload}"), "", &[]).await.0, 200);
        assert_eq!(ask(&s3, Method::GET, "/home/again", "", &[]).await.1, whole);
    }

    #[tokio::test]
    async fn what_is_no_part_of_the_source_is_refused() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "", &[]).await;
        ask(&s3, Method::PUT, "/home/a", "1234", &[]).await;
        let upload = begun(&s3, "/home/copy").await;
        let part = format!("/home/copy?partNumber=1&uploadId={upload}");
        let range = |range| vec![(COPY_SOURCE, "home/a"), (RANGE_OF_SOURCE, range)];
        for (headers, status, code) in [
            (range("bytes=0-4"), 400, "InvalidArgument"),
            (range("bytes=4-4"), 400, "InvalidArgument"),
            (range("bytes=2-1"), 400, "InvalidArgument"),
            (range("bytes=1-"), 400, "InvalidArgument"),
            (range("1-2"), 400, "InvalidArgument"),
            (vec![(COPY_SOURCE, "home/none")], 404, "NoSuchKey"),
            (vec![(COPY_SOURCE, "home")], 400, "InvalidRequest"),
            (vec![(COPY_SOURCE, "home/caf%E9")], 400, "InvalidArgument"),
            (
                vec![(COPY_SOURCE, "home/a"), ("x-amz-copy-source-if-none-match", TAG)],
                412,
                "PreconditionFailed",
            ),
            (
                vec![(COPY_SOURCE, "home/a"), ("x-amz-copy-source-if-match", "\"0\"")],
                412,
                "PreconditionFailed",
            ),
        ] {
            let (refused, text) = ask(&s3, Method::PUT, &part, "", &headers).await;
            assert_eq!(
                (refused, text.contains(&format!("<Code>{code}</Code>"))),
                (status, true),
                "{headers:?} {text}"
            );
        }
        let (_, parts) = ask(&s3, Method::GET, &format!("/home/copy?uploadId={upload}"), "", &[]).await;
        assert!(!parts.contains("<PartNumber>"), "{parts}");
    }
}
