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

impl Known {
    const fn new(epoch: u32) -> Self {
        Self { epoch, next: 0, batches: VecDeque::new() }
    }
}

/// Who sees a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    ToAll,
    /// Its producer's transaction is open.
    Open(u64),
    /// Its transaction was aborted.
    Aborted,
}

/// The log of a partition. A transaction's end takes an offset, as the broker's marker does, and no consumer gets that.
#[derive(Debug, Default)]
pub(crate) struct PartitionLog {
    entries: Vec<(LogRecord, Shown)>,
    next: i64,
    producers: BTreeMap<u64, Known>,
}

impl PartitionLog {
    /// All records, also those that were aborted.
    pub(crate) fn records(&self) -> impl Iterator<Item = &LogRecord> {
        self.entries.iter().map(|(record, _)| record)
    }

    /// The records that are not aborted.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &LogRecord> {
        self.entries.iter().filter(|(_, shown)| *shown != Shown::Aborted).map(|(record, _)| record)
    }

    /// What a consumer of committed records gets: nothing that is aborted, and nothing behind an open transaction.
    pub(crate) fn committed(&self) -> impl Iterator<Item = &LogRecord> {
        let stable = self.entries.iter().take_while(|(_, shown)| !matches!(shown, Shown::Open(_)));
        stable.filter(|(_, shown)| *shown == Shown::ToAll).map(|(record, _)| record)
    }

    /// Appends a batch. A batch that the broker recognises is not appended again; one without a sequence always is.
    pub(crate) fn append(
        &mut self,
        batch: &[LogRecord],
        sequence: Option<Sequence>,
        is_transactional: bool,
    ) -> Result<Appended, ErrorCode> {
        let base = self.next;
        if let Some(Sequence { producer, epoch, first }) = sequence {
            // Of a producer that it does not know, a broker takes any number.
            let known = self.producers.entry(producer).or_insert(Known { next: first, ..Known::new(epoch) });
            if epoch < known.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if epoch > known.epoch {
                *known = Known::new(epoch);
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
        let shown = match sequence {
            Some(Sequence { producer, .. }) if is_transactional => Shown::Open(producer),
            _ => Shown::ToAll,
        };
        self.entries.extend((base..).zip(batch).map(|(offset, record)| (record.at(offset), shown)));
        self.next += batch.len() as i64;
        Ok(Appended { base, is_duplicate: false })
    }

    /// The producer's transaction ends here; its next one has `epoch`.
    pub(crate) fn end(&mut self, producer: u64, epoch: u32, is_commit: bool) {
        let ended = if is_commit { Shown::ToAll } else { Shown::Aborted };
        for (_, shown) in self.entries.iter_mut().filter(|(_, shown)| *shown == Shown::Open(producer)) {
            *shown = ended;
        }
        self.next += 1;
        let known = self.producers.entry(producer).or_insert(Known::new(epoch));
        if known.epoch < epoch {
            *known = Known::new(epoch);
        }
    }

    /// Forgets what is at `offset` and behind it.
    pub(crate) fn truncate(&mut self, offset: i64) {
        self.entries.retain(|(record, _)| record.offset() < offset);
        self.next = self.next.min(offset);
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

    fn offsets<'a>(records: impl Iterator<Item = &'a LogRecord>) -> Vec<i64> {
        records.map(LogRecord::offset).collect()
    }

    #[test]
    fn a_batch_that_is_recognised_is_not_appended_again() {
        let mut log = PartitionLog::default();
        assert_eq!(log.append(&batch(2), sequence(0, 0), false), new(0));
        assert_eq!(log.append(&batch(3), sequence(0, 2), false), new(2));
        assert_eq!(log.append(&batch(2), sequence(0, 0), false), Ok(Appended { base: 0, is_duplicate: true }));
        assert_eq!(offsets(log.records()), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_gap_and_what_is_too_old_to_be_recognised_is_out_of_order() {
        let mut log = PartitionLog::default();
        for first in 0..=KNOWN_BATCHES as u64 {
            assert_eq!(log.append(&batch(1), sequence(0, first), false), new(first as i64));
        }
        assert_eq!(log.append(&batch(1), sequence(0, 7), false), Err(ErrorCode::OutOfOrderSequenceNumber), "a gap");
        assert_eq!(log.append(&batch(1), sequence(0, 0), false), Err(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(log.append(&batch(1), sequence(0, 1), false), Ok(Appended { base: 1, is_duplicate: true }));
    }

    #[test]
    fn a_new_epoch_begins_anew_and_ends_the_old_one() {
        let mut log = PartitionLog::default();
        assert_eq!(log.append(&batch(1), sequence(0, 0), false), new(0));
        assert_eq!(log.append(&batch(1), sequence(1, 5), false), Err(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(log.append(&batch(1), sequence(1, 0), false), new(1));
        assert_eq!(log.append(&batch(1), sequence(0, 1), false), Err(ErrorCode::InvalidProducerEpoch));
    }

    #[test]
    fn a_producer_that_is_not_known_may_begin_anywhere() {
        let mut log = PartitionLog::default();
        assert_eq!(
            [log.append(&batch(1), sequence(3, 5), false), log.append(&batch(1), sequence(3, 6), false)],
            [new(0), new(1)]
        );
    }

    #[test]
    fn without_a_sequence_each_attempt_is_appended() {
        let mut log = PartitionLog::default();
        assert_eq!([log.append(&batch(1), None, false), log.append(&batch(1), None, false)], [new(0), new(1)]);
    }

    #[test]
    fn a_transaction_s_end_takes_an_offset_and_shows_or_hides_its_records() {
        let mut log = PartitionLog::default();
        assert_eq!(log.append(&batch(2), sequence(0, 0), true), new(0));
        assert_eq!(log.append(&batch(1), None, false), new(2));
        assert_eq!((offsets(log.records()), offsets(log.committed())), (vec![0, 1, 2], vec![]), "it is open");
        log.end(1, 1, true);
        assert_eq!(offsets(log.committed()), [0, 1, 2]);
        assert_eq!(log.append(&batch(1), sequence(0, 2), true), Err(ErrorCode::InvalidProducerEpoch));
        assert_eq!(log.append(&batch(1), sequence(1, 0), true), new(4), "the marker is at 3");
        log.end(1, 2, false);
        assert_eq!(log.append(&batch(1), None, false), new(6));
        assert_eq!((offsets(log.committed()), offsets(log.records())), (vec![0, 1, 2, 6], vec![0, 1, 2, 4, 6]));
        assert_eq!(offsets(log.kept()), [0, 1, 2, 6]);
    }

    #[test]
    fn what_is_truncated_is_gone_and_its_offsets_are_used_again() {
        let mut log = PartitionLog::default();
        assert_eq!([log.append(&batch(2), None, false), log.append(&batch(2), None, false)], [new(0), new(2)]);
        log.truncate(2);
        assert_eq!(log.append(&batch(1), None, false), new(2));
        assert_eq!(offsets(log.records()), [0, 1, 2]);
    }
}
