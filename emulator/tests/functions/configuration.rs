//! What a function's configuration shows while it is made and changed, and what it refuses.

use std::time::Duration;

use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, InvocationType, LastUpdateStatus, State};
use serde_json::{Value, json};

use crate::by_hand;
use crate::functions::{Account, echo, package, package_of};

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
/// "Pending" and "InProgress" last so long.
const SETTLE: Duration = Duration::from_millis(100);

async fn assert_pending(account: &Account, function: &str) {
    for kind in [InvocationType::RequestResponse, InvocationType::Event, InvocationType::DryRun] {
        let call = account.lambda.invoke().function_name(function).invocation_type(kind.clone());
        let error = call.send().await.unwrap_err().into_service_error();
        assert!(error.is_resource_conflict_exception(), "{kind:?}: {error:?}");
        assert_eq!(
            error.message(),
            Some(
                "The operation cannot be performed at this time. \
                 The function is currently in the following state: Pending"
            )
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_cannot_be_invoked_before_it_is_made_and_then_has_another_revision() {
    let account = by_hand().await;
    let created = account.creation("f", package()).send().await.unwrap();
    assert_eq!((created.state(), created.last_update_status()), (Some(&State::Pending), None));
    assert_pending(&account, "f").await;
    account.hand.as_ref().unwrap().advance(SETTLE);
    let get = || account.lambda.get_function_configuration().function_name("f").send();
    let found = get().await.unwrap();
    assert_eq!(found.state(), Some(&State::Active));
    assert_ne!(found.revision_id(), created.revision_id());
    assert_eq!(get().await.unwrap().revision_id(), found.revision_id());
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_is_refused_during_another_and_for_a_revision_that_is_not_the_newest() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let update = || account.lambda.update_function_configuration().function_name("f");
    let begun = update().memory_size(256).send().await.unwrap();
    assert_eq!(begun.last_update_status(), Some(&LastUpdateStatus::InProgress));
    let error = update().memory_size(512).send().await.unwrap_err().into_service_error();
    assert!(error.is_resource_conflict_exception(), "{error:?}");
    let in_progress = format!(
        "The operation cannot be performed at this time. An update is in progress for resource: {ARN}"
    );
    assert_eq!(error.message(), Some(in_progress.as_str()));
    let code = account.lambda.update_function_code().function_name("f").zip_file(Blob::new(package()));
    assert!(code.send().await.unwrap_err().into_service_error().is_resource_conflict_exception());
    let publish = account.lambda.publish_version().function_name("f");
    assert!(publish.send().await.unwrap_err().into_service_error().is_resource_conflict_exception());

    account.active("f").await;
    let found = account.lambda.get_function_configuration().function_name("f").send().await.unwrap();
    assert_eq!(found.memory_size(), Some(256));
    let (before, newest) = (begun.revision_id().unwrap(), found.revision_id().unwrap());
    assert_ne!(before, newest);
    let stale = update().memory_size(512).revision_id(before).send().await.unwrap_err();
    assert_eq!(stale.raw_response().unwrap().status().as_u16(), 412);
    assert!(stale.into_service_error().is_precondition_failed_exception());
    update().memory_size(512).revision_id(newest).send().await.unwrap();
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_published_with_its_code_is_pending_first() {
    let account = by_hand().await;
    let hand = account.hand.clone().unwrap();
    let get = |qualifier: &str| {
        account.lambda.get_function_configuration().function_name("f").qualifier(qualifier).send()
    };
    let created = account.creation("f", package()).publish(true).send().await.unwrap();
    assert_eq!((created.version(), created.function_arn()), (Some("1"), Some(ARN)));
    assert_eq!((created.state(), created.last_update_status()), (Some(&State::Pending), None));
    assert_pending(&account, "f:1").await;
    hand.advance(SETTLE);
    let first = get("1").await.unwrap();
    assert_eq!(first.function_arn(), Some(format!("{ARN}:1").as_str()));
    assert_eq!(first.last_update_status(), Some(&LastUpdateStatus::Successful));

    let other = package_of(&[("bootstrap", &echo()), ("other", b"code")]);
    let update = account.lambda.update_function_code().function_name("f").zip_file(Blob::new(other));
    let updated = update.publish(true).send().await.unwrap();
    assert_eq!((updated.version(), updated.function_arn()), (Some("2"), Some(format!("{ARN}:2").as_str())));
    assert_eq!((updated.state(), updated.last_update_status()), (Some(&State::Pending), None));
    assert_pending(&account, "f:2").await;
    assert_eq!(account.result("f:1", json!({"do": "count"})).await, json!(1), "the other version serves");
    let latest = get("$LATEST").await.unwrap();
    assert_eq!(latest.last_update_status(), Some(&LastUpdateStatus::InProgress));
    hand.advance(SETTLE);
    assert_eq!(get("2").await.unwrap().state(), Some(&State::Active));
    assert_eq!(account.result("f:2", json!({"do": "count"})).await, json!(1));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_is_asked_for_by_an_alias_shows_the_alias() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    account.lambda.publish_version().function_name("f").send().await.unwrap();
    let alias = account.lambda.create_alias().function_name("f").name("live").function_version("1");
    alias.send().await.unwrap();
    let found = account.lambda.get_function().function_name("f").qualifier("live").send().await.unwrap();
    let found = found.configuration().unwrap();
    assert_eq!((found.function_arn(), found.version()), (Some(format!("{ARN}:live").as_str()), Some("1")));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_events_are_retried_shows_only_what_was_set() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let put = account.lambda.put_function_event_invoke_config().function_name("f");
    let put = put.maximum_retry_attempts(0).send().await.unwrap();
    assert_eq!((put.maximum_retry_attempts(), put.maximum_event_age_in_seconds()), (Some(0), None));
    let found = account.lambda.get_function_event_invoke_config().function_name("f").send().await.unwrap();
    assert_eq!((found.maximum_retry_attempts(), found.maximum_event_age_in_seconds()), (Some(0), None));
    let update = account.lambda.update_function_event_invoke_config().function_name("f");
    let updated = update.maximum_event_age_in_seconds(60).send().await.unwrap();
    assert_eq!(
        (updated.maximum_retry_attempts(), updated.maximum_event_age_in_seconds()),
        (Some(0), Some(60))
    );
    let put = account.lambda.put_function_event_invoke_config().function_name("f");
    let put = put.maximum_event_age_in_seconds(120).send().await.unwrap();
    assert_eq!((put.maximum_retry_attempts(), put.maximum_event_age_in_seconds()), (None, Some(120)));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_of_an_object_is_refused_by_name() {
    let account = by_hand().await;
    let code = FunctionCode::builder().s3_bucket("b").s3_key("k").s3_object_version("v").build();
    let error = account.creation("f", package()).code(code).send().await.unwrap_err().into_service_error();
    assert!(error.is_invalid_parameter_value_exception(), "{error:?}");
    assert_eq!(error.message(), Some("S3ObjectVersion is not supported by the emulator."));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_here_says_so() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let layer = account.lambda.publish_layer_version().layer_name("l");
    let layer = layer.content(aws_sdk_lambda::types::LayerVersionContentInput::builder().build());
    let error = layer.send().await.unwrap_err().into_service_error();
    assert_eq!(error.code(), Some("UnknownOperationException"));
    let message = "POST /2018-10-31/layers/l/versions of Lambda is not part of this emulator.";
    assert_eq!(error.message(), Some(message));
    let topic = "arn:aws:sns:us-east-1:123456789012:t";
    let failed = aws_sdk_lambda::types::OnFailure::builder().destination(topic).build();
    let config = aws_sdk_lambda::types::DestinationConfig::builder().on_failure(failed).build();
    let put = account.lambda.put_function_event_invoke_config().function_name("f");
    let error = put.destination_config(config).send().await.unwrap_err().into_service_error();
    let message = format!("The destination {topic} is not part of this emulator.");
    assert_eq!(error.message(), Some(message.as_str()));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_has_every_condition_that_it_was_given() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let add = || {
        let add = account.lambda.add_permission().function_name("f").action("lambda:InvokeFunction");
        add.principal("*").source_account("123456789012").principal_org_id("o-1")
    };
    let source = "arn:aws:s3:::b";
    let added = add().statement_id("a").source_arn(source).event_source_token("skill");
    added.function_url_auth_type("NONE".into()).send().await.unwrap();
    let policy = account.lambda.get_policy().function_name("f").send().await.unwrap();
    let policy: Value = serde_json::from_str(policy.policy().unwrap()).unwrap();
    assert_eq!(
        policy["Statement"][0]["Condition"],
        json!({
            "ArnLike": {"AWS:SourceArn": source},
            "StringEquals": {
                "AWS:SourceAccount": "123456789012", "aws:PrincipalOrgID": "o-1",
                "lambda:EventSourceToken": "skill", "lambda:FunctionUrlAuthType": "NONE",
            },
        })
    );
    let refused = add().statement_id("b").function_url_auth_type("SOME".into()).send().await.unwrap_err();
    assert_eq!(refused.into_service_error().code(), Some("ValidationException"));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_that_are_not_reserved_can_be_replaced() {
    let account = by_hand().await;
    account.function("plain", 60, &[], &[]).await;
    let own = [
        ("TZ", "Europe/Berlin"),
        ("LANG", "C"),
        ("PATH", "/opt/bin:/bin"),
        ("LD_LIBRARY_PATH", "/opt/lib"),
        ("AWS_XRAY_CONTEXT_MISSING", "IGNORE_ERROR"),
    ];
    account.function("own", 60, &own, &[]).await;
    for (name, value) in own {
        let variable = json!({"do": "variable", "name": name});
        assert_eq!(account.result("own", variable.clone()).await, json!(value), "{name}");
        let default = account.result("plain", variable).await;
        assert!(default.is_string() && default != json!(value), "{name}: {default}");
    }
    account.running.shutdown().await;
}
