//! Which topics have several partitions, for records without a key.

use aioproducer_core::TopicId;

use crate::runtime::sync::{AtomicU64, Ordering};

/// Topics of which the backend has said that a record without a key may go to any partition: it is not asked again. So that is
/// remembered although such a topic may be deleted, and made again with a single partition.
pub(super) struct Anywhere(Box<[AtomicU64]>);

impl Anywhere {
    pub(super) fn new(topics: usize) -> Self {
        Self((0..topics.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn has(&self, TopicId(topic): TopicId) -> bool {
        let word = self.0.get(topic as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (topic % 64) & 1 == 1)
    }

    pub(super) fn add(&self, TopicId(topic): TopicId) {
        if let Some(word) = self.0.get(topic as usize / 64) {
            word.fetch_or(1 << (topic % 64), Ordering::Relaxed);
        }
    }
}
