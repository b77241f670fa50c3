//! Calls of the backend that wait for a broker: which future waits for which answer.
//!
//! Transactions' calls stand in one line, the others in another. Of each line one call at a time is with the backend. The others
//! wait here for their turn, each as long as its future lives, so their number is bounded by the live futures, and no
//! transaction waits for anything else.

use std::task::{Poll, Waker};
use std::time::Duration;

use aioproducer_core::TransactionId;
use aioproducer_core::backend::{Answer, Call, CallError, CallId, Request};

use crate::outcome::ended_by::EndedBy;

/// Calls of one kind, of which one at a time is with the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Transactions,
    Others,
}

impl Line {
    pub(super) const ALL: [Self; 2] = [Self::Transactions, Self::Others];

    fn of(call: &Call) -> Self {
        if call.is_transactional() { Self::Transactions } else { Self::Others }
    }
}

/// Requests for the backend, by line.
pub(crate) type Requests = [Option<Box<Request>>; Line::ALL.len()];

/// Calls of live futures, and those that are with the backend.
#[derive(Default)]
pub(crate) struct Calls {
    next: u64,
    /// In the order of asking.
    entries: Vec<PendingCall>,
    /// By line.
    out: [Option<Out>; Line::ALL.len()],
}

struct PendingCall {
    id: CallId,
    state: CallState,
}

enum CallState {
    Waiting { call: Call, part_of: Option<TransactionId>, waker: Waker },
    Out { waker: Waker },
    Answered(Result<Answer, CallError>),
}

/// A call that is with the backend.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    id: CallId,
    /// Whose failure is the transaction's, too.
    pub(crate) part_of: Option<TransactionId>,
}

impl Calls {
    fn new_id(&mut self) -> CallId {
        self.next += 1;
        CallId(self.next)
    }

    fn position(&self, id: CallId) -> Option<usize> {
        self.entries.binary_search_by_key(&id.0, |entry| entry.id.0).ok()
    }

    /// Whether one is with the backend.
    pub(crate) fn is_out(&self) -> bool {
        self.out.iter().any(Option::is_some)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sends a call that no future asked for; its line is idle.
    pub(crate) fn send(&mut self, call: Call, limit: Duration) -> Request {
        let id = self.new_id();
        self.out[Line::of(&call) as usize] = Some(Out { id, part_of: None });
        Request { id, call, limit }
    }

    /// The first call that waits in `line`, to be sent; the line is idle.
    pub(super) fn send_first(&mut self, line: Line, limit: Duration) -> Option<Request> {
        let waits = |entry: &&mut PendingCall| matches!(&entry.state, CallState::Waiting { call, .. } if Line::of(call) == line);
        let entry = self.entries.iter_mut().find(waits)?;
        let taken = std::mem::replace(&mut entry.state, CallState::Answered(Ok(Answer::Done)));
        let CallState::Waiting { call, part_of, waker } = taken else { return None };
        entry.state = CallState::Out { waker };
        self.out[line as usize] = Some(Out { id: entry.id, part_of });
        Some(Request { id: entry.id, call, limit })
    }

    /// An answer came: the call is no longer out. `None` if no call with this id is out.
    pub(crate) fn returned(&mut self, id: CallId) -> Option<Out> {
        self.out.iter_mut().find_map(|out| out.take_if(|out| out.id == id))
    }

    /// Gives an answer to the future that waits for it, or back if there is none.
    pub(crate) fn answer(
        &mut self,
        id: CallId,
        outcome: Result<Answer, CallError>,
        wakers: &mut Vec<Waker>,
    ) -> Result<(), Result<Answer, CallError>> {
        let Some(at) = self.position(id) else { return Err(outcome) };
        let state = std::mem::replace(&mut self.entries[at].state, CallState::Answered(outcome));
        if let CallState::Waiting { waker, .. } | CallState::Out { waker } = state {
            wakers.push(waker);
        }
        Ok(())
    }

    /// Answers all that have none, when the backend is gone.
    pub(crate) fn end(&mut self, by: EndedBy, wakers: &mut Vec<Waker>) {
        self.out = Default::default();
        for entry in &mut self.entries {
            if !matches!(entry.state, CallState::Answered(_)) {
                let state = std::mem::replace(&mut entry.state, CallState::Answered(Err(by.call_error())));
                if let CallState::Waiting { waker, .. } | CallState::Out { waker } = state {
                    wakers.push(waker);
                }
            }
        }
    }

    /// Whether a call with the backend is a part of a transaction.
    pub(crate) fn has_part_out(&self) -> bool {
        self.out[Line::Transactions as usize].is_some_and(|out| out.part_of.is_some())
    }

    /// Whether one of `line` is with the backend.
    pub(super) fn is_busy(&self, line: Line) -> bool {
        self.out[line as usize].is_some()
    }

    pub(crate) fn join(&mut self, call: Call, part_of: Option<TransactionId>, waker: Waker) -> CallId {
        let id = self.new_id();
        self.entries.push(PendingCall { id, state: CallState::Waiting { call, part_of, waker } });
        id
    }

    /// The answer, which is gone then. While there is none, `waker` is kept, and the one before it takes its place there.
    pub(crate) fn poll(&mut self, id: CallId, waker: &mut Option<Waker>) -> Poll<Option<Result<Answer, CallError>>> {
        let Some(at) = self.position(id) else { return Poll::Ready(None) };
        match &mut self.entries[at].state {
            CallState::Waiting { waker: kept, .. } | CallState::Out { waker: kept } => {
                if let Some(waker) = waker {
                    std::mem::swap(kept, waker);
                }
                Poll::Pending
            }
            CallState::Answered(_) => match self.entries.remove(at).state {
                CallState::Answered(outcome) => Poll::Ready(Some(outcome)),
                CallState::Waiting { .. } | CallState::Out { .. } => Poll::Ready(None),
            },
        }
    }

    /// Gives up a call; whether it will have done nothing, since its turn had not come, or it had failed. Its waker comes back.
    pub(crate) fn leave(&mut self, id: CallId) -> (bool, Option<Waker>) {
        let Some(at) = self.position(id) else { return (false, None) };
        match self.entries.remove(at).state {
            CallState::Waiting { waker, .. } => (true, Some(waker)),
            CallState::Out { waker } => (false, Some(waker)),
            CallState::Answered(outcome) => (outcome.is_err(), None),
        }
    }
}
