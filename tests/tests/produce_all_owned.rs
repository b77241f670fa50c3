//! `produce_all` does not tie the life of the records to that of the producer.

use aioproducer_driver::{AioProducer, Record};

/// It need only compile: an iterator of records that borrow nothing, from a producer that does not live forever.
#[test]
fn s07_produce_all_takes_iterators_of_owned_records() {
    fn _compiles(producer: &AioProducer, records: std::sync::mpsc::Receiver<Record<'static>>) {
        drop(producer.produce_all(records));
    }
}
