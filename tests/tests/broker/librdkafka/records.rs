//! librdkafka's own tests of records and settings, repeated with this producer. `docs/librdkafka-tests.md` lists which test
//! mirrors which.

use std::collections::BTreeSet;
use std::time::Duration;

use aioproducer_driver::{AioProducer, ProduceError, Record, SendError};
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s03_acks_none_one_and_all_are_reported,
    s07_many_topics_at_once_each_get_their_records,
    s08_every_codec_that_is_compiled_in_keeps_records_whole,
    s08_times_are_kept_with_and_without_compression,
    s08_a_topic_s_name_may_have_249_characters,
    s15_message_max_bytes_decides_which_records_are_too_large,
    s25_producers_beside_each_other_do_not_disturb_one_another,
}

fn configured(host: &Host, broker: &EmbeddedBroker, settings: &[(&str, &str)]) -> AioProducer {
    let mut config = broker::config(broker);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    host.start(AioProducer::builder(Librdkafka::new(config)))
}

/// 0003. librdkafka counts a record's size on the wire, 36 bytes more than the record's own.
async fn s15_message_max_bytes_decides_which_records_are_too_large(host: Host) {
    let broker = broker::start_with_topic("sizes", 1);
    let producer = configured(&host, &broker, &[("message.max.bytes", "10000")]);
    let sized = |bytes: usize| Record::to("sizes").key("0123456789").payload(vec![b'x'; bytes - 10]);
    producer.send(sized(9_964)).await.expect("not too large");
    match producer.send(sized(9_965)).await {
        Err(SendError::Produce(error)) => match *error {
            ProduceError::TooLarge {
                record, size: 9_965, limit: 10_000, setting: Some("message.max.bytes"), ..
            } => {
                assert_eq!(record, sized(9_965));
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    producer.send(sized(11)).await.expect("a small one after them");
    let sizes: Vec<_> = broker::read_back(&broker, "sizes", 1).iter().map(|logged| logged.text().len()).collect();
    assert_eq!(sizes, [9_954, 1]);
}

/// 0008. Without acknowledgement the offset is unknown.
async fn s03_acks_none_one_and_all_are_reported(host: Host) {
    let broker = EmbeddedBroker::start_with(3).expect("three brokers");
    for acks in ["0", "1", "-1", "all"] {
        let topic = format!("acks{acks}");
        broker.create_topic(&topic, 1, 3).expect("a topic");
        let producer = configured(&host, &broker, &[("acks", acks)]);
        for n in 0..20 {
            let report = producer.send(Record::to(&topic).payload(n.to_string())).await.expect("delivered");
            assert_eq!((report.topic(), report.partition()), (topic.as_str(), 0));
            assert_eq!(report.offset(), (acks != "0").then_some(n), "acks={acks}");
        }
        assert!(producer.close(Duration::from_secs(50)).await.is_complete());
        // Without acknowledgement they may still be on their way when the client forgets them.
        if acks != "0" {
            assert_eq!(broker::read_back(&broker, &topic, 1).len(), 20, "acks={acks}");
        }
    }
}

/// 0042, 0007: none of the topics exists before.
async fn s07_many_topics_at_once_each_get_their_records(host: Host) {
    const TOPICS: usize = 60;
    let broker = broker::start();
    let producer = configured(&host, &broker, &[]);
    let records = (0..5 * TOPICS).map(|n| Record::to(format!("many-{}", n % TOPICS)).payload(n.to_string()));
    let outcomes = producer.produce_all(records).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.expect("delivered").topic(), format!("many-{}", n % TOPICS));
    }
    for topic in [0, 17, TOPICS - 1] {
        let log = broker::read_back(&broker, &format!("many-{topic}"), 4);
        let mut found: Vec<usize> = log.iter().map(|logged| logged.text().parse().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, (0..5).map(|round| topic + round * TOPICS).collect::<Vec<_>>());
    }
}

/// 0017. A codec that is not in the build is refused by name at start.
async fn s08_every_codec_that_is_compiled_in_keeps_records_whole(host: Host) {
    let broker = broker::start();
    let mut worked = BTreeSet::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        broker.create_topic(codec, 1, 1).expect("a topic");
        let Some(producer) = broker::with_codec(&host, broker::config(&broker), codec) else { continue };
        let payload = |n: usize| format!("{n}: {}", "much of the same, ".repeat(n % 50));
        let records = (0..200).map(|n| Record::to(codec).key(n.to_string()).payload(payload(n)).header("n", "1"));
        for outcome in producer.produce_all(records).await {
            outcome.unwrap_or_else(|error| panic!("{codec}: {error}"));
        }
        let log = broker::read_back(&broker, codec, 1);
        assert_eq!(log.len(), 200, "{codec}");
        for (n, logged) in log.iter().enumerate() {
            assert_eq!((logged.text(), logged.headers.len()), (payload(n).as_str(), 1), "{codec}");
            assert_eq!(logged.key.as_deref(), Some(n.to_string().as_bytes()), "{codec}");
        }
        worked.insert(codec);
    }
    // Snappy and lz4 are librdkafka's own; zlib comes with this package's features.
    for codec in ["none", "gzip", "snappy", "lz4"] {
        assert!(worked.contains(codec), "{codec}");
    }
}

/// 0052.
async fn s08_times_are_kept_with_and_without_compression(host: Host) {
    const TIMES: [i64; 4] = [1, 1_234_567_890_123, 1_000, 4_102_444_800_000];
    let broker = broker::start();
    for codec in ["none", "gzip", "lz4"] {
        let topic = format!("times-{codec}");
        broker.create_topic(&topic, 1, 1).expect("a topic");
        let producer = configured(&host, &broker, &[("compression.type", codec), ("linger.ms", "20")]);
        // Times go up and down within one batch, and some records have none.
        let records = (0..40_usize).map(|n| {
            let record = Record::to(&topic).payload("at some time");
            if n.is_multiple_of(5) { record } else { record.timestamp_millis(TIMES[n % TIMES.len()]) }
        });
        for outcome in producer.produce_all(records).await {
            outcome.expect("delivered");
        }
        for (n, logged) in broker::read_back(&broker, &topic, 1).iter().enumerate() {
            let found = logged.timestamp.expect("a time");
            if n.is_multiple_of(5) {
                assert!(found > TIMES[1], "{codec}: the time of sending, not {found}");
            } else {
                assert_eq!(found, TIMES[n % TIMES.len()], "{codec}");
            }
        }
    }
}

/// 0028, 0057.
async fn s08_a_topic_s_name_may_have_249_characters(host: Host) {
    let broker = broker::start();
    let producer = configured(&host, &broker, &[]);
    let longest = "t".repeat(249);
    broker.create_topic(&longest, 1, 1).expect("a topic");
    let report = producer.send(Record::to(&longest).payload("here")).await.expect("delivered");
    assert_eq!(report.topic(), longest);
    for name in [format!("{longest}t").as_str(), "", ".", "..", "with space", "nul\0", "ümlaut"] {
        match producer.send(Record::to(name).payload("nowhere")).await {
            Err(SendError::Produce(error)) => assert!(matches!(*error, ProduceError::Topic { .. }), "{error}"),
            other => panic!("{name:?}: {other:?}"),
        }
    }
    assert_eq!(broker::read_back(&broker, &longest, 1).len(), 1);
    assert_eq!(producer.statistics().acquired, 1);
}

/// 0001.
async fn s25_producers_beside_each_other_do_not_disturb_one_another(host: Host) {
    let broker = broker::start_with_topic("beside", 5);
    let producers: Vec<_> = (0..5).map(|_| configured(&host, &broker, &[])).collect();
    for (partition, producer) in (0..).zip(&producers) {
        drop(producer.produce(Record::to("beside").partition(partition).payload("first")).await.expect("accepted"));
    }
    // They end one after the other while the others go on.
    for (at, producer) in producers.iter().enumerate() {
        assert!(producer.close(Duration::from_secs(50)).await.is_complete());
        for (partition, later) in (0..).zip(&producers).skip(at + 1) {
            later.send(Record::to("beside").partition(partition).payload("more")).await.expect("delivered");
        }
    }
    let log = broker::read_back(&broker, "beside", 5);
    for partition in 0..5 {
        let found = log.iter().filter(|logged| logged.partition == partition).count();
        assert_eq!(found as i32, 1 + partition);
    }
}
