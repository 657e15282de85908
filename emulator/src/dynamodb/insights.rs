//! Contributor insights: kept and shown. Nothing is measured for them, and CloudWatch has none of their rules.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::PoisonError;

use dynoxide::DynoxideError;
use dynoxide::actions::TableDescription;
use dynoxide::types::{KeySchemaElement, KeyType};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Account;
use super::answer::{Failure, seconds};
use super::decode::decode;
use super::described::has_index;

/// AWS quota, and what a page has when nobody asks for less.
const PAGE_MAX: usize = 100;

/// Of a table and its global secondary indexes: those that were ever enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Insights {
    table: Option<Insight>,
    indexes: BTreeMap<String, Insight>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Insight {
    mode: Mode,
    /// When it was enabled; the names of its rules have it. None while it is disabled.
    since_ms: Option<i64>,
    updated_ms: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Mode {
    #[default]
    AccessedAndThrottledKeys,
    ThrottledKeys,
}

impl Mode {
    const WORDS: [&str; 2] = ["ACCESSED_AND_THROTTLED_KEYS", "THROTTLED_KEYS"];

    const fn word(self) -> &'static str {
        let [both, throttled] = Self::WORDS;
        match self {
            Self::AccessedAndThrottledKeys => both,
            Self::ThrottledKeys => throttled,
        }
    }

    /// What a request leaves out is the default, whatever there was before.
    fn asked(word: Option<&str>) -> Result<Self, Failure> {
        let all = [Self::AccessedAndThrottledKeys, Self::ThrottledKeys];
        let Some(word) = word else { return Ok(Self::default()) };
        all.into_iter().find(|mode| mode.word() == word).ok_or_else(|| {
            let set = Self::WORDS.join(", ");
            invalid(format_args!(
                "Value '{word}' at 'contributorInsightsMode' failed to satisfy constraint: Member must satisfy enum value set: \
                 [{set}]"
            ))
        })
    }
}

impl Insight {
    const fn status(self) -> &'static str {
        if self.since_ms.is_some() { "ENABLED" } else { "DISABLED" }
    }

    /// One for the partition key and one for both keys, where there are two; and each for what is accessed and what is throttled.
    fn rules(self, resource: &str, key: &[KeySchemaElement]) -> Option<Vec<String>> {
        let since_ms = self.since_ms?;
        let has_sort_key = key.iter().any(|element| element.key_type == KeyType::RANGE);
        let kinds = ["PKC", "PKT", "SKC", "SKT"].into_iter().filter(|kind| {
            let is_of_sort_key = kind.starts_with('S');
            let is_of_throttled = kind.ends_with('T');
            (has_sort_key || !is_of_sort_key)
                && (is_of_throttled || self.mode == Mode::AccessedAndThrottledKeys)
        });
        Some(kinds.map(|kind| format!("DynamoDBContributorInsights-{kind}-{resource}-{since_ms}")).collect())
    }
}

impl Insights {
    /// Without the indexes that the table no longer has.
    pub(super) fn changed(mut self, table: &TableDescription) -> Self {
        self.indexes.retain(|name, _| has_index(table, name));
        self
    }

    fn of(&self, index: Option<&str>) -> Option<Insight> {
        index.map_or(self.table, |index| self.indexes.get(index).copied())
    }

    fn set(&mut self, index: Option<&str>, insight: Insight) {
        match index {
            Some(index) => {
                self.indexes.insert(index.to_owned(), insight);
            }
            None => self.table = Some(insight),
        }
    }

    /// The table first.
    fn all(&self) -> impl Iterator<Item = (Option<&str>, Insight)> {
        let indexes = self.indexes.iter().map(|(name, insight)| (Some(name.as_str()), *insight));
        self.table.map(|insight| (None, insight)).into_iter().chain(indexes)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    table_name: String,
    index_name: Option<String>,
    contributor_insights_action: Option<String>,
    contributor_insights_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    table_name: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

impl Account {
    pub(super) fn describe_insights(&self, operation: &str, body: &str) -> Result<String, Failure> {
        let request: Request = decode(operation, body)?;
        let table = self.describe_with_index(&request)?;
        let index = request.index_name.as_deref();
        let mut shown = named(&table.table_name, index);
        let Some(insight) = self.beside(&table.table_name).insights.of(index) else {
            shown.insert("ContributorInsightsStatus".to_owned(), "DISABLED".into());
            return Ok(Value::Object(shown).to_string());
        };
        show(&mut shown, insight.status(), Some(insight.mode));
        shown.insert("LastUpdateDateTime".to_owned(), seconds(insight.updated_ms).into());
        let resource =
            index.map_or(table.table_name.clone(), |index| format!("{}-{index}", table.table_name));
        if let Some(rules) = insight.rules(&resource, key(&table, index)) {
            shown.insert("ContributorInsightsRuleList".to_owned(), rules.into());
        }
        Ok(Value::Object(shown).to_string())
    }

    pub(super) fn update_insights(&self, operation: &str, body: &str) -> Result<String, Failure> {
        let request: Request = decode(operation, body)?;
        let is_enabled = is_enabling(request.contributor_insights_action.as_deref())?;
        let mode = Mode::asked(request.contributor_insights_mode.as_deref())?;
        let table = self.describe_with_index(&request)?.table_name;
        let index = request.index_name.as_deref();
        let now_ms = self.settings.clock.now_ms();
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let before = control.beside(&table).insights.of(index);
        let since_ms = before.and_then(|insight| insight.since_ms);
        let (status, after) = match (is_enabled, before) {
            (true, Some(insight)) if since_ms.is_some() && insight.mode == mode => ("ENABLED", None),
            (true, _) => {
                ("ENABLING", Some(Insight { mode, since_ms: since_ms.or(Some(now_ms)), updated_ms: now_ms }))
            }
            // A mode that comes with it is ignored.
            (false, Some(insight)) if since_ms.is_some() => {
                ("DISABLING", Some(Insight { since_ms: None, updated_ms: now_ms, ..insight }))
            }
            (false, _) => ("DISABLED", None),
        };
        if let Some(insight) = after {
            control.change(&table, |beside| beside.insights.set(index, insight))?;
        }
        drop(control);
        let mut shown = named(&table, index);
        show(&mut shown, status, after.or(before).map(|insight| insight.mode));
        Ok(Value::Object(shown).to_string())
    }

    /// Those that are disabled are not listed.
    pub(super) fn list_insights(&self, operation: &str, body: &str) -> Result<String, Failure> {
        let request: Listing = decode(operation, body)?;
        let limit = request.max_results.unwrap_or(PAGE_MAX);
        if limit > PAGE_MAX {
            return Err(invalid(format_args!(
                "Value '{limit}' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to \
                 {PAGE_MAX}"
            )));
        }
        let only = request.table_name.map(|table| self.outline(&table)).transpose()?;
        let after = request.next_token.as_deref().map(place);
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed: Vec<(&str, Option<&str>, Insight)> = Vec::new();
        for (table, beside) in control.tables() {
            if only.as_ref().is_none_or(|only| only.table_name == table) {
                listed.extend(beside.insights.all().map(|(index, insight)| (table, index, insight)));
            }
        }
        listed.retain(|(table, index, insight)| {
            insight.since_ms.is_some() && after.is_none_or(|after| (*table, *index) > after)
        });
        listed.sort_unstable_by_key(|(table, index, _)| (*table, *index));
        let is_cut = listed.len() > limit.max(1);
        listed.truncate(limit.max(1));
        let last = listed.last().filter(|_| is_cut).map(|(table, index, _)| token(table, *index));
        let summaries: Vec<Value> = listed
            .into_iter()
            .map(|(table, index, insight)| {
                let mut shown = named(table, index);
                show(&mut shown, insight.status(), Some(insight.mode));
                Value::Object(shown)
            })
            .collect();
        let mut answer = json!({ "ContributorInsightsSummaries": summaries });
        if let Some(last) = last {
            answer["NextToken"] = last.into();
        }
        Ok(answer.to_string())
    }

    /// # Errors
    /// When there is no such table, or it has no such global secondary index.
    fn describe_with_index(&self, request: &Request) -> Result<TableDescription, Failure> {
        let table = self.outline(&request.table_name)?;
        match request.index_name.as_deref() {
            Some(index) if !has_index(&table, index) => Err(Failure::Own {
                shape: "ResourceNotFoundException",
                message: format!(
                    "Requested resource not found: Index: {index} not found for table: {}",
                    table.table_name
                ),
            }),
            _ => Ok(table),
        }
    }
}

fn key<'a>(table: &'a TableDescription, index: Option<&str>) -> &'a [KeySchemaElement] {
    let mut indexes = table.global_secondary_indexes.iter().flatten();
    let index = index.and_then(|name| indexes.find(|index| index.index_name == name));
    index.map_or(&table.key_schema, |index| &index.key_schema)
}

fn is_enabling(action: Option<&str>) -> Result<bool, Failure> {
    match action {
        Some("ENABLE") => Ok(true),
        Some("DISABLE") => Ok(false),
        Some(other) => Err(invalid(format_args!(
            "Value '{other}' at 'contributorInsightsAction' failed to satisfy constraint: Member must satisfy enum value set: \
             [ENABLE, DISABLE]"
        ))),
        None => Err(invalid(
            "Value null at 'contributorInsightsAction' failed to satisfy constraint: Member must not be null",
        )),
    }
}

fn invalid(what: impl Display) -> Failure {
    DynoxideError::ValidationException(format!("1 validation error detected: {what}")).into()
}

fn named(table: &str, index: Option<&str>) -> Map<String, Value> {
    let index = index.map(|index| ("IndexName".to_owned(), Value::from(index)));
    [("TableName".to_owned(), Value::from(table))].into_iter().chain(index).collect()
}

fn show(shown: &mut Map<String, Value>, status: &str, mode: Option<Mode>) {
    shown.insert("ContributorInsightsStatus".to_owned(), status.into());
    if let Some(mode) = mode {
        shown.insert("ContributorInsightsMode".to_owned(), mode.word().into());
    }
}

/// Names have no slash.
fn token(table: &str, index: Option<&str>) -> String {
    index.map_or_else(|| table.to_owned(), |index| format!("{table}/{index}"))
}

fn place(token: &str) -> (&str, Option<&str>) {
    token.split_once('/').map_or((token, None), |(table, index)| (table, Some(index)))
}
