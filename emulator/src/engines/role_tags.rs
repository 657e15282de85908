//! IAM whose GetRole answers with the role's tags and description, as AWS's does: without them every plan would add them
//! again. And whose descriptions can be taken away.

use std::sync::Arc;

use bytes::Bytes;
use winterbaume_core::StatefulService as _;
use winterbaume_iam::IamService;

use super::adapter::Engine;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// Where the engine keeps a service without regions.
pub(super) const REGION: &str = "us-east-1";
const ROLE_END: &str = "</Role>";
const TAGS: (&str, &str) = ("<Tags>", "</Tags>");
const UPDATE_DESCRIPTION: &str = "Action=UpdateRoleDescription";

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

    async fn description(&self, request: &AwsRequest) -> Option<String> {
        let form = form_of(request);
        let name = form.split('&').find_map(|field| field.strip_prefix("RoleName="))?;
        // Names have no character that a form would encode but these.
        let name = name.replace("%2B", "+").replace("%3D", "=").replace("%2C", ",").replace("%40", "@");
        let roles = self.state.snapshot(&self.account_id, REGION).await.roles;
        roles.get(&name).map(|role| role.description.clone()).filter(|text| !text.is_empty())
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
            if let Some(text) = self.description(&described).await {
                role = with_description(&role, &text);
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
    if role.contains("<Description>") {
        return role.to_owned();
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    role.replacen(ROLE_END, &format!("<Description>{text}</Description>{ROLE_END}"), 1)
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
