//! Topics that do not exist, that grow, and that are deleted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, Record, SendError};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::broker::{Isolation, assert_no_gaps, read_log};
use aioproducer_tests::executor::{Host, still_waiting};
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::probe::at_once;
use aioproducer_tests::promises_on_kafka;
use smol::future::or;

promises_on_kafka! {
    s15_a_topic_that_the_broker_does_not_make_fails_its_records_alone,
    a_topic_that_grows_is_followed,
    s17_records_for_a_topic_that_is_deleted_end_in_time,
    s17_records_that_librdkafka_queues_when_their_topic_is_deleted_end_in_time,
    s03_a_topic_that_is_deleted_and_made_again_gets_what_its_reports_say,
}

const LONG: Duration = Duration::from_secs(50);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// A producer that refreshes metadata often and believes it at once.
const OFTEN: [(&str, &str); 2] =
    [("topic.metadata.refresh.interval.ms", "100"), ("topic.metadata.propagation.max.ms", "500")];

fn backend(kafka: &Kafka, settings: &[(&str, &str)]) -> Librdkafka {
    let mut config = kafka.config();
    for (key, value) in settings {
        config.set(*key, *value);
    }
    Librdkafka::new(config)
}

async fn s15_a_topic_that_the_broker_does_not_make_fails_its_records_alone(host: Host) {
    let kafka = Kafka::shared();
    let (known, unknown) = (kafka.topic("known", 2), kafka.fresh("unknown"));
    let producer = host.start(AioProducer::builder(backend(kafka, &OFTEN)));
    let record = |n: usize| {
        let record = Record::to(if n.is_multiple_of(2) { &known } else { &unknown }).payload(n.to_string());
        // Two name a partition that does not exist.
        if n % 50 == 2 { record.partition(7) } else { record }
    };
    for (n, outcome) in producer.produce_all((0..100).map(record)).await.into_iter().enumerate() {
        let expected = match n {
            _ if n % 2 == 1 => FailureKind::UnknownTopic,
            _ if n % 50 == 2 => FailureKind::UnknownPartition,
            _ => {
                assert_eq!(outcome.expect("delivered").topic(), known);
                continue;
            }
        };
        match outcome {
            Err(SendError::Delivery(error)) => {
                assert_eq!((error.kind(), error.status()), (expected, Status::NotPersisted), "{n}");
                assert_eq!(error.into_record(), Some(record(n).into_owned()));
            }
            other => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(read_log(kafka.bootstrap_servers(), &known, 2, Isolation::Committed).len(), 48);
    // Both topics are created late.
    kafka.grow_topic(&known, 8);
    kafka.create_topic(&unknown, 1, &[]);
    for n in [2, 1] {
        while let Err(error) = producer.send(record(n)).await {
            assert!(matches!(error.kind(), Some(FailureKind::UnknownPartition | FailureKind::UnknownTopic)), "{error}");
            host.pause(Duration::from_millis(5)).await;
        }
    }
}

/// librdkafka refreshes the partitions of a topic every `topic.metadata.refresh.interval.ms`, by default 5 minutes.
async fn a_topic_that_grows_is_followed(host: Host) {
    let kafka = Kafka::shared();
    let topic = kafka.topic("growing", 1);
    let settings = [("topic.metadata.refresh.interval.ms", "100"), ("sticky.partitioning.linger.ms", "1")];
    let producer = host.start(AioProducer::builder(backend(kafka, &settings)));
    let report = producer.send(Record::to(&topic).payload("x")).await.expect("delivered");
    assert_eq!(report.partition(), 0);
    for count in [3, 6] {
        kafka.grow_topic(&topic, count);
        let (mut keyless, mut keyed) = (vec![0; count], vec![0; count]);
        // The watchdog ends the test if that never happens.
        while keyless.contains(&0) || keyed.contains(&0) {
            let report = producer.send(Record::to(&topic).payload("x")).await.expect("delivered");
            keyless[report.partition() as usize] += 1;
            let key = format!("key {}", keyed.iter().sum::<usize>() % 50);
            let report = producer.send(Record::to(&topic).key(key).payload("x")).await.expect("delivered");
            keyed[report.partition() as usize] += 1;
            host.pause(Duration::from_millis(2)).await;
        }
    }
}

/// Waits for the outcomes of all records, a few seconds longer than allowed.
async fn all_ended(host: &Host, producer: &AioProducer) {
    let ended = async {
        host.until(|| producer.is_empty()).await;
        true
    };
    let late = async {
        host.pause(DELIVERY_TIMEOUT + Duration::from_secs(15)).await;
        false
    };
    assert!(or(ended, late).await, "records have no outcome: {:?}", producer.statistics());
}

/// Where a record of a deleted topic was written; `None` if it came back.
fn ended(delivery: Delivery, record: Record<'static>) -> Option<(i32, i64)> {
    match at_once(delivery) {
        Ok(report) => Some((report.partition(), report.offset().expect("an offset"))),
        Err(error) => {
            assert!(error.kind() != FailureKind::Fatal && error.status() != Status::Persisted, "{error:?}");
            // One that librdkafka has when its time passes may not come back.
            let status = error.status();
            let back = error.into_record();
            assert!(
                back == Some(record) || back.is_none() && status == Status::PossiblyPersisted,
                "{status:?}: {back:?}"
            );
            None
        }
    }
}

/// With a key, with a partition, or with neither.
fn one_of_three(topic: &str, n: usize) -> Record<'static> {
    let record = Record::to(topic).payload(n.to_string());
    match n % 3 {
        0 => record,
        1 => record.key(n.to_string()),
        _ => record.partition((n / 3 % 2) as i32),
    }
    .into_owned()
}

fn numbers(kafka: &Kafka, topic: &str, partitions: i32) -> BTreeMap<(i32, i64), usize> {
    let log = read_log(kafka.bootstrap_servers(), topic, partitions, Isolation::Committed);
    assert_no_gaps(&log);
    log.iter().map(|logged| ((logged.partition, logged.offset), logged.text().parse().expect("a number"))).collect()
}

/// Two topics get records, and one of them is deleted. If `made_again`, it is created again with one partition less.
async fn a_topic_goes(host: &Host, settings: &[(&str, &str)], made_again: bool) {
    const SOME: usize = 1_500;
    const WINDOW: usize = 200;
    let kafka = Kafka::shared();
    let (doomed, other) = (kafka.topic("doomed", 3), kafka.topic("other", 2));
    let builder = AioProducer::builder(backend(kafka, settings)).delivery_timeout(DELIVERY_TIMEOUT);
    let producer = host.start(builder);
    let enough = Arc::new(AtomicBool::new(false));
    let task = {
        let (producer, enough, host_of_task) = (producer.clone(), enough.clone(), host.clone());
        let (doomed, other) = (doomed.clone(), other.clone());
        host.spawn(async move {
            let (mut in_doomed, mut in_other, mut under_way) = (Vec::new(), Vec::new(), VecDeque::new());
            while !enough.load(Ordering::SeqCst) {
                let n = in_doomed.len();
                in_doomed.push(producer.produce(one_of_three(&doomed, n)).await.expect("accepted"));
                let record = Record::to(&other).key("k").payload(n.to_string());
                under_way.push_back(producer.produce(record).await.expect("accepted"));
                // The broker sets the pace, so no record is late because of a queue.
                if under_way.len() > WINDOW {
                    let report = under_way.pop_front().expect("the oldest").await.expect("it is not disturbed");
                    in_other.push((report.partition(), report.offset().expect("an offset")));
                }
                if n.is_multiple_of(20) {
                    host_of_task.pause(Duration::from_millis(2)).await;
                }
            }
            for delivery in under_way {
                let report = delivery.await.expect("it is not disturbed");
                in_other.push((report.partition(), report.offset().expect("an offset")));
            }
            (in_doomed, in_other)
        })
    };
    let acquired = || producer.statistics().acquired as usize / 2;
    host.until(|| acquired() > SOME && producer.len() < SOME).await;
    let name = doomed.clone();
    smol::unblock(move || kafka.delete_topic(&name)).await;
    // From now on records cannot arrive until the topic is created again.
    let gone = acquired() + 1;
    host.until(|| acquired() > gone + SOME).await;
    if made_again {
        let name = doomed.clone();
        smol::unblock(move || kafka.create_topic(&name, 2, &[])).await;
        host.until(|| !numbers(kafka, &doomed, 2).is_empty()).await;
    }
    enough.store(true, Ordering::SeqCst);
    let (in_doomed, in_other) = task.join().await;
    all_ended(host, &producer).await;

    let mut written = if made_again { numbers(kafka, &doomed, 2) } else { BTreeMap::new() };
    let mut lost = 0;
    for (n, delivery) in in_doomed.into_iter().enumerate() {
        match ended(delivery, one_of_three(&doomed, n)) {
            None => {
                lost += 1;
                assert!(written.values().all(|number| *number != n), "{n} came back, and is in the log");
            }
            Some(place) if n >= gone => assert_eq!(written.remove(&place), Some(n), "{n} is not where its report says"),
            Some(place) => {
                // It was in the deleted log or is in the new one.
                if written.get(&place) == Some(&n) {
                    written.remove(&place);
                }
            }
        }
    }
    assert!(lost > 0, "the topic was gone");
    assert!(written.is_empty(), "in the log, without a report: {written:?}");
    let log = numbers(kafka, &other, 2);
    assert_eq!(log.values().copied().collect::<Vec<_>>(), (0..in_other.len()).collect::<Vec<_>>(), "the other topic");
    assert!(in_other.iter().eq(log.keys()), "a report and the log differ");
    assert_eq!(producer.fatal_error(), None);
    assert!(producer.close(LONG).await.is_complete());
}

/// librdkafka decides how they fail: `UnknownPartition` once it knows that the topic is gone, otherwise `TimedOut`.
async fn s17_records_for_a_topic_that_is_deleted_end_in_time(host: Host) {
    for settings in [&OFTEN[..], &OFTEN[..1], &[("enable.idempotence", "false"), OFTEN[0], OFTEN[1]]] {
        a_topic_goes(&host, settings, false).await;
        still_waiting();
    }
}

async fn s03_a_topic_that_is_deleted_and_made_again_gets_what_its_reports_say(host: Host) {
    a_topic_goes(&host, &OFTEN, true).await;
}

async fn s17_records_that_librdkafka_queues_when_their_topic_is_deleted_end_in_time(host: Host) {
    let kafka = Kafka::shared();
    // The first fail early because the topic is gone; the others time out.
    for (settings, linger, timeout) in [(&OFTEN[..], "90000", LONG * 2), (&OFTEN[..1], "4900", DELIVERY_TIMEOUT)] {
        let (doomed, other) = (kafka.topic("doomed", 3), kafka.topic("other", 2));
        let lingers = [settings, &[("linger.ms", linger)]].concat();
        let producer = host.start(AioProducer::builder(backend(kafka, &lingers)).delivery_timeout(timeout));
        let mut in_doomed = Vec::new();
        // The first have no partition until librdkafka knows the topic; the others are queued for theirs.
        for _ in 0..2 {
            for n in in_doomed.len()..in_doomed.len() + 300 {
                in_doomed.push(producer.produce(one_of_three(&doomed, n)).await.expect("accepted"));
            }
            producer.metadata(Some(&doomed)).await.expect("an answer");
        }
        host.until(|| producer.statistics().buffered == 0).await;
        let name = doomed.clone();
        smol::unblock(move || kafka.delete_topic(&name)).await;
        all_ended(&host, &producer).await;
        for (n, delivery) in in_doomed.into_iter().enumerate() {
            let place = ended(delivery, one_of_three(&doomed, n));
            assert!(place.is_none() || timeout == DELIVERY_TIMEOUT, "{n} was to linger");
        }
        let last = producer.produce(Record::to(&other).payload("0")).await.expect("accepted");
        assert!(producer.close(LONG).await.is_complete());
        at_once(last).expect("another topic is not disturbed");
        still_waiting();
    }
}
