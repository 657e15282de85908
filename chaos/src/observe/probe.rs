//! Calls of the harness itself that a denial must deny. Each asks for what is not there: where it is allowed, it changes
//! nothing.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::cloud::Cloud;
use crate::experiment::{QUEUE_PROBE, TABLE_PROBE};
use crate::fault::{Lever, QueueDeny, TableDeny};

const NO_TASK: &str = "chaos-probe";
/// In the form of a receipt handle; none that was ever handed out.
const NO_RECEIPT: &str = "AQEBchaosprobe";

/// Whether a call is denied just now. `None` for a fault that denies nothing that could be called without harm, and where nobody
/// answered.
pub async fn is_denied(cloud: &Cloud, lever: &Lever) -> Option<bool> {
    match lever {
        Lever::TableDeny(deny) => table_denied(cloud, deny).await,
        Lever::QueueDeny(deny) => queue_denied(cloud, deny).await,
        _ => None,
    }
}

async fn table_denied(cloud: &Cloud, deny: &TableDeny) -> Option<bool> {
    if !denies(&deny.actions, TABLE_PROBE) {
        return None;
    }
    let key = HashMap::from([("task_id".to_owned(), AttributeValue::S(NO_TASK.to_owned()))]);
    let call = cloud.dynamodb.get_item().table_name(&deny.table).set_key(Some(key));
    is_access_denied(&call.send().await)
}

async fn queue_denied(cloud: &Cloud, deny: &QueueDeny) -> Option<bool> {
    if !denies(&deny.actions, QUEUE_PROBE) {
        return None;
    }
    let call = cloud.sqs.delete_message().queue_url(&deny.queue_url).receipt_handle(NO_RECEIPT);
    is_access_denied(&call.send().await)
}

fn denies(actions: &[String], action: &str) -> bool {
    actions.iter().any(|denied| denied == action)
}

/// `AccessDeniedException` of DynamoDB, `AccessDenied` or `AccessDeniedException` of SQS.
fn is_access_denied<T, E: ProvideErrorMetadata, R>(answer: &Result<T, SdkError<E, R>>) -> Option<bool> {
    let Err(error) = answer else { return Some(false) };
    let code = error.as_service_error()?.code();
    Some(code.is_some_and(|code| code.starts_with("AccessDenied")))
}
