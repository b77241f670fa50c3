//! A backend with a mock driver, and helpers to wait and to read records back.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

mod mock_driver;
mod record;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Answer, Backend, Call, CallError, CallId, Connect, Failure, Request, Status};
use aioproducer_core::{Record, SlotId};
use aioproducer_rdkafka::{ClientConfig, ConfigError, EmbeddedBroker, Librdkafka};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{Offset, TopicPartitionList};

use self::mock_driver::State;
pub(crate) use self::mock_driver::{MockDriver, RecordResult};
pub(crate) use self::record::{Header, Payload, Rec};

pub(crate) const TOPIC: &str = "t";
const LIMIT: Duration = Duration::from_secs(60);

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
