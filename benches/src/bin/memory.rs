//! Whether memory stays constant while the broker is down and tasks keep producing.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin memory -- --help
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aioproducer_benches::broker::{self, Broker, Failure};
use aioproducer_benches::payload::Payloads;
use aioproducer_benches::settings::{self, TOPIC};
use aioproducer_benches::usage::memory_kib;
use aioproducer_tokio::{AioProducer, Librdkafka, Record, Tokio, Topic};
use clap::{Parser, value_parser};
use stats_alloc::INSTRUMENTED_SYSTEM;
use tokio::time::{self, MissedTickBehavior};

/// Bytes of a payload.
const SIZE: usize = 1000;

/// The bound: whichever is reached first, here the bytes.
const SLOTS: usize = 20_000;
const POOL_BYTES: usize = 16 << 20;

/// Short, so that all of the pool is replaced several times.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The growth up to which memory counts as constant: this many KiB, or a 20th.
const GROWTH_KIB: u64 = 4 << 10;

/// Produces with a broker that is down, and measures the memory of this process.
#[derive(Parser)]
struct Options {
    /// How long. The first quarter, in which the first records expire, is what the rest is compared with.
    #[arg(long, default_value_t = 30, value_parser = value_parser!(u64).range(24..))]
    seconds: u64,
}

fn main() -> Result<(), Failure> {
    if broker::is_wanted() {
        return broker::serve();
    }
    let options = Options::parse();
    let broker = Broker::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(broker, options.seconds))
}

async fn run(mut broker: Broker, seconds: u64) -> Result<(), Failure> {
    let mut config = settings::config(broker.servers(), 5);
    // While librdkafka waits to connect again, by default up to 10 seconds, it does not look at timeouts.
    config.set("reconnect.backoff.max.ms", "500");
    let producer = AioProducer::builder(Librdkafka::new(config))
        .slots(SLOTS)
        .pool_bytes(POOL_BYTES)
        .delivery_timeout(DELIVERY_TIMEOUT)
        .start(Tokio::current()?)?;
    let topic = producer.topic(TOPIC)?;
    producer.send(Record::to(&topic).payload("connected")).await?;
    broker.down()?;

    let pusher = Pusher { producer, topic, payloads: Payloads::new(), refused: Arc::default() };
    for _ in 0..8 {
        tokio::spawn(pusher.clone().wait());
    }
    for _ in 0..2 {
        tokio::spawn(pusher.clone().try_often());
    }
    watch(&pusher, seconds).await
}

/// Prints a sample each second, and judges them.
async fn watch(pusher: &Pusher, seconds: u64) -> Result<(), Failure> {
    let mut ticks = time::interval(Duration::from_secs(1));
    // After a pause of the machine samples must not come in a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut first_quarter, mut later) = (0, 0);
    println!(
        "{:>4} {:>9} {:>9} {:>7} {:>10} {:>9} {:>10} {:>8} {:>10} {:>9} {:>9}",
        "s",
        "RSS KiB",
        "heap KiB",
        "in use",
        "bytes",
        "buffered",
        "handed off",
        "waiters",
        "accepted",
        "ended",
        "refused"
    );
    for second in 0..=seconds {
        ticks.tick().await;
        let (rss, pool) = (memory_kib("VmRSS:")?, pusher.producer.statistics());
        let ended = pool.acquired - pool.in_use as u64;
        let refused = pusher.refused.load(Ordering::Relaxed);
        println!(
            "{second:>4} {rss:>9} {:>9} {:>7} {:>10} {:>9} {:>10} {:>8} {:>10} {ended:>9} {refused:>9}",
            heap_kib(),
            pool.in_use,
            pool.bytes,
            pool.buffered,
            pool.handed_off,
            pool.waiters,
            pool.acquired
        );
        if pool.bytes > POOL_BYTES || pool.high_water > SLOTS {
            return Err(format!("the pool is above its bound: {pool:?}").into());
        }
        if second <= seconds / 4 {
            first_quarter = rss;
        } else {
            later = later.max(rss);
        }
    }
    let limit = first_quarter + GROWTH_KIB.max(first_quarter / 20);
    let ended = pusher.producer.statistics();
    let replaced = ended.acquired - ended.in_use as u64;
    println!("bound: {SLOTS} slots, {POOL_BYTES} bytes; {replaced} records failed and were replaced");
    println!("after the first quarter {first_quarter} KiB, later at most {later} KiB, limit {limit} KiB");
    if replaced < 2 * ended.high_water as u64 {
        return Err("the pool was not replaced twice: this says nothing".into());
    }
    if later > limit {
        return Err("memory grew".into());
    }
    println!("flat");
    Ok(())
}

/// What everything that is written in Rust has allocated now: if this is flat, a growing process is fragmented.
fn heap_kib() -> usize {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) / 1024
}

/// A task that produces and never reads a delivery.
#[derive(Clone)]
struct Pusher {
    producer: AioProducer,
    topic: Topic,
    payloads: Payloads,
    refused: Arc<AtomicU64>,
}

impl Pusher {
    fn record(&mut self) -> Record<'static> {
        Record::to(self.topic.clone()).payload(self.payloads.lend(SIZE))
    }

    /// Waits for room.
    async fn wait(mut self) {
        loop {
            let record = self.record();
            let Ok(_) = self.producer.produce(record).await else { return };
        }
    }

    /// Tries without waiting, and again a millisecond later.
    async fn try_often(mut self) {
        let mut ticks = time::interval(Duration::from_millis(1));
        loop {
            ticks.tick().await;
            for _ in 0..10 {
                let record = self.record();
                self.refused.fetch_add(u64::from(self.producer.try_produce(record).is_err()), Ordering::Relaxed);
            }
        }
    }
}
