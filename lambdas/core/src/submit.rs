//! Accepting a task: into the queue first, then into the table.
//!
//! The message is the durable form. When the put fails the worker creates the record from the message, so there is no
//! dual write to lose, and only the send decides whether the task was accepted.

use futures_util::future::join;

use crate::admission::{Admission, Admitted};
use crate::deadline::within;
use crate::error::{ErrorClass, PortError};
use crate::id::{IdempotencyKey, Owner, RequestHash, TaskId};
use crate::idempotency::{fresh_task_id, named_task_id, request_hash};
use crate::kind::{Job, KindError, KindsAllowed};
use crate::limits;
use crate::message::{QueueMessage, SCHEMA};
use crate::ports::{Clock, Created, OpenTasks, Random, TaskQueue, TaskStore};
use crate::record::TaskRecord;
use crate::time::EpochMs;
use crate::wire::NewTask;

/// Sends per submission: the second makes one lost packet invisible, and more would only add to an outage.
const SENDS_MAX: u32 = 2;

#[derive(Debug)]
pub struct Submit<S, Q, C, R> {
    pub store: S,
    pub queue: Q,
    pub clock: C,
    pub random: R,
    pub kinds: KindsAllowed,
    pub admission: Admission,
}

#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    pub owner: &'a Owner,
    pub key: Option<&'a IdempotencyKey>,
    pub new_task: &'a NewTask,
    /// X-Ray header to carry through the queue.
    pub trace: Option<&'a str>,
    /// When an answer must have been given.
    pub deadline: EpochMs,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    Accepted(Box<TaskRecord>),
    /// The same request was accepted before; nothing was enqueued.
    Repeated(Box<TaskRecord>),
}

impl Submitted {
    pub fn record(&self) -> &TaskRecord {
        match self {
            Self::Accepted(record) | Self::Repeated(record) => record,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error(transparent)]
    Kind(#[from] KindError),
    #[error("the message would be {bytes} bytes, at most {} fit", limits::MESSAGE_BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error("the Idempotency-Key was used with another body")]
    KeyReused,
    /// Nothing was accepted.
    #[error("too many tasks have not come to an end; at most {max} may be in flight")]
    TooManyInFlight { max: u32 },
    /// Nothing was accepted.
    #[error("the queue refused the task")]
    Refused(#[source] PortError),
    /// No answer came, or one that does not say what happened; a retry with the same Idempotency-Key is safe.
    #[error("the queue did not say whether it accepted the task")]
    OutcomeUnknown,
}

impl<S: TaskStore + OpenTasks, Q: TaskQueue, C: Clock, R: Random> Submit<S, Q, C, R> {
    pub async fn submit(&self, submission: Submission<'_>) -> Result<Submitted, SubmitError> {
        let NewTask { kind, payload } = submission.new_task;
        Job::parse(kind, payload, self.kinds)?;
        let hash = request_hash(kind, payload);
        let answer_by = submission.deadline.minus(limits::ANSWER_MARGIN);
        if let Some(key) = submission.key {
            let id = named_task_id(submission.owner, key);
            if let Some(record) = self.recorded(id, answer_by).await {
                return repeated(record, &hash);
            }
        }
        let message = self.message(submission, hash);
        let body = body(&message)?;
        self.admit_and_send(submission, &body, answer_by).await?;
        self.record(message, answer_by).await
    }

    /// A failed look-up is not a refusal: the worker and the conditional put still see the repetition.
    async fn recorded(&self, id: TaskId, answer_by: EpochMs) -> Option<TaskRecord> {
        within(&self.clock, answer_by, self.store.get(id)).await?.ok()?
    }

    fn message(&self, submission: Submission<'_>, request_hash: RequestHash) -> QueueMessage {
        let now = self.clock.now();
        let task_id = match submission.key {
            Some(key) => named_task_id(submission.owner, key),
            None => fresh_task_id(now, &self.random),
        };
        QueueMessage {
            schema: SCHEMA,
            task_id,
            owner: submission.owner.clone(),
            kind: submission.new_task.kind.clone(),
            payload: submission.new_task.payload.clone().into(),
            created_at_ms: now,
            request_hash,
        }
    }

    async fn admit_and_send(
        &self,
        submission: Submission<'_>,
        body: &str,
        answer_by: EpochMs,
    ) -> Result<(), SubmitError> {
        let Submission { owner, trace, .. } = submission;
        match self.admission.ask(owner, self.clock.now()) {
            Admitted::Yes => self.send(body, trace, answer_by).await,
            Admitted::AndCount => {
                join(self.send(body, trace, answer_by), self.count(owner, answer_by)).await.0
            }
            Admitted::No => Err(self.too_many()),
            // What was true in the last window is no reason to refuse in this one.
            Admitted::NoAndCount => {
                self.count(owner, answer_by).await;
                let now = self.clock.now();
                if self.admission.ask(owner, now) == Admitted::Yes && now < answer_by {
                    return self.send(body, trace, answer_by).await;
                }
                Err(self.too_many())
            }
        }
    }

    async fn count(&self, owner: &Owner, answer_by: EpochMs) {
        let open = self.store.open(owner, self.admission.in_flight_max());
        let counted = within(&self.clock, answer_by, open).await;
        self.admission.counted(owner, counted.and_then(Result::ok));
    }

    fn too_many(&self) -> SubmitError {
        SubmitError::TooManyInFlight { max: self.admission.in_flight_max() }
    }

    async fn send(&self, body: &str, trace: Option<&str>, answer_by: EpochMs) -> Result<(), SubmitError> {
        let mut maybe_sent = false;
        let mut last = None;
        for _ in 0..SENDS_MAX {
            match within(&self.clock, answer_by, self.queue.send(body, trace)).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => {
                    maybe_sent |= error.class == ErrorClass::Unknown;
                    let is_final = error.class == ErrorClass::Permanent;
                    last = Some(error);
                    if is_final {
                        break;
                    }
                }
                None => return Err(SubmitError::OutcomeUnknown),
            }
        }
        match last {
            // One silent send is enough: it may have arrived, whatever was said to the other.
            Some(error) if !maybe_sent => Err(SubmitError::Refused(error)),
            _ => Err(SubmitError::OutcomeUnknown),
        }
    }

    async fn record(&self, message: QueueMessage, answer_by: EpochMs) -> Result<Submitted, SubmitError> {
        let record = TaskRecord::queued(&message);
        match within(&self.clock, answer_by, self.store.create(&record)).await {
            // Someone was first: our worker, or a submission with the same key. The first body wins.
            Some(Ok(Created::Exists(stored))) if stored.request_hash != record.request_hash => {
                Err(SubmitError::KeyReused)
            }
            Some(Ok(Created::Exists(stored))) => Ok(Submitted::Accepted(stored)),
            Some(Ok(Created::New) | Err(_)) | None => Ok(Submitted::Accepted(Box::new(record))),
        }
    }
}

/// JSON escapes may make the message larger than the request was.
fn body(message: &QueueMessage) -> Result<String, SubmitError> {
    let body = message.to_body().map_err(|error| KindError::Payload(error.to_string()))?;
    if body.len() > limits::MESSAGE_BYTES_MAX {
        return Err(SubmitError::TooLarge { bytes: body.len() });
    }
    Ok(body)
}

fn repeated(record: TaskRecord, hash: &RequestHash) -> Result<Submitted, SubmitError> {
    if record.request_hash == *hash {
        Ok(Submitted::Repeated(Box::new(record)))
    } else {
        Err(SubmitError::KeyReused)
    }
}
