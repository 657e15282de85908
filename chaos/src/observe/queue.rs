//! The two queues: how deep they are, and what lies in the dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName, QueueAttributeName,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::cloud::{CallError, Cloud};
use crate::oracle::DeadLetter;
use crate::wait::{Patience, until_seen};

/// SQS hands out at most ten messages at once, and takes at most ten in a batch.
const BATCH: usize = 10;
/// A look hides what it has seen for this long, so that it sees everything once.
const PEEK_VISIBILITY_SECONDS: i32 = 30;
/// Long polling asks all of SQS's servers: a short poll may miss messages that are there. The emulator has but one.
const PEEK_WAIT_SECONDS_AWS: i32 = 1;
const PEEK_WAIT_SECONDS_EMULATED: i32 = 0;
/// The auditor hides what it looks at for a few seconds; on AWS the counts lag behind by up to a minute.
const REST_AT_MOST: Duration = Duration::from_secs(90);
const PEEK_EMPTY_RECEIVES: u32 = 2;
/// "It may take up to one minute": so old the counts of a queue may be on AWS.
pub(crate) const COUNTS_LAG_AWS: Duration = Duration::from_secs(60);
/// So many looks what was seen has to agree with the counts.
const PEEKS_MIN: u32 = 3;
/// On AWS the counts of now may be those of before the first look: they must be given the time to tell of it.
const PERSISTENCE_AWS: Persistence = Persistence { pause: Duration::from_secs(5), at_least: COUNTS_LAG_AWS };
const PERSISTENCE_EMULATED: Persistence = Persistence { pause: Duration::ZERO, at_least: Duration::ZERO };
const PEEK_AT_MOST: Duration = Duration::from_secs(25);
/// The counts of a queue are eventually consistent on AWS: an empty one must stay empty for so many looks.
const EMPTY_LOOKS_EMULATED: u32 = 3;
const EMPTY_LOOKS_AWS: u32 = 30;
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Depth {
    pub visible: u64,
    pub in_flight: u64,
    pub delayed: u64,
}

impl Depth {
    pub const fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

pub async fn depth(cloud: &Cloud, queue_url: &str) -> Result<Depth, CallError> {
    let found = cloud
        .sqs
        .get_queue_attributes()
        .queue_url(queue_url)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed)
        .send()
        .await
        .map_err(CallError::of("sqs:GetQueueAttributes"))?;
    let number = |name: QueueAttributeName| {
        let value = found.attributes().and_then(|attributes| attributes.get(&name));
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    };
    Ok(Depth {
        visible: number(QueueAttributeName::ApproximateNumberOfMessages),
        in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
        delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
    })
}

/// Waits until the queue is empty and stays so. The answer is what is left.
pub async fn drained(cloud: &Cloud, queue_url: &str, at_most: Duration) -> Result<u64, CallError> {
    let looks_needed = if cloud.emulated { EMPTY_LOOKS_EMULATED } else { EMPTY_LOOKS_AWS };
    let (mut looks, mut left) = (0, 0);
    let patience = Patience { every: LOOK_EVERY, at_most };
    until_seen(patience, async || {
        left = depth(cloud, queue_url).await?.total();
        looks = if left == 0 { looks + 1 } else { 0 };
        Ok::<_, CallError>((looks >= looks_needed).then_some(()))
    })
    .await?;
    Ok(left)
}

/// Waits until nobody holds a message of the queue: what is in flight is neither seen by a look nor moved by a move task.
pub async fn at_rest(cloud: &Cloud, queue_url: &str) -> Result<(), CallError> {
    let patience = Patience { every: LOOK_EVERY, at_most: REST_AT_MOST };
    let rested = until_seen(patience, async || {
        Ok::<_, CallError>((depth(cloud, queue_url).await?.in_flight == 0).then_some(()))
    });
    rested
        .await?
        .ok_or_else(|| CallError::new("sqs:GetQueueAttributes", "somebody keeps the dead letters in flight"))
}

/// The counts that each message showed, by its id. A copy that is handed out once more counts no receive of its own.
pub type ShownCounts = BTreeMap<String, BTreeSet<u64>>;

/// How often to look at a queue whose counts say that there is more than was seen.
#[derive(Clone, Copy, Debug)]
struct Persistence {
    pause: Duration,
    /// From the first look to the last.
    at_least: Duration,
}

/// Everything that lies in a queue. Nothing is deleted, and all of it is visible again afterwards; only the receive
/// counts have grown. `counts` are those of the looks before: each of them was a receive, too.
pub async fn peek(
    cloud: &Cloud,
    queue_url: &str,
    counts: &mut ShownCounts,
) -> Result<Vec<DeadLetter>, CallError> {
    let persistence = if cloud.emulated { PERSISTENCE_EMULATED } else { PERSISTENCE_AWS };
    peek_persistently(cloud, queue_url, counts, persistence).await
}

async fn peek_persistently(
    cloud: &Cloud,
    queue_url: &str,
    counts: &mut ShownCounts,
    persistence: Persistence,
) -> Result<Vec<DeadLetter>, CallError> {
    let first_look = Instant::now();
    for look in 1.. {
        let since_first_look = first_look.elapsed();
        let mut seen = BTreeMap::new();
        at_rest(cloud, queue_url).await?;
        let outcome = receive_all(cloud, queue_url, &mut seen, counts).await;
        let counted = depth(cloud, queue_url).await;
        let given_back = give_back(cloud, queue_url, &seen).await;
        outcome.and(given_back)?;
        // More there than seen: the auditor, which also runs by the clock, began to look at the same moment.
        if counted?.total() <= u64::try_from(seen.len()).unwrap_or(u64::MAX) {
            return Ok(seen.into_iter().map(|(id, message)| dead_letter(id, &message, counts)).collect());
        }
        if look >= PEEKS_MIN && since_first_look >= persistence.at_least {
            break;
        }
        sleep(persistence.pause).await;
    }
    // Judged by a part of it, the rest would be taken for lost.
    Err(CallError::new("sqs:ReceiveMessage", "the dead-letter queue was not seen whole"))
}

async fn receive_all(
    cloud: &Cloud,
    queue_url: &str,
    seen: &mut BTreeMap<String, Message>,
    counts: &mut ShownCounts,
) -> Result<(), CallError> {
    let deadline = Instant::now() + PEEK_AT_MOST;
    let wait_seconds = if cloud.emulated { PEEK_WAIT_SECONDS_EMULATED } else { PEEK_WAIT_SECONDS_AWS };
    let mut empty = 0;
    while empty < PEEK_EMPTY_RECEIVES && Instant::now() < deadline {
        let received = cloud
            .sqs
            .receive_message()
            .queue_url(queue_url)
            .max_number_of_messages(10)
            .visibility_timeout(PEEK_VISIBILITY_SECONDS)
            .wait_time_seconds(wait_seconds)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(CallError::of("sqs:ReceiveMessage"))?;
        let messages = received.messages.unwrap_or_default();
        empty = if messages.is_empty() { empty + 1 } else { 0 };
        for message in messages {
            let Some(id) = message.message_id.clone() else { continue };
            counts.entry(id.clone()).or_default().insert(receive_count(&message));
            seen.insert(id, message);
        }
    }
    if empty < PEEK_EMPTY_RECEIVES {
        return Err(CallError::new(
            "sqs:ReceiveMessage",
            "the dead-letter queue did not end while it was read",
        ));
    }
    Ok(())
}

async fn give_back(
    cloud: &Cloud,
    queue_url: &str,
    seen: &BTreeMap<String, Message>,
) -> Result<(), CallError> {
    let handles: Vec<&str> = seen.values().filter_map(Message::receipt_handle).collect();
    for batch in handles.chunks(BATCH) {
        let entries: Result<Vec<_>, _> = batch
            .iter()
            .enumerate()
            .map(|(index, handle)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(*handle)
                    .visibility_timeout(0)
                    .build()
            })
            .collect();
        let entries = entries.map_err(CallError::of("sqs:ChangeMessageVisibilityBatch"))?;
        let call = cloud.sqs.change_message_visibility_batch().queue_url(queue_url);
        call.set_entries(Some(entries))
            .send()
            .await
            .map_err(CallError::of("sqs:ChangeMessageVisibilityBatch"))?;
    }
    Ok(())
}

fn receive_count(message: &Message) -> u64 {
    let count = message
        .attributes()
        .and_then(|attributes| attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn dead_letter(message_id: String, message: &Message, counts: &ShownCounts) -> DeadLetter {
    DeadLetter {
        receive_count: receive_count(message),
        own_receives: counts.get(&message_id).map_or(0, |counts| counts.len() as u64),
        body: message.body().unwrap_or_default().to_owned(),
        message_id,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use aws_sdk_sqs::operation::change_message_visibility_batch::ChangeMessageVisibilityBatchOutput;
    use aws_sdk_sqs::operation::get_queue_attributes::{GetQueueAttributesError, GetQueueAttributesOutput};
    use aws_sdk_sqs::operation::receive_message::ReceiveMessageOutput;
    use aws_sdk_sqs::types::error::QueueDoesNotExist;
    use aws_smithy_mocks::{Rule, mock};

    use super::*;
    use crate::mocked;

    /// A queue of two messages, and what each receive shows of them: ids and receive counts.
    async fn cloud(receives: &[&[(&'static str, u64)]]) -> Cloud {
        let receives: VecDeque<Vec<Message>> = receives.iter().map(|shown| messages(shown)).collect();
        let receives = Mutex::new(receives);
        let rules = [
            mock!(aws_sdk_sqs::Client::get_queue_attributes).then_compute_output(|_| {
                let two = (QueueAttributeName::ApproximateNumberOfMessages, "2".to_owned());
                GetQueueAttributesOutput::builder().set_attributes(Some([two].into())).build()
            }),
            mock!(aws_sdk_sqs::Client::receive_message).then_compute_output(move |_| {
                let shown = receives.lock().unwrap().pop_front();
                ReceiveMessageOutput::builder().set_messages(shown).build()
            }),
            given_back(),
        ];
        Cloud { sqs: mocked::sqs(&rules), ..mocked::cloud().await }
    }

    fn given_back() -> Rule {
        mock!(aws_sdk_sqs::Client::change_message_visibility_batch).then_compute_output(|_| {
            let (done, failed) = (Some(Vec::new()), Some(Vec::new()));
            let output = ChangeMessageVisibilityBatchOutput::builder().set_successful(done);
            output.set_failed(failed).build().unwrap()
        })
    }

    fn messages(shown: &[(&'static str, u64)]) -> Vec<Message> {
        let message = |(id, count): &(&'static str, u64)| {
            let name = MessageSystemAttributeName::ApproximateReceiveCount;
            Message::builder().message_id(*id).receipt_handle(*id).attributes(name, count.to_string()).build()
        };
        shown.iter().map(message).collect()
    }

    #[tokio::test]
    async fn an_empty_queue_is_seen_though_one_look_at_it_failed() {
        let looks = AtomicUsize::new(0);
        let rules = [
            mock!(aws_sdk_sqs::Client::get_queue_attributes)
                .match_requests(move |_| looks.fetch_add(1, Ordering::SeqCst) == 1)
                .then_error(|| {
                    let error = QueueDoesNotExist::builder().build();
                    GetQueueAttributesError::QueueDoesNotExist(error)
                }),
            mock!(aws_sdk_sqs::Client::get_queue_attributes)
                .then_output(|| GetQueueAttributesOutput::builder().build()),
        ];
        let cloud = Cloud { sqs: mocked::sqs(&rules), ..mocked::cloud().await };
        let left = drained(&cloud, "http://127.0.0.1:9/1/tasks", Duration::from_secs(60)).await;
        assert_eq!((left.unwrap(), rules[0].num_calls(), rules[1].num_calls()), (0, 1, 3));
    }

    #[tokio::test]
    async fn a_look_that_had_to_be_repeated_knows_its_own_receives() {
        // The first time somebody else had the second message; the second time a copy of the first comes twice.
        let cloud = cloud(&[&[("a", 6)], &[], &[], &[("a", 7)], &[("b", 6), ("a", 7)], &[], &[]]).await;
        let seen = seen_by(&cloud, &mut ShownCounts::new()).await;
        assert_eq!(seen, [(7, 5), (6, 5)]);
    }

    #[tokio::test]
    async fn a_later_look_knows_the_receives_of_those_before_it() {
        let cloud = cloud(&[&[("a", 4), ("b", 6)], &[], &[], &[("a", 5), ("b", 8)], &[], &[]]).await;
        let mut counts = ShownCounts::new();
        assert_eq!(seen_by(&cloud, &mut counts).await, [(4, 3), (6, 5)]);
        assert_eq!(seen_by(&cloud, &mut counts).await, [(5, 3), (8, 6)], "somebody else met the second once");
    }

    /// What one look sees of each message: the count of SQS, and that without the looks.
    async fn seen_by(cloud: &Cloud, counts: &mut ShownCounts) -> Vec<(u64, u64)> {
        let letters = peek(cloud, "http://127.0.0.1:9/1/dead", counts).await.unwrap();
        letters.iter().map(|letter| (letter.receive_count, letter.receives())).collect()
    }

    /// Whether a queue of one message is seen whole, whose counts say at the first so many looks that there are two; and after
    /// how many.
    async fn looks_at_counts(looks_old: usize, persistence: Persistence) -> (bool, usize) {
        /// The message, and twice none.
        const RECEIVES: usize = 3;
        let receives = Arc::new(AtomicUsize::new(0));
        let (counted, received) = (Arc::clone(&receives), Arc::clone(&receives));
        let rules = [
            mock!(aws_sdk_sqs::Client::get_queue_attributes).then_compute_output(move |_| {
                let is_old = counted.load(Ordering::SeqCst) <= looks_old * RECEIVES;
                let count = if is_old { "2" } else { "1" };
                let count = (QueueAttributeName::ApproximateNumberOfMessages, count.to_owned());
                GetQueueAttributesOutput::builder().set_attributes(Some([count].into())).build()
            }),
            mock!(aws_sdk_sqs::Client::receive_message).then_compute_output(move |_| {
                let is_first = received.fetch_add(1, Ordering::SeqCst).is_multiple_of(RECEIVES);
                let shown = is_first.then(|| messages(&[("a", 6)]));
                ReceiveMessageOutput::builder().set_messages(shown).build()
            }),
            given_back(),
        ];
        let cloud = Cloud { sqs: mocked::sqs(&rules), ..mocked::cloud().await };
        let queue_url = "http://127.0.0.1:9/1/dead";
        let seen = peek_persistently(&cloud, queue_url, &mut ShownCounts::new(), persistence).await;
        (seen.is_ok(), receives.load(Ordering::SeqCst) / RECEIVES)
    }

    #[tokio::test]
    async fn counts_of_aws_have_the_time_to_tell_of_now_and_those_of_the_emulator_need_none() {
        let lagging = Persistence { pause: Duration::from_millis(1), ..PERSISTENCE_AWS };
        assert_eq!(looks_at_counts(2, PERSISTENCE_EMULATED).await, (true, 3));
        assert_eq!(looks_at_counts(5, PERSISTENCE_EMULATED).await, (false, 3));
        assert_eq!(looks_at_counts(5, lagging).await, (true, 6));
        let short = Persistence { at_least: Duration::from_millis(5), ..lagging };
        assert!(!looks_at_counts(1_000_000, short).await.0, "there is an end");
    }
}
