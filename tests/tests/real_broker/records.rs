//! What arrives, where, and what its report says: the embedded broker does not read batches.

use std::collections::BTreeMap;

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record, SendError};
use aioproducer_rdkafka::{ClientConfig, ErrorCode, Librdkafka};
use aioproducer_tests::broker::{Isolation, Logged, read_log, with_codec};
use aioproducer_tests::executor::{self, Host, TokioMulti};
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::promises_on_kafka;
use aioproducer_tests::records::{assert_arrived, every_part};

promises_on_kafka! {
    s03_acks_of_a_real_broker_tell_the_offset,
    s03_a_topic_that_stamps_records_itself_is_reported_so,
    s03_a_batch_that_the_broker_refuses_comes_back_and_is_not_in_the_log,
    s08_every_part_of_a_record_arrives_with_every_codec,
    s15_a_record_above_the_topic_s_limit_fails_alone,
}

fn configured(host: &Host, mut config: ClientConfig, settings: &[(&str, &str)]) -> AioProducer {
    for (key, value) in settings {
        config.set(*key, *value);
    }
    host.start(AioProducer::builder(Librdkafka::new(config)))
}

fn log(topic: &str, partitions: i32) -> Vec<Logged> {
    read_log(Kafka::shared().bootstrap_servers(), topic, partitions, Isolation::Committed)
}

async fn s08_every_part_of_a_record_arrives_with_every_codec(host: Host) {
    let kafka = Kafka::shared();
    let mut worked = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = kafka.topic(codec, 3);
        let Some(producer) = with_codec(&host, kafka.config(), codec) else { continue };
        let records = every_part(&topic);
        let outcomes = producer.produce_all(records.iter().cloned()).await;
        assert_arrived(&records, outcomes, &log(&topic, 3));
        worked.push(codec);
    }
    assert!(worked.starts_with(&["none", "gzip", "snappy", "lz4"]), "{worked:?}");
}

async fn s03_acks_of_a_real_broker_tell_the_offset(host: Host) {
    let kafka = Kafka::shared();
    for acks in ["0", "1", "all"] {
        let topic = kafka.topic("acks", 1);
        let producer = configured(&host, kafka.config(), &[("acks", acks)]);
        for n in 0..20 {
            let report = producer.send(Record::to(&topic).payload(n.to_string())).await.expect("delivered");
            assert_eq!(report.offset(), (acks != "0").then_some(n), "acks={acks}");
        }
        assert!(acks == "0" || log(&topic, 1).len() == 20, "acks={acks}");
    }
}

async fn s03_a_topic_that_stamps_records_itself_is_reported_so(host: Host) {
    const LONG_AGO: i64 = 1_234_567;
    let kafka = Kafka::shared();
    for stamped in [false, true] {
        let kind = if stamped { "LogAppendTime" } else { "CreateTime" };
        let topic = kafka.topic_with("times", 1, &[("message.timestamp.type", kind)]);
        let producer = configured(&host, kafka.config(), &[]);
        let records = (0..20).map(|_| Record::to(&topic).payload("x").timestamp_millis(LONG_AGO));
        let outcomes = producer.produce_all(records).await;
        let log = log(&topic, 1);
        assert_eq!(log.len(), 20);
        for (outcome, logged) in outcomes.into_iter().zip(log) {
            let report = outcome.expect("delivered");
            assert_eq!(report.timestamp_millis(), logged.timestamp, "{kind}");
            assert_eq!(logged.timestamp != Some(LONG_AGO), stamped, "{kind}: {logged:?}");
        }
    }
}

/// librdkafka resends or fails a whole batch. A record fails alone only if batches are no larger than the topic's limit
/// (`batch.size`).
async fn s15_a_record_above_the_topic_s_limit_fails_alone(host: Host) {
    const LARGE: usize = 50;
    let kafka = Kafka::shared();
    for idempotence in ["true", "false"] {
        let topic = kafka.topic_with("limited", 1, &[("max.message.bytes", "10000")]);
        let settings = [("batch.size", "9000"), ("linger.ms", "20"), ("enable.idempotence", idempotence)];
        let producer = configured(&host, kafka.config(), &settings);
        let record = |n: usize| {
            let record = Record::to(&topic).key(n.to_string());
            record.payload(vec![b'x'; if n == LARGE { 20_000 } else { 50 }])
        };
        for (n, outcome) in producer.produce_all((0..2 * LARGE).map(record)).await.into_iter().enumerate() {
            match outcome {
                Ok(_) => assert_ne!(n, LARGE),
                Err(SendError::Delivery(error)) => {
                    assert_eq!((n, error.kind(), error.status()), (LARGE, FailureKind::TooLarge, Status::NotPersisted));
                    assert_eq!(error.code(), Some(ErrorCode::MsgSizeTooLarge));
                    assert_eq!(error.into_record(), Some(record(LARGE).into_owned()));
                }
                Err(error) => panic!("{n}: {error}"),
            }
        }
        producer.send(record(0)).await.expect("it goes on");
        assert_eq!(log(&topic, 1).len(), 2 * LARGE);
    }
}

/// With a timestamp too far in the future the broker refuses the record's batch.
async fn s03_a_batch_that_the_broker_refuses_comes_back_and_is_not_in_the_log(host: Host) {
    const FAR_AHEAD: i64 = 4_102_444_800_000;
    let kafka = Kafka::shared();
    for idempotence in ["true", "false"] {
        let topic = kafka.topic("refused", 1);
        let settings = [("linger.ms", "100"), ("enable.idempotence", idempotence)];
        let producer = configured(&host, kafka.config(), &settings);
        let record = |n: usize| {
            let record = Record::to(&topic).payload(n.to_string());
            if n == 50 { record.timestamp_millis(FAR_AHEAD) } else { record }
        };
        let mut delivered = Vec::new();
        for (n, outcome) in producer.produce_all((0..100).map(record)).await.into_iter().enumerate() {
            match outcome {
                // It was in another batch, which depends on the machine's speed.
                Ok(_) => delivered.push(n),
                Err(SendError::Delivery(error)) => {
                    assert_eq!((error.kind(), error.status()), (FailureKind::Broker, Status::NotPersisted), "{n}");
                    let culprit = ErrorCode::InvalidTimestamp;
                    let expected = if n == 50 { culprit } else { ErrorCode::LocalInvalidDifferentRecord };
                    assert_eq!(error.code(), Some(expected), "{n}");
                    assert_eq!(error.into_record(), Some(record(n).into_owned()));
                }
                Err(error) => panic!("{n}: {error}"),
            }
        }
        assert!(!delivered.contains(&50), "the broker refuses it");
        producer.send(record(100)).await.expect("it goes on");
        delivered.push(100);
        let found: Vec<usize> = log(&topic, 1).iter().map(|logged| logged.text().parse().expect("a number")).collect();
        assert_eq!(found, delivered);
    }
}

/// Kafka's console producer is its Java client, with the partitioner that it has by default.
async fn keys_go_where_java_sends_them(host: Host) {
    const PARTITIONS: i32 = 7;
    let kafka = Kafka::shared();
    let topic = kafka.topic("keys", PARTITIONS as usize);
    let letters = "abcdefghijklmnopqrstuvwxyz";
    let mut keys: Vec<String> = (0..letters.len()).map(|length| letters[..length].to_owned()).collect();
    keys.extend((0..200).map(|n| format!("customer-{n}")));
    keys.extend(["ä", "日本", "Straße 5", "🦀 and more"].map(String::from));
    let producer = configured(&host, kafka.config(), &[]);
    let records = keys.iter().map(|key| Record::to(&topic).key(key.as_str()).payload("ours"));
    for outcome in producer.produce_all(records).await {
        outcome.expect("delivered");
    }
    let lines: String = keys.iter().map(|key| format!("{key}\tjava\n")).collect();
    let console = ["org.apache.kafka.tools.ConsoleProducer", "--property", "parse.key=true"];
    let arguments = [&console[..], &["--bootstrap-server", kafka.bootstrap_servers(), "--topic", &topic]].concat();
    drop(kafka.run(&arguments, &lines));

    let mut found = BTreeMap::<_, Vec<_>>::new();
    for logged in log(&topic, PARTITIONS) {
        let key = String::from_utf8(logged.key.clone().expect("a key")).expect("text");
        found.entry((logged.text() == "java", logged.partition)).or_default().push(key);
    }
    let counts = |java| found.iter().filter(|((is, _), _)| *is == java).map(|(_, keys)| keys.len()).sum::<usize>();
    assert_eq!((counts(false), counts(true)), (keys.len(), keys.len()));
    for partition in 0..PARTITIONS {
        let of = |java| {
            let mut keys = found.get(&(java, partition)).cloned().unwrap_or_default();
            keys.sort();
            keys
        };
        assert_eq!(of(false), of(true), "partition {partition}");
        assert!(!of(true).is_empty(), "partition {partition}");
    }
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn keys_go_where_javas_own_client_sends_them() {
    executor::run::<TokioMulti, _>(keys_go_where_java_sends_them);
}
