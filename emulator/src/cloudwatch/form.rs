//! The query protocol's form to a neutral value: `A.member.1.B=c` is `{"A": [{"B": "c"}]}`.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Deeper or longer than anything in the API; a form beyond it is cut, not followed.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Default)]
struct Node {
    text: Option<String>,
    members: BTreeMap<String, Node>,
}

pub(super) fn parse(form: &str) -> Value {
    let mut root = Node::default();
    for pair in form.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name);
        let mut node = &mut root;
        for part in name.split('.').take(DEPTH_MAX) {
            node = node.members.entry(part.to_owned()).or_default();
        }
        node.text = Some(decode(text));
    }
    value(root)
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn value(mut node: Node) -> Value {
    if let Some(list) = node.members.remove("member") {
        return Value::Array(items(list));
    }
    match node.text {
        Some(text) if node.members.is_empty() => Value::String(text),
        _ => {
            let members = node.members.into_iter().map(|(name, node)| (name, value(node)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// In the order of their numbers; `member.10` comes after `member.9`.
fn items(list: Node) -> Vec<Value> {
    let mut numbered: Vec<(usize, Node)> =
        list.members.into_iter().filter_map(|(number, node)| Some((number.parse().ok()?, node))).collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, node)| value(node)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_structures_are_nested() {
        let form =
            "Action=X&D.member.2.Name=b&D.member.1.Name=a+b&D.member.1.Value=%2Fc&E.member.10=z&E.member.9=y";
        assert_eq!(
            parse(form),
            json!({"Action": "X", "D": [{"Name": "a b", "Value": "/c"}, {"Name": "b"}], "E": ["y", "z"]})
        );
    }
}
