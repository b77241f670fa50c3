//! Records per second, one awaited `Delivery` per record of 100 bytes, against `rdkafka`'s `FutureProducer` in the same
//! run.
//!
//! ```sh
//! cargo run --release -p aioproducer-benches --bin first_figure [-- RECORDS]
//! ```
//!
//! The broker is librdkafka's mock cluster in a process of its own, or the one that `AIOPRODUCER_BOOTSTRAP` names. Both
//! sides use the same librdkafka settings, keep the same number of records in flight and take turns. The exit code is 1
//! if the median ratio is below `FIRST_FIGURE_FLOOR` (default 2.5).

use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aioproducer_tokio::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
use rdkafka::producer::{FutureProducer, FutureRecord};

const ROUNDS: usize = 5;
const IN_FLIGHT: usize = 50_000;
const TOPIC: &str = "figures";
const PARTITIONS: i32 = 4;
const SIZE: usize = 100;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("--broker") {
        return serve();
    }
    let records: usize = first.map_or(Ok(800_000), |count| count.parse())?;
    let floor: f64 = std::env::var("FIRST_FIGURE_FLOOR").map_or(Ok(2.5), |floor| floor.parse())?;
    let broker = Broker::start()?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.bootstrap);
    config.set("linger.ms", "5");
    config.set("enable.idempotence", "true");
    config.set("queue.buffering.max.messages", "1000000");
    config.set("queue.buffering.max.kbytes", "2147483647");
    let payloads: Vec<u8> = (0..64 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let turn = |first: bool| -> Result<f64, Failure> {
            if first {
                runtime.block_on(aioproducer(&config, &payloads, records))
            } else {
                runtime.block_on(future_producer(&config, &payloads, records))
            }
        };
        let swap = round % 2 == 1;
        let (one, two) = (turn(swap)?, turn(!swap)?);
        let (our, their) = if swap { (one, two) } else { (two, one) };
        if round > 0 {
            println!(
                "round {round}: aioproducer {our:>9.0}/s, FutureProducer {their:>9.0}/s, {:.2} times",
                our / their
            );
            ours.push(our);
            theirs.push(their);
            ratios.push(our / their);
        }
    }
    let ratio = median(&mut ratios);
    println!(
        "{records} records of {SIZE} bytes, {IN_FLIGHT} in flight, median of {ROUNDS} rounds: \
         aioproducer {:.0}/s, FutureProducer {:.0}/s, ratio {ratio:.2} (from {:.2} to {:.2})",
        median(&mut ours),
        median(&mut theirs),
        ratios[0],
        ratios[ROUNDS - 1],
    );
    if ratio < floor { Err(format!("the ratio is below {floor}").into()) } else { Ok(()) }
}

/// Sorts, too.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn payload(payloads: &[u8], record: usize) -> &[u8] {
    let at = record * SIZE % (payloads.len() - SIZE);
    &payloads[at..at + SIZE]
}

/// Keeps `IN_FLIGHT` deliveries under way, awaits each and has its outcome checked; returns records per second.
async fn pipelined<D: Future>(
    records: usize,
    mut produce: impl AsyncFnMut(usize) -> Result<D, Failure>,
    check: impl Fn(D::Output) -> Result<(), Failure>,
) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut deliveries = VecDeque::with_capacity(IN_FLIGHT);
    for record in 0..records {
        if deliveries.len() == IN_FLIGHT
            && let Some(oldest) = deliveries.pop_front()
        {
            check(oldest.await)?;
        }
        deliveries.push_back(produce(record).await?);
    }
    for delivery in deliveries {
        check(delivery.await)?;
    }
    Ok(records as f64 / start.elapsed().as_secs_f64())
}

async fn aioproducer(config: &ClientConfig, payloads: &[u8], records: usize) -> Result<f64, Failure> {
    let producer = AioProducer::builder(Librdkafka::new(config.clone())).start(Tokio::current()?)?;
    producer.send(Record::to(TOPIC).payload("warm-up")).await?;
    let produce = async |record| Ok(producer.produce(Record::to(TOPIC).payload(payload(payloads, record))).await?);
    let rate = pipelined(records, produce, |outcome| Ok(outcome.map(drop)?)).await?;
    producer.close(Duration::from_secs(30)).await;
    Ok(rate)
}

async fn future_producer(config: &ClientConfig, payloads: &[u8], records: usize) -> Result<f64, Failure> {
    let producer: FutureProducer = config.create()?;
    let warm_up: FutureRecord<'_, (), [u8]> = FutureRecord::to(TOPIC).payload(b"warm-up");
    producer.send(warm_up, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    let produce = async |record| {
        let record: FutureRecord<'_, (), [u8]> = FutureRecord::to(TOPIC).payload(payload(payloads, record));
        Ok(producer.send_result(record).map_err(|(error, _)| error)?)
    };
    pipelined(records, produce, |outcome| Ok(outcome?.map(drop).map_err(|(error, _)| error)?)).await
}

/// The mock cluster in a process of its own.
struct Broker {
    bootstrap: String,
    process: Option<Child>,
}

impl Broker {
    fn start() -> Result<Self, Failure> {
        if let Ok(bootstrap) = std::env::var("AIOPRODUCER_BOOTSTRAP") {
            return Ok(Self { bootstrap, process: None });
        }
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--broker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut bootstrap = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut bootstrap)?;
        }
        Ok(Self { bootstrap: bootstrap.trim().to_owned(), process: Some(process) })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            drop(process.stdin.take());
            drop(process.wait());
        }
    }
}

/// Runs the broker until standard input ends.
fn serve() -> Result<(), Failure> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic(TOPIC, PARTITIONS, 1)?;
    println!("{}", broker.bootstrap_servers());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
