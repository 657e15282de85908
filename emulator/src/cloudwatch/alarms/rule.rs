//! The rule of a composite alarm: what other alarms' states mean for its own.

mod parse;

use std::collections::BTreeSet;

pub(super) use self::parse::Place;
use crate::cloudwatch::evaluate::State;
use crate::cloudwatch::failure::Failure;

/// "The rule expression of a composite alarm can include as many as 100 underlying alarms."
const CHILDREN_MAX: usize = 100;

/// A checked rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    root: Node,
    /// The alarms that it names, each once.
    children: Vec<String>,
}

#[derive(Clone, Debug)]
enum Node {
    Constant(bool),
    Is(State, String),
    AtLeast(Quorum),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// So many of these alarms in that state, or in another.
#[derive(Clone, Debug)]
struct Quorum {
    needed: usize,
    state: State,
    is_negated: bool,
    /// One that is named twice counts twice.
    names: Vec<String>,
}

/// What the rule says, and the alarms that say so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said<'a> {
    pub(super) is_true: bool,
    pub(super) by: Vec<&'a str>,
}

impl Rule {
    pub(super) fn read(text: &str, place: &Place<'_>) -> Result<Self, Failure> {
        let root = parse::parse(text, place)?;
        let mut names = Vec::new();
        root.names(&mut names);
        let mut seen = BTreeSet::new();
        let children: Vec<String> =
            names.into_iter().filter(|name| seen.insert(*name)).map(str::to_owned).collect();
        if children.len() > CHILDREN_MAX {
            return Err(parse::error(&format!("A rule has at most {CHILDREN_MAX} alarms")));
        }
        Ok(Self { root, children })
    }

    pub(super) fn children(&self) -> &[String] {
        &self.children
    }

    /// In the order of the rule, each alarm once.
    pub(super) fn evaluate(&self, state_of: &dyn Fn(&str) -> State) -> Said<'_> {
        let mut said = self.root.evaluate(state_of);
        let mut seen = BTreeSet::new();
        said.by.retain(|name| seen.insert(*name));
        said
    }
}

impl Node {
    fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Constant(_) => {}
            Self::Is(_, name) => names.push(name),
            Self::AtLeast(quorum) => names.extend(quorum.names.iter().map(String::as_str)),
            Self::Not(node) => node.names(names),
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.names(names)),
        }
    }

    fn evaluate(&self, state_of: &dyn Fn(&str) -> State) -> Said<'_> {
        match self {
            Self::Constant(is_true) => Said { is_true: *is_true, by: Vec::new() },
            Self::Is(state, name) => {
                let name = name.as_str();
                Said { is_true: state_of(name) == *state, by: vec![name] }
            }
            Self::AtLeast(quorum) => quorum.evaluate(state_of),
            Self::Not(node) => {
                let said = node.evaluate(state_of);
                Said { is_true: !said.is_true, ..said }
            }
            Self::All(nodes) => decided(nodes, false, state_of),
            Self::Any(nodes) => decided(nodes, true, state_of),
        }
    }
}

impl Quorum {
    fn evaluate(&self, state_of: &dyn Fn(&str) -> State) -> Said<'_> {
        let is_met = |&name: &&str| (state_of(name) == self.state) != self.is_negated;
        let (met, other): (Vec<&str>, Vec<&str>) = self.names.iter().map(String::as_str).partition(is_met);
        let is_true = met.len() >= self.needed;
        Said { is_true, by: if is_true { met } else { other } }
    }
}

/// One operand with the deciding value decides; otherwise all do.
fn decided<'a>(nodes: &'a [Node], deciding: bool, state_of: &dyn Fn(&str) -> State) -> Said<'a> {
    let said: Vec<Said<'a>> = nodes.iter().map(|node| node.evaluate(state_of)).collect();
    let is_decided = said.iter().any(|said| said.is_true == deciding);
    let is_true = is_decided == deciding;
    let by = said.into_iter().filter(|said| said.is_true == is_true).flat_map(|said| said.by).collect();
    Said { is_true, by }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { region: "us-east-1", account_id: "123456789012" };

    fn rule(text: &str) -> Rule {
        Rule::read(text, &PLACE).unwrap()
    }

    fn refused(text: &str) -> String {
        let refused = Rule::read(text, &PLACE).unwrap_err();
        assert_eq!(refused.query_code, "ValidationError");
        refused.message
    }

    /// Of alarms that begin with `a` in ALARM, with `o` in OK, and of others without data.
    fn said(rule: &Rule) -> (bool, Vec<String>) {
        let state_of = |name: &str| match name.chars().next() {
            Some('a') => State::Alarm,
            Some('o') => State::Ok,
            _ => State::InsufficientData,
        };
        let said = rule.evaluate(&state_of);
        (said.is_true, said.by.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn a_rule_says_what_its_operators_say_and_by_which_alarms() {
        for (text, is_true, by) in [
            ("TRUE", true, vec![]),
            ("FALSE", false, vec![]),
            ("NOT NOT FALSE", false, vec![]),
            ("TRUE OR FALSE AND FALSE", true, vec![]),
            ("(TRUE OR FALSE) AND FALSE", false, vec![]),
            ("ALARM(a)", true, vec!["a"]),
            ("ALARM ( a )", true, vec!["a"]),
            ("ALARM(\"a b)\\\"c\")", true, vec!["a b)\"c"]),
            ("ALARM(arn:aws:cloudwatch:us-east-1:123456789012:alarm:a:b)", true, vec!["a:b"]),
            ("OK(a)", false, vec!["a"]),
            ("INSUFFICIENT_DATA(i)", true, vec!["i"]),
            ("ALARM(o) OR ALARM(a)", true, vec!["a"]),
            ("ALARM(o1) OR ALARM(o2)", false, vec!["o1", "o2"]),
            ("ALARM(a) AND OK(o)", true, vec!["a", "o"]),
            ("ALARM(a) AND ALARM(o)", false, vec!["o"]),
            ("NOT ALARM(o) AND ALARM(a)", true, vec!["o", "a"]),
            ("ALARM(a) OR ALARM(a)", true, vec!["a"]),
            ("AT_LEAST(2, ALARM, (a,a,o))", true, vec!["a"]),
            ("AT_LEAST(66%, ALARM, (a,a,o))", true, vec!["a"]),
            ("AT_LEAST(67%, ALARM, (a,a,o))", false, vec!["o"]),
            ("AT_LEAST(50%, NOT ALARM, (a,\"o\"))", true, vec!["o"]),
        ] {
            let by: Vec<String> = by.into_iter().map(str::to_owned).collect();
            assert_eq!(said(&rule(text)), (is_true, by), "{text}");
        }
    }

    #[test]
    fn a_rule_names_each_of_its_alarms_once() {
        let text = "ALARM(b) AND (OK(a) OR ALARM(b)) OR AT_LEAST(1, ALARM, (c, a))";
        assert_eq!(rule(text).children(), ["b", "a", "c"]);
    }

    #[test]
    fn what_is_no_rule_is_refused_in_aws_words() {
        let operand = "'(', 'NOT', AT_LEAST, TRUE or FALSE, ALARM, OK, or INSUFFICIENT_DATA";
        for (text, token, at, wanted) in [
            ("true", "true", 0, operand),
            ("!TRUE", "!TRUE", 0, operand),
            ("alarm(a)", "alarm", 0, operand),
            ("UNKNOWN(a)", "UNKNOWN", 0, operand),
            ("()", ")", 1, operand),
            ("TRUE and FALSE", "and", 5, "<EOF>, 'AND', 'OR'"),
            ("TRUE && FALSE", "&&", 5, "<EOF>, 'AND', 'OR'"),
            ("TRUE FALSE", "FALSE", 5, "<EOF>"),
            ("TRUE junk", "junk", 5, "<EOF>"),
            ("ALARM(an alarm with spaces)", "alarm", 9, "')'"),
            ("AT_LEAST(-1, ALARM, (a,b))", "-1", 9, "NUMBER, PERCENTAGE NUMBER"),
            ("AT_LEAST(1.5, ALARM, (a,b))", "1.5", 9, "NUMBER, PERCENTAGE NUMBER"),
            ("AT_LEAST(50.5%, ALARM, (a,b))", "50.5%", 9, "NUMBER, PERCENTAGE NUMBER"),
            ("AT_LEAST(1, BOGUS, (a,b))", "BOGUS", 12, "'NOT', ALARM, OK, or INSUFFICIENT_DATA"),
        ] {
            let why =
                format!("Error in AlarmRule [Unsupported token '{token}' at char {at}, must be: {wanted}]");
            assert_eq!(refused(text), why);
        }
        for (text, why) in [
            (
                "AT_LEAST(0, ALARM, (a,b))",
                "Error in AlarmRule [AT_LEAST absolute threshold must be between 1 and number of alarms (2)]",
            ),
            (
                "AT_LEAST(3, ALARM, (a,b))",
                "Error in AlarmRule [AT_LEAST absolute threshold must be between 1 and number of alarms (2)]",
            ),
            (
                "AT_LEAST(101%, ALARM, (a,b))",
                "Error in AlarmRule [AT_LEAST percentage threshold must be between 1 and 100]",
            ),
            (
                "ALARM(arn:aws:cloudwatch:us-west-2:123456789012:alarm:a)",
                "Error in AlarmRule [Wrong ARN region, it was us-west-2 but us-east-1 was expected instead]",
            ),
            (
                "ALARM(arn:aws:cloudwatch:us-east-1:111111111111:alarm:a)",
                "A composite alarm cannot have a child relation with alarms from another AWS account",
            ),
        ] {
            assert_eq!(refused(text), why);
        }
        let empty = refused("AT_LEAST(1, ALARM, ())");
        assert!(
            empty.starts_with("Error in AlarmRule [Unsupported token '))' at char 20, must be: "),
            "{empty}"
        );
    }

    #[test]
    fn a_rule_has_limits() {
        let any = |count: usize| vec!["ALARM(a)"; count].join(" OR ");
        rule(&any(500));
        assert!(refused(&any(501)).contains("500 elements"));
        rule(&format!("({})", any(499)));
        assert!(refused(&format!("({})", any(500))).contains("500 elements"));
        let all = |count: usize| (0..count).map(|number| format!("n{number}")).collect::<Vec<_>>().join(",");
        rule(&format!("AT_LEAST(1, ALARM, ({}))", all(100)));
        assert!(refused(&format!("AT_LEAST(1, ALARM, ({}))", all(101))).contains("100"));
        assert!(
            refused(&format!("ALARM(\"{}\")", "a".repeat(10_240))).contains("less than or equal to 10240")
        );
        rule(&format!("{}TRUE{}", "(".repeat(100), ")".repeat(100)));
        assert!(refused(&format!("{}TRUE", "(".repeat(5_000))).contains("nested"));
        assert!(refused(&"NOT ".repeat(1_000)).contains("nested"));
    }

    #[test]
    fn no_text_makes_the_reader_stumble() {
        for text in [
            "",
            "(",
            ")",
            "ALARM",
            "ALARM(",
            "ALARM(\"",
            "ALARM(\"\\",
            "AT_LEAST",
            "AT_LEAST(",
            "NOT",
            "é(",
            "ALARM(é",
        ] {
            refused(text);
        }
        assert_eq!(rule("ALARM(\"é\")").children(), ["é"]);
    }
}
