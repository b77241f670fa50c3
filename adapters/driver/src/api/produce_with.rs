//! Producing with a callback.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aioproducer_core::Overflow;

use crate::admission::error::ProduceError;
use crate::admission::inbox::Inbox;
use crate::admission::lane_waiters::WaitingPlace;
use crate::admission::wait_limit::{WaitLimit, wait_error};
use crate::admission::waiters::WaiterId;
use crate::callbacks::{Acquired, Callback};
use crate::outcome::ticket::{CallbackRef, Ticket};
use crate::record::Record;
use crate::runtime::poll_turn;
use crate::state::admit::{Admission, Entered};
use crate::state::shared::Shared;

/// The future of [`AioProducer::produce_with`](crate::AioProducer::produce_with) and of its asynchronous sister.
pub(crate) struct ProduceWith<'p, 'r, C> {
    shared: &'p Shared,
    record: Record<'r>,
    step: Step<C>,
    wait_limit: WaitLimit,
    /// It comes through a transaction.
    transaction: bool,
}

/// How far the record has come.
enum Step<C> {
    /// The callback has no place in the pool yet.
    Callback(C, Option<WaiterId>),
    /// The record has no slot yet.
    Record(CallbackRef, Option<WaitingPlace>),
    Resolved,
}

/// The callback is moved, never pinned.
impl<C> Unpin for ProduceWith<'_, '_, C> {}

impl<'p, 'r, C> ProduceWith<'p, 'r, C> {
    pub(crate) fn new(shared: &'p Shared, record: Record<'r>, callback: C) -> Self {
        let step = Step::Callback(callback, None);
        Self { shared, record, step, wait_limit: WaitLimit::default(), transaction: false }
    }

    pub(crate) fn in_transaction(mut self) -> Self {
        self.transaction = true;
        self
    }

    /// The record has waited for something else before.
    pub(crate) fn having_waited(mut self, wait_limit: WaitLimit) -> Self {
        self.wait_limit = wait_limit;
        self
    }
}

impl<C: Callback> Step<C> {
    /// Gives the callback a place, if it has none; `None` while it waits for one. Else it says where the record waits.
    fn place(&mut self, shared: &Shared, cx: &Context<'_>) -> Option<(CallbackRef, Option<WaitingPlace>)> {
        match std::mem::replace(self, Self::Resolved) {
            Self::Callback(callback, waiting) => {
                let mut callback = Some(callback);
                match (shared.callbacks.pool.acquire(&mut callback, waiting, Some(cx.waker())), callback) {
                    (Some(Acquired::Place(place)), _) => *self = Self::Record(place, None),
                    (Some(Acquired::Waiting(waiting)), Some(callback)) => {
                        *self = Self::Callback(callback, Some(waiting));
                    }
                    (Some(Acquired::Waiting(_)) | None, _) => {}
                }
            }
            other => *self = other,
        }
        match self {
            Self::Record(place, waiting) => Some((*place, *waiting)),
            Self::Callback(..) | Self::Resolved => None,
        }
    }
}

impl<C: Callback> Future for ProduceWith<'_, '_, C> {
    type Output = Result<(), ProduceError<'static>>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(!matches!(this.step, Step::Resolved), "`ProduceWith` polled after it was ready");
        let shared = this.shared;
        if matches!(this.step, Step::Callback(_, None)) {
            ready!(poll_turn(&*shared.runtime, cx));
        }
        let entry = match Admission::check_in(shared, &mut this.record, this.transaction) {
            Ok(entry) => entry,
            Err(error) => {
                this.give_up();
                return Poll::Ready(Err(error.into_owned()));
            }
        };
        let Some((callback, waiting)) = this.step.place(shared, cx) else { return this.wait_for_place(cx) };
        let sink = |_: &Shared, _: &mut Inbox| (Ticket::to_callback(callback), ());
        match entry.enter(shared, sink, &waiting, &mut this.wait_limit, cx.waker()) {
            Entered::Accepted(()) => {
                this.step = Step::Resolved;
                Poll::Ready(Ok(()))
            }
            Entered::Waiting(waiting) => {
                this.step = Step::Record(callback, Some(waiting));
                this.wait(cx)
            }
            Entered::Failed(error) => {
                this.step = Step::Record(callback, None);
                this.give_up();
                Poll::Ready(Err(error.into_owned()))
            }
        }
    }
}

impl<C> ProduceWith<'_, '_, C> {
    /// Callbacks are behind: waits, if the producer is open and the overflow policy has it wait.
    fn wait_for_place(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProduceError<'static>>> {
        let refused = {
            let state = self.shared.lock();
            let refused = |record| ProduceError::refused(record, state.fatal.as_ref(), state.ended_by);
            state.machine.is_closed().then(|| refused(self.record.take()))
        };
        let refused = refused.or_else(|| match self.shared.overflow {
            Overflow::Wait | Overflow::WaitFor(_) => None,
            _ => Some(ProduceError::Full(self.record.take())),
        });
        let Some(refused) = refused else { return self.wait(cx) };
        self.give_up();
        Poll::Ready(Err(refused.into_owned()))
    }

    /// Waits on, unless it was long enough.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProduceError<'static>>> {
        let (policy, own) = (self.shared.overflow, self.record.get_timeout());
        let Some(over) =
            self.wait_limit.is_over(&*self.shared.runtime, policy, own, self.shared.context.delivery_timeout, cx)
        else {
            return Poll::Pending;
        };
        self.give_up();
        Poll::Ready(Err(wait_error(over, self.record.take()).into_owned()))
    }

    /// Gives up what a record that is not accepted has taken. Its callback is dropped and never called.
    fn give_up(&mut self) {
        let shared = self.shared;
        match std::mem::replace(&mut self.step, Step::Resolved) {
            Step::Callback(_, waiting) => {
                if let Some(waiting) = waiting {
                    shared.callbacks.pool.leave(waiting);
                }
            }
            Step::Record(callback, waiting) => {
                if waiting.is_some() {
                    shared.with(|state, effects| state.leave(waiting, effects));
                }
                shared.callbacks.pool.discard(callback);
                shared.callbacks.pool.give_back(1, [callback]);
            }
            Step::Resolved => {}
        }
    }
}

impl<C> Drop for ProduceWith<'_, '_, C> {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// What [`AioProducer::try_produce_with`](crate::AioProducer::try_produce_with) does.
pub(crate) fn try_produce_with<'r, C: Callback>(
    shared: &Shared,
    record: &mut Record<'r>,
    callback: C,
) -> Result<(), ProduceError<'r>> {
    let entry = Admission::check(shared, record).map_err(|error| *error)?;
    let mut callback = Some(callback);
    let Some(Acquired::Place(place)) = shared.callbacks.pool.acquire(&mut callback, None, None) else {
        return Err(ProduceError::Full(record.take()));
    };
    let sink = |_: &Shared, _: &mut Inbox| (Ticket::to_callback(place), ());
    entry.try_enter(shared, sink).map_err(|error| {
        shared.callbacks.pool.discard(place);
        shared.callbacks.pool.give_back(1, [place]);
        *error
    })
}
