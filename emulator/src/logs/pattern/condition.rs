//! Tests joined by `&&` and `||`.

use super::Flaw;
use super::comparison::Test;
use super::scan::Scanner;

/// Parentheses within parentheses: deeper ones are refused, because judging them recurses.
const DEPTH_MAX: usize = 32;

/// What is tested.
pub(super) trait Subject: Sized {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw>;
    /// What may be asked of it.
    fn parse_test(scanner: &mut Scanner<'_>) -> Result<Test, Flaw>;
}

#[derive(Clone, Debug)]
pub(super) enum Condition<S> {
    Any(Vec<Self>),
    All(Vec<Self>),
    One(S, Test),
}

impl<S: Subject> Condition<S> {
    pub(super) fn parse(scanner: &mut Scanner<'_>) -> Result<Self, Flaw> {
        Self::parse_any(scanner, 0)
    }

    /// `&&` binds closer.
    fn parse_any(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, Flaw> {
        let mut parts = vec![Self::parse_all(scanner, depth)?];
        while scanner.take("||") {
            parts.push(Self::parse_all(scanner, depth)?);
        }
        Ok(Self::Any(parts))
    }

    fn parse_all(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, Flaw> {
        let mut parts = vec![Self::parse_one(scanner, depth)?];
        while scanner.take("&&") {
            parts.push(Self::parse_one(scanner, depth)?);
        }
        Ok(Self::All(parts))
    }

    fn parse_one(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, Flaw> {
        if !scanner.take("(") {
            let subject = S::parse(scanner)?;
            return Ok(Self::One(subject, S::parse_test(scanner)?));
        }
        if depth == DEPTH_MAX {
            return Err(Flaw::Syntax);
        }
        let inner = Self::parse_any(scanner, depth + 1)?;
        scanner.expect(")")?;
        Ok(inner)
    }
}

impl<S> Condition<S> {
    pub(super) fn holds(&self, judge: &dyn Fn(&S, &Test) -> bool) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(judge)),
            Self::All(parts) => parts.iter().all(|part| part.holds(judge)),
            Self::One(subject, test) => judge(subject, test),
        }
    }

    pub(super) fn subjects(&self) -> Vec<&S> {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().flat_map(Self::subjects).collect(),
            Self::One(subject, _) => vec![subject],
        }
    }
}
