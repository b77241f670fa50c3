//! What a producer accepted and what it said of each record, and whether its part of the log fits that.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aioproducer_core::backend::{Accepted, Delivered, Journal, Status};
use aioproducer_history::{Allow, History, Log, LogEntry, ProduceCall, RecordHandle, check_with};

use crate::fnv::Fnv;
use crate::log::LogRecord;
use crate::sync::{Arc, Mutex, lock};

/// The virtual time in nanoseconds. It can be read under any lock, as a runtime's clock cannot.
pub(crate) type Time = Arc<AtomicU64>;

/// The journals of a cluster's producers, in the order of their start.
pub(crate) struct Journals {
    pub(crate) time: Time,
    pub(crate) list: Vec<Arc<ProducerJournal>>,
}

/// The history of one producer.
pub(crate) struct ProducerJournal {
    time: Time,
    /// Its number in the cluster; 0 before it has one.
    producer: AtomicU64,
    inside: Mutex<Inside>,
}

struct Inside {
    history: History,
    /// By number: the record, and whether it has an outcome.
    records: Vec<(RecordHandle, bool)>,
    open: usize,
}

/// A record is known again by its bytes, not by what the producer made of it.
fn content(key: Option<&[u8]>, payload: Option<&[u8]>) -> u64 {
    let mut sum = Fnv::default();
    sum.part(key);
    sum.part(payload);
    sum.sum()
}

impl ProducerJournal {
    pub(crate) fn new(time: Time, delivery_timeout: Duration) -> Self {
        let history = History::new().delivery_timeout(delivery_timeout);
        let inside = Mutex::new(Inside { history, records: Vec::new(), open: 0 });
        Self { time, producer: AtomicU64::new(0), inside }
    }

    /// The producer's number in the cluster.
    pub(crate) fn producer(&self) -> u64 {
        self.producer.load(Ordering::Relaxed)
    }

    pub(crate) fn belongs_to(&self, producer: u64) {
        self.producer.store(producer, Ordering::Relaxed);
    }

    /// How many records have no outcome.
    pub(crate) fn open(&self) -> usize {
        lock(&self.inside).open
    }

    /// The first thing that does not fit, in words. `part` is what the producer wrote, with the names of topics.
    pub(crate) fn finding(&self, part: &[(&str, &LogRecord)], allow: Allow) -> Option<String> {
        let mut log = Log::new();
        for (topic, record) in part {
            let id = content(record.key(), record.payload());
            log.push(topic, record.partition(), record.offset(), LogEntry::record(id).payload(record.payload()));
        }
        let inside = lock(&self.inside);
        let verdict = check_with(&inside.history, &log, allow);
        match verdict.findings().first() {
            Some(finding) => Some(finding.to_string()),
            None if verdict.counts().unknown == 0 => None,
            None => not_produced(&inside, part),
        }
    }

    fn end(&self, record: u64, note: impl FnOnce(&mut History, RecordHandle, Duration)) {
        let at = self.now();
        let inside = &mut *lock(&self.inside);
        let Some((handle, has_ended)) = inside.records.get_mut(record as usize) else { return };
        if !std::mem::replace(has_ended, true) {
            inside.open -= 1;
        }
        note(&mut inside.history, *handle, at);
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.time.load(Ordering::Relaxed))
    }
}

/// A record of the log that is none of those that were accepted.
fn not_produced(inside: &Inside, part: &[(&str, &LogRecord)]) -> Option<String> {
    let accepted: BTreeSet<_> = inside.history.ids().collect();
    let is_other =
        |(topic, record): &&(&str, &LogRecord)| !accepted.contains(&(*topic, content(record.key(), record.payload())));
    let (topic, record) = part.iter().find(is_other)?;
    let (partition, offset) = (record.partition(), record.offset());
    let text = record.payload_str().map_or_else(|| format!("{:?}", record.payload()), |text| format!("{text:?}"));
    Some(format!(
        "NOT PRODUCED {topic}/{partition}@{offset} {text}: no record that was accepted has this key and payload"
    ))
}

impl Journal for ProducerJournal {
    fn accepted(&self, record: Accepted<'_>) -> u64 {
        let mut call = ProduceCall::new(content(record.key, record.payload), record.topic).payload(record.payload);
        if let Some(partition) = record.partition {
            call = call.partition(partition);
        }
        if let Some(key) = record.key {
            call = call.key(key);
        }
        if let Some(timeout) = record.timeout {
            call = call.timeout(timeout);
        }
        let at = self.now();
        let mut inside = lock(&self.inside);
        let handle = inside.history.produce(at, call);
        inside.history.accepted(handle);
        inside.records.push((handle, false));
        inside.open += 1;
        inside.records.len() as u64 - 1
    }

    fn delivered(&self, record: u64, at: Delivered) {
        self.end(record, |history, handle, time| history.delivered(handle, time, at.partition, at.offset()));
    }

    fn failed(&self, record: u64, status: Status) {
        self.end(record, |history, handle, time| history.failed(handle, time, status));
    }

    fn retracted(&self, record: u64) {
        self.end(record, |history, handle, time| history.retracted(handle, time));
    }
}

impl fmt::Debug for ProducerJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerJournal").field("producer", &self.producer()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> ProducerJournal {
        ProducerJournal::new(Time::default(), Duration::from_secs(120))
    }

    fn accept(journal: &ProducerJournal, payload: &str) -> u64 {
        let payload = Some(payload.as_bytes());
        journal.accepted(Accepted { topic: "t", partition: None, key: Some(b"k"), payload, timeout: None })
    }

    fn written(payload: &str, offset: i64) -> LogRecord {
        LogRecord::of(0, offset, Some(b"k"), Some(payload.as_bytes()))
    }

    fn finding(journal: &ProducerJournal, records: &[LogRecord]) -> Option<String> {
        let part: Vec<_> = records.iter().map(|record| ("t", record)).collect();
        journal.finding(&part, Allow::nothing())
    }

    #[test]
    fn what_fits_is_right_and_each_thing_that_does_not_is_named() {
        let deliver = |payloads: &[&str]| {
            let journal = journal();
            for (offset, payload) in (0..).zip(payloads) {
                let record = accept(&journal, payload);
                journal.delivered(record, Delivered::new(0, Some(offset), None));
            }
            journal
        };
        let log = [written("a", 0), written("b", 1)];
        assert_eq!(finding(&deliver(&["a", "b"]), &log), None);
        let said = |payloads: &[&str], log: &[LogRecord]| finding(&deliver(payloads), log).unwrap();
        assert_eq!(said(&["a", "b"], &log[..1]), "LOST ACK t/0@1 \"b\"");
        assert_eq!(said(&["a"], &[written("a", 0), written("a", 1)]), "DUPLICATE t/0@0, t/0@1 \"a\"");
        assert!(said(&["a", "b"], &[written("b", 0), written("a", 1)]).contains("REORDERED"));
        assert!(said(&["a"], &[written("a", 3)]).starts_with("WRONG OFFSET"));
        assert_eq!(
            said(&["a"], &log),
            "NOT PRODUCED t/0@1 \"b\": no record that was accepted has this key and payload"
        );
    }

    #[test]
    fn a_failure_an_open_record_and_a_second_outcome_are_checked() {
        let journal = journal();
        let record = accept(&journal, "a");
        assert_eq!((journal.open(), finding(&journal, &[]).unwrap().as_str()), (1, "NO OUTCOME t \"a\""));
        journal.failed(record, Status::NotPersisted);
        assert_eq!((journal.open(), finding(&journal, &[])), (0, None));
        assert!(finding(&journal, &[written("a", 0)]).unwrap().starts_with("G1a t/0@0 \"a\""));
        journal.retracted(record);
        assert!(finding(&journal, &[]).unwrap().starts_with("SECOND OUTCOME t \"a\""));
    }

    #[test]
    fn an_outcome_that_is_late_is_found() {
        let journal = journal();
        let record = accept(&journal, "a");
        journal.time.store(Duration::from_secs(121).as_nanos() as u64, Ordering::Relaxed);
        journal.failed(record, Status::PossiblyPersisted);
        assert!(finding(&journal, &[]).unwrap().starts_with("LATE TIMEOUT"));
    }
}
