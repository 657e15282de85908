//! The published schema against what is written: by a validator that refuses any keyword that it does not know, so that
//! it can never be lenient by ignorance.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use serde_json::{Value, json};

/// Keywords that say nothing about validity here: numbers of Rust types cannot leave their format.
const NOTES: [&str; 7] = ["$schema", "title", "description", "format", "default", "$defs", "minimum"];

/// The first thing that is wrong, and where.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        return if schema == &json!(true) { Ok(()) } else { Err(format!("{at}: nothing is allowed here")) };
    };
    for (keyword, rule) in keywords {
        let fine = match keyword.as_str() {
            note if NOTES.contains(&note) => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap_or_default().trim_start_matches('#');
                let target =
                    root.pointer(pointer).ok_or_else(|| format!("{at}: no {pointer} in the schema"))?;
                return validate(root, target, value, at);
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| is_a(name, value)),
                name => is_a(name, value),
            },
            "const" => rule == value,
            "enum" => rule.as_array().is_some_and(|allowed| allowed.contains(value)),
            "anyOf" | "oneOf" => {
                let all = rule.as_array().into_iter().flatten();
                all.filter(|one| validate(root, one, value, at).is_ok()).count() > 0
            }
            "required" => {
                let mut names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                match names.find(|name| value.is_object() && value.get(name).is_none()) {
                    Some(name) => return Err(format!("{at}: {name} is missing")),
                    None => true,
                }
            }
            "properties" => {
                let Some(members) = value.as_object() else { continue };
                for (name, member) in members {
                    let place = format!("{at}.{name}");
                    // What the schema does not name was not published.
                    let rule = rule.get(name).ok_or_else(|| format!("{place}: not in the schema"))?;
                    validate(root, rule, member, &place)?;
                }
                true
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    validate(root, rule, member, &format!("{at}.{name}"))?;
                }
                true
            }
            "items" | "prefixItems" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    let rule = if keyword == "items" { rule } else { &rule[number] };
                    validate(root, rule, item, &format!("{at}[{number}]"))?;
                }
                true
            }
            "minItems" => {
                value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap_or(0))
            }
            "maxItems" => {
                value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap_or(0))
            }
            unknown => return Err(format!("{at}: the validator of this test does not know {unknown:?}")),
        };
        if !fine {
            return Err(format!("{at}: {value} does not fit {keyword} {rule}"));
        }
    }
    Ok(())
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap_or_default() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

fn schema() -> Value {
    chaos::report::schema().into()
}

fn written(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verdicts").join(name);
    let run: chaos::run::RunReport = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    serde_json::to_value(run).unwrap()
}

#[test]
fn every_verdict_fits_the_published_schema() {
    let schema = schema();
    for name in ["pass", "fail", "inconclusive"] {
        validate(&schema, &schema, &written(&format!("{name}.json")), name).unwrap();
    }
}

#[test]
fn a_verdict_with_a_member_too_many_too_few_or_of_another_type_does_not_fit() {
    let schema = schema();
    let wrong = |change: fn(&mut Value)| {
        let mut verdict = written("fail.json");
        change(&mut verdict);
        validate(&schema, &schema, &verdict, "verdict").unwrap_err()
    };
    assert!(wrong(|verdict| verdict["verdict"] = json!("MAYBE")).contains("verdict.verdict"));
    assert!(wrong(|verdict| verdict["seed"] = json!("7")).contains("verdict.seed"));
    assert!(wrong(|verdict| verdict["more"] = json!(1)).contains("verdict.more: not in the schema"));
    assert!(wrong(|verdict| verdict["experiments"][0]["totals"]["lost"] = json!(null)).contains("lost"));
    let missing =
        |verdict: &mut Value| drop(verdict["experiments"][0].as_object_mut().unwrap().remove("checks"));
    assert!(wrong(missing).contains("checks is missing"));
}
