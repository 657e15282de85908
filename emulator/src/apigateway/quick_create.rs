//! An HTTP API with an integration, a route and a stage in one call.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{ApiError, bad};
use super::management::{changed, create_from, replace};
use super::model::{Integration, Protocol, Route, Stage};
use super::record::{Collection, MANAGED};
use super::state::State;

/// "If you don't specify a routeKey, a default route of $default is created."
const DEFAULT_ROUTE: &str = "$default";
const DEFAULT_STAGE: &str = "$default";

/// What CreateApi and UpdateApi take beside the members of an API.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct QuickCreate {
    target: Option<String>,
    route_key: Option<String>,
    credentials_arn: Option<String>,
}

impl QuickCreate {
    /// "This property is part of quick create. … creates an API with an integration, a default catch-all route, and a default
    /// stage which is configured to automatically deploy changes."
    ///
    /// # Errors
    /// When the target is nothing that an integration can be of here.
    pub(super) fn complete(self, state: &mut State, api_id: &str) -> Result<(), ApiError> {
        let Some(target) = self.target else {
            return match self.route_key.or(self.credentials_arn) {
                None => Ok(()),
                Some(_) => bad("Quick create requires a target"),
            };
        };
        if state.api(api_id)?.protocol() != Protocol::Http {
            return bad("Quick create is supported only for HTTP APIs");
        }
        let integration = json!({
            "integrationType": "AWS_PROXY", "integrationUri": target, "payloadFormatVersion": "2.0",
            "credentialsArn": self.credentials_arn,
        });
        let integration = create_from::<Integration>(state, managed(integration), api_id, "")?;
        let key = self.route_key.as_deref().unwrap_or(DEFAULT_ROUTE);
        let route = json!({"routeKey": key, "target": format!("integrations/{integration}")});
        create_from::<Route>(state, managed(route), api_id, "")?;
        let stage = json!({"stageName": DEFAULT_STAGE, "autoDeploy": true});
        create_from::<Stage>(state, managed(stage), api_id, "").map(drop)
    }

    /// "The value provided updates the integration URI"; of the key: "this value replaces the route key of the quick created
    /// route".
    ///
    /// # Errors
    /// When the API has nothing of quick create, or what it has cannot be that. Nothing is changed then.
    pub(super) fn change(self, state: &mut State, api_id: &str) -> Result<(), ApiError> {
        let of_integration =
            said([("integrationUri", self.target), ("credentialsArn", self.credentials_arn)]);
        let of_route = said([("routeKey", self.route_key)]);
        if of_integration.is_empty() && of_route.is_empty() {
            return Ok(());
        }
        let api = state.api(api_id)?;
        let integration = made(&api.integrations, |integration| integration.api_gateway_managed);
        let route = made(&api.routes, |route| route.api_gateway_managed);
        let (Some(integration), Some(route)) = (integration, route) else {
            return bad("Only an API of quick create has a target, a route key and credentials of its own");
        };
        let of_integration = changed::<Integration>(state, of_integration, api_id, "", &integration)?;
        let of_route = changed::<Route>(state, of_route, api_id, "", &route)?;
        replace(state, of_integration, api_id, "", &integration)?;
        replace(state, of_route, api_id, "", &route)
    }
}

/// Those of the members that say something.
fn said<const N: usize>(members: [(&str, Option<String>); N]) -> Map<String, Value> {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, Value::from(value))).collect()
}

/// The id of what quick create made.
fn made<D>(collection: &Collection<D>, is_managed: impl Fn(&D) -> Option<bool>) -> Option<String> {
    let mut all = collection.iter();
    let found = all.find(|(_, stored)| is_managed(&stored.settings) == Some(true));
    found.map(|(id, _)| id.clone())
}

fn managed(settings: Value) -> Map<String, Value> {
    let Value::Object(mut members) = settings else { return Map::new() };
    members.insert(MANAGED.to_owned(), json!(true));
    members
}
