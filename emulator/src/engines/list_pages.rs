//! Pages of S3's lists. Where there is a delimiter, and of versions, they are cut from everything that the engine has under the
//! prefix: its own lose what shares a prefix, or never come to an end.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::wire::AwsRequest;
use crate::xml::escape;

/// Entries of a page, whatever is asked for.
const SIZE_MAX: usize = 1_000;
const EVERYTHING: &str = "max-keys=2147483647";
/// What asks for a page.
const PAGING: [&str; 7] = [
    "continuation-token",
    "delimiter",
    "key-marker",
    "marker",
    "max-keys",
    "start-after",
    "version-id-marker",
];

/// What each of these lists is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    prefix: String,
    /// Empty: there is none.
    delimiter: String,
    pub(super) size: usize,
}

impl Asked {
    pub(super) fn of(request: &AwsRequest) -> Result<Self, &'static str> {
        let size = size_of(&parameter(request, "max-keys"))?;
        let (prefix, delimiter) = (parameter(request, "prefix"), parameter(request, "delimiter"));
        Ok(Self { prefix, delimiter, size })
    }

    pub(super) fn has_delimiter(&self) -> bool {
        !self.delimiter.is_empty()
    }

    /// What a key shares with all others that have the same letters up to the first delimiter behind the prefix.
    fn common_prefix<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = key.strip_prefix(self.prefix.as_str()).filter(|_| self.has_delimiter())?;
        let end = rest.find(self.delimiter.as_str())?;
        key.get(..self.prefix.len() + end + self.delimiter.len())
    }

    /// Whether a key is behind the last entry of the page before. Nothing with a common prefix is behind that.
    pub(super) fn is_behind(&self, key: &str, last: &str) -> bool {
        key > last && self.common_prefix(key) != Some(last)
    }

    /// The entries of a list by their names, from keys in order. Of those with a common prefix there is one, without an element.
    pub(super) fn entries<T>(&self, keys: impl IntoIterator<Item = (String, T)>) -> Vec<(String, Option<T>)> {
        let mut entries: Vec<(String, Option<T>)> = Vec::new();
        for (key, element) in keys {
            let Some(prefix) = self.common_prefix(&key) else {
                entries.push((key, Some(element)));
                continue;
            };
            let is_there = entries.last().is_some_and(|(last, element)| element.is_none() && last == prefix);
            if !is_there {
                entries.push((prefix.to_owned(), None));
            }
        }
        entries
    }

    /// What a list says of itself besides its name and where it begins and ends.
    pub(super) fn said_again(&self) -> String {
        let delimiter =
            if self.has_delimiter() { element("Delimiter", &self.delimiter) } else { String::new() };
        format!("{}{delimiter}<MaxKeys>{}</MaxKeys>", element("Prefix", &self.prefix), self.size)
    }
}

fn size_of(text: &str) -> Result<usize, &'static str> {
    if text.is_empty() {
        return Ok(SIZE_MAX);
    }
    let size: i32 = text.parse().map_err(|_| "Provided max-keys not an integer or within integer range")?;
    let size = usize::try_from(size);
    let size = size.map_err(|_| "Argument max-keys must be an integer between 0 and 2147483647")?;
    Ok(size.min(SIZE_MAX))
}

/// A parameter of the query; empty where there is none.
pub(super) fn parameter(request: &AwsRequest, name: &str) -> String {
    request.query_value(name).unwrap_or_default()
}

/// The call for all keys under the prefix.
pub(super) fn for_everything(request: AwsRequest) -> AwsRequest {
    with_paging(request, EVERYTHING)
}

/// The call for the keys behind the last one that was shown, which the engine is told by `after`: one more than the page
/// takes, so that it is known whether there is another page.
pub(super) fn for_page(request: AwsRequest, size: usize, after: &str, last: &str) -> AwsRequest {
    let last = utf8_percent_encode(last, NON_ALPHANUMERIC);
    with_paging(request, &format!("max-keys={}&{after}={last}", size + 1))
}

fn with_paging(mut request: AwsRequest, paging: &str) -> AwsRequest {
    let asks_for_page = |pair: &str| PAGING.contains(&pair.split('=').next().unwrap_or_default());
    let others = request.query.split('&').filter(|pair| !asks_for_page(pair));
    let query = std::iter::once(paging).chain(others).collect::<Vec<_>>().join("&");
    request.query = query;
    request
}

pub(super) fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

pub(super) fn common_prefix(name: &str) -> String {
    format!("<CommonPrefixes>{}</CommonPrefixes>", element("Prefix", name))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(query: &str) -> AwsRequest {
        AwsRequest { query: query.to_owned(), ..AwsRequest::unsigned("s3", Method::GET, "/home", "") }
    }

    #[test]
    fn a_page_has_a_thousand_entries_at_most() {
        let size = |query: &str| Asked::of(&request(query)).map(|asked| asked.size).ok();
        for (query, expected) in [
            ("", Some(1_000)),
            ("max-keys=", Some(1_000)),
            ("max-keys=0", Some(0)),
            ("max-keys=7", Some(7)),
            ("max-keys=1001", Some(1_000)),
            ("max-keys=-1", None),
            ("max-keys=2147483648", None),
            ("max-keys=a", None),
        ] {
            assert_eq!(size(query), expected, "{query}");
        }
    }

    #[test]
    fn everything_is_asked_for_under_the_same_prefix() {
        let everything =
            for_everything(request("list-type=2&prefix=a%2F&max-keys=1&delimiter=/&%70refix&marker=b"));
        assert_eq!(everything.query, "max-keys=2147483647&list-type=2&prefix=a%2F&%70refix");
    }

    #[test]
    fn a_page_is_asked_for_with_one_more_key() {
        let page =
            for_page(request("list-type=2&prefix=a&max-keys=2&start-after=a"), 2, "start-after", "ä/&");
        assert_eq!(page.query, "max-keys=3&start-after=%C3%A4%2F%26&list-type=2&prefix=a");
    }

    #[test]
    fn keys_with_a_common_prefix_are_one_entry() {
        let asked = Asked::of(&request("prefix=a&delimiter=/")).unwrap();
        let keys = ["a", "a/", "a/b", "ab", "ab/c", "ab/d/e"].map(|key| (key.to_owned(), ()));
        let entries = asked.entries(keys);
        let names: Vec<_> =
            entries.iter().map(|(name, element)| (name.as_str(), element.is_some())).collect();
        assert_eq!(names, [("a", true), ("a/", false), ("ab", true), ("ab/", false)]);
        for (key, last, is_behind) in
            [("a/b", "a/", false), ("a/b", "a/a", true), ("ab", "a/", true), ("ab", "ab", false)]
        {
            assert_eq!(asked.is_behind(key, last), is_behind, "{key} {last}");
        }
    }
}
