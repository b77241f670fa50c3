//! What a client knows of topics, and which partition a key leads to.

use std::collections::BTreeMap;

use aioproducer_core::backend::Placement;
use aioproducer_core::{Instant, TopicId};

use crate::cluster::{Shared, State};
use crate::sync::{Arc, Mutex, lock};

/// A topic's metadata, as the client has read them last.
#[derive(Clone)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    /// The leader of each partition.
    pub(super) leaders: Vec<Option<i32>>,
    read_at: Instant,
}

impl Topic {
    pub(super) fn has(&self, partition: i32) -> bool {
        usize::try_from(partition).is_ok_and(|partition| partition < self.leaders.len())
    }

    pub(super) fn leader(&self, partition: i32) -> Option<i32> {
        self.leaders.get(usize::try_from(partition).ok()?).copied()?
    }

    /// The partition that a key leads to.
    pub(super) fn partition_of(&self, key: &[u8]) -> Option<i32> {
        Some(crc32(key).checked_rem(self.leaders.len() as u32)? as i32)
    }
}

/// Shared by the client's task and the threads that produce.
#[derive(Default)]
pub(super) struct Known(Mutex<BTreeMap<TopicId, Topic>>);

impl Known {
    /// Where a record goes, by what is known of its topic. `name` is asked for at the first record.
    pub(super) fn place<'a>(
        &self,
        cluster: &Shared,
        id: TopicId,
        name: impl FnOnce() -> Option<&'a str>,
        key: Option<&[u8]>,
    ) -> Placement {
        let by_key = |topic: &Topic| match key {
            None => Placement::Any,
            Some(key) => topic.partition_of(key).map_or(Placement::Unknown, Placement::Partition),
        };
        let known = lock(&self.0).get(&id).map(by_key);
        let learn = || {
            let name = name()?;
            let state = cluster.lock();
            self.learn(&state, state.seen(), id, name)
        };
        known.or_else(|| learn().as_ref().map(by_key)).unwrap_or(Placement::Unknown)
    }

    pub(super) fn get(&self, id: TopicId) -> Option<Topic> {
        lock(&self.0).get(&id).cloned()
    }

    /// Reads a topic's metadata; `None` if there is no such topic.
    pub(super) fn learn(&self, state: &State, now: Instant, id: TopicId, name: &str) -> Option<Topic> {
        let found = state.topology.topics.get(name)?;
        let leaders = found.partitions.iter().map(|partition| partition.leader).collect();
        let topic = Topic { name: Arc::clone(&found.name), leaders, read_at: now };
        lock(&self.0).insert(id, topic.clone());
        Some(topic)
    }

    /// Reads again what is older than `oldest`.
    pub(super) fn refresh(&self, state: &State, now: Instant, oldest: Instant) {
        let is_old = |topic: &Topic| topic.read_at < oldest;
        let old: Vec<_> = {
            let topics = lock(&self.0);
            topics.iter().filter(|(_, topic)| is_old(topic)).map(|(id, topic)| (*id, Arc::clone(&topic.name))).collect()
        };
        for (id, name) in old {
            self.learn(state, now, id, &name);
        }
    }
}

/// The checksum by which librdkafka's default partitioner, `consistent_random`, chooses.
fn crc32(key: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !key.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_zlibs() {
        assert_eq!((crc32(b"123456789"), crc32(b"")), (0xcbf4_3926, 0));
    }
}
