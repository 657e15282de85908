//! Services by signing name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::wire::Service;

/// The services of the account, by the name in the SigV4 credential scope.
#[derive(Clone, Default)]
pub struct Registry {
    services: BTreeMap<&'static str, Arc<dyn Service>>,
}

impl Registry {
    pub fn add(&mut self, signing_name: &'static str, service: Arc<dyn Service>) {
        self.services.insert(signing_name, service);
    }

    #[must_use]
    pub fn get(&self, signing_name: &str) -> Option<&Arc<dyn Service>> {
        self.services.get(signing_name)
    }

    /// The signing names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.services.keys().copied()
    }

    pub fn begin(&self) {
        self.services.values().for_each(|service| service.begin());
    }

    /// Ends all services, one after the other: the order is that of the names, and none may depend on it.
    pub async fn shutdown(&self) {
        for service in self.services.values() {
            service.shutdown().await;
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.services.keys()).finish()
    }
}
