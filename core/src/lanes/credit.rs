//! Credit: how much of a lane the backend may have, by what it has acknowledged.
//!
//! As in TCP, the window of a lane doubles with each round trip in which it holds records back, and shrinks while the lane does
//! not need it. So a backend that does not answer has little of the lane. The rest stays in the machine, where it can be taken
//! back, and where it ends as not persisted.

use core::time::Duration;

use super::LaneRow;
use crate::Instant;

/// The bytes of a window, for each of its records.
const RECORD: usize = 1 << 10;

/// What a lane without a partition gets beyond what the backend has, as a part of the least window, each time that nothing of it was
/// reported for the availability timeout: the backend may choose another partition now.
const RELIEF: u32 = 4;

/// A lane that was answered so recently is expected to answer again.
const RECENT: Duration = Duration::from_millis(250);

impl LaneRow {
    /// Records that the backend has and whose report is expected.
    pub(crate) const fn in_flight(&self) -> u32 {
        self.handed_off.saturating_sub(self.lost)
    }

    /// How many more records the backend may have, if at least `least`.
    pub(crate) fn credit(&self, least: u32) -> u32 {
        let window = self.window.max(least);
        // Of those in flight, if all of the lane's records are alike.
        let all = (self.buffered + self.handed_off).max(1) as usize;
        let bytes = (self.bytes / all).saturating_mul(self.in_flight() as usize);
        let too_large = self.in_flight() > 0 && bytes >= (window as usize).saturating_mul(RECORD);
        if too_large { 0 } else { window.saturating_sub(self.in_flight()) }
    }

    /// From when on the lane counts as unavailable if no report comes: so long after the last report, or after the hand-off to a
    /// backend that had nothing of the lane.
    pub(crate) fn unavailable_at(&self, timeout: Duration) -> Option<Instant> {
        (self.in_flight() > 0).then(|| self.heard_at() + timeout)
    }

    /// When the lane gets more if no report comes before, if its records may go elsewhere: once `early`, and then each time that
    /// `timeout` has passed.
    pub(crate) fn relief_at(&self, early: Duration, timeout: Duration) -> Option<Instant> {
        let is_relieved = self.relieved == self.heard_at();
        self.unavailable_at(if is_relieved { timeout } else { early })
    }

    fn heard_at(&self) -> Instant {
        self.reported_at.max(self.waiting_since)
    }

    pub(crate) fn is_unavailable(&self, timeout: Duration, now: Instant) -> bool {
        self.unavailable_at(timeout).is_some_and(|at| at <= now)
    }

    /// Whether nothing was reported for `timeout`, if it was to be.
    pub(crate) fn was_silent(&self, timeout: Duration, now: Instant) -> bool {
        self.heard_at() + timeout <= now
    }

    /// Whether no report of the lane has come of late.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        self.reported_at == Instant::ZERO || self.reported_at + RECENT <= now
    }

    /// A report has come of a lane that is limited, of a record that counts for `cost` bytes; `again` says that there was none for
    /// long. No window needs more than `most`.
    pub(crate) fn grow(&mut self, again: bool, cost: usize, least: u32, most: u32) {
        self.window = if again {
            self.window / 2
        } else {
            let step = u32::try_from(cost / RECORD).unwrap_or(u32::MAX).max(1);
            self.window.max(least).saturating_add(step).min(most)
        };
    }

    /// A batch is handed off: a window of which little is used becomes smaller. `again` says that there was no report for long, as
    /// there was nothing to report.
    pub(crate) fn shrink(&mut self, again: bool, least: u32) {
        self.is_limited = self.buffered > 0 && self.credit(least) == 0;
        if again {
            self.window /= 2;
        }
        if self.in_flight() < self.window / 8 {
            self.window -= self.window / 64;
        }
    }

    /// The lane has nothing. What was learned of it is good for the records to come.
    pub(crate) fn rest(&mut self) {
        (self.is_limited, self.order) = (false, 0);
    }

    /// The row is another lane's.
    pub(crate) fn forget_reports(&mut self) {
        (self.window, self.reported_at, self.relieved) = (0, Instant::ZERO, Instant::MAX);
    }

    /// The backend may have all of it.
    pub(crate) fn open(&mut self) {
        self.window = u32::MAX;
    }

    /// The lane gets no reports, and its records may go elsewhere.
    pub(crate) fn relieve(&mut self, least: u32, timeout: Duration, now: Instant) {
        self.window = self.in_flight().saturating_add((least / RELIEF).max(1));
        if self.is_unavailable(timeout, now) {
            self.waiting_since = now;
        }
        self.relieved = self.heard_at();
    }
}
