//! A record's span and its outcome.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aioproducer_core::backend::{Delivered, Failure, FailureKind};
use tracing::field::display;
use tracing::{Span, error, warn};

use super::error_type::error_type;
use super::status_name;
use crate::api::error::ProduceError;
use crate::outcome::error::DeliveryError;
use crate::record::Record;
use crate::runtime::panics::discard;
use crate::runtime::sync::{Arc, AtomicBool, Ordering};

/// A record's span, if somebody wants to see it.
#[derive(Default)]
pub(crate) struct RecordSpan(pub(super) Option<Arc<Inner>>);

/// A span that ends with the last of its records.
pub(crate) struct Inner {
    pub(super) span: Span,
    of: Of,
    /// It has its record's outcome.
    told: AtomicBool,
    /// It has an error, of which there is one: an attribute that is set twice would be there twice.
    failed: AtomicBool,
}

/// Whose span it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Record,
    /// A record that names its partition, which is in the span from the start.
    Placed,
    Many,
}

/// A copy of a record is another record.
impl Clone for RecordSpan {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl Inner {
    pub(super) fn new(span: Span, of: Of) -> Arc<Self> {
        Arc::new(Self { span, of, told: AtomicBool::new(false), failed: AtomicBool::new(false) })
    }

    /// Sets what is an error by the conventions: a type, and a status with a description.
    pub(super) fn fail(&self, error: &str, text: impl fmt::Display) {
        self.told.store(true, Ordering::Relaxed);
        if !self.failed.swap(true, Ordering::Relaxed) {
            fail(&self.span, error, text);
        }
    }

    pub(super) fn refused(&self, error: &ProduceError<'_>) {
        self.fail(refusal(error), error);
    }
}

/// A record that is let go without an outcome was not accepted. It may be anywhere that it is dropped, so a subscriber that
/// panics is not to make a second panic of it, when the span is dropped.
impl Drop for Inner {
    fn drop(&mut self) {
        if self.of == Of::Many || self.told.load(Ordering::Relaxed) {
            return;
        }
        let text = "the record was refused, or given up before it was accepted";
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.fail("abandoned", text))) {
            discard(panic);
        }
    }
}

pub(super) fn fail(span: &Span, error: &str, text: impl fmt::Display) {
    span.record("error.type", error);
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", display(text));
}

/// A refusal by name.
fn refusal(error: &ProduceError<'_>) -> &'static str {
    match error {
        ProduceError::TooLarge { .. } | ProduceError::AbovePool { .. } => "too_large",
        ProduceError::TimedOut(_) => "timed_out",
        ProduceError::Closed(_) | ProduceError::RuntimeEnded(_) => "closed",
        ProduceError::Fatal { .. } => "fatal",
        ProduceError::OutsideTransaction(_) | ProduceError::TransactionOver(_) | ProduceError::ReportsDropped(_) => {
            "state"
        }
        ProduceError::Full(_) => "pool_full",
        ProduceError::Topic { .. } | ProduceError::Invalid { .. } => "invalid",
    }
}

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
        inner.told.store(true, Ordering::Relaxed);
        if inner.of == Of::Record {
            // By the conventions it is a text.
            inner.span.record("messaging.destination.partition.id", display(partition));
        }
        if inner.of != Of::Many
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
        macro_rules! tell {
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
            tell!("the pool was full and a record was dropped");
        } else {
            tell!("a record was not delivered");
        }
    }

    /// The outcome of a record whose callback is about to run, or never will.
    pub(crate) fn outcome(&self, outcome: &Result<Delivered, DeliveryError>) {
        match outcome {
            Ok(at) => self.delivered(at.partition, at.offset()),
            Err(error) => {
                let record = error.record();
                let partition = record.and_then(Record::get_partition);
                self.failed(record.map(Record::topic), partition, error.failure());
            }
        }
    }

    /// The record can never be accepted. Called without a lock.
    pub(crate) fn refused(&self, error: &ProduceError<'_>) {
        if let Some(inner) = &self.0 {
            inner.refused(error);
        }
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
