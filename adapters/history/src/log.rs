//! What a cluster has.

use std::collections::BTreeMap;

use crate::payload::Payload;
use crate::topics::Topics;

/// What has one offset of a partition: a record, or the control marker that ends a transaction.
///
/// ```
/// use aioproducer_history::{Log, LogEntry};
///
/// let mut log = Log::new();
/// log.push("orders", 0, 0, LogEntry::record(55).payload("order 55"));
/// // The transaction of producer id 4001, which is committed.
/// log.push("orders", 0, 1, LogEntry::record(56).in_transaction(4001));
/// log.push("orders", 0, 2, LogEntry::commit(4001));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it is for `Log::push`"]
pub struct LogEntry {
    kind: Kind,
    payload: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Record { id: u64, visibility: Visibility },
    Marker { producer_id: i64, commits: bool },
}

/// Whether a consumer with `isolation.level=read_committed` gets a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visibility {
    Visible,
    Hidden,
    /// The next marker of this producer id decides.
    ByMarker(i64),
}

impl LogEntry {
    /// A record with the id that [`ProduceCall::new`](crate::ProduceCall::new) has. It is outside of a transaction unless something
    /// else is said.
    pub fn record(id: u64) -> Self {
        Self { kind: Kind::Record { id, visibility: Visibility::Visible }, payload: None }
    }

    /// The control marker that commits the transaction of a producer id.
    pub fn commit(producer_id: i64) -> Self {
        Self { kind: Kind::Marker { producer_id, commits: true }, payload: None }
    }

    /// The control marker that aborts the transaction of a producer id.
    pub fn abort(producer_id: i64) -> Self {
        Self { kind: Kind::Marker { producer_id, commits: false }, payload: None }
    }

    /// The payload. Without it, or if the call gave none, no bytes are compared.
    pub fn payload<'a>(mut self, payload: impl Into<Payload<'a>>) -> Self {
        self.payload = Some(payload.into().hash());
        self
    }

    /// The record is part of the transaction of a producer id, and the next marker of that id in the partition decides whether it is
    /// visible. Without a marker it is not.
    pub fn in_transaction(self, producer_id: i64) -> Self {
        self.with(Visibility::ByMarker(producer_id))
    }

    /// Whether the record is visible to consumers with `isolation.level=read_committed`, where the log's reader knows it by itself.
    pub fn committed(self, is_committed: bool) -> Self {
        self.with(if is_committed { Visibility::Visible } else { Visibility::Hidden })
    }

    fn with(mut self, new: Visibility) -> Self {
        if let Kind::Record { visibility, .. } = &mut self.kind {
            *visibility = new;
        }
        self
    }
}

/// What a cluster has of some topics: the one side that [`check`](crate::check) compares, with the [`History`](crate::History) as the
/// other.
///
/// It is all of what the partitions have, from the beginning to the end, read when the history is over. How it is read is up to the
/// caller. A reader with `isolation.level=read_committed` gets visible records alone, and no markers; then an aborted record that is not
/// there was aborted as it should.
///
/// ```
/// use aioproducer_history::{Log, LogEntry};
///
/// let mut log = Log::new();
/// for (offset, id) in [(17, 55), (18, 56)] {
///     log.push("orders", 2, offset, LogEntry::record(id));
/// }
/// // Retention has deleted what was before.
/// log.begins("orders", 2, 17);
/// assert_eq!(log.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub(crate) topics: Topics,
    entries: Vec<Pushed>,
    /// By topic and partition.
    begins: BTreeMap<(u32, i32), i64>,
}

#[derive(Clone, Copy, Debug)]
struct Pushed {
    topic: u32,
    partition: i32,
    offset: i64,
    entry: LogEntry,
}

/// A record of the log, whose transaction is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) topic: u32,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) id: u64,
    pub(crate) payload: Option<u64>,
    pub(crate) is_visible: bool,
}

impl Log {
    /// An empty log, from offset 0 on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what is at an offset. The order of the calls does not matter.
    pub fn push(&mut self, topic: &str, partition: i32, offset: i64, entry: LogEntry) {
        let topic = self.topics.number(topic);
        self.entries.push(Pushed { topic, partition, offset, entry });
    }

    /// The partition's first offset, if the cluster has deleted what was before it. Records that were delivered before it are counted
    /// as cut off, and not missed. So are those of which the producer named no offset.
    pub fn begins(&mut self, topic: &str, partition: i32, offset: i64) {
        let topic = self.topics.number(topic);
        self.begins.insert((topic, partition), offset);
    }

    /// How many records and markers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has neither records nor markers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A partition's first offset, if something before it was deleted.
    pub(crate) fn begin(&self, topic: u32, partition: i32) -> Option<i64> {
        self.begins.get(&(topic, partition)).copied().filter(|begin| *begin > 0)
    }

    /// Whether something of the topic was deleted.
    pub(crate) fn is_cut(&self, topic: u32) -> bool {
        self.begins.range((topic, i32::MIN)..=(topic, i32::MAX)).any(|(_, begin)| *begin > 0)
    }

    /// The records, by topic, partition and offset.
    pub(crate) fn records(&self) -> Vec<Logged> {
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        let place = |index: &u32| {
            let Pushed { topic, partition, offset, .. } = self.entries[*index as usize];
            (topic, partition, offset, *index)
        };
        order.sort_unstable_by_key(place);
        let mut records = Vec::with_capacity(order.len());
        // The markers that come next, from the end on.
        let (mut of, mut markers) = (None, BTreeMap::new());
        for index in order.into_iter().rev() {
            let Pushed { topic, partition, offset, entry } = self.entries[index as usize];
            if of.replace((topic, partition)) != Some((topic, partition)) {
                markers.clear();
            }
            match entry.kind {
                Kind::Marker { producer_id, commits } => drop(markers.insert(producer_id, commits)),
                Kind::Record { id, visibility } => {
                    let is_visible = match visibility {
                        Visibility::Visible => true,
                        Visibility::Hidden => false,
                        Visibility::ByMarker(producer_id) => markers.get(&producer_id) == Some(&true),
                    };
                    records.push(Logged { topic, partition, offset, id, payload: entry.payload, is_visible });
                }
            }
        }
        records.reverse();
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_marker_of_a_producer_id_decides() {
        let mut log = Log::new();
        let entries = [
            LogEntry::record(0).in_transaction(1),
            LogEntry::record(1).in_transaction(2),
            LogEntry::commit(1),
            LogEntry::record(2).in_transaction(1),
            LogEntry::abort(1),
            LogEntry::record(3),
            LogEntry::commit(2),
            LogEntry::record(4).in_transaction(2),
            LogEntry::record(5).committed(false),
            LogEntry::record(6).committed(true),
        ];
        for (offset, entry) in entries.into_iter().enumerate().rev() {
            log.push("t", 0, offset as i64, entry);
        }
        // A marker counts in its partition alone.
        log.push("t", 1, 0, LogEntry::commit(2));
        let visible: Vec<_> = log.records().iter().filter(|record| record.is_visible).map(|record| record.id).collect();
        assert_eq!(visible, [0, 1, 3, 6]);
    }
}
