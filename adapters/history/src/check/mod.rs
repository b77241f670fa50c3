//! The checks. Each file has those that look at the same thing; `index` says which calls and which records of the log belong together.

mod claims;
mod index;
mod operations;
mod order;
mod outcomes;
mod partitions;
mod presence;
mod slots;
mod transactions;

use crate::allow::Allow;
use crate::history::History;
use crate::log::Log;
use crate::verdict::Verdict;

use self::index::Index;

/// Compares a history with a log, with all [checks](crate::Anomaly). Equal arguments have equal verdicts.
///
/// ```
/// use aioproducer_history::{History, Log, check};
///
/// assert!(check(&History::new(), &Log::new()).is_right());
/// ```
pub fn check(history: &History, log: &Log) -> Verdict {
    check_with(history, log, Allow::nothing())
}

/// Compares a history with a log, and counts what is allowed instead of finding it.
///
/// ```
/// use aioproducer_history::{Allow, History, Log, check_with};
///
/// assert!(check_with(&History::new(), &Log::new(), Allow::nothing().duplicates()).is_right());
/// ```
pub fn check_with(history: &History, log: &Log, allow: Allow) -> Verdict {
    let index = Index::new(history, log);
    let mut verdict = Verdict::default();
    outcomes::check(&index, &mut verdict);
    presence::check(&index, allow, &mut verdict);
    claims::check(&index, &mut verdict);
    partitions::check(&index, &mut verdict);
    order::check(&index, allow, &mut verdict);
    transactions::check(&index, &mut verdict);
    operations::check(&index, &mut verdict);
    slots::check(&index, &mut verdict);
    verdict.sorted()
}
