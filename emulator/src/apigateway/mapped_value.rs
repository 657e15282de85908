//! Values of parameter mappings: text with variables of a request, of an answer, of the stage and of `$context`.

use std::cell::OnceCell;

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::access_log::is_of_http_apis;
use super::model::Texts;
use super::query::Query;
use super::router::PathVariables;
use super::stage_authorizer::text;

/// "When you specify a JSON path, API Gateway truncates the request body at 100 KB": what is cut off is no JSON.
const JSON_BYTES_MAX: usize = 100 * 1024;

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Variable {
    Header(HeaderName),
    Query(String),
    /// The whole of it without a step.
    Body(Vec<Step>),
    Path,
    PathPart(String),
    Context(String),
    OfStage(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Template {
    /// None for a value that is empty, or has a `$` with no known variable behind it.
    pub(super) fn parse(text: &str, side: Side) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (name, behind) = name(after)?;
            parts.push(Part::Variable(Variable::parse(name, side)?));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// The text, where it has no variable.
    pub(super) fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// None for a lone variable without a value; within text it stands for nothing.
    pub(super) fn fill(&self, values: &Values<'_>) -> Option<String> {
        if let [Part::Variable(variable)] = self.0.as_slice() {
            return values.get(variable);
        }
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Variable(variable) => filled.push_str(&values.get(variable).unwrap_or_default()),
            }
        }
        Some(filled)
    }
}

/// What stands behind a `$`: a name, in braces or as far as one goes, and the rest.
fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}');
    }
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '[' | ']');
    Some(text.split_at(text.find(|c: char| !is_of_name(c)).unwrap_or(text.len())))
}

impl Variable {
    fn parse(name: &str, side: Side) -> Option<Self> {
        if let Some(name) = name.strip_prefix("context.") {
            return is_of_http_apis(name).then(|| Self::Context(name.to_owned()));
        }
        if let Some(name) = name.strip_prefix("stageVariables.") {
            return (!name.is_empty()).then(|| Self::OfStage(name.to_owned()));
        }
        match side {
            Side::Request => Self::of_request(name.strip_prefix("request.")?),
            Side::Response => Self::of_both(name.strip_prefix("response.")?),
        }
    }

    fn of_request(name: &str) -> Option<Self> {
        match name.split_once('.') {
            None if name == "path" => Some(Self::Path),
            None if name == "body" => Some(Self::Body(Vec::new())),
            Some(("path", name)) if !name.is_empty() => Some(Self::PathPart(name.to_owned())),
            Some(("querystring", name)) if !name.is_empty() => Some(Self::Query(name.to_owned())),
            _ => Self::of_both(name),
        }
    }

    /// What requests and answers both have.
    fn of_both(name: &str) -> Option<Self> {
        match name.split_once('.')? {
            ("header", name) => HeaderName::from_bytes(name.as_bytes()).ok().map(Self::Header),
            ("body", path) => steps(path).map(Self::Body),
            _ => None,
        }
    }
}

/// `a.b[0].c`. "Recursive descent and filter expressions aren't supported", nor are wildcards here.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    for segment in path.split('.') {
        let (key, mut indexes) = segment.split_at(segment.find('[').unwrap_or(segment.len()));
        if key.is_empty() || key.contains(['*', '?', '@', '(', ')', ']']) {
            return None;
        }
        steps.push(Step::Key(key.to_owned()));
        while !indexes.is_empty() {
            let (index, behind) = indexes.strip_prefix('[')?.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            indexes = behind;
        }
    }
    Some(steps)
}

/// Where the variables of one request or answer have their values from.
pub(super) struct Values<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Content<'a>,
    pub(super) stage_variables: &'a Texts,
    pub(super) context: &'a dyn Fn(&str) -> Option<String>,
    /// None for an answer.
    pub(super) asked: Option<Asked<'a>>,
}

/// What only a request has.
pub(super) struct Asked<'a> {
    /// Without the stage.
    pub(super) path: &'a str,
    pub(super) variables: &'a PathVariables,
    pub(super) query: &'a Query<'a>,
}

/// A body, read as JSON once and only where a variable asks for it.
pub(super) struct Content<'a> {
    bytes: &'a [u8],
    json: OnceCell<Option<Value>>,
}

impl Values<'_> {
    fn get(&self, variable: &Variable) -> Option<String> {
        match variable {
            Variable::Header(name) => joined(self.headers, name),
            Variable::Query(name) => self.asked.as_ref()?.query.joined(name),
            Variable::Body(steps) => self.body.find(steps),
            Variable::Path => Some(self.asked.as_ref()?.path.to_owned()),
            Variable::PathPart(name) => {
                let mut variables = self.asked.as_ref()?.variables.iter();
                variables.find(|(other, _)| other == name).map(|(_, value)| value.clone())
            }
            Variable::Context(name) => (self.context)(name),
            Variable::OfStage(name) => self.stage_variables.get(name).cloned(),
        }
    }
}

/// "API Gateway combines multiple header values with commas".
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| values.join(","))
}

impl<'a> Content<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, json: OnceCell::new() }
    }

    fn find(&self, steps: &[Step]) -> Option<String> {
        if steps.is_empty() {
            return std::str::from_utf8(self.bytes).ok().map(str::to_owned);
        }
        let json = self.json.get_or_init(|| parsed(self.bytes)).as_ref()?;
        let found = steps.iter().try_fold(json, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        })?;
        (!found.is_null()).then(|| text(found))
    }
}

fn parsed(bytes: &[u8]) -> Option<Value> {
    if bytes.len() > JSON_BYTES_MAX { None } else { serde_json::from_slice(bytes).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in ["1", "2"] {
            headers.append("x-twice", value.parse().unwrap());
        }
        let query = Query::parse("a=1&a=2&b=x%20y");
        let variables = vec![("id".to_owned(), "7".to_owned())];
        let values = Values {
            headers: &headers,
            body: Content::new(br#"{"task":{"kinds":["x",2,{"k":true}],"none":null}}"#),
            stage_variables: &Texts::from([("env".to_owned(), "live".to_owned())]),
            context: &|name: &str| (name == "requestId").then(|| "r1".to_owned()),
            asked: Some(Asked { path: "/tasks/7", variables: &variables, query: &query }),
        };
        Template::parse(template, Side::Request).unwrap().fill(&values)
    }

    #[test]
    fn variables_are_filled_in_wherever_they_stand() {
        for (template, expected) in [
            ("text", "text"),
            ("''", "''"),
            ("$request.header.X-Twice", "1,2"),
            ("${request.querystring.a}", "1,2"),
            ("$request.querystring.b", "x y"),
            ("$request.path", "/tasks/7"),
            ("/v2/$request.path.id", "/v2/7"),
            ("$request.path.id/$context.requestId!", "7/r1!"),
            ("${request.path.id}${stageVariables.env}-x", "7live-x"),
            ("$request.body.task.kinds[0]", "x"),
            ("$request.body.task.kinds[1]", "2"),
            ("$request.body.task.kinds[2].k", "true"),
            ("$request.body.task.kinds[2]", r#"{"k":true}"#),
            ("$request.body", r#"{"task":{"kinds":["x",2,{"k":true}],"none":null}}"#),
            ("<$request.header.none>", "<>"),
        ] {
            assert_eq!(filled(template).as_deref(), Some(expected), "{template}");
        }
        for none in ["$request.header.none", "$request.body.task.none", "$request.body.x", "$context.status"]
        {
            assert_eq!(filled(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_variable_of_the_side_is_no_value() {
        for refused in [
            "",
            "$",
            "5 $",
            "$request",
            "$request.header.",
            "$request.cookie.a",
            "$request.body..a",
            "$request.body.a[*]",
            "$request.body.a[x]",
            "$request.body.?(x)",
            "${request.path",
            "${nonsense}",
            "$context.nonsense",
            "$context.authorizer",
            "$stageVariables.",
            "$response.header.a",
        ] {
            assert_eq!(Template::parse(refused, Side::Request), None, "{refused}");
        }
        for refused in ["$request.header.a", "$response.path", "$response.body", "$response.querystring.a"] {
            assert_eq!(Template::parse(refused, Side::Response), None, "{refused}");
        }
        assert!(Template::parse("$response.body.a", Side::Response).is_some());
    }

    #[test]
    fn a_body_that_is_too_long_to_be_read_has_no_values() {
        let body = format!(r#"{{"a":1,"b":"{}"}}"#, "x".repeat(JSON_BYTES_MAX));
        assert_eq!(Content::new(body.as_bytes()).find(&[Step::Key("a".to_owned())]), None);
        assert_eq!(Content::new(body.as_bytes()).find(&[]), Some(body.clone()));
    }
}
