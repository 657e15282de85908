//! CORS: the gateway answers preflights and rewrites what the function says about it.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::model::CorsConfiguration;
use crate::iam::{Case, matches};

pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// "API Gateway ignores CORS headers returned from your backend integration" once CORS is configured, in the answer to a
/// preflight as in any other.
pub(super) fn rewrite(
    cors: &CorsConfiguration,
    method: &Method,
    request: &HeaderMap,
    answer: &mut HeaderMap,
) {
    let own: Vec<HeaderName> =
        answer.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in own {
        answer.remove(name);
    }
    if is_preflight(method, request) {
        if allow_origin(cors, request, answer) {
            allow_call(cors, answer);
        }
    // "For the OPTIONS method, your request must contain an origin header and an Access-Control-Request-Method header."
    } else if method != Method::OPTIONS && allow_origin(cors, request, answer) {
        set(answer, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers.join(","));
    }
}

/// What a preflight asks for.
fn allow_call(cors: &CorsConfiguration, answer: &mut HeaderMap) {
    set(answer, ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods.join(","));
    set(answer, ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers.join(","));
    if let Some(seconds) = cors.max_age {
        set(answer, ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
}

/// False, and no header at all, for an origin that is not allowed.
fn allow_origin(cors: &CorsConfiguration, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
    let Some(origin) = request.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return false };
    let Some(allowed) = cors.allow_origins.iter().find(|allowed| matches(allowed, origin, Case::Sensitive))
    else {
        return false;
    };
    set(answer, ACCESS_CONTROL_ALLOW_ORIGIN, if allowed == "*" { "*" } else { origin });
    if cors.allow_credentials == Some(true) {
        set(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    true
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let (false, Ok(value)) = (value.is_empty(), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}
