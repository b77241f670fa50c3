//! Calls to the backend that wait for a broker, and what their answers mean for transactions.

use aioproducer_core::CallOutcome;
use aioproducer_core::backend::{Answer, CallError, CallId, Failure, FailureKind};

use super::calls::{Line, Requests};
use super::effects::Effects;
use super::shared::{Shared, State};
use super::transactions::verdict;
use crate::observe::SUBSCRIBER;
use crate::outcome::failures::{ABORT_STUCK, ABORTED};

impl State {
    /// Whether records may be accepted, as far as transactions are concerned.
    pub(crate) fn admits(&self) -> bool {
        self.transactions.as_ref().is_none_or(|transactions| transactions.machine.admits())
    }

    /// Whether what was not handed off is to be taken back.
    pub(crate) fn is_aborting(&self) -> bool {
        self.transactions.as_ref().is_some_and(|transactions| transactions.machine.is_aborting())
    }

    /// Whether a worker may take a batch.
    pub(crate) fn has_batch(&self) -> bool {
        self.machine.has_batch() && !self.is_aborting()
    }

    /// Whether a close need not wait for a transaction.
    pub(crate) fn is_settled(&self) -> bool {
        self.transactions.as_ref().is_none_or(|transactions| transactions.machine.is_settled())
    }

    /// Counts a record's failure for its transaction; returns the failure to report.
    pub(crate) fn note_failure(&mut self, failure: Failure) -> Failure {
        let Some(transactions) = &mut self.transactions else { return failure };
        if transactions.machine.is_aborting() {
            // Handed off while the backend began to abort.
            let late = failure.kind == FailureKind::State;
            return if late { ABORTED } else { failure };
        }
        transactions.machine.handle_failed();
        transactions.first_failure.get_or_insert(failure);
        failure
    }

    /// A call was answered. Returns the failure that ended the producer by that, to be emitted without a lock.
    #[must_use]
    pub(crate) fn handle_answered(
        &mut self,
        shared: &Shared,
        id: CallId,
        outcome: Result<Answer, CallError>,
        effects: &mut Effects,
    ) -> Option<Failure> {
        let out = self.calls.returned(id)?;
        if let Some(transactions) = &mut self.transactions
            && transactions.is_out(id)
        {
            let stuck = transactions.machine.is_aborting() && outcome.is_err() && self.machine.stats().overdue > 0;
            transactions.handle_answer(outcome);
            if stuck {
                self.handle_fatal(shared, ABORT_STUCK, effects);
            }
            return stuck.then_some(ABORT_STUCK);
        }
        let meant = verdict(&outcome);
        let error = out.part_of.and(outcome.as_ref().err().cloned());
        let is_dropped = self.calls.answer(id, outcome, &mut effects.wakers).is_err();
        if let (Some(transactions), Some(transaction), Some(error)) = (&mut self.transactions, out.part_of, error) {
            // Without its caller a call cannot be repeated, and then the transaction lacks that part.
            let lacks = meant == CallOutcome::Refused || meant == CallOutcome::Retry && is_dropped;
            transactions.machine.handle_error(transaction, if lacks { CallOutcome::Abort } else { meant });
            transactions.error = Some(error);
        }
        None
    }

    /// The backend is gone.
    pub(crate) fn end_calls(&mut self, effects: &mut Effects) {
        self.calls.end(self.ended_by, &mut effects.wakers);
        if let Some(transactions) = &mut self.transactions {
            transactions.handle_end(self.ended_by.call_error());
        }
    }

    /// The backend did not take a call. Returns what [`State::handle_answered`] does.
    #[must_use]
    pub(crate) fn handle_refused(&mut self, shared: &Shared, id: CallId, effects: &mut Effects) -> Option<Failure> {
        // Of a commit that says nothing: an earlier call may have come through.
        let retriable = self.transactions.as_ref().is_some_and(|transactions| transactions.is_out(id));
        let reason = "the backend has ended, or makes no such calls";
        let error = CallError::new(None, reason).with_retriable(retriable);
        self.handle_answered(shared, id, Err(error), effects)
    }

    /// Sends the calls whose turn it is.
    pub(crate) fn next_calls(&mut self, shared: &Shared, effects: &mut Effects) {
        let alive = self.is_alive();
        if let Some(transactions) = &mut self.transactions {
            // A part of the transaction whose call has no answer is like a record without its outcome.
            let parts = usize::from(self.calls.has_part_out());
            transactions.follow(self.machine.held() + self.completing + parts, &mut effects.wakers);
        }
        if !alive {
            return;
        }
        let limit = shared.call_limit;
        for line in Line::ALL {
            if self.calls.is_busy(line) {
                continue;
            }
            let own = match &mut self.transactions {
                Some(transactions) if line == Line::Transactions => transactions.send(&mut self.calls, limit),
                _ => None,
            };
            let next = own.or_else(|| self.calls.send_first(line, limit));
            effects.calls[line as usize] = next.map(Box::new);
        }
    }
}

impl Shared {
    /// The backend did not take a call. Returns the next ones.
    pub(crate) fn refused(&self, id: CallId) -> Requests {
        let mut effects = Effects::default();
        let fatal = {
            let state = &mut *self.lock();
            state.collect_arrivals(self, &mut effects);
            let fatal = state.handle_refused(self, id, &mut effects);
            state.after_transition(self, &mut effects);
            fatal
        };
        let next = std::mem::take(&mut effects.calls);
        self.apply(&mut effects);
        self.emit_fatal(fatal);
        next
    }

    /// Emits the failure that ended the producer, if one did.
    pub(crate) fn emit_fatal(&self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.panics.catch(SUBSCRIBER, || self.observer.spans.fatal(&failure));
        }
    }
}
