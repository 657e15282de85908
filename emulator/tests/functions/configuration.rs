//! What a function's configuration shows while it is made and changed, and what it refuses.

use std::time::Duration;

use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    AliasRoutingConfiguration, DeadLetterConfig, DestinationConfig, FunctionCode, InvocationType,
    LastUpdateStatus, OnFailure, OnSuccess, State,
};
use serde_json::{Value, json};

use crate::by_hand;
use crate::functions::{Account, body, echo, package, package_of};

const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";
const STALE: &str = "The Revision Id provided does not match the latest Revision Id. \
                     Call the GetFunction/GetAlias API to retrieve the latest Revision Id";
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
    assert_eq!(stale.message(), Some(STALE));
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
async fn an_alias_with_two_versions_runs_each_by_its_weight() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    account.lambda.publish_version().function_name("f").send().await.unwrap();
    let update = account.lambda.update_function_configuration().function_name("f").description("second");
    update.send().await.unwrap();
    account.active("f").await;
    account.lambda.publish_version().function_name("f").send().await.unwrap();
    let alias = account.lambda.create_alias().function_name("f").name("live").function_version("1");
    alias.send().await.unwrap();
    for (weight, version) in [(0.0, "1"), (1.0, "2")] {
        let routing = AliasRoutingConfiguration::builder().additional_version_weights("2", weight).build();
        let update = account.lambda.update_alias().function_name("f").name("live").routing_config(routing);
        update.send().await.unwrap();
        let variable = json!({"do": "variable", "name": "AWS_LAMBDA_FUNCTION_VERSION"});
        let output = account.invoke("f:live", variable).await;
        assert_eq!((output.executed_version(), body(&output)), (Some(version), json!(version)));
    }
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
async fn how_events_are_retried_is_one_setting_for_the_function_and_its_latest_version() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    account.lambda.publish_version().function_name("f").send().await.unwrap();
    let put = || account.lambda.put_function_event_invoke_config().function_name("f");
    let get = |qualifier: &str| {
        account.lambda.get_function_event_invoke_config().function_name("f").qualifier(qualifier).send()
    };
    let list = || account.lambda.list_function_event_invoke_configs().function_name("f");
    put().maximum_retry_attempts(1).send().await.unwrap();
    assert_eq!(get("$LATEST").await.unwrap().maximum_retry_attempts(), Some(1));
    let none = get("1").await.unwrap_err().into_service_error();
    assert!(none.is_resource_not_found_exception(), "{none:?}");
    let message = format!("The function {ARN}:1 doesn't have an EventInvokeConfig");
    assert_eq!(none.message(), Some(message.as_str()));

    put().qualifier("1").maximum_event_age_in_seconds(120).send().await.unwrap();
    let first = list().max_items(1).send().await.unwrap();
    let second = list().marker(first.next_marker().unwrap()).send().await.unwrap();
    assert_eq!(second.next_marker(), None);
    for (page, qualifier) in [(first, "$LATEST"), (second, "1")] {
        let shown = page.function_event_invoke_configs();
        let arns: Vec<_> = shown.iter().map(|config| config.function_arn().unwrap()).collect();
        assert_eq!(arns, [format!("{ARN}:{qualifier}")]);
    }

    let delete = || account.lambda.delete_function_event_invoke_config().function_name("f");
    delete().qualifier("$LATEST").send().await.unwrap();
    let gone = delete().send().await.unwrap_err().into_service_error();
    assert!(gone.is_resource_not_found_exception(), "{gone:?}");
    assert_eq!(list().send().await.unwrap().function_event_invoke_configs().len(), 1);
    let nobody = account.lambda.list_function_event_invoke_configs().function_name("nobody").send().await;
    assert_eq!(nobody.unwrap_err().message(), Some("The function doesn't exist."));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_to_functions_that_are_there_and_not_back_to_their_own() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    account.function("other", 60, &[], &[]).await;
    let put = || account.lambda.put_function_event_invoke_config().function_name("f");
    let to = |destination: &str| {
        let done = OnSuccess::builder().destination(destination).build();
        put().destination_config(DestinationConfig::builder().on_success(done).build()).send()
    };
    let missing = "arn:aws:lambda:us-east-1:123456789012:function:nobody";
    let invalid = format!("The destination ARN {missing} is invalid.");
    for (destination, message) in
        [(missing, invalid.as_str()), (ARN, "You can't specify the function as a destination for itself.")]
    {
        let refused = to(destination).await.unwrap_err().into_service_error();
        assert!(refused.is_invalid_parameter_value_exception(), "{refused:?}");
        assert_eq!(refused.message(), Some(message));
    }
    let nothing = put().send().await.unwrap_err().into_service_error();
    assert!(nothing.is_invalid_parameter_value_exception(), "{nothing:?}");
    let message = "You must specify at least one of error handling or destination setting.";
    assert_eq!(nothing.message(), Some(message));
    let nobody = put().qualifier("nobody").maximum_retry_attempts(1).send().await.unwrap_err();
    assert_eq!(nobody.message(), Some("The function doesn't exist."));
    assert!(nobody.into_service_error().is_resource_not_found_exception());
    to("arn:aws:lambda:us-east-1:123456789012:function:other").await.unwrap();
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
    let failed = OnFailure::builder().destination(topic).build();
    let config = DestinationConfig::builder().on_failure(failed).build();
    let put = account.lambda.put_function_event_invoke_config().function_name("f");
    let error = put.destination_config(config).send().await.unwrap_err().into_service_error();
    let message = format!("The destination {topic} is not part of this emulator.");
    assert_eq!(error.message(), Some(message.as_str()));
    let dead = DeadLetterConfig::builder().target_arn(topic).build();
    let update = account.lambda.update_function_configuration().function_name("f").dead_letter_config(dead);
    let error = update.send().await.unwrap_err().into_service_error();
    let message = format!("The dead-letter target {topic} is not part of this emulator.");
    assert_eq!(error.message(), Some(message.as_str()));
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_shown_as_it_was_given_until_it_is_taken_away() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/k";
    let account = by_hand().await;
    let created = account.creation("f", package()).kms_key_arn(key).send().await.unwrap();
    assert_eq!(created.kms_key_arn(), Some(key));
    account.active("f").await;
    let update = || account.lambda.update_function_configuration().function_name("f");
    assert_eq!(update().memory_size(256).send().await.unwrap().kms_key_arn(), Some(key));
    account.active("f").await;
    assert_eq!(update().kms_key_arn("").send().await.unwrap().kms_key_arn(), None);
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_alone_makes_no_version() {
    let account = by_hand().await;
    account.creation("f", package()).publish(true).send().await.unwrap();
    account.active("f").await;
    let publish = |description: Option<&str>| {
        let call = account.lambda.publish_version().function_name("f");
        call.set_description(description.map(str::to_owned)).send()
    };
    let first = account.lambda.get_function_configuration().function_name("f").qualifier("1").send().await;
    let again = publish(Some("repeated")).await.unwrap();
    assert_eq!((again.version(), again.description()), (Some("1"), Some("")));
    assert_eq!(again.revision_id(), first.unwrap().revision_id());

    let update = account.lambda.update_function_configuration().function_name("f").memory_size(256);
    update.send().await.unwrap();
    account.active("f").await;
    let second = publish(Some("own")).await.unwrap();
    assert_eq!((second.version(), second.description()), (Some("2"), Some("own")));
    let again = publish(None).await.unwrap();
    assert_eq!((again.version(), again.description()), (Some("2"), Some("own")));
    let versions = account.lambda.list_versions_by_function().function_name("f").send().await.unwrap();
    assert_eq!(versions.versions().len(), 3, "with $LATEST");
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_of_a_function_a_version_or_an_alias_that_is_there() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let add = |qualifier: &str| {
        let add = account.lambda.add_permission().function_name("f").qualifier(qualifier).statement_id("s");
        add.action("lambda:InvokeFunction").principal("s3.amazonaws.com").send()
    };
    let latest = add("$LATEST").await.unwrap_err();
    assert_eq!(latest.message(), Some("We currently do not support adding policies for $LATEST."));
    assert!(latest.into_service_error().is_invalid_parameter_value_exception());
    for (qualifier, message) in [
        ("nobody", format!("Cannot find alias arn: {ARN}:nobody")),
        ("42", format!("Function not found: {ARN}:42")),
    ] {
        let missing = add(qualifier).await.unwrap_err();
        assert_eq!(missing.message(), Some(message.as_str()));
        assert!(missing.into_service_error().is_resource_not_found_exception());
        let remove = account.lambda.remove_permission().function_name("f").qualifier(qualifier);
        let missing = remove.statement_id("s").send().await.unwrap_err();
        assert_eq!(missing.message(), Some(message.as_str()));
    }
    // No qualifier at all, for some.
    add("").await.unwrap();
    account.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_and_what_it_is_of_have_one_revision_that_each_change_of_either_replaces() {
    let account = by_hand().await;
    account.function("f", 60, &[], &[]).await;
    let revision = async |qualifier: &str| {
        let found = account.lambda.get_function_configuration().function_name("f").qualifier(qualifier);
        found.send().await.unwrap().revision_id().unwrap().to_owned()
    };
    let policy = async |qualifier: Option<&str>| {
        let found = account.lambda.get_policy().function_name("f");
        let found = found.set_qualifier(qualifier.map(str::to_owned)).send().await.unwrap();
        found.revision_id().unwrap().to_owned()
    };
    let add = |sid: &str| {
        let add = account.lambda.add_permission().function_name("f").statement_id(sid);
        add.action("lambda:InvokeFunction").principal("s3.amazonaws.com")
    };
    let remove = || account.lambda.remove_permission().function_name("f").statement_id("s");

    let made = revision("$LATEST").await;
    let stale = add("s").revision_id("wrong").send().await.unwrap_err();
    assert_eq!((stale.raw_response().unwrap().status().as_u16(), stale.message()), (412, Some(STALE)));
    add("s").revision_id(&made).send().await.unwrap();
    let added = revision("$LATEST").await;
    assert_ne!(added, made);
    assert_eq!(policy(None).await, added);
    let stale = remove().revision_id(&made).send().await.unwrap_err();
    assert_eq!((stale.raw_response().unwrap().status().as_u16(), stale.message()), (412, Some(STALE)));
    remove().revision_id(&added).send().await.unwrap();
    let removed = revision("$LATEST").await;
    assert_ne!(removed, added);

    account.lambda.publish_version().function_name("f").revision_id(&removed).send().await.unwrap();
    let (published, version) = (revision("$LATEST").await, revision("1").await);
    assert!(published != removed && published != version);
    add("s").qualifier("1").revision_id(&version).send().await.unwrap();
    assert_ne!(revision("1").await, version);
    assert_eq!(policy(Some("1")).await, revision("1").await);
    assert_eq!(revision("$LATEST").await, published, "a version has its own");

    let alias = account.lambda.create_alias().function_name("f").name("live").function_version("1");
    let alias = alias.send().await.unwrap().revision_id.unwrap();
    add("s").qualifier("live").revision_id(&alias).send().await.unwrap();
    let live = account.lambda.get_alias().function_name("f").name("live").send().await.unwrap();
    assert_ne!(live.revision_id(), Some(alias.as_str()));
    assert_eq!(live.revision_id(), Some(policy(Some("live")).await.as_str()));
    let update = account.lambda.update_alias().function_name("f").name("live").revision_id(alias);
    assert_eq!(update.send().await.unwrap_err().message(), Some(STALE));
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
