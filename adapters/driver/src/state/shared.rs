//! What handles, futures, the driver task and the backend's threads share. `locks` says how it is locked.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use aioproducer_core::backend::{Backend, Delivered, Failure, FailureKind};
use aioproducer_core::{Heap, Instant, Limits, LimitsError, Overflow, Producer, SlotId, TopicId};

use super::anywhere::Anywhere;
use super::calls::Calls;
use super::flushes::Flushes;
use super::health::Sample;
use super::transactions::Transactions;
use crate::admission::inbox::{Arrival, Inbox};
use crate::admission::lane_waiters::LaneWaiters;
use crate::admission::rules::Rules;
use crate::callbacks::{Callbacks, Ended};
use crate::observe::{Observer, Options, panic_caught};
use crate::outcome::bulk::BulkOutcomes;
use crate::outcome::completion::{CellRef, Completions};
use crate::outcome::context::Context;
use crate::outcome::ended_by::EndedBy;
use crate::outcome::error::{DeliveryError, ErrorPool};
use crate::outcome::ticket::Ticket;
use crate::outcome::trouble::Troubles;
use crate::outcome::unsent::Unsent;
use crate::record::OwnedRecord;
use crate::record::arena::Arena;
use crate::record::topics::Topics;
use crate::runtime::Runtime;
use crate::runtime::paced::Paced;
use crate::runtime::panics::Panics;
use crate::runtime::sync::Mutex;

pub(crate) struct State {
    pub(crate) machine: Producer<OwnedRecord, Ticket, Heap>,
    pub(crate) bulk: BulkOutcomes,
    pub(crate) waiters: LaneWaiters,
    pub(crate) flushes: Flushes,
    /// Purges whose futures have begun and are not over.
    pub(crate) purges: usize,
    /// What brokers said about records whose reports are about to come.
    pub(crate) said: VecDeque<(SlotId, Arc<str>)>,
    /// Rejections by brokers that the operator was informed of.
    pub(crate) refusals: Vec<(TopicId, FailureKind)>,
    /// Workers that found nothing to do and were not woken since.
    pub(crate) idle_workers: usize,
    /// Workers that were woken and have not gone to sleep again.
    pub(crate) awake_workers: usize,
    /// A spare list, empty between calls.
    pub(crate) arrivals: Vec<Arrival>,
    /// Reports under way: their records have ended, and the deliveries are not completed yet.
    pub(crate) completing: usize,
    pub(crate) ended_by: EndedBy,
    /// What follows from the machine's end was done.
    pub(crate) has_ended: bool,
    pub(crate) fatal: Option<Failure>,
    pub(crate) calls: Calls,
    /// Of a producer with a transactional id.
    pub(crate) transactions: Option<Box<Transactions>>,
    /// What a close could not send; `None` until there is one.
    pub(crate) unsent: Option<Vec<Unsent>>,
    /// How many more it could not send, that the backend has not given back.
    pub(crate) unreturned: usize,
    pub(crate) close_wakers: Vec<Waker>,
    /// Until when a close waits, for callbacks in the end.
    pub(crate) close_by: Instant,
    /// The driver task.
    pub(crate) driver: Option<Waker>,
    /// When the driver's timer goes off.
    pub(crate) armed: Instant,
    /// When metrics get the health.
    pub(crate) sample: Sample,
}

/// Everything that belongs to one producer. Backends know it as their [`Driver`](aioproducer_core::backend::Driver).
pub(crate) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) inbox: Mutex<Inbox>,
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The same, if its clock can be paused and the backend's cannot.
    pub(crate) pace: Option<Arc<Paced>>,
    pub(crate) topics: Arc<Topics>,
    pub(super) anywhere: Anywhere,
    pub(crate) completions: Completions<DeliveryError, Context>,
    pub(crate) callbacks: Callbacks,
    pub(crate) rules: Rules,
    pub(crate) overflow: Overflow,
    pub(crate) observer: Observer,
    pub(crate) context: Arc<Context>,
    /// A record that is sent alone does not linger.
    pub(crate) hurries_sends: bool,
    /// How long a call of the backend may take.
    pub(crate) call_limit: Duration,
    pub(super) backend: OnceLock<Arc<dyn Backend>>,
    pub(super) me: OnceLock<Weak<Self>>,
    pub(crate) panics: Arc<Panics>,
    /// Used again and again, so that bulk reports need no allocation.
    pub(super) spare: Mutex<Spare>,
}

/// Lists that are empty between calls.
#[derive(Default)]
pub(crate) struct Spare {
    pub(crate) wakers: Vec<Waker>,
    /// Deliveries that are to be completed.
    pub(crate) delivered: Vec<(CellRef, TopicId, Delivered)>,
    pub(crate) callbacks: Vec<Ended>,
}

/// What a producer is made with, besides the machine's limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) slots: usize,
    pub(crate) lanes: usize,
    pub(crate) topics: usize,
    pub(crate) callback_tasks: usize,
    pub(crate) callback_stall: Duration,
    pub(crate) record_overhead: usize,
    pub(crate) record_setting: Option<&'static str>,
    pub(crate) transactional: bool,
    pub(crate) call_limit: Duration,
    pub(crate) hurries_sends: bool,
}

#[cfg(test)]
impl Settings {
    /// Those of a producer in a unit test.
    pub(crate) fn of(slots: usize) -> Self {
        Self {
            slots,
            lanes: 4,
            topics: 4,
            callback_tasks: 1,
            callback_stall: Duration::from_secs(1),
            record_overhead: 0,
            record_setting: None,
            transactional: false,
            call_limit: Duration::from_secs(1),
            hurries_sends: false,
        }
    }
}

impl Shared {
    pub(crate) fn new(
        limits: Limits,
        settings: Settings,
        options: Options,
        runtime: impl Runtime,
    ) -> Result<Self, LimitsError> {
        let Settings { slots, lanes, topics, callback_tasks, callback_stall, .. } = settings;
        let Settings { record_overhead, record_setting, transactional, call_limit, hurries_sends, .. } = settings;
        // It refuses more slots than there can be.
        let machine = Producer::new(limits, Heap { slots, lanes })?;
        let anywhere = Anywhere::new(topics);
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
        let panics = Arc::new(Panics::new(panic_caught));
        let state = State {
            machine,
            bulk: BulkOutcomes::default(),
            waiters: LaneWaiters::default(),
            flushes: Flushes::default(),
            purges: 0,
            said: VecDeque::new(),
            refusals: Vec::new(),
            idle_workers: 0,
            awake_workers: 0,
            arrivals: Vec::new(),
            completing: 0,
            ended_by: EndedBy::default(),
            has_ended: false,
            fatal: None,
            calls: Calls::default(),
            transactions: transactional.then(Box::default),
            unsent: None,
            unreturned: 0,
            close_wakers: Vec::new(),
            close_by: Instant::ZERO,
            driver: None,
            armed: Instant::MAX,
            sample: Sample::Never,
        };
        Ok(Self {
            state: Mutex::new(state),
            inbox: Mutex::new(Inbox::new(Arena::new(limits.pool_bytes / 2), slots)),
            runtime,
            pace: None,
            topics,
            anywhere,
            completions: Completions::new(Arc::clone(&context)),
            // For the records in the pool, and for as many whose callbacks are behind.
            callbacks: Callbacks::new(slots.saturating_mul(2), callback_tasks, callback_stall, Arc::clone(&panics)),
            rules: Rules {
                record_bytes: limits.record_bytes.saturating_sub(record_overhead).min(OwnedRecord::LIMIT),
                record_overhead,
                record_setting,
                pool_bytes: limits.pool_bytes.min(OwnedRecord::LIMIT),
                transactional,
            },
            overflow: limits.overflow,
            observer: Observer::new(options, slots),
            context,
            call_limit,
            hurries_sends,
            backend: OnceLock::new(),
            me: OnceLock::new(),
            panics,
            spare: Mutex::new(Spare::default()),
        })
    }

    /// The same with a runtime that is paced.
    pub(crate) fn paced(mut self, pace: Arc<Paced>) -> Self {
        self.pace = Some(pace);
        self
    }

    /// The backend, once it runs.
    pub(crate) fn backend(&self) -> Option<&Arc<dyn Backend>> {
        self.backend.get()
    }
}
