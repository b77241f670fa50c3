//! A transactional producer's part of the shared state: the machine of transactions, its calls, and who waits for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aioproducer_core::backend::{Answer, Call, CallError, CallId, Failure, FailureKind, Request, Status};
use aioproducer_core::{Step, Transaction, Verdict};

use crate::api::calls::{Calls, Requests};
use crate::observe::SUBSCRIBER;
use crate::state::effects::{Discard, Effects};
use crate::state::end::EndedBy;
use crate::state::shared::{Shared, State};

/// Records that the driver task takes back at a time.
const BUDGET: usize = 16;

/// The failure of records that were not handed off when their transaction was aborted.
const ABORTED: Failure = Failure::new(
    FailureKind::Purged,
    Status::NotPersisted,
    None,
    "the transaction was aborted before the record was sent",
);

/// What an abort comes to that fails while the backend keeps a record of which it says nothing: there is none without that
/// record's end.
const STUCK: Failure = Failure::new(
    FailureKind::Fatal,
    Status::PossiblyPersisted,
    None,
    "the transaction cannot be aborted: the backend keeps one of its records and does not tell what becomes of it",
);

#[derive(Default)]
pub(crate) struct Session {
    pub(crate) machine: Transaction,
    /// The machine as the watchers know it.
    seen: Transaction,
    /// To be called when it is its turn.
    step: Option<Step>,
    /// Is with the backend.
    out: Option<CallId>,
    /// Who closed the machine, once it is closed.
    pub(crate) ended_by: EndedBy,
    /// Why the last call failed, if it did.
    pub(crate) error: Option<CallError>,
    /// Of the transaction's records that were not delivered, the first one's.
    pub(crate) first_failure: Option<Failure>,
    watchers: Vec<(u64, Waker)>,
    next_watcher: u64,
}

impl Session {
    /// What the machine wants next, now that `outstanding` records have no outcome, and wakes who waits for a change.
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

    /// The machine's call, in `line` of which it is the turn.
    pub(crate) fn send(&mut self, line: &mut Calls, limit: Duration) -> Option<Request> {
        let call = match self.step.take()? {
            Step::Init => Call::InitTransactions,
            Step::Begin => Call::Begin,
            Step::Commit => Call::Commit,
            Step::Abort => Call::Abort,
        };
        let request = line.send(call, limit);
        self.out = Some(request.id);
        Some(request)
    }

    fn handle_answer(&mut self, outcome: Result<Answer, CallError>) {
        self.machine.handle_answer(verdict(&outcome));
        self.error = outcome.err();
    }
}

/// What an answer means for a transaction.
pub(crate) fn verdict(outcome: &Result<Answer, CallError>) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Done,
        Err(error) if error.is_fatal() => Verdict::Fatal,
        Err(error) if error.requires_abort() => Verdict::Abort,
        Err(error) if error.is_retriable() => Verdict::Retry,
        Err(_) => Verdict::Refused,
    }
}

impl State {
    /// Whether records may be accepted, as far as transactions are concerned.
    pub(crate) fn admits(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.machine.admits())
    }

    /// Whether what was not handed off is to be taken back.
    pub(crate) fn is_aborting(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.machine.is_aborting())
    }

    /// Whether a worker may take a batch.
    pub(crate) fn has_batch(&self) -> bool {
        self.machine.has_batch() && !self.is_aborting()
    }

    /// Whether a close need not wait for a transaction.
    pub(crate) fn is_settled(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.machine.is_settled())
    }

    /// A record's failure, as its transaction sees it.
    pub(crate) fn note_failure(&mut self, failure: Failure) -> Failure {
        let Some(session) = &mut self.session else { return failure };
        if session.machine.is_aborting() {
            // Handed off while the backend began to abort.
            let late = failure.kind == FailureKind::State;
            return if late { ABORTED } else { failure };
        }
        session.machine.handle_failed();
        session.first_failure.get_or_insert(failure);
        failure
    }

    /// Takes back records of a transaction that is aborted; false if there may be more.
    pub(crate) fn take_back(&mut self, shared: &Shared, effects: &mut Effects) -> bool {
        if !self.is_aborting() {
            return true;
        }
        for _ in 0..BUDGET {
            let Some((record, ended)) = self.machine.poll_drained() else { return true };
            self.fail(shared, ended, ABORTED, Some(record), effects);
        }
        false
    }

    /// Returns the failure that ended the producer, if it did, to be told when nothing is locked.
    #[must_use]
    pub(crate) fn handle_answered(
        &mut self,
        shared: &Shared,
        id: CallId,
        outcome: Result<Answer, CallError>,
        effects: &mut Effects,
    ) -> Option<Failure> {
        let out = self.calls.returned(id)?;
        if let Some(session) = &mut self.session
            && session.out.take_if(|out| *out == id).is_some()
        {
            let stuck = session.machine.is_aborting() && outcome.is_err() && self.machine.stats().overdue > 0;
            session.handle_answer(outcome);
            if stuck {
                self.handle_fatal(shared, STUCK, effects);
            }
            return stuck.then_some(STUCK);
        }
        let meant = verdict(&outcome);
        let error = out.part_of.and(outcome.as_ref().err().cloned());
        let unheard = self.calls.answer(id, outcome, effects).is_err();
        if let (Some(session), Some(transaction), Some(error)) = (&mut self.session, out.part_of, error) {
            // Without its caller nobody can repeat a call, and then the transaction lacks that part.
            let lacks = meant == Verdict::Refused || meant == Verdict::Retry && unheard;
            session.machine.handle_error(transaction, if lacks { Verdict::Abort } else { meant });
            session.error = Some(error);
        }
        None
    }

    /// The backend is gone.
    pub(crate) fn end_calls(&mut self, effects: &mut Effects) {
        self.calls.end(self.ended_by, effects);
        if let Some(session) = &mut self.session {
            if session.out.take().is_some() || session.step.take().is_some() {
                session.error = Some(self.ended_by.call_error());
            }
            session.machine.handle_end();
        }
    }

    /// The backend did not take a call on. Returns what [`State::handle_answered`] does.
    #[must_use]
    pub(crate) fn handle_refused(&mut self, shared: &Shared, id: CallId, effects: &mut Effects) -> Option<Failure> {
        // Of a commit that says nothing: an earlier call may have come through.
        let retriable = self.session.as_ref().is_some_and(|session| session.out == Some(id));
        let reason = "the backend has ended, or makes no such calls";
        let error = CallError::new(None, reason).with_retriable(retriable);
        self.handle_answered(shared, id, Err(error), effects)
    }
}

impl Shared {
    /// The backend did not take a call on; those that are next, if there are any.
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
        self.tell_fatal(fatal);
        next
    }

    /// Tells subscribers what ended the producer, if something did.
    pub(crate) fn tell_fatal(&self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.panics.catch(SUBSCRIBER, || self.observer.spans.fatal(&failure));
        }
    }
}

/// Waits until `look`, which is asked at each change of the producer's transactions, is ready.
pub(crate) struct Watch<'a, F> {
    shared: &'a Shared,
    look: F,
    place: Option<u64>,
}

impl<'a, F> Watch<'a, F> {
    pub(crate) fn new(shared: &'a Shared, look: F) -> Self {
        Self { shared, look, place: None }
    }
}

impl<T, F: FnMut(&mut Session, Option<&Failure>) -> Poll<T> + Unpin> Future for Watch<'_, F> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let mut waker = Some(cx.waker().clone());
        this.shared.with(|state, effects| {
            let Some(session) = &mut state.session else { return Poll::Ready(None) };
            effects.discard.extend(session.leave(this.place.take()).map(Discard::Waker));
            let looked = (this.look)(session, state.fatal.as_ref());
            if looked.is_pending()
                && let Some(waker) = waker.take()
            {
                let place = session.next_watcher;
                session.next_watcher += 1;
                session.watchers.push((place, waker));
                this.place = Some(place);
            }
            looked.map(Some)
        })
    }
}

impl<F> Drop for Watch<'_, F> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.with(|state, effects| {
                let waker = state.session.as_mut().and_then(|session| session.leave(Some(place)));
                effects.discard.extend(waker.map(Discard::Waker));
            });
        }
    }
}

impl Session {
    fn leave(&mut self, place: Option<u64>) -> Option<Waker> {
        let at = self.watchers.binary_search_by_key(&place?, |(place, _)| *place).ok()?;
        Some(self.watchers.remove(at).1)
    }
}
