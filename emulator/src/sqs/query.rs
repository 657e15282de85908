//! The query protocol: a form becomes the JSON that the operations read, their JSON becomes XML.
//!
//! The SDKs of today speak JSON; this path serves older tools, so it may cost a tree of values.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::SqsError;
use crate::repeatable;
use crate::wire::AwsResponse;
use crate::xml::escape;

const XML: &str = "text/xml";
const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";
/// Deepest nesting of a parameter name: `Entry.1.MessageAttribute.1.Value.StringValue`.
const DEPTH_MAX: usize = 8;
/// The first rules by which an item of a list or a map needs no number.
const RULES_OF_LONE_ITEMS: u32 = 4;
const NUMBERS: [&str; 6] = [
    "DelaySeconds",
    "MaxNumberOfMessages",
    "MaxNumberOfMessagesPerSecond",
    "MaxResults",
    "VisibilityTimeout",
    "WaitTimeSeconds",
];

/// How a repeated parameter of a request reads in JSON.
enum Shape {
    List(&'static str),
    /// Entries of a key and a value.
    Map {
        member: &'static str,
        key: &'static str,
    },
}

fn input_shape(name: &str) -> Option<Shape> {
    Some(match name {
        "Attribute" => Shape::Map { member: "Attributes", key: "Name" },
        "Tag" => Shape::Map { member: "Tags", key: "Key" },
        "MessageAttribute" => Shape::Map { member: "MessageAttributes", key: "Name" },
        "MessageSystemAttribute" => Shape::Map { member: "MessageSystemAttributes", key: "Name" },
        "AttributeName" => Shape::List("AttributeNames"),
        "MessageAttributeName" => Shape::List("MessageAttributeNames"),
        "MessageSystemAttributeName" => Shape::List("MessageSystemAttributeNames"),
        "TagKey" => Shape::List("TagKeys"),
        "AWSAccountId" => Shape::List("AWSAccountIds"),
        "ActionName" => Shape::List("Actions"),
        "SendMessageBatchRequestEntry"
        | "DeleteMessageBatchRequestEntry"
        | "ChangeMessageVisibilityBatchRequestEntry" => Shape::List("Entries"),
        _ => return None,
    })
}

/// A parameter name split at its dots.
#[derive(Debug, Default)]
struct Node {
    value: Option<String>,
    children: BTreeMap<String, Node>,
}

/// The action and its parameters. A request to the path of a queue needs no `QueueUrl`. None without an action.
#[must_use]
pub fn read(query: &str, body: &[u8], path: &str) -> Option<(String, Value)> {
    let mut root = Node::default();
    let body = String::from_utf8_lossy(body);
    for pair in query.split('&').chain(body.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        root.insert(&decode(name), decode(value));
    }
    let action = root.children.remove("Action")?.value?;
    let mut parameters = root.object();
    if is_path_of_queue(path) {
        parameters.entry("QueueUrl").or_insert_with(|| Value::from(path));
    }
    drop_what_is_named_anew(&action, &mut parameters);
    Some((action, Value::Object(parameters)))
}

/// Recorded on AWS: a receive that names system attributes by the old parameter and by the new one gets those of the old
/// one. In JSON it gets both.
fn drop_what_is_named_anew(action: &str, parameters: &mut Map<String, Value>) {
    if action == "ReceiveMessage" && parameters.contains_key("AttributeNames") {
        parameters.remove("MessageSystemAttributeNames");
    }
}

/// `/{account}/{name}`.
#[must_use]
pub fn is_path_of_queue(path: &str) -> bool {
    path.trim_matches('/').contains('/')
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

impl Node {
    fn insert(&mut self, name: &str, value: String) {
        let mut node = self;
        for segment in name.splitn(DEPTH_MAX, '.') {
            node = node.children.entry(segment.to_owned()).or_default();
        }
        node.value = Some(value);
    }

    fn object(self) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, node) in self.children {
            match input_shape(&name) {
                Some(Shape::List(member)) => {
                    let items = node.items().map(Node::json).collect();
                    object.insert(member.to_owned(), Value::Array(items));
                }
                Some(Shape::Map { member, key }) => {
                    let entries = node.items().filter_map(|entry| entry.pair(key)).collect();
                    object.insert(member.to_owned(), Value::Object(entries));
                }
                None => {
                    let value = node.number_or_json(&name);
                    object.insert(name, value);
                }
            }
        }
        object
    }

    /// `Attribute.2` comes before `Attribute.10`, and one without a number before all: `AttributeName=All`,
    /// `Attribute.Name=a&Attribute.Value=b`. A list of nothing is written as an empty value.
    fn items(self) -> impl Iterator<Item = Self> {
        let are_numbered = repeatable::is_older_than(RULES_OF_LONE_ITEMS);
        let is_number = |name: &str| are_numbered || name.bytes().all(|byte| byte.is_ascii_digit());
        let (mut numbered, members): (Vec<_>, Vec<_>) =
            self.children.into_iter().partition(|(name, _)| is_number(name));
        numbered.sort_by_key(|(index, _)| index.parse::<u32>().unwrap_or(u32::MAX));
        let value = self.value.filter(|text| !are_numbered && !text.is_empty());
        let lone = Self { value, children: members.into_iter().collect() };
        let lone = Some(lone).filter(|lone| lone.value.is_some() || !lone.children.is_empty());
        lone.into_iter().chain(numbered.into_iter().map(|(_, item)| item))
    }

    fn pair(mut self, key: &str) -> Option<(String, Value)> {
        let name = self.children.remove(key)?.value?;
        let value = self.children.remove("Value")?;
        Some((name, value.json()))
    }

    fn json(self) -> Value {
        match self.value {
            Some(text) if self.children.is_empty() => Value::from(text),
            _ => Value::Object(self.object()),
        }
    }

    fn number_or_json(self, name: &str) -> Value {
        let number = self.value.as_deref().filter(|_| NUMBERS.contains(&name));
        match number.and_then(|text| text.parse::<i64>().ok()) {
            Some(number) => Value::from(number),
            None => self.json(),
        }
    }
}

/// A successful answer.
#[must_use]
pub fn render<T: Serialize>(action: &str, output: &T, request_id: Uuid) -> AwsResponse {
    let output = serde_json::to_value(output).unwrap_or_default();
    let mut xml = format!("<?xml version=\"1.0\"?>\n<{action}Response xmlns=\"{NAMESPACE}\">");
    let empty_result = action == "ReceiveMessage" && output.as_object().is_some_and(Map::is_empty);
    match &output {
        _ if empty_result => xml.push_str("<ReceiveMessageResult/>"),
        Value::Object(members) if !members.is_empty() => {
            let result = format!("{action}Result");
            element(&mut xml, &result, |xml| members_to_xml(xml, action, members));
        }
        _ => {}
    }
    element(&mut xml, "ResponseMetadata", |xml| text_element(xml, "RequestId", &request_id.to_string()));
    xml.push_str(&format!("</{action}Response>"));
    AwsResponse::new(StatusCode::OK, XML, xml)
}

/// A refusal.
#[must_use]
pub fn refuse(error: &SqsError, request_id: Uuid) -> AwsResponse {
    let mut xml = format!("<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"{NAMESPACE}\">");
    element(&mut xml, "Error", |xml| {
        text_element(xml, "Type", "Sender");
        text_element(xml, "Code", error.kind.query_code());
        text_element(xml, "Message", error.query_message());
        xml.push_str("<Detail/>");
    });
    text_element(&mut xml, "RequestId", &request_id.to_string());
    xml.push_str("</ErrorResponse>");
    AwsResponse::new(error.kind.status(), XML, xml)
}

fn members_to_xml(xml: &mut String, action: &str, members: &Map<String, Value>) {
    for (name, value) in members {
        match value {
            Value::Array(items) => {
                let tag = item_tag(action, name);
                items.iter().for_each(|item| value_to_xml(xml, action, tag, item));
            }
            Value::Object(entries)
                if matches!(name.as_str(), "Attributes" | "MessageAttributes" | "Tags") =>
            {
                let (tag, key) =
                    if name == "Tags" { ("Tag", "Key") } else { (&name[..name.len() - 1], "Name") };
                for (entry, value) in entries {
                    element(xml, tag, |xml| {
                        text_element(xml, key, entry);
                        value_to_xml(xml, action, "Value", value);
                    });
                }
            }
            other => value_to_xml(xml, action, name, other),
        }
    }
}

fn value_to_xml(xml: &mut String, action: &str, tag: &str, value: &Value) {
    match value {
        Value::Object(members) => element(xml, tag, |xml| members_to_xml(xml, action, members)),
        Value::String(text) => text_element(xml, tag, text),
        other => text_element(xml, tag, &other.to_string()),
    }
}

fn item_tag(action: &str, list: &str) -> &'static str {
    match (action, list) {
        (_, "QueueUrls" | "queueUrls") => "QueueUrl",
        (_, "Messages") => "Message",
        (_, "Results") => "ListMessageMoveTasksResultEntry",
        (_, "Failed") => "BatchResultErrorEntry",
        ("SendMessageBatch", _) => "SendMessageBatchResultEntry",
        ("DeleteMessageBatch", _) => "DeleteMessageBatchResultEntry",
        ("ChangeMessageVisibilityBatch", _) => "ChangeMessageVisibilityBatchResultEntry",
        _ => "member",
    }
}

fn element(xml: &mut String, tag: &str, content: impl FnOnce(&mut String)) {
    // Writing to a string does not fail.
    write!(xml, "<{tag}>").unwrap_or_default();
    content(xml);
    write!(xml, "</{tag}>").unwrap_or_default();
}

fn text_element(xml: &mut String, tag: &str, text: &str) {
    element(xml, tag, |xml| xml.push_str(&escape(text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(action: &str, form: &str) -> Value {
        let (_, parameters) = read("", format!("Action={action}&{form}").as_bytes(), "/").unwrap();
        parameters
    }

    #[test]
    fn a_form_becomes_the_json_of_the_same_request() {
        let body = b"Action=SendMessageBatch&Version=2012-11-05\
            &SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.MessageBody=two+words\
            &SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=%7B%7D\
            &SendMessageBatchRequestEntry.1.DelaySeconds=3\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String\
            &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=v";
        let (action, parameters) = read("", body, "/123456789012/q").unwrap();
        assert_eq!(action, "SendMessageBatch");
        let expected = serde_json::json!({
            "QueueUrl": "/123456789012/q",
            "Version": "2012-11-05",
            "Entries": [
                {"Id": "a", "MessageBody": "{}", "DelaySeconds": 3,
                 "MessageAttributes": {"n": {"DataType": "String", "StringValue": "v"}}},
                {"Id": "b", "MessageBody": "two words"},
            ],
        });
        assert_eq!(parameters, expected);
        assert!(read("", b"Version=1", "/").is_none());
    }

    #[test]
    fn of_two_lists_of_system_attributes_a_receive_has_the_older_one() {
        let members = |form: &str| members("ReceiveMessage", form);
        let (old, new) = ("AttributeName.1=SenderId", "MessageSystemAttributeName.1=All");
        assert_eq!(members(new), serde_json::json!({"MessageSystemAttributeNames": ["All"]}));
        for both in [format!("{old}&{new}"), format!("{new}&{old}")] {
            assert_eq!(members(&both), serde_json::json!({"AttributeNames": ["SenderId"]}));
        }
    }

    #[test]
    fn a_lone_item_needs_no_number() {
        for (form, expected) in [
            ("AttributeName=All", serde_json::json!({"AttributeNames": ["All"]})),
            ("AttributeName=", serde_json::json!({"AttributeNames": []})),
            ("AttributeName.1=b&AttributeName=a", serde_json::json!({"AttributeNames": ["a", "b"]})),
            ("Attribute.Name=Policy&Attribute.Value=p", serde_json::json!({"Attributes": {"Policy": "p"}})),
            ("Tag.Key=a&Tag.Value=b", serde_json::json!({"Tags": {"a": "b"}})),
            (
                "DeleteMessageBatchRequestEntry.Id=a&DeleteMessageBatchRequestEntry.ReceiptHandle=h",
                serde_json::json!({"Entries": [{"Id": "a", "ReceiptHandle": "h"}]}),
            ),
            (
                "MessageAttribute.Name=n&MessageAttribute.Value.DataType=String&MessageAttribute.Value.StringValue=v",
                serde_json::json!({"MessageAttributes": {"n": {"DataType": "String", "StringValue": "v"}}}),
            ),
        ] {
            assert_eq!(members("Any", form), expected, "{form}");
        }
    }

    #[tokio::test]
    async fn a_kept_call_is_read_as_it_was_then() {
        let form = "Attribute.Name=Policy&Attribute.Value=p&Tag.x.Key=a&Tag.x.Value=b";
        let again = async { members("CreateQueue", form) };
        let found = repeatable::scope_again(RULES_OF_LONE_ITEMS - 1, 1, 0, again).await;
        assert_eq!(found, serde_json::json!({"Attributes": {}, "Tags": {"a": "b"}}));
    }

    #[test]
    fn xml_has_the_shape_of_the_query_protocol() {
        let output = serde_json::json!({"Messages": [{
            "Body": "<\"&\r",
            "Attributes": {"SenderId": "x"},
            "MessageAttributes": {"n": {"StringValue": "v"}, "m": {"DataType": "String"}},
        }]});
        let answer = render("ReceiveMessage", &output, Uuid::nil());
        let xml = std::str::from_utf8(&answer.body).unwrap();
        for part in [
            "<ReceiveMessageResult><Message>",
            "<Body>&lt;&quot;&amp;&#xD;</Body>",
            "<Attribute><Name>SenderId</Name><Value>x</Value></Attribute>",
            "<MessageAttribute><Name>n</Name><Value><StringValue>v</StringValue></Value></MessageAttribute>",
            "<MessageAttribute><Name>m</Name><Value><DataType>String</DataType></Value></MessageAttribute>",
            "<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
        let empty = render("ReceiveMessage", &serde_json::json!({}), Uuid::nil());
        assert!(std::str::from_utf8(&empty.body).unwrap().contains("<ReceiveMessageResult/>"));
        let none = render("DeleteMessage", &serde_json::json!({}), Uuid::nil());
        assert!(!std::str::from_utf8(&none.body).unwrap().contains("Result"));
    }
}
