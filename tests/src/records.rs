//! Records for most tests, each with its number as payload; and records that use every field.

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::future::Outcomes;
use aioproducer_driver::{AioProducer, Bytes, Delivery, DeliveryError, DeliveryReport, Record, Transaction};

use crate::broker::Logged;
use crate::probe::at_once;

/// Record `number` of the topic `t`.
#[must_use]
pub fn numbered(number: usize) -> Record<'static> {
    Record::to("t").payload(number.to_string())
}

/// Produces a record, for which there is room.
///
/// # Panics
/// When there is none.
pub fn accepted(producer: &AioProducer, record: Record<'static>) -> Delivery {
    at_once(producer.produce(record)).expect("accepted")
}

/// Produces record `number` in a transaction.
///
/// # Panics
/// When there is no room.
pub fn accepted_in(transaction: &Transaction, number: usize) -> Delivery {
    at_once(transaction.produce(numbered(number))).expect("accepted")
}

/// Why a record failed, whether it may be in the log, and the record.
///
/// # Panics
/// When it was delivered, or does not come back.
pub fn failed(outcome: Result<DeliveryReport, DeliveryError>) -> (FailureKind, Status, Record<'static>) {
    let error = outcome.expect_err("it failed");
    (error.kind(), error.status(), error.into_record().expect("the record"))
}

/// Records with and without each field, for a topic with 3 partitions.
#[must_use]
pub fn every_part(topic: &str) -> Vec<Record<'static>> {
    let at = |partition| Record::to(topic).partition(partition).timestamp_millis(1_234_567);
    let large = vec![2; 200_000];
    let records = [
        at(0),
        at(0).key("").payload(""),
        at(0).key("key").payload("value"),
        at(1).payload("tagged").header("b", "1").header("a", "2").null_header("b").header("b", ""),
        at(1).key("tombstone").header("only", "header"),
        at(2).payload(Bytes::from(vec![1; 200_000])),
        at(2).payload(&large).key(vec![3; 1_000]),
        Record::to(topic).partition(2).payload("stamped by the client"),
    ];
    records.map(Record::into_owned).into()
}

/// Checks that each record is in the log at the place in its report, and unchanged.
///
/// # Panics
/// When one is not.
pub fn assert_arrived(records: &[Record<'_>], outcomes: Outcomes, log: &[Logged]) {
    assert_eq!(log.len(), records.len());
    for (record, outcome) in records.iter().zip(outcomes) {
        let report = outcome.expect("delivered");
        let place = |logged: &&Logged| (logged.partition, Some(logged.offset)) == (report.partition(), report.offset());
        let logged = log.iter().find(place).expect("it is in the log");
        assert_eq!(Some(logged.partition), record.get_partition());
        assert_eq!(logged.key.as_deref(), record.get_key());
        assert_eq!(logged.payload.as_deref(), record.get_payload());
        match record.get_timestamp_millis() {
            Some(timestamp) => assert_eq!(logged.timestamp, Some(timestamp)),
            None => assert!(logged.timestamp.is_some_and(|timestamp| timestamp > 1_234_567)),
        }
        let headers = record.headers().iter().map(|h| (h.name().to_owned(), h.value().map(<[u8]>::to_vec)));
        assert_eq!(logged.headers, headers.collect::<Vec<_>>());
    }
}
