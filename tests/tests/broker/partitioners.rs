//! S33: partitioners have librdkafka's names and its behaviour, for records without a key, with an empty key, and with any other
//! key. Tests of `aioproducer_rdkafka` compare the functions themselves. S9: a partitioner of the application's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aioproducer_driver::error::FailureKind;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka, Partitioner, ToPartition};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s33_partitioners_treat_no_key_and_empty_keys_as_librdkafka_does,
    s09_a_closure_as_partitioner_sees_topic_key_and_value_on_every_thread,
}

const PARTITIONS: i32 = 7;

/// The partitions of records with this key, sent one by one or all at once.
async fn places(host: &Host, broker: &EmbeddedBroker, name: &str, key: Option<&str>) -> BTreeSet<i32> {
    let mut config = broker::config(broker);
    // Records without a key leave their partition after each of them.
    config.set("partitioner", name).set("sticky.partitioning.linger.ms", "0");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    let record = || {
        let record = Record::to("t").payload("x");
        if let Some(key) = key { record.key(key) } else { record }
    };
    let mut found = BTreeSet::new();
    for _ in 0..40 {
        found.insert(producer.send(record()).await.expect("delivered").partition());
    }
    for outcome in producer.produce_all((0..100).map(|_| record())).await {
        found.insert(outcome.expect("delivered").partition());
    }
    found
}

async fn s33_partitioners_treat_no_key_and_empty_keys_as_librdkafka_does(host: Host) {
    let broker = broker::start_with_topic("t", PARTITIONS);
    // The partition without a key, with an empty key, and with "key"; `None` if any will do.
    let expected = [
        ("random", [None, None, None]),
        ("consistent", [Some(0), Some(0), Some(crc32("key"))]),
        ("consistent_random", [None, None, Some(crc32("key"))]),
        ("murmur2", [Some(MURMUR2_EMPTY), Some(MURMUR2_EMPTY), Some(MURMUR2_KEY)]),
        ("murmur2_random", [None, Some(MURMUR2_EMPTY), Some(MURMUR2_KEY)]),
        ("fnv1a", [Some(fnv1a("")), Some(fnv1a("")), Some(fnv1a("key"))]),
        ("fnv1a_random", [None, Some(fnv1a("")), Some(fnv1a("key"))]),
    ];
    for (name, places_of) in expected {
        for (key, place) in [None, Some(""), Some("key")].into_iter().zip(places_of) {
            let found = places(&host, &broker, name, key).await;
            match place {
                Some(place) => assert_eq!(found, BTreeSet::from([place]), "{name}, {key:?}"),
                None => assert!(found.len() > 1, "{name}, {key:?}: {found:?}"),
            }
        }
    }
}

/// By the value's first byte; of topic "back" counted from the last partition, and with the key "nowhere" to none.
fn by_value(record: &ToPartition<'_>) -> i32 {
    if record.key == b"nowhere" {
        return record.partitions;
    }
    assert!(record.key.is_empty() || record.key == b"key", "{record:?}");
    let place = record.value.map_or(0, |value| value.first().map_or(1, |byte| i32::from(*byte) % record.partitions));
    if record.topic == "back" { record.partitions - 1 - place } else { place }
}

async fn s09_a_closure_as_partitioner_sees_topic_key_and_value_on_every_thread(host: Host) {
    let broker = broker::start_with_topic("t", PARTITIONS);
    broker.create_topic("back", PARTITIONS, 1).expect("a topic");
    // How often each thread called it. Threads of librdkafka have no name in Rust.
    let asked: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let counted = Arc::clone(&asked);
    let backend = broker::backend(&broker).partitioner(Partitioner::custom(move |record| {
        let thread = thread::current().name().unwrap_or("unnamed").to_owned();
        *counted.lock().expect("counts").entry(thread).or_default() += 1;
        by_value(&record)
    }));
    let producer = host.start(AioProducer::builder(backend));
    let long = |first: u8| vec![first; 3000];
    let values: Vec<Option<Vec<u8>>> = (0..60)
        .map(|n: u8| if n % 10 == 3 { Some(long(n)) } else { Some(vec![n; usize::from(n % 4)]) })
        .chain([None])
        .collect();
    for topic in ["t", "back"] {
        let record = |value: &Option<Vec<u8>>, number: usize| {
            let record = Record::to(topic).key(if number.is_multiple_of(5) { "" } else { "key" });
            let record = if number % 7 == 6 { record.header("h", "v") } else { record };
            if let Some(value) = value { record.payload(value.clone()) } else { record }
        };
        let expected = |value: &Option<Vec<u8>>| {
            let place = value.as_ref().map_or(0, |value| value.first().map_or(1, |byte| i32::from(*byte) % PARTITIONS));
            if topic == "back" { PARTITIONS - 1 - place } else { place }
        };
        for round in 0..3 {
            // The first records come before librdkafka knows the topic.
            broker.round_trip_time(1, Duration::from_millis(if round == 0 { 300 } else { 0 })).expect("a broker");
            let records = values.iter().enumerate().map(|(number, value)| record(value, number));
            for (outcome, value) in producer.produce_all(records).await.into_iter().zip(&values) {
                assert_eq!(outcome.expect("delivered").partition(), expected(value), "{topic} {value:?}");
            }
        }
        // Single records are handed off on this thread.
        for (number, value) in values.iter().enumerate() {
            let report = producer.send(record(value, number)).await.expect("delivered");
            assert_eq!(report.partition(), expected(value), "{topic} {value:?}");
        }
        let nowhere = producer.send(Record::to(topic).key("nowhere").payload("x")).await.expect_err("out of range");
        assert_eq!(nowhere.kind(), Some(FailureKind::UnknownPartition));
    }
    let asked = asked.lock().expect("counts").clone();
    // Called by librdkafka until it knows the topics, then by the producing thread.
    assert!(asked.len() >= 2 && asked.contains_key("unnamed"), "{asked:?}");
}

/// `(murmur2(key) & 0x7fffffff) % 7`, from Kafka's `Utils.murmur2`: 0x106e08d9 for an empty key.
const MURMUR2_EMPTY: i32 = 0x106e_08d9 % PARTITIONS;
const MURMUR2_KEY: i32 = 4;

fn crc32(key: &str) -> i32 {
    let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    let crc = key.bytes().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| bit(crc)));
    (!crc % PARTITIONS as u32) as i32
}

/// Sarama's rule: the absolute value of a signed number.
fn fnv1a(key: &str) -> i32 {
    let hash = key.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    ((hash as i32).unsigned_abs() % PARTITIONS as u32) as i32
}
