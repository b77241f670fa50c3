//! Sends the lines of a text to Kafka, reads them back with a plain consumer, and compares.
//!
//! ```sh
//! cargo run --release -p aioproducer-tokio --example quickstart                # a text of its own
//! cargo run --release -p aioproducer-tokio --example quickstart -- server.log  # yours; `-` is standard input
//! cargo run --release -p aioproducer-tokio --example quickstart -- --help
//! ```
//!
//! The broker is embedded, unless `AIOPRODUCER_BOOTSTRAP=host:port` names one. The exit code is 0 only if each line was
//! read back exactly once, in the order of sending within its partition.
//!
//! This file holds what depends on tokio; `trip/` has the rest, which the example for smol shares.

use std::process::ExitCode;

use aioproducer_tokio as aio;
use tokio::task::spawn_blocking;

use crate::aio::{AioProducer, Tokio};
use crate::trip::{Arguments, Trip};

mod trip;

#[tokio::main]
async fn main() -> ExitCode {
    trip::exit_code(run(Arguments::read()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // The consumer and the input block, so they get threads that may.
    let trip = spawn_blocking(|| Trip::prepare(arguments)).await??;

    let producer = AioProducer::builder(trip.backend()).slots(trip.in_flight()).start(Tokio::current()?)?;
    let sent = trip.send(&producer).await;
    producer.close(trip::CLOSE_WITHIN).await;
    let sent = sent?;

    spawn_blocking(move || trip.read_back(&sent)).await?
}
