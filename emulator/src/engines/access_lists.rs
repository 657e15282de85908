//! Access control lists of S3: what a call says of one, and the document that shows it. They grant nothing here.

use bytes::Bytes;

use crate::wire::AwsRequest;
use crate::xml::escape;

const NAME: &str = "x-amz-acl";
const ROOT: &str = "AccessControlPolicy";
const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";
/// Of Amazon EC2, which reads bundles of machine images.
const EC2: &str = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c";
/// S3's names, and what each grants to others than the owner.
const NAMES: [(&str, &[Granted]); 8] = [
    ("private", &[]),
    ("public-read", &[(Grantee::Group(ALL_USERS), "READ")]),
    ("public-read-write", &[(Grantee::Group(ALL_USERS), "READ"), (Grantee::Group(ALL_USERS), "WRITE")]),
    ("authenticated-read", &[(Grantee::Group(AUTHENTICATED_USERS), "READ")]),
    (
        "log-delivery-write",
        &[(Grantee::Group(LOG_DELIVERY), "WRITE"), (Grantee::Group(LOG_DELIVERY), "READ_ACP")],
    ),
    ("aws-exec-read", &[(Grantee::User(EC2), "READ")]),
    // Here an object has the owner of its bucket.
    ("bucket-owner-read", &[]),
    ("bucket-owner-full-control", &[]),
];
const GRANTS: [(&str, &str); 5] = [
    ("x-amz-grant-full-control", "FULL_CONTROL"),
    ("x-amz-grant-read", "READ"),
    ("x-amz-grant-read-acp", "READ_ACP"),
    ("x-amz-grant-write", "WRITE"),
    ("x-amz-grant-write-acp", "WRITE_ACP"),
];

/// To whom, and the permission.
type Granted = (Grantee<'static>, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grantee<'a> {
    User(&'a str),
    Mail(&'a str),
    Group(&'a str),
}

/// What was said of the list of a bucket or an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AccessList {
    /// As it was put.
    Document(Bytes),
    /// By one of S3's names: what others have than the owner.
    Named(&'static [Granted]),
    /// All grants there are, as XML.
    Grants(String),
}

impl AccessList {
    pub(super) fn in_headers(request: &AwsRequest) -> Option<Self> {
        if let Some(name) = request.header(NAME) {
            return NAMES
                .into_iter()
                .find(|(known, _)| *known == name)
                .map(|(_, granted)| Self::Named(granted));
        }
        let of_header = |(header, permission): (&str, &str)| {
            let grantees = request.header(header).unwrap_or_default();
            grantees.split(',').filter_map(Grantee::read).map(|to| grant(to, permission)).collect::<String>()
        };
        let grants: String = GRANTS.into_iter().map(of_header).collect();
        (!grants.is_empty()).then_some(Self::Grants(grants))
    }

    pub(super) fn in_body(body: &Bytes) -> Option<Self> {
        is_document(body, ROOT).then(|| Self::Document(body.clone()))
    }
}

impl<'a> Grantee<'a> {
    /// One of a header: `id="…"`, `uri="…"` or `emailAddress="…"`.
    fn read(text: &'a str) -> Option<Self> {
        let (kind, value) = text.trim().split_once('=')?;
        let value = value.trim_matches('"');
        match kind {
            "id" => Some(Self::User(value)),
            "uri" => Some(Self::Group(value)),
            "emailAddress" => Some(Self::Mail(value)),
            _ => None,
        }
    }
}

/// Whether a body is a document with this root, as far as that is opened and closed.
pub(super) fn is_document(body: &[u8], root: &str) -> bool {
    let text = String::from_utf8_lossy(body);
    let Some((begin, rest)) = text.split_once(&format!("<{root}")).and_then(|(_, rest)| rest.split_once('>'))
    else {
        return false;
    };
    let is_whole_name = begin.is_empty() || begin.starts_with(|c: char| c == '/' || c.is_ascii_whitespace());
    let closes = |end: &str| end.split_once('>').is_some_and(|(name, _)| name.trim_end() == root);
    let is_closed = begin.ends_with('/') || rest.rsplit_once("</").is_some_and(|(_, end)| closes(end));
    is_whole_name && is_closed
}

/// Whether a list is given by a name that S3 does not have.
pub(super) fn has_unknown_name(request: &AwsRequest) -> bool {
    request.header(NAME).is_some_and(|name| !NAMES.iter().any(|(known, _)| *known == name))
}

/// What shows the list. None: nobody said anything of it, and the owner may do everything.
pub(super) fn document(list: Option<&AccessList>, owner: &str) -> Bytes {
    let grants = match list {
        Some(AccessList::Document(document)) => return document.clone(),
        Some(AccessList::Grants(grants)) => grants.clone(),
        Some(AccessList::Named(granted)) => with_owner(owner, granted),
        None => with_owner(owner, &[]),
    };
    Bytes::from(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>{}</ID></Owner>\
         <AccessControlList>{grants}</AccessControlList></AccessControlPolicy>",
        escape(owner)
    ))
}

fn with_owner(owner: &str, granted: &[Granted]) -> String {
    let others = granted.iter().map(|(to, permission)| grant(*to, permission));
    std::iter::once(grant(Grantee::User(owner), "FULL_CONTROL")).chain(others).collect()
}

/// The kind of a grantee is an attribute, in a namespace that its own element declares: SDKs look for it nowhere else.
fn grant(to: Grantee<'_>, permission: &str) -> String {
    let (kind, member, value) = match to {
        Grantee::User(id) => ("CanonicalUser", "ID", id),
        Grantee::Mail(address) => ("AmazonCustomerByEmail", "EmailAddress", address),
        Grantee::Group(uri) => ("Group", "URI", uri),
    };
    format!(
        "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">\
         <{member}>{}</{member}></Grantee><Permission>{permission}</Permission></Grant>",
        escape(value)
    )
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::xml::elements;

    fn shown(headers: &[(&'static str, &str)]) -> String {
        let mut request = AwsRequest::unsigned("s3", Method::PUT, "/home", "");
        for (name, value) in headers {
            request.headers.insert(*name, value.parse().unwrap());
        }
        let document = document(AccessList::in_headers(&request).as_ref(), "o&1");
        String::from_utf8(document.to_vec()).unwrap()
    }

    #[test]
    fn a_name_shows_as_the_grants_that_it_stands_for() {
        for (name, grants, parts) in [
            ("private", 1, vec![]),
            ("public-read-write", 3, vec!["AllUsers</URI></Grantee><Permission>WRITE</Permission>"]),
            ("authenticated-read", 2, vec!["xsi:type=\"Group\"><URI>", "AuthenticatedUsers</URI>"]),
            ("log-delivery-write", 3, vec!["<Permission>READ_ACP</Permission>"]),
            ("aws-exec-read", 2, vec![EC2]),
            ("bucket-owner-full-control", 1, vec![]),
        ] {
            let shown = shown(&[(NAME, name)]);
            assert_eq!(elements(&shown, "Grant").len(), grants, "{shown}");
            assert!(shown.contains("xsi:type=\"CanonicalUser\"><ID>o&amp;1</ID>"), "{shown}");
            assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");
        }
        assert_eq!(shown(&[]), shown(&[(NAME, "private")]));
    }

    #[test]
    fn a_document_is_closed_and_has_the_whole_name_of_its_root() {
        for document in [
            "<Root/>",
            "<Root xmlns=\"x\" />",
            "<?xml version=\"1.0\"?>\n<Root>\n<A/></Root>\n",
            "<Root\n a=\"b\"><A></A></Root >",
        ] {
            assert!(is_document(document.as_bytes(), "Root"), "{document}");
        }
        for none in ["", "<Root", "<Root>", "<Root><A></A>", "<Roots></Roots>", "<Roots/>", "<Root></Root"] {
            assert!(!is_document(none.as_bytes(), "Root"), "{none}");
        }
    }

    #[test]
    fn grants_in_headers_are_all_there_are() {
        let shown = shown(&[
            ("x-amz-grant-read", "id=\"a\", uri=\"http://b\""),
            ("x-amz-grant-write-acp", "emailAddress=\"c@d\", nonsense"),
        ]);
        let grants = elements(&shown, "Grant");
        assert_eq!(grants.len(), 3, "{shown}");
        assert!(grants[1].contains("\"Group\"><URI>http://b</URI></Grantee><Permission>READ<"), "{shown}");
        assert!(
            grants[2].contains("<EmailAddress>c@d</EmailAddress></Grantee><Permission>WRITE_ACP<"),
            "{shown}"
        );
    }
}
