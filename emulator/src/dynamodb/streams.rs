//! Streams. The engine keeps every record by the name of its table: a caller sees those of the stream that it names, of one day.

use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::{GetRecordsRequest, GetRecordsResponse, Record, StreamRecord};
use dynoxide::actions::get_shard_iterator::{
    GetShardIteratorRequest, GetShardIteratorResponse, decode_shard_iterator, encode_shard_iterator,
};
use dynoxide::streams::shard_id;
use dynoxide::types::item_size;
use dynoxide::{DynoxideError, TableMetadata};
use serde_json::{Value, json};

use super::Account;
use super::answer::seconds;

/// Between the ARN of the stream and what only the service reads, in an iterator of AWS's.
const ITERATOR_MARK: &str = "|1|";

/// "All data in DynamoDB Streams is subject to a 24-hour lifetime."
const LIFETIME_US: i64 = 86_400_000_000;

/// "GetRecords can retrieve a maximum of 1 MB of data or 1000 stream records, whichever comes first."
const PAGE_BYTES_MAX: usize = 1_048_576;
const PAGE_RECORDS_MAX: usize = 1_000;
/// What the engine reads at once: with two images of 400 KB each these are 200 MB.
const READ_RECORDS: usize = 250;
/// For one page, in which not all that was read need be shown.
const READS_MAX: usize = PAGE_RECORDS_MAX / READ_RECORDS;

/// A sequence number is the engine's own, which is never below the microseconds of its moment, and this.
const NUMBER_OFFSET: u128 = 100_000_000_000_000_000_000;

struct Stream {
    table: TableMetadata,
    label: String,
    begun_us: i64,
    /// The engine's number of the last record that is not shown: of an earlier stream, or too old.
    trimmed: i64,
}

impl Account {
    /// By the stream's own ARN: the engine finds the table in any text that has it behind a slash, and a policy that names the
    /// stream does not match that text.
    fn stream(&self, arn: &str) -> dynoxide::Result<Stream> {
        let table = self.names.table_with_policy(arn).ok_or_else(|| not_found(arn))?;
        let table = self.database.get_table_metadata(table)?.ok_or_else(|| not_found(arn))?;
        let label = table.stream_label.clone().ok_or_else(|| not_found(arn))?;
        if arn != format!("{}/stream/{label}", self.names.table_arn(&table.table_name)) {
            return Err(not_found(arn));
        }
        let begun_us = begun_us(&label).unwrap_or_default();
        let oldest_us = self.settings.clock.now_ms() * 1_000 - LIFETIME_US;
        Ok(Stream { table, label, begun_us, trimmed: oldest_us.max(begun_us - 1) })
    }

    pub(super) fn describe_stream(&self, request: &DescribeStreamRequest) -> dynoxide::Result<Value> {
        let stream = self.stream(&request.stream_arn)?;
        let table = &stream.table;
        if !table.stream_enabled {
            return Err(not_found(&request.stream_arn));
        }
        let shard = shard_id(&table.table_name);
        let is_after = request.exclusive_start_shard_id.as_ref().is_none_or(|start| shard > *start);
        // The only one, which never ends.
        let first = json!({
            "ShardId": shard, "SequenceNumberRange": {"StartingSequenceNumber": shown(stream.trimmed + 1)},
        });
        let key_schema: Value = serde_json::from_str(&table.key_schema).unwrap_or_default();
        Ok(json!({ "StreamDescription": {
            "StreamArn": request.stream_arn,
            "StreamLabel": stream.label,
            "StreamStatus": "ENABLED",
            "StreamViewType": table.stream_view_type,
            "CreationRequestDateTime": seconds(stream.begun_us / 1_000),
            "TableName": table.table_name,
            "KeySchema": key_schema,
            "Shards": if is_after { vec![first] } else { Vec::new() },
        }}))
    }

    /// The engine's iterators do not say of which stream they are, and GetRecords is judged by that.
    pub(super) fn get_shard_iterator(
        &self,
        request: GetShardIteratorRequest,
    ) -> dynoxide::Result<GetShardIteratorResponse> {
        let arn = request.stream_arn.clone();
        self.stream(&arn)?;
        let mut answer = self.database.get_shard_iterator(request)?;
        answer.shard_iterator = answer.shard_iterator.map(|iterator| marked(&arn, &iterator));
        Ok(answer)
    }

    /// Anybody can write an iterator of the engine's: one that does not begin with the ARN of its own stream would be read by who
    /// was judged for another, or for none.
    pub(super) fn get_records(&self, request: &GetRecordsRequest) -> dynoxide::Result<GetRecordsResponse> {
        let limit = limit(request.limit)?;
        let invalid = || DynoxideError::ValidationException("Invalid shard iterator".to_owned());
        let (arn, iterator) = request.shard_iterator.split_once(ITERATOR_MARK).ok_or_else(invalid)?;
        let (table, shard, position) = decode_shard_iterator(iterator).ok_or_else(invalid)?;
        let stream = self.stream(arn)?;
        if stream.table.table_name != table {
            return Err(invalid());
        }
        let position = position.max(stream.trimmed);
        let mut page = Page { records: Vec::new(), limit, bytes: 0, position };
        for _ in 0..READS_MAX {
            let shard_iterator = encode_shard_iterator(&table, &shard, page.position);
            let read = GetRecordsRequest { shard_iterator, limit: Some(READ_RECORDS) };
            let read = self.database.get_records(read)?.records;
            let is_last = read.len() < READ_RECORDS;
            if !page.take(read)? || is_last || page.records.len() == limit {
                break;
            }
        }
        for record in &mut page.records {
            record.aws_region = self.settings.region.to_string();
        }
        let next = encode_shard_iterator(&table, &shard, page.position);
        Ok(GetRecordsResponse { records: page.records, next_shard_iterator: Some(marked(arn, &next)) })
    }
}

/// What a caller gets at once, and up to where it was read.
struct Page {
    records: Vec<Record>,
    limit: usize,
    bytes: usize,
    position: i64,
}

impl Page {
    /// Returns whether there was room for all.
    fn take(&mut self, read: Vec<Record>) -> dynoxide::Result<bool> {
        for mut record in read {
            let number = &record.dynamodb.sequence_number;
            let position = stored(number).ok_or_else(|| {
                DynoxideError::InternalServerError(format!("{number} is no sequence number"))
            })?;
            if is_change(&record) {
                let bytes = size(&record.dynamodb);
                let is_too_large = self.bytes + bytes > PAGE_BYTES_MAX && !self.records.is_empty();
                if is_too_large || self.records.len() == self.limit {
                    return Ok(false);
                }
                self.bytes += bytes;
                record.dynamodb.size_bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                self.records.push(record);
            }
            self.position = position;
        }
        Ok(true)
    }
}

/// A write that leaves an item as it was is in no stream. Where not both images are kept nobody can tell.
fn is_change(record: &Record) -> bool {
    let images = &record.dynamodb;
    record.event_name != "MODIFY" || images.new_image.is_none() || images.new_image != images.old_image
}

/// Of the key and of the images, each as an item is measured.
fn size(record: &StreamRecord) -> usize {
    let images = record.new_image.iter().chain(&record.old_image);
    item_size(&record.keys) + images.map(item_size).sum::<usize>()
}

fn limit(asked: Option<usize>) -> dynoxide::Result<usize> {
    let limit = asked.unwrap_or(PAGE_RECORDS_MAX);
    let constraint = match limit {
        0 => "greater than or equal to 1".to_owned(),
        1..=PAGE_RECORDS_MAX => return Ok(limit),
        _ => format!("less than or equal to {PAGE_RECORDS_MAX}"),
    };
    Err(DynoxideError::ValidationException(format!(
        "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value \
         {constraint}"
    )))
}

fn not_found(arn: &str) -> DynoxideError {
    DynoxideError::ResourceNotFoundException(format!("Requested resource not found: Stream: {arn} not found"))
}

/// A label is the moment at which the stream began: seconds, a point, nanoseconds.
fn begun_us(label: &str) -> Option<i64> {
    let (seconds, nanoseconds) = label.split_once('.')?;
    Some(seconds.parse::<i64>().ok()? * 1_000_000 + nanoseconds.parse::<i64>().ok()? / 1_000)
}

fn shown(number: i64) -> String {
    (NUMBER_OFFSET + u128::try_from(number).unwrap_or_default()).to_string()
}

fn stored(number: &str) -> Option<i64> {
    i64::try_from(number.parse::<u128>().ok()?.checked_sub(NUMBER_OFFSET)?).ok()
}

fn marked(arn: &str, iterator: &str) -> String {
    format!("{arn}{ITERATOR_MARK}{iterator}")
}
