//! A scripted backend's link to its producer, for any type of records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aioproducer_core::backend::{
    Answer, CallError, CallId, Delivered, Driver, Failure, Message, Outcome, Report, Unsent,
};
use aioproducer_core::{MessageBatch, SlotId};

use super::{NotQueued, Seen, lock};

/// The calls of the backend to the producer, without the type of its records.
pub(super) trait Link: Send + Sync {
    fn take(&self) -> Option<(MessageBatch, Vec<Seen>)>;
    fn settle(&self, batch: MessageBatch, unsent: Vec<(SlotId, NotQueued)>);
    fn report(&self, reports: Vec<(SlotId, Result<Delivered, Failure>)>);
    fn report_at_once(&self, slot: SlotId, at: Delivered) -> bool;
    fn held(&self) -> Vec<SlotId>;
    fn flushing(&self) -> bool;
    fn fatal(&self, failure: Failure);
    fn answered(&self, id: CallId, outcome: Result<Answer, CallError>);
    fn ended(&self);
}

pub(super) struct Lent<E, R> {
    pub(super) driver: Arc<E>,
    pub(super) held: Mutex<BTreeMap<SlotId, R>>,
}

impl<E: Driver<R>, R: Message> Link for Lent<E, R> {
    fn take(&self) -> Option<(MessageBatch, Vec<Seen>)> {
        let mut records = Vec::new();
        let batch = self.driver.take(&mut records)?;
        let topic = self.driver.topic_name(batch.lane().topic()).expect("a topic that a lane mentions").to_owned();
        let seen = records.iter().map(|(slot, record)| see(*slot, &topic, record)).collect();
        lock(&self.held).extend(records);
        Some((batch, seen))
    }

    fn settle(&self, batch: MessageBatch, unsent: Vec<(SlotId, NotQueued)>) {
        let unsent: Vec<_> = {
            let mut held = lock(&self.held);
            let mut take = |slot| held.remove(&slot).expect("a record that is held");
            let unsent = unsent.into_iter().map(|(slot, reason)| match reason {
                NotQueued::Refused => Unsent::Refused(slot, take(slot)),
                NotQueued::Rejected(failure) => Unsent::Rejected(slot, failure, take(slot)),
            });
            unsent.collect()
        };
        self.driver.settle(batch, unsent.into_iter());
    }

    fn report(&self, reports: Vec<(SlotId, Result<Delivered, Failure>)>) {
        let reports: Vec<_> = {
            let mut held = lock(&self.held);
            let reports = reports.into_iter().map(|(slot, outcome)| {
                let record = held.remove(&slot);
                let outcome = match outcome {
                    Ok(delivered) => Outcome::Delivered(delivered),
                    Err(failure) => Outcome::Failed(failure, record.expect("a record that is held")),
                };
                Report { slot, outcome }
            });
            reports.collect()
        };
        self.driver.report(reports.into_iter());
    }

    fn report_at_once(&self, slot: SlotId, at: Delivered) -> bool {
        self.driver.report_at_once(slot, at)
    }

    fn held(&self) -> Vec<SlotId> {
        lock(&self.held).keys().copied().collect()
    }

    fn flushing(&self) -> bool {
        self.driver.is_flushing()
    }

    fn fatal(&self, failure: Failure) {
        self.driver.fatal(failure);
    }

    fn answered(&self, id: CallId, outcome: Result<Answer, CallError>) {
        self.driver.complete_call(id, outcome);
    }

    fn ended(&self) {
        self.driver.ended();
    }
}

fn see(slot: SlotId, topic: &str, record: &impl Message) -> Seen {
    let headers = (0..record.header_count()).filter_map(|index| record.header(index));
    Seen {
        slot,
        topic: topic.to_owned(),
        partition: record.lane().partition(),
        key: record.key().map(<[u8]>::to_vec),
        payload: record.payload().map(<[u8]>::to_vec),
        timestamp: record.timestamp(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect(),
        address: record.payload().map_or(0, |payload| payload.as_ptr().addr()),
    }
}
