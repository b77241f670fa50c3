//! Records end: their outcome goes where their ticket says.

use std::sync::Arc;

use aioproducer_core::backend::{Failure, FailureKind, Severity};
use aioproducer_core::{Completed, Phase, TopicId};

use super::effects::{Discard, Effects};
use super::shared::{Shared, State};
use crate::callbacks::Ended;
use crate::outcome::bulk::Member;
use crate::outcome::error::DeliveryError;
use crate::outcome::ticket::{Target, Ticket};
use crate::outcome::unsent::Unsent;
use crate::record::topics::{NO_PARTITION, Topic};
use crate::record::{OwnedRecord, Record};

/// Topics whose rejection by a broker the operator is informed of, at most.
const REFUSALS: usize = 64;

impl Shared {
    /// The record as it was accepted. Its place is used again: an allocator merges thousands of small freed blocks when it is
    /// asked for a large one, and that takes too long for a poll.
    pub(crate) fn hand_back(&self, mut stored: OwnedRecord) -> Record<'static> {
        let record = stored.take_record(Topic::known(&self.topics, stored.topic()));
        self.inbox().memory.recycle([stored]);
        record
    }
}

impl State {
    /// Ends a record that failed.
    pub(crate) fn fail(
        &mut self,
        shared: &Shared,
        ended: Completed<Ticket>,
        failure: Failure,
        record: Option<OwnedRecord>,
        effects: &mut Effects,
    ) {
        self.note_refusal(shared, ended.lane.topic(), failure, effects);
        let is_about_it = self.said.front().is_some_and(|(slot, _)| *slot == ended.slot);
        let said = if is_about_it { self.said.pop_front().map(|(_, said)| said) } else { None };
        self.complete_failed(shared, ended.ticket, failure, said, record, effects);
    }

    /// Writes a line for the operator about what a broker refuses for good, once for each topic: the application may not look at
    /// its outcomes.
    fn note_refusal(&mut self, shared: &Shared, topic: TopicId, failure: Failure, effects: &mut Effects) {
        let is_refusal = matches!(
            failure.kind,
            FailureKind::UnknownTopic | FailureKind::UnknownPartition | FailureKind::NotAuthorized
        );
        let refusal = (topic, failure.kind);
        if !is_refusal || self.refusals.contains(&refusal) || self.refusals.len() == REFUSALS {
            return;
        }
        self.refusals.push(refusal);
        let name = shared.topics.name(topic).unwrap_or_default();
        let line = format!("records for the topic `{name}` fail: {}", failure.reason);
        effects.lines.push((Severity::Error, line));
    }

    /// Completes a failed record: its outcome goes where its ticket says, and to a close that is under way.
    pub(crate) fn complete_failed(
        &mut self,
        shared: &Shared,
        ticket: Ticket,
        failure: Failure,
        said: Option<Arc<str>>,
        record: Option<OwnedRecord>,
        effects: &mut Effects,
    ) {
        let failure = if self.transactions.is_some() { self.note_failure(failure) } else { failure };
        let failure = match (&self.fatal, failure.kind) {
            (Some(fatal), FailureKind::Purged | FailureKind::Closed) => fatal.with_status(failure.status),
            // The backend purges because the producer ends.
            (None, FailureKind::Purged) if self.machine.phase() == Phase::Ending => {
                self.ended_by.failure(failure.status)
            }
            (None, FailureKind::Closed) => self.ended_by.failure(failure.status),
            _ => failure,
        };
        let key = record.as_ref().map(|record| {
            let lane = aioproducer_core::Record::lane(record);
            (lane.topic(), lane.partition().unwrap_or(NO_PARTITION))
        });
        let topic = key.map(|(topic, _)| topic);
        let (failure, mut explained) = shared.context.troubles.explain(topic, failure);
        explained.cause = said.or(explained.cause);
        shared.observer.failed(ticket.mark, ticket.has_callback(), key, failure, &mut effects.notes);
        let record = record.map(|record| shared.hand_back(record));
        let given_up = match self.machine.phase() {
            Phase::Open => false,
            Phase::Closing(_) => self.is_aborting(),
            Phase::Ending | Phase::Ended => true,
        };
        if given_up && let Some(unsent) = &mut self.unsent {
            match &record {
                Some(record) => unsent.push(Unsent { record: record.clone(), status: failure.status }),
                None => self.unreturned += 1,
            }
        }
        let error = DeliveryError::new(&shared.context, failure, explained, record);
        match ticket.target() {
            Target::Delivery(cell) => {
                let unneeded = shared.completions.complete_failed(cell, error, &mut effects.wakers);
                effects.discard.extend(unneeded.failure.map(Discard::Error));
                effects.discard.extend(unneeded.waker.map(Discard::Waker));
            }
            Target::Bulk { bulk, index } => self.settle_member(bulk, index, Member::Failed(error), effects),
            Target::Callback(callback) => {
                let key = key.unwrap_or((TopicId(0), NO_PARTITION));
                let trace = shared.observer.span_of(ticket.mark);
                effects.callbacks.push(Ended { callback, key, outcome: Err(error), trace });
            }
        }
    }

    pub(crate) fn settle_member(&mut self, bulk: u32, index: u32, member: Member, effects: &mut Effects) {
        let unwanted = self.bulk.settle(bulk, index, member, &mut effects.wakers);
        if !unwanted.is_empty() {
            effects.discard.push(Discard::Members(unwanted));
        }
    }
}
