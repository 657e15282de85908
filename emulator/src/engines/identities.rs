//! IAM whose GetRole and GetUser answer with tags, description and permissions boundary, as AWS's do: without them every plan
//! would add them again. Whose descriptions can be taken away, and whose roles and users have their boundary from the start.

use std::sync::Arc;

use bytes::Bytes;
use winterbaume_core::StatefulService as _;
use winterbaume_iam::IamService;

use super::adapter::{Engine, form_body};
use crate::iam::form_value;
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use crate::xml::escape;

/// Where the engine keeps a service without regions.
pub(super) const REGION: &str = "us-east-1";
const TAGS: (&str, &str) = ("<Tags>", "</Tags>");
const BOUNDARY: &str = "PermissionsBoundary";
const UPDATE_DESCRIPTION: &str = "UpdateRoleDescription";

/// What has policies, tags and a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Role,
    User,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Role, Self::User];

    const fn word(self) -> &'static str {
        match self {
            Self::Role => "Role",
            Self::User => "User",
        }
    }

    /// An operation on it.
    fn action(self, verb: &str, what: &str) -> String {
        format!("{verb}{}{what}", self.word())
    }

    /// `xml` with one more member behind the last one of the first role or user in it.
    fn with_member(self, xml: &str, member: &str) -> String {
        let end = format!("</{}>", self.word());
        xml.replacen(&end, &format!("{member}{end}"), 1)
    }
}

/// What the engine keeps of a role or user and does not show.
#[derive(Default)]
struct Hidden {
    description: String,
    boundary: Option<String>,
}

/// IAM with whole answers of GetRole and GetUser, and with empty descriptions.
pub(super) struct Identities {
    engine: Engine,
    state: Arc<IamService>,
    account_id: Arc<str>,
}

impl Identities {
    pub(super) fn new(engine: Engine, state: Arc<IamService>, account_id: &Arc<str>) -> Self {
        Self { engine, state, account_id: Arc::clone(account_id) }
    }

    async fn hidden(&self, kind: Kind, name: &str) -> Option<Hidden> {
        let mut kept = self.state.snapshot(&self.account_id, REGION).await;
        match kind {
            Kind::Role => {
                let role = kept.roles.remove(name)?;
                Some(Hidden { description: role.description, boundary: role.permissions_boundary })
            }
            Kind::User => {
                let user = kept.users.remove(name)?;
                Some(Hidden { description: String::new(), boundary: user.permissions_boundary })
            }
        }
    }

    /// The engine makes a role or a user without its boundary. One that cannot have it must not be there without.
    async fn create_bounded(&self, kind: Kind, request: AwsRequest) -> AwsResponse {
        let bound = instead(&request, &kind.action("Put", BOUNDARY));
        let delete = instead(&request, &kind.action("Delete", ""));
        let answer = self.engine.handle(request).await;
        if !answer.status.is_success() {
            return answer;
        }
        let bounded = self.engine.handle(bound).await;
        // An older emulator had made it without.
        if bounded.status.is_success() || repeatable::is_repeated() {
            return answer;
        }
        let deleted = self.engine.handle(delete).await;
        if !deleted.status.is_success() {
            tracing::error!(status = %deleted.status, "what has no boundary was not deleted again");
        }
        bounded
    }

    async fn get(&self, kind: Kind, request: AwsRequest) -> AwsResponse {
        let name = form_value(&request, &format!("{}Name", kind.word())).unwrap_or_default();
        let list = instead(&request, &kind.action("List", "Tags"));
        let mut answer = self.engine.handle(request).await;
        if answer.status.is_success() {
            let listed = self.engine.handle(list).await;
            let listed = String::from_utf8_lossy(&listed.body).into_owned();
            let hidden = self.hidden(kind, &name).await.unwrap_or_default();
            let mut whole = String::from_utf8_lossy(&answer.body).into_owned();
            whole = with_description(kind, &whole, &hidden.description);
            whole = with_boundary(kind, &whole, hidden.boundary.as_deref());
            answer.body = Bytes::from(with_tags(kind, &whole, &listed));
            answer.headers.remove(http::header::CONTENT_LENGTH);
        }
        answer
    }

    /// AWS takes an empty description, which is how one is taken away. Of the engine's two operations that set it only
    /// UpdateRole does, and that one answers without the role.
    async fn remove_description(&self, request: AwsRequest) -> AwsResponse {
        let updated = self.engine.handle(instead(&request, "UpdateRole")).await;
        if !updated.status.is_success() {
            return updated;
        }
        let get = instead(&request, "GetRole");
        let mut answer = self.get(Kind::Role, get).await;
        // Response and result alike; a name of a role is never behind a bracket.
        let role = String::from_utf8_lossy(&answer.body).replace("<GetRole", "<UpdateRoleDescription");
        answer.body = Bytes::from(role.replace("</GetRole", "</UpdateRoleDescription"));
        answer
    }
}

impl Service for Identities {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let action = form_value(&request, "Action").unwrap_or_default();
            let of_kind = |verb: &str| Kind::ALL.into_iter().find(|kind| action == kind.action(verb, ""));
            let given = |member: &str| form_value(&request, member);
            if let Some(kind) = of_kind("Get") {
                self.get(kind, request).await
            } else if let Some(kind) = of_kind("Create").filter(|_| given(BOUNDARY).is_some()) {
                self.create_bounded(kind, request).await
            } else if action == UPDATE_DESCRIPTION && given("Description").as_deref() == Some("") {
                self.remove_description(request).await
            } else {
                self.engine.handle(request).await
            }
        })
    }
}

/// The request as one for another operation: of several that a form names the last one counts.
fn instead(request: &AwsRequest, action: &str) -> AwsRequest {
    let mut form = form_body(request).to_vec();
    form.extend(format!("&Action={action}").into_bytes());
    AwsRequest { query: String::new(), body: Bytes::from(form), ..request.clone() }
}

fn with_description(kind: Kind, xml: &str, text: &str) -> String {
    if xml.contains("<Description>") || text.is_empty() {
        return xml.to_owned();
    }
    kind.with_member(xml, &format!("<Description>{}</Description>", escape(text)))
}

fn with_boundary(kind: Kind, xml: &str, arn: Option<&str>) -> String {
    let Some(arn) = arn.filter(|_| !xml.contains("<PermissionsBoundary>")) else { return xml.to_owned() };
    let boundary = format!(
        "<PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>\
         <PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn></PermissionsBoundary>"
    );
    kind.with_member(xml, &boundary)
}

/// The answer with the tags of the list's XML as the last member of what it shows.
fn with_tags(kind: Kind, xml: &str, listed: &str) -> String {
    let (open, close) = TAGS;
    let tags = listed.find(open).zip(listed.find(close)).map(|(from, to)| &listed[from..to + close.len()]);
    match tags {
        Some(tags) if !xml.contains(open) => kind.with_member(xml, tags),
        _ => xml.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::adapter::Scope;

    fn empty() -> Identities {
        let state = Arc::new(IamService::new());
        let engine = Engine::new("iam", Scope::Global, state.clone());
        let account: Arc<str> = winterbaume_core::default_account_id().into();
        Identities::new(engine, state, &account)
    }

    async fn ask(iam: &Identities, form: &str) -> (u16, String) {
        let mut request = AwsRequest::unsigned("iam", http::Method::POST, "/", form);
        let form = "application/x-www-form-urlencoded".parse().unwrap();
        request.headers.insert(http::header::CONTENT_TYPE, form);
        let answer = iam.handle(request).await;
        (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
    }

    #[tokio::test]
    async fn a_description_can_be_changed_and_taken_away() {
        let iam = empty();
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
        let iam = empty();
        let policy = "arn:aws:iam::123456789012:policy/p";
        for (kind, more) in [(Kind::Role, "&AssumeRolePolicyDocument=%7B%7D"), (Kind::User, "")] {
            let name = format!("{}Name=n", kind.word());
            let form = |action: String, more: &str| format!("Action={action}&{name}{more}");
            let create = form(kind.action("Create", ""), &format!("{more}&PermissionsBoundary={policy}"));
            assert_eq!(ask(&iam, &create).await.0, 200);
            let get = form(kind.action("Get", ""), "");
            let (_, shown) = ask(&iam, &get).await;
            let arn = format!("<PermissionsBoundaryArn>{policy}</PermissionsBoundaryArn>");
            assert!(shown.contains(&arn), "{shown}");
            let delete = form(kind.action("Delete", BOUNDARY), "");
            assert_eq!(ask(&iam, &delete).await.0, 200);
            let (_, shown) = ask(&iam, &get).await;
            assert!(!shown.contains("<PermissionsBoundary>"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_boundary_is_there_however_the_form_is_written() {
        let iam = empty();
        let policy = "arn:aws:iam::123456789012:policy/p";
        let form = format!("PermissionsBoundary={policy}&Action=CreateUser&UserName=first");
        assert_eq!(ask(&iam, &form).await.0, 200);
        let mut by_url = AwsRequest::unsigned("iam", http::Method::GET, "/", "");
        by_url.query = form.replace("first", "by-url");
        assert_eq!(iam.handle(by_url).await.status, 200);
        let names = ["PermissionsBoundary=&PermissionsBoundary", "Permissions%42oundary"];
        for (user, name) in ["last", "encoded"].into_iter().zip(names) {
            let form = format!("%41ction=CreateUser&UserName={user}&{name}={policy}");
            assert_eq!(ask(&iam, &form).await.0, 200, "{form}");
        }
        for name in ["first", "by-url", "last", "encoded"] {
            let (_, shown) = ask(&iam, &format!("Action=GetUser&UserName={name}")).await;
            assert!(shown.contains("<PermissionsBoundaryArn>"), "{name}: {shown}");
        }
    }

    #[tokio::test]
    async fn what_cannot_have_its_boundary_is_not_made() {
        let iam = empty();
        // The engine takes no empty one, and of two fields it takes the last.
        let create = "Action=CreateUser&UserName=n&PermissionsBoundary=p&PermissionsBoundary=";
        assert_ne!(ask(&iam, create).await.0, 200);
        assert_eq!(ask(&iam, "Action=GetUser&UserName=n").await.0, 404);
    }

    #[tokio::test]
    async fn what_an_older_emulator_made_without_its_boundary_is_made_again() {
        let iam = empty();
        let create = "Action=CreateUser&UserName=n&PermissionsBoundary=p&PermissionsBoundary=";
        let (status, answer) = repeatable::scope_again(0, 1, 0, ask(&iam, create)).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(ask(&iam, "Action=GetUser&UserName=n").await.0, 200);
    }

    #[tokio::test]
    async fn the_engine_reads_the_form_that_was_judged() {
        let iam = empty();
        assert_eq!(ask(&iam, "Action=CreateUser&UserName=n").await.0, 200);
        // The engine itself would read what stands behind the two characters as another action.
        assert_eq!(ask(&iam, "Action=ListUserTags&UserName=n&%zzAction=DeleteUser").await.0, 200);
        assert_eq!(ask(&iam, "Action=GetUser&UserName=n").await.0, 200);
    }

    #[tokio::test]
    async fn the_tags_of_roles_and_users_are_shown() {
        let iam = empty();
        for (kind, more) in [(Kind::Role, "&AssumeRolePolicyDocument=%7B%7D"), (Kind::User, "")] {
            let name = format!("{}Name=n", kind.word());
            let tags = "Tags.member.1.Key=team&Tags.member.1.Value=sre";
            let create = format!("Action={}&{name}{more}&{tags}", kind.action("Create", ""));
            assert_eq!(ask(&iam, &create).await.0, 200);
            let (_, shown) = ask(&iam, &format!("Action={}&{name}", kind.action("Get", ""))).await;
            assert!(shown.contains("<Key>team</Key>") && shown.contains("<Value>sre</Value>"), "{shown}");
        }
    }

    #[test]
    fn tags_become_the_last_member_of_the_role_and_only_once() {
        let role = "<R><Role><Path>/</Path></Role></R>";
        let listed = "<L><Tags><member><Key>a</Key><Value>b</Value></member></Tags></L>";
        let tagged = with_tags(Kind::Role, role, listed);
        assert_eq!(
            tagged,
            "<R><Role><Path>/</Path><Tags><member><Key>a</Key><Value>b</Value></member></Tags></Role></R>"
        );
        assert_eq!(with_tags(Kind::Role, &tagged, listed), tagged);
        assert_eq!(with_tags(Kind::Role, role, "<L/>"), role);
    }
}
