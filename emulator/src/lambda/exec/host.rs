//! What all environments of one emulator share, and what all environments of one function version share.

use std::path::PathBuf;
use std::sync::Arc;

use super::guardian::Guardian;
use super::turns::Turns;
use crate::iam::Credentials;
use crate::lambda::code::{Code, private_directory};
use crate::lambda::faults::Faults;
use crate::lambda::model::FunctionConfig;
use crate::lambda::options::Options;
use crate::settings::Settings;

/// The machine, as far as environments see it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) settings: Settings,
    pub(crate) options: Options,
    pub(crate) faults: Faults,
    pub(crate) guardian: Guardian,
    pub(crate) turns: Turns,
    /// Unpacked code and scratch directories; private to this process, removed at its end.
    pub(crate) root: PathBuf,
}

impl Host {
    pub(crate) fn new(settings: Settings, options: Options) -> std::io::Result<Self> {
        let root = std::env::temp_dir().join(format!("emulator-lambda-{}", uuid::Uuid::new_v4().simple()));
        private_directory(&root)?;
        let guardian = Guardian::start(&root)?;
        Ok(Self {
            settings,
            options,
            faults: Faults::default(),
            guardian,
            turns: Turns::of_this_machine(),
            root,
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.guardian.kill_all();
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            tracing::debug!(%error, root = %self.root.display(), "working directory was not removed");
        }
    }
}

/// One function version as its environments need it.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    /// `$LATEST` or a number.
    pub(crate) version: String,
    pub(crate) arn: String,
    pub(crate) config: FunctionConfig,
    pub(crate) code: Arc<Code>,
    pub(crate) credentials: Credentials,
    pub(crate) host: Arc<Host>,
}

impl Spec {
    pub(crate) fn timeout_ms(&self) -> i64 {
        i64::from(self.config.timeout_seconds) * 1_000
    }
}
