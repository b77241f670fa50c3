//! Random legal histories: plain data, from which a history and a log are made.

use std::time::Duration;

use aioproducer_history::{
    Allow, History, Log, LogEntry, Operation, ProduceCall, RecordHandle, Status, TransactionHandle, Verdict, check_with,
};
use proptest::collection::vec;
use proptest::prelude::*;

const TOPICS: [&str; 2] = ["orders", "payments"];

pub(crate) const TIMEOUT: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered { partition: i32, offset: Option<i64> },
    Failed(Status),
    Refused,
    Retracted,
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Partition,
    Key(u8),
    Any,
}

/// A record; times are microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Rec {
    pub(crate) topic: usize,
    pub(crate) partition: i32,
    pub(crate) route: Route,
    pub(crate) transaction: Option<usize>,
    pub(crate) called: u64,
    pub(crate) accepted: u64,
    pub(crate) ended: u64,
    pub(crate) ends: Vec<End>,
    pub(crate) handed_back: Option<String>,
}

/// A record of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) topic: usize,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) id: usize,
    pub(crate) payload: String,
    pub(crate) is_visible: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    Committed,
    Aborted,
    InDoubt,
    Open,
}

#[derive(Clone, Debug)]
pub(crate) struct Flush {
    pub(crate) operation: Operation<'static>,
    pub(crate) begun: u64,
    pub(crate) returned: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Case {
    /// By id.
    pub(crate) records: Vec<Rec>,
    pub(crate) log: Vec<Line>,
    pub(crate) transactions: Vec<Commit>,
    pub(crate) flushes: Vec<Flush>,
    pub(crate) slots: Vec<(u64, usize)>,
}

/// What a case is made of, for each record.
#[derive(Clone, Debug)]
struct Seed {
    topic: usize,
    partition: i32,
    route: u8,
    end: u8,
    has_offset: bool,
    latency: u64,
    overlaps: bool,
    is_swapped: bool,
    in_transaction: bool,
    commit: u8,
    beside: u8,
}

fn seed() -> impl Strategy<Value = Seed> {
    let place = (0..2_usize, 0..3_i32, 0..3_u8, 0..12_u8, any::<bool>());
    let time = (0..200_u64, prop::bool::weighted(0.3), any::<bool>());
    let rest = (prop::bool::weighted(0.4), 0..4_u8, 0..12_u8);
    (place, time, rest).prop_map(|(place, time, rest)| {
        let ((topic, partition, route, end, has_offset), (latency, overlaps, is_swapped)) = (place, time);
        let (in_transaction, commit, beside) = rest;
        Seed { topic, partition, route, end, has_offset, latency, overlaps, is_swapped, in_transaction, commit, beside }
    })
}

pub(crate) fn cases() -> impl Strategy<Value = Case> {
    vec(seed(), 1..40).prop_map(|seeds| Case::new(&seeds))
}

pub(crate) fn payload(id: usize) -> String {
    format!("order {id}")
}

impl Case {
    fn new(seeds: &[Seed]) -> Self {
        let mut case = Self::default();
        let mut open = None;
        for (id, seed) in seeds.iter().enumerate() {
            open = seed.in_transaction.then(|| open.unwrap_or_else(|| case.begin(seed.commit)));
            let next_overlaps = seeds.get(id + 1).is_some_and(|next| next.overlaps);
            let called = 10 * id as u64;
            let accepted = called + if next_overlaps { 12 } else { 1 };
            let route = match seed.route {
                0 => Route::Partition,
                1 => Route::Key(seed.partition as u8),
                _ => Route::Any,
            };
            let end = case.end(seed, open);
            case.records.push(Rec {
                topic: seed.topic,
                partition: seed.partition,
                route,
                transaction: open,
                called,
                accepted,
                ended: accepted + seed.latency,
                handed_back: matches!(end, End::Failed(_) | End::Retracted).then(|| payload(id)),
                ends: vec![end],
            });
        }
        case.write(seeds);
        case.add_calls(seeds);
        case
    }

    fn begin(&mut self, commit: u8) -> usize {
        self.transactions.push(match commit {
            0 => Commit::Committed,
            1 => Commit::Aborted,
            2 => Commit::InDoubt,
            _ => Commit::Open,
        });
        self.transactions.len() - 1
    }

    fn end(&self, seed: &Seed, transaction: Option<usize>) -> End {
        let delivered = End::Delivered { partition: seed.partition, offset: None };
        let end = match seed.end {
            0 => End::Failed(Status::NotPersisted),
            1 | 2 => End::Failed(Status::PossiblyPersisted),
            3 => End::Failed(Status::Persisted),
            4 => End::Refused,
            5 => End::Retracted,
            6 => End::Dropped,
            _ => delivered,
        };
        let is_committed = transaction.is_some_and(|number| self.transactions[number] == Commit::Committed);
        // A commit fails if a record has failed.
        if is_committed && matches!(end, End::Failed(_)) { delivered } else { end }
    }

    /// Writes the log, in the order of the calls; calls that overlap may change places.
    fn write(&mut self, seeds: &[Seed]) {
        let mut order: Vec<_> = (0..seeds.len()).filter(|&id| self.is_written(id, &seeds[id])).collect();
        let mut at = 1;
        while at < order.len() {
            let (before, id) = (order[at - 1], order[at]);
            if before + 1 == id && seeds[id].overlaps && seeds[id].is_swapped {
                order.swap(at - 1, at);
                at += 1;
            }
            at += 1;
        }
        for id in order {
            let Rec { topic, partition, transaction, .. } = self.records[id];
            let offset = self.next_offset(topic, partition);
            let is_visible = transaction.is_none_or(|number| self.is_visible(number));
            self.log.push(Line { topic, partition, offset, id, payload: payload(id), is_visible });
            if let End::Delivered { offset: said, .. } = &mut self.records[id].ends[0] {
                *said = seeds[id].has_offset.then_some(offset);
            }
        }
    }

    fn is_written(&self, id: usize, seed: &Seed) -> bool {
        match self.records[id].ends[0] {
            End::Delivered { .. } | End::Failed(Status::Persisted) => true,
            End::Refused | End::Retracted | End::Failed(Status::NotPersisted) => false,
            End::Dropped | End::Failed(_) => seed.is_swapped,
        }
    }

    /// Of transactions in doubt, every other one was committed.
    fn is_visible(&self, transaction: usize) -> bool {
        match self.transactions[transaction] {
            Commit::Committed => true,
            Commit::InDoubt => transaction.is_multiple_of(2),
            Commit::Aborted | Commit::Open => false,
        }
    }

    /// A gap before each record, as markers leave one.
    pub(crate) fn next_offset(&self, topic: usize, partition: i32) -> i64 {
        let lines = self.log.iter().filter(|line| (line.topic, line.partition) == (topic, partition));
        lines.map(|line| line.offset + 2).max().unwrap_or(0)
    }

    /// Flushes, observations of slots, and a close.
    fn add_calls(&mut self, seeds: &[Seed]) {
        for (id, seed) in seeds.iter().enumerate() {
            let (begun, observed) = (10 * id as u64 + 5, 10 * id as u64 + 7);
            let operation = match seed.beside {
                0 => Operation::Flush,
                1 => Operation::FlushTopic(TOPICS[seed.topic]),
                2 => Operation::FlushPartition(TOPICS[seed.topic], seed.partition),
                3 => Operation::Purge,
                4 => {
                    let open = |record: &&Rec| record.called <= observed && record.ended > observed;
                    self.slots.push((observed, self.records.iter().filter(open).count()));
                    continue;
                }
                _ => continue,
            };
            let ended = self.meant(operation, begun).map(|record| record.ended).max();
            self.flushes.push(Flush { operation, begun, returned: ended.unwrap_or(begun).max(begun) });
        }
        let begun = 10 * seeds.len() as u64 + 20;
        let returned = self.records.iter().map(|record| record.ended).max().unwrap_or(begun).max(begun);
        self.flushes.push(Flush { operation: Operation::Close, begun, returned });
        self.slots.push((returned, 0));
    }

    /// The records that a flush is about.
    pub(crate) fn meant(&self, operation: Operation<'static>, begun: u64) -> impl Iterator<Item = &Rec> {
        self.records.iter().filter(move |record| {
            let is_meant = match operation {
                Operation::FlushTopic(topic) => TOPICS[record.topic] == topic,
                Operation::FlushPartition(topic, partition) => {
                    TOPICS[record.topic] == topic && record.partition == partition && record.route == Route::Partition
                }
                _ => true,
            };
            let is_accepted = record.ends.first() != Some(&End::Refused);
            is_meant && is_accepted && record.accepted < begun && record.ends.first() != Some(&End::Dropped)
        })
    }

    pub(crate) fn verdict(&self) -> Verdict {
        check_with(&self.history(), &self.log(), Allow::nothing())
    }

    pub(crate) fn log(&self) -> Log {
        let mut log = Log::new();
        for Line { topic, partition, offset, id, payload, is_visible } in &self.log {
            let entry = LogEntry::record(*id as u64).payload(payload).committed(*is_visible);
            log.push(TOPICS[*topic], *partition, *offset, entry);
        }
        log
    }

    /// Notes everything in the order of time.
    pub(crate) fn history(&self) -> History {
        let mut history = History::new().delivery_timeout(micros(TIMEOUT));
        let transactions: Vec<_> = self.transactions.iter().map(|_| history.begin_transaction()).collect();
        let mut handles: Vec<Option<RecordHandle>> = vec![None; self.records.len()];
        let mut flushes = vec![None; self.flushes.len()];
        for (at, event) in self.events() {
            match event {
                Event::Called(id) => {
                    handles[id] = Some(self.records[id].produce(id, &transactions, &mut history));
                }
                Event::Accepted(id) => history.accepted(handles[id].expect("it was called")),
                Event::Ended(id) => {
                    let handle = handles[id].expect("it was called");
                    self.records[id].ends.iter().for_each(|end| note(&mut history, handle, at, *end));
                    if let Some(payload) = &self.records[id].handed_back {
                        history.handed_back(handle, payload);
                    }
                }
                Event::Begun(index) => flushes[index] = Some(history.begin(at, self.flushes[index].operation)),
                Event::Returned(index) => history.returned(flushes[index].expect("it began"), at),
                Event::Slots(in_use) => history.slots_in_use(at, in_use),
            }
        }
        for (handle, commit) in transactions.into_iter().zip(&self.transactions) {
            match commit {
                Commit::Committed => history.committed(handle),
                Commit::Aborted => history.aborted(handle),
                Commit::InDoubt => history.in_doubt(handle),
                Commit::Open => {}
            }
        }
        history
    }

    fn events(&self) -> Vec<(Duration, Event)> {
        let mut events = Vec::new();
        for (id, record) in self.records.iter().enumerate() {
            events.push((record.called, Event::Called(id)));
            if record.ends.first() != Some(&End::Refused) {
                events.push((record.accepted, Event::Accepted(id)));
            }
            if !record.ends.is_empty() {
                events.push((record.ended, Event::Ended(id)));
            }
        }
        for (index, flush) in self.flushes.iter().enumerate() {
            events.push((flush.begun, Event::Begun(index)));
            events.push((flush.returned, Event::Returned(index)));
        }
        events.extend(self.slots.iter().map(|(at, in_use)| (*at, Event::Slots(*in_use))));
        // Of one time: calls before outcomes, and those before what is asked of the producer.
        events.sort_by_key(|(at, event)| (*at, event.rank()));
        events.into_iter().map(|(at, event)| (micros(at), event)).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Called(usize),
    Accepted(usize),
    Ended(usize),
    Begun(usize),
    Returned(usize),
    Slots(usize),
}

impl Event {
    fn rank(self) -> u8 {
        match self {
            Self::Called(_) => 0,
            Self::Accepted(_) => 1,
            Self::Ended(_) => 2,
            Self::Begun(_) => 3,
            Self::Returned(_) => 4,
            Self::Slots(_) => 5,
        }
    }
}

impl Rec {
    fn produce(&self, id: usize, transactions: &[TransactionHandle], history: &mut History) -> RecordHandle {
        let (payload, key) = (payload(id), if let Route::Key(key) = self.route { vec![key] } else { Vec::new() });
        let mut call = ProduceCall::new(id as u64, TOPICS[self.topic]).payload(&payload);
        match self.route {
            Route::Partition => call = call.partition(self.partition),
            Route::Key(_) => call = call.key(&key),
            Route::Any => {}
        }
        if let Some(transaction) = self.transaction {
            call = call.transaction(transactions[transaction]);
        }
        history.produce(micros(self.called), call)
    }
}

fn note(history: &mut History, record: RecordHandle, at: Duration, end: End) {
    match end {
        End::Delivered { partition, offset } => history.delivered(record, at, partition, offset),
        End::Failed(status) => history.failed(record, at, status),
        End::Refused => history.refused(record, at),
        End::Retracted => history.retracted(record, at),
        End::Dropped => history.dropped(record, at),
    }
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

proptest! {
    #[test]
    fn a_random_legal_history_is_right(case in cases()) {
        let verdict = case.verdict();
        prop_assert!(verdict.is_right(), "{verdict}");
        prop_assert_eq!(verdict.counts().calls, case.records.len());
        prop_assert_eq!(verdict.counts().log, case.log.len());
        prop_assert_eq!(verdict.counts().unknown, 0);
    }

    #[test]
    fn the_order_in_which_the_log_is_read_does_not_matter(case in cases(), turn in 0..40_usize, dropped in 0..40_usize) {
        let mut case = case;
        if !case.log.is_empty() {
            let dropped = dropped % case.log.len();
            case.log.remove(dropped);
        }
        let expected = case.verdict();
        if !case.log.is_empty() {
            let turn = turn % case.log.len();
            case.log.rotate_left(turn);
        }
        prop_assert_eq!(case.verdict(), expected);
    }
}
