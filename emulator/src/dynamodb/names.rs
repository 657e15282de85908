//! The engine has an account and region of its own; callers must only ever see ours.

use std::borrow::Cow;
use std::sync::Arc;

use dynoxide::streams::{LOCAL_ACCOUNT, LOCAL_REGION};

use crate::settings::Settings;

const SERVICE: &str = "arn:aws:dynamodb";

/// Both forms of the prefix of an ARN.
#[derive(Clone, Debug)]
pub(super) struct Names {
    ours: Arc<str>,
    engine: Arc<str>,
}

impl Names {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            ours: format!("{SERVICE}:{}:{}:", settings.region, settings.account_id).into(),
            engine: format!("{SERVICE}:{LOCAL_REGION}:{LOCAL_ACCOUNT}:").into(),
        }
    }

    pub(super) fn table_arn(&self, table: &str) -> String {
        format!("{}table/{table}", self.ours)
    }

    pub(super) fn to_engine<'a>(&self, body: &'a str) -> Cow<'a, str> {
        replace(body, &self.ours, &self.engine)
    }

    pub(super) fn to_caller<'a>(&self, body: &'a str) -> Cow<'a, str> {
        replace(body, place(&self.engine), place(&self.ours))
    }

    /// The table of an ARN that can have a policy: a table's or a stream's. One of an index cannot.
    pub(super) fn table_with_policy<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let segments: Vec<&str> = self.of_table(arn)?.split('/').collect();
        match segments.as_slice() {
            [table] if !table.is_empty() => Some(*table),
            [table, "stream", label] if !table.is_empty() && !label.is_empty() => Some(*table),
            _ => None,
        }
    }

    /// The table of an ARN that names it, and nothing that it has.
    pub(super) fn table_of_arn<'a>(&self, arn: &'a str) -> Option<&'a str> {
        self.of_table(arn).filter(|table| !table.is_empty() && !table.contains('/'))
    }

    /// Whether an ARN of ours may stand in a text.
    pub(super) fn has_arn(&self, body: &str) -> bool {
        body.contains(&*self.ours)
    }

    /// What an ARN of ours names of a table: its name, and perhaps what the table has.
    fn of_table<'a>(&self, arn: &'a str) -> Option<&'a str> {
        arn.strip_prefix(&*self.ours)?.strip_prefix("table/")
    }

    /// What an ARN of ours names of a table, and any other text as it is.
    pub(super) fn bare<'a>(&self, table: &'a str) -> &'a str {
        self.of_table(table).unwrap_or(table)
    }
}

/// The account in an ARN of this service.
pub(super) fn account_of(arn: &str) -> Option<&str> {
    arn.strip_prefix(SERVICE)?.strip_prefix(':')?.split(':').nth(1)
}

/// Region and account of a prefix: ARNs of keys in the engine's answers have them as well.
fn place(prefix: &str) -> &str {
    prefix.strip_prefix(SERVICE).unwrap_or(prefix)
}

fn replace<'a>(body: &'a str, from: &str, to: &str) -> Cow<'a, str> {
    if body.contains(from) { Cow::Owned(body.replace(from, to)) } else { Cow::Borrowed(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_streams_of_this_account_and_region_have_policies_and_nothing_else() {
        let names = Names::new(&Settings::by_hand(0).0);
        let ours = "arn:aws:dynamodb:us-east-1:123456789012:";
        for good in ["table/tasks", "table/tasks/stream/2026-01-01T00:00:00.000"] {
            assert_eq!(names.table_with_policy(&format!("{ours}{good}")), Some("tasks"), "{good}");
        }
        for bad in [
            "tasks",
            "table/",
            "table/tasks/",
            "table/tasks/index/by-owner",
            "table/tasks/stream",
            "table/tasks/stream/",
            "table/tasks/stream/1/2",
            "table//stream/1",
        ] {
            assert_eq!(names.table_with_policy(&format!("{ours}{bad}")), None, "{bad}");
        }
        for bad in [
            "tasks",
            "",
            "arn:aws:dynamodb:us-east-1:999999999999:table/tasks",
            "arn:aws:dynamodb:eu-west-1:123456789012:table/tasks",
            "arn:aws:sqs:us-east-1:123456789012:table/tasks",
        ] {
            assert_eq!(names.table_with_policy(bad), None, "{bad}");
        }
    }
}
