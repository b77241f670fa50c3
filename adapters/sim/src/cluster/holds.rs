//! Records that wait for a test's decision.

use std::collections::{BTreeMap, VecDeque};

use super::fate::Fate;
use crate::log::LogRecord;
use crate::sync::Arc;
use crate::waiters::Waiters;

/// A held record has a number, which the client asks about.
#[derive(Default)]
pub(crate) struct Holds {
    topics: BTreeMap<Arc<str>, Topic>,
    /// What was decided; `None` of a record that still waits. An entry goes when the client learns of the decision.
    decisions: BTreeMap<u64, Option<Fate>>,
    next: u64,
}

#[derive(Default)]
struct Topic {
    /// Holds of this topic that exist.
    holds: usize,
    arrived: VecDeque<(u64, LogRecord)>,
    waiters: Arc<Waiters>,
}

impl Holds {
    /// Holds the topic's records from now on. Returns the list of those to wake when one arrives; the caller keeps it longer than
    /// the hold, as no waker may be dropped under the lock.
    pub(crate) fn hold(&mut self, topic: &Arc<str>) -> Arc<Waiters> {
        let found = self.topics.entry(Arc::clone(topic)).or_default();
        found.holds += 1;
        Arc::clone(&found.waiters)
    }

    /// Ends a hold. With the last one of its topic the records that no test has taken are delivered.
    pub(crate) fn release(&mut self, topic: &str) {
        let Some(found) = self.topics.get_mut(topic) else { return };
        found.holds -= 1;
        if found.holds == 0
            && let Some(ended) = self.topics.remove(topic)
        {
            for (number, _) in ended.arrived {
                self.decide(number, Fate::Normal);
            }
        }
    }

    /// Whether records of the topic are held.
    pub(crate) fn is_held(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Holds a record, if its topic is held. Returns its number, and the list of those to wake without a lock.
    pub(crate) fn arrive(&mut self, topic: &str, record: LogRecord) -> Option<(u64, Arc<Waiters>)> {
        let found = self.topics.get_mut(topic)?;
        let number = self.next;
        self.next += 1;
        found.arrived.push_back((number, record));
        self.decisions.insert(number, None);
        Some((number, Arc::clone(&found.waiters)))
    }

    /// The next record that no test has taken.
    pub(crate) fn next(&mut self, topic: &str) -> Option<(u64, LogRecord)> {
        self.topics.get_mut(topic)?.arrived.pop_front()
    }

    /// How many records wait that no test has taken.
    pub(crate) fn waiting(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.arrived.len())
    }

    pub(crate) fn decide(&mut self, number: u64, fate: Fate) {
        if let Some(decision) = self.decisions.get_mut(&number) {
            *decision = Some(fate);
        }
    }

    /// Takes a decision, if there is one.
    pub(crate) fn take(&mut self, number: u64) -> Option<Fate> {
        let fate = self.decisions.get(&number).copied()??;
        self.decisions.remove(&number);
        Some(fate)
    }

    /// The record is gone: purged, or its producer has ended.
    pub(crate) fn forget(&mut self, number: u64) {
        self.decisions.remove(&number);
        for topic in self.topics.values_mut() {
            topic.arrived.retain(|(own, _)| *own != number);
        }
    }
}
