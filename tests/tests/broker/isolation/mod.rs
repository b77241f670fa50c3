//! What a leader that does not answer does to the others: three brokers, two partitions on each, and a small pool.
//!
//! `checks/kafka/three.sh` shows the same on a real cluster, with rates and latencies. Nothing here depends on speed.

mod beside;
mod events;
mod health;
mod order;
mod renewal;
mod share;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aioproducer_driver::error::Status;
use aioproducer_driver::{AioProducer, Builder, Delivery, ProduceError, Record};
use aioproducer_history::{Allow, History, Log, LogEntry, ProduceCall, Verdict, check_with};
use aioproducer_rdkafka::{ClientConfig, EmbeddedBroker, Librdkafka};
use aioproducer_tests::broker;
use aioproducer_tests::cluster::BROKERS;
use aioproducer_tests::executor::{Host, Joined};

const TOPIC: &str = "t";

const PARTITIONS: i32 = 6;

/// The broker that does not answer, and its partitions.
const HURT: i32 = 2;
const HURT_PARTITIONS: [i32; 2] = [1, 4];

const HEALTHY_PARTITIONS: [i32; 4] = [0, 2, 3, 5];

/// Slots of the producer.
const POOL: usize = 1_000;

/// The most records of a stream: the embedded broker keeps all of them.
const LIMIT: usize = 20_000;

/// A stream pauses after so many records: else it could come to its limit, or fill a pool, before the test has done anything.
const AT_A_TIME: usize = 16;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

/// How a broker does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Its connections stay, and its answers come in the end.
    Silent,
    /// It refuses connections.
    Down,
    /// It is well: what the other cases are compared with.
    None,
}

/// Three brokers with the topic.
struct Trio {
    brokers: EmbeddedBroker,
}

impl Trio {
    fn start() -> Self {
        let brokers = EmbeddedBroker::start_with(BROKERS).expect("three brokers");
        brokers.create_topic(TOPIC, PARTITIONS, 1).expect("a topic");
        for partition in 0..PARTITIONS {
            brokers.partition_leader(TOPIC, partition, Some(partition % BROKERS + 1)).expect("a leader");
        }
        Self { brokers }
    }

    fn config(&self) -> ClientConfig {
        let mut config = broker::config(&self.brokers);
        config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
        config
    }

    fn builder(&self, workers: usize) -> Builder<Librdkafka> {
        AioProducer::builder(Librdkafka::new(self.config()).workers(workers)).slots(POOL)
    }

    /// A producer that is connected to all brokers.
    async fn producer(&self, host: &Host, builder: Builder<Librdkafka>) -> AioProducer {
        let producer = host.start(builder);
        for partition in 0..PARTITIONS {
            producer.send(Record::to(TOPIC).partition(partition)).await.expect("delivered");
        }
        producer
    }

    fn hurt(&self, broker: i32, fault: Fault) {
        match fault {
            Fault::Silent => self.brokers.round_trip_time(broker, FOR_EVER).expect("it falls silent"),
            Fault::Down => self.brokers.broker_down(broker).expect("it goes down"),
            Fault::None => {}
        }
    }

    fn heal(&self, broker: i32, fault: Fault) {
        match fault {
            Fault::Silent => self.brokers.round_trip_time(broker, Duration::ZERO).expect("it answers"),
            Fault::Down => self.brokers.broker_up(broker).expect("it comes back"),
            Fault::None => {}
        }
    }

    /// Compares the ends of streams with the log. The embedded broker does not look at sequence numbers, so that records which are
    /// sent again after a connection broke are doubled: that says nothing.
    fn check(&self, streams: Vec<Stream>) -> Verdict {
        let mut history = History::new();
        for (lane, stream) in (0_u32..).zip(streams) {
            for (number, end) in stream {
                // Each stream stays in order, as the records of a key do.
                let (key, payload) = (lane.to_be_bytes(), number.to_string());
                let call = ProduceCall::new(number, TOPIC).key(&key).payload(&payload);
                let record = history.produce(Duration::ZERO, call);
                match end {
                    Ok(partition) => history.delivered(record, Duration::ZERO, partition, None),
                    Err(status) => history.failed(record, Duration::ZERO, status),
                }
            }
        }
        let mut log = Log::new();
        for logged in broker::read_back(&self.brokers, TOPIC, PARTITIONS) {
            // Records without a payload are those that looked for a partition.
            if let Some(payload) = &logged.payload {
                let number = logged.text().parse().expect("a number");
                log.push(TOPIC, logged.partition, logged.offset, LogEntry::record(number).payload(payload));
            }
        }
        let verdict = check_with(&history, &log, Allow::nothing().duplicates());
        assert_eq!(verdict.counts().unknown, 0, "records that no call had accepted: {verdict}");
        verdict
    }
}

/// The records of one task, with their numbers: those of a lane, in the order of the calls.
type Stream = Vec<(u64, End)>;

/// A delivered record's partition, or what is known of a failed one.
type End = Result<i32, Status>;

/// What became of a record.
async fn end(delivery: Delivery) -> End {
    delivery.await.map(|report| report.partition()).map_err(|error| error.status())
}

/// How a stream's records find their partition.
#[derive(Clone, Debug)]
enum Way {
    Place(i32),
    Key(String),
    Any,
}

impl Way {
    fn record(&self) -> Record<'_> {
        match self {
            Self::Place(partition) => Record::to(TOPIC).partition(*partition),
            Self::Key(key) => Record::to(TOPIC).key(key.as_str()),
            Self::Any => Record::to(TOPIC),
        }
    }

    /// A key for each of the partitions, which the producer is asked for.
    async fn keys(producer: &AioProducer, partitions: &[i32]) -> Vec<Self> {
        let mut found = Vec::new();
        for &partition in partitions {
            let other = found.len() as u32 * 1_000;
            for n in other.. {
                let key = format!("key {n}");
                let report = producer.send(Record::to(TOPIC).key(key.as_str())).await.expect("delivered");
                if report.partition() == partition {
                    found.push(Self::Key(key));
                    break;
                }
            }
        }
        found
    }
}

/// Tasks that produce, one for each stream, until they are stopped. Records have a number as payload, which counts over all
/// streams.
struct Streams {
    stop: Arc<AtomicBool>,
    tasks: Vec<Joined<Vec<(u64, Delivery)>>>,
    /// How many records of each stream were accepted, or ended while they waited for room.
    accepted: Vec<Arc<AtomicUsize>>,
}

impl Streams {
    /// Begins streams. Their numbers count from `first` on, with a distance of the number of streams.
    fn start(host: &Host, producer: &AioProducer, ways: Vec<Way>, first: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut tasks, mut accepted) = (Vec::new(), Vec::new());
        let streams = ways.len();
        for (number, way) in (first..).zip(ways) {
            let (producer, stop, count) = (producer.clone(), Arc::clone(&stop), Arc::new(AtomicUsize::new(0)));
            accepted.push(Arc::clone(&count));
            let host_of_task = host.clone();
            tasks.push(host.spawn(async move {
                let mut deliveries = Vec::new();
                for number in (number..).step_by(streams) {
                    if deliveries.len() == LIMIT {
                        host_of_task.until(|| stop.load(Ordering::SeqCst)).await;
                    } else if deliveries.len() % AT_A_TIME == AT_A_TIME - 1 {
                        host_of_task.pause(Duration::from_millis(1)).await;
                    }
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    match producer.produce(way.record().payload(number.to_string())).await {
                        Ok(delivery) => deliveries.push((number, delivery)),
                        // It has waited for room until its end.
                        Err(ProduceError::TimedOut(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                }
                deliveries
            }));
        }
        Self { stop, tasks, accepted }
    }

    /// Waits until `more` records of each stream were accepted, or as many as it has.
    async fn accept(&self, host: &Host, more: usize) {
        let load = |count: &Arc<AtomicUsize>| count.load(Ordering::SeqCst);
        let before: Vec<_> = self.accepted.iter().map(load).collect();
        host.until(|| self.accepted.iter().zip(&before).all(|(count, before)| load(count) >= LIMIT.min(before + more)))
            .await;
    }

    /// Stops the streams, and waits for the ends of their records.
    async fn stop(self) -> Vec<Stream> {
        self.stop.store(true, Ordering::SeqCst);
        let mut streams = Vec::new();
        for task in self.tasks {
            let mut stream = Vec::new();
            for (number, delivery) in task.join().await {
                stream.push((number, end(delivery).await));
            }
            streams.push(stream);
        }
        streams
    }
}

/// All were delivered, are in the log, and are in order.
fn assert_right(trio: &Trio, streams: Vec<Stream>) {
    let count = streams.iter().map(Vec::len).sum();
    let verdict = trio.check(streams);
    assert!(verdict.is_right(), "{verdict}");
    let counts = verdict.counts();
    assert_eq!((counts.delivered, counts.calls), (count, count), "{verdict}");
}
