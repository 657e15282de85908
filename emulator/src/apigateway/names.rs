//! Ids, trace headers and times, in the shapes that AWS gives them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use rand::RngExt;

use crate::invoke::Source;
use crate::settings::Settings;

/// The service that takes roles and invokes functions, and in whose name the policy of an authorizer is asked.
pub(super) const API_GATEWAY: &str = "apigateway.amazonaws.com";

/// 11 bytes make the 16 characters of `VWi0WdQt0kwCFHg=`.
const ID_BYTES: usize = 11;

/// A request or connection id.
pub(super) fn opaque_id(settings: &Settings) -> String {
    let bytes: [u8; ID_BYTES] = settings.random.with(|random| random.random());
    URL_SAFE.encode(bytes)
}

/// The request id of an invocation, as Lambda makes them.
pub(super) fn invocation_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Whether a text could be a connection id at all: AWS answers 400 to one that could not.
pub(super) fn is_opaque_id(text: &str) -> bool {
    !text.is_empty() && URL_SAFE.decode(text).is_ok()
}

/// `X-Amzn-Trace-Id`: a new root, or this hop (`Self`) put before what the client sent.
pub(super) fn trace_header(settings: &Settings, at_ms: i64, received: Option<&str>) -> String {
    let (high, low): (u32, u64) = settings.random.with(|random| (random.random(), random.random()));
    let hop = format!("1-{:08x}-{high:08x}{low:016x}", at_ms / 1_000);
    match received {
        Some(received) => format!("Self={hop};{received}"),
        None => format!("Root={hop}"),
    }
}

/// `12/Mar/2020:19:03:58 +0000`
pub(super) fn request_time(at_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

pub(super) fn domain_name(settings: &Settings, api_id: &str) -> String {
    format!("{api_id}.execute-api.{}.amazonaws.com", settings.region)
}

/// `arn:aws:execute-api:{region}:{account}:{api}/{stage}/{tail}`
pub(super) fn execute_api_arn(settings: &Settings, api_id: &str, stage: &str, tail: &str) -> String {
    format!("arn:aws:execute-api:{}:{}:{api_id}/{stage}/{tail}", settings.region, settings.account_id)
}

/// Who invokes, for the function's policy: `arn:aws:execute-api:{region}:{account}:{api}/{tail}`.
pub(super) fn source(settings: &Settings, api_id: &str, tail: &str) -> Source {
    let arn = format!("arn:aws:execute-api:{}:{}:{api_id}/{tail}", settings.region, settings.account_id);
    Source { service: API_GATEWAY, arn }
}
