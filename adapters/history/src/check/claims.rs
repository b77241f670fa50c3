//! Whether the log has what the producer says that it has, and at the offsets that it names.

use crate::anomaly::Anomaly;
use crate::finding::Finding;
use crate::history::{Outcome, Row, TransactionEnd};
use crate::verdict::Verdict;

use super::index::{Index, SameId, finding, is_written};

pub(super) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    for group in index.groups() {
        let held = held(index, group);
        // Copies at places that no call names may be those of any call.
        let mut free = group.copies.len() - held.len();
        for is_first in [true, false] {
            let written = |call: &u32| is_written(index.row(*call)) && is_required(index, index.row(*call)) == is_first;
            for call in group.calls.iter().copied().filter(written) {
                if held.binary_search(&call).is_err() {
                    claim(index, group, call, &mut free, verdict);
                }
            }
        }
    }
}

/// The calls that name a copy's place, in their order; of several that name the same one, the first.
fn held(index: &Index<'_>, group: SameId<'_>) -> Vec<u32> {
    let named = group.calls.iter().filter_map(|&call| {
        let copy = index.named_copy(index.row(call), group.copies)?;
        Some((copy.partition, copy.offset, call))
    });
    let mut held: Vec<_> = named.collect();
    if held.len() > 1 {
        held.sort_unstable();
        held.dedup_by_key(|(partition, offset, _)| (*partition, *offset));
    }
    let mut held: Vec<_> = held.into_iter().map(|(.., call)| call).collect();
    held.sort_unstable();
    held
}

/// Whether the record has to be in the log: it is part of no transaction, or of one that was committed.
fn is_required(index: &Index<'_>, row: &Row) -> bool {
    matches!(index.transaction(row), None | Some(TransactionEnd::Committed))
}

/// A call whose record is not at a place that it names: it takes one of the free copies, or is lost.
fn claim(index: &Index<'_>, group: SameId<'_>, call: u32, free: &mut usize, verdict: &mut Verdict) {
    let row = index.row(call);
    let names_offset = matches!(row.outcome(), Some(Outcome::Delivered { offset: Some(_), .. }));
    if index.is_cut_off(row) && (names_offset || *free == 0) {
        verdict.counts.cut_off += 1;
    } else if *free > 0 {
        *free -= 1;
        if names_offset {
            verdict.add(Anomaly::WrongOffset, || {
                let (said, found) = (index.said(call), index.at(call, group.copies));
                let detail = format!("it is not where it was delivered; the log has {found}");
                Finding { anomaly: Anomaly::WrongOffset, records: vec![said, found], detail }
            });
        }
    } else if is_required(index, row) {
        let is_delivered = matches!(row.outcome(), Some(Outcome::Delivered { .. }));
        let anomaly = if is_delivered { Anomaly::LostAck } else { Anomaly::PersistedNotInLog };
        verdict.add(anomaly, || finding(anomaly, index.said(call), ""));
    }
}
