//! Timeouts: when the machine must be called again, and why.

use super::Producer;
use crate::lanes::Place;
use crate::storage::Storage;
use crate::timers::Timer;
use crate::{Instant, Phase, Record, Unreported};

/// Why there is a deadline.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeoutReason {
    /// A lane's oldest record will have waited for the linger: a batch can be cut.
    Linger,
    /// A record that was not handed off expires.
    Delivery,
    /// A record's own timeout passes.
    Record,
    /// The report of a record that was handed off is overdue.
    Report,
    /// The time that a close gives the records is over.
    Close,
}

/// The next deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// When.
    pub at: Instant,
    /// Why.
    pub reason: TimeoutReason,
}

/// The first of the two that comes no later.
fn earlier(one: Option<Timeout>, other: Option<Timeout>) -> Option<Timeout> {
    if other.is_some_and(|other| one.is_none_or(|one| other.at < one.at)) { other } else { one }
}

impl<R: Record, T, S: Storage> Producer<R, T, S> {
    /// The earliest moment at which something happens by itself. A lane's deadline depends on its OLDEST record, so later
    /// records never postpone it.
    #[must_use]
    pub fn poll_timeout(&mut self) -> Option<Timeout> {
        let lane = self.lane_timeout();
        let report = self.report_due().map(|(_, at)| Timeout { at, reason: TimeoutReason::Report });
        let next = earlier(lane, report);
        if self.watched > 0 { earlier(next, self.watched_timeout()) } else { next }
    }

    #[cold]
    fn watched_timeout(&self) -> Option<Timeout> {
        let own = self.timers.first().map(|first| Timeout { at: first.at, reason: TimeoutReason::Record });
        let late = self.late_due().map(|at| Timeout { at, reason: TimeoutReason::Report });
        let close = match self.phase {
            Phase::Closing(at) => Some(Timeout { at, reason: TimeoutReason::Close }),
            Phase::Open | Phase::Ending | Phase::Ended => None,
        };
        earlier(earlier(own, late), close)
    }

    #[inline(never)]
    fn lane_timeout(&mut self) -> Option<Timeout> {
        while let Some((noted, lane)) = self.lanes.earliest() {
            match self.timeout_of(lane) {
                Some(timeout) if timeout.at <= noted => return Some(timeout),
                Some(timeout) => self.lanes.postpone(lane, timeout.at),
                None => self.lanes.forget(lane),
            }
        }
        None
    }

    /// Moves time on: lanes whose linger is over become ready, and the next record whose time has passed is returned, the
    /// earliest deadline first: the delivery timeout of a record that was not handed off, or a record's own timeout,
    /// wherever it is.
    ///
    /// A record that was handed off ends, too, but its slot stays in use until its report arrives, since the backend may
    /// use what it was given until then. [`Producer::len`] and flushes do not count it any more; [`Producer::held`] does.
    pub fn poll_expired(&mut self, now: Instant) -> Option<Unreported<R, T>> {
        self.advance(now);
        if self.watched > 0 { self.expire_first() } else { self.expire_in_lanes(Instant::MAX) }
    }

    #[cold]
    fn expire_first(&mut self) -> Option<Unreported<R, T>> {
        let Some(Timer { at, slot }) = self.timers.first() else { return self.expire_in_lanes(Instant::MAX) };
        self.expire_in_lanes(at).or_else(|| if at <= self.now { self.expire_own(slot) } else { None })
    }

    /// The next record whose delivery timeout passed, no later than at `until`.
    #[inline(always)]
    fn expire_in_lanes(&mut self, until: Instant) -> Option<Unreported<R, T>> {
        while let Some((noted, lane)) = self.lanes.earliest()
            && noted <= self.now
            && noted <= until
        {
            match self.timeout_of(lane) {
                None => self.lanes.forget(lane),
                Some(timeout) if timeout.at > noted => self.lanes.postpone(lane, timeout.at),
                Some(timeout) if timeout.reason == TimeoutReason::Linger => self.lanes.move_to(lane, Place::Ready),
                Some(_) => {
                    let first = self.lanes.get(lane)?.records.head;
                    return self.expire_buffered(first, lane);
                }
            }
        }
        None
    }

    fn expire_buffered(&mut self, index: u32, lane: u32) -> Option<Unreported<R, T>> {
        let (record, ended) = self.end_buffered(index)?;
        self.place(lane);
        Some(Unreported { record: Some(record), ended, handed_off: false })
    }

    /// The own timeout of the record in a slot has passed.
    fn expire_own(&mut self, index: u32) -> Option<Unreported<R, T>> {
        let slot = self.pool.get(index)?;
        let lane = slot.lane;
        if slot.in_lane().is_some() {
            return self.expire_buffered(index, lane);
        }
        let record = self.pool.get_mut(index)?.record.take();
        let late = self.pool.end_late(index, self.now);
        self.late += 1;
        self.end_watched(index, lane, late.as_ref()?.sequence);
        let row = self.lanes.get_mut(lane)?;
        row.ended += 1;
        let ended = late?.completed(row.lane);
        Some(Unreported { record, ended, handed_off: true })
    }

    /// Makes sure that the lane is looked at when it has its deadline, if it has one.
    pub(super) fn note_deadline(&mut self, lane: u32) {
        if let Some(timeout) = self.timeout_of(lane) {
            self.lanes.note(lane, timeout.at);
        }
    }

    fn timeout_of(&self, lane: u32) -> Option<Timeout> {
        let row = self.lanes.get(lane)?;
        let oldest = self.pool.get(row.records.head)?;
        let expiry = self.limits.delivery_timeout.map(|timeout| oldest.accepted_at + timeout);
        let linger = (row.place == Place::Lingering).then(|| oldest.accepted_at + self.limits.linger);
        match (linger, expiry) {
            (Some(at), Some(expiry)) if expiry < at => Some(Timeout { at: expiry, reason: TimeoutReason::Delivery }),
            (Some(at), _) => Some(Timeout { at, reason: TimeoutReason::Linger }),
            (None, Some(at)) => Some(Timeout { at, reason: TimeoutReason::Delivery }),
            (None, None) => None,
        }
    }
}
