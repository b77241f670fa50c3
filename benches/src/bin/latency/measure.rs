//! One measurement, in a process of its own: none inherits memory, threads or connections of another.

use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use aioproducer_benches::broker::Failure;
use aioproducer_benches::payload::Payloads;
use aioproducer_benches::settings::{self, TOPIC};
use aioproducer_tokio::{AioProducer, Librdkafka, Record, Tokio, Topic};
use hdrhistogram::Histogram;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::case::{Case, Load, Peer, SIZE};

/// Latencies in µs, from the instant when a record was to be sent to the one when its sender knew its outcome.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) records_per_s: f64,
    pub(crate) failed: u64,
}

/// Measures `case` in this process.
pub(crate) fn measure(case: Case, peer: Peer, servers: &str, lasting: Duration) -> Result<Latencies, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let config = settings::config(servers, case.linger_ms());
    let payloads = Payloads::new();
    // Measured in tasks, as applications send from tasks. The thread that blocks on a runtime is woken in another way.
    let measured = match peer {
        Peer::Ours => runtime.spawn(async move {
            let producer = AioProducer::builder(Librdkafka::new(config)).start(Tokio::current()?)?;
            let topic = producer.topic(TOPIC)?;
            twice(case.load(), &Ours { producer, topic }, payloads, lasting).await
        }),
        Peer::Future => runtime
            .spawn(async move { twice(case.load(), &config.create::<FutureProducer>()?, payloads, lasting).await }),
    };
    runtime.block_on(measured)?
}

/// One of the producers.
trait Client: Clone + Send + Sync + 'static {
    /// Sends a record; whether it was delivered.
    fn send(&self, payload: &'static [u8]) -> impl Future<Output = bool> + Send;
}

#[derive(Clone)]
struct Ours {
    producer: AioProducer,
    topic: Topic,
}

impl Client for Ours {
    async fn send(&self, payload: &'static [u8]) -> bool {
        self.producer.send(Record::to(&self.topic).payload(payload)).await.is_ok()
    }
}

impl Client for FutureProducer {
    async fn send(&self, payload: &'static [u8]) -> bool {
        let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(TOPIC).payload(payload);
        FutureProducer::send(self, record, Duration::from_secs(30)).await.is_ok()
    }
}

/// Once to warm up, after the first delivery, which waits for a connection; once measured.
async fn twice(
    load: Load,
    client: &impl Client,
    mut payloads: Payloads,
    lasting: Duration,
) -> Result<Latencies, Failure> {
    client.send(payloads.lend(SIZE)).await;
    run(load, client, payloads, Duration::from_millis(300)).await?;
    run(load, client, payloads, lasting).await
}

/// A record's latency, and whether it was delivered.
type Outcome = (Duration, bool);

async fn run(load: Load, client: &impl Client, payloads: Payloads, lasting: Duration) -> Result<Latencies, Failure> {
    // Outcomes wait to be counted until all is done, so that counting disturbs no task.
    let (outcomes, counted) = mpsc::unbounded_channel();
    let start = Instant::now();
    let end = start + lasting;
    match load {
        Load::Closed { tasks } => closed(tasks, client, payloads, end, outcomes).await,
        Load::Open { period, records } => {
            let client = client.clone();
            // A thread of its own, as tokio's timers are a millisecond late, which has nothing to do with producers.
            let clock = move || open(&client, payloads, Schedule { start, end, period, records }, &outcomes);
            tokio::task::spawn_blocking(clock).await?;
        }
    }
    count(start, counted).await
}

/// Runs tasks that send one record after the other until `end`.
async fn closed(
    tasks: usize,
    client: &impl Client,
    payloads: Payloads,
    end: Instant,
    outcomes: mpsc::UnboundedSender<Outcome>,
) {
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (client, outcomes) = (client.clone(), outcomes.clone());
        let mut payloads = payloads.starting_at(task * 64 * SIZE);
        running.spawn(async move {
            let mut start = Instant::now();
            while start < end {
                let delivered = client.send(payloads.lend(SIZE)).await;
                let now = Instant::now();
                // The receiver is alive: it waits for this sender.
                let _ = outcomes.send((now - start, delivered));
                start = now;
            }
        });
    }
    running.join_all().await;
}

/// When records are due.
struct Schedule {
    start: Instant,
    end: Instant,
    period: Duration,
    /// So many every period.
    records: usize,
}

/// Starts a task for each record when it is due. Every delay, here or later, counts to its latency.
fn open(client: &impl Client, mut payloads: Payloads, schedule: Schedule, outcomes: &mpsc::UnboundedSender<Outcome>) {
    let mut due = schedule.start;
    while due < schedule.end {
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
            thread::park_timeout(early);
        }
        for _ in 0..schedule.records {
            let (client, outcomes, payload) = (client.clone(), outcomes.clone(), payloads.lend(SIZE));
            tokio::spawn(async move {
                let delivered = client.send(payload).await;
                let _ = outcomes.send((due.elapsed(), delivered));
            });
        }
        due += schedule.period;
    }
}

/// Counts until no sender is left.
async fn count(start: Instant, mut counted: mpsc::UnboundedReceiver<Outcome>) -> Result<Latencies, Failure> {
    // From 1 ns to 5 minutes.
    let mut latencies = Histogram::<u64>::new_with_bounds(1, 300_000_000_000, 3)?;
    let mut failed = 0;
    while let Some((latency, delivered)) = counted.recv().await {
        latencies.saturating_record(latency.as_nanos() as u64);
        failed += u64::from(!delivered);
    }
    let seconds = start.elapsed().as_secs_f64();
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Latencies {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        records_per_s: latencies.len() as f64 / seconds,
        failed,
    })
}
