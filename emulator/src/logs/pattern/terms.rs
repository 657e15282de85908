//! Terms, all of which must occur and, behind a `-`, none; or any of those behind a `?`.

use regex::bytes::Regex;

use super::Flaw;
use super::scan::Scanner;

#[derive(Clone, Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    all: Vec<Term>,
    any: Vec<Term>,
    none: Vec<Term>,
}

impl Terms {
    pub(super) fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        let mut terms = Self::default();
        while !scanner.is_at_end() {
            let list = if scanner.take_here("?") {
                &mut terms.any
            } else if scanner.take_here("-") {
                &mut terms.none
            } else {
                &mut terms.all
            };
            list.push(Term::parse(scanner)?);
        }
        Ok(terms)
    }

    /// "If you include `?` with other terms, it is ignored."
    pub(super) fn match_text(&self, text: &str) -> bool {
        if self.all.is_empty() && self.none.is_empty() {
            return self.any.is_empty() || self.any.iter().any(|term| term.is_in(text));
        }
        self.all.iter().all(|term| term.is_in(text)) && !self.none.iter().any(|term| term.is_in(text))
    }
}

impl Term {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        let term = match scanner.rest().chars().next() {
            Some('"') => Self::Text(scanner.quoted('"')?),
            Some('%') => Self::Regex(scanner.regex()?),
            _ => Self::word(scanner)?,
        };
        match scanner.rest().chars().next() {
            Some(next) if !next.is_whitespace() => Err(Flaw::characters(&next.to_string())),
            _ => Ok(term),
        }
    }

    /// Any other letter needs quotes.
    fn word(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        let word = scanner.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if !word.is_empty() {
            return Ok(Self::Text(word.to_owned()));
        }
        let next = scanner.rest().chars().next().filter(|next| !next.is_whitespace());
        Err(next.map_or(Flaw::Syntax, |next| Flaw::characters(&next.to_string())))
    }

    fn is_in(&self, text: &str) -> bool {
        match self {
            Self::Text(term) => text.contains(term),
            // The lines of functions end with a newline, which would keep `$` from their last letter.
            Self::Regex(regex) => regex.is_match(text.trim_end_matches('\n').as_bytes()),
        }
    }
}
