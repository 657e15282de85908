//! The engine has an account and region of its own; callers must only ever see ours.

use std::borrow::Cow;
use std::sync::Arc;

use dynoxide::streams::{LOCAL_ACCOUNT, LOCAL_REGION};

use crate::settings::Settings;

/// Both forms of the prefix of an ARN.
#[derive(Clone, Debug)]
pub(super) struct Names {
    ours: Arc<str>,
    engine: Arc<str>,
    /// The same of keys, which callers only read.
    our_keys: Arc<str>,
    engine_keys: Arc<str>,
}

impl Names {
    pub(super) fn new(settings: &Settings) -> Self {
        let ours =
            |service: &str| format!("arn:aws:{service}:{}:{}:", settings.region, settings.account_id).into();
        let engine = |service: &str| format!("arn:aws:{service}:{LOCAL_REGION}:{LOCAL_ACCOUNT}:").into();
        Self {
            ours: ours("dynamodb"),
            engine: engine("dynamodb"),
            our_keys: ours("kms"),
            engine_keys: engine("kms"),
        }
    }

    pub(super) fn table_arn(&self, table: &str) -> String {
        format!("{}table/{table}", self.ours)
    }

    pub(super) fn to_engine<'a>(&self, body: &'a str) -> Cow<'a, str> {
        replace(body, &self.ours, &self.engine)
    }

    pub(super) fn to_caller<'a>(&self, body: &'a str) -> Cow<'a, str> {
        match replace(body, &self.engine, &self.ours) {
            Cow::Borrowed(body) => replace(body, &self.engine_keys, &self.our_keys),
            Cow::Owned(body) => Cow::Owned(replace(&body, &self.engine_keys, &self.our_keys).into_owned()),
        }
    }

    /// A table may be named by its ARN.
    pub(super) fn bare<'a>(&self, table: &'a str) -> &'a str {
        table.strip_prefix(&*self.ours).and_then(|rest| rest.strip_prefix("table/")).unwrap_or(table)
    }
}

fn replace<'a>(body: &'a str, from: &str, to: &str) -> Cow<'a, str> {
    if body.contains(from) { Cow::Owned(body.replace(from, to)) } else { Cow::Borrowed(body) }
}
