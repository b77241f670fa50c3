//! The topics that have a handle.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use aioproducer_core::TopicId;
use aioproducer_core::backend::{PartitionLoad, Placement};

use crate::partition::choice::{Partitioning, TopicState};
use crate::partition::leaders::Leaders;
use crate::partition::table::Table;

/// Room for 536,870,904 topics.
const CHUNKS: usize = 26;

/// The topics that have a handle, by their id. Reading takes no lock.
pub(crate) struct TopicStates {
    states: Table<OnceLock<Arc<TopicState>>, CHUNKS>,
    leaders: OnceLock<Arc<Leaders>>,
}

impl TopicStates {
    pub(crate) fn new() -> Self {
        Self { states: Table::new(), leaders: OnceLock::new() }
    }

    /// The state of a topic that gets a handle. All topics have the same `partitioning`.
    pub(crate) fn create(&self, id: TopicId, name: &str, partitioning: &Partitioning) -> Arc<TopicState> {
        let leaders = || Arc::new(Leaders::new(partitioning.availability_timeout, Instant::now()));
        let leaders = self.leaders.get_or_init(leaders);
        let seed = BuildHasher::hash_one(&RandomState::new(), id.0);
        Arc::new(TopicState::new(name, partitioning.clone(), seed, leaders))
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

    /// What librdkafka has of each partition.
    pub(crate) fn loads(&self, now: Instant) -> Vec<PartitionLoad> {
        let topics = self.states.iter().filter_map(|(id, state)| Some((TopicId(id as u32), state.get()?)));
        topics.flat_map(|(id, state)| state.partition_loads(id, now)).collect()
    }

    /// Decides where a record goes, before it is accepted.
    pub(crate) fn place(&self, topic: TopicId, key: Option<&[u8]>, value: Option<&[u8]>) -> Placement {
        self.get(topic).map_or(Placement::Unknown, |state| state.place(key, value))
    }
}
