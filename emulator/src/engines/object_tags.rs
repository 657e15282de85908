//! S3 whose PutObject keeps the tags of its header, as AWS's does: without them every plan would add them again.

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;

use super::adapter::Engine;
use super::object_keys::ObjectKeys;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use crate::xml::escape;

const TAGS: &str = "x-amz-tagging";

/// S3 with tags in PutObject.
pub(super) struct ObjectTags {
    engine: ObjectKeys,
}

impl ObjectTags {
    pub(super) const fn new(engine: Engine) -> Self {
        Self { engine: ObjectKeys::new(engine) }
    }
}

impl Service for ObjectTags {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let tagging = tagging_of(&request);
            let answer = self.engine.handle(request).await;
            match tagging.filter(|_| answer.status.is_success()) {
                None => answer,
                Some(tagging) => {
                    let tagged = self.engine.handle(tagging).await;
                    if tagged.status.is_success() { answer } else { tagged }
                }
            }
        })
    }
}

/// The PutObjectTagging that says the same as the header of a PutObject.
fn tagging_of(request: &AwsRequest) -> Option<AwsRequest> {
    let tags = request.header(TAGS).filter(|tags| !tags.is_empty() && request.method == Method::PUT)?;
    let mut tagging = request.clone();
    tagging.query = "tagging".to_owned();
    tagging.body = Bytes::from(document(tags));
    tagging.headers.remove(TAGS);
    tagging.headers.remove(http::header::CONTENT_LENGTH);
    Some(tagging)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_becomes_a_document() {
        assert_eq!(
            document("a=b+c&d%26=%3C"),
            "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag>\
             <Tag><Key>d&amp;</Key><Value>&lt;</Value></Tag></TagSet></Tagging>"
        );
    }
}
