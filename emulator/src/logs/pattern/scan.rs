//! Reads a pattern from left to right.

use regex::bytes::{Regex, RegexBuilder};

use super::Flaw;

/// "Your input has exceeded the maximum of 2 regular expressions per filter pattern."
const REGEXES_MAX: usize = 2;
/// "… the maximum of 3 JSON wildcard selectors allowed per filter pattern."
const WILDCARDS_MAX: usize = 3;
/// What a compiled expression may take: some 400 classes, or 1000 letters. Repetitions of repetitions would take any
/// amount, and each letter of a line may cost a step for each of them.
const REGEX_BYTES_MAX: usize = 32 * 1024;
/// What it may remember for each thread that looks for it: as much as the largest class that is repeated needs.
const REGEX_CACHE_BYTES_MAX: usize = 128 * 1024;
const REGEX_SYMBOLS: &str = ":_#=@/;,-";
const REGEX_OPERATORS: &str = "^$?[]{}|\\*+.";
/// What may stand behind a backslash, beside an operator.
const REGEX_ESCAPES: &str = "dDsSwWtnrfv-x";

#[derive(Debug)]
pub(super) struct Scanner<'a> {
    rest: &'a str,
    regexes: usize,
    wildcards: usize,
}

pub(super) fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

/// What needs no quotes in a comparison.
fn is_of_bare(letter: char) -> bool {
    is_of_name(letter) || matches!(letter, '*' | '.' | '+')
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, regexes: 0, wildcards: 0 }
    }

    pub(super) fn has_regex(&self) -> bool {
        self.regexes > 0
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Reads on from where [`Self::rest`] was.
    pub(super) fn go_back(&mut self, rest: &'a str) {
        self.rest = rest;
    }

    pub(super) fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.skip_spaces();
        self.rest.is_empty()
    }

    pub(super) fn is_at(&mut self, marks: &[char]) -> bool {
        self.skip_spaces();
        self.rest.starts_with(marks)
    }

    pub(super) fn take(&mut self, mark: &str) -> bool {
        self.skip_spaces();
        self.take_here(mark)
    }

    /// The same where a space would end what is read.
    pub(super) fn take_here(&mut self, mark: &str) -> bool {
        let behind = self.rest.strip_prefix(mark);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    pub(super) fn expect(&mut self, mark: &str) -> Result<(), Flaw> {
        if self.take(mark) { Ok(()) } else { Err(Flaw::Syntax) }
    }

    pub(super) fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter: char| !is_wanted(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// Empty where there is none.
    pub(super) fn name(&mut self) -> &'a str {
        self.skip_spaces();
        self.take_while(is_of_name)
    }

    pub(super) fn bare(&mut self) -> &'a str {
        self.take_while(is_of_bare)
    }

    /// What stands between quotes, the first of which is next. A backslash makes a quote or a backslash a letter.
    pub(super) fn quoted(&mut self, quote: char) -> Result<String, Flaw> {
        let (rest, mut text) = (self.rest, String::new());
        let mut letters = rest.char_indices().skip(1).peekable();
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.rest = rest.get(at + quote.len_utf8()..).unwrap_or_default();
                return Ok(text);
            }
            let escaped =
                letters.peek().map(|(_, next)| *next).filter(|next| *next == quote || *next == '\\');
            match escaped.filter(|_| letter == '\\') {
                Some(escaped) => {
                    text.push(escaped);
                    letters.next();
                }
                None => text.push(letter),
            }
        }
        Err(Flaw::characters(rest))
    }

    /// What stands between percent signs, the first of which is next.
    pub(super) fn regex(&mut self) -> Result<Regex, Flaw> {
        let end = self.end_of_regex()?;
        let source = self.rest.get(1..end).unwrap_or_default();
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            return Err(Flaw::Named(format!(
                "Your input has exceeded the maximum of {REGEXES_MAX} regular expressions per filter pattern."
            )));
        }
        if source.is_empty() {
            return Err(Flaw::Syntax);
        }
        // "Multi-byte characters are not supported", so that no class needs more than 128 of them.
        let mut builder = RegexBuilder::new(source);
        builder.unicode(false).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_CACHE_BYTES_MAX);
        builder.build().map_err(|_| Flaw::Syntax)
    }

    /// Where the closing percent sign is.
    fn end_of_regex(&self) -> Result<usize, Flaw> {
        let mut is_escaped = false;
        for (at, letter) in self.rest.char_indices().skip(1) {
            if is_escaped {
                is_escaped = false;
                if REGEX_ESCAPES.contains(letter) || REGEX_OPERATORS.contains(letter) {
                    continue;
                }
            } else if letter == '%' {
                return Ok(at);
            } else if letter.is_ascii_alphanumeric()
                || REGEX_SYMBOLS.contains(letter)
                || REGEX_OPERATORS.contains(letter)
            {
                is_escaped = letter == '\\';
                continue;
            }
            let term = self.rest.get(..at + letter.len_utf8()).unwrap_or_default();
            return Err(Flaw::characters(term));
        }
        Err(Flaw::Syntax)
    }

    /// Counts a `*` that stands for every member or item.
    pub(super) fn count_wildcard(&mut self) -> Result<(), Flaw> {
        self.wildcards += 1;
        if self.wildcards > WILDCARDS_MAX {
            return Err(Flaw::Named(format!(
                "Your input has exceeded the maximum of {WILDCARDS_MAX} JSON wildcard selectors allowed per filter \
                 pattern."
            )));
        }
        Ok(())
    }
}
