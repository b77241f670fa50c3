//! Outcomes by callback and as a stream, instead of a future for each record.
//!
//! ```sh
//! cargo run --release -p aioproducer --example callbacks
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
use anyhow::{Context, Result, ensure};

const RECORDS: usize = 10_000;

#[tokio::main]
async fn main() -> Result<()> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic("measurements", 3, 1)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    let producer = AioProducer::builder(Librdkafka::new(config)).start(Tokio::current()?)?;

    by_callback(&producer).await?;
    by_stream(&producer).await?;

    let left = producer.close(Duration::from_secs(10)).await;
    ensure!(left.is_complete(), "{} records were not sent", left.unsent().len());
    Ok(())
}

/// Each record's callback notes its offset. Those of a partition are called in order, so the offsets of each grow.
async fn by_callback(producer: &AioProducer) -> Result<()> {
    let offsets = Arc::new(Mutex::new(BTreeMap::<i32, Vec<Option<i64>>>::new()));
    // Each callback has a sender; when all have been called, none is left.
    let (sender, mut all_called) = tokio::sync::mpsc::channel::<()>(1);
    for number in 0..RECORDS {
        let (offsets, sender) = (Arc::clone(&offsets), sender.clone());
        let record = Record::to("measurements").key(format!("sensor-{}", number % 50)).payload(number.to_string());
        producer
            .produce_with(record, move |outcome| {
                let _called = sender;
                match outcome {
                    Ok(report) => {
                        let mut offsets = offsets.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        offsets.entry(report.partition()).or_default().push(report.offset());
                    }
                    Err(error) => eprintln!("{error}; it was {:?}", error.record()),
                }
            })
            .await?;
    }
    drop(sender);
    // An asynchronous callback may wait; the next one of its partition waits for it.
    let (done, last) = tokio::sync::oneshot::channel();
    let echo = producer.clone();
    producer
        .produce_with_async(Record::to("measurements").partition(0).payload("last"), async move |outcome| {
            let answer = match outcome {
                Ok(_) => echo.send(Record::to("measurements").partition(0).payload("after the last")).await.is_ok(),
                Err(_) => false,
            };
            // No task waits only if the example was stopped.
            let _ = done.send(answer);
        })
        .await?;
    ensure!(last.await?, "the callback could not send its record");
    // A flush waits for outcomes, not for the callbacks that run with them.
    producer.flush().await?;
    ensure!(all_called.recv().await.is_none(), "the channel is empty");

    let offsets = offsets.lock().map_err(|_| anyhow::anyhow!("a callback panicked"))?;
    for (partition, offsets) in &*offsets {
        ensure!(offsets.is_sorted(), "partition {partition}: callbacks out of order");
        println!("callbacks: partition {partition} has {} records", offsets.len());
    }
    ensure!(offsets.values().map(Vec::len).sum::<usize>() == RECORDS, "a callback is missing");
    Ok(())
}

/// One loop reads all outcomes; each comes with the tag that was given with the record.
async fn by_stream(producer: &AioProducer) -> Result<()> {
    let (reporter, mut reports) = producer.reports::<usize>(1_000);
    let sender = tokio::spawn(async move {
        for number in 0..RECORDS {
            reporter.produce(Record::to("measurements").payload(number.to_string()), number).await?;
        }
        anyhow::Ok(())
    });
    let mut seen = vec![false; RECORDS];
    while let Some((number, outcome)) = reports.next().await {
        outcome.with_context(|| format!("record {number}"))?;
        ensure!(!std::mem::replace(&mut seen[number], true), "record {number} was reported twice");
    }
    sender.await??;
    ensure!(seen.into_iter().all(|seen| seen), "an outcome is missing");
    println!("stream: {RECORDS} outcomes");
    Ok(())
}
