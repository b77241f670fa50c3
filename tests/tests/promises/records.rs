//! S8: records arrive unchanged.

use std::time::{Duration, SystemTime};

use aioproducer_driver::{AioProducer, DeliveryReport, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::at_once;
use aioproducer_tests::records::{assert_arrived, every_part};
use aioproducer_tests::scripted::Script;
use aioproducer_tests::{broker, promises};
use bytes::Bytes;

promises! {
    s08_every_part_of_a_record_reaches_the_backend,
    s08_bytes_are_not_copied_and_borrows_end_with_produce,
    s08_every_part_of_a_record_reaches_the_log,
    s08_long_parts_reach_the_log,
    s08_times_are_the_system_s,
}

async fn s08_every_part_of_a_record_reaches_the_backend(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let full = Record::to("t").key("key").payload("value").partition(7).timestamp_millis(0);
    let full = full.header("b", "1").header("a", "2").null_header("b").header("b", "").header("", "3");
    let records = [full, Record::to("t").key("").payload(""), Record::to("t")];
    let _deliveries = records.map(|record| at_once(producer.produce(record)).expect("accepted"));
    let mut seen = script.accept().await;
    seen.extend(script.accept().await);
    seen.sort_by_key(|record| record.slot.index());

    let value = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!((&seen[0].key, &seen[0].payload), (&value("key"), &value("value")));
    assert_eq!((seen[0].partition, seen[0].timestamp), (Some(7), Some(0)));
    let headers = [("b", value("1")), ("a", value("2")), ("b", None), ("b", value("")), ("", value("3"))];
    assert_eq!(seen[0].headers, headers.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!((&seen[1].key, &seen[1].payload), (&value(""), &value("")));
    assert_eq!((&seen[2].key, &seen[2].payload), (&None, &None));
    assert_eq!((seen[2].partition, seen[2].timestamp, seen[2].headers.len()), (None, None, 0));
}

async fn s08_bytes_are_not_copied_and_borrows_end_with_produce(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let shared = Bytes::from(vec![7; 5_000]);
    let owned = vec![8; 5_000];
    let addresses = [shared.as_ptr().addr(), shared.as_ptr().addr() + 10, owned.as_ptr().addr()];
    let mut borrowed = vec![9; 5_000];
    let _deliveries = [
        at_once(producer.produce(Record::to("t").payload(&shared))).expect("accepted"),
        at_once(producer.produce(Record::to("t").payload(shared.slice(10..)))).expect("accepted"),
        at_once(producer.produce(Record::to("t").payload(owned))).expect("accepted"),
        at_once(producer.produce(Record::to("t").payload(&borrowed))).expect("accepted"),
    ];
    let borrowed_from = borrowed.as_ptr().addr();
    borrowed.fill(0);
    let seen = script.accept().await;
    assert_eq!(seen.iter().map(|record| record.address).take(3).collect::<Vec<_>>(), addresses);
    assert_ne!(seen[3].address, borrowed_from);
    assert_eq!(seen[3].payload, Some(vec![9; 5_000]), "copied when it was accepted");
}

async fn s08_every_part_of_a_record_reaches_the_log(host: Host) {
    let broker = broker::start_with_topic("parts", 3);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let records = every_part("parts");
    let outcomes = producer.produce_all(records.iter().cloned()).await;
    assert_arrived(&records, outcomes, &broker::read_back(&broker, "parts", 3));
}

/// Long fields are copied before the lock, so these records take another way in.
async fn s08_long_parts_reach_the_log(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).pool_bytes(1 << 20));
    let part = |number: u8, len: usize| (0..len).map(|at| (at % 251) as u8 ^ number).collect::<Vec<u8>>();
    let parts: Vec<_> = (0..12)
        .map(|number| match number % 4 {
            0 => (part(number, 3), part(number, 200_000), part(number, 3)),
            1 => (part(number, 70_000), part(number, 3), part(number, 3)),
            2 => (part(number, 3), part(number, 3), part(number, 70_000)),
            _ => (part(number, 70_000), part(number, 70_000), part(number, 70_000)),
        })
        .collect();
    let records =
        || parts.iter().map(|(key, payload, value)| Record::to("t").key(key).payload(payload).header("h", value));
    for outcome in producer.produce_all(records()).await {
        outcome.expect("delivered");
    }
    // The pool has room for a few at a time, so others wait.
    let mut deliveries = Vec::new();
    for record in records() {
        deliveries.push(producer.produce(record).await.expect("accepted"));
    }
    for delivery in deliveries {
        delivery.await.expect("delivered");
    }
    let log = broker::read_back(&broker, "t", 1);
    let found = log.iter().map(|logged| (logged.key.clone(), logged.payload.clone(), logged.headers[0].1.clone()));
    let given =
        parts.iter().chain(&parts).cloned().map(|(key, payload, value)| (Some(key), Some(payload), Some(value)));
    assert!(found.eq(given));
}

async fn s08_times_are_the_system_s(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let then = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let record = Record::to("t").payload("x").timestamp(then + Duration::from_micros(7));
    assert_eq!((record.get_timestamp(), record.get_timestamp_millis()), (Some(then), Some(1_700_000_000_123)));
    let report = producer.send(record).await.expect("delivered");
    // A report has the broker's time, which may be its own.
    let millis = report.timestamp_millis().expect("a time");
    let reported = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.try_into().expect("after the epoch"));
    assert_eq!(report.timestamp(), Some(reported));
    let deleted = producer.send(Record::tombstone("t", "key")).await.as_ref().map(DeliveryReport::offset).ok();
    assert_eq!(deleted, Some(Some(1)));
}
