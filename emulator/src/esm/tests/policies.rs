//! What the policy of the queue says to the role of the function.

use super::*;
use crate::iam::tests::form;

const ROLE: &str = "arn:aws:iam::123456789012:role/worker";

/// The function with an execution role.
struct WithRole(Arc<Function>);

impl Invoke for WithRole {
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, InvokeOutcome> {
        self.0.invoke(request)
    }

    fn timeout_seconds(&self, function: &str) -> Option<u32> {
        self.0.timeout_seconds(function)
    }

    fn role_arn(&self, _function: &str) -> Option<String> {
        Some(ROLE.to_owned())
    }
}

#[tokio::test]
async fn a_denial_of_all_but_the_functions_role_does_not_stop_its_mapping() {
    let (settings, hand) = settings();
    let trust = r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}}}"#;
    let role = [("RoleName", "worker"), ("AssumeRolePolicyDocument", trust)];
    let iam = crate::engines::iam(&settings);
    assert_eq!(iam.handle(form("iam", "", "CreateRole", &role)).await.status, 200);
    let sqs = Sqs::start(settings.clone());
    let function = Function::new([]);
    let functions: Arc<dyn Invoke> = Arc::new(WithRole(Arc::clone(&function)));
    let esm = EventSourceMappings::new(settings, Arc::clone(sqs.account()), functions);
    esm.begin();
    let fixture = Fixture { sqs, esm, function, hand };
    let policy = json!({ "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"], "Resource": QUEUE_ARN,
        "Condition": { "ArnNotEquals": { "aws:PrincipalArn": ROLE } },
    }] });
    let attributes = json!({ "VisibilityTimeout": "6", "Policy": policy.to_string() });
    fixture.call("CreateQueue", json!({ "QueueName": "work", "Attributes": attributes })).await;
    let created = fixture.create(json!({}));
    assert_eq!(created.0, 202, "{}", created.1);
    fixture.hand.advance(Duration::from_millis(200));
    fixture.send("for the role").await;
    fixture.until("deletion", |fixture| fixture.left() == 0).await;
    assert_eq!(fixture.function.calls(), 1);
}
