//! Whether flushes, purges and closes return when their records have an outcome, and not before.

use std::time::Duration;

use crate::anomaly::Anomaly;
use crate::finding::Finding;
use crate::history::{Moment, OperationRow, Outcome, Row, Scope};
use crate::verdict::Verdict;

use super::index::Index;

/// A record that an operation may be about.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    /// The event.
    by: u64,
    /// Its outcome's time, in nanoseconds; the greatest number if it has none.
    ended: u64,
    call: u32,
}

pub(super) fn check(index: &Index<'_>, verdict: &mut Verdict) {
    let operations = &index.history.operations;
    let mut scopes: Vec<_> = operations.iter().map(|operation| operation.scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    for scope in scopes {
        let accepted = accepted(index, scope);
        // The latest outcome of all that were accepted up to one.
        let latest: Vec<u64> = accepted
            .iter()
            .scan(0, |latest, one| {
                *latest = one.ended.max(*latest);
                Some(*latest)
            })
            .collect();
        for operation in operations.iter().filter(|operation| operation.scope == scope) {
            let Some(returned) = operation.returned else { continue };
            let bound = if operation.is_close { returned.event } else { operation.called.event };
            let meant = accepted.partition_point(|one| one.by < bound);
            let limit = returned.at.saturating_add(index.history.tick);
            if latest[..meant].last().is_some_and(|latest| *latest > limit) {
                verdict.add(Anomaly::ReturnedEarly, || early(index, operation, returned, &accepted[..meant], limit));
            }
        }
    }
}

/// The accepted records of a scope, in the order in which they were accepted. Those whose outcome the caller does not wait for are left
/// out.
fn accepted(index: &Index<'_>, scope: Scope) -> Vec<Accepted> {
    let meant = |row: &Row| match scope {
        Scope::All => true,
        Scope::Topic(topic) => row.topic == topic,
        Scope::Partition(topic, partition) => row.topic == topic && row.partition == Some(partition),
    };
    let rows = index.rows().filter(|(_, row)| meant(row) && row.outcome() != Some(Outcome::Dropped));
    let accepted = rows.filter_map(|(call, row)| {
        let ended = row.outcome.map_or(u64::MAX, |(_, moment)| moment.at);
        row.accepted_by().map(|by| Accepted { by, ended, call })
    });
    let mut accepted: Vec<_> = accepted.collect();
    accepted.sort_unstable_by_key(|one| one.by);
    accepted
}

fn early(index: &Index<'_>, operation: &OperationRow, returned: Moment, accepted: &[Accepted], limit: u64) -> Finding {
    let open: Vec<_> = accepted.iter().filter(|one| one.ended > limit).map(|one| one.call).collect();
    let detail = format!(
        "a {} from {:?} returned at {:?}, and {} records had no outcome",
        operation.name,
        Duration::from_nanos(operation.called.at),
        Duration::from_nanos(returned.at),
        open.len()
    );
    Finding { anomaly: Anomaly::ReturnedEarly, records: index.named(&open), detail }
}
