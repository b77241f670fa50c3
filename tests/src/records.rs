//! Records as most tests want them: told apart by a number.

use aioproducer_driver::{AioProducer, Delivery, Record, Transaction};

use crate::probe::at_once;

/// Record `number` of the topic `t`.
#[must_use]
pub fn numbered(number: usize) -> Record<'static> {
    Record::to("t").payload(number.to_string())
}

/// Produces a record that finds room.
///
/// # Panics
/// When it does not.
pub fn accepted(producer: &AioProducer, record: Record<'static>) -> Delivery {
    at_once(producer.produce(record)).expect("accepted")
}

/// Produces record `number` in a transaction.
///
/// # Panics
/// When it does not find room.
pub fn accepted_in(transaction: &Transaction, number: usize) -> Delivery {
    at_once(transaction.produce(numbered(number))).expect("accepted")
}
