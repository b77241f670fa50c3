//! Sends the lines of a text to Kafka, reads them back with a plain consumer, and compares.
//!
//! ```sh
//! cargo run --release -p aioproducer-smol --example quickstart                # a text of its own
//! cargo run --release -p aioproducer-smol --example quickstart -- server.log  # yours; `-` is standard input
//! cargo run --release -p aioproducer-smol --example quickstart -- --help
//! ```
//!
//! The broker is embedded, unless `AIOPRODUCER_BOOTSTRAP=host:port` names one. The exit code is 0 only if each line was
//! read back exactly once, in the order of sending within its partition.
//!
//! This file holds what depends on smol; `trip` has the rest, a link to the folder of the example for tokio.

use std::process::ExitCode;

use aioproducer_smol as aio;
use smol::unblock;

use crate::aio::{AioProducer, Smol};
use crate::trip::{Arguments, Trip};

mod trip;

fn main() -> ExitCode {
    trip::exit_code(smol::block_on(run(Arguments::read())))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // The consumer and the input block, so they get threads that may.
    let trip = unblock(|| Trip::prepare(arguments)).await?;

    let producer = AioProducer::builder(trip.backend()).slots(trip.in_flight()).start(Smol::global())?;
    let sent = trip.send(&producer).await;
    producer.close(trip::CLOSE_WITHIN).await;
    let sent = sent?;

    unblock(move || trip.read_back(&sent)).await
}
