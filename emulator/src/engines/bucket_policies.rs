//! S3 whose bucket policies are read as they are put, so that calls can be judged by them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::Method;
use percent_encoding::percent_decode_str;

use super::adapter::refused_by_s3;
use super::object_headers::ObjectHeaders;
use crate::iam::{Kind, Malformed, Policy, PolicySource};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

const BUCKET_ARN: &str = "arn:aws:s3:::";

pub(super) struct BucketPolicies {
    engine: ObjectHeaders,
    known: Arc<Known>,
}

/// The policies, by bucket.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<HashMap<String, Arc<Policy>>>);

/// What a call does to a bucket's policy.
enum Change {
    Put(String, Arc<Policy>),
    /// The policy or its bucket goes.
    Remove(String),
}

impl BucketPolicies {
    pub(super) fn new(engine: ObjectHeaders) -> Self {
        Self { engine, known: Arc::default() }
    }

    pub(super) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known)
    }
}

impl Service for BucketPolicies {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let change = match change_of(&request) {
                Ok(change) => change,
                Err(error) => return malformed(&error),
            };
            let answer = self.engine.handle(request).await;
            if let Some(change) = change.filter(|_| answer.status.is_success()) {
                self.known.apply(change);
            }
            answer
        })
    }
}

impl Known {
    fn apply(&self, change: Change) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Put(bucket, policy) => known.insert(bucket, policy),
            Change::Remove(bucket) => known.remove(&bucket),
        };
    }
}

impl PolicySource for Known {
    /// Of a bucket, or of the bucket of an object.
    fn policy(&self, arn: &str) -> Option<Arc<Policy>> {
        let bucket = arn.strip_prefix(BUCKET_ARN)?.split('/').next()?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned()
    }

    fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

fn change_of(request: &AwsRequest) -> Result<Option<Change>, Malformed> {
    let path = request.path.trim_start_matches('/');
    // What follows the first slash is a key, also where it is another slash.
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if bucket.is_empty() || !key.is_empty() {
        return Ok(None);
    }
    let is_about_policy = request.has_query_name("policy");
    let is_about_bucket = request.query_names().next().is_none();
    let bucket = percent_decode_str(bucket).decode_utf8_lossy().into_owned();
    match request.method {
        Method::PUT if is_about_policy => {
            let policy = read(&String::from_utf8_lossy(&request.body), &bucket)?;
            Ok(Some(Change::Put(bucket, Arc::new(policy))))
        }
        Method::DELETE if is_about_policy || is_about_bucket => Ok(Some(Change::Remove(bucket))),
        _ => Ok(None),
    }
}

/// A policy of a bucket speaks of that bucket only.
fn read(text: &str, bucket: &str) -> Result<Policy, Malformed> {
    let policy = Policy::parse(text, Kind::Resource)?;
    let of_bucket = |name: &str| {
        let name = name.strip_prefix(BUCKET_ARN).and_then(|name| name.strip_prefix(bucket));
        name.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '*']))
    };
    if policy.resources().all(of_bucket) { Ok(policy) } else { Err(Malformed::Resource) }
}

fn malformed(error: &Malformed) -> AwsResponse {
    let message = match error {
        Malformed::Resource => "Policy has invalid resource".to_owned(),
        error => error.to_string(),
    };
    refused_by_s3("MalformedPolicy", &message)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;
    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::{Engine, Scope};
    use crate::engines::object_tags::ObjectTags;

    fn request(method: Method, path: &str, query: &str, body: String) -> AwsRequest {
        AwsRequest {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: http::HeaderMap::new(),
            body: Bytes::from(body),
            service: "s3".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: "AKID".to_owned(),
        }
    }

    fn policy(resource: &str) -> String {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": resource}]})
        .to_string()
    }

    #[tokio::test]
    async fn a_policy_is_known_from_its_put_to_its_delete_or_that_of_its_bucket() {
        let s3 = BucketPolicies::new(ObjectHeaders::new(ObjectTags::new(Engine::new(
            "s3",
            Scope::Regional,
            Arc::new(S3Service::new()),
        ))));
        let known = s3.known();
        let call = |method, query: &'static str, body| s3.handle(request(method, "/home", query, body));
        let is_known = || known.policy("arn:aws:s3:::home/a/b").is_some();
        // What the engine refuses is not known either.
        assert!(!call(Method::PUT, "policy", policy("arn:aws:s3:::home/*")).await.status.is_success());
        assert!(!is_known());
        for end in ["policy=", "x-id=DeleteBucket", "X-Amz-Algorithm=a&X-Amz-Signature=00&x-id=DeleteBucket"]
        {
            call(Method::PUT, "", String::new()).await;
            let put = call(Method::PUT, "policy", policy("arn:aws:s3:::home/*")).await;
            assert!(put.status.is_success(), "{put:?}");
            assert!(is_known() && known.policy("arn:aws:s3:::homes/a").is_none());
            // An object whose key is a slash.
            for method in [Method::PUT, Method::DELETE] {
                let object = s3.handle(request(method, "/home//", "", String::new())).await;
                assert!(object.status.is_success() && is_known(), "{object:?}");
            }
            assert!(call(Method::DELETE, end, String::new()).await.status.is_success(), "{end}");
            assert!(!is_known(), "{end}");
        }
    }

    #[tokio::test]
    async fn what_is_no_policy_of_the_bucket_is_refused() {
        for bad in [policy("arn:aws:s3:::other/*"), policy("arn:aws:s3:::homes"), "{".to_owned()] {
            assert!(read(&bad, "home").is_err(), "{bad}");
        }
        for good in ["arn:aws:s3:::home", "arn:aws:s3:::home/*", "arn:aws:s3:::home*"] {
            assert!(read(&policy(good), "home").is_ok(), "{good}");
        }
    }
}
