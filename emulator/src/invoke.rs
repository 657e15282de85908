//! The seam between Lambda and what invokes it (API Gateway, event source mappings, schedules).

use bytes::Bytes;

use crate::wire::BoxFuture;

/// One synchronous invocation.
#[derive(Clone, Debug)]
pub struct InvokeRequest {
    /// A name, partial ARN or full ARN, with an optional qualifier.
    pub function: String,
    pub payload: Bytes,
    /// `X-Amzn-Trace-Id` of the caller; made up by Lambda when absent.
    pub trace_id: Option<String>,
    /// The request id of the invocation, where the caller has to know it; made up by Lambda when absent.
    pub request_id: Option<String>,
    /// The service that invokes by the function's own policy; None where the caller was judged already.
    pub source: Option<Source>,
}

/// An AWS service that invokes, and for which of its resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `apigateway.amazonaws.com`.
    pub service: &'static str,
    /// The value of `aws:SourceArn`.
    pub arn: String,
}

/// How it ended, seen by the invoker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvokeOutcome {
    /// The handler answered.
    Success(Bytes),
    /// The handler failed, timed out or died: HTTP 200 with `X-Amz-Function-Error` on the wire.
    FunctionError { payload: Bytes, timed_out: bool },
    /// 429: not run at all. The reason is Lambda's own, e.g. `ReservedFunctionConcurrentInvocationLimitExceeded`.
    Throttled { reason: &'static str },
    /// 404.
    NotFound,
    /// 409: the function is pending or failed. 403 and 5xx land here too, with what Lambda would say.
    Refused { status: u16, code: &'static str, message: String },
}

/// Something that can run functions: Lambda itself, or a stand-in of a test.
pub trait Invoke: Send + Sync + 'static {
    fn invoke(&self, request: InvokeRequest) -> BoxFuture<'_, InvokeOutcome>;

    /// The function's timeout in seconds, or None when there is no such function.
    fn timeout_seconds(&self, function: &str) -> Option<u32>;

    /// The execution role of the function, or None when there is no such function or it has no role to be judged by.
    fn role_arn(&self, _function: &str) -> Option<String> {
        None
    }
}
