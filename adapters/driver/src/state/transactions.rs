//! What a transactional producer knows of its transactions: the machine, its next call, and the tasks that watch it.

use std::task::Waker;
use std::time::Duration;

use aioproducer_core::backend::{Answer, Call, CallError, CallId, Failure, Request};
use aioproducer_core::{CallOutcome, Step, Transaction};

use super::calls::Calls;
use crate::outcome::ended_by::EndedBy;

#[derive(Default)]
pub(crate) struct Transactions {
    pub(crate) machine: Transaction,
    /// The machine as the watchers know it.
    seen: Transaction,
    /// The call to make when it is its turn.
    step: Option<Step>,
    /// The call that is with the backend.
    out: Option<CallId>,
    /// What closed the machine, once it is closed.
    pub(crate) ended_by: EndedBy,
    /// Why the last call failed, if it did.
    pub(crate) error: Option<CallError>,
    /// Of the transaction's records that were not delivered, the first one's.
    pub(crate) first_failure: Option<Failure>,
    watchers: Vec<(u64, Waker)>,
    next_watcher: u64,
}

impl Transactions {
    /// Takes the machine's next step, now that `outstanding` records have no outcome, and wakes the watchers of a change.
    pub(crate) fn follow(&mut self, outstanding: usize, wakers: &mut Vec<Waker>) {
        if let Some(step) = self.machine.poll_call(outstanding) {
            self.step = Some(step);
            if step == Step::Begin {
                self.first_failure = None;
            }
        }
        if self.machine != self.seen {
            self.seen.clone_from(&self.machine);
            wakers.extend(self.watchers.drain(..).map(|(_, waker)| waker));
        }
    }

    /// The machine's call, if there is one; its line is idle.
    pub(crate) fn send(&mut self, calls: &mut Calls, limit: Duration) -> Option<Request> {
        let call = match self.step.take()? {
            Step::Init => Call::InitTransactions,
            Step::Begin => Call::Begin,
            Step::Commit => Call::Commit,
            Step::Abort => Call::Abort,
        };
        let request = calls.send(call, limit);
        self.out = Some(request.id);
        Some(request)
    }

    /// Whether `id` is the machine's call that is with the backend.
    pub(super) fn is_out(&self, id: CallId) -> bool {
        self.out == Some(id)
    }

    /// The answer to the machine's call, or the same from elsewhere.
    pub(super) fn handle_answer(&mut self, outcome: Result<Answer, CallError>) {
        self.out = None;
        self.machine.handle_answer(verdict(&outcome));
        self.error = outcome.err();
    }

    /// The backend is gone, and answers no call.
    pub(super) fn handle_end(&mut self, error: CallError) {
        if self.out.take().is_some() || self.step.take().is_some() {
            self.error = Some(error);
        }
        self.machine.handle_end();
    }

    /// Has `waker` woken at the next change; returns a number for [`Transactions::leave`].
    pub(crate) fn watch(&mut self, waker: Waker) -> u64 {
        let place = self.next_watcher;
        self.next_watcher += 1;
        self.watchers.push((place, waker));
        place
    }

    /// Gives up a watch; its waker comes back.
    pub(crate) fn leave(&mut self, place: Option<u64>) -> Option<Waker> {
        let at = self.watchers.binary_search_by_key(&place?, |(place, _)| *place).ok()?;
        Some(self.watchers.remove(at).1)
    }
}

/// What an answer means for a transaction.
pub(crate) fn verdict(outcome: &Result<Answer, CallError>) -> CallOutcome {
    match outcome {
        Ok(_) => CallOutcome::Done,
        Err(error) if error.is_fatal() => CallOutcome::Fatal,
        Err(error) if error.requires_abort() => CallOutcome::Abort,
        Err(error) if error.is_retriable() => CallOutcome::Retry,
        Err(_) => CallOutcome::Refused,
    }
}
