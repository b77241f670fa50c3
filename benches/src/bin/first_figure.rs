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
use std::future::Future;
use std::time::{Duration, Instant};

use aioproducer_benches::broker::{self, Broker, Failure};
use aioproducer_benches::payload::Payloads;
use aioproducer_benches::settings::{self, TOPIC};
use aioproducer_tokio::{AioProducer, ClientConfig, Librdkafka, Record, Tokio};
use rdkafka::producer::{FutureProducer, FutureRecord};

const ROUNDS: usize = 5;
const IN_FLIGHT: usize = 50_000;
const SIZE: usize = 100;

fn main() -> Result<(), Failure> {
    if broker::is_wanted() {
        return broker::serve();
    }
    let records: usize = std::env::args().nth(1).map_or(Ok(800_000), |count| count.parse())?;
    let floor: f64 = std::env::var("FIRST_FIGURE_FLOOR").map_or(Ok(2.5), |floor| floor.parse())?;
    let broker = Broker::start()?;
    let config = settings::config(broker.servers(), 5);
    let payloads = Payloads::new();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let turn = |first: bool| -> Result<f64, Failure> {
            if first {
                runtime.block_on(aioproducer(&config, payloads, records))
            } else {
                runtime.block_on(future_producer(&config, payloads, records))
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

/// Keeps `IN_FLIGHT` deliveries under way, awaits each and has its outcome checked; returns records per second.
async fn pipelined<D: Future>(
    records: usize,
    mut produce: impl AsyncFnMut() -> Result<D, Failure>,
    check: impl Fn(D::Output) -> Result<(), Failure>,
) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut deliveries = VecDeque::with_capacity(IN_FLIGHT);
    for _ in 0..records {
        if deliveries.len() == IN_FLIGHT
            && let Some(oldest) = deliveries.pop_front()
        {
            check(oldest.await)?;
        }
        deliveries.push_back(produce().await?);
    }
    for delivery in deliveries {
        check(delivery.await)?;
    }
    Ok(records as f64 / start.elapsed().as_secs_f64())
}

async fn aioproducer(config: &ClientConfig, mut payloads: Payloads, records: usize) -> Result<f64, Failure> {
    let producer = AioProducer::builder(Librdkafka::new(config.clone())).start(Tokio::current()?)?;
    producer.send(Record::to(TOPIC).payload("warm-up")).await?;
    let produce = async || Ok(producer.produce(Record::to(TOPIC).payload(payloads.lend(SIZE))).await?);
    let rate = pipelined(records, produce, |outcome| Ok(outcome.map(drop)?)).await?;
    producer.close(Duration::from_secs(30)).await;
    Ok(rate)
}

async fn future_producer(config: &ClientConfig, mut payloads: Payloads, records: usize) -> Result<f64, Failure> {
    let producer: FutureProducer = config.create()?;
    let warm_up: FutureRecord<'_, (), [u8]> = FutureRecord::to(TOPIC).payload(b"warm-up");
    producer.send(warm_up, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    let produce = async || {
        let record: FutureRecord<'_, (), [u8]> = FutureRecord::to(TOPIC).payload(payloads.lend(SIZE));
        Ok(producer.send_result(record).map_err(|(error, _)| error)?)
    };
    pipelined(records, produce, |outcome| Ok(outcome?.map(drop).map_err(|(error, _)| error)?)).await
}
