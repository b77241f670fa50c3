//! The load during which polls are measured: all calls at once, with a pool that is too small.

use std::hint;
use std::iter;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use aioproducer_benches::broker::{Broker, Failure};
use aioproducer_benches::payload::Payloads;
use aioproducer_benches::settings::{self, TOPIC};
use aioproducer_tokio::{AioProducer, DeliveryReport, Librdkafka, Outcomes, Record, SendError, Tokio, Topic};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time;

use crate::case::SIZE;
use crate::polls::{Kind, Polled, Polls, WatchedTokio};

/// Fewer than the load has on its way, so that tasks wait for room.
const SLOTS: usize = 20_000;
/// Fewer still, so that records wait for librdkafka too, and those that the driver has to expire are many.
const QUEUE: &str = "2000";
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);

/// Records of one `produce_all`.
const ALL: usize = 10_000;
/// Deliveries that a producing task has at once.
const WINDOW: usize = 1000;

/// Touched and given back before anything is watched, in bytes. The host of a virtual machine backs a page when it is touched
/// for the first time, which takes some 400 µs of the thread that does; pages that were just freed are the first to be used.
const MEMORY: usize = 256 << 20;

/// How often a task that would otherwise spin runs.
const PACE: Duration = Duration::from_millis(1);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The state of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// It answers at once.
    Up,
    /// It has closed its connections and refuses new ones.
    Stopped,
    /// It answers after 50 ms.
    Slow,
}

/// A condition's polls, and what became of the records.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Watched {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) kinds: Vec<Polled>,
}

impl Watched {
    /// The kinds with goals.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Polled> {
        self.kinds.iter().filter(|of| of.kind != Kind::Control)
    }
}

/// The state that the tasks share.
#[derive(Clone)]
struct Load {
    producer: AioProducer,
    topic: Topic,
    payloads: Payloads,
    polls: Arc<Polls>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
}

/// Measures polls in this process, against a broker of its own.
pub(crate) fn watch(condition: Condition, lasting: Duration) -> Result<Watched, Failure> {
    drop(hint::black_box(vec![1_u8; MEMORY]));
    let broker = Broker::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(runtime.spawn(run(condition, broker, lasting)))?
}

async fn run(condition: Condition, mut broker: Broker, lasting: Duration) -> Result<Watched, Failure> {
    let load = Load::new(broker.servers())?;
    load.producer.send(Record::to(&load.topic).payload("connected")).await?;
    match condition {
        Condition::Up => {}
        Condition::Stopped => broker.down()?,
        Condition::Slow => broker.up(Duration::from_millis(50))?,
    }
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        tasks.spawn(load.clone().send());
    }
    for _ in 0..4 {
        tasks.spawn(load.clone().produce());
    }
    for _ in 0..2 {
        tasks.spawn(load.clone().produce_all());
        tasks.spawn(load.clone().flush());
    }
    tasks.spawn(load.clone().control());
    // Polls are measured for this long.
    time::sleep(lasting).await;
    // Everything is still under way: the close has to end it.
    load.polls.watch(Kind::Close, load.producer.close(Duration::from_secs(1))).await;
    tasks.join_all().await;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let Counts { delivered, failed } = &*load.counts;
    Ok(Watched { delivered: count(delivered), failed: count(failed), kinds: load.polls.summary() })
}

impl Load {
    fn new(servers: &str) -> Result<Self, Failure> {
        let polls = Arc::new(Polls::new()?);
        let mut config = settings::config(servers, 0);
        config.set("queue.buffering.max.messages", QUEUE);
        let producer = AioProducer::builder(Librdkafka::new(config))
            .slots(SLOTS)
            .delivery_timeout(DELIVERY_TIMEOUT)
            .start(WatchedTokio { tokio: Tokio::current()?, polls: Arc::clone(&polls) })?;
        let topic = producer.topic(TOPIC)?;
        Ok(Self { producer, topic, payloads: Payloads::new(), polls, counts: Arc::default() })
    }

    fn record(&mut self) -> Record<'static> {
        Record::to(self.topic.clone()).payload(self.payloads.lend(SIZE))
    }

    /// Counts an accepted record's outcome.
    fn count(&self, outcome: Result<DeliveryReport, SendError>) {
        let count = match outcome {
            Ok(_) => &self.counts.delivered,
            Err(SendError::Delivery(_)) => &self.counts.failed,
            Err(SendError::Produce(_)) => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    async fn send(mut self) {
        while !self.producer.is_closed() {
            let record = self.record();
            let outcome = self.polls.watch(Kind::Send, self.producer.send(record)).await;
            self.count(outcome);
        }
    }

    async fn produce(mut self) {
        while !self.producer.is_closed() {
            let mut deliveries = Vec::with_capacity(WINDOW);
            for _ in 0..WINDOW {
                let record = self.record();
                deliveries.extend(self.polls.watch(Kind::Produce, self.producer.produce(record)).await);
            }
            for delivery in deliveries {
                let outcome = self.polls.watch(Kind::Delivery, delivery).await;
                self.count(outcome.map_err(SendError::from));
            }
        }
    }

    async fn produce_all(mut self) {
        while !self.producer.is_closed() {
            let record = self.record();
            let records = iter::repeat_n(record, ALL);
            // Boxed, as the compiler does not see through a generic wrapper that this may change threads.
            let all: Boxed<'_, Outcomes> = Box::pin(self.producer.produce_all(records));
            let outcomes = self.polls.watch(Kind::ProduceAll, all).await;
            outcomes.into_iter().for_each(|outcome| self.count(outcome));
        }
    }

    async fn flush(self) {
        let mut pace = time::interval(PACE);
        while !self.producer.is_closed() {
            // It has no limit, so it cannot fail.
            let _ = self.polls.watch(Kind::Flush, self.producer.flush()).await;
            pace.tick().await;
        }
    }

    async fn control(self) {
        let mut pace = time::interval(PACE);
        let (wake, woken) = mpsc::channel();
        let _ends_with_its_channel = thread::spawn(move || woken.into_iter().for_each(drop));
        while !self.producer.is_closed() {
            self.polls.watch(Kind::Control, async { wake.send(()).is_ok() }).await;
            pace.tick().await;
        }
    }
}
