//! Patterns of fields between spaces: `[ip, user, ..., status = 4*, bytes > 1000]`.

use std::collections::HashSet;
use std::iter;

use super::Flaw;
use super::comparison::Test;
use super::condition::{Condition, Subject};
use super::message::Message;
use super::scan::Scanner;

const ELLIPSIS: &str = "...";

/// The name of a field, as a condition on it repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name(String);

impl Subject for Name {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        match scanner.name() {
            "" => Err(Flaw::Syntax),
            name => Ok(Self(name.to_owned())),
        }
    }

    fn parse_test(scanner: &mut Scanner<'_>) -> Result<Test, Flaw> {
        Test::parse_comparison(scanner)
    }
}

#[derive(Clone, Debug)]
struct Field {
    /// Empty: it is known by its number.
    name: String,
    condition: Option<Condition<Name>>,
}

#[derive(Clone, Debug)]
pub(super) struct Fields {
    head: Vec<Field>,
    /// What stands behind an ellipsis, if there is one.
    tail: Option<Vec<Field>>,
}

/// Fields of a message with what the pattern says of them.
type Spread<'p, 'm> = Vec<(Option<&'p Field>, &'m str)>;

impl Fields {
    /// Behind the opening bracket.
    pub(super) fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        let mut fields = Self { head: Vec::new(), tail: None };
        if scanner.take("]") {
            fields.tail = Some(Vec::new());
            return Ok(fields);
        }
        let mut names = HashSet::new();
        loop {
            if scanner.take(ELLIPSIS) {
                if fields.tail.replace(Vec::new()).is_some() {
                    return Err(duplicate(ELLIPSIS));
                }
            } else {
                let field = Field::parse(scanner)?;
                if !field.name.is_empty() && !names.insert(field.name.clone()) {
                    return Err(duplicate(&field.name));
                }
                fields.tail.as_mut().unwrap_or(&mut fields.head).push(field);
            }
            if scanner.take("]") {
                return Ok(fields);
            }
            scanner.expect(",")?;
        }
    }

    pub(super) fn match_message(&self, message: &Message<'_>) -> bool {
        let meets = |(field, text): &(Option<&Field>, &str)| {
            let condition = field.and_then(|field| field.condition.as_ref());
            condition.is_none_or(|condition| condition.holds(&|_, test| test.holds_for_field(text)))
        };
        self.spread(message).is_some_and(|spread| spread.iter().all(meets))
    }

    /// By `$name`, or by `$number` where there is no name.
    pub(super) fn shown(&self, message: &Message<'_>) -> Vec<(String, String)> {
        let spread = self.spread(message).unwrap_or_default();
        let shown = spread.into_iter().enumerate().map(|(index, (field, text))| {
            let name = name_of(field);
            let name = if name.is_empty() { format!("${}", index + 1) } else { format!("${name}") };
            (name, text.to_owned())
        });
        shown.collect()
    }

    pub(super) fn text<'m>(&self, name: &str, message: &'m Message<'_>) -> Option<&'m str> {
        let spread = self.spread(message)?;
        if let Some((_, text)) = spread.iter().find(|(field, _)| name_of(*field) == name) {
            return Some(*text);
        }
        let index = name.parse::<usize>().ok()?.checked_sub(1)?;
        spread.get(index).filter(|(field, _)| name_of(*field).is_empty()).map(|(_, text)| *text)
    }

    /// None: the message has too few fields. One with more than the pattern has the rest in the last, if there is no ellipsis
    /// to take it.
    fn spread<'p, 'm>(&'p self, message: &'m Message<'_>) -> Option<Spread<'p, 'm>> {
        let words = message.words();
        let tail = self.tail.as_deref();
        let more = words.len().checked_sub(self.head.len() + tail.map_or(0, <[Field]>::len))?;
        let between = if tail.is_some() { more } else { 0 };
        let fields = self
            .head
            .iter()
            .map(Some)
            .chain(iter::repeat_n(None, between))
            .chain(tail.unwrap_or_default().iter().map(Some));
        let mut spread: Spread<'p, 'm> = fields.zip(words).map(|(field, word)| (field, word.text)).collect();
        let last = words.get(spread.len().checked_sub(1)?)?;
        if tail.is_none() && more > 0 {
            let (field, _) = spread.pop()?;
            spread.push((field, message.text_from(last)));
        }
        Some(spread)
    }
}

impl Field {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        let start = scanner.rest();
        let name = scanner.name().to_owned();
        if scanner.is_at(&[',', ']']) {
            return Ok(Self { name, condition: None });
        }
        scanner.go_back(start);
        let condition = Condition::<Name>::parse(scanner)?;
        let subjects = condition.subjects();
        let Some(Name(name)) = subjects.first().copied().cloned() else { return Err(Flaw::Syntax) };
        if subjects.iter().any(|subject| subject.0 != name) {
            return Err(Flaw::Syntax);
        }
        Ok(Self { name, condition: Some(condition) })
    }
}

fn name_of(field: Option<&Field>) -> &str {
    field.map_or("", |field| field.name.as_str())
}

fn duplicate(name: &str) -> Flaw {
    Flaw::Named(format!("Duplicate field '{name}'"))
}
