//! One API with all that hangs below it, and the operations that every kind of child shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::definition::Definition;
use super::error::ApiError;
use super::model::{
    Api, Authorizer, Deployment, Integration, IntegrationResponse, Model, Protocol, Route, RouteResponse,
    Stage,
};
use crate::clock::iso8601;

/// What the caller set, and when.
#[derive(Clone, Debug)]
pub(super) struct Stored<D> {
    pub(super) settings: D,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
}

pub(super) type Collection<D> = BTreeMap<String, Stored<D>>;

#[derive(Debug)]
pub(super) struct ApiRecord {
    pub(super) id: String,
    pub(super) created_ms: i64,
    pub(super) settings: Api,
    pub(super) routes: Collection<Route>,
    pub(super) integrations: Collection<Integration>,
    pub(super) authorizers: Collection<Authorizer>,
    pub(super) models: Collection<Model>,
    pub(super) deployments: Collection<Deployment>,
    pub(super) stages: Collection<Stage>,
    /// By route, by integration.
    pub(super) route_responses: BTreeMap<String, Collection<RouteResponse>>,
    pub(super) integration_responses: BTreeMap<String, Collection<IntegrationResponse>>,
    /// What each deployment froze: a stage serves its deployment, not the current routes.
    pub(super) snapshots: BTreeMap<String, Arc<Definition>>,
}

impl ApiRecord {
    pub(super) fn new(id: String, created_ms: i64, settings: Api) -> Self {
        Self {
            id,
            created_ms,
            settings,
            routes: BTreeMap::new(),
            integrations: BTreeMap::new(),
            authorizers: BTreeMap::new(),
            models: BTreeMap::new(),
            deployments: BTreeMap::new(),
            stages: BTreeMap::new(),
            route_responses: BTreeMap::new(),
            integration_responses: BTreeMap::new(),
            snapshots: BTreeMap::new(),
        }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.settings.protocol_type.unwrap_or_default()
    }
}

/// One kind of child of an API.
pub(super) trait Document: Serialize + DeserializeOwned + Clone {
    const KIND: &'static str;
    /// The member that carries the id in answers; None when the settings themselves name the resource.
    const ID_MEMBER: Option<&'static str>;
    /// Members that PATCH merges key by key; an empty value removes the key. Others are replaced whole.
    const MERGED_MEMBERS: &'static [&'static str] = &[];
    const DATED: bool = false;
    /// Whether a change is something that a stage serves, so that `autoDeploy` has to deploy.
    const SERVED: bool = false;
    /// AWS's quota on how many of these one API may have.
    const COUNT_MAX: usize;

    /// `parent` is the route or integration, empty for direct children of the API.
    fn collection<'a>(api: &'a mut ApiRecord, parent: &str) -> &'a mut Collection<Self>;

    /// Fills in what AWS fills in, and refuses what it refuses. `id` is None at creation.
    fn settle(&mut self, api: &ApiRecord, id: Option<&str>) -> Result<(), ApiError>;

    /// Refuses changes for how they are asked for, whatever would come of them.
    fn before_change(&self, _changes: &Map<String, Value>) -> Result<(), ApiError> {
        Ok(())
    }

    fn before_delete(_api: &ApiRecord, _id: &str) -> Result<(), ApiError> {
        Ok(())
    }

    /// Adds what only the gateway knows.
    fn complete(_stored: &Stored<Self>, _view: &mut Map<String, Value>) {}
}

/// Reads a request body; an empty one has no members.
/// Of what quick create made, which nobody may delete by itself.
pub(super) const MANAGED: &str = "apiGatewayManaged";

pub(super) fn members(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::BadRequest(format!("Invalid request body: {error}")))
}

pub(super) fn parse<D: DeserializeOwned>(mut members: Map<String, Value>) -> Result<D, ApiError> {
    members.retain(|_, value| !value.is_null());
    serde_json::from_value(Value::Object(members))
        .map_err(|error| ApiError::BadRequest(format!("Invalid request input: {error}")))
}

/// The settings as JSON without the absent members.
pub(super) fn present<D: Serialize>(settings: &D) -> Map<String, Value> {
    // A struct of strings, numbers and maps with string keys always is a JSON object.
    let Ok(Value::Object(mut view)) = serde_json::to_value(settings) else { return Map::new() };
    view.retain(|_, value| !value.is_null());
    view
}

/// PATCH: absent members stay, `merged` ones change key by key, others are replaced.
pub(super) fn patched<D: Serialize + DeserializeOwned>(
    current: &D,
    changes: Map<String, Value>,
    merged: &[&str],
) -> Result<D, ApiError> {
    let mut settings = present(current);
    for (member, value) in changes {
        match (value, settings.get_mut(&member)) {
            (Value::Null, _) => {}
            (Value::Object(keys), Some(Value::Object(existing))) if merged.contains(&member.as_str()) => {
                existing.extend(keys);
                existing.retain(|_, value| !is_blank(value));
            }
            (Value::Object(mut keys), None) if merged.contains(&member.as_str()) => {
                keys.retain(|_, value| !is_blank(value));
                settings.insert(member, Value::Object(keys));
            }
            (value, _) => {
                settings.insert(member, value);
            }
        }
    }
    parse(settings)
}

/// API Gateway has no "remove this key" call for most maps: the provider sets the value to `""` or `{}` instead.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

pub(super) fn view<D: Document>(id: &str, stored: &Stored<D>) -> Value {
    let mut view = present(&stored.settings);
    if let Some(member) = D::ID_MEMBER {
        view.insert(member.to_owned(), Value::from(id));
    }
    if D::DATED {
        view.insert("createdDate".to_owned(), Value::from(iso8601(stored.created_ms)));
    }
    D::complete(stored, &mut view);
    Value::Object(view)
}
