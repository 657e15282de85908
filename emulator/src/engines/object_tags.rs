//! S3 whose objects have the tags that they are written with, as AWS's do, also those that are copied or uploaded in parts:
//! without them every plan would add them again.

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;

use super::adapter::Engine;
use super::object_calls::{Step, Uploads, call_of_source, replaces, writes_object};
use super::object_keys::ObjectKeys;
use super::object_lists::ObjectLists;
use super::part_copies::PartCopies;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use crate::xml::{elements, escape};

const TAGS: &str = "x-amz-tagging";
pub(super) const DIRECTIVE: &str = "x-amz-tagging-directive";

/// S3 with tags in whatever writes an object.
pub(super) struct ObjectTags {
    engine: PartCopies,
    /// As a document, of uploads in parts.
    uploads: Uploads<Option<String>>,
}

impl ObjectTags {
    pub(super) fn new(engine: Engine) -> Self {
        let engine = PartCopies::new(ObjectLists::new(ObjectKeys::new(engine)));
        Self { engine, uploads: Uploads::new() }
    }

    /// The tags, as a document, of the object that a call writes. A copy has those of its source.
    async fn tags_of(&self, request: &AwsRequest) -> Option<String> {
        if !writes_object(request) {
            return None;
        }
        match call_of_source(request, Method::GET, "tagging").filter(|_| !replaces(request, DIRECTIVE)) {
            Some(source) => document_of(&self.engine.handle(source).await),
            None => request.header(TAGS).filter(|tags| !tags.is_empty()).map(document),
        }
    }
}

impl Service for ObjectTags {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let tags = self.tags_of(&request).await;
            let step = Step::of(&request);
            let tagging = tagging_of(&request);
            let answer = self.engine.handle(request).await;
            let tags = match step {
                Some(step) => self.uploads.follow(step, tags, &answer).flatten(),
                None => tags.filter(|_| answer.status.is_success()),
            };
            match tags {
                None => answer,
                Some(tags) => {
                    let tagging = AwsRequest { body: Bytes::from(tags), ..tagging };
                    let tagged = self.engine.handle(tagging).await;
                    if tagged.status.is_success() { answer } else { tagged }
                }
            }
        })
    }
}

/// The PutObjectTagging of the same object, without a document.
fn tagging_of(request: &AwsRequest) -> AwsRequest {
    AwsRequest {
        method: Method::PUT,
        query: "tagging".to_owned(),
        headers: http::HeaderMap::new(),
        body: Bytes::new(),
        ..request.clone()
    }
}

/// `k=v&k2=v2`, encoded as a query, as XML.
fn document(tags: &str) -> String {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        escape(&percent_decode_str(&text).decode_utf8_lossy())
    };
    let tags = tags.split('&').map(|tag| {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        format!("<Tag><Key>{}</Key><Value>{}</Value></Tag>", decoded(key), decoded(value))
    });
    format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.collect::<String>())
}

/// What a GetObjectTagging was answered. None: there are no tags.
fn document_of(answer: &AwsResponse) -> Option<String> {
    let text = String::from_utf8_lossy(&answer.body);
    let tags = elements(&text, "Tag").into_iter().map(|tag| format!("<Tag>{tag}</Tag>")).collect::<String>();
    let is_tagged = answer.status.is_success() && !tags.is_empty();
    is_tagged.then(|| format!("<Tagging><TagSet>{tags}</TagSet></Tagging>"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::Scope;
    use crate::engines::object_calls::COPY_SOURCE;
    use crate::xml::text_of;

    async fn ask(s3: &ObjectTags, method: Method, path: &str, headers: &[(&'static str, &str)]) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = AwsRequest::unsigned("s3", method, path, "");
        let mut request = AwsRequest { query: query.to_owned(), ..request };
        for (name, value) in headers {
            request.headers.insert(*name, value.parse().unwrap());
        }
        let answer = s3.handle(request).await;
        assert!(answer.status.is_success(), "{path}?{query}: {answer:?}");
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// A home with an object that has a tag.
    async fn with_tag() -> ObjectTags {
        let s3 = ObjectTags::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())));
        ask(&s3, Method::PUT, "/home", &[]).await;
        ask(&s3, Method::PUT, "/home/tagged", &[(TAGS, "a=%26")]).await;
        s3
    }

    async fn tags(s3: &ObjectTags, path: &str) -> Vec<(String, String)> {
        let text = ask(s3, Method::GET, &format!("{path}?tagging"), &[]).await;
        let tag = |tag: &str| (text_of(tag, "Key").unwrap(), text_of(tag, "Value").unwrap());
        elements(&text, "Tag").into_iter().map(tag).collect()
    }

    #[test]
    fn the_header_becomes_a_document() {
        assert_eq!(
            document("a=b+c&d%26=%3C"),
            "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag>\
             <Tag><Key>d&amp;</Key><Value>&lt;</Value></Tag></TagSet></Tagging>"
        );
    }

    #[tokio::test]
    async fn an_object_that_is_uploaded_in_parts_has_the_tags_that_its_upload_began_with() {
        let s3 = with_tag().await;
        for (path, header, expected) in [
            ("/home/new", &[(TAGS, "b=c")][..], vec![("b".to_owned(), "c".to_owned())]),
            ("/home/tagged", &[][..], vec![]),
        ] {
            let begun = ask(&s3, Method::POST, &format!("{path}?uploads"), header).await;
            let upload = text_of(&begun, "UploadId").unwrap();
            ask(&s3, Method::PUT, &format!("{path}?partNumber=1&uploadId={upload}"), &[]).await;
            ask(&s3, Method::POST, &format!("{path}?uploadId={upload}"), &[]).await;
            assert_eq!(tags(&s3, path).await, expected, "{path}");
        }
    }

    #[tokio::test]
    async fn a_copy_has_the_tags_of_its_source_unless_it_replaces_them() {
        let s3 = with_tag().await;
        let source = (COPY_SOURCE, "home/tagged");
        for (headers, expected) in [
            (vec![source], Some(("a", "&"))),
            (vec![source, (TAGS, "b=c"), (DIRECTIVE, "COPY")], Some(("a", "&"))),
            (vec![source, (TAGS, "b=c"), (DIRECTIVE, "REPLACE")], Some(("b", "c"))),
            (vec![source, (DIRECTIVE, "REPLACE")], None),
        ] {
            ask(&s3, Method::PUT, "/home/copy", &headers).await;
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(key, value): (&str, &str)| (key.to_owned(), value.to_owned()))
                .collect();
            assert_eq!(tags(&s3, "/home/copy").await, expected, "{headers:?}");
        }
        // Onto itself.
        ask(&s3, Method::PUT, "/home/tagged", &[source]).await;
        assert_eq!(tags(&s3, "/home/tagged").await, [("a".to_owned(), "&".to_owned())]);
    }
}
