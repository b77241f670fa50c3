//! Outcomes on their way to the driver.

use std::collections::VecDeque;

use aioproducer_core::SlotId;
use aioproducer_core::backend::{Failure, Outcome, Report, Status};

/// What is passed to the driver without a lock.
pub(super) struct Reports<R> {
    pub(super) list: VecDeque<Report<R>>,
    /// Delivered records, for reuse of their memory.
    pub(super) released: Vec<R>,
    pub(super) fatal: Option<Failure>,
    /// A record failed.
    pub(super) has_failed: bool,
}

impl<R> Default for Reports<R> {
    fn default() -> Self {
        Self { list: VecDeque::new(), released: Vec::new(), fatal: None, has_failed: false }
    }
}

impl<R> Reports<R> {
    pub(super) fn fail(&mut self, slot: SlotId, record: R, failure: Failure) {
        self.has_failed = true;
        self.list.push_back(Report { slot, outcome: Outcome::Failed(failure, record) });
    }
}

/// The status of a record that failed.
pub(super) const fn status(may_be_appended: bool) -> Status {
    if may_be_appended { Status::PossiblyPersisted } else { Status::NotPersisted }
}
