//! What handles, futures, the driver task and the backend's threads share: one lock around the machine.
//!
//! The rule of this file: under the lock, decide; after it, act. Wake-ups and calls to the backend are gathered in
//! [`Effects`] and carried out when the lock is free.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackgroundTask, Delivered, Failure, FailureKind, Severity};
use aioproducer_core::{Completed, Heap, Instant, Lane, Limits, LimitsError, Producer, SlotId, TopicId};

use crate::admission::arena::Arena;
use crate::admission::inbox::{Arrival, Inbox};
use crate::admission::waiters::{Need, Vacancy, Waiters};
use crate::api::calls::Calls;
use crate::api::close::Unsent;
use crate::api::overflow::Overflow;
use crate::callbacks::{Callbacks, Ended, NO_PARTITION, RunnerSignal};
use crate::observe::{Observer, Options};
use crate::outcome::bulk::{Groups, Member};
use crate::outcome::completion::{CellRef, Completions};
use crate::outcome::context::Context;
use crate::outcome::error::{DeliveryError, ErrorPool};
use crate::outcome::ticket::{Target, Ticket};
use crate::outcome::trouble::Troubles;
use crate::record::topics::{Topic, Topics};
use crate::record::{OwnedRecord, Record};
use crate::runtime::panics::Panics;
use crate::state::effects::{Discard, Effects, Purged};
use crate::state::end::EndedBy;
use crate::state::flushes::Flushes;
use crate::state::pace::Paced;
use crate::state::task;
use crate::state::timeouts::Timeouts;
use crate::state::transactions::Session;
use crate::{AioProducer, Runtime};

/// Refusals that the operator is told of.
const REFUSALS: usize = 64;

/// How far the producer has come in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// New records are refused; the others have until the deadline.
    Closing(Instant),
    /// The backend was told to shut down; what it still holds comes back.
    Ending,
    /// Nothing is left.
    Ended,
}

pub(crate) struct State {
    pub(crate) machine: Producer<OwnedRecord, Ticket, Heap>,
    pub(crate) groups: Groups,
    pub(crate) waiters: Waiters,
    pub(crate) flushes: Flushes,
    pub(crate) timeouts: Timeouts,
    /// Records that the overflow policy dropped.
    pub(crate) dropped: u64,
    /// What brokers said about records whose reports are about to come.
    pub(crate) said: VecDeque<(SlotId, Arc<str>)>,
    /// What the operator knows of.
    refusals: Vec<(TopicId, FailureKind)>,
    /// Lanes whose batch is being handed off.
    pub(crate) handing_off: Vec<Lane>,
    /// What is to be purged in the backend when these hand-offs have ended.
    pub(crate) purge_after: Option<(Vec<Lane>, Purged)>,
    /// Workers that found nothing to do and were not woken since.
    pub(crate) idle_workers: usize,
    /// Workers that were woken and have not found out yet that there is nothing (more) to do.
    pub(crate) awake_workers: usize,
    /// A spare list.
    arrivals: Vec<Arrival>,
    /// Calls that have ended records whose deliveries do not know it yet.
    pub(crate) completing: usize,
    pub(crate) phase: Phase,
    pub(crate) ended_by: EndedBy,
    pub(crate) fatal: Option<Failure>,
    pub(crate) calls: Calls,
    /// Of a producer with a transactional id.
    pub(crate) session: Option<Box<Session>>,
    /// What a close could not send; `None` until there is one.
    pub(crate) unsent: Option<Vec<Unsent>>,
    /// How many more it could not send, that the backend has not given back.
    pub(crate) unreturned: usize,
    pub(crate) close_wakers: Vec<Waker>,
    /// Until when a close waits, for callbacks in the end.
    pub(crate) close_by: Instant,
    pub(crate) driver: Option<Waker>,
    /// When the driver's timer goes off.
    pub(crate) armed: Instant,
}

/// The meeting point of everything that belongs to one producer. Backends know it as their
/// [`Driver`](aioproducer_core::backend::Driver).
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Locked alone, or by whoever holds the other lock.
    inbox: Mutex<Inbox>,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The same, if its clock can be paused and the backend's cannot.
    pub(crate) pace: Option<Arc<Paced>>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) completions: Completions<DeliveryError, Context>,
    pub(crate) callbacks: Callbacks,
    pub(crate) overflow: Overflow,
    pub(crate) observer: Observer,
    pub(crate) context: Arc<Context>,
    /// The largest record, in bytes.
    /// What of the backend's limit is left for a record, how much is not, and the setting that has it.
    pub(crate) record_bytes: usize,
    pub(crate) record_overhead: usize,
    pub(crate) record_setting: Option<&'static str>,
    /// What a record may count for in the pool, in bytes.
    pub(crate) pool_bytes: usize,
    /// Records are written in transactions only.
    pub(crate) transactional: bool,
    /// A record that is sent alone does not linger.
    pub(crate) hurries_sends: bool,
    /// How long a call of the backend may take.
    pub(crate) call_limit: Duration,
    backend: OnceLock<Arc<dyn Backend>>,
    me: OnceLock<Weak<Self>>,
    pub(crate) panics: Arc<Panics>,
    /// Used again and again, so that bulk reports need no allocation.
    spare: Mutex<Spare>,
}

/// Lists that are empty in between calls.
#[derive(Default)]
pub(crate) struct Spare {
    pub(crate) wakers: Vec<Waker>,
    /// Deliveries that are to hear of their records' end.
    pub(crate) delivered: Vec<(CellRef, TopicId, Delivered)>,
    pub(crate) callbacks: Vec<Ended>,
}

/// What a producer is made with, besides the machine's limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) slots: usize,
    pub(crate) lanes: usize,
    pub(crate) topics: usize,
    pub(crate) overflow: Overflow,
    pub(crate) callback_tasks: usize,
    pub(crate) callback_stall: Duration,
    pub(crate) record_overhead: usize,
    pub(crate) record_setting: Option<&'static str>,
    pub(crate) transactional: bool,
    pub(crate) call_limit: Duration,
    pub(crate) hurries_sends: bool,
}

impl Shared {
    pub(crate) fn new(
        limits: Limits,
        settings: Settings,
        options: Options,
        runtime: impl Runtime,
    ) -> Result<Self, LimitsError> {
        let Settings { slots, lanes, topics, overflow, callback_tasks, callback_stall, .. } = settings;
        let Settings { record_overhead, record_setting, transactional, call_limit, hurries_sends, .. } = settings;
        // It refuses more slots than there can be.
        let machine = Producer::new(limits, Heap { slots, lanes })?;
        let topics = Arc::new(Topics::new(topics));
        let runtime: Arc<dyn Runtime> = Arc::new(runtime);
        let context = Arc::new(Context {
            topics: Arc::clone(&topics),
            runtime: Arc::clone(&runtime),
            retracts: OnceLock::new(),
            errors: ErrorPool::new(slots),
            troubles: Troubles::default(),
            delivery_timeout: limits.delivery_timeout,
        });
        let panics = Arc::new(Panics::default());
        let state = State {
            machine,
            groups: Groups::default(),
            waiters: Waiters::new(),
            flushes: Flushes::default(),
            timeouts: Timeouts::default(),
            dropped: 0,
            said: VecDeque::new(),
            refusals: Vec::new(),
            handing_off: Vec::new(),
            purge_after: None,
            idle_workers: 0,
            awake_workers: 0,
            arrivals: Vec::new(),
            completing: 0,
            phase: Phase::Open,
            ended_by: EndedBy::default(),
            fatal: None,
            calls: Calls::default(),
            session: transactional.then(Box::default),
            unsent: None,
            unreturned: 0,
            close_wakers: Vec::new(),
            close_by: Instant::ZERO,
            driver: None,
            armed: Instant::MAX,
        };
        Ok(Self {
            state: Mutex::new(state),
            inbox: Mutex::new(Inbox::new(Arena::new(limits.pool_bytes / 2), slots)),
            runtime,
            pace: None,
            topics,
            completions: Completions::new(Arc::clone(&context)),
            // For the records in the pool, and for as many whose callbacks are behind.
            callbacks: Callbacks::new(slots.saturating_mul(2), callback_tasks, callback_stall, Arc::clone(&panics)),
            overflow,
            observer: Observer::new(options, slots),
            context,
            record_bytes: limits.record_bytes.saturating_sub(record_overhead).min(OwnedRecord::LIMIT),
            record_overhead,
            record_setting,
            pool_bytes: limits.pool_bytes.min(OwnedRecord::LIMIT),
            transactional,
            call_limit,
            hurries_sends,
            backend: OnceLock::new(),
            me: OnceLock::new(),
            panics,
            spare: Mutex::new(Spare::default()),
        })
    }

    /// Takes the running backend and starts the driver task, and those of the backend.
    pub(crate) fn start(self: Arc<Self>, backend: Arc<dyn Backend>, background: Vec<BackgroundTask>) -> AioProducer {
        self.panics.tell(self.backend.get_or_init(|| backend));
        // What ended the producer before this asked nobody to shut down.
        if self.lock().phase == Phase::Ending
            && let Some(backend) = self.backend()
        {
            backend.shut_down();
        }
        let me = self.me.get_or_init(|| Arc::downgrade(&self)).clone();
        self.context.retracts.get_or_init(|| me);
        self.runtime.spawn(Box::pin(task::DriverTask::new(Arc::clone(&self))));
        background.into_iter().for_each(|task| self.runtime.spawn(task));
        AioProducer::new(self)
    }

    /// Itself, to be kept by a task; `None` if it is about to go.
    pub(crate) fn me(&self) -> Option<Arc<Self>> {
        self.me.get()?.upgrade()
    }

    /// The state as it is, arrivals apart.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `step` under the lock, when the machine knows all arrivals, then what follows from its new state, then,
    /// unlocked, the effects.
    pub(crate) fn with<T>(&self, step: impl FnOnce(&mut State, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let value = {
            let mut state = self.lock();
            state.collect_arrivals(self, &mut effects);
            let value = step(&mut state, &mut effects);
            state.after_transition(self, &mut effects);
            value
        };
        self.apply(&mut effects);
        value
    }

    /// The backend, once it runs.
    pub(crate) fn backend(&self) -> Option<&Arc<dyn Backend>> {
        self.backend.get()
    }

    pub(crate) fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record as it was accepted. Its place is used again: thousands of small blocks, freed one by one, are put together
    /// by the allocator when somebody asks for a large one, and that takes too long for a poll.
    pub(crate) fn hand_back(&self, mut stored: OwnedRecord) -> Record<'static> {
        let record = stored.take_record(Topic::known(&self.topics, stored.topic()));
        self.inbox().memory.recycle([stored]);
        record
    }

    /// Ends the producer without waiting. The driver task sees to what is left, and the operator hears of a loss.
    pub(crate) fn abort(&self, by: EndedBy) {
        self.with(|state, effects| {
            if matches!(state.phase, Phase::Open | Phase::Closing(_)) {
                state.ended_by = by;
                effects.lines.extend(state.loss(self).map(|loss| (Severity::Error, by.lost(&loss))));
            }
            state.begin_ending(self, effects);
            state.give_up(self, effects)
        });
    }

    /// The same for a runtime that is gone, and its driver task with it.
    pub(crate) fn abort_here(&self) {
        self.abort(EndedBy::Runtime);
        self.give_up_all();
    }

    /// Fails what a producer that ends did not hand off, some records at a time: others want the lock, too.
    pub(crate) fn give_up_all(&self) {
        while !self.with(|state, effects| state.give_up(self, effects)) {}
    }
}

impl State {
    /// A record has ended: flushes count it, and its own timeout is over.
    #[inline(always)]
    pub(crate) fn end_record(&mut self, ended: &Completed<Ticket>, effects: &mut Effects) {
        if !self.flushes.is_empty() || !self.timeouts.is_empty() {
            self.tell_end(ended, effects);
        }
    }

    fn tell_end(&mut self, ended: &Completed<Ticket>, effects: &mut Effects) {
        if !self.flushes.is_empty() {
            self.flushes.end_record(ended.lane, ended.sequence);
        }
        if !self.timeouts.is_empty() {
            effects.discard.extend(self.timeouts.remove(ended.slot).map(Discard::Record));
        }
    }

    /// Ends a record that failed. Whose outcome was told before, nobody hears of again.
    pub(crate) fn fail(
        &mut self,
        shared: &Shared,
        ended: Completed<Ticket>,
        failure: Failure,
        record: Option<OwnedRecord>,
        effects: &mut Effects,
    ) {
        self.end_record(&ended, effects);
        self.note_refusal(shared, ended.lane.topic(), failure, effects);
        let is_about_it = self.said.front().is_some_and(|(slot, _)| *slot == ended.slot);
        let said = if is_about_it { self.said.pop_front().map(|(_, said)| said) } else { None };
        if ended.ticket.target() == Target::Nobody {
            effects.discard.extend(record.map(|record| Discard::Returned(shared.hand_back(record))));
        } else {
            self.tell_failure(shared, ended.ticket, failure, said, record, effects);
        }
    }

    /// What a broker refuses for good is told to the operator as well, once for each topic: who produces may not look.
    fn note_refusal(&mut self, shared: &Shared, topic: TopicId, failure: Failure, effects: &mut Effects) {
        let is_refusal = matches!(
            failure.kind,
            FailureKind::UnknownTopic | FailureKind::UnknownPartition | FailureKind::NotAuthorized
        );
        let refusal = (topic, failure.kind);
        if !is_refusal || self.refusals.contains(&refusal) || self.refusals.len() == REFUSALS {
            return;
        }
        self.refusals.push(refusal);
        let name = shared.topics.name(topic).unwrap_or_default();
        let line = format!("records for the topic `{name}` fail: {}", failure.reason);
        effects.lines.push((Severity::Error, line));
    }

    /// Gives a failed record back to whoever waits for it, and to a close that is under way.
    pub(crate) fn tell_failure(
        &mut self,
        shared: &Shared,
        ticket: Ticket,
        failure: Failure,
        said: Option<Arc<str>>,
        record: Option<OwnedRecord>,
        effects: &mut Effects,
    ) {
        let failure = if self.session.is_some() { self.note_failure(failure) } else { failure };
        let failure = match (&self.fatal, failure.kind) {
            (Some(fatal), FailureKind::Purged | FailureKind::Closed) => fatal.with_status(failure.status),
            // The backend purges because it was told to end.
            (None, FailureKind::Purged) if self.phase == Phase::Ending => self.ended_by.failure(failure.status),
            (None, FailureKind::Closed) => self.ended_by.failure(failure.status),
            _ => failure,
        };
        let key = record.as_ref().map(|record| {
            let lane = aioproducer_core::Record::lane(record);
            (lane.topic(), lane.partition().unwrap_or(NO_PARTITION))
        });
        let topic = key.map(|(topic, _)| topic);
        let (failure, mut explained) = shared.context.troubles.explain(topic, failure);
        explained.cause = said.or(explained.cause);
        shared.observer.failed(ticket, key, failure, &mut effects.notes);
        let record = record.map(|record| shared.hand_back(record));
        let given_up = self.phase == Phase::Ending || matches!(self.phase, Phase::Closing(_)) && self.is_aborting();
        if given_up && let Some(unsent) = &mut self.unsent {
            match &record {
                Some(record) => unsent.push(Unsent { record: record.clone(), status: failure.status }),
                None => self.unreturned += 1,
            }
        }
        let error = DeliveryError::new(&shared.context, failure, explained, record);
        match ticket.target() {
            Target::Delivery(cell) => {
                let unwanted = shared.completions.complete_failed(cell, error, &mut effects.wakers);
                effects.discard.extend(unwanted.map(Discard::Error));
            }
            Target::Group { group, index } => self.settle_member(group, index, Member::Failed(error), effects),
            Target::Callback(callback) => {
                let key = key.unwrap_or((TopicId(0), NO_PARTITION));
                let trace = shared.observer.span_of(ticket);
                effects.callbacks.push(Ended { callback, key, outcome: Err(error), trace });
            }
            Target::Nobody => effects.discard.push(Discard::Error(error)),
        }
    }

    pub(crate) fn settle_member(&mut self, group: u32, index: u32, member: Member, effects: &mut Effects) {
        let unwanted = self.groups.settle(group, index, member, &mut effects.wakers);
        if !unwanted.is_empty() {
            effects.discard.push(Discard::Members(unwanted));
        }
    }

    /// Tells the machine of the records that came by the fast way.
    pub(crate) fn collect_arrivals(&mut self, shared: &Shared, effects: &mut Effects) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        shared.inbox().collect(&mut arrivals);
        let first = arrivals.first().map(|arrival| arrival.at);
        for arrival in arrivals.drain(..) {
            self.admit(shared, arrival, None, effects);
        }
        if let Some(first) = first {
            self.arm(first, effects);
        }
        self.arrivals = arrivals;
    }

    /// Shuts the fast way until the lock is given back, for whoever gives away room that it gives away, too.
    pub(crate) fn shut_inbox(&mut self, shared: &Shared, effects: &mut Effects) {
        shared.inbox().shut();
        self.collect_arrivals(shared, effects);
    }

    /// Refuses new records from now on.
    pub(crate) fn close(&mut self, shared: &Shared, effects: &mut Effects) {
        self.shut_inbox(shared, effects);
        self.machine.close();
        effects.closed = true;
        if let Some(session) = &mut self.session {
            session.machine.close();
            session.ended_by = self.ended_by;
        }
    }

    /// What changed for others because the machine changed.
    pub(crate) fn after_transition(&mut self, shared: &Shared, effects: &mut Effects) {
        if let call @ (RunnerSignal::Wake(_) | RunnerSignal::Spawn(_)) = shared.callbacks.push(&mut effects.callbacks)
            && let RunnerSignal::Wake(before) = std::mem::replace(&mut effects.runner, call)
        {
            effects.discard.push(Discard::Waker(before));
        }
        shared.observer.gather(self, &shared.callbacks, &mut effects.notes);
        if self.session.is_some() || !self.calls.is_empty() {
            self.next_calls(shared, effects);
        }
        if self.idle_workers > 0 && self.has_batch() {
            self.idle_workers -= 1;
            self.awake_workers += 1;
            effects.workers += 1;
            effects.alone = self.machine.len() == 1;
        }
        if !self.waiters.is_empty() {
            if self.machine.is_closed() || !self.admits() {
                self.waiters.wake_all(&mut effects.wakers);
            } else {
                self.waiters.grant(&self.machine, &mut effects.wakers);
            }
        }
        // Whoever awaited a flush finds the deliveries before it ready.
        if self.completing == 0 {
            self.flushes.settle(&mut effects.wakers);
        }
        if self.is_aborting() && self.machine.can_drain() {
            effects.wakers.extend(self.driver.take());
        }
        if matches!(self.phase, Phase::Closing(_)) && self.machine.is_empty() && self.is_settled() {
            self.phase = Phase::Ending;
            effects.shut_down = true;
        }
        if self.awake_workers > 0 && self.waiters.is_empty() && !self.machine.is_closed() && self.admits() {
            shared.inbox().offer(self.machine.room());
        } else {
            shared.inbox().shut();
        }
        if let Some(pace) = &shared.pace {
            effects.work |= self.note_work(pace);
        }
    }

    /// Arms the driver's timer for records accepted from `now` on, if it goes off later than one of them may need.
    pub(crate) fn arm(&mut self, now: Instant, effects: &mut Effects) {
        let limits = self.machine.limits();
        let earliest = match limits.delivery_timeout {
            _ if !limits.linger.is_zero() => now + limits.linger,
            Some(timeout) => now + timeout,
            None => return,
        };
        if self.armed > earliest.min(limits.delivery_timeout.map_or(Instant::MAX, |timeout| now + timeout)) {
            effects.wakers.extend(self.driver.take());
        }
    }

    /// Asks the backend to give up what it holds. The driver sees to the rest, some records at a time.
    pub(crate) fn begin_ending(&mut self, shared: &Shared, effects: &mut Effects) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        self.close(shared, effects);
        self.phase = Phase::Ending;
        effects.shut_down = true;
        effects.wakers.extend(self.driver.take());
    }

    /// The producer met an error that it cannot recover from. [`Shared::give_up_all`] is to follow.
    pub(crate) fn handle_fatal(&mut self, shared: &Shared, failure: Failure, effects: &mut Effects) {
        if self.phase == Phase::Ended {
            return;
        }
        self.fatal.get_or_insert(failure);
        if let Some(session) = &mut self.session {
            session.machine.handle_fatal();
        }
        self.begin_ending(shared, effects);
    }
}

impl Vacancy for Producer<OwnedRecord, Ticket, Heap> {
    fn has(&self, need: Need) -> bool {
        self.has_room_for(need.count, need.bytes, need.lanes)
    }

    fn needs_lane(&self, lane: Lane) -> bool {
        Self::needs_lane(self, lane)
    }
}
