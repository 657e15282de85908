//! Texts of a policy that hold variables: `arn:aws:s3:::home/${aws:username}/*`.

use std::borrow::Cow;

use super::context::Context;
use super::pattern::{Case, Symbol, matches, matches_arn, matches_symbols};

/// "Policy variables are supported only in policies of version 2012-10-17": before, `${` is text like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Of2008,
    Of2012,
}

/// A text without variables, which is nearly every one, or its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Plain(String),
    Parts { written: String, parts: Vec<Part> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// With the wildcards of whoever reads it.
    Pattern(String),
    /// `${*}`, `${?}` and `${$}` are the characters themselves.
    Character(char),
    /// The key in lower case, and what stands for it where the request has no such key: `${aws:username, 'nobody'}`.
    Key { key: String, default: Option<String> },
}

impl Text {
    pub(super) fn new(written: &str, version: Version) -> Self {
        if version == Version::Of2008 || !written.contains("${") {
            return Self::Plain(written.to_owned());
        }
        Self::Parts { written: written.to_owned(), parts: split(written) }
    }

    pub(super) fn plain(written: &str) -> Self {
        Self::Plain(written.to_owned())
    }

    pub(super) fn written(&self) -> &str {
        match self {
            Self::Plain(written) | Self::Parts { written, .. } => written,
        }
    }

    /// What it stands for, wildcards being characters. None when the request lacks a key.
    pub(super) fn value(&self, context: &Context<'_>) -> Option<Cow<'_, str>> {
        let parts = match self {
            Self::Plain(text) => return Some(Cow::Borrowed(text)),
            Self::Parts { parts, .. } => parts,
        };
        let mut value = String::new();
        for part in parts {
            match part {
                Part::Pattern(text) => value.push_str(text),
                Part::Character(character) => value.push(*character),
                Part::Key { key, default } => value.push_str(&resolve(key, default.as_deref(), context)?),
            }
        }
        Some(Cow::Owned(value))
    }

    /// Whether it matches as a pattern. What a variable stands for is text: a `*` in it is no wildcard. None when the
    /// request lacks a key.
    pub(super) fn matches(&self, found: &str, context: &Context<'_>) -> Option<bool> {
        match self {
            Self::Plain(pattern) => Some(matches(pattern, found, Case::Sensitive)),
            Self::Parts { parts, .. } => {
                let symbols = symbols(parts, context)?;
                Some(matches_symbols(symbols.len(), |at| symbols.get(at).copied(), found, Case::Sensitive))
            }
        }
    }

    /// As of [`Text::matches`], component by component.
    pub(super) fn matches_arn(&self, found: &str, context: &Context<'_>) -> Option<bool> {
        match self {
            Self::Plain(pattern) => Some(matches_arn(pattern, found)),
            Self::Parts { parts, .. } => {
                let symbols = symbols(parts, context)?;
                let mut patterns = symbols.splitn(ARN_COMPONENTS, |symbol| *symbol == Symbol::Byte(b':'));
                let mut components = found.splitn(ARN_COMPONENTS, ':');
                loop {
                    match (patterns.next(), components.next()) {
                        (None, None) => return Some(true),
                        (Some(pattern), Some(component)) => {
                            let at = |at: usize| pattern.get(at).copied();
                            if !matches_symbols(pattern.len(), at, component, Case::Sensitive) {
                                return Some(false);
                            }
                        }
                        _ => return Some(false),
                    }
                }
            }
        }
    }
}

const ARN_COMPONENTS: usize = 6;

fn symbols(parts: &[Part], context: &Context<'_>) -> Option<Vec<Symbol>> {
    let mut symbols = Vec::new();
    for part in parts {
        match part {
            Part::Pattern(text) => symbols.extend(text.bytes().map(Symbol::of)),
            Part::Character(character) => symbols.extend(character.to_string().bytes().map(Symbol::Byte)),
            Part::Key { key, default } => {
                symbols.extend(resolve(key, default.as_deref(), context)?.bytes().map(Symbol::Byte));
            }
        }
    }
    Some(symbols)
}

/// A key with several values has no single one to put in.
fn resolve(key: &str, default: Option<&str>, context: &Context<'_>) -> Option<String> {
    match context.values(key).as_slice() {
        [value] => Some(value.to_string()),
        [] => default.map(str::to_owned),
        _ => None,
    }
}

/// A `${` without its `}` is text.
fn split(written: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = written;
    while let Some((before, (inside, after))) =
        rest.split_once("${").and_then(|(before, behind)| Some((before, behind.split_once('}')?)))
    {
        if !before.is_empty() {
            parts.push(Part::Pattern(before.to_owned()));
        }
        parts.push(variable(inside));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Pattern(rest.to_owned()));
    }
    parts
}

fn variable(inside: &str) -> Part {
    let only = inside.chars().next().filter(|first| matches!(first, '*' | '?' | '$') && inside.len() == 1);
    if let Some(character) = only {
        return Part::Character(character);
    }
    let (key, default) = match inside.split_once(',') {
        Some((key, default)) => (key, Some(default.trim().trim_matches('\'').to_owned())),
        None => (inside, None),
    };
    Part::Key { key: key.trim().to_ascii_lowercase(), default }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(&str, &str); 3] =
        [("aws:principaltag/team", "blue"), ("s3:prefix", "a*"), ("aws:tagkeys", "one")];

    fn text(written: &str) -> Text {
        Text::new(written, Version::Of2012)
    }

    #[test]
    fn a_variable_is_the_value_of_its_key_and_its_stars_are_no_wildcards() {
        let context = Context::with(0, &PAIRS);
        let home = text("arn:aws:s3:::home/${aws:PrincipalTag/team}/*");
        assert_eq!(home.matches("arn:aws:s3:::home/blue/a/b", &context), Some(true));
        assert_eq!(home.matches("arn:aws:s3:::home/red/a", &context), Some(false));
        let star = text("${s3:prefix}/x");
        assert_eq!(star.matches("a*/x", &context), Some(true));
        assert_eq!(star.matches("abc/x", &context), Some(false));
        assert_eq!(star.value(&context).as_deref(), Some("a*/x"));
    }

    #[test]
    fn a_key_that_the_request_lacks_has_its_default_or_nothing() {
        let context = Context::with(0, &PAIRS);
        assert_eq!(text("home/${aws:username}").matches("home/${aws:username}", &context), None);
        assert_eq!(text("home/${aws:username}").value(&context), None);
        assert_eq!(text("home/${aws:username, 'guest'}").value(&context).as_deref(), Some("home/guest"));
        let twice = [("aws:tagkeys", "one"), ("aws:tagkeys", "two")];
        assert_eq!(text("${aws:TagKeys}").value(&Context::with(0, &twice)), None);
    }

    #[test]
    fn the_escaped_characters_are_themselves() {
        let context = Context::at(0);
        let literal = text("a${*}b${?}c${$}d*");
        assert_eq!(literal.matches("a*b?c$d and more", &context), Some(true));
        assert_eq!(literal.matches("aXb?c$d", &context), Some(false));
        assert_eq!(literal.value(&context).as_deref(), Some("a*b?c$d*"));
        assert_eq!(text("a${b").value(&context).as_deref(), Some("a${b"));
    }

    #[test]
    fn arns_with_variables_are_compared_component_by_component() {
        let context = Context::with(0, &[("aws:principalaccount", "1")]);
        let pattern = text("arn:aws:fis:*:${aws:PrincipalAccount}:experiment/*");
        assert_eq!(pattern.matches_arn("arn:aws:fis:us-east-1:1:experiment/E", &context), Some(true));
        assert_eq!(pattern.matches_arn("arn:aws:fis:us-east-1:2:experiment/E", &context), Some(false));
        assert_eq!(pattern.matches_arn("arn:aws:fis:us-east-1:1", &context), Some(false));
    }

    #[test]
    fn before_2012_there_are_no_variables() {
        let old = Text::new("home/${aws:username}", Version::Of2008);
        assert_eq!(old.matches("home/${aws:username}", &Context::at(0)), Some(true));
    }
}
