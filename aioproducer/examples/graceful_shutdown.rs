//! A service under load that ends in order: on SIGTERM or ctrl-c its tasks stop producing, then it sends what was accepted,
//! up to a deadline, prints what was not sent, and exits with 0. Nothing that was accepted is lost, and nothing is refused that
//! a task has in its hands.
//!
//! ```sh
//! cargo run --release -p aioproducer --example graceful_shutdown
//! cargo run --release -p aioproducer --example graceful_shutdown -- --self-test
//! ```
//!
//! It prints a line for each record, to be read by a person or by the self-test:
//!
//! | line | when |
//! | --- | --- |
//! | `accepted ID` | the producer has the record |
//! | `failed ID STATUS` | it was not delivered, while the service ran |
//! | `unsent ID STATUS` | it was not delivered before the deadline of the end |
//! | `closed N` | the end; N records were unsent |
//!
//! STATUS says whether the record may be in the log all the same. The self-test starts the service as a process of its
//! own, sends it SIGTERM under load, once with a broker that is there and once with one that went away, then reads the
//! log and compares. The broker is embedded, unless `AIOPRODUCER_BOOTSTRAP=host:port` names one.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use aioproducer::{AioProducer, ClientConfig, Delivery, EmbeddedBroker, Librdkafka, Record, Tokio};
use clap::Parser;
use tokio::sync::watch;

#[path = "graceful_shutdown/self_test.rs"]
mod self_test;

/// A service that produces until it receives a signal, and then ends in order.
#[derive(Parser)]
#[command(name = "graceful_shutdown")]
struct Arguments {
    /// Where records go.
    #[arg(long, default_value = "graceful")]
    topic: String,

    /// How long the end may take.
    #[arg(long, value_name = "MILLISECONDS", default_value = "10000")]
    close_within: u64,

    /// Start the service as another process, end it under load, and check that nothing was lost.
    #[arg(long)]
    self_test: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.self_test {
        return self_test::run();
    }
    let (bootstrap, _broker) = EmbeddedBroker::bootstrap()?;
    tokio::runtime::Runtime::new()?.block_on(serve(&arguments, &bootstrap))
}

async fn serve(arguments: &Arguments, bootstrap: &str) -> anyhow::Result<()> {
    // From here on a signal does not kill the process any more.
    let terminated = terminated()?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let producer = AioProducer::builder(Librdkafka::new(config)).slots(10_000).start(Tokio::current()?)?;

    let (stop, stopped) = watch::channel(());
    let tasks: Vec<_> = (0..4)
        .map(|task| tokio::spawn(work(producer.clone(), arguments.topic.clone(), task, stopped.clone())))
        .collect();
    terminated.await;

    // First those end who produce, as a producer that closed now would refuse what they have in their hands. Then what was
    // accepted has its time.
    drop(stop);
    let mut open = Vec::new();
    for task in tasks {
        open.extend(task.await??);
    }
    //
    // The report has the records that were not sent, for a program that keeps them. Each delivery has its own error, also of a
    // record that librdkafka did not give back in time.
    let _report = producer.close(Duration::from_millis(arguments.close_within)).await;
    let mut unsent = 0;
    for (id, delivery) in open {
        if let Err(error) = delivery.await {
            println!("unsent {id} {:?}", error.status());
            unsent += 1;
        }
    }
    println!("closed {unsent}");
    Ok(())
}

/// A part of the service: produces as fast as it may, until it is stopped. Returns what it has not looked at.
async fn work(
    producer: AioProducer,
    topic: String,
    task: usize,
    mut stopped: watch::Receiver<()>,
) -> anyhow::Result<VecDeque<(String, Delivery)>> {
    let mut open = VecDeque::new();
    for number in 0_u64.. {
        let id = format!("{task}-{number}");
        tokio::select! {
            // Dropped before it is ready, the record was never accepted.
            produced = producer.produce(Record::to(&topic).key(&id).payload(&id)) => {
                let delivery = produced?;
                println!("accepted {id}");
                open.push_back((id, delivery));
            }
            _ = stopped.changed() => break,
        }
        while open.len() > 1_000 {
            tokio::select! {
                () = async { if let Some((id, delivery)) = open.front_mut() { settle(id, delivery).await } } => drop(open.pop_front()),
                _ = stopped.changed() => return Ok(open),
            }
        }
    }
    Ok(open)
}

/// Waits for a record's outcome, and prints it if it failed.
async fn settle(id: &str, delivery: &mut Delivery) {
    if let Err(error) = delivery.await {
        println!("failed {id} {:?}", error.status());
    }
}

/// Resolves on ctrl-c or SIGTERM.
#[cfg(unix)]
fn terminated() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves on ctrl-c.
#[cfg(not(unix))]
fn terminated() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
