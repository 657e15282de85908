//! IAM whose GetRole answers with the role's tags and description, as AWS's does: without them every plan would add them
//! again.

use std::sync::Arc;

use bytes::Bytes;
use winterbaume_core::StatefulService as _;
use winterbaume_iam::IamService;

use super::adapter::Engine;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// Where the engine keeps a service without regions.
const REGION: &str = "us-east-1";
const ROLE_END: &str = "</Role>";
const TAGS: (&str, &str) = ("<Tags>", "</Tags>");

/// IAM with tags and description in GetRole.
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
}

impl Service for RoleTags {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            if form_of(&request).split('&').any(|field| field == "Action=GetRole") {
                self.get_role(request).await
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
