//! The functions and queues of the account as targets.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{Refused, Targets};
use crate::iam::Signer;
use crate::lambda::Lambda;
use crate::settings::Settings;
use crate::sqs::Sqs;
use crate::sqs::post::post;
use crate::wire::BoxFuture;

/// Lambda and SQS.
pub struct AccountTargets {
    settings: Settings,
    lambda: Arc<Lambda>,
    sqs: Sqs,
}

impl std::fmt::Debug for AccountTargets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountTargets").finish_non_exhaustive()
    }
}

impl AccountTargets {
    #[must_use]
    pub fn new(settings: Settings, lambda: Arc<Lambda>, sqs: Sqs) -> Self {
        Self { settings, lambda, sqs }
    }
}

impl Targets for AccountTargets {
    fn invoke(&self, function_arn: &str, payload: Bytes) -> Result<(), Refused> {
        self.lambda.invoke_event(function_arn, payload).map_err(|(code, message)| Refused { code, message })
    }

    fn send<'a>(
        &'a self,
        session: &'a Signer,
        queue_arn: &'a str,
        body: &'a str,
        attributes: Option<Value>,
    ) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move {
            let sent = post(&self.sqs, &self.settings, session, queue_arn, body, attributes, None).await;
            sent.map_err(|refused| Refused { code: refused.code, message: refused.message })
        })
    }
}
