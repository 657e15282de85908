//! Reading the two documents, and validating against a schema somewhere in one of them.

use jsonschema::{Registry, Resource, Validator};
use serde_json::{Value, json};

const OPENAPI: &str = include_str!("../../../docs/openapi.yaml");
const ASYNCAPI: &str = include_str!("../../../docs/asyncapi.yaml");

/// Where the documents find each other: `./openapi.yaml` in the one is the other.
const BASE: &str = "file:///docs/";

/// What does not hold, in words for the one who reads a failed test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Violation(pub String);

pub(crate) fn openapi() -> Value {
    parse("openapi.yaml", OPENAPI)
}

pub(crate) fn asyncapi() -> Value {
    parse("asyncapi.yaml", ASYNCAPI)
}

fn parse(name: &str, text: &str) -> Value {
    serde_norway::from_str(text)
        .unwrap_or_else(|error| panic!("docs/{name} is YAML with JSON's types: {error}"))
}

/// Follows a `$ref` within `document`, as far as there is one.
pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let pointer =
                reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is in this document"));
            let target = document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
            resolved(document, target)
        }
        None => value,
    }
}

/// A validator for the schema at `pointer` of `file`. Both documents are at hand for its references.
pub(crate) fn validator(file: &str, pointer: &str) -> Validator {
    let registry = Registry::new()
        .extend([
            (format!("{BASE}openapi.yaml"), Resource::from_contents(openapi())),
            (format!("{BASE}asyncapi.yaml"), Resource::from_contents(asyncapi())),
        ])
        .and_then(|registry| registry.prepare())
        .unwrap_or_else(|error| panic!("the documents refer to each other: {error}"));
    // RFC 3986 allows no braces, not even behind a `#`.
    let pointer_in_uri = pointer.replace('{', "%7B").replace('}', "%7D");
    let schema = json!({"$ref": format!("{BASE}{file}#{pointer_in_uri}")});
    jsonschema::draft202012::options()
        .with_registry(&registry)
        .should_validate_formats(true)
        .build(&schema)
        .unwrap_or_else(|error| panic!("docs/{file}#{pointer} is a schema: {error}"))
}

pub(crate) fn validate(validator: &Validator, what: &str, value: &Value) -> Result<(), Violation> {
    let errors: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Violation(format!("{what}: {}\n{value:#}", errors.join("; "))))
    }
}
