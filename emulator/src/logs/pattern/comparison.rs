//! What is asked of one member or field.

use regex::bytes::Regex;
use serde_json::Value;

use super::Flaw;
use super::scan::Scanner;

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The longer sign first.
const ORDERS: [(&str, Order); 4] =
    [("<=", Order::LessOrEqual), (">=", Order::GreaterOrEqual), ("<", Order::Less), (">", Order::Greater)];

#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// Equal to a number of the same value, and to a text of the same letters.
    Bare {
        text: String,
        number: Option<f64>,
    },
    Quoted(String),
    Regex(Regex),
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Equal(Operand),
    Unequal(Operand),
    Ordered(Order, f64),
    IsNull,
    IsTrue,
    IsFalse,
    NotExists,
}

impl Test {
    pub(super) fn parse_comparison(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        if scanner.take("!=") {
            return Operand::parse(scanner).map(Self::Unequal);
        }
        if scanner.take("=") {
            return Operand::parse(scanner).map(Self::Equal);
        }
        for (sign, order) in ORDERS {
            if scanner.take(sign) {
                return Operand::parse_number(scanner).map(|number| Self::Ordered(order, number));
            }
        }
        Err(Flaw::Syntax)
    }

    /// Members of JSON can also be absent, or no text and no number.
    pub(super) fn parse_of_member(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        match scanner.name() {
            "" => {
                let test = Self::parse_comparison(scanner)?;
                if test.is_against_null() { Err(Flaw::Syntax) } else { Ok(test) }
            }
            "IS" => match scanner.name() {
                "NULL" => Ok(Self::IsNull),
                "TRUE" => Ok(Self::IsTrue),
                "FALSE" => Ok(Self::IsFalse),
                _ => Err(Flaw::Syntax),
            },
            "NOT" => match scanner.name() {
                "EXISTS" => Ok(Self::NotExists),
                _ => Err(Flaw::Syntax),
            },
            _ => Err(Flaw::Syntax),
        }
    }

    /// AWS refuses `= null`: what is meant is `IS NULL`.
    fn is_against_null(&self) -> bool {
        match self {
            Self::Equal(Operand::Bare { text, .. }) | Self::Unequal(Operand::Bare { text, .. }) => {
                text == "null"
            }
            _ => false,
        }
    }

    /// Of a member that is there. Those that are neither a text nor a number are not even unequal to one.
    pub(super) fn holds_for_member(&self, member: &Value) -> bool {
        match (self, member) {
            (Self::IsNull, Value::Null) => true,
            // As AWS was seen to judge an array with a null in it.
            (Self::IsNull, Value::Array(items)) => items.iter().any(Value::is_null),
            (Self::IsTrue, Value::Bool(flag)) => *flag,
            (Self::IsFalse, Value::Bool(flag)) => !flag,
            (_, Value::String(text)) => self.holds_for_text(text),
            (_, Value::Number(number)) => {
                number.as_f64().is_some_and(|value| self.holds_for_number(value, &number.to_string()))
            }
            _ => false,
        }
    }

    /// Of a field: a number if it can be one.
    pub(super) fn holds_for_field(&self, field: &str) -> bool {
        match number(field) {
            Some(value) => self.holds_for_number(value, field),
            None => self.holds_for_text(field),
        }
    }

    fn holds_for_text(&self, text: &str) -> bool {
        match self {
            Self::Equal(operand) => operand.fits(text),
            Self::Unequal(operand) => !operand.fits(text),
            _ => false,
        }
    }

    fn holds_for_number(&self, value: f64, text: &str) -> bool {
        match self {
            Self::Equal(operand) => operand.equals(value, text),
            Self::Unequal(operand) => !operand.equals(value, text),
            Self::Ordered(Order::Less, than) => value < *than,
            Self::Ordered(Order::LessOrEqual, than) => value <= *than,
            Self::Ordered(Order::Greater, than) => value > *than,
            Self::Ordered(Order::GreaterOrEqual, than) => value >= *than,
            _ => false,
        }
    }
}

impl Operand {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        scanner.skip_spaces();
        if scanner.is_at(&['"']) {
            return scanner.quoted('"').map(Self::Quoted);
        }
        if scanner.is_at(&['%']) {
            return scanner.regex().map(Self::Regex);
        }
        match scanner.bare() {
            "" => Err(Flaw::Syntax),
            text => Ok(Self::Bare { text: text.to_owned(), number: number(text) }),
        }
    }

    fn parse_number(scanner: &mut Scanner<'_>) -> Result<f64, Flaw> {
        match Self::parse(scanner)? {
            Self::Bare { number: Some(number), .. } => Ok(number),
            Self::Quoted(text) => Err(Flaw::characters(&format!("\"{text}\""))),
            _ => Err(Flaw::Syntax),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Bare { text: wanted, .. } | Self::Quoted(wanted) => fits(wanted, text),
            Self::Regex(regex) => regex.is_match(text.as_bytes()),
        }
    }

    fn equals(&self, value: f64, text: &str) -> bool {
        match self {
            Self::Bare { number: Some(number), .. } => *number == value,
            _ => self.fits(text),
        }
    }
}

/// "An integer with an optional sign, a decimal, or a number in scientific notation."
pub(in crate::logs) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `*` stands for any letters, also none; `?` for itself.
fn fits(wanted: &str, text: &str) -> bool {
    let Some((head, rest)) = wanted.split_once('*') else { return wanted == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some((_, behind)) = left.split_once(part) else { return false };
        left = behind;
    }
    left.ends_with(tail)
}
