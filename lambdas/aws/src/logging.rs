//! Log lines: JSON, one object per line, whatever the function's configuration says.

use std::pin::Pin;

use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Level};
use tracing_subscriber::fmt::MakeWriter;

use crate::env::Env;

/// AWS sets it where the function's logging configuration names a level.
const ENV_LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Runs the work on one request of a client. Every line of it carries the id that the client was answered with: the span of
/// the invocation, which the runtime makes, only has Lambda's own.
///
/// Boxed: below the runtime's own layers, SDK calls nest deeper than the compiler lays out unboxed futures.
pub fn for_request<F: Future>(request_id: &str, work: F) -> Pin<Box<Instrumented<F>>> {
    Box::pin(work.instrument(tracing::info_span!("request", request_id)))
}

/// The span of the invocation, which the runtime makes, adds the ids of request and trace to every line.
pub fn subscriber<W>(env: &impl Env, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = env.get(ENV_LOG_LEVEL).and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_target(false)
        .with_writer(writer)
        .finish()
}
