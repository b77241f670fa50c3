//! What handles, futures, the driver task and the backend's threads share: one lock around the machine.
//!
//! The rule of this file: under the lock, decide; after it, act. Wake-ups and calls to the backend are gathered in
//! [`Effects`] and carried out when the lock is free.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackgroundTask, Delivered, Failure, FailureKind, Status};
use aioproducer_core::{FlushPoint, Heap, Instant, Limits, LimitsError, Producer, TopicId};

use crate::arena::Arena;
use crate::callbacks::{Call, CallbackRef, Callbacks, Ended, NO_PARTITION};
use crate::close::Unsent;
use crate::completion::{CellRef, Completions};
use crate::delivery::{Context, DeliveryError};
use crate::groups::{Groups, Member};
use crate::inbox::{Arrival, Inbox};
use crate::observe::{Mark, Notes, Observer, Options};
use crate::overflow::Overflow;
use crate::record::Stored;
use crate::scope::ScopedFlush;
use crate::timeouts::Timeouts;
use crate::topics::Topics;
use crate::waiters::Waiters;
use crate::{AioProducer, Runtime, task};

/// Whom a record's outcome goes to, in one word, since every slot of the pool has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The number of a `produce_all` plus one, `TO_DELIVERY`, `TO_NOBODY`, or `TO_CALLBACK` and the callback's shelf.
    kind: NonZeroU32,
    value: u32,
    /// Nothing, unless spans or metrics are on.
    pub(crate) mark: Mark,
}

const TO_DELIVERY: NonZeroU32 = NonZeroU32::MAX;
const TO_NOBODY: NonZeroU32 = NonZeroU32::new(u32::MAX - 1).unwrap();
const TO_CALLBACK: u32 = 1 << 31;

/// What a ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A `Delivery`.
    Delivery(CellRef),
    /// A `produce_all`, and the record's place in it.
    Group { group: u32, index: u32 },
    /// A callback.
    Callback(CallbackRef),
    /// The outcome was told already.
    Nobody,
}

impl Ticket {
    pub(crate) fn to_delivery(cell: CellRef) -> Self {
        Self { kind: TO_DELIVERY, value: cell.to_bits(), mark: Mark::NONE }
    }

    /// `group` is a number of a [`Groups`], which are fewer than can be told apart.
    pub(crate) fn to_group(group: u32, index: u32) -> Self {
        Self { kind: NonZeroU32::MIN.saturating_add(group), value: index, mark: Mark::NONE }
    }

    /// Shelves are as many as an application has callbacks in its source, so there are numbers for all.
    pub(crate) fn to_callback(callback: CallbackRef) -> Self {
        let kind = NonZeroU32::MIN.saturating_add(TO_CALLBACK - 1 + callback.shelf);
        Self { kind, value: callback.place, mark: Mark::NONE }
    }

    /// For a record whose outcome was told before its end.
    pub(crate) const NOBODY: Self = Self { kind: TO_NOBODY, value: 0, mark: Mark::NONE };

    #[inline]
    pub(crate) fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    pub(crate) fn target(self) -> Target {
        match self.kind {
            TO_DELIVERY => Target::Delivery(CellRef::from_bits(self.value)),
            TO_NOBODY => Target::Nobody,
            kind if kind.get() >= TO_CALLBACK => {
                Target::Callback(CallbackRef { shelf: kind.get() - TO_CALLBACK, place: self.value })
            }
            kind => Target::Group { group: kind.get() - 1, index: self.value },
        }
    }
}

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

pub(crate) struct FlushWaiter {
    pub(crate) id: u64,
    pub(crate) point: FlushPoint,
    pub(crate) waker: Option<Waker>,
}

pub(crate) struct State {
    pub(crate) machine: Producer<Stored, Ticket, Heap>,
    pub(crate) groups: Groups,
    pub(crate) waiters: Waiters,
    pub(crate) flushes: VecDeque<FlushWaiter>,
    pub(crate) scoped: Vec<ScopedFlush>,
    /// Records have ended of which flushes of a scope do not know.
    pub(crate) recount: bool,
    pub(crate) next_flush: u64,
    pub(crate) timeouts: Timeouts,
    /// Records that the overflow policy dropped.
    pub(crate) dropped: u64,
    /// Hand-offs that were begun, and that have ended.
    pub(crate) taken: u64,
    pub(crate) settled: u64,
    /// What is to be purged in the backend, when so many hand-offs have ended.
    pub(crate) purge_after: Option<(u64, Purged)>,
    /// Workers that found nothing to do and were not woken since.
    pub(crate) idle_workers: usize,
    /// Workers that were woken and have not found out yet that there is nothing (more) to do.
    pub(crate) awake_workers: usize,
    /// A spare list.
    arrivals: Vec<Arrival>,
    /// Calls that have ended records whose deliveries do not know it yet.
    pub(crate) completing: usize,
    pub(crate) phase: Phase,
    pub(crate) fatal: Option<Failure>,
    /// What a close could not send; `None` until there is one.
    pub(crate) unsent: Option<Vec<Unsent>>,
    pub(crate) close_wakers: Vec<Waker>,
    /// Until when a close waits, for callbacks in the end.
    pub(crate) close_by: Instant,
    pub(crate) driver: Option<Waker>,
    /// When the driver's timer goes off.
    pub(crate) armed: Instant,
}

/// What a purge is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Purged {
    pub(crate) queued: bool,
    pub(crate) in_flight: bool,
}

/// What is to be done once the lock is free.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) wakers: Vec<Waker>,
    /// Callbacks whose records have ended.
    pub(crate) callbacks: Vec<Ended>,
    call: Call,
    /// To be dropped: that may run anybody's code, a payload's owner's for one.
    pub(crate) discard: Vec<Discard>,
    pub(crate) notes: Notes,
    workers: usize,
    /// There is one record, and nothing else.
    alone: bool,
    flush: bool,
    purge: Purged,
    shut_down: bool,
}

/// What nobody asked for.
pub(crate) enum Discard {
    Error(#[expect(dead_code, reason = "kept to be dropped")] DeliveryError),
    Members(#[expect(dead_code, reason = "kept to be dropped")] Vec<Member>),
    Record(#[expect(dead_code, reason = "kept to be dropped")] Stored),
    Waker(#[expect(dead_code, reason = "kept to be dropped")] Waker),
}

impl Effects {
    fn has_any(&self) -> bool {
        self.workers > 0
            || self.flush
            || self.shut_down
            || self.purge != Purged::default()
            || !self.wakers.is_empty()
            || !self.callbacks.is_empty()
            || !matches!(self.call, Call::Nobody)
    }

    /// Begins with lists that are empty.
    pub(crate) fn reusing(wakers: Vec<Waker>, callbacks: Vec<Ended>) -> Self {
        Self { wakers, callbacks, ..Self::default() }
    }

    pub(crate) fn purge_backend(&mut self, what: Purged) {
        self.purge.queued |= what.queued;
        self.purge.in_flight |= what.in_flight;
    }

    pub(crate) fn flush_backend(&mut self) {
        self.flush = true;
    }
}

/// The meeting point of everything that belongs to one producer. Backends know it as their
/// [`Exchange`](aioproducer_core::backend::Exchange).
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Locked alone, or by whoever holds the other lock.
    inbox: Mutex<Inbox>,
    pub(crate) runtime: Box<dyn Runtime>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) completions: Completions<DeliveryError, Context>,
    pub(crate) callbacks: Callbacks,
    pub(crate) overflow: Overflow,
    pub(crate) observer: Observer,
    context: Arc<Context>,
    /// The largest record, in bytes.
    pub(crate) record_bytes: usize,
    backend: OnceLock<Arc<dyn Backend>>,
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

/// Settings that are the driver's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) slots: usize,
    pub(crate) lanes: usize,
    pub(crate) overflow: Overflow,
    pub(crate) callback_tasks: usize,
    pub(crate) callback_stall: Duration,
}

impl Shared {
    pub(crate) fn new(
        limits: Limits,
        settings: Settings,
        options: Options,
        runtime: impl Runtime,
    ) -> Result<Self, LimitsError> {
        let Settings { slots, lanes, overflow, callback_tasks, callback_stall } = settings;
        let topics = Arc::new(Topics::new());
        let context = Arc::new(Context { topics: Arc::clone(&topics), shared: OnceLock::new() });
        let state = State {
            machine: Producer::new(limits, Heap { slots, lanes })?,
            groups: Groups::default(),
            waiters: Waiters::new(),
            flushes: VecDeque::new(),
            scoped: Vec::new(),
            recount: false,
            next_flush: 0,
            timeouts: Timeouts::default(),
            dropped: 0,
            taken: 0,
            settled: 0,
            purge_after: None,
            idle_workers: 0,
            awake_workers: 0,
            arrivals: Vec::new(),
            completing: 0,
            phase: Phase::Open,
            fatal: None,
            unsent: None,
            close_wakers: Vec::new(),
            close_by: Instant::ZERO,
            driver: None,
            armed: Instant::MAX,
        };
        Ok(Self {
            state: Mutex::new(state),
            inbox: Mutex::new(Inbox::new(Arena::new(limits.pool_bytes.saturating_mul(2)))),
            runtime: Box::new(runtime),
            topics,
            completions: Completions::new(Arc::clone(&context)),
            callbacks: Callbacks::new(slots, callback_tasks, callback_stall),
            overflow,
            observer: Observer::new(options, slots),
            context,
            record_bytes: limits.record_bytes.min(Stored::LIMIT),
            backend: OnceLock::new(),
            spare: Mutex::new(Spare::default()),
        })
    }

    /// Takes the running backend and starts the driver task, and those of the backend.
    pub(crate) fn start(self: Arc<Self>, backend: Arc<dyn Backend>, background: Vec<BackgroundTask>) -> AioProducer {
        self.backend.get_or_init(|| backend);
        self.context.shared.get_or_init(|| Arc::downgrade(&self));
        self.runtime.spawn(Box::pin(task::Driver::new(Arc::clone(&self))));
        background.into_iter().for_each(|task| self.runtime.spawn(task));
        AioProducer::new(self)
    }

    /// Itself, to be kept by a task; `None` if it is about to go.
    pub(crate) fn me(&self) -> Option<Arc<Self>> {
        self.context.shared.get()?.upgrade()
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
            state.follow_up(self, &mut effects);
            value
        };
        self.act(&mut effects);
        value
    }

    pub(crate) fn act(&self, effects: &mut Effects) {
        self.observer.tell(&self.topics, &mut effects.notes);
        if !effects.has_any() {
            return;
        }
        if let Some(backend) = self.backend.get() {
            match effects.workers {
                1 if effects.alone => backend.wake_for_one(),
                workers => (0..workers).for_each(|_| backend.wake()),
            }
            if effects.flush {
                backend.flush();
            }
            if effects.purge != Purged::default() {
                backend.purge(effects.purge.queued, effects.purge.in_flight);
            }
            if effects.shut_down {
                backend.shut_down();
            }
        }
        effects.wakers.drain(..).for_each(Waker::wake);
        self.callbacks.follow(self, std::mem::take(&mut effects.call));
        if !effects.callbacks.is_empty() {
            self.callbacks.forget(effects.callbacks.drain(..));
        }
    }

    pub(crate) fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the producer without waiting: for a dropped handle or a runtime that is gone.
    pub(crate) fn abort(&self) {
        self.with(|state, effects| state.end(self, effects));
    }
}

/// The failure of records that a closing or vanishing producer did not send.
pub(crate) const CLOSED: Failure = Failure {
    kind: FailureKind::Closed,
    status: Status::NotPersisted,
    code: 0,
    reason: "the producer was closed before the record was delivered",
};

impl State {
    /// Gives a failed record back to whoever waits for it, and to a close that is under way.
    pub(crate) fn fail(
        &mut self,
        shared: &Shared,
        ticket: Ticket,
        failure: Failure,
        record: Option<Stored>,
        effects: &mut Effects,
    ) {
        let failure = match (&self.fatal, failure.kind) {
            (Some(fatal), FailureKind::Purged | FailureKind::Closed) => Failure { status: failure.status, ..*fatal },
            // The backend purges because it was told to end.
            (None, FailureKind::Purged) if self.phase == Phase::Ending => Failure { status: failure.status, ..CLOSED },
            _ => failure,
        };
        self.recount = true;
        let key = record.as_ref().map(|record| {
            let lane = aioproducer_core::Record::lane(record);
            (lane.topic(), lane.partition().unwrap_or(NO_PARTITION))
        });
        shared.observer.failed(ticket, key, failure, &mut effects.notes);
        let record = record.map(|record| {
            let topic = shared.topics.name(record.topic()).unwrap_or_default().to_owned();
            record.into_record(topic)
        });
        if self.phase == Phase::Ending
            && let (Some(unsent), Some(record)) = (&mut self.unsent, &record)
        {
            unsent.push(Unsent { record: record.clone(), status: failure.status });
        }
        let error = DeliveryError::new(failure, record);
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
        for arrival in arrivals.drain(..) {
            self.admit(shared, arrival, effects);
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
    }

    /// What changed for others because the machine changed.
    pub(crate) fn follow_up(&mut self, shared: &Shared, effects: &mut Effects) {
        if let call @ (Call::Wake(_) | Call::Spawn(_)) = shared.callbacks.push(&mut effects.callbacks) {
            effects.call = call;
        }
        shared.observer.gather(self, &shared.callbacks, &mut effects.notes);
        if self.idle_workers > 0 && self.machine.has_batch() {
            self.idle_workers -= 1;
            self.awake_workers += 1;
            effects.workers += 1;
            effects.alone = self.machine.len() == 1;
        }
        if !self.waiters.is_empty() {
            if self.machine.is_closed() {
                self.waiters.wake_all(&mut effects.wakers);
            } else {
                let machine = &self.machine;
                self.waiters.grant(|count, bytes| machine.has_room_for(count, bytes), &mut effects.wakers);
            }
        }
        for at in 0..self.flushes.len() {
            if !self.is_flushed(self.flushes[at].point) {
                break;
            }
            effects.wakers.extend(self.flushes[at].waker.take());
        }
        if !self.scoped.is_empty() {
            self.wake_scoped(effects);
        }
        if matches!(self.phase, Phase::Closing(_)) && self.machine.is_empty() {
            self.phase = Phase::Ending;
            effects.shut_down = true;
        }
        if self.awake_workers > 0 && self.waiters.is_empty() && !self.machine.is_closed() {
            shared.inbox().offer(self.machine.room());
        } else {
            shared.inbox().shut();
        }
    }

    /// Whether every record accepted before `point` has its outcome, and whoever waits for it knows.
    pub(crate) fn is_flushed(&self, point: FlushPoint) -> bool {
        self.completing == 0 && self.machine.is_flushed(point)
    }

    /// Arms the driver's timer for a record accepted at `now`, if it goes off later than the record may need.
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

    /// The same, with the rest at once.
    pub(crate) fn end(&mut self, shared: &Shared, effects: &mut Effects) {
        self.begin_ending(shared, effects);
        self.fail_buffered(shared, CLOSED, effects);
    }

    /// Fails every record that is not in the backend's hands.
    pub(crate) fn fail_buffered(&mut self, shared: &Shared, failure: Failure, effects: &mut Effects) {
        let mut drained = Vec::new();
        self.machine.drain(|record, ticket| drained.push((record, ticket)));
        for (record, ticket) in drained {
            self.fail(shared, ticket, failure, Some(record), effects);
        }
    }
}
