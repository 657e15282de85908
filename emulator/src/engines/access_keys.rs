//! IAM whose access keys are chosen by our random source, so that a call that is made again makes the same key: the engine
//! chooses anew each time, and after a restart nobody would know whose the key is that was handed out.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use winterbaume_core::StatefulService as _;
use winterbaume_iam::views::AccessKeyView;
use winterbaume_iam::{IamService, IamStateView};

use super::identities::{Identities, REGION};
use crate::iam::{KEY_ALPHABET, form_value, user_key_id};
use crate::repeatable;
use crate::settings::{Random, Settings};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service};

/// Since these rules a key tells that it is a user's. Those of before were handed out as they are.
const RULES_OF_IDS: u32 = 4;
const SECRET_CHARS: usize = 40;

/// IAM with access keys of ours.
pub(super) struct AccessKeys {
    engine: Identities,
    state: Arc<IamService>,
    random: Random,
    account_id: Arc<str>,
}

impl AccessKeys {
    pub(super) fn new(engine: Identities, state: Arc<IamService>, settings: &Settings) -> Self {
        let (random, account_id) = (settings.random.clone(), Arc::clone(&settings.account_id));
        Self { engine, state, random, account_id }
    }

    fn new_id(&self) -> String {
        if repeatable::is_older_than(RULES_OF_IDS) {
            return format!("AKIA{}", self.random.text(KEY_ALPHABET, 16));
        }
        user_key_id(&self.random)
    }

    /// The engine's key under another name: added beside it, and the engine's own deleted.
    async fn create(&self, request: AwsRequest) -> AwsResponse {
        let mut answer = self.engine.handle(request.clone()).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let Some(old_id) = between(&text, "<AccessKeyId>", "</AccessKeyId>") else { return answer };
        let known = self.state.snapshot(&self.account_id, REGION).await.access_keys;
        let Some(made) = known.get(old_id) else { return answer };
        let (id, secret) = (self.new_id(), self.random.text(KEY_ALPHABET, SECRET_CHARS));
        answer.body = Bytes::from(text.replace(old_id, &id).replace(&made.secret_access_key, &secret));
        answer.headers.remove(http::header::CONTENT_LENGTH);
        let delete = format!(
            "Action=DeleteAccessKey&Version=2010-05-08&UserName={}&AccessKeyId={old_id}",
            utf8_percent_encode(&made.user_name, NON_ALPHANUMERIC)
        );
        let ours = AccessKeyView { access_key_id: id.clone(), secret_access_key: secret, ..made.clone() };
        let ours = IamStateView { access_keys: HashMap::from([(id, ours)]), ..IamStateView::default() };
        if let Err(error) = self.state.merge(&self.account_id, REGION, ours).await {
            tracing::error!(%error, "an access key could not be kept");
        }
        let delete = AwsRequest { query: String::new(), body: Bytes::from(delete), ..request };
        self.engine.handle(delete).await;
        answer
    }
}

impl Service for AccessKeys {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let creates = form_value(&request, "Action").as_deref() == Some("CreateAccessKey");
            if creates { self.create(request).await } else { self.engine.handle(request).await }
        })
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    Some(text.split_once(open)?.1.split_once(close)?.0)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::sqs::tests::settings;

    #[tokio::test]
    async fn a_key_is_the_same_when_its_call_is_made_again_wherever_its_form_is() {
        let (settings, _hand) = settings();
        let by_url = AwsRequest {
            query: "Action=CreateAccessKey&UserName=u".to_owned(),
            ..AwsRequest::unsigned("iam", Method::GET, "/", "")
        };
        let encoded =
            AwsRequest::unsigned("iam", Method::POST, "/", "%41ction=Create%41ccessKey&User%4eame=u");
        let mut ids = Vec::new();
        for create in [by_url.clone(), by_url, encoded] {
            let iam = crate::engines::iam(&settings);
            let ask = async |form: &str| {
                let answer = iam.handle(AwsRequest::unsigned("iam", Method::POST, "/", form)).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                String::from_utf8_lossy(&answer.body).into_owned()
            };
            ask("Action=CreateUser&UserName=u").await;
            let made = repeatable::scope(9, None, iam.handle(create)).await;
            let made = String::from_utf8_lossy(&made.body).into_owned();
            let id = between(&made, "<AccessKeyId>", "</AccessKeyId>").unwrap().to_owned();
            let listed = ask("Action=ListAccessKeys&UserName=u").await;
            assert_eq!(listed.matches("<AccessKeyId>").count(), 1, "{listed}");
            assert!(listed.contains(&id), "{listed}");
            ids.push(id);
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[tokio::test]
    async fn a_key_tells_that_it_is_a_users_unless_an_older_emulator_gave_it() {
        let (settings, _hand) = settings();
        let iam = crate::engines::iam(&settings);
        let ask = |form: &str| iam.handle(AwsRequest::unsigned("iam", Method::POST, "/", form));
        ask("Action=CreateUser&UserName=u").await;
        let create = || ask("Action=CreateAccessKey&UserName=u");
        let id = |made: AwsResponse| {
            let made = String::from_utf8_lossy(&made.body).into_owned();
            between(&made, "<AccessKeyId>", "</AccessKeyId>").unwrap().to_owned()
        };
        let new = id(create().await);
        let older = id(repeatable::scope_again(RULES_OF_IDS - 1, 9, 0, create()).await);
        assert!(new.starts_with("AKIALOCAL") && new.len() == 20, "{new}");
        assert!(older.starts_with("AKIA") && !older.starts_with("AKIALOCAL") && older.len() == 20, "{older}");
    }
}
