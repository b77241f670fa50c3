//! Rates and latencies of groups of records.

use crate::note::{Micros, Note};
use crate::target::leader;

/// The records of a broker's partitions, or those of all other partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The broker's that is hurt.
    Hurt(i32),
    /// All others'.
    Healthy(i32),
}

impl Side {
    pub(crate) fn has(self, note: &Note) -> bool {
        match (note.partition(), self) {
            (..0, _) => false,
            (partition, Self::Hurt(broker)) => leader(partition) == broker,
            (partition, Self::Healthy(broker)) => leader(partition) != broker,
        }
    }
}

/// What was delivered of a group of records within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Delivered {
    pub(crate) count: usize,
    /// From the call to the outcome; 0 if there are none.
    pub(crate) p50: Micros,
    pub(crate) p99: Micros,
}

impl Delivered {
    pub(crate) fn of<'a>(notes: impl IntoIterator<Item = &'a Note>, side: Side) -> Self {
        let delivered = notes.into_iter().filter(|note| note.is_delivered() && side.has(note));
        let mut latencies: Vec<_> = delivered.map(Note::latency).collect();
        latencies.sort_unstable();
        let at =
            |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)));
        let [p50, p99] = [50, 99].map(|percent| at(percent).copied().unwrap_or_default());
        Self { count: latencies.len(), p50, p99 }
    }
}

/// The notes of records that ended between two times; `notes` are in the order of their ends.
pub(crate) fn ended(notes: &[Note], from: Micros, to: Micros) -> &[Note] {
    let begin = notes.partition_point(|note| note.ended < from);
    let end = notes.partition_point(|note| note.ended < to);
    &notes[begin..end.max(begin)]
}
