//! What a service receives and answers, whatever its protocol.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::iam::is_read_by_s3;
use crate::repeatable;

/// Whether a body may be read as a JSON object. A list would be taken for the members of one in their order, which whoever judges a
/// call does not see; an older emulator took it, and its kept calls are nobody's to judge.
pub(crate) fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{") || repeatable::is_repeated()
}

/// A structure within a body, of which the same holds.
#[derive(Clone, Debug)]
pub(crate) struct Object<T>(pub(crate) T);

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(structure: D) -> Result<Self, D::Error> {
        if repeatable::is_repeated() {
            return T::deserialize(structure).map(Self);
        }
        structure.deserialize_map(Members(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// What a caller is told of an operation that is not here. AWS, which has most of them, says nothing to the others.
pub(crate) fn not_emulated(what: &str) -> String {
    format!("{what} is not part of this emulator.")
}

/// A boxed future, for the few traits that are stored as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One request to an AWS service, body read whole.
#[derive(Clone, Debug)]
pub struct AwsRequest {
    pub method: Method,
    /// Still percent-encoded, without the query.
    pub path: String,
    /// The raw query, without `?`; empty when absent.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// From the credential scope of the signature: `sqs`, `lambda`, `execute-api`, ...
    pub service: String,
    pub region: String,
    /// Whose credentials signed the request; empty when unsigned.
    pub access_key_id: String,
}

impl AwsRequest {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first parameter of the name in the query, decoded.
    pub(crate) fn query_value(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        Some(decoded_value(value))
    }

    /// The names in the query of a call of S3, as they came, that ask for something: those of a signature do not.
    pub(crate) fn query_names(&self) -> impl Iterator<Item = &str> {
        let names = self.query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
        names.filter(|name| is_read_by_s3(name))
    }

    /// Whether one of these is in the query.
    pub(crate) fn has_query_name(&self, name: &str) -> bool {
        self.query_names().any(|one| one == name)
    }
}

/// A value in a query, decoded.
pub(crate) fn decoded_value(value: &str) -> String {
    percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
impl AwsRequest {
    /// What tests ask: nobody's, in some Region, without headers.
    pub(crate) fn unsigned(service: &str, method: Method, path: &str, body: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
            service: service.to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: String::new(),
        }
    }
}

/// The answer, ready to be written.
#[derive(Clone, Debug)]
pub struct AwsResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl AwsResponse {
    #[must_use]
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body: body.into() }
    }

    /// Adds a header; a value that no header may hold is left out.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// One AWS service behind the shared port.
pub trait Service: Send + Sync + 'static {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse>;

    /// Called once when everything that was kept is back: what happens by itself may happen from now on.
    fn begin(&self) {}

    /// Called once when the emulator stops, after the listener is closed: child processes and tasks end here.
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// The owner of `/_aws/execute-api/`: receives the request unread, so that it can upgrade it to a WebSocket.
pub trait DataPlane: Send + Sync + 'static {
    fn handle(&self, request: Request<Incoming>, peer: SocketAddr) -> BoxFuture<'_, Response<Full<Bytes>>>;
}
