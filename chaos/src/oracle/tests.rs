//! The oracle against the model of it, and its sorter against a sort in memory.

use std::time::Duration;

use loadtest::LedgerEntry;
use proptest::prelude::*;
use tempfile::TempDir;

use super::key::TaskKey;
use super::sort::{Bytes, Fact, Sorter};
use super::*;
use crate::experiment::DlqRule;
use crate::oracle::naive::tests::{
    BEGAN_AT_MS, DEFECTS, Fate, MAX_RECEIVE_COUNT, MISSED_PUSHES_PERCENT_MAX, World, fates, plant,
};
use crate::oracle::naive::{after_redrive, counterexample, predict};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair(u128, u64);

impl Fact for Pair {
    const BYTES: usize = 24;

    fn key(&self) -> TaskKey {
        TaskKey(self.0)
    }

    fn position(&self) -> u64 {
        self.1
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.0.to_le_bytes());
        bytes.extend(self.1.to_le_bytes());
    }

    fn decode(bytes: &mut Bytes<'_>) -> Self {
        Self(u128::from_le_bytes(bytes.take()), u64::from_le_bytes(bytes.take()))
    }
}

proptest! {
    #[test]
    fn what_was_spilled_comes_back_in_order_and_whole(
        keys in prop::collection::vec(0_u128..20, 0..200), buffer in 1_usize..40,
    ) {
        let dir = TempDir::new().unwrap();
        let mut sorter = Sorter::new(dir.path(), buffer);
        let mut expected: Vec<Pair> = keys.iter().zip(0..).map(|(key, position)| Pair(*key, position)).collect();
        for pair in &expected {
            sorter.push(*pair).unwrap();
        }
        expected.sort();
        let (mut sorted, mut found, mut group) = (sorter.sorted().unwrap(), Vec::new(), Vec::new());
        while let Some(key) = sorted.peek() {
            sorted.take(key, &mut group).unwrap();
            prop_assert!(!group.is_empty() && group.iter().all(|pair| pair.key() == key));
            found.extend(group.iter().copied());
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "spill files have no name");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_it() {
    let mut sorter = Sorter::new(std::path::Path::new("/nowhere/at/all"), 1);
    sorter.push(Pair(1, 1)).unwrap();
    let error = sorter.push(Pair(2, 2)).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"));
}

#[test]
fn kept_records_are_read_again_wherever_they_lie() {
    let dir = TempDir::new().unwrap();
    let mut kept = Records::new(dir.path()).unwrap();
    let records: Vec<_> = (0..50).map(bench::record_for_tests).collect();
    let places: Vec<u64> = records.iter().map(|record| kept.keep(record).unwrap()).collect();
    for (record, place) in records.iter().zip(&places).rev() {
        assert_eq!(kept.read(*place).unwrap(), *record);
    }
    let more = kept.keep(&records[0]).unwrap();
    assert_eq!(kept.read(more).unwrap(), records[0], "reading must not lose the end");
    assert!(matches!(kept.read(u64::MAX), Err(ShelfError::Missing { .. })));
}

/// The three sides of a generated run, read in an order that no side has by itself.
fn judge_streaming(world: &World, rules: &Rules, buffer: usize) -> Findings {
    let dir = TempDir::new().unwrap();
    let mut ledger = LedgerIndex::with_buffer(dir.path(), buffer);
    for (position, entry) in world.ledger.iter().enumerate().rev() {
        ledger.add(position as u64, entry, world.named_ids.get(&entry.sequence).map(String::as_str)).unwrap();
    }
    let mut table = TableIndex::with_buffer(dir.path(), buffer);
    for (position, record) in world.records.values().enumerate().collect::<Vec<_>>().into_iter().rev() {
        table.add(position as u64, record).unwrap();
    }
    let mut dead_letters = LetterIndex::with_buffer(dir.path(), buffer);
    for (position, letter) in (0..).zip(&world.dead_letters) {
        dead_letters.add(position, letter).unwrap();
    }
    let evidence = Evidence { ledger, table, dead_letters, remaining: world.remaining, at_ms: world.at_ms };
    judge(evidence, rules, world).unwrap()
}

#[test]
fn a_task_that_the_join_overlooks_is_missing_from_where_tasks_are() {
    let world = World::new(&[Fate::Succeeds; 20]);
    let sums = |is_whole: bool| {
        let dir = TempDir::new().unwrap();
        let mut ledger = LedgerIndex::with_buffer(dir.path(), 100);
        for (position, entry) in (0..).zip(&world.ledger) {
            let named = world.named_ids.get(&entry.sequence).map(String::as_str);
            ledger.add(position, entry, named).unwrap();
        }
        if !is_whole {
            ledger.facts.overlook_one();
        }
        let (table, dead_letters) = (TableIndex::new(dir.path()), LetterIndex::new(dir.path()));
        let evidence = Evidence { ledger, table, dead_letters, remaining: 0, at_ms: world.at_ms };
        let totals = judge(evidence, &bench::rules(), &world).unwrap().totals;
        (totals.acknowledged, totals.placed())
    };
    assert_eq!(sums(true), (20, 20));
    assert_eq!(sums(false), (20, 19));
}

#[test]
fn answers_that_name_one_task_are_one_task() {
    let mut world = World::new(&[Fate::Succeeds; 2]);
    let shared = world.ledger[0].outcome.clone();
    world.ledger[1].outcome = shared;
    let totals = judge_streaming(&world, &bench::rules(), 100).totals;
    assert_eq!((totals.acknowledged, totals.placed()), (1, 1));
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

impl Shelf for World {
    fn entry(&self, position: u64) -> Result<LedgerEntry, ShelfError> {
        Ok(self.ledger[index(position)].clone())
    }

    fn record(&self, position: u64) -> Result<Record, ShelfError> {
        Ok(self.records.values().nth(index(position)).unwrap().clone())
    }

    fn letter(&self, position: u64) -> Result<DeadLetter, ShelfError> {
        Ok(self.dead_letters[index(position)].clone())
    }

    fn named_id(&self, entry: &LedgerEntry) -> Option<String> {
        self.named_ids.get(&entry.sequence).cloned()
    }
}

/// Every attempt after a failed one begins at once.
fn hurry(world: &mut World) {
    for record in world.records.values_mut() {
        for line in &mut record.history {
            let (step, _) = line.rsplit_once(' ').unwrap();
            *line = format!("{step} {}", record.created_at_ms);
        }
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let ending = prop_oneof![
        Just(Ending::By(DlqRule::Poison)),
        Just(Ending::By(DlqRule::ReceiveCounts)),
        Just(Ending::By(DlqRule::Deliveries)),
        Just(Ending::By(DlqRule::OwnReceives)),
        Just(Ending::AfterRedrive),
    ];
    let windows = prop::collection::vec((999_000_u64..1_001_000, 0_u64..20_000), 0..3);
    let calm = prop::option::of(BEGAN_AT_MS..BEGAN_AT_MS + 1_000);
    let window = |(from_ms, length_ms): (u64, u64)| Window { from_ms, to_ms: from_ms + length_ms };
    let windows = windows.prop_map(move |windows| windows.into_iter().map(window).collect::<Vec<_>>());
    (ending, windows, 1_u64..3, calm).prop_map(|(dead_letters, throttled, visibility, calm_from_ms)| Rules {
        dead_letters,
        throttled,
        queue: QueueRules {
            visibility_timeout: Duration::from_secs(visibility),
            max_receive_count: MAX_RECEIVE_COUNT,
            slack: Duration::from_millis(500),
        },
        faults_end_ms: None,
        calm_from_ms,
        missed_pushes_percent_max: MISSED_PUSHES_PERCENT_MAX,
        absences: Absences::default(),
    })
}

proptest! {
    #[test]
    fn the_oracle_says_what_the_model_of_it_says(
        fates in fates(), defect in prop::option::of(0..DEFECTS.len()), rules in rules(), buffer in 1_usize..30,
        unpushed: bool, eager: bool, minutes in 0_u64..10, remaining in 0_u64..3,
    ) {
        let mut world = World::new(&fates);
        world.remaining = remaining;
        world.is_moved_back = rules.dead_letters == Ending::AfterRedrive;
        world.at_ms = BEGAN_AT_MS + minutes * 60_000;
        world.calm_from_ms = rules.calm_from_ms;
        if let Some(which) = defect {
            plant(DEFECTS[which], &mut world, &fates);
        }
        if unpushed {
            world.ledger.iter_mut().for_each(|entry| entry.pushes.clear());
        }
        if eager {
            hurry(&mut world);
        }
        let premises = world.premises(&rules.throttled, rules.queue);
        world.prediction = match rules.dead_letters {
            Ending::By(rule) => predict(rule, &premises),
            Ending::AfterRedrive => after_redrive(&premises),
        };
        let plain = world.judge();
        let story = counterexample(&plain, &world.evidence());
        let found = judge_streaming(&world, &rules, buffer);
        prop_assert_eq!(found.totals, plain.totals);
        prop_assert_eq!(&found.anomalies, &plain.anomalies);
        for anomaly in &plain.anomalies {
            prop_assert_eq!(found.count(anomaly.kind), plain.count(anomaly.kind));
        }
        let counts = found.dead_letters;
        prop_assert_eq!(counts.found, plain.dead_letters.len() as u64);
        prop_assert_eq!(counts.must, world.prediction.must.len() as u64);
        prop_assert_eq!(counts.may, world.prediction.may.len() as u64);
        prop_assert_eq!(counts.by_clock, world.prediction.by_clock);
        prop_assert_eq!(
            (counts.receives_likely, counts.receives_untold), (plain.receives_likely, plain.receives_untold)
        );
        prop_assert_eq!(found.counterexample, story);
    }
}

#[test]
fn of_one_kind_only_so_many_are_named_and_all_are_counted() {
    let fates = vec![Fate::Succeeds; 2_500];
    let mut world = World::new(&fates);
    world.records.clear();
    let found = judge_streaming(&world, &bench::rules(), 100);
    assert_eq!(found.count(AnomalyKind::Lost), 2_500);
    assert_eq!(found.anomalies.len() as u64, NAMED_MAX);
    assert_eq!(found.totals.lost, 2_500);
}

#[test]
fn what_was_moved_back_and_is_still_in_the_queue_is_not_lost() {
    // Marked as a dead letter, and none.
    let mut world = World::new(&[Fate::Poison]);
    world.dead_letters.clear();
    let mut found = |dead_letters: Ending, remaining: u64| {
        world.remaining = remaining;
        world.is_moved_back = dead_letters == Ending::AfterRedrive;
        let found = judge_streaming(&world, &Rules { dead_letters, ..bench::rules() }, 100);
        let plain = world.judge();
        assert_eq!(found.totals, plain.totals);
        let is_of_its_place =
            |anomaly: &Anomaly| matches!(anomaly.kind, AnomalyKind::Lost | AnomalyKind::Unfinished);
        let anomaly = found.anomalies.into_iter().find(is_of_its_place).unwrap();
        assert!(plain.anomalies.contains(&anomaly), "{plain:?}");
        (anomaly.kind, anomaly.detail)
    };
    let by_rule = Ending::By(DlqRule::Poison);
    let waiting = "the table says DeadLettered, and the queue holds 2 messages";
    assert_eq!(found(Ending::AfterRedrive, 2), (AnomalyKind::Unfinished, waiting.to_owned()));
    let nowhere = "the table says DeadLettered, the queue is empty, and it is no dead letter";
    assert_eq!(found(Ending::AfterRedrive, 0), (AnomalyKind::Lost, nowhere.to_owned()));
    let left_it = "the table says DeadLettered, the queue holds 1 message, and it is no dead letter";
    assert_eq!(found(by_rule, 1), (AnomalyKind::Lost, left_it.to_owned()), "it was marked");
}

#[test]
fn a_push_that_fell_while_its_owner_had_no_socket_is_not_missed() {
    let mut world = World::new(&[Fate::Succeeds; 20]);
    world.ledger.iter_mut().for_each(|entry| entry.pushes.clear());
    let ends: Vec<u64> = world.records.values().map(|record| record.updated_at_ms).collect();
    let (first, last) = (*ends.iter().min().unwrap(), *ends.iter().max().unwrap());
    let owners: Vec<String> = world.ledger.iter().map(|entry| entry.owner.clone()).collect();
    let judge = |from_ms, to_ms| {
        let absence = |owner: &String| loadtest::Absence { owner: owner.clone(), from_ms, to_ms };
        let absences = Absences::of(&owners.iter().map(absence).collect::<Vec<_>>());
        let found = judge_streaming(&world, &Rules { absences, ..bench::rules() }, 100);
        (found.totals.missed_pushes, found.totals.missed_while_away, found.count(AnomalyKind::MissedPush))
    };
    assert_eq!(judge(first, Some(last)), (0, 20, 0));
    assert_eq!(judge(first, None), (0, 20, 0), "it never came back");
    assert_eq!(judge(last + 5_000, None), (20, 0, 20), "it was there");
    assert_eq!(judge(first - 20_000, Some(first - 10_000)), (20, 0, 20), "it had been back for long");
}

/// Every client is thrown out time and again, and nothing is ever pushed.
#[test]
fn where_most_ends_fell_while_their_owner_had_no_socket_nothing_is_known_of_pushes() {
    let is_untold = |tasks: usize, away: usize| {
        let mut world = World::new(&vec![Fate::Succeeds; tasks]);
        let mut absences = Vec::new();
        for (sequence, entry) in world.ledger.iter_mut().enumerate().take(away) {
            entry.owner = format!("away-{sequence}");
            entry.pushes.clear();
            absences.push(loadtest::Absence { owner: entry.owner.clone(), from_ms: 0, to_ms: None });
        }
        for (record, entry) in world.records.values_mut().zip(&world.ledger) {
            record.owner.clone_from(&entry.owner);
        }
        let rules = Rules { absences: Absences::of(&absences), ..bench::rules() };
        let totals = judge_streaming(&world, &rules, 100).totals;
        assert_eq!((totals.ended, totals.missed_while_away), (tasks as u64, away as u64));
        assert_eq!(totals.missed_pushes, 0);
        totals.is_pushing_untold()
    };
    assert!(is_untold(20, 20) && is_untold(20, 11));
    assert!(!is_untold(20, 10) && !is_untold(20, 0) && !is_untold(0, 0));
}

#[test]
fn what_the_auditor_can_have_added_to_the_count_proves_no_receives() {
    use Known::{Enough, Likely, TooFew, Untold};
    // No worker saw it, and it was looked at once by the harness.
    let receives = |counted: u64, seen: u64, after_s: u64, rules: &Rules| {
        let mut world = World::new(&[Fate::Starved]);
        world.dead_letters[0].receive_count = counted + 1;
        world.records.values_mut().for_each(|record| record.deliveries = seen);
        world.at_ms = BEGAN_AT_MS + after_s * 1_000;
        let found = judge_streaming(&world, rules, 100);
        match (found.count(AnomalyKind::ReceiveCount), found.dead_letters) {
            (1, _) => TooFew,
            (_, DeadLetterCounts { receives_likely: 1, .. }) => Likely,
            (_, DeadLetterCounts { receives_untold: 1, .. }) => Untold,
            _ => Enough,
        }
    };
    let rules = bench::rules();
    assert_eq!(receives(4, 0, 30, &rules), TooFew, "whoever has looked");
    assert_eq!(receives(5, 0, 30, &rules), Likely, "one audit can have met it");
    assert_eq!(receives(6, 0, 30, &rules), Enough, "one audit is all that there can have been");
    assert_eq!(receives(6, 0, 200, &rules), Untold, "of six receives four can be audits");
    assert_eq!(receives(12, 0, 600, &rules), Untold, "two receives and ten audits");
    assert_eq!(receives(12, 5, 600, &rules), Enough, "a worker had its last receive");
    assert_eq!(receives(12, 4, 600, &rules), Likely, "a worker had all but the last");
    assert_eq!(receives(12, 3, 600, &rules), Untold, "two receives are nowhere");
    let throttled = Rules {
        dead_letters: Ending::By(DlqRule::ReceiveCounts),
        throttled: vec![
            Window { from_ms: BEGAN_AT_MS - 1_000, to_ms: BEGAN_AT_MS + 5_000 },
            Window { from_ms: BEGAN_AT_MS - 1_000, to_ms: BEGAN_AT_MS + 60_000 },
        ],
        ..bench::rules()
    };
    assert_eq!(receives(12, 0, 600, &throttled), Enough, "ten visibility timeouts have passed");
}

/// An hour of looks hides the receive that is lacking of each, and not that it is lacking of most.
#[test]
fn a_service_that_buries_one_receive_too_early_is_found_however_long_the_run() {
    // How many are found of so many dead letters, of which a worker saw the last receive of the first few.
    let found = |letters: usize, seen_to_the_end: usize, calm_from_ms: Option<u64>| {
        let mut world = World::new(&vec![Fate::Poison; letters]);
        world.at_ms = BEGAN_AT_MS + 3_600_000;
        world.calm_from_ms = calm_from_ms;
        for (position, record) in world.records.values_mut().enumerate() {
            record.deliveries = MAX_RECEIVE_COUNT - u64::from(position >= seen_to_the_end);
        }
        let found = judge_streaming(&world, &Rules { calm_from_ms, ..bench::rules() }, 7);
        assert_eq!(found.anomalies, world.judge().anomalies);
        assert_eq!(found.anomalies.len() as u64, found.count(AnomalyKind::ReceiveCount));
        found.anomalies.len()
    };
    assert_eq!(found(20, 0, Some(0)), 20);
    assert_eq!(found(40, 19, Some(0)), 21);
    assert_eq!(found(40, 20, Some(0)), 0, "a worker may die of a last receive");
    assert_eq!(found(19, 0, Some(0)), 0, "a few say nothing");
    assert_eq!(found(20, 0, Some(BEGAN_AT_MS + 1)), 0, "the first was asked for before it was calm");
    assert_eq!(found(200, 0, None), 0, "a fault may have been in the way");
}

/// Of a dead letter's own receives.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    TooFew,
    Enough,
    Likely,
    Untold,
}
