//! The records of one partition: a queue, and the batch that is with the broker.

use std::collections::VecDeque;

use aioproducer_core::backend::{FailureKind, Message};
use aioproducer_core::{Instant, SlotId};

use crate::cluster::{Fate, State};
use crate::log::{LogRecord, Sequence};
use crate::sync::Arc;

/// The most records in a request, as of librdkafka's `batch.num.messages`.
const REQUEST_RECORDS: usize = 10_000;

pub(super) struct Queued<R> {
    pub(super) slot: SlotId,
    pub(super) record: R,
    /// The number of the record among those that a test holds.
    pub(super) held: Option<u64>,
    /// When the client gives up on it, if it does.
    pub(super) expires: Option<Instant>,
}

/// How a client numbers its batches, if it does.
#[derive(Clone, Copy)]
pub(super) struct Numbering {
    pub(super) producer: u64,
    /// The epoch of a transaction. Else each partition has its own.
    pub(super) epoch: Option<u32>,
}

/// A batch that was sent, and is sent again until it has an outcome.
pub(super) struct Batch<R> {
    pub(super) entries: Vec<(SlotId, R)>,
    pub(super) copy: Arc<[LogRecord]>,
    pub(super) sequence: Option<Sequence>,
    pub(super) attempts: u32,
    /// An attempt had no answer, so the records may be in the log.
    pub(super) may_be_appended: bool,
    /// When to send it.
    pub(super) due: Instant,
    /// Its leader could not be reached: it is sent when the cluster changes.
    pub(super) is_unreachable: bool,
    /// The attempt that is under way, if one is: when it is given up, and its number.
    pub(super) under_way: Option<(Instant, u64)>,
    /// The fate of the first attempt, if a test decided it.
    pub(super) decided: Option<Fate>,
    /// When the client gives up on its first record, if it does.
    pub(super) expires: Option<Instant>,
}

/// A record that leaves the queue.
pub(super) enum Head<R> {
    /// It and those behind it wait for the test's decision, or there is none.
    Waits,
    /// The test refuses this one.
    Refused(Queued<R>, FailureKind),
    /// These are sent.
    Batch,
}

pub(super) struct Lane<R> {
    pub(super) queue: VecDeque<Queued<R>>,
    pub(super) batch: Option<Batch<R>>,
    epoch: u32,
    next_sequence: u64,
    /// When the last request arrives: no later one overtakes it on the same connection.
    pub(super) arrives: Instant,
}

impl<R> Default for Lane<R> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), batch: None, epoch: 0, next_sequence: 0, arrives: Instant::ZERO }
    }
}

impl<R: Message> Lane<R> {
    /// Makes the next batch of the queue, if there is none and the test lets it.
    pub(super) fn cut(
        &mut self,
        now: Instant,
        partition: i32,
        (numbering, bytes): (Option<Numbering>, usize),
        state: &mut State,
    ) -> Head<R> {
        if self.batch.is_some() {
            return Head::Batch;
        }
        let Some(first) = self.queue.front() else { return Head::Waits };
        let decided = match first.held {
            None => None,
            Some(held) => match state.holds.take(held) {
                None => return Head::Waits,
                fate => fate,
            },
        };
        if let Some(Fate::Refuse(kind)) = decided {
            return self.queue.pop_front().map_or(Head::Waits, |first| Head::Refused(first, kind));
        }
        let timestamp = state.timestamp(now);
        let copied = |queued: &Queued<R>| LogRecord::copy(&queued.record, partition, timestamp);
        let most = if decided.is_some() { 1 } else { REQUEST_RECORDS };
        let (mut copy, mut size) = (Vec::new(), 0);
        // The first is sent in any case: the test has decided about it, or need not.
        for queued in self.queue.iter().take(most) {
            let next = copied(queued);
            size += next.size();
            if !copy.is_empty() && (queued.held.is_some() || size > bytes) {
                break;
            }
            copy.push(next);
        }
        let (len, expires) = (copy.len(), first.expires);
        let entries = self.queue.drain(..len).map(|queued| (queued.slot, queued.record)).collect();
        let sequence = numbering.map(|Numbering { producer, epoch }| {
            if let Some(epoch) = epoch.filter(|epoch| *epoch != self.epoch) {
                (self.epoch, self.next_sequence) = (epoch, 0);
            }
            let first = self.next_sequence;
            self.next_sequence += len as u64;
            Sequence { producer, epoch: self.epoch, first }
        });
        self.batch = Some(Batch {
            entries,
            copy: copy.into(),
            sequence,
            attempts: 0,
            may_be_appended: false,
            due: now,
            is_unreachable: false,
            under_way: None,
            decided,
            expires,
        });
        Head::Batch
    }

    /// Takes the batch, whose outcome is known.
    pub(super) fn finish(&mut self) -> Option<Batch<R>> {
        self.batch.take()
    }

    /// Takes a batch that failed. Its sequence numbers may be missing in the log, so the next ones are of a new epoch.
    pub(super) fn abandon(&mut self) -> Option<Batch<R>> {
        let batch = self.batch.take()?;
        if batch.sequence.is_some() {
            self.epoch += 1;
            self.next_sequence = 0;
        }
        Some(batch)
    }

    /// Ends the attempt with that number, if it is the one under way. Returns its batch, and when the attempt would have been given up.
    pub(super) fn end_attempt(&mut self, number: u64) -> Option<(&mut Batch<R>, Instant)> {
        let batch = self.batch.as_mut()?;
        let (expiry, _) = batch.under_way.take_if(|(_, own)| *own == number)?;
        Some((batch, expiry))
    }
}
