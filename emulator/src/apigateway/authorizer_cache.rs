//! Answers of Lambda authorizers, kept for their time to live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::policy::Verdict;

/// Bound on what many tokens may occupy: the entry that ends first makes room.
const ENTRIES_MAX: usize = 1_000;

/// Keyed by authorizer and the values of its identity sources: shared by all routes of the stage, as on AWS.
#[derive(Debug, Default)]
pub(super) struct AuthorizerCache(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
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

impl AuthorizerCache {
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
    fn different_lists_of_values_have_different_keys() {
        assert_ne!(cache_key("a", &["x".into(), "y".into()]), cache_key("a", &["x\n1:y".into()]));
    }
}
