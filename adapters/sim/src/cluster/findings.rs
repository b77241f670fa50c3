//! What the producers of a cluster said, against what its brokers have.

use std::collections::BTreeMap;

use aioproducer_history::Allow;

use super::state::State;
use crate::journal::{Journals, Time};
use crate::log::LogRecord;

impl State {
    /// From now on, producers that start have a journal.
    pub(crate) fn keep_journals(&mut self, time: Time) {
        self.journals = Some(Journals { time, list: Vec::new() });
    }

    /// How many accepted records have no outcome.
    pub(crate) fn open_records(&self) -> usize {
        self.journals.iter().flat_map(|journals| &journals.list).map(|journal| journal.open()).sum()
    }

    /// The first thing that a producer said and that does not fit its part of the log, in words.
    pub(crate) fn finding(&self, allow: Allow) -> Option<String> {
        let journals = self.journals.as_ref()?;
        let mut parts = self.parts();
        journals.list.iter().find_map(|journal| {
            let part = parts.remove(&journal.producer()).unwrap_or_default();
            journal.finding(&part, allow)
        })
    }

    /// What each producer wrote, by its number.
    fn parts(&self) -> BTreeMap<u64, Vec<(&str, &LogRecord)>> {
        // The first offset of each batch in the log, and whose it is.
        let mut batches: BTreeMap<(&str, i32), BTreeMap<i64, u64>> = BTreeMap::new();
        for (topic, partition, base, producer) in self.topology.trace.appended() {
            batches.entry((topic, partition)).or_default().insert(base, producer);
        }
        let mut parts: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for topic in self.topology.topics.values() {
            for (number, partition) in (0..).zip(&topic.partitions) {
                let Some(batches) = batches.get(&(&*topic.name, number)) else { continue };
                let mut next = batches.iter().peekable();
                let mut writer = 0;
                for record in partition.log.records() {
                    while let Some((_, producer)) = next.next_if(|(base, _)| **base <= record.offset()) {
                        writer = *producer;
                    }
                    parts.entry(writer).or_default().push((&*topic.name, record));
                }
            }
        }
        parts
    }
}
