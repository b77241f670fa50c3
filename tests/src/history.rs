//! The check of a history: what the producer said of each record, against the log.

use std::collections::{BTreeMap, HashMap};

use aioproducer_driver::error::{FailureKind, Status};

/// What the producer said of a record in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is in the log, there.
    Delivered {
        /// The partition.
        partition: i32,
        /// The offset, if the broker sent it.
        offset: Option<i64>,
    },
    /// It was accepted and has failed.
    Failed(FailureKind, Status),
    /// It was not accepted. The text is the error's name.
    Refused(&'static str),
}

/// A record as its caller saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Unique, and for records of one lane in the order of the calls.
    pub number: u64,
    /// Records with the same lane, those of a key for instance, stay in order.
    pub lane: Option<u32>,
    /// Its outcome.
    pub end: End,
}

/// A record in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's number.
    pub number: u64,
}

/// What a history has, in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Delivered, as the producer says.
    pub delivered: usize,
    /// Failed after they were accepted.
    pub failed: usize,
    /// Of those, the ones that the producer says are not in the log.
    pub not_persisted: usize,
    /// Not accepted.
    pub refused: usize,
    /// Delivered, and not in the log.
    pub lost: usize,
    /// Delivered, and more than once in the log.
    pub doubled: usize,
    /// Failed as possibly in the log, and more than once there.
    pub doubled_in_doubt: usize,
    /// Failed as not in the log, or not accepted, and in the log.
    pub written_all_the_same: usize,
    /// Delivered, and in the log behind a later record of their lane that was delivered, too.
    pub reordered: usize,
    /// Delivered, and not at the place that the producer named.
    pub misplaced: usize,
    /// Delivered before the beginning of the log, which its broker has cut: what is in the log of these is not checked.
    pub cut_off: usize,
}

impl Findings {
    /// Whether the log is as it was promised.
    #[must_use]
    pub fn is_right(&self) -> bool {
        let Self { lost, doubled, written_all_the_same, reordered, misplaced, .. } = *self;
        lost + doubled + written_all_the_same + reordered + misplaced == 0
    }
}

/// Compares what the producer said with the log, whose records come in the order of their offsets, partition by partition.
#[must_use]
pub fn check(seen: &[Seen], log: &[Written]) -> Findings {
    let (mut first, mut copies, mut begin) = (HashMap::new(), HashMap::new(), BTreeMap::new());
    for written in log {
        first.entry(written.number).or_insert((written.partition, written.offset));
        *copies.entry(written.number).or_insert(0_usize) += 1;
        begin.entry(written.partition).or_insert(written.offset);
    }
    let copies = |number: u64| copies.get(&number).copied().unwrap_or_default();
    let mut findings = Findings::default();
    let mut lanes = HashMap::new();
    for Seen { number, lane, end } in seen {
        match *end {
            End::Delivered { partition, offset } => {
                findings.delivered += 1;
                let cut = begin.get(&partition).is_some_and(|begin| offset.is_some_and(|offset| offset < *begin));
                findings.cut_off += usize::from(cut);
                findings.lost += usize::from(copies(*number) == 0 && !cut);
                findings.doubled += usize::from(copies(*number) > 1);
                if let Some(lane) = lane {
                    lanes.insert(*number, *lane);
                }
            }
            End::Failed(_, status) => {
                findings.failed += 1;
                let absent = status == Status::NotPersisted;
                findings.not_persisted += usize::from(absent);
                findings.written_all_the_same += usize::from(absent && copies(*number) > 0);
                findings.doubled_in_doubt += usize::from(!absent && copies(*number) > 1);
            }
            End::Refused(_) => {
                findings.refused += 1;
                findings.written_all_the_same += usize::from(copies(*number) > 0);
            }
        }
    }
    findings.misplaced = misplaced(seen, log, &copies);
    findings.reordered = reordered(log, &first, &lanes);
    findings
}

/// Of delivered records, those that are in the log and not at the place that was named.
fn misplaced(seen: &[Seen], log: &[Written], copies: &impl Fn(u64) -> usize) -> usize {
    let places: HashMap<_, _> = log.iter().map(|at| ((at.partition, at.offset), at.number)).collect();
    let wrong = seen.iter().filter(|seen| match seen.end {
        End::Delivered { partition, offset: Some(offset) } => {
            copies(seen.number) > 0 && places.get(&(partition, offset)) != Some(&seen.number)
        }
        _ => false,
    });
    wrong.count()
}

/// Of delivered records, those whose first copy is behind that of a later one.
fn reordered(log: &[Written], first: &HashMap<u64, (i32, i64)>, lanes: &HashMap<u64, u32>) -> usize {
    let mut latest = HashMap::new();
    let mut behind = 0;
    for written in log {
        let Some(lane) = lanes.get(&written.number) else { continue };
        if first.get(&written.number) != Some(&(written.partition, written.offset)) {
            continue;
        }
        let latest = latest.entry((*lane, written.partition)).or_insert(written.number);
        behind += usize::from(written.number < *latest);
        *latest = (*latest).max(written.number);
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(number: u64, offset: i64) -> Seen {
        Seen { number, lane: Some(number as u32 % 2), end: End::Delivered { partition: 0, offset: Some(offset) } }
    }

    fn failed(number: u64, status: Status) -> Seen {
        Seen { number, lane: Some(number as u32 % 2), end: End::Failed(FailureKind::TimedOut, status) }
    }

    fn log(numbers: &[u64]) -> Vec<Written> {
        (0..).zip(numbers).map(|(offset, &number)| Written { partition: 0, offset, number }).collect()
    }

    #[test]
    fn a_right_history_is_right() {
        let seen = [
            delivered(0, 0),
            delivered(1, 1),
            failed(2, Status::NotPersisted),
            failed(3, Status::PossiblyPersisted),
            failed(4, Status::PossiblyPersisted),
            Seen { number: 5, lane: None, end: End::Refused("Full") },
            // Of another lane than 6, which is before it in the log.
            delivered(7, 3),
            delivered(6, 4),
        ];
        let findings = check(&seen, &log(&[0, 1, 3, 7, 6]));
        let expected = Findings { delivered: 4, failed: 3, not_persisted: 1, refused: 1, ..Findings::default() };
        assert_eq!((findings, findings.is_right()), (expected, true));
    }

    #[test]
    fn each_planted_error_is_found() {
        let found = |seen: &[Seen], numbers: &[u64]| {
            let findings = check(seen, &log(numbers));
            let Findings { lost, doubled, doubled_in_doubt, written_all_the_same, reordered, misplaced, .. } = findings;
            assert_eq!(findings.is_right(), lost + doubled + written_all_the_same + reordered + misplaced == 0);
            [lost, doubled, doubled_in_doubt, written_all_the_same, reordered, misplaced]
        };
        assert_eq!(found(&[delivered(0, 0), delivered(1, 1)], &[0]), [1, 0, 0, 0, 0, 0]);
        assert_eq!(found(&[delivered(0, 0), delivered(2, 1)], &[0, 2, 0, 0]), [0, 1, 0, 0, 0, 0]);
        assert_eq!(found(&[failed(0, Status::PossiblyPersisted)], &[0, 0]), [0, 0, 1, 0, 0, 0]);
        assert_eq!(found(&[failed(0, Status::NotPersisted)], &[0]), [0, 0, 0, 1, 0, 0]);
        assert_eq!(found(&[Seen { number: 0, lane: None, end: End::Refused("Full") }], &[0]), [0, 0, 0, 1, 0, 0]);
        assert_eq!(found(&[delivered(0, 1), delivered(2, 0)], &[2, 0]), [0, 0, 0, 0, 1, 0]);
        assert_eq!(found(&[delivered(0, 1), delivered(1, 0)], &[0, 1]), [0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn what_the_broker_has_cut_off_is_not_lost() {
        let mut left = log(&[7]);
        left[0].offset = 3;
        let findings = check(&[delivered(1, 2), delivered(7, 3), delivered(9, 4)], &left);
        assert_eq!((findings.cut_off, findings.lost), (1, 1));
    }
}
