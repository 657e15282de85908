//! The tool judged by targets whose faults are known: each must be reported, and nothing else.

#![expect(clippy::unwrap_used, reason = "a broken scene is a failed test, helpers included")]

mod cli;
mod fake;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fake::{Answer, End, Fake, Post, Pushes, Reaction, Reads};
use loadtest::verdict::{self, Exit, Wrong};
use loadtest::{
    Abuse, Arrivals, Duplicate, Expectation, LoadError, LoadOutcome, LoadPlan, Outcome, ReadDefect, Running,
    Source, TaskMix, TaskStatus,
};
use tokio::sync::{Mutex, MutexGuard};

/// Goose runs one attack per process, and `cargo test` runs tests as threads of one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
const SETTLE_MAX: Duration = Duration::from_secs(20);

struct Scene {
    fake: Arc<Fake>,
    running: Running,
    _folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    async fn start(plan: LoadPlan, behaviour: impl Fn(Post) -> Reaction + Send + Sync + 'static) -> Self {
        Self::start_reading(plan, Reads::Right, behaviour).await
    }

    async fn start_reading(
        plan: LoadPlan,
        reads: Reads,
        behaviour: impl Fn(Post) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let (fake, stack, folder) = Fake::start(behaviour).await;
        fake.answer_reads(reads);
        let running = loadtest::start(&stack, plan).await.unwrap();
        Self { fake, running, _folder: folder, _turn: turn }
    }

    async fn finish(self) -> LoadOutcome {
        self.running.arrivals_ended().await;
        assert!(self.running.settled(SETTLE_MAX).await, "{:?}", self.running.counts());
        self.running.finish().await.unwrap()
    }
}

fn plan(rate_per_second: f64, seconds: u64) -> LoadPlan {
    LoadPlan {
        rate_per_second,
        duration: Duration::from_secs(seconds),
        request_timeout: Duration::from_secs(5),
        workers: 32,
        ..LoadPlan::default()
    }
}

fn one_in(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

/// Faulty for one sequence, well-behaved for all others.
fn only(sequence: u64, reaction: Reaction) -> impl Fn(Post) -> Reaction {
    move |post| if post.sequence == sequence { reaction.clone() } else { Reaction::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_target_ends_every_task_by_push() {
    let plan = LoadPlan { poll_rate_per_second: 20.0, ..plan(50.0, 2) };
    let outcome = Scene::start(plan, |_| Reaction::default()).await.finish().await;
    let counts = outcome.counts;
    assert_eq!((counts.attempted, counts.acknowledged, counts.succeeded), (100, 100, 100));
    assert_eq!((counts.refused, counts.unknown, counts.unsent, counts.outstanding), (0, 0, 0, 0));
    for entry in &outcome.ledger {
        assert!(!entry.is_unfinished() && !entry.is_unexpected(), "{entry:?}");
        assert_eq!(entry.result_ok, Some(true));
        assert_eq!(entry.pushes.len(), 3);
    }
    assert_eq!(outcome.total.post.count, 100);
    assert_eq!(outcome.total.end_to_end.count, 100);
    assert_eq!(outcome.total.finals_by_poll, 0);
    assert_eq!(outcome.connection_stats.connects, 4);
    assert_eq!(outcome.connection_stats.pushes, 300);
    let reads = outcome.total.reads;
    assert!(reads.right > 0 && reads.all() == reads.right, "{reads:?}: {:?}", outcome.wrong_reads);
    assert_eq!(verdict::judge(&outcome, &[]).exit, Exit::Ok);
    // A page that could not be judged may have shown anything.
    let mut unjudged = outcome.clone();
    unjudged.total.reads.unjudged = 1;
    assert_eq!(verdict::judge(&unjudged, &[]).exit, Exit::Invalid);
    let series_sum: u64 = outcome.series.iter().map(|point| point.finals).sum();
    assert_eq!(series_sum, 100);
    assert_eq!(outcome.series.last().unwrap().outstanding, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_second_body_under_one_key_was_told_is_in_the_ledger_and_fails_the_run_if_it_was_accepted() {
    for (answer, is_refused) in [(Answer::Refuse, true), (Answer::Accept, false)] {
        let mix = TaskMix { conflict_one_in: one_in(2), ..TaskMix::default() };
        let behaviour = move |post: Post| match post.repeats {
            0 => Reaction::default(),
            _ => Reaction { answer, ..Reaction::default() },
        };
        let outcome = Scene::start(LoadPlan { mix, ..plan(50.0, 1) }, behaviour).await.finish().await;
        let probes: Vec<_> = outcome.ledger.iter().flat_map(|entry| &entry.probes).collect();
        assert_eq!(probes.len(), 25);
        for probe in probes {
            let refused = matches!(probe.outcome, Outcome::Refused { .. });
            assert_eq!((probe.abuse, refused), (Abuse::Conflict, is_refused), "{probe:?}");
        }
        assert_eq!((outcome.counts.acknowledged, outcome.counts.refused), (50, 0));
        let verdict = verdict::judge(&outcome, &[]);
        assert!(verdict.wrong.iter().all(|task| task.wrong == Wrong::AcceptedAbuse), "{:?}", verdict.wrong);
        let expected = if is_refused { (Exit::Ok, 0) } else { (Exit::Tasks, 25) };
        assert_eq!((verdict.exit, verdict.wrong.len()), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goose_has_a_row_for_every_kind_of_request() {
    let plan = LoadPlan { poll_rate_per_second: 20.0, ..plan(50.0, 2) };
    let outcome = Scene::start(plan, |_| Reaction::default()).await.finish().await;
    let rows = outcome.goose["requests"].as_object().unwrap();
    for (row, count) in [("POST /tasks", Some(100)), ("WS end-to-end", Some(100)), ("WS connect", Some(4))] {
        assert_eq!(rows[row]["success_count"].as_u64(), count, "{row}");
    }
    for row in ["GET /tasks", "GET /tasks/{id}"] {
        assert!(rows[row]["success_count"].as_u64() > Some(0), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_two_seconds_shows_in_p90_from_the_intended_start() {
    let stall = Duration::from_secs(2);
    let first_post = OnceLock::new();
    let behaviour = move |_| {
        let now = Instant::now();
        let began = *first_post.get_or_init(|| now);
        let stall_ends = began + Duration::from_secs(1) + stall;
        let stalled = now > began + Duration::from_secs(1) && now < stall_ends;
        let delay = if stalled { stall_ends - now } else { Duration::ZERO };
        Reaction { delay, ..Reaction::default() }
    };
    // Fewer workers than arrivals in the stall: a closed loop would hide it.
    let plan = LoadPlan { workers: 8, ..plan(100.0, 4) };
    let outcome = Scene::start(plan, behaviour).await.finish().await;
    assert!(outcome.total.post.p90_ms > 1_000.0, "{:?}", outcome.total.post);
    assert!(outcome.total.post.p50_ms < outcome.total.post.p90_ms);
    assert!(outcome.pool_wait.p90_ms > 500.0, "most of the stall was waited out in the queue");
    assert_eq!(outcome.counts.succeeded, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_task_is_visible_as_unfinished() {
    let lost = Reaction { end: End::Never, ..Reaction::default() };
    let scene = Scene::start(plan(50.0, 1), only(13, lost)).await;
    scene.running.arrivals_ended().await;
    assert!(!scene.running.settled(Duration::from_secs(4)).await);
    let outcome = scene.running.finish().await.unwrap();
    let unfinished: Vec<_> = outcome.ledger.iter().filter(|entry| entry.is_unfinished()).collect();
    assert_eq!(unfinished.len(), 1);
    assert_eq!((unfinished[0].sequence, outcome.counts.outstanding), (13, 1));
    assert_eq!(outcome.series.last().unwrap().outstanding, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_push_is_found_by_reading() {
    let silent = Reaction { pushes: Pushes::Never, ..Reaction::default() };
    let plan = LoadPlan { poll_rate_per_second: 0.0, ..plan(50.0, 1) };
    let outcome = Scene::start(plan, only(7, silent)).await.finish().await;
    let end = outcome.ledger[7].final_state.unwrap();
    assert_eq!((end.status, end.source), (TaskStatus::Succeeded, Source::Poll));
    assert_eq!(outcome.total.finals_by_poll, 1);
    assert_eq!(outcome.total.end_to_end.count, 49, "the time of a read is no time of a push");
    assert_eq!(outcome.total.reads.all(), 0, "it is none of the reads that the rate of failures is of");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicate_pushes_are_counted_and_end_a_task_once() {
    let twice = Reaction { pushes: Pushes::Twice, ..Reaction::default() };
    let outcome = Scene::start(plan(50.0, 1), only(7, twice)).await.finish().await;
    assert_eq!(outcome.connection_stats.pushes_repeated, 3);
    assert_eq!(outcome.counts.succeeded, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_that_also_reach_other_owners_fail_a_run_in_which_all_else_is_well() {
    let to_all = |_| Reaction { pushes: Pushes::ToAll, ..Reaction::default() };
    let outcome = Scene::start(plan(50.0, 1), to_all).await.finish().await;
    let verdict = verdict::judge(&outcome, &[]);
    assert_eq!((outcome.counts.succeeded, verdict.wrong.len()), (50, 0));
    // What went to the others last may come when their sessions are gone.
    assert!(verdict.pushes_misrouted > 0);
    assert_eq!(verdict.exit, Exit::Tasks);
}

async fn outcome_of_reads(reads: Reads) -> LoadOutcome {
    let plan = LoadPlan { poll_rate_per_second: 40.0, unknown_retries: 0, ..plan(50.0, 1) };
    Scene::start_reading(plan, reads, |_| Reaction::default()).await.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_all_refused_are_counted_and_miss_their_threshold() {
    let outcome = outcome_of_reads(Reads::Fail).await;
    let reads = outcome.total.reads;
    assert!(reads.refused > 0 && reads.all() == reads.refused, "{reads:?}");
    let judged = verdict::judge(&outcome, &["error-rate<1% for GET".parse().unwrap()]);
    assert_eq!((judged.exit, judged.reads_wrong), (Exit::Threshold, 0));
}

/// The reads fail the run, each for this reason, and all else is well.
fn assert_reads_alone_are_wrong(outcome: &LoadOutcome, expected: ReadDefect) {
    let verdict = verdict::judge(outcome, &[]);
    assert!(outcome.ledger.iter().all(|entry| entry.result_ok == Some(true)));
    assert_eq!((outcome.counts.succeeded, verdict.wrong.len()), (outcome.counts.attempted, 0));
    assert!(verdict.reads_wrong > 0, "{expected:?}");
    let wrong = &outcome.wrong_reads;
    assert!(wrong.iter().all(|wrong| wrong.defect == expected), "{wrong:?}");
    assert_eq!(verdict.exit, Exit::Tasks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_show_others_tasks_or_other_states_fail_a_run_in_which_all_else_is_well() {
    for (reads, expected) in [
        (Reads::OfAll, ReadDefect::OtherOwner),
        (Reads::OtherResult, ReadDefect::OtherResult),
        (Reads::OtherStatus, ReadDefect::OtherStatus),
    ] {
        assert_reads_alone_are_wrong(&outcome_of_reads(reads).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_never_show_a_task_fail_a_run_in_which_all_else_is_well() {
    // Beyond the time for which an index may trail its table.
    let plan = LoadPlan { poll_rate_per_second: 20.0, unknown_retries: 0, ..plan(20.0, 7) };
    let outcome = Scene::start_reading(plan, Reads::Empty, |_| Reaction::default()).await.finish().await;
    assert_reads_alone_are_wrong(&outcome, ReadDefect::ShowsNone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_of_a_task_that_this_run_did_not_ask_for_is_no_mistake() {
    let stray = |_| Reaction { pushes: Pushes::AndStray, ..Reaction::default() };
    let outcome = Scene::start(plan(50.0, 1), stray).await.finish().await;
    let (stats, verdict) = (&outcome.connection_stats, verdict::judge(&outcome, &[]));
    assert!(stats.pushes_unclaimed > 0, "{stats:?}");
    assert_eq!((verdict.pushes_misrouted, verdict.exit), (0, Exit::Ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_beats_its_answer_counts() {
    let early = Reaction { pushes: Pushes::Early, ..Reaction::default() };
    let outcome = Scene::start(plan(50.0, 1), only(7, early)).await.finish().await;
    let entry = &outcome.ledger[7];
    let end = entry.final_state.unwrap();
    assert!(end.source == Source::Push && end.at_ms < entry.answered_at_ms.unwrap(), "{entry:?}");
    // On a busy machine others may be early by themselves.
    assert!(outcome.connection_stats.pushes_early >= 3);
    assert_eq!(outcome.connection_stats.pushes_unclaimed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_with_its_type_and_is_not_sent_again() {
    let refused = Reaction { answer: Answer::Refuse, ..Reaction::default() };
    let outcome = Scene::start(plan(50.0, 1), only(7, refused)).await.finish().await;
    let expected =
        Outcome::Refused { status: 503, problem_type: Some("urn:task:problem:queue-unavailable".to_owned()) };
    assert_eq!((&outcome.ledger[7].outcome, outcome.ledger[7].sends), (&expected, 1));
    assert_eq!((outcome.counts.refused, outcome.counts.acknowledged), (1, 49));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_fate_becomes_known_by_the_same_key() {
    let behaviour = |post: Post| {
        let answer =
            if post.sequence == 7 && post.repeats == 0 { Answer::AcceptAndFail } else { Answer::Accept };
        Reaction { answer, ..Reaction::default() }
    };
    let outcome = Scene::start(plan(50.0, 1), behaviour).await.finish().await;
    assert_eq!((outcome.ledger[7].is_acknowledged(), outcome.ledger[7].sends), (true, 2));
    assert_eq!((outcome.counts.unknown, outcome.counts.retries, outcome.counts.succeeded), (0, 1, 50));
    assert_eq!(outcome.connection_stats.pushes_unclaimed, 0, "its early pushes were claimed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fate_that_stays_unknown_is_no_refusal_and_no_loss() {
    let behaviour = |post: Post| {
        let answer = match (post.sequence, post.repeats) {
            (7, 0) => Answer::AcceptAndFail,
            // A refusal of the repeat says nothing of the first.
            (7, 1) => Answer::Refuse,
            (7, _) => Answer::Fail,
            _ => Answer::Accept,
        };
        Reaction { answer, ..Reaction::default() }
    };
    let outcome = Scene::start(plan(50.0, 1), behaviour).await.finish().await;
    assert_eq!(outcome.ledger[7].outcome, Outcome::Unknown { reason: "status 500".to_owned() });
    assert_eq!((outcome.counts.unknown, outcome.counts.refused, outcome.counts.retries), (1, 0, 3));
    assert_eq!(outcome.connection_stats.pushes_unclaimed, 3, "it was made after all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_slower_than_the_timeout_is_unknown_until_the_repeat() {
    let behaviour = |post: Post| {
        let slow = post.sequence == 7 && post.repeats == 0;
        Reaction { delay: Duration::from_secs(u64::from(slow) * 30), ..Reaction::default() }
    };
    let plan = LoadPlan { request_timeout: Duration::from_secs(1), ..plan(50.0, 1) };
    let outcome = Scene::start(plan, behaviour).await.finish().await;
    assert_eq!(outcome.ledger[7].sends, 2);
    assert!(outcome.total.post.max_ms >= 1_000.0, "the wait for the first counts");
    assert_eq!(outcome.counts.succeeded, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_result_and_a_wrong_end_are_unexpected() {
    let behaviour = |post: Post| {
        let end = match post.sequence {
            7 => End::WrongResult,
            9 => End::DeadLetters,
            _ => End::Succeeds,
        };
        Reaction { end, ..Reaction::default() }
    };
    let outcome = Scene::start(plan(50.0, 1), behaviour).await.finish().await;
    let unexpected: Vec<_> =
        outcome.ledger.iter().filter(|entry| entry.is_unexpected()).map(|entry| entry.sequence).collect();
    assert_eq!(unexpected, [7, 9]);
    assert_eq!(outcome.ledger[7].result_ok, Some(false));
    assert_eq!((outcome.counts.dead_lettered, outcome.counts.succeeded), (1, 49));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_is_expected_to_dead_letter() {
    let behaviour = |post: Post| {
        let end = if post.sequence.is_multiple_of(10) { End::DeadLetters } else { End::Succeeds };
        Reaction { end, ..Reaction::default() }
    };
    let mix = TaskMix { poison_one_in: one_in(10), ..TaskMix::default() };
    let outcome = Scene::start(LoadPlan { mix, ..plan(50.0, 1) }, behaviour).await.finish().await;
    assert_eq!((outcome.counts.dead_lettered, outcome.counts.succeeded), (5, 45));
    assert!(outcome.ledger.iter().all(|entry| !entry.is_unexpected()));
    let poison = outcome.ledger.iter().filter(|entry| entry.expectation == Expectation::DeadLetters);
    assert_eq!(poison.count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_that_makes_two_tasks_is_told() {
    let mix = TaskMix { duplicate_one_in: one_in(10), ..TaskMix::default() };
    for forgets_keys in [false, true] {
        let plan = LoadPlan { mix: mix.clone(), ..plan(50.0, 1) };
        let behaviour = move |_| Reaction { forgets_key: forgets_keys, ..Reaction::default() };
        let outcome = Scene::start(plan, behaviour).await.finish().await;
        let answers: Vec<_> = outcome.ledger.iter().filter_map(|entry| entry.duplicate.as_ref()).collect();
        assert_eq!(answers.len(), 5);
        let same = answers.iter().filter(|answer| ***answer == Duplicate::SameTask).count();
        assert_eq!(same, if forgets_keys { 0 } else { 5 });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_beside_an_unknown_fate_is_no_refusal() {
    const DUPLICATE_ONE_IN: u32 = 10;
    let mix = TaskMix { duplicate_one_in: one_in(DUPLICATE_ONE_IN), ..TaskMix::default() };
    let behaviour = |post: Post| {
        // As the load test picks them.
        let is_twice = post.sequence % u64::from(DUPLICATE_ONE_IN) == 3;
        let answer = match post.repeats {
            0 if is_twice => Answer::Refuse,
            1 if is_twice => Answer::AcceptAndFail,
            _ => Answer::Accept,
        };
        Reaction { answer, ..Reaction::default() }
    };
    let outcome = Scene::start(LoadPlan { mix, ..plan(50.0, 1) }, behaviour).await.finish().await;
    let counts = outcome.counts;
    assert_eq!((counts.refused, counts.unknown, counts.acknowledged, counts.retries), (0, 0, 50, 5));
    assert!(outcome.ledger.iter().filter(|entry| entry.duplicate.is_some()).all(|entry| entry.sends == 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_session_reconnects_and_catches_up() {
    // Nothing is pushed, so that only the catch-up, or settling, can find the ends.
    let silent = |_| Reaction { pushes: Pushes::Never, ..Reaction::default() };
    let plan = LoadPlan { poll_rate_per_second: 0.0, ..plan(50.0, 1) };
    let scene = Scene::start(plan, silent).await;
    scene.running.arrivals_ended().await;
    scene.fake.close_sockets();
    let outcome = scene.finish().await;
    let stats = outcome.connection_stats;
    assert_eq!(stats.closes.get("1001"), Some(&4), "{stats:?}");
    assert!(stats.connects >= 5 && stats.catch_up_reads > 0, "{stats:?}");
    assert_eq!(outcome.total.finals_by_poll, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_is_answered_with_the_state_as_it_is() {
    let silent = |_| Reaction { pushes: Pushes::Never, ..Reaction::default() };
    let plan = LoadPlan { poll_rate_per_second: 0.0, ..plan(50.0, 1) };
    let scene = Scene::start(plan, silent).await;
    scene.running.arrivals_ended().await;
    scene.running.watch(7);
    let outcome = scene.finish().await;
    assert_eq!(outcome.ledger[7].final_state.unwrap().source, Source::Push);
    assert_eq!(outcome.connection_stats.watches, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phases_slice_the_run_by_intended_start() {
    let plan = LoadPlan { arrivals: Arrivals::Poisson, seed: 11, ..plan(100.0, 2) };
    let scene = Scene::start(plan, |_| Reaction::default()).await;
    scene.running.phase("fault");
    scene.running.arrivals_ended().await;
    scene.running.phase("after");
    let outcome = scene.finish().await;
    let names: Vec<_> = outcome.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert!(names.ends_with(&["fault", "after"]), "{names:?}");
    let sum: u64 = outcome.phases.iter().map(|phase| phase.attempted).sum();
    assert_eq!(sum, outcome.counts.attempted);
    assert_eq!(outcome.phases.last().unwrap().attempted, 0);
    for entry in &outcome.ledger {
        let phase = outcome.phases.iter().rfind(|phase| phase.began_at_ms < entry.intended_at_ms);
        assert!(phase.is_none_or(|phase| phase.name == entry.phase), "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_can_be_ended_early_and_one_run_at_a_time_is_enforced() {
    let turn = ONE_AT_A_TIME.lock().await;
    let (_fake, stack, _folder) = Fake::start(|_| Reaction::default()).await;
    let running = loadtest::start(&stack, plan(50.0, 3600)).await.unwrap();
    let second = loadtest::start(&stack, plan(50.0, 1)).await;
    assert!(matches!(second, Err(LoadError::Busy)));
    running.stop_arrivals();
    running.arrivals_ended().await;
    assert!(running.settled(SETTLE_MAX).await);
    running.finish().await.unwrap();
    let third = loadtest::start(&stack, plan(50.0, 1)).await.unwrap();
    drop(third);
    // What the third had under way has not ended.
    let fourth = loadtest::start(&stack, plan(50.0, 1)).await.unwrap();
    fourth.arrivals_ended().await;
    fourth.finish().await.unwrap();
    drop(turn);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_without_sockets_is_a_clear_error() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (_fake, mut stack, _folder) = Fake::start(|_| Reaction::default()).await;
    // The HTTP side answers 404 to a handshake.
    stack.websocket_url = stack.http_url.replace("http://", "ws://");
    let error = loadtest::start(&stack, plan(50.0, 1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "owner run-owner-0 could not open its WebSocket session: the handshake was answered 404 Not Found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_speak_tls() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let (_fake, mut stack, _folder) = Fake::start(|_| Reaction::default()).await;
    // The target does not, so that the handshake must fail, but not for want of TLS on our side.
    stack.websocket_url = stack.websocket_url.replace("ws://", "wss://");
    let error = loadtest::start(&stack, plan(50.0, 1)).await.unwrap_err().to_string();
    assert!(error.contains("could not open its WebSocket session"), "{error}");
    assert!(!error.contains("TLS support not compiled in"), "{error}");
}
