//! The REST operations.

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Scheduler;
use super::error::SchedulerError;
use super::schedule::{Group, Input, Schedule, check_name};
use super::tokens::{Call, RULES_OF_TOKENS};
use crate::iam::Context;
use crate::pages;
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse, is_object};

pub(super) const DEFAULT_GROUP: &str = "default";
/// AWS default and maximum of a page.
const PAGE_MAX: usize = 100;
/// AWS quota: groups. The quota of a million schedules is beyond what a laptop should hold.
const GROUPS_MAX: usize = 500;
pub(super) const SCHEDULES_MAX: usize = 10_000;
pub(super) const SERVICE: &str = "scheduler.amazonaws.com";

type Answer = Result<AwsResponse, SchedulerError>;

pub(super) fn route(scheduler: &Scheduler, request: &AwsRequest) -> Answer {
    let parts: Vec<String> = request
        .path
        .trim_matches('/')
        .splitn(2, '/')
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["schedules"]) => list(scheduler, request),
        ("POST", ["schedules", name]) => create(scheduler, request, name),
        ("GET", ["schedules", name]) => get(scheduler, request, name),
        ("PUT", ["schedules", name]) => update(scheduler, request, name),
        ("DELETE", ["schedules", name]) => delete(scheduler, request, name),
        ("GET", ["schedule-groups"]) => list_groups(scheduler, request),
        ("POST", ["schedule-groups", name]) => create_group(scheduler, request, name),
        ("GET", ["schedule-groups", name]) => get_group(scheduler, name),
        ("DELETE", ["schedule-groups", name]) => delete_group(scheduler, request, name),
        (_, ["tags", arn]) => tags(scheduler, request, arn),
        _ => {
            tracing::warn!(http.method = %request.method, http.path = %request.path, "scheduler: the operation is not emulated");
            Err(SchedulerError::UnknownOperation)
        }
    }
}

fn ok(body: &Value) -> Answer {
    Ok(AwsResponse::new(StatusCode::OK, "application/json", body.to_string()))
}

fn parse<'a, T: Deserialize<'a>>(request: &'a AwsRequest) -> Result<T, SchedulerError> {
    let body: &[u8] = if request.body.is_empty() { b"{}" } else { &request.body };
    let refuse = |why: &str| SchedulerError::Validation(format!("The request is not valid: {why}"));
    if !is_object(body) {
        return Err(refuse("it is no JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| refuse(&error.to_string()))
}

/// Of a call without a body.
fn token_of(request: &AwsRequest) -> Option<String> {
    request.query_value("clientToken")
}

/// A deletion that was kept twice, of which the first was dropped with all else about what is gone.
fn is_gone_again() -> bool {
    repeatable::is_repeated() && !repeatable::is_older_than(RULES_OF_TOKENS)
}

fn group_of(request: &AwsRequest) -> String {
    request.query_value("groupName").unwrap_or_else(|| DEFAULT_GROUP.to_owned())
}

fn no_schedule(name: &str) -> SchedulerError {
    SchedulerError::NotFound(format!("Schedule {name} does not exist."))
}

fn no_group(name: &str) -> SchedulerError {
    SchedulerError::NotFound(format!("Schedule group {name} does not exist."))
}

/// "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
fn check_role(scheduler: &Scheduler, schedule: &Schedule) -> Result<(), SchedulerError> {
    let settings = &scheduler.inner.settings;
    let group_arn = scheduler.group_arn(&schedule.group);
    let pairs = source(&settings.account_id, &group_arn);
    let context = Context::with(settings.clock.now_ms(), &pairs);
    if settings.iam.may_assume(&schedule.target.role_arn, SERVICE, context) {
        return Ok(());
    }
    Err(SchedulerError::Validation(
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.".to_owned(),
    ))
}

/// What a trust policy may ask about. "Do not scope the aws:SourceArn statement to a specific schedule": it is the group's.
pub(super) fn source<'a>(account_id: &'a str, group_arn: &'a str) -> [(&'static str, &'a str); 2] {
    [("aws:sourceaccount", account_id), ("aws:sourcearn", group_arn)]
}

fn create(scheduler: &Scheduler, request: &AwsRequest, name: &str) -> Answer {
    let input: Input = parse(request)?;
    let group = input.group_name.clone().unwrap_or_else(|| DEFAULT_GROUP.to_owned());
    let key = (group.clone(), name.to_owned());
    let token = input.client_token.clone();
    let made = Schedule::new(
        name,
        &group,
        scheduler.arn("schedule", &format!("{group}/{name}")),
        input,
        scheduler.now_ms(),
    )?;
    check_role(scheduler, &made)?;
    let mut state = scheduler.state();
    if !state.groups.contains_key(&group) {
        return Err(no_group(&group));
    }
    let now_ms = scheduler.now_ms();
    if let Some(answer) = state.tokens.answer(Call::CreateSchedule, &key, token.as_deref(), now_ms) {
        return ok(&answer);
    }
    if state.schedules.contains_key(&key) {
        return Err(SchedulerError::Conflict(format!("Schedule {name} already exists.")));
    }
    // Older emulators kept the calls of those that had deleted themselves.
    if state.schedules.len() >= SCHEDULES_MAX && !repeatable::is_repeated() {
        return Err(SchedulerError::Quota(format!(
            "At most {SCHEDULES_MAX} schedules are kept by the emulator."
        )));
    }
    let answer = json!({"ScheduleArn": made.arn});
    state.tokens.forget(&[Call::DeleteSchedule], &key);
    state.tokens.keep(Call::CreateSchedule, key.clone(), token, now_ms, &answer);
    state.put(key, made);
    drop(state);
    scheduler.changed();
    ok(&answer)
}

fn get(scheduler: &Scheduler, request: &AwsRequest, name: &str) -> Answer {
    let state = scheduler.state();
    let found =
        state.schedules.get(&(group_of(request), name.to_owned())).ok_or_else(|| no_schedule(name))?;
    ok(&found.show())
}

/// "EventBridge Scheduler uses all values, including empty values, specified in the request and overrides the existing
/// schedule."
fn update(scheduler: &Scheduler, request: &AwsRequest, name: &str) -> Answer {
    let input: Input = parse(request)?;
    let group = input.group_name.clone().unwrap_or_else(|| DEFAULT_GROUP.to_owned());
    let key = (group.clone(), name.to_owned());
    let token = input.client_token.clone();
    let arn = scheduler.arn("schedule", &format!("{group}/{name}"));
    let mut made = Schedule::new(name, &group, arn, input, scheduler.now_ms())?;
    check_role(scheduler, &made)?;
    let now_ms = scheduler.now_ms();
    let mut state = scheduler.state();
    made.created_ms = state.schedules.get(&key).ok_or_else(|| no_schedule(name))?.created_ms;
    if let Some(answer) = state.tokens.answer(Call::UpdateSchedule, &key, token.as_deref(), now_ms) {
        return ok(&answer);
    }
    let answer = json!({"ScheduleArn": made.arn});
    state.tokens.keep(Call::UpdateSchedule, key.clone(), token, now_ms, &answer);
    state.put(key, made);
    drop(state);
    scheduler.changed();
    ok(&answer)
}

fn delete(scheduler: &Scheduler, request: &AwsRequest, name: &str) -> Answer {
    let key = (group_of(request), name.to_owned());
    let (token, now_ms) = (token_of(request), scheduler.now_ms());
    let mut state = scheduler.state();
    if let Some(answer) = state.tokens.answer(Call::DeleteSchedule, &key, token.as_deref(), now_ms) {
        return ok(&answer);
    }
    if state.schedules.remove(&key).is_none() && !is_gone_again() {
        return Err(no_schedule(name));
    }
    state.tokens.forget(&[Call::CreateSchedule, Call::UpdateSchedule], &key);
    let answer = json!({});
    state.tokens.keep(Call::DeleteSchedule, key, token, now_ms, &answer);
    ok(&answer)
}

/// Of a schedule that was done and is as it was when it ran.
pub(super) fn delete_done(scheduler: &Scheduler, done: &Schedule) -> Answer {
    let key = (done.group.clone(), done.name.clone());
    let mut state = scheduler.state();
    if !state.is_done(done) {
        return Err(no_schedule(&done.name));
    }
    state.schedules.remove(&key);
    state.tokens.forget(&[Call::CreateSchedule, Call::UpdateSchedule], &key);
    ok(&json!({}))
}

fn list(scheduler: &Scheduler, request: &AwsRequest) -> Answer {
    let (group, state_wanted) = (request.query_value("ScheduleGroup"), request.query_value("State"));
    let prefix = request.query_value("NamePrefix").unwrap_or_default();
    let state = scheduler.state();
    if let Some(group) = group.as_ref().filter(|group| !state.groups.contains_key(*group)) {
        return Err(no_group(group));
    }
    let found = state.schedules.values().filter(|schedule| {
        group.as_ref().is_none_or(|group| *group == schedule.group)
            && schedule.name.starts_with(&prefix)
            && state_wanted.as_ref().is_none_or(|wanted| wanted == schedule.state())
    });
    page(
        "Schedules",
        found.map(|one| ((one.group.as_str(), one.name.as_str()), one.summary())).collect(),
        request,
    )
}

/// The entries after the one in the token, each with its group and its name, in the order of these two. As one text they have
/// another order: `-` and `.` come before the `/`.
fn page(member: &str, all: Vec<((&str, &str), Value)>, request: &AwsRequest) -> Answer {
    let size = match request.query_value("MaxResults").map(|text| text.parse::<usize>()) {
        None => PAGE_MAX,
        Some(Ok(size)) if (1..=PAGE_MAX).contains(&size) => size,
        Some(_) => return Err(SchedulerError::Validation("MaxResults must be 1 to 100.".to_owned())),
    };
    let token = request.query_value("NextToken");
    let after = token.as_deref().map(|token| token.split_once('/').unwrap_or((token, "")));
    let (entries, last) = pages::page(all, |key| after.is_none_or(|after| *key > after), size);
    let mut body = json!({ member: entries });
    if let Some((group, name)) = last {
        body["NextToken"] = json!(format!("{group}/{name}"));
    }
    ok(&body)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TagsInput {
    client_token: Option<String>,
    tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

fn create_group(scheduler: &Scheduler, request: &AwsRequest, name: &str) -> Answer {
    check_name(name, "name")?;
    let input: TagsInput = parse(request)?;
    let (key, now_ms) = (key_of_group(name), scheduler.now_ms());
    let mut state = scheduler.state();
    let token = input.client_token;
    if let Some(answer) = state.tokens.answer(Call::CreateGroup, &key, token.as_deref(), now_ms) {
        return ok(&answer);
    }
    if state.groups.contains_key(name) {
        return Err(SchedulerError::Conflict(format!("Schedule group {name} already exists.")));
    }
    if state.groups.len() >= GROUPS_MAX {
        return Err(SchedulerError::Quota(format!("At most {GROUPS_MAX} schedule groups are allowed.")));
    }
    let arn = scheduler.group_arn(name);
    let tags = input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    let answer = json!({"ScheduleGroupArn": arn});
    state.groups.insert(name.to_owned(), Group { arn, created_ms: now_ms, tags });
    state.tokens.forget(&[Call::DeleteGroup], &key);
    state.tokens.keep(Call::CreateGroup, key, token, now_ms, &answer);
    ok(&answer)
}

/// Under which the tokens of its calls are kept.
fn key_of_group(name: &str) -> (String, String) {
    (name.to_owned(), String::new())
}

fn get_group(scheduler: &Scheduler, name: &str) -> Answer {
    let state = scheduler.state();
    ok(&state.groups.get(name).ok_or_else(|| no_group(name))?.show(name))
}

/// "Deleting a schedule group also deletes its schedules." The default group stays.
fn delete_group(scheduler: &Scheduler, request: &AwsRequest, name: &str) -> Answer {
    if name == DEFAULT_GROUP {
        return Err(SchedulerError::Validation("The default schedule group cannot be deleted.".to_owned()));
    }
    let (key, token, now_ms) = (key_of_group(name), token_of(request), scheduler.now_ms());
    let mut state = scheduler.state();
    if let Some(answer) = state.tokens.answer(Call::DeleteGroup, &key, token.as_deref(), now_ms) {
        return ok(&answer);
    }
    if state.groups.remove(name).is_none() && !is_gone_again() {
        return Err(no_group(name));
    }
    state.schedules.retain(|(group, _), _| group != name);
    state.tokens.forget(&[Call::CreateGroup], &key);
    state.tokens.forget_schedules(name);
    let answer = json!({});
    state.tokens.keep(Call::DeleteGroup, key, token, now_ms, &answer);
    ok(&answer)
}

fn list_groups(scheduler: &Scheduler, request: &AwsRequest) -> Answer {
    let prefix = request.query_value("NamePrefix").unwrap_or_default();
    let state = scheduler.state();
    let found = state.groups.iter().filter(|(name, _)| name.starts_with(&prefix));
    let found = found.map(|(name, group)| ((name.as_str(), ""), group.show(name)));
    page("ScheduleGroups", found.collect(), request)
}

/// Only groups have tags.
fn tags(scheduler: &Scheduler, request: &AwsRequest, arn: &str) -> Answer {
    let missing = || SchedulerError::NotFound(format!("Resource {arn} does not exist."));
    let mut state = scheduler.state();
    let group = state.groups.values_mut().find(|group| group.arn == arn).ok_or_else(missing)?;
    match request.method.as_str() {
        "GET" => {
            let tags: Vec<Value> =
                group.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
            return ok(&json!({"Tags": tags}));
        }
        "POST" => {
            let input: TagsInput = parse(request)?;
            group.tags.extend(input.tags.into_iter().map(|tag| (tag.key, tag.value)));
        }
        "DELETE" => {
            let keys = request.query.split('&').filter_map(|pair| pair.strip_prefix("TagKeys="));
            for key in keys {
                group.tags.remove(percent_decode_str(key).decode_utf8_lossy().as_ref());
            }
        }
        _ => return Err(SchedulerError::UnknownOperation),
    }
    ok(&json!({}))
}
