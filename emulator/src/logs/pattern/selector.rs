//! Selectors of members of a JSON message: `$.a.b[0]`, `$.['a.b']`, `$.items[*].id`.

use std::borrow::Cow;

use serde_json::Value;

use super::Flaw;
use super::comparison::Test;
use super::condition::Subject;
use super::scan::{Scanner, is_of_name};

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    Every,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::logs) struct Selector(Vec<Step>);

impl Selector {
    /// One that stands for one member at most.
    pub(super) fn of_one_member(text: &str) -> Option<Self> {
        let mut scanner = Scanner::new(text);
        let selector = Self::parse(&mut scanner).ok()?;
        (scanner.is_at_end() && !selector.0.contains(&Step::Every)).then_some(selector)
    }

    /// Of what an asterisk stands for, one is enough.
    pub(super) fn meets(&self, root: &Value, test: &Test) -> bool {
        match test {
            Test::NotExists => !reaches(&self.0, root, &|_| true),
            test => reaches(&self.0, root, &|member| test.holds_for_member(member)),
        }
    }

    /// The text of the member, if it can be the value of a metric or of a dimension.
    pub(super) fn text<'v>(&self, root: &'v Value) -> Option<Cow<'v, str>> {
        let member = self.0.iter().try_fold(root, |value, step| match step {
            Step::Key(key) => value.get(key.as_str()),
            Step::Index(index) => value.get(*index),
            Step::Every => None,
        });
        match member? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(flag) => Some(Cow::Owned(flag.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl Subject for Selector {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        scanner.expect("$.")?;
        let mut steps = vec![Step::parse(scanner)?];
        while scanner.take_here(".") || scanner.rest().starts_with('[') {
            steps.push(Step::parse(scanner)?);
        }
        if steps.iter().filter(|step| **step == Step::Every).count() > 1 {
            return Err(Flaw::Named(
                "Your filter pattern has a JSON path selector that exceeds the maximum of 1 wildcard allowed per json \
                 selector."
                    .to_owned(),
            ));
        }
        Ok(Self(steps))
    }

    fn parse_test(scanner: &mut Scanner<'_>) -> Result<Test, Flaw> {
        Test::parse_of_member(scanner)
    }
}

impl Step {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        if scanner.take_here("[") {
            let step = Self::parse_in_brackets(scanner)?;
            return if scanner.take_here("]") { Ok(step) } else { Err(Flaw::Syntax) };
        }
        if scanner.take_here("*") {
            scanner.count_wildcard()?;
            return Ok(Self::Every);
        }
        match scanner.take_while(is_of_name) {
            "" => Err(Flaw::Syntax),
            key => Ok(Self::Key(key.to_owned())),
        }
    }

    fn parse_in_brackets(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        match scanner.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => scanner.quoted(quote).map(Self::Key),
            Some('*') => {
                scanner.count_wildcard()?;
                scanner.take_here("*");
                Ok(Self::Every)
            }
            _ => {
                let digits = scanner.take_while(|letter| letter.is_ascii_digit());
                digits.parse().map(Self::Index).map_err(|_| Flaw::Syntax)
            }
        }
    }
}

/// Whether a member that the steps lead to is as wanted. No deeper than the message, which is parsed to a bounded depth.
fn reaches(steps: &[Step], value: &Value, is_wanted: &dyn Fn(&Value) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return is_wanted(value) };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => {
            members.get(key).is_some_and(|member| reaches(rest, member, is_wanted))
        }
        (Step::Index(index), Value::Array(items)) => {
            items.get(*index).is_some_and(|item| reaches(rest, item, is_wanted))
        }
        (Step::Every, Value::Array(items)) => items.iter().any(|item| reaches(rest, item, is_wanted)),
        (Step::Every, Value::Object(members)) => {
            members.values().any(|member| reaches(rest, member, is_wanted))
        }
        _ => false,
    }
}
