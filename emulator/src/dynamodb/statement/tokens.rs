//! The words of a statement, cut where the engine cuts them.

use std::borrow::Cow;

/// A name that is quoted is no keyword.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Name(&'a str),
    Number(&'a str),
    Text(Cow<'a, str>),
    /// By its place among the parameters.
    Parameter(usize),
    Symbol(char),
}

pub(super) fn is_word(token: &Token<'_>, keyword: &str) -> bool {
    matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
}

/// None when a text, a name or a comment does not end.
pub(super) fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut parameters = 0..;
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..)?;
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, next)| next).trim_start();
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/")?.1.trim_start();
            continue;
        }
        let (token, next) = match first {
            '\'' => quoted_text(after)?,
            '"' => after.split_once('"').map(|(name, next)| (Token::Name(name), next))?,
            // The engine refuses it as a value, and takes all of it as a name.
            '`' => after.split_once('`').map(|(_, next)| (Token::Symbol(first), next))?,
            '?' => (Token::Parameter(parameters.next()?), after),
            '0'..='9' => number(rest),
            _ if is_of_word(first) => {
                let (word, next) = rest.split_at(rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len()));
                (Token::Word(word), next)
            }
            _ => (Token::Symbol(first), after),
        };
        tokens.push(token);
        rest = next.trim_start();
    }
    Some(tokens)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What is in the brackets with which the tokens begin.
pub(super) fn enclosed<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    tokens.first().filter(|first| depth_after(0, first) == 1)?;
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        depth = depth_after(depth, token);
        depth == 0
    })?;
    tokens.get(1..end)
}

/// The parts between what stands outside of all brackets.
pub(super) fn split<'t, 'a>(
    tokens: &'t [Token<'a>],
    is_between: impl Fn(&Token<'a>) -> bool,
) -> Vec<&'t [Token<'a>]> {
    let mut depth = 0;
    let is_outside = |token: &Token<'a>| {
        depth = depth_after(depth, token);
        depth == 0 && is_between(token)
    };
    tokens.split(is_outside).collect()
}

const fn depth_after(depth: usize, token: &Token<'_>) -> usize {
    match token {
        Token::Symbol('(' | '[' | '{') => depth + 1,
        Token::Symbol(')' | ']' | '}') => depth.saturating_sub(1),
        _ => depth,
    }
}

/// A quote in a text is written twice.
fn quoted_text(text: &str) -> Option<(Token<'_>, &str)> {
    let (first, mut rest) = text.split_once('\'')?;
    let mut whole = Cow::Borrowed(first);
    while let Some(more) = rest.strip_prefix('\'') {
        let (part, next) = more.split_once('\'')?;
        let whole = whole.to_mut();
        whole.push('\'');
        whole.push_str(part);
        rest = next;
    }
    Some((Token::Text(whole), rest))
}

/// With its exponent, if that has digits. A word may follow at once.
fn number(text: &str) -> (Token<'_>, &str) {
    let whole = after_digits(text);
    let fraction = whole.strip_prefix('.').map_or(whole, after_digits);
    let next = after_exponent(fraction).unwrap_or(fraction);
    let (number, next) = text.split_at(text.len() - next.len());
    (Token::Number(number), next)
}

fn after_exponent(text: &str) -> Option<&str> {
    let signed = text.strip_prefix(['e', 'E'])?;
    let digits = signed.strip_prefix(['+', '-']).unwrap_or(signed);
    let next = after_digits(digits);
    (next.len() < digits.len()).then_some(next)
}

fn after_digits(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_digit())
}
