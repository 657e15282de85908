//! S3: a subresource in the query names the action; the others are objects, buckets and their list.
//!
//! The engine takes the first subresource that it knows for the method, in an order of its own, and the bucket or the object
//! itself if it knows none: a call with two of them, or with one that the method does not have, would be carried out as
//! something else than it was judged for.

use std::collections::HashMap;

use http::{HeaderMap, Method};
use winterbaume_core::MockRequest;
use winterbaume_s3::wire::{Delete, ObjectIdentifier, deserialize_delete_objects_request};

use super::{Need, decode};
use crate::wire::AwsRequest;

const READ: &[&str] = &["GET"];
const READ_AND_PUT: &[&str] = &["GET", "PUT"];
const ALL: &[&str] = &["GET", "PUT", "DELETE"];

/// Name, what follows the verb in the name of the action, and the methods.
type Subresource = (&'static str, &'static str, &'static [&'static str]);

const OF_BUCKETS: [Subresource; 22] = [
    ("accelerate", "AccelerateConfiguration", READ_AND_PUT),
    ("acl", "BucketAcl", READ_AND_PUT),
    ("analytics", "AnalyticsConfiguration", ALL),
    ("cors", "BucketCORS", ALL),
    ("encryption", "EncryptionConfiguration", ALL),
    ("intelligent-tiering", "IntelligentTieringConfiguration", ALL),
    ("inventory", "InventoryConfiguration", ALL),
    ("lifecycle", "LifecycleConfiguration", ALL),
    ("location", "BucketLocation", READ),
    ("logging", "BucketLogging", READ_AND_PUT),
    ("metrics", "MetricsConfiguration", ALL),
    ("notification", "BucketNotification", READ_AND_PUT),
    ("object-lock", "BucketObjectLockConfiguration", READ_AND_PUT),
    ("ownershipControls", "BucketOwnershipControls", ALL),
    ("policy", "BucketPolicy", ALL),
    ("policyStatus", "BucketPolicyStatus", READ),
    ("publicAccessBlock", "BucketPublicAccessBlock", ALL),
    ("replication", "ReplicationConfiguration", ALL),
    ("requestPayment", "BucketRequestPayment", READ_AND_PUT),
    ("tagging", "BucketTagging", ALL),
    ("versioning", "BucketVersioning", READ_AND_PUT),
    ("website", "BucketWebsite", ALL),
];
const OF_OBJECTS: [Subresource; 6] = [
    ("acl", "ObjectAcl", READ_AND_PUT),
    ("attributes", "ObjectAttributes", READ),
    ("legal-hold", "ObjectLegalHold", READ_AND_PUT),
    ("retention", "ObjectRetention", READ_AND_PUT),
    ("tagging", "ObjectTagging", ALL),
    ("torrent", "ObjectTorrent", READ),
];
const UNKNOWN: &str = "s3:UnknownOperation";
/// Only of these has a bucket an action to delete them; whoever may put one of the others may delete it.
const DELETED_BY_NAME: [&str; 2] = ["policy", "website"];
/// What else asks for another operation. Those without an action here are judged as unknown, and refused.
const OTHERS: [&str; 13] = [
    "abac",
    "delete",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "renameObject",
    "restore",
    "select",
    "session",
    "uploadId",
    "uploads",
    "versions",
];
/// Parameters that ask for no other operation: those of lists, of parts and of one of several configurations.
const PLAIN: [&str; 19] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "id",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "partNumber",
    "prefix",
    "select-type",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionId",
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
        let arn = format!("{bucket}/{key}");
        let tags = of_tags(request, &arn);
        std::iter::once(of_object(request, arn)).chain(tags).chain(of_source(request)).collect()
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

/// Who puts an object with tags must be allowed to tag it: "you must have the s3:PutObjectTagging permission".
fn of_tags(request: &AwsRequest, arn: &str) -> Option<Need> {
    let puts = matches!(
        (subresources(request).as_slice(), request.method.as_str()),
        ([], "PUT") | (["uploads"], "POST")
    );
    let has_tags = request.headers.get("x-amz-tagging").is_some_and(|tags| !tags.is_empty());
    (puts && has_tags).then(|| Need::new("s3:PutObjectTagging", arn))
}

/// What lets who reads an object know that it is not there: "If you have the s3:ListBucket permission on the bucket, Amazon S3 returns
/// an HTTP status code 404 (Not Found) error." None: no object is read.
pub(in crate::iam) fn to_know_absence(request: &AwsRequest) -> Option<Need> {
    let (bucket, key) = request.path.trim_start_matches('/').split_once('/')?;
    let reads = request.service == "s3"
        && matches!(request.method.as_str(), "GET" | "HEAD")
        && subresources(request).is_empty();
    (reads && !key.is_empty()).then(|| Need::new("s3:ListBucket", format!("arn:aws:s3:::{}", decode(bucket))))
}

/// An upload by a form, whose signature and policy are in its body. Nobody reads them here, so that it is refused.
pub(crate) fn is_form_of_browser(request: &AwsRequest) -> bool {
    const KIND: &str = "multipart/form-data";
    let path = request.path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let kind = request.header("content-type").and_then(|kind| kind.get(..KIND.len()));
    request.method == Method::POST
        && !bucket.is_empty()
        && key.is_empty()
        && subresources(request).is_empty()
        && kind.is_some_and(|kind| kind.eq_ignore_ascii_case(KIND))
}

fn of_bucket(request: &AwsRequest, arn: String) -> Vec<Need> {
    let whole = |action: &'static str, resource: String| {
        let mut need = Need::new(action, resource);
        for (parameter, key) in [("prefix", "s3:prefix"), ("delimiter", "s3:delimiter")] {
            need.context.extend(request.query_value(parameter).map(|value| (key, value)));
        }
        vec![need]
    };
    match (subresources(request).as_slice(), request.method.as_str()) {
        ([], "PUT") => whole("s3:CreateBucket", arn),
        ([], "DELETE") => whole("s3:DeleteBucket", arn),
        // A form that a browser sends.
        ([], "POST") => whole("s3:PutObject", format!("{arn}/*")),
        ([], _) => whole("s3:ListBucket", arn),
        (["versions"], "GET") => whole("s3:ListBucketVersions", arn),
        (["uploads"], "GET") => whole("s3:ListBucketMultipartUploads", arn),
        (["delete"], "POST") => of_deleted(request, &arn),
        ([name], method) => {
            let verb = match method {
                "DELETE" if DELETED_BY_NAME.contains(name) => "Delete",
                "PUT" | "DELETE" => "Put",
                _ => "Get",
            };
            vec![of_subresource(&OF_BUCKETS, name, method, verb, arn)]
        }
        _ => vec![unknown(arn)],
    }
}

fn of_object(request: &AwsRequest, arn: String) -> Need {
    let of_version = request.has_query_name("versionId");
    let action = match (subresources(request).as_slice(), request.method.as_str()) {
        ([], "PUT" | "POST") => "s3:PutObject",
        ([], "DELETE") if of_version => "s3:DeleteObjectVersion",
        ([], "DELETE") => "s3:DeleteObject",
        ([], _) if of_version => "s3:GetObjectVersion",
        ([], _) | (["select"], "POST") => "s3:GetObject",
        (["uploadId"], "PUT" | "POST") | (["uploads"], "POST") => "s3:PutObject",
        (["uploadId"], "DELETE") => "s3:AbortMultipartUpload",
        (["uploadId"], "GET") => "s3:ListMultipartUploadParts",
        (["restore"], "POST") => "s3:RestoreObject",
        ([name], method) => {
            let verb = match method {
                "PUT" => "Put",
                "DELETE" => "Delete",
                _ => "Get",
            };
            return of_subresource(&OF_OBJECTS, name, method, verb, arn);
        }
        _ => return unknown(arn),
    };
    Need::new(action, arn)
}

fn of_subresource(known: &[Subresource], name: &str, method: &str, verb: &str, arn: String) -> Need {
    let found = known.iter().find(|(known, _, methods)| *known == name && methods.contains(&method));
    match found {
        Some((_, what, _)) => Need::new(format!("s3:{verb}{what}"), arn),
        None => unknown(arn),
    }
}

/// What a DeleteObjects names, by the reader of the engine, which deletes what that says. None: it cannot be read.
pub(crate) fn deleted_objects(request: &AwsRequest) -> Option<Delete> {
    let (method, uri, headers) = (request.method.to_string(), String::new(), HeaderMap::new());
    let call = MockRequest { method, uri, headers, body: request.body.clone() };
    deserialize_delete_objects_request(&call, &[], &HashMap::new()).ok().map(|read| read.delete)
}

/// DeleteObjects needs for each object what DeleteObject needs for one; what cannot be read needs everything.
fn of_deleted(request: &AwsRequest, bucket: &str) -> Vec<Need> {
    let objects = deleted_objects(request).map(|delete| delete.objects).unwrap_or_default();
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
    Need::new(UNKNOWN, arn)
}

/// What of the query asks for another operation.
fn subresources(request: &AwsRequest) -> Vec<&str> {
    request.query_names().filter(|name| !is_plain(name)).collect()
}

fn is_plain(name: &str) -> bool {
    PLAIN.contains(&name) || name.starts_with("response-")
}

/// Whether S3 reads a parameter of the query. It ignores others: clients add them against caches.
pub(crate) fn is_read_by_s3(name: &str) -> bool {
    let mut subresources = OF_BUCKETS.iter().chain(&OF_OBJECTS).map(|(name, _, _)| name).chain(&OTHERS);
    is_plain(name) || subresources.any(|subresource| *subresource == name)
}

/// Whether the engine would decode a name in the query, so that it is another one than the one that was judged.
pub(crate) fn has_encoded_name(query: &str) -> bool {
    query.split('&').filter_map(|pair| pair.split('=').next()).any(|name| name.contains(['%', '+']))
}

/// Whether a call of S3 can be carried out as what it is judged for.
pub(crate) fn is_known_to_s3(request: &AwsRequest) -> bool {
    needs(request).iter().all(|need| need.action != UNKNOWN)
}
