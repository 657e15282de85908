//! Which service a request is for, and who signed it.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

/// What the signature says; `region` and `access_key_id` are empty for an unsigned request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) service: String,
    pub(super) region: String,
    pub(super) access_key_id: String,
}

/// The parts of a request that name its service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clues<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// Target prefixes of the JSON protocols, for calls that nobody signed.
const TARGET_PREFIXES: &[(&str, &str)] = &[
    ("DynamoDB", "dynamodb"),
    ("AmazonSQS.", "sqs"),
    ("GraniteServiceVersion20100801.", "monitoring"),
    ("Logs_20140328.", "logs"),
    ("AmazonSSM.", "ssm"),
];

/// API versions of the query protocol, for the same.
const QUERY_VERSIONS: &[(&str, &str)] = &[
    ("Version=2012-11-05", "sqs"),
    ("Version=2011-06-15", "sts"),
    ("Version=2010-05-08", "iam"),
    ("Version=2010-08-01", "monitoring"),
];

/// What paths of the REST and CBOR protocols begin with, in whole segments, for the same. A bucket by such a name is not reached
/// without a signature.
const PATH_PREFIXES: &[(&str, &str)] = &[
    ("/service/GraniteServiceVersion20100801", "monitoring"),
    ("/v2", "apigateway"),
    ("/account", "apigateway"),
    ("/experimentTemplates", "fis"),
    ("/experiments", "fis"),
    ("/actions", "fis"),
    ("/targetResourceTypes", "fis"),
    ("/safetyLevers", "fis"),
    ("/schedules", "scheduler"),
    ("/schedule-groups", "scheduler"),
    ("/TraceSegments", "xray"),
    ("/TelemetryRecords", "xray"),
];

/// Services whose tags lie at `/tags/{arn}`, by how the ARN begins.
const TAGGED_ARNS: &[(&str, &str)] = &[("arn:aws:fis:", "fis"), ("arn:aws:scheduler:", "scheduler")];

/// The service is the one that the signature was made for: `.../<region>/<service>/aws4_request`. An unsigned request
/// is told apart by its shape; the service is empty when nothing tells.
pub(super) fn identify(clues: Clues<'_>) -> Caller {
    signed_header(clues.headers)
        .or_else(|| presigned_query(clues.query))
        .or_else(|| presigned_before_v4(clues.query))
        .unwrap_or_else(|| Caller { service: unsigned_service(clues).to_owned(), ..Caller::default() })
}

/// The access key that signed a request; empty when none did.
pub(crate) fn access_key<B>(request: &http::Request<B>) -> String {
    signed_for(request.headers(), request.uri().query())
        .map(|(access_key_id, _)| access_key_id)
        .unwrap_or_default()
}

/// "You must sign requests with Signature Version 4": by a header, or by the query where a client cannot set headers. The
/// signature itself is not checked.
pub(crate) fn is_signed(headers: &HeaderMap, query: Option<&str>) -> bool {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    header.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256"))
        || query.is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// The access key that signed a request, and the service that it was signed for.
pub(crate) fn signed_for(headers: &HeaderMap, query: Option<&str>) -> Option<(String, String)> {
    let caller = signed_header(headers).or_else(|| presigned_query(query.unwrap_or_default()))?;
    Some((caller.access_key_id, caller.service))
}

fn signed_header(headers: &HeaderMap) -> Option<Caller> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, rest) = value.split_once("Credential=")?;
    parse_credential(rest.split([',', ' ']).next()?)
}

fn presigned_query(query: &str) -> Option<Caller> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="))?;
    parse_credential(&percent_decode_str(value).decode_utf8().ok()?)
}

/// Signature Version 2 in the query, as SDKs presign for S3 unless told otherwise. It names no Region.
fn presigned_before_v4(query: &str) -> Option<Caller> {
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value("Signature").and(value("Expires"))?;
    let access_key_id = percent_decode_str(value("AWSAccessKeyId")?).decode_utf8().ok()?.into_owned();
    Some(Caller { service: "s3".to_owned(), region: String::new(), access_key_id })
}

/// `AKID/20260101/us-east-1/sqs/aws4_request`.
fn parse_credential(credential: &str) -> Option<Caller> {
    let mut parts = credential.split('/');
    let (access_key_id, _date, region, service) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Caller {
        service: service.to_owned(),
        region: region.to_owned(),
        access_key_id: access_key_id.to_owned(),
    })
}

fn unsigned_service(clues: Clues<'_>) -> &'static str {
    by_target(clues.headers)
        .or_else(|| by_path(clues.path))
        .or_else(|| find(QUERY_VERSIONS, |version| clues.query.split('&').any(|pair| pair == version)))
        .or_else(|| by_form(clues))
        .or_else(|| is_queue_path(clues.path).then_some("sqs"))
        .unwrap_or("")
}

fn by_target(headers: &HeaderMap) -> Option<&'static str> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    find(TARGET_PREFIXES, |prefix| target.starts_with(prefix))
}

fn by_path(path: &str) -> Option<&'static str> {
    let begins_with =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(arn) = path.strip_prefix("/tags/") {
        let arn = percent_decode_str(arn).decode_utf8_lossy();
        return find(TAGGED_ARNS, |prefix| arn.starts_with(prefix));
    }
    find(PATH_PREFIXES, begins_with).or_else(|| is_dated(path).then_some("lambda"))
}

/// `/2015-03-31/…`: of the services here only Lambda's paths begin with the version of its API.
fn is_dated(path: &str) -> bool {
    let date = path.trim_start_matches('/').split_once('/').map_or("", |(date, _)| date);
    let is_in_place = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    date.len() == 10 && date.starts_with("20") && date.bytes().enumerate().all(is_in_place)
}

fn by_form(clues: Clues<'_>) -> Option<&'static str> {
    if !is_form(clues.headers) {
        return None;
    }
    let body = std::str::from_utf8(clues.body).ok()?;
    find(QUERY_VERSIONS, |version| body.split('&').any(|pair| pair == version))
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"))
}

fn find(
    table: &[(&'static str, &'static str)],
    matches: impl Fn(&'static str) -> bool,
) -> Option<&'static str> {
    table.iter().find(|(clue, _)| matches(clue)).map(|(_, service)| *service)
}

/// `/{12-digit account}/{queue}`: a queue URL is an endpoint of its own.
fn is_queue_path(path: &str) -> bool {
    let Some((account, queue)) = path.strip_prefix('/').and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && !queue.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clues<'a>(headers: &'a HeaderMap, path: &'a str, query: &'a str, body: &'a [u8]) -> Clues<'a> {
        Clues { headers, path, query, body }
    }

    #[test]
    fn the_credential_scope_names_service_region_and_caller() {
        let mut headers = HeaderMap::new();
        let value =
            "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/eu-west-1/sqs/aws4_request, SignedHeaders=host";
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        let caller = identify(clues(&headers, "/", "", b""));
        assert_eq!(
            caller,
            Caller { service: "sqs".into(), region: "eu-west-1".into(), access_key_id: "AKIA1".into() }
        );
    }

    #[test]
    fn a_presigned_query_names_its_service() {
        let query = "X-Amz-Credential=AKIA1%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Expires=60";
        assert_eq!(identify(clues(&HeaderMap::new(), "/b/k", query, b"")).service, "s3");
    }

    #[test]
    fn a_query_presigned_before_version_4_is_of_s3() {
        let query = "AWSAccessKeyId=te%2Bst&Signature=a%2Fb%3D&Expires=1767225600";
        let caller = identify(clues(&HeaderMap::new(), "/b/k", query, b""));
        assert_eq!(
            caller,
            Caller { service: "s3".into(), region: String::new(), access_key_id: "te+st".into() }
        );
        for part in ["AWSAccessKeyId=test&Signature=a", "Signature=a&Expires=1767225600"] {
            assert_eq!(identify(clues(&HeaderMap::new(), "/b/k", part, b"")), Caller::default(), "{part}");
        }
    }

    #[test]
    fn an_unsigned_request_is_told_by_its_shape() {
        let mut headers = HeaderMap::new();
        assert_eq!(identify(clues(&headers, "/123456789012/q", "Action=ReceiveMessage", b"")).service, "sqs");
        assert_eq!(identify(clues(&headers, "/v2/apis", "", b"")).service, "apigateway");
        assert_eq!(identify(clues(&headers, "/nothing", "", b"")).service, "");
        for (path, service) in [
            ("/2019-09-25/functions/f/event-invoke-config", "lambda"),
            ("/2014-11-13/functions/f/invoke-async", "lambda"),
            ("/2017-03-31/tags/arn%3Aaws%3Alambda%3Ar%3A1%3Afunction%3Af", "lambda"),
            ("/2o15-03-31/functions", ""),
            ("/2015-03-31", ""),
            ("/v2/vpclinks", "apigateway"),
            ("/v2/tags/arn%3Aaws%3Aapigateway%3Ar%3A%3A%2Fapis%2Fa", "apigateway"),
            ("/account", "apigateway"),
            ("/experiments/EXP1", "fis"),
            ("/experiments-of-mine/a", ""),
            ("/actions", "fis"),
            ("/targetResourceTypes/a", "fis"),
            ("/safetyLevers/default/state", "fis"),
            ("/tags/arn%3Aaws%3Afis%3Ar%3A1%3Aexperiment%2Fa", "fis"),
            ("/tags/arn:aws:scheduler:r:1:schedule-group/g", "scheduler"),
            ("/tags/a", ""),
            ("/schedule-groups/g", "scheduler"),
            ("/service/GraniteServiceVersion20100801/operation/PutMetricData", "monitoring"),
            ("/TraceSegments", "xray"),
        ] {
            assert_eq!(identify(clues(&headers, path, "", b"")).service, service, "{path}");
        }
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        assert_eq!(identify(clues(&headers, "/", "", b"Action=X&Version=2011-06-15")).service, "sts");
        headers.insert("x-amz-target", "DynamoDB_20120810.GetItem".parse().unwrap());
        assert_eq!(identify(clues(&headers, "/", "", b"")).service, "dynamodb");
    }
}
