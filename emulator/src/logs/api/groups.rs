//! Log groups, their retention and their tags.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Failure, LogsApi, Outcome, limit, name_of, text};
use crate::logs::group_in_arn;
use crate::logs::store::Group;
use crate::wire::not_emulated;
use crate::{pages, repeatable};

const NAME_CHARS_MAX: usize = 512;
const PAGE_MAX: usize = 50;
const DEFAULT_CLASS: &str = "STANDARD";
const CLASSES: [&str; 3] = [DEFAULT_CLASS, "INFREQUENT_ACCESS", "DELIVERY"];
/// The values that AWS accepts.
const RETENTION_DAYS: [u64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

impl LogsApi {
    pub(super) fn create_group(&self, input: &Value) -> Outcome {
        let name = Self::group_name(input, "logGroupName")?;
        let is_name = name.len() <= NAME_CHARS_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/.#".contains(&byte));
        if !is_name {
            let pattern = r"satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+";
            return Err(Failure::bad_value(name, "logGroupName", pattern));
        }
        let group = Group {
            created_ms: self.settings.clock.now_ms(),
            class: class_in(input)?,
            kms_key_id: key_of(input)?,
            is_protected: protection_in(input).unwrap_or_default(),
            tags: tags_of(input),
            ..Group::default()
        };
        let mut store = self.logs.store();
        if store.groups.contains_key(name) {
            return Err(Failure::new(
                "ResourceAlreadyExistsException",
                "The specified log group already exists",
            ));
        }
        store.groups.insert(name.to_owned(), group);
        Ok(json!({}))
    }

    pub(super) fn delete_group(&self, input: &Value) -> Outcome {
        let name = Self::group_name(input, "logGroupName")?;
        let mut store = self.logs.store();
        // An older emulator protected none, and what it deleted is deleted again.
        if store.groups.get(name).is_some_and(|group| group.is_protected) && !repeatable::is_repeated() {
            return Err(Failure::new(
                "ValidationException",
                "Cannot delete log group with deletion protection enabled. Disable deletion protection first.",
            ));
        }
        store.remove_group(name).map(|_| json!({})).ok_or_else(Failure::no_group)
    }

    pub(super) fn describe_groups(&self, input: &Value) -> Outcome {
        let page_max = limit(input, PAGE_MAX, PAGE_MAX)?;
        let wanted = Wanted::read(input)?;
        let after = text(input, "nextToken").unwrap_or_default();
        let store = self.logs.store();
        let matching = store.groups.iter().filter(|(name, group)| wanted.holds(name, group));
        let matching = matching.map(|(name, group)| (name, (name, group)));
        let (page, last) = pages::page(matching, |name| name.as_str() > after, page_max);
        let groups: Vec<Value> = page.into_iter().map(|(name, group)| self.describe(name, group)).collect();
        Ok(without_null(json!({"logGroups": groups, "nextToken": last})))
    }

    fn describe(&self, name: &str, group: &Group) -> Value {
        let arn = self.group_arn(name);
        without_null(json!({
            "logGroupName": name, "creationTime": group.created_ms, "retentionInDays": group.retention_days,
            "metricFilterCount": group.metric_filters.as_ref().map_or(0, |filters| filters.len()), "arn": format!("{arn}:*"), "logGroupArn": arn, "storedBytes": group.bytes(),
            "logGroupClass": class_of(group), "kmsKeyId": group.kms_key_id,
            "deletionProtectionEnabled": group.is_protected,
        }))
    }

    pub(super) fn group_arn(&self, name: &str) -> String {
        format!("arn:aws:logs:{}:{}:log-group:{name}", self.settings.region, self.settings.account_id)
    }

    pub(super) fn put_retention(&self, input: &Value) -> Outcome {
        let days = input.get("retentionInDays").and_then(Value::as_u64);
        let days =
            days.filter(|days| RETENTION_DAYS.contains(days)).and_then(|days| u32::try_from(days).ok());
        let days =
            days.ok_or_else(|| Failure::invalid("The value of retentionInDays is not an allowed one."))?;
        self.change_group(input, "logGroupName", |group| group.retention_days = Some(days))?;
        self.logs.store().expire(self.settings.clock.now_ms());
        Ok(json!({}))
    }

    pub(super) fn delete_retention(&self, input: &Value) -> Outcome {
        self.change_group(input, "logGroupName", |group| group.retention_days = None)
    }

    pub(super) fn put_protection(&self, input: &Value) -> Outcome {
        let is_protected = protection_in(input);
        let is_protected =
            is_protected.ok_or_else(|| Failure::invalid("deletionProtectionEnabled is required"))?;
        self.change_group(input, "logGroupIdentifier", |group| group.is_protected = is_protected)
    }

    pub(super) fn associate_key(&self, input: &Value) -> Outcome {
        let key = key_of(input)?.ok_or_else(|| Failure::invalid("kmsKeyId is required"))?;
        self.change_group(input, with_key(input)?, |group| group.kms_key_id = Some(key))
    }

    pub(super) fn disassociate_key(&self, input: &Value) -> Outcome {
        self.change_group(input, with_key(input)?, |group| group.kms_key_id = None)
    }

    pub(super) fn list_tags(&self, input: &Value, member: &str) -> Outcome {
        let name = Self::group_name(input, member)?;
        let store = self.logs.store();
        let group = store.groups.get(name).ok_or_else(Failure::no_group)?;
        Ok(json!({ "tags": group.tags }))
    }

    pub(super) fn tag(&self, input: &Value, member: &str) -> Outcome {
        let tags = tags_of(input);
        self.change_group(input, member, |group| group.tags.extend(tags))
    }

    pub(super) fn untag(&self, input: &Value, member: &str, keys: &str) -> Outcome {
        let keys = input.get(keys).and_then(Value::as_array).cloned().unwrap_or_default();
        self.change_group(input, member, |group| {
            group.tags.retain(|key, _| !keys.iter().any(|given| given.as_str() == Some(key)));
        })
    }

    fn change_group(&self, input: &Value, member: &str, change: impl FnOnce(&mut Group)) -> Outcome {
        let name = Self::group_name(input, member)?;
        change(self.logs.store().groups.get_mut(name).ok_or_else(Failure::no_group)?);
        Ok(json!({}))
    }
}

/// Which groups are described. What is not given holds all of them.
#[derive(Debug)]
struct Wanted<'a> {
    prefix: Option<&'a str>,
    /// "A case-sensitive substring search."
    pattern: Option<&'a str>,
    class: Option<&'a str>,
    names: Option<Vec<&'a str>>,
}

impl<'a> Wanted<'a> {
    fn read(input: &'a Value) -> Result<Self, Failure> {
        let (prefix, pattern) = (text(input, "logGroupNamePrefix"), text(input, "logGroupNamePattern"));
        if prefix.is_some() && pattern.is_some() {
            return Err(Failure::invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
        let identifiers = input.get("logGroupIdentifiers").and_then(Value::as_array);
        let names = identifiers.map(|given| given.iter().filter_map(Value::as_str).map(name_of).collect());
        Ok(Self { prefix, pattern, class: text(input, "logGroupClass"), names })
    }

    fn holds(&self, name: &str, group: &Group) -> bool {
        self.prefix.is_none_or(|prefix| name.starts_with(prefix))
            && self.pattern.is_none_or(|pattern| name.contains(pattern))
            && self.class.is_none_or(|class| class == class_of(group))
            && self.names.as_ref().is_none_or(|names| names.contains(&name))
    }
}

/// Any ARN is taken for that of a key that there is. An older emulator did not look at it.
fn key_of(input: &Value) -> Result<Option<String>, Failure> {
    let Some(key) = text(input, "kmsKeyId") else { return Ok(None) };
    if !key.starts_with("arn:") && !repeatable::is_repeated() {
        return Err(Failure::invalid("The specified KMS Key Id could not be found."));
    }
    Ok(Some(key.to_owned()))
}

/// The member that names the group whose key changes: "you must specify either the resourceIdentifier parameter or the
/// logGroup parameter, but you can't specify both". The other things that have a key are results of queries.
fn with_key(input: &Value) -> Result<&'static str, Failure> {
    match (text(input, "logGroupName"), text(input, "resourceIdentifier")) {
        (Some(_), None) => Ok("logGroupName"),
        (None, Some(arn)) if group_in_arn(arn).is_some() => Ok("resourceIdentifier"),
        (None, Some(other)) => Err(Failure::invalid(not_emulated(other))),
        _ => Err(Failure::invalid("Either logGroupName or resourceIdentifier is required.")),
    }
}

/// An older emulator took any.
fn class_in(input: &Value) -> Result<Option<String>, Failure> {
    let Some(class) = text(input, "logGroupClass") else { return Ok(None) };
    if !CLASSES.contains(&class) && !repeatable::is_repeated() {
        let constraint = format!("satisfy enum value set: [{}]", CLASSES.join(", "));
        return Err(Failure::bad_value(class, "logGroupClass", &constraint));
    }
    Ok(Some(class.to_owned()))
}

fn protection_in(input: &Value) -> Option<bool> {
    input.get("deletionProtectionEnabled").and_then(Value::as_bool)
}

fn class_of(group: &Group) -> &str {
    group.class.as_deref().unwrap_or(DEFAULT_CLASS)
}

fn tags_of(input: &Value) -> BTreeMap<String, String> {
    let tags = input.get("tags").and_then(Value::as_object).into_iter().flatten();
    tags.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Members without a value are absent on AWS.
pub(super) fn without_null(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    value
}
