//! Answers of Lambda authorizers, kept for their time to live.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::policy::Verdict;

/// Bounds on what many tokens, and what the answers to them, may occupy: the entry that ends first makes room.
const ENTRIES_MAX: usize = 100_000;
const ANSWERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Keyed by authorizer and the values of its identity sources: shared by all routes of the stage, as on AWS.
#[derive(Debug, Default)]
pub(super) struct AuthorizerCache(Mutex<Entries>);

#[derive(Clone, Debug, Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    /// When each ends, the first one first.
    ends: BTreeSet<(i64, Key)>,
    /// Of all answers together.
    bytes: usize,
}

/// An identity may be as long as a request's headers: its digest stands for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    authorizer: Arc<str>,
    identity: [u8; 32],
}

#[derive(Clone, Debug)]
struct Entry {
    until_ms: i64,
    verdict: Arc<Verdict>,
}

/// Lengths keep `["a", "b"]` and `["a,b"]` apart.
pub(super) fn cache_key(authorizer: &str, identity: &[String]) -> Key {
    let mut digest = Sha256::new();
    for value in identity {
        digest.update(value.len().to_le_bytes());
        digest.update(value);
    }
    Key { authorizer: authorizer.into(), identity: digest.finalize().into() }
}

impl AuthorizerCache {
    /// A cache with the answers of these authorizers only.
    pub(super) fn of_those(&self, authorizers: impl Fn(&str) -> bool) -> Self {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.by_key.retain(|key, _| authorizers(&key.authorizer));
        kept.ends.retain(|(_, key)| kept.by_key.contains_key(key));
        kept.bytes = kept.by_key.values().map(|entry| entry.verdict.bytes).sum();
        Self(Mutex::new(kept))
    }

    pub(super) fn get(&self, key: &Key, now_ms: i64) -> Option<Arc<Verdict>> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.by_key.get(key).filter(|entry| now_ms < entry.until_ms);
        entry.map(|entry| Arc::clone(&entry.verdict))
    }

    pub(super) fn put(&self, key: Key, verdict: Arc<Verdict>, now_ms: i64, ttl_ms: i64) {
        if ttl_ms == 0 {
            return;
        }
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.put(key, Entry { until_ms: now_ms + ttl_ms, verdict }, now_ms);
    }
}

impl Entries {
    fn put(&mut self, key: Key, entry: Entry, now_ms: i64) {
        if let Some(until_ms) = self.remove(&key) {
            self.ends.remove(&(until_ms, key.clone()));
        }
        self.make_room(entry.verdict.bytes, now_ms);
        self.ends.insert((entry.until_ms, key.clone()));
        self.bytes += entry.verdict.bytes;
        self.by_key.insert(key, entry);
    }

    /// Until when it would have been kept.
    fn remove(&mut self, key: &Key) -> Option<i64> {
        let removed = self.by_key.remove(key)?;
        self.bytes -= removed.verdict.bytes;
        Some(removed.until_ms)
    }

    /// Drops what has ended, and the first one to end where there is no room for another of so many bytes.
    fn make_room(&mut self, bytes: usize, now_ms: i64) {
        while let Some((until_ms, _)) = self.ends.first()
            && (*until_ms <= now_ms || !self.has_room(bytes))
            && let Some((_, key)) = self.ends.pop_first()
        {
            self.remove(&key);
        }
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.ends.len() < ENTRIES_MAX && self.bytes + bytes <= ANSWERS_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::apigateway::policy::Shape;

    /// How many entries there are, in both orders.
    fn held(cache: &AuthorizerCache) -> usize {
        let entries = cache.0.lock().unwrap();
        assert_eq!(entries.by_key.len(), entries.ends.len());
        assert_eq!(entries.bytes, entries.by_key.values().map(|entry| entry.verdict.bytes).sum::<usize>());
        entries.by_key.len()
    }

    fn key(identity: &str) -> Key {
        cache_key("a", &[identity.to_owned()])
    }

    /// One of many, which takes no time to make.
    fn numbered(number: usize) -> Key {
        let mut identity = [0; 32];
        identity[..size_of::<usize>()].copy_from_slice(&number.to_le_bytes());
        Key { authorizer: "a".into(), identity }
    }

    fn verdict() -> Arc<Verdict> {
        Arc::new(Verdict::simple(true))
    }

    #[test]
    fn an_answer_lives_as_long_as_its_ttl() {
        let cache = AuthorizerCache::default();
        cache.put(key("k"), verdict(), 1_000, 500);
        assert!(cache.get(&key("k"), 1_499).is_some());
        assert!(cache.get(&key("k"), 1_500).is_none());
    }

    #[test]
    fn the_cache_never_outgrows_its_bound() {
        let cache = AuthorizerCache::default();
        let started = Instant::now();
        for n in 0..ENTRIES_MAX * 2 {
            cache.put(numbered(n), verdict(), 0, 60_000 + i64::try_from(n).unwrap());
        }
        assert_eq!(held(&cache), ENTRIES_MAX);
        assert!(cache.get(&numbered(ENTRIES_MAX - 1), 0).is_none(), "the one that ends first made room");
        assert!(cache.get(&numbered(ENTRIES_MAX), 0).is_some());
        // By looking through all for the first one it would be minutes.
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn tokens_of_many_owners_who_take_turns_are_all_kept() {
        const OWNERS: usize = 50_000;
        let cache = AuthorizerCache::default();
        for owner in 0..OWNERS {
            cache.put(numbered(owner), verdict(), i64::try_from(owner).unwrap(), 300_000);
        }
        assert!((0..OWNERS).all(|owner| cache.get(&numbered(owner), 50_000).is_some()));
    }

    #[test]
    fn the_answers_never_outgrow_their_bound() {
        let answer = format!(r#"{{"isAuthorized":true,"context":{{"a":"{}"}}}}"#, "x".repeat(1024 * 1024));
        let large = Arc::new(Verdict::parse(answer.as_bytes(), Shape::Simple).unwrap());
        let room = ANSWERS_BYTES_MAX / answer.len();
        let cache = AuthorizerCache::default();
        for n in 0..=room {
            cache.put(numbered(n), Arc::clone(&large), 0, 60_000 + i64::try_from(n).unwrap());
        }
        assert_eq!(held(&cache), room);
        assert!(cache.get(&numbered(0), 0).is_none(), "the one that ends first made room");
        assert!((1..=room).all(|n| cache.get(&numbered(n), 0).is_some()));
        // What is renewed takes its own place.
        cache.put(numbered(room), large, 0, 90_000);
        assert_eq!(held(&cache), room);
        assert_eq!(held(&cache.of_those(|authorizer| authorizer == "other")), 0);
    }

    #[test]
    fn what_has_ended_is_not_held_and_what_was_renewed_is() {
        let cache = AuthorizerCache::default();
        for identity in ["ended", "renewed"] {
            cache.put(key(identity), verdict(), 0, 500);
        }
        cache.put(key("renewed"), verdict(), 400, 500);
        cache.put(key("new"), verdict(), 500, 500);
        assert_eq!(held(&cache), 2);
        assert!(cache.get(&key("renewed"), 899).is_some());
    }

    #[test]
    fn only_the_answers_of_some_authorizers_are_taken_along() {
        let cache = AuthorizerCache::default();
        for authorizer in ["same", "changed"] {
            cache.put(cache_key(authorizer, &["x".into()]), verdict(), 0, 500);
        }
        let kept = cache.of_those(|authorizer| authorizer == "same");
        assert_eq!(held(&kept), 1);
        assert!(kept.get(&cache_key("same", &["x".into()]), 100).is_some());
        assert!(kept.get(&cache_key("changed", &["x".into()]), 100).is_none());
    }

    #[test]
    fn different_lists_of_values_have_different_keys() {
        assert_ne!(cache_key("a", &["x".into(), "y".into()]), cache_key("a", &["x\n1:y".into()]));
    }
}
