//! A producer on an `async_executor::Executor` of the application's own, which two threads run.
//!
//! Several tasks share the producer by cloning it. A flush waits for what they sent, and a close ends it and reports.
//!
//! ```sh
//! cargo run --release -p aioproducer-smol --example own_executor
//! ```

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aioproducer_smol::{AioProducer, ClientConfig, Delivery, EmbeddedBroker, Librdkafka, ProduceError, Record, Smol};
use async_executor::Executor;

const TASKS: usize = 4;
const RECORDS: usize = 5_000;

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic("readings", 3, 1)?;

    let executor = Arc::new(Executor::new());
    // The threads run the executor until the sender is dropped.
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| smol::block_on(executor.run(stopped.recv())));
        }
        let _stop = stop;
        smol::block_on(run(&executor, broker.bootstrap_servers()))
    })
}

async fn run(executor: &Arc<Executor<'static>>, bootstrap: &str) -> Result<(), AnyError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let producer = AioProducer::builder(Librdkafka::new(config)).start(Smol::executor(Arc::clone(executor)))?;

    // Each task sends the readings of one sensor; the key keeps them in one partition, in order.
    let tasks: Vec<_> = (0..TASKS).map(|sensor| executor.spawn(measure(producer.clone(), sensor))).collect();
    let mut deliveries = Vec::new();
    for task in tasks {
        deliveries.push(task.await?);
    }

    // After the flush every delivery is resolved.
    producer.flush().within(Duration::from_secs(30)).await?;
    assert!(producer.is_empty());

    for (sensor, deliveries) in deliveries.into_iter().enumerate() {
        let mut last = None;
        for delivery in deliveries {
            let report = delivery.await?;
            assert_eq!(report.topic(), "readings");
            if let Some((partition, offset)) = last {
                assert_eq!(report.partition(), partition, "one key, one partition");
                assert!(report.offset() > offset, "in the order of the calls");
            }
            last = Some((report.partition(), report.offset()));
        }
        println!("sensor {sensor}: {RECORDS} readings, the last one at {last:?} (partition, offset)");
    }

    let report = producer.close(Duration::from_secs(10)).await;
    assert!(report.is_complete(), "unsent: {:?}", report.unsent());
    assert!(matches!(producer.try_produce(Record::to("readings")), Err(ProduceError::Closed(_))));

    let statistics = producer.statistics();
    assert_eq!((statistics.acquired, statistics.in_use), ((TASKS * RECORDS) as u64, 0));
    println!("closed; {} records in {} batches", statistics.acquired, statistics.batches);
    Ok(())
}

/// Produces without waiting for deliveries, which go to the caller.
async fn measure(producer: AioProducer, sensor: usize) -> Result<Vec<Delivery>, ProduceError<'static>> {
    let key = format!("sensor-{sensor}");
    let mut deliveries = Vec::with_capacity(RECORDS);
    for reading in 0..RECORDS {
        let record = Record::to("readings").key(&key).payload(format!("{reading}"));
        deliveries.push(producer.produce(record).await?);
    }
    Ok(deliveries)
}
