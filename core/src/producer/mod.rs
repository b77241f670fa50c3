//! The central type and its calling contract.

mod admission;
mod close;
mod credit;
mod deadline;
mod flush;
mod hand_off;
mod lane_stats;
mod outcome;
mod pending;
mod purge;

use self::credit::Windows;
use self::pending::{Actions, Purge};
use crate::flushes::{Flushes, Point, TopicPoints};
use crate::lanes::{LaneRow, Lanes, Place};
use crate::pool::Pool;
use crate::slot::Slot;
use crate::storage::{Storage, Table};
use crate::timers::{Timer, Timers};
use crate::{Completed, CutReason, Instant, Lane, Limits, LimitsError, Phase, Record};

pub use admission::{AdmitDecision, Refusal, Refused, RetractError, Room};
pub use deadline::{Timeout, TimeoutReason};
pub use lane_stats::LaneStats;

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
/// | commands | [`admit`], [`produce`], [`retract`], [`flush`], [`purge`], [`close`], [`end`](Producer::end), [`poll_drained`] | what the application wants |
/// | inputs | [`handle_refused`], [`handle_settled`], [`handle_report`], [`handle_connected`], [`handle_backend_ended`] | what became of a hand-off, and of the backend |
/// | outputs | [`poll_purged`], [`poll_expired`], [`poll_unsent`], [`poll_flushed`], [`poll_action`], [`poll_batch`], [`poll_timeout`] | what to do next |
/// | getters | [`has_room`], [`has_batch`], [`is_flushed`], [`left_of`](Producer::left_of), [`len`], [`held`](Producer::held), [`phase`](Producer::phase), [`stats`], … | `&self` |
///
/// After any command or input, and when the clock reaches [`poll_timeout`], in this order:
///
/// 1. [`poll_purged`], [`poll_expired`] and [`poll_unsent`] until `None`: each record they return has ended.
///    After [`handle_backend_ended`], until the [`phase`](Producer::phase) is [`Phase::Ended`].
/// 2. [`poll_flushed`] and [`poll_action`] until `None`: wake flushes, call the backend.
/// 3. For each free executor, [`poll_batch`]: hand the records to the backend. `None` sends the executor to sleep
///    until [`has_batch`] says true again.
/// 4. [`poll_timeout`] last: sleep until then, or until the next command or input.
///
/// A caller may stop in between and go on later, to give others a turn: nothing is lost by that.
///
/// A hand-off ends with its refused records in order ([`handle_refused`]), its rejected ones ([`handle_report`]) and
/// then [`handle_settled`], once. Reports of a batch may come before it is settled.
///
/// # What holds
///
/// - A slot is a record's from [`produce`] to its one outcome, and beyond if the backend still has it then. Each accepted
///   record's ticket comes back exactly once, in a [`Completed`].
/// - A lane's records are handed off in the order of their acceptance, and a lane has at most one batch out.
/// - A flush waits for the records of its scope that were accepted before it, and for no other.
/// - A purge reaches each record that was accepted before it and was not handed off, also if it comes back from a hand-off
///   that was under way. The backend is asked to purge after those hand-offs.
/// - A close ends when all records have, or at its deadline, and not before. Nothing is accepted after it, and nothing is
///   handed off after its end.
/// - The same calls with the same arguments give the same answers.
/// - A report that names no handed-off record is counted as stale and has no other effect.
/// - Time does not run backwards: an earlier `now` than before counts as the latest one seen.
///
/// # Bounds
///
/// All memory is the [`Storage`]'s. Each call does a constant amount of work, apart from these:
///
/// - what moves the end of a lane's linger, or ends or begins a record with a timeout of its own, adds a heap operation,
///   logarithmic in the lanes that hold records and in the records with such timeouts;
/// - the end of a record, while there are flushes, a search that is logarithmic in the flushes of its groups;
/// - [`poll_batch`] is linear in the batch's records;
/// - [`admit`] evicts at most 64 records, [`poll_expired`] finds at most 64 reports overdue, and [`poll_unsent`] looks at no
///   more than 64 late records;
/// - [`flush`] and [`purge`], and [`handle_backend_ended`], are linear in the lanes.
///
/// None of them allocates, and none panics.
///
/// [`admit`]: Producer::admit
/// [`produce`]: Producer::produce
/// [`retract`]: Producer::retract
/// [`flush`]: Producer::flush
/// [`purge`]: Producer::purge
/// [`close`]: Producer::close
/// [`poll_drained`]: Producer::poll_drained
/// [`handle_refused`]: Producer::handle_refused
/// [`handle_settled`]: Producer::handle_settled
/// [`handle_report`]: Producer::handle_report
/// [`handle_connected`]: Producer::handle_connected
/// [`handle_backend_ended`]: Producer::handle_backend_ended
/// [`poll_purged`]: Producer::poll_purged
/// [`poll_expired`]: Producer::poll_expired
/// [`poll_unsent`]: Producer::poll_unsent
/// [`poll_flushed`]: Producer::poll_flushed
/// [`poll_action`]: Producer::poll_action
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
/// let batch = machine
///     .poll_batch(now, |slot, record, _wants_copy| {
///         handed_off = Some((slot, record.0));
///         None // a copy, if one is wanted
///     })
///     .unwrap();
/// assert_eq!(handed_off, Some((slot, 7)));
/// assert!(machine.handle_settled(&batch).is_none());
///
/// let completed = machine.handle_report(slot).unwrap();
/// assert_eq!(completed.ticket, "who asked");
/// assert!(machine.handle_report(slot).is_none(), "a second report is stale");
/// ```
pub struct Producer<R, T, S: Storage> {
    limits: Limits,
    pool: Pool<R, T, S::Slots<Slot<R, T>>>,
    lanes: Lanes<S::Lanes<LaneRow>>,
    timers: Timers<S::Slots<Timer>>,
    flushes: Flushes<S::Slots<Point>, S::Lanes<TopicPoints>>,
    /// Own timeouts, copies, flush points, late records, a full queue of the backend, a purge and a close together: mostly there
    /// is none of that, and then none of it is looked at.
    watched: u32,
    /// Slots with a copy of the record that the backend has.
    copies: u32,
    now: Instant,
    /// When the youngest record was produced.
    youngest: Instant,
    windows: Windows,
    /// A lane that may not have more got more, so until then each record is looked at before it is accepted.
    guarded_until: Instant,
    /// When the last report came of any lane.
    reported_at: Instant,
    next_sequence: u64,
    /// Records below this sequence do not linger.
    flush_below: u64,
    phase: Phase,
    backend_gone: bool,
    /// The backend's queue is full; the next report clears it.
    blocked: bool,
    /// The backend could send what it gets.
    connected: bool,
    /// Nothing is handed off: the backend's queue is full, it has no connection, records are being purged, or the producer ends.
    halted: bool,
    buffered: usize,
    /// What may hold back lanes of its topic: buffered records of lanes for unplaced ones, and batches of them that are out.
    unplaced: usize,
    /// Slots of records whose time passed while the backend has them,
    late: usize,
    /// and of those whose report is overdue.
    overdue: usize,
    purge: Purge,
    actions: Actions,
    stale: u64,
    batches: u64,
    dropped: u64,
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
    /// Records handed off and not yet reported, but for overdue ones.
    pub handed_off: usize,
    /// Of those, the ones that have ended, as their time has passed.
    pub late: usize,
    /// Slots of records that have ended and whose report is overdue: the backend has not let go of them. They are not used again
    /// before the report arrives, since the backend may use what it was given until then.
    pub overdue: usize,
    /// Records accepted.
    pub acquired: u64,
    /// Batches cut.
    pub batches: u64,
    /// Records that the overflow policy dropped.
    pub dropped: u64,
    /// Reports that named no handed-off record.
    pub stale_reports: u64,
}

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// An empty machine.
    ///
    /// # Errors
    /// [`LimitsError`] names the invalid setting.
    pub fn new(mut limits: Limits, storage: S) -> Result<Self, LimitsError> {
        let (slots, lanes) = (storage.slots(), storage.lanes());
        limits.check(slots.capacity(), lanes.capacity())?;
        // A slot has 32 bits for its record's size.
        limits.record_bytes = limits.record_bytes.min(u32::MAX as usize);
        let timers = storage.slots();
        let flushes = Flushes::new([storage.slots(), storage.slots(), storage.slots()], storage.lanes());
        if !(slots.has_memory() && lanes.has_memory() && timers.has_memory() && flushes.has_memory()) {
            return Err(LimitsError::NoMemory { slots: slots.capacity(), lanes: lanes.capacity() });
        }
        let windows = Windows::new(&limits, slots.capacity());
        Ok(Self {
            limits,
            windows,
            pool: Pool::new(slots),
            lanes: Lanes::new(lanes),
            timers: Timers::new(timers),
            flushes,
            watched: 0,
            copies: 0,
            now: Instant::ZERO,
            youngest: Instant::ZERO,
            guarded_until: Instant::ZERO,
            reported_at: Instant::ZERO,
            next_sequence: 0,
            flush_below: 0,
            phase: Phase::Open,
            backend_gone: false,
            blocked: false,
            connected: true,
            halted: false,
            buffered: 0,
            unplaced: 0,
            late: 0,
            overdue: 0,
            purge: Purge::NONE,
            actions: Actions::default(),
            stale: 0,
            batches: 0,
            dropped: 0,
        })
    }

    /// Records accepted and not ended, buffered or handed off.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.held() - self.late
    }

    /// The same, and those whose time passed and whose report has yet to arrive: the backend may still send them. A transaction
    /// must not end before.
    #[must_use]
    pub const fn held(&self) -> usize {
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

    /// The latest time that any call had.
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
            late: self.late,
            overdue: self.overdue,
            acquired: self.next_sequence,
            batches: self.batches,
            dropped: self.dropped,
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
            _ if self.due(row).is_none() => Place::Lingering,
            _ if self.unplaced > 0 && self.is_behind(row) => Place::Held,
            _ if self.has_credit(row) => Place::Ready,
            _ => Place::Held,
        };
        self.lanes.move_to(lane, place);
        if place == Place::Held
            && let Some(row) = self.lanes.get_mut(lane)
        {
            row.is_limited = true;
        }
        if matches!(place, Place::Lingering | Place::Held) {
            self.note_deadline(lane);
        }
    }

    /// Ends a buffered record: takes it out of its lane and out of the pool. `None` if it is not buffered.
    fn end_buffered(&mut self, index: u32) -> Option<(R, Completed<T>)> {
        let slot = self.pool.get_mut(index)?;
        let links = slot.in_lane()?;
        let (lane, size, record) = (slot.lane, slot.size as usize, slot.record.take()?);
        let row = self.lanes.get_mut(lane)?;
        let at = row.lane;
        self.pool.unlink(&mut row.records, links);
        if row.last_refused == index {
            row.last_refused = links.previous;
        }
        row.buffered -= 1;
        row.buffered_bytes -= size;
        self.buffered -= 1;
        self.unplaced -= usize::from(at.is_unplaced());
        if row.buffered == 0 {
            self.lanes.forget(lane);
            if at.is_unplaced() {
                self.let_go_on(lane);
            }
        }
        let released = self.pool.release(index, |_| true)?;
        if let Some(row) = self.lanes.get_mut(lane) {
            row.bytes -= released.cost;
        }
        self.note_end(index, lane, released.sequence);
        Some((record, released.completed(at)))
    }

    /// Ends a record that is handed off, if its slot is as expected.
    fn complete(&mut self, index: u32, expected: impl Fn(&Slot<R, T>) -> bool) -> Option<Completed<T>> {
        let released = self.pool.release(index, |slot| slot.is_handed_off() && expected(slot))?;
        self.note_end(index, released.lane, released.sequence);
        let lane = self.let_go(released.lane, released.cost)?;
        Some(released.completed(lane))
    }

    /// The backend has let go of a record of the lane at `at`, so its queue has room; returns the lane.
    fn let_go(&mut self, at: u32, cost: usize) -> Option<Lane> {
        self.set_blocked(false);
        self.let_go_of_one(at, cost)
    }

    /// The same if its queue was not full.
    #[inline(always)]
    fn let_go_of_one(&mut self, at: u32, cost: usize) -> Option<Lane> {
        let now = self.now;
        let row = self.lanes.get_mut(at)?;
        let lane = row.lane;
        row.handed_off -= 1;
        row.bytes -= cost;
        if row.is_limited {
            self.give_credit(at, cost);
        } else {
            row.reported_at = now;
            if row.handed_off == 0 && row.place == Place::Quiet {
                self.lanes.move_to(at, Place::Idle);
            }
        }
        Some(lane)
    }

    fn set_blocked(&mut self, blocked: bool) {
        if self.blocked != blocked {
            self.blocked = blocked;
            self.watch();
            self.set_halted();
        }
    }
}

impl<R, T, S: Storage> Producer<R, T, S> {
    /// Records that the backend has, but for overdue ones.
    const fn handed_off(&self) -> usize {
        self.pool.in_use - self.buffered - self.overdue
    }
}

impl<R, T, S: Storage> core::fmt::Debug for Producer<R, T, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Producer")
            .field("limits", &self.limits)
            .field("now", &self.now)
            .field("buffered", &self.buffered)
            .field("handed_off", &self.handed_off())
            .field("phase", &self.phase)
            .field("blocked", &self.blocked)
            .finish_non_exhaustive()
    }
}
