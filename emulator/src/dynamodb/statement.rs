//! PartiQL, as far as throughput asks: what a statement is on, and whether it reads.

use super::capacity::Target;
use super::throttle::Access;

/// A batch or a transaction of statements either reads or writes.
pub(super) fn access<'a>(mut statements: impl Iterator<Item = &'a str>) -> Access {
    if statements.any(|statement| word(statement).0.eq_ignore_ascii_case("SELECT")) {
        Access::Read
    } else {
        Access::Write
    }
}

/// `SELECT … FROM "table"."index"`, `INSERT INTO "table"`, `UPDATE "table"`, `DELETE FROM "table"`. A table without a name
/// for anything else: no throughput is asked about, and the engine says what is wrong.
pub(super) fn target(statement: &str) -> Target<'_> {
    named(statement).map_or(Target::table(""), |(table, index)| Target { index, ..Target::table(table) })
}

/// The table, and the index if it names one.
pub(crate) fn named(statement: &str) -> Option<(&str, Option<&str>)> {
    let (verb, rest) = word(statement);
    let rest = match verb.to_ascii_uppercase().as_str() {
        "SELECT" | "DELETE" => after("FROM", rest)?,
        "INSERT" => after("INTO", rest)?,
        "UPDATE" => rest,
        _ => return None,
    };
    let (table, rest) = name(rest.trim_start())?;
    let index = rest.strip_prefix('.').and_then(name).map(|(index, _)| index);
    Some((table, index))
}

/// The first word and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

fn after<'a>(keyword: &str, mut text: &'a str) -> Option<&'a str> {
    loop {
        let (next, rest) = word(text);
        if next.eq_ignore_ascii_case(keyword) {
            return Some(rest);
        }
        if next.is_empty() {
            return None;
        }
        text = rest;
    }
}

/// A name, quoted or not, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"');
    }
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let end = text.find(is_end).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_statement_names_its_table_and_a_read_may_name_an_index() {
        for (statement, table, index) in [
            (r#"SELECT * FROM "a.b"."by-owner" WHERE owner = 'x'"#, "a.b", Some("by-owner")),
            (r#"select "from" from tasks where id = 'FROM other'"#, "tasks", None),
            (r#"INSERT INTO "tasks"VALUE {'id': 'x'}"#, "tasks", None),
            ("  UPDATE \"tasks\"\n SET a = 1 WHERE id = 'x'", "tasks", None),
            ("DELETE FROM tasks WHERE id = 'x'", "tasks", None),
        ] {
            assert_eq!(target(statement), Target { index, ..Target::table(table) }, "{statement}");
        }
        for nonsense in ["", "SELECT *", "DROP TABLE tasks", "UPDATE", "INSERT INTO \"tasks"] {
            assert_eq!(target(nonsense), Target::table(""), "{nonsense}");
        }
    }

    #[test]
    fn statements_read_when_one_of_them_selects() {
        assert_eq!(access([" select * from t"].into_iter()), Access::Read);
        assert_eq!(access(["DELETE FROM t", "UPDATE t SET a = 1"].into_iter()), Access::Write);
    }
}
