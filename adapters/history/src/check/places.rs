//! Whether records are where the producer says.

use crate::anomaly::Anomaly;
use crate::finding::Finding;
use crate::history::{Outcome, Row};
use crate::log::Logged;
use crate::verdict::Verdict;

use super::index::{Index, is_absent, is_written};

pub(super) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    for group in index.groups() {
        let written = group.calls.iter().filter(|call| is_written(index.row(**call))).count();
        // With fewer copies, some are lost; with none there is no place to compare.
        if group.copies.is_empty() || group.copies.len() < written {
            continue;
        }
        for &call in group.calls {
            let row = index.row(call);
            if index.is_cut_off(row) || is_absent(row) {
                continue;
            }
            if let Some(detail) = wrong(index, row, group.copies, group.calls.len() == 1) {
                verdict.add(Anomaly::WrongOffset, || {
                    let (said, found) = (index.said(call), index.at(call, group.copies));
                    let detail = format!("{detail}; the log has {found}");
                    Finding { anomaly: Anomaly::WrongOffset, records: vec![said, found], detail }
                });
            }
        }
    }
}

/// What is wrong with a record's place.
fn wrong(index: &Index<'_>, row: &Row, copies: &[Logged], is_alone: bool) -> Option<&'static str> {
    if let Some(Outcome::Delivered { partition, offset }) = row.outcome() {
        if row.partition.is_some_and(|named| named != partition) {
            return Some("it was delivered to another partition than it names");
        }
        let is_there = match offset {
            Some(_) => index.named_copy(row, copies).is_some(),
            None => copies.iter().any(|copy| copy.partition == partition),
        };
        if !is_there {
            return Some("it is not where it was delivered");
        }
    }
    let elsewhere = |named: i32| is_alone && copies.iter().any(|copy| copy.partition != named);
    row.partition.is_some_and(elsewhere).then_some("it is in another partition than it names")
}
