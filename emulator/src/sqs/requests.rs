//! The members of each request. Absent and null are the same; what is missing is refused by the operation, in its words.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::message::WireAttribute;

type Texts = BTreeMap<String, String>;
type WireAttributes = BTreeMap<String, WireAttribute>;

/// Deserialises from the JSON protocol directly, and from the query protocol after its names were mapped.
macro_rules! requests {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name { $($(#[$field_meta])* pub $field: Option<$type>,)* }
    )*};
}

requests! {
    AddPermission {
        queue_url: String,
        label: String,
        #[serde(rename = "AWSAccountIds")]
        account_ids: Vec<String>,
        actions: Vec<String>,
    }
    CancelMessageMoveTask { task_handle: String, }
    ChangeMessageVisibility { queue_url: String, receipt_handle: String, visibility_timeout: i64, }
    ChangeMessageVisibilityBatch { queue_url: String, entries: Vec<VisibilityEntry>, }
    VisibilityEntry { id: String, receipt_handle: String, visibility_timeout: i64, }
    CreateQueue {
        queue_name: String,
        attributes: Texts,
        #[serde(rename = "tags", alias = "Tags")]
        tags: Texts,
    }
    DeleteMessage { queue_url: String, receipt_handle: String, }
    DeleteMessageBatch { queue_url: String, entries: Vec<DeleteEntry>, }
    DeleteEntry { id: String, receipt_handle: String, }
    /// DeleteQueue, PurgeQueue, ListQueueTags: nothing but the queue.
    OnQueue { queue_url: String, }
    GetQueueAttributes { queue_url: String, attribute_names: Vec<String>, }
    GetQueueUrl {
        queue_name: String,
        #[serde(rename = "QueueOwnerAWSAccountId")]
        owner_account_id: String,
    }
    ListDeadLetterSourceQueues { queue_url: String, next_token: String, max_results: i64, }
    ListMessageMoveTasks { source_arn: String, max_results: i64, }
    ListQueues { queue_name_prefix: String, next_token: String, max_results: i64, }
    ReceiveMessage {
        queue_url: String,
        attribute_names: Vec<String>,
        message_system_attribute_names: Vec<String>,
        message_attribute_names: Vec<String>,
        max_number_of_messages: i64,
        visibility_timeout: i64,
        wait_time_seconds: i64,
        receive_request_attempt_id: String,
    }
    RemovePermission { queue_url: String, label: String, }
    SendMessage {
        queue_url: String,
        message_body: String,
        delay_seconds: i64,
        message_attributes: WireAttributes,
        message_system_attributes: WireAttributes,
        message_deduplication_id: String,
        message_group_id: String,
    }
    SendMessageBatch { queue_url: String, entries: Vec<SendEntry>, }
    SendEntry {
        id: String,
        message_body: String,
        delay_seconds: i64,
        message_attributes: WireAttributes,
        message_system_attributes: WireAttributes,
        message_deduplication_id: String,
        message_group_id: String,
    }
    SetQueueAttributes { queue_url: String, attributes: Texts, }
    StartMessageMoveTask {
        source_arn: String,
        destination_arn: String,
        max_number_of_messages_per_second: i64,
    }
    TagQueue { queue_url: String, tags: Texts, }
    UntagQueue { queue_url: String, tag_keys: Vec<String>, }
}
