//! Answers to HTTP requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::Value;

use crate::document::{Violation, openapi, resolved, validate, validator};

/// Who gives an answer, and when; `x-produced-by` in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Producer {
    /// A function of ours.
    Service,
    /// API Gateway, asked in a way that anybody can ask.
    Gateway,
    /// API Gateway above the stage's throttle.
    Throttle,
    /// API Gateway when a function crashes, takes too long or cannot be called.
    Failure,
}

impl Producer {
    const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Gateway => "gateway",
            Self::Throttle => "throttle",
            Self::Failure => "failure",
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
    /// Operation, status and content type.
    seen: Mutex<BTreeSet<(String, u16, String)>>,
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
        let content_type = answer.headers.get("content-type").map_or("", String::as_str);
        let Some(content) = documented["content"].get(content_type) else {
            return Err(Violation(format!("{what} with content-type {content_type:?}")));
        };
        self.check_headers(&what, documented, content, answer)?;
        let body = serde_json::from_str(&answer.body)
            .map_err(|error| Violation(format!("{what} with a body that is not JSON: {error}")))?;
        let schema = format!("{pointer}/content/{}/schema", escaped(content_type));
        validate(&validator("openapi.yaml", &schema), &what, &body)?;
        if content_type == "application/problem+json" && body["status"] != answer.status {
            return Err(Violation(format!("{what} with a problem of status {}", body["status"])));
        }
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.insert((operation.to_owned(), answer.status, content_type.to_owned()));
        Ok(())
    }

    /// The documented answers of `operations` by `producer` that no [`HttpContract::check`] has passed yet.
    pub fn unseen(&self, operations: &[&str], producer: Producer) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut unseen = Vec::new();
        for operation in operations {
            let responses = self.operation(operation)["responses"].as_object();
            for (status, response) in responses.into_iter().flatten() {
                let number = status.parse().unwrap_or_default();
                let contents = resolved(&self.document, response)["content"].as_object();
                for (content_type, content) in contents.into_iter().flatten() {
                    let producers = content["x-produced-by"].as_array();
                    let is_theirs = producers.into_iter().flatten().any(|it| it == producer.name());
                    if is_theirs && !seen.contains(&((*operation).to_owned(), number, content_type.clone())) {
                        unseen.push(format!("{operation} {status} {content_type}"));
                    }
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

    /// Which headers must be there may depend on the content type: `x-required-headers` in the document.
    fn check_headers(
        &self,
        what: &str,
        documented: &Value,
        content: &Value,
        answer: &Answer,
    ) -> Result<(), Violation> {
        let required_with: Vec<&Value> =
            content["x-required-headers"].as_array().into_iter().flatten().collect();
        for (name, header) in documented["headers"].as_object().into_iter().flatten() {
            let header = resolved(&self.document, header);
            let Some(value) = answer.headers.get(name) else {
                if header["required"] == true || required_with.iter().any(|required| *required == name) {
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
        let is_unseen = || {
            let unseen = contract.unseen(&["POST /tasks"], Producer::Service);
            unseen.contains(&"POST /tasks 202 application/json".to_owned())
        };
        assert!(is_unseen());
        contract.check("POST /tasks", &answer(202, "application/json", &task())).unwrap();
        assert!(!is_unseen());
        assert_eq!(
            contract.unseen(&["POST /tasks"], Producer::Gateway),
            [
                "POST /tasks 401 application/json",
                "POST /tasks 403 application/json",
                "POST /tasks 413 application/json"
            ]
        );
    }

    /// One status, two answers: seeing the one is not seeing the other, and each has headers of its own.
    #[test]
    fn a_status_of_two_producers_is_held_to_each() {
        let contract = HttpContract::default();
        let mut throttled = answer(429, "application/json", &json!({"message": "Too Many Requests"}));
        let error = contract.check("POST /tasks", &throttled).unwrap_err().0;
        assert!(error.contains("without apigw-requestid"), "{error}");
        throttled.headers.insert("apigw-requestid".to_owned(), "g-1=".to_owned());
        contract.check("POST /tasks", &throttled).unwrap();
        assert_eq!(contract.unseen(&["POST /tasks"], Producer::Throttle), Vec::<String>::new());
        let of_service = contract.unseen(&["POST /tasks"], Producer::Service);
        assert!(
            of_service.contains(&"POST /tasks 429 application/problem+json".to_owned()),
            "{of_service:?}"
        );
        let problem = json!({
            "type": "urn:task:problem:too-many-in-flight", "title": "t", "status": 429, "detail": "d", "request_id": "r-1",
        });
        let error =
            contract.check("POST /tasks", &answer(429, "application/problem+json", &problem)).unwrap_err().0;
        assert!(error.contains("without retry-after"), "{error}");
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
