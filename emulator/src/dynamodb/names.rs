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

    /// A table may be named by its ARN.
    pub(super) fn bare<'a>(&self, table: &'a str) -> &'a str {
        table.strip_prefix(&*self.ours).and_then(|rest| rest.strip_prefix("table/")).unwrap_or(table)
    }
}

/// Region and account of a prefix: ARNs of keys in the engine's answers have them as well.
fn place(prefix: &str) -> &str {
    prefix.strip_prefix(SERVICE).unwrap_or(prefix)
}

fn replace<'a>(body: &'a str, from: &str, to: &str) -> Cow<'a, str> {
    if body.contains(from) { Cow::Owned(body.replace(from, to)) } else { Cow::Borrowed(body) }
}
