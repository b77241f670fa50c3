//! What librdkafka has to say beside delivery reports: statistics, errors and log lines, by a handler and by a stream.
//!
//! ```sh
//! cargo run --release -p aioproducer --example events
//! ```
//!
//! The broker is embedded. It is stopped on purpose, and the exit code is 0 only if every expected event came.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aioproducer::error::ClientError;
use aioproducer::event::statistics::Statistics;
use aioproducer::event::{Event, EventHandler, Events};
use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
use anyhow::{Context, ensure};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

const RECORDS: usize = 1000;

#[tokio::main]
async fn main() -> ExitCode {
    match timeout(LIMIT, run()).await.context("no end in sight") {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) | Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic("readings", 1, 1)?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("statistics.interval.ms", "100")
        .set("debug", "broker");

    let alarm = Arc::new(Notify::new());
    let mut backend = Librdkafka::new(config).on_event(Alarm(Arc::clone(&alarm)));
    let (counted, mut sent) = watch::channel(0);
    let reader = tokio::spawn(read(backend.events(), counted));
    let producer = AioProducer::builder(backend).start(Tokio::current()?)?;

    for outcome in producer.produce_all((0..RECORDS).map(|n| Record::to("readings").payload(n.to_string()))).await {
        outcome?;
    }
    println!("{RECORDS} records are delivered; now the broker goes away");
    broker.broker_down(-1)?;
    alarm.notified().await;
    broker.broker_up(-1)?;
    producer.send(Record::to("readings").payload("it was not fatal")).await?;
    println!("the broker is back");
    sent.wait_for(|sent| *sent > RECORDS as i64).await?;

    producer.close(LIMIT).await;
    // The stream ends with the producer.
    let seen = reader.await?;
    println!("{seen:?}");
    ensure!(seen.statistics > 0 && seen.errors > 0 && seen.lines > 0, "an expected event did not come");
    Ok(())
}

/// Called by a task on the runtime.
struct Alarm(Arc<Notify>);

impl EventHandler for Alarm {
    fn on_error(&self, error: &ClientError) {
        println!("alarm: {error}");
        if error.is_all_brokers_down() {
            self.0.notify_one();
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    statistics: usize,
    errors: usize,
    lines: usize,
    lost: u64,
}

/// Reads events until the producer has ended. `sent` gets the number of records that were sent.
async fn read(mut events: Events, sent: watch::Sender<i64>) -> Seen {
    let mut seen = Seen::default();
    while let Some(event) = events.next().await {
        match event {
            Event::Statistics(statistics) => {
                seen.statistics += 1;
                sent.send_replace(statistics.txmsgs);
                show(&statistics);
            }
            Event::Error(_) => seen.errors += 1,
            Event::Log(line) => {
                seen.lines += 1;
                if seen.lines <= 5 {
                    println!("log: {:?} {} {}", line.level, line.facility, line.message);
                }
            }
            Event::Lost { count } => seen.lost += count,
            other => println!("{other:?}"),
        }
    }
    seen
}

fn show(statistics: &Statistics) {
    for broker in statistics.brokers.values().filter(|broker| broker.nodeid >= 0) {
        let trip = broker.rtt.as_ref().map_or(0, |trip| trip.avg);
        println!("statistics: {} is {}, {} requests, {trip} µs each", broker.nodename, broker.state, broker.tx);
    }
}
