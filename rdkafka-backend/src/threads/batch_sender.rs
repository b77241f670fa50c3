//! A worker: takes batches from the driver and hands their records to librdkafka, and brings the reports back.
//!
//! One thread for both ways saves a change of threads for each, and memory is freed where it was allocated.

use std::sync::Arc;
use std::time::Instant;

use aioproducer_core::backend::{Driver, Failure, Message, Status, Unsent};
use aioproducer_core::{Lane, MessageBatch, SlotId, TopicId};

use crate::catch_panic::catch_panic;
use crate::ffi::{Client, Outgoing, Topic, UNASSIGNED};
use crate::partition::choice::{Partitioning, Plan, TopicState};
use crate::partition::partition_groups::PartitionGroups;
use crate::reports::Reader;
use crate::reports::failure;
use crate::threads::inline_worker::InlineWorker;
use crate::threads::signals::{Reason, Signals};

/// The route of a record whose key has no valid partition.
const NOWHERE: i32 = i32::MIN;

/// Works until the backend is shut down: reads reports, hands off batches. A batch that was taken is settled in any
/// case. What the application's code does wrong is contained where it is called, so a panic that comes here is a fault of this
/// crate, and may have lost a batch: nobody is to wait for that.
pub(crate) fn run<R: Message>(
    worker: Worker<R>,
    driver: &impl Driver<R>,
    signals: &Signals,
    reader: &Reader<R>,
    inline_worker: &InlineWorker<R>,
) {
    if catch_panic(|| work(worker, driver, signals, reader, inline_worker)).is_none() {
        driver.fatal(failure::broken());
    }
}

fn work<R: Message>(
    mut worker: Worker<R>,
    driver: &impl Driver<R>,
    signals: &Signals,
    reader: &Reader<R>,
    inline_worker: &InlineWorker<R>,
) {
    let mut records = Vec::new();
    // Whether the driver has said that there is no batch, and not taken it back.
    let mut idle = false;
    while !signals.is_shut_down() {
        reader.serve(&worker.client, driver, signals);
        if !idle {
            inline_worker.hand_off_what_is_left(&mut worker, driver);
            match driver.take(&mut records) {
                Some(batch) => worker.hand_off(driver, batch, &mut records),
                None => idle = true,
            }
        } else if signals.park() == Reason::Batch {
            idle = false;
        }
    }
}

/// One worker's scratch, reused from batch to batch: nothing is allocated for a record.
pub(crate) struct Worker<R> {
    client: Arc<Client<R>>,
    partitioning: Partitioning,
    /// By the number of the topic; `None` inside if librdkafka refuses its name.
    topics: Vec<Option<Option<Arc<Topic>>>>,
    outgoing: Outgoing<R>,
    /// The partition of each position.
    routes: Vec<i32>,
    /// Positions whose record has headers or a timestamp, in order.
    rich: Vec<u32>,
    runs: PartitionGroups,
    rejected: Vec<(SlotId, Failure, R)>,
    /// Records that librdkafka has copied.
    copied: Vec<R>,
    /// It works for somebody who waits for one record.
    prompt: bool,
}

impl<R: Message> Worker<R> {
    pub(crate) fn new(client: Arc<Client<R>>, partitioning: Partitioning) -> Self {
        Self {
            partitioning,
            topics: Vec::new(),
            outgoing: Outgoing::new(Arc::clone(&client)),
            client,
            routes: Vec::new(),
            rich: Vec::new(),
            runs: PartitionGroups::default(),
            rejected: Vec::new(),
            copied: Vec::new(),
            prompt: false,
        }
    }

    /// The same, for records that go alone: librdkafka tells of them at once.
    pub(crate) fn prompt(client: Arc<Client<R>>, partitioning: Partitioning) -> Self {
        Self { prompt: true, ..Self::new(client, partitioning) }
    }

    /// Hands off a batch, whose records are all that is in `records`, and settles it.
    pub(crate) fn hand_off(&mut self, driver: &impl Driver<R>, batch: MessageBatch, records: &mut Vec<(SlotId, R)>) {
        self.outgoing.clear();
        match self.topic(driver, batch.lane().topic()) {
            Some(topic) => {
                let plan = match batch.lane().partition() {
                    Some(partition) => Route::All(partition),
                    None => match topic.state().plan(Instant::now(), batch.bytes()) {
                        Plan::Ask => Route::All(UNASSIGNED),
                        Plan::Choose { count, sticky } => Route::Each { count, sticky },
                    },
                };
                self.stage(topic.state(), batch.lane(), plan, records);
                self.send(&topic, plan);
            }
            None => {
                let unknown = failure::of(failure::UNKNOWN_TOPIC, Status::NotPersisted);
                self.rejected.extend(records.drain(..).map(|(slot, record)| (slot, unknown, record)));
            }
        }
        // Not asked under the driver's lock.
        let cause = if self.outgoing.all_sent() { None } else { self.client.fatal() };
        let rejected = self.rejected.drain(..).map(|(slot, failure, record)| Unsent::Rejected(slot, failure, record));
        let unsent = self.outgoing.unsent().map(|(slot, code, record)| match code {
            None => Unsent::Refused(slot, record),
            Some(code) => Unsent::Rejected(slot, failure::refused(code, cause), record),
        });
        driver.settle(batch, rejected.chain(unsent));
        self.outgoing.release(&mut self.copied);
        if !self.copied.is_empty() {
            driver.release(&mut self.copied);
        }
    }

    /// Whether the topic's handle is there, so that a batch for it creates none.
    pub(crate) fn knows(&mut self, driver: &impl Driver<R>, id: TopicId) -> bool {
        let index = id.0 as usize;
        if self.topics.get(index).is_some_and(Option::is_some) {
            return true;
        }
        let found = driver.topic_name(id).and_then(|name| self.client.known_topic(name));
        let is_known = found.is_some();
        if is_known {
            self.topics.resize(self.topics.len().max(index + 1), None);
            self.topics[index] = found;
        }
        is_known
    }

    /// The topic's handle. It is created when the first record of the topic comes by.
    fn topic(&mut self, driver: &impl Driver<R>, id: TopicId) -> Option<Arc<Topic>> {
        let index = id.0 as usize;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        let (client, partitioning) = (&self.client, &self.partitioning);
        let create = || client.topic(id, driver.topic_name(id)?, client.lent(), partitioning);
        self.topics[index].get_or_insert_with(create).clone()
    }

    /// Moves the records to where they stay, and chooses their partitions.
    fn stage(&mut self, state: &TopicState, lane: Lane, plan: Route, records: &mut Vec<(SlotId, R)>) {
        self.routes.clear();
        self.rich.clear();
        let route = |record: &R, count, sticky| {
            let value = if state.reads_value() { record.payload() } else { None };
            state.route(record.key(), value, count, sticky).unwrap_or(NOWHERE)
        };
        let alone = self.prompt && records.len() == 1;
        let can_copy = |(slot, record): &(SlotId, R)| Outgoing::<R>::can_hold(*slot) && record.is_short();
        // librdkafka does not tell of the copy's value when it asks for a partition.
        if (alone || part_ways(lane, records)) && !state.reads_value() && records.iter().all(can_copy) {
            self.outgoing.hold(records.drain(..), alone);
            if let Route::Each { count, sticky } = plan {
                self.routes.extend(self.outgoing.held().map(|record| route(record, count, sticky)));
            }
            return;
        }
        for (slot, record) in records.drain(..) {
            let position = self.outgoing.len() as u32;
            match self.outgoing.stage(slot, record) {
                Ok(record) => {
                    if record.header_count() > 0 || record.timestamp().is_some() {
                        self.rich.push(position);
                    }
                    if let Route::Each { count, sticky } = plan {
                        self.routes.push(route(record, count, sticky));
                    }
                }
                Err(record) => self.rejected.push((slot, failure::slot_in_use(), record)),
            }
        }
    }

    /// Sends what was staged: records with headers or a timestamp one by one, those between them in bulk.
    fn send(&mut self, topic: &Topic, plan: Route) {
        let rich = std::mem::take(&mut self.rich);
        let mut start = 0;
        for position in rich.iter().map(|position| *position as usize) {
            self.send_plain(topic, plan, start, position);
            self.send_rich(topic, plan, position);
            start = position + 1;
        }
        self.send_plain(topic, plan, start, self.outgoing.len());
        self.rich = rich;
    }

    fn send_rich(&mut self, topic: &Topic, plan: Route, position: usize) {
        match plan {
            Route::All(partition) => self.outgoing.send_one(topic, partition, position),
            Route::Each { .. } if self.routes[position] == NOWHERE => self.outgoing.reject(position),
            Route::Each { .. } => {
                self.outgoing.send_one(topic, self.routes[position], position);
                if self.outgoing.reopen(position) {
                    topic.state().forget();
                    self.outgoing.send_one(topic, UNASSIGNED, position);
                }
            }
        }
    }

    fn send_plain(&mut self, topic: &Topic, plan: Route, start: usize, end: usize) {
        if start == end {
            return;
        }
        let routes = match plan {
            Route::All(partition) => return self.outgoing.send_range(topic, partition, start..end),
            Route::Each { .. } => &self.routes[start..end],
        };
        let first = routes[0];
        if first != NOWHERE && routes.iter().all(|route| *route == first) {
            self.outgoing.send_range(topic, first, start..end);
        } else {
            self.runs.group(start, routes);
            for (partition, positions) in self.runs.iter() {
                if partition == NOWHERE {
                    positions.iter().for_each(|position| self.outgoing.reject(*position as usize));
                } else {
                    self.outgoing.send_positions(topic, partition, positions);
                }
            }
        }
        self.send_again(topic, start, end);
    }

    /// Partitions that we chose and that do not exist (any more): librdkafka, which knows better, asks our partitioner.
    /// All records of such a partition come here, so those of one key keep their order.
    fn send_again(&mut self, topic: &Topic, start: usize, end: usize) {
        if self.outgoing.all_sent() {
            return;
        }
        let (routes, outgoing) = (&self.routes, &mut self.outgoing);
        self.runs.collect((start..end).filter(|at| routes[*at] != NOWHERE && outgoing.reopen(*at)));
        if !self.runs.collected().is_empty() {
            topic.state().forget();
            self.outgoing.send_positions(topic, UNASSIGNED, self.runs.collected());
        }
    }
}

/// Whether records that are handed off one after the other go to several partitions: each partition's reports come for
/// themselves, so the records would come back in another order, and their memory would be used again all over the place.
/// That costs more than a copy of a short record. Keyless records go to one partition for a while.
fn part_ways<R: Message>(lane: Lane, records: &[(SlotId, R)]) -> bool {
    lane.partition().is_some() || records.iter().any(|(_, record)| record.key().is_some())
}

/// Where the records of a batch go.
#[derive(Clone, Copy)]
enum Route {
    /// To one partition, or with none to have librdkafka ask.
    All(i32),
    /// Each where the rule has it among `count`, or to `sticky` if it sticks.
    Each { count: i32, sticky: i32 },
}
