//! The central type and its calling contract.

mod deadline;
mod entry;
mod hand_off;
mod outcome;

use core::time::Duration;

use crate::lanes::{LaneRow, Lanes, Place};
use crate::pool::Pool;
use crate::slot::Slot;
use crate::storage::{Storage, Table};
use crate::{CutReason, Instant, Lane, Limits, LimitsError, Record};

pub use deadline::{Expired, Timeout, TimeoutReason};
pub use entry::{FlushPoint, Refusal, Refused, RetractError, Room};
pub use outcome::Completed;

/// The producer as a state machine: it decides what is accepted, batched, handed off, expired and completed, and does
/// no I/O, reads no clock, starts no thread and draws no randomness.
///
/// `R` is the record, `T` the ticket that its caller leaves with it and gets back with its outcome, `S` the
/// [`Storage`].
///
/// # The contract
///
/// Four kinds of method:
///
/// | kind | methods | |
/// | --- | --- | --- |
/// | commands | [`produce`], [`retract`], [`flush`], [`flush_lanes`](Producer::flush_lanes), [`close`], [`poll_drained`], [`poll_lane`], [`poll_abandoned`] | what the application wants |
/// | inputs | [`handle_refused`], [`handle_settled`], [`handle_report`] | what became of a hand-off |
/// | outputs | [`poll_expired`], [`poll_overdue`], [`poll_batch`], [`poll_timeout`] | what to do next |
/// | getters | [`has_room`], [`has_batch`], [`len_of`](Producer::len_of), [`len_in`](Producer::len_in), [`is_flushed`], [`len`], [`stats`], [`now`](Producer::now) | `&self` |
///
/// After any command or input, and when the clock reaches [`poll_timeout`], in this order:
///
/// 1. [`poll_expired`] until `None`, and [`poll_overdue`]: each record they return has ended.
/// 2. For each free executor, [`poll_batch`]: hand the records to the backend. `None` sends the executor to sleep
///    until [`has_batch`] says true again.
/// 3. [`poll_timeout`] last: sleep until then, or until somebody calls.
///
/// A hand-off ends with its refused records in order ([`handle_refused`]), its rejected ones ([`handle_report`]) and
/// then [`handle_settled`], once. Reports of a batch may come before it is settled.
///
/// # What holds
///
/// - A slot is a record's from [`produce`] to its one outcome, and beyond if the backend still has it then. Each accepted
///   record's ticket comes back exactly once, in a [`Completed`]: from [`retract`], [`poll_expired`], [`poll_overdue`],
///   [`handle_report`], [`handle_settled`], [`poll_drained`], [`poll_lane`] or [`poll_abandoned`].
/// - A lane's records are handed off in the order of their acceptance, and a lane has at most one batch out.
/// - The same calls with the same arguments give the same answers.
/// - A report that names no handed-off record is counted as stale and has no other effect.
/// - Time does not run backwards: an earlier `now` than before counts as the latest one seen.
///
/// # Bounds
///
/// [`produce`], [`poll_overdue`], [`poll_abandoned`] and [`handle_report`] do a constant amount of work, and so do
/// [`retract`], [`poll_drained`], [`poll_lane`], [`handle_refused`] and [`handle_settled`] but for a heap operation,
/// logarithmic in the lanes that hold records, when a lane's deadline moves.
/// [`poll_batch`] is linear in the batch's records, [`flush`] in the lanes that linger. None of them allocates, and none
/// panics.
///
/// [`produce`]: Producer::produce
/// [`retract`]: Producer::retract
/// [`flush`]: Producer::flush
/// [`close`]: Producer::close
/// [`poll_drained`]: Producer::poll_drained
/// [`poll_lane`]: Producer::poll_lane
/// [`poll_abandoned`]: Producer::poll_abandoned
/// [`handle_refused`]: Producer::handle_refused
/// [`handle_settled`]: Producer::handle_settled
/// [`handle_report`]: Producer::handle_report
/// [`poll_expired`]: Producer::poll_expired
/// [`poll_overdue`]: Producer::poll_overdue
/// [`poll_batch`]: Producer::poll_batch
/// [`poll_timeout`]: Producer::poll_timeout
/// [`has_room`]: Producer::has_room
/// [`has_batch`]: Producer::has_batch
/// [`is_flushed`]: Producer::is_flushed
/// [`len`]: Producer::len
/// [`stats`]: Producer::stats
///
/// # Example
///
/// ```
/// use aioproducer_core::{Inline, Instant, Lane, Limits, Producer, Record, TopicId};
///
/// struct Reading(u32);
/// impl Record for Reading {
///     fn lane(&self) -> Lane { Lane::new(TopicId(0), None) }
///     fn size(&self) -> usize { 4 }
/// }
///
/// let limits = Limits { batch_records: 8, ..Limits::default() };
/// let mut machine: Producer<Reading, &str, Inline<64, 2>> = Producer::new(limits, Inline::new()).unwrap();
///
/// let now = Instant::ZERO;
/// let slot = machine.produce(now, Reading(7), "who asked").ok().unwrap();
///
/// let mut handed_off = None;
/// let batch = machine.poll_batch(now, |slot, record| handed_off = Some((slot, record.0))).unwrap();
/// assert_eq!(handed_off, Some((slot, 7)));
/// assert!(machine.handle_settled(&batch).is_none());
///
/// let completed = machine.handle_report(slot).unwrap();
/// assert_eq!(completed.ticket, "who asked");
/// assert!(machine.handle_report(slot).is_none(), "a second report is stale");
/// ```
pub struct Producer<R, T, S: Storage<R, T>> {
    limits: Limits,
    /// After this time at the earliest, a record has a deadline.
    patience: Option<Duration>,
    pool: Pool<R, T, S::Slots>,
    lanes: Lanes<S::Lanes>,
    now: Instant,
    next_sequence: u64,
    /// Records below this sequence do not linger.
    flush_below: u64,
    closed: bool,
    /// The backend's queue is full; the next report clears it.
    blocked: bool,
    buffered: usize,
    /// Slots of records that ended without a report.
    overdue: usize,
    stale: u64,
    batches: u64,
}

/// Counts since the start, and what is held now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Slots of the pool.
    pub capacity: usize,
    /// Slots in use.
    pub in_use: usize,
    /// The most slots that were in use at once.
    pub high_water: usize,
    /// Bytes of the records in use.
    pub bytes: usize,
    /// Records waiting to be handed off.
    pub buffered: usize,
    /// Records handed off and not yet reported.
    pub handed_off: usize,
    /// Slots of records that ended because their report was overdue, and that the backend has not let go of.
    pub overdue: usize,
    /// Records accepted.
    pub acquired: u64,
    /// Batches cut.
    pub batches: u64,
    /// Reports that named no handed-off record.
    pub stale_reports: u64,
}

impl<R: Record, T, S: Storage<R, T>> Producer<R, T, S> {
    /// An empty machine.
    ///
    /// # Errors
    /// [`LimitsError`] names the setting that cannot be.
    pub fn new(limits: Limits, storage: S) -> Result<Self, LimitsError> {
        let (slots, lanes) = storage.into_tables();
        limits.check(slots.capacity(), lanes.capacity())?;
        if !(slots.has_memory() && lanes.has_memory()) {
            return Err(LimitsError::NoMemory { slots: slots.capacity(), lanes: lanes.capacity() });
        }
        Ok(Self {
            limits,
            patience: limits.patience(),
            pool: Pool::new(slots),
            lanes: Lanes::new(lanes),
            now: Instant::ZERO,
            next_sequence: 0,
            flush_below: 0,
            closed: false,
            blocked: false,
            buffered: 0,
            overdue: 0,
            stale: 0,
            batches: 0,
        })
    }

    /// Records accepted and not ended: buffered, handed off and in the backend.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pool.in_use - self.overdue
    }

    /// Whether every record has ended.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The settings.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether [`Producer::close`] was called.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The latest time that the machine was told.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            capacity: self.pool.capacity(),
            in_use: self.pool.in_use,
            high_water: self.pool.high_water(),
            bytes: self.pool.bytes,
            buffered: self.buffered,
            handed_off: self.handed_off(),
            overdue: self.overdue,
            acquired: self.next_sequence,
            batches: self.batches,
            stale_reports: self.stale,
        }
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Why the lane's buffered records should go now, `None` if they may wait.
    fn due(&self, row: &LaneRow) -> Option<CutReason> {
        if self.limits.linger.is_zero() {
            return Some(CutReason::Idle);
        }
        if let Some(reason) = row.full(&self.limits) {
            return Some(reason);
        }
        let oldest = self.pool.get(row.records.head)?;
        if oldest.sequence < self.flush_below.max(row.flush_below) {
            Some(CutReason::Flush)
        } else if oldest.accepted_at + self.limits.linger <= self.now {
            Some(CutReason::Linger)
        } else {
            None
        }
    }

    /// Puts a lane where its contents belong.
    fn place(&mut self, lane: u32) {
        let Some(row) = self.lanes.get(lane) else { return };
        let place = match row.place {
            Place::Vacant | Place::Out => return,
            _ if row.buffered == 0 && row.handed_off == 0 => Place::Idle,
            _ if row.buffered == 0 => Place::Quiet,
            _ if self.due(row).is_some() => Place::Ready,
            _ => Place::Lingering,
        };
        self.lanes.move_to(lane, place);
        if place == Place::Lingering {
            self.note_deadline(lane);
        }
    }

    /// Ends a buffered record: takes it out of its lane and out of the pool. `None` if it is not buffered.
    fn end_buffered(&mut self, index: u32) -> Option<(R, Completed<T>)> {
        let slot = self.pool.get_mut(index)?;
        let links = slot.in_lane()?;
        let (lane, size, record) = (slot.lane, slot.size, slot.record.take()?);
        let row = self.lanes.get_mut(lane)?;
        let at = row.lane;
        self.pool.unlink(&mut row.records, links);
        if row.last_refused == index {
            row.last_refused = links.previous;
        }
        row.buffered -= 1;
        row.buffered_bytes -= size;
        self.buffered -= 1;
        if row.buffered == 0 {
            self.lanes.forget(lane);
        }
        Some((record, self.pool.release(index, |_| true)?.completed(at)))
    }

    /// Ends a record that is handed off, if its slot is as expected.
    fn complete(&mut self, index: u32, expected: impl Fn(&Slot<R, T>) -> bool) -> Option<Completed<T>> {
        let released = self.pool.release(index, |slot| slot.is_handed_off() && expected(slot));
        let released = released?;
        let lane = self.let_go(released.lane)?;
        Some(released.completed(lane))
    }

    /// The backend has let go of a record of the lane at `at`; returns the lane.
    #[inline(always)]
    fn let_go(&mut self, at: u32) -> Option<Lane> {
        self.blocked = false;
        let row = self.lanes.get_mut(at)?;
        let lane = row.lane;
        row.handed_off -= 1;
        if row.handed_off == 0 && row.place == Place::Quiet {
            self.lanes.move_to(at, Place::Idle);
        }
        Some(lane)
    }
}

impl<R, T, S: Storage<R, T>> Producer<R, T, S> {
    const fn handed_off(&self) -> usize {
        self.pool.in_use - self.buffered - self.overdue
    }
}

impl<R, T, S: Storage<R, T>> core::fmt::Debug for Producer<R, T, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("limits", &self.limits)
            .field("now", &self.now)
            .field("buffered", &self.buffered)
            .field("handed_off", &self.handed_off())
            .field("closed", &self.closed)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}
