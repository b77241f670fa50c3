//! Consume, transform, produce, exactly once: what is read, what is made of it, and how far reading has come belong to one
//! transaction.
//!
//! ```sh
//! cargo run -p aioproducer --example transactions
//! ```
//!
//! The broker is embedded, and made to fail in three ways: with an error that librdkafka retries, with one that leaves only
//! the abort, after which the same records are read again, and with a commit that gets no answer in time. The exit code is 0
//! only if every line was transformed exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aioproducer::embedded::ApiKey;
use aioproducer::error::ErrorCode;
use aioproducer::transaction::{EndError, GroupOffset, Remedy, Transaction, TransactionError, consumer_group};
use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
use anyhow::{Context, Result, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::{block_in_place, spawn_blocking};

const LINES: usize = 60;
const BATCH: usize = 10;

#[tokio::main]
async fn main() -> Result<()> {
    let broker = spawn_blocking(prepare).await??;
    let producer = start(&broker, "transform", Duration::from_millis(500))?;
    init(&producer).await?;
    let consumer = consumer(&broker, "transformers")?;
    consumer.subscribe(&["lines"])?;

    let (mut done, mut attempt, mut committed) = (0, 0, BTreeSet::new());
    while done < LINES {
        let batch = block_in_place(|| read(&consumer, BATCH))?;
        attempt += 1;
        fail(&broker, attempt)?;
        match transform(&broker, &producer, &consumer, &batch, attempt).await {
            Ok(()) => {
                done += batch.len();
                committed.insert(attempt);
                println!("attempt {attempt}: {} lines, {done} in all", batch.len());
            }
            Err(error) if error.remedy() == Remedy::Abort => {
                println!("attempt {attempt}: aborted, to be read again: {error}");
                rewind(&consumer, &batch)?;
            }
            Err(error) => return Err(error.into()),
        }
        broker.round_trip_time(1, Duration::ZERO)?;
    }
    ensure!(producer.close(Duration::from_secs(30)).await.is_complete(), "something was left");
    ensure!(attempt > committed.len(), "one attempt was to be aborted");
    block_in_place(|| check(&broker, &committed))
}

/// Initialises transactions, and asks again for as long as only the time was too short.
async fn init(producer: &AioProducer) -> Result<(), TransactionError> {
    loop {
        match producer.init_transactions().await {
            Err(error) if error.remedy() == Remedy::Retry => println!("  {error}"),
            initialised => return initialised,
        }
    }
}

/// One transaction: the batch's lines in capitals, and how far the group has come.
async fn transform(
    broker: &EmbeddedBroker,
    producer: &AioProducer,
    consumer: &BaseConsumer,
    batch: &[OwnedMessage],
    attempt: usize,
) -> Result<(), TransactionError> {
    let transaction = producer.begin().await?;
    let mut next = BTreeMap::new();
    let mut deliveries = Vec::new();
    for message in batch {
        let capitals = message.payload().unwrap_or_default().to_ascii_uppercase();
        let record = Record::to("capitals").payload(capitals).header("attempt", attempt.to_string());
        // A record that is not accepted here is refused for what it is, or because the transaction has failed.
        deliveries.extend(transaction.produce(record).await);
        next.insert((message.topic().to_owned(), message.partition()), message.offset() + 1);
    }
    let offsets = next.into_iter().map(|((topic, partition), offset)| GroupOffset::new(topic, partition, offset));
    // The consumer's generation goes with them: if it has lost its partitions meanwhile, the broker refuses.
    let Some(group) = block_in_place(|| consumer_group(consumer)) else { return Ok(()) };
    transaction.send_offsets(offsets, group).await?;
    delay(broker, attempt);
    commit(transaction).await?;
    // A commit comes after all deliveries.
    assert_eq!(deliveries.len(), batch.len());
    Ok(())
}

/// Commits, and commits again while the outcome is not known.
async fn commit(transaction: Transaction) -> Result<(), EndError> {
    let mut ended = transaction.commit().await;
    loop {
        match ended {
            Err(error) if error.remedy() == Remedy::Resolve => {
                println!("  {error}");
                match error.into_transaction() {
                    Some(transaction) => ended = transaction.commit().await,
                    None => return Ok(()),
                }
            }
            ended => return ended,
        }
    }
}

/// What goes wrong in some attempts.
fn fail(broker: &EmbeddedBroker, attempt: usize) -> Result<()> {
    match attempt {
        2 => broker.request_errors(ApiKey::EndTxn, &[ErrorCode::CoordinatorLoadInProgress])?,
        3 => broker.request_errors(ApiKey::TxnOffsetCommit, &[ErrorCode::IllegalGeneration])?,
        _ => {}
    }
    Ok(())
}

/// Makes the answer to the commit of one attempt late.
fn delay(broker: &EmbeddedBroker, attempt: usize) {
    if attempt == 5 {
        broker.round_trip_time(1, Duration::from_millis(800)).expect("the broker runs");
    }
}

fn prepare() -> Result<EmbeddedBroker> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic("lines", 2, 1)?;
    broker.create_topic("capitals", 2, 1)?;
    let mut config = config(&broker);
    config.set("acks", "all");
    let producer: rdkafka::producer::BaseProducer = config.create()?;
    for n in 0..LINES {
        let line = format!("line {n}");
        let record = rdkafka::producer::BaseRecord::<(), _>::to("lines").payload(&line).partition((n % 2) as i32);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(30))?;
    Ok(broker)
}

fn config(broker: &EmbeddedBroker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    config
}

fn start(broker: &EmbeddedBroker, id: &str, call_timeout: Duration) -> Result<AioProducer> {
    let mut config = config(broker);
    config.set("transactional.id", id);
    Ok(AioProducer::builder(Librdkafka::new(config)).call_timeout(call_timeout).start(Tokio::current()?)?)
}

/// A consumer whose offsets are the transactions' business.
fn consumer(broker: &EmbeddedBroker, group: &str) -> Result<BaseConsumer> {
    let mut config = config(broker);
    config.set("group.id", group).set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
    config.set("isolation.level", "read_committed");
    Ok(config.create()?)
}

/// Up to `count` messages, and at least one.
fn read(consumer: &BaseConsumer, count: usize) -> Result<Vec<OwnedMessage>> {
    let mut batch = Vec::new();
    while batch.len() < count {
        match consumer.poll(Duration::from_millis(50)) {
            Some(message) => batch.push(message?.detach()),
            None if batch.is_empty() => {}
            None => break,
        }
    }
    Ok(batch)
}

/// Has the consumer read the batch again.
fn rewind(consumer: &BaseConsumer, batch: &[OwnedMessage]) -> Result<()> {
    let mut first = BTreeMap::new();
    for message in batch {
        first.entry((message.topic(), message.partition())).or_insert(message.offset());
    }
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in first {
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    }
    consumer.seek_partitions(list, Duration::from_secs(10))?;
    Ok(())
}

/// Each line once, in capitals. The embedded broker writes no markers, so what was aborted is left out here; of another
/// broker, `read_committed` does that.
fn check(broker: &EmbeddedBroker, committed: &BTreeSet<usize>) -> Result<()> {
    let consumer = consumer(broker, "check")?;
    let mut list = TopicPartitionList::new();
    for partition in 0..2 {
        list.add_partition_offset("capitals", partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut lines = BTreeSet::new();
    while lines.len() < LINES {
        for message in read(&consumer, LINES)? {
            let header = message.headers().map(|headers| headers.get(0)).context("a header")?;
            let attempt: usize = std::str::from_utf8(header.value.unwrap_or_default())?.parse()?;
            let line = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
            if committed.contains(&attempt) && !lines.insert(line.clone()) {
                bail!("{line} is there twice");
            }
        }
    }
    let expected: BTreeSet<_> = (0..LINES).map(|n| format!("LINE {n}")).collect();
    ensure!(lines == expected, "{lines:?}");
    println!("{LINES} lines, each transformed exactly once");
    Ok(())
}
