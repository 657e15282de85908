//! IAM whose GetRole answers with the role's tags, as AWS's does: without them every plan would add them again.

use bytes::Bytes;

use super::adapter::Engine;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

const ROLE_END: &str = "</Role>";
const TAGS: (&str, &str) = ("<Tags>", "</Tags>");

/// IAM with tags in GetRole.
pub(super) struct RoleTags {
    engine: Engine,
}

impl RoleTags {
    pub(super) const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    async fn get_role(&self, request: AwsRequest) -> AwsResponse {
        let mut list = request.clone();
        list.body = Bytes::from(form_of(&request).replacen("Action=GetRole", "Action=ListRoleTags", 1));
        let mut answer = self.engine.handle(request).await;
        if answer.status.is_success() {
            let listed = self.engine.handle(list).await;
            let listed = String::from_utf8_lossy(&listed.body).into_owned();
            let role = String::from_utf8_lossy(&answer.body).into_owned();
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
