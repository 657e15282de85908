//! An HTTP API with an integration, a route and a stage in one call.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{ApiError, bad};
use super::management::create_from;
use super::model::{Integration, Protocol, Route, Stage};
use super::record::MANAGED;
use super::state::State;

/// "If you don't specify a routeKey, a default route of $default is created."
const DEFAULT_ROUTE: &str = "$default";
const DEFAULT_STAGE: &str = "$default";

/// What CreateApi takes beside the members of an API.
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
}

fn managed(settings: Value) -> Map<String, Value> {
    let Value::Object(mut members) = settings else { return Map::new() };
    members.insert(MANAGED.to_owned(), json!(true));
    members
}
