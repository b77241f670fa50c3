//! The log of a partition, with a broker's rules for idempotent producers.

use std::collections::{BTreeMap, VecDeque};

use aioproducer_core::backend::ErrorCode;

use super::LogRecord;

/// The batches of a producer that a broker can recognise, its newest ones.
const KNOWN_BATCHES: usize = 5;

/// What identifies the batch of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) producer: u64,
    pub(crate) epoch: u32,
    /// The sequence number of the batch's first record.
    pub(crate) first: u64,
}

/// Where a batch is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// The offset of its first record.
    pub(crate) base: i64,
    /// It was there before.
    pub(crate) is_duplicate: bool,
}

/// What a broker knows of an idempotent producer.
#[derive(Debug)]
struct Known {
    epoch: u32,
    next: u64,
    /// First sequence number, number of records, and first offset.
    batches: VecDeque<(u64, usize, i64)>,
}

/// The log of a partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionLog {
    records: Vec<LogRecord>,
    producers: BTreeMap<u64, Known>,
}

impl PartitionLog {
    pub(crate) fn records(&self) -> &[LogRecord] {
        &self.records
    }

    /// Appends a batch. A batch that the broker recognises is not appended again; one without a sequence always is.
    pub(crate) fn append(&mut self, batch: &[LogRecord], sequence: Option<Sequence>) -> Result<Appended, ErrorCode> {
        let base = self.records.len() as i64;
        if let Some(Sequence { producer, epoch, first }) = sequence {
            let known = self.producers.entry(producer).or_insert(Known { epoch, next: 0, batches: VecDeque::new() });
            if epoch < known.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if epoch > known.epoch {
                *known = Known { epoch, next: 0, batches: VecDeque::new() };
            }
            let same = known.batches.iter().find(|(start, len, _)| (*start, *len) == (first, batch.len()));
            if let Some((.., base)) = same {
                return Ok(Appended { base: *base, is_duplicate: true });
            }
            if first != known.next {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            known.next += batch.len() as u64;
            known.batches.push_back((first, batch.len(), base));
            if known.batches.len() > KNOWN_BATCHES {
                known.batches.pop_front();
            }
        }
        let numbered = (base..).zip(batch).map(|(offset, record)| record.at(offset));
        self.records.extend(numbered);
        Ok(Appended { base, is_duplicate: false })
    }
}

#[cfg(test)]
mod tests {
    use aioproducer_core::backend::Message;
    use aioproducer_core::{Lane, Record, TopicId};

    use super::*;

    struct Empty;

    impl Record for Empty {
        fn lane(&self) -> Lane {
            Lane::new(TopicId(0), None)
        }

        fn size(&self) -> usize {
            0
        }
    }

    impl Message for Empty {
        fn payload(&self) -> Option<&[u8]> {
            None
        }

        fn key(&self) -> Option<&[u8]> {
            None
        }

        fn timestamp(&self) -> Option<i64> {
            None
        }

        fn header_count(&self) -> usize {
            0
        }

        fn header(&self, _: usize) -> Option<(&str, Option<&[u8]>)> {
            None
        }
    }

    fn batch(len: usize) -> Vec<LogRecord> {
        (0..len).map(|_| LogRecord::copy(&Empty, 0, 0)).collect()
    }

    fn sequence(epoch: u32, first: u64) -> Option<Sequence> {
        Some(Sequence { producer: 1, epoch, first })
    }

    fn new(base: i64) -> Result<Appended, ErrorCode> {
        Ok(Appended { base, is_duplicate: false })
    }

    #[test]
    fn a_batch_that_is_recognised_is_not_appended_again() {
        let mut log = PartitionLog::default();
        assert_eq!(log.append(&batch(2), sequence(0, 0)), new(0));
        assert_eq!(log.append(&batch(3), sequence(0, 2)), new(2));
        assert_eq!(log.append(&batch(2), sequence(0, 0)), Ok(Appended { base: 0, is_duplicate: true }));
        assert_eq!(log.records().iter().map(LogRecord::offset).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_gap_and_what_is_too_old_to_be_recognised_are_out_of_order() {
        let mut log = PartitionLog::default();
        assert_eq!(log.append(&batch(1), sequence(0, 1)), Err(ErrorCode::OutOfOrderSequenceNumber));
        for first in 0..=KNOWN_BATCHES as u64 {
            assert_eq!(log.append(&batch(1), sequence(0, first)), new(first as i64));
        }
        assert_eq!(log.append(&batch(1), sequence(0, 0)), Err(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(log.append(&batch(1), sequence(0, 1)), Ok(Appended { base: 1, is_duplicate: true }));
    }

    #[test]
    fn a_new_epoch_begins_anew_and_ends_the_old_one() {
        let mut log = PartitionLog::default();
        assert_eq!(log.append(&batch(1), sequence(0, 0)), new(0));
        assert_eq!(log.append(&batch(1), sequence(1, 0)), new(1));
        assert_eq!(log.append(&batch(1), sequence(0, 1)), Err(ErrorCode::InvalidProducerEpoch));
    }

    #[test]
    fn without_a_sequence_each_attempt_is_appended() {
        let mut log = PartitionLog::default();
        assert_eq!([log.append(&batch(1), None), log.append(&batch(1), None)], [new(0), new(1)]);
    }
}
