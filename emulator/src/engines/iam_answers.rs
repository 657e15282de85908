//! IAM whose ids are of upper-case letters, as AWS's are, whose documents are percent-encoded, and whose ListPolicies lists what
//! was asked for.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::access_keys::AccessKeys;
use crate::iam::{AWS_POLICIES, form_value, unique_id};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};
use crate::xml::unescape;

/// Members that hold an id.
const IDS: [&str; 5] = ["RoleId", "UserId", "GroupId", "PolicyId", "InstanceProfileId"];
/// Members that hold a policy: "URL-encoded compliant with RFC 3986".
const DOCUMENTS: [&str; 3] = ["AssumeRolePolicyDocument", "PolicyDocument", "Document"];
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
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
            let text = IDS.iter().fold(text.into_owned(), |xml, tag| shown(&xml, tag, unique_id));
            let text = DOCUMENTS.iter().fold(text, |xml, tag| shown(&xml, tag, encoded));
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
fn shown(xml: &str, tag: &str, show: impl Fn(&str) -> String) -> String {
    let open = format!("<{tag}>");
    let mut pieces = xml.split(&open);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (text, rest) = piece.split_at(piece.find('<').unwrap_or(piece.len()));
        shown.extend([open.as_str(), &show(text), rest]);
    }
    shown
}

/// Whoever reads a document decodes it, and would take a `+` for a space and a `%` for the beginning of something.
fn encoded(text: &str) -> String {
    utf8_percent_encode(&unescape(text), ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::text_of;

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
            shown(xml, "RoleId", unique_id),
            "<Role><RoleId>AROAX1Y</RoleId><RoleName>x</RoleName></Role><RoleId>B</RoleId>"
        );
    }

    #[test]
    fn documents_are_percent_encoded() {
        let xml = "<Document>{&quot;a&quot;:&quot;1+1 %&amp;~&quot;}</Document><Other>a b</Other><Document/>";
        assert_eq!(
            shown(xml, "Document", encoded),
            "<Document>%7B%22a%22%3A%221%2B1%20%25%26~%22%7D</Document><Other>a b</Other><Document/>"
        );
    }

    #[tokio::test]
    async fn a_policy_is_answered_encoded_wherever_it_is_shown() {
        let (settings, _hand) = crate::sqs::tests::settings();
        let iam = crate::engines::iam(&settings);
        let ask = async |form: String| {
            let answer = iam.handle(AwsRequest::unsigned("iam", http::Method::POST, "/", &form)).await;
            assert_eq!(answer.status, 200, "{form}: {answer:?}");
            String::from_utf8(answer.body.to_vec()).unwrap()
        };
        let statement = |more: &str| {
            let condition = r#""Condition":{"StringLike":{"aws:username":"a+b %2B c"}}"#;
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",{more},{condition}}}]}}"#
            );
            utf8_percent_encode(&text, ENCODED).to_string()
        };
        let trust = statement(r#""Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}"#);
        let policy = statement(r#""Action":"sqs:SendMessage","Resource":"*""#);
        ask(format!("Action=CreateRole&RoleName=r&AssumeRolePolicyDocument={trust}")).await;
        ask(format!("Action=PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument={policy}")).await;
        let made = ask(format!("Action=CreatePolicy&PolicyName=m&PolicyDocument={policy}")).await;
        let arn = text_of(&made, "Arn").unwrap();
        for (form, tag, document) in [
            ("Action=GetRole&RoleName=r".to_owned(), "AssumeRolePolicyDocument", &trust),
            ("Action=ListRoles".to_owned(), "AssumeRolePolicyDocument", &trust),
            ("Action=GetRolePolicy&RoleName=r&PolicyName=p".to_owned(), "PolicyDocument", &policy),
            (format!("Action=GetPolicyVersion&PolicyArn={arn}&VersionId=v1"), "Document", &policy),
        ] {
            let answer = ask(form).await;
            assert!(answer.contains(&format!("<{tag}>{document}</{tag}>")), "{answer}");
        }
    }
}
