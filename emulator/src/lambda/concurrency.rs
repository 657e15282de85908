//! Reserved concurrency and the account's limits.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Lambda;
use super::control::on_function;
use super::error::LambdaError;
use super::names::FunctionRef;
use super::router::{Answer, Call, empty, json};
use super::store::Function;
use crate::repeatable;
use crate::wire::AwsResponse;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutInput {
    reserved_concurrent_executions: i64,
}

/// All versions of a function share what is reserved for it.
fn whole_function(call: &Call<'_>, name: &str) -> Result<FunctionRef, LambdaError> {
    let function = call.function(name)?;
    // An older emulator did not look at the version.
    if function.qualifier.is_none() || repeatable::is_repeated() {
        return Ok(function);
    }
    Err(LambdaError::invalid_parameter(
        "This operation is permitted on Lambda functions only. \
         Aliases and versions do not support this operation. \
         Please specify either a function name or an unqualified function ARN.",
    ))
}

pub(crate) fn put(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = whole_function(call, name)?;
    let input: PutInput = call.body()?;
    let wanted = u32::try_from(input.reserved_concurrent_executions).map_err(|_| {
        let value = input.reserved_concurrent_executions.to_string();
        LambdaError::validation(
            &value,
            "reservedConcurrentExecutions",
            "Member must have value greater than or equal to 0",
        )
    })?;
    let options = &lambda.inner.host.options;
    let mut store = lambda.store();
    let total = store.reserved_total();
    let found = store.get(&function.name, lambda.now_ms()).ok_or_else(|| lambda.missing(&function))?;
    let others = total - found.reserved.unwrap_or(0);
    if others.saturating_add(wanted).saturating_add(options.unreserved_minimum) > options.account_concurrency
    {
        return Err(LambdaError::invalid_parameter(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's \
             UnreservedConcurrentExecution below its minimum value of [{}].",
            options.unreserved_minimum
        )));
    }
    found.reserved = Some(wanted);
    Ok(json(StatusCode::OK, &json!({"ReservedConcurrentExecutions": wanted})))
}

pub(crate) fn get(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |found, _| {
        let body = found.reserved.map_or_else(|| json!({}), |n| json!({"ReservedConcurrentExecutions": n}));
        Ok(json(StatusCode::OK, &body))
    })
}

pub(crate) fn delete(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = whole_function(call, name)?;
    on_function(lambda, &function, |found, _| {
        found.reserved = None;
        Ok(empty(StatusCode::NO_CONTENT))
    })
}

pub(crate) fn account(lambda: &Lambda) -> AwsResponse {
    let options = &lambda.inner.host.options;
    let store = lambda.store();
    let code_bytes: usize = store.functions.values().map(Function::code_bytes).sum();
    let body = json!({
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800_u64,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": options.account_concurrency,
            "UnreservedConcurrentExecutions": options.account_concurrency.saturating_sub(store.reserved_total()),
        },
        "AccountUsage": {"TotalCodeSize": code_bytes, "FunctionCount": store.functions.len()},
    });
    json(StatusCode::OK, &body)
}
