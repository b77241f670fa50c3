//! The topics that have a handle.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{PartitionLoad, Placement};

use crate::coordination::Signals;
use crate::partition::choice::TopicState;
use crate::partition::leaders::Leaders;
use crate::partition::partitioning::Partitioning;
use crate::partition::table::Table;
use crate::partition::watch::{Change, Watch};

/// Room for 536,870,904 topics.
const CHUNKS: usize = 26;

/// The topics that have a handle, by their id. Reading takes no lock.
pub(crate) struct TopicStates {
    states: Table<OnceLock<Arc<TopicState>>, CHUNKS>,
    leaders: OnceLock<Arc<Leaders>>,
    watch: Arc<Watch>,
}

impl TopicStates {
    /// The control thread is to [look](Self::look) when `signals` say so.
    pub(crate) fn new(signals: Arc<Signals>) -> Self {
        Self { states: Table::new(), leaders: OnceLock::new(), watch: Arc::new(Watch::new(signals)) }
    }

    /// The states of a client that replaces another one. Records with a key go on having the partitions that they had: those that are
    /// placed already must not be passed by others of their key.
    pub(crate) fn after(before: &Self, partitioning: &Partitioning, signals: Arc<Signals>) -> Self {
        let states = Self::new(signals);
        for (id, state) in before.states.iter() {
            if let Some(before) = state.get() {
                let id = TopicId(id as u32);
                let state = states.new_state(id, before.name(), partitioning);
                state.inherit(before);
                states.set(id, Arc::new(state));
            }
        }
        states
    }

    /// The state of a topic that gets a handle. All topics have the same `partitioning`.
    pub(crate) fn create(&self, id: TopicId, name: &str, partitioning: &Partitioning) -> Arc<TopicState> {
        let inherited = self.states.get(id.0 as usize).and_then(OnceLock::get);
        inherited.map_or_else(|| Arc::new(self.new_state(id, name, partitioning)), Arc::clone)
    }

    fn new_state(&self, id: TopicId, name: &str, partitioning: &Partitioning) -> TopicState {
        let leaders = || Arc::new(Leaders::new(partitioning.availability_timeout, Instant::now()));
        let leaders = self.leaders.get_or_init(leaders);
        let seed = BuildHasher::hash_one(&RandomState::new(), id.0);
        TopicState::new(name, partitioning.clone(), seed, leaders, &self.watch)
    }

    /// The topic has a handle now.
    pub(crate) fn set(&self, id: TopicId, state: Arc<TopicState>) {
        if let Some(place) = self.states.get_or_default(id.0 as usize) {
            // A topic has one handle.
            let _ = place.set(state);
        }
    }

    pub(crate) fn get(&self, id: TopicId) -> Option<&TopicState> {
        Some(self.states.get(id.0 as usize)?.get()?)
    }

    /// Which partitions have become unavailable or are answered again since the last call, and when to call it again if nothing is
    /// signalled before. It is `None` if no partition has records without an answer and no signal `was_asked` for this call: records
    /// that come one by one, and are answered soon, ask once for many of them.
    pub(crate) fn look(&self, now: Instant, was_asked: bool) -> (Vec<Change>, Option<Instant>) {
        self.watch.begin();
        let mut changes = Vec::new();
        self.topics().for_each(|(_, state)| state.note_silent(now));
        let next = self.topics().filter_map(|(id, state)| state.look(id, now, &mut changes)).min();
        let later = || Some(now + Duration::from_nanos(self.leaders.get().filter(|_| was_asked)?.timeout()));
        let next = next.or_else(later);
        if next.is_some() {
            self.watch.goes_on();
        }
        (changes, next)
    }

    fn topics(&self) -> impl Iterator<Item = (TopicId, &TopicState)> {
        self.states.iter().filter_map(|(id, state)| Some((TopicId(id as u32), &**state.get()?)))
    }

    /// What librdkafka has of each partition.
    pub(crate) fn loads(&self, now: Instant) -> Vec<PartitionLoad> {
        self.topics().flat_map(|(id, state)| state.partition_loads(id, now)).collect()
    }

    /// Decides where a record goes, before it is accepted.
    pub(crate) fn place(&self, topic: TopicId, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        self.get(topic).map_or(Placement::Unknown, |state| state.place(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::load::Answer;
    use crate::partition::partitioner::Partitioner;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn s34_records_that_come_one_by_one_ask_for_a_look_once_in_a_while() {
        let signals = Arc::new(Signals::new(1));
        let states = TopicStates::new(Arc::clone(&signals));
        let partitioning = Partitioning {
            partitioner: Partitioner::Murmur2Random,
            sticky_time: Duration::ZERO,
            sticky_bytes: 1,
            adaptive: true,
            crowd: 100,
            availability_timeout: Some(TIMEOUT),
        };
        let topic = TopicId(0);
        let state = states.create(topic, "t", &partitioning);
        states.set(topic, Arc::clone(&state));
        let mut now = Instant::now();
        let is_asked = || signals.requests(Some(Duration::ZERO)).watch;
        let one_by_one = |now| {
            for _ in 0..100 {
                state.sent(3, 1, || now);
                state.ended(3, 1, Some(Answer { broker: Some(1) }), now);
            }
        };
        one_by_one(now);
        assert!(is_asked());
        assert_eq!(states.look(now, true), (vec![], Some(now + TIMEOUT)));
        one_by_one(now);
        assert!(!is_asked(), "it looks again at its time");
        now += TIMEOUT;
        assert_eq!(states.look(now, false), (vec![], None), "no record waits");
        state.sent(3, 7, || now);
        assert!(is_asked());
        let (changes, next) = states.look(now + TIMEOUT, true);
        assert_eq!(next, Some(now + TIMEOUT * 2));
        let change = Change { topic, partition: 3, leader: Some(1), is_available: false, time: TIMEOUT, records: 7 };
        assert_eq!(changes, [change]);
    }
}
