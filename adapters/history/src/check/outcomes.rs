//! Whether each record has one outcome, in time, and comes back as it was.

use std::time::Duration;

use aioproducer_core::backend::Status;

use crate::anomaly::Anomaly;
use crate::handles::RecordHandle;
use crate::history::{Outcome, Row};
use crate::verdict::{Counts, Verdict};

use super::index::{Index, finding};

pub(super) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    for (call, row) in index.rows() {
        count(row, &mut verdict.counts);
        let Some((outcome, ended)) = row.outcome else {
            verdict.add(Anomaly::NoOutcome, || finding(Anomaly::NoOutcome, index.said(call), ""));
            continue;
        };
        let timeout = row.timeout.or(index.history.delivery_timeout);
        let Some(timeout) = timeout.filter(|_| outcome != Outcome::Dropped) else { continue };
        let taken = ended.at.saturating_sub(row.called.at);
        if taken > timeout.saturating_add(index.history.tick) {
            verdict.add(Anomaly::LateTimeout, || {
                let [taken, timeout] = [taken, timeout].map(Duration::from_nanos);
                let detail = format!("its outcome came {taken:?} after the call, with a timeout of {timeout:?}");
                finding(Anomaly::LateTimeout, index.said(call), detail)
            });
        }
    }
    for (record, second) in &index.history.more_outcomes {
        let call = record.index() as u32;
        verdict.add(Anomaly::SecondOutcome, || {
            let first = index.row(call).outcome().map(name).unwrap_or_default();
            let detail = format!("it was {first}, and then {}", name(*second));
            finding(Anomaly::SecondOutcome, index.said(call), detail)
        });
    }
    for (record, bytes) in &index.history.handed_back {
        came_back(index, *record, *bytes, verdict);
    }
}

fn came_back(index: &Index<'_>, record: RecordHandle, bytes: u64, verdict: &mut Verdict) {
    let call = record.index() as u32;
    if index.row(call).payload.is_some_and(|payload| payload != bytes) {
        let detail = "it came back with other bytes than the call gave";
        verdict.add(Anomaly::WrongBytes, || finding(Anomaly::WrongBytes, index.said(call), detail));
    }
}

fn count(row: &Row, counts: &mut Counts) {
    counts.calls += 1;
    let count = match row.outcome() {
        Some(Outcome::Delivered { .. }) => &mut counts.delivered,
        Some(Outcome::Failed(Status::NotPersisted)) => &mut counts.not_persisted,
        Some(Outcome::Failed(Status::Persisted)) => &mut counts.persisted,
        Some(Outcome::Failed(_)) => &mut counts.possibly_persisted,
        Some(Outcome::Refused) => &mut counts.refused,
        Some(Outcome::Retracted) => &mut counts.retracted,
        Some(Outcome::Dropped) => &mut counts.dropped,
        None => return,
    };
    *count += 1;
}

fn name(outcome: Outcome) -> String {
    match outcome {
        Outcome::Delivered { partition, offset: Some(offset) } => {
            format!("delivered to partition {partition} at {offset}")
        }
        Outcome::Delivered { partition, .. } => format!("delivered to partition {partition}"),
        Outcome::Failed(status) => format!("failed as {status}"),
        Outcome::Refused => "refused".into(),
        Outcome::Retracted => "retracted".into(),
        Outcome::Dropped => "dropped by its caller".into(),
    }
}
