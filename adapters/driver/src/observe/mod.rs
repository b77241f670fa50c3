//! What operators see: spans and events (feature `tracing`), counters and histograms (feature `metrics`).
//!
//! Subscribers and recorders are anybody's code, so none is called under a lock. Under it, what happened is noted in
//! [`Notes`]; it is told when the lock is free. Without a feature its types are empty and its functions do nothing.

#[cfg(any(feature = "tracing", feature = "metrics"))]
mod changes;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod deferred;
pub(crate) mod lines;
#[cfg_attr(not(feature = "metrics"), path = "no_meters.rs")]
mod meters;
#[cfg(any(feature = "tracing", feature = "metrics"))]
mod settings;
#[cfg_attr(not(feature = "tracing"), path = "no_spans.rs")]
mod spans;

use aioproducer_core::backend::{Delivered, Failure};
use aioproducer_core::{MessageBatch, SlotId};

pub(crate) use self::meters::Time;
use self::meters::{MeterNotes, MeterOptions, Meters};
pub(crate) use self::spans::contained;
pub(crate) use self::spans::{Bulk, CallSpan, RecordSpan};
use self::spans::{SpanNotes, SpanOptions, SpanRef, Spans};
use crate::callbacks::{Callbacks, Key};
use crate::outcome::ticket::{Target, Ticket};
use crate::record::topics::Topics;
use crate::record::{OwnedRecord, Record};
use crate::runtime::panics::Panics;
use crate::state::shared::State;

/// What [`Panics`] calls the code that is told of spans and metrics.
pub(crate) const SUBSCRIBER: &str = "a subscriber or a recorder";

/// What the builder was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    spans: SpanOptions,
    meters: MeterOptions,
}

/// What is kept of an accepted record until its outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    span: SpanRef,
    accepted: Time,
}

impl Mark {
    pub(crate) const NONE: Self = Self { span: SpanRef::NONE, accepted: Time::NONE };
}

// What is off costs nothing: every slot of the pool has a ticket.
#[cfg(not(any(feature = "tracing", feature = "metrics")))]
const _: () = assert!(size_of::<Ticket>() == 8 && size_of::<Notes>() == 0 && size_of::<Observer>() == 0);

/// What is to be told once the lock is free.
#[derive(Default)]
pub(crate) struct Notes {
    spans: SpanNotes,
    meters: MeterNotes,
}

/// One producer's.
pub(crate) struct Observer {
    pub(crate) spans: Spans,
    meters: Meters,
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    callbacks: changes::CallbackChanges,
    #[cfg(any(feature = "tracing", feature = "metrics"))]
    deferred: deferred::Deferred,
}

impl Observer {
    pub(crate) fn new(options: Options, slots: usize) -> Self {
        Self {
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

    /// A record is about to be accepted: what it takes along is kept here.
    #[inline]
    pub(crate) fn mark(&self, record: &mut Record<'_>) -> Mark {
        Mark { span: self.spans.keep(&mut record.trace), accepted: Time::now() }
    }

    /// The span of a record whose outcome is known.
    #[inline]
    pub(crate) fn span_of(&self, ticket: Ticket) -> RecordSpan {
        self.spans.take(ticket.mark.span)
    }

    /// Records were moved to the backend: those of `records` from `first` on.
    #[inline]
    pub(crate) fn handed_off(
        &self,
        state: &mut State,
        batch: Option<&MessageBatch>,
        records: &[(SlotId, OwnedRecord)],
        first: usize,
        notes: &mut Notes,
    ) {
        if let Some(batch) = batch {
            self.meters.handed_off(state, batch, records, first, &mut notes.meters);
        }
    }

    #[inline]
    pub(crate) fn delivered(&self, ticket: Ticket, now: Time, at: Delivered, notes: &mut Notes) {
        self.meters.delivered(ticket.mark.accepted, now, &mut notes.meters);
        // Those of callbacks stay open until they have run.
        if SpanRef::ARE_THERE && matches!(ticket.target(), Target::Delivery(_) | Target::Group { .. }) {
            notes.spans.delivered(self.span_of(ticket), at);
        }
    }

    #[inline]
    pub(crate) fn failed(&self, ticket: Ticket, key: Option<Key>, failure: Failure, notes: &mut Notes) {
        if ticket.target() == Target::Nobody {
            return;
        }
        notes.meters.failed(failure);
        if SpanRef::ARE_THERE && matches!(ticket.target(), Target::Delivery(_) | Target::Group { .. }) {
            notes.spans.failed(self.span_of(ticket), key, failure);
        }
    }

    /// A record was taken back. Called without a lock.
    #[inline]
    pub(crate) fn retracted(&self, ticket: Ticket) {
        self.span_of(ticket).retracted();
        self.meters.retracted();
    }

    /// Notes what has changed in the machine, the waiters and the callbacks.
    #[inline]
    pub(crate) fn gather(&self, state: &State, callbacks: &Callbacks, notes: &mut Notes) {
        self.meters.gather(state, &mut notes.meters);
        self.gather_callbacks(callbacks, notes);
    }

    /// Tells what has changed about callbacks. Called without a lock.
    #[inline]
    pub(crate) fn recount(&self, topics: &Topics, callbacks: &Callbacks, panics: &Panics) {
        let mut notes = Notes::default();
        self.gather_callbacks(callbacks, &mut notes);
        self.tell(topics, &mut notes, panics);
    }

    /// Calls subscribers and recorders, also with what was deferred.
    #[inline]
    pub(crate) fn tell(&self, topics: &Topics, notes: &mut Notes, panics: &Panics) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        for mut earlier in self.deferred.take() {
            self.spans.tell(topics, &mut earlier.spans, panics);
            self.meters.tell(&mut earlier.meters, panics);
        }
        self.spans.tell(topics, &mut notes.spans, panics);
        self.meters.tell(&mut notes.meters, panics);
    }

    /// Keeps notes for the next [`Observer::tell`], for a thread that must not call subscribers and recorders.
    #[inline]
    pub(crate) fn defer(&self, notes: &mut Notes) {
        #[cfg(any(feature = "tracing", feature = "metrics"))]
        self.deferred.add(std::mem::take(notes));
        #[cfg(not(any(feature = "tracing", feature = "metrics")))]
        let Notes { spans: _, meters: _ } = notes;
    }

    /// Whether the record has a span, which ends before its delivery is ready.
    #[inline]
    pub(crate) fn has_span(&self, ticket: Ticket) -> bool {
        ticket.mark.span != SpanRef::NONE
    }

    #[cfg(any(feature = "tracing", feature = "metrics"))]
    fn gather_callbacks(&self, callbacks: &Callbacks, notes: &mut Notes) {
        let change = self.callbacks.take(callbacks);
        notes.spans.stalled(change.stalled);
        notes.meters.callbacks(change);
    }

    #[cfg(not(any(feature = "tracing", feature = "metrics")))]
    #[inline]
    fn gather_callbacks(&self, _: &Callbacks, _: &mut Notes) {}
}
