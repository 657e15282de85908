//! A standard queue: at least once, in any order, and with a redrive policy.

use std::collections::BTreeMap;
use std::sync::Mutex;

use task_core::error::PortError;
use task_core::ports::{Clock as _, DeadLetter, Visibility};
use task_core::process::Delivery;
use task_core::testing::{Faults, ManualClock, Memory};
use task_core::{DurationMs, EpochMs};

use super::{MAX_RECEIVE_COUNT, World};

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) body: String,
    pub(crate) receives: u32,
    pub(crate) visible_at: EpochMs,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) messages: BTreeMap<usize, Message>,
    sent: usize,
    /// Of the memory's messages, how many have come over.
    taken_over: usize,
    /// Handed out, each as often as it was.
    pub(crate) deliveries: u64,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn send(&mut self, body: String, now: EpochMs) {
        self.sent += 1;
        self.messages.insert(self.sent, Message { body, receives: 0, visible_at: now });
    }

    /// What submissions have sent since.
    pub(crate) fn take_over(&mut self, memory: &Memory, now: EpochMs) {
        let sent = memory.sent.lock().unwrap();
        for message in &sent[self.taken_over..] {
            self.send(message.body.clone(), now);
        }
        self.taken_over = sent.len();
    }

    pub(crate) fn delete(&mut self, key: usize) {
        self.messages.remove(&key);
    }

    /// SQS may deliver again what is being worked on.
    pub(crate) fn show_all(&mut self, now: EpochMs) {
        self.messages.values_mut().for_each(|message| message.visible_at = now);
    }

    /// Picks messages as SQS may: visible ones, and, while there are faults, now and then one that is not.
    pub(crate) fn receive(&mut self, world: &World, faults: &Faults) -> Vec<(usize, Delivery)> {
        let now = world.now();
        let mut deliveries = Vec::new();
        for key in self.messages.keys().copied().collect::<Vec<_>>() {
            let is_duplicate = faults.are_planned() && world.roll(10) == 0;
            let message = self.messages.get_mut(&key).unwrap();
            if message.visible_at > now && !is_duplicate {
                continue;
            }
            if message.receives >= MAX_RECEIVE_COUNT {
                let message = self.messages.remove(&key).unwrap();
                let letter = DeadLetter { message_id: key.to_string(), body: message.body };
                world.memory.dead_letters.lock().unwrap().push(letter);
                continue;
            }
            message.receives += 1;
            message.visible_at = now.plus(world.visibility());
            let delivery = Delivery {
                message_id: key.to_string(),
                receipt: key.to_string(),
                body: message.body.clone(),
                receive_count: message.receives,
                trace: None,
            };
            if is_duplicate {
                deliveries.push((key, delivery.clone()));
            }
            deliveries.push((key, delivery));
        }
        self.deliveries += deliveries.len() as u64;
        deliveries
    }
}

/// The worker's hold on the queue.
pub(crate) struct QueuePort<'a> {
    pub(crate) queue: &'a Mutex<Queue>,
    pub(crate) clock: &'a ManualClock,
}

impl Visibility for QueuePort<'_> {
    async fn change(&self, receipt: &str, delay: DurationMs) -> Result<(), PortError> {
        if let Some(message) = self.queue.lock().unwrap().messages.get_mut(&receipt.parse::<usize>().unwrap())
        {
            message.visible_at = self.clock.now().plus(delay);
        }
        Ok(())
    }
}
