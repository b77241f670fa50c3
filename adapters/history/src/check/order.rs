//! Whether records are in the order of their calls.

use crate::allow::Allow;
use crate::anomaly::Anomaly;
use crate::finding::Finding;
use crate::history::Row;
use crate::log::Logged;
use crate::verdict::Verdict;

use super::index::{Index, is_written};

/// What keeps records in order: a partition that they name, or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Partition(i32),
    Key(u64),
}

/// The first copy of a record in a partition of the log.
#[derive(Clone, Copy, Debug)]
struct First {
    lane: Lane,
    call: u32,
    copy: Logged,
}

pub(super) fn check(index: &Index<'_>, allow: Allow, verdict: &mut Verdict) {
    let mut firsts = firsts(index);
    firsts.sort_unstable_by_key(|first| {
        let Logged { topic, partition, offset, .. } = first.copy;
        (topic, partition, first.lane, offset)
    });
    let lane_of = |first: &First| (first.copy.topic, first.copy.partition, first.lane);
    for lane in firsts.chunk_by(|a, b| lane_of(a) == lane_of(b)) {
        let mut latest = lane[0];
        for first in lane {
            let (row, before) = (index.row(first.call), index.row(latest.call));
            if row.accepted_by().is_some_and(|accepted| accepted < before.called.event) {
                if allow.reordered {
                    verdict.counts.reordered += 1;
                } else {
                    verdict.add(Anomaly::Reordered, || behind(index, first, &latest));
                }
            }
            if row.called.event > before.called.event {
                latest = *first;
            }
        }
    }
}

/// The first copies of records that have to be in order.
fn firsts(index: &Index<'_>) -> Vec<First> {
    let mut firsts = Vec::new();
    for group in index.groups() {
        // Of several calls, it is not known which copy is whose.
        let [call] = *group.calls else { continue };
        let row = index.row(call);
        let Some(lane) = lane(row).filter(|_| is_written(row)) else { continue };
        let copies = group.copies.chunk_by(|a, b| a.partition == b.partition);
        firsts.extend(copies.map(|copies| First { lane, call, copy: copies[0] }));
    }
    firsts
}

fn lane(row: &Row) -> Option<Lane> {
    row.partition.map(Lane::Partition).or(row.key.map(Lane::Key))
}

fn behind(index: &Index<'_>, first: &First, latest: &First) -> Finding {
    let [record, other] = [first, latest].map(|first| index.at(first.call, std::slice::from_ref(&first.copy)));
    let detail = format!("it is behind {other}, which was produced later");
    Finding { anomaly: Anomaly::Reordered, records: vec![record, other], detail }
}
