//! Filter patterns: terms, all of which must occur; `?term` for any of them, `-term` for none.

/// A parsed pattern. JSON patterns (`{ $.a = 1 }`) and space-delimited ones are not emulated, and refused by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pattern {
    all: Vec<String>,
    any: Vec<String>,
    none: Vec<String>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with(['{', '[', '%']) {
            return None;
        }
        let mut pattern = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let (mark, body) = match rest.strip_prefix(['?', '-']) {
                Some(body) => (rest.chars().next(), body),
                None => (None, rest),
            };
            let (term, after) = term(body);
            rest = after.trim_start();
            if term.is_empty() {
                continue;
            }
            match mark {
                Some('?') => pattern.any.push(term),
                Some(_) => pattern.none.push(term),
                None => pattern.all.push(term),
            }
        }
        Some(pattern)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        self.all.iter().all(|term| message.contains(term))
            && (self.any.is_empty() || self.any.iter().any(|term| message.contains(term)))
            && !self.none.iter().any(|term| message.contains(term))
    }
}

/// A word, or anything in double quotes.
fn term(text: &str) -> (String, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        let (term, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
        return (term.to_owned(), rest);
    }
    let (term, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (term.to_owned(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_all_any_or_none() {
        let matches = |pattern: &str, message: &str| Pattern::parse(pattern).unwrap().matches(message);
        assert!(matches("", "anything"));
        assert!(matches("ERROR \"task 7\"", "ERROR in task 7"));
        assert!(!matches("ERROR panic", "ERROR in task 7"));
        assert!(matches("?ERROR ?WARN", "WARN"));
        assert!(!matches("ERROR -Exiting", "ERROR Exiting"));
        assert_eq!(Pattern::parse("{ $.level = \"x\" }"), None);
    }
}
