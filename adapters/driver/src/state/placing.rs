//! Which lane a record has, before it is accepted.

use aioproducer_core::backend::Placement;
use aioproducer_core::{Lane, TopicId};

use super::shared::Shared;
use crate::record::Record;

impl Shared {
    /// The lane of a record that may be accepted, and what it counts for in the pool; `None` if it never can be. `transaction` says
    /// whether it comes through a transaction.
    #[inline(always)]
    pub(crate) fn check(&self, record: &mut Record<'_>, transaction: bool) -> Option<(Lane, usize)> {
        let (topic, size) = self.rules.check(&self.topics, &self.observer, record, transaction)?;
        let lane = match record.get_partition() {
            None if record.get_key().is_some() || !self.anywhere.has(topic) => self.place(topic, record),
            partition => Lane::new(topic, partition),
        };
        Some((lane, size))
    }

    /// The lane of a record that names no partition.
    #[inline(never)]
    fn place(&self, topic: TopicId, record: &Record<'_>) -> Lane {
        let (key, value) = (record.get_key(), record.get_payload());
        match self.backend().map_or(Placement::Unknown, |backend| backend.place(topic, key, value)) {
            Placement::Partition(partition) => Lane::new(topic, Some(partition)),
            Placement::Any => {
                if key.is_none() {
                    self.anywhere.add(topic);
                }
                Lane::new(topic, None)
            }
            _ => Lane::unplaced(topic),
        }
    }
}
