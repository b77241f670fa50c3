//! Spans and events, by OpenTelemetry's semantic conventions for messaging and Kafka.
//! <https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>
//!
//! A record's span is made when the record is first tried, travels with it, and waits in a slab while the record has its
//! slot, which knows its place. It ends when the outcome is known, or its callback has run.

use std::fmt;
use std::sync::Arc;

use aioproducer_core::backend::{Delivered, Failure, FailureKind};
use tracing::field::{Empty, display};
use tracing::{Span, error, info_span, warn};

use super::SUBSCRIBER;
use super::changes::{kind_name, status_name};
use crate::TraceContext;
use crate::callbacks::{Key, NO_PARTITION};
use crate::delivery::DeliveryError;
use crate::panics::Panics;
use crate::record::Record;
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use crate::topics::Topics;

#[derive(Clone, Debug, Default)]
pub(crate) struct SpanOptions {
    pub(crate) context: Option<Injection>,
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

/// A record's span, if somebody wants to see it.
#[derive(Default)]
pub(crate) struct Open(Option<Box<Inner>>);

struct Inner {
    span: Span,
    /// The span is that of many records.
    many: bool,
}

/// A copy of a record is another record.
impl Clone for Open {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl Open {
    fn new(span: Span, many: bool) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(Inner { span, many })))
    }

    fn span(&self) -> Span {
        self.0.as_ref().map_or(Span::none(), |inner| inner.span.clone())
    }

    fn delivered(&self, partition: i32, offset: i64) {
        let Some(Inner { span, many: false }) = self.0.as_deref() else { return };
        span.record("messaging.destination.partition.id", display(partition));
        if offset >= 0 {
            span.record("messaging.kafka.offset", offset);
        }
    }

    fn failed(&self, topic: Option<&str>, partition: Option<i32>, failure: &Failure) {
        let (kind, status) = (kind_name(failure.kind), status_name(failure.status));
        let span = self.span();
        span.record("error.type", kind);
        span.record("otel.status_code", "ERROR");
        let partition = partition.map(display);
        macro_rules! tell {
            ($text:literal) => {
                warn!(
                    target: "aioproducer",
                    parent: &span,
                    {
                        messaging.destination.name = topic,
                        messaging.destination.partition.id = partition,
                        error.type = kind,
                        status = status,
                        code = failure.code,
                        reason = failure.reason,
                    },
                    $text
                )
            };
        }
        if failure.kind == FailureKind::Dropped {
            tell!("the pool was full and a record was dropped");
        } else {
            tell!("a record was not delivered");
        }
    }

    /// The outcome of a record whose callback is about to run, or never will.
    pub(crate) fn outcome(&self, outcome: &Result<Delivered, DeliveryError>) {
        match outcome {
            Ok(at) => self.delivered(at.partition, at.offset),
            Err(error) => {
                let record = error.record();
                let partition = record.and_then(Record::get_partition);
                self.failed(record.map(Record::topic), partition, error.failure());
            }
        }
    }

    pub(crate) fn retracted(&self) {
        self.span().record("error.type", "retracted");
    }

    pub(crate) fn inside<T>(&self, step: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(inner) => inner.span.in_scope(step),
            None => step(),
        }
    }

    /// The callback panicked.
    pub(crate) fn panicked(&self) {
        error!(target: "aioproducer", parent: &self.span(), "a callback panicked");
    }
}

/// Names a span in the slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanRef(u32);

impl SpanRef {
    pub(crate) const NONE: Self = Self(u32::MAX);
    pub(crate) const ARE_THERE: bool = true;
}

/// Spans of records that have a slot.
#[derive(Default)]
struct Slab {
    places: Vec<Open>,
    vacant: Vec<u32>,
}

/// What is to be told: the outcomes of records with a span, all failures, and stalls.
#[derive(Default)]
pub(crate) struct SpanNotes {
    delivered: Vec<(Open, Delivered)>,
    failed: Vec<(Open, Option<Key>, Failure)>,
    stalled: u64,
}

impl SpanNotes {
    pub(crate) fn delivered(&mut self, open: Open, at: Delivered) {
        if open.0.is_some() {
            self.delivered.push((open, at));
        }
    }

    pub(crate) fn failed(&mut self, open: Open, key: Option<Key>, failure: Failure) {
        self.failed.push((open, key, failure));
    }

    pub(crate) fn stalled(&mut self, count: u64) {
        self.stalled += count;
    }
}

pub(crate) struct Spans {
    options: SpanOptions,
    /// Taken last, for a moment, and with nothing called meanwhile.
    slab: Mutex<Slab>,
    /// Subscribers know of a fatal error.
    fatal: AtomicBool,
}

impl Spans {
    pub(crate) fn new(options: SpanOptions) -> Self {
        Self { options, slab: Mutex::new(Slab::default()), fatal: AtomicBool::new(false) }
    }

    /// Makes a record's span, unless it has one: from an attempt before, or that of its `produce_all`.
    #[inline]
    pub(crate) fn begin(&self, record: &mut Record<'_>) {
        if record.trace.0.is_none() {
            let span = info_span!(
                target: "aioproducer",
                "send",
                "otel.name" = Empty,
                "otel.kind" = "producer",
                "otel.status_code" = Empty,
                "messaging.system" = "kafka",
                "messaging.operation.name" = "send",
                "messaging.operation.type" = "send",
                "messaging.destination.name" = record.topic(),
                "messaging.destination.partition.id" = record.get_partition().map(display),
                "messaging.kafka.offset" = Empty,
                "messaging.kafka.message.key" = Empty,
                "messaging.kafka.message.tombstone" = record.get_payload().is_none().then_some(true),
                "messaging.message.body.size" = record.get_payload().map_or(0, <[u8]>::len),
                "error.type" = Empty,
            );
            if !span.is_disabled() {
                self.describe(span, record);
            }
        }
    }

    fn describe(&self, span: Span, record: &mut Record<'_>) {
        span.record("otel.name", display(format_args!("send {}", record.topic())));
        if self.options.keys
            && let Some(key) = record.get_key().and_then(|key| std::str::from_utf8(key).ok())
        {
            span.record("messaging.kafka.message.key", key);
        }
        self.inject(&span, record);
        record.trace = Open::new(span, false);
    }

    fn inject(&self, span: &Span, record: &mut Record<'_>) {
        if let Some(Injection(context)) = &self.options.context
            && !record.is_traced()
            && let Some(context) = context(span)
        {
            record.set_trace_context(&context);
        }
    }

    /// Keeps the span of a record that is accepted.
    #[inline]
    pub(crate) fn keep(&self, open: &mut Open) -> SpanRef {
        if open.0.is_none() {
            return SpanRef::NONE;
        }
        let open = std::mem::take(open);
        let slab = &mut *lock(&self.slab);
        match slab.vacant.pop() {
            Some(place) => {
                slab.places[place as usize] = open;
                SpanRef(place)
            }
            None => {
                slab.places.push(open);
                SpanRef(slab.places.len() as u32 - 1)
            }
        }
    }

    /// Gives it back, once.
    #[inline]
    pub(crate) fn take(&self, place: SpanRef) -> Open {
        if place == SpanRef::NONE {
            return Open(None);
        }
        let slab = &mut *lock(&self.slab);
        slab.vacant.push(place.0);
        std::mem::take(&mut slab.places[place.0 as usize])
    }

    /// A subscriber that panics hears of the next all the same. To drop a span calls it, too.
    pub(crate) fn tell(&self, topics: &Topics, notes: &mut SpanNotes, panics: &Panics) {
        for (open, at) in notes.delivered.drain(..) {
            panics.contain(SUBSCRIBER, || open.delivered(at.partition, at.offset));
            panics.drop_all(SUBSCRIBER, [open]);
        }
        for (open, key, failure) in notes.failed.drain(..) {
            let topic = key.and_then(|(topic, _)| topics.name(topic));
            let partition = key.map(|(_, partition)| partition).filter(|partition| *partition != NO_PARTITION);
            panics.contain(SUBSCRIBER, || open.failed(topic, partition, &failure));
            panics.drop_all(SUBSCRIBER, [open]);
        }
        let stalled = std::mem::take(&mut notes.stalled);
        if stalled > 0 {
            panics.contain(SUBSCRIBER, || {
                warn!(target: "aioproducer", count = stalled, "callbacks have stalled");
            });
        }
    }

    /// Tells of the first fatal error.
    pub(crate) fn fatal(&self, failure: &Failure) {
        if !self.fatal.swap(true, Ordering::Relaxed) {
            error!(target: "aioproducer", code = failure.code, reason = failure.reason, "the producer met a fatal error");
        }
    }
}

/// Code of the application's panicked and was contained.
pub(crate) fn contained(name: &str) {
    error!(target: "aioproducer", code = name, "code of the application panicked; the producer goes on");
}

/// The span of a `produce_all`, which is that of all its records.
#[derive(Default)]
pub(crate) struct Bulk {
    span: Option<Span>,
    /// The topic, while all records have the same.
    topic: Option<String>,
    mixed: bool,
    counted: bool,
}

impl Bulk {
    /// Makes the record one of the batch.
    pub(crate) fn member(&mut self, spans: &Spans, record: &mut Record<'_>) {
        let span = self.span.get_or_insert_with(|| {
            info_span!(
                target: "aioproducer",
                "send",
                "otel.name" = Empty,
                "otel.kind" = "producer",
                "otel.status_code" = Empty,
                "messaging.system" = "kafka",
                "messaging.operation.name" = "send",
                "messaging.operation.type" = "send",
                "messaging.destination.name" = Empty,
                "messaging.batch.message_count" = Empty,
                "error.type" = Empty,
            )
        });
        if span.is_disabled() || record.trace.0.is_some() {
            return;
        }
        match &self.topic {
            None if !self.mixed => self.topic = Some(record.topic().to_owned()),
            Some(topic) if topic != record.topic() => (self.topic, self.mixed) = (None, true),
            _ => {}
        }
        spans.inject(span, record);
        record.trace = Open::new(span.clone(), true);
    }

    /// There are `count` records and no more.
    pub(crate) fn counted(&mut self, count: usize) {
        if let Some(span) = &self.span
            && !std::mem::replace(&mut self.counted, true)
        {
            span.record("messaging.batch.message_count", count);
            match &self.topic {
                Some(topic) => {
                    span.record("messaging.destination.name", topic.as_str());
                    span.record("otel.name", display(format_args!("send {topic}")))
                }
                None => span.record("otel.name", "send"),
            };
        }
    }

    pub(crate) fn end(&mut self) {
        self.span = None;
    }
}

/// The span of a flush or a close.
#[derive(Default)]
pub(crate) struct Call(Option<Span>);

impl Call {
    pub(crate) fn flush(&mut self) {
        self.0.get_or_insert_with(|| {
            info_span!(target: "aioproducer", "flush", "messaging.system" = "kafka", remaining = Empty, "error.type" = Empty)
        });
    }

    pub(crate) fn close(&mut self) {
        self.0.get_or_insert_with(
            || info_span!(target: "aioproducer", "close", "messaging.system" = "kafka", unsent = Empty),
        );
    }

    /// A flush gave up.
    pub(crate) fn timed_out(&self, remaining: usize) {
        if let Some(span) = &self.0 {
            span.record("remaining", remaining);
            span.record("error.type", "timed_out");
        }
    }

    /// A close is over.
    pub(crate) fn closed(&self, unsent: usize) {
        if let Some(span) = &self.0 {
            span.record("unsent", unsent);
        }
    }
}
