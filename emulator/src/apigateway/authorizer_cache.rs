//! Answers of Lambda authorizers, kept for their time to live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::policy::Verdict;

/// Bound on what many tokens may occupy: the entry that ends first makes room.
const ENTRIES_MAX: usize = 1_000;

/// Keyed by authorizer and the values of its identity sources: shared by all routes of the stage, as on AWS.
#[derive(Debug, Default)]
pub(super) struct AuthorizerCache(Mutex<HashMap<String, Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    until_ms: i64,
    verdict: Arc<Verdict>,
}

/// Lengths keep `["a", "b"]` and `["a,b"]` apart.
pub(super) fn cache_key(authorizer: &str, identity: &[String]) -> String {
    let mut key = authorizer.to_owned();
    for value in identity {
        key.push_str(&format!("\n{}:{value}", value.len()));
    }
    key
}

/// The first line of a key.
fn authorizer_of(key: &str) -> &str {
    key.split_once('\n').map_or(key, |(authorizer, _)| authorizer)
}

impl AuthorizerCache {
    /// A cache with the answers of these authorizers only.
    pub(super) fn of_those(&self, authorizers: impl Fn(&str) -> bool) -> Self {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = entries.iter().filter(|(key, _)| authorizers(authorizer_of(key)));
        Self(Mutex::new(kept.map(|(key, entry)| (key.clone(), entry.clone())).collect()))
    }

    pub(super) fn get(&self, key: &str, now_ms: i64) -> Option<Arc<Verdict>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|entry| now_ms < entry.until_ms).map(|entry| Arc::clone(&entry.verdict))
    }

    pub(super) fn put(&self, key: String, verdict: Arc<Verdict>, now_ms: i64, ttl_ms: i64) {
        if ttl_ms == 0 {
            return;
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(&key) {
            make_room(&mut entries, now_ms);
        }
        entries.insert(key, Entry { until_ms: now_ms + ttl_ms, verdict });
    }
}

fn make_room(entries: &mut HashMap<String, Entry>, now_ms: i64) {
    entries.retain(|_, entry| now_ms < entry.until_ms);
    if entries.len() < ENTRIES_MAX {
        return;
    }
    let first = entries.iter().min_by_key(|(_, entry)| entry.until_ms).map(|(key, _)| key.clone());
    if let Some(key) = first {
        entries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Arc<Verdict> {
        Arc::new(Verdict::simple(true))
    }

    #[test]
    fn an_answer_lives_as_long_as_its_ttl() {
        let cache = AuthorizerCache::default();
        cache.put("k".into(), verdict(), 1_000, 500);
        assert!(cache.get("k", 1_499).is_some());
        assert!(cache.get("k", 1_500).is_none());
    }

    #[test]
    fn the_cache_never_outgrows_its_bound() {
        let cache = AuthorizerCache::default();
        for n in 0..(ENTRIES_MAX + 10) {
            cache.put(n.to_string(), verdict(), i64::try_from(n).unwrap(), 60_000);
        }
        assert_eq!(cache.0.lock().unwrap().len(), ENTRIES_MAX);
        assert!(cache.get("0", 2_000).is_none(), "the one that ends first made room");
        assert!(cache.get("1009", 2_000).is_some());
    }

    #[test]
    fn only_the_answers_of_some_authorizers_are_taken_along() {
        let cache = AuthorizerCache::default();
        for authorizer in ["same", "changed"] {
            cache.put(cache_key(authorizer, &["x".into()]), verdict(), 0, 500);
        }
        let kept = cache.of_those(|authorizer| authorizer == "same");
        assert!(kept.get(&cache_key("same", &["x".into()]), 100).is_some());
        assert!(kept.get(&cache_key("changed", &["x".into()]), 100).is_none());
    }

    #[test]
    fn different_lists_of_values_have_different_keys() {
        assert_ne!(cache_key("a", &["x".into(), "y".into()]), cache_key("a", &["x\n1:y".into()]));
    }
}
