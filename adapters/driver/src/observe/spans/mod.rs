//! Spans and events, by OpenTelemetry's semantic conventions for messaging and Kafka. `docs/tracing.md` lists them.
//! <https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>
//!
//! Here is everything that `tracing` is called with; the handle that travels with a record is in `record`. Nothing here is called
//! under a lock but what keeps and returns a span.
//!
//! A record's span is made when the record is first tried, travels with it, and waits in a slab while the record has its
//! slot, which knows its place. It ends when the outcome is known, or its callback has run.
//!
//! An attribute has the type that the conventions give it. On the way to OpenTelemetry a `u64` or an `usize` becomes a text,
//! so numbers are `i64`; and an attribute that is set twice is exported twice, so each is set once.

mod bulk;
mod calls;
mod error_type;
mod record_span;

use std::fmt;

use aioproducer_core::backend::{Delivered, Failure};
use tracing::field::Empty;
use tracing::{Level, Span, error, info_span, span_enabled, warn};

pub(crate) use self::bulk::BulkSpan;
pub(crate) use self::calls::CallSpan;
use self::error_type::error_type;
use super::names::SUBSCRIBER;
use crate::record::topics::{NO_PARTITION, TopicPartition, Topics};
use crate::record::trace_context::TraceContext;
use crate::record::{Record, RecordSpan, SpanOf, SpanState};
use crate::runtime::panics::Panics;
use crate::runtime::slab::Slab;
use crate::runtime::sync::{Arc, AtomicBool, Mutex, Ordering, lock};

#[derive(Clone, Debug, Default)]
pub(crate) struct SpanOptions {
    pub(crate) context: Option<Injection>,
    pub(crate) wanted: Option<Wanted>,
    pub(crate) keys: bool,
}

/// Says which context belongs to a span.
#[derive(Clone)]
pub(crate) struct Injection(pub(crate) Arc<ContextOf>);

type ContextOf = dyn Fn(&Span) -> Option<TraceContext> + Send + Sync;

impl fmt::Debug for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injection").finish_non_exhaustive()
    }
}

/// Says which records have a span.
#[derive(Clone)]
pub(crate) struct Wanted(pub(crate) Arc<IsWanted>);

type IsWanted = dyn Fn(&Record<'_>) -> bool + Send + Sync;

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted").finish_non_exhaustive()
    }
}

/// Names a span in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanRef(u32);

impl SpanRef {
    pub(crate) const NONE: Self = Self(u32::MAX);
    pub(crate) const ARE_THERE: bool = true;
}

/// What is to be emitted: the outcomes of records with a span, all failures, and stalls.
#[derive(Default)]
pub(crate) struct SpanNotes {
    delivered: Vec<(RecordSpan, Delivered)>,
    failed: Vec<(RecordSpan, Option<TopicPartition>, Failure)>,
    stalled: u64,
}

impl SpanNotes {
    pub(crate) fn delivered(&mut self, open: RecordSpan, at: Delivered) {
        if open.0.is_some() {
            self.delivered.push((open, at));
        }
    }

    pub(crate) fn failed(&mut self, open: RecordSpan, key: Option<TopicPartition>, failure: Failure) {
        self.failed.push((open, key, failure));
    }

    pub(crate) fn stalled(&mut self, count: u64) {
        self.stalled += count;
    }
}

pub(crate) struct Spans {
    options: SpanOptions,
    /// The span of a record that is to have none, so that the application is not asked again when the record is tried again.
    none: Arc<SpanState>,
    /// Spans of records that have a slot. Nothing is locked inside this lock, and nothing is called.
    slab: Mutex<Slab<Arc<SpanState>>>,
    /// Subscribers know of a fatal error.
    fatal: AtomicBool,
}

impl Spans {
    pub(crate) fn new(options: SpanOptions) -> Self {
        let none = SpanState::new(Span::none(), SpanOf::Many);
        Self { options, none, slab: Mutex::new(Slab::default()), fatal: AtomicBool::new(false) }
    }

    /// Makes a record's span, unless it has one: from an earlier attempt, or that of its `produce_all`.
    #[inline]
    pub(crate) fn begin(&self, record: &mut Record<'_>) {
        if record.trace.0.is_none() && self.wants(record) {
            let span = info_span!(
                target: "aioproducer",
                "send",
                "otel.name" = display(format_args!("send {}", record.topic())),
                "otel.kind" = if record.is_traced() { "client" } else { "producer" },
                "otel.status_code" = Empty,
                "otel.status_description" = Empty,
                "messaging.system" = "kafka",
                "messaging.operation.name" = "send",
                "messaging.operation.type" = "send",
                "messaging.destination.name" = record.topic(),
                "messaging.destination.partition.id" = record.get_partition().map(display),
                "messaging.kafka.offset" = Empty,
                "messaging.kafka.message.key" = self.key_of(record),
                "messaging.kafka.message.tombstone" = record.get_payload().is_none().then_some(true),
                "messaging.message.body.size" = record.get_payload().map(|payload| payload.len() as i64),
                "error.type" = Empty,
            );
            if !span.is_disabled() {
                self.inject(Some(&span), record);
                let of = if record.get_partition().is_some() { SpanOf::RecordWithPartition } else { SpanOf::Record };
                record.trace = RecordSpan(Some(SpanState::new(span, of)));
            } else if self.options.context.is_some() {
                self.inject(None, record);
            }
        }
    }

    /// Whether the application wants a span of the record, which is marked if not.
    #[inline]
    fn wants(&self, record: &mut Record<'_>) -> bool {
        let Some(Wanted(is_wanted)) = &self.options.wanted else { return true };
        if !span_enabled!(target: "aioproducer", Level::INFO) || is_wanted(record) {
            return true;
        }
        self.inject(None, record);
        record.trace = RecordSpan(Some(Arc::clone(&self.none)));
        false
    }

    /// The key, if the application wants keys in spans and it is text.
    fn key_of<'r>(&self, record: &'r Record<'_>) -> Option<&'r str> {
        record.get_key().filter(|_| self.options.keys).and_then(|key| std::str::from_utf8(key).ok())
    }

    /// Gives the record the context of its span, or, if that has none, of the span around it.
    fn inject(&self, span: Option<&Span>, record: &mut Record<'_>) {
        let Some(Injection(context)) = &self.options.context else { return };
        if record.is_traced() {
            return;
        }
        let around = || Some(Span::current()).filter(|span| !span.is_disabled()).and_then(|span| context(&span));
        if let Some(context) = span.and_then(|span| context(span)).or_else(around) {
            record.set_trace_context(&context);
        }
    }

    /// Keeps the span of a record that is accepted.
    #[inline]
    pub(crate) fn keep(&self, span: &mut RecordSpan) -> SpanRef {
        match span.0.take() {
            Some(inner) if !inner.span.is_disabled() => SpanRef(lock(&self.slab).insert(inner)),
            _ => SpanRef::NONE,
        }
    }

    /// Returns the span that [`Spans::keep`] kept, once.
    #[inline]
    pub(crate) fn take(&self, place: SpanRef) -> RecordSpan {
        if place == SpanRef::NONE {
            return RecordSpan(None);
        }
        RecordSpan(lock(&self.slab).remove(place.0))
    }

    /// Calls subscribers. One that panics is called for the next outcome all the same. Dropping a span calls it, too.
    pub(crate) fn emit(&self, topics: &Topics, notes: &mut SpanNotes, panics: &Panics) {
        for (open, at) in notes.delivered.drain(..) {
            panics.catch(SUBSCRIBER, || open.delivered(at.partition, at.offset()));
            panics.drop_all(SUBSCRIBER, [open]);
        }
        for (open, key, failure) in notes.failed.drain(..) {
            let topic = key.and_then(|(topic, _)| topics.name(topic));
            let partition = key.map(|(_, partition)| partition).filter(|partition| *partition != NO_PARTITION);
            panics.catch(SUBSCRIBER, || open.failed(topic, partition, &failure));
            panics.drop_all(SUBSCRIBER, [open]);
        }
        let stalled = std::mem::take(&mut notes.stalled);
        if stalled > 0 {
            panics.catch(SUBSCRIBER, || {
                warn!(target: "aioproducer", count = stalled as i64, "callbacks have stalled");
            });
        }
    }

    /// Emits the first fatal error.
    pub(crate) fn fatal(&self, failure: &Failure) {
        if !self.fatal.swap(true, Ordering::Relaxed) {
            let code = failure.code().map(|code| code.number());
            let error = error_type(failure);
            error!(
                target: "aioproducer",
                { error.type = error, code = code, reason = failure.reason },
                "the producer met a fatal error"
            );
        }
    }
}

/// Code of the application panicked, and the panic was caught.
pub(crate) fn panic_caught(name: &str) {
    error!(target: "aioproducer", code = name, "code of the application panicked; the producer goes on");
}
