//! From a request on the wire to an operation, and back.

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::account::Account;
use super::error::{ErrorKind, SqsError};
use super::handle::QueueHandle;
use super::query;
use super::{admin, consume, send};
use crate::iam::{Ask, Context, Signer};
use crate::repeatable;
use crate::settings::Settings;
use crate::store::{Journal, JournalFailed};
use crate::wire::{AwsRequest, AwsResponse, BoxFuture, Service, is_object};

/// The operations whose success tells the caller that messages are or are no longer there.
const CHANGES_MESSAGES: [&str; 7] = [
    "SendMessage",
    "SendMessageBatch",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "PurgeQueue",
];
/// The operations that the URL of a queue does not know in the query protocol.
const OF_THE_ACCOUNT: [&str; 2] = ["CreateQueue", "ListQueues"];
const JSON: &str = "application/x-amz-json-1.0";
const TARGET_PREFIX: &str = "AmazonSQS.";
/// AWS quota: entries of one batch request.
const ENTRIES_MAX: usize = 10;
const ENTRY_ID_MAX: usize = 80;

/// SQS: the JSON and the query protocol on the shared port, and queues for those inside the process.
#[derive(Clone, Debug)]
pub struct Sqs {
    account: Arc<Account>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// On AWS the principal's unique id; here the access key that signed the request, or the account.
    pub sender_id: String,
    pub principal: Principal,
}

/// Whom the policy of a queue is asked about.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Whoever this access key was given to; the account's administrator, if nobody.
    Key(String),
    /// In whose name a service of the account acts.
    Session(Arc<Signer>),
    /// Nobody: who did not sign was judged before the call came here.
    Judged,
}

/// How a request came in, which is how its answer goes out.
#[derive(Debug)]
pub enum Codec {
    Json(bytes::Bytes),
    Query {
        action: String,
        parameters: serde_json::Value,
        /// Sent to the URL of a queue.
        at_queue: bool,
    },
}

impl Sqs {
    /// Must be called within a tokio runtime: the queues are sampled in the background, for as long as a clone of
    /// this value lives.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let account = Arc::new(Account::new(settings));
        tokio::spawn(super::measure::sample_queues(Arc::downgrade(&account)));
        Self { account }
    }

    /// The queues, for event source mappings.
    #[must_use]
    pub const fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The answer to a service of the account that acts in the name of this session.
    pub(super) async fn answer_to(&self, session: Arc<Signer>, request: &AwsRequest) -> AwsResponse {
        let sender_id = self.account.settings.account_id.to_string();
        let caller = Caller { sender_id, principal: Principal::Session(session) };
        // Boxed, as it is for all others: it has room for any operation.
        Box::pin(self.answer(request, &caller)).await
    }

    async fn answer(&self, request: &AwsRequest, caller: &Caller) -> AwsResponse {
        let Some((codec, operation)) = read(request) else {
            let unknown = "<UnknownOperationException/>\n";
            return AwsResponse::new(StatusCode::NOT_FOUND, "application/xml", unknown);
        };
        let unwritable =
            || SqsError::new(ErrorKind::InternalFailure, "The data directory cannot be written.");
        // What is known to be refused must not take effect.
        let mut answer = match self.journal_of(&operation).map_or(Ok(()), Journal::check) {
            Ok(()) => self.dispatch(&operation, &codec, caller).await,
            Err(_) => Err(unwritable()),
        };
        if answer.is_ok() && self.committed(&operation).await.is_err() {
            answer = Err(unwritable());
        }
        answer.unwrap_or_else(|error| codec.refuse(&error, self.account.new_id()))
    }

    /// Where the changes of this operation are kept.
    fn journal_of(&self, operation: &str) -> Option<&Journal> {
        self.account.settings.store.messages().filter(|_| CHANGES_MESSAGES.contains(&operation))
    }

    /// Nothing is acknowledged before it is safe. A receive promises nothing: a crash may deliver the message again.
    async fn committed(&self, operation: &str) -> Result<(), JournalFailed> {
        match self.journal_of(operation) {
            Some(journal) => journal.committed().await,
            None => Ok(()),
        }
    }

    async fn dispatch(
        &self,
        operation: &str,
        codec: &Codec,
        caller: &Caller,
    ) -> Result<AwsResponse, SqsError> {
        if codec.is_out_of_place() {
            return Err(SqsError::invalid_action(operation));
        }
        let call = Call { account: &self.account, codec, caller };
        match operation {
            "AddPermission" => call.run(admin::add_permission),
            "CancelMessageMoveTask" => call.run(admin::cancel_message_move_task),
            "ChangeMessageVisibility" => call.run(consume::change_message_visibility),
            "ChangeMessageVisibilityBatch" => call.run(consume::change_message_visibility_batch),
            "CreateQueue" => call.run(admin::create_queue),
            "DeleteMessage" => call.run(consume::delete_message),
            "DeleteMessageBatch" => call.run(consume::delete_message_batch),
            "DeleteQueue" => call.run(admin::delete_queue),
            "GetQueueAttributes" => call.run(admin::get_queue_attributes),
            "GetQueueUrl" => call.run(admin::get_queue_url),
            "ListDeadLetterSourceQueues" => call.run(admin::list_dead_letter_source_queues),
            "ListMessageMoveTasks" => call.run(admin::list_message_move_tasks),
            "ListQueueTags" => call.run(admin::list_queue_tags),
            "ListQueues" => call.run(admin::list_queues),
            "PurgeQueue" => call.run(admin::purge_queue),
            "ReceiveMessage" => {
                let messages = consume::receive_message(&self.account, caller, codec.parse()?).await?;
                Ok(codec.render(&messages, &self.account))
            }
            "RemovePermission" => call.run(admin::remove_permission),
            "SendMessage" => call.run(send::send_message),
            "SendMessageBatch" => call.run(send::send_message_batch),
            "SetQueueAttributes" => call.run(admin::set_queue_attributes),
            "StartMessageMoveTask" => call.run(admin::start_message_move_task),
            "TagQueue" => call.run(admin::tag_queue),
            "UntagQueue" => call.run(admin::untag_queue),
            unknown => {
                tracing::warn!(operation = unknown, "SQS has no such operation");
                Err(SqsError::invalid_action(unknown))
            }
        }
    }
}

impl Service for Sqs {
    fn handle(&self, request: AwsRequest) -> BoxFuture<'_, AwsResponse> {
        Box::pin(async move {
            let caller = Caller::of(request.access_key_id.clone(), &self.account.settings);
            self.answer(&request, &caller).await
        })
    }

    /// The journal is made anew from the queues: not before what it tells is in them.
    fn begin(&self) {
        tokio::spawn(super::restore::keep_small(Arc::downgrade(&self.account)));
    }
}

impl Caller {
    fn of(access_key_id: String, settings: &Settings) -> Self {
        // With `--iam off` nobody was.
        let is_judged = access_key_id.is_empty() && settings.iam.is_enforced();
        let sender_id =
            if access_key_id.is_empty() { settings.account_id.to_string() } else { access_key_id.clone() };
        Self {
            sender_id,
            principal: if is_judged { Principal::Judged } else { Principal::Key(access_key_id) },
        }
    }
}

struct Call<'a> {
    account: &'a Arc<Account>,
    codec: &'a Codec,
    caller: &'a Caller,
}

impl Call<'_> {
    fn run<I: DeserializeOwned, O: Serialize>(
        &self,
        operation: impl FnOnce(&Arc<Account>, &Caller, I) -> Result<O, SqsError>,
    ) -> Result<AwsResponse, SqsError> {
        let output = operation(self.account, self.caller, self.codec.parse()?)?;
        Ok(self.codec.render(&output, self.account))
    }
}

/// Protocol, operation and parameters of a request; `None` when it names no operation. Whoever judges a request reads it
/// so, too.
pub(crate) fn read(request: &AwsRequest) -> Option<(Codec, String)> {
    if let Some(target) = request.header("x-amz-target") {
        // Calls that older emulators kept may name the operation alone.
        let alone = || repeatable::is_repeated().then_some(target);
        let operation = target.strip_prefix(TARGET_PREFIX).or_else(alone)?.to_owned();
        return Some((Codec::Json(request.body.clone()), operation));
    }
    let (action, parameters) = query::read(&request.query, &request.body, &request.path)?;
    let at_queue = query::is_path_of_queue(&request.path);
    Some((Codec::Query { action: action.clone(), parameters, at_queue }, action))
}

impl Codec {
    fn is_out_of_place(&self) -> bool {
        match self {
            Self::Query { action, at_queue: true, .. } => OF_THE_ACCOUNT.contains(&action.as_str()),
            Self::Query { .. } | Self::Json(_) => false,
        }
    }

    /// # Errors
    /// `MalformedInput`.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, SqsError> {
        let parsed = match self {
            Self::Json(body) if body.is_empty() => serde_json::from_str("{}"),
            Self::Json(body) if !is_object(body) => {
                return Err(SqsError::new(ErrorKind::MalformedInput, "The request is not a JSON object."));
            }
            Self::Json(body) => serde_json::from_slice(body),
            Self::Query { parameters, .. } => T::deserialize(parameters),
        };
        parsed.map_err(|error| SqsError::new(ErrorKind::MalformedInput, error.to_string()))
    }

    fn render<T: Serialize>(&self, output: &T, account: &Account) -> AwsResponse {
        match self {
            Self::Json(_) => {
                // Serialising these types into memory has no way to fail: no maps with keys that are not strings.
                let body = serde_json::to_vec(output).unwrap_or_default();
                AwsResponse::new(StatusCode::OK, JSON, body)
            }
            Self::Query { action, .. } => query::render(action, output, account.new_id()),
        }
    }

    fn refuse(&self, error: &SqsError, request_id: uuid::Uuid) -> AwsResponse {
        match self {
            Self::Json(_) => {
                let body = serde_json::json!({ "__type": error.kind.json_type(), "message": error.message });
                let fault = if error.kind.status().is_server_error() { "Receiver" } else { "Sender" };
                AwsResponse::new(error.kind.status(), JSON, body.to_string())
                    .with_header("x-amzn-query-error", &format!("{};{fault}", error.kind.query_code()))
            }
            Self::Query { .. } => query::refuse(error, request_id),
        }
    }
}

/// The queue of a request, unless its policy denies the action.
///
/// # Errors
/// `MissingParameter`, `QueueDoesNotExist`, `AccessDenied`.
pub fn permitted_queue(
    account: &Account,
    caller: &Caller,
    url: Option<&str>,
    action: &str,
) -> Result<Arc<QueueHandle>, SqsError> {
    permitted(account, caller, account.by_url(url.ok_or_else(|| SqsError::missing("QueueUrl"))?)?, action)
}

/// The queue that a call names, unless its policy denies the action.
///
/// # Errors
/// `AccessDenied`.
pub fn permitted(
    account: &Account,
    caller: &Caller,
    queue: Arc<QueueHandle>,
    action: &str,
) -> Result<Arc<QueueHandle>, SqsError> {
    queue.touch();
    check_policy(account, &caller.principal, &queue, action)?;
    Ok(queue)
}

/// # Errors
/// `AccessDenied` when a statement of the queue's policy denies the action to whom it is asked about.
pub fn check_policy(
    account: &Account,
    principal: &Principal,
    queue: &QueueHandle,
    action: &str,
) -> Result<(), SqsError> {
    let attributes = queue.attributes();
    // What was accepted once is not asked again when it is made again.
    let Some(policy) = attributes.policy.as_ref().filter(|_| !repeatable::is_repeated()) else {
        return Ok(());
    };
    let settings = &account.settings;
    let signer = match principal {
        Principal::Key(access_key_id) => settings.iam.signer(access_key_id),
        Principal::Session(signer) => Some(Arc::clone(signer)),
        Principal::Judged => return Ok(()),
    };
    let asked = format!("sqs:{action}");
    let ask = Ask { action: &asked, resource: &queue.arn, context: Context::at(account.now_ms()) };
    if !settings.iam.is_denied_by(policy.rules(), signer.as_deref(), &settings.account_id, &ask) {
        return Ok(());
    }
    let who = signer
        .map_or_else(|| format!("arn:aws:iam::{}:root", settings.account_id), |signer| signer.arn.clone());
    Err(SqsError::new(
        ErrorKind::AccessDenied,
        format!(
            "User: {who} is not authorized to perform: {} on resource: {} with an explicit deny in a resource-based policy",
            asked.to_ascii_lowercase(),
            queue.arn
        ),
    ))
}

/// Takes the ids out of the entries of a batch and refuses the batch whose ids or number are not legal.
///
/// # Errors
/// `EmptyBatchRequest`, `TooManyEntriesInBatchRequest`, `InvalidBatchEntryId`, `BatchEntryIdsNotDistinct`.
pub fn check_entries<T>(
    kind: &str,
    entries: Option<Vec<T>>,
    mut take_id: impl FnMut(&mut T) -> Option<String>,
) -> Result<Vec<(String, T)>, SqsError> {
    let entries = entries.unwrap_or_default();
    if entries.is_empty() {
        let message = format!("There should be at least one {kind} in the request.");
        return Err(SqsError::new(ErrorKind::EmptyBatchRequest, message));
    }
    if entries.len() > ENTRIES_MAX {
        let message = format!(
            "Maximum number of entries per request are {ENTRIES_MAX}. You have sent {}.",
            entries.len()
        );
        return Err(SqsError::new(ErrorKind::TooManyEntriesInBatchRequest, message));
    }
    let mut checked: Vec<(String, T)> = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let id = take_id(&mut entry).unwrap_or_default();
        check_entry_id(&id)?;
        if checked.iter().any(|(other, _)| *other == id) {
            let message = format!("Id {id} repeated.");
            return Err(SqsError::new(ErrorKind::BatchEntryIdsNotDistinct, message));
        }
        checked.push((id, entry));
    }
    Ok(checked)
}

fn check_entry_id(id: &str) -> Result<(), SqsError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=ENTRY_ID_MAX).contains(&id.len()) && id.bytes().all(legal) {
        return Ok(());
    }
    Err(SqsError::new(
        ErrorKind::InvalidBatchEntryId,
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters \
         long.",
    ))
}
