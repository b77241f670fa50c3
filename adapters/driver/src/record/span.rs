//! The span that travels with a record. What it says is for `observe`; here it ends with the last of its records.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::Span;
use tracing::field::display;

use crate::runtime::panics::discard;
use crate::runtime::sync::{Arc, AtomicBool, Ordering};

/// A record's span, `None` if it has none yet.
#[derive(Default)]
pub(crate) struct RecordSpan(pub(crate) Option<Arc<SpanState>>);

/// A span that ends with the last of its records.
pub(crate) struct SpanState {
    pub(crate) span: Span,
    pub(crate) of: SpanOf,
    /// It has its record's outcome.
    has_outcome: AtomicBool,
    /// It has an error. An attribute that is set twice would be exported twice, so only the first error is set.
    has_error: AtomicBool,
}

/// Which records a span belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanOf {
    Record,
    /// A record that names its partition, which is in the span from the start.
    RecordWithPartition,
    Many,
}

/// A copy of a record is another record.
impl Clone for RecordSpan {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl SpanState {
    pub(crate) fn new(span: Span, of: SpanOf) -> Arc<Self> {
        Arc::new(Self { span, of, has_outcome: AtomicBool::new(false), has_error: AtomicBool::new(false) })
    }

    /// The record was delivered.
    pub(crate) fn set_delivered(&self) {
        self.has_outcome.store(true, Ordering::Relaxed);
    }

    /// Sets the first error.
    pub(crate) fn fail(&self, error: &str, text: impl fmt::Display) {
        self.has_outcome.store(true, Ordering::Relaxed);
        if !self.has_error.swap(true, Ordering::Relaxed) {
            set_error(&self.span, error, text);
        }
    }
}

/// A record that is dropped without an outcome was not accepted. It may be dropped during a panic, so a subscriber that
/// panics here must not cause a second one.
impl Drop for SpanState {
    fn drop(&mut self) {
        if self.of == SpanOf::Many || self.has_outcome.load(Ordering::Relaxed) {
            return;
        }
        let text = "the record was refused, or given up before it was accepted";
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.fail("abandoned", text))) {
            discard(panic);
        }
    }
}

/// Sets what is an error by OpenTelemetry's conventions: a type, and a status with a description.
pub(crate) fn set_error(span: &Span, error: &str, text: impl fmt::Display) {
    span.record("error.type", error);
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", display(text));
}
