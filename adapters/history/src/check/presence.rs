//! Which records must not be in the log, or not so often, or not with these bytes.

use aioproducer_core::backend::Status;

use crate::allow::Allow;
use crate::anomaly::Anomaly;
use crate::history::{Outcome, Row, TransactionEnd};
use crate::verdict::Verdict;

use super::index::{Index, SameId, finding, is_absent, is_written};

pub(super) fn check(index: &Index<'_>, allow: Allow, verdict: &mut Verdict) {
    verdict.counts.log = index.records.len();
    verdict.counts.unknown = index.records.len();
    for group in index.groups() {
        verdict.counts.unknown -= group.copies.len();
        let rows = || group.calls.iter().map(|&call| index.row(call));
        let possible = rows().filter(|row| !is_absent(row)).count();
        if possible == 0 {
            not_in_the_log(index, group, verdict);
        } else if group.copies.len() > possible {
            twice(index, group, allow, verdict);
        }
        aborted(index, group, verdict);
        bytes(index, group, verdict);
        let in_doubt = rows().filter(|row| is_in_doubt(row)).count();
        if in_doubt > 0 {
            let written = rows().filter(|row| is_written(row)).count();
            verdict.counts.written_in_doubt += group.copies.len().saturating_sub(written).min(in_doubt);
        }
    }
}

fn is_in_doubt(row: &Row) -> bool {
    row.outcome() == Some(Outcome::Failed(Status::PossiblyPersisted))
}

/// No call of the group may be in the log.
fn not_in_the_log(index: &Index<'_>, group: SameId<'_>, verdict: &mut Verdict) {
    if group.copies.is_empty() {
        return;
    }
    let call = group.calls[0];
    let (anomaly, detail) = match index.row(call).outcome() {
        Some(Outcome::Retracted) => (Anomaly::RetractedButWritten, ""),
        Some(Outcome::Refused) => (Anomaly::G1a, "it was refused"),
        _ => (Anomaly::G1a, "it failed as not in the log"),
    };
    verdict.add(anomaly, || finding(anomaly, index.at(call, group.copies), detail));
}

fn twice(index: &Index<'_>, group: SameId<'_>, allow: Allow, verdict: &mut Verdict) {
    let written = group.calls.iter().find(|call| is_written(index.row(**call)));
    if written.is_none() && (allow.duplicates || allow.duplicates_in_doubt) {
        verdict.counts.duplicates_in_doubt += 1;
    } else if allow.duplicates {
        verdict.counts.duplicates += 1;
    } else {
        let call = *written.unwrap_or(&group.calls[0]);
        let detail = if written.is_none() { "it is not known to be in the log" } else { "" };
        verdict.add(Anomaly::Duplicate, || finding(Anomaly::Duplicate, index.at(call, group.copies), detail));
    }
}

/// Records of transactions that did not commit, and that consumers see.
fn aborted(index: &Index<'_>, group: SameId<'_>, verdict: &mut Verdict) {
    let is_aborted = |call: &u32| {
        let row = index.row(*call);
        !is_absent(row) && matches!(index.transaction(row), Some(TransactionEnd::Aborted | TransactionEnd::Open))
    };
    let Some(&call) = group.calls.iter().find(|call| is_aborted(call)) else { return };
    let may_be_seen = group.calls.iter().filter(|call| !is_absent(index.row(**call)) && !is_aborted(call)).count();
    let seen: Vec<_> = group.copies.iter().filter(|copy| copy.is_visible).copied().collect();
    if seen.len() > may_be_seen {
        let is_open = index.transaction(index.row(call)) == Some(TransactionEnd::Open);
        let detail = if is_open { "its transaction did not end" } else { "its transaction was aborted" };
        verdict.add(Anomaly::AbortedRead, || finding(Anomaly::AbortedRead, index.at(call, &seen), detail));
    }
}

/// Copies with other bytes than every call of the group.
fn bytes(index: &Index<'_>, group: SameId<'_>, verdict: &mut Verdict) {
    for copy in group.copies {
        let Some(bytes) = copy.payload else { continue };
        let is_other = |call: &u32| index.row(*call).payload.is_some_and(|payload| payload != bytes);
        if group.calls.iter().all(is_other) {
            let call = group.calls[0];
            let detail = "the log has other bytes than the call gave";
            verdict.add(Anomaly::WrongBytes, || {
                finding(Anomaly::WrongBytes, index.at(call, std::slice::from_ref(copy)), detail)
            });
        }
    }
}
