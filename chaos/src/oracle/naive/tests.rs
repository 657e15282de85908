//! The model against generated runs: a healthy one raises no alarm, and every planted defect is found and named.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use loadtest::{Abuse, Expectation, LedgerEntry, Outcome, Probe, Push, TaskKind, TaskStatus};
use proptest::prelude::*;
use serde_json::json;

use super::{Evidence, Findings, Prediction, Premises, after_redrive, counterexample, judge, predict};
use crate::experiment::DlqRule;
use crate::oracle::{AnomalyKind, DeadLetter, QueueRules, Record, Window};

pub(in crate::oracle) const MAX_RECEIVE_COUNT: u64 = 5;
const OWNERS: u64 = 3;
/// When the first request of a generated run is sent, and when the run is judged.
pub(in crate::oracle) const BEGAN_AT_MS: u64 = 1_000_000;
const JUDGED_AT_MS: u64 = 2_000_000;
/// Between two steps of a history, so that a retry has waited.
const STEP_MS: u64 = 1_000;
pub(in crate::oracle) const MISSED_PUSHES_PERCENT_MAX: f64 = 1.0;

/// What becomes of one request in a generated run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::oracle) enum Fate {
    Succeeds,
    /// After a failed attempt, or a lease that ran out.
    SucceedsLater,
    Poison,
    /// Acknowledged while the worker was throttled, and never run.
    Starved,
    Refused,
    UnknownAndThere,
    UnknownAndNot,
    Unsent,
}

#[derive(Clone, Debug)]
pub(in crate::oracle) struct World {
    pub(in crate::oracle) ledger: Vec<LedgerEntry>,
    pub(in crate::oracle) named_ids: HashMap<u64, String>,
    pub(in crate::oracle) records: BTreeMap<String, Record>,
    pub(in crate::oracle) dead_letters: Vec<DeadLetter>,
    pub(in crate::oracle) remaining: u64,
    /// The dead letters were moved back.
    pub(in crate::oracle) is_moved_back: bool,
    pub(in crate::oracle) prediction: Prediction,
    /// When it is judged.
    pub(in crate::oracle) at_ms: u64,
    /// From then on no fault keeps a receive from the workers.
    pub(in crate::oracle) calm_from_ms: Option<u64>,
}

impl World {
    pub(in crate::oracle) fn new(fates: &[Fate]) -> Self {
        let mut world = Self {
            ledger: Vec::new(),
            named_ids: HashMap::new(),
            records: BTreeMap::new(),
            dead_letters: Vec::new(),
            remaining: 0,
            is_moved_back: false,
            prediction: Prediction::default(),
            at_ms: JUDGED_AT_MS,
            calm_from_ms: None,
        };
        for (sequence, fate) in (0..).zip(fates) {
            world.add(sequence, *fate);
        }
        world
    }

    fn add(&mut self, sequence: u64, fate: Fate) {
        let mut entry = entry(sequence, fate);
        let id = task_id(sequence);
        self.named_ids.insert(sequence, id.clone());
        if let Some(record) = record(&entry, &id, fate) {
            entry.pushes.push(Push {
                at_ms: record.updated_at_ms,
                version: record.version,
                status: record.status,
            });
            if matches!(fate, Fate::Poison | Fate::Starved) {
                self.dead_letters.push(dead_letter(&record));
                self.prediction.must.insert(id.clone());
                self.prediction.may.insert(id.clone());
            }
            self.records.insert(id, record);
        }
        self.ledger.push(entry);
    }

    pub(in crate::oracle) fn judge(&self) -> Findings {
        judge(&self.evidence())
    }

    pub(in crate::oracle) fn evidence(&self) -> Evidence<'_> {
        Evidence {
            ledger: &self.ledger,
            named_ids: &self.named_ids,
            records: &self.records,
            dead_letters: &self.dead_letters,
            remaining: self.remaining,
            is_moved_back: self.is_moved_back,
            prediction: &self.prediction,
            max_receive_count: MAX_RECEIVE_COUNT,
            calm_from_ms: self.calm_from_ms,
            at_ms: self.at_ms,
            missed_pushes_percent_max: MISSED_PUSHES_PERCENT_MAX,
        }
    }

    pub(in crate::oracle) fn premises<'a>(
        &'a self,
        throttled: &'a [Window],
        queue: QueueRules,
    ) -> Premises<'a> {
        Premises {
            ledger: &self.ledger,
            named_ids: &self.named_ids,
            records: &self.records,
            dead_letters: &self.dead_letters,
            throttled,
            queue,
        }
    }

    /// The task of the first request with this fate.
    fn first(&mut self, fates: &[Fate], fate: Fate) -> (usize, String) {
        let index = fates.iter().position(|found| *found == fate).unwrap();
        (index, task_id(index as u64))
    }
}

fn task_id(sequence: u64) -> String {
    format!("0193e0a4-7c1e-5b6f-8a9d-{sequence:012}")
}

fn entry(sequence: u64, fate: Fate) -> LedgerEntry {
    let at_ms = BEGAN_AT_MS + sequence * 25;
    let outcome = match fate {
        Fate::Refused => {
            Outcome::Refused { status: 503, problem_type: Some("urn:task:problem:queue-unavailable".into()) }
        }
        Fate::UnknownAndThere | Fate::UnknownAndNot => Outcome::Unknown { reason: "timeout".into() },
        Fate::Unsent => Outcome::Unsent,
        _ => Outcome::Acknowledged { task_id: task_id(sequence) },
    };
    let poison = fate == Fate::Poison;
    LedgerEntry {
        sequence,
        owner: format!("run-{}", sequence % OWNERS),
        idempotency_key: format!("key-{sequence}"),
        kind: if poison { TaskKind::Poison } else { TaskKind::Digest },
        expectation: if poison { Expectation::DeadLetters } else { Expectation::Succeeds },
        phase: "before".into(),
        intended_at_ms: at_ms,
        sent_at_ms: (fate != Fate::Unsent).then_some(at_ms),
        answered_at_ms: (fate != Fate::Unsent).then_some(at_ms + 5),
        outcome,
        sends: u32::from(fate != Fate::Unsent),
        duplicate: None,
        probes: Vec::new(),
        pushes: Vec::new(),
        final_state: None,
        result_ok: None,
    }
}

fn record(entry: &LedgerEntry, id: &str, fate: Fate) -> Option<Record> {
    use TaskStatus::{DeadLettered, Queued, Running, Succeeded};
    let (steps, deliveries): (&[TaskStatus], u64) = match fate {
        Fate::Succeeds | Fate::UnknownAndThere => (&[Queued, Running, Succeeded], 1),
        Fate::SucceedsLater => (&[Queued, Running, Queued, Running, Running, Succeeded], 3),
        Fate::Poison => (&[Queued, Running, DeadLettered], 1),
        Fate::Starved => (&[Queued], 0),
        Fate::Refused | Fate::UnknownAndNot | Fate::Unsent => return None,
    };
    let history: Vec<String> =
        (1..).zip(steps).map(|(version, status)| step(version, *status, entry)).collect();
    let status = *steps.last().unwrap();
    Some(Record {
        task_id: id.to_owned(),
        owner: entry.owner.clone(),
        kind: "digest".into(),
        payload: json!({"text": id}),
        status,
        version: steps.len() as u64,
        attempts: steps.iter().filter(|status| **status == Running).count() as u64,
        deliveries,
        completions: u64::from(status == Succeeded),
        created_at_ms: entry.intended_at_ms,
        updated_at_ms: entry.intended_at_ms + steps.len() as u64 * STEP_MS,
        request_hash: format!("hash-{id}"),
        history,
    })
}

fn step(version: u64, status: TaskStatus, entry: &LedgerEntry) -> String {
    let status = serde_json::to_value(status).unwrap();
    format!("{version} {} {}", status.as_str().unwrap(), entry.intended_at_ms + version * STEP_MS)
}

fn dead_letter(record: &Record) -> DeadLetter {
    let body = json!({
        "schema": 1, "task_id": record.task_id, "owner": record.owner, "kind": record.kind, "payload": record.payload,
        "created_at_ms": record.created_at_ms, "request_hash": record.request_hash,
    });
    let message_id = format!("message-{}", record.task_id);
    // The auditor has looked, and so has the harness.
    DeadLetter { message_id, receive_count: MAX_RECEIVE_COUNT + 2, own_receives: 1, body: body.to_string() }
}

pub(in crate::oracle) fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        8 => Just(Fate::Succeeds),
        2 => Just(Fate::SucceedsLater),
        2 => Just(Fate::Poison),
        2 => Just(Fate::Starved),
        1 => Just(Fate::Refused),
        1 => Just(Fate::UnknownAndThere),
        1 => Just(Fate::UnknownAndNot),
        1 => Just(Fate::Unsent),
    ];
    // As many of each as a defect is planted in, wherever they fall.
    prop::collection::vec(fate, 0..60).prop_flat_map(|mut fates| {
        fates.extend([Fate::Succeeds, Fate::Succeeds, Fate::SucceedsLater]);
        fates.extend([Fate::Poison, Fate::Starved, Fate::Refused]);
        Just(fates).prop_shuffle()
    })
}

/// A defect of a service, planted in a healthy run, and the anomaly that must name it.
#[derive(Clone, Copy, Debug)]
pub(in crate::oracle) enum Defect {
    DropsTask,
    DropsBeforeRecord,
    MarksAndDeletes,
    CompletesTwice,
    CountsTwiceInHistory,
    AppliesRefused,
    InventsTask,
    SwallowsPoison,
    LosesDeadLetter,
    BuriesInnocent,
    AltersBody,
    BuriesTwice,
    BuriesEarly,
    DeliversTooOften,
    Resurrects,
    SkipsVersion,
    SucceedsWithoutEffect,
    WrongResult,
    NeverEnds,
    LosesOnRedrive,
    AcceptsSecondBody,
    GivesOneTaskToTwo,
    FilesUnderAnother,
    PushesAnotherStatus,
}

pub(in crate::oracle) const DEFECTS: [Defect; 24] = [
    Defect::DropsTask,
    Defect::DropsBeforeRecord,
    Defect::MarksAndDeletes,
    Defect::CompletesTwice,
    Defect::CountsTwiceInHistory,
    Defect::AppliesRefused,
    Defect::InventsTask,
    Defect::SwallowsPoison,
    Defect::LosesDeadLetter,
    Defect::BuriesInnocent,
    Defect::AltersBody,
    Defect::BuriesTwice,
    Defect::BuriesEarly,
    Defect::DeliversTooOften,
    Defect::Resurrects,
    Defect::SkipsVersion,
    Defect::SucceedsWithoutEffect,
    Defect::WrongResult,
    Defect::NeverEnds,
    Defect::LosesOnRedrive,
    Defect::AcceptsSecondBody,
    Defect::GivesOneTaskToTwo,
    Defect::FilesUnderAnother,
    Defect::PushesAnotherStatus,
];

/// Plants the defect; answers whom it hits, and as what it must be found.
pub(in crate::oracle) fn plant(defect: Defect, world: &mut World, fates: &[Fate]) -> (String, AnomalyKind) {
    let (index, good) = world.first(fates, Fate::Succeeds);
    let (poison_index, poison) = world.first(fates, Fate::Poison);
    let (_, later) = world.first(fates, Fate::SucceedsLater);
    let (refused_index, refused) = world.first(fates, Fate::Refused);
    let queued = |world: &World| record(&world.ledger[index], &good, Fate::Starved).unwrap();
    match defect {
        Defect::DropsTask => {
            world.records.insert(good.clone(), queued(world));
            (good, AnomalyKind::Lost)
        }
        Defect::DropsBeforeRecord => {
            world.records.remove(&good);
            (good, AnomalyKind::Lost)
        }
        Defect::MarksAndDeletes => {
            world.records.insert(good.clone(), record(&world.ledger[index], &good, Fate::Poison).unwrap());
            (good, AnomalyKind::Lost)
        }
        Defect::CompletesTwice => {
            world.records.get_mut(&good).unwrap().completions = 2;
            (good, AnomalyKind::DuplicateEffect)
        }
        Defect::CountsTwiceInHistory => {
            let more = step(4, TaskStatus::Succeeded, &world.ledger[index]);
            world.records.get_mut(&good).unwrap().history.push(more);
            (good, AnomalyKind::DuplicateEffect)
        }
        Defect::AppliesRefused => {
            let record = record(&world.ledger[refused_index], &refused, Fate::Succeeds).unwrap();
            world.records.insert(refused.clone(), record);
            (refused, AnomalyKind::RefusedApplied)
        }
        Defect::InventsTask => {
            let mut record = world.records[&good].clone();
            record.task_id = "task-invented".into();
            world.records.insert(record.task_id.clone(), record);
            ("task-invented".into(), AnomalyKind::Unexpected)
        }
        Defect::SwallowsPoison => {
            world.dead_letters.retain(|letter| !letter.body.contains(&poison));
            let record = record(&world.ledger[poison_index], &poison, Fate::Succeeds).unwrap();
            world.records.insert(poison.clone(), record);
            (poison, AnomalyKind::MissingDeadLetter)
        }
        Defect::LosesDeadLetter => {
            world.dead_letters.retain(|letter| !letter.body.contains(&poison));
            (poison, AnomalyKind::MissingDeadLetter)
        }
        Defect::BuriesInnocent => {
            world.records.insert(good.clone(), queued(world));
            world.dead_letters.push(dead_letter(&world.records[&good]));
            (good, AnomalyKind::InnocentDeadLetter)
        }
        Defect::AltersBody => {
            world.records.get_mut(&poison).unwrap().payload = json!({"text": "other"});
            (poison, AnomalyKind::AlteredBody)
        }
        Defect::BuriesTwice => {
            let mut letter = dead_letter(&world.records[&poison]);
            letter.message_id = "message-again".into();
            world.dead_letters.push(letter);
            (poison, AnomalyKind::RepeatedDeadLetter)
        }
        Defect::BuriesEarly => {
            let letter = world.dead_letters.iter_mut().find(|letter| letter.body.contains(&poison)).unwrap();
            letter.receive_count = MAX_RECEIVE_COUNT;
            (poison, AnomalyKind::ReceiveCount)
        }
        Defect::DeliversTooOften => {
            world.records.get_mut(&later).unwrap().deliveries = MAX_RECEIVE_COUNT + 1;
            (later, AnomalyKind::ReceiveCount)
        }
        Defect::Resurrects => {
            let more = step(4, TaskStatus::Running, &world.ledger[index]);
            world.records.get_mut(&good).unwrap().history.push(more);
            (good, AnomalyKind::IllegalHistory)
        }
        Defect::SkipsVersion => {
            world.records.get_mut(&good).unwrap().history.remove(1);
            (good, AnomalyKind::IllegalHistory)
        }
        Defect::SucceedsWithoutEffect => {
            world.records.get_mut(&good).unwrap().completions = 0;
            (good, AnomalyKind::IllegalHistory)
        }
        Defect::WrongResult => {
            world.ledger[index].result_ok = Some(false);
            (good, AnomalyKind::WrongResult)
        }
        Defect::NeverEnds => {
            world.remaining = 1;
            world.records.insert(good.clone(), queued(world));
            (good, AnomalyKind::Unfinished)
        }
        Defect::LosesOnRedrive => {
            world.dead_letters.retain(|letter| !letter.body.contains(&poison));
            (poison, AnomalyKind::Lost)
        }
        Defect::AcceptsSecondBody => {
            let outcome = Outcome::Acknowledged { task_id: good.clone() };
            world.ledger[index].probes.push(Probe { abuse: Abuse::Conflict, outcome });
            (good, AnomalyKind::AcceptedAbuse)
        }
        Defect::GivesOneTaskToTwo => {
            let second = (index + 1..).zip(&fates[index + 1..]).find(|(_, fate)| **fate == Fate::Succeeds);
            let (second, _) = second.unwrap();
            world.ledger[second].outcome = Outcome::Acknowledged { task_id: good.clone() };
            world.records.remove(&task_id(second as u64));
            (good, AnomalyKind::SharedTask)
        }
        Defect::FilesUnderAnother => {
            world.records.get_mut(&good).unwrap().owner = "somebody-else".into();
            (good, AnomalyKind::OtherOwner)
        }
        Defect::PushesAnotherStatus => {
            world.ledger[index].pushes[0].status = TaskStatus::DeadLettered;
            (good, AnomalyKind::WrongPush)
        }
    }
}

proptest! {
    #[test]
    fn a_healthy_run_raises_no_alarm_and_every_task_is_accounted_for(fates in fates()) {
        let findings = World::new(&fates).judge();
        prop_assert_eq!(&findings.anomalies, &Vec::new());
        let totals = findings.totals;
        prop_assert_eq!(totals.acknowledged, totals.succeeded + totals.dead_lettered + totals.pending + totals.lost);
        let count = |fate| fates.iter().filter(|found| **found == fate).count() as u64;
        prop_assert_eq!(totals.recovered, count(Fate::UnknownAndThere));
        prop_assert_eq!(totals.dead_lettered, count(Fate::Poison) + count(Fate::Starved));
        prop_assert_eq!(totals.attempted + totals.unsent, fates.len() as u64);
    }

    #[test]
    fn every_planted_defect_is_found_and_named(fates in fates(), which in 0..DEFECTS.len()) {
        let mut world = World::new(&fates);
        let (task, kind) = plant(DEFECTS[which], &mut world, &fates);
        let findings = world.judge();
        prop_assert!(
            findings.of(kind).any(|anomaly| anomaly.task_id == task),
            "{:?} at {task} was found as {:?}", DEFECTS[which], findings.anomalies
        );
        prop_assert!(findings.anomalies.iter().all(|anomaly| anomaly.task_id == task), "others are accused");
        let totals = findings.totals;
        prop_assert_eq!(totals.acknowledged, totals.succeeded + totals.dead_lettered + totals.pending + totals.lost);
    }

    #[test]
    fn a_counterexample_tells_the_story_of_a_task_that_has_the_worst_anomaly(fates in fates(), which in 0..DEFECTS.len()) {
        let mut world = World::new(&fates);
        plant(DEFECTS[which], &mut world, &fates);
        let findings = world.judge();
        let story = counterexample(&findings, &world.evidence()).unwrap();
        let worst = findings.anomalies.iter().map(|anomaly| anomaly.kind).min().unwrap();
        prop_assert_eq!(story.kind, worst);
        prop_assert!(!story.timeline.is_empty());
        prop_assert!(story.timeline.is_sorted_by_key(|event| event.at_ms));
    }

    #[test]
    fn what_must_be_a_dead_letter_always_may_be(
        from in 1_000_000_u64..1_003_000, length in 0_u64..60_000, slack in 0_u64..5_000, visibility in 1_u64..10,
    ) {
        let world = World::new(&[Fate::Succeeds; 100]);
        let window = Window { from_ms: from, to_ms: from + length };
        let prediction = throttled(&world, &[window], visibility, slack);
        prop_assert!(prediction.must.is_subset(&prediction.may));
    }
}

fn throttled(world: &World, windows: &[Window], visibility_seconds: u64, slack_ms: u64) -> Prediction {
    let queue = QueueRules {
        visibility_timeout: Duration::from_secs(visibility_seconds),
        max_receive_count: MAX_RECEIVE_COUNT,
        slack: Duration::from_millis(slack_ms),
    };
    predict(DlqRule::ReceiveCounts, &world.premises(windows, queue))
}

#[test]
fn a_throttle_longer_than_the_receives_sends_the_earliest_tasks_to_the_dead_letters() {
    let world = World::new(&[Fate::Starved; 400]);
    // Requests are 25 ms apart from 1 000 000 on; five receives of 1 s end 5 s after each.
    let window = Window { from_ms: 999_000, to_ms: 1_010_000 };
    let prediction = throttled(&world, &[window], 1, 500);
    assert_eq!(prediction.by_clock, Some((180, 220)), "180 are surely due, 40 more may be");
    assert_eq!(prediction.must, prediction.may, "no worker saw any of them: all that may be must be");
    assert!(prediction.may.contains(&task_id(219)) && !prediction.may.contains(&task_id(220)));
    let short = Window { from_ms: 999_000, to_ms: 1_003_000 };
    let prediction = throttled(&world, &[short], 1, 500);
    assert!(prediction.must.is_empty() && prediction.may.is_empty());
    assert_eq!(throttled(&world, &[short, window], 1, 500), throttled(&world, &[window], 1, 500));
}

#[test]
fn the_receives_that_workers_saw_decide_where_the_clock_cannot() {
    let mut world = World::new(&[Fate::Starved; 400]);
    let window = Window { from_ms: 999_000, to_ms: 1_010_000 };
    let saw = |world: &mut World, id: u64, status, deliveries| {
        let record = world.records.get_mut(&task_id(id)).unwrap();
        (record.status, record.deliveries) = (status, deliveries);
    };
    saw(&mut world, 200, TaskStatus::Succeeded, 4);
    saw(&mut world, 201, TaskStatus::Succeeded, MAX_RECEIVE_COUNT);
    saw(&mut world, 202, TaskStatus::Queued, 3);
    saw(&mut world, 204, TaskStatus::Succeeded, 4);
    // The letter of 204 was received as often as is allowed, by SQS's own count; there is none of 200.
    world.dead_letters.retain(|letter| letter.task_id() != Some(task_id(200)));
    let prediction = throttled(&world, &[window], 1, 500);
    let places = |id: u64| (prediction.must.contains(&task_id(id)), prediction.may.contains(&task_id(id)));
    assert_eq!(places(200), (false, false), "it succeeded with a receive to spare");
    assert_eq!(places(201), (false, true), "its receives are used up: it may be redelivered to nobody");
    assert_eq!(places(202), (false, true), "seen, and not done");
    assert_eq!(places(203), (true, true), "nobody saw it, and it is due");
    assert_eq!(places(204), (false, true), "an older receive was acknowledged, and the last one was not");
    assert_eq!(places(300), (false, false), "not due by any clock");
}

#[test]
fn poison_of_unknown_fate_may_be_a_dead_letter() {
    let mut world = World::new(&[Fate::UnknownAndThere, Fate::Succeeds]);
    world.ledger[0].expectation = Expectation::DeadLetters;
    let prediction = predict(DlqRule::Poison, &world.premises(&[], QueueRules::default()));
    assert!(prediction.must.is_empty() && prediction.may.contains(&task_id(0)));
}

#[test]
fn a_task_that_outlasted_its_receives_must_succeed_once_it_is_moved_back() {
    let mut world = World::new(&[Fate::Poison, Fate::Poison]);
    world.ledger[1].kind = TaskKind::Flaky;
    let before = predict(DlqRule::Poison, &world.premises(&[], QueueRules::default()));
    let after = after_redrive(&world.premises(&[], QueueRules::default()));
    assert_eq!((before.must.len(), after.must.len()), (2, 1));
    assert!(after.may.contains(&task_id(0)) && !after.may.contains(&task_id(1)));
}

/// A run of tasks that failed once and came back after `gap_ms`.
fn retried(tasks: usize, gap_ms: u64) -> World {
    let mut world = World::new(&vec![Fate::SucceedsLater; tasks]);
    for (entry, record) in world.ledger.iter().zip(world.records.values_mut()) {
        let steps = [
            (TaskStatus::Queued, 0),
            (TaskStatus::Running, 1),
            (TaskStatus::Queued, 2),
            (TaskStatus::Running, 2 + gap_ms),
            (TaskStatus::Succeeded, 3 + gap_ms),
        ];
        let lines = (1..).zip(steps).map(|(version, (status, at_ms))| {
            let line = step(version, status, entry);
            let (start, _) = line.rsplit_once(' ').unwrap();
            format!("{start} {}", entry.intended_at_ms + at_ms)
        });
        record.history = lines.collect();
        record.version = 5;
    }
    world
}

#[test]
fn a_worker_that_tries_again_at_once_is_found_and_one_that_waits_is_not() {
    let findings = retried(20, 40).judge();
    assert_eq!(findings.count(AnomalyKind::EagerRetry), 20);
    assert_eq!((findings.totals.retries, findings.totals.eager_retries), (20, 20));
    assert_eq!(retried(20, 1_000).judge().anomalies, Vec::new());
    assert_eq!(retried(19, 40).judge().anomalies, Vec::new(), "a few say nothing");
}

#[test]
fn poison_that_comes_back_at_once_is_no_eager_retry() {
    let mut world = retried(20, 0);
    for entry in &mut world.ledger {
        entry.kind = TaskKind::Poison;
    }
    assert_eq!(world.judge().count(AnomalyKind::EagerRetry), 0);
}

#[test]
fn a_service_that_forgets_to_push_is_found_and_a_single_missed_push_is_not() {
    let mut world = World::new(&[Fate::Succeeds; 200]);
    for index in [7, 70] {
        world.ledger[index].pushes.clear();
    }
    let findings = world.judge();
    assert_eq!((findings.totals.missed_pushes, findings.anomalies), (2, Vec::new()));
    // An early state was pushed, the end was not.
    world.ledger[71].pushes[0].version = 1;
    let findings = world.judge();
    assert_eq!(findings.ids(AnomalyKind::MissedPush), [task_id(7), task_id(70), task_id(71)]);
}

#[test]
fn what_was_pushed_of_an_older_or_a_newer_version_is_not_compared_with_the_table() {
    let mut world = World::new(&[Fate::Succeeds]);
    let right = world.ledger[0].pushes[0];
    let mut wrong = |version| {
        let other = Push { version, status: TaskStatus::DeadLettered, ..right };
        world.ledger[0].pushes = vec![right, other];
        world.judge().count(AnomalyKind::WrongPush)
    };
    assert_eq!([2, 3, 4].map(&mut wrong), [0, 1, 0], "a task is moved on while the table is read");
}

#[test]
fn a_task_that_used_up_its_receives_may_be_a_dead_letter_though_it_succeeded() {
    let mut world = World::new(&[Fate::Succeeds, Fate::Succeeds]);
    let used_up = task_id(0);
    world.records.get_mut(&used_up).unwrap().deliveries = MAX_RECEIVE_COUNT;
    world.dead_letters.push(dead_letter(&world.records[&used_up]));
    let queue = QueueRules {
        visibility_timeout: Duration::from_secs(6),
        max_receive_count: MAX_RECEIVE_COUNT,
        slack: Duration::ZERO,
    };
    world.prediction = predict(DlqRule::Deliveries, &world.premises(&[], queue));
    let findings = world.judge();
    assert_eq!(findings.anomalies, Vec::new());
    assert_eq!(findings.totals.succeeded_dead_letters, 1);
}

#[test]
fn by_its_own_receives_a_dead_letter_is_explained_and_one_buried_early_is_not() {
    let mut world = World::new(&[Fate::Succeeds, Fate::Succeeds]);
    for id in [0, 1] {
        world.dead_letters.push(dead_letter(&world.records[&task_id(id)]));
    }
    world.dead_letters[1].receive_count = MAX_RECEIVE_COUNT;
    let queue = QueueRules { max_receive_count: MAX_RECEIVE_COUNT, ..QueueRules::default() };
    world.prediction = predict(DlqRule::OwnReceives, &world.premises(&[], queue));
    let kinds = |id: u64, findings: &Findings| -> Vec<AnomalyKind> {
        let of_task = findings.anomalies.iter().filter(|anomaly| anomaly.task_id == task_id(id));
        of_task.map(|anomaly| anomaly.kind).collect()
    };
    let findings = world.judge();
    assert_eq!(kinds(0, &findings), []);
    assert_eq!(kinds(1, &findings), [AnomalyKind::InnocentDeadLetter, AnomalyKind::ReceiveCount]);
}

#[test]
fn dead_letters_of_other_runs_and_unreadable_ones_are_left_aside() {
    let mut world = World::new(&[Fate::Succeeds]);
    let mut record = world.records[&task_id(0)].clone();
    record.owner = "another-run".into();
    world.dead_letters.push(dead_letter(&record));
    let body = "not JSON".to_owned();
    world.dead_letters.push(DeadLetter { message_id: "m".into(), receive_count: 9, own_receives: 1, body });
    assert_eq!(
        world.judge(),
        Findings { dead_letters: Default::default(), ..World::new(&[Fate::Succeeds]).judge() }
    );
}
