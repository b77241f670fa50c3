//! Whether transactions are visible as a whole.

use crate::anomaly::Anomaly;
use crate::finding::Finding;
use crate::history::{Outcome, Row, TransactionEnd};
use crate::verdict::Verdict;

use super::index::{Index, is_written};

/// What consumers see of a transaction, in calls.
#[derive(Clone, Debug, Default)]
struct Seen {
    visible: usize,
    /// In the log, and not visible.
    hidden: Vec<u32>,
    /// Delivered, and not in the log.
    lost: Vec<u32>,
    /// Accepted and failed, and not in the log.
    failed: Vec<u32>,
}

pub(super) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    let mut seen = vec![Seen::default(); index.history.transactions.len()];
    for (call, row) in index.rows() {
        if let Some(transaction) = row.transaction {
            look(index, call, row, &mut seen[transaction.index()]);
        }
    }
    for (end, seen) in index.history.transactions.iter().zip(seen) {
        let Seen { visible, hidden, lost, failed } = seen;
        let missing = match end {
            // What is lost of it is a lost acknowledgement.
            TransactionEnd::Committed => [hidden, failed].concat(),
            TransactionEnd::InDoubt if visible > 0 => [hidden, lost].concat(),
            _ => continue,
        };
        if !missing.is_empty() {
            let how = if *end == TransactionEnd::Committed { "was committed" } else { "is in doubt" };
            verdict.add(Anomaly::PartialCommit, || partial(index, how, visible, &missing));
        }
    }
}

fn look(index: &Index<'_>, call: u32, row: &Row, seen: &mut Seen) {
    let is_failed = matches!(row.outcome(), Some(Outcome::Failed(_)));
    if !is_failed && !is_written(row) {
        return;
    }
    let group = index.group_of(call);
    let is_alone = group.calls.len() == 1;
    let copy = index.named_copy(row, group.copies);
    let copy = copy.or_else(|| group.copies.iter().find(|copy| copy.is_visible).filter(|_| is_alone));
    let copy = copy.or(group.copies.first().filter(|_| is_alone));
    match copy {
        Some(copy) if copy.is_visible => seen.visible += 1,
        Some(_) => seen.hidden.push(call),
        // Of several calls with one id, it is not known which is in the log.
        None if !is_alone && !group.copies.is_empty() => {}
        None if index.is_cut_off(row) => {}
        None if is_written(row) => seen.lost.push(call),
        None => seen.failed.push(call),
    }
}

fn partial(index: &Index<'_>, how: &str, visible: usize, missing: &[u32]) -> Finding {
    let detail = format!("its transaction {how}: {visible} records are visible, and {} are not", missing.len());
    Finding { anomaly: Anomaly::PartialCommit, records: index.named(missing), detail }
}
