//! S3 whose buckets keep what the engine takes and forgets. Whoever put it reads it again, and a plan would set it for ever, or
//! an apply wait until it gives up. Nothing here acts by it: it is only shown.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{percent_decode_str, percent_encode};

use super::access_lists::{self, AccessList, is_document};
use super::adapter::refused_by_s3;
use super::body_digests::BodyDigests;
use super::object_calls::ENCODED;
use super::object_headers::deleted;
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use crate::xml::{elements, escape, text_of};

/// The bucket or the object itself.
const WHOLE: &str = "";
const LIST: &str = "acl";
const LIFECYCLE: &str = "lifecycle";
const OWNERSHIP: &str = "ownershipControls";
const UPLOAD: &str = "uploadId";
const VERSIONING: &str = "versioning";
/// What is shown as it was put, and its element.
const DOCUMENTS: [(&str, &str); 3] = [
    ("accelerate", "AccelerateConfiguration"),
    ("logging", "BucketLoggingStatus"),
    ("requestPayment", "RequestPaymentConfiguration"),
];
/// From which size on objects are moved by a lifecycle that says nothing of it.
const SMALLEST: &str = "x-amz-transition-default-minimum-object-size";
const SMALLEST_UNSAID: &str = "all_storage_classes_128K";
const SIZES: [&str; 2] = [SMALLEST_UNSAID, "varies_by_storage_class"];
const LOCK: &str = "x-amz-bucket-object-lock-enabled";
/// What a bucket with locks has from the beginning.
const WITH_LOCK: [(&str, &str); 2] = [
    (VERSIONING, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
    (
        "object-lock",
        "<ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
    ),
];
const OWNER: &str = "x-amz-object-ownership";
const OWNERS: [&str; 3] = ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"];
/// Since these rules a bucket that is made with locks has them, and keeps versions, and one that is made with an ownership has that.
const RULES_OF_LOCKS: u32 = 5;
const MALFORMED: &str =
    "The XML you provided was not well-formed or did not validate against our published schema";

/// S3 with settings of buckets, and with access control lists of buckets and objects.
pub(super) struct BucketSettings {
    engine: BodyDigests,
    known: Mutex<HashMap<Place, Settings>>,
    /// Of whoever changes something: what is known of it is of the call that the engine carried out last.
    turn: tokio::sync::Mutex<()>,
}

/// A bucket or an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    region: String,
    bucket: String,
    /// Decoded. Empty: the bucket.
    key: String,
}

#[derive(Debug, Default)]
struct Settings {
    list: Option<AccessList>,
    documents: HashMap<&'static str, Bytes>,
    smallest: Option<String>,
    mfa_delete: Option<String>,
    /// A bucket that never lost them has those of the beginning.
    has_lost_ownership: bool,
}

/// What of a call matters here.
struct Call {
    method: Method,
    /// What of the place it is about.
    subject: &'static str,
    place: Place,
    list: Option<AccessList>,
    smallest: Option<String>,
    body: Bytes,
}

impl BucketSettings {
    pub(super) fn new(engine: BodyDigests) -> Self {
        Self { engine, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, Settings>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, call: &Call) {
        let mut known = self.known();
        match (&call.method, call.subject) {
            // Whatever is written is another one than before.
            (&Method::PUT, WHOLE) => {
                known.remove(&call.place);
                if let Some(list) = call.list.clone() {
                    known.entry(call.place.clone()).or_default().list = Some(list);
                }
            }
            (&Method::DELETE, WHOLE) if call.place.key.is_empty() => {
                known.retain(|place, _| !place.is_in_bucket_of(&call.place));
            }
            (&Method::DELETE, WHOLE) | (&Method::POST, UPLOAD) => {
                known.remove(&call.place);
            }
            (_, UPLOAD) => {}
            (&Method::PUT | &Method::DELETE, _) => known.entry(call.place.clone()).or_default().keep(call),
            _ => {}
        }
    }

    /// A call that may delete many objects, or a version: then the object may stay.
    async fn other(&self, request: AwsRequest) -> AwsResponse {
        let objects = deleted(&request);
        if objects.is_empty() {
            return self.engine.handle(request).await;
        }
        let there = AwsRequest {
            method: Method::HEAD,
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            ..request.clone()
        };
        let answer = self.engine.handle(request).await;
        if !answer.status.is_success() {
            return answer;
        }
        for (path, version) in objects {
            let path = percent_encode(path.as_bytes(), ENCODED).to_string();
            let object = AwsRequest { path, ..there.clone() };
            let Some(place) = Place::of(&object) else { continue };
            let is_known = self.known().contains_key(&place);
            if is_known && (version.is_none() || !self.engine.handle(object).await.status.is_success()) {
                self.known().remove(&place);
            }
        }
        answer
    }

    fn shown(&self, call: &Call, answer: AwsResponse) -> AwsResponse {
        let known = self.known();
        let settings = known.get(&call.place);
        match (&call.method, call.subject) {
            (&Method::GET | &Method::PUT, LIFECYCLE) => {
                let size = settings.and_then(|settings| settings.smallest.as_deref());
                answer.with_header(SMALLEST, size.unwrap_or(SMALLEST_UNSAID))
            }
            (&Method::GET, LIST) => {
                let list = settings.and_then(|settings| settings.list.as_ref());
                let document = access_lists::document(list, &owner_in(&answer));
                with_body(answer, Some(document))
            }
            (&Method::GET, OWNERSHIP) if settings.is_some_and(|settings| settings.has_lost_ownership) => {
                no_ownership()
            }
            (&Method::GET, VERSIONING) => {
                let mfa_delete = settings.and_then(|settings| settings.mfa_delete.as_deref());
                let document = mfa_delete.map(|mfa_delete| versioning(&answer, mfa_delete));
                with_body(answer, document)
            }
            (&Method::GET, subject) => {
                let document = settings.and_then(|settings| settings.documents.get(subject));
                with_body(answer, document.cloned())
            }
            _ => answer,
        }
    }
}

impl Service for BucketSettings {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            if let Some(refused) = refused(&request) {
                return refused;
            }
            let changes = matches!(request.method, Method::PUT | Method::DELETE | Method::POST);
            let _turn = if changes { Some(self.turn.lock().await) } else { None };
            let Some(call) = Call::of(&request) else { return self.other(request).await };
            let besides = calls_besides(&request, &call);
            let answer = self.engine.handle(request).await;
            if !answer.status.is_success() {
                return answer;
            }
            for besides in besides {
                let set = self.engine.handle(besides).await;
                if !set.status.is_success() {
                    return set;
                }
            }
            self.keep(&call);
            self.shown(&call, answer)
        })
    }
}

impl Place {
    fn of(request: &AwsRequest) -> Option<Self> {
        let path = percent_decode_str(request.path.trim_start_matches('/')).decode_utf8_lossy();
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        (!bucket.is_empty()).then(|| Self { region: request.region.clone(), bucket, key })
    }

    fn is_in_bucket_of(&self, other: &Self) -> bool {
        self.region == other.region && self.bucket == other.bucket
    }
}

impl Settings {
    /// What a subresource that was put says, or one that was deleted says no more.
    fn keep(&mut self, call: &Call) {
        let is_put = call.method == Method::PUT;
        match call.subject {
            LIST => self.list.clone_from(&call.list),
            LIFECYCLE => self.smallest = call.smallest.clone().filter(|_| is_put),
            OWNERSHIP => self.has_lost_ownership = !is_put,
            // One that says nothing of it changes nothing of it.
            VERSIONING => {
                let said = text_of(&String::from_utf8_lossy(&call.body), "MfaDelete");
                self.mfa_delete = said.or_else(|| self.mfa_delete.take());
            }
            subject => {
                if root_of(subject).is_some_and(|root| is_document(&call.body, root)) {
                    self.documents.insert(subject, call.body.clone());
                }
            }
        }
    }
}

impl Call {
    fn of(request: &AwsRequest) -> Option<Self> {
        let subject = subject_of(request)?;
        Some(Self {
            method: request.method.clone(),
            subject,
            place: Place::of(request)?,
            list: list_of(request, subject),
            smallest: request.header(SMALLEST).map(str::to_owned),
            body: request.body.clone(),
        })
    }
}

fn subject_of(request: &AwsRequest) -> Option<&'static str> {
    if request.query_names().next().is_none() {
        return Some(WHOLE);
    }
    let others = [LIST, LIFECYCLE, OWNERSHIP, UPLOAD, VERSIONING];
    let mut subjects = DOCUMENTS.into_iter().map(|(subject, _)| subject).chain(others);
    subjects.find(|subject| request.has_query_name(subject))
}

/// The body is a list only where a list is put.
fn list_of(request: &AwsRequest, subject: &str) -> Option<AccessList> {
    let in_body = || if subject == LIST { AccessList::in_body(&request.body) } else { None };
    AccessList::in_headers(request).or_else(in_body)
}

fn root_of(subject: &str) -> Option<&'static str> {
    DOCUMENTS.into_iter().find(|(known, _)| *known == subject).map(|(_, root)| root)
}

/// What could not be shown again. An older emulator took it, and kept nothing of it.
fn refused(request: &AwsRequest) -> Option<AwsResponse> {
    if request.method != Method::PUT || repeatable::is_repeated() {
        return None;
    }
    if access_lists::has_unknown_name(request) {
        return Some(refused_by_s3("InvalidArgument", "The ACL is none of those that have a name"));
    }
    match subject_of(request)? {
        WHOLE => {
            let is_bucket = Place::of(request).is_some_and(|place| place.key.is_empty());
            let is_unknown = request.header(OWNER).is_some_and(|owner| !OWNERS.contains(&owner));
            (is_bucket && is_unknown)
                .then(|| refused_by_s3("InvalidArgument", "Invalid x-amz-object-ownership header"))
        }
        LIST => {
            let is_said = list_of(request, LIST).is_some();
            (!is_said).then(|| refused_by_s3("MalformedACLError", MALFORMED))
        }
        LIFECYCLE => {
            let is_known = request.header(SMALLEST).is_none_or(|size| SIZES.contains(&size));
            (!is_known)
                .then(|| refused_by_s3("InvalidArgument", "Invalid TransitionDefaultMinimumObjectSize"))
        }
        subject => {
            let root = root_of(subject)?;
            (!is_document(&request.body, root)).then(|| refused_by_s3("MalformedXML", MALFORMED))
        }
    }
}

/// Whether a CreateBucket asks for locks.
pub(crate) fn is_made_with_locks(request: &AwsRequest) -> bool {
    request.header(LOCK).is_some_and(|locked| locked.eq_ignore_ascii_case("true"))
}

/// What is to be done besides when a bucket is made with locks or with an ownership.
fn calls_besides(request: &AwsRequest, call: &Call) -> Vec<AwsRequest> {
    let creates = call.method == Method::PUT && call.subject == WHOLE && call.place.key.is_empty();
    if !creates || repeatable::is_older_than(RULES_OF_LOCKS) {
        return Vec::new();
    }
    let locks = WITH_LOCK.into_iter().filter(|_| is_made_with_locks(request));
    let locks = locks.map(|(subresource, document)| (subresource, document.to_owned()));
    let owner = request.header(OWNER).filter(|owner| OWNERS.contains(owner));
    let owner = owner.map(|owner| (OWNERSHIP, ownership(owner)));
    let with = |(subresource, document): (&str, String)| AwsRequest {
        query: subresource.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::from(document),
        ..request.clone()
    };
    locks.chain(owner).map(with).collect()
}

fn ownership(owner: &str) -> String {
    format!("<OwnershipControls><Rule><ObjectOwnership>{owner}</ObjectOwnership></Rule></OwnershipControls>")
}

/// As the engine names it.
fn owner_in(answer: &AwsResponse) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    elements(&text, "Owner").first().and_then(|owner| text_of(owner, "ID")).unwrap_or_default()
}

fn versioning(answer: &AwsResponse, mfa_delete: &str) -> Bytes {
    let text = String::from_utf8_lossy(&answer.body);
    let status = text_of(&text, "Status").map(|status| format!("<Status>{}</Status>", escape(&status)));
    Bytes::from(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}<MfaDelete>{}</MfaDelete>\
         </VersioningConfiguration>",
        status.unwrap_or_default(),
        escape(mfa_delete)
    ))
}

/// None: as the engine says.
fn with_body(mut answer: AwsResponse, body: Option<Bytes>) -> AwsResponse {
    if let Some(body) = body {
        answer.body = body;
        answer.headers.remove(CONTENT_LENGTH);
    }
    answer
}

fn no_ownership() -> AwsResponse {
    let refused =
        refused_by_s3("OwnershipControlsNotFoundError", "The bucket ownership controls were not found");
    AwsResponse { status: StatusCode::NOT_FOUND, ..refused }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::{Engine, Scope};
    use crate::engines::bucket_policies::BucketPolicies;
    use crate::engines::object_headers::ObjectHeaders;
    use crate::engines::object_tags::ObjectTags;
    use crate::engines::object_versions::ObjectVersions;
    use crate::sqs::tests::settings;

    const LIFECYCLES: &str =
        "<LifecycleConfiguration><Rule><Status>Enabled</Status></Rule></LifecycleConfiguration>";
    const NONE: &[(&str, &str)] = &[];

    /// With a bucket.
    async fn home() -> Arc<dyn Service> {
        let (settings, _hand) = settings();
        let s3 = crate::engines::s3(&settings);
        put(&s3, "/home", &[], "").await;
        s3
    }

    async fn ask(
        s3: &Arc<dyn Service>,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> AwsResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = AwsRequest::unsigned("s3", method, path, body);
        let mut request = AwsRequest { query: query.to_owned(), ..request };
        for (name, value) in headers {
            request.headers.insert(*name, value.parse().unwrap());
        }
        s3.handle(request).await
    }

    async fn put(s3: &Arc<dyn Service>, path: &str, headers: &[(&'static str, &str)], body: &str) {
        let answer = ask(s3, Method::PUT, path, headers, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }

    async fn delete(s3: &Arc<dyn Service>, path: &str) {
        let answer = ask(s3, Method::DELETE, path, &[], "").await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }

    async fn text(s3: &Arc<dyn Service>, path: &str) -> String {
        let answer = ask(s3, Method::GET, path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    async fn error(s3: &Arc<dyn Service>, path: &str) -> (u16, String) {
        let answer = ask(s3, Method::GET, path, &[], "").await;
        let code = text_of(&String::from_utf8_lossy(&answer.body), "Code");
        (answer.status.as_u16(), code.unwrap_or_default())
    }

    #[tokio::test]
    async fn a_lifecycle_says_from_which_size_on_objects_are_moved() {
        let s3 = home().await;
        let size = |answer: AwsResponse| {
            assert!(answer.status.is_success(), "{answer:?}");
            answer.headers.get(SMALLEST).map(|size| size.to_str().unwrap().to_owned())
        };
        for (said, shown) in [
            (None, SMALLEST_UNSAID),
            (Some("varies_by_storage_class"), "varies_by_storage_class"),
            (Some(SMALLEST_UNSAID), SMALLEST_UNSAID),
            (Some("varies_by_storage_class"), "varies_by_storage_class"),
            (None, SMALLEST_UNSAID),
        ] {
            let headers: Vec<_> = said.into_iter().map(|said| (SMALLEST, said)).collect();
            let answer = ask(&s3, Method::PUT, "/home?lifecycle", &headers, LIFECYCLES).await;
            assert_eq!(size(answer).as_deref(), Some(shown), "{said:?}");
            let answer = ask(&s3, Method::GET, "/home?lifecycle", &[], "").await;
            assert_eq!(size(answer).as_deref(), Some(shown), "{said:?}");
        }
        let unknown = [(SMALLEST, "small")];
        assert_eq!(ask(&s3, Method::PUT, "/home?lifecycle", &unknown, LIFECYCLES).await.status, 400);
        delete(&s3, "/home?lifecycle").await;
        assert_eq!(error(&s3, "/home?lifecycle").await, (404, "NoSuchLifecycleConfiguration".to_owned()));
    }

    #[tokio::test]
    async fn ownership_controls_that_were_deleted_are_not_there_until_they_are_put() {
        let s3 = home().await;
        assert!(text(&s3, "/home?ownershipControls").await.contains("BucketOwnerEnforced"));
        let controls = "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>";
        put(&s3, "/home?ownershipControls", &[], controls).await;
        delete(&s3, "/home?ownershipControls").await;
        let gone = (404, "OwnershipControlsNotFoundError".to_owned());
        assert_eq!(error(&s3, "/home?ownershipControls").await, gone);
        put(&s3, "/home?ownershipControls", &[], controls).await;
        assert!(text(&s3, "/home?ownershipControls").await.contains("ObjectWriter"));
        delete(&s3, "/home?ownershipControls").await;
        delete(&s3, "/home").await;
        assert_eq!(error(&s3, "/home?ownershipControls").await, (404, "NoSuchBucket".to_owned()));
        put(&s3, "/home", &[], "").await;
        assert!(text(&s3, "/home?ownershipControls").await.contains("BucketOwnerEnforced"));
    }

    #[tokio::test]
    async fn a_document_is_shown_as_it_was_put_until_its_bucket_goes() {
        let s3 = home().await;
        for (name, root) in DOCUMENTS {
            let path = format!("/home?{name}");
            let before = text(&s3, &path).await;
            for content in ["<Any>a</Any>", ""] {
                let document = format!("<{root} xmlns=\"x\">{content}</{root}>");
                put(&s3, &path, &[], &document).await;
                assert_eq!(text(&s3, &path).await, document);
            }
            for none in ["<Other/>".to_owned(), format!("<{root}>"), format!("<{root}s></{root}s>")] {
                assert_eq!(ask(&s3, Method::PUT, &path, &[], &none).await.status, 400, "{none}");
            }
            delete(&s3, "/home").await;
            put(&s3, "/home", &[], "").await;
            assert_eq!(text(&s3, &path).await, before, "{name}");
        }
    }

    #[tokio::test]
    async fn a_bucket_lies_in_one_region() {
        let s3 = home().await;
        let document = "<BucketLoggingStatus><LoggingEnabled/></BucketLoggingStatus>";
        put(&s3, "/home?logging", &[], document).await;
        let of_region = |method: Method, query: &str| {
            let request = AwsRequest::unsigned("s3", method, "/home", "");
            let region = "eu-west-1".to_owned();
            s3.handle(AwsRequest { query: query.to_owned(), region, ..request })
        };
        assert!(of_region(Method::PUT, "").await.status.is_success());
        let there = of_region(Method::GET, "logging").await;
        assert!(!String::from_utf8_lossy(&there.body).contains("LoggingEnabled"), "{there:?}");
        assert!(of_region(Method::DELETE, "").await.status.is_success());
        assert_eq!(text(&s3, "/home?logging").await, document);
    }

    #[tokio::test]
    async fn deletion_with_mfa_is_shown_once_it_was_said() {
        let s3 = home().await;
        let document = |more: &str| {
            format!("<VersioningConfiguration>{more}<Status>Enabled</Status></VersioningConfiguration>")
        };
        put(&s3, "/home?versioning", &[], &document("")).await;
        assert!(!text(&s3, "/home?versioning").await.contains("MfaDelete"));
        put(&s3, "/home?versioning", &[], &document("<MfaDelete>Disabled</MfaDelete>")).await;
        put(&s3, "/home?versioning", &[], &document("")).await;
        let shown = text(&s3, "/home?versioning").await;
        assert_eq!(text_of(&shown, "MfaDelete").as_deref(), Some("Disabled"), "{shown}");
        assert_eq!(text_of(&shown, "Status").as_deref(), Some("Enabled"), "{shown}");
    }

    #[tokio::test]
    async fn a_bucket_that_is_made_with_locks_has_them_and_keeps_versions() {
        let s3 = home().await;
        let none = (404, "ObjectLockConfigurationNotFoundError".to_owned());
        put(&s3, "/locked", &[(LOCK, "true")], "").await;
        let lock = text(&s3, "/locked?object-lock").await;
        assert_eq!(text_of(&lock, "ObjectLockEnabled").as_deref(), Some("Enabled"), "{lock}");
        let versioning = text(&s3, "/locked?versioning").await;
        assert_eq!(text_of(&versioning, "Status").as_deref(), Some("Enabled"), "{versioning}");
        put(&s3, "/unlocked", &[(LOCK, "false")], "").await;
        for path in ["/home?object-lock", "/unlocked?object-lock"] {
            assert_eq!(error(&s3, path).await, none, "{path}");
        }
        // An older emulator made it without.
        let again = ask(&s3, Method::PUT, "/older", &[(LOCK, "true")], "");
        assert_eq!(repeatable::scope_again(RULES_OF_LOCKS - 1, 1, 0, again).await.status, 200);
        assert_eq!(error(&s3, "/older?object-lock").await, none);
    }

    #[tokio::test]
    async fn a_bucket_that_is_made_with_an_ownership_has_it() {
        let s3 = home().await;
        for owner in OWNERS {
            let path = format!("/{}", owner.to_ascii_lowercase());
            put(&s3, &path, &[(OWNER, owner)], "").await;
            let shown = text(&s3, &format!("{path}?ownershipControls")).await;
            assert_eq!(text_of(&shown, "ObjectOwnership").as_deref(), Some(owner), "{shown}");
        }
        let unknown = ask(&s3, Method::PUT, "/unknown", &[(OWNER, "Nobody")], "").await;
        assert_eq!(unknown.status, 400);
        // An older emulator made it without.
        let again = ask(&s3, Method::PUT, "/older", &[(OWNER, "ObjectWriter")], "");
        assert_eq!(repeatable::scope_again(RULES_OF_LOCKS - 1, 1, 0, again).await.status, 200);
        assert!(text(&s3, "/older?ownershipControls").await.contains("BucketOwnerEnforced"));
    }

    #[tokio::test]
    async fn what_is_known_of_an_object_goes_with_it_however_it_is_deleted() {
        let (settings, _hand) = settings();
        let engine = ObjectTags::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())));
        let engine = BucketPolicies::new(ObjectHeaders::new(engine));
        let engine = ObjectVersions::new(engine, settings.random.clone());
        let front = Arc::new(BucketSettings::new(BodyDigests::new(engine)));
        let s3: Arc<dyn Service> = front.clone();
        put(&s3, "/home", &[], "").await;
        let public = [("x-amz-acl", "public-read")];
        for path in ["/home/a", "/home/b%20%C3%A4", "/home/c"] {
            put(&s3, path, &public, "content").await;
        }
        assert_eq!(front.known().len(), 3);
        let many = "<Delete><Object><Key>b \u{e4}</Key></Object></Delete>";
        assert_eq!(ask(&s3, Method::POST, "/home?delete", &[], many).await.status, 200);
        assert_eq!(front.known().len(), 2);
        delete(&s3, "/home/a?versionId=null").await;
        assert_eq!(front.known().len(), 1);

        let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        put(&s3, "/home?versioning", &[], on).await;
        let version = |answer: AwsResponse| answer.headers["x-amz-version-id"].to_str().unwrap().to_owned();
        let first = version(ask(&s3, Method::PUT, "/home/d", &[], "1").await);
        let second = version(ask(&s3, Method::PUT, "/home/d", &public, "2").await);
        delete(&s3, &format!("/home/d?versionId={first}")).await;
        assert!(text(&s3, "/home/d?acl").await.contains("AllUsers"), "the object is still there");
        delete(&s3, &format!("/home/d?versionId={second}")).await;
        assert!(!front.known().keys().any(|place| place.key == "d"));
    }

    #[tokio::test]
    async fn a_list_is_shown_until_what_it_is_of_is_written_again() {
        let s3 = home().await;
        let unsaid = text(&s3, "/home?acl").await;
        assert!(
            unsaid.contains("xsi:type=\"CanonicalUser\"><ID>") && !unsaid.contains("<ID></ID>"),
            "{unsaid}"
        );
        assert!(!unsaid.contains("<xsi:type>"), "{unsaid}");
        let document =
            "<AccessControlPolicy><Owner><ID>1</ID></Owner><AccessControlList/></AccessControlPolicy>";
        put(&s3, "/home/a", &[], document).await;
        for path in ["/home", "/home/a"] {
            let acl = format!("{path}?acl");
            put(&s3, &acl, &[("x-amz-acl", "public-read")], "").await;
            assert!(text(&s3, &acl).await.contains("AllUsers"), "{path}");
            put(&s3, &acl, &[], document).await;
            assert_eq!(text(&s3, &acl).await, document);
            for (headers, body) in [
                (NONE, ""),
                (NONE, "<Other/>"),
                (NONE, "<AccessControlPolicy>"),
                (&[("x-amz-acl", "mine")][..], ""),
            ] {
                assert_eq!(ask(&s3, Method::PUT, &acl, headers, body).await.status, 400, "{body}");
            }
            assert_eq!(text(&s3, &acl).await, document);
        }
        put(&s3, "/home/a", &[("x-amz-acl", "public-read")], "").await;
        assert!(text(&s3, "/home/a?acl").await.contains("AllUsers"));
        put(&s3, "/home/a", &[], document).await;
        assert_eq!(text(&s3, "/home/a?acl").await, unsaid);
        delete(&s3, "/home/a").await;
        assert_eq!(error(&s3, "/home/a?acl").await.0, 404);
        delete(&s3, "/home").await;
        put(&s3, "/home", &[("x-amz-acl", "log-delivery-write")], "").await;
        assert!(text(&s3, "/home?acl").await.contains("LogDelivery"));
    }

    #[tokio::test]
    async fn what_an_older_emulator_took_is_taken_again() {
        let s3 = home().await;
        for (path, headers) in [
            ("/home?acl", NONE),
            ("/home?acl", &[("x-amz-acl", "mine")][..]),
            ("/home?logging", NONE),
            ("/home?lifecycle", &[(SMALLEST, "small")][..]),
        ] {
            let again = ask(&s3, Method::PUT, path, headers, "");
            let again = repeatable::scope_again(RULES_OF_LOCKS - 1, 1, 0, again).await;
            assert_eq!(again.status, 200, "{path}");
        }
        assert!(text(&s3, "/home?logging").await.contains("BucketLoggingStatus"));
    }
}
