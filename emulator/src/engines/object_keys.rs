//! S3 whose keys are read and listed as AWS does it. The engine takes each byte of a path for a character of its own, a `+` for a
//! space, and leaves out what is encoded badly: an object would be another one than the one that was judged.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};

use super::adapter::{Engine, refused_by_s3};
use crate::iam::{deleted_objects, has_encoded_name, is_form_of_browser, is_known_to_s3, is_read_by_s3};
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service, decoded_value, not_emulated};

const COPY_SOURCE: &str = "x-amz-copy-source";
/// Lists of versions and of uploads would say that their keys are encoded, and have them as they are.
const ENCODING_TYPE: &str = "encoding-type";
/// Since these rules the engine is left no choice. What an older emulator put has the key that it gave it.
const RULES_OF_KEYS: u32 = 4;
/// Since these rules a query that the engine would read in another way is refused, and what S3 does not read of it is left out.
const RULES_OF_QUERIES: u32 = 5;
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What answers begin with that hold no texts but keys and names of the engine's.
const LISTS: [&[u8]; 4] =
    [b"<List", b"<DeleteResult", b"<InitiateMultipartUpload", b"<CompleteMultipartUpload"];

/// S3 with keys of any letters.
pub(super) struct ObjectKeys {
    engine: Engine,
}

impl ObjectKeys {
    pub(super) const fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

impl Service for ObjectKeys {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            if let Some(refused) = refused(&request) {
                return refused;
            }
            // An object's content may look like a list.
            let is_content = key_of(&request.path).is_some() && !is_about_upload(&request);
            let mut answer = self.engine.handle(for_engine(request)).await;
            let is_list = !is_content && LISTS.iter().any(|root| answer.body.starts_with(root));
            if let Some(body) = Some(&answer.body).filter(|_| is_list).and_then(of_bytes) {
                answer.body = body;
                answer.headers.remove(CONTENT_LENGTH);
            }
            answer
        })
    }
}

fn for_engine(mut request: AwsRequest) -> AwsRequest {
    if repeatable::is_older_than(RULES_OF_KEYS) {
        return request;
    }
    if let Some((bucket, key)) = key_of(&request.path) {
        request.path = format!("/{bucket}/{}", encoded(key));
    } else if request.method == Method::POST && request.has_query_name("delete") {
        to_bytes(&mut request);
    }
    request.query = read_once(&request.query);
    encode_source(&mut request.headers);
    request
}

/// What would be carried out as something else than it was judged for. AWS knows no key that is not UTF-8; the engine decodes names in
/// the query, and takes a subresource that it does not know for the method as the object or the bucket itself.
fn refused(request: &AwsRequest) -> Option<AwsResponse> {
    let is_text = |encoded: &str| percent_decode_str(encoded).decode_utf8().is_ok();
    if repeatable::is_older_than(RULES_OF_KEYS) {
        None
    } else if key_of(&request.path).is_some_and(|(_, key)| !is_text(key)) {
        Some(not_readable())
    } else if request.header(COPY_SOURCE).is_some_and(|source| !is_text(source)) {
        Some(refused_by_s3("InvalidArgument", "Invalid copy source encoding"))
    } else if repeatable::is_older_than(RULES_OF_QUERIES) {
        None
    } else if has_encoded_name(&request.query) {
        Some(not_readable())
    } else if is_form_of_browser(request) {
        Some(refused_by_s3("NotImplemented", &not_emulated("A form that a browser sends to a bucket")))
    } else if !is_known_to_s3(request) {
        let query = "A query string you provided implies functionality that is not implemented";
        Some(refused_by_s3("NotImplemented", query))
    } else {
        None
    }
}

fn not_readable() -> AwsResponse {
    refused_by_s3("InvalidURI", "Couldn't parse the specified URI.")
}

/// The query as it was read when the call was judged: what S3 reads, and of each name the first value. The engine would take the last, leave out what
/// is encoded badly, and read no further than to a `?`.
fn read_once(query: &str) -> String {
    let is_older = repeatable::is_older_than(RULES_OF_QUERIES);
    let mut pairs: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
        if !is_older && !is_read_by_s3(name) {
            continue;
        }
        let first = pairs.entry(name).or_default();
        *first = first.or(value);
    }
    pairs.remove(ENCODING_TYPE);
    let written = pairs.into_iter().map(|(name, value)| {
        // No name that S3 reads has one.
        let name = name.replace('?', "%3F");
        match value {
            Some(value) => format!("{name}={}", utf8_percent_encode(&decoded_value(value), NON_ALPHANUMERIC)),
            None => name,
        }
    });
    written.collect::<Vec<_>>().join("&")
}

/// Bucket and key of a path, as encoded as they came.
fn key_of(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/').filter(|(_, key)| !key.is_empty())
}

fn is_about_upload(request: &AwsRequest) -> bool {
    request.has_query_name("uploads") || request.has_query_name("uploadId")
}

fn encoded(text: &str) -> String {
    percent_encode(&percent_decode_str(text).collect::<Vec<u8>>(), ENCODED).to_string()
}

/// In a header a `+` is a space.
fn encode_source(headers: &mut HeaderMap) {
    let source = headers.get(COPY_SOURCE).and_then(|source| source.to_str().ok());
    let source = source.and_then(|source| HeaderValue::from_str(&encoded(&source.replace('+', " "))).ok());
    if let Some(source) = source {
        headers.insert(COPY_SOURCE, source);
    }
}

/// A DeleteObjects as it was read when it was judged, with its keys as the engine has them from paths.
fn to_bytes(request: &mut AwsRequest) {
    let Some(delete) = deleted_objects(request) else { return };
    let objects = delete.objects.iter().map(|object| {
        let of_version = |version: &str| format!("<VersionId>{}</VersionId>", in_bytes(version));
        let version = object.version_id.as_deref().map(of_version).unwrap_or_default();
        format!("<Object><Key>{}</Key>{version}</Object>", in_bytes(&object.key))
    });
    let (objects, is_quiet) = (objects.collect::<String>(), delete.quiet.unwrap_or_default());
    request.body = Bytes::from(format!("<Delete>{objects}<Quiet>{is_quiet}</Quiet></Delete>"));
    request.headers.remove(CONTENT_LENGTH);
}

/// In XML, each byte as a character, by its number: a space at an end would not be read else.
fn in_bytes(text: &str) -> String {
    let written = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("&#{byte};") }
    };
    text.bytes().map(written).collect()
}

/// With the text whose bytes the engine took for characters. None: it is the same.
fn of_bytes(body: &Bytes) -> Option<Bytes> {
    if body.is_ascii() {
        return None;
    }
    let runs = std::str::from_utf8(body).ok()?.split_inclusive(|character: char| character.is_ascii());
    Some(Bytes::from(runs.map(run_of_bytes).collect::<String>()))
}

/// One that is no text stays: a key that an older emulator took need not be UTF-8.
fn run_of_bytes(run: &str) -> Cow<'_, str> {
    if run.is_ascii() {
        return Cow::Borrowed(run);
    }
    let bytes: Option<Vec<u8>> = run.chars().map(|character| u8::try_from(character).ok()).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map_or(Cow::Borrowed(run), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::Scope;

    const KEY: &str = "%C3%A4/%E6%97%A5+b%zz";

    fn s3() -> ObjectKeys {
        ObjectKeys::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())))
    }

    async fn ask(s3: &ObjectKeys, method: Method, path: &str, body: &str) -> AwsResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = AwsRequest::unsigned("s3", method, path, body);
        s3.handle(AwsRequest { query: query.to_owned(), ..request }).await
    }

    async fn listed(s3: &ObjectKeys, path: &str) -> Vec<String> {
        let answer = ask(s3, Method::GET, path, "").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let keys = text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap());
        keys.map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn a_key_is_listed_and_deleted_as_it_was_put() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        for path in [format!("/home/{KEY}"), "/home/plain".to_owned()] {
            assert_eq!(ask(&s3, Method::PUT, &path, "<List/>").await.status, 200);
        }
        let key = "ä/日+b%zz";
        for list in ["/home", "/home?list-type=2", "/home?versions&encoding-type=url"] {
            assert_eq!(listed(&s3, list).await, ["plain", key], "{list}");
        }
        assert_eq!(listed(&s3, "/home?list-type=2&prefix=%C3%A4%2F").await, [key]);
        let read = ask(&s3, Method::GET, "/home/%c3%a4%2F%E6%97%A5%2Bb%25zz", "").await;
        assert_eq!((read.status.as_u16(), &read.body[..]), (200, &b"<List/>"[..]));
        let delete = format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
        let deleted = ask(&s3, Method::POST, "/home?delete", &delete).await;
        assert!(String::from_utf8(deleted.body.to_vec()).unwrap().contains(key));
        assert_eq!(listed(&s3, "/home").await, ["plain"]);
    }

    #[tokio::test]
    async fn lists_do_not_say_that_their_keys_are_encoded() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        for list in ["versions", "uploads"] {
            let answer = ask(&s3, Method::GET, &format!("/home?{list}&encoding-type=url"), "").await;
            assert_eq!(answer.status, 200, "{list}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("<EncodingType>"), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn a_query_is_read_as_it_was_judged() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        for path in ["/home/public/a", "/home/secret/b", "/home/a%3Fb", "/home/a"] {
            ask(&s3, Method::PUT, path, "content").await;
        }
        for (prefixes, key) in [
            ("prefix=public/&prefix=secret/", Some("public/a")),
            ("prefix&prefix=public/", Some("public/a")),
            ("prefix=public/&prefix", Some("public/a")),
            ("prefix=%zzpublic/", None),
            ("x-id=?&prefix=public/", Some("public/a")),
            ("?&prefix=public/", Some("public/a")),
            ("prefix=a?b", Some("a?b")),
        ] {
            for list in ["", "&list-type=2", "&versions"] {
                let path = format!("/home?{prefixes}{list}");
                let listed = listed(&s3, &path).await;
                assert_eq!(listed, key.into_iter().collect::<Vec<_>>(), "{path}");
            }
        }
        let tags = ask(&s3, Method::GET, "/home/a?x-id=?&tagging", "").await;
        assert_eq!(tags.status, 200);
        assert_ne!(tags.body, "content");
        ask(&s3, Method::PUT, "/home?policy", "{}").await;
        ask(&s3, Method::DELETE, "/home?x-id=?&policy", "").await;
        assert_eq!(ask(&s3, Method::GET, "/home?policy", "").await.status, 404);
        assert_eq!(ask(&s3, Method::HEAD, "/home", "").await.status, 200, "the bucket is still there");
    }

    #[tokio::test]
    async fn what_would_be_carried_out_as_something_else_is_refused_and_what_s3_does_not_read_is_left_out() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        ask(&s3, Method::PUT, "/home/a", "content").await;
        for (method, path, status, code) in [
            (Method::GET, "/home?%70refix=b", 400, "InvalidURI"),
            (Method::DELETE, "/home?%70olicy", 400, "InvalidURI"),
            (Method::DELETE, "/home/a?acl", 400, "NotImplemented"),
            (Method::PUT, "/home/a?acl&tagging", 400, "NotImplemented"),
            (Method::GET, "/home?session", 400, "NotImplemented"),
        ] {
            let answer = ask(&s3, method, path, "").await;
            assert_eq!(answer.status, status, "{path}");
            assert!(String::from_utf8_lossy(&answer.body).contains(code), "{path}: {answer:?}");
        }
        let cached = ask(&s3, Method::GET, "/home/a?v=2&x-cache", "").await;
        assert_eq!((cached.status.as_u16(), &cached.body[..]), (200, &b"content"[..]));
    }

    #[tokio::test]
    async fn a_form_that_a_browser_sends_is_refused_by_name() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        for path in ["/home", "/home/"] {
            let mut form = AwsRequest::unsigned("s3", Method::POST, path, "--a\r\n");
            form.headers.insert("content-type", "Multipart/form-data; boundary=a".parse().unwrap());
            let answer = s3.handle(form).await;
            assert_eq!(answer.status, 400, "{path}");
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(body.contains("<Code>NotImplemented</Code>") && body.contains("not part of"), "{body}");
        }
    }

    #[tokio::test]
    async fn a_query_that_an_older_emulator_took_is_taken_again_as_it_was() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        ask(&s3, Method::PUT, "/home/a", "content").await;
        ask(&s3, Method::PUT, "/home?policy", "{}").await;
        for (method, path) in [
            (Method::DELETE, "/home/a?acl"),
            (Method::PUT, "/home?abac"),
            (Method::DELETE, "/home?%70olicy"),
            (Method::PUT, "/home/b?v=2&?"),
        ] {
            let again = ask(&s3, method.clone(), path, "");
            let again = repeatable::scope_again(RULES_OF_QUERIES - 1, 1, 0, again).await;
            assert!(again.status.is_success(), "{method} {path}: {again:?}");
        }
        assert_eq!(listed(&s3, "/home").await, ["b"]);
        assert_eq!(ask(&s3, Method::GET, "/home?policy", "").await.status, 404);
        let again = ask(&s3, Method::DELETE, "/home/b?acl", "");
        assert_eq!(repeatable::scope_again(RULES_OF_QUERIES, 1, 0, again).await.status, 400);
    }

    #[tokio::test]
    async fn a_key_is_deleted_however_it_is_written() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        let others = ["Ã¤", "é"];
        for key in others {
            ask(&s3, Method::PUT, &format!("/home/{}", utf8_percent_encode(key, NON_ALPHANUMERIC)), "").await;
        }
        for (key, written) in [
            ("ä", "&#228;"),
            ("ä/日", "&#xE4;/&#26085;"),
            ("&#228;", "<![CDATA[&#228;]]>"),
            ("&#228;", "&amp;#228;"),
            ("a<b", "a&lt;b"),
            (" b ", "&#32;b&#32;"),
            ("日 b", "日 b"),
        ] {
            let path = format!("/home/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
            ask(&s3, Method::PUT, &path, "").await;
            let delete = format!("<Delete><Object><Key>{written}</Key></Object></Delete>");
            assert_eq!(ask(&s3, Method::POST, "/home?delete", &delete).await.status, 200, "{written}");
            assert_eq!(listed(&s3, "/home").await, others, "{written}");
        }
    }

    #[tokio::test]
    async fn a_key_that_is_no_text_is_refused_and_one_of_an_older_emulator_spoils_no_list() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        ask(&s3, Method::PUT, &format!("/home/{KEY}"), "").await;
        let refused = ask(&s3, Method::PUT, "/home/caf%E9", "").await;
        assert_eq!(refused.status, 400);
        assert!(String::from_utf8_lossy(&refused.body).contains("<Code>InvalidURI</Code>"), "{refused:?}");
        let put = ask(&s3, Method::PUT, "/home/caf%E9", "");
        let put = repeatable::scope_again(RULES_OF_KEYS - 1, 1, 0, put).await;
        assert_eq!(put.status, 200);
        assert_eq!(listed(&s3, "/home").await, ["café", "ä/日+b%zz"]);
        let mut copy = AwsRequest::unsigned("s3", Method::PUT, "/home/copy", "");
        copy.headers.insert(COPY_SOURCE, "home/caf%E9".parse().unwrap());
        assert_eq!(s3.handle(copy).await.status, 400);
    }

    #[tokio::test]
    async fn a_copy_reads_the_object_that_its_header_names() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        ask(&s3, Method::PUT, "/home/secret", "secret").await;
        ask(&s3, Method::PUT, "/home/%C3%A4%20b", "content").await;
        let copy = async |source: &str| {
            let mut request = AwsRequest::unsigned("s3", Method::PUT, "/home/copy", "");
            request.headers.insert(COPY_SOURCE, source.parse().unwrap());
            s3.handle(request).await.status.as_u16()
        };
        assert_eq!(copy("home/%C3%A4+b").await, 200);
        assert_eq!(ask(&s3, Method::GET, "/home/copy", "").await.body, "content");
        assert_eq!(copy("home/secr%zzet").await, 404, "what is encoded badly is not left out");
    }

    #[tokio::test]
    async fn what_an_older_emulator_put_keeps_its_key() {
        let s3 = s3();
        ask(&s3, Method::PUT, "/home", "").await;
        let put = ask(&s3, Method::PUT, "/home/a+b", "");
        repeatable::scope_again(RULES_OF_KEYS - 1, 1, 0, put).await;
        assert_eq!(listed(&s3, "/home").await, ["a b"]);
    }
}
