//! What a client does with records: queues, batches, requests to leaders, retries, outcomes.

use std::collections::BTreeMap;

use aioproducer_core::backend::{Delivered, Driver, ErrorCode, FailureKind, Message, Outcome, Report, Unsent};
use aioproducer_core::{Instant, MessageBatch, SlotId, TopicId};

use super::failure::{
    FENCED, MUST_ABORT, UNKNOWN_PARTITION, UNKNOWN_TOPIC, answered, is_fatal, may_be_appended, purged, refused,
};
use super::known::{Known, Topic};
use super::lane::{Batch, Head, Lane, Numbering, Queued};
use super::reports::{Reports, status};
use super::settings::Settings;
use super::timeline::{Attempt, Place, Schedule};
use crate::cluster::{Acks, Answer, Append, Flight, Sent, Shared, State, Target, What, Work};
use crate::log::LogRecord;
use crate::sync::Arc;
use crate::waiters::Waiters;

/// What may be sent now, and how it is numbered. A transaction decides it, if there are any.
#[derive(Clone, Copy)]
pub(super) struct Gate {
    pub(super) numbering: Option<Numbering>,
    pub(super) is_open: bool,
    /// Nothing is sent again: its transaction is aborted.
    pub(super) is_aborting: bool,
}

pub(super) struct Requests<R> {
    pub(super) cluster: Shared,
    settings: Settings,
    producer: u64,
    known: Arc<Known>,
    pub(super) lanes: BTreeMap<Place, Lane<R>>,
    pub(super) schedule: Schedule<Place>,
    /// The partition that the next batch of records goes to that may go anywhere.
    turns: BTreeMap<TopicId, usize>,
    /// Records in `lanes`.
    pub(super) records: usize,
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
        due.chain(self.schedule.next()).chain(self.next_expiry()).min()
    }

    /// Asks for metadata that are too old.
    pub(super) fn refresh(&self, now: Instant) {
        let oldest = now - self.settings.metadata_age;
        self.known.refresh(&self.cluster.lock(), now, oldest);
    }

    /// Takes what the driver has, as far as there is room.
    pub(super) fn take_batches(&mut self, driver: &impl Driver<R>, now: Instant, gate: Gate) {
        let mut taken = Vec::new();
        while let Some(batch) = driver.take(&mut taken) {
            let (unsent, waiters) = self.enqueue(driver, now, gate, &batch, &mut taken);
            driver.settle(batch, unsent.into_iter());
            waiters.iter().for_each(|waiters| waiters.wake());
        }
    }

    /// Queues the records of a batch. Returns those that are not queued, and those to wake for held ones.
    fn enqueue(
        &mut self,
        driver: &impl Driver<R>,
        now: Instant,
        gate: Gate,
        batch: &MessageBatch,
        taken: &mut Vec<(SlotId, R)>,
    ) -> (Vec<Unsent<R>>, Option<Arc<Waiters>>) {
        let (id, partition) = (batch.lane().topic(), batch.lane().partition());
        let reject = |failure, taken: &mut Vec<(SlotId, R)>| {
            taken.drain(..).map(|(slot, record)| Unsent::Rejected(slot, failure, record)).collect()
        };
        if !gate.is_open {
            return (reject(MUST_ABORT, taken), None);
        }
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
            let expires = self.settings.expires(now);
            self.lanes.entry((id, number)).or_default().queue.push_back(Queued { slot, record, held, expires });
        }
        (unsent, to_wake)
    }

    /// Sends what can be sent: at most one request of a partition is under way that is answered. Returns whether anything was sent.
    pub(super) fn send(&mut self, now: Instant, gate: Gate, reports: &mut Reports<R>) -> bool {
        let mut has_sent = false;
        let (acks, request_timeout) = (self.settings.acks, self.settings.request_timeout);
        let mut state = self.cluster.lock();
        for (place, lane) in &mut self.lanes {
            loop {
                if lane.batch.is_none() && !gate.is_open {
                    break;
                }
                match lane.cut(now, place.1, (gate.numbering, self.settings.record_bytes), &mut state) {
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
                let mut send = |topic: &Topic, state: &mut State| {
                    attempt(batch, *place, topic, self.producer, &self.settings, state, now)
                };
                let mut sent = send(&topic, &mut state);
                if sent.is_none() {
                    // Its connection broke, so the client asks another broker for the leader.
                    topic = self.known.learn(&state, now, place.0, &topic.name.clone()).unwrap_or(topic);
                    sent = send(&topic, &mut state);
                }
                batch.is_unreachable = sent.is_none();
                let Some((arrives, flight)) = sent else { break };
                has_sent = true;
                if acks == Acks::None {
                    // Several are under way, over one connection.
                    lane.arrives = lane.arrives.max(arrives);
                    self.schedule.depart(lane.arrives, *place, flight);
                    if let Some(batch) = lane.finish() {
                        self.records -= batch.entries.len();
                        deliver(batch, place.1, None, reports);
                    }
                    continue;
                }
                let (sent, expires) = (flight.sent.clone(), now + request_timeout);
                let number = self.schedule.depart(arrives, *place, flight);
                batch.under_way = Some((expires, number));
                self.schedule.expire(expires, number, *place, sent);
                break;
            }
        }
        has_sent
    }

    /// Does what is due.
    pub(super) fn run_due(&mut self, now: Instant, gate: Gate, reports: &mut Reports<R>) {
        while let Some(attempt) = self.schedule.next_end(&self.cluster, now) {
            self.end_attempt(now, gate, attempt, reports);
        }
    }

    fn end_attempt(&mut self, now: Instant, gate: Gate, attempt: Attempt<Place>, reports: &mut Reports<R>) {
        let Attempt { number, place, sent, reply } = attempt;
        let Some(lane) = self.lanes.get_mut(&place) else { return };
        // Purged, given up on before, or not waited for.
        let Some((batch, expiry)) = lane.end_attempt(number) else { return };
        self.schedule.remove_expiry(expiry, number);
        self.cluster.lock().trace(now, What::end(sent, reply.map(Result::err)));
        let code = match reply {
            Some(Ok(answer)) => {
                if let Some(batch) = lane.finish() {
                    self.records -= batch.entries.len();
                    let base = if let Answer::Base(base) = answer { Some(base) } else { None };
                    deliver(batch, place.1, base, reports);
                }
                return;
            }
            Some(Err(code)) => Some(code),
            None => None,
        };
        batch.may_be_appended |= code.is_none_or(may_be_appended);
        let is_retriable = code.is_none_or(ErrorCode::is_retriable);
        if is_retriable && !gate.is_aborting && batch.attempts <= self.settings.retries {
            batch.due = now + self.settings.retry_backoff;
            return;
        }
        let status = status(batch.may_be_appended);
        let failure = match code {
            _ if is_retriable && gate.is_aborting => purged(status),
            Some(ErrorCode::ProducerFenced) if self.settings.is_transactional() => FENCED.with_status(status),
            // A transaction is aborted, and then its coordinator says what is the matter.
            Some(code) if is_fatal(code) && self.settings.is_transactional() => {
                answered(Some(code), status).with_kind(FailureKind::Broker)
            }
            code => answered(code, status),
        };
        if failure.kind == FailureKind::Fatal {
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
    settings: &Settings,
    state: &mut State,
    now: Instant,
) -> Option<(Instant, Flight)> {
    let broker = topic.leader(partition)?;
    let (target, attempt) = (Target::Partition(Arc::clone(&topic.name), partition), batch.attempts + 1);
    let sent = Sent { producer, target, broker, attempt };
    let (arrives, fate, generation) = state.depart(now, &sent, batch.decided)?;
    let digest = batch.copy.iter().fold(0_u64, |sum, record| sum.rotate_left(1) ^ record.digest());
    let digest = (digest ^ (digest >> 32)) as u32;
    let records = batch.copy.len() as u64;
    state.trace(now, What::Request { sent: sent.clone(), records, digest });
    (batch.attempts, batch.decided) = (attempt, None);
    let (copy, sequence) = (Arc::clone(&batch.copy), batch.sequence);
    let transaction = settings.transactional_id.clone();
    let work = Work::Append(Append { batch: copy, sequence, transaction, acks: settings.acks });
    Some((arrives, Flight { sent, work, fate, generation }))
}

/// Reports a batch as delivered. Its first record is at `base`, if a broker said so.
fn deliver<R>(batch: Batch<R>, partition: i32, base: Option<i64>, reports: &mut Reports<R>) {
    for ((number, (slot, record)), copy) in (0..).zip(batch.entries).zip(&*batch.copy) {
        let offset = base.map(|base| base + number);
        let delivered = Delivered::new(partition, offset, Some(copy.timestamp()));
        reports.list.push_back(Report { slot, outcome: Outcome::Delivered(delivered) });
        reports.released.push(record);
    }
}
