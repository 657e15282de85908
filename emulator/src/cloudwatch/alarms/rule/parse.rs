//! The language of rules, with AWS's words for what is not in it.

use super::{Node, Quorum};
use crate::cloudwatch::evaluate::State;
use crate::cloudwatch::failure::Failure;

/// AWS: the length of a rule.
const CHARS_MAX: usize = 10_240;
/// "Elements are child alarms, TRUE or FALSE statements, and parentheses", a pair of which is one.
const ELEMENTS_MAX: usize = 500;
/// Of parentheses and negations in each other: the reader calls itself for each.
const DEPTH_MAX: usize = 101;

const OPERAND: &str = "'(', 'NOT', AT_LEAST, TRUE or FALSE, ALARM, OK, or INSUFFICIENT_DATA";
const NAME: &str = "'NOT', 'AND', 'OR', 'AT_LEAST', NUMBER, PERCENTAGE NUMBER, TRUE or FALSE, ALARM, OK, or \
                    INSUFFICIENT_DATA, unquoted alarm name, quoted alarm name";
const THRESHOLD: &str = "NUMBER, PERCENTAGE NUMBER";
const TEST: &str = "'NOT', ALARM, OK, or INSUFFICIENT_DATA";

/// Where the alarms of a rule must be.
#[derive(Clone, Copy, Debug)]
pub(in crate::cloudwatch::alarms) struct Place<'a> {
    pub(in crate::cloudwatch::alarms) region: &'a str,
    pub(in crate::cloudwatch::alarms) account_id: &'a str,
}

pub(super) fn parse(text: &str, place: &Place<'_>) -> Result<Node, Failure> {
    if text.chars().count() > CHARS_MAX {
        return Err(Failure::validation(format!(
            "1 validation error detected: Value '{text}' at 'alarmRule' failed to satisfy constraint: Member must have \
             length less than or equal to {CHARS_MAX}"
        )));
    }
    let mut parser = Parser { tokens: tokens(text), next: 0, elements: 0, depth: 0, place };
    let root = parser.any()?;
    parser.end()?;
    Ok(root)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Without quotes and without what they are needed for.
    Word,
    Quoted,
    Punctuation,
    End,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    text: String,
    at: usize,
}

/// The last one is the end.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(c) = chars.get(at).copied() {
        let rest = chars.get(at..).unwrap_or_default();
        let (token, length) = match c {
            c if c.is_whitespace() => (None, 1),
            '(' | ')' | ',' => (Some((Kind::Punctuation, c.to_string())), 1),
            '"' => quoted(rest),
            _ => {
                let word: String = rest.iter().take_while(|c| !ends_word(**c)).collect();
                let length = word.chars().count();
                (Some((Kind::Word, word)), length)
            }
        };
        all.extend(token.map(|(kind, text)| Token { kind, text, at }));
        at += length;
    }
    all.push(Token { kind: Kind::End, text: "<EOF>".to_owned(), at: chars.len() });
    all
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | ',' | '"')
}

/// A name in quotes, in which a backslash stands before a quote. Without an end it is no name.
fn quoted(rest: &[char]) -> (Option<(Kind, String)>, usize) {
    let (mut name, mut index) = (String::new(), 1);
    while let Some(c) = rest.get(index).copied() {
        match (c, rest.get(index + 1).copied()) {
            ('"', _) => return (Some((Kind::Quoted, name)), index + 1),
            ('\\', Some(escaped @ ('"' | '\\'))) => {
                name.push(escaped);
                index += 1;
            }
            (c, _) => name.push(c),
        }
        index += 1;
    }
    (Some((Kind::Punctuation, rest.iter().collect())), rest.len())
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    elements: usize,
    depth: usize,
    place: &'a Place<'a>,
}

impl Parser<'_> {
    /// `a OR b`; AND binds closer.
    fn any(&mut self) -> Result<Node, Failure> {
        self.joined("OR", Self::all, Node::Any)
    }

    fn all(&mut self) -> Result<Node, Failure> {
        self.joined("AND", Self::operand, Node::All)
    }

    fn joined(
        &mut self,
        operator: &str,
        read: fn(&mut Self) -> Result<Node, Failure>,
        join: fn(Vec<Node>) -> Node,
    ) -> Result<Node, Failure> {
        let first = read(self)?;
        let mut others = Vec::new();
        while self.takes(operator) {
            others.push(read(self)?);
        }
        if others.is_empty() {
            return Ok(first);
        }
        others.insert(0, first);
        Ok(join(others))
    }

    fn operand(&mut self) -> Result<Node, Failure> {
        if self.takes("NOT") {
            return self.deeper(|parser| Ok(Node::Not(Box::new(parser.operand()?))));
        }
        self.count(1)?;
        if self.takes("(") {
            return self.deeper(|parser| {
                let node = parser.any()?;
                parser.expect(")", "'AND', 'OR', ')'")?;
                Ok(node)
            });
        }
        if self.takes("TRUE") {
            return Ok(Node::Constant(true));
        }
        if self.takes("FALSE") {
            return Ok(Node::Constant(false));
        }
        if self.takes("AT_LEAST") {
            return self.quorum();
        }
        let state = self.state(OPERAND)?;
        self.expect("(", "'('")?;
        let name = self.name()?;
        self.expect(")", "')'")?;
        Ok(Node::Is(state, name))
    }

    /// `AT_LEAST(2, ALARM, (a, b, c))`, `AT_LEAST(50%, NOT OK, (a, b))`.
    fn quorum(&mut self) -> Result<Node, Failure> {
        self.expect("(", "'('")?;
        let threshold = self.threshold()?;
        self.expect(",", "','")?;
        let is_negated = self.takes("NOT");
        let state = self.state(TEST)?;
        self.expect(",", "','")?;
        self.expect("(", "'('")?;
        let mut names = vec![self.name()?];
        while self.takes(",") {
            names.push(self.name()?);
        }
        self.expect(")", "',', ')'")?;
        self.expect(")", "')'")?;
        self.count(names.len())?;
        Ok(Node::AtLeast(Quorum { needed: threshold.of(names.len())?, state, is_negated, names }))
    }

    fn threshold(&mut self) -> Result<Threshold, Failure> {
        let token = self.peek();
        let (digits, is_percentage) = match token.text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (token.text.as_str(), false),
        };
        let is_number =
            token.kind == Kind::Word && !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
        if !is_number {
            return Err(self.unexpected(THRESHOLD));
        }
        // A number with too many digits is too large for anything.
        let number = digits.parse().unwrap_or(usize::MAX);
        self.advance();
        Ok(if is_percentage { Threshold::Percentage(number) } else { Threshold::Absolute(number) })
    }

    fn state(&mut self, expected: &str) -> Result<State, Failure> {
        let token = self.peek();
        let state = State::parse(&token.text).filter(|_| token.kind == Kind::Word);
        let state = state.ok_or_else(|| self.unexpected(expected))?;
        self.advance();
        Ok(state)
    }

    /// Of an alarm of this account and Region; an ARN may stand for it.
    fn name(&mut self) -> Result<String, Failure> {
        let token = self.peek();
        if !matches!(token.kind, Kind::Word | Kind::Quoted) {
            return Err(self.unexpected(NAME));
        }
        let name = self.place.name(&token.text)?.to_owned();
        self.advance();
        Ok(name)
    }

    fn end(&self) -> Result<(), Failure> {
        match self.peek().kind {
            Kind::End => Ok(()),
            // AWS takes the last token for one too many, and any other for an operator.
            _ if self.next + 2 == self.tokens.len() => Err(self.unexpected("<EOF>")),
            _ => Err(self.unexpected("<EOF>, 'AND', 'OR'")),
        }
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Node, Failure>) -> Result<Node, Failure> {
        self.depth += 1;
        if self.depth >= DEPTH_MAX {
            return Err(error("The rule is nested too deeply"));
        }
        let node = read(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn count(&mut self, elements: usize) -> Result<(), Failure> {
        self.elements += elements;
        if self.elements > ELEMENTS_MAX {
            return Err(error(&format!("A rule has at most {ELEMENTS_MAX} elements")));
        }
        Ok(())
    }

    fn peek(&self) -> &Token {
        static END: Token = Token { kind: Kind::End, text: String::new(), at: 0 };
        self.tokens.get(self.next).unwrap_or(&END)
    }

    /// The end stays.
    fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len().saturating_sub(1));
    }

    fn takes(&mut self, text: &str) -> bool {
        let token = self.peek();
        let is_there = matches!(token.kind, Kind::Word | Kind::Punctuation) && token.text == text;
        if is_there {
            self.advance();
        }
        is_there
    }

    fn expect(&mut self, text: &str, expected: &str) -> Result<(), Failure> {
        if self.takes(text) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// AWS shows closing parentheses together.
    fn unexpected(&self, expected: &str) -> Failure {
        let token = self.peek();
        let closing = self.tokens.iter().skip(self.next).enumerate();
        let closing =
            closing.take_while(|(index, other)| other.text == ")" && other.at == token.at + index).count();
        let text = if closing > 1 { ")".repeat(closing) } else { token.text.clone() };
        error(&format!("Unsupported token '{text}' at char {}, must be: {expected}", token.at))
    }
}

enum Threshold {
    Absolute(usize),
    Percentage(usize),
}

impl Threshold {
    /// How many of so many alarms.
    fn of(self, count: usize) -> Result<usize, Failure> {
        match self {
            Self::Absolute(needed) if (1..=count).contains(&needed) => Ok(needed),
            Self::Absolute(_) => Err(error(&format!(
                "AT_LEAST absolute threshold must be between 1 and number of alarms ({count})"
            ))),
            Self::Percentage(percent) if (1..=100).contains(&percent) => Ok((percent * count).div_ceil(100)),
            Self::Percentage(_) => Err(error("AT_LEAST percentage threshold must be between 1 and 100")),
        }
    }
}

impl Place<'_> {
    /// What an alarm that is named so, or by its ARN, is called.
    pub(in crate::cloudwatch::alarms) fn name<'a>(&self, reference: &'a str) -> Result<&'a str, Failure> {
        let parts: Vec<&str> = reference.splitn(7, ':').collect();
        let ["arn", _, "cloudwatch", region, account_id, "alarm", name] = parts.as_slice() else {
            return Ok(reference);
        };
        if *region != self.region {
            let expected = self.region;
            return Err(error(&format!(
                "Wrong ARN region, it was {region} but {expected} was expected instead"
            )));
        }
        if *account_id != self.account_id {
            let message =
                "A composite alarm cannot have a child relation with alarms from another AWS account";
            return Err(Failure::validation(message));
        }
        Ok(*name)
    }

    pub(in crate::cloudwatch::alarms) fn arn(&self, name: &str) -> String {
        format!("arn:aws:cloudwatch:{}:{}:alarm:{name}", self.region, self.account_id)
    }
}

pub(super) fn error(message: &str) -> Failure {
    Failure::validation(format!("Error in AlarmRule [{message}]"))
}
