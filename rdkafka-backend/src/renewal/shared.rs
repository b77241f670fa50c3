//! What the driver's handle, the clients' links and the renewing thread share.
//!
//! No call is made under a lock of this file, neither of the driver nor of a client. The driver calls [`Shared::passes`] under its own.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aioproducer_core::backend::{CallError, Connections, Driver, Failure, Message, Outcome, Report, Request};

use super::client::Client;
use super::kept::Kept;
use super::link::Link;
use super::numbered::Numbered;
use super::policy::{OnFatal, Policy};
use super::state::{Phase, State};
use crate::config::ConfigError;
use crate::events::{EventSinks, RenewalCause};
use crate::failure;
use crate::oauth::TokenMailbox;
use crate::partition::states::TopicStates;

/// Starts a client, with what the one before it knew of its topics.
pub(crate) type Opener<R, E> =
    Box<dyn Fn(Arc<Link<R, E>>, Option<&TopicStates>) -> Result<Arc<dyn Client>, ConfigError> + Send + Sync>;

pub(crate) struct Shared<R, E> {
    pub(super) driver: Arc<E>,
    pub(super) policy: Policy,
    pub(super) open: Opener<R, E>,
    pub(super) sinks: Arc<EventSinks>,
    mailbox: Option<Arc<TokenMailbox>>,
    /// Threads of a client that take batches.
    pub(super) workers: usize,
    state: Mutex<State<R>>,
    changed: Condvar,
    current: Mutex<Current>,
    /// Records that clients have.
    pub(super) outstanding: AtomicUsize,
    /// A record was delivered since the last renewal.
    pub(super) has_delivered: AtomicBool,
    next_number: AtomicU64,
    /// Workers that the driver takes for awake: it has woken them, or they have not asked yet. A worker of a new client asks for one of
    /// these, or not at all: the driver would count an idle worker that there is not, and take it for awake later.
    awake: AtomicUsize,
}

#[derive(Clone, Default)]
struct Current {
    /// The client, or the last one; `None` before the first one.
    client: Option<Arc<dyn Client>>,
    /// Connections that those before it have made.
    made: u64,
}

impl<R: Message, E: Driver<R>> Shared<R, E> {
    /// Starts the first client.
    pub(crate) fn start(
        driver: Arc<E>,
        policy: Policy,
        sinks: Arc<EventSinks>,
        mailbox: Option<Arc<TokenMailbox>>,
        workers: usize,
        open: Opener<R, E>,
    ) -> Result<Arc<Self>, ConfigError> {
        let shared = Arc::new(Self {
            driver,
            policy,
            open,
            sinks,
            mailbox,
            workers,
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            current: Mutex::default(),
            outstanding: AtomicUsize::new(0),
            has_delivered: AtomicBool::new(false),
            next_number: AtomicU64::new(0),
            awake: AtomicUsize::new(workers),
        });
        let client = (shared.open)(Link::new(&shared), None)?;
        shared.set_client(client);
        Ok(shared)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The renewing thread looks again.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits while `condition` holds, at most for `limit`.
    pub(super) fn wait_while(
        &self,
        limit: Duration,
        condition: impl FnMut(&mut State<R>) -> bool,
    ) -> MutexGuard<'_, State<R>> {
        let waited = self.changed.wait_timeout_while(self.state(), limit, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn client(&self) -> Option<Arc<dyn Client>> {
        self.current().client.clone()
    }

    pub(super) fn set_client(&self, client: Arc<dyn Client>) {
        let made = self.connections().map_or(0, |connections| connections.made);
        let before = std::mem::replace(&mut *self.current(), Current { client: Some(client), made });
        // It ends its threads, if it has any left.
        drop(before);
    }

    /// The connections of all clients.
    pub(super) fn connections(&self) -> Option<Connections> {
        let Current { client, made } = self.current().clone();
        let now = client?.connections()?;
        Some(Connections { made: made + now.made, ..now })
    }

    /// Lets all workers of the client look for batches.
    pub(super) fn wake(&self) {
        if let Some(client) = self.client() {
            (0..self.workers).for_each(|_| client.wake());
        }
    }

    /// The driver has woken a worker, or one that has asked stays awake.
    pub(super) fn awakes(&self) {
        self.awake.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether a worker may ask the driver. It is idle from then on, unless it [stays awake](Self::awakes).
    pub(super) fn may_ask(&self) -> bool {
        self.awake.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |awake| awake.checked_sub(1)).is_ok()
    }

    /// Numbers records that the driver has handed off, in their order.
    pub(super) fn number(&self, count: usize) -> u64 {
        self.arrived(count);
        self.next_number.fetch_add(count as u64, Ordering::Relaxed)
    }

    /// The client has `count` records more.
    pub(super) fn arrived(&self, count: usize) {
        self.outstanding.fetch_add(count, Ordering::Relaxed);
    }

    /// `count` records have left the client.
    pub(super) fn left(&self, count: usize) {
        self.outstanding.fetch_sub(count, Ordering::Relaxed);
    }

    /// A client's report as the driver gets it; `None` if the record is sent again.
    pub(super) fn passes(&self, report: Report<Numbered<R>>) -> Option<Report<R>> {
        self.left(1);
        let slot = report.slot;
        let outcome = match report.outcome {
            Outcome::Delivered(delivered) => {
                self.has_delivered.store(true, Ordering::Relaxed);
                Outcome::Delivered(delivered)
            }
            Outcome::Failed(failure, record) => {
                Outcome::Failed(failure, self.state().keep(slot, failure, record)?.record)
            }
            Outcome::FailedCopy(failure, copied) => Outcome::FailedCopy(failure, copied),
        };
        Some(Report { slot, outcome })
    }

    /// The client has met a fatal error. Returns whether it is replaced.
    pub(super) fn renews_after(&self, failure: Failure) -> bool {
        // An error without a code is a bug of this crate, which a new client does not mend.
        if failure.code().is_none() {
            return false;
        }
        let mut state = self.state();
        let is_replaced = matches!(state.phase, Phase::Draining | Phase::Ending) && !state.is_closing;
        let begins =
            self.policy.on_fatal == OnFatal::Renew && state.begin(RenewalCause::Fatal(failure), Instant::now());
        drop(state);
        if begins {
            self.notify();
        }
        begins || is_replaced
    }

    /// Gives records their outcome that would have been sent again.
    pub(super) fn give_up(&self, kept: Vec<Kept<R>>, failure: Option<Failure>) {
        let reports = kept.into_iter().map(|kept| Report {
            slot: kept.slot,
            outcome: Outcome::Failed(failure.unwrap_or(kept.failure), kept.record.record),
        });
        // It is counted, and the iterator is advanced, under the driver's lock.
        let reports: Vec<_> = reports.collect();
        self.driver.report(reports.into_iter());
    }

    /// Makes the last call to the driver, once.
    pub(super) fn end(&self) {
        let (kept, calls) = {
            let mut state = self.state();
            if state.phase == Phase::Ended {
                return;
            }
            state.phase = Phase::Ended;
            (state.kept.take_all(), std::mem::take(&mut state.calls))
        };
        self.give_up(kept, None);
        calls.into_iter().for_each(|request| self.refuse(&request));
        self.sinks.close();
        if let Some(mailbox) = &self.mailbox {
            mailbox.close();
        }
        self.driver.ended();
        self.notify();
    }

    /// Answers a call that no client has made.
    pub(super) fn refuse(&self, request: &Request) {
        let reason = "the producer was closed before the call was made";
        self.driver.complete_call(request.id, Err(failure::call(failure::DESTROY, reason)));
    }

    /// The error of a call that an old client has not finished.
    pub(super) fn interrupted(&self, error: CallError) -> CallError {
        let is_renewing = {
            let state = self.state();
            state.is_between && !state.is_closing
        };
        if is_renewing {
            let reason =
                format!("the client was replaced by a new one during the call, make it again: {}", error.reason());
            return error.with_reason(reason).with_retriable(true);
        }
        error
    }
}
