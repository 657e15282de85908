//! S3 whose versions of objects are named by our random source, so that a call that is made again makes a version of the same
//! name: the engine names them anew each time, and after a restart no call about a version would be about one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;

use super::adapter::refused_by_s3;
use super::bucket_policies::BucketPolicies;
use super::list_pages::for_everything;
use super::version_lists::VersionList;
use crate::repeatable;
use crate::settings::Random;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service, not_emulated};

const HEADER: &str = "x-amz-version-id";
/// Of what is put or deleted while a bucket's versioning is suspended.
const NULL: &str = "null";
const COPY_SOURCE: &str = "x-amz-copy-source";
/// Behind the key of a source, which is encoded: a key with these letters has `%3F` for the first.
const VERSION_OF_SOURCE: &str = "?versionId=";
const QUIET: &str = "<Quiet>true</Quiet>";
const NOT_QUIET: &str = "<Quiet>false</Quiet>";

/// S3 with names of versions of ours.
pub(super) struct ObjectVersions {
    engine: BucketPolicies,
    random: Random,
    names: Mutex<Names>,
}

/// Of every version that was made: small beside the call that made it.
#[derive(Debug, Default)]
struct Names {
    /// By the engine's.
    ours: HashMap<String, String>,
    /// By ours.
    engines: HashMap<String, String>,
}

impl ObjectVersions {
    pub(super) fn new(engine: BucketPolicies, random: Random) -> Self {
        Self { engine, random, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call in the engine's names. It is asked for the names of all delete markers that it makes: one that is told to
    /// nobody now is listed later.
    fn for_engine(&self, mut request: AwsRequest) -> AwsRequest {
        let names = self.names();
        let of_engine = |ours: &str| names.engines.get(ours).cloned();
        request.query = renamed(&request.query, "versionId=", of_engine);
        if deletes_many(&request)
            && let Ok(body) = std::str::from_utf8(&request.body)
        {
            let body = renamed(body, "<VersionId>", of_engine).replace(QUIET, NOT_QUIET);
            request.body = Bytes::from(body);
            request.headers.remove(CONTENT_LENGTH);
        }
        request
    }

    /// Our name of a version that is known, or that was just made.
    fn name(&self, of_engine: &str) -> Option<String> {
        if of_engine.is_empty() || of_engine == NULL {
            return None;
        }
        let mut names = self.names();
        if let Some(known) = names.ours.get(of_engine) {
            return Some(known.clone());
        }
        let mut ours = self.random.uuid().to_string();
        while names.engines.contains_key(&ours) {
            ours = self.random.uuid().to_string();
        }
        names.engines.insert(ours.clone(), of_engine.to_owned());
        names.ours.insert(of_engine.to_owned(), ours.clone());
        Some(ours)
    }

    fn with_our_header(&self, answer: AwsResponse) -> AwsResponse {
        let of_engine = answer.headers.get(HEADER).and_then(|name| name.to_str().ok());
        match of_engine.and_then(|name| self.name(name)) {
            Some(name) => answer.with_header(HEADER, &name),
            None => answer,
        }
    }

    /// A document in our names. Only a delete marker is made by a call that answers with one.
    fn in_our_names(&self, text: &str) -> String {
        let text = renamed(text, "<DeleteMarkerVersionId>", |made| self.name(made));
        let names = self.names();
        renamed(&text, "<VersionId>", |known| names.ours.get(known).cloned())
    }

    async fn list(&self, request: AwsRequest) -> AwsResponse {
        let list = match VersionList::of(&request) {
            Ok(list) => list,
            Err(message) => return refused_by_s3("InvalidArgument", message),
        };
        let mut answer = self.engine.handle(for_everything(request)).await;
        if answer.status.is_success() {
            let everything = self.in_our_names(&String::from_utf8_lossy(&answer.body));
            answer.body = Bytes::from(list.document(&everything));
            answer.headers.remove(CONTENT_LENGTH);
        }
        answer
    }
}

impl Service for ObjectVersions {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            if copies_version(&request) && !repeatable::is_repeated() {
                return no_copy_of_version();
            }
            if request.method == Method::GET && request.has_query_name("versions") {
                return self.list(request).await;
            }
            let deletes_many = deletes_many(&request);
            let is_quiet = deletes_many && String::from_utf8_lossy(&request.body).contains(QUIET);
            let answer = self.engine.handle(self.for_engine(request)).await;
            let mut answer = self.with_our_header(answer);
            if answer.status.is_success() && deletes_many {
                let text = self.in_our_names(&String::from_utf8_lossy(&answer.body));
                answer.body = Bytes::from(if is_quiet { without_deleted(&text) } else { text });
                answer.headers.remove(CONTENT_LENGTH);
            }
            answer
        })
    }
}

/// The engine would take the version for a part of the key, and copy another object than the one that was judged.
fn copies_version(request: &AwsRequest) -> bool {
    let source = request.header(COPY_SOURCE).filter(|_| request.method == Method::PUT);
    source.is_some_and(|source| source.contains(VERSION_OF_SOURCE))
}

fn no_copy_of_version() -> AwsResponse {
    tracing::warn!("a copy of a version of an object is not emulated");
    refused_by_s3("NotImplemented", &not_emulated("A copy of a version of an object"))
}

fn deletes_many(request: &AwsRequest) -> bool {
    request.method == Method::POST && request.has_query_name("delete")
}

/// The text with another name behind each mark, where `name` knows one.
fn renamed(text: &str, mark: &str, name: impl Fn(&str) -> Option<String>) -> String {
    let mut parts = text.split(mark);
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(part.len());
        let (old, rest) = part.split_at(end);
        all.push_str(mark);
        all.push_str(name(old).as_deref().unwrap_or(old));
        all.push_str(rest);
    }
    all
}

/// What DeleteObjects answers to who asked to hear of errors only.
fn without_deleted(text: &str) -> String {
    let mut parts = text.split("<Deleted>");
    let before = parts.next().unwrap_or_default().to_owned();
    parts.fold(before, |all, part| all + part.split_once("</Deleted>").map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::{Engine, Scope};
    use crate::engines::object_headers::ObjectHeaders;
    use crate::engines::object_tags::ObjectTags;
    use crate::xml::text_of;

    fn s3() -> ObjectVersions {
        let engine = ObjectTags::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())));
        ObjectVersions::new(BucketPolicies::new(ObjectHeaders::new(engine)), Random::from_seed(1))
    }

    /// A call as one that can be made again, with its own seed.
    async fn ask(s3: &ObjectVersions, seed: u64, method: Method, path: &str, body: &str) -> AwsResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request =
            AwsRequest { query: query.to_owned(), ..AwsRequest::unsigned("s3", method, path, body) };
        let answer = repeatable::scope(seed, None, s3.handle(request)).await;
        assert!(answer.status.is_success(), "{path}?{query}: {answer:?}");
        answer
    }

    fn named(answer: &AwsResponse) -> String {
        answer.headers[HEADER].to_str().unwrap().to_owned()
    }

    fn text(answer: &AwsResponse) -> String {
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// A bucket in which an object has a version, and a delete marker before it.
    async fn with_two_versions() -> (ObjectVersions, [String; 2]) {
        let s3 = s3();
        ask(&s3, 1, Method::PUT, "/bucket", "").await;
        let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        ask(&s3, 2, Method::PUT, "/bucket?versioning", on).await;
        let version = named(&ask(&s3, 3, Method::PUT, "/bucket/k", "content").await);
        let marker = named(&ask(&s3, 4, Method::DELETE, "/bucket/k", "").await);
        (s3, [version, marker])
    }

    #[tokio::test]
    async fn calls_that_are_made_again_make_and_end_the_same_versions() {
        let (_, [version, marker]) = with_two_versions().await;
        let (s3, again) = with_two_versions().await;
        assert_eq!(again, [version.clone(), marker.clone()]);
        assert_ne!(version, marker);
        let listed = text(&ask(&s3, 5, Method::GET, "/bucket?versions", "").await);
        for name in [&version, &marker] {
            assert!(listed.contains(&format!("<VersionId>{name}</VersionId>")), "{name}: {listed}");
        }
        let read = ask(&s3, 6, Method::GET, &format!("/bucket/k?versionId={version}"), "").await;
        assert_eq!((named(&read), text(&read)), (version.clone(), "content".to_owned()));
        ask(&s3, 7, Method::DELETE, &format!("/bucket/k?versionId={marker}"), "").await;
        assert_eq!(named(&ask(&s3, 8, Method::GET, "/bucket/k", "").await), version);
        ask(&s3, 9, Method::DELETE, &format!("/bucket/k?versionId={version}"), "").await;
        // Only of an empty bucket.
        ask(&s3, 10, Method::DELETE, "/bucket", "").await;
    }

    #[tokio::test]
    async fn pages_of_versions_go_on_by_our_names() {
        let (s3, [version, marker]) = with_two_versions().await;
        let first = text(&ask(&s3, 5, Method::GET, "/bucket?versions&max-keys=1", "").await);
        assert_eq!(text_of(&first, "NextVersionIdMarker").as_ref(), Some(&marker), "{first}");
        assert!(first.contains(&format!("<VersionId>{marker}</VersionId>")), "{first}");
        let next = format!("/bucket?versions&max-keys=1&key-marker=k&version-id-marker={marker}");
        let second = text(&ask(&s3, 6, Method::GET, &next, "").await);
        assert!(second.contains(&format!("<VersionId>{version}</VersionId>")), "{second}");
        assert_eq!(text_of(&second, "IsTruncated").as_deref(), Some("false"), "{second}");
        let refused = AwsRequest::unsigned("s3", Method::GET, "/bucket", "");
        let refused = AwsRequest { query: "versions&max-keys=a".to_owned(), ..refused };
        assert_eq!(s3.handle(refused).await.status, 400);
    }

    #[tokio::test]
    async fn markers_that_many_deletions_at_once_make_have_the_same_names_again_although_nobody_is_told() {
        let delete =
            |quiet: bool| format!("<Delete><Object><Key>k</Key></Object><Quiet>{quiet}</Quiet></Delete>");
        let (s3, _) = with_two_versions().await;
        let told = text(&ask(&s3, 5, Method::POST, "/bucket?delete", &delete(false)).await);
        let marker =
            told.split_once("<DeleteMarkerVersionId>").unwrap().1.split_once('<').unwrap().0.to_owned();
        assert!(told.contains(&format!("<VersionId>{marker}</VersionId>")), "{told}");
        let (s3, [version, first]) = with_two_versions().await;
        let quiet = text(&ask(&s3, 5, Method::POST, "/bucket?delete", &delete(true)).await);
        assert!(!quiet.contains("Deleted") && quiet.contains("DeleteResult"), "{quiet}");
        let objects = [version, first, marker]
            .map(|name| format!("<Object><Key>k</Key><VersionId>{name}</VersionId></Object>"));
        let all = format!("<Delete>{}</Delete>", objects.concat());
        let told = text(&ask(&s3, 6, Method::POST, "/bucket?delete", &all).await);
        assert_eq!(told.matches("<VersionId>").count(), 3, "{told}");
        ask(&s3, 7, Method::DELETE, "/bucket", "").await;
    }

    #[tokio::test]
    async fn a_copy_of_a_version_is_refused_though_an_object_has_that_for_its_name() {
        let s3 = s3();
        ask(&s3, 1, Method::PUT, "/bucket", "").await;
        ask(&s3, 2, Method::PUT, "/bucket/k%3FversionId=1", "of that name").await;
        let copy = |path: &str, query: &str, source: &'static str| {
            let request = AwsRequest::unsigned("s3", Method::PUT, path, "");
            let mut request = AwsRequest { query: query.to_owned(), ..request };
            request.headers.insert(COPY_SOURCE, source.parse().unwrap());
            request
        };
        for query in ["", "partNumber=1&uploadId=u"] {
            let refused = s3.handle(copy("/bucket/copy", query, "bucket/k?versionId=1")).await;
            assert_eq!(refused.status, 400, "{query}");
            assert!(text(&refused).contains("<Code>NotImplemented</Code>"), "{refused:?}");
        }
        let by_name = copy("/bucket/by-name", "", "bucket/k%3FversionId=1");
        assert!(s3.handle(by_name).await.status.is_success());
        // One that an older emulator took.
        let again = copy("/bucket/again", "", "bucket/k?versionId=1");
        let again = repeatable::scope_again(repeatable::RULES, 3, 0, s3.handle(again)).await;
        assert!(again.status.is_success(), "{again:?}");
        for path in ["/bucket/by-name", "/bucket/again"] {
            assert_eq!(text(&ask(&s3, 4, Method::GET, path, "").await), "of that name", "{path}");
        }
    }

    #[test]
    fn only_what_stands_behind_the_mark_is_another_name() {
        let name = |old: &str| (old == "a-1").then(|| "b-2".to_owned());
        assert_eq!(renamed("x=a-1&versionId=a-1&y", "versionId=", name), "x=a-1&versionId=b-2&y");
        assert_eq!(renamed("versionId=a-12", "versionId=", name), "versionId=a-12");
        assert_eq!(renamed("", "versionId=", name), "");
    }
}
