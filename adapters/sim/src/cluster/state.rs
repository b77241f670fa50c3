//! The cluster as clients see it: one lock around brokers, faults and holds, and the clients that hear of changes.

use std::fmt;
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::{Clock, Connections, ErrorCode};

use super::event::{Sent, What};
use super::fate::{Fate, Rules};
use super::holds::Holds;
use super::swarm::Swarm;
use super::topology::Topology;
use crate::journal::Journals;
use crate::log::{LogRecord, Sequence};
use crate::signal::Signal;
use crate::sync::{Arc, Mutex, MutexGuard, Weak, lock};

/// The beginning of the cluster's time, in milliseconds since the Unix epoch: 2025-01-01T00:00:00Z.
const EPOCH_MILLIS: i64 = 1_735_689_600_000;

pub(crate) struct State {
    pub(crate) topology: Topology,
    pub(crate) rules: Rules,
    pub(crate) holds: Holds,
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

/// A request on its way to a broker. It may arrive after its client has given up on it.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) sent: Sent,
    pub(crate) batch: Arc<[LogRecord]>,
    pub(crate) sequence: Option<Sequence>,
    pub(crate) fate: Fate,
    /// The broker's start that the connection belongs to.
    pub(crate) generation: u64,
}

/// What becomes of a request that arrives.
pub(crate) enum Arrival {
    /// The broker is paused until then.
    Later(Instant),
    /// The reply is at the client at that time: the offset of the first record, an error, or `None` if the connection breaks.
    Reply(Instant, Option<Result<i64, ErrorCode>>),
}

#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            topology: Topology::new(),
            rules: Rules::default(),
            holds: Holds::default(),
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
        if self.topology.trace.len() == before { Vec::new() } else { self.signals() }
    }

    /// The latest time that any client has seen.
    pub(crate) fn seen(&self) -> Instant {
        self.seen
    }

    /// The cluster's time in milliseconds since the Unix epoch.
    pub(crate) fn timestamp(&self, now: Instant) -> i64 {
        EPOCH_MILLIS + now.since_origin().as_millis() as i64
    }

    pub(crate) fn trace(&mut self, now: Instant, what: What) {
        self.topology.trace.push(now, what);
    }

    /// A request leaves for its broker. Returns when it arrives, `None` if the broker cannot be reached.
    pub(crate) fn depart(&mut self, now: Instant, sent: &Sent, decided: Option<Fate>) -> Option<(Instant, Fate, u64)> {
        let broker = self.topology.broker(sent.broker).filter(|broker| broker.is_up)?;
        let (arrives, generation) = (now + broker.latency, broker.generation);
        let fate = match decided.unwrap_or_else(|| self.rules.draw(&sent.topic, sent.partition)) {
            Fate::Normal => {
                self.swarm.as_mut().filter(|(_, end)| now < *end).map_or(Fate::Normal, |(swarm, _)| swarm.fate())
            }
            fate => fate,
        };
        if fate != Fate::Normal {
            self.trace(now, What::Fault { sent: sent.clone(), what: fate.name() });
        }
        let delay = if let Fate::Delay(delay) = fate { delay } else { Duration::ZERO };
        Some((arrives + delay, fate, generation))
    }

    /// A request arrives at its broker.
    pub(crate) fn arrive(&mut self, now: Instant, flight: &Flight) -> Arrival {
        let sent = &flight.sent;
        let Some(broker) = self.topology.broker(sent.broker) else { return Arrival::Reply(now, None) };
        let back = now + broker.latency;
        if !broker.is_up || broker.generation != flight.generation {
            return Arrival::Reply(now, None);
        }
        if let Some(until) = broker.paused_until {
            if now < until {
                return Arrival::Later(until);
            }
            broker.paused_until = None;
        }
        match flight.fate {
            Fate::LoseRequest => Arrival::Reply(back, None),
            Fate::Answer(code) if code != ErrorCode::NotEnoughReplicasAfterAppend => {
                Arrival::Reply(back, Some(Err(code)))
            }
            _ => {
                let appended = self.append(now, flight);
                Arrival::Reply(
                    back,
                    match (flight.fate, appended) {
                        (Fate::LoseAnswer, _) => None,
                        (Fate::Answer(code), Ok(_)) => Some(Err(code)),
                        (_, appended) => Some(appended),
                    },
                )
            }
        }
    }

    /// The rules of a broker for a produce request with `acks=all`.
    fn append(&mut self, now: Instant, flight: &Flight) -> Result<i64, ErrorCode> {
        let Flight { sent, batch, sequence, .. } = flight;
        let min_in_sync = self.topology.min_in_sync;
        let brokers: Vec<_> = self.topology.brokers.iter().map(|broker| broker.is_up).collect();
        let found = self.topology.partition(&sent.topic, sent.partition).ok_or(ErrorCode::UnknownTopicOrPart)?;
        if found.leader != Some(sent.broker) {
            return Err(ErrorCode::NotLeaderForPartition);
        }
        let in_sync = found.replicas.iter().filter(|id| brokers[**id as usize - 1]).count();
        if in_sync < min_in_sync {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        let appended = found.log.append(batch, *sequence)?;
        let (base, is_duplicate) = (appended.base, appended.is_duplicate);
        self.trace(now, What::Appended { sent: sent.clone(), base, is_duplicate });
        Ok(base)
    }

    /// Each broker that is up has a connection to each client.
    pub(crate) fn connections(&self) -> Connections {
        let brokers = &self.topology.brokers;
        let up = brokers.iter().filter(|broker| broker.is_up).count();
        let made = brokers.iter().map(|broker| broker.generation).sum();
        Connections { up: up as u32, made, is_failing: up < brokers.len() }
    }

    /// Whether the connection over which `flight` was sent still exists.
    pub(crate) fn is_connected(&mut self, broker: i32, generation: u64) -> bool {
        self.topology.broker(broker).is_some_and(|broker| broker.is_up && broker.generation == generation)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
