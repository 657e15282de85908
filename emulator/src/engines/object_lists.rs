//! S3 whose lists of objects come in pages of keys and common prefixes in one order, as AWS's do.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;

use super::adapter::refused_by_s3;
use super::list_pages::{Asked, common_prefix, element, for_everything, for_page, parameter};
use super::object_keys::ObjectKeys;
use crate::pages::page;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use crate::xml::{elements, text_of};

/// What may be in the query of a list; with anything else it is another call.
const PARAMETERS: [&str; 9] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "marker",
    "max-keys",
    "prefix",
    "start-after",
];

/// S3 with pages of its lists.
pub(super) struct ObjectLists {
    engine: ObjectKeys,
}

impl ObjectLists {
    pub(super) const fn new(engine: ObjectKeys) -> Self {
        Self { engine }
    }
}

impl Service for ObjectLists {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            if !is_list(&request) {
                return self.engine.handle(request).await;
            }
            let list = match List::of(&request) {
                Ok(list) => list,
                Err(message) => return refused_by_s3("InvalidArgument", message),
            };
            let mut answer = self.engine.handle(list.for_engine(request)).await;
            if answer.status.is_success() {
                answer.body = Bytes::from(list.document(&String::from_utf8_lossy(&answer.body)));
                answer.headers.remove(CONTENT_LENGTH);
            }
            answer
        })
    }
}

fn is_list(request: &AwsRequest) -> bool {
    let path = request.path.strip_prefix('/').unwrap_or(&request.path);
    let is_bucket = !path.is_empty() && path.split_once('/').is_none_or(|(_, key)| key.is_empty());
    is_bucket && request.method == Method::GET && request.query_names().all(|name| PARAMETERS.contains(&name))
}

/// A page of a list, in the version of the operation that was called.
#[derive(Debug)]
enum List {
    First { asked: Asked, marker: String },
    Second { asked: Asked, token: String, start_after: String, last: String },
}

impl List {
    fn of(request: &AwsRequest) -> Result<Self, &'static str> {
        let asked = Asked::of(request)?;
        if parameter(request, "list-type") != "2" {
            return Ok(Self::First { asked, marker: parameter(request, "marker") });
        }
        let (token, start_after) =
            (parameter(request, "continuation-token"), parameter(request, "start-after"));
        let last = if token.is_empty() { Some(start_after.clone()) } else { last_in(&token) };
        let last = last.ok_or("The continuation token provided is incorrect")?;
        Ok(Self::Second { asked, token, start_after, last })
    }

    /// Without a delimiter the engine's own pages are right, and none of them costs as much as the whole list.
    fn for_engine(&self, request: AwsRequest) -> AwsRequest {
        let (asked, after, last) = match self {
            Self::First { asked, marker } => (asked, "marker", marker),
            Self::Second { asked, last, .. } => (asked, "start-after", last),
        };
        if asked.has_delimiter() {
            for_everything(request)
        } else {
            for_page(request, asked.size, after, last)
        }
    }

    /// From what the engine lists.
    fn document(&self, everything: &str) -> String {
        let (asked, last) = match self {
            Self::First { asked, marker } => (asked, marker),
            Self::Second { asked, last, .. } => (asked, last),
        };
        let objects = elements(everything, "Contents").into_iter();
        let keys: BTreeMap<String, &str> =
            objects.filter_map(|object| Some((text_of(object, "Key")?, object))).collect();
        let behind = keys.into_iter().filter(|(key, _)| asked.is_behind(key, last));
        let entries = asked.entries(behind).into_iter().map(|(name, object)| {
            let entry = match object {
                Some(object) => format!("<Contents>{object}</Contents>"),
                None => common_prefix(&name),
            };
            (name, entry)
        });
        let (shown, next) = page(entries, |_| true, asked.size);
        let name = elements(everything, "Name").first().copied().unwrap_or_default();
        format!(
            "<ListBucketResult><Name>{name}</Name>{}<IsTruncated>{}</IsTruncated>{}{}</ListBucketResult>",
            asked.said_again(),
            next.is_some(),
            self.bounds(next.as_deref(), shown.len()),
            shown.concat()
        )
    }

    /// Where the page begins, and where the next one does.
    fn bounds(&self, next: Option<&str>, count: usize) -> String {
        match self {
            Self::First { asked, marker } => {
                // Else it is the last key of the page.
                let next = next.filter(|_| asked.has_delimiter()).map(|next| element("NextMarker", next));
                element("Marker", marker) + &next.unwrap_or_default()
            }
            Self::Second { token, start_after, .. } => {
                let next = next.map(|next| URL_SAFE_NO_PAD.encode(next)).unwrap_or_default();
                let said = [
                    ("ContinuationToken", token.as_str()),
                    ("NextContinuationToken", next.as_str()),
                    ("StartAfter", start_after.as_str()),
                ];
                let said = said.into_iter().filter(|(_, text)| !text.is_empty());
                let said: String = said.map(|(name, text)| element(name, text)).collect();
                format!("<KeyCount>{count}</KeyCount>{said}")
            }
        }
    }
}

/// The last entry of the page that a token was given with.
fn last_in(token: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use winterbaume_s3::S3Service;

    use super::*;
    use crate::engines::adapter::{Engine, Scope};

    fn request(query: &str) -> AwsRequest {
        AwsRequest { query: query.to_owned(), ..AwsRequest::unsigned("s3", Method::GET, "/home", "") }
    }

    fn encoded(text: &str) -> String {
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
    }

    /// What the engine says of these keys.
    fn everything<'a>(keys: impl IntoIterator<Item = &'a String>) -> String {
        let objects = keys.into_iter().map(|key| format!("<Contents>{}</Contents>", element("Key", key)));
        format!("<ListBucketResult>{}<Name>home</Name></ListBucketResult>", objects.collect::<String>())
    }

    /// What the engine says of these keys to a call.
    fn listed(keys: &BTreeSet<String>, call: &AwsRequest) -> String {
        let after = parameter(call, "marker") + &parameter(call, "start-after");
        let size = parameter(call, "max-keys").parse().unwrap();
        everything(keys.iter().filter(|key| **key > after).take(size))
    }

    /// The names of a page in the order of the list, with the place of the next one.
    fn read(document: &str) -> (Vec<String>, Option<String>) {
        let mut names: Vec<String> =
            elements(document, "Contents").into_iter().filter_map(|object| text_of(object, "Key")).collect();
        let prefixes = elements(document, "CommonPrefixes").into_iter();
        names.extend(prefixes.filter_map(|prefix| text_of(prefix, "Prefix")));
        names.sort_unstable();
        let is_truncated = text_of(document, "IsTruncated").as_deref() == Some("true");
        let said =
            ["NextMarker", "NextContinuationToken"].into_iter().find_map(|name| text_of(document, name));
        let next = said.or_else(|| names.last().cloned()).filter(|_| is_truncated);
        (names, next)
    }

    /// All pages of a list together.
    fn pages(keys: &BTreeSet<String>, query: &str, next: &str) -> Vec<String> {
        let (mut all, mut place) = (Vec::new(), None);
        loop {
            let from = place.map(|place: String| format!("&{next}={}", encoded(&place))).unwrap_or_default();
            let call = request(&format!("{query}{from}"));
            let list = List::of(&call).unwrap();
            let (names, behind) = read(&list.document(&listed(keys, &list.for_engine(call))));
            assert!(behind.is_none() || !names.is_empty(), "{query}{from}");
            all.extend(names);
            assert!(all.len() <= 1_000, "{query}{from}: there is no end");
            match behind {
                Some(behind) => place = Some(behind),
                None => return all,
            }
        }
    }

    proptest! {
        #[test]
        fn all_pages_together_are_the_list(
            keys in prop::collection::btree_set("[ab/&ä]{1,6}", 0..40),
            prefix in "[ab/]{0,2}",
            delimiter in "[a/]{0,2}",
            size in 1..6_usize,
        ) {
            let keys: BTreeSet<String> = keys.into_iter().filter(|key| key.starts_with(&prefix)).collect();
            let mut expected = BTreeSet::new();
            for key in &keys {
                let end = key[prefix.len()..].find(&delimiter).filter(|_| !delimiter.is_empty());
                let end = end.map_or(key.len(), |end| prefix.len() + end + delimiter.len());
                expected.insert(key[..end].to_owned());
            }
            let expected: Vec<String> = expected.into_iter().collect();
            let (prefix, delimiter) = (encoded(&prefix), encoded(&delimiter));
            let query = format!("prefix={prefix}&delimiter={delimiter}&max-keys={size}");
            prop_assert_eq!(pages(&keys, &query, "marker"), expected.clone());
            let second = format!("list-type=2&{query}");
            prop_assert_eq!(pages(&keys, &second, "continuation-token"), expected);
        }
    }

    #[test]
    fn a_page_says_where_it_is() {
        let keys = ["a", "b/1", "b/2", "c"].map(str::to_owned);
        let document = |query: &str| List::of(&request(query)).unwrap().document(&everything(&keys));
        let second = document("list-type=2&max-keys=2&delimiter=/");
        for (name, text) in [("KeyCount", "2"), ("MaxKeys", "2"), ("IsTruncated", "true"), ("Name", "home")] {
            assert_eq!(text_of(&second, name).as_deref(), Some(text), "{second}");
        }
        let token = text_of(&second, "NextContinuationToken").unwrap();
        let third = document(&format!("list-type=2&max-keys=2&delimiter=/&continuation-token={token}"));
        assert_eq!(read(&third), (vec!["c".to_owned()], None));
        assert_eq!(text_of(&third, "ContinuationToken"), Some(token));
        let none = document("list-type=2&max-keys=0");
        assert_eq!((read(&none), text_of(&none, "MaxKeys")), ((vec![], None), Some("0".to_owned())));
        let first = document("max-keys=2&marker=a");
        assert_eq!(text_of(&first, "Marker").as_deref(), Some("a"));
        assert_eq!(text_of(&first, "NextMarker"), None, "only with a delimiter");
        assert_eq!(read(&document("list-type=2&start-after=b/1&delimiter=/")).0, ["b/", "c"]);
        assert!(List::of(&request("list-type=2&continuation-token=%25")).is_err());
    }

    #[tokio::test]
    async fn pages_are_of_what_the_engine_has() {
        let engine = ObjectKeys::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())));
        let s3 = ObjectLists::new(engine);
        let put = |path: &str| s3.handle(AwsRequest::unsigned("s3", Method::PUT, path, ""));
        for path in ["/home", "/home/%C3%A4/1", "/home/%C3%A4/2", "/home/a%26b", "/home/z"] {
            assert!(put(path).await.status.is_success(), "{path}");
        }
        let keys = ["a&b", "z", "ä/1", "ä/2"];
        for (list, next_is, expected) in [
            ("list-type=2&max-keys=1&delimiter=/", "continuation-token", &["a&b", "z", "ä/"][..]),
            ("list-type=2&max-keys=1", "continuation-token", &keys[..]),
            ("max-keys=1", "marker", &keys[..]),
            ("max-keys=3", "marker", &keys[..]),
        ] {
            let mut query = list.to_owned();
            let mut all = Vec::new();
            while all.len() <= keys.len() {
                let answer = s3.handle(request(&query)).await;
                let (names, next) = read(std::str::from_utf8(&answer.body).unwrap());
                all.extend(names);
                let Some(next) = next else { break };
                query = format!("{list}&{next_is}={}", encoded(&next));
            }
            assert_eq!(all, expected, "{list}");
        }
        assert_eq!(s3.handle(request("max-keys=a")).await.status, 400);
        let none = AwsRequest { path: "/none".to_owned(), ..request("") };
        assert_eq!(s3.handle(none).await.status, 404);
    }
}
