//! Access logs: the stage's format with `$context.*` filled in, one line per request.

use super::model::AccessLogSettings;
use crate::logs::group_in_arn;

#[derive(Debug)]
pub(super) struct AccessLog {
    pub(super) group: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Variable(String),
}

impl AccessLog {
    /// None when the destination is not a log group.
    pub(super) fn compile(settings: &AccessLogSettings) -> Option<Self> {
        let group = group_in_arn(settings.destination_arn.as_deref()?)?;
        Some(Self { group: group.to_owned(), parts: parts(settings.format.as_deref().unwrap_or_default()) })
    }

    /// "-" stands for a variable that is unknown or empty.
    pub(super) fn line(&self, variable: impl Fn(&str) -> Option<String>) -> String {
        let mut line = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Variable(name) => match variable(name).filter(|value| !value.is_empty()) {
                    Some(value) => line.push_str(&value),
                    None => line.push('-'),
                },
            }
        }
        line
    }
}

fn parts(format: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("$context.") {
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
            .unwrap_or(after.len());
        let name = after[..end].trim_end_matches(['.', '-']);
        parts.push(Part::Variable(name.to_owned()));
        rest = &after[name.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_unknown_ones_become_a_dash() {
        let settings = AccessLogSettings {
            destination_arn: Some("arn:aws:logs:us-east-1:123456789012:log-group:/api/x".into()),
            format: Some(
                r#"{"id":"$context.requestId","ip":"$context.identity.sourceIp","s":$context.status}"#.into(),
            ),
        };
        let log = AccessLog::compile(&settings).unwrap();
        let line = log.line(|name| match name {
            "requestId" => Some("r1".to_owned()),
            "status" => Some("202".to_owned()),
            _ => None,
        });
        assert_eq!(log.group, "/api/x");
        assert_eq!(line, r#"{"id":"r1","ip":"-","s":202}"#);
    }
}
