//! What a producer sent: the body and its attributes, checked, measured and digested once.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, SqsError};

/// AWS quota: attributes per message.
const ATTRIBUTES_MAX: usize = 10;
/// AWS quota: length of an attribute's name and of its type.
const ATTRIBUTE_NAME_MAX: usize = 256;
/// The only system attribute that a producer may set.
const TRACE_HEADER: &str = "AWSTraceHeader";
/// What XML 1.0 can carry, which is what a message may hold.
const LEGAL_CHARACTERS: &str = "Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to \
                                #x10FFFF";
/// AWS: a `Number` "can be between 10^-128 and 10^+126".
const NUMBER_MAX: f64 = 1e126;

/// An attribute as it stands on the wire.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WireAttribute {
    pub data_type: Option<String>,
    pub string_value: Option<String>,
    pub binary_value: Option<String>,
    pub string_list_values: Option<Vec<String>>,
    pub binary_list_values: Option<Vec<String>>,
}

/// A checked attribute. Binary values are kept as bytes: that is what counts for size and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    pub data_type: String,
    pub value: AttributeValue,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeValue {
    /// `String` and `Number`.
    Text(String),
    Binary(Vec<u8>),
}

/// By name, which is also the order of the digest.
pub type Attributes = BTreeMap<String, Attribute>;

/// Everything of a message that does not change after it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub body: String,
    pub body_md5: String,
    pub attributes: Attributes,
    /// Of all attributes; empty when there are none.
    pub attributes_md5: String,
    pub trace_header: Option<String>,
    pub group_id: Option<String>,
    pub sender_id: String,
}

impl Content {
    /// Size as AWS counts it: the body, and name, type and value of each attribute. System attributes are free.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let attributes = self.attributes.iter();
        self.body.len() + attributes.map(|(name, one)| name.len() + one.size_bytes()).sum::<usize>()
    }
}

impl Attribute {
    fn size_bytes(&self) -> usize {
        self.data_type.len()
            + match &self.value {
                AttributeValue::Text(text) => text.len(),
                AttributeValue::Binary(bytes) => bytes.len(),
            }
    }
}

/// Refuses a body with characters that no message may hold.
///
/// # Errors
/// `InvalidMessageContents`.
pub fn check_body(text: &str) -> Result<(), SqsError> {
    if is_legal(text) {
        return Ok(());
    }
    let message = format!("Invalid characters found in the message body. {LEGAL_CHARACTERS}");
    Err(SqsError::new(ErrorKind::InvalidMessageContents, message))
}

fn is_legal(text: &str) -> bool {
    // Only the first bytes of the few illegal ranges are looked at one by one: bodies are long and mostly clean.
    let suspicious = |byte: u8| (byte < 0x20 && !matches!(byte, 0x9 | 0xA | 0xD)) || byte == 0xEF;
    if !text.bytes().any(suspicious) {
        return true;
    }
    let illegal =
        |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    !text.chars().any(illegal)
}

/// Checks the message attributes of a request.
///
/// # Errors
/// `InvalidParameterValue`, and `UnsupportedOperation` for the list values that the model declares but no one implements.
pub fn check_attributes(wire: BTreeMap<String, WireAttribute>) -> Result<Attributes, SqsError> {
    if wire.len() > ATTRIBUTES_MAX {
        return Err(SqsError::new(
            ErrorKind::InvalidParameterValue,
            format!(
                "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
                wire.len()
            ),
        ));
    }
    wire.into_iter()
        .map(|(name, one)| {
            check_name(&name)?;
            let one = check_attribute("user", &name, one)?;
            Ok((name, one))
        })
        .collect()
}

/// Checks the system attributes of a request: only `AWSTraceHeader`, and only as a string.
///
/// # Errors
/// `InvalidParameterValue`.
pub fn check_system_attributes(
    wire: BTreeMap<String, WireAttribute>,
) -> Result<(Option<String>, String), SqsError> {
    let mut checked = Attributes::new();
    for (name, one) in wire {
        let one = check_attribute("system", &name, one)?;
        let is_text = one.data_type == "String";
        if name != TRACE_HEADER || !is_text {
            let reason = "Invalid MessageSystemAttributeName. Valid values for MessageSystemAttributeName are: AWSTraceHeader.";
            return Err(SqsError::new(
                ErrorKind::InvalidParameterValue,
                format!("Message (system) attribute '{name}' is invalid. Reason: {reason}"),
            ));
        }
        checked.insert(name, one);
    }
    let md5 = attributes_md5(checked.iter());
    let header = checked.remove(TRACE_HEADER).and_then(|one| match one.value {
        AttributeValue::Text(text) => Some(text),
        AttributeValue::Binary(_) => None,
    });
    Ok((header, md5))
}

/// AWS documents A-Z, a-z and 0-9, and takes other letters as well.
fn check_name(name: &str) -> Result<(), SqsError> {
    let lower = name.to_ascii_lowercase();
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let good = (1..=ATTRIBUTE_NAME_MAX).contains(&name.len())
        && name.chars().all(legal)
        && !(lower.starts_with("aws.") || lower.starts_with("amazon."))
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."));
    if good {
        return Ok(());
    }
    Err(SqsError::new(
        ErrorKind::InvalidParameterValue,
        format!(
            "Message (user) attribute name '{name}' is invalid. It can contain up to {ATTRIBUTE_NAME_MAX} of A-Z, a-z, \
             0-9, underscore, hyphen and period, must not begin with AWS. or Amazon., and must not begin or end with a \
             period or have two in a row."
        ),
    ))
}

fn check_attribute(owner: &str, name: &str, wire: WireAttribute) -> Result<Attribute, SqsError> {
    let refuse = |what: String| {
        SqsError::new(
            ErrorKind::InvalidParameterValue,
            format!("Message ({owner}) attribute '{name}' {what}"),
        )
    };
    let lists = [&wire.string_list_values, &wire.binary_list_values];
    if lists.into_iter().flatten().any(|list| !list.is_empty()) {
        return Err(SqsError::new(
            ErrorKind::UnsupportedOperation,
            format!("Message ({owner}) attribute '{name}' has list values, which are not supported."),
        ));
    }
    let data_type = wire.data_type.unwrap_or_default();
    let base = data_type.split('.').next().unwrap_or_default();
    if !matches!(base, "String" | "Number" | "Binary") || data_type.len() > ATTRIBUTE_NAME_MAX {
        return Err(refuse(format!(
            "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String. You have sent '{data_type}'."
        )));
    }
    let value = match (base, wire.string_value, wire.binary_value) {
        ("Binary", _, Some(text)) if !text.is_empty() => {
            let bytes = STANDARD.decode(text).map_err(|_| refuse("is not valid base64.".to_owned()))?;
            AttributeValue::Binary(bytes)
        }
        ("String" | "Number", Some(text), _) if !text.is_empty() => {
            if !is_legal(&text) {
                return Err(refuse(format!("has invalid characters. {LEGAL_CHARACTERS}")));
            }
            if base == "Number" && !is_number(&text) {
                return Err(SqsError::new(
                    ErrorKind::InvalidParameterValue,
                    format!("Can't cast the value of message ({owner}) attribute '{name}' to a number."),
                ));
            }
            AttributeValue::Text(text)
        }
        _ => return Err(refuse(format!("must contain a non-empty value of type '{base}'."))),
    };
    Ok(Attribute { data_type, value })
}

/// What Rust reads as NaN or infinite is within no range.
fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok_and(|number| number.abs() <= NUMBER_MAX)
}

/// The digest that producers and consumers compare: for each attribute in the order of names, the length (4 bytes, big
/// endian) and bytes of name and type, 1 for text or 2 for bytes, then length and bytes of the value. Empty for none.
pub fn attributes_md5<'a>(attributes: impl Iterator<Item = (&'a String, &'a Attribute)>) -> String {
    let mut digest = Md5::new();
    let mut any = false;
    for (name, one) in attributes {
        any = true;
        let (kind, value) = match &one.value {
            AttributeValue::Text(text) => (1, text.as_bytes()),
            AttributeValue::Binary(bytes) => (2, bytes.as_slice()),
        };
        add_with_length(&mut digest, name.as_bytes());
        add_with_length(&mut digest, one.data_type.as_bytes());
        digest.update([kind]);
        add_with_length(&mut digest, value);
    }
    if any { hex(&digest.finalize()) } else { String::new() }
}

fn add_with_length(digest: &mut Md5, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    digest.update(length.to_be_bytes());
    digest.update(bytes);
}

#[must_use]
pub fn md5_hex(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> WireAttribute {
        WireAttribute {
            data_type: Some("String".to_owned()),
            string_value: Some(value.to_owned()),
            ..WireAttribute::default()
        }
    }

    fn checked(pairs: &[(&str, &str)]) -> Attributes {
        check_attributes(pairs.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect())
            .unwrap()
    }

    #[test]
    fn digests_equal_those_recorded_on_aws() {
        assert_eq!(md5_hex(b"test"), "098f6bcd4621d373cade4e832627b4f6");
        let three = checked(&[("Help.Me", "Me"), ("Hello", "There"), ("General", "Kenobi")]);
        assert_eq!(attributes_md5(three.iter()), "4c360f3fdafd970e05fae2f149d997f5");
        assert_eq!(attributes_md5(checked(&[("Hello", "There")]).iter()), "a311262e065454b75da111d535b8dacd");
        assert_eq!(attributes_md5(checked(&[("Foo", "Bar")]).iter()), "ae7155c6026991b6d54b11589678bf9c");
        let binary = WireAttribute {
            data_type: Some("Binary".to_owned()),
            binary_value: Some(
                STANDARD.encode(b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"),
            ),
            ..WireAttribute::default()
        };
        let binary = check_attributes(BTreeMap::from([("attr1".to_owned(), binary)])).unwrap();
        assert_eq!(attributes_md5(binary.iter()), "8cbe4db156db8a94db8b801b7addb984");
        assert_eq!(attributes_md5(Attributes::new().iter()), "");
    }

    #[test]
    fn an_empty_value_is_refused_in_the_words_of_aws() {
        let error = check_attributes(BTreeMap::from([("ErrorDetails".to_owned(), text(""))])).unwrap_err();
        assert_eq!(
            error.message,
            "Message (user) attribute 'ErrorDetails' must contain a non-empty value of type 'String'."
        );
    }

    #[test]
    fn what_is_no_number_within_the_range_is_refused_in_the_words_of_aws() {
        let number = |value: &str| WireAttribute { data_type: Some("Number".to_owned()), ..text(value) };
        let check = |value: &str| check_attributes(BTreeMap::from([("Age".to_owned(), number(value))]));
        for good in ["0", "-7", "1.5", "230.000000000000000001", "1e126", "-1e126"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["Hello", "NaN", "inf", "-infinity", "1e127", "1e999", "0x1", "1_000", "1 2", " "] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParameterValue);
            let expected = "Can't cast the value of message (user) attribute 'Age' to a number.";
            assert_eq!(error.message, expected, "{bad}");
        }
    }

    #[test]
    fn bad_names_types_and_counts_are_refused() {
        for name in ["", "AWS.x", "amazon.x", ".x", "x.", "x..y", "x y", &"n".repeat(257)] {
            assert!(check_attributes(BTreeMap::from([(name.to_owned(), text("v"))])).is_err(), "{name}");
        }
        let odd = WireAttribute { data_type: Some("Thing".to_owned()), ..text("v") };
        assert!(check_attributes(BTreeMap::from([("x".to_owned(), odd)])).is_err());
        let eleven = (0..11).map(|n| (format!("n{n}"), text("v"))).collect();
        assert!(check_attributes(eleven).is_err());
        let list = WireAttribute { string_list_values: Some(vec!["a".to_owned()]), ..text("v") };
        let error = check_attributes(BTreeMap::from([("x".to_owned(), list)])).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedOperation);
    }

    #[test]
    fn control_characters_are_refused_and_the_rest_of_unicode_is_not() {
        let check = |value: &str| check_attributes(BTreeMap::from([("attr1".to_owned(), text(value))]));
        for good in ["", "a\t\r\n", "日本語", "\u{FFFD}", "\u{10FFFF}", "\u{FEFF}"] {
            assert!(check_body(good).is_ok(), "{good:?}");
            assert!(good.is_empty() || check(good).is_ok(), "{good:?}");
        }
        for bad in ["\0", "a\u{1}", "\u{B}", "\u{FFFE}", "x\u{FFFF}y", "Invalid-\u{8},\u{B}"] {
            assert_eq!(check_body(bad).unwrap_err().kind, ErrorKind::InvalidMessageContents);
            assert_eq!(check(bad).unwrap_err().kind, ErrorKind::InvalidParameterValue, "another one");
        }
        let trace = BTreeMap::from([(TRACE_HEADER.to_owned(), text("\u{1}"))]);
        assert_eq!(check_system_attributes(trace).unwrap_err().kind, ErrorKind::InvalidParameterValue);
    }

    #[test]
    fn names_have_letters_of_any_script_and_no_other_signs() {
        let check = |name: &str| check_attributes(BTreeMap::from([(name.to_owned(), text("v"))]));
        // The first as it was accepted by AWS, the signs as they were refused.
        for good in ["attr.1øßä", "名前", "a_b-c.D9"] {
            assert_eq!(check(good).unwrap().keys().collect::<Vec<_>>(), [good]);
        }
        for sign in ['!', '"', '§', '(', '?'] {
            let error = check(&format!("Invalid-{sign}-attr")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParameterValue, "{sign}");
        }
        let names = checked(&[("é", "1"), ("z", "2"), ("a", "3")]);
        assert_eq!(
            names.keys().collect::<Vec<_>>(),
            ["a", "z", "é"],
            "the order of the digest is that of bytes"
        );
    }

    #[test]
    fn size_counts_attributes_but_not_the_trace_header() {
        let content = Content {
            body: "12345".to_owned(),
            body_md5: String::new(),
            attributes: checked(&[("name", "value")]),
            attributes_md5: String::new(),
            trace_header: Some("Root=1".to_owned()),
            group_id: None,
            sender_id: String::new(),
        };
        assert_eq!(content.size_bytes(), 5 + 4 + 6 + 5);
    }
}
