//! From what a function returned to what the client receives.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::definition::Format;
use super::reply::Reply;
use crate::wire::is_object;

/// Belongs to one connection, not to the answer: the gateway sets its own.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// Of an answer that does not say, in both formats (asserted of AWS by aws/aws-lambda-dotnet, `ApiGatewayResponseTestCases`).
const CONTENT_TYPE_DEFAULT: &str = "text/plain; charset=utf-8";

/// Not a quota of AWS: a map of headers holds no more names than 24,576, and mappings and the gateway add theirs.
const HEADER_NAMES_MAX: usize = 16_384;

/// The object that a proxy integration returns.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProxyAnswer<'a> {
    #[serde(default)]
    pub(super) status_code: Option<Status>,
    #[serde(borrow, default)]
    headers: Option<BTreeMap<Cow<'a, str>, Text<'a>>>,
    #[serde(borrow, default)]
    multi_value_headers: Option<BTreeMap<Cow<'a, str>, Vec<Text<'a>>>>,
    #[serde(borrow, default)]
    cookies: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    body: Option<Text<'a>>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// A malformed answer: 500 to the client, and the reason to the access log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("The response from the Lambda function doesn't match the format that API Gateway expects.")]
pub(super) struct Malformed;

pub(super) fn reply(answer: &Bytes, format: Format) -> Result<Reply, Malformed> {
    match ProxyAnswer::read(answer) {
        Some(proxy) if proxy.status_code.is_some() => proxy.into_reply(format),
        // "If your Lambda function returns valid JSON and doesn't return a statusCode", 2.0 infers the rest.
        Some(_) if format == Format::V2 => Ok(inferred(answer)),
        None if format == Format::V2 && !has_status(answer) => infer(answer),
        Some(_) | None => Err(Malformed),
    }
}

/// An object whose `statusCode` has the wrong type is malformed, not inferred.
fn has_status(answer: &Bytes) -> bool {
    #[derive(Deserialize)]
    struct Peek {
        #[serde(rename = "statusCode")]
        status: Option<IgnoredAny>,
    }
    is_object(answer) && serde_json::from_slice::<Peek>(answer).is_ok_and(|peek| peek.status.is_some())
}

fn infer(answer: &Bytes) -> Result<Reply, Malformed> {
    // Raw JSON is text; what is ignored need not be.
    match serde_json::from_slice::<&RawValue>(answer) {
        Ok(_) => Ok(inferred(answer)),
        Err(_) => Err(Malformed),
    }
}

/// Status 200, `application/json`, the JSON itself; a JSON string as its text.
fn inferred(answer: &Bytes) -> Reply {
    let mut reply = Reply::empty(StatusCode::OK);
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.body = match serde_json::from_slice::<String>(answer) {
        Ok(text) => Bytes::from(text),
        Err(_) => answer.clone(),
    };
    reply
}

impl<'a> ProxyAnswer<'a> {
    /// None for what is no such object.
    pub(super) fn read(answer: &'a [u8]) -> Option<Self> {
        if is_object(answer) { serde_json::from_slice(answer).ok() } else { None }
    }

    /// The body as bytes; None when it claims base64 and is not.
    pub(super) fn body_bytes(&self) -> Option<Bytes> {
        let body = self.body.as_ref().map_or("", |text| &text.0);
        if self.is_base64_encoded == Some(true) {
            return STANDARD.decode(body).ok().map(Bytes::from);
        }
        Some(Bytes::copy_from_slice(body.as_bytes()))
    }

    /// One header, whatever its case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.as_ref()?;
        headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &*value.0)
    }

    fn into_reply(self, format: Format) -> Result<Reply, Malformed> {
        let status = self
            .status_code
            .as_ref()
            .and_then(|status| StatusCode::from_u16(status.0).ok())
            .ok_or(Malformed)?;
        // 1xx is the protocol's own: no function can answer with it.
        if status.is_informational() {
            return Err(Malformed);
        }
        let body = self.body_bytes().ok_or(Malformed)?;
        let headers = self.header_map(format)?;
        Ok(Reply { status, headers, body })
    }

    fn header_map(&self, format: Format) -> Result<HeaderMap, Malformed> {
        let mut map = HeaderMap::new();
        match format {
            Format::V1 => self.put_values_and_lists(&mut map)?,
            Format::V2 => self.put_values_and_cookies(&mut map)?,
        }
        if !map.contains_key(CONTENT_TYPE) {
            put(&mut map, CONTENT_TYPE.as_str(), CONTENT_TYPE_DEFAULT)?;
        }
        if map.keys_len() > HEADER_NAMES_MAX { Err(Malformed) } else { Ok(map) }
    }

    /// A name may be in both, and all its values are sent: those of the list last, and one that the list has too only there.
    fn put_values_and_lists(&self, map: &mut HeaderMap) -> Result<(), Malformed> {
        let mut known = self.listed();
        for (name, value) in self.headers.iter().flatten() {
            if known.entry(name.to_ascii_lowercase()).or_default().insert(&*value.0) {
                put(map, name, &value.0)?;
            }
        }
        for (name, values) in self.multi_value_headers.iter().flatten() {
            for value in values {
                put(map, name, &value.0)?;
            }
        }
        Ok(())
    }

    /// By names in lower case: a function may write a name in many ways, and each of them is looked up.
    fn listed(&self) -> HashMap<String, HashSet<&str>> {
        let mut listed = HashMap::<String, HashSet<&str>>::new();
        for (name, values) in self.multi_value_headers.iter().flatten() {
            listed.entry(name.to_ascii_lowercase()).or_default().extend(values.iter().map(|value| &*value.0));
        }
        listed
    }

    fn put_values_and_cookies(&self, map: &mut HeaderMap) -> Result<(), Malformed> {
        for (name, value) in self.headers.iter().flatten() {
            let Some((name, value)) = header(name, &value.0)? else { continue };
            map.try_insert(name, value).map_err(|_| Malformed)?;
        }
        for cookie in self.cookies.iter().flatten() {
            put(map, SET_COOKIE.as_str(), &cookie.0)?;
        }
        Ok(())
    }
}

/// Beside what there is of the name.
fn put(map: &mut HeaderMap, name: &str, value: &str) -> Result<(), Malformed> {
    let Some((name, value)) = header(name, value)? else { return Ok(()) };
    map.try_append(name, value).map_err(|_| Malformed)?;
    Ok(())
}

/// None for one that is not of the answer.
fn header(name: &str, value: &str) -> Result<Option<(HeaderName, HeaderValue)>, Malformed> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed)?;
    let value = HeaderValue::from_str(value).map_err(|_| Malformed)?;
    Ok((!HOP_BY_HOP.contains(&name.as_str())).then_some((name, value)))
}

/// 200 or "200".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        text.0.parse().map(Self).map_err(|_| de::Error::custom("statusCode is not a status"))
    }
}

/// A string, or a number or boolean written where a string belongs.
#[derive(Debug)]
pub(super) struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string, number or boolean")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_owned())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(value.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn mapped(answer: &'static str, format: Format) -> Result<Reply, Malformed> {
        reply(&Bytes::from_static(answer.as_bytes()), format)
    }

    #[test]
    fn a_full_answer_is_sent_as_it_says() {
        let answer = r#"{"statusCode":202,"headers":{"Location":"/tasks/1","X-Count":3,"Connection":"close"},
            "cookies":["a=1","b=2"],"body":"{\"ok\":true}","isBase64Encoded":false}"#;
        let reply = mapped(answer, Format::V2).unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED);
        assert_eq!(reply.headers["location"], "/tasks/1");
        assert_eq!(reply.headers["x-count"], "3");
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
        assert!(!reply.headers.contains_key("connection"));
        assert_eq!(reply.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(&reply.body[..], br#"{"ok":true}"#);
    }

    #[test]
    fn binary_bodies_come_in_base64() {
        let reply = mapped(r#"{"statusCode":200,"body":"AAH/","isBase64Encoded":true}"#, Format::V2).unwrap();
        assert_eq!(&reply.body[..], [0, 1, 255]);
        assert_eq!(
            mapped(r#"{"statusCode":200,"body":"?","isBase64Encoded":true}"#, Format::V2).unwrap_err(),
            Malformed
        );
    }

    #[test]
    fn format_2_infers_what_has_no_status_and_format_1_refuses_it() {
        for (answer, body) in [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("[1,2]", "[1,2]"),
            ("[1]", "[1]"),
            (" [[1]]", " [[1]]"),
            ("[200]", "[200]"),
            (r#""hi""#, "hi"),
            (r#"{"body":{"x":1}}"#, r#"{"body":{"x":1}}"#),
        ] {
            let reply = mapped(answer, Format::V2).unwrap();
            assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, body.as_bytes()), "{answer}");
            assert_eq!(reply.headers["content-type"], "application/json");
            assert_eq!(mapped(answer, Format::V1).unwrap_err(), Malformed);
        }
    }

    #[test]
    fn nonsense_is_malformed() {
        for answer in [
            "",
            "{",
            r#"{"statusCode":"many"}"#,
            r#"{"statusCode":99}"#,
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
        ] {
            assert_eq!(mapped(answer, Format::V2).unwrap_err(), Malformed, "{answer}");
        }
        assert_eq!(reply(&Bytes::from_static(b"[\"\xff\"]"), Format::V2).unwrap_err(), Malformed);
        let names = (0..=HEADER_NAMES_MAX * 2).map(|n| format!(r#""x-{n}":"1""#)).collect::<Vec<_>>();
        let lists = names.iter().map(|name| name.replace(r#""1""#, r#"["1"]"#)).collect::<Vec<_>>();
        for (member, all, format) in [
            ("headers", &names[..], Format::V1),
            ("headers", &names[..], Format::V2),
            ("headers", &names[..HEADER_NAMES_MAX], Format::V2),
            ("multiValueHeaders", &lists[..], Format::V1),
        ] {
            let answer = format!(r#"{{"statusCode":200,"{member}":{{{}}}}}"#, all.join(","));
            assert_eq!(reply(&Bytes::from(answer), format).unwrap_err(), Malformed, "{member} {}", all.len());
        }
    }

    #[test]
    fn format_1_sends_all_values_of_a_header_once() {
        let answer = r#"{"statusCode":200,"headers":{"X-A":"3","x-b":"1","x-c":"1"},
            "multiValueHeaders":{"x-a":["1","2"],"X-B":["1","2"]},"body":""}"#;
        let reply = mapped(answer, Format::V1).unwrap();
        for (name, expected) in [("x-a", "3,1,2"), ("x-b", "1,2"), ("x-c", "1")] {
            let all = reply.headers.get_all(name).iter().map(|value| value.to_str().unwrap());
            assert_eq!(all.collect::<Vec<_>>().join(","), expected, "{name}");
        }
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
    }

    #[test]
    fn a_name_that_is_written_in_many_ways_is_read_at_once() {
        const WAYS: usize = 100_000;
        // Each bit of the number is the case of a letter.
        let way = |number: usize| (0..17).map(move |bit| if (number >> bit) & 1 == 0 { 'a' } else { 'A' });
        let headers = (0..WAYS).map(|n| format!(r#""{}":"{n}""#, way(n).collect::<String>()));
        let headers = headers.collect::<Vec<_>>().join(",");
        let answer = Bytes::from(format!(r#"{{"statusCode":200,"headers":{{{headers}}}}}"#));
        let started = Instant::now();
        let reply = reply(&answer, Format::V1).unwrap();
        assert_eq!(reply.headers.get_all("a".repeat(17)).iter().count(), WAYS);
        // By comparing each with each it would be minutes.
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
