//! Requests at brokers: on their way, and what a broker does with them.

use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::{ErrorCode, GroupOffset};

use super::coordinator::{Ended, Identity};
use super::event::{Sent, What};
use super::fate::{Fate, Target};
use super::state::State;
use crate::log::{LogRecord, Sequence};
use crate::sync::Arc;

/// How many replicas have a batch when it is answered.
///
/// ```
/// use aioproducer_sim::{Acks, SimCluster};
///
/// let kafka = SimCluster::new().with_brokers(3).with_topic("metrics", 3);
/// let (fast, safe) = (kafka.backend().acks(Acks::Leader), kafka.backend().acks(Acks::All));
/// # drop((fast, safe));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acks {
    /// `acks=0`: the client waits for no answer. A record counts as delivered when it is sent, without an offset.
    None,
    /// `acks=1`: the leader has it. If the leader stops before the others have it, too, the record is lost, though it was
    /// acknowledged.
    Leader,
    /// `acks=all`: all replicas that are in sync have it, and they are at least `min.insync.replicas`.
    All,
}

/// A batch for the leader of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) batch: Arc<[LogRecord]>,
    pub(crate) sequence: Option<Sequence>,
    /// Its producer's transactional id.
    pub(crate) transaction: Option<Arc<str>>,
    pub(crate) acks: Acks,
}

/// A question to the coordinator of a transactional id.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Init { timeout: Duration },
    Offsets { identity: Identity, group: Arc<str>, offsets: Arc<[GroupOffset]> },
    End { identity: Identity, is_commit: bool },
}

#[derive(Clone, Debug)]
pub(crate) enum Work {
    Append(Append),
    Ask(Ask),
}

/// A request on its way to a broker. It may arrive after its client has given up on it.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) sent: Sent,
    pub(crate) work: Work,
    pub(crate) fate: Fate,
    /// The broker's start that the connection belongs to.
    pub(crate) generation: u64,
}

/// What a broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The offset of the batch's first record.
    Base(i64),
    /// The producer's number and epoch from now on.
    Identity(Identity),
    Done,
}

/// The answer, an error, or `None` if the connection breaks.
pub(crate) type Reply = Option<Result<Answer, ErrorCode>>;

/// What becomes of a request that arrives.
pub(crate) enum Arrival {
    /// The broker reads it then.
    Later(Instant),
    /// The reply is at the client at that time.
    Reply(Instant, Reply),
}

impl State {
    /// A request leaves for its broker. Returns when it arrives, `None` if the broker cannot be reached.
    pub(crate) fn depart(&mut self, now: Instant, sent: &Sent, decided: Option<Fate>) -> Option<(Instant, Fate, u64)> {
        let broker = self.topology.broker(sent.broker).filter(|broker| broker.is_up)?;
        let (arrives, generation) = (now + broker.latency, broker.generation);
        let fate = match decided.unwrap_or_else(|| self.rules.draw(&sent.target)) {
            Fate::Normal => {
                let swarm = self.swarm.as_mut().filter(|(_, end)| now < *end);
                swarm.map_or(Fate::Normal, |(swarm, _)| swarm.fate(&sent.target))
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
        if flight.fate == Fate::LoseRequest {
            return Arrival::Reply(back, None);
        }
        let muted = broker.muted.get(&sent.producer).copied().filter(|until| now < *until);
        if let Some(until) = muted {
            self.trace(now, What::Throttled { sent: sent.clone() });
            return Arrival::Later(until);
        }
        if broker.throttle > Duration::ZERO {
            broker.muted.insert(sent.producer, now + broker.throttle);
        }
        let result = match flight.fate {
            Fate::Answer(code) if code != ErrorCode::NotEnoughReplicasAfterAppend => {
                return Arrival::Reply(back, Some(Err(code)));
            }
            _ => match &flight.work {
                Work::Append(append) => self.append(now, sent, append).map(Answer::Base),
                Work::Ask(ask) => self.answer(now, sent, ask),
            },
        };
        let reply = match (flight.fate, result) {
            (Fate::LoseAnswer, _) => None,
            (Fate::Answer(code), Ok(_)) => Some(Err(code)),
            (_, result) => Some(result),
        };
        Arrival::Reply(back, reply)
    }

    /// Whether the connection over which a request was sent still exists.
    pub(crate) fn is_connected(&mut self, broker: i32, generation: u64) -> bool {
        self.topology.broker(broker).is_some_and(|broker| broker.is_up && broker.generation == generation)
    }

    /// The rules of a leader for a produce request.
    fn append(&mut self, now: Instant, sent: &Sent, append: &Append) -> Result<i64, ErrorCode> {
        let Append { batch, sequence, transaction, acks } = append;
        let Target::Partition(topic, partition) = &sent.target else { return Err(ErrorCode::UnknownTopicOrPart) };
        let (min_in_sync, batch_bytes) = (self.topology.min_in_sync, self.topology.batch_bytes);
        let lag = self.topology.replication_lag;
        let brokers: Vec<_> = self.topology.brokers.iter().map(|broker| broker.is_up).collect();
        let found = self.topology.partition(topic, *partition).ok_or(ErrorCode::UnknownTopicOrPart)?;
        if found.leader != Some(sent.broker) {
            return Err(ErrorCode::NotLeaderForPartition);
        }
        let in_sync = found.replicas.iter().filter(|id| brokers[**id as usize - 1]).count();
        // A partition with fewer replicas than that needs all that it has.
        if *acks == Acks::All && in_sync < min_in_sync.min(found.replicas.len()) {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        if batch.iter().map(LogRecord::size).sum::<usize>() > batch_bytes {
            return Err(ErrorCode::MsgSizeTooLarge);
        }
        if let (Some(id), Some(sequence)) = (transaction, sequence) {
            let identity = Identity { producer: sequence.producer, epoch: sequence.epoch };
            self.coordinator.join(now, id, identity, (Arc::clone(topic), *partition))?;
        }
        let appended = found.log.append(batch, *sequence, transaction.is_some())?;
        let (base, is_duplicate) = (appended.base, appended.is_duplicate);
        match acks {
            Acks::All => found.replication.complete(),
            _ => found.replication.append(now, lag, base),
        }
        self.trace(now, What::Appended { sent: sent.clone(), base, is_duplicate });
        Ok(base)
    }

    /// The rules of a coordinator.
    fn answer(&mut self, now: Instant, sent: &Sent, ask: &Ask) -> Result<Answer, ErrorCode> {
        let Target::Coordinator(_, id) = &sent.target else { return Err(ErrorCode::NotCoordinator) };
        if self.topology.coordinator(id) != Some(sent.broker) {
            return Err(ErrorCode::NotCoordinator);
        }
        match ask {
            Ask::Init { timeout } => {
                let (identity, ended) = self.coordinator.init(id, sent.producer, *timeout);
                if let Some(ended) = ended {
                    self.end_transaction(now, ended);
                }
                Ok(Answer::Identity(identity))
            }
            Ask::Offsets { identity, group, offsets } => {
                let is_known = |at: &GroupOffset| self.topology.partition(&at.topic, at.partition).is_some();
                if !offsets.iter().all(is_known) {
                    return Err(ErrorCode::UnknownTopicOrPart);
                }
                self.coordinator.add_offsets(now, id, *identity, group, offsets)?;
                Ok(Answer::Done)
            }
            Ask::End { identity, is_commit } => {
                let (next, ended) = self.coordinator.end(id, *identity, *is_commit)?;
                if let Some(ended) = ended {
                    self.end_transaction(now, ended);
                }
                Ok(Answer::Identity(next))
            }
        }
    }

    /// The partitions of a transaction get its end, all at once.
    pub(super) fn end_transaction(&mut self, now: Instant, ended: Ended) {
        let Ended { id, partitions, identity, what, is_commit } = ended;
        partitions.iter().for_each(|place| self.topology.mark(place, identity, is_commit));
        self.trace(now, What::Transaction { id, epoch: identity.epoch, what });
    }
}
