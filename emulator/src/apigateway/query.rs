//! A query string, decoded once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};

/// Values by decoded name, in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Query<'a>(BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>);

impl<'a> Query<'a> {
    pub(super) fn parse(raw: &'a str) -> Self {
        let mut values: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>> = BTreeMap::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.entry(decoded(name)).or_default().push(decoded(value));
        }
        Self(values)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values of one name, joined as payload format 2.0 joins them.
    pub(super) fn joined(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|values| values.join(","))
    }

    /// `{"a":"1,2"}`
    pub(super) fn as_joined(&self) -> Joined<'_> {
        Joined(self)
    }

    /// `{"a":"2"}`: format 1.0 keeps the last value here.
    pub(super) fn as_last(&self) -> Last<'_> {
        Last(self)
    }

    /// `{"a":["1","2"]}`
    pub(super) fn as_lists(&self) -> &(impl Serialize + use<'a>) {
        &self.0
    }
}

pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[derive(Debug)]
pub(super) struct Joined<'a>(&'a Query<'a>);

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.0.iter().map(|(name, values)| (name, values.join(","))))
    }
}

#[derive(Debug)]
pub(super) struct Last<'a>(&'a Query<'a>);

impl Serialize for Last<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.0.iter().map(|(name, values)| (name, values.last())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_joined_and_values_decoded() {
        let query = Query::parse("a=1&b=x%20y&a=2&c&d=p+q");
        let json = serde_json::to_string(&query.as_joined()).unwrap();
        assert_eq!(json, r#"{"a":"1,2","b":"x y","c":"","d":"p q"}"#);
        assert_eq!(
            serde_json::to_string(&query.as_last()).unwrap(),
            r#"{"a":"2","b":"x y","c":"","d":"p q"}"#
        );
    }
}
