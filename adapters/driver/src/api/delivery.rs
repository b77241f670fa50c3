//! A record's outcome, as its caller sees it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Poll, ready};

use crate::outcome::completion::CellHandle;
use crate::outcome::context::Context;
use crate::outcome::error::DeliveryError;
use crate::outcome::report::DeliveryReport;
use crate::runtime::{counts_as_call, poll_turn};

/// The outcome of one accepted record, pending until the record's own delivery report arrives.
///
/// Dropping it does not cancel the record; [`retract`](Self::retract) does, if it is not too late. It needs no runtime, and
/// may be awaited after the producer is gone.
///
/// A task that awaits thousands that are ready lets others have their turn on the thread in between: now and then one of them
/// is pending at its first poll, and wakes its task.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record};
/// async fn write(producer: &AioProducer) -> Result<(), Box<dyn std::error::Error>> {
///     let first = producer.produce(Record::to("orders").payload("one")).await?;
///     let second = producer.produce(Record::to("orders").payload("two")).await?;
///     println!("{}, {}", first.await?, second.await?);
///     Ok(())
/// }
/// ```
#[must_use = "a delivery says whether the record arrived"]
pub struct Delivery {
    pub(crate) cell: CellHandle<DeliveryError, Context>,
}

impl Delivery {
    pub(crate) fn new(cell: CellHandle<DeliveryError, Context>) -> Self {
        Self { cell }
    }
}

impl Future for Delivery {
    type Output = Result<DeliveryReport, DeliveryError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        if counts_as_call()
            && let Some(context) = self.cell.context_if_ended()
        {
            ready!(poll_turn(&*context.runtime, cx));
        }
        Poll::Ready(match ready!(self.cell.poll(cx)) {
            Ok((topic, delivered, origin)) => Ok(DeliveryReport::of_cell(topic, delivered, origin)),
            Err(error) => Err(error),
        })
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}
