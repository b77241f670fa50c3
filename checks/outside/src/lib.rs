//! An application outside of the workspace. Its calls compile with `?`, for all that records borrow and are made of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aioproducer::error::{ErrorCode, FlushError};
use aioproducer::partitioner::Partitioner;
use aioproducer::{AioProducer, ClientConfig, Librdkafka, ProduceError, Record, Tokio};
use anyhow::{Context, Result, bail};
use serde::Serialize;

/// Each block of Rust there is compiled and, unless it says otherwise, run.
#[doc = include_str!("../../../README.md")]
pub struct Readme;

#[doc = include_str!("../../../docs/from-future-producer.md")]
pub struct FromFutureProducer;

#[doc = include_str!("../../../docs/from-python-aioproducer.md")]
pub struct FromPythonAioProducer;

/// A type of the application's.
#[derive(Serialize)]
pub struct Order {
    pub customer: u32,
    pub items: Vec<String>,
}

impl From<Order> for Record<'static> {
    fn from(order: Order) -> Self {
        let json = serde_json::to_vec(&order).expect("an order is JSON");
        Record::to("orders").key(order.customer.to_string()).payload(json)
    }
}

/// The customer's number decides the partition.
pub fn start(servers: &str) -> Result<AioProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    let by_customer = Partitioner::custom(|record| {
        let customer = std::str::from_utf8(record.key).ok().and_then(|key| key.parse::<i32>().ok());
        customer.unwrap_or_default() % record.partitions
    });
    Ok(AioProducer::builder(Librdkafka::new(config).partitioner(by_customer)).start(Tokio::current()?)?)
}

/// A record that borrows from the function, in a function that returns anything.
pub fn note(producer: &AioProducer, customer: u32) -> Result<()> {
    let key = customer.to_string();
    drop(producer.try_produce(Record::to("notes").key(&key).payload(key.as_bytes()))?);
    drop(producer.try_produce(Record::tombstone("notes", &key).timestamp(SystemTime::now()))?);
    Ok(())
}

/// Sends while there is room, without a copy of a refused record.
pub fn shed(producer: &AioProducer, frames: &[Vec<u8>]) -> Result<usize> {
    for (sent, frame) in frames.iter().enumerate() {
        match producer.try_produce_borrowed(Record::to("frames").payload(frame)) {
            Ok(delivery) => drop(delivery),
            Err(ProduceError::Full(_) | ProduceError::PartitionFull { .. }) => return Ok(sent),
            Err(error) => return Err(error.into_owned()).context("shedding"),
        }
    }
    Ok(frames.len())
}

/// Sends one order. An error says whether a broker may take it later.
pub async fn place(producer: &AioProducer, order: Order) -> Result<i32> {
    match producer.send(order).await {
        Ok(report) => Ok(report.partition()),
        Err(error) if error.code() == Some(ErrorCode::NotEnoughReplicas) || error.is_retriable() => {
            Err(error).context("try again later")
        }
        Err(error) => bail!("not placed: {error}"),
    }
}

/// Sends many with callbacks, which have run when this returns.
pub async fn place_all(producer: &AioProducer, orders: Vec<Order>) -> Result<usize> {
    let delivered = Arc::new(AtomicUsize::new(0));
    for order in orders {
        let counted = Arc::clone(&delivered);
        let count = move |outcome: Result<_, _>| {
            counted.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
        };
        producer.produce_with(order, count).await?;
    }
    match producer.flush().topic("orders").callbacks().within(Duration::from_secs(30)).await {
        Ok(()) => Ok(delivered.load(Ordering::Relaxed)),
        Err(FlushError::Timeout { remaining }) => bail!("{remaining} orders are under way"),
        Err(error) => Err(error.into()),
    }
}

/// Sends borrowed lines and reads all outcomes in one loop.
pub async fn copy(producer: &AioProducer, text: &str) -> Result<Vec<Option<i64>>> {
    let (reporter, mut reports) = producer.reports(100);
    let produce = async {
        for (number, line) in text.lines().enumerate() {
            reporter.produce(Record::to("lines").payload(line), number).await?;
        }
        drop(reporter);
        anyhow::Ok(())
    };
    let read = async {
        let mut offsets = Vec::new();
        while let Some((line, outcome)) = reports.next().await {
            offsets.push(outcome.with_context(|| format!("line {line}"))?.offset());
        }
        anyhow::Ok(offsets)
    };
    let (produced, offsets) = tokio::join!(produce, read);
    produced?;
    offsets
}

/// Sends from a spawned task.
pub fn place_in_background(producer: &AioProducer, order: Order) -> tokio::task::JoinHandle<Result<i32>> {
    let producer = producer.clone();
    tokio::spawn(async move { place(&producer, order).await })
}

/// Checks a topic before records fail.
pub async fn leaders(producer: &AioProducer, topic: &str) -> Result<Vec<Option<i32>>> {
    let partitions = producer.partitions_for(topic).await.context("asking for partitions")?;
    Ok(partitions.into_iter().map(|partition| partition.leader).collect())
}
