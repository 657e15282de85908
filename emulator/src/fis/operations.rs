//! The REST operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::catalogue::{self, ACTIONS, RESOURCE_TYPES};
use super::error::FisError;
use super::experiment::{ActionRun, Experiment, Status};
use super::template::{Input, Template};
use super::{Fis, Made, runner};
use crate::pages;
use crate::wire::{AwsRequest, AwsResponse, is_object, not_emulated};

/// AWS quotas.
const TEMPLATES_MAX: usize = 500;
const ACTIVE_MAX: usize = 5;
/// Finished experiments are kept 120 days on AWS; here the newest so many.
const EXPERIMENTS_MAX: usize = 10_000;
const PAGE_MAX: usize = 100;
/// As many as the largest place has: as text they have the same order.
const PLACE_DIGITS: usize = 20;
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefgh";

type Answer = Result<AwsResponse, FisError>;

pub(crate) fn route(fis: &Fis, request: &AwsRequest) -> Answer {
    let segments: Vec<String> = request
        .path
        .trim_matches('/')
        .splitn(2, "tags/")
        .enumerate()
        // An ARN in the path of the tag operations may hold slashes of its own.
        .flat_map(|(index, part)| if index == 0 { part.split('/').collect() } else { vec!["tags", part] })
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["experimentTemplates"]) => create_template(fis, request),
        ("GET", ["experimentTemplates"]) => {
            let state = fis.state();
            let all = state.templates.iter().map(|(id, template)| (id.clone(), template.summary()));
            page("experimentTemplates", all, request)
        }
        ("GET", ["experimentTemplates", id]) => {
            let state = fis.state();
            ok(
                &json!({"experimentTemplate": state.templates.get(*id).ok_or_else(|| no_template(id))?.describe()}),
            )
        }
        ("PATCH", ["experimentTemplates", id]) => update_template(fis, request, id),
        ("DELETE", ["experimentTemplates", id]) => {
            let gone = fis.state().templates.remove(*id).ok_or_else(|| no_template(id))?;
            ok(&json!({"experimentTemplate": gone.describe()}))
        }
        ("POST", ["experiments"]) => start(fis, request),
        ("GET", ["experiments"]) => {
            let wanted = request.query_value("experimentTemplateId");
            let state = fis.state();
            let is_wanted =
                |experiment: &Experiment| wanted.as_ref().is_none_or(|id| *id == experiment.template.id);
            let all = state.experiments.iter().filter(|(_, experiment)| is_wanted(experiment));
            page("experiments", all.map(|(id, experiment)| (id.clone(), experiment.summary())), request)
        }
        ("GET", ["experiments", id]) => {
            let state = fis.state();
            ok(
                &json!({"experiment": state.experiments.get(*id).ok_or_else(|| no_experiment(id))?.describe()}),
            )
        }
        ("DELETE", ["experiments", id]) => stop(fis, id),
        ("GET", ["experiments", id, "resolvedTargets"]) => resolved(fis, request, id),
        ("GET", ["actions"]) => {
            let settings = &fis.inner.settings;
            let all = ACTIONS.iter().map(|action| {
                (action.id.to_owned(), catalogue::summary(action, &settings.region, &settings.account_id))
            });
            page("actions", all, request)
        }
        ("GET", ["actions", id]) => {
            let missing = || FisError::not_found(format!("Action {id} not found. {}", catalogue::emulated()));
            let action = catalogue::find(id).ok_or_else(missing)?;
            let settings = &fis.inner.settings;
            ok(&json!({"action": catalogue::describe(action, &settings.region, &settings.account_id)}))
        }
        ("GET", ["targetResourceTypes"]) => {
            let all = RESOURCE_TYPES.iter().map(|(id, description, _)| {
                ((*id).to_owned(), json!({"resourceType": id, "description": description}))
            });
            page("targetResourceTypes", all, request)
        }
        ("GET", ["targetResourceTypes", id]) => resource_type(id),
        ("GET", ["safetyLevers", "default"]) => ok(&json!({"safetyLever": lever(fis)})),
        ("PATCH", ["safetyLevers", "default", "state"]) => move_lever(fis, request),
        (method, ["tags", arn]) => tags(fis, request, method, arn),
        _ => {
            tracing::warn!(http.method = %request.method, http.path = %request.path, "fis: the operation is not emulated");
            let message = not_emulated(&format!("{} {} of FIS", request.method, request.path));
            Err(FisError { status: 404, code: "UnknownOperationException", message })
        }
    }
}

fn ok(body: &Value) -> Answer {
    Ok(AwsResponse::new(StatusCode::OK, "application/json", body.to_string()))
}

fn no_template(id: &str) -> FisError {
    FisError::not_found(format!("Experiment template {id} not found."))
}

fn no_experiment(id: &str) -> FisError {
    FisError::not_found(format!("Experiment {id} not found."))
}

fn parse<'a, T: Deserialize<'a>>(request: &'a AwsRequest) -> Result<T, FisError> {
    if !is_object(&request.body) {
        return Err(FisError::validation("The request is not a JSON object."));
    }
    serde_json::from_slice(&request.body).map_err(|error| FisError::validation(error.to_string()))
}

/// The entries after the one in the token, each with what sorts it.
fn page(member: &str, all: impl Iterator<Item = (String, Value)>, request: &AwsRequest) -> Answer {
    let invalid = || FisError::validation("The maxResults is not valid.");
    let size = match request.query_value("maxResults") {
        None => PAGE_MAX,
        Some(text) => text.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n)).ok_or_else(invalid)?,
    };
    let after = request.query_value("nextToken");
    let (entries, last) = pages::page(all, |key| after.as_ref().is_none_or(|after| key > after), size);
    let mut out = json!({ member: entries });
    if let Some(last) = last {
        out["nextToken"] = json!(last);
    }
    ok(&out)
}

fn new_id(fis: &Fis, prefix: &str) -> String {
    format!("{prefix}{}", fis.inner.settings.random.text(ID_ALPHABET, 16))
}

fn arn(fis: &Fis, kind: &str, id: &str) -> String {
    let settings = &fis.inner.settings;
    format!("arn:aws:fis:{}:{}:{kind}/{id}", settings.region, settings.account_id)
}

/// The id that this token made before, if the request is the same; a conflict if it is another.
fn made_before(fis: &Fis, kind: &str, token: &str, request: &AwsRequest) -> Result<Option<String>, FisError> {
    match fis.state().tokens.get(&format!("{kind}/{token}")) {
        None => Ok(None),
        Some(made) if made.request == request.body => Ok(Some(made.id.clone())),
        Some(_) => Err(FisError::conflict("The client token was already used with other parameters.")),
    }
}

fn remember(fis: &Fis, kind: &str, token: &str, id: &str, request: &AwsRequest) {
    let made = Made { id: id.to_owned(), request: request.body.clone() };
    let mut state = fis.state();
    if state.tokens.len() >= EXPERIMENTS_MAX {
        state.tokens.clear();
    }
    state.tokens.insert(format!("{kind}/{token}"), made);
}

fn create_template(fis: &Fis, request: &AwsRequest) -> Answer {
    let input: Input = parse(request)?;
    let token = input.client_token.clone().filter(|token| !token.is_empty());
    let token = token
        .ok_or_else(|| FisError::validation("The request is missing the required member clientToken."))?;
    if let Some(id) = made_before(fis, "template", &token, request)?
        && let Some(template) = fis.state().templates.get(&id)
    {
        return ok(&json!({"experimentTemplate": template.describe()}));
    }
    let id = new_id(fis, "EXT");
    let template = Template::create(input, id.clone(), arn(fis, "experiment-template", &id), fis.now_ms())?;
    remember(fis, "template", &token, &id, request);
    let mut state = fis.state();
    if state.templates.len() >= TEMPLATES_MAX {
        return Err(FisError::quota(format!("At most {TEMPLATES_MAX} experiment templates are allowed.")));
    }
    let out = template.describe();
    state.templates.insert(id, template);
    ok(&json!({"experimentTemplate": out}))
}

fn update_template(fis: &Fis, request: &AwsRequest, id: &str) -> Answer {
    let input: Input = parse(request)?;
    let now_ms = fis.now_ms();
    let mut state = fis.state();
    let template = state.templates.get_mut(id).ok_or_else(|| no_template(id))?;
    template.update(input, now_ms)?;
    ok(&json!({"experimentTemplate": template.describe()}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartInput {
    client_token: String,
    experiment_template_id: String,
    experiment_options: Option<StartOptions>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartOptions {
    actions_mode: Option<String>,
}

fn start(fis: &Fis, request: &AwsRequest) -> Answer {
    let input: StartInput = parse(request)?;
    let mode =
        input.experiment_options.and_then(|options| options.actions_mode).unwrap_or_else(|| "run-all".into());
    if !matches!(mode.as_str(), "run-all" | "skip-all") {
        return Err(FisError::validation(format!("Invalid actionsMode: {mode}")));
    }
    if let Some(id) = made_before(fis, "experiment", &input.client_token, request)?
        && let Some(experiment) = fis.state().experiments.get(&id)
    {
        return ok(&json!({"experiment": experiment.describe()}));
    }
    let id = new_id(fis, "EXP");
    let now_ms = fis.now_ms();
    let stop = Arc::new(Notify::new());
    let (out, cancelled) = {
        let mut state = fis.state();
        let template = state.templates.get(&input.experiment_template_id);
        let template = template.ok_or_else(|| no_template(&input.experiment_template_id))?.clone();
        if state.experiments.values().filter(|experiment| !experiment.status.is_final()).count() >= ACTIVE_MAX
        {
            return Err(FisError::quota(format!("At most {ACTIVE_MAX} experiments can be active.")));
        }
        let actions = template.actions.keys().map(|name| (name.clone(), ActionRun::waiting())).collect();
        let mut experiment = Experiment {
            id: id.clone(),
            arn: arn(fis, "experiment", &id),
            template,
            status: Status::Initiating,
            reason: "Experiment is initiating.".into(),
            failure: None,
            actions,
            resolved: Vec::new(),
            skip_all: mode == "skip-all",
            tags: input.tags,
            created_ms: now_ms,
            started_ms: None,
            ended_ms: None,
            stop_reason: None,
            stop: Arc::clone(&stop),
        };
        let engaged = state.lever.engaged;
        if engaged {
            experiment.end(Status::Cancelled, "The safety lever is engaged.", now_ms);
        }
        let out = experiment.describe();
        forget_oldest(&mut state.experiments);
        state.experiments.insert(id.clone(), experiment);
        (out, engaged)
    };
    remember(fis, "experiment", &input.client_token, &id, request);
    if !cancelled {
        tokio::spawn(runner::run(fis.clone(), id, stop));
    }
    ok(&json!({"experiment": out}))
}

fn forget_oldest(experiments: &mut BTreeMap<String, Experiment>) {
    if experiments.len() < EXPERIMENTS_MAX {
        return;
    }
    let finished = experiments.values().filter(|experiment| experiment.status.is_final());
    if let Some(id) =
        finished.min_by_key(|experiment| experiment.created_ms).map(|experiment| experiment.id.clone())
    {
        experiments.remove(&id);
    }
}

/// The model declares no conflict for it: stopping what has ended changes nothing and shows how it ended.
fn stop(fis: &Fis, id: &str) -> Answer {
    let mut state = fis.state();
    let experiment = state.experiments.get_mut(id).ok_or_else(|| no_experiment(id))?;
    if !experiment.status.is_final() {
        experiment.ask_to_stop("Experiment is stopping: it was stopped by the user.");
    }
    ok(&json!({"experiment": experiment.describe()}))
}

fn resolved(fis: &Fis, request: &AwsRequest, id: &str) -> Answer {
    let wanted = request.query_value("targetName");
    let state = fis.state();
    let experiment = state.experiments.get(id).ok_or_else(|| no_experiment(id))?;
    let of =
        experiment.resolved.iter().filter(|found| wanted.as_ref().is_none_or(|name| *name == found.target));
    // One may be there twice, and none comes or goes: they are sorted by their places.
    let all = of.enumerate().map(|(place, found)| {
        let shown = json!({
            "resourceType": found.resource_type,
            "targetName": found.target,
            "targetInformation": {"arn": found.arn},
        });
        (format!("{place:0PLACE_DIGITS$}"), shown)
    });
    page("resolvedTargets", all, request)
}

fn resource_type(id: &str) -> Answer {
    let found = RESOURCE_TYPES.iter().find(|(known, _, _)| *known == id);
    let (id, description, names) =
        found.ok_or_else(|| FisError::not_found(format!("Target resource type {id} not found.")))?;
    let mut parameters = json!({});
    for name in *names {
        parameters[*name] = json!({"description": name, "required": false});
    }
    ok(
        &json!({"targetResourceType": {"resourceType": id, "description": description, "parameters": parameters}}),
    )
}

fn lever(fis: &Fis) -> Value {
    let state = fis.state();
    let status = if state.lever.engaged { "engaged" } else { "disengaged" };
    json!({
        "id": "default",
        "arn": arn(fis, "safety-lever", "default"),
        "state": {"status": status, "reason": state.lever.reason},
    })
}

#[derive(Debug, Deserialize)]
struct LeverInput {
    state: LeverState,
}

#[derive(Debug, Deserialize)]
struct LeverState {
    status: String,
    reason: String,
}

/// Engaging ends what runs and cancels what is started afterwards.
fn move_lever(fis: &Fis, request: &AwsRequest) -> Answer {
    let input: LeverInput = parse(request)?;
    let engaged = match input.state.status.as_str() {
        "engaged" => true,
        "disengaged" => false,
        other => return Err(FisError::validation(format!("Invalid safety lever status: {other}"))),
    };
    {
        let mut state = fis.state();
        if state.lever.engaged == engaged {
            return Err(FisError::conflict("The safety lever is already in this state."));
        }
        state.lever.engaged = engaged;
        state.lever.reason = input.state.reason;
        if engaged {
            for experiment in
                state.experiments.values_mut().filter(|experiment| !experiment.status.is_final())
            {
                experiment.ask_to_stop("Experiment stopped: the safety lever was engaged.");
            }
        }
    }
    ok(&json!({"safetyLever": lever(fis)}))
}

#[derive(Debug, Deserialize)]
struct TagInput {
    tags: BTreeMap<String, String>,
}

fn tags(fis: &Fis, request: &AwsRequest, method: &str, arn: &str) -> Answer {
    let mut state = fis.state();
    let id = arn.rsplit('/').next().unwrap_or_default();
    let template = state.templates.get(id).map(|template| template.tags.clone());
    let current = template.or_else(|| state.experiments.get(id).map(|experiment| experiment.tags.clone()));
    let mut tags = current.ok_or_else(|| FisError::not_found(format!("Resource {arn} not found.")))?;
    match method {
        "GET" => return ok(&json!({"tags": tags})),
        "POST" => tags.extend(parse::<TagInput>(request)?.tags),
        "DELETE" => {
            let keys = request.query.split('&').filter_map(|pair| pair.strip_prefix("tagKeys="));
            for key in keys {
                tags.remove(percent_decode_str(key).decode_utf8_lossy().as_ref());
            }
        }
        _ => return Err(FisError::validation("The operation is not known.")),
    }
    if let Some(template) = state.templates.get_mut(id) {
        template.tags = tags;
    } else if let Some(experiment) = state.experiments.get_mut(id) {
        experiment.tags = tags;
    }
    ok(&json!({}))
}
