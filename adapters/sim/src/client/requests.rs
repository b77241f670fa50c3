//! What a client does with records: queues, batches, requests to leaders, retries, outcomes.

use std::collections::BTreeMap;

use aioproducer_core::backend::{Delivered, Driver, ErrorCode, Message, Outcome, Report, Unsent};
use aioproducer_core::{Instant, MessageBatch, SlotId, TopicId};

use super::failure::{UNKNOWN_PARTITION, UNKNOWN_TOPIC, answered, is_fatal, may_be_appended, purged, refused};
use super::known::{Known, Topic};
use super::lane::{Batch, Head, Lane, Queued};
use super::reports::{Reports, status};
use super::settings::Settings;
use super::timeline::{Due, Place, Schedule};
use crate::cluster::{Arrival, Flight, Sent, Shared, State, What};
use crate::log::LogRecord;
use crate::sync::Arc;
use crate::waiters::Waiters;

/// The result of an attempt: the first record's offset, an error, or `None` if the connection broke.
type Reply = Option<Result<i64, ErrorCode>>;

pub(super) struct Requests<R> {
    cluster: Shared,
    settings: Settings,
    producer: u64,
    known: Arc<Known>,
    lanes: BTreeMap<Place, Lane<R>>,
    schedule: Schedule,
    /// The partition that the next batch of records goes to that may go anywhere.
    turns: BTreeMap<TopicId, usize>,
    /// Records in `lanes`.
    records: usize,
}

impl<R: Message> Requests<R> {
    pub(super) fn new(cluster: Shared, settings: Settings, producer: u64, known: Arc<Known>) -> Self {
        let (lanes, schedule, turns) = (BTreeMap::new(), Schedule::default(), BTreeMap::new());
        Self { cluster, settings, producer, known, lanes, schedule, turns, records: 0 }
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        // A batch whose leader cannot be reached waits for a change of the cluster, not for a time.
        let reachable = |batch: &&Batch<R>| batch.under_way.is_none() && !batch.is_unreachable;
        let due = self.lanes.values().filter_map(|lane| lane.batch.as_ref()).filter(reachable).map(|batch| batch.due);
        due.chain(self.schedule.next()).min()
    }

    /// Takes what the driver has, as far as there is room.
    pub(super) fn take_batches(&mut self, driver: &impl Driver<R>, now: Instant) {
        let oldest = now - self.settings.metadata_age;
        self.known.refresh(&self.cluster.lock(), now, oldest);
        let mut taken = Vec::new();
        while let Some(batch) = driver.take(&mut taken) {
            let (unsent, waiters) = self.enqueue(driver, now, &batch, &mut taken);
            driver.settle(batch, unsent.into_iter());
            waiters.iter().for_each(|waiters| waiters.wake());
        }
    }

    /// Queues the records of a batch. Returns those that are not queued, and those to wake for held ones.
    fn enqueue(
        &mut self,
        driver: &impl Driver<R>,
        now: Instant,
        batch: &MessageBatch,
        taken: &mut Vec<(SlotId, R)>,
    ) -> (Vec<Unsent<R>>, Option<Arc<Waiters>>) {
        let (id, partition) = (batch.lane().topic(), batch.lane().partition());
        let reject = |failure, taken: &mut Vec<(SlotId, R)>| {
            taken.drain(..).map(|(slot, record)| Unsent::Rejected(slot, failure, record)).collect()
        };
        let name = driver.topic_name(id).unwrap_or_default();
        let mut state = self.cluster.lock();
        let known = self.known.get(id).filter(|topic| partition.is_none_or(|number| topic.has(number)));
        let Some(topic) = known.or_else(|| self.known.learn(&state, now, id, name)) else {
            return (reject(UNKNOWN_TOPIC, taken), None);
        };
        if partition.is_some_and(|number| !topic.has(number)) {
            return (reject(UNKNOWN_PARTITION, taken), None);
        }
        let turn = self.turns.entry(id).or_default();
        let anywhere = (*turn % topic.leaders.len()) as i32;
        if partition.is_none() {
            *turn += 1;
        }
        let timestamp = state.timestamp(now);
        let is_held = state.holds.is_held(name);
        let (mut unsent, mut to_wake) = (Vec::new(), None);
        for (slot, record) in taken.drain(..) {
            if self.records == self.settings.queue_records {
                unsent.push(Unsent::Refused(slot, record));
                continue;
            }
            let keyed = || topic.partition_of(record.key()?);
            let number = partition.or_else(keyed).unwrap_or(anywhere);
            let held =
                if is_held { state.holds.arrive(name, LogRecord::copy(&record, number, timestamp)) } else { None };
            let held = held.map(|(held, waiters)| {
                to_wake = Some(waiters);
                held
            });
            self.records += 1;
            self.lanes.entry((id, number)).or_default().queue.push_back(Queued { slot, record, held });
        }
        (unsent, to_wake)
    }

    /// Fails records that were not sent, those that were, or both.
    pub(super) fn purge(&mut self, (queued, in_flight): (bool, bool), reports: &mut Reports<R>) {
        if !queued && !in_flight {
            return;
        }
        let mut state = self.cluster.lock();
        for lane in self.lanes.values_mut() {
            if in_flight && let Some(batch) = lane.abandon() {
                if let Some((expiry, number)) = batch.under_way {
                    self.schedule.remove_expiry(expiry, number);
                }
                let may_be = batch.may_be_appended || batch.under_way.is_some();
                self.records -= batch.entries.len();
                let failure = purged(status(may_be));
                batch.entries.into_iter().for_each(|(slot, record)| reports.fail(slot, record, failure));
            }
            if queued {
                self.records -= lane.queue.len();
                for Queued { slot, record, held } in lane.queue.drain(..) {
                    if let Some(held) = held {
                        state.holds.forget(held);
                    }
                    reports.fail(slot, record, purged(status(false)));
                }
            }
        }
    }

    /// Sends what can be sent: at most one request of a partition is under way.
    pub(super) fn send(&mut self, now: Instant, reports: &mut Reports<R>) {
        let producer = self.settings.idempotent.then_some(self.producer);
        let mut state = self.cluster.lock();
        for (place, lane) in &mut self.lanes {
            loop {
                match lane.cut(now, place.1, producer, &mut state) {
                    Head::Waits => break,
                    Head::Refused(Queued { slot, record, .. }, kind) => {
                        self.records -= 1;
                        reports.fail(slot, record, refused(kind));
                        continue;
                    }
                    Head::Batch => {}
                }
                let Some(batch) = lane.batch.as_mut().filter(|batch| batch.under_way.is_none() && batch.due <= now)
                else {
                    break;
                };
                let Some(mut topic) = self.known.get(place.0) else { break };
                if batch.attempts > 0 || batch.is_unreachable || topic.leader(place.1).is_none() {
                    topic = self.known.learn(&state, now, place.0, &topic.name.clone()).unwrap_or(topic);
                }
                let sent = attempt(batch, *place, &topic, self.producer, &mut state, now);
                batch.is_unreachable = sent.is_none();
                let Some((arrives, flight)) = sent else { break };
                let (number, expires) = (self.schedule.number(), now + self.settings.request_timeout);
                batch.under_way = Some((expires, number));
                let sent = flight.sent.clone();
                self.schedule.add(arrives, number, Due::Arrive { place: *place, flight });
                self.schedule.add(expires, number, Due::Expire { place: *place, sent });
                break;
            }
        }
    }

    /// Does what is due.
    pub(super) fn run_due(&mut self, now: Instant, reports: &mut Reports<R>) {
        while let Some((number, due)) = self.schedule.pop(now) {
            match due {
                Due::Arrive { place, flight } => {
                    let arrival = self.cluster.lock().arrive(now, &flight);
                    match arrival {
                        Arrival::Later(at) => self.schedule.add(at, number, Due::Arrive { place, flight }),
                        Arrival::Reply(at, result) => {
                            let Flight { sent, generation, .. } = flight;
                            self.schedule.add(at, number, Due::Reply { place, sent, generation, result });
                        }
                    }
                }
                Due::Reply { place, sent, generation, result } => {
                    let is_connected = self.cluster.lock().is_connected(sent.broker, generation);
                    self.end_attempt(now, place, number, &sent, result.filter(|_| is_connected), reports);
                }
                Due::Expire { place, sent } => self.end_attempt(now, place, number, &sent, None, reports),
            }
        }
    }

    fn end_attempt(
        &mut self,
        now: Instant,
        place: Place,
        number: u64,
        sent: &Sent,
        reply: Reply,
        reports: &mut Reports<R>,
    ) {
        let Some(lane) = self.lanes.get_mut(&place) else { return };
        // Purged, or given up on before.
        let Some((batch, expiry)) = lane.end_attempt(number) else { return };
        self.schedule.remove_expiry(expiry, number);
        let what = match reply {
            Some(result) => What::Answer { sent: sent.clone(), code: result.err() },
            None => What::Broken { sent: sent.clone() },
        };
        self.cluster.lock().trace(now, what);
        let code = match reply {
            Some(Ok(base)) => {
                if let Some(batch) = lane.finish() {
                    self.records -= batch.entries.len();
                    deliver(batch, place.1, base, reports);
                }
                return;
            }
            Some(Err(code)) => Some(code),
            None => None,
        };
        batch.may_be_appended |= code.is_none_or(may_be_appended);
        let is_retriable = code.is_none_or(ErrorCode::is_retriable);
        if is_retriable && batch.attempts <= self.settings.retries {
            batch.due = now + self.settings.retry_backoff;
            return;
        }
        let failure = answered(code, status(batch.may_be_appended));
        if code.is_some_and(is_fatal) {
            reports.fatal = Some(failure);
        }
        if let Some(batch) = lane.abandon() {
            self.records -= batch.entries.len();
            batch.entries.into_iter().for_each(|(slot, record)| reports.fail(slot, record, failure));
        }
    }
}

/// One more attempt to send a batch; `None` if its leader cannot be reached.
fn attempt<R>(
    batch: &mut Batch<R>,
    (_, partition): Place,
    topic: &Topic,
    producer: u64,
    state: &mut State,
    now: Instant,
) -> Option<(Instant, Flight)> {
    let broker = topic.leader(partition)?;
    let (name, attempt) = (Arc::clone(&topic.name), batch.attempts + 1);
    let sent = Sent { producer, topic: name, partition, broker, attempt };
    let (arrives, fate, generation) = state.depart(now, &sent, batch.decided)?;
    let digest = batch.copy.iter().fold(0_u64, |sum, record| sum.rotate_left(1) ^ record.digest());
    let digest = (digest ^ (digest >> 32)) as u32;
    let records = batch.copy.len() as u64;
    state.trace(now, What::Request { sent: sent.clone(), records, digest });
    (batch.attempts, batch.decided) = (attempt, None);
    let (copy, sequence) = (Arc::clone(&batch.copy), batch.sequence);
    Some((arrives, Flight { sent, batch: copy, sequence, fate, generation }))
}

/// Reports a batch as delivered.
fn deliver<R>(batch: Batch<R>, partition: i32, base: i64, reports: &mut Reports<R>) {
    for ((offset, (slot, record)), copy) in (base..).zip(batch.entries).zip(&*batch.copy) {
        let delivered = Delivered::new(partition, Some(offset), Some(copy.timestamp()));
        reports.list.push_back(Report { slot, outcome: Outcome::Delivered(delivered) });
        reports.released.push(record);
    }
}
