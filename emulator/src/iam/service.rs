//! The IAM API: an engine that stores, and a watch on what it stores.

use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};
use winterbaume_core::{StatefulService, default_account_id};
use winterbaume_iam::{IamService, IamStateView};

use super::document::{self, Owner, Unfit};
use super::{Iam, form_pairs, identity, managed, refusal};
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// IAM is a global service, which the engine keeps in this region.
const REGION: &str = "us-east-1";
const NAMESPACE: &str = " xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"";
const BOUNDARY: &str = "PermissionsBoundary";
/// Who gives a role or a user its boundary.
const SET_BOUNDARIES: [&str; 4] =
    ["CreateRole", "CreateUser", "PutRolePermissionsBoundary", "PutUserPermissionsBoundary"];

/// The API in front of the engine that keeps its state.
pub struct IamApi {
    iam: Iam,
    engine: Arc<IamService>,
    /// The same engine as a service on the wire.
    front: Arc<dyn Service>,
    managed: OnceCell<()>,
    /// Had by whoever changes something, until it is in force: else what a change left could replace what one after it left.
    turn: Mutex<()>,
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
        let decides = iam.clone();
        engine.notifier().subscribe(move |_, _, view: &IamStateView| {
            decides.replace_identities(|before| identity::read(view, before));
        });
        Self { iam, engine, front, managed: OnceCell::new(), turn: Mutex::default() }
    }

    async fn answer(&self, request: AwsRequest) -> AwsResponse {
        let form = Form::of(&request);
        let names_managed_policy = form.names_managed_policy();
        let _turn = if form.changes() || names_managed_policy { Some(self.turn.lock().await) } else { None };
        if names_managed_policy {
            self.managed.get_or_init(|| self.add_managed_policies()).await;
        }
        // What was accepted once is not asked again when it is made again, by this version or a later one.
        if !repeatable::is_repeated()
            && let Err(unfit) = self.check(&form).await
        {
            return refused(&unfit);
        }
        let answer = self.front.handle(request).await;
        if answer.status.is_success() && form.changes() {
            self.engine.notify_state_changed(default_account_id(), REGION).await;
        }
        answer
    }

    /// IAM refuses what the engine would keep: what is no policy, and what is too large. A member that is missing is the
    /// engine's to refuse.
    async fn check(&self, form: &Form) -> Result<(), Unfit> {
        let Some(action) = form.value("Action") else { return Ok(()) };
        self.check_document(&action, form).await?;
        self.check_deletion(&action, form).await?;
        if let Some(arn) = form.value("PolicyArn").filter(|_| action.starts_with("Attach")) {
            self.check_of_owner(form, |view, owner| document::check_attached(view, owner, &arn)).await?;
        }
        match form.value(BOUNDARY) {
            Some(arn) if SET_BOUNDARIES.contains(&action.as_str()) => {
                document::check_boundary(&self.stored().await, &arn)
            }
            _ => Ok(()),
        }
    }

    async fn check_document(&self, action: &str, form: &Form) -> Result<(), Unfit> {
        let member = if action == "CreateRole" { "AssumeRolePolicyDocument" } else { "PolicyDocument" };
        let Some(text) = form.value(member) else { return Ok(()) };
        match action {
            "CreateRole" | "UpdateAssumeRolePolicy" => document::check_trust(&text, |principal| {
                self.iam.may_be_named(default_account_id(), principal)
            }),
            "CreatePolicy" | "CreatePolicyVersion" => {
                document::check_identity(&text)?;
                document::check_managed_size(&text)
            }
            "PutRolePolicy" | "PutUserPolicy" | "PutGroupPolicy" => {
                document::check_identity(&text)?;
                let Some(name) = form.value("PolicyName") else { return Ok(()) };
                self.check_of_owner(form, |view, owner| {
                    document::check_inline_size(view, owner, &name, &text)
                })
                .await
            }
            _ => Ok(()),
        }
    }

    async fn check_deletion(&self, action: &str, form: &Form) -> Result<(), Unfit> {
        let member = match action {
            "DeleteUser" => "UserName",
            "DeleteGroup" => "GroupName",
            "DeletePolicy" => "PolicyArn",
            _ => return Ok(()),
        };
        let Some(name) = form.value(member) else { return Ok(()) };
        let view = self.stored().await;
        match action {
            "DeleteUser" => document::check_deleted_user(&view, &name),
            "DeleteGroup" => document::check_deleted_group(&view, &name),
            _ => document::check_deleted_policy(&view, &name),
        }
    }

    async fn check_of_owner(
        &self,
        form: &Form,
        check: impl FnOnce(&IamStateView, Owner<'_>) -> Result<(), Unfit>,
    ) -> Result<(), Unfit> {
        let (role, user, group) = (form.value("RoleName"), form.value("UserName"), form.value("GroupName"));
        let owner = role.as_deref().map(Owner::Role).or_else(|| user.as_deref().map(Owner::User));
        let Some(owner) = owner.or_else(|| group.as_deref().map(Owner::Group)) else { return Ok(()) };
        check(&self.stored().await, owner)
    }

    async fn stored(&self) -> IamStateView {
        self.engine.snapshot(default_account_id(), REGION).await
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
    pairs: Vec<(String, String)>,
}

impl Form {
    fn of(request: &AwsRequest) -> Self {
        Self { pairs: form_pairs(request) }
    }

    fn value(&self, name: &str) -> Option<String> {
        // Of several the engine reads the last.
        self.pairs.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// AWS's own policies are added when someone first names one, or lists them.
    fn names_managed_policy(&self) -> bool {
        let lists = self.value("Action").is_some_and(|action| action == "ListPolicies");
        let names = |member| self.value(member).is_some_and(|arn| arn.starts_with(managed::ARN_PREFIX));
        lists || names("PolicyArn") || names(BOUNDARY)
    }

    fn changes(&self) -> bool {
        let reads = ["Get", "List", "Generate", "Simulate"];
        self.value("Action").is_some_and(|action| !reads.iter().any(|verb| action.starts_with(verb)))
    }
}

fn refused(unfit: &Unfit) -> AwsResponse {
    let (status, code) = unfit.status_and_code();
    refusal::query(status, NAMESPACE, code, &unfit.to_string())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use http::StatusCode;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::iam::tests::form;

    /// Lets calls through one by one.
    struct Gate {
        reached: AtomicUsize,
        open: Semaphore,
    }

    impl Service for Gate {
        fn handle(&self, _request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
            Box::pin(async {
                self.reached.fetch_add(1, Ordering::Relaxed);
                self.open.acquire().await.unwrap().forget();
                AwsResponse::new(StatusCode::OK, "text/xml", "")
            })
        }
    }

    #[tokio::test]
    async fn a_change_waits_until_the_one_before_it_is_in_force_and_a_read_does_not() {
        let gate = Arc::new(Gate { reached: AtomicUsize::new(0), open: Semaphore::new(0) });
        let front: Arc<dyn Service> = Arc::<Gate>::clone(&gate);
        let api = IamApi::new(Iam::new(true), Arc::new(IamService::new()), front);
        let call = |action| api.handle(form("iam", "", action, &[("UserName", "u")]));
        let mut first = pin!(call("TagUser"));
        let mut second = pin!(call("UntagUser"));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(gate.reached.load(Ordering::Relaxed), 1);
        let mut read = pin!(call("GetUser"));
        assert!(read.as_mut().now_or_never().is_none());
        assert_eq!(gate.reached.load(Ordering::Relaxed), 2);
        gate.open.add_permits(1);
        assert_eq!(first.await.status, 200);
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(gate.reached.load(Ordering::Relaxed), 3);
        gate.open.add_permits(2);
        assert_eq!((read.await.status, second.await.status), (StatusCode::OK, StatusCode::OK));
    }
}
