//! From an HTTP event to a submission, and from its end to an answer.

use std::convert::Infallible;

use lambda_runtime::Context;
use task_aws::event::HttpEvent;
use task_aws::http::{HttpResponse, Refusal};
use task_aws::logging::for_request;
use task_aws::telemetry::WideEvent;
use task_core::kind::KindError;
use task_core::object::Object;
use task_core::ports::{Clock, OpenTasks, Random, TaskQueue, TaskStore};
use task_core::problem::ProblemKind;
use task_core::submit::{Submission, Submit, SubmitError, Submitted};
use task_core::wire::{HEADER_IDEMPOTENCY_KEY, NewTask};
use task_core::{EpochMs, IdempotencyKey};

pub(crate) async fn answer<S, Q, C, R>(
    submit: &Submit<S, Q, C, R>,
    event: &HttpEvent,
    context: &Context,
) -> Result<HttpResponse, Infallible>
where
    S: TaskStore + OpenTasks,
    Q: TaskQueue,
    C: Clock,
    R: Random,
{
    let request_id = &event.request_context.request_id;
    let mut wide = WideEvent::begin("submit-task", request_id, context.xray_trace_id.as_deref());
    Ok(for_request(request_id, respond(submit, event, context, &mut wide)).await)
}

async fn respond<S, Q, C, R>(
    submit: &Submit<S, Q, C, R>,
    event: &HttpEvent,
    context: &Context,
    wide: &mut WideEvent,
) -> HttpResponse
where
    S: TaskStore + OpenTasks,
    Q: TaskQueue,
    C: Clock,
    R: Random,
{
    let request_id = &event.request_context.request_id;
    match accept(submit, event, context, wide).await {
        Ok(submitted) => {
            let is_new = matches!(submitted, Submitted::Accepted(_));
            wide.count(if is_new { "accepted" } else { "repeated" }, 1);
            accepted(&submitted, request_id)
        }
        Err(refusal) => {
            wide.count("refused", 1);
            wide.field("problem", refusal.kind.name());
            HttpResponse::refused(&refusal, request_id)
        }
    }
}

async fn accept<S, Q, C, R>(
    submit: &Submit<S, Q, C, R>,
    event: &HttpEvent,
    context: &Context,
    wide: &mut WideEvent,
) -> Result<Submitted, Refusal>
where
    S: TaskStore + OpenTasks,
    Q: TaskQueue,
    C: Clock,
    R: Random,
{
    if event.route_key != "POST /tasks" {
        return Err(Refusal::new(ProblemKind::RouteNotFound, "this function serves POST /tasks"));
    }
    let owner = event.owner()?;
    wide.owner(&owner);
    let key = event.header(HEADER_IDEMPOTENCY_KEY).map(idempotency_key).transpose()?;
    let Object(new_task) = serde_json::from_slice::<Object<NewTask>>(&event.body_bytes()?)
        .map_err(|error| Refusal::new(ProblemKind::MalformedRequest, error.to_string()))?;
    let submission = Submission {
        owner: &owner,
        key: key.as_ref(),
        new_task: &new_task,
        trace: context.xray_trace_id.as_deref(),
        deadline: EpochMs(context.deadline),
    };
    let submitted = submit.submit(submission).await.map_err(refusal)?;
    wide.field("task.id", submitted.record().id.to_string());
    Ok(submitted)
}

fn idempotency_key(text: &str) -> Result<IdempotencyKey, Refusal> {
    IdempotencyKey::parse(text)
        .map_err(|error| Refusal::new(ProblemKind::InvalidIdempotencyKey, error.to_string()))
}

fn accepted(submitted: &Submitted, request_id: &str) -> HttpResponse {
    let record = submitted.record();
    let mut response = HttpResponse::json(202, &record.to_wire(), request_id);
    response.headers.insert("location", format!("/tasks/{}", record.id));
    response
}

fn refusal(error: SubmitError) -> Refusal {
    let kind = match &error {
        SubmitError::Kind(KindError::Unknown) => ProblemKind::UnknownKind,
        SubmitError::Kind(KindError::Payload(_)) => ProblemKind::InvalidPayload,
        SubmitError::TooLarge { .. } => ProblemKind::BodyTooLarge,
        SubmitError::KeyReused => ProblemKind::IdempotencyKeyReused,
        SubmitError::TooManyInFlight { .. } => ProblemKind::TooManyInFlight,
        SubmitError::Refused(_) => {
            return Refusal::new(ProblemKind::QueueUnavailable, "nothing was accepted; try again");
        }
        SubmitError::OutcomeUnknown => {
            let detail = "try again with the same Idempotency-Key: that never makes a second task";
            return Refusal::new(ProblemKind::OutcomeUnknown, detail);
        }
    };
    Refusal::new(kind, error.to_string())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
