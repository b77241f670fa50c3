//! One record: wait for room, then for delivery.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::admission::error::{ProduceError, SendError};
use crate::admission::inbox::Inbox;
use crate::admission::lane_waiters::WaitingPlace;
use crate::admission::wait_limit::{WaitLimit, wait_error};
use crate::api::delivery::Delivery;
use crate::outcome::report::DeliveryReport;
use crate::outcome::ticket::Ticket;
use crate::record::Record;
use crate::runtime::poll_turn;
use crate::state::admit::{Admission, Entered};
use crate::state::shared::Shared;

/// Makes an accepted record's outcome go to a new [`Delivery`].
#[inline]
fn to_delivery(shared: &Shared, inbox: &mut Inbox) -> (Ticket, Delivery) {
    let (cell, handle) = inbox.free_cells.acquire(&shared.completions);
    (Ticket::to_delivery(cell), Delivery::new(handle))
}

/// Does what [`AioProducer::try_produce`](crate::AioProducer::try_produce) does; `transaction` says whether the record comes
/// through a transaction.
#[inline]
pub(crate) fn try_produce<'a>(
    shared: &Shared,
    record: &mut Record<'a>,
    transaction: bool,
) -> Result<Delivery, Box<ProduceError<'a>>> {
    Admission::check_in(shared, record, transaction)?.try_enter(shared, to_delivery)
}

/// The future of [`AioProducer::produce`](crate::AioProducer::produce): the record's [`Delivery`], once it is accepted.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record};
/// use std::pin::pin;
/// use std::task::{Context, Poll};
///
/// /// Whether the record was accepted at once.
/// fn is_accepted(producer: &AioProducer, cx: &mut Context<'_>) -> bool {
///     matches!(pin!(producer.produce(Record::to("lines"))).poll(cx), Poll::Ready(Ok(_)))
/// }
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Produce<'p, 'r> {
    shared: &'p Shared,
    /// Empty when the future has resolved.
    record: Record<'r>,
    place: Option<WaitingPlace>,
    wait_limit: WaitLimit,
    /// It comes through a transaction.
    transaction: bool,
    resolved: bool,
}

impl<'p, 'r> Produce<'p, 'r> {
    #[inline]
    pub(crate) fn new(shared: &'p Shared, record: Record<'r>) -> Self {
        Self { shared, record, place: None, wait_limit: WaitLimit::default(), transaction: false, resolved: false }
    }

    pub(crate) fn in_transaction(shared: &'p Shared, record: Record<'r>) -> Self {
        let mut produce = Self::new(shared, record);
        produce.transaction = true;
        produce
    }
}

impl Future for Produce<'_, '_> {
    type Output = Result<Delivery, ProduceError<'static>>;

    /// # Panics
    /// When polled again after it was ready.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        assert!(!this.resolved, "`Produce` polled after it was ready");
        if this.place.is_none() {
            ready!(poll_turn(&*this.shared.runtime, cx));
        }
        let entered = match Admission::check_in(this.shared, &mut this.record, this.transaction) {
            Ok(entry) => entry.enter(this.shared, to_delivery, &this.place, &mut this.wait_limit, cx.waker()),
            Err(error) => Entered::Failed(error),
        };
        let outcome = match entered {
            Entered::Waiting(place) => {
                this.place = Some(place);
                let (policy, own) = (this.shared.overflow, this.record.get_timeout());
                let Some(over) = this.wait_limit.is_over(
                    &*this.shared.runtime,
                    policy,
                    own,
                    this.shared.context.delivery_timeout,
                    cx,
                ) else {
                    return Poll::Pending;
                };
                this.shared.with(|state, effects| state.leave(Some(place), effects));
                Err(wait_error(over, this.record.take()).into_owned())
            }
            Entered::Accepted(delivery) => Ok(delivery),
            Entered::Failed(error) => Err(error.into_owned()),
        };
        (this.resolved, this.place) = (true, None);
        Poll::Ready(outcome)
    }
}

impl Drop for Produce<'_, '_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.with(|state, effects| state.leave(Some(place), effects));
        }
    }
}

impl fmt::Debug for Produce<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Produce").finish_non_exhaustive()
    }
}

/// The future of [`AioProducer::send`](crate::AioProducer::send): the record's [`DeliveryReport`], once it is delivered.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record};
/// # use aioproducer_driver::future::SendRecord;
/// /// A request that is on its way while others are made.
/// fn place<'p>(producer: &'p AioProducer, order: &str) -> SendRecord<'p, 'static> {
///     producer.send(Record::to("orders").payload(order.to_owned()))
/// }
/// ```
#[must_use = "futures do nothing unless awaited"]
#[derive(Debug)]
pub struct SendRecord<'p, 'r> {
    produce: Produce<'p, 'r>,
    delivery: Option<Delivery>,
    /// The record is urgent for the while, as its sender waits for it.
    hurried: bool,
}

impl<'p, 'r> SendRecord<'p, 'r> {
    pub(crate) fn new(mut produce: Produce<'p, 'r>) -> Self {
        let hurried = produce.shared.hurries_sends && !produce.record.is_urgent();
        if hurried {
            produce.record = produce.record.take().urgent();
        }
        Self { produce, delivery: None, hurried }
    }
}

impl Future for SendRecord<'_, '_> {
    type Output = Result<DeliveryReport, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = match &mut this.delivery {
            Some(delivery) => ready!(Pin::new(delivery).poll(cx)).map_err(SendError::from),
            none => match ready!(Pin::new(&mut this.produce).poll(cx)) {
                Ok(delivery) => ready!(Pin::new(none.insert(delivery)).poll(cx)).map_err(SendError::from),
                Err(error) => Err(SendError::from(error)),
            },
        };
        Poll::Ready(if this.hurried { outcome.map_err(SendError::calmed) } else { outcome })
    }
}
