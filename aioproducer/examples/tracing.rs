//! Spans of a producer on the terminal, and a trace context that goes with the record.
//!
//! ```sh
//! cargo run --release -p aioproducer --features tracing --example tracing
//! ```
//!
//! The broker is embedded. A span is printed when it ends; `time.idle` is how long it took, as a producer is not inside its
//! spans. The exit code is 0 only if the record that comes back has the context of the span it was sent in. An application
//! that uses OpenTelemetry takes the context from there: `docs/tracing.md` has such a program, and what each attribute means.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use aioproducer::record::TraceContext;
use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
use anyhow::{Context, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{Instrument, info, info_span};
use tracing_subscriber::fmt::format::FmtSpan;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

const TOPIC: &str = "orders";

/// The trace that everything here belongs to.
const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_span_events(FmtSpan::CLOSE).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start()?;
    broker.create_topic(TOPIC, 1, 1)?;
    let servers = broker.bootstrap_servers().to_owned();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &*servers);

    let (sender, spans) = std::sync::mpsc::channel();
    let producer = AioProducer::builder(Librdkafka::new(config))
        .inject_trace_context(move |span| {
            let context = TraceContext::new(TRACE, span.id()?.into_u64(), 1).ok()?;
            sender.send(context.clone()).ok()?;
            Some(context)
        })
        .start(Tokio::current()?)?;

    let record = Record::to(TOPIC).key("customer-7").payload("two apples");
    let report = producer.send(record).instrument(info_span!("checkout")).await?;
    info!(offset = report.offset(), "sent");
    // What fails says why: `error.type`, and the error's text as the status.
    let larger = Record::to(TOPIC).payload(vec![0; 2_000_000]);
    ensure!(producer.send(larger).await.is_err(), "a record of 2 MB was accepted");
    producer.close(LIMIT).await;

    let injected = spans.try_recv().context("no context was asked for")?;
    let header = tokio::task::spawn_blocking(move || trace_parent(&servers)).await??;
    info!(traceparent = header, "received");
    let received: TraceContext = header.parse()?;
    ensure!(received == injected, "{received} came, {injected} was sent");
    Ok(())
}

/// The header of the first record of the topic.
fn trace_parent(servers: &str) -> anyhow::Result<String> {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer = config.set("bootstrap.servers", servers).set("group.id", "readers").create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(TOPIC, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) else { continue };
        let headers = message.headers().context("the record has no headers")?;
        let header = headers.iter().find(|header| header.key == "traceparent").context("there is no traceparent")?;
        return Ok(std::str::from_utf8(header.value.unwrap_or_default())?.to_owned());
    }
    anyhow::bail!("no record came")
}
