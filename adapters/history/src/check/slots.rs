//! Whether slots return.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use aioproducer_core::backend::Status;

use crate::anomaly::Anomaly;
use crate::finding::Finding;
use crate::history::{Moment, Outcome};
use crate::verdict::Verdict;

use super::index::Index;

pub(super) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    let history = index.history;
    let mut called = history.rows.iter().map(|row| row.called.event).peekable();
    let mut outcomes: Vec<_> = history.rows.iter().filter_map(|row| row.outcome).collect();
    outcomes.sort_unstable_by_key(|(_, moment)| moment.event);
    let mut outcomes = outcomes.into_iter().peekable();
    let closed = history.operations.iter().filter(|operation| operation.is_close).filter_map(|close| close.returned);
    let closed = closed.min_by_key(|returned| returned.event);

    // Records whose outcome was noted; the first to end comes out first.
    let (mut open, mut overdue, mut noted) = (0_usize, 0, BinaryHeap::new());
    for (moment, until, in_use) in observations(&history.slots) {
        while called.next_if(|event| *event < moment.event).is_some() {
            open += 1;
        }
        while let Some((outcome, ended)) = outcomes.next_if(|(_, ended)| ended.event < moment.event) {
            noted.push(Reverse(ended.at.saturating_add(history.tick)));
            overdue += usize::from(may_be_overdue(outcome));
        }
        while noted.peek().is_some_and(|Reverse(ended)| *ended <= until) {
            noted.pop();
            open -= 1;
        }
        let is_closed = closed
            .is_some_and(|closed| closed.event < moment.event && closed.at.saturating_add(history.tick) <= moment.at);
        let most = if is_closed { open } else { open + overdue };
        if in_use > most {
            verdict.add(Anomaly::SlotLeak, || {
                let at = Duration::from_nanos(moment.at);
                let detail = format!("{in_use} slots are in use at {at:?}, and {most} records may have one");
                Finding { anomaly: Anomaly::SlotLeak, records: Vec::new(), detail }
            });
        }
    }
}

/// What the producer's statistics said, in the order in which it was noted, with a time up to which outcomes count. It never goes
/// back, and is never later than the observation's own.
fn observations(slots: &[(Moment, usize)]) -> Vec<(Moment, u64, usize)> {
    let mut least = u64::MAX;
    let mut found: Vec<_> = slots
        .iter()
        .rev()
        .map(|&(moment, in_use)| {
            least = least.min(moment.at);
            (moment, least, in_use)
        })
        .collect();
    found.reverse();
    found
}

/// Whether the slot may return later than the outcome comes, or is known to come.
fn may_be_overdue(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Failed(status) => status != Status::NotPersisted,
        Outcome::Dropped => true,
        Outcome::Delivered { .. } | Outcome::Refused | Outcome::Retracted => false,
    }
}
