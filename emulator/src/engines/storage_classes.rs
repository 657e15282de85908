//! S3 whose objects keep their storage class, which the engine takes for STANDARD: every plan would set it again. It changes
//! nothing here but what is shown of an object.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Method;

use super::adapter::refused_by_s3;
use super::object_tags::ObjectTags;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

const HEADER: &str = "x-amz-storage-class";
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

/// S3 with storage classes.
pub(super) struct StorageClasses {
    engine: ObjectTags,
    /// By path, of objects that are not STANDARD.
    known: Mutex<HashMap<String, String>>,
}

impl StorageClasses {
    pub(super) fn new(engine: ObjectTags) -> Self {
        Self { engine, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: String, class: Option<String>) {
        match class.filter(|class| class != STANDARD) {
            Some(class) => self.known().insert(path, class),
            None => self.known().remove(&path),
        };
    }

    fn shown(&self, path: &str, answer: AwsResponse) -> AwsResponse {
        match self.known().get(path) {
            Some(class) => answer.with_header(HEADER, class),
            None => answer,
        }
    }
}

impl Service for StorageClasses {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let class = request.header(HEADER).map(str::to_owned);
            if class.as_deref().is_some_and(|class| !CLASSES.contains(&class)) {
                return refused_by_s3("InvalidStorageClass", "The storage class you specified is not valid");
            }
            let (method, path) = (request.method.clone(), request.path.clone());
            let is_whole_object = is_whole_object(&request);
            let answer = self.engine.handle(request).await;
            if !is_whole_object || !answer.status.is_success() {
                return answer;
            }
            match method {
                Method::PUT => self.keep(path, class),
                Method::DELETE => self.keep(path, None),
                _ => return self.shown(&path, answer),
            }
            answer
        })
    }
}

/// Not a bucket, and not the tags, the policy or a part of an object.
fn is_whole_object(request: &AwsRequest) -> bool {
    let is_object =
        request.path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    is_object && request.query_names().next().is_none()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::{Engine, Scope};

    async fn ask(s3: &StorageClasses, method: Method, path: &str, class: Option<&str>) -> AwsResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = AwsRequest::unsigned("s3", method, path, "");
        let mut request = AwsRequest { query: query.to_owned(), ..request };
        if let Some(class) = class {
            request.headers.insert(HEADER, class.parse().unwrap());
        }
        s3.handle(request).await
    }

    #[tokio::test]
    async fn an_object_keeps_its_class_until_it_is_written_again() {
        let engine = Engine::new("s3", Scope::Regional, Arc::new(S3Service::new()));
        let s3 = StorageClasses::new(ObjectTags::new(engine));
        let put = async |path: &str, class| ask(&s3, Method::PUT, path, class).await.status.as_u16();
        let shown = async |path: &str| {
            let answer = ask(&s3, Method::HEAD, path, None).await;
            assert_eq!(answer.status, 200, "{path}");
            answer.headers.get(HEADER).map(|class| class.to_str().unwrap().to_owned())
        };
        assert_eq!(put("/home", None).await, 200);
        assert_eq!(put("/home/rare", Some("ONEZONE_IA")).await, 200);
        assert_eq!(put("/home/often", Some(STANDARD)).await, 200);
        assert_eq!(shown("/home/rare").await.as_deref(), Some("ONEZONE_IA"));
        assert_eq!(shown("/home/often").await, None);
        assert_eq!(put("/home/rare", Some("COLD")).await, 400);
        assert_eq!(shown("/home/rare").await.as_deref(), Some("ONEZONE_IA"));
        assert_eq!(put("/home/rare", None).await, 200);
        assert_eq!(shown("/home/rare").await, None);
        // As it is if the calls are presigned.
        let signature = "X-Amz-Algorithm=a&X-Amz-Signature=00&x-id=PutObject";
        assert_eq!(put(&format!("/home/rare?{signature}"), Some("ONEZONE_IA")).await, 200);
        let presigned = shown("/home/rare?AWSAccessKeyId=a&Expires=1&Signature=00").await;
        assert_eq!(presigned.as_deref(), Some("ONEZONE_IA"));
    }
}
