//! A producer on an executor of one's own that has nothing to do with tokio or smol: a task queue and timers, in
//! `executor.rs`, and `Runtime` in a few lines at its end. `docs/executors.md` says what must hold.
//!
//! ```sh
//! cargo run --release -p aioproducer --example own_runtime
//! ```

use std::error::Error;
use std::time::Duration;

use aioproducer::error::FailureKind;
use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, ProduceError, Record};

use crate::executor::{Executor, OwnRuntime};

mod executor;

const RECORDS: usize = 1_000;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic("readings", 3, 1)?;

    let mut executor = Executor::new();
    let runtime = executor.runtime();
    executor.run(deliver(&broker, runtime))?;
    end_with_the_executor(&broker, executor)
}

fn start(broker: &EmbeddedBroker, runtime: OwnRuntime, linger: Duration) -> Result<AioProducer, AnyError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    Ok(AioProducer::builder(Librdkafka::new(config)).linger(linger).start(runtime)?)
}

/// A delivery, a flush and a close: each needs the executor's timers, its tasks, or both.
async fn deliver(broker: &EmbeddedBroker, runtime: OwnRuntime) -> Result<(), AnyError> {
    // Only the timer ends a linger.
    let producer = start(broker, runtime.clone(), Duration::from_millis(20))?;
    let delivery = producer.produce(Record::to("readings").key("sensor-1").payload("first")).await?;
    let report = delivery.await?;
    println!("delivered: {report}");
    assert!(producer.close(LONG).await.is_complete());

    // A flush does not wait for one.
    let producer = start(broker, runtime, LONG)?;
    for reading in 0..RECORDS {
        // A delivery that is dropped cancels nothing.
        drop(producer.produce(Record::to("readings").payload(reading.to_string())).await?);
    }
    producer.flush().within(LONG).await?;
    assert!(producer.is_empty());

    // A close ends what the flush would have, and the producer with it.
    let last = producer.produce(Record::to("readings").payload("last")).await?;
    let report = producer.close(LONG).await;
    assert!(report.is_complete(), "unsent: {:?}", report.unsent());
    last.await?;

    let records = broker.records("readings").await?;
    assert_eq!(records.len(), RECORDS + 2);
    println!("flushed and closed: {} records are in the log", records.len());
    Ok(())
}

/// A producer ends with its executor, and says so.
fn end_with_the_executor(broker: &EmbeddedBroker, mut executor: Executor) -> Result<(), AnyError> {
    let producer = start(broker, executor.runtime(), LONG)?;
    let buffered = executor.run(producer.produce(Record::to("readings").payload("in time")))?;
    drop(executor);

    // A delivery needs no runtime: any executor can poll it.
    let error = Executor::new().run(buffered).expect_err("its executor is gone");
    assert_eq!(error.kind(), FailureKind::Closed);
    let refused = producer.try_produce(Record::to("readings").payload("late")).expect_err("its executor is gone");
    assert!(matches!(refused, ProduceError::RuntimeEnded(_)), "{refused}");
    println!("without its executor: {refused}");
    Ok(())
}
