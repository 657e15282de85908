//! The control plane's memory, and how its changes reach the data planes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::account::Account;
use super::definition::Definition;
use super::error::ApiError;
use super::live::{LiveApi, LiveStage};
use super::model::{Api, Deployment, Protocol, Texts};
use super::record::{ApiRecord, Stored};
use crate::repeatable;
use crate::settings::Settings;

/// Lengths as AWS makes them: `a1b2c3d4e5` for an API, `abc1234` for what is below it.
const API_ID_LEN: usize = 10;
pub(super) const CHILD_ID_LEN: usize = 7;
/// The first rules by which an id is no other API's: until then one could take another's place.
const RULES_OF_IDS: u32 = 2;
/// Of an automatic deployment only the newest is ever served: older ones would grow without bound.
const AUTO_DEPLOYMENTS_KEPT: usize = 1;

/// What is served now, by API.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(Arc<RwLock<HashMap<String, Arc<LiveApi>>>>);

impl Live {
    pub(super) fn api(&self, id: &str) -> Option<Arc<LiveApi>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn stage(&self, api_id: &str, stage: &str) -> Option<Arc<LiveStage>> {
        self.api(api_id)?.stages.get(stage).cloned()
    }

    fn set(&self, id: &str, api: Option<LiveApi>) {
        let mut apis = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match api {
            Some(api) => apis.insert(id.to_owned(), Arc::new(api)),
            None => apis.remove(id),
        };
    }
}

#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    pub(super) apis: BTreeMap<String, ApiRecord>,
    pub(super) account: Account,
    live: Live,
}

impl State {
    pub(super) fn new(settings: Settings, live: Live) -> Self {
        Self { settings, apis: BTreeMap::new(), account: Account::default(), live }
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.settings.clock.now_ms()
    }

    pub(super) fn new_id(&self, len: usize) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        self.settings.random.text(ALPHABET, len)
    }

    pub(super) fn add(&mut self, settings: Api) -> String {
        let mut id = self.new_id(API_ID_LEN);
        while self.apis.contains_key(&id) && !repeatable::is_older_than(RULES_OF_IDS) {
            id = self.new_id(API_ID_LEN);
        }
        self.apis.insert(id.clone(), ApiRecord::new(id.clone(), self.now_ms(), settings));
        id
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.apis.remove(id);
    }

    pub(super) fn api(&self, id: &str) -> Result<&ApiRecord, ApiError> {
        self.apis.get(id).ok_or_else(|| ApiError::missing("API", id))
    }

    pub(super) fn api_mut(&mut self, id: &str) -> Result<&mut ApiRecord, ApiError> {
        self.apis.get_mut(id).ok_or_else(|| ApiError::missing("API", id))
    }

    /// Freezes the API as it is now.
    pub(super) fn deploy(&mut self, api_id: &str, settings: Deployment) -> Result<String, ApiError> {
        let id = self.new_id(CHILD_ID_LEN);
        let now_ms = self.now_ms();
        let api = self.api_mut(api_id)?;
        let definition = Arc::new(Definition::freeze(api));
        api.snapshots.insert(id.clone(), definition);
        api.deployments.insert(id.clone(), Stored { settings, created_ms: now_ms, updated_ms: now_ms });
        Ok(id)
    }

    /// Gives the stages with `autoDeploy` a deployment: all of them when `changed`, else those that have none.
    pub(super) fn deploy_automatically(&mut self, api_id: &str, changed: bool) -> Result<(), ApiError> {
        let waiting: Vec<String> = self
            .api(api_id)?
            .stages
            .iter()
            .filter(|(_, stage)| {
                stage.settings.auto_deploy && (changed || stage.settings.deployment_id.is_none())
            })
            .map(|(name, _)| name.clone())
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let description =
            Some("Automatic deployment triggered by changes to the Api configuration".to_owned());
        let id = self.deploy(api_id, Deployment { description, auto_deployed: true, stage_name: None })?;
        let api = self.api_mut(api_id)?;
        for name in waiting {
            if let Some(stage) = api.stages.get_mut(&name) {
                stage.settings.deployment_id = Some(id.clone());
            }
        }
        drop_unused_automatic(api);
        Ok(())
    }

    /// Makes the data planes serve what the API is now; a deleted one is served no more.
    pub(super) fn publish(&self, id: &str) {
        let before = self.live.api(id);
        let live = self.apis.get(id).map(|api| LiveApi::build(api, before.as_deref(), self.now_ms()));
        self.live.set(id, live);
    }

    pub(super) fn endpoint_of(&self, api: &ApiRecord) -> String {
        let scheme = match api.protocol() {
            Protocol::Http => "http",
            Protocol::WebSocket => "ws",
        };
        let authority =
            self.settings.endpoint.split_once("://").map_or(&*self.settings.endpoint, |(_, rest)| rest);
        format!("{scheme}://{authority}{}{}", super::MOUNT, api.id)
    }

    /// `arn:aws:apigateway:{region}::/apis/{id}` or `…/apis/{id}/stages/{name}`.
    pub(super) fn tags_of(&mut self, arn: &str) -> Result<&mut Texts, ApiError> {
        let unknown =
            || ApiError::NotFound { message: format!("Invalid resource ARN: {arn}"), resource: "Resource" };
        let (_, path) = arn.split_once("::/apis/").ok_or_else(unknown)?;
        match path.split_once("/stages/") {
            None => self.apis.get_mut(path).map(|api| &mut api.settings.tags).ok_or_else(unknown),
            Some((id, stage)) => {
                let api = self.apis.get_mut(id).ok_or_else(unknown)?;
                api.stages.get_mut(stage).map(|stage| &mut stage.settings.tags).ok_or_else(unknown)
            }
        }
    }
}

fn drop_unused_automatic(api: &mut ApiRecord) {
    let used: Vec<String> =
        api.stages.values().filter_map(|stage| stage.settings.deployment_id.clone()).collect();
    let mut unused: Vec<(i64, String)> = api
        .deployments
        .iter()
        .filter(|(id, deployment)| deployment.settings.auto_deployed && !used.contains(id))
        .map(|(id, deployment)| (deployment.created_ms, id.clone()))
        .collect();
    unused.sort();
    for (_, id) in unused.iter().rev().skip(AUTO_DEPLOYMENTS_KEPT) {
        api.deployments.remove(id);
        api.snapshots.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_id_that_is_taken_is_drawn_again_unless_the_call_was_accepted_before_it_was() {
        let mut state = State::new(Settings::by_hand(0).0, Live::default());
        let first = repeatable::scope(1, None, async { state.add(Api::default()) }).await;
        let second = repeatable::scope(1, None, async { state.add(Api::default()) }).await;
        assert_ne!(first, second);
        assert_eq!(state.apis.len(), 2);
        let older = async { state.add(Api::default()) };
        assert_eq!(repeatable::scope_again(RULES_OF_IDS - 1, 1, 0, older).await, first);
    }
}
