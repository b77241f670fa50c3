//! A producer whose spans OpenTelemetry's SDK exports, to memory.

pub mod conventions;

use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aioproducer::{AioProducer, Builder, ClientConfig, EmbeddedBroker, Librdkafka, Tokio};
use opentelemetry::trace::{SpanId, TraceContextExt, TraceId, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Instrument, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

/// Longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// All that is exported, by the set-up of docs/tracing.md. Spans end on librdkafka's threads, too, so the subscriber is the
/// process's.
pub fn exporter() -> &'static InMemorySpanExporter {
    static EXPORTER: OnceLock<InMemorySpanExporter> = OnceLock::new();
    EXPORTER.get_or_init(|| {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("service"))
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::set_global_default(subscriber).expect("no other subscriber is set");
        exporter
    })
}

/// The spans of one test, which are one trace.
pub struct Trace {
    pub id: TraceId,
    pub root: SpanId,
}

impl Trace {
    /// The trace's spans but for its root, in the order in which they began, once there are `count` and the root.
    pub async fn spans(&self, count: usize) -> Vec<SpanData> {
        let end = Instant::now() + LIMIT;
        loop {
            let mut spans = exporter().get_finished_spans().expect("the spans");
            spans.retain(|span| span.span_context.trace_id() == self.id && span.span_context.span_id() != self.root);
            if spans.len() >= count || Instant::now() > end {
                spans.sort_by_key(|span| span.start_time);
                let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
                assert_eq!(spans.len(), count, "{names:?}");
                return spans;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Runs `work` inside the root span of a trace.
pub async fn traced<F: Future>(work: F) -> (Trace, F::Output) {
    exporter();
    let root = info_span!("checkout");
    let context = root.context().span().span_context().clone();
    let output = work.instrument(root).await;
    (Trace { id: context.trace_id(), root: context.span_id() }, output)
}

pub fn start(
    broker: &EmbeddedBroker,
    configure: impl FnOnce(&mut ClientConfig),
    build: impl FnOnce(Builder<Librdkafka>) -> Builder<Librdkafka>,
) -> AioProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());
    configure(&mut config);
    let builder = build(AioProducer::builder(Librdkafka::new(config)));
    builder.start(Tokio::current().expect("a runtime")).expect("it starts")
}
