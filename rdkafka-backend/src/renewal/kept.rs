//! The records that an old client has given back, for the new one.

use aioproducer_core::backend::Failure;
use aioproducer_core::{BatchLimits, CutReason, Lane, MessageBatch, Record, SlotId};

use super::numbered::Numbered;

/// Records of a batch, so that a batch stays in the processor's cache.
const BATCH: usize = 1024;

const UNLIMITED: BatchLimits = BatchLimits { records: u32::MAX, bytes: usize::MAX };

/// A record that was not persisted.
pub(super) struct Kept<R> {
    pub(super) slot: SlotId,
    pub(super) record: Numbered<R>,
    /// Its outcome, if it is not sent again.
    pub(super) failure: Failure,
}

/// All of them. They go lane by lane, each lane in the order of its hand-offs. Those without a place go first: placed ones of their
/// topic were handed off after them.
pub(super) struct KeptRecords<R> {
    /// The next one is the last.
    records: Vec<Kept<R>>,
    is_sorted: bool,
}

impl<R> Default for KeptRecords<R> {
    fn default() -> Self {
        Self { records: Vec::new(), is_sorted: true }
    }
}

impl<R: Record> KeptRecords<R> {
    pub(super) fn keep(&mut self, kept: Kept<R>) {
        self.records.push(kept);
        self.is_sorted = false;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Moves the next records of one lane to the end of `into`.
    pub(super) fn take(&mut self, into: &mut Vec<(SlotId, Numbered<R>)>) -> Option<MessageBatch> {
        if !self.is_sorted {
            let place = |lane: Lane| (!lane.is_unplaced(), lane);
            self.records
                .sort_unstable_by_key(|kept| std::cmp::Reverse((place(kept.record.lane()), kept.record.number)));
            self.is_sorted = true;
        }
        let lane = self.records.last()?.record.lane();
        let same = self.records.iter().rev().take(BATCH).take_while(|kept| kept.record.lane() == lane).count();
        let taken = self.records.drain(self.records.len() - same..).rev();
        let first = into.len();
        into.extend(taken.map(|kept| (kept.slot, kept.record)));
        let sizes = into[first..].iter().map(|(_, record)| (lane, record.size()));
        MessageBatch::create(UNLIMITED, lane, CutReason::Flush, sizes).ok()
    }

    /// Takes all of them out, in the same order.
    pub(super) fn take_all(&mut self) -> Vec<Kept<R>> {
        let mut all = std::mem::take(&mut self.records);
        all.sort_unstable_by_key(|kept| kept.record.number);
        self.is_sorted = true;
        all
    }
}

#[cfg(test)]
mod tests {
    use aioproducer_core::TopicId;
    use aioproducer_core::backend::{FailureKind, Status};

    use super::*;

    struct Rec(Lane);

    impl Record for Rec {
        fn lane(&self) -> Lane {
            self.0
        }

        fn size(&self) -> usize {
            10
        }
    }

    fn kept(lane: Lane, number: u64) -> Kept<Rec> {
        let failure = Failure::new(FailureKind::Purged, Status::NotPersisted, None, "");
        Kept { slot: SlotId::new(number as u32, 1), record: Numbered { record: Rec(lane), number }, failure }
    }

    #[test]
    fn s45_kept_records_go_lane_by_lane_in_the_order_of_their_hand_offs() {
        let [a, b] = [0, 1].map(|partition| Lane::new(TopicId(0), Some(partition)));
        let unplaced = Lane::unplaced(TopicId(0));
        let mut all = KeptRecords::default();
        for (lane, number) in [(b, 7), (a, 9), (b, 3), (a, 4), (unplaced, 1), (b, 5), (unplaced, 0)] {
            all.keep(kept(lane, number));
        }
        let mut order = Vec::new();
        loop {
            let mut records = Vec::new();
            let Some(batch) = all.take(&mut records) else { break };
            assert_eq!((batch.len(), batch.bytes()), (records.len(), 10 * records.len()));
            assert!(records.iter().all(|(_, record)| record.lane() == batch.lane()));
            order.push((batch.lane(), records.iter().map(|(_, record)| record.number).collect::<Vec<_>>()));
        }
        assert_eq!(order, [(unplaced, vec![0, 1]), (a, vec![4, 9]), (b, vec![3, 5, 7])]);
        assert!(all.is_empty());
    }

    #[test]
    fn a_batch_is_small_and_the_rest_of_its_lane_follows() {
        let lane = Lane::new(TopicId(0), None);
        let mut all = KeptRecords::default();
        (0..BATCH as u64 + 5).rev().for_each(|number| all.keep(kept(lane, number)));
        let mut records = Vec::new();
        let lengths: Vec<_> = std::iter::from_fn(|| all.take(&mut records)).map(|batch| batch.len()).collect();
        assert_eq!(lengths, [BATCH, 5]);
        assert!(records.iter().map(|(_, record)| record.number).eq(0..BATCH as u64 + 5));
    }
}
