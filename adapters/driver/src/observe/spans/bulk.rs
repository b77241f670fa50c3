//! The span of a `produce_all`.

use std::fmt;
use std::mem::discriminant;

use tracing::field::{Empty, display};
use tracing::info_span;

use super::Spans;
use crate::record::{Record, RecordSpan, SpanOf, SpanState};
use crate::runtime::sync::Arc;

/// The span of a `produce_all`, which is that of all its records.
#[derive(Default)]
pub(crate) struct BulkSpan {
    /// `None` while there is no record, or no subscriber wants it.
    span: Option<Arc<SpanState>>,
    topic: Topic,
    counted: bool,
}

/// Where the records go.
#[derive(Default)]
enum Topic {
    #[default]
    Unknown,
    Same(String),
    Mixed,
}

impl BulkSpan {
    /// There are more records. The first make the span and name it: once a trace context was taken from it, its name stays.
    pub(crate) fn chunk(&mut self, records: &[Record<'_>]) {
        if self.span.is_none() && !records.is_empty() {
            let span = info_span!(
                target: "aioproducer",
                "send",
                "otel.name" = Empty,
                "otel.kind" = "producer",
                "otel.status_code" = Empty,
                "otel.status_description" = Empty,
                "messaging.system" = "kafka",
                "messaging.operation.name" = "send",
                "messaging.operation.type" = "send",
                "messaging.destination.name" = Empty,
                "messaging.batch.message_count" = Empty,
                "error.type" = Empty,
            );
            self.span = (!span.is_disabled()).then(|| SpanState::new(span, SpanOf::Many));
        }
        let Some(inner) = &self.span else { return };
        let before = discriminant(&self.topic);
        for record in records {
            match &self.topic {
                Topic::Unknown => self.topic = Topic::Same(record.topic().to_owned()),
                Topic::Same(topic) if topic != record.topic() => self.topic = Topic::Mixed,
                Topic::Same(_) | Topic::Mixed => {}
            }
        }
        if before != discriminant(&self.topic) {
            match &self.topic {
                Topic::Same(topic) => inner.span.record("otel.name", display(format_args!("send {topic}"))),
                Topic::Unknown | Topic::Mixed => inner.span.record("otel.name", "send"),
            };
        }
    }

    /// Makes the record one of the batch.
    pub(crate) fn member(&self, spans: &Spans, record: &mut Record<'_>) {
        if record.trace.0.is_some() {
            return;
        }
        let Some(inner) = &self.span else { return spans.inject(None, record) };
        spans.inject(Some(&inner.span), record);
        record.trace = RecordSpan(Some(Arc::clone(inner)));
    }

    /// A record was not accepted. Called without a lock.
    pub(crate) fn refused(&self, error_type: &str, error: &dyn fmt::Display) {
        if let Some(inner) = &self.span {
            inner.fail(error_type, error);
        }
    }

    /// There are `count` records and no more.
    pub(crate) fn counted(&mut self, count: usize) {
        if let Some(inner) = &self.span
            && !std::mem::replace(&mut self.counted, true)
        {
            // A larger type would become a text.
            inner.span.record("messaging.batch.message_count", count as i64);
            if let Topic::Same(topic) = &self.topic {
                inner.span.record("messaging.destination.name", topic.as_str());
            }
        }
    }

    pub(crate) fn end(&mut self) {
        self.span = None;
    }
}
