//! What a producer holds: whether `pool_bytes` bounds the process, whether failed records leave anything behind, and what
//! an idle producer costs.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin footprint -- --help
//! ```
//!
//! Each case runs in a process of its own, whose resident memory is looked at.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use aioproducer_benches::broker::{self, Broker, Failure};
use aioproducer_benches::settings::{self, TOPIC};
use aioproducer_benches::usage::memory_kib;
use aioproducer_tokio::{AioProducer, Librdkafka, PurgeScope, Record, Tokio};
use clap::{Parser, ValueEnum};
use rdkafka::producer::BaseProducer;

/// The README's bound on a producer's memory: this many times the pool's bytes,
const TIMES: f64 = 1.5;

/// plus these bytes for each slot,
const EACH_SLOT: f64 = 768.0;

/// plus these for buffers and threads.
const CONSTANT: f64 = 16.0 * MIB;

const MIB: f64 = 1024.0 * 1024.0;

/// The bound for an idle producer.
const IDLE: f64 = MIB;

const IDLE_PRODUCERS: usize = 100;

/// The number of records that fail. After a tenth of them memory has its final size.
const FAILURES: usize = 2_000_000;

/// The number of records that fail at once.
const ROUND: usize = 10_000;

/// The same in the first tenth, with all errors kept to the round's end: what is kept for the most that there ever is at once
/// is there from then on.
const FIRST_ROUNDS: usize = 40_000;

const FAILURES_GROWTH: f64 = MIB;

/// Rounds of a full pool that fails.
const ROUNDS: usize = 5;

/// Measures the resident memory of processes that produce with the broker down.
#[derive(Parser)]
struct Options {
    /// Only this case.
    #[arg(long)]
    case: Option<Case>,
    /// Runs the case in this process; started for each case.
    #[arg(long, hide = true, requires = "case")]
    here: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Payloads of 100 bytes until the slots are taken.
    Plain,
    /// Payloads of 1,000 bytes until the bytes are taken.
    Large,
    /// 20 headers of 6 + 6 bytes, lent.
    Headers20,
    /// The same, owned.
    Headers20Owned,
    /// 1,000 headers of 2 + 2 bytes, lent.
    Headers1000,
    /// The same, owned.
    Headers1000Owned,
    /// 10,000 headers without a name or a value.
    HeadersEmpty,
    /// Keys of 10,000 bytes and no payload.
    Keys,
    /// Short records with keys that fail, 2,000,000 of them.
    Failures,
    /// 100 idle producers.
    Idle,
}

fn main() -> Result<(), Failure> {
    if broker::is_wanted() {
        return broker::serve();
    }
    let options = Options::parse();
    if let (Some(case), true) = (options.case, options.here) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        return runtime.block_on(run(case));
    }
    let mut missed = Vec::new();
    for case in options.case.map_or(Case::value_variants().to_vec(), |case| vec![case]) {
        let name = case.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let mut command = Command::new(env::current_exe()?);
        if case == Case::Failures {
            // This looks for leaks, not for how glibc's heaps share free memory.
            command.env("MALLOC_ARENA_MAX", "1");
        }
        let status = command.args(["--here", "--case", &name]).status()?;
        if !status.success() {
            missed.push(name);
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("above the limit: {}", missed.join(", ")).into()) }
}

async fn run(case: Case) -> Result<(), Failure> {
    match case {
        Case::Failures => failures().await,
        Case::Idle => idle().await,
        _ => full(case).await,
    }
}

/// A producer that knows its topic's partitions and then loses its broker.
async fn cut_off() -> Result<(AioProducer, Broker), Failure> {
    let mut broker = Broker::start()?;
    let config = settings::config(broker.servers(), 5);
    let producer = AioProducer::builder(Librdkafka::new(config))
        .delivery_timeout(Duration::from_secs(600))
        .start(Tokio::current()?)?;
    producer.send(Record::to(TOPIC).payload("connected")).await?;
    broker.down()?;
    Ok((producer, broker))
}

fn rss() -> Result<f64, Failure> {
    Ok(memory_kib("VmRSS:")? as f64 * 1024.0)
}

fn record(case: Case) -> Record<'static> {
    const BYTES: &[u8] = &[7; 10_000];
    let record = Record::to(TOPIC);
    let headers = |count: usize, len: usize, owned: bool| {
        (0..count).fold(Record::to(TOPIC).payload(&BYTES[..10]), |record, _| match owned {
            true => record.header("n".repeat(len), BYTES[..len].to_vec()),
            false => record.header(&"nnnnnn"[..len], &BYTES[..len]),
        })
    };
    match case {
        Case::Large => record.payload(&BYTES[..1000]),
        Case::Headers20 => headers(20, 6, false),
        Case::Headers20Owned => headers(20, 6, true),
        Case::Headers1000 => headers(1000, 2, false),
        Case::Headers1000Owned => headers(1000, 2, true),
        Case::HeadersEmpty => headers(10_000, 0, false),
        Case::Keys => record.key(BYTES),
        Case::Plain | Case::Failures | Case::Idle => record.payload(&BYTES[..100]),
    }
}

/// Fills the pool, has all of it fail, and fills it again.
async fn full(case: Case) -> Result<(), Failure> {
    let (producer, _broker) = cut_off().await?;
    let before = rss()?;
    let (mut most, mut bytes, mut slots) = (0.0_f64, 0, 0);
    for _ in 0..ROUNDS {
        while producer.try_produce(record(case)).map(drop).is_ok() {}
        let pool = producer.statistics();
        (bytes, slots) = (pool.bytes.max(bytes), pool.in_use.max(slots));
        most = most.max(rss()? - before);
        producer.purge(PurgeScope::All).await;
        settle(&producer, |pool| pool.in_use == 0).await?;
        most = most.max(rss()? - before);
    }
    let limit = TIMES * bytes as f64 + EACH_SLOT * slots as f64 + CONSTANT;
    println!(
        "{case:?}: {slots} records count for {:.1} MiB and take {:.1} MiB, of {:.1}",
        bytes as f64 / MIB,
        most / MIB,
        limit / MIB
    );
    if most > limit { Err("more than the pool says".into()) } else { Ok(()) }
}

/// Waits until the producer's pool is as it should be.
async fn settle(producer: &AioProducer, is: impl Fn(&aioproducer_tokio::Statistics) -> bool) -> Result<(), Failure> {
    let begin = Instant::now();
    while !is(&producer.statistics()) {
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(format!("the pool stays as it is: {:?}", producer.statistics()).into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// The memory in use, when threads that have just started do not change it any more.
async fn settled() -> Result<f64, Failure> {
    const SAME: u32 = 20;
    let begin = Instant::now();
    let (mut last, mut same) = (rss()?, 0);
    while same < SAME {
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(format!("memory does not settle at {:.2} MiB", last / MIB).into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = rss()?;
        same = if (now - last).abs() < 0.1 * MIB { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

async fn failures() -> Result<(), Failure> {
    let (producer, _broker) = cut_off().await?;
    let (mut failed, mut before, mut rounds) = (0, 0, Vec::new());
    while failed < FAILURES {
        let early = failed < FAILURES / 10;
        let round = if early { FIRST_ROUNDS } else { ROUND };
        let mut deliveries = Vec::new();
        for _ in 0..round {
            let delivery = producer.try_produce(Record::to(TOPIC).key(b"a key of 16 byte").payload(&[7; 100]))?;
            deliveries.extend(early.then_some(delivery));
        }
        failed += round;
        before += usize::from(early);
        producer.purge(PurgeScope::All).await;
        settle(&producer, |pool| pool.in_use == 0).await?;
        rounds.push(rss()?);
    }
    // Memory that is freed a moment later is no growth, so the smallest of some rounds counts.
    let least = |rounds: &[f64]| rounds.iter().copied().fold(f64::MAX, f64::min);
    let growth = least(&rounds[rounds.len() - before..]) - least(&rounds[before..2 * before]);
    println!(
        "Failures: from {} records on that failed, to {FAILURES}, memory grows by {:.2} MiB, of {:.2}",
        FAILURES / 10,
        growth / MIB,
        FAILURES_GROWTH / MIB
    );
    if growth > FAILURES_GROWTH { Err("memory grows".into()) } else { Ok(()) }
}

async fn idle() -> Result<(), Failure> {
    let config = settings::config("127.0.0.1:1", 5);
    // Memory that is allocated once.
    let first = AioProducer::builder(Librdkafka::new(config.clone())).start(Tokio::current()?)?;
    let before = settled().await?;
    let mut bare: Vec<BaseProducer> = Vec::new();
    for _ in 0..IDLE_PRODUCERS {
        bare.push(config.create()?);
    }
    let theirs = (settled().await? - before) / IDLE_PRODUCERS as f64;
    // They stay, so that none of their memory is used again.
    let before = settled().await?;
    let mut producers = vec![first];
    for _ in 0..IDLE_PRODUCERS {
        producers.push(AioProducer::builder(Librdkafka::new(config.clone())).start(Tokio::current()?)?);
    }
    let each = (settled().await? - before) / IDLE_PRODUCERS as f64;
    println!(
        "Idle: a producer takes {:.0} KiB, of {:.0}; a bare client of librdkafka takes {:.0} KiB",
        each / 1024.0,
        IDLE / 1024.0,
        theirs / 1024.0
    );
    if each > IDLE { Err("an idle producer takes too much".into()) } else { Ok(()) }
}
