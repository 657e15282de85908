//! Lambda, its event source mappings, and FIS: what they refuse.

use aws_sdk_fis::types::{
    CreateExperimentTemplateActionInput, CreateExperimentTemplateStopConditionInput,
    CreateExperimentTemplateTargetInput,
};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, InvocationType, Runtime};

use crate::world::World;

pub(crate) async fn what_does_not_exist_is_not_found(world: &World) {
    let lambda = Client::new(&world.config);
    let name = world.name("function");
    let arn = format!("arn:aws:lambda:us-east-1:{}:function:{name}", world.account_id);
    let error = lambda.get_function().function_name(&name).send().await.unwrap_err();
    assert_eq!(error.message(), Some(&*format!("Function not found: {arn}")));
    assert!(error.into_service_error().is_resource_not_found_exception());
    for kind in [InvocationType::RequestResponse, InvocationType::Event] {
        let error = lambda.invoke().function_name(&name).invocation_type(kind).send().await.unwrap_err();
        assert!(error.into_service_error().is_resource_not_found_exception());
    }
    let missing = "00000000-0000-4000-8000-000000000000";
    let error = lambda.get_event_source_mapping().uuid(missing).send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    assert!(lambda.delete_function().function_name(&name).send().await.is_err());
}

pub(crate) async fn what_cannot_be_is_refused_at_creation(world: &World) {
    let lambda = Client::new(&world.config);
    let create = |role: &str, memory_mb| {
        let code = FunctionCode::builder().zip_file(Blob::new(*b"not a zip")).build();
        let request = lambda.create_function().function_name(world.name("function")).handler("bootstrap");
        request.runtime(Runtime::Providedal2023).code(code).role(role).memory_size(memory_mb).send()
    };
    let role = format!("arn:aws:iam::{}:role/conformance-none", world.account_id);
    let error = create("r1", 128).await.unwrap_err();
    assert_eq!(error.code(), Some("ValidationException"), "{error:?}");
    let error = create(&role, 64).await.unwrap_err();
    assert_eq!(error.code(), Some("ValidationException"), "{error:?}");
    let error = create(&role, 128).await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValueException"), "{error:?}");
}

pub(crate) async fn mappings_are_checked_when_they_are_made(world: &World) {
    let lambda = Client::new(&world.config);
    let queue = format!("arn:aws:sqs:us-east-1:{}:{}", world.account_id, world.name("queue"));
    let function = world.name("function");
    let create = |batch| {
        let request = lambda.create_event_source_mapping().function_name(&function).event_source_arn(&queue);
        request.batch_size(batch).send()
    };
    let error = create(10).await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValueException"), "{error:?}");
    // "When you set BatchSize to a value greater than 10, you must set MaximumBatchingWindowInSeconds to at least 1."
    let error = create(11).await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValueException"), "{error:?}");
}

pub(crate) async fn templates_that_aws_rejects_are_rejected(world: &World) {
    let fis = aws_sdk_fis::Client::new(&world.config);
    let role = format!("arn:aws:iam::{}:role/conformance-none", world.account_id);
    let action = CreateExperimentTemplateActionInput::builder()
        .action_id("aws:fis:inject-api-throttle-error")
        .parameters("service", "sqs")
        .parameters("operations", "SendMessage")
        .parameters("percentage", "100")
        .parameters("duration", "PT1M")
        .targets("Roles", "roles")
        .build()
        .unwrap();
    let roles = CreateExperimentTemplateTargetInput::builder()
        .resource_type("aws:iam:role")
        .resource_arns(&role)
        .selection_mode("ALL")
        .build()
        .unwrap();
    let stop = CreateExperimentTemplateStopConditionInput::builder().source("none").build().unwrap();
    let request = fis.create_experiment_template().client_token(world.name("token")).description("d");
    let request = request.role_arn(&role).stop_conditions(stop).actions("a", action).targets("roles", roles);
    let error = request.send().await.unwrap_err();
    assert!(error.into_service_error().is_validation_exception());
    let error = fis.get_experiment_template().id("EXTnone").send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
    let error = fis.get_experiment().id("EXPnone").send().await.unwrap_err();
    assert!(error.into_service_error().is_resource_not_found_exception());
}
