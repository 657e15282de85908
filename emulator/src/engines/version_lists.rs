//! Pages of lists of versions: versions and delete markers in one order. The engine has them in two, cuts the first, knows no
//! second page, and takes every marker for the latest.

use std::collections::{BTreeMap, HashSet};

use super::list_pages::{Asked, common_prefix, element, parameter};
use crate::pages::page;
use crate::wire::AwsRequest;
use crate::xml::{elements, text_of};

const VERSION: &str = "Version";
const MARKER: &str = "DeleteMarker";

/// A page of a list of versions.
#[derive(Debug)]
pub(super) struct VersionList {
    asked: Asked,
    /// The key, or the common prefix, of the last entry of the page before.
    last_key: String,
    /// Its version. Empty: all of the key were shown.
    last_version: String,
}

/// A version of an object, or a delete marker.
struct Version<'a> {
    kind: &'static str,
    id: &'a str,
    is_latest: bool,
    content: &'a str,
}

impl VersionList {
    pub(super) fn of(request: &AwsRequest) -> Result<Self, &'static str> {
        let asked = Asked::of(request)?;
        let (last_key, last_version) =
            (parameter(request, "key-marker"), parameter(request, "version-id-marker"));
        if last_key.is_empty() && !last_version.is_empty() {
            return Err("A version-id marker cannot be specified without a key marker.");
        }
        Ok(Self { asked, last_key, last_version })
    }

    /// From the list of everything.
    pub(super) fn document(&self, everything: &str) -> String {
        let keys = by_key(everything).into_iter().flat_map(|(key, versions)| {
            let behind = self.behind(&key, versions);
            behind.into_iter().map(move |version| (key.clone(), version))
        });
        let entries = self.asked.entries(keys).into_iter().map(|(name, version)| {
            let id = version.as_ref().map(|version| version.id.to_owned());
            let shown = version.map_or_else(|| common_prefix(&name), |version| version.shown());
            ((name, id), shown)
        });
        let (shown, next) = page(entries, |_| true, self.asked.size);
        let name = elements(everything, "Name").first().copied().unwrap_or_default();
        format!(
            "<ListVersionsResult><Name>{name}</Name>{}{}{}<IsTruncated>{}</IsTruncated>{}{}</ListVersionsResult>",
            self.asked.said_again(),
            element("KeyMarker", &self.last_key),
            element("VersionIdMarker", &self.last_version),
            next.is_some(),
            next.map(|(key, version)| bounds(&key, version.as_deref())).unwrap_or_default(),
            shown.concat()
        )
    }

    /// Those of a key that are behind the page before. If the last of that page is gone, those that are left of its key.
    fn behind<'a>(&self, key: &str, mut versions: Vec<Version<'a>>) -> Vec<Version<'a>> {
        if key == self.last_key && !self.last_version.is_empty() {
            let last = versions.iter().position(|version| version.id == self.last_version);
            versions.drain(..last.map_or(0, |last| last + 1));
            versions
        } else if self.asked.is_behind(key, &self.last_key) {
            versions
        } else {
            Vec::new()
        }
    }
}

impl Version<'_> {
    fn shown(&self) -> String {
        let (kind, content) = (self.kind, self.content);
        // Of an older marker.
        if self.is_latest {
            format!("<{kind}>{content}</{kind}>")
        } else {
            let content = content.replace("<IsLatest>true</IsLatest>", "<IsLatest>false</IsLatest>");
            format!("<{kind}>{content}</{kind}>")
        }
    }
}

/// Where the next page begins.
fn bounds(key: &str, version: Option<&str>) -> String {
    let version = version.map(|version| element("NextVersionIdMarker", version));
    element("NextKeyMarker", key) + &version.unwrap_or_default()
}

/// The versions of each key, the latest first. Of those that the engine has, the markers are all newer than the other
/// versions, but for one that was put while versioning was suspended.
fn by_key(everything: &str) -> BTreeMap<String, Vec<Version<'_>>> {
    let mut keys: BTreeMap<String, Vec<Version<'_>>> = BTreeMap::new();
    for kind in [MARKER, VERSION] {
        for content in elements(everything, kind) {
            let id = elements(content, "VersionId").first().copied().unwrap_or_default();
            let is_latest = content.contains("<IsLatest>true</IsLatest>");
            if let Some(key) = text_of(content, "Key") {
                keys.entry(key).or_default().push(Version { kind, id, is_latest, content });
            }
        }
    }
    for versions in keys.values_mut() {
        versions.sort_by_key(|version| !(version.kind == VERSION && version.is_latest));
        // There is one that has no name.
        let mut ids = HashSet::new();
        versions.retain(|version| ids.insert(version.id));
        for version in versions.iter_mut().skip(1) {
            version.is_latest = false;
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn list(query: &str) -> VersionList {
        let request = AwsRequest::unsigned("s3", Method::GET, "/home", "");
        VersionList::of(&AwsRequest { query: query.to_owned(), ..request }).unwrap()
    }

    fn everything() -> String {
        let version = |kind: &str, key: &str, id: &str, is_latest: bool| {
            let content = format!("<IsLatest>{is_latest}</IsLatest>{}", element("Key", key));
            format!("<{kind}>{content}{}</{kind}>", element("VersionId", id))
        };
        let all = [
            version(MARKER, "a&", "a4", true),
            version(MARKER, "a&", "a3", true),
            version(MARKER, "c", "null", true),
            version(VERSION, "a&", "a2", false),
            version(VERSION, "a&", "a1", false),
            version(VERSION, "b/1", "b2", true),
            version(VERSION, "b/1", "b1", false),
            version(VERSION, "b/2", "b3", true),
            version(VERSION, "c", "null", true),
        ];
        format!("<ListVersionsResult>{}<Name>home</Name></ListVersionsResult>", all.concat())
    }

    /// What a page shows in its order: ids with a star where they are the latest, and common prefixes.
    fn read(document: &str) -> Vec<String> {
        let entries = document.split("</IsTruncated>").nth(1).unwrap();
        let mut shown = Vec::new();
        for entry in entries.split("</").filter(|text| !text.is_empty()) {
            if entry.contains("<CommonPrefixes><Prefix>") {
                shown.push(entry.rsplit('>').next().unwrap().to_owned());
            } else if let Some((_, id)) = entry.split_once("<VersionId>") {
                shown.push(id.to_owned());
            }
        }
        let latest: Vec<&str> = [VERSION, MARKER]
            .into_iter()
            .flat_map(|kind| elements(document, kind))
            .filter(|content| content.contains("<IsLatest>true</IsLatest>"))
            .filter_map(|content| elements(content, "VersionId").first().copied())
            .collect();
        let star = |id: String| if latest.contains(&id.as_str()) { format!("{id}*") } else { id };
        shown.into_iter().map(star).collect()
    }

    fn pages(query: &str) -> Vec<String> {
        let (mut all, mut from) = (Vec::new(), String::new());
        for _ in 0..20 {
            let document = list(&format!("{query}{from}")).document(&everything());
            all.extend(read(&document));
            let Some(key) = text_of(&document, "NextKeyMarker") else { return all };
            let version = text_of(&document, "NextVersionIdMarker").unwrap_or_default();
            from = format!("&key-marker={}&version-id-marker={version}", key.replace('&', "%26"));
        }
        panic!("{query}: there is no end: {all:?}");
    }

    #[test]
    fn all_pages_together_are_the_list_in_one_order() {
        let all = ["a4*", "a3", "a2", "a1", "b2*", "b1", "b3*", "null*"];
        let rolled = ["a4*", "a3", "a2", "a1", "b/", "null*"];
        for size in 1..10 {
            assert_eq!(pages(&format!("max-keys={size}")), all, "{size}");
            assert_eq!(pages(&format!("max-keys={size}&delimiter=/")), rolled, "{size}");
        }
    }

    #[test]
    fn a_page_goes_on_though_its_marker_is_gone() {
        let from = |query: &str| read(&list(query).document(&everything()));
        assert_eq!(from("key-marker=b/1&version-id-marker=gone"), ["b2*", "b1", "b3*", "null*"]);
        assert_eq!(from("key-marker=b/1"), ["b3*", "null*"]);
        assert_eq!(from("max-keys=0"), [""; 0]);
        let request = AwsRequest::unsigned("s3", Method::GET, "/home", "");
        let alone = AwsRequest { query: "version-id-marker=a".to_owned(), ..request };
        assert!(VersionList::of(&alone).is_err());
    }
}
