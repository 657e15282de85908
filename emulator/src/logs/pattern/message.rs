//! A message, taken apart at most once however many patterns it meets.

use std::cell::OnceCell;

use serde_json::Value;

#[derive(Debug)]
pub(in crate::logs) struct Message<'a> {
    text: &'a str,
    members: OnceCell<Option<Value>>,
    words: OnceCell<Vec<Word<'a>>>,
}

/// One field between spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    start: usize,
    /// Without the brackets or quotes around it.
    pub(super) text: &'a str,
}

impl<'a> Message<'a> {
    pub(in crate::logs) fn new(text: &'a str) -> Self {
        Self { text, members: OnceCell::new(), words: OnceCell::new() }
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// The message as a JSON object, if it is one.
    pub(super) fn members(&self) -> Option<&Value> {
        let parse = || {
            let is_object = self.text.trim_start().starts_with('{');
            is_object.then(|| serde_json::from_str(self.text).ok()).flatten()
        };
        self.members.get_or_init(parse).as_ref()
    }

    pub(super) fn words(&self) -> &[Word<'a>] {
        self.words.get_or_init(|| split(self.text))
    }

    /// The word and all that follows it, as it is.
    pub(super) fn text_from(&self, word: &Word<'_>) -> &'a str {
        self.text.get(word.start..).unwrap_or_default().trim_end()
    }
}

/// "The characters between a pair of square brackets or two double quotes are treated as a single field."
fn split(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    // Once one is not closed, no later one is: looking again for each would take forever in a long line.
    let mut enclosers = [('[', ']', true), ('"', '"', true)];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let start = text.len() - rest.len();
        let encloser =
            enclosers.iter_mut().find(|(open, _, is_closed)| *is_closed && rest.starts_with(*open));
        let enclosed = encloser.and_then(|(_, close, is_closed)| {
            let found = enclosed(rest, *close);
            *is_closed = found.is_some();
            found
        });
        let (word, behind) = enclosed.unwrap_or_else(|| {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest.split_at(end)
        });
        words.push(Word { start, text: word });
        rest = behind.trim_start();
    }
    words
}

/// What stands up to a closing mark at the end of a word, and what follows.
fn enclosed(text: &str, close: char) -> Option<(&str, &str)> {
    let inner = text.get(1..)?;
    inner.match_indices(close).find_map(|(at, mark)| {
        let behind = inner.get(at + mark.len()..)?;
        let ends_word = behind.is_empty() || behind.starts_with(char::is_whitespace);
        ends_word.then_some((inner.get(..at)?, behind))
    })
}
