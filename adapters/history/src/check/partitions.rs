//! Whether records are in the partitions that the calls name, and the producer.

use crate::anomaly::Anomaly;
use crate::finding::Finding;
use crate::history::{Outcome, Row};
use crate::log::Logged;
use crate::verdict::Verdict;

use super::index::{Index, is_absent, is_written};

pub(super) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    for group in index.groups() {
        let written = group.calls.iter().filter(|call| is_written(index.row(**call))).count();
        // With fewer copies it is not known whose is missing.
        if group.copies.is_empty() || group.copies.len() < written {
            continue;
        }
        for &call in group.calls {
            let row = index.row(call);
            if index.is_cut_off(row) || is_absent(row) {
                continue;
            }
            if let Some(detail) = wrong(row, group.copies, group.calls.len() == 1) {
                verdict.add(Anomaly::WrongOffset, || {
                    let (said, found) = (index.said(call), index.at(call, group.copies));
                    let detail = format!("{detail}; the log has {found}");
                    Finding { anomaly: Anomaly::WrongOffset, records: vec![said, found], detail }
                });
            }
        }
    }
}

/// What is wrong with a record's partition.
fn wrong(row: &Row, copies: &[Logged], is_alone: bool) -> Option<&'static str> {
    let is_elsewhere = |partition: i32| copies.iter().all(|copy| copy.partition != partition);
    match (row.outcome(), row.partition) {
        (Some(Outcome::Delivered { partition, .. }), Some(named)) if partition != named => {
            Some("it was delivered to another partition than it names")
        }
        (Some(Outcome::Delivered { partition, offset: None }), _) if is_elsewhere(partition) => {
            Some("it is not where it was delivered")
        }
        (Some(Outcome::Delivered { .. }), _) => None,
        (_, Some(named)) if is_alone && is_elsewhere(named) => Some("it is in another partition than it names"),
        _ => None,
    }
}
