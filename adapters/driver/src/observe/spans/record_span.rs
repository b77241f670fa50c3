//! What a record's span says of its outcome.

use std::fmt;

use aioproducer_core::backend::{Delivered, Failure, FailureKind};
use tracing::field::display;
use tracing::{Span, error, warn};

use super::error_type::error_type;
use crate::observe::names::status_name;
use crate::record::{RecordSpan, SpanOf};

impl RecordSpan {
    fn span(&self) -> Span {
        self.0.as_ref().map_or(Span::none(), |inner| inner.span.clone())
    }

    fn fail(&self, error: &str, text: impl fmt::Display) {
        if let Some(inner) = &self.0 {
            inner.fail(error, text);
        }
    }

    pub(super) fn delivered(&self, partition: i32, offset: Option<i64>) {
        let Some(inner) = self.0.as_deref() else { return };
        inner.set_delivered();
        if inner.of == SpanOf::Record {
            // By the conventions it is a text.
            inner.span.record("messaging.destination.partition.id", display(partition));
        }
        if inner.of != SpanOf::Many
            && let Some(offset) = offset
        {
            inner.span.record("messaging.kafka.offset", offset);
        }
    }

    pub(super) fn failed(&self, topic: Option<&str>, partition: Option<i32>, failure: &Failure) {
        let (error, status) = (error_type(failure), status_name(failure.status));
        self.fail(error, format_args!("{}; the record is {}", failure.reason, failure.status));
        let (span, partition) = (self.span(), partition.map(display));
        let code = failure.code().map(|code| i64::from(code.number()));
        macro_rules! emit {
            ($text:literal) => {
                warn!(
                    target: "aioproducer",
                    parent: &span,
                    {
                        messaging.destination.name = topic,
                        messaging.destination.partition.id = partition,
                        error.type = error,
                        status = status,
                        code = code,
                        reason = failure.reason,
                    },
                    $text
                )
            };
        }
        if failure.kind == FailureKind::Dropped {
            emit!("the pool was full and a record was dropped");
        } else {
            emit!("a record was not delivered");
        }
    }

    /// The outcome of a record whose callback is about to run, or never will: where it is in the log, or its topic, its
    /// partition and its failure.
    pub(crate) fn ended(&self, outcome: Result<Delivered, (Option<&str>, Option<i32>, &Failure)>) {
        match outcome {
            Ok(at) => self.delivered(at.partition, at.offset()),
            Err((topic, partition, failure)) => self.failed(topic, partition, failure),
        }
    }

    /// The record can never be accepted, for an error of this type. Called without a lock.
    pub(crate) fn refused(&self, error_type: &str, error: &dyn fmt::Display) {
        self.fail(error_type, error);
    }

    pub(crate) fn retracted(&self) {
        self.fail("retracted", "the record was taken back before it was sent");
    }

    pub(crate) fn inside<T>(&self, step: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(inner) => inner.span.in_scope(step),
            None => step(),
        }
    }

    /// The callback panicked. The event alone would make a status without a description of it.
    pub(crate) fn panicked(&self) {
        self.fail("callback_panicked", "the callback panicked");
        error!(target: "aioproducer", parent: &self.span(), "a callback panicked");
    }
}
