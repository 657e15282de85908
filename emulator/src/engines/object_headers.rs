//! S3 whose objects are answered with the headers that they were written with. The engine keeps the type and the metadata, which
//! it does not show of a HEAD, and takes every storage class for STANDARD: every plan would set the others again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode_str;

use super::adapter::refused_by_s3;
use super::object_calls::{
    Step, Uploads, call_of_source, has_unknown_directive, is_whole_object, replaces, writes_object,
};
use super::object_tags::{self, ObjectTags};
use crate::iam::deleted_objects;
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

const META: &str = "x-amz-meta-";
const CLASS: &str = "x-amz-storage-class";
const REDIRECT: &str = "x-amz-website-redirect-location";
const VERSION: &str = "x-amz-version-id";
/// Of what is written without one.
const NULL: &str = "null";
const DIRECTIVE: &str = "x-amz-metadata-directive";
/// Of an object that says nothing.
const TYPE: HeaderValue = HeaderValue::from_static("binary/octet-stream");
/// What a copy has of its source, besides the metadata, and the parameter that asks for another value.
const COPIED: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "response-cache-control"),
    (CONTENT_DISPOSITION, "response-content-disposition"),
    (CONTENT_ENCODING, "response-content-encoding"),
    (CONTENT_LANGUAGE, "response-content-language"),
    (CONTENT_TYPE, "response-content-type"),
    (EXPIRES, "response-expires"),
];
/// Of an object that says nothing; never shown.
const STANDARD: &str = "STANDARD";
const CLASSES: [&str; 10] = [
    STANDARD,
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "EXPRESS_ONEZONE",
];

/// S3 with headers of objects.
pub(super) struct ObjectHeaders {
    engine: ObjectTags,
    known: Mutex<HashMap<Place, HeaderMap>>,
    uploads: Uploads<HeaderMap>,
    /// Of whoever changes objects: what is known of one is of the call that the engine carried out last.
    turn: tokio::sync::Mutex<()>,
}

/// Where a version of an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    region: String,
    /// Decoded.
    path: String,
    version: String,
}

impl ObjectHeaders {
    pub(super) fn new(engine: ObjectTags) -> Self {
        let turn = tokio::sync::Mutex::default();
        Self { engine, known: Mutex::default(), uploads: Uploads::new(), turn }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, HeaderMap>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, request: AwsRequest) -> AwsResponse {
        let asked = asked_headers(&request);
        let (region, path) = (request.region.clone(), decoded(&request.path));
        let mut answer = self.engine.handle(request).await;
        if !answer.status.is_success() {
            return answer;
        }
        let place = Place { region, path, version: version_of(&answer) };
        if let Some(headers) = self.known().get(&place) {
            show(headers, &mut answer.headers);
        }
        for (name, value) in asked {
            answer.headers.insert(name, value);
        }
        answer
    }

    async fn change(&self, request: AwsRequest) -> AwsResponse {
        let (step, deleted) = (Step::of(&request), deleted(&request));
        let is_of_objects = writes_object(&request) || step.is_some() || !deleted.is_empty();
        let _turn = if is_of_objects { Some(self.turn.lock().await) } else { None };
        let written = self.written(&request).await;
        let (region, path) = (request.region.clone(), decoded(&request.path));
        let answer = self.engine.handle(request).await;
        let written = match step {
            Some(step) => self.uploads.follow(step, written.unwrap_or_default(), &answer),
            None => written,
        };
        if answer.status.is_success() {
            let version = version_of(&answer);
            let mut known = self.known();
            for (path, of_version) in deleted {
                let version = of_version.unwrap_or_else(|| version.clone());
                known.remove(&Place { region: region.clone(), path, version });
            }
            if let Some(headers) = written {
                known.insert(Place { region, path, version }, headers);
            }
        }
        answer
    }

    /// The headers of the object that a call writes or begins to upload. A copy has those of its source, but for its class.
    async fn written(&self, request: &AwsRequest) -> Option<HeaderMap> {
        if !writes_object(request) {
            return None;
        }
        let is_shown = |name: &HeaderName, value: &HeaderValue| match name.as_str() {
            CLASS => value != STANDARD,
            REDIRECT => true,
            _ => is_copied(name),
        };
        let mut headers = headers_that(&request.headers, is_shown);
        let source = call_of_source(request, Method::HEAD, "").filter(|_| !replaces(request, DIRECTIVE));
        if let Some(source) = source {
            headers = headers_that(&headers, |name, _| !is_copied(name));
            let source = self.read(source).await;
            headers.extend(headers_that(&source.headers, |name, _| is_copied(name)));
        }
        headers.entry(CONTENT_TYPE).or_insert(TYPE);
        Some(headers)
    }
}

impl Service for ObjectHeaders {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let reads = matches!(request.method, Method::GET | Method::HEAD) && is_whole_object(&request);
            if let Some(refused) = refused(&request) {
                refused
            } else if reads {
                self.read(request).await
            } else {
                self.change(request).await
            }
        })
    }
}

fn refused(request: &AwsRequest) -> Option<AwsResponse> {
    if request.header(CLASS).is_some_and(|class| !CLASSES.contains(&class)) {
        return Some(refused_by_s3("InvalidStorageClass", "The storage class you specified is not valid"));
    }
    if repeatable::is_repeated() {
        return None;
    }
    for (directive, kind) in [(DIRECTIVE, "metadata"), (object_tags::DIRECTIVE, "tagging")] {
        if has_unknown_directive(request, directive) {
            return Some(refused_by_s3("InvalidArgument", &format!("Unknown {kind} directive.")));
        }
    }
    let is_anonymous = request.access_key_id.is_empty() && !asked_headers(request).is_empty();
    (is_anonymous && is_whole_object(request)).then(|| {
        let message = "Request specific response headers cannot be used for anonymous GET requests.";
        refused_by_s3("InvalidRequest", message)
    })
}

/// What a call that reads an object asks for in the place of what the object has.
fn asked_headers(request: &AwsRequest) -> Vec<(HeaderName, HeaderValue)> {
    let asked = COPIED.into_iter().filter_map(|(name, parameter)| {
        let value = request.query_value(parameter)?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    asked.collect()
}

/// The objects that a call deletes, by their paths, with their versions where those are named.
pub(super) fn deleted(request: &AwsRequest) -> Vec<(String, Option<String>)> {
    let path = decoded(&request.path);
    match request.method {
        Method::DELETE if is_whole_object(request) => vec![(path, request.query_value("versionId"))],
        Method::POST if request.has_query_name("delete") => {
            let bucket = path.trim_end_matches('/');
            let objects = deleted_objects(request).map(|delete| delete.objects).unwrap_or_default();
            let objects = objects.into_iter();
            objects.map(|object| (format!("{bucket}/{}", object.key), object.version_id)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_copied(name: &HeaderName) -> bool {
    name.as_str().starts_with(META) || COPIED.iter().any(|(copied, _)| copied == name)
}

fn headers_that(headers: &HeaderMap, is_one: impl Fn(&HeaderName, &HeaderValue) -> bool) -> HeaderMap {
    let found = headers.iter().filter(|(name, value)| is_one(name, value));
    found.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// In the place of what the engine takes for the object's own.
fn show(headers: &HeaderMap, shown: &mut HeaderMap) {
    let others = headers_that(shown, |name, _| !is_copied(name));
    *shown = others;
    shown.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
}

fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Of an answer about an object.
fn version_of(answer: &AwsResponse) -> String {
    let version = answer.headers.get(VERSION).and_then(|version| version.to_str().ok());
    version.unwrap_or(NULL).to_owned()
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;

    use winterbaume_core::{MockRequest, MockResponse, MockService};
    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::{Engine, Scope};
    use crate::engines::object_calls::COPY_SOURCE;
    use crate::xml::text_of;

    /// An engine that answers only later to whoever puts `slow`.
    struct Slow(S3Service);

    impl MockService for Slow {
        fn service_name(&self) -> &str {
            self.0.service_name()
        }

        fn url_patterns(&self) -> Vec<&str> {
            self.0.url_patterns()
        }

        fn handle(&self, request: MockRequest) -> Pin<Box<dyn Future<Output = MockResponse> + Send + '_>> {
            Box::pin(async move {
                let is_slow = request.body == "slow";
                let answer = self.0.handle(request).await;
                let turns = if is_slow { 1_000 } else { 0 };
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                answer
            })
        }
    }

    type Headers<'a> = [(&'static str, &'a str)];

    /// What an object says, and its metadata.
    const SAID: [(&str, &str); 8] = [
        ("cache-control", "no-cache"),
        ("content-disposition", "inline"),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("content-type", "text/plain"),
        ("expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ("x-amz-meta-a", "b"),
        ("x-amz-website-redirect-location", "/other"),
    ];

    async fn s3() -> ObjectHeaders {
        s3_of(Arc::new(S3Service::new())).await
    }

    async fn s3_of(engine: Arc<dyn MockService>) -> ObjectHeaders {
        let engine = Engine::new("s3", Scope::Regional, engine);
        let s3 = ObjectHeaders::new(ObjectTags::new(engine));
        assert_eq!(ask(&s3, Method::PUT, "/home", &[]).await.status, 200);
        s3
    }

    async fn ask(s3: &ObjectHeaders, method: Method, path: &str, headers: &Headers<'_>) -> AwsResponse {
        ask_with(s3, method, path, headers, "").await
    }

    async fn ask_with(
        s3: &ObjectHeaders,
        method: Method,
        path: &str,
        headers: &Headers<'_>,
        body: &str,
    ) -> AwsResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = AwsRequest::unsigned("s3", method, path, body);
        let access_key_id = "AKID".to_owned();
        let mut request = AwsRequest { query: query.to_owned(), access_key_id, ..request };
        for (name, value) in headers {
            request.headers.insert(*name, value.parse().unwrap());
        }
        s3.handle(request).await
    }

    async fn put(s3: &ObjectHeaders, path: &str, headers: &Headers<'_>) -> AwsResponse {
        let answer = ask(s3, Method::PUT, path, headers).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer
    }

    /// These headers, as GET and as HEAD show them.
    async fn shown(s3: &ObjectHeaders, path: &str, names: &[&'static str]) -> Vec<Option<String>> {
        let mut both = Vec::new();
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(s3, method, path, &[]).await;
            assert_eq!(answer.status, 200, "{path}");
            let text = |name: &&'static str| Some(answer.headers.get(*name)?.to_str().unwrap().to_owned());
            both.push(names.iter().map(text).collect::<Vec<_>>());
        }
        assert_eq!(both[0], both[1], "{path}");
        both.remove(0)
    }

    async fn shows_all(s3: &ObjectHeaders, path: &str) -> bool {
        let shown = shown(s3, path, &SAID.map(|(name, _)| name)).await;
        shown.iter().zip(SAID).all(|(shown, (_, said))| shown.as_deref() == Some(said))
    }

    #[tokio::test]
    async fn an_object_keeps_its_class_until_it_is_written_again() {
        let s3 = s3().await;
        let class = async |path: &str| shown(&s3, path, &[CLASS]).await.remove(0);
        put(&s3, "/home/rare", &[(CLASS, "ONEZONE_IA")]).await;
        put(&s3, "/home/often", &[(CLASS, STANDARD)]).await;
        assert_eq!(class("/home/rare").await.as_deref(), Some("ONEZONE_IA"));
        assert_eq!(class("/home/r%61re").await.as_deref(), Some("ONEZONE_IA"));
        assert_eq!(class("/home/often").await, None);
        assert_eq!(ask(&s3, Method::PUT, "/home/rare", &[(CLASS, "COLD")]).await.status, 400);
        assert_eq!(class("/home/rare").await.as_deref(), Some("ONEZONE_IA"));
        put(&s3, "/home/rare", &[]).await;
        assert_eq!(class("/home/rare").await, None);
        // As it is if the calls are presigned.
        let signature = "X-Amz-Algorithm=a&X-Amz-Signature=00&x-id=PutObject";
        put(&s3, &format!("/home/rare?{signature}"), &[(CLASS, "ONEZONE_IA")]).await;
        let presigned = class("/home/rare?AWSAccessKeyId=a&Expires=1&Signature=00").await;
        assert_eq!(presigned.as_deref(), Some("ONEZONE_IA"));
    }

    #[tokio::test]
    async fn an_object_is_answered_with_what_it_was_put_with() {
        let s3 = s3().await;
        put(&s3, "/home/a", &SAID).await;
        assert!(shows_all(&s3, "/home/a").await);
        put(&s3, "/home/a", &[]).await;
        let names = SAID.map(|(name, _)| name);
        let mut nothing = vec![None; SAID.len()];
        nothing[4] = Some("binary/octet-stream".to_owned());
        assert_eq!(shown(&s3, "/home/a", &names).await, nothing);
    }

    #[tokio::test]
    async fn of_two_who_put_one_object_at_once_the_last_one_gives_it_its_headers_too() {
        let s3 = s3_of(Arc::new(Slow(S3Service::new()))).await;
        let put = async |content: &'static str| {
            let headers = [("x-amz-meta-a", content)];
            ask_with(&s3, Method::PUT, "/home/a", &headers, content).await.status.as_u16()
        };
        assert_eq!(tokio::join!(put("slow"), put("quick")), (200, 200));
        let content = ask(&s3, Method::GET, "/home/a", &[]).await.body;
        let content = String::from_utf8(content.to_vec()).unwrap();
        assert_eq!(shown(&s3, "/home/a", &["x-amz-meta-a"]).await, [Some(content)]);
    }

    #[tokio::test]
    async fn what_is_known_of_an_object_goes_with_it() {
        let s3 = s3().await;
        for path in ["/home/a", "/home/b%2Bc"] {
            put(&s3, path, &SAID).await;
        }
        ask(&s3, Method::DELETE, "/home/a", &[]).await;
        assert_eq!(s3.known().len(), 1);
        let delete = "<Delete><Object><Key>b+c</Key></Object></Delete>";
        assert_eq!(ask_with(&s3, Method::POST, "/home?delete", &[], delete).await.status, 200);
        assert!(s3.known().is_empty());
    }

    #[tokio::test]
    async fn each_version_has_its_own_headers_and_each_region_its_own_objects() {
        let s3 = s3().await;
        let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        assert!(ask_with(&s3, Method::PUT, "/home?versioning", &[], on).await.status.is_success());
        let first = version_of(&put(&s3, "/home/a", &[("x-amz-meta-a", "1")]).await);
        let second = version_of(&put(&s3, "/home/a", &[("x-amz-meta-a", "2")]).await);
        for (path, value) in [
            ("/home/a".to_owned(), "2"),
            (format!("/home/a?versionId={first}"), "1"),
            (format!("/home/a?versionId={second}"), "2"),
        ] {
            assert_eq!(shown(&s3, &path, &["x-amz-meta-a"]).await, [Some(value.to_owned())], "{path}");
        }
        ask(&s3, Method::DELETE, "/home/a", &[]).await;
        assert_eq!(s3.known().len(), 2, "a marker deletes none");
        ask(&s3, Method::DELETE, &format!("/home/a?versionId={second}"), &[]).await;
        assert_eq!(s3.known().len(), 1);
        for path in ["/home", "/home/a"] {
            let there = AwsRequest::unsigned("s3", Method::PUT, path, "");
            let there = AwsRequest { region: "eu-west-1".to_owned(), ..there };
            assert_eq!(s3.handle(there).await.status, 200);
        }
        let read = shown(&s3, &format!("/home/a?versionId={first}"), &["x-amz-meta-a"]).await;
        assert_eq!(read, [Some("1".to_owned())]);
    }

    #[tokio::test]
    async fn an_object_that_is_uploaded_in_parts_has_the_headers_that_its_upload_began_with() {
        let s3 = s3().await;
        put(&s3, "/home/a", &[(CLASS, "ONEZONE_IA")]).await;
        let begun = ask(&s3, Method::POST, "/home/a?uploads", &SAID).await;
        let upload = text_of(&String::from_utf8_lossy(&begun.body), "UploadId").unwrap();
        put(&s3, &format!("/home/a?partNumber=1&uploadId={upload}"), &[]).await;
        assert!(!shows_all(&s3, "/home/a").await, "before it is complete");
        let complete = format!("/home/a?uploadId={upload}");
        assert_eq!(ask(&s3, Method::POST, &complete, &[]).await.status, 200);
        assert!(shows_all(&s3, "/home/a").await);
        assert_eq!(shown(&s3, "/home/a", &[CLASS]).await, [None]);
    }

    #[tokio::test]
    async fn a_copy_has_the_headers_that_the_directive_says() {
        const NAMES: [&str; 5] = ["x-amz-meta-a", "x-amz-meta-c", "content-type", "cache-control", CLASS];
        let s3 = s3().await;
        let said = [("x-amz-meta-a", "b"), ("content-type", "text/plain"), ("cache-control", "no-cache")];
        let own = [("x-amz-meta-c", "d"), ("content-type", "text/html"), (CLASS, "GLACIER")];
        let class = (CLASS, "ONEZONE_IA");
        put(&s3, "/home/source", &[&said[..], &[class]].concat()).await;
        let source = [(COPY_SOURCE, "home/source")];
        let copied = [Some("b"), None, Some("text/plain"), Some("no-cache"), Some("GLACIER")];
        let replaced = [None, Some("d"), Some("text/html"), None, Some("GLACIER")];
        let bare = [None, None, Some("binary/octet-stream"), None, None];
        let replace = [(DIRECTIVE, "REPLACE")];
        for (headers, expected) in [
            ([&source[..], &own[..]].concat(), copied),
            ([&source[..], &own[..], &[(DIRECTIVE, "COPY")]].concat(), copied),
            ([&source[..], &own[..], &replace[..]].concat(), replaced),
            ([&source[..], &replace[..]].concat(), bare),
        ] {
            put(&s3, "/home/copy", &headers).await;
            let expected = expected.map(|value| value.map(str::to_owned));
            assert_eq!(shown(&s3, "/home/copy", &NAMES).await, expected, "{headers:?}");
        }
        // Onto itself.
        put(&s3, "/home/source", &source).await;
        assert_eq!(shown(&s3, "/home/source", &["x-amz-meta-a"]).await, [Some("b".to_owned())]);
        for directive in [DIRECTIVE, object_tags::DIRECTIVE] {
            let unknown = [source[0], (directive, "MOVE")];
            assert_eq!(ask(&s3, Method::PUT, "/home/copy", &unknown).await.status, 400);
        }
    }

    #[tokio::test]
    async fn a_signed_call_may_ask_for_other_headers() {
        let s3 = s3().await;
        put(&s3, "/home/a", &SAID).await;
        let query = "response-content-type=a%2Fb&response-content-disposition=attachment%3B+filename%3Dc";
        let names = ["content-type", "content-disposition", "cache-control"];
        let expected = ["a/b", "attachment; filename=c", "no-cache"].map(|value| Some(value.to_owned()));
        assert_eq!(shown(&s3, &format!("/home/a?{query}"), &names).await, expected);
        let unsigned = AwsRequest::unsigned("s3", Method::GET, "/home/a", "");
        let unsigned = AwsRequest { query: query.to_owned(), ..unsigned };
        assert_eq!(s3.handle(unsigned).await.status, 400);
    }
}
