//! The cluster as clients see it: one lock around brokers, faults and holds, and the clients that hear of changes.

use std::fmt;
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::{Clock, Connections};

use super::coordinator::Coordinator;
use super::event::What;
use super::fate::Rules;
use super::holds::Holds;
use super::swarm::Swarm;
use super::topology::Topology;
use crate::journal::Journals;
use crate::signal::Signal;
use crate::sync::{Arc, Mutex, MutexGuard, Weak, lock};

/// The beginning of the cluster's time, in milliseconds since the Unix epoch: 2025-01-01T00:00:00Z.
const EPOCH_MILLIS: i64 = 1_735_689_600_000;

pub(crate) struct State {
    pub(crate) topology: Topology,
    pub(crate) rules: Rules,
    pub(crate) holds: Holds,
    pub(crate) coordinator: Coordinator,
    /// Faults that a seed draws, and until when.
    pub(crate) swarm: Option<(Swarm, Instant)>,
    /// What producers said; `None` unless a check asks for it.
    pub(crate) journals: Option<Journals>,
    /// The last handle was dropped, or the run is over.
    pub(crate) has_ended: bool,
    clients: Vec<(Weak<Signal>, Timeline)>,
    producers: u64,
    /// The latest time that any client has seen.
    seen: Instant,
}

/// A producer's clock, and how it relates to the cluster's.
#[derive(Clone)]
pub(crate) struct Timeline {
    clock: Arc<dyn Clock>,
    ahead: Duration,
    behind: Duration,
}

impl Timeline {
    /// The cluster's time.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now() + self.ahead - self.behind
    }

    /// The clock's time of the cluster's time `at`.
    pub(crate) fn on_clock(&self, at: Instant) -> Instant {
        at + self.behind - self.ahead
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}

#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            topology: Topology::new(),
            rules: Rules::default(),
            holds: Holds::default(),
            coordinator: Coordinator::default(),
            swarm: None,
            journals: None,
            has_ended: false,
            clients: Vec::new(),
            producers: 0,
            seen: Instant::ZERO,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    /// Refuses what a test does to a cluster that has ended.
    #[track_caller]
    pub(crate) fn check_open(&self) {
        let has_ended = self.lock().has_ended;
        assert!(
            !has_ended,
            "the cluster has ended, so a fault cannot hit anything: its last handle was dropped, or its run is over; keep a \
             SimCluster until then, and define faults before"
        );
    }

    /// The cluster's time. No lock may be held.
    pub(crate) fn now(&self) -> Instant {
        let (seen, clients) = {
            let state = self.lock();
            (state.seen, state.clients.clone())
        };
        let live = clients.iter().filter(|(signal, _)| signal.strong_count() > 0);
        live.map(|(_, timeline)| timeline.now()).fold(seen, Instant::max)
    }

    /// Changes the cluster at its current time, and lets all clients look at it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = self.now();
        let (result, signals) = {
            let mut state = self.lock();
            state.see(now);
            let result = change(&mut state, now);
            (result, state.signals())
        };
        signals.iter().for_each(|signal| signal.set());
        result
    }

    /// A producer starts, on a runtime with that clock, and hears of changes by `signal`. Returns its number.
    pub(crate) fn join(&self, clock: &Arc<dyn Clock>, signal: &Arc<Signal>) -> (u64, Timeline) {
        let (now, own) = (self.now(), clock.now());
        let timeline = Timeline { clock: Arc::clone(clock), ahead: now - own, behind: own - now };
        let mut state = self.lock();
        state.clients.retain(|(signal, _)| signal.strong_count() > 0);
        state.clients.push((Arc::downgrade(signal), timeline.clone()));
        state.producers += 1;
        let producer = state.producers;
        state.topology.trace.push(now, What::Started { producer });
        (producer, timeline)
    }
}

impl State {
    fn signals(&self) -> Vec<Arc<Signal>> {
        self.clients.iter().filter_map(|(signal, _)| signal.upgrade()).collect()
    }

    /// Time has come to `now`. Returns the clients that are to look at what changed by that.
    pub(crate) fn see(&mut self, now: Instant) -> Vec<Arc<Signal>> {
        self.seen = self.seen.max(now);
        let before = self.topology.trace.len();
        self.topology.advance(self.seen);
        let ended = self.coordinator.advance(self.seen);
        ended.into_iter().for_each(|ended| self.end_transaction(self.seen, ended));
        if self.topology.trace.len() == before { Vec::new() } else { self.signals() }
    }

    /// The latest time that any client has seen.
    pub(crate) fn seen(&self) -> Instant {
        self.seen
    }

    /// When the cluster next changes by itself.
    pub(crate) fn next_change(&self) -> Option<Instant> {
        self.topology.next_change().into_iter().chain(self.coordinator.next_change()).min()
    }

    /// The cluster's time in milliseconds since the Unix epoch.
    pub(crate) fn timestamp(&self, now: Instant) -> i64 {
        EPOCH_MILLIS + now.since_origin().as_millis() as i64
    }

    pub(crate) fn trace(&mut self, now: Instant, what: What) {
        self.topology.trace.push(now, what);
    }

    /// Each broker that is up has a connection to each client.
    pub(crate) fn connections(&self) -> Connections {
        let brokers = &self.topology.brokers;
        let up = brokers.iter().filter(|broker| broker.is_up).count();
        let made = brokers.iter().map(|broker| broker.generation).sum();
        Connections { up: up as u32, made }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
