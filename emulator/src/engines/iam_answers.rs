//! IAM whose ids are of upper-case letters, as AWS's are, and whose ListPolicies lists what was asked for.

use bytes::Bytes;

use super::access_keys::AccessKeys;
use crate::iam::{AWS_POLICIES, form_value, unique_id};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// Members that hold an id.
const IDS: [&str; 5] = ["RoleId", "UserId", "GroupId", "PolicyId", "InstanceProfileId"];
const MEMBER: (&str, &str) = ("<member>", "</member>");

/// IAM's answers as AWS gives them.
pub(super) struct IamAnswers {
    engine: AccessKeys,
}

impl IamAnswers {
    pub(super) const fn new(engine: AccessKeys) -> Self {
        Self { engine }
    }
}

impl Service for IamAnswers {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let wanted = Wanted::of(&request);
            let mut answer = self.engine.handle(request).await;
            let text = String::from_utf8_lossy(&answer.body);
            let text = IDS.iter().fold(text.into_owned(), |xml, tag| upper_case(&xml, tag));
            answer.body = Bytes::from(match wanted {
                Some(wanted) => wanted.select(&text),
                None => text,
            });
            answer.headers.remove(http::header::CONTENT_LENGTH);
            answer
        })
    }
}

/// Which policies a ListPolicies asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    of_aws: bool,
    of_the_account: bool,
    only_attached: bool,
}

impl Wanted {
    /// None when all are asked for, or something else.
    fn of(request: &AwsRequest) -> Option<Self> {
        let has = |name: &str, value: &str| form_value(request, name).as_deref() == Some(value);
        if !has("Action", "ListPolicies") {
            return None;
        }
        let wanted = Self {
            of_aws: !has("Scope", "Local"),
            of_the_account: !has("Scope", "AWS"),
            only_attached: has("OnlyAttached", "true"),
        };
        let is_all = wanted.of_aws && wanted.of_the_account && !wanted.only_attached;
        (!is_all).then_some(wanted)
    }

    fn wants(self, policy: &str) -> bool {
        let is_of_aws = policy.contains(&format!("<Arn>{AWS_POLICIES}"));
        let is_attached = !policy.contains("<AttachmentCount>0</AttachmentCount>");
        (if is_of_aws { self.of_aws } else { self.of_the_account }) && (is_attached || !self.only_attached)
    }

    fn select(self, xml: &str) -> String {
        let (open, close) = MEMBER;
        let mut selected = String::new();
        let mut rest = xml;
        while let Some((before, from)) = rest.split_once(open) {
            let (policy, after) = from.split_once(close).unwrap_or((from, ""));
            selected.push_str(before);
            if self.wants(policy) {
                selected.extend([open, policy, close]);
            }
            rest = after;
        }
        selected + rest
    }
}

/// `xml` with what stands in members of that name as it is shown.
fn upper_case(xml: &str, tag: &str) -> String {
    let open = format!("<{tag}>");
    let mut pieces = xml.split(&open);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (id, rest) = piece.split_at(piece.find('<').unwrap_or(piece.len()));
        shown.extend([open.as_str(), &unique_id(id), rest]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "<Policies>\
        <member><Arn>arn:aws:iam::aws:policy/A</Arn><AttachmentCount>0</AttachmentCount></member>\
        <member><Arn>arn:aws:iam::aws:policy/B</Arn><AttachmentCount>1</AttachmentCount></member>\
        <member><Arn>arn:aws:iam::1:policy/C</Arn><AttachmentCount>0</AttachmentCount></member>\
        <member><Arn>arn:aws:iam::1:policy/D</Arn><AttachmentCount>2</AttachmentCount></member></Policies>";

    fn wanted(form: &str) -> Option<Wanted> {
        Wanted::of(&AwsRequest::unsigned("iam", http::Method::POST, "/", form))
    }

    #[test]
    fn policies_are_listed_by_scope_and_by_whether_something_has_them() {
        for (form, names) in [
            ("Action=ListPolicies&Scope=Local", vec!["C", "D"]),
            ("Action=ListPolicies&Scope=AWS", vec!["A", "B"]),
            ("Action=ListPolicies&OnlyAttached=true", vec!["B", "D"]),
            ("Action=ListPolicies&Scope=Local&OnlyAttached=true", vec!["D"]),
            ("Action=List%50olicies&Scope=AWS&Sc%6fpe=Local", vec!["C", "D"]),
        ] {
            let selected = wanted(form).unwrap().select(LISTED);
            let listed: Vec<&str> =
                selected.split("policy/").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
            assert_eq!(listed, names, "{form}");
            assert!(selected.ends_with("</Policies>"), "{selected}");
        }
        for all in ["Action=ListPolicies", "Action=ListPolicies&Scope=All", "Action=ListRoles&Scope=Local"] {
            assert_eq!(wanted(all), None, "{all}");
        }
    }

    #[test]
    fn ids_are_of_upper_case_letters() {
        let xml = "<Role><RoleId>AROAx1y</RoleId><RoleName>x</RoleName></Role><RoleId>b</RoleId>";
        assert_eq!(
            upper_case(xml, "RoleId"),
            "<Role><RoleId>AROAX1Y</RoleId><RoleName>x</RoleName></Role><RoleId>B</RoleId>"
        );
    }
}
