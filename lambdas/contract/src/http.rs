//! Answers to HTTP requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::Value;

use crate::document::{Violation, openapi, resolved, validate, validator};

/// Who gives an answer; `x-produced-by` in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// A function of ours.
    Service,
    /// API Gateway, asked in a way that anybody can ask.
    Gateway,
    /// API Gateway above the stage's throttle.
    Throttle,
}

impl Producer {
    const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Gateway => "gateway",
            Self::Throttle => "throttle",
        }
    }
}

/// One answer as a client has it. Header names in lower case.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// Judges answers, and remembers which documented ones it has seen.
#[derive(Debug)]
pub struct HttpContract {
    document: Value,
    seen: Mutex<BTreeSet<(String, u16)>>,
}

impl Default for HttpContract {
    fn default() -> Self {
        Self { document: openapi(), seen: Mutex::default() }
    }
}

impl HttpContract {
    /// Holds an answer to its documentation. `operation` is a route as in the document: `GET /tasks/{id}`.
    pub fn check(&self, operation: &str, answer: &Answer) -> Result<(), Violation> {
        let what = format!("{operation} answered {}", answer.status);
        let pointer = self
            .pointer(operation, answer.status)
            .ok_or_else(|| Violation(format!("{what}: not documented")))?;
        let documented = self.document.pointer(&pointer).unwrap_or(&Value::Null);
        self.check_headers(&what, documented, answer)?;
        let content_type = answer.headers.get("content-type").map_or("", String::as_str);
        if documented["content"].get(content_type).is_none() {
            return Err(Violation(format!("{what} with content-type {content_type:?}")));
        }
        let body = serde_json::from_str(&answer.body)
            .map_err(|error| Violation(format!("{what} with a body that is not JSON: {error}")))?;
        let schema = format!("{pointer}/content/{}/schema", escaped(content_type));
        validate(&validator("openapi.yaml", &schema), &what, &body)?;
        if content_type == "application/problem+json" && body["status"] != answer.status {
            return Err(Violation(format!("{what} with a problem of status {}", body["status"])));
        }
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.insert((operation.to_owned(), answer.status));
        Ok(())
    }

    /// The documented answers of `operations` by `producer` that no [`HttpContract::check`] has passed yet.
    pub fn unseen(&self, operations: &[&str], producer: Producer) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut unseen = Vec::new();
        for operation in operations {
            let responses = self.operation(operation)["responses"].as_object();
            for (status, response) in responses.into_iter().flatten() {
                let producers = &resolved(&self.document, response)["x-produced-by"];
                let is_theirs =
                    producers.as_array().is_some_and(|all| all.iter().any(|it| it == producer.name()));
                let number = status.parse().unwrap_or_default();
                if is_theirs && !seen.contains(&((*operation).to_owned(), number)) {
                    unseen.push(format!("{operation} {status}"));
                }
            }
        }
        unseen
    }

    fn operation(&self, operation: &str) -> &Value {
        let (method, path) = operation.split_once(' ').unwrap_or(("", operation));
        &self.document["paths"][path][method.to_ascii_lowercase()]
    }

    /// Of the response itself, behind its reference.
    fn pointer(&self, operation: &str, status: u16) -> Option<String> {
        let response = self.operation(operation)["responses"].get(status.to_string())?;
        if let Some(reference) = response.get("$ref").and_then(Value::as_str) {
            return reference.strip_prefix('#').map(ToOwned::to_owned);
        }
        let (method, path) = operation.split_once(' ')?;
        Some(format!("/paths/{}/{}/responses/{status}", escaped(path), method.to_ascii_lowercase()))
    }

    fn check_headers(&self, what: &str, documented: &Value, answer: &Answer) -> Result<(), Violation> {
        for (name, header) in documented["headers"].as_object().into_iter().flatten() {
            let header = resolved(&self.document, header);
            let Some(value) = answer.headers.get(name) else {
                if header["required"] == true {
                    return Err(Violation(format!("{what} without {name}")));
                }
                continue;
            };
            let schema = jsonschema::draft202012::new(&header["schema"])
                .unwrap_or_else(|error| panic!("the schema of {name} is one: {error}"));
            validate(&schema, &format!("{what}, {name}"), &Value::from(value.as_str()))?;
        }
        Ok(())
    }
}

/// RFC 6901.
fn escaped(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, content_type: &str, body: &Value) -> Answer {
        let headers = [
            ("content-type", content_type),
            ("x-request-id", "r-1"),
            ("location", "/tasks/0193b0e2-7c00-7000-8000-000000000001"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Answer { status, headers, body: body.to_string() }
    }

    fn task() -> Value {
        json!({
            "id": "0193b0e2-7c00-7000-8000-000000000001", "kind": "digest", "status": "queued", "version": 1,
            "attempts": 0, "created_at": "2026-11-22T10:00:00.000Z", "updated_at": "2026-11-22T10:00:00.000Z",
        })
    }

    fn verdict(answer: &Answer) -> Result<(), String> {
        HttpContract::default().check("POST /tasks", answer).map_err(|violation| violation.0)
    }

    #[test]
    fn an_answer_as_documented_passes_and_is_remembered() {
        let contract = HttpContract::default();
        assert!(contract.unseen(&["POST /tasks"], Producer::Service).contains(&"POST /tasks 202".to_owned()));
        contract.check("POST /tasks", &answer(202, "application/json", &task())).unwrap();
        assert!(
            !contract.unseen(&["POST /tasks"], Producer::Service).contains(&"POST /tasks 202".to_owned())
        );
        assert_eq!(
            contract.unseen(&["POST /tasks"], Producer::Gateway),
            ["POST /tasks 401", "POST /tasks 403"]
        );
    }

    #[test]
    fn each_way_to_break_the_contract_is_named() {
        let with = |name: &str, value: Value| {
            let mut changed = task();
            changed[name] = value;
            answer(202, "application/json", &changed)
        };
        let mut without_location = answer(202, "application/json", &task());
        without_location.headers.remove("location");
        for (broken, expected) in [
            (answer(201, "application/json", &task()), "not documented"),
            (answer(202, "text/plain", &task()), "content-type"),
            (without_location, "without location"),
            (with("id", json!("x")), "/id"),
            (with("status", json!("lost")), "/status"),
            (with("result", json!(1)), "/result"),
            (with("surprise", json!(1)), "surprise"),
            (with("updated_at", json!("2026-11-22T10:00:00Z")), "/updated_at"),
        ] {
            let error = verdict(&broken).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
