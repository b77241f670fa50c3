//! Buffer timeouts: when the machine wants to be called again, and why.

use super::Producer;
use crate::lanes::Place;
use crate::storage::Storage;
use crate::{Completed, Instant, Record};

/// Why there is a deadline.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeoutReason {
    /// A lane's oldest record will have waited for the linger: a batch can be cut.
    Linger,
    /// A record that was not handed off expires.
    Delivery,
    /// The report of a record that was handed off is overdue.
    Report,
}

/// The next deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// When.
    pub at: Instant,
    /// Why.
    pub reason: TimeoutReason,
}

/// A record that expired before it was handed off: it is not in the log.
#[derive(Debug)]
pub struct Expired<R, T> {
    /// The record.
    pub record: R,
    /// Its account.
    pub ended: Completed<T>,
}

impl<R: Record, T, S: Storage<R, T>> Producer<R, T, S> {
    /// The earliest moment at which something happens by itself. It depends on each lane's OLDEST record, so later
    /// records never postpone it.
    #[must_use]
    pub fn poll_timeout(&mut self) -> Option<Timeout> {
        let report = self.report_due().map(|(_, at)| Timeout { at, reason: TimeoutReason::Report });
        let lane = self.lane_timeout();
        if report.is_some_and(|report| lane.is_none_or(|lane| report.at < lane.at)) { report } else { lane }
    }

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

    /// Moves time on: lanes whose linger is over become ready, and the next record that expired is returned, oldest
    /// deadline first.
    pub fn poll_expired(&mut self, now: Instant) -> Option<Expired<R, T>> {
        self.advance(now);
        while let Some((noted, lane)) = self.lanes.earliest()
            && noted <= self.now
        {
            match self.timeout_of(lane) {
                None => self.lanes.forget(lane),
                Some(timeout) if timeout.at > noted => self.lanes.postpone(lane, timeout.at),
                Some(timeout) if timeout.reason == TimeoutReason::Linger => self.lanes.move_to(lane, Place::Ready),
                Some(_) => {
                    let first = self.lanes.get(lane)?.records.head;
                    let (record, ended) = self.end_buffered(first)?;
                    self.place(lane);
                    return Some(Expired { record, ended });
                }
            }
        }
        None
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
