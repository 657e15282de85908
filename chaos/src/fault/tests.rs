//! Faults against a mocked Lambda that keeps its setting, crashes included.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_apigatewayv2::operation::delete_route_settings::DeleteRouteSettingsError;
use aws_sdk_apigatewayv2::operation::get_stage::GetStageOutput;
use aws_sdk_apigatewayv2::types::error::NotFoundException;
use aws_sdk_dynamodb::operation::delete_resource_policy::{
    DeleteResourcePolicyError, DeleteResourcePolicyOutput,
};
use aws_sdk_dynamodb::operation::describe_table::DescribeTableOutput;
use aws_sdk_dynamodb::operation::get_resource_policy::{GetResourcePolicyError, GetResourcePolicyOutput};
use aws_sdk_dynamodb::operation::put_resource_policy::{PutResourcePolicyError, PutResourcePolicyOutput};
use aws_sdk_dynamodb::operation::update_table::UpdateTableOutput;
use aws_sdk_dynamodb::types::error::{
    LimitExceededException, PolicyNotFoundException, ResourceInUseException,
};
use aws_sdk_dynamodb::types::{OnDemandThroughput, TableDescription, TableStatus};
use aws_sdk_lambda::error::ErrorMetadata;
use aws_sdk_lambda::operation::delete_function_concurrency::{
    DeleteFunctionConcurrencyError, DeleteFunctionConcurrencyOutput,
};
use aws_sdk_lambda::operation::get_function_concurrency::{
    GetFunctionConcurrencyError, GetFunctionConcurrencyOutput,
};
use aws_sdk_lambda::operation::put_function_concurrency::PutFunctionConcurrencyOutput;
use aws_sdk_lambda::types::error::{ResourceConflictException, ResourceNotFoundException};
use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesOutput;
use aws_sdk_sqs::operation::set_queue_attributes::SetQueueAttributesOutput;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_smithy_mocks::mock;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, timeout};

use super::guard::GuardError;
use super::{
    Guards, HttpThrottle, Lever, OnDemandCap, QueueDeny, Recovered, ReservedConcurrency, RolePermission,
    TableDeny, recover, release,
};
use crate::cloud::Cloud;
use crate::journal::{Journal, Open, Step, recovery};
use crate::mocked;

type Setting = Arc<Mutex<Option<i32>>>;

/// Reserved concurrency as AWS keeps it: absent, or a number.
fn lambda(setting: &Setting) -> aws_sdk_lambda::Client {
    let (get, put, delete) = (Arc::clone(setting), Arc::clone(setting), Arc::clone(setting));
    let rules = [
        mock!(aws_sdk_lambda::Client::get_function_concurrency).then_compute_output(move |_| {
            let reserved = *get.lock().unwrap();
            GetFunctionConcurrencyOutput::builder().set_reserved_concurrent_executions(reserved).build()
        }),
        mock!(aws_sdk_lambda::Client::put_function_concurrency).then_compute_output(move |input| {
            *put.lock().unwrap() = input.reserved_concurrent_executions();
            PutFunctionConcurrencyOutput::builder().build()
        }),
        mock!(aws_sdk_lambda::Client::delete_function_concurrency).then_compute_output(move |_| {
            *delete.lock().unwrap() = None;
            DeleteFunctionConcurrencyOutput::builder().build()
        }),
    ];
    mocked::lambda(&rules)
}

async fn cloud(setting: &Setting) -> Cloud {
    Cloud { lambda: lambda(setting), ..mocked::cloud().await }
}

fn lever() -> Lever {
    of_function("worker")
}

fn of_function(name: &str) -> Lever {
    held_to(name, 0)
}

fn held_to(name: &str, concurrency: i32) -> Lever {
    let function = name.into();
    Lever::ReservedConcurrency(ReservedConcurrency { function, function_arn: "arn".into(), concurrency })
}

/// When faults are to be over here.
const ENDS_AT_MS: u64 = 1_700_000_000_000;

/// Applied when it is its turn.
async fn engage(guards: &Guards, lever: Lever) -> Result<u64, GuardError> {
    let turn = guards.turn(lever).await;
    guards.engage("one", turn, ENDS_AT_MS).await
}

fn journal(folder: &std::path::Path) -> Journal {
    let journal = Journal::open(folder).unwrap();
    let (endpoint, region) = (None, "us-east-1".into());
    journal.record(Step::Target { endpoint, region, account_id: "1".into() }).unwrap();
    journal
}

#[tokio::test]
async fn a_fault_is_put_back_to_exactly_what_was_there() {
    for prior in [None, Some(0), Some(7)] {
        let (setting, folder) = (Setting::new(Mutex::new(prior)), tempfile::tempdir().unwrap());
        let guards = Guards::new(cloud(&setting).await, journal(folder.path()));
        let fault = engage(&guards, held_to("worker", 3)).await.unwrap();
        assert_eq!(*setting.lock().unwrap(), Some(3));
        let report = guards.release(fault).await.unwrap();
        assert_eq!((report.error, *setting.lock().unwrap()), (None, prior), "absent is not zero");
        assert_eq!(recovery(folder.path()).unwrap().open, Vec::new());
    }
}

#[tokio::test]
async fn a_setting_that_another_run_s_fault_holds_is_not_journalled_as_what_must_be_put_back() {
    let (setting, folder) = (Setting::new(Mutex::new(Some(0))), tempfile::tempdir().unwrap());
    let guards = Guards::new(cloud(&setting).await, journal(folder.path()));
    let error = engage(&guards, lever()).await.unwrap_err();
    assert!(matches!(error, GuardError::FaultedAlready { .. }), "{error}");
    assert_eq!(recovery(folder.path()).unwrap().faults, 0, "there is no intent");
    assert_eq!((guards.release_all().await, *setting.lock().unwrap()), (Vec::new(), Some(0)));
    *setting.lock().unwrap() = Some(7);
    engage(&guards, lever()).await.unwrap();
}

#[tokio::test]
async fn a_panic_of_the_harness_puts_everything_back() {
    let (setting, folder) = (Setting::new(Mutex::new(None)), tempfile::tempdir().unwrap());
    let guards = Guards::new(cloud(&setting).await, journal(folder.path()));
    let outcome = guards.around(Box::pin(async {
        engage(&guards, lever()).await.unwrap();
        assert_eq!(*setting.lock().unwrap(), Some(0));
        panic!("a defect");
    }));
    let outcome: Result<(), String> = outcome.await;
    assert_eq!((outcome, *setting.lock().unwrap()), (Err("a defect".to_owned()), None));
    assert_eq!(recovery(folder.path()).unwrap().open, Vec::new());
}

#[tokio::test]
async fn a_run_that_died_is_recovered_from_its_journal_alone() {
    let (setting, folder) = (Setting::new(Mutex::new(Some(7))), tempfile::tempdir().unwrap());
    let cloud = cloud(&setting).await;
    let guards = Guards::new(cloud.clone(), journal(folder.path()));
    engage(&guards, lever()).await.unwrap();
    drop(guards);
    assert_eq!(*setting.lock().unwrap(), Some(0), "dropping puts nothing back: that is what died");
    let open = recovery(folder.path()).unwrap().open;
    let journal = Journal::open(folder.path()).unwrap();
    for entry in &open {
        assert_eq!(release(&cloud, &journal, entry).await.error, None);
    }
    assert_eq!((open.len(), *setting.lock().unwrap()), (1, Some(7)));
    assert_eq!(recovery(folder.path()).unwrap().open, Vec::new(), "a second recovery has nothing to do");
}

#[tokio::test]
async fn an_intent_whose_change_never_came_is_released_without_harm() {
    let (setting, folder) = (Setting::new(Mutex::new(None)), tempfile::tempdir().unwrap());
    let journal = journal(folder.path());
    let intent = Step::Intent { fault: 0, experiment: "one".into(), lever: lever(), prior: Value::Null };
    journal.record(intent).unwrap();
    let open = recovery(folder.path()).unwrap().open;
    let report = release(&cloud(&setting).await, &journal, &open[0]).await;
    assert_eq!((report.error, *setting.lock().unwrap()), (None, None));
}

/// Answers the n-th read with an error, whatever is there.
fn refused_at(refused: usize, setting: &Setting) -> aws_sdk_lambda::Client {
    let (reads, get, delete) = (AtomicUsize::new(0), Arc::clone(setting), Arc::clone(setting));
    let is_refused = move || reads.fetch_add(1, Ordering::SeqCst) + 1 == refused;
    let rules = [
        mock!(aws_sdk_lambda::Client::get_function_concurrency)
            .match_requests(move |_| is_refused())
            .then_error(|| {
                let error = ResourceNotFoundException::builder().build();
                GetFunctionConcurrencyError::ResourceNotFoundException(error)
            }),
        mock!(aws_sdk_lambda::Client::get_function_concurrency).then_compute_output(move |_| {
            let reserved = *get.lock().unwrap();
            GetFunctionConcurrencyOutput::builder().set_reserved_concurrent_executions(reserved).build()
        }),
        mock!(aws_sdk_lambda::Client::delete_function_concurrency).then_compute_output(move |_| {
            *delete.lock().unwrap() = None;
            DeleteFunctionConcurrencyOutput::builder().build()
        }),
    ];
    mocked::lambda(&rules)
}

/// The journal of a run that died with this fault in effect.
fn left(folder: &std::path::Path, lever: Lever, prior: Value) -> Open {
    let intent = Step::Intent { fault: 0, experiment: "one".into(), lever, prior };
    journal(folder).record(intent).unwrap();
    recovery(folder).unwrap().open.remove(0)
}

/// With the worker at zero; before, it had no reserved concurrency.
fn left_at_zero(folder: &std::path::Path) -> (Setting, Open) {
    (Setting::new(Mutex::new(Some(0))), left(folder, lever(), Value::Null))
}

#[tokio::test]
async fn a_read_back_that_fails_once_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, entry) = left_at_zero(folder.path());
    let cloud = Cloud { lambda: refused_at(1, &setting), ..mocked::cloud().await };
    let report = release(&cloud, &Journal::open(folder.path()).unwrap(), &entry).await;
    assert_eq!((report.error, *setting.lock().unwrap()), (None, None));
    assert_eq!(recovery(folder.path()).unwrap().open, Vec::new());
}

#[tokio::test]
async fn a_way_back_that_cannot_be_recorded_is_gone_to_its_end_and_told_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, entry) = left_at_zero(folder.path());
    let report = release(&cloud(&setting).await, &Journal::unwritable(folder.path()), &entry).await;
    let error = report.error.unwrap();
    assert!(error.starts_with("the setting reads as before, and that could not be recorded: "), "{error}");
    assert_eq!(*setting.lock().unwrap(), None);
    assert_eq!(recovery(folder.path()).unwrap().open.len(), 1, "a second way back does no harm");
}

#[tokio::test]
async fn the_last_change_is_put_back_first() {
    let (setting, folder) = (Setting::new(Mutex::new(Some(7))), tempfile::tempdir().unwrap());
    let guards = Guards::new(cloud(&setting).await, journal(folder.path()));
    engage(&guards, lever()).await.unwrap();
    // Another function; both are mocked as one.
    engage(&guards, held_to("other", 1)).await.unwrap();
    let reports = guards.release_all().await;
    let priors: Vec<Value> = reports.iter().map(|report| report.prior.clone()).collect();
    assert_eq!((priors, *setting.lock().unwrap()), (vec![json!(0), json!(7)], Some(7)));
    assert_eq!(guards.release_all().await, Vec::new());
}

#[tokio::test]
async fn a_recovery_leaves_alone_what_was_changed_since_unless_it_is_told_to_write_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let (setting, entry) = left_at_zero(folder.path());
    *setting.lock().unwrap() = Some(9);
    let (cloud, journal) = (cloud(&setting).await, Journal::open(folder.path()).unwrap());
    let error = recover(&cloud, &journal, &entry, false).await.unwrap_err().to_string();
    assert!(error.contains("it is 9 and was null before the fault"), "{error}");
    assert_eq!((*setting.lock().unwrap(), recovery(folder.path()).unwrap().open.len()), (Some(9), 1));
    assert_eq!(recover(&cloud, &journal, &entry, true).await.unwrap(), Recovered::PutBack);
    assert_eq!((*setting.lock().unwrap(), recovery(folder.path()).unwrap().open.len()), (None, 0));
}

#[tokio::test]
async fn a_recovery_puts_back_what_is_as_the_fault_or_the_run_before_it_left_it() {
    for found in [Some(0), None] {
        let folder = tempfile::tempdir().unwrap();
        let (setting, entry) = left_at_zero(folder.path());
        *setting.lock().unwrap() = found;
        let (cloud, journal) = (cloud(&setting).await, Journal::open(folder.path()).unwrap());
        assert_eq!(recover(&cloud, &journal, &entry, false).await.unwrap(), Recovered::PutBack);
        assert_eq!((*setting.lock().unwrap(), recovery(folder.path()).unwrap().open.len()), (None, 0));
    }
}

/// Far more than any of these waits; time is paused.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_fault_waits_until_another_one_on_its_setting_is_put_back() {
    let (setting, folder) = (Setting::new(Mutex::new(Some(7))), tempfile::tempdir().unwrap());
    let guards = Guards::new(cloud(&setting).await, journal(folder.path()));
    let first = engage(&guards, lever()).await.unwrap();
    let elsewhere = timeout(LONG, guards.turn(of_function("other"))).await;
    assert!(elsewhere.is_ok(), "another setting is nobody's");
    assert!(timeout(LONG, engage(&guards, lever())).await.is_err(), "the first is in effect");
    let (report, second) = tokio::join!(guards.release(first), engage(&guards, lever()));
    assert_eq!(report.unwrap().error, None);
    let report = guards.release(second.unwrap()).await.unwrap();
    assert_eq!((report.error, report.prior), (None, json!(7)), "what the first found, and not what it set");
    assert_eq!((*setting.lock().unwrap(), recovery(folder.path()).unwrap().open.len()), (Some(7), 0));
}

/// Reserved concurrency that was none before, and cannot be taken away for so long.
async fn cloud_that_keeps(setting: &Setting, refusing: Duration) -> Cloud {
    let (get, put, delete) = (Arc::clone(setting), Arc::clone(setting), Arc::clone(setting));
    let began = Instant::now();
    let rules = [
        mock!(aws_sdk_lambda::Client::get_function_concurrency).then_compute_output(move |_| {
            let reserved = *get.lock().unwrap();
            GetFunctionConcurrencyOutput::builder().set_reserved_concurrent_executions(reserved).build()
        }),
        mock!(aws_sdk_lambda::Client::put_function_concurrency).then_compute_output(move |input| {
            *put.lock().unwrap() = input.reserved_concurrent_executions();
            PutFunctionConcurrencyOutput::builder().build()
        }),
        mock!(aws_sdk_lambda::Client::delete_function_concurrency)
            .match_requests(move |_| began.elapsed() < refusing)
            .then_error(|| {
                let error = ResourceConflictException::builder().build();
                DeleteFunctionConcurrencyError::ResourceConflictException(error)
            }),
        mock!(aws_sdk_lambda::Client::delete_function_concurrency).then_compute_output(move |_| {
            *delete.lock().unwrap() = None;
            DeleteFunctionConcurrencyOutput::builder().build()
        }),
    ];
    Cloud { lambda: mocked::lambda(&rules), ..mocked::cloud().await }
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_could_not_be_put_back_stays_open_and_is_tried_once_more_whenever_that_is_asked_for() {
    let (setting, folder) = (Setting::new(Mutex::new(None)), tempfile::tempdir().unwrap());
    let cloud = cloud_that_keeps(&setting, Duration::from_secs(100)).await;
    let guards = Guards::new(cloud, journal(folder.path()));
    let fault = engage(&guards, lever()).await.unwrap();
    let began = Instant::now();
    assert!(guards.release(fault).await.unwrap().error.is_some());
    let patient = began.elapsed();
    assert!((30..60).contains(&patient.as_secs()), "{patient:?}");
    assert!(guards.release_all().await[0].error.is_some());
    assert_eq!(began.elapsed(), patient, "one attempt");
    let turn = timeout(Duration::from_secs(10), guards.turn(lever())).await;
    assert!(turn.is_err(), "it is still in effect, and its setting is not another one's");
    assert_eq!((guards.reports().len(), *setting.lock().unwrap()), (1, Some(0)));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(guards.around(async {}).await, Ok(()));
    let reports = guards.reports();
    assert_eq!((reports.len(), &reports[0].error), (1, &None), "in the place of the first");
    assert_eq!((*setting.lock().unwrap(), recovery(folder.path()).unwrap().open.len()), (None, 0));
    assert!(timeout(LONG, guards.turn(lever())).await.is_ok(), "whoever waits comes after it");
}

/// A table whose policy was changed just before: "Subsequent updates to a policy for a given resource are blocked for 15 seconds".
async fn cloud_with_blocked_policy(policy: &Arc<Mutex<Option<String>>>) -> Cloud {
    let (is_there, get, delete) = (Arc::clone(policy), Arc::clone(policy), Arc::clone(policy));
    let (put, began) = (Arc::clone(policy), Instant::now());
    let is_blocked = move || began.elapsed() < Duration::from_secs(15);
    let rules = [
        mock!(aws_sdk_dynamodb::Client::put_resource_policy)
            .match_requests(move |_| is_blocked())
            .then_error(|| {
                let error = ResourceInUseException::builder().build();
                PutResourcePolicyError::ResourceInUseException(error)
            }),
        mock!(aws_sdk_dynamodb::Client::put_resource_policy).then_compute_output(move |input| {
            *put.lock().unwrap() = input.policy().map(str::to_owned);
            PutResourcePolicyOutput::builder().build()
        }),
        mock!(aws_sdk_dynamodb::Client::get_resource_policy)
            .match_requests(move |_| is_there.lock().unwrap().is_none())
            .then_error(|| {
                let error = PolicyNotFoundException::builder().build();
                GetResourcePolicyError::PolicyNotFoundException(error)
            }),
        mock!(aws_sdk_dynamodb::Client::get_resource_policy).then_compute_output(move |_| {
            GetResourcePolicyOutput::builder().set_policy(get.lock().unwrap().clone()).build()
        }),
        mock!(aws_sdk_dynamodb::Client::delete_resource_policy)
            .match_requests(move |_| is_blocked())
            .then_error(|| {
                let error = LimitExceededException::builder().build();
                DeleteResourcePolicyError::LimitExceededException(error)
            }),
        mock!(aws_sdk_dynamodb::Client::delete_resource_policy).then_compute_output(move |_| {
            *delete.lock().unwrap() = None;
            DeleteResourcePolicyOutput::builder().build()
        }),
    ];
    Cloud { dynamodb: mocked::dynamodb(&rules), ..mocked::cloud().await }
}

/// Of a time that is over.
fn table_deny() -> Lever {
    Lever::TableDeny(TableDeny {
        table: "tasks".into(),
        table_arn: "arn".into(),
        actions: vec!["dynamodb:GetItem".into()],
        until_ms: 0,
    })
}

#[tokio::test(start_paused = true)]
async fn a_denial_of_a_table_whose_policy_was_just_changed_begins_as_soon_as_aws_allows_it() {
    let (folder, policy) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(None)));
    let cloud = cloud_with_blocked_policy(&policy).await;
    let guards = Guards::new(cloud, journal(folder.path()));
    let began = Instant::now();
    let fault = engage(&guards, table_deny()).await.unwrap();
    let waited = began.elapsed();
    assert!((15..20).contains(&waited.as_secs()), "{waited:?}");
    assert!(policy.lock().unwrap().is_some());
    assert_eq!(guards.release(fault).await.unwrap().error, None);
    assert_eq!(*policy.lock().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_denial_outlives_its_fault_by_a_minute_whenever_its_turn_came_and_the_journal_says_so_too() {
    let until_ms = ENDS_AT_MS + 60_000;
    let (folder, policy) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(None)));
    let cloud = cloud_with_blocked_policy(&policy).await;
    let guards = Guards::new(cloud, journal(folder.path()));
    engage(&guards, table_deny()).await.unwrap();
    let text = policy.lock().unwrap().clone().unwrap();
    assert!(text.contains("\"2023-11-14T22:14:20Z\""), "{text}");
    let Lever::TableDeny(deny) = &recovery(folder.path()).unwrap().open[0].lever else {
        panic!("another lever")
    };
    assert_eq!(deny.until_ms, until_ms);
    let queue = QueueDeny {
        queue_url: "url".into(),
        queue_arn: "arn".into(),
        actions: vec!["sqs:SendMessage".into()],
        until_ms: 0,
    };
    let role = RolePermission { role_arn: "arn".into(), actions: queue.actions.clone(), until_ms: 0 };
    for denial in [Lever::QueueDeny(queue), Lever::RolePermission(role)] {
        assert_eq!(serde_json::to_value(denial.dated(ENDS_AT_MS)).unwrap()["until_ms"], json!(until_ms));
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_of_a_table_that_was_just_put_is_taken_away_as_soon_as_aws_allows_it() {
    let denial = r#"{"Version":"2012-10-17","Statement":[{"Sid":"ChaosDenyUntil","Effect":"Deny"}]}"#;
    for is_recovery in [false, true] {
        let (folder, policy) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(Some(denial.to_owned()))));
        let entry = left(folder.path(), table_deny(), Value::Null);
        let (cloud, journal) =
            (cloud_with_blocked_policy(&policy).await, Journal::open(folder.path()).unwrap());
        let error = if is_recovery {
            recover(&cloud, &journal, &entry, false).await.err().map(|error| error.to_string())
        } else {
            release(&cloud, &journal, &entry).await.error
        };
        assert_eq!((error, policy.lock().unwrap().clone()), (None, None));
        assert_eq!(recovery(folder.path()).unwrap().open, Vec::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_on_a_function_that_is_no_more_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, entry) = left_at_zero(folder.path());
    let no_function = mock!(aws_sdk_lambda::Client::get_function_concurrency).then_error(|| {
        let code = ErrorMetadata::builder().code("ResourceNotFoundException").build();
        let error = ResourceNotFoundException::builder().meta(code).build();
        GetFunctionConcurrencyError::ResourceNotFoundException(error)
    });
    let cloud = Cloud { lambda: mocked::lambda(&[no_function]), ..mocked::cloud().await };
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(recover(&cloud, &journal, &entry, false).await.unwrap(), Recovered::Gone);
    assert_eq!(recovery(folder.path()).unwrap().open, Vec::new(), "a second recovery has nothing to do");
}

/// The cap of an ACTIVE table, in units read and written; -1 is none.
async fn cloud_with_cap(cap: &Arc<Mutex<(i64, i64)>>) -> Cloud {
    let (describe, update) = (Arc::clone(cap), Arc::clone(cap));
    let rules = [
        mock!(aws_sdk_dynamodb::Client::describe_table).then_compute_output(move |_| {
            let (read, write) = *describe.lock().unwrap();
            let cap = OnDemandThroughput::builder().max_read_request_units(read);
            let cap = cap.max_write_request_units(write).build();
            let table = TableDescription::builder().table_status(TableStatus::Active);
            DescribeTableOutput::builder().table(table.on_demand_throughput(cap).build()).build()
        }),
        mock!(aws_sdk_dynamodb::Client::update_table).then_compute_output(move |input| {
            let cap = input.on_demand_throughput().unwrap();
            let (read, write) = (cap.max_read_request_units(), cap.max_write_request_units());
            *update.lock().unwrap() = (read.unwrap(), write.unwrap());
            UpdateTableOutput::builder().build()
        }),
    ];
    Cloud { dynamodb: mocked::dynamodb(&rules), ..mocked::cloud().await }
}

#[tokio::test]
async fn a_recovery_leaves_alone_what_was_changed_beside_what_the_fault_changed() {
    // The fault capped the writes; whoever capped the reads since must not lose that.
    for (found, is_put_back) in [((-1, 5), true), ((1_000, 5), false)] {
        let (folder, cap) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(found)));
        let lever = Lever::OnDemandCap(OnDemandCap {
            table: "tasks".into(),
            table_arn: "arn".into(),
            read_units: None,
            write_units: Some(5),
        });
        let entry = left(folder.path(), lever, json!({"read_units": -1, "write_units": -1}));
        let (cloud, journal) = (cloud_with_cap(&cap).await, Journal::open(folder.path()).unwrap());
        let outcome = recover(&cloud, &journal, &entry, false).await;
        assert_eq!(outcome.is_ok(), is_put_back, "{outcome:?}");
        assert_eq!(*cap.lock().unwrap(), if is_put_back { (-1, -1) } else { found });
        assert_eq!(recovery(folder.path()).unwrap().open.is_empty(), is_put_back);
    }
}

/// The policy of a queue; SQS says of a queue without one that it is empty.
async fn cloud_with_policy(policy: &Arc<Mutex<String>>) -> Cloud {
    let (get, set) = (Arc::clone(policy), Arc::clone(policy));
    let rules = [
        mock!(aws_sdk_sqs::Client::get_queue_attributes).then_compute_output(move |_| {
            let policy = (QueueAttributeName::Policy, get.lock().unwrap().clone());
            GetQueueAttributesOutput::builder().set_attributes(Some([policy].into())).build()
        }),
        mock!(aws_sdk_sqs::Client::set_queue_attributes).then_compute_output(move |input| {
            *set.lock().unwrap() = input.attributes().unwrap()[&QueueAttributeName::Policy].clone();
            SetQueueAttributesOutput::builder().build()
        }),
    ];
    Cloud { sqs: mocked::sqs(&rules), ..mocked::cloud().await }
}

#[tokio::test]
async fn a_recovery_leaves_alone_a_policy_that_got_another_statement_since() {
    let ours = r#"{"Sid":"ChaosDenyUntil","Effect":"Deny"}"#;
    let theirs = r#"{"Sid":"Theirs","Effect":"Allow"}"#;
    for (statements, is_put_back) in [(ours.to_owned(), true), (format!("{ours},{theirs}"), false)] {
        let folder = tempfile::tempdir().unwrap();
        let found = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        let policy = Arc::new(Mutex::new(found.clone()));
        let lever = Lever::QueueDeny(QueueDeny {
            queue_url: "http://127.0.0.1:9/1/tasks".into(),
            queue_arn: "arn".into(),
            actions: vec!["sqs:SendMessage".into()],
            until_ms: 0,
        });
        let entry = left(folder.path(), lever, Value::Null);
        let (cloud, journal) = (cloud_with_policy(&policy).await, Journal::open(folder.path()).unwrap());
        let outcome = recover(&cloud, &journal, &entry, false).await;
        assert_eq!(outcome.is_ok(), is_put_back, "{outcome:?}");
        assert_eq!(*policy.lock().unwrap(), if is_put_back { String::new() } else { found });
    }
}

#[tokio::test]
async fn a_throttle_of_a_route_that_is_back_already_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let lever = Lever::HttpThrottle(HttpThrottle {
        api_id: "api".into(),
        stage: "$default".into(),
        route: Some("POST /tasks".into()),
        rate_per_second: 10.0,
        burst: 5,
    });
    let entry = left(folder.path(), lever, Value::Null);
    let rules = [
        mock!(aws_sdk_apigatewayv2::Client::get_stage)
            .then_output(|| GetStageOutput::builder().stage_name("$default").build()),
        mock!(aws_sdk_apigatewayv2::Client::delete_route_settings)
            .then_error(|| DeleteRouteSettingsError::NotFoundException(NotFoundException::builder().build())),
    ];
    let cloud = Cloud { apigateway: mocked::apigateway(&rules), ..mocked::cloud().await };
    let journal = Journal::open(folder.path()).unwrap();
    assert_eq!(recover(&cloud, &journal, &entry, false).await.unwrap(), Recovered::PutBack);
    assert_eq!((rules[1].num_calls(), recovery(folder.path()).unwrap().open.len()), (1, 0));
}
