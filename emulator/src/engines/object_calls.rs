//! What calls of S3 are about: whole objects, the sources of copies, and uploads in parts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::wire::{AwsRequest, AwsResponse};
use crate::xml::text_of;

pub(super) const COPY_SOURCE: &str = "x-amz-copy-source";
const REPLACE: &str = "REPLACE";
const DIRECTIVES: [&str; 2] = ["COPY", REPLACE];
/// What in a query asks for a part of an object, or for something beside it.
const BESIDE_OBJECTS: [&str; 10] = [
    "acl",
    "attributes",
    "legal-hold",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
];
pub(super) const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Not a bucket, and not the tags, the policy or a part of an object.
pub(super) fn is_whole_object(request: &AwsRequest) -> bool {
    has_key(&request.path) && !request.query_names().any(|name| BESIDE_OBJECTS.contains(&name))
}

/// Whether a call writes a whole object, or begins to upload one in parts.
pub(super) fn writes_object(request: &AwsRequest) -> bool {
    let puts = request.method == Method::PUT && is_whole_object(request);
    puts || matches!(Step::of(request), Some(Step::Begin))
}

fn has_key(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').is_some_and(|(_, key)| !key.is_empty())
}

/// The call that reads the source of a copy, or with a query something beside it. None: there is no source, or it is none.
pub(super) fn call_of_source(request: &AwsRequest, method: Method, query: &str) -> Option<AwsRequest> {
    let source = request.header(COPY_SOURCE).filter(|_| request.method == Method::PUT)?;
    // In a header a `+` is a space.
    let source: Vec<u8> = percent_decode_str(&source.replace('+', " ")).collect();
    let source = percent_encode(&source, ENCODED).to_string();
    let path = format!("/{}", source.trim_start_matches('/'));
    has_key(&path).then(|| AwsRequest {
        method,
        path,
        query: query.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        ..request.clone()
    })
}

/// Whether a copy is to have of the directive's kind what the call says, and not what its source has.
pub(super) fn replaces(request: &AwsRequest, directive: &str) -> bool {
    request.header(directive) == Some(REPLACE)
}

/// Whether a copy is told something else than the two words that there are.
pub(super) fn has_unknown_directive(request: &AwsRequest, directive: &str) -> bool {
    let is_copy = request.method == Method::PUT && request.headers.contains_key(COPY_SOURCE);
    is_copy && request.header(directive).is_some_and(|word| !DIRECTIVES.contains(&word))
}

/// How an upload in parts begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begin,
    Complete(String),
    Abort(String),
}

impl Step {
    pub(super) fn of(request: &AwsRequest) -> Option<Self> {
        let upload = || request.query_value("uploadId");
        match request.method {
            Method::POST if request.has_query_name("uploads") => Some(Self::Begin),
            Method::POST => upload().map(Self::Complete),
            Method::DELETE => upload().map(Self::Abort),
            _ => None,
        }
    }
}

/// What is said of an object when its upload in parts begins, by the id of the upload, until it ends.
#[derive(Debug)]
pub(super) struct Uploads<T>(Mutex<HashMap<String, T>>);

impl<T> Uploads<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Takes note of a step that was answered, and of what was said with it. Returns what was said of an object that is there
    /// now.
    pub(super) fn follow(&self, step: Step, said: T, answer: &AwsResponse) -> Option<T> {
        if !answer.status.is_success() {
            return None;
        }
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match step {
            Step::Begin => {
                let upload = text_of(&String::from_utf8_lossy(&answer.body), "UploadId")?;
                begun.insert(upload, said);
                None
            }
            Step::Complete(upload) => begun.remove(&upload),
            Step::Abort(upload) => {
                begun.remove(&upload);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn call(method: Method, path: &str) -> AwsRequest {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        AwsRequest { query: query.to_owned(), ..AwsRequest::unsigned("s3", method, path, "") }
    }

    #[test]
    fn an_object_is_whole_also_of_a_version_and_with_other_headers() {
        for path in ["/b/k", "/b/k?versionId=v&response-expires=0", "/b/k?x-id=GetObject", "/b//"] {
            assert!(is_whole_object(&call(Method::GET, path)), "{path}");
        }
        for path in ["/", "/b", "/b/", "/b/?versions", "/b/k?tagging", "/b/k?partNumber=1&uploadId=u"] {
            assert!(!is_whole_object(&call(Method::GET, path)), "{path}");
        }
    }

    #[test]
    fn a_source_is_read_under_its_own_key() {
        let source = |header: &'static str| {
            let mut copy = call(Method::PUT, "/b/k");
            copy.headers.insert(COPY_SOURCE, header.parse().unwrap());
            call_of_source(&copy, Method::GET, "tagging").map(|source| (source.path, source.query))
        };
        for (header, path) in [
            ("b/k", "/b/k"),
            ("/b/a+b%2Bc", "/b/a%20b%2Bc"),
            ("b/k?versionId=1", "/b/k%3FversionId%3D1"),
            ("%2Fb%2F%C3%A4", "/b/%C3%A4"),
        ] {
            assert_eq!(source(header), Some((path.to_owned(), "tagging".to_owned())), "{header}");
        }
        for header in ["b", "/b/", ""] {
            assert_eq!(source(header), None, "{header}");
        }
    }

    #[test]
    fn what_is_said_of_an_upload_is_known_until_it_ends() {
        let begun = |upload: &str| {
            let body = format!(
                "<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            );
            AwsResponse::new(StatusCode::OK, "application/xml", body)
        };
        let ended = AwsResponse::new(StatusCode::OK, "application/xml", "");
        let refused = AwsResponse::new(StatusCode::BAD_REQUEST, "application/xml", "");
        let uploads = Uploads::new();
        for upload in ["a", "b"] {
            let step = Step::of(&call(Method::POST, "/b/k?uploads")).unwrap();
            assert_eq!(uploads.follow(step, Some(upload), &begun(upload)), None);
        }
        let step =
            |method, upload: &str| Step::of(&call(method, &format!("/b/k?uploadId={upload}"))).unwrap();
        assert_eq!(uploads.follow(step(Method::POST, "a"), None, &refused), None);
        assert_eq!(uploads.follow(step(Method::POST, "a"), None, &ended), Some(Some("a")));
        assert_eq!(uploads.follow(step(Method::POST, "a"), None, &ended), None);
        assert_eq!(uploads.follow(step(Method::DELETE, "b"), None, &ended), None);
        assert_eq!(uploads.follow(step(Method::POST, "b"), None, &ended), None);
        assert_eq!(Step::of(&call(Method::PUT, "/b/k?partNumber=1&uploadId=a")), None);
    }
}
