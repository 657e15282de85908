//! Three protocols, one neutral value: the query protocol (Terraform), CBOR (the Rust SDK) and JSON.

use std::io::Read;

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::{cbor, form, xml};
use crate::wire::{AwsRequest, AwsResponse};

const CBOR_PATH: &str = "/service/GraniteServiceVersion20100801/operation/";
const JSON_TARGET: &str = "GraniteServiceVersion20100801.";

/// "Each PutMetricData request is limited to 1 MB in size for HTTP POST requests", before compression.
const BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Query,
    Cbor,
    Json,
}

/// A call, freed from its protocol.
#[derive(Debug)]
pub(super) struct Call {
    protocol: Protocol,
    pub(super) operation: String,
    pub(super) input: Value,
    /// Of the body, unzipped.
    bytes: usize,
}

impl Call {
    /// The other operations have limits that AWS does not tell of all, and what was taken of them is made again.
    pub(super) fn check_size(&self) -> Result<(), Failure> {
        let is_within = self.operation != "PutMetricData" || self.bytes <= BYTES_MAX;
        is_within.then_some(()).ok_or_else(|| Failure::too_large(self.bytes, BYTES_MAX))
    }
}

/// A request that is no call, and the protocol in which to say so.
pub(super) struct Refused {
    protocol: Protocol,
    failure: Failure,
}

impl Refused {
    pub(super) fn answer(&self) -> AwsResponse {
        write_failure(self.protocol, &self.failure)
    }
}

pub(super) fn read(request: &AwsRequest) -> Result<Call, Refused> {
    let (protocol, operation) = select(request);
    let refuse = |failure| Refused { protocol, failure };
    let body = plain_body(request).map_err(refuse)?;
    let bytes = body.len();
    let unreadable = |()| refuse(Failure::unreadable());
    let (operation, input) = match protocol {
        Protocol::Cbor => (operation, cbor::decode(&body).map_err(unreadable)?),
        Protocol::Json => (operation, decode_json(&body).map_err(unreadable)?),
        Protocol::Query => {
            let text = String::from_utf8(body).map_err(|_| unreadable(()))?;
            let mut input = form::parse(if text.is_empty() { &request.query } else { &text });
            let action = input.as_object_mut().and_then(|members| members.remove("Action"));
            (action.and_then(|action| action.as_str().map(str::to_owned)).unwrap_or_default(), input)
        }
    };
    Ok(Call { protocol, operation, input, bytes })
}

/// Which operation a request asks for. None: it names none, or cannot be read, and will be refused.
pub(super) fn operation(request: &AwsRequest) -> Option<String> {
    let operation = match select(request) {
        (Protocol::Query, _) => read(request).ok()?.operation,
        (_, operation) => operation,
    };
    Some(operation).filter(|operation| !operation.is_empty())
}

/// A refusal before the call was read.
pub(super) fn refuse(request: &AwsRequest, failure: &Failure) -> AwsResponse {
    write_failure(select(request).0, failure)
}

fn select(request: &AwsRequest) -> (Protocol, String) {
    if let Some(operation) = request.path.strip_prefix(CBOR_PATH) {
        return (Protocol::Cbor, operation.to_owned());
    }
    let target = request.header("x-amz-target").and_then(|target| target.strip_prefix(JSON_TARGET));
    match target {
        Some(operation) => (Protocol::Json, operation.to_owned()),
        None => (Protocol::Query, String::new()),
    }
}

fn plain_body(request: &AwsRequest) -> Result<Vec<u8>, Failure> {
    if request.header("content-encoding") != Some("gzip") {
        return Ok(request.body.to_vec());
    }
    let mut body = Vec::new();
    let unzipped = flate2::read::GzDecoder::new(&request.body[..]);
    unzipped.take(BYTES_MAX as u64 + 1).read_to_end(&mut body).map_err(|_| Failure::unreadable())?;
    // What it would become is not found out.
    if body.len() > BYTES_MAX { Err(Failure::too_large(body.len(), BYTES_MAX)) } else { Ok(body) }
}

fn decode_json(body: &[u8]) -> Result<Value, ()> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|_| ())
}

/// Writes the outcome in the protocol of its call.
pub(super) fn write(call: &Call, outcome: Result<Value, Failure>) -> AwsResponse {
    match outcome {
        Ok(mut output) => {
            drop_absent(&mut output);
            write_success(call, &output)
        }
        Err(failure) => write_failure(call.protocol, &failure),
    }
}

/// What is null in a neutral value is no member of an answer, in no protocol.
pub(super) fn drop_absent(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(drop_absent);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_absent),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn write_success(call: &Call, output: &Value) -> AwsResponse {
    let id = Uuid::new_v4().to_string();
    match call.protocol {
        Protocol::Query => {
            let body = xml::success(&call.operation, output, &id);
            AwsResponse::new(StatusCode::OK, "text/xml", body)
        }
        Protocol::Cbor => cbor_response(StatusCode::OK, output),
        Protocol::Json => AwsResponse::new(StatusCode::OK, "application/x-amz-json-1.0", output.to_string()),
    }
    .with_header("x-amzn-requestid", &id)
}

fn write_failure(protocol: Protocol, failure: &Failure) -> AwsResponse {
    let id = Uuid::new_v4().to_string();
    let mut shaped = json!({"__type": failure.shape, "message": failure.message()});
    drop_absent(&mut shaped);
    match protocol {
        Protocol::Query => AwsResponse::new(failure.status, "text/xml", xml::failure(failure, &id)),
        Protocol::Cbor => cbor_response(failure.status, &shaped),
        Protocol::Json => AwsResponse::new(failure.status, "application/x-amz-json-1.0", shaped.to_string()),
    }
    .with_header("x-amzn-query-error", &format!("{};Sender", failure.query_code))
    .with_header("x-amzn-requestid", &id)
}

fn cbor_response(status: StatusCode, output: &Value) -> AwsResponse {
    AwsResponse::new(status, "application/cbor", cbor::encode(output))
        .with_header("smithy-protocol", "rpc-v2-cbor")
}

/// A call as the Rust SDK makes it.
#[cfg(test)]
pub(crate) fn cbor_call(operation: &str, input: &Value) -> AwsRequest {
    let path = format!("{CBOR_PATH}{operation}");
    let call = AwsRequest::unsigned("monitoring", http::Method::POST, &path, "");
    AwsRequest { body: cbor::encode(input).into(), ..call }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::read::GzEncoder;

    use super::*;

    fn answer(protocol: Protocol, outcome: Result<Value, Failure>) -> Vec<u8> {
        let call = Call { protocol, operation: "X".to_owned(), input: json!({}), bytes: 0 };
        write(&call, outcome).body.to_vec()
    }

    fn text(protocol: Protocol, outcome: Result<Value, Failure>) -> String {
        String::from_utf8(answer(protocol, outcome)).unwrap()
    }

    #[test]
    fn what_is_absent_is_no_member_in_any_protocol() {
        let output = || Ok(json!({"Absent": null, "All": [{"Absent": null, "There": 1}]}));
        assert_eq!(text(Protocol::Json, output()), r#"{"All":[{"There":1}]}"#);
        let decoded = cbor::decode(&answer(Protocol::Cbor, output())).unwrap();
        assert_eq!(decoded, json!({"All": [{"There": 1}]}));
        let xml = text(Protocol::Query, output());
        assert!(xml.contains("<XResult><All><member><There>1</There></member></All></XResult>"), "{xml}");
    }

    #[test]
    fn metrics_of_more_than_a_megabyte_are_too_large_zipped_or_not() {
        let call = |operation: &str, bytes: usize| {
            let mut form = format!("Action={operation}&Padding=");
            form.push_str(&"x".repeat(bytes - form.len()));
            AwsRequest::unsigned("monitoring", http::Method::POST, "/", &form)
        };
        let zipped = |call: AwsRequest| {
            let mut body = Vec::new();
            let mut zip = GzEncoder::new(&call.body[..], Compression::fast());
            zip.read_to_end(&mut body).unwrap();
            let mut call = AwsRequest { body: body.into(), ..call };
            call.headers.insert("content-encoding", http::HeaderValue::from_static("gzip"));
            call
        };
        let check = |call: &AwsRequest| match read(call) {
            Ok(call) => call.check_size(),
            Err(refused) => Err(refused.failure),
        };
        let too_large: Result<(), Failure> = Err(Failure::too_large(BYTES_MAX + 1, BYTES_MAX));
        let (largest, larger) = (call("PutMetricData", BYTES_MAX), call("PutMetricData", BYTES_MAX + 1));
        assert_eq!((check(&largest), check(&larger)), (Ok(()), too_large.clone()));
        assert_eq!((check(&zipped(largest)), check(&zipped(larger))), (Ok(()), too_large));
        assert_eq!(check(&call("PutDashboard", BYTES_MAX + 1)), Ok(()));
        let why = "<Message>Request size 1048577 exceeded 1048576 bytes</Message>";
        let xml = text(Protocol::Query, Err(Failure::too_large(BYTES_MAX + 1, BYTES_MAX)));
        assert!(xml.contains(&format!("<Code>RequestEntityTooLarge</Code>{why}")), "{xml}");
    }

    #[test]
    fn a_refusal_without_a_message_has_no_member_for_it() {
        let refused = || Err(Failure::alarm_not_found());
        let shape = "com.amazonaws.cloudwatch.v2010_08_01#ResourceNotFound";
        assert_eq!(text(Protocol::Json, refused()), format!(r#"{{"__type":"{shape}"}}"#));
        assert_eq!(cbor::decode(&answer(Protocol::Cbor, refused())).unwrap(), json!({"__type": shape}));
        let xml = text(Protocol::Query, refused());
        assert!(xml.contains("<Code>ResourceNotFound</Code></Error>"), "{xml}");
    }
}
