//! The state machine of a queue against a naive model that keeps a list and looks at all of it every time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use uuid::Uuid;

use super::message::Content;
use super::queue::{Counts, Key, Parcel, Queue, ReceiveRules, Received, VisibilityError};
use super::trail::Trail;
use crate::adversary::Adversary;

const RECEIVES_MAX: u32 = 3;
const RETENTION_MS: i64 = 60_000;

#[derive(Clone, Debug)]
enum Step {
    Send {
        delay_ms: i64,
    },
    Receive {
        messages_max: usize,
        visibility_ms: i64,
        redrive: bool,
    },
    /// Of one of the handles given out so far, superseded ones included.
    Delete {
        pick: usize,
    },
    Change {
        pick: usize,
        timeout_ms: i64,
    },
    Take {
        messages_max: usize,
    },
    Advance {
        by_ms: i64,
    },
    Expire,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let times = prop_oneof![Just(0), Just(1), 1..5_000_i64];
    prop_oneof![
        6 => prop_oneof![Just(0), 1..3_000_i64].prop_map(|delay_ms| Step::Send { delay_ms }),
        8 => (1..=10_usize, times.clone(), prop::bool::weighted(0.7)).prop_map(
            |(messages_max, visibility_ms, redrive)| Step::Receive { messages_max, visibility_ms, redrive }
        ),
        5 => any::<usize>().prop_map(|pick| Step::Delete { pick }),
        3 => (any::<usize>(), times).prop_map(|(pick, timeout_ms)| Step::Change { pick, timeout_ms }),
        1 => (1..5_usize).prop_map(|messages_max| Step::Take { messages_max }),
        6 => (1..4_000_i64).prop_map(|by_ms| Step::Advance { by_ms }),
        1 => Just(Step::Expire),
        1 => prop::bool::weighted(0.2).prop_map(|purge| if purge { Step::Purge } else { Step::Expire }),
    ]
}

/// One message as the model sees it.
#[derive(Clone, Debug)]
struct Known {
    sent_ms: i64,
    visible_ms: i64,
    receives: u32,
    received: bool,
}

#[derive(Default)]
struct Model {
    now_ms: i64,
    alive: BTreeMap<Uuid, Known>,
    keys: BTreeMap<Key, Uuid>,
    handles: Vec<(Key, u32)>,
    dead: HashSet<Uuid>,
    sent: u128,
}

pub(super) fn content() -> Arc<Content> {
    Arc::new(Content {
        body: "body".to_owned(),
        body_md5: String::new(),
        attributes: BTreeMap::new(),
        attributes_md5: String::new(),
        trace_header: None,
        group_id: None,
        sender_id: String::new(),
    })
}

impl Model {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for known in self.alive.values() {
            match (known.visible_ms <= self.now_ms, known.received) {
                (true, _) => counts.visible += 1,
                (false, true) => counts.in_flight += 1,
                (false, false) => counts.delayed += 1,
            }
        }
        counts
    }

    fn visible(&self, id: &Uuid) -> bool {
        self.alive.get(id).is_some_and(|known| known.visible_ms <= self.now_ms)
    }

    fn send(&mut self, queue: &mut Queue, delay_ms: i64) {
        self.sent += 1;
        let id = Uuid::from_u128(self.sent);
        queue.put(self.now_ms, Parcel::new(id, content(), self.now_ms), delay_ms);
        let known =
            Known { sent_ms: self.now_ms, visible_ms: self.now_ms + delay_ms, receives: 0, received: false };
        self.alive.insert(id, known);
    }

    fn receive(&mut self, queue: &mut Queue, rules: ReceiveRules) {
        let visible_before = self.counts().visible;
        let outcome = queue.receive(self.now_ms, rules);
        assert!(outcome.received.len() <= rules.messages_max);
        for letter in &outcome.dead_letters {
            assert!(self.visible(&letter.id), "a message that is not visible was given up");
            let known = self.alive.remove(&letter.id).unwrap();
            assert_eq!((known.receives, letter.receive_count), (RECEIVES_MAX, RECEIVES_MAX));
            assert_eq!(letter.sent_ms, known.sent_ms);
            assert!(self.dead.insert(letter.id), "a message was given up twice");
        }
        let mut once = HashSet::new();
        for received in &outcome.received {
            assert!(once.insert(received.id), "a message came twice in one receive");
            assert!(self.visible(&received.id), "an invisible message was received");
            let known = self.alive.get_mut(&received.id).unwrap();
            known.receives += 1;
            known.received = true;
            assert_eq!(received.receive_count, known.receives);
            assert!(rules.receives_max.is_none_or(|max| known.receives <= max), "received too often");
        }
        for received in &outcome.received {
            let known = self.alive.get_mut(&received.id).unwrap();
            known.visible_ms = self.now_ms + rules.visibility_ms;
            self.keys.insert(received.key, received.id);
            self.handles.push((received.key, received.receive_count));
        }
        let taken = outcome.received.len() + outcome.dead_letters.len();
        let full = outcome.received.len() == rules.messages_max;
        assert!(full || taken == visible_before, "a visible message was passed over");
    }

    fn delete(&mut self, queue: &mut Queue, pick: usize) {
        let Some(&(key, receive_count)) = self.handles.get(pick % self.handles.len().max(1)) else { return };
        let id = self.keys[&key];
        let latest = self.alive.get(&id).is_some_and(|known| known.receives == receive_count);
        assert_eq!(queue.delete(key, receive_count), latest);
        if latest {
            self.alive.remove(&id);
        }
    }

    fn change(&mut self, queue: &mut Queue, pick: usize, timeout_ms: i64) {
        let Some(&(key, _)) = self.handles.get(pick % self.handles.len().max(1)) else { return };
        let changed = queue.change_visibility(self.now_ms, key, timeout_ms);
        match self.alive.get_mut(&self.keys[&key]) {
            None => assert_eq!(changed, Err(VisibilityError::Gone)),
            Some(known) => {
                assert_eq!(changed, Ok(()));
                known.visible_ms = self.now_ms + timeout_ms;
            }
        }
    }

    fn take(&mut self, queue: &mut Queue, messages_max: usize) {
        let expected = self.counts().visible.min(messages_max);
        let taken = queue.take(self.now_ms, messages_max, usize::MAX);
        assert_eq!(taken.len(), expected);
        queue.departed(&taken);
        for parcel in taken {
            assert!(self.visible(&parcel.id));
            self.alive.remove(&parcel.id);
        }
    }

    fn apply(&mut self, queue: &mut Queue, step: &Step) {
        match *step {
            Step::Send { delay_ms } => self.send(queue, delay_ms),
            Step::Receive { messages_max, visibility_ms, redrive } => {
                let receives_max = redrive.then_some(RECEIVES_MAX);
                // Without a policy counts pass the limit; the model then has nothing to say about later redrives.
                let receives_max =
                    receives_max.filter(|max| self.alive.values().all(|one| one.receives <= *max));
                self.receive(queue, ReceiveRules { messages_max, visibility_ms, receives_max });
            }
            Step::Delete { pick } => self.delete(queue, pick),
            Step::Change { pick, timeout_ms } => self.change(queue, pick, timeout_ms),
            Step::Take { messages_max } => self.take(queue, messages_max),
            Step::Advance { by_ms } => self.now_ms += by_ms,
            Step::Expire => {
                let before = self.alive.len();
                let now_ms = self.now_ms;
                self.alive.retain(|_, known| known.sent_ms + RETENTION_MS > now_ms);
                assert_eq!(queue.expire(now_ms, RETENTION_MS), before - self.alive.len());
            }
            Step::Purge => {
                drop(queue.purge());
                self.alive.clear();
            }
        }
    }
}

proptest! {
    #[test]
    fn a_queue_does_what_a_naive_list_would(steps in prop::collection::vec(step(), 1..250)) {
        let (mut queue, mut model) = (Queue::default(), Model::default());
        for step in &steps {
            model.apply(&mut queue, step);
            prop_assert_eq!(queue.counts(model.now_ms), model.counts());
        }
        // Whatever happened, nothing is lost: in the end every live message can be received.
        model.now_ms += 100_000;
        let rules = ReceiveRules { messages_max: usize::MAX, visibility_ms: 1_000, receives_max: None };
        let received: HashSet<Uuid> = queue.receive(model.now_ms, rules).received.iter().map(|one| one.id).collect();
        prop_assert_eq!(received, model.alive.keys().copied().collect::<HashSet<_>>());
    }
}

#[test]
fn untouched_messages_come_out_in_the_order_in_which_they_went_in() {
    let mut queue = Queue::default();
    for n in 0..25 {
        queue.put(n, Parcel::new(Uuid::from_u128(n.unsigned_abs().into()), content(), n), 0);
    }
    let rules = ReceiveRules { messages_max: 25, visibility_ms: 1_000, receives_max: None };
    let ids = queue.receive(100, rules).received.into_iter().map(|one| one.id.as_u128());
    assert!(ids.eq(0..25));
}

#[test]
fn a_message_that_keeps_failing_does_not_set_the_age_of_the_oldest() {
    let mut queue = Queue::default();
    queue.put(0, Parcel::new(Uuid::from_u128(1), content(), 0), 0);
    let rules = ReceiveRules { messages_max: 1, visibility_ms: 0, receives_max: None };
    for now_ms in 0..4 {
        queue.receive(now_ms, rules);
    }
    assert_eq!(queue.oldest_age_ms(1_000), 1_000, "it is the only one");
    queue.put(600, Parcel::new(Uuid::from_u128(2), content(), 600), 0);
    assert_eq!(queue.oldest_age_ms(1_000), 400);
}

#[test]
fn visibility_cannot_be_stretched_beyond_12_hours_from_the_receive() {
    let mut queue = Queue::default();
    queue.put(0, Parcel::new(Uuid::from_u128(1), content(), 0), 0);
    let rules = ReceiveRules { messages_max: 1, visibility_ms: 30_000, receives_max: None };
    let key = queue.receive(0, rules).received[0].key;
    assert_eq!(queue.change_visibility(1_000, key, 43_200_000), Err(VisibilityError::BeyondLimit));
    assert_eq!(queue.change_visibility(1_000, key, 43_199_000), Ok(()));
}

#[test]
fn no_more_than_120000_messages_are_in_flight() {
    let mut queue = Queue::default();
    for n in 0..120_001_u128 {
        queue.put(0, Parcel::new(Uuid::from_u128(n), content(), 0), 0);
    }
    let rules = ReceiveRules { messages_max: usize::MAX, visibility_ms: 30_000, receives_max: None };
    assert_eq!(queue.receive(0, rules).received.len(), 120_000);
    let outcome = queue.receive(0, rules);
    assert!(outcome.over_limit && outcome.received.is_empty());
    assert_eq!(queue.counts(0).visible, 1);
}

/// Receives ten and deletes them, a hundred times. The fastest of the hundred is the one that nothing else disturbed.
fn fastest_receive_and_deletes(queue: &mut Queue) -> Duration {
    let rules = ReceiveRules { messages_max: 10, visibility_ms: 30_000, receives_max: None };
    let times = (0..100).map(|_| {
        let started = Instant::now();
        let received = queue.receive(0, rules).received;
        assert_eq!(received.len(), 10);
        assert!(received.iter().all(|one| queue.delete(one.key, one.receive_count)));
        started.elapsed()
    });
    times.min().unwrap()
}

#[test]
fn a_backlog_slows_no_receive_down_and_leaves_nothing_behind() {
    const SMALL: usize = 1_000;
    const LARGE: usize = 300_000;
    let content = content();
    let [mut small, mut large] = [SMALL, LARGE].map(|messages| {
        let mut queue = Queue::default();
        for _ in 0..messages {
            queue.put(0, Parcel::new(Uuid::nil(), Arc::clone(&content), 0), 0);
        }
        queue
    });
    let alone = fastest_receive_and_deletes(&mut small);
    let behind_a_backlog = fastest_receive_and_deletes(&mut large);
    // A scan of the backlog would take hundreds of times as long; a deeper tree takes about twice.
    assert!(behind_a_backlog < alone * 20, "{behind_a_backlog:?} beside {alone:?}");
    assert!(small.holds_nothing(), "what is deleted is freed");
    assert_eq!(large.counts(0).visible, LARGE - SMALL);
    let purged = large.purge();
    assert_eq!(purged.messages(), LARGE - SMALL);
    assert!(large.holds_nothing(), "what is purged comes out");
}

/// What a consumer sees of a queue that has an adversary.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    order: Vec<Uuid>,
    copies: usize,
    /// Messages that came once more after they had been deleted.
    late: usize,
    overtaken: usize,
}

/// Puts messages in and consumes until nothing is left. Every other message is left alone at its first delivery and
/// comes back by its timeout.
fn consume(adversary: Adversary, messages: u128, receives_max: Option<u32>) -> Seen {
    const VISIBILITY_MS: i64 = 2_000;
    let mut queue = Queue::new(adversary, Trail::default());
    for n in 0..messages {
        queue.put(0, Parcel::new(Uuid::from_u128(n), content(), 0), 0);
    }
    let rules = ReceiveRules { messages_max: 10, visibility_ms: VISIBILITY_MS, receives_max };
    let (mut seen, mut deleted, mut now_ms) = (Seen::default(), BTreeMap::<Uuid, usize>::new(), 0);
    while queue.counts(now_ms) != Counts::default() {
        let outcome = queue.receive(now_ms, rules);
        assert!(outcome.dead_letters.is_empty(), "no act gives a message up");
        for received in &outcome.received {
            assert!(receives_max.is_none_or(|max| received.receive_count <= max), "received too often");
            if let Some(again) = deleted.get_mut(&received.id) {
                *again += 1;
            }
            seen.copies += usize::from(received.is_copy);
            seen.overtaken += usize::from(seen.order.last().is_some_and(|last| *last > received.id));
            seen.order.push(received.id);
        }
        let left_alone =
            |one: &&Received| one.id.as_u128() % 2 == 1 && one.receive_count == 1 && !one.is_copy;
        for received in outcome.received.iter().filter(|one| !left_alone(one)) {
            queue.delete(received.key, received.receive_count);
            deleted.entry(received.id).or_default();
        }
        now_ms += if outcome.received.is_empty() { VISIBILITY_MS } else { 100 };
        assert!(now_ms < 10_000_000, "the queue never became empty");
    }
    assert_eq!(deleted.len() as u128, messages, "every message was delivered and deleted");
    seen.late = deleted.values().filter(|again| **again > 0).count();
    assert!(deleted.values().all(|again| *again <= 1), "a deleted message came more than once");
    seen
}

#[test]
fn an_adversary_repeats_reorders_and_deletes_late_and_loses_nothing() {
    for seed in 0..20 {
        let seen = consume(Adversary::from_seed(Some(seed)), 2_000, None);
        assert!(seen.copies > 0 && seen.late > 0 && seen.overtaken > 0, "seed {seed}: {seen:?}");
    }
}

#[test]
fn an_adversary_never_exceeds_the_limit_of_receives() {
    for seed in 0..20 {
        consume(Adversary::from_seed(Some(seed)), 2_000, Some(2));
    }
}

#[test]
fn the_same_seed_gives_the_same_deliveries_and_none_gives_each_once_per_timeout() {
    let run = |seed| consume(Adversary::from_seed(seed), 500, None);
    assert_eq!(run(Some(5)), run(Some(5)));
    assert_ne!(run(Some(5)).order, run(Some(6)).order);
    let calm = run(None);
    assert_eq!((calm.copies, calm.late, calm.order.len()), (0, 0, 750));
}
