//! IAM.

use serde_json::json;

use crate::world::{Made, World};

pub(crate) async fn what_is_no_policy_is_malformed(world: &World) {
    let name = world.name("role");
    world.made(Made::Role(name.clone()));
    for document in [
        "{",
        r#"{"Version":"2012-10-17"}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"sts:AssumeRole","Principal":"*"}]}"#,
    ] {
        let fields = [("RoleName", name.as_str()), ("AssumeRolePolicyDocument", document)];
        let answer = world.iam("CreateRole", &fields).await;
        assert_eq!((answer.status, answer.code.as_str()), (400, "MalformedPolicyDocument"), "{answer:?}");
    }
}

pub(crate) async fn a_name_is_taken_once_and_what_has_none_is_no_entity(world: &World) {
    let arn = world.role("lambda.amazonaws.com").await;
    let name = arn.rsplit('/').next().unwrap();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}},
    ]});
    let trust = trust.to_string();
    let twice = world.iam("CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", &trust)]).await;
    assert_eq!((twice.status, twice.code.as_str()), (409, "EntityAlreadyExists"), "{twice:?}");
    let nobody = world.name("role");
    for action in ["GetRole", "DeleteRole"] {
        let answer = world.iam(action, &[("RoleName", &nobody)]).await;
        assert_eq!((answer.status, answer.code.as_str()), (404, "NoSuchEntity"), "{action}: {answer:?}");
    }
}
