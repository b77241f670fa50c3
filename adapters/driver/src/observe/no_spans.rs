//! No spans: the feature `tracing` is off.

use std::fmt;

use aioproducer_core::backend::{Delivered, Failure};

use crate::record::topics::{TopicPartition, Topics};
use crate::record::{Record, RecordSpan};
use crate::runtime::panics::Panics;

#[derive(Clone, Debug, Default)]
pub(crate) struct SpanOptions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanRef;

impl SpanRef {
    pub(crate) const NONE: Self = Self;
    pub(crate) const ARE_THERE: bool = false;
}

impl RecordSpan {
    #[inline]
    pub(crate) fn refused(&self, _: &str, _: &dyn fmt::Display) {}

    #[inline]
    pub(crate) fn retracted(&self) {}

    #[inline]
    pub(crate) fn ended(&self, _: Result<Delivered, (Option<&str>, Option<i32>, &Failure)>) {}

    #[inline]
    pub(crate) fn inside<T>(&self, step: impl FnOnce() -> T) -> T {
        step()
    }

    #[inline]
    pub(crate) fn panicked(&self) {}
}

#[derive(Default)]
pub(crate) struct SpanNotes;

impl SpanNotes {
    #[inline]
    pub(crate) fn delivered(&mut self, _: RecordSpan, _: Delivered) {}

    #[inline]
    pub(crate) fn failed(&mut self, _: RecordSpan, _: Option<TopicPartition>, _: Failure) {}

    #[cfg(feature = "metrics")]
    #[inline]
    pub(crate) fn stalled(&mut self, _: u64) {}
}

pub(crate) struct Spans;

impl Spans {
    #[inline]
    pub(crate) fn new(_: SpanOptions) -> Self {
        Self
    }

    #[inline]
    pub(crate) fn begin(&self, _: &mut Record<'_>) {}

    #[inline]
    pub(crate) fn keep(&self, _: &mut RecordSpan) -> SpanRef {
        SpanRef
    }

    #[inline]
    pub(crate) fn take(&self, _: SpanRef) -> RecordSpan {
        RecordSpan::default()
    }

    #[inline]
    pub(crate) fn emit(&self, _: &Topics, _: &mut SpanNotes, _: &Panics) {}

    #[inline]
    pub(crate) fn fatal(&self, _: &Failure) {}
}

#[inline]
pub(crate) fn panic_caught(_: &str) {}

#[derive(Default)]
pub(crate) struct BulkSpan(());

impl BulkSpan {
    #[inline]
    pub(crate) fn chunk(&mut self, _: &[Record<'_>]) {}

    #[inline]
    pub(crate) fn member(&self, _: &Spans, _: &mut Record<'_>) {}

    #[inline]
    pub(crate) fn refused(&self, _: &str, _: &dyn fmt::Display) {}

    #[inline]
    pub(crate) fn counted(&mut self, _: usize) {}

    #[inline]
    pub(crate) fn end(&mut self) {}
}

#[derive(Default)]
pub(crate) struct CallSpan(());

impl CallSpan {
    #[inline]
    pub(crate) fn flush(&mut self) {}

    #[inline]
    pub(crate) fn close(&mut self) {}

    #[inline]
    pub(crate) fn timed_out(&self, _: usize) {}

    #[inline]
    pub(crate) fn closed(&self, _: usize) {}
}
