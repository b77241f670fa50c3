//! A mock driver that checks the outcome of every record, and helpers to wait and to read records back.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use aioproducer_core::backend::{
    Answer, Backend, Call, CallError, CallId, Connect, Copied, Delivered, Driver, Failure, Message, Outcome, Report,
    Request, Status, Trouble, Unsent,
};
use aioproducer_core::{BatchLimits, CutReason, Lane, MessageBatch, Record, SlotId, TopicId};
use aioproducer_rdkafka::{ClientConfig, ConfigError, EmbeddedBroker, Librdkafka};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{Offset, TopicPartitionList};

pub(crate) const TOPIC: &str = "t";
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) type Header = (String, Option<Vec<u8>>);

/// Bytes that are overwritten before they are freed, so a late reader does not see the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Vec<u8>);

impl Drop for Payload {
    fn drop(&mut self) {
        self.0.fill(0xdd);
        std::hint::black_box(&self.0);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) id: u64,
    pub(crate) topic: u32,
    pub(crate) partition: Option<i32>,
    pub(crate) placed: bool,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Payload>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Vec<Header>,
}

impl Rec {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }.payload(id.to_string())
    }

    pub(crate) fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = Some(Payload(payload.into()));
        self
    }

    pub(crate) fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn to(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// As if the backend had placed it there.
    pub(crate) fn placed(mut self, partition: i32) -> Self {
        self.placed = true;
        self.to(partition)
    }

    pub(crate) fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.into(), value.map(<[u8]>::to_vec)));
        self
    }
}

impl Record for Rec {
    fn is_placed(&self) -> bool {
        self.placed
    }

    fn lane(&self) -> Lane {
        Lane::new(TopicId(self.topic), self.partition)
    }

    fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, |payload| payload.0.len())
    }
}

impl Message for Rec {
    fn payload(&self) -> Option<&[u8]> {
        self.payload.as_ref().map(|payload| payload.0.as_slice())
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    fn header_count(&self) -> usize {
        self.headers.len()
    }

    fn header(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.headers.get(index).map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    fn duplicate(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_short(&self) -> bool {
        self.headers.is_empty() && self.timestamp.is_none() && self.size() <= 100
    }
}

pub(crate) type RecordResult = Result<Delivered, (Failure, Rec)>;

type Waiting = VecDeque<(SlotId, Rec)>;

#[derive(Default)]
struct State {
    /// With the waiting records, and whether a batch is out.
    lanes: Vec<(Lane, Waiting, bool)>,
    free: Vec<u32>,
    generations: Vec<u32>,
    /// By slot: the id of the record that is out, and its lane.
    out: HashMap<SlotId, (u64, Lane)>,
    results: HashMap<u64, RecordResult>,
    refusals: usize,
    /// Failed records that came back as a copy.
    copies: usize,
    waiting_for_reports: bool,
    flushing: bool,
    fatal: Option<Failure>,
    /// The backend has said why it delivers nothing.
    is_troubled: bool,
    answers: Vec<(CallId, Result<Answer, CallError>)>,
    ended: bool,
    /// The threads that have handed off batches.
    settled_by: Vec<ThreadId>,
    /// Workers that ask for a batch are blocked.
    held: bool,
    /// A worker is blocked.
    holds: bool,
    violations: Vec<String>,
}

/// Keeps lanes exclusive, and offers no batch after a refusal until a report arrives.
pub(crate) struct MockDriver {
    state: Mutex<State>,
    changed: Condvar,
    batch: usize,
    topics: Vec<String>,
}

impl MockDriver {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait(&self, what: &str, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let (state, timeout) = self.changed.wait_timeout_while(self.lock(), LIMIT, |state| !done(state)).unwrap();
        assert!(!timeout.timed_out(), "{what}: {} results, {} out", state.results.len(), state.out.len());
        state
    }

    fn resolve(state: &mut State, slot: SlotId, result: RecordResult) {
        if state.ended {
            state.violations.push(format!("{slot:?} after the end"));
        }
        let Some((id, _)) = state.out.remove(&slot) else {
            return state.violations.push(format!("{slot:?} is not out"));
        };
        if let Err((_, record)) = &result
            && record.id != id
        {
            state.violations.push(format!("{} came back for {id}", record.id));
        }
        if state.results.insert(id, result).is_some() {
            state.violations.push(format!("{id} twice"));
        }
        state.generations[slot.index()] += 1;
        state.free.push(slot.index() as u32);
    }
}

impl Driver<Rec> for MockDriver {
    fn take(&self, records: &mut Vec<(SlotId, Rec)>) -> Option<MessageBatch> {
        let mut state = self.lock();
        state.holds = state.held;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.held).unwrap();
        if state.waiting_for_reports && !state.out.is_empty() {
            return None;
        }
        let State { lanes, out, .. } = &mut *state;
        let (lane, queue, busy) = lanes.iter_mut().find(|(_, queue, busy)| !busy && !queue.is_empty())?;
        *busy = true;
        let lane = *lane;
        let count = queue.len().min(self.batch);
        let start = records.len();
        records.extend(queue.drain(..count));
        let taken = &records[start..];
        out.extend(taken.iter().map(|(slot, record)| (*slot, (record.id, lane))));
        let limits = BatchLimits { records: u32::MAX, bytes: usize::MAX };
        let sizes = taken.iter().map(|(_, record)| (record.lane(), record.size()));
        Some(MessageBatch::create(limits, lane, CutReason::Idle, sizes).unwrap())
    }

    fn settle<I: Iterator<Item = Unsent<Rec>>>(&self, batch: MessageBatch, unsent: I) {
        let mut state = self.lock();
        let mut refused = VecDeque::new();
        for unsent in unsent {
            match unsent {
                Unsent::Refused(slot, record) => {
                    assert_eq!(state.out.remove(&slot), Some((record.id, record.lane())));
                    refused.push_back((slot, record));
                }
                Unsent::Rejected(slot, failure, record) => Self::resolve(&mut state, slot, Err((failure, record))),
            }
        }
        state.settled_by.push(thread::current().id());
        state.refusals += refused.len();
        state.waiting_for_reports |= !refused.is_empty();
        let (_, queue, busy) = state.lanes.iter_mut().find(|(lane, ..)| *lane == batch.lane()).unwrap();
        *busy = false;
        refused.append(queue);
        *queue = refused;
        self.changed.notify_all();
    }

    fn report<I: Iterator<Item = Report<Rec>>>(&self, reports: I) {
        let mut state = self.lock();
        for Report { slot, outcome } in reports {
            let result = match outcome {
                Outcome::Delivered(at) => Ok(at),
                Outcome::Failed(failure, record) => Err((failure, record)),
                Outcome::FailedCopy(failure, Copied { key, payload, .. }) => {
                    state.copies += 1;
                    let (id, lane) = state.out[&slot];
                    let (topic, partition, payload) = (lane.topic().0, lane.partition(), payload.map(Payload));
                    Err((failure, Rec { id, topic, partition, key, payload, ..Rec::default() }))
                }
            };
            Self::resolve(&mut state, slot, result);
        }
        state.waiting_for_reports = false;
        self.changed.notify_all();
    }

    fn is_flushing(&self) -> bool {
        let state = self.lock();
        state.flushing && !(state.out.is_empty() && state.lanes.iter().all(|(_, queue, _)| queue.is_empty()))
    }

    fn topic_name(&self, topic: TopicId) -> Option<&str> {
        self.topics.get(topic.0 as usize).map(String::as_str)
    }

    fn fatal(&self, failure: Failure) {
        self.lock().fatal = Some(failure);
        self.changed.notify_all();
    }

    fn complete_call(&self, id: CallId, result: Result<Answer, CallError>) {
        let mut state = self.lock();
        if state.ended {
            state.violations.push(format!("{id:?} was answered after the end"));
        }
        if result.as_ref().is_err_and(|error| error.is_fatal()) && state.fatal.is_none() {
            state.violations.push(format!("{id:?} was answered before the fatal error was reported"));
        }
        state.answers.push((id, result));
        self.changed.notify_all();
    }

    fn set_trouble(&self, _topic: Option<TopicId>, trouble: Option<Trouble>) {
        self.lock().is_troubled = trouble.is_some();
        self.changed.notify_all();
    }

    fn ended(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// A connected backend with its driver.
pub(crate) struct Rig {
    pub(crate) driver: Arc<MockDriver>,
    pub(crate) backend: Arc<dyn Backend>,
}

impl Rig {
    pub(crate) fn new(config: &[(&str, &str)], broker: &EmbeddedBroker, workers: usize, batch: usize) -> Self {
        Self::with(Librdkafka::new(client(broker.bootstrap_servers(), config)).workers(workers), batch, &[TOPIC])
    }

    pub(crate) fn with(backend: Librdkafka, batch: usize, topics: &[&str]) -> Self {
        Self::try_with(backend, batch, topics).unwrap()
    }

    pub(crate) fn try_with(mut backend: Librdkafka, batch: usize, topics: &[&str]) -> Result<Self, ConfigError> {
        const CAPACITY: u32 = 20_000;
        let state =
            State { free: (0..CAPACITY).rev().collect(), generations: vec![0; CAPACITY as usize], ..State::default() };
        let topics = topics.iter().map(|name| (*name).to_owned()).collect();
        let driver = Arc::new(MockDriver { state: Mutex::new(state), changed: Condvar::new(), batch, topics });
        Connect::<Rec>::limits(&mut backend, None)?;
        let backend = backend.connect(driver.clone(), CAPACITY as usize)?;
        Ok(Self { driver, backend })
    }

    pub(crate) fn send(&self, records: impl IntoIterator<Item = Rec>) {
        for record in records {
            self.enqueue(record);
            self.backend.wake();
        }
    }

    /// Sends a single record and waits until it is handed off. Returns whether this thread did that.
    pub(crate) fn send_alone(&self, record: Rec) -> bool {
        let before = self.driver.lock().settled_by.len();
        self.leave_alone(record);
        let state = self.driver.wait("a hand-off", |state| state.settled_by.len() > before);
        state.settled_by.last() == Some(&thread::current().id())
    }

    /// Sends a single record.
    pub(crate) fn leave_alone(&self, record: Rec) {
        self.enqueue(record);
        self.backend.wake_for_one();
    }

    fn enqueue(&self, record: Rec) {
        {
            let mut state = self.driver.wait("a slot", |state| !state.free.is_empty());
            let index = state.free.pop().unwrap();
            let slot = SlotId::new(index, state.generations[index as usize]);
            let lane = record.lane();
            if !state.lanes.iter().any(|(known, ..)| *known == lane) {
                state.lanes.push((lane, VecDeque::new(), false));
            }
            let (_, queue, _) = state.lanes.iter_mut().find(|(known, ..)| *known == lane).unwrap();
            queue.push_back((slot, record));
        }
    }

    /// Waits until `count` records have their result.
    pub(crate) fn wait(&self, count: usize) {
        // After a refusal, a report makes batches available again, and the driver must wake a worker.
        let start = Instant::now();
        loop {
            let state = self.driver.lock();
            if state.results.len() >= count {
                return;
            }
            assert!(start.elapsed() < LIMIT, "{} of {count} results", state.results.len());
            drop(self.driver.changed.wait_timeout(state, Duration::from_millis(100)).unwrap());
            self.backend.wake();
        }
    }

    pub(crate) fn wait_handed_off(&self, count: usize) {
        drop(self.driver.wait("a hand-off", |state| {
            state.out.len() >= count && state.lanes.iter().all(|(_, queue, busy)| queue.is_empty() && !busy)
        }));
    }

    pub(crate) fn wait_for_trouble(&self) {
        drop(self.driver.wait("trouble", |state| state.is_troubled));
    }

    /// Waits for the outcome of a record.
    pub(crate) fn wait_for(&self, id: u64) {
        drop(self.driver.wait("an outcome", |state| state.results.contains_key(&id)));
    }

    /// The outcome of a record, as far as it is known.
    pub(crate) fn result(&self, id: u64) -> Option<RecordResult> {
        self.driver.lock().results.get(&id).cloned()
    }

    pub(crate) fn refusals(&self) -> usize {
        self.driver.lock().refusals
    }

    /// The number of failed records that came back as a copy.
    pub(crate) fn copies(&self) -> usize {
        self.driver.lock().copies
    }

    pub(crate) fn fatal(&self) -> Failure {
        self.driver.wait("a fatal error", |state| state.fatal.is_some()).fatal.unwrap()
    }

    /// Makes a call with a limit; false if it is refused.
    pub(crate) fn call(&self, id: u64, call: Call, limit: Duration) -> bool {
        self.backend.call(Box::new(Request { id: CallId(id), call, limit })).is_ok()
    }

    /// Waits for `count` answers.
    pub(crate) fn answers(&self, count: usize) -> Vec<(CallId, Result<Answer, CallError>)> {
        self.driver.wait("an answer", |state| state.answers.len() >= count).answers.clone()
    }

    /// Blocks the only worker, so it reads no events.
    pub(crate) fn hold_worker(&self) {
        self.driver.lock().held = true;
        self.backend.wake();
        drop(self.driver.wait("the worker", |state| state.holds));
    }

    pub(crate) fn let_worker_go(&self) {
        self.driver.lock().held = false;
        self.driver.changed.notify_all();
    }

    pub(crate) fn flush(&self) {
        self.driver.lock().flushing = true;
        self.backend.flush();
    }

    /// Shuts down, and returns all results.
    pub(crate) fn end(self) -> HashMap<u64, RecordResult> {
        self.backend.shut_down();
        let mut state = self.driver.wait("the end", |state| state.ended);
        assert_eq!(state.violations, Vec::<String>::new());
        assert!(state.out.is_empty(), "{:?} did not come back", state.out);
        std::mem::take(&mut state.results)
    }
}

pub(crate) fn client(servers: &str, pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);
    for (key, value) in pairs {
        config.set(*key, *value);
    }
    config
}

pub(crate) fn broker(partitions: i32) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic(TOPIC, partitions, 1).unwrap();
    broker
}

/// A record as a consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Vec<Header>,
}

impl Seen {
    pub(crate) fn id(&self) -> u64 {
        std::str::from_utf8(self.payload.as_ref().unwrap()).unwrap().parse().unwrap()
    }
}

/// Reads a topic from its beginning until `count` records have arrived.
pub(crate) fn consume(broker: &EmbeddedBroker, partitions: i32, count: usize) -> Vec<Seen> {
    let config = client(broker.bootstrap_servers(), &[("group.id", "g"), ("enable.auto.commit", "false")]);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (start, mut seen) = (Instant::now(), Vec::new());
    while seen.len() < count {
        assert!(start.elapsed() < LIMIT, "{} of {count} records read back", seen.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        seen.push(Seen {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            timestamp: message.timestamp().to_millis(),
            headers,
        });
    }
    seen
}

pub(crate) fn failure(results: &HashMap<u64, RecordResult>, id: u64) -> Failure {
    match &results[&id] {
        Ok(at) => panic!("{id} was delivered at {at:?}"),
        Err((failure, record)) => {
            assert_eq!(record.id, id);
            *failure
        }
    }
}

pub(crate) const NOT_PERSISTED: Status = Status::NotPersisted;

/// Waits until a time has passed that librdkafka or the backend looks at.
pub(crate) fn pass(time: Duration) {
    let start = Instant::now();
    while let Some(left) = time.checked_sub(start.elapsed()) {
        thread::park_timeout(left + Duration::from_millis(1));
    }
}

/// Waits for a condition without a signal.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}
