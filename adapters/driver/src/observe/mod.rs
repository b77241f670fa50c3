//! What operators see: spans and events (feature `tracing`), counters and histograms (feature `metrics`), health, and lines. And
//! what a backend for tests notes of each record (feature `journal`).
//!
//! Subscribers and recorders are the application's code, so none is called under a lock. Under a lock, what happened is noted
//! in [`Notes`]; it is emitted when the lock is free. Everything comes here as values: nothing here knows the machine, the
//! callbacks or the producer. Without a feature its types are empty and its functions do nothing.

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod changes;
pub(crate) mod counts;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod deferred;
pub(crate) mod health;
#[cfg(feature = "metrics")]
mod leaders;
pub(crate) mod lines;
#[cfg_attr(not(feature = "metrics"), path = "no_meters.rs")]
mod meters;
mod names;
#[cfg_attr(not(feature = "journal"), path = "no_notebook.rs")]
mod notebook;
#[cfg_attr(not(feature = "tracing"), path = "no_spans.rs")]
mod spans;

use aioproducer_core::MessageBatch;
use aioproducer_core::backend::{Delivered, Failure};

use self::counts::{CallbackCounts, PoolCounts};
use self::health::Health;
use self::meters::{MeterNotes, Meters};
pub(crate) use self::meters::{MeterOptions, Time};
pub(crate) use self::names::SUBSCRIBER;
pub(crate) use self::notebook::Notebook;
use self::notebook::Noted;
pub(crate) use self::spans::{BulkSpan, CallSpan, SpanOptions, panic_caught};
#[cfg(feature = "tracing")]
pub(crate) use self::spans::{Injection, Wanted};
use self::spans::{SpanNotes, SpanRef, Spans};
use crate::record::topics::{TopicPartition, Topics};
use crate::record::{Record, RecordSpan};
use crate::runtime::panics::Panics;

/// The builder's settings of spans and metrics, and the backend's journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) notebook: Notebook,
    pub(crate) spans: SpanOptions,
    pub(crate) meters: MeterOptions,
}

/// What is kept of an accepted record until its outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    span: SpanRef,
    noted: Noted,
    pub(crate) accepted: Time,
}

impl Mark {
    pub(crate) const NONE: Self = Self { span: SpanRef::NONE, noted: Noted::NONE, accepted: Time::NONE };
}

// What is off costs nothing.
#[cfg(not(any(feature = "tracing", feature = "metrics", feature = "journal")))]
const _: () = assert!(size_of::<Mark>() == 0 && size_of::<Notes>() == 0 && size_of::<Observer>() == 0);

/// What is to be emitted once the lock is free.
#[derive(Default)]
pub(crate) struct Notes {
    spans: SpanNotes,
    meters: MeterNotes,
}

/// Spans and metrics of one producer, and its journal.
pub(crate) struct Observer {
    notebook: Notebook,
    pub(crate) spans: Spans,
    meters: Meters,
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    callbacks: changes::CallbackChanges,
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    deferred: deferred::Deferred<Notes>,
}

impl Observer {
    pub(crate) fn new(options: Options, slots: usize) -> Self {
        Self {
            notebook: options.notebook,
            spans: Spans::new(options.spans),
            meters: Meters::new(options.meters, slots),
            #[cfg(any(feature = "tracing", feature = "metrics"))]
            callbacks: changes::CallbackChanges::default(),
            #[cfg(any(feature = "tracing", feature = "metrics"))]
            deferred: deferred::Deferred::default(),
        }
    }

    /// The time by the process's own clock: the runtime's is not to be read on a backend's threads.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        Time::now()
    }

    /// A record is about to be accepted: keeps its span, and the time.
    #[inline]
    pub(crate) fn mark(&self, record: &mut Record<'_>) -> Mark {
        let noted = self.notebook.accepted(record);
        Mark { span: self.spans.keep(&mut record.trace), noted, accepted: Time::now() }
    }

    /// The span of a record whose outcome is known.
    #[inline]
    pub(crate) fn span_of(&self, mark: Mark) -> RecordSpan {
        self.spans.take(mark.span)
    }

    /// Records were moved to the backend: `accepted` has the time of each, `most` the most records and bytes of a batch.
    #[inline]
    pub(crate) fn handed_off(
        &self,
        batch: &MessageBatch,
        most: (u32, usize),
        accepted: impl Iterator<Item = Time>,
        notes: &mut Notes,
    ) {
        self.meters.handed_off(batch, most, accepted, &mut notes.meters);
    }

    /// A record was delivered. If it has a callback, its span stays open until that has run.
    #[inline]
    pub(crate) fn delivered(&self, mark: Mark, has_callback: bool, now: Time, at: Delivered, notes: &mut Notes) {
        self.notebook.delivered(mark.noted, at);
        self.meters.delivered(mark.accepted, now, &mut notes.meters);
        if SpanRef::ARE_THERE && !has_callback {
            notes.spans.delivered(self.span_of(mark), at);
        }
    }

    /// A record failed. If it has a callback, its span stays open until that has run.
    #[inline]
    pub(crate) fn failed(
        &self,
        mark: Mark,
        has_callback: bool,
        key: Option<TopicPartition>,
        failure: Failure,
        notes: &mut Notes,
    ) {
        self.notebook.failed(mark.noted, failure.status);
        notes.meters.failed(failure);
        if SpanRef::ARE_THERE && !has_callback {
            notes.spans.failed(self.span_of(mark), key, failure);
        }
    }

    /// A record was taken back. Called without a lock.
    #[inline]
    pub(crate) fn retracted(&self, mark: Mark) {
        self.notebook.retracted(mark.noted);
        self.span_of(mark).retracted();
        self.meters.retracted();
    }

    /// Reports the health. One thread at a time calls it, without a lock.
    pub(crate) fn health(&self, health: &Health, panics: &Panics) {
        self.meters.health(health, panics);
    }

    /// Notes what has changed in the pool and in the callbacks. Called under the state lock.
    #[inline]
    pub(crate) fn gather(
        &self,
        pool: impl FnOnce() -> PoolCounts,
        callbacks: impl FnOnce() -> CallbackCounts,
        notes: &mut Notes,
    ) {
        if cfg!(feature = "metrics") {
            self.meters.gather(pool(), &mut notes.meters);
        }
        self.gather_callbacks(callbacks, notes);
    }

    /// Emits what has changed about callbacks. Called without a lock.
    #[inline]
    pub(crate) fn emit_callbacks(&self, topics: &Topics, callbacks: impl FnOnce() -> CallbackCounts, panics: &Panics) {
        let mut notes = Notes::default();
        self.gather_callbacks(callbacks, &mut notes);
        self.emit(topics, &mut notes, panics);
    }

    /// Calls subscribers and recorders, also with what was deferred. Called without a lock.
    #[inline]
    pub(crate) fn emit(&self, topics: &Topics, notes: &mut Notes, panics: &Panics) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        for mut earlier in self.deferred.take() {
            self.spans.emit(topics, &mut earlier.spans, panics);
            self.meters.emit(&mut earlier.meters, panics);
        }
        self.spans.emit(topics, &mut notes.spans, panics);
        self.meters.emit(&mut notes.meters, panics);
    }

    /// Keeps notes for the next [`Observer::emit`], for a thread that must not call subscribers and recorders.
    #[inline]
    pub(crate) fn defer(&self, notes: &mut Notes) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        self.deferred.add(std::mem::take(notes));
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        let Notes { spans: _, meters: _ } = notes;
    }

    /// Whether the record has a span, which ends before its delivery is ready.
    #[inline]
    pub(crate) fn has_span(&self, mark: Mark) -> bool {
        mark.span != SpanRef::NONE
    }

    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn gather_callbacks(&self, callbacks: impl FnOnce() -> CallbackCounts, notes: &mut Notes) {
        let change = self.callbacks.take(callbacks);
        notes.spans.stalled(change.stalled);
        notes.meters.callbacks(change);
    }

    #[cfg(not(any(feature = "tracing", feature = "metrics")))]
    #[inline]
    fn gather_callbacks(&self, _: impl FnOnce() -> CallbackCounts, _: &mut Notes) {}
}
