//! Filter patterns: of terms, of members of JSON, and of fields between spaces.
//!
//! What a pattern means is AWS's page "Filter pattern syntax", and where that says nothing, what AWS was seen to answer.

mod comparison;
mod condition;
mod fields;
mod message;
mod scan;
mod selector;
mod terms;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(super) use self::comparison::number;
use self::condition::Condition;
use self::fields::Fields;
pub(super) use self::message::Message;
use self::scan::Scanner;
use self::selector::Selector;
use self::terms::Terms;

/// Of `filterPattern` in the API's model.
const CHARS_MAX: usize = 1024;

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Each operation has words of its own for it.
    Syntax,
    /// In AWS's words.
    Named(String),
}

impl Flaw {
    fn characters(term: &str) -> Self {
        Self::Named(format!("Invalid character(s) in term '{term}'"))
    }
}

#[derive(Clone, Debug)]
enum Shape {
    Terms(Terms),
    Members(Condition<Selector>),
    Fields(Fields),
}

/// A parsed pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    shape: Shape,
    has_regex: bool,
}

/// Where a metric takes a value from, in the messages that a pattern matches.
#[derive(Clone, Debug)]
pub(super) enum Extractor {
    Member(Selector),
    Field(String),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, Flaw> {
        if text.chars().count() > CHARS_MAX {
            return Err(Flaw::Named(format!(
                "1 validation error detected: Value at 'filterPattern' failed to satisfy constraint: Member must have \
                 length less than or equal to {CHARS_MAX}"
            )));
        }
        let mut scanner = Scanner::new(text);
        let shape = if scanner.take("{") {
            let condition = Condition::parse(&mut scanner)?;
            scanner.expect("}")?;
            Shape::Members(condition)
        } else if scanner.take("[") {
            Shape::Fields(Fields::parse(&mut scanner)?)
        } else {
            Shape::Terms(Terms::parse(&mut scanner)?)
        };
        if !scanner.is_at_end() {
            return Err(Flaw::Syntax);
        }
        Ok(Self { shape, has_regex: scanner.has_regex() })
    }

    pub(super) fn has_regex(&self) -> bool {
        self.has_regex
    }

    /// Whether it has values to extract: dimensions are of nothing else.
    pub(super) fn is_structured(&self) -> bool {
        !matches!(self.shape, Shape::Terms(_))
    }

    pub(super) fn matches(&self, message: &Message<'_>) -> bool {
        match &self.shape {
            Shape::Terms(terms) => terms.match_text(message.text()),
            Shape::Members(condition) => message
                .members()
                .is_some_and(|root| condition.holds(&|selector, test| selector.meets(root, test))),
            Shape::Fields(fields) => fields.match_message(message),
        }
    }

    /// The fields of a matching message, as TestMetricFilter shows them.
    pub(super) fn extracted(&self, message: &Message<'_>) -> Vec<(String, String)> {
        match &self.shape {
            Shape::Fields(fields) => fields.shown(message),
            Shape::Terms(_) | Shape::Members(_) => Vec::new(),
        }
    }

    /// None: the selector is not one for messages that this pattern matches.
    pub(super) fn extractor(&self, selector: &str) -> Option<Extractor> {
        match &self.shape {
            Shape::Terms(_) => None,
            Shape::Members(_) => Selector::of_one_member(selector).map(Extractor::Member),
            Shape::Fields(_) => {
                let name = selector.strip_prefix('$')?;
                let is_name = !name.is_empty() && name.chars().all(scan::is_of_name);
                is_name.then(|| Extractor::Field(name.to_owned()))
            }
        }
    }

    pub(super) fn extract<'m>(
        &self,
        extractor: &Extractor,
        message: &'m Message<'_>,
    ) -> Option<Cow<'m, str>> {
        match (&self.shape, extractor) {
            (Shape::Members(_), Extractor::Member(selector)) => selector.text(message.members()?),
            (Shape::Fields(fields), Extractor::Field(name)) => fields.text(name, message).map(Cow::Borrowed),
            _ => None,
        }
    }
}
