//! Which calls and which records of the log belong together: those of one topic with one id.

use std::ops::Range;
use std::sync::Arc;

use aioproducer_core::backend::Status;

use crate::anomaly::Anomaly;
use crate::finding::{Finding, FoundRecord, Place};
use crate::history::{History, Outcome, Row, TransactionEnd};
use crate::log::{Log, Logged};

/// Records that a finding names at most, and places of one record.
const NAMED: usize = 10;

/// The calls with one id, and the copies in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct SameId<'a> {
    /// Numbers of calls, in the order of the history.
    pub(super) calls: &'a [u32],
    /// By partition and offset.
    pub(super) copies: &'a [Logged],
}

/// A history and a log, joined.
pub(super) struct Index<'a> {
    pub(super) history: &'a History,
    log: &'a Log,
    /// The records of the log, by topic, partition and offset.
    pub(super) records: Vec<Logged>,
    /// The same, by topic, id, partition and offset.
    copies: Vec<Logged>,
    /// Numbers of calls, by topic and id.
    calls: Vec<u32>,
    /// Ranges of both that belong together.
    groups: Vec<(Range<u32>, Range<u32>)>,
    /// Each call's group.
    group_of: Vec<u32>,
    /// The log's number of each of the history's topics.
    topics: Vec<Option<u32>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(history: &'a History, log: &'a Log) -> Self {
        let topics: Vec<_> = history.topics.names().iter().map(|name| log.topics.find(name)).collect();
        let records = log.records();
        let mut copies = records.clone();
        copies.sort_by_key(|record| (record.topic, record.id));
        let calls = (0..history.rows.len() as u32).collect();
        let mut index = Self { history, log, records, copies, calls, groups: Vec::new(), group_of: Vec::new(), topics };
        index.join();
        index
    }

    /// The log's and the history's topic, and the id. Topics that the log does not have come last.
    fn key(&self, call: u32) -> (u32, u32, u64) {
        let row = self.row(call);
        (self.topics[row.topic as usize].unwrap_or(u32::MAX), row.topic, row.id)
    }

    fn join(&mut self) {
        let mut calls = std::mem::take(&mut self.calls);
        calls.sort_unstable_by_key(|&call| (self.key(call), call));
        self.group_of = vec![0; calls.len()];
        let (mut call, mut copy) = (0, 0);
        while call < calls.len() {
            let first = self.key(calls[call]);
            let wanted = (first.0, first.2);
            let end = call + calls[call..].iter().take_while(|&&other| self.key(other) == first).count();
            let here = |record: &Logged| (record.topic, record.id);
            copy += self.copies[copy..].iter().take_while(|record| here(record) < wanted).count();
            let behind = copy + self.copies[copy..].iter().take_while(|record| here(record) == wanted).count();
            for &member in &calls[call..end] {
                self.group_of[member as usize] = self.groups.len() as u32;
            }
            self.groups.push((call as u32..end as u32, copy as u32..behind as u32));
            (call, copy) = (end, behind);
        }
        self.calls = calls;
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = SameId<'_>> {
        (0..self.groups.len()).map(|number| self.group(number))
    }

    fn group(&self, number: usize) -> SameId<'_> {
        let (calls, copies) = &self.groups[number];
        let range = |range: &Range<u32>| range.start as usize..range.end as usize;
        SameId { calls: &self.calls[range(calls)], copies: &self.copies[range(copies)] }
    }

    pub(super) fn group_of(&self, call: u32) -> SameId<'_> {
        self.group(self.group_of[call as usize] as usize)
    }

    pub(super) fn row(&self, call: u32) -> &'a Row {
        &self.history.rows[call as usize]
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (u32, &'a Row)> {
        (0..).zip(&self.history.rows)
    }

    /// The end of a call's transaction; `None` if it has no transaction.
    pub(super) fn transaction(&self, row: &Row) -> Option<TransactionEnd> {
        row.transaction.map(|handle| self.history.transactions[handle.index()])
    }

    /// The copy that is where the producer says that the record is.
    pub(super) fn named_copy<'b>(&self, row: &Row, copies: &'b [Logged]) -> Option<&'b Logged> {
        let Some(Outcome::Delivered { partition, offset: Some(offset) }) = row.outcome() else { return None };
        let found = copies.binary_search_by_key(&(partition, offset), |copy| (copy.partition, copy.offset)).ok()?;
        Some(&copies[found])
    }

    /// Whether the record may have been deleted from the log.
    pub(super) fn is_cut_off(&self, row: &Row) -> bool {
        let Some(topic) = self.topics[row.topic as usize] else { return false };
        let partition = match row.outcome() {
            Some(Outcome::Delivered { partition, offset: Some(offset) }) => {
                return self.log.begin(topic, partition).is_some_and(|begin| offset < begin);
            }
            Some(Outcome::Delivered { partition, .. }) => Some(partition),
            _ => row.partition,
        };
        match partition {
            Some(partition) => self.log.begin(topic, partition).is_some(),
            None => self.log.is_cut(topic),
        }
    }

    /// A record, with the place that the producer named, if it has one.
    pub(super) fn said(&self, call: u32) -> FoundRecord {
        let row = self.row(call);
        let place = match row.outcome() {
            Some(Outcome::Delivered { partition, offset }) => Some((partition, offset)),
            _ => row.partition.map(|partition| (partition, None)),
        };
        self.found(row, place.into_iter())
    }

    /// A record, with the places of copies.
    pub(super) fn at(&self, call: u32, copies: &[Logged]) -> FoundRecord {
        let places = copies.iter().map(|copy| (copy.partition, Some(copy.offset)));
        self.found(self.row(call), places)
    }

    /// The beginning of a list of records.
    pub(super) fn named(&self, calls: &[u32]) -> Vec<FoundRecord> {
        calls.iter().take(NAMED).map(|&call| self.said(call)).collect()
    }

    fn found(&self, row: &Row, places: impl Iterator<Item = (i32, Option<i64>)>) -> FoundRecord {
        let topic = self.history.topics.name(row.topic);
        let place = |(partition, offset)| Place { topic: Arc::clone(topic), partition, offset };
        FoundRecord {
            id: row.id,
            topic: Arc::clone(topic),
            text: self.history.texts.get(&row.text).map(Into::into),
            places: places.take(NAMED).map(place).collect(),
        }
    }
}

/// A finding about one record.
pub(super) fn finding(anomaly: Anomaly, record: FoundRecord, detail: impl Into<String>) -> Finding {
    Finding { anomaly, records: vec![record], detail: detail.into() }
}

/// Whether the producer says that the record is in the log.
pub(super) fn is_written(row: &Row) -> bool {
    matches!(row.outcome(), Some(Outcome::Delivered { .. } | Outcome::Failed(Status::Persisted)))
}

/// Whether the producer says that the record is not in the log.
pub(super) fn is_absent(row: &Row) -> bool {
    matches!(row.outcome(), Some(Outcome::Refused | Outcome::Retracted | Outcome::Failed(Status::NotPersisted)))
}
