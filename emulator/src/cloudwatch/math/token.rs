//! The words of an expression.

use super::Problem;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Text(String),
    /// "The Id field for all metrics and math expressions must start with a lowercase letter."
    Id(String),
    /// "All functions must be written in uppercase letters", and so are their options.
    Word(String),
    Symbol(&'static str),
}

/// Longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 18] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "^", "(", ")", "[", "]", ","];

pub(super) fn split(text: &str) -> Result<Vec<Token>, Problem> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '0'..='9' | '.' => number(rest)?,
            '"' | '\'' => quoted(rest, first)?,
            'a'..='z' | 'A'..='Z' => word(rest),
            _ => symbol(rest)?,
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn number(text: &str) -> Result<(Token, &str), Problem> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Ok((Token::Number(number.parse().map_err(|_| Problem::Syntax)?), rest))
}

fn quoted(text: &str, quote: char) -> Result<(Token, &str), Problem> {
    let (inside, rest) = text[1..].split_once(quote).ok_or(Problem::Syntax)?;
    Ok((Token::Text(inside.to_owned()), rest))
}

fn word(text: &str) -> (Token, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let token = match word {
        "AND" => Token::Symbol("&&"),
        "OR" => Token::Symbol("||"),
        _ if word.starts_with(|c: char| c.is_ascii_lowercase()) => Token::Id(word.to_owned()),
        _ => Token::Word(word.to_owned()),
    };
    (token, rest)
}

fn symbol(text: &str) -> Result<(Token, &str), Problem> {
    let found = SYMBOLS.into_iter().find_map(|symbol| Some((symbol, text.strip_prefix(symbol)?)));
    found.map(|(symbol, rest)| (Token::Symbol(symbol), rest)).ok_or(Problem::Syntax)
}
