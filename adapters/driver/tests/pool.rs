//! What records count for in the pool, and which pools are invalid.
#![cfg(not(interleave))]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::LimitsError;
use aioproducer_core::backend::{Backend, BackendLimits, Connect, Driver};
use aioproducer_driver::error::StartError;
use aioproducer_driver::record::OwnedRecord;
use aioproducer_driver::{AioProducer, ProduceError, Record};

use self::still::Still;

mod still;

/// The largest record, in bytes.
const LARGEST: usize = 30_000;

/// A backend that takes nothing.
struct Idle;

impl Connect<OwnedRecord> for Idle {
    type Error = Infallible;

    fn limits(&mut self, _: Option<Duration>) -> Result<BackendLimits, Infallible> {
        Ok(BackendLimits {
            delivery_timeout: None,
            linger: Duration::ZERO,
            record_bytes: LARGEST,
            record_overhead: 0,
            record_setting: None,
            availability_timeout: None,
            transactional: false,
        })
    }

    fn connect<E: Driver<OwnedRecord>>(self, _: Arc<E>, _: usize) -> Result<Arc<dyn Backend>, Infallible> {
        Ok(Arc::new(Still))
    }
}

/// What the record counts for in an empty pool.
fn cost(record: Record<'static>) -> usize {
    let producer = AioProducer::builder(Idle).start(Still).unwrap();
    let delivery = producer.try_produce(record).unwrap();
    let cost = producer.statistics().bytes;
    assert!(delivery.retract().is_ok());
    assert_eq!(producer.statistics().bytes, 0, "what was counted is given back");
    cost
}

fn with_headers(count: usize, len: usize) -> Record<'static> {
    let (name, value) = (&"nnnnnnnn"[..len], &[7; 8][..len]);
    (0..count).fold(Record::to("t").payload("12345"), |record, _| record.header(name, value))
}

#[test]
fn s21_payloads_count_once_and_keys_twice() {
    assert_eq!(cost(Record::to("t")), 0);
    assert_eq!(cost(Record::to("t").payload("12345").partition(1).urgent()), 5);
    assert_eq!(cost(Record::to("t").payload(vec![7; 1000]).timestamp_millis(1)), 1000);
    for key in [&[7; 10][..], &[7; 1000]] {
        assert_eq!(cost(Record::to("t").key(key)), 2 * key.len());
        assert_eq!(cost(Record::to("t").key(key.to_vec()).payload("12345")), 2 * key.len() + 5);
        assert_eq!(
            cost(Record::to("t").key(key).payload(vec![7; 5]).timeout(Duration::from_secs(1))),
            2 * key.len() + 5
        );
    }
}

#[test]
fn s21_headers_count_for_what_they_cost() {
    assert_eq!(cost(with_headers(10_000, 0)), 5 + 96 + 10_000 * 104);
    assert_eq!(cost(with_headers(20, 6)), 5 + 96 + 20 * (2 * 12 + 104));
    let owned = Record::to("t").payload("12345").header(String::from("name"), vec![7; 3]).null_header("n");
    assert_eq!(cost(owned), 5 + 96 + 2 * 8 + 2 * 152 + 2 * 48);
    assert_eq!(cost(with_headers(2, 1).payload(vec![7; 5])), 5 + 96 + 2 * (2 * 2 + 152));
}

#[test]
fn s21_a_pool_is_full_by_what_records_cost() {
    let producer = AioProducer::builder(Idle).pool_bytes(LARGEST).start(Still).unwrap();
    let each = cost(with_headers(20, 6));
    for _ in 0..LARGEST / each {
        drop(producer.try_produce(with_headers(20, 6)).unwrap());
    }
    assert!(matches!(producer.try_produce(with_headers(20, 6)), Err(ProduceError::Full(_))));
    assert_eq!(producer.statistics().bytes, LARGEST / each * each);
}

#[test]
fn s21_a_record_that_costs_more_than_the_pool_has_is_refused_and_does_not_wait() {
    let producer = AioProducer::builder(Idle).pool_bytes(LARGEST).start(Still).unwrap();
    let record = with_headers(1000, 1);
    let error = producer.try_produce(record.clone()).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, ProduceError::AbovePool { cost, limit: LARGEST, .. } if cost == 5 + 96 + 1000 * 108),
        "{text}"
    );
    assert!(text.contains("108101 bytes") && text.contains("pool_bytes"), "{text}");
    assert_eq!(error.into_record(), record);
    let payload = Record::to("t").payload(vec![7; LARGEST]);
    assert!(producer.try_produce(payload).is_ok(), "a payload alone may have all of it");
}

#[test]
fn s33_more_slots_or_lanes_than_there_is_memory_for_are_refused_at_start() {
    const MANY: usize = u32::MAX as usize - 1;
    let builder = || AioProducer::builder(Idle).slots(MANY);
    for builder in [builder(), builder().slots(10).lanes(MANY)] {
        match builder.start(Still) {
            Err(StartError::Limits(error @ LimitsError::NoMemory { .. })) => {
                assert!(error.to_string().contains("no memory for"), "{error}");
            }
            Err(error) => panic!("{error}"),
            // The system promises more memory than it has.
            Ok(_) => {}
        }
    }
}
