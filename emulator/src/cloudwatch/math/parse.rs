//! Expressions as trees, by recursive descent.

use super::Problem;
use super::token::{Token, split};

/// Deeper than any real expression; the stack of a recursive descent must have an end.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub(in crate::cloudwatch) enum Expression {
    Number(f64),
    Text(String),
    /// Of another metric or expression.
    Id(String),
    /// An option of a function: `REPEAT`, `DESC`.
    Word(String),
    List(Vec<Expression>),
    Negated(Box<Expression>),
    /// Operations of one precedence, from left to right. Flat, so that a long sum is not a deep tree.
    Chain(Box<Expression>, Vec<(Operator, Expression)>),
    Call(String, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cloudwatch) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
}

/// What binds less comes first. AWS documents the operators and not their order; this is the customary one.
const LEVELS: [&[Operator]; 5] = [
    &[Operator::Or],
    &[Operator::And],
    &[
        Operator::Equal,
        Operator::NotEqual,
        Operator::LessOrEqual,
        Operator::GreaterOrEqual,
        Operator::Less,
        Operator::Greater,
    ],
    &[Operator::Add, Operator::Subtract],
    &[Operator::Multiply, Operator::Divide],
];

impl Operator {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::LessOrEqual => "<=",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::Greater => ">",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Power => "^",
        }
    }
}

impl Expression {
    pub(in crate::cloudwatch) fn parse(text: &str) -> Result<Self, Problem> {
        let mut parser = Parser { tokens: split(text)?, at: 0, depth: 0 };
        let expression = parser.level(0)?;
        if parser.at == parser.tokens.len() { Ok(expression) } else { Err(Problem::Syntax) }
    }

    /// The metrics and expressions that it names; `METRICS()` names none.
    pub(in crate::cloudwatch) fn ids(&self) -> Vec<&str> {
        match self {
            Self::Id(id) => vec![id],
            Self::Number(_) | Self::Text(_) | Self::Word(_) => Vec::new(),
            Self::List(all) | Self::Call(_, all) => all.iter().flat_map(Self::ids).collect(),
            Self::Negated(inner) => inner.ids(),
            Self::Chain(first, rest) => {
                first.ids().into_iter().chain(rest.iter().flat_map(|(_, operand)| operand.ids())).collect()
            }
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn level(&mut self, level: usize) -> Result<Expression, Problem> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let first = self.level(level + 1)?;
        let mut rest = Vec::new();
        while let Some(operator) = operators.iter().find(|operator| self.take(operator.symbol())) {
            rest.push((*operator, self.level(level + 1)?));
        }
        Ok(if rest.is_empty() { first } else { Expression::Chain(Box::new(first), rest) })
    }

    fn unary(&mut self) -> Result<Expression, Problem> {
        if self.take("-") {
            return Ok(Expression::Negated(Box::new(self.nested(Self::unary)?)));
        }
        let base = self.primary()?;
        if !self.take(Operator::Power.symbol()) {
            return Ok(base);
        }
        let exponent = self.nested(Self::unary)?;
        Ok(Expression::Chain(Box::new(base), vec![(Operator::Power, exponent)]))
    }

    fn primary(&mut self) -> Result<Expression, Problem> {
        let token = self.tokens.get(self.at).cloned().ok_or(Problem::Syntax)?;
        self.at += 1;
        match token {
            Token::Number(number) => Ok(Expression::Number(number)),
            Token::Text(text) => Ok(Expression::Text(text)),
            Token::Id(id) => Ok(Expression::Id(id)),
            Token::Word(word) if self.take("(") => Ok(Expression::Call(word, self.list(")")?)),
            Token::Word(word) => Ok(Expression::Word(word)),
            Token::Symbol("[") => Ok(Expression::List(self.list("]")?)),
            Token::Symbol("(") => {
                let inner = self.nested(|parser| parser.level(0))?;
                if self.take(")") { Ok(inner) } else { Err(Problem::Syntax) }
            }
            Token::Symbol(_) => Err(Problem::Syntax),
        }
    }

    fn list(&mut self, end: &'static str) -> Result<Vec<Expression>, Problem> {
        let mut all = Vec::new();
        if self.take(end) {
            return Ok(all);
        }
        loop {
            all.push(self.nested(|parser| parser.level(0))?);
            if self.take(end) {
                return Ok(all);
            }
            if !self.take(",") {
                return Err(Problem::Syntax);
            }
        }
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&Token::Symbol(symbol));
        self.at += usize::from(is_next);
        is_next
    }

    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Expression, Problem>,
    ) -> Result<Expression, Problem> {
        if self.depth == DEPTH_MAX {
            return Err(Problem::Syntax);
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
}
