//! What is noted of each record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use aioproducer_driver::error::{FailureKind, Status};

use crate::target::PARTITIONS;

/// Microseconds since the load began.
pub(crate) type Micros = u64;

pub(crate) const SECOND: Micros = 1_000_000;

/// What the producer said of a record in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered {
        partition: i32,
        /// `None` if the broker did not send it.
        offset: Option<i64>,
    },
    /// It was accepted and has failed.
    Failed(FailureKind, Status),
    /// It was not accepted. The text is the error's name.
    Refused(&'static str),
}

/// A record, from its call to its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// Unique, and for records of one lane in the order of the calls.
    pub(crate) number: u64,
    /// Records with the same lane, those of a key for instance, stay in order.
    pub(crate) lane: Option<u32>,
    /// Where it had to go; `None` if anywhere.
    pub(crate) wanted: Option<i32>,
    pub(crate) end: End,
    pub(crate) called: Micros,
    /// When the call returned.
    pub(crate) accepted: Micros,
    pub(crate) ended: Micros,
}

impl Note {
    /// Where it went or had to go; -1 if that is not known.
    pub(crate) fn partition(&self) -> i32 {
        match self.end {
            End::Delivered { partition, .. } => partition,
            _ => self.wanted.unwrap_or(-1),
        }
    }

    pub(crate) fn is_delivered(&self) -> bool {
        matches!(self.end, End::Delivered { .. })
    }

    /// From the call to the outcome.
    pub(crate) fn latency(&self) -> Micros {
        self.ended - self.called
    }

    /// How it ended, if it was not delivered.
    pub(crate) fn failure(&self) -> Option<String> {
        match self.end {
            End::Delivered { .. } => None,
            End::Failed(kind, status) => Some(format!("{kind:?}/{status:?}")),
            End::Refused(error) => Some(format!("refused/{error}")),
        }
    }
}

/// How often each failure is among the notes.
pub(crate) fn failures<'a>(notes: impl IntoIterator<Item = &'a Note>) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for failure in notes.into_iter().filter_map(Note::failure) {
        *count.entry(failure).or_default() += 1;
    }
    count
}

/// Gathers the notes of all tasks.
pub(crate) struct Recorder {
    origin: Instant,
    notes: Mutex<Vec<Note>>,
    numbers: AtomicU64,
    ends: AtomicU64,
    /// Calls that have not returned, by partition; the last are those of records that may go anywhere.
    calls: [AtomicUsize; PARTITIONS as usize + 1],
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            notes: Mutex::default(),
            numbers: AtomicU64::default(),
            ends: AtomicU64::default(),
            calls: Default::default(),
        }
    }

    pub(crate) fn origin(&self) -> Instant {
        self.origin
    }

    pub(crate) fn now(&self) -> Micros {
        self.origin.elapsed().as_micros() as Micros
    }

    /// The number of the next record.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// How many records were called for.
    pub(crate) fn calls(&self) -> u64 {
        self.numbers.load(Ordering::Relaxed)
    }

    /// How many records have no outcome yet.
    pub(crate) fn open(&self) -> u64 {
        let ends = self.ends.load(Ordering::Relaxed);
        self.calls().saturating_sub(ends)
    }

    pub(crate) fn begin_call(&self, wanted: Option<i32>) {
        self.calls_to(wanted).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_call(&self, wanted: Option<i32>) {
        self.calls_to(wanted).fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls that wait for room now.
    pub(crate) fn waiting(&self, wanted: Option<i32>) -> usize {
        self.calls_to(wanted).load(Ordering::Relaxed)
    }

    fn calls_to(&self, wanted: Option<i32>) -> &AtomicUsize {
        &self.calls[wanted.unwrap_or(PARTITIONS) as usize]
    }

    pub(crate) fn note(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        self.ends.fetch_add(1, Ordering::Relaxed);
    }

    /// The notes since the last call.
    pub(crate) fn take(&self) -> Vec<Note> {
        let fresh = Vec::with_capacity(1 << 16);
        std::mem::replace(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner), fresh)
    }
}
