//! What AWS does and the emulator must do: one body per behaviour, run against the emulator by default and against AWS on
//! request.
//!
//! `CONFORMANCE_AWS_ACCOUNTS=123456789012 cargo test --test conformance -- --ignored`, with credentials in the environment,
//! runs the same bodies in that account. Nothing is touched in an account that is not on the list. Everything that is
//! created has a name beginning with `conformance-` and is deleted again, also when the behaviour fails. What AWS writes of
//! itself stays: the log group of a function that was invoked, the record of an experiment.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

mod access;
mod experiments;
mod functions;
mod gateway;
mod invocations;
mod queues;
mod schedules;
mod signed;
mod tables;
mod watching;
mod world;

/// Each behaviour as two tests: `emulator::…` and, ignored by default, `aws::…`.
macro_rules! behaviours {
    ($($module:ident { $($name:ident)* })*) => {
        mod emulator {
            $(mod $module {
                $(#[tokio::test]
                async fn $name() {
                    let world = crate::world::World::emulated().await;
                    let outcome = crate::world::outcome(crate::$module::$name(&world)).await;
                    world.end(outcome).await;
                })*
            })*
        }
        mod aws {
            $(mod $module {
                $(#[tokio::test]
                #[ignore = "needs AWS credentials and CONFORMANCE_AWS_ACCOUNTS"]
                async fn $name() {
                    let world = crate::world::World::aws().await;
                    let outcome = crate::world::outcome(crate::$module::$name(&world)).await;
                    world.end(outcome).await;
                })*
            })*
        }
    };
}

behaviours! {
    queues {
        messages_go_through_in_batches_of_ten
        errors_reach_the_caller_typed
        limits_are_refused_in_the_words_of_aws
        attributes_have_names_of_letters_and_values_without_control_characters
        entries_of_a_batch_fail_alone
        attributes_have_their_defaults
        a_long_poll_wakes_at_once
        a_message_moves_to_the_dead_letters_on_the_receive_beyond_the_limit
        deleting_twice_succeeds_and_a_stale_visibility_change_does_not
    }
    functions {
        what_does_not_exist_is_not_found
        what_cannot_be_is_refused_at_creation
        mappings_are_checked_when_they_are_made
        templates_that_aws_rejects_are_rejected
    }
    invocations {
        an_error_of_the_function_is_an_answer
    }
    experiments {
        an_experiment_runs_until_it_is_stopped
    }
    tables {
        conditions_fail_typed_and_change_nothing
        transactions_say_why_each_item_was_cancelled
        keys_are_validated
        pages_end_with_the_last_item
        what_is_not_there_is_not_found
    }
    gateway {
        what_is_not_there_has_the_error_of_its_protocol
        an_api_answers_404_where_it_has_no_route
    }
    watching {
        an_alarm_has_the_state_that_it_was_given
        an_alarm_that_is_not_there_has_no_state
        statistics_that_cannot_be_are_refused
    }
    schedules {
        what_is_no_schedule_is_refused
        what_is_not_there_is_not_found
    }
    access {
        what_is_no_policy_is_malformed
        a_name_is_taken_once_and_what_has_none_is_no_entity
    }
}
