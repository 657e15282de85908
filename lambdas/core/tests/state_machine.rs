//! The state machine against a reference model: a table written by hand from the contract's diagram.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use proptest::prelude::*;
use serde_json::json;
use task_core::state::{Event, Judge, Lease, TaskState, apply};
use task_core::wire::{Status, TaskError};
use task_core::{EpochMs, LeaseToken};

const NOW: EpochMs = EpochMs(1_000);

fn token(number: u8) -> LeaseToken {
    format!("00000000-0000-4000-8000-0000000000{number:02}").parse().unwrap()
}

fn error() -> TaskError {
    TaskError { kind: "k".into(), message: "m".into() }
}

fn any_state() -> impl Strategy<Value = TaskState> {
    prop_oneof![
        Just(TaskState::Queued),
        (0_u8..3, 0_u64..2_000).prop_map(|(holder, until)| TaskState::Running(Lease {
            token: token(holder),
            until: EpochMs(until)
        })),
        Just(TaskState::Succeeded { result: json!(1) }),
        Just(TaskState::DeadLettered),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    (0_u8..6, 0_u8..3).prop_map(|(which, number)| match which {
        0 => Event::Claim(Lease { token: token(number), until: EpochMs(3_000) }),
        1 => Event::Succeed { token: token(number), result: json!(1) },
        2 => Event::GiveBack { token: token(number), error: error() },
        4 => Event::Extend(Lease { token: token(number), until: EpochMs(3_000) }),
        3 => Event::DeadLetter { judge: Judge::Holder(token(number)), error: error() },
        _ => Event::DeadLetter { judge: Judge::Auditor, error: error() },
    })
}

/// Where the contract says that an event leads, if anywhere.
fn model(state: &TaskState, event: &Event) -> Option<Status> {
    let held = |by: &LeaseToken| state.lease().is_some_and(|lease| lease.token == *by);
    let is_free = state.lease().is_none_or(|lease| lease.until <= NOW);
    match event {
        Event::Claim(_) => (state.status() != Status::Succeeded && is_free).then_some(Status::Running),
        Event::Extend(lease) => held(&lease.token).then_some(Status::Running),
        Event::Succeed { token, .. } => held(token).then_some(Status::Succeeded),
        Event::GiveBack { token, .. } => held(token).then_some(Status::Queued),
        Event::DeadLetter { judge: Judge::Holder(token), .. } => held(token).then_some(Status::DeadLettered),
        Event::DeadLetter { judge: Judge::Auditor, .. } => {
            (!state.status().is_final() && is_free).then_some(Status::DeadLettered)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn every_move_is_the_one_of_the_contract(state in any_state(), event in any_event()) {
        let moved = apply(&state, &event, NOW).ok().map(|next| next.status());
        prop_assert_eq!(moved, model(&state, &event));
    }

    #[test]
    fn nothing_leaves_success(event in any_event()) {
        let succeeded = TaskState::Succeeded { result: json!(1) };
        prop_assert!(apply(&succeeded, &event, NOW).is_err());
    }
}

#[test]
fn a_heartbeat_never_shortens_a_lease() {
    let held = TaskState::Running(Lease { token: token(1), until: EpochMs(3_000) });
    let earlier = Event::Extend(Lease { token: token(1), until: EpochMs(2_000) });
    assert_eq!(apply(&held, &earlier, NOW), Ok(held));
}

#[test]
fn a_late_worker_cannot_complete() {
    let taken_over = TaskState::Running(Lease { token: token(2), until: EpochMs(3_000) });
    assert!(apply(&taken_over, &Event::Succeed { token: token(1), result: json!(1) }, NOW).is_err());
}
