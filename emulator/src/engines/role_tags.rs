//! IAM whose GetRole answers with the role's tags, description and permissions boundary, as AWS's does: without them every plan
//! would add them again. Whose descriptions can be taken away, and whose roles have their boundary from the start.

use std::sync::Arc;

use bytes::Bytes;
use winterbaume_core::StatefulService as _;
use winterbaume_iam::IamService;
use winterbaume_iam::views::RoleView;

use super::adapter::Engine;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// Where the engine keeps a service without regions.
pub(super) const REGION: &str = "us-east-1";
const ROLE_END: &str = "</Role>";
const TAGS: (&str, &str) = ("<Tags>", "</Tags>");
const UPDATE_DESCRIPTION: &str = "Action=UpdateRoleDescription";
const CREATE: &str = "Action=CreateRole";

/// IAM with tags and description in GetRole, and with empty descriptions.
pub(super) struct RoleTags {
    engine: Engine,
    state: Arc<IamService>,
    account_id: Arc<str>,
}

impl RoleTags {
    pub(super) fn new(engine: Engine, state: Arc<IamService>, account_id: &Arc<str>) -> Self {
        Self { engine, state, account_id: Arc::clone(account_id) }
    }

    async fn role(&self, request: &AwsRequest) -> Option<RoleView> {
        let form = form_of(request);
        let name = form.split('&').find_map(|field| field.strip_prefix("RoleName="))?;
        // Names have no character that a form would encode but these.
        let name = name.replace("%2B", "+").replace("%3D", "=").replace("%2C", ",").replace("%40", "@");
        self.state.snapshot(&self.account_id, REGION).await.roles.remove(&name)
    }

    /// The engine makes a role without its boundary.
    async fn create_role(&self, request: AwsRequest) -> AwsResponse {
        let bound = form_of(&request).replacen(CREATE, "Action=PutRolePermissionsBoundary", 1);
        let bound = AwsRequest { body: Bytes::from(bound), ..request.clone() };
        let answer = self.engine.handle(request).await;
        if answer.status.is_success() {
            self.engine.handle(bound).await;
        }
        answer
    }

    async fn get_role(&self, request: AwsRequest) -> AwsResponse {
        let mut list = request.clone();
        let described = request.clone();
        list.body = Bytes::from(form_of(&request).replacen("Action=GetRole", "Action=ListRoleTags", 1));
        let mut answer = self.engine.handle(request).await;
        if answer.status.is_success() {
            let listed = self.engine.handle(list).await;
            let listed = String::from_utf8_lossy(&listed.body).into_owned();
            let mut role = String::from_utf8_lossy(&answer.body).into_owned();
            if let Some(found) = self.role(&described).await {
                role = with_description(&role, &found.description);
                role = with_boundary(&role, found.permissions_boundary.as_deref());
            }
            answer.body = Bytes::from(with_tags(&role, &listed));
            answer.headers.remove(http::header::CONTENT_LENGTH);
        }
        answer
    }

    /// AWS takes an empty description, which is how one is taken away. Of the engine's two operations that set it only
    /// UpdateRole does, and that one answers without the role.
    async fn remove_description(&self, request: AwsRequest) -> AwsResponse {
        let form = form_of(&request);
        let instead = |action| AwsRequest {
            body: Bytes::from(form.replacen(UPDATE_DESCRIPTION, action, 1)),
            ..request.clone()
        };
        let updated = self.engine.handle(instead("Action=UpdateRole")).await;
        if !updated.status.is_success() {
            return updated;
        }
        let mut answer = self.get_role(instead("Action=GetRole")).await;
        // Response and result alike; a name of a role is never behind a bracket.
        let role = String::from_utf8_lossy(&answer.body).replace("<GetRole", "<UpdateRoleDescription");
        answer.body = Bytes::from(role.replace("</GetRole", "</UpdateRoleDescription"));
        answer
    }
}

impl Service for RoleTags {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let form = form_of(&request);
            let has = |wanted| form.split('&').any(|field| field == wanted);
            if has("Action=GetRole") {
                self.get_role(request).await
            } else if has(CREATE) && form.contains("&PermissionsBoundary=") {
                self.create_role(request).await
            } else if has(UPDATE_DESCRIPTION) && has("Description=") {
                self.remove_description(request).await
            } else {
                self.engine.handle(request).await
            }
        })
    }
}

fn form_of(request: &AwsRequest) -> String {
    String::from_utf8_lossy(&request.body).into_owned()
}

fn with_description(role: &str, text: &str) -> String {
    if role.contains("<Description>") || text.is_empty() {
        return role.to_owned();
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    role.replacen(ROLE_END, &format!("<Description>{text}</Description>{ROLE_END}"), 1)
}

fn with_boundary(role: &str, arn: Option<&str>) -> String {
    let Some(arn) = arn.filter(|_| !role.contains("<PermissionsBoundary>")) else { return role.to_owned() };
    let boundary = format!(
        "<PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>\
         <PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn></PermissionsBoundary>"
    );
    role.replacen(ROLE_END, &format!("{boundary}{ROLE_END}"), 1)
}

/// The role's XML with the tags of the list's XML as its last member.
fn with_tags(role: &str, listed: &str) -> String {
    let (open, close) = TAGS;
    let tags = listed.find(open).zip(listed.find(close)).map(|(from, to)| &listed[from..to + close.len()]);
    match tags {
        Some(tags) if !role.contains(open) => role.replacen(ROLE_END, &format!("{tags}{ROLE_END}"), 1),
        _ => role.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::adapter::Scope;

    async fn ask(iam: &RoleTags, form: &str) -> (u16, String) {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let request = AwsRequest {
            method: http::Method::POST,
            path: "/".to_owned(),
            query: String::new(),
            headers,
            body: Bytes::from(form.to_owned()),
            service: "iam".to_owned(),
            region: REGION.to_owned(),
            access_key_id: "AKID".to_owned(),
        };
        let answer = iam.handle(request).await;
        (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
    }

    #[tokio::test]
    async fn a_description_can_be_changed_and_taken_away() {
        let state = Arc::new(IamService::new());
        let engine = Engine::new("iam", Scope::Global, state.clone());
        let account: Arc<str> = winterbaume_core::default_account_id().into();
        let iam = RoleTags::new(engine, state, &account);
        let create = "Action=CreateRole&RoleName=r&Description=first&AssumeRolePolicyDocument=%7B%7D";
        assert_eq!(ask(&iam, create).await.0, 200);
        for (description, shown) in [("second", "<Description>second</Description>"), ("", "")] {
            let form = format!("Action=UpdateRoleDescription&RoleName=r&Description={description}");
            let (status, updated) = ask(&iam, &form).await;
            assert_eq!(status, 200, "{updated}");
            assert!(updated.contains("</UpdateRoleDescriptionResult>"), "{updated}");
            let (_, role) = ask(&iam, "Action=GetRole&RoleName=r").await;
            let found = role.find("<Description>").map_or("", |at| &role[at..at + shown.len()]);
            assert_eq!(found, shown, "{role}");
        }
        let unknown = "Action=UpdateRoleDescription&RoleName=nobody&Description=";
        assert_eq!(ask(&iam, unknown).await.0, 404);
    }

    #[tokio::test]
    async fn a_boundary_is_there_from_the_start_and_is_shown_until_it_is_taken_away() {
        let state = Arc::new(IamService::new());
        let engine = Engine::new("iam", Scope::Global, state.clone());
        let account: Arc<str> = winterbaume_core::default_account_id().into();
        let iam = RoleTags::new(engine, state, &account);
        let policy = "arn:aws:iam::123456789012:policy/p";
        let create = "Action=CreateRole&RoleName=r&AssumeRolePolicyDocument=%7B%7D";
        assert_eq!(ask(&iam, &format!("{create}&PermissionsBoundary={policy}")).await.0, 200);
        let (_, role) = ask(&iam, "Action=GetRole&RoleName=r").await;
        let shown = format!("<PermissionsBoundaryArn>{policy}</PermissionsBoundaryArn>");
        assert!(role.contains(&shown), "{role}");
        assert_eq!(ask(&iam, "Action=DeleteRolePermissionsBoundary&RoleName=r").await.0, 200);
        let (_, role) = ask(&iam, "Action=GetRole&RoleName=r").await;
        assert!(!role.contains("<PermissionsBoundary>"), "{role}");
    }

    #[test]
    fn tags_become_the_last_member_of_the_role_and_only_once() {
        let role = "<R><Role><Path>/</Path></Role></R>";
        let listed = "<L><Tags><member><Key>a</Key><Value>b</Value></member></Tags></L>";
        let tagged = with_tags(role, listed);
        assert_eq!(
            tagged,
            "<R><Role><Path>/</Path><Tags><member><Key>a</Key><Value>b</Value></member></Tags></Role></R>"
        );
        assert_eq!(with_tags(&tagged, listed), tagged);
        assert_eq!(with_tags(role, "<L/>"), role);
    }
}
