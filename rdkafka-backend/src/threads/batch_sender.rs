//! Hands batches to librdkafka: chooses partitions, enqueues the records, settles the batch with the driver.

use std::sync::Arc;
use std::time::Instant;

use aioproducer_core::backend::{Driver, Failure, Message, Status, Unsent};
use aioproducer_core::{Lane, MessageBatch, SlotId, TopicId};

use crate::failure;
use crate::ffi::{Client, Outgoing, Topic, UNASSIGNED, answering};
use crate::partition::choice::{Plan, TopicState};
use crate::partition::groups::PartitionGroups;
use crate::partition::partitioning::Partitioning;

/// The partition of a record whose key has no valid partition.
const INVALID: i32 = i32::MIN;

/// One thread's buffers, reused from batch to batch: nothing is allocated per record.
pub(super) struct BatchSender<R> {
    client: Arc<Client<R>>,
    partitioning: Partitioning,
    /// By topic id; the inner `None` means that librdkafka refuses the name.
    topics: Vec<Option<Option<Arc<Topic>>>>,
    outgoing: Outgoing<R>,
    /// The partition of each position.
    partitions: Vec<i32>,
    /// Positions whose record has headers or a timestamp, in order.
    with_headers: Vec<u32>,
    groups: PartitionGroups,
    rejected: Vec<(SlotId, Failure, R)>,
    /// Records that librdkafka has copied.
    copied: Vec<R>,
    /// A task waits for one record: its success is reported at once.
    single_record: bool,
    /// The begin of the current hand-off.
    now: Instant,
}

impl<R: Message> BatchSender<R> {
    pub(super) fn new(client: Arc<Client<R>>, partitioning: Partitioning) -> Self {
        Self {
            partitioning,
            topics: Vec::new(),
            outgoing: Outgoing::new(Arc::clone(&client)),
            client,
            partitions: Vec::new(),
            with_headers: Vec::new(),
            groups: PartitionGroups::default(),
            rejected: Vec::new(),
            copied: Vec::new(),
            single_record: false,
            now: Instant::now(),
        }
    }

    /// A sender for batches of one record, whose success is reported at once.
    pub(super) fn for_single_records(client: Arc<Client<R>>, partitioning: Partitioning) -> Self {
        Self { single_record: true, ..Self::new(client, partitioning) }
    }

    pub(super) fn client(&self) -> &Client<R> {
        &self.client
    }

    /// Hands off a batch with its records and settles it. Leaves `records` empty.
    pub(super) fn hand_off(&mut self, driver: &impl Driver<R>, batch: MessageBatch, records: &mut Vec<(SlotId, R)>) {
        self.outgoing.clear();
        match self.topic(driver, batch.lane().topic()) {
            Some(topic) => {
                self.now = Instant::now();
                let route = self.route(topic.state(), &batch, records);
                self.stage(topic.state(), batch.lane(), route, records);
                self.send(&topic, route);
            }
            None => {
                let unknown = failure::of(failure::UNKNOWN_TOPIC, Status::NotPersisted);
                self.rejected.extend(records.drain(..).map(|(slot, record)| (slot, unknown, record)));
            }
        }
        // librdkafka is not called under the driver's lock.
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

    /// Whether the topic has a handle, so a batch for it creates none.
    pub(super) fn has_topic(&mut self, driver: &impl Driver<R>, id: TopicId) -> bool {
        let index = id.0 as usize;
        if self.topics.get(index).is_some_and(Option::is_some) {
            return true;
        }
        let found = driver.topic_name(id).and_then(|name| self.client.known_topic(name));
        let has_topic = found.is_some();
        if has_topic {
            self.topics.resize(self.topics.len().max(index + 1), None);
            self.topics[index] = found;
        }
        has_topic
    }

    /// The topic's handle. The first record of a topic creates it.
    fn topic(&mut self, driver: &impl Driver<R>, id: TopicId) -> Option<Arc<Topic>> {
        let index = id.0 as usize;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        let (client, partitioning) = (&self.client, &self.partitioning);
        let create = || client.topic(id, driver.topic_name(id)?, client.lent(), partitioning);
        self.topics[index].get_or_insert_with(create).clone()
    }

    fn route(&self, state: &TopicState, batch: &MessageBatch, records: &[(SlotId, R)]) -> Route {
        match batch.lane().partition() {
            Some(partition) => {
                let first_is_placed = records.first().is_some_and(|(_, record)| record.is_placed());
                let all_are = || records.iter().all(|(_, record)| record.is_placed());
                match first_is_placed && state.asks(self.now, all_are) {
                    true => Route::Asking(partition),
                    false => Route::All(partition),
                }
            }
            None => match state.plan(self.now, batch.bytes()) {
                Plan::Ask => Route::All(UNASSIGNED),
                Plan::Choose { count, sticky } => Route::Each { count, sticky },
            },
        }
    }

    /// Moves the records to where they stay, and chooses their partitions.
    fn stage(&mut self, state: &TopicState, lane: Lane, route: Route, records: &mut Vec<(SlotId, R)>) {
        self.partitions.clear();
        self.with_headers.clear();
        let choose = |record: &R, count, sticky| {
            let value = if state.reads_value() { record.payload() } else { None };
            state.route(record.key(), value, count, sticky).unwrap_or(INVALID)
        };
        let alone = self.single_record && records.len() == 1;
        let can_copy = |(slot, record): &(SlotId, R)| Outgoing::<R>::can_hold(*slot) && record.is_short();
        // When librdkafka asks for the partition of a copied record, it does not pass the value.
        if (alone || spreads(lane, records)) && !state.reads_value() && records.iter().all(can_copy) {
            self.outgoing.hold(records.drain(..), alone);
            if let Route::Each { count, sticky } = route {
                self.partitions.extend(self.outgoing.held().map(|record| choose(record, count, sticky)));
            }
            return;
        }
        for (slot, record) in records.drain(..) {
            let position = self.outgoing.len() as u32;
            match self.outgoing.stage(slot, record) {
                Ok(record) => {
                    if record.header_count() > 0 || record.timestamp().is_some() {
                        self.with_headers.push(position);
                    }
                    if let Route::Each { count, sticky } = route {
                        self.partitions.push(choose(record, count, sticky));
                    }
                }
                Err(record) => self.rejected.push((slot, failure::slot_in_use(), record)),
            }
        }
    }

    /// Sends the staged records: those with headers or a timestamp one by one, those between them in bulk.
    fn send(&mut self, topic: &Topic, route: Route) {
        let with_headers = std::mem::take(&mut self.with_headers);
        let mut start = 0;
        for position in with_headers.iter().map(|position| *position as usize) {
            self.send_range(topic, route, start, position);
            self.send_one(topic, route, position);
            start = position + 1;
        }
        self.send_range(topic, route, start, self.outgoing.len());
        self.with_headers = with_headers;
    }

    /// Sends a record with headers or a timestamp.
    fn send_one(&mut self, topic: &Topic, route: Route, position: usize) {
        let partition = match route {
            Route::All(partition) | Route::Asking(partition) => partition,
            Route::Each { .. } => self.partitions[position],
        };
        if partition == INVALID {
            return self.outgoing.reject(position);
        }
        self.hand_over(topic, partition, route, |outgoing, to| outgoing.send_one(topic, to, position));
        if self.reopen(route, position) {
            topic.state().forget();
            self.outgoing.send_one(topic, UNASSIGNED, position);
        }
    }

    /// Sends adjacent records, which have neither headers nor a timestamp.
    fn send_range(&mut self, topic: &Topic, route: Route, start: usize, end: usize) {
        if start == end {
            return;
        }
        let only = match route {
            Route::All(partition) | Route::Asking(partition) => Some(partition),
            Route::Each { .. } => {
                let first = self.partitions[start];
                let is_only = self.partitions[start..end].iter().all(|partition| *partition == first);
                (is_only && first != INVALID).then_some(first)
            }
        };
        let before = self.outgoing.sent();
        if let Some(partition) = only {
            self.hand_over(topic, partition, route, |outgoing, to| outgoing.send_range(topic, to, start..end));
        } else {
            self.send_groups(topic, route, start, end);
        }
        if self.outgoing.sent() - before < end - start {
            self.send_again(topic, route, start, end);
        }
    }

    /// Sends adjacent records partition by partition.
    fn send_groups(&mut self, topic: &Topic, route: Route, start: usize, end: usize) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.group(start, &self.partitions[start..end]);
        for (partition, positions) in groups.iter() {
            if partition == INVALID {
                positions.iter().for_each(|position| self.outgoing.reject(*position as usize));
            } else {
                self.hand_over(topic, partition, route, |outgoing, to| outgoing.send_positions(topic, to, positions));
            }
        }
        self.groups = groups;
    }

    /// Hands records over to librdkafka with `send`, and counts those that it accepts for a partition. It counts unassigned ones when
    /// it assigns them.
    fn hand_over(&mut self, topic: &Topic, partition: i32, route: Route, send: impl FnOnce(&mut Outgoing<R>, i32)) {
        if let Route::Asking(_) = route {
            return answering(partition, || send(&mut self.outgoing, UNASSIGNED));
        }
        let before = self.outgoing.sent();
        send(&mut self.outgoing, partition);
        topic.state().sent(partition, self.outgoing.sent() - before, || self.now);
    }

    /// Sends the records again, unassigned, whose chosen partition does not exist (any more): librdkafka has newer metadata.
    /// These are all records of such a partition, so records of one key keep their order.
    fn send_again(&mut self, topic: &Topic, route: Route, start: usize, end: usize) {
        let mut groups = std::mem::take(&mut self.groups);
        groups.collect((start..end).filter(|at| self.reopen(route, *at)));
        if !groups.collected().is_empty() {
            topic.state().forget();
            self.outgoing.send_positions(topic, UNASSIGNED, groups.collected());
        }
        self.groups = groups;
    }

    /// Allows one more attempt for a record whose partition does not exist and was not named by the application.
    fn reopen(&mut self, route: Route, position: usize) -> bool {
        match route {
            Route::All(_) | Route::Asking(_) => self.outgoing.reopen_placed(position),
            Route::Each { .. } => self.partitions[position] != INVALID && self.outgoing.reopen(position),
        }
    }
}

/// Whether records that are handed off in a row go to several partitions. Reports arrive partition by partition, so such records
/// would come back in another order, and their memory would be reused out of order. That costs more than copying short records.
/// Records without a key go to one partition for a while.
fn spreads<R: Message>(lane: Lane, records: &[(SlotId, R)]) -> bool {
    lane.partition().is_some() || records.iter().any(|(_, record)| record.key().is_some())
}

/// Where the records of a batch go.
#[derive(Clone, Copy)]
enum Route {
    /// All to one partition, or unassigned.
    All(i32),
    /// All to one partition, and librdkafka says how many there are.
    Asking(i32),
    /// Each to the choice of the partitioner among `count` partitions; sticky records to `sticky`.
    Each { count: i32, sticky: i32 },
}
