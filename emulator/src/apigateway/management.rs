//! The management API: which path and method does what. Shapes follow restJson1 with lowerCamelCase members.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::account;
use super::error::ApiError;
use super::is_older_call;
use super::model::{
    Api, Authorizer, Deployment, Integration, IntegrationResponse, Model, Route, RouteResponse, Stage,
};
use super::page;
use super::quick_create::QuickCreate;
use super::record::{self, ApiRecord, Document, MANAGED, Stored, members, parse, patched, present};
use super::state::{CHILD_ID_LEN, State};
use crate::clock::iso8601;
use crate::repeatable;
use crate::wire::{AwsRequest, AwsResponse};

/// The one resource of the API for REST APIs that other APIs need.
const ACCOUNT: &str = "/account";

/// A status and, for all but 204, a body.
pub(super) struct Answer(StatusCode, Option<Value>);

impl Answer {
    fn ok(body: Value) -> Self {
        Self(StatusCode::OK, Some(body))
    }

    fn created(body: Value) -> Self {
        Self(StatusCode::CREATED, Some(body))
    }

    const DELETED: Self = Self(StatusCode::NO_CONTENT, None);
}

impl From<Answer> for AwsResponse {
    fn from(Answer(status, body): Answer) -> Self {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        Self::new(status, "application/json", body)
    }
}

type Result<T> = std::result::Result<T, ApiError>;

/// A request to one resource, its path split and decoded.
struct Call<'a> {
    method: &'a Method,
    body: &'a [u8],
    query: &'a str,
}

pub(super) fn handle(state: &mut State, request: &AwsRequest) -> Result<Answer> {
    if request.path == ACCOUNT {
        return account::handle(state, &request.method, &request.body).map(Answer::ok);
    }
    let segments: Vec<String> = request
        .path
        .strip_prefix("/v2/")
        .ok_or(ApiError::UnknownOperation)?
        .split('/')
        .map(super::router::decode)
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let call = Call { method: &request.method, body: &request.body, query: &request.query };
    match segments.as_slice() {
        ["apis"] => apis(state, &call),
        // The ARN of an API or a stage has slashes of its own.
        ["tags", arn @ ..] => tags(state, &call, &arn.join("/")),
        ["apis", id, rest @ ..] => {
            let answer = one_api(state, &call, id, rest)?;
            if call.method != Method::GET {
                state.publish(id);
            }
            Ok(answer)
        }
        _ => Err(ApiError::UnknownOperation),
    }
}

fn apis(state: &mut State, call: &Call<'_>) -> Result<Answer> {
    match *call.method {
        Method::GET => page::page("Api", &state.apis, call.query, |_, api| state.view(api)).map(Answer::ok),
        Method::POST => {
            let members = members(call.body)?;
            let quick: QuickCreate = parse(members.clone())?;
            let mut settings: Api = parse(members)?;
            settings.settle()?;
            let id = state.add(settings);
            if let Err(refused) = quick.complete(state, &id) {
                state.remove(&id);
                return Err(refused);
            }
            state.publish(&id);
            Ok(Answer::created(state.view(state.api(&id)?)))
        }
        _ => Err(ApiError::UnknownOperation),
    }
}

fn one_api(state: &mut State, call: &Call<'_>, id: &str, rest: &[&str]) -> Result<Answer> {
    state.api(id)?;
    match rest {
        [] => api(state, call, id),
        ["cors"] if call.method == Method::DELETE => {
            state.api_mut(id)?.settings.cors_configuration = None;
            Ok(Answer::DELETED)
        }
        ["routes", rest @ ..] => routes(state, call, id, rest),
        ["integrations", integration, "integrationresponses", rest @ ..] => {
            if !state.api(id)?.integrations.contains_key(*integration) {
                return Err(ApiError::missing("Integration", integration));
            }
            crud::<IntegrationResponse>(state, call, id, integration, rest)
        }
        ["integrations", rest @ ..] => crud::<Integration>(state, call, id, "", rest),
        ["authorizers", rest @ ..] => crud::<Authorizer>(state, call, id, "", rest),
        ["models", rest @ ..] => crud::<Model>(state, call, id, "", rest),
        ["deployments", rest @ ..] => deployments(state, call, id, rest),
        ["stages", rest @ ..] => stages(state, call, id, rest),
        _ => Err(ApiError::UnknownOperation),
    }
}

fn api(state: &mut State, call: &Call<'_>, id: &str) -> Result<Answer> {
    match *call.method {
        Method::GET => {}
        Method::PATCH => {
            let mut changes = members(call.body)?;
            // UpdateApi has neither: tags have calls of their own, and the protocol is for life.
            changes.remove("protocolType");
            changes.remove("tags");
            let quick: QuickCreate = parse(changes.clone())?;
            let mut settings = patched(&state.api(id)?.settings, changes, &[])?;
            settings.settle()?;
            if !is_older_call() {
                quick.change(state, id)?;
            }
            state.api_mut(id)?.settings = settings;
            state.deploy_automatically(id, !is_older_call())?;
        }
        Method::DELETE => {
            state.remove(id);
            return Ok(Answer::DELETED);
        }
        _ => return Err(ApiError::UnknownOperation),
    }
    Ok(Answer::ok(state.view(state.api(id)?)))
}

fn routes(state: &mut State, call: &Call<'_>, id: &str, rest: &[&str]) -> Result<Answer> {
    match rest {
        [route, "routeresponses", rest @ ..] => {
            if !state.api(id)?.routes.contains_key(*route) {
                return Err(ApiError::missing("Route", route));
            }
            crud::<RouteResponse>(state, call, id, route, rest)
        }
        [route, "requestparameters", name] if call.method == Method::DELETE => {
            let stored =
                state.api_mut(id)?.routes.get_mut(*route).ok_or_else(|| ApiError::missing("Route", route))?;
            if let Some(Value::Object(parameters)) = &mut stored.settings.request_parameters {
                parameters.remove(*name);
            }
            Ok(Answer::DELETED)
        }
        _ => crud::<Route>(state, call, id, "", rest),
    }
}

fn deployments(state: &mut State, call: &Call<'_>, id: &str, rest: &[&str]) -> Result<Answer> {
    if call.method == Method::POST && rest.is_empty() {
        let mut settings: Deployment = parse(members(call.body)?)?;
        settings.auto_deployed = false;
        settings.settle(state.api(id)?, None)?;
        if !repeatable::is_repeated() {
            check_count::<Deployment>(state.api(id)?.deployments.len())?;
        }
        let stage = settings.stage_name.take();
        let deployment = state.deploy(id, settings)?;
        let api = state.api_mut(id)?;
        if let Some(stage) = stage.and_then(|name| api.stages.get_mut(&name)) {
            stage.settings.deployment_id = Some(deployment.clone());
        }
        let stored = &api.deployments[&deployment];
        return Ok(Answer::created(record::view(&deployment, stored)));
    }
    let answer = crud::<Deployment>(state, call, id, "", rest)?;
    let api = state.api_mut(id)?;
    api.snapshots.retain(|deployment, _| api.deployments.contains_key(deployment));
    Ok(answer)
}

fn stages(state: &mut State, call: &Call<'_>, id: &str, rest: &[&str]) -> Result<Answer> {
    if let [name, tail @ ..] = rest
        && !tail.is_empty()
    {
        let stage =
            state.api_mut(id)?.stages.get_mut(*name).ok_or_else(|| ApiError::missing("Stage", name))?;
        match (call.method, tail) {
            (&Method::DELETE, ["accesslogsettings"]) => stage.settings.access_log_settings = None,
            (&Method::DELETE, ["routesettings", key @ ..]) => {
                stage.settings.route_settings.remove(&key.join("/"));
            }
            _ => return Err(ApiError::UnknownOperation),
        }
        return Ok(Answer::DELETED);
    }
    if call.method == Method::POST || call.method == Method::PATCH {
        check_manual_deployment(state.api(id)?, call, rest)?;
        account::check_logs(state, id, call.body)?;
    }
    crud::<Stage>(state, call, id, "", rest)
}

/// "Deployment ID cannot be set on stages with autoDeploy": such a stage picks its own.
fn check_manual_deployment(api: &ApiRecord, call: &Call<'_>, rest: &[&str]) -> Result<()> {
    let body = members(call.body)?;
    let before =
        rest.first().and_then(|name| api.stages.get(*name)).is_some_and(|stage| stage.settings.auto_deploy);
    let automatic = body.get("autoDeploy").and_then(Value::as_bool).unwrap_or(before);
    if automatic && body.get("deploymentId").is_some_and(|id| !id.is_null()) {
        return Err(ApiError::BadRequest("deploymentId cannot be set on a stage with autoDeploy".to_owned()));
    }
    Ok(())
}

/// Create, list, get, update and delete, the same for every kind of child.
fn crud<D: Document>(
    state: &mut State,
    call: &Call<'_>,
    api_id: &str,
    parent: &str,
    rest: &[&str],
) -> Result<Answer> {
    match (call.method, rest) {
        (&Method::POST, []) => create::<D>(state, call, api_id, parent),
        (&Method::GET, []) => {
            let list = format!("{}/{api_id}/{parent}", D::KIND);
            let all = D::collection(state.api_mut(api_id)?, parent);
            page::page(&list, all, call.query, record::view::<D>).map(Answer::ok)
        }
        (&Method::GET, [id]) => Ok(Answer::ok(record::view(id, find::<D>(state, api_id, parent, id)?))),
        (&Method::PATCH, [id]) => update::<D>(state, call, api_id, parent, id),
        (&Method::DELETE, [id]) => {
            let found = find::<D>(state, api_id, parent, id)?;
            if present(&found.settings).contains_key(MANAGED) {
                let message = format!("{} '{id}' is managed by API Gateway and cannot be deleted.", D::KIND);
                return Err(ApiError::BadRequest(message));
            }
            D::before_delete(state.api(api_id)?, id)?;
            D::collection(state.api_mut(api_id)?, parent).remove(*id);
            state.deploy_automatically(api_id, D::SERVED)?;
            Ok(Answer::DELETED)
        }
        _ => Err(ApiError::UnknownOperation),
    }
}

fn find<'a, D: Document>(
    state: &'a mut State,
    api_id: &str,
    parent: &str,
    id: &str,
) -> Result<&'a mut Stored<D>> {
    D::collection(state.api_mut(api_id)?, parent).get_mut(id).ok_or_else(|| ApiError::missing(D::KIND, id))
}

/// What a caller may set of a document: not what the gateway writes.
fn given(body: &[u8]) -> Result<Map<String, Value>> {
    let mut members = members(body)?;
    members.remove(MANAGED);
    Ok(members)
}

fn create<D: Document>(state: &mut State, call: &Call<'_>, api_id: &str, parent: &str) -> Result<Answer> {
    let id = create_from::<D>(state, given(call.body)?, api_id, parent)?;
    Ok(Answer::created(record::view(&id, find::<D>(state, api_id, parent, &id)?)))
}

/// Gives the id of what was made.
pub(super) fn create_from<D: Document>(
    state: &mut State,
    members: Map<String, Value>,
    api_id: &str,
    parent: &str,
) -> Result<String> {
    // A stage is known by its name, everything else by an id that the gateway makes up.
    let named = members.get("stageName").and_then(Value::as_str).map(str::to_owned);
    let mut settings: D = parse(members)?;
    settings.settle(state.api(api_id)?, None)?;
    let id = match (D::ID_MEMBER, named) {
        (None, Some(name)) => name,
        _ => state.new_id(CHILD_ID_LEN),
    };
    let now_ms = state.now_ms();
    let collection = D::collection(state.api_mut(api_id)?, parent);
    check_count::<D>(collection.len())?;
    collection.insert(id.clone(), Stored { settings, created_ms: now_ms, updated_ms: now_ms });
    state.deploy_automatically(api_id, D::SERVED)?;
    Ok(id)
}

/// Whether there may be one more.
fn check_count<D: Document>(count: usize) -> Result<()> {
    if count < D::COUNT_MAX {
        return Ok(());
    }
    Err(ApiError::BadRequest(format!("Maximum number of {}s for this API has been reached", D::KIND)))
}

fn update<D: Document>(
    state: &mut State,
    call: &Call<'_>,
    api_id: &str,
    parent: &str,
    id: &str,
) -> Result<Answer> {
    let settings = changed::<D>(state, given(call.body)?, api_id, parent, id)?;
    replace(state, settings, api_id, parent, id)?;
    state.deploy_automatically(api_id, D::SERVED)?;
    Ok(Answer::ok(record::view(id, find::<D>(state, api_id, parent, id)?)))
}

/// What something would be with these changes.
pub(super) fn changed<D: Document>(
    state: &mut State,
    changes: Map<String, Value>,
    api_id: &str,
    parent: &str,
    id: &str,
) -> Result<D> {
    let current = &find::<D>(state, api_id, parent, id)?.settings;
    current.before_change(&changes)?;
    let mut settings = patched(current, changes, D::MERGED_MEMBERS)?;
    settings.settle(state.api(api_id)?, Some(id))?;
    Ok(settings)
}

pub(super) fn replace<D: Document>(
    state: &mut State,
    settings: D,
    api_id: &str,
    parent: &str,
    id: &str,
) -> Result<()> {
    let now_ms = state.now_ms();
    let stored = find::<D>(state, api_id, parent, id)?;
    stored.settings = settings;
    stored.updated_ms = now_ms;
    Ok(())
}

fn tags(state: &mut State, call: &Call<'_>, arn: &str) -> Result<Answer> {
    let tags = state.tags_of(arn)?;
    match *call.method {
        Method::GET => Ok(Answer::ok(json!({ "tags": tags }))),
        Method::POST => {
            let Some(Value::Object(added)) = members(call.body)?.remove("tags") else {
                return Err(ApiError::BadRequest("tags is a required parameter".to_owned()));
            };
            tags.extend(added.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))));
            Ok(Answer::created(Value::Object(Map::new())))
        }
        Method::DELETE => {
            for pair in call.query.split('&') {
                if let Some(key) = pair.strip_prefix("tagKeys=") {
                    tags.remove(&super::router::decode(key));
                }
            }
            Ok(Answer::DELETED)
        }
        _ => Err(ApiError::UnknownOperation),
    }
}

impl State {
    /// An API as GetApi shows it.
    fn view(&self, api: &ApiRecord) -> Value {
        let mut view = present(&api.settings);
        view.insert("apiId".to_owned(), Value::from(api.id.as_str()));
        view.insert("apiEndpoint".to_owned(), Value::from(self.endpoint_of(api)));
        view.insert("createdDate".to_owned(), Value::from(iso8601(api.created_ms)));
        Value::Object(view)
    }
}
