//! S3: a subresource in the query names the action; the others are objects, buckets and their list.

use std::collections::HashMap;

use http::{HeaderMap, Method};
use winterbaume_core::MockRequest;
use winterbaume_s3::wire::{ObjectIdentifier, deserialize_delete_objects_request};

use super::{Need, decode};
use crate::wire::AwsRequest;

const OF_BUCKETS: [(&str, &str); 22] = [
    ("accelerate", "AccelerateConfiguration"),
    ("acl", "BucketAcl"),
    ("analytics", "AnalyticsConfiguration"),
    ("cors", "BucketCORS"),
    ("encryption", "EncryptionConfiguration"),
    ("intelligent-tiering", "IntelligentTieringConfiguration"),
    ("inventory", "InventoryConfiguration"),
    ("lifecycle", "LifecycleConfiguration"),
    ("location", "BucketLocation"),
    ("logging", "BucketLogging"),
    ("metrics", "MetricsConfiguration"),
    ("notification", "BucketNotification"),
    ("object-lock", "BucketObjectLockConfiguration"),
    ("ownershipControls", "BucketOwnershipControls"),
    ("policy", "BucketPolicy"),
    ("policyStatus", "BucketPolicyStatus"),
    ("publicAccessBlock", "BucketPublicAccessBlock"),
    ("replication", "ReplicationConfiguration"),
    ("requestPayment", "BucketRequestPayment"),
    ("tagging", "BucketTagging"),
    ("versioning", "BucketVersioning"),
    ("website", "BucketWebsite"),
];
const OF_OBJECTS: [(&str, &str); 6] = [
    ("acl", "ObjectAcl"),
    ("attributes", "ObjectAttributes"),
    ("legal-hold", "ObjectLegalHold"),
    ("retention", "ObjectRetention"),
    ("tagging", "ObjectTagging"),
    ("torrent", "ObjectTorrent"),
];
/// Only of these has a bucket an action to delete them; whoever may put one of the others may delete it.
const DELETED_BY_NAME: [&str; 2] = ["policy", "website"];
/// Parameters that ask for no other operation.
const PLAIN: [&str; 12] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "marker",
    "max-keys",
    "partNumber",
    "prefix",
    "start-after",
    "versionId",
    "x-id",
];

pub(super) fn needs(request: &AwsRequest) -> Vec<Need> {
    let path = request.path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let (bucket, key) = (decode(bucket), decode(key));
    if bucket.is_empty() {
        // Whatever policy names all buckets allows it, by this pattern or by a wider one.
        return vec![Need::new("s3:ListAllMyBuckets", "arn:aws:s3:::*")];
    }
    let bucket = format!("arn:aws:s3:::{bucket}");
    if key.is_empty() {
        of_bucket(request, bucket)
    } else {
        let object = of_object(request, format!("{bucket}/{key}"));
        std::iter::once(object).chain(of_source(request)).collect()
    }
}

/// CopyObject and UploadPartCopy read what they write: "You must have read access to the source object and write access to
/// the destination bucket."
fn of_source(request: &AwsRequest) -> Option<Need> {
    let source = request.header("x-amz-copy-source").filter(|_| request.method == Method::PUT)?;
    let (source, action) = match source.split_once("?versionId=") {
        Some((object, _)) => (object, "s3:GetObjectVersion"),
        None => (source, "s3:GetObject"),
    };
    let source = decode(&source.replace('+', " "));
    Some(Need::new(action, format!("arn:aws:s3:::{}", source.trim_start_matches('/'))))
}

fn of_bucket(request: &AwsRequest, arn: String) -> Vec<Need> {
    if request.method == Method::POST && has(request, "delete") {
        return of_deleted(request, &arn);
    }
    if let Some((name, what)) = OF_BUCKETS.into_iter().find(|(name, _)| has(request, name)) {
        let verb = match request.method {
            Method::DELETE if DELETED_BY_NAME.contains(&name) => "Delete",
            Method::PUT | Method::DELETE => "Put",
            _ => "Get",
        };
        return vec![Need::new(format!("s3:{verb}{what}"), arn)];
    }
    if has(request, "uploads") {
        return vec![Need::new("s3:ListBucketMultipartUploads", arn)];
    }
    let mut need = match request.method {
        Method::GET if has(request, "versions") => Need::new("s3:ListBucketVersions", arn),
        _ if !is_plain(request) => unknown(arn),
        Method::PUT => Need::new("s3:CreateBucket", arn),
        Method::DELETE => Need::new("s3:DeleteBucket", arn),
        // A form that a browser sends.
        Method::POST => Need::new("s3:PutObject", format!("{arn}/*")),
        _ => Need::new("s3:ListBucket", arn),
    };
    for (parameter, key) in [("prefix", "s3:prefix"), ("delimiter", "s3:delimiter")] {
        if let Some(value) = request.query_value(parameter) {
            need.context.push((key, value));
        }
    }
    vec![need]
}

fn of_object(request: &AwsRequest, arn: String) -> Need {
    if let Some((_, what)) = OF_OBJECTS.into_iter().find(|(name, _)| has(request, name)) {
        let verb = match request.method {
            Method::PUT => "Put",
            Method::DELETE => "Delete",
            _ => "Get",
        };
        return Need::new(format!("s3:{verb}{what}"), arn);
    }
    let (in_parts, restore) = (has(request, "uploadId") || has(request, "uploads"), has(request, "restore"));
    let of_version = has(request, "versionId");
    let action = match request.method {
        Method::POST if restore => "s3:RestoreObject",
        Method::PUT | Method::POST if in_parts => "s3:PutObject",
        Method::DELETE if in_parts => "s3:AbortMultipartUpload",
        _ if in_parts => "s3:ListMultipartUploadParts",
        _ if !is_plain(request) => return unknown(arn),
        Method::PUT | Method::POST => "s3:PutObject",
        Method::DELETE if of_version => "s3:DeleteObjectVersion",
        Method::DELETE => "s3:DeleteObject",
        _ if of_version => "s3:GetObjectVersion",
        _ => "s3:GetObject",
    };
    Need::new(action, arn)
}

/// DeleteObjects needs for each object what DeleteObject needs for one. It is read by the reader of the engine, which deletes
/// what that says; what cannot be read needs everything.
fn of_deleted(request: &AwsRequest, bucket: &str) -> Vec<Need> {
    let (method, uri, headers) = (request.method.to_string(), String::new(), HeaderMap::new());
    let call = MockRequest { method, uri, headers, body: request.body.clone() };
    let read = deserialize_delete_objects_request(&call, &[], &HashMap::new());
    let objects = read.map(|read| read.delete.objects).unwrap_or_default();
    if objects.is_empty() {
        return vec![Need::new("s3:DeleteObject", format!("{bucket}/*"))];
    }
    let need = |object: ObjectIdentifier| {
        let of_version = object.version_id.is_some();
        let action = if of_version { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        Need::new(action, format!("{bucket}/{}", object.key))
    };
    objects.into_iter().map(need).collect()
}

/// A subresource that is not known here must not pass for the bucket or the object itself.
fn unknown(arn: String) -> Need {
    Need::new("s3:UnknownOperation", arn)
}

fn is_plain(request: &AwsRequest) -> bool {
    let is_signature = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
    names(request).all(|name| PLAIN.contains(&name) || name.starts_with("response-") || is_signature(name))
}

fn has(request: &AwsRequest, name: &str) -> bool {
    names(request).any(|one| one == name)
}

/// Of the parameters in the query.
fn names(request: &AwsRequest) -> impl Iterator<Item = &str> {
    let names = request.query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.filter(|name| !name.is_empty())
}
