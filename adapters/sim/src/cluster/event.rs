//! What happens in a cluster, with its time: the trace of a run.

use std::fmt::{self, Write};

use aioproducer_core::Instant;
use aioproducer_core::backend::ErrorCode;

use super::fate::Target;
use crate::fnv::Fnv;
use crate::sync::Arc;

/// A request of a producer, in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The producer's number, from 1 on.
    pub(crate) producer: u64,
    pub(crate) target: Target,
    pub(crate) broker: i32,
    pub(crate) attempt: u32,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer, target, broker, attempt } = self;
        match target {
            Target::Partition(topic, partition) => write!(f, "producer {producer}, {topic}/{partition}")?,
            Target::Coordinator(api, id) => write!(f, "producer {producer}, {} of `{id}`", api.name())?,
        }
        write!(f, ", broker {broker}, attempt {attempt}")
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Started {
        producer: u64,
    },
    Ended {
        producer: u64,
    },
    /// The digest is of the records' bytes.
    Request {
        sent: Sent,
        records: u64,
        digest: u32,
    },
    Call {
        sent: Sent,
    },
    Appended {
        sent: Sent,
        base: i64,
        is_duplicate: bool,
    },
    Answer {
        sent: Sent,
        code: Option<ErrorCode>,
    },
    Broken {
        sent: Sent,
    },
    Fault {
        sent: Sent,
        what: &'static str,
    },
    Leader {
        topic: Arc<str>,
        partition: i32,
        broker: Option<i32>,
    },
    Broker {
        broker: i32,
        what: &'static str,
    },
    Partitions {
        topic: Arc<str>,
        count: u64,
    },
    Throttled {
        sent: Sent,
    },
    Transaction {
        id: Arc<str>,
        epoch: u32,
        what: &'static str,
    },
    Lost {
        topic: Arc<str>,
        partition: i32,
        from: i64,
    },
}

impl What {
    /// An attempt ends: with an answer, which may be an error, or with its connection.
    pub(crate) fn end(sent: Sent, answer: Option<Option<ErrorCode>>) -> Self {
        match answer {
            Some(code) => Self::Answer { sent, code },
            None => Self::Broken { sent },
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { producer } => write!(f, "producer {producer} starts"),
            Self::Ended { producer } => write!(f, "producer {producer} ends"),
            Self::Request { sent, records, digest } => {
                write!(f, "{sent}: {records} records are sent, digest {digest:08x}")
            }
            Self::Call { sent } => write!(f, "{sent}: is sent"),
            Self::Appended { sent, base, is_duplicate: false } => write!(f, "{sent}: appended at offset {base}"),
            Self::Appended { sent, base, is_duplicate: true } => write!(f, "{sent}: known, at offset {base}"),
            Self::Answer { sent, code: None } => write!(f, "{sent}: answered"),
            Self::Answer { sent, code: Some(code) } => write!(f, "{sent}: answered {code}"),
            Self::Broken { sent } => write!(f, "{sent}: the connection breaks"),
            Self::Fault { sent, what } => write!(f, "{sent}: fault: {what}"),
            Self::Leader { topic, partition, broker: Some(broker) } => {
                write!(f, "{topic}/{partition}: the leader is broker {broker}")
            }
            Self::Leader { topic, partition, broker: None } => write!(f, "{topic}/{partition}: no leader"),
            Self::Broker { broker, what } => write!(f, "broker {broker} {what}"),
            Self::Partitions { topic, count } => write!(f, "{topic}: {count} partitions"),
            Self::Throttled { sent } => write!(f, "{sent}: waits, as the broker throttles the producer"),
            Self::Transaction { id, epoch, what } => {
                write!(f, "the transaction of `{id}` {what}; the next epoch is {epoch}")
            }
            Self::Lost { topic, partition, from } => {
                write!(f, "{topic}/{partition}: what the old leader alone had is lost, from offset {from} on")
            }
        }
    }
}

/// What happened in a [`SimCluster`](crate::SimCluster), in order and with the virtual time of each event.
///
/// Two runs of a deterministic test have equal traces.
///
/// ```
/// # use aioproducer_sim::SimCluster;
/// let (kafka, again) = (SimCluster::new().with_topic("orders", 3), SimCluster::new().with_topic("orders", 3));
/// kafka.grow("orders", 6);
/// assert_ne!(kafka.trace().hash(), again.trace().hash());
/// assert!(kafka.trace().first_difference(&again.trace()).unwrap().contains("orders: 6 partitions"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    events: Vec<(Instant, What)>,
}

impl Trace {
    pub(crate) fn push(&mut self, at: Instant, what: What) {
        self.events.push((at, what));
    }

    /// The number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// A number that is the same for equal traces, on every machine and in every profile: FNV-1a of the text.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut sum = Fnv::default();
        // Nothing of it can fail.
        let _ = write!(sum, "{self}");
        sum.sum()
    }

    /// The batches in the logs: topic, partition, first offset, and the producer.
    pub(crate) fn appended(&self) -> impl Iterator<Item = (&str, i32, i64, u64)> {
        self.events.iter().filter_map(|(_, what)| match what {
            What::Appended { sent, base, is_duplicate: false } => {
                let Target::Partition(topic, partition) = &sent.target else { return None };
                Some((&**topic, *partition, *base, sent.producer))
            }
            _ => None,
        })
    }

    /// The first event that is not the same in `other`, in words and with its place; `None` if the traces are equal.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let at =
            (0..self.events.len().max(other.events.len())).find(|at| self.events.get(*at) != other.events.get(*at))?;
        let show = |trace: &Self| trace.events.get(at).map_or_else(|| "the end".to_owned(), line);
        Some(format!("event {at} is `{}` in the one and `{}` in the other", show(self), show(other)))
    }
}

fn line((at, what): &(Instant, What)) -> String {
    format!("{:?}: {what}", at.since_origin())
}

/// One line for each event: its time and what happened.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(f, "{}", line(event)))
    }
}
