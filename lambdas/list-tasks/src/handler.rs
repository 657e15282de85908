//! From an HTTP event to a query, and from its end to an answer.

use std::convert::Infallible;

use lambda_runtime::Context;
use task_aws::event::HttpEvent;
use task_aws::http::{HttpResponse, Refusal};
use task_aws::logging::for_request;
use task_aws::telemetry::WideEvent;
use task_core::error::PortError;
use task_core::limits::{PAGE_TASKS_DEFAULT, PAGE_TASKS_MAX};
use task_core::list::{self, PageQuery, SortKey};
use task_core::ports::{OwnerIndex, TaskStore};
use task_core::problem::ProblemKind;
use task_core::wire::{Status, TaskPage};

pub(crate) async fn answer<S: TaskStore, I: OwnerIndex>(
    store: &S,
    index: &I,
    shards: u16,
    event: &HttpEvent,
    context: &Context,
) -> Result<HttpResponse, Infallible> {
    let request_id = &event.request_context.request_id;
    let mut wide = WideEvent::begin("list-tasks", request_id, context.xray_trace_id.as_deref());
    let answered = for_request(request_id, read(store, index, shards, event, &mut wide)).await;
    Ok(answered.unwrap_or_else(|refusal| {
        wide.count("refused", 1);
        wide.field("problem", refusal.kind.name());
        HttpResponse::refused(&refusal, request_id)
    }))
}

async fn read<S: TaskStore, I: OwnerIndex>(
    store: &S,
    index: &I,
    shards: u16,
    event: &HttpEvent,
    wide: &mut WideEvent,
) -> Result<HttpResponse, Refusal> {
    match event.route_key.as_str() {
        "GET /tasks" => page(index, shards, event, wide).await,
        "GET /tasks/{id}" => one(store, event, wide).await,
        _ => Err(Refusal::new(
            ProblemKind::RouteNotFound,
            "this function serves GET /tasks and GET /tasks/{id}",
        )),
    }
}

async fn one<S: TaskStore>(
    store: &S,
    event: &HttpEvent,
    wide: &mut WideEvent,
) -> Result<HttpResponse, Refusal> {
    let owner = event.owner()?;
    wide.owner(&owner);
    // Not a UUID: no task has this id.
    let id = event.path_parameters.get("id").and_then(|id| id.parse().ok()).ok_or_else(not_found)?;
    let record = list::get(store, &owner, id).await.map_err(|error| unavailable(&error))?;
    let record = record.ok_or_else(not_found)?;
    wide.count("read", 1);
    Ok(HttpResponse::json(200, &record.to_wire(), &event.request_context.request_id))
}

async fn page<I: OwnerIndex>(
    index: &I,
    shards: u16,
    event: &HttpEvent,
    wide: &mut WideEvent,
) -> Result<HttpResponse, Refusal> {
    let owner = event.owner()?;
    wide.owner(&owner);
    let query =
        PageQuery { owner: &owner, limit: limit(event)?, before: cursor(event)?, status: status(event)? };
    let page = list::list(index, shards, query).await.map_err(|error| unavailable(&error))?;
    wide.count("read", page.tasks.len() as u64);
    let body = TaskPage { tasks: page.tasks, next_cursor: page.next.map(SortKey::to_cursor) };
    Ok(HttpResponse::json(200, &body, &event.request_context.request_id))
}

fn limit(event: &HttpEvent) -> Result<u16, Refusal> {
    let Some(text) = event.query_string_parameters.get("limit") else {
        return Ok(PAGE_TASKS_DEFAULT);
    };
    text.parse().ok().filter(|limit| (1..=PAGE_TASKS_MAX).contains(limit)).ok_or_else(|| {
        Refusal::new(ProblemKind::InvalidLimit, format!("limit is a whole number from 1 to {PAGE_TASKS_MAX}"))
    })
}

fn cursor(event: &HttpEvent) -> Result<Option<SortKey>, Refusal> {
    let cursor = event.query_string_parameters.get("cursor").map(|cursor| SortKey::from_cursor(cursor));
    cursor.transpose().map_err(|error| Refusal::new(ProblemKind::InvalidCursor, error.to_string()))
}

fn status(event: &HttpEvent) -> Result<Option<Status>, Refusal> {
    let Some(text) = event.query_string_parameters.get("status") else {
        return Ok(None);
    };
    let status = Status::parse(text).ok_or_else(|| {
        let names = Status::ALL.map(Status::as_str).join(", ");
        Refusal::new(ProblemKind::InvalidStatus, format!("status is one of {names}"))
    })?;
    Ok(Some(status))
}

fn not_found() -> Refusal {
    Refusal::new(ProblemKind::TaskNotFound, "no task of yours has this id")
}

fn unavailable(error: &PortError) -> Refusal {
    Refusal::new(ProblemKind::StoreUnavailable, format!("reading failed ({}); try again", error.class))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
