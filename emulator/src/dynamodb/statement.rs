//! PartiQL, as far as throughput and permissions ask: what a statement does, on what, and in which partitions.

mod tokens;

use std::borrow::Cow;

use dynoxide::AttributeValue;

use self::tokens::{Token, enclosed, is_word, split, tokens};
use super::capacity::Target;
use super::partitions::{At, Attributes};
use super::throttle::Access;

/// AWS quota. The engine refuses what is longer.
const STATEMENT_CHARS_MAX: usize = 8_192;
/// Of parentheses. Nobody writes more, and what is in them has no partition key.
const NESTING_MAX: usize = 16;

/// A statement and its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stated<'a> {
    pub(super) text: &'a str,
    pub(super) parameters: Option<&'a [AttributeValue]>,
}

impl<'a> Stated<'a> {
    /// A table without a name for what is no statement: no throughput is asked about, and the engine says what is wrong.
    pub(super) fn target(self) -> Target<'a> {
        let at = At::Statement(self);
        let target =
            |named: Named<'a>| Some(Target { index: named.index, at, ..Target::table(named.table?) });
        named(self.text).and_then(target).unwrap_or(Target::table(""))
    }

    /// None for what the engine refuses.
    pub(super) fn read(self) -> Option<Statement<'a>> {
        if self.text.len() > STATEMENT_CHARS_MAX * char::MAX.len_utf8() {
            return None;
        }
        Some(Statement { tokens: tokens(self.text)?, parameters: self.parameters.unwrap_or_default() })
    }
}

/// A statement that was read.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    tokens: Vec<Token<'a>>,
    parameters: &'a [AttributeValue],
}

impl Statement<'_> {
    pub(super) fn is_select(&self) -> bool {
        self.tokens.first().is_some_and(|first| is_word(first, "SELECT"))
    }

    /// Whether it says nothing about the items that it is on.
    pub(super) fn is_on_all(&self) -> bool {
        self.after("WHERE").is_none()
    }

    /// Whether an item may meet its conditions in several ways. A NOT makes them of an AND in parentheses.
    pub(super) fn has_alternatives(&self) -> bool {
        let conditions = self.after("WHERE").unwrap_or_default();
        let is_negated = |two: &[Token<'_>]| match two {
            [not, Token::Symbol('(')] => is_word(not, "NOT"),
            _ => false,
        };
        conditions.iter().any(|token| is_word(token, "OR")) || conditions.windows(2).any(is_negated)
    }

    fn conditions(&self) -> Option<&[Token<'_>]> {
        let conditions = self.after("WHERE")?;
        // What is changed follows them where the table comes first.
        let keywords = ["ORDER", "RETURNING", "SET", "REMOVE"];
        let is_end = |token: &Token<'_>| {
            keywords.iter().any(|keyword| is_word(token, keyword)) || *token == Token::Symbol(';')
        };
        conditions.split(is_end).next()
    }

    /// The values of which the attribute has one, in every item that the statement is on; None when it may have any.
    pub(super) fn values_of(&self, attribute: &str) -> Option<Vec<AttributeValue>> {
        if self.tokens.first().is_some_and(|first| is_word(first, "INSERT")) {
            return self.inserted()?.remove(attribute).map(|value| vec![value]);
        }
        self.values_in(self.conditions()?, attribute, 0)
    }

    /// What an INSERT says of the attributes that may be keys: no others have values that are written as one.
    pub(super) fn inserted(&self) -> Option<Attributes> {
        let members = split(enclosed(self.after("VALUE")?)?, |token| *token == Token::Symbol(','));
        let member = |tokens: &[Token<'_>]| match tokens {
            [Token::Text(name), Token::Symbol(':'), value @ ..] => {
                Some((name.to_string(), self.value(value)?))
            }
            [Token::Name(name), Token::Symbol(':'), value @ ..] => {
                Some(((*name).to_owned(), self.value(value)?))
            }
            _ => None,
        };
        Some(members.into_iter().filter_map(member).collect())
    }

    fn after(&self, keyword: &str) -> Option<&[Token<'_>]> {
        let at = self.tokens.iter().position(|token| is_word(token, keyword))?;
        self.tokens.get(at + 1..)
    }

    fn values_in(
        &self,
        conditions: &[Token<'_>],
        attribute: &str,
        nesting: usize,
    ) -> Option<Vec<AttributeValue>> {
        if nesting > NESTING_MAX {
            return None;
        }
        let values_in = |conditions: &[Token<'_>]| self.values_in(conditions, attribute, nesting + 1);
        if let Some(inner) = enclosed(conditions).filter(|inner| inner.len() + 2 == conditions.len()) {
            return values_in(inner);
        }
        let alternatives = split(conditions, |token| is_word(token, "OR"));
        if alternatives.len() > 1 {
            let all: Option<Vec<_>> = alternatives.into_iter().map(values_in).collect();
            return Some(all?.concat());
        }
        // The AND of a BETWEEN is one as well: what it leaves on either side says nothing.
        let all = split(conditions, |token| is_word(token, "AND"));
        if all.len() > 1 { all.into_iter().find_map(values_in) } else { self.compared(conditions, attribute) }
    }

    fn compared(&self, condition: &[Token<'_>], attribute: &str) -> Option<Vec<AttributeValue>> {
        let [Token::Name(name) | Token::Word(name), operator, operand @ ..] = condition else { return None };
        if *name != attribute {
            return None;
        }
        if *operator == Token::Symbol('=') {
            return self.value(operand).map(|value| vec![value]);
        }
        if !is_word(operator, "IN") {
            return None;
        }
        let list = split(enclosed(operand)?, |token| *token == Token::Symbol(','));
        list.into_iter().map(|value| self.value(value)).collect()
    }

    fn value(&self, tokens: &[Token<'_>]) -> Option<AttributeValue> {
        match tokens {
            [Token::Text(text)] => Some(AttributeValue::S(text.to_string())),
            [Token::Number(digits)] => number((*digits).to_owned()),
            [Token::Symbol('-'), Token::Number(digits)] => number(format!("-{digits}")),
            [Token::Parameter(place)] => self.parameters.get(*place).cloned(),
            _ => None,
        }
    }
}

/// What is no number the engine refuses.
fn number(text: String) -> Option<AttributeValue> {
    text.parse::<f64>().ok().map(|_| AttributeValue::N(text))
}

/// A batch or a transaction of statements either reads or writes.
pub(super) fn access<'a>(mut statements: impl Iterator<Item = Stated<'a>>) -> Access {
    let is_select =
        |statement: Stated<'_>| named(statement.text).is_some_and(|named| named.verb == Verb::Select);
    if statements.any(is_select) { Access::Read } else { Access::Write }
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Select,
    Insert,
    Update,
    Delete,
}

impl Verb {
    fn of(first: &Token<'_>) -> Option<Self> {
        let verbs = [
            ("SELECT", Self::Select),
            ("INSERT", Self::Insert),
            ("UPDATE", Self::Update),
            ("DELETE", Self::Delete),
            // `FROM "table" WHERE … SET …`: an UPDATE in another order.
            ("FROM", Self::Update),
        ];
        verbs.into_iter().find_map(|(keyword, verb)| is_word(first, keyword).then_some(verb))
    }
}

/// What a statement does, and what it names: no table where the engine finds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub(crate) verb: Verb,
    pub(crate) table: Option<&'a str>,
    pub(crate) index: Option<&'a str>,
}

/// None for what is no statement. Read as the engine reads it: what it would change must not look like something else.
pub(crate) fn named(text: &str) -> Option<Named<'_>> {
    let tokens = Stated { text, parameters: None }.read()?.tokens;
    let verb = Verb::of(tokens.first()?)?;
    let (table, index) = match target(&tokens) {
        Some([table, Token::Symbol('.'), index, ..]) => (name(table), name(index)),
        Some([table, ..]) => (name(table), None),
        _ => (None, None),
    };
    Some(Named { verb, table, index })
}

/// What begins with the table: `SELECT … FROM "table"."index"`, `INSERT INTO "table"`, `UPDATE "table"`, `DELETE FROM "table"`,
/// `FROM "table"`.
fn target<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let (verb, rest) = tokens.split_first()?;
    if is_word(verb, "SELECT") {
        return selected(rest);
    }
    let keyword = match Verb::of(verb)? {
        Verb::Insert => "INTO",
        Verb::Delete => "FROM",
        Verb::Select | Verb::Update => return Some(rest),
    };
    rest.split_first().filter(|(first, _)| is_word(first, keyword)).map(|(_, target)| target)
}

/// An attribute may be called FROM as well, but no name follows that.
fn selected<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let is_before_name = |two: &[Token<'_>]| match two {
        [from, next] => is_word(from, "FROM") && !is_word(next, "FROM") && name(next).is_some(),
        _ => false,
    };
    let at = tokens.windows(2).position(is_before_name)?;
    tokens.get(at + 1..)
}

/// Also a text or a number may name a table.
fn name<'a>(token: &Token<'a>) -> Option<&'a str> {
    match token {
        Token::Word(name) | Token::Name(name) | Token::Number(name) | Token::Text(Cow::Borrowed(name)) => {
            Some(*name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stated(text: &str) -> Stated<'_> {
        Stated { text, parameters: None }
    }

    fn text(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    /// Those of `id`, with the parameters `x`, `y` and `z`.
    fn ids(statement: &str) -> Option<Vec<AttributeValue>> {
        let parameters = [text("x"), text("y"), text("z")];
        let stated = Stated { text: statement, parameters: Some(&parameters) };
        stated.read()?.values_of("id")
    }

    #[test]
    fn every_kind_of_statement_names_its_table_and_a_read_may_name_an_index() {
        for (statement, table, index) in [
            (r#"SELECT * FROM "a.b"."by-owner" WHERE owner = 'x'"#, "a.b", Some("by-owner")),
            (r#"select "from" from tasks where id = 'FROM other'"#, "tasks", None),
            (r#"INSERT INTO "tasks"VALUE {'id': 'x'}"#, "tasks", None),
            ("  UPDATE \"tasks\"\n SET a = 1 WHERE id = 'x'", "tasks", None),
            ("DELETE FROM tasks WHERE id = 'x'", "tasks", None),
            ("FROM tasks WHERE id = 'x' SET n = 1", "tasks", None),
            ("DELETE /* FROM public */ FROM \"tasks\" WHERE id = 'x'", "tasks", None),
            ("/**/SELECT * -- FROM public\n FROM/**/\"tasks\"/**/.\"by-owner\"", "tasks", Some("by-owner")),
            ("SELECT id, FROM, FROM[0] FROM 'tasks'", "tasks", None),
            ("SELECT id, FROM FROM tasks", "tasks", None),
            ("SELECT `id FROM public` FROM tasks", "tasks", None),
            ("SELECT \"id\"\" FROM public\" FROM tasks", "tasks", None),
            ("SELECT 5FROM tasks WHERE id = 'x'", "tasks", None),
            ("INSERT INTO 'tasks' VALUE {'id': 'x'}", "tasks", None),
            ("UPDATE from SET n = 1 WHERE id = 'x'", "from", None),
        ] {
            let at = At::Statement(stated(statement));
            let expected = Target { index, at, ..Target::table(table) };
            assert_eq!(stated(statement).target(), expected, "{statement}");
        }
        for nonsense in [
            "",
            "SELECT *",
            "DROP TABLE tasks",
            "UPDATE",
            "INSERT INTO \"tasks",
            "DELETE tasks",
            "SELECT * FROM `tasks",
        ] {
            assert_eq!(stated(nonsense).target(), Target::table(""), "{nonsense}");
        }
        let long = format!("DELETE FROM tasks WHERE id = '{}'", "x".repeat(40_000));
        assert_eq!(named(&long), None);
    }

    #[test]
    fn statements_read_when_one_of_them_selects() {
        for read in [" select * from t", "/* c */ SELECT * FROM t", "-- c\nSELECT * FROM t"] {
            assert_eq!(access([stated(read)].into_iter()), Access::Read, "{read}");
        }
        let writes = ["DELETE FROM t", "UPDATE t SET a = 1", "/* SELECT */ FROM t SET a = 1"].map(stated);
        assert_eq!(access(writes.into_iter()), Access::Write);
    }

    #[test]
    fn a_statement_says_its_keys_however_it_is_written() {
        for (statement, expected) in [
            ("SELECT * FROM t WHERE id = 'a'", "a"),
            ("select * from t where \"id\"='it''s' and n > 1 order by n", "it's"),
            ("SELECT * FROM t WHERE n BETWEEN 1 AND 2 AND (id = ?)", "x"),
            ("SELECT * FROM t WHERE id IN ['a', ?, 'b']", "a x b"),
            ("SELECT * FROM t WHERE id in ('a', 'b') AND NOT n = 1;", "a b"),
            ("SELECT * FROM t WHERE (id = 'a' AND n = 1) OR id = 'b'", "a b"),
            ("UPDATE t SET n = ?, \"WHERE\" = ? WHERE id = ? RETURNING ALL NEW *", "z"),
            ("FROM t WHERE id = ? SET n = 1, m = 2 RETURNING ALL NEW *", "x"),
            ("FROM t WHERE id = 'a' REMOVE n", "a"),
            ("DELETE FROM t -- WHERE id = 'a'\n WHERE /* id = 'b' */ id = 'c'", "c"),
            ("INSERT INTO t VALUE {'n': [1, {'id': 'b'}], 'id': ?, 'set': <<1, 2>>}", "x"),
        ] {
            let expected: Vec<AttributeValue> = expected.split(' ').map(text).collect();
            assert_eq!(ids(statement), Some(expected), "{statement}");
        }
        for anywhere in [
            "",
            "SELECT * FROM t",
            "SELECT * FROM t WHERE id >= 'a'",
            "SELECT * FROM t WHERE id <> 'a'",
            "SELECT * FROM t WHERE NOT id = 'a'",
            "SELECT * FROM t WHERE NOT (id = 'a')",
            "SELECT * FROM t WHERE id = 'a' OR n = 1",
            "SELECT * FROM t WHERE a.id = 'a'",
            "SELECT * FROM t WHERE n = 'id = 1'",
            "SELECT * FROM t WHERE id = size(n)",
            "SELECT * FROM t WHERE id IN ['a', n]",
            "SELECT * FROM t WHERE id = 'a",
            "UPDATE t SET id = 'a'",
            "INSERT INTO t VALUE {'n': {'id': 'a'}}",
            "INSERT INTO t VALUE {'id': 'a'",
        ] {
            assert_eq!(ids(anywhere), None, "{anywhere}");
        }
        assert_eq!(ids("SELECT * FROM t WHERE id = ? OR id = ? OR id = ? OR id = ?"), None, "one is missing");
        let deep = format!("SELECT * FROM t WHERE {}id = 'a'{}", "(".repeat(4_000), ")".repeat(4_000));
        assert_eq!(ids(&deep), None);
        assert_eq!(ids(&format!("SELECT * FROM t WHERE id = '{}'", "a".repeat(40_000))), None);
    }

    #[test]
    fn numbers_are_keys_as_they_are_written() {
        let n = |text: &str| Some(vec![AttributeValue::N(text.to_owned())]);
        assert_eq!(ids("SELECT * FROM t WHERE id=-1.5e+3"), n("-1.5e+3"));
        assert_eq!(ids("SELECT * FROM t WHERE id = 1 AND n = 2"), n("1"));
        assert_eq!(ids("SELECT * FROM t WHERE id = 1x"), None);
    }
}
