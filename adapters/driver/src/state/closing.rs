//! The end of a producer: closed, dropped, without its runtime, or after a fatal error.

use std::cell::RefCell;

use aioproducer_core::backend::{Failure, Severity};
use aioproducer_core::{Phase, TopicId};

use super::effects::Effects;
use super::shared::{Shared, State};
use crate::outcome::ended_by::EndedBy;

impl Shared {
    /// Ends the producer without waiting. The driver task fails what is left, and a line informs the operator of a loss.
    pub(crate) fn abort(&self, by: EndedBy) {
        self.with(|state, effects| {
            if state.is_alive() {
                state.ended_by = by;
                effects.lines.extend(state.loss(self).map(|loss| (Severity::Error, by.lost(&loss))));
            }
            state.begin_ending(self, effects);
            state.give_up(self, effects)
        });
    }

    /// The same for a runtime that is gone, and its driver task with it.
    pub(crate) fn abort_here(&self) {
        self.abort(EndedBy::Runtime);
        self.give_up_all();
    }

    /// Fails what a producer that ends did not hand off, some records per hold of the lock.
    pub(crate) fn give_up_all(&self) {
        while !self.with(|state, effects| state.give_up(self, effects)) {}
    }
}

/// Topics that a line about a loss names.
const NAMED: usize = 3;

impl State {
    /// Whether the producer has not begun to end.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.machine.phase(), Phase::Open | Phase::Closing(_))
    }

    /// The machine is about to reject new records: it gets those that were accepted before, and transactions close.
    pub(crate) fn prepare_close(&mut self, shared: &Shared, effects: &mut Effects) {
        self.shut_inbox(shared, effects);
        effects.closed = true;
        if let Some(transactions) = &mut self.transactions {
            transactions.machine.close();
            transactions.ended_by = self.ended_by;
        }
    }

    /// Has the backend give up what it holds. The driver task fails the rest, some records at a time.
    pub(crate) fn begin_ending(&mut self, shared: &Shared, effects: &mut Effects) {
        if self.is_alive() {
            self.prepare_close(shared, effects);
            self.machine.end();
        }
    }

    /// The producer met an error that it cannot recover from. [`Shared::give_up_all`] is to follow.
    pub(crate) fn handle_fatal(&mut self, shared: &Shared, failure: Failure, effects: &mut Effects) {
        if self.machine.phase() == Phase::Ended {
            return;
        }
        self.fatal.get_or_insert(failure);
        if let Some(transactions) = &mut self.transactions {
            transactions.machine.handle_fatal();
        }
        self.begin_ending(shared, effects);
    }

    /// The number of records without an outcome, in words, with their topics; `None` if there are none.
    pub(crate) fn loss(&self, shared: &Shared) -> Option<String> {
        let count = self.machine.len();
        if count == 0 {
            return None;
        }
        let topics = RefCell::new(Vec::with_capacity(NAMED));
        let others = self.machine.len_in(|lane| {
            let mut topics = topics.borrow_mut();
            let is_known = topics.contains(&lane.topic());
            let is_named = is_known || topics.len() < NAMED;
            if is_named && !is_known {
                topics.push(lane.topic());
            }
            !is_named
        });
        let of = |topic: &TopicId| (*topic, self.machine.len_in(|lane| lane.topic() == *topic));
        let topics = topics.into_inner();
        let named = topics.iter().map(of).filter(|(_, count)| *count > 0);
        let named = named
            .map(|(topic, count)| format!("{count} of the topic `{}`", shared.topics.name(topic).unwrap_or_default()));
        let named: Vec<_> = named.chain((others > 0).then(|| format!("{others} of others"))).collect();
        let records = if count == 1 { "record" } else { "records" };
        Some(format!("{count} {records} ({})", named.join(", ")))
    }
}
