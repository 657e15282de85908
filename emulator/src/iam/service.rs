//! The IAM API: an engine that stores, and a watch on what it stores.

use std::sync::Arc;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use tokio::sync::OnceCell;
use winterbaume_core::{StatefulService, default_account_id};
use winterbaume_iam::{IamService, IamStateView};

use super::policy::{Kind, Malformed, Policy};
use super::{Iam, identity, managed, refusal};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// IAM is a global service, which the engine keeps in this region.
const REGION: &str = "us-east-1";
const NAMESPACE: &str = " xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"";

/// The API in front of the engine that keeps its state.
pub struct IamApi {
    engine: Arc<IamService>,
    /// The same engine as a service on the wire.
    front: Arc<dyn Service>,
    managed: OnceCell<()>,
}

impl std::fmt::Debug for IamApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IamApi").finish_non_exhaustive()
    }
}

impl IamApi {
    /// From now on every change of the engine's state, a restored one included, is what `iam` decides by.
    #[must_use]
    pub fn new(iam: Iam, engine: Arc<IamService>, front: Arc<dyn Service>) -> Self {
        engine.notifier().subscribe(move |_, _, view: &IamStateView| {
            iam.replace_identities(|before| identity::read(view, before));
        });
        Self { engine, front, managed: OnceCell::new() }
    }

    async fn answer(&self, request: AwsRequest) -> AwsResponse {
        let form = Form::of(&request);
        if let Some(error) = form.malformed_policy() {
            return malformed(&error);
        }
        if form.names_managed_policy() {
            self.managed.get_or_init(|| self.add_managed_policies()).await;
        }
        let answer = self.front.handle(request).await;
        if answer.status.is_success() && form.changes() {
            self.engine.notify_state_changed(default_account_id(), REGION).await;
        }
        answer
    }

    async fn add_managed_policies(&self) {
        if let Err(error) = self.engine.merge(default_account_id(), REGION, managed::state()).await {
            tracing::error!(%error, "AWS's own policies could not be added");
        }
    }
}

impl Service for IamApi {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(self.answer(request))
    }
}

/// The form of a request of the query protocol.
struct Form {
    text: String,
}

impl Form {
    fn of(request: &AwsRequest) -> Self {
        Self { text: format!("{}&{}", request.query, String::from_utf8_lossy(&request.body)) }
    }

    fn value(&self, name: &str) -> Option<String> {
        let pairs = self.text.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.replace('+', " ")).next()?;
        Some(percent_decode_str(&found).decode_utf8_lossy().into_owned())
    }

    /// AWS's own policies are added when someone first names one, or lists them.
    fn names_managed_policy(&self) -> bool {
        let lists = self.value("Action").is_some_and(|action| action == "ListPolicies");
        lists || self.value("PolicyArn").is_some_and(|arn| arn.starts_with(managed::ARN_PREFIX))
    }

    fn changes(&self) -> bool {
        let reads = ["Get", "List", "Generate", "Simulate"];
        self.value("Action").is_some_and(|action| !reads.iter().any(|verb| action.starts_with(verb)))
    }

    /// IAM refuses what is no policy; the engine would keep it.
    fn malformed_policy(&self) -> Option<Malformed> {
        let action = self.value("Action")?;
        let (document, kind) = match action.as_str() {
            "PutRolePolicy" | "PutUserPolicy" | "PutGroupPolicy" | "CreatePolicy" | "CreatePolicyVersion" => {
                (self.value("PolicyDocument")?, Kind::Identity)
            }
            "CreateRole" => (self.value("AssumeRolePolicyDocument")?, Kind::Resource),
            "UpdateAssumeRolePolicy" => (self.value("PolicyDocument")?, Kind::Resource),
            _ => return None,
        };
        Policy::parse(&document, kind).err()
    }
}

fn malformed(error: &Malformed) -> AwsResponse {
    let message = format!("Syntax errors in policy: {error}.");
    refusal::query(StatusCode::BAD_REQUEST, NAMESPACE, "MalformedPolicyDocument", &message)
}
