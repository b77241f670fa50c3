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
    /// A record's time passes: it ends.
    Delivery,
    /// A record's own timeout passes.
    Record,
    /// The report of a record that has ended is overdue.
    Report,
    /// A lane that was [unavailable](Producer::is_unavailable) for as long gets more credit.
    Credit,
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
        let delivery = self.delivery_due().map(|at| Timeout { at, reason: TimeoutReason::Delivery });
        let next = earlier(delivery, self.lane_timeout());
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

    /// Moves time on: lanes whose linger is over become ready, and the next record whose delivery timeout or own timeout has
    /// passed is returned, wherever it is, the earliest deadline first.
    ///
    /// A record that was handed off ends, too, and whether it is in the log is not known. Its slot stays in use until its report
    /// arrives, since the backend may use what it was given until then. [`Producer::len`] and flushes do not count it any more;
    /// [`Producer::held`] does, for [`Limits::report_timeout`](crate::Limits::report_timeout) at most.
    pub fn poll_expired(&mut self, now: Instant) -> Option<Unreported<R, T>> {
        self.advance(now);
        self.end_lingers();
        if self.watched > 0 { self.expire_watched() } else { self.expire_eldest(Instant::MAX) }
    }

    /// When the delivery timeout of the oldest record passes.
    #[inline]
    fn delivery_due(&self) -> Option<Instant> {
        let timeout = self.limits.delivery_timeout?;
        self.pool.eldest_at().map(|at| at + timeout)
    }

    #[cold]
    fn expire_watched(&mut self) -> Option<Unreported<R, T>> {
        self.give_up_late();
        let Some(Timer { at, slot }) = self.timers.first() else { return self.expire_eldest(Instant::MAX) };
        self.expire_eldest(at).or_else(|| if at <= self.now { self.expire(slot) } else { None })
    }

    /// Ends the oldest record, if its delivery timeout passed, and no later than at `until`.
    #[inline(always)]
    fn expire_eldest(&mut self, until: Instant) -> Option<Unreported<R, T>> {
        let at = self.delivery_due()?;
        if at > self.now || at > until { None } else { self.expire(self.pool.eldest()) }
    }

    /// Lanes whose linger is over become ready, and those whose credit is due get it.
    #[inline]
    fn end_lingers(&mut self) {
        while let Some((noted, lane)) = self.lanes.earliest()
            && noted <= self.now
        {
            match self.timeout_of(lane) {
                None => self.lanes.forget(lane),
                Some(timeout) if timeout.at > noted => self.lanes.postpone(lane, timeout.at),
                Some(timeout) => {
                    self.lanes.forget(lane);
                    if timeout.reason == TimeoutReason::Credit {
                        self.relieve(lane);
                    }
                    self.place(lane);
                }
            }
        }
    }

    /// The time of the record in a slot has passed.
    #[cold]
    fn expire(&mut self, index: u32) -> Option<Unreported<R, T>> {
        let slot = self.pool.get(index)?;
        let lane = slot.lane;
        if slot.in_lane().is_some() {
            let (record, ended) = self.end_buffered(index)?;
            self.place(lane);
            return Some(Unreported { record: Some(record), ended, handed_off: false });
        }
        let record = self.drop_copy(index);
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
        match row.place {
            Place::Lingering => {
                let oldest = self.pool.get(row.records.head)?;
                Some(Timeout { at: oldest.accepted_at + self.limits.linger, reason: TimeoutReason::Linger })
            }
            Place::Held => self.relief_due(row).map(|at| Timeout { at, reason: TimeoutReason::Credit }),
            Place::Vacant | Place::Idle | Place::Quiet | Place::Ready | Place::Out => None,
        }
    }
}
