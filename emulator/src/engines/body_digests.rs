//! S3 whose bodies are what their `Content-MD5` says. No other checksum is looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use md5::{Digest as _, Md5};

use super::adapter::refused_by_s3;
use super::object_versions::ObjectVersions;
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

const DIGEST: &str = "content-md5";
const LENGTH: usize = 16;

/// S3 that refuses a body that was changed on its way.
pub(super) struct BodyDigests {
    engine: ObjectVersions,
}

impl BodyDigests {
    pub(super) const fn new(engine: ObjectVersions) -> Self {
        Self { engine }
    }
}

impl Service for BodyDigests {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            match refused(&request) {
                Some(refused) => refused,
                None => self.engine.handle(request).await,
            }
        })
    }
}

/// An older emulator looked at none: a call that it took is made again as it was.
fn refused(request: &AwsRequest) -> Option<AwsResponse> {
    let has_body = matches!(request.method, Method::PUT | Method::POST);
    let said = request.headers.get(DIGEST).filter(|_| has_body && !repeatable::is_repeated())?;
    match STANDARD.decode(said).ok().filter(|said| said.len() == LENGTH) {
        None => Some(refused_by_s3("InvalidDigest", "The Content-MD5 you specified is not valid.")),
        Some(said) if said[..] == Md5::digest(&request.body)[..] => None,
        Some(_) => {
            Some(refused_by_s3("BadDigest", "The Content-MD5 you specified did not match what we received."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_not_what_was_said_is_refused() {
        for (body, said, code) in [
            ("hello", None, None),
            ("hello", Some("XUFAKrxLKna5cZ2REBfFkg=="), None),
            ("hellO", Some("XUFAKrxLKna5cZ2REBfFkg=="), Some("BadDigest")),
            ("hello", Some("XUFAKrxLKna5cZ2REBfF"), Some("InvalidDigest")),
            ("hello", Some("no base64"), Some("InvalidDigest")),
            ("hello", Some(""), Some("InvalidDigest")),
        ] {
            let mut request = AwsRequest::unsigned("s3", Method::PUT, "/home/a", body);
            if let Some(said) = said {
                request.headers.insert(DIGEST, said.parse().unwrap());
            }
            let refused = refused(&request).map(|refused| {
                assert_eq!(refused.status, 400);
                String::from_utf8(refused.body.to_vec()).unwrap()
            });
            assert_eq!(refused.is_some(), code.is_some(), "{body} {said:?}");
            if let Some((refused, code)) = refused.zip(code) {
                assert!(refused.contains(&format!("<Code>{code}</Code>")), "{refused}");
            }
        }
    }

    #[tokio::test]
    async fn a_call_that_an_older_emulator_took_is_taken_again() {
        let mut request = AwsRequest::unsigned("s3", Method::PUT, "/home/a", "hellO");
        request.headers.insert(DIGEST, "XUFAKrxLKna5cZ2REBfFkg==".parse().unwrap());
        assert!(refused(&request).is_some());
        let again = repeatable::scope_again(repeatable::RULES, 1, 0, async { refused(&request) }).await;
        assert!(again.is_none());
    }
}
