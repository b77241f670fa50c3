//! Each record once and in order: a real broker checks sequence numbers and keeps them across a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aioproducer_driver::{AioProducer, Delivery, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::broker::{Isolation, assert_no_gaps, config_for, read_log};
use aioproducer_tests::executor::{self, Host, SmolGlobal, TokioMulti, still_waiting};
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::promises_on_kafka;

promises_on_kafka! {
    s18_a_real_log_has_each_record_once_and_in_order,
    s18_answers_that_get_lost_double_nothing,
}

const LONG: Duration = Duration::from_secs(50);

/// Records that may be in flight during a disturbance.
const SLOTS: usize = 2_000;

/// Records of a topic, numbered as they are produced.
#[derive(Clone)]
struct Stream {
    topic: String,
    partitions: i32,
    /// Whether records name their partition; if not, every third has no key.
    places: bool,
}

impl Stream {
    fn new(kafka: &Kafka, partitions: i32, places: bool) -> Self {
        Self { topic: kafka.topic("stream", partitions as usize), partitions, places }
    }

    fn record(&self, n: usize) -> Record<'_> {
        let record = Record::to(&self.topic).payload(n.to_string());
        match n % 3 {
            _ if self.places => record.partition(n as i32 % self.partitions),
            0 => record,
            _ => record.key(format!("key {}", n % 50)),
        }
    }

    /// Checks that every record was delivered and is in the log once, at the place in its report, in order, and in the partition
    /// of its key.
    async fn check(&self, kafka: &Kafka, deliveries: Vec<Delivery>) {
        let log = read_log(kafka.bootstrap_servers(), &self.topic, self.partitions, Isolation::Committed);
        assert_no_gaps(&log);
        let (mut places, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for logged in &log {
            let number: usize = logged.text().parse().expect("a number");
            let partition = *keys.entry(logged.key.clone()).or_insert(logged.partition);
            assert!(logged.key.is_none() || partition == logged.partition, "{number}: its key is in {partition}, too");
            places.insert((logged.partition, logged.offset), number);
        }
        // Of several partitions, records without a key are in order among themselves.
        let is_apart = |n: usize| self.partitions > 1 && !self.places && n.is_multiple_of(3);
        let mut last = BTreeMap::new();
        for ((partition, _), number) in &places {
            let before = last.insert((*partition, is_apart(*number)), *number);
            assert!(before.is_none_or(|before| before < *number), "{}: {before:?} comes before {number}", self.topic);
        }
        assert_eq!(log.len(), deliveries.len());
        for (n, delivery) in deliveries.into_iter().enumerate() {
            let report = delivery.await.unwrap_or_else(|error| panic!("{n}: {error}"));
            assert_eq!(
                places.remove(&(report.partition(), report.offset().expect("an offset"))),
                Some(n),
                "{report:?}"
            );
        }
    }
}

async fn s18_a_real_log_has_each_record_once_and_in_order(host: Host) {
    const COUNT: usize = 12_000;
    let kafka = Kafka::shared();
    let backend = Librdkafka::new(kafka.config()).workers(2);
    let producer = host.start(AioProducer::builder(backend).slots(4_000));
    let streams = [(1, false), (6, false), (3, true)].map(|(count, places)| Stream::new(kafka, count, places));
    let tasks = streams.each_ref().map(|stream| {
        let (stream, producer) = (stream.clone(), producer.clone());
        host.spawn(async move {
            let mut deliveries = Vec::new();
            for n in 0..COUNT {
                deliveries.push(producer.produce(stream.record(n)).await.expect("accepted"));
            }
            deliveries
        })
    });
    for (stream, task) in streams.iter().zip(tasks) {
        let deliveries = task.join().await;
        assert!(producer.flush().topic(&stream.topic).within(LONG).await.is_ok());
        stream.check(kafka, deliveries).await;
    }
}

/// Two streams produce without a pause during `trouble` and for some time after it.
async fn streams_survive(host: &Host, kafka: &Kafka, servers: &str, trouble: impl AsyncFnOnce(&AioProducer)) {
    let backend = Librdkafka::new(config_for(servers)).workers(2);
    let producer = host.start(AioProducer::builder(backend).slots(SLOTS));
    let enough = Arc::new(AtomicBool::new(false));
    let streams = [(4, false), (2, true)].map(|(count, places)| Stream::new(kafka, count, places));
    let tasks = streams.each_ref().map(|stream| {
        let (stream, producer, enough, host_of_task) = (stream.clone(), producer.clone(), enough.clone(), host.clone());
        host.spawn(async move {
            let mut deliveries = Vec::new();
            while !enough.load(Ordering::SeqCst) {
                deliveries.push(producer.produce(stream.record(deliveries.len())).await.expect("accepted"));
                if deliveries.len().is_multiple_of(20) {
                    host_of_task.pause(Duration::from_millis(1)).await;
                }
            }
            deliveries
        })
    });
    delivered(host, &producer, 3_000).await;
    trouble(&producer).await;
    delivered(host, &producer, 3_000).await;
    enough.store(true, Ordering::SeqCst);
    let mut deliveries = Vec::new();
    for task in tasks {
        deliveries.push(task.join().await);
    }
    assert!(producer.close(LONG).await.is_complete());
    assert_eq!(producer.fatal_error(), None);
    for (stream, deliveries) in streams.iter().zip(deliveries) {
        stream.check(kafka, deliveries).await;
    }
}

/// Waits until so many more records have their outcome.
async fn delivered(host: &Host, producer: &AioProducer, more: u64) {
    let ended = || {
        let statistics = producer.statistics();
        statistics.acquired - statistics.in_use as u64
    };
    let before = ended();
    host.until(|| ended() > before + more).await;
}

/// Records whose answer got lost are sent again, and the broker recognises them by their sequence numbers.
async fn s18_answers_that_get_lost_double_nothing(host: Host) {
    let kafka = Kafka::shared();
    streams_survive(&host, kafka, kafka.proxied_servers(), async |producer| {
        for _ in 0..12 {
            smol::unblock(|| kafka.proxy().lose_answers(0)).await;
            delivered(&host, producer, 200).await;
        }
    })
    .await;
}

/// The broker starts again when the pool is full of records that were not acknowledged.
async fn a_broker_goes_and_comes_back(host: Host, down: fn(&Kafka)) {
    let kafka = Arc::new(smol::unblock(Kafka::start).await);
    still_waiting();
    streams_survive(&host, &kafka, kafka.bootstrap_servers(), async |producer| {
        let of_task = Arc::clone(&kafka);
        smol::unblock(move || down(&of_task)).await;
        still_waiting();
        host.until(|| producer.statistics().waiters == 2).await;
        let of_task = Arc::clone(&kafka);
        smol::unblock(move || of_task.start_again()).await;
        still_waiting();
    })
    .await;
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_a_broker_that_is_stopped_and_started_again_doubles_and_loses_nothing() {
    executor::run::<TokioMulti, _>(|host| a_broker_goes_and_comes_back(host, Kafka::stop));
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_a_broker_that_is_killed_and_started_again_doubles_and_loses_nothing() {
    executor::run::<SmolGlobal, _>(|host| a_broker_goes_and_comes_back(host, Kafka::kill));
}
