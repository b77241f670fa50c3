//! A web service in front of Kafka: a request is answered once its record is in the log, or with the reason why not.
//!
//! ```sh
//! cargo run --release -p aioproducer --example web_service
//! curl -i 'http://127.0.0.1:8080/records/orders?key=customer-7' --data 'two apples'
//! cargo run --release -p aioproducer --example web_service -- --self-test
//! ```
//!
//! | answer | when |
//! | --- | --- |
//! | 201 | the record is in the log; partition and offset are in the body |
//! | 400 | the topic's name or the record is invalid |
//! | 413 | the record is larger than the producer or the broker takes |
//! | 502 | the broker refused it; the body says whether it may be in the log |
//! | 503 | the pool is full, with `Retry-After`; or the end came before the record was delivered |
//! | 504 | it was not delivered in time; the body says whether it may be in the log |
//!
//! `/readyz` has 200 while records get through, else 503, and which brokers do not answer. `/healthz` has 503 once the producer has ended
//! by a fatal error.
//!
//! Ctrl-c or SIGTERM ends it in order. First HTTP: no new connections, and the requests that are being served get their
//! answers, for which the producer stays open. Then the producer: what it has is delivered, and what was not is printed. Each
//! part has its limit. The broker is embedded, unless `AIOPRODUCER_BOOTSTRAP=host:port` names one.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Tokio};
use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;

use self::serve::{Limits, serve};

mod client;
mod routes;
mod self_test;
mod serve;

/// A web service that writes to Kafka: POST /records/{topic}?key=... with the payload as body.
#[derive(Parser)]
#[command(name = "web_service")]
struct Arguments {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Records that may wait for delivery at once; one more is answered with 503.
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,

    /// How long a record may take to be delivered.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..))]
    delivery_timeout: u64,

    /// How long requests have for their end when the service ends.
    #[arg(long, value_name = "SECONDS", default_value = "15")]
    drain_within: u64,

    /// How long the producer has after that.
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    close_within: u64,

    /// Start on a free port with an embedded broker, make requests, check the answers, and end.
    #[arg(long)]
    self_test: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    if arguments.self_test {
        return runtime.block_on(self_test::run());
    }
    let (bootstrap, _broker) = EmbeddedBroker::bootstrap()?;
    runtime.block_on(run(&arguments, &bootstrap))
}

async fn run(arguments: &Arguments, bootstrap: &str) -> anyhow::Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let producer = AioProducer::builder(Librdkafka::new(config))
        .slots(arguments.slots as usize)
        .delivery_timeout(Duration::from_secs(arguments.delivery_timeout))
        .start(Tokio::current()?)?;

    let listener = TcpListener::bind(arguments.listen).await.with_context(|| arguments.listen.to_string())?;
    println!("http://{}/records/{{topic}}, to {bootstrap}", listener.local_addr()?);
    let stop = end_signal()?;
    let limits = Limits {
        drain: Duration::from_secs(arguments.drain_within),
        close: Duration::from_secs(arguments.close_within),
    };
    let report = serve(listener, producer, stop, limits).await?;

    for unsent in report.unsent() {
        eprintln!("not delivered: {:?}, {:?}", unsent.record, unsent.status);
    }
    println!("closed, {} records were not delivered", report.unsent().len());
    Ok(())
}

/// Resolves on ctrl-c or SIGTERM.
#[cfg(unix)]
fn end_signal() -> anyhow::Result<impl Future<Output = ()>> {
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
fn end_signal() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}
