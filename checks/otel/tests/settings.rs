//! The effects of the layer's settings and of sampling as in docs/tracing.md. Each test has a subscriber of its own, for
//! its thread. On other threads, where records' spans end, it is not the current one, and so the span around them never ends.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aioproducer_otel::context;
use aioproducer::record::TraceContext;
use aioproducer::{AioProducer, Builder, ClientConfig, EmbeddedBroker, Librdkafka, Record, Tokio};
use opentelemetry::trace::{SpanKind, TraceContextExt, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracer, SdkTracerProvider, SpanData};
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, Subscriber, info_span};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const DOCUMENT: &str = include_str!("../../../docs/tracing.md");

struct Seen {
    /// The records' spans.
    sends: Vec<SpanData>,
    /// The contexts in the records.
    contexts: Vec<TraceContext>,
    /// Of the span around them.
    around: TraceContext,
}

fn layer<S>(exporter: &InMemorySpanExporter, sampler: Sampler) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let builder = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).with_sampler(sampler);
    tracing_opentelemetry::layer().with_tracer(builder.build().tracer("service"))
}

/// Sends two records inside a span while `subscriber` receives everything, and waits for `count` spans of theirs.
async fn send<S: Subscriber + Send + Sync>(
    exporter: InMemorySpanExporter,
    subscriber: S,
    count: usize,
    settings: impl FnOnce(Builder<Librdkafka>) -> Builder<Librdkafka>,
) -> Seen {
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let broker = EmbeddedBroker::start().expect("a broker");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    let contexts = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&contexts);
    let builder = AioProducer::builder(Librdkafka::new(config)).inject_trace_context(move |span| {
        let context = context(span)?;
        given.lock().expect("no panic under the lock").push(context.clone());
        Some(context)
    });
    let producer = settings(builder).start(Tokio::current().expect("a runtime")).expect("it starts");
    let root = info_span!("checkout");
    let around = context(&root).expect("a context");
    async {
        for _ in 0..2 {
            producer.send(Record::to("orders").payload("x")).await.expect("delivered");
        }
    }
    .instrument(root)
    .await;
    producer.close(Duration::from_secs(60)).await;
    let contexts = contexts.lock().expect("no panic under the lock").clone();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut sends = exporter.get_finished_spans().expect("the spans");
        sends.retain(|span| span.span_kind == SpanKind::Producer);
        if sends.len() >= count {
            return Seen { sends, contexts, around };
        }
        assert!(Instant::now() < end, "{sends:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A second layer that records spans.
struct Other;

impl<S: Subscriber> Layer<S> for Other {}

#[tokio::test]
async fn the_layer_adds_what_the_document_says() {
    let exporter = InMemorySpanExporter::default();
    let subscriber = tracing_subscriber::registry().with(layer(&exporter, Sampler::AlwaysOn));
    let seen = send(exporter, subscriber, 2, |builder| builder).await;
    let names = |span: &SpanData| -> BTreeSet<_> {
        span.attributes.iter().map(|attribute| attribute.key.to_string()).collect()
    };
    let added = "busy_ns code.file.path code.line.number code.module.name idle_ns target thread.id thread.name";
    let ours = |name: &String| name.starts_with("messaging.");
    let span = &seen.sends[0];
    assert_eq!(names(span).into_iter().filter(|name| !ours(name)).collect::<Vec<_>>().join(" "), added);
    for name in added.split(' ') {
        assert!(DOCUMENT.contains(name), "{name}");
    }
}

#[tokio::test]
async fn what_a_sampler_decides_goes_with_the_record() {
    let exporter = InMemorySpanExporter::default();
    let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
    let subscriber = tracing_subscriber::registry().with(layer(&exporter, sampler));
    let seen = send(exporter, subscriber, 0, |builder| builder).await;
    assert!(seen.sends.is_empty(), "{:?}", seen.sends);
    assert_eq!(seen.contexts.len(), 2);
    for context in seen.contexts {
        assert_eq!((context.trace_id(), context.is_sampled()), (seen.around.trace_id(), false));
    }
}

/// As in the document.
fn failures_only() -> Targets {
    Targets::new().with_default(LevelFilter::INFO).with_target("aioproducer", LevelFilter::WARN)
}

#[tokio::test]
async fn a_filter_leaves_no_span_and_the_context_of_what_is_around() {
    let exporter = InMemorySpanExporter::default();
    let subscriber = tracing_subscriber::registry().with(layer(&exporter, Sampler::AlwaysOn)).with(failures_only());
    let seen = send(exporter, subscriber, 0, |builder| builder).await;
    assert!(seen.sends.is_empty(), "{:?}", seen.sends);
    assert_eq!(seen.contexts, [seen.around.clone(), seen.around]);

    let exporter = InMemorySpanExporter::default();
    let subscriber =
        tracing_subscriber::registry().with(layer(&exporter, Sampler::AlwaysOn).with_filter(failures_only()));
    let subscriber = subscriber.with(Other);
    let seen = send(exporter, subscriber, 0, |builder| builder).await;
    assert!(seen.sends.is_empty(), "{:?}", seen.sends);
    assert_eq!(seen.contexts, [seen.around.clone(), seen.around]);
}

#[tokio::test]
async fn records_have_spans_if_what_is_around_is_sampled() {
    let is_sampled = |_: &Record<'_>| tracing::Span::current().context().span().span_context().is_sampled();
    for (sampler, spans) in [(Sampler::AlwaysOn, 2), (Sampler::AlwaysOff, 0)] {
        let exporter = InMemorySpanExporter::default();
        let subscriber = tracing_subscriber::registry().with(layer(&exporter, sampler));
        let seen = send(exporter, subscriber, spans, |builder| builder.trace_records(is_sampled)).await;
        assert_eq!(seen.sends.len(), spans);
        assert!(seen.contexts.iter().all(|context| context.trace_id() == seen.around.trace_id()));
        assert_eq!(seen.contexts.len(), 2);
    }
}
