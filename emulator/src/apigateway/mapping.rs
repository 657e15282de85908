//! Parameter mappings of an HTTP API: what an integration changes of a request before its function sees it, and of the
//! function's answer before the client does.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::{ApiError, bad};
use super::mapped_value::{Content, Side, Template, Values};
use super::model::Texts;
use super::query::decoded;
use super::reply::Reply;

/// "You can't configure request or response mappings for these headers."
const RESERVED_HEADERS: [&str; 18] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "forwarded",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "via",
];
const RESERVED_PREFIXES: [&str; 4] = ["access-control-", "apigw-", "x-amz-", "x-amzn-"];

/// What stands for no value.
const NOTHING: &str = "''";

/// The statuses that answers can be mapped from and to.
const STATUSES: RangeInclusive<u16> = 200..=599;

/// What is percent-encoded in a name and a value of a query string.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Clone, Debug)]
pub(super) struct RequestMapping(Vec<Change>);

/// By the status that the function answers.
#[derive(Clone, Debug)]
pub(super) struct ResponseMapping(BTreeMap<u16, Vec<Change>>);

#[derive(Clone, Debug)]
struct Change {
    place: Place,
    action: Action<Template>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Header(HeaderName),
    Query(String),
    Path,
    Status,
}

#[derive(Clone, Debug)]
enum Action<V> {
    Remove,
    Overwrite(V),
    Append(V),
}

/// What a function sees of a request instead.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) headers: HeaderMap,
    pub(super) raw_query: String,
    /// Where it is another one.
    pub(super) path: Option<String>,
}

impl RequestMapping {
    /// # Errors
    /// For what AWS refuses.
    pub(super) fn parse(mappings: &Texts) -> Result<Self, ApiError> {
        changes(mappings, Side::Request).map(Self)
    }

    /// Every value is that of the request as it came.
    pub(super) fn apply(&self, raw_query: &str, values: &Values<'_>) -> Mapped {
        let mut mapped =
            Mapped { headers: values.headers.clone(), raw_query: raw_query.to_owned(), path: None };
        for change in &self.0 {
            let Some(action) = change.action.filled(values) else { continue };
            match (&change.place, action) {
                (Place::Header(name), action) => change_header(&mut mapped.headers, name, &action),
                (Place::Query(name), action) => change_query(&mut mapped.raw_query, name, &action),
                (Place::Path, Action::Overwrite(path)) => mapped.path = Some(rooted(path)),
                (Place::Path | Place::Status, _) => {}
            }
        }
        mapped
    }
}

impl ResponseMapping {
    /// # Errors
    /// For what AWS refuses.
    pub(super) fn parse(by_status: &BTreeMap<String, Texts>) -> Result<Self, ApiError> {
        let parsed = by_status.iter().map(|(status, mappings)| {
            let Some(code) = status_code(status) else {
                return bad(format!("Status Code {status} is not valid"));
            };
            Ok((code.as_u16(), changes(mappings, Side::Response)?))
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Changes the answer of a function.
    pub(super) fn apply(
        &self,
        reply: Reply,
        stage_variables: &Texts,
        context: &dyn Fn(&str) -> Option<String>,
    ) -> Reply {
        let Some(changes) = self.0.get(&reply.status.as_u16()) else { return reply };
        let (headers, body) = (&reply.headers, Content::new(&reply.body));
        let (status, headers) =
            answer(changes, reply.status, &Values { headers, body, stage_variables, context, asked: None });
        Reply { status, headers, body: reply.body }
    }
}

/// A removal takes no value, and an empty one would be the removal of the mapping in a PATCH.
pub(super) fn settle_removals(mappings: &mut Texts) {
    for (_, value) in mappings.iter_mut().filter(|(destination, _)| destination.starts_with("remove:")) {
        if value.is_empty() {
            NOTHING.clone_into(value);
        }
    }
}

fn answer(changes: &[Change], status: StatusCode, values: &Values<'_>) -> (StatusCode, HeaderMap) {
    let (mut status, mut headers) = (status, values.headers.clone());
    for change in changes {
        let Some(action) = change.action.filled(values) else { continue };
        match (&change.place, action) {
            (Place::Header(name), action) => change_header(&mut headers, name, &action),
            // What is no status leaves it as it was.
            (Place::Status, Action::Overwrite(code)) => status = status_code(&code).unwrap_or(status),
            (Place::Status | Place::Query(_) | Place::Path, _) => {}
        }
    }
    (status, headers)
}

/// In the order in which they are made: what is appended to a header outlives its removal.
fn changes(mappings: &Texts, side: Side) -> Result<Vec<Change>, ApiError> {
    let parsed = mappings.iter().map(|(destination, value)| Change::parse(destination, value, side));
    let mut changes = parsed.collect::<Result<Vec<_>, _>>()?;
    changes.sort_by_key(|change| change.action.rank());
    Ok(changes)
}

fn invalid<T>(fault: &str) -> Result<T, ApiError> {
    bad(format!("Invalid mapping expression specified: Validation Result: warnings : [], errors : [{fault}]"))
}

impl Change {
    fn parse(destination: &str, value: &str, side: Side) -> Result<Self, ApiError> {
        let parts = destination.split_once(':');
        let place = parts.and_then(|(_, place)| Place::parse(place, side));
        let (Some((action, _)), Some(place)) = (parts, place) else { return unknown(destination, side) };
        if let Place::Header(name) = &place
            && is_reserved(name.as_str())
        {
            return invalid(&format!("Operations on header {name} are restricted"));
        }
        let is_single = matches!(place, Place::Path | Place::Status);
        let action = match action {
            "overwrite" => Action::Overwrite(template(value, side)?),
            "append" if !is_single => Action::Append(template(value, side)?),
            "remove" if !is_single && matches!(value, "" | NOTHING) => Action::Remove,
            "remove" if !is_single => return unknown_value(value),
            _ => return unknown(destination, side),
        };
        if let (Place::Status, Action::Overwrite(template)) = (&place, &action)
            && template.constant().is_some_and(|code| status_code(code).is_none())
        {
            return unknown_value(value);
        }
        Ok(Self { place, action })
    }
}

fn unknown<T>(destination: &str, side: Side) -> Result<T, ApiError> {
    invalid(&format!("Invalid {side:?} Actioned Parameter destination specified: {destination}"))
}

fn unknown_value<T>(value: &str) -> Result<T, ApiError> {
    invalid(&format!("Invalid mapping expression specified: {value}"))
}

fn template(value: &str, side: Side) -> Result<Template, ApiError> {
    match Template::parse(value, side) {
        Some(template) => Ok(template),
        None => unknown_value(value),
    }
}

impl Place {
    fn parse(place: &str, side: Side) -> Option<Self> {
        match (place.split_once('.'), side) {
            (Some(("header", name)), _) => HeaderName::from_bytes(name.as_bytes()).ok().map(Self::Header),
            (Some(("querystring", name)), Side::Request) if !name.is_empty() => {
                Some(Self::Query(name.to_owned()))
            }
            (None, Side::Request) if place == "path" => Some(Self::Path),
            (None, Side::Response) if place == "statuscode" => Some(Self::Status),
            _ => None,
        }
    }
}

fn is_reserved(header: &str) -> bool {
    RESERVED_HEADERS.contains(&header) || RESERVED_PREFIXES.iter().any(|prefix| header.starts_with(prefix))
}

impl Action<Template> {
    const fn rank(&self) -> u8 {
        match self {
            Self::Remove => 0,
            Self::Overwrite(_) => 1,
            Self::Append(_) => 2,
        }
    }

    /// None where there is no value: nothing is changed then.
    fn filled(&self, values: &Values<'_>) -> Option<Action<String>> {
        match self {
            Self::Remove => Some(Action::Remove),
            Self::Overwrite(template) => template.fill(values).map(Action::Overwrite),
            Self::Append(template) => template.fill(values).map(Action::Append),
        }
    }
}

/// A value that no header may hold changes nothing, nor does one for which there is no room.
fn change_header(headers: &mut HeaderMap, name: &HeaderName, action: &Action<String>) {
    match action {
        Action::Remove => {
            headers.remove(name);
        }
        Action::Overwrite(value) => {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.try_insert(name, value).ok();
            }
        }
        Action::Append(value) => {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.try_append(name, value).ok();
            }
        }
    }
}

fn change_query(raw_query: &mut String, name: &str, action: &Action<String>) {
    if !matches!(action, Action::Append(_)) {
        *raw_query = without(raw_query, name);
    }
    if let Action::Overwrite(value) | Action::Append(value) = action {
        if !raw_query.is_empty() {
            raw_query.push('&');
        }
        let [name, value] = [name, value.as_str()].map(|text| utf8_percent_encode(text, ENCODED));
        raw_query.push_str(&format!("{name}={value}"));
    }
}

fn without(raw_query: &str, name: &str) -> String {
    let is_kept = |pair: &&str| decoded(pair.split_once('=').map_or(*pair, |(name, _)| name)) != name;
    raw_query.split('&').filter(is_kept).collect::<Vec<_>>().join("&")
}

fn rooted(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

fn status_code(text: &str) -> Option<StatusCode> {
    let code = text.parse::<u16>().ok().filter(|code| text.len() == 3 && STATUSES.contains(code))?;
    StatusCode::from_u16(code).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::apigateway::mapped_value::Asked;
    use crate::apigateway::query::Query;

    fn texts(mappings: &[(&str, &str)]) -> Texts {
        mappings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn request(mappings: &[(&str, &str)]) -> Mapped {
        let mut headers = HeaderMap::new();
        headers.insert("a", HeaderValue::from_static("1"));
        headers.insert("b", HeaderValue::from_static("2"));
        let raw_query = "x=1&y=2&x=3";
        let (query, variables, none) = (Query::parse(raw_query), Vec::new(), Texts::new());
        let context = |_: &str| None;
        let values = Values {
            headers: &headers,
            body: Content::new(b"line\nbreak"),
            stage_variables: &none,
            context: &context,
            asked: Some(Asked { path: "/p", variables: &variables, query: &query }),
        };
        RequestMapping::parse(&texts(mappings)).unwrap().apply(raw_query, &values)
    }

    fn values<'a>(mapped: &'a Mapped, name: &str) -> Vec<&'a str> {
        mapped.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn headers_are_removed_overwritten_and_appended_to_with_what_came() {
        let mapped = request(&[
            ("append:header.A", "$request.header.b"),
            ("overwrite:header.b", "$request.header.a"),
            ("append:header.c", "${request.header.a}+${request.header.none}"),
            ("append:header.none", "$request.header.none"),
            ("append:header.broken", "$request.body"),
        ]);
        assert_eq!(values(&mapped, "a"), ["1", "2"]);
        assert_eq!(values(&mapped, "b"), ["1"]);
        assert_eq!(values(&mapped, "c"), ["1+"]);
        assert!(values(&mapped, "none").is_empty() && values(&mapped, "broken").is_empty());
        assert_eq!((mapped.raw_query.as_str(), mapped.path), ("x=1&y=2&x=3", None));

        let renamed = request(&[("append:header.z", "$request.header.a"), ("remove:header.a", "''")]);
        assert_eq!((values(&renamed, "z"), values(&renamed, "a")), (vec!["1"], vec![]));
        let replaced = request(&[("append:header.a", "3"), ("remove:header.a", "")]);
        assert_eq!(values(&replaced, "a"), ["3"]);
    }

    #[test]
    fn a_query_and_a_path_are_changed_too() {
        for (mappings, expected) in [
            ([("remove:querystring.x", "''")], "y=2"),
            ([("overwrite:querystring.x", "a b&c")], "y=2&x=a%20b%26c"),
            ([("append:querystring.x", "$request.querystring.y")], "x=1&y=2&x=3&x=2"),
            ([("append:querystring.é", "1")], "x=1&y=2&x=3&%C3%A9=1"),
        ] {
            assert_eq!(request(&mappings).raw_query, expected, "{mappings:?}");
        }
        let all = [("remove:querystring.x", "''"), ("overwrite:querystring.y", "1")];
        assert_eq!(request(&all).raw_query, "y=1");
        for (value, expected) in [("$request.path", "/p"), ("/v2$request.path", "/v2/p"), ("p", "/p")] {
            assert_eq!(request(&[("overwrite:path", value)]).path.as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn an_answer_is_changed_by_its_status() {
        let mapping = ResponseMapping::parse(&BTreeMap::from([
            (
                "500".to_owned(),
                texts(&[
                    ("overwrite:statuscode", "403"),
                    ("append:header.reason", "$response.body.reason"),
                    ("overwrite:header.was", "${response.header.server}/${stageVariables.env}"),
                    ("remove:header.server", "''"),
                ]),
            ),
            ("404".to_owned(), texts(&[("overwrite:statuscode", "$response.header.code")])),
        ]))
        .unwrap();
        let answered = |status: u16, code: &'static str| {
            let mut reply = Reply::empty(StatusCode::from_u16(status).unwrap());
            reply.headers.insert("server", HeaderValue::from_static("f"));
            reply.headers.insert("code", HeaderValue::from_static(code));
            reply.body = Bytes::from_static(br#"{"reason":"full"}"#);
            mapping.apply(reply, &texts(&[("env", "live")]), &|_: &str| None)
        };
        let changed = answered(500, "");
        assert_eq!(changed.status, 403);
        assert_eq!(changed.headers["reason"], "full");
        assert_eq!(changed.headers["was"], "f/live");
        assert!(!changed.headers.contains_key("server"));
        assert_eq!(&changed.body[..], br#"{"reason":"full"}"#);
        assert_eq!(answered(404, "410").status, 410);
        for nonsense in ["", "100", "600", "many"] {
            assert_eq!(answered(404, nonsense).status, 404, "{nonsense}");
        }
        assert_eq!(answered(200, "410").headers["server"], "f");
    }

    #[test]
    fn what_aws_refuses_is_refused_with_its_words() {
        let prefix = "Invalid mapping expression specified: Validation Result: warnings : [], errors : ";
        let request = |key: &str, value: &str| RequestMapping::parse(&texts(&[(key, value)])).map(drop);
        let response = |key: &str, value: &str| {
            let by_status = BTreeMap::from([("200".to_owned(), texts(&[(key, value)]))]);
            ResponseMapping::parse(&by_status).map(drop)
        };
        let text = |refused: Result<(), ApiError>| refused.unwrap_err().to_string();
        for key in [
            "header.a",
            "append:",
            "append:path",
            "remove:path",
            "append:header.",
            "append:header.a b",
            "put:header.a",
            "append:querystring.",
            "overwrite:statuscode",
            "append:body.a",
        ] {
            let expected =
                format!("{prefix}[Invalid Request Actioned Parameter destination specified: {key}]");
            assert_eq!(text(request(key, "v")), expected);
        }
        for key in ["append:overwrite.static", "append:querystring.a", "overwrite:path", "remove:statuscode"]
        {
            let expected =
                format!("{prefix}[Invalid Response Actioned Parameter destination specified: {key}]");
            assert_eq!(text(response(key, "v")), expected);
        }
        for header in
            ["Authorization", "x-amzn-trace-id", "Access-Control-Allow-Origin", "X-Forwarded-For", "Via"]
        {
            let lower = header.to_ascii_lowercase();
            let expected = format!("{prefix}[Operations on header {lower} are restricted]");
            assert_eq!(text(request(&format!("append:header.{header}"), "v")), expected);
            assert_eq!(text(response(&format!("remove:header.{header}"), "''")), expected);
        }
        for (key, value) in
            [("append:header.a", ""), ("append:header.a", "$nonsense"), ("remove:header.a", "v")]
        {
            let expected = format!("{prefix}[Invalid mapping expression specified: {value}]");
            assert_eq!(text(request(key, value)), expected);
        }
        assert!(response("overwrite:statuscode", "600").is_err());
        for status in ["199", "600", "default", ""] {
            let refused = ResponseMapping::parse(&BTreeMap::from([(status.to_owned(), Texts::new())]));
            assert_eq!(refused.unwrap_err().to_string(), format!("Status Code {status} is not valid"));
        }
    }
}
