//! Asks brokers what librdkafka does not ask by itself, or not soon: so the first record is fast, and why a topic's records
//! wait is no secret.
//!
//! - librdkafka asks for a producer id when a broker has answered a request for metadata and another one is connected. If
//!   there is no such moment it tries again after half a second, and until then no record goes.
//! - Records for a topic that does not exist wait for it, for `topic.metadata.propagation.max.ms`, and nothing says so.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{CallError, Driver, FailureKind, Message, Metadata, PartitionMetadata, TopicMetadata};

use crate::ffi::{Client, Topic};
use crate::partition::choice::Partitioning;
use crate::reports::failure::{self, TIMED_OUT, UNKNOWN_TOPIC_OR_PARTITION};
use crate::threads::call_queue::Line;
use crate::threads::gate::Gate;
use crate::threads::signals::Signals;

/// How long one question may take. What waits here keeps the producer from its end, so a broker has to show that it needs more.
const SLICE: Duration = Duration::from_millis(50);

/// The longest such time, for brokers that answer late.
const LONGEST: Duration = Duration::from_secs(3);

/// How soon there is a next question when no broker is there, at first and in the end.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How long a topic may be without partitions before anybody wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a producer is not ready.
const NOT_CONNECTED: &str = "no broker has answered in time";

/// Asks until nothing is left to ask, or the backend is shut down; begun when a topic is used. `warm_up` if a producer id is
/// wanted. No more is asked for than one topic at a time: a cluster may have very many.
pub(crate) fn run<R: Message, E: Driver<R>>(client: &Client<R>, gate: &Gate<E>, signals: &Signals, warm_up: bool) {
    let mut questions = Questions::new(client, signals);
    let topic = if warm_up { client.any_topic() } else { None };
    while let Some(topic) = &topic
        && !signals.is_shut_down()
    {
        match questions.ask(topic) {
            Some(metadata) if metadata.answered_by >= 0 => break,
            _ => questions.pause(),
        }
    }
    let mut told = HashSet::new();
    loop {
        signals.begin_scouting();
        let waiting = client.topics_without_partitions();
        let Some(driver) = gate.open() else { return };
        told.retain(|topic| {
            let waits = waiting.iter().any(|waiting| waiting.id() == *topic);
            if !waits {
                tell(client, &*driver, *topic, None);
            }
            waits
        });
        if waiting.is_empty() {
            if signals.end_scouting() {
                return;
            }
            continue;
        }
        drop(driver);
        signals.pause(Line::Others, PATIENCE);
        for topic in client.topics_without_partitions() {
            if signals.is_shut_down() || told.contains(&topic.id()) {
                continue;
            }
            let found = questions.ask(&topic).and_then(|metadata| trouble(metadata.topics.first()?));
            if let (Some(found), Some(driver)) = (found, gate.open()) {
                told.insert(topic.id());
                tell(client, &*driver, topic.id(), Some(found));
            }
        }
        if signals.is_shut_down() {
            return;
        }
    }
}

fn tell<R, E: Driver<R>>(client: &Client<R>, driver: &E, topic: TopicId, trouble: Option<(FailureKind, String)>) {
    let listeners = client.listeners();
    listeners.voice.topic(&listeners.sinks, driver, topic, trouble);
}

/// What is wrong with a topic, in words.
fn trouble(topic: &TopicMetadata) -> Option<(FailureKind, String)> {
    let error = topic.error?;
    let name = &topic.name;
    match failure::kind(error.code) {
        FailureKind::UnknownTopic => Some((
            FailureKind::UnknownTopic,
            format!(
                "the topic `{name}` does not exist ({}); its records wait for it until the delivery timeout or \
                 `topic.metadata.propagation.max.ms`, whichever is first: create it, or correct its name",
                error.reason
            ),
        )),
        FailureKind::NotAuthorized => Some((
            FailureKind::NotAuthorized,
            format!("the login may not use the topic `{name}` ({}): give it the right to write", error.reason),
        )),
        _ => None,
    }
}

/// Questions to brokers, each of which ends soon.
struct Questions<'a, R> {
    client: &'a Client<R>,
    signals: &'a Signals,
    slice: Duration,
    pause: Duration,
}

impl<'a, R: Message> Questions<'a, R> {
    fn new(client: &'a Client<R>, signals: &'a Signals) -> Self {
        Self { client, signals, slice: SLICE, pause: PAUSES.0 }
    }

    fn slice(&self) -> i32 {
        i32::try_from(self.slice.as_millis()).unwrap_or(i32::MAX)
    }

    /// What a broker knows of a topic; `None` if none has answered.
    fn ask(&mut self, topic: &Topic) -> Option<Metadata> {
        let answer = self.client.ask(Some(topic), self.slice());
        self.heed(&answer);
        answer.ok()
    }

    /// Whether the leader of a partition answers.
    fn reaches(&mut self, topic: &str, partition: i32) -> bool {
        let answer = self.client.query_offsets(topic, partition, self.slice());
        self.heed(&answer);
        answer.is_ok()
    }

    /// A broker that was asked and has not answered gets more time.
    fn heed<T>(&mut self, answer: &Result<T, CallError>) {
        match answer {
            Ok(_) => self.pause = PAUSES.0,
            Err(error) if error.code == TIMED_OUT => self.slice = LONGEST.min(2 * self.slice),
            Err(_) => {}
        }
    }

    fn pause(&mut self) {
        self.pause_at_most(Duration::MAX);
    }

    fn pause_at_most(&mut self, left: Duration) {
        self.signals.pause(Line::Others, self.pause.min(left));
        self.pause = PAUSES.1.min(2 * self.pause);
    }
}

/// Waits until a record for any of `topics` can be delivered at once: a broker has answered, the producer id was asked for,
/// each partition has a leader, and each leader answers. Without topics a broker is to have answered.
pub(crate) fn get_ready<R: Message, E: Driver<R>>(
    client: &Client<R>,
    gate: &Gate<E>,
    signals: &Signals,
    partitioning: &Partitioning,
    topics: &[TopicId],
    limit: Duration,
) -> Result<(), CallError> {
    let due = Instant::now() + limit;
    let mut wanted = Vec::new();
    for id in topics {
        let driver = gate.open().ok_or_else(closed)?;
        let name = driver.topic_name(*id).unwrap_or_default().to_owned();
        let Some(topic) = client.topic(*id, &name, client.lent(), partitioning) else {
            return Err(failure::call(failure::INVALID_ARGUMENT, &format!("no topic can have the name {name:?}")));
        };
        wanted.push((name, topic));
    }
    let mut questions = Questions::new(client, signals);
    let mut unknown_since = None;
    loop {
        let missing = match questions.look(&wanted) {
            Ok(()) => return Ok(()),
            Err(Unready::Never(code, reason)) => return Err(failure::call(code, &reason)),
            Err(Unready::Unknown(code, reason)) => {
                let since = *unknown_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= 3 * PATIENCE {
                    return Err(failure::call(code, &reason));
                }
                reason
            }
            Err(Unready::Later(reason)) => {
                unknown_since = None;
                reason
            }
        };
        if signals.is_shut_down() {
            return Err(closed());
        }
        if Instant::now() >= due {
            let reason = format!("not ready after {limit:?}: {missing}");
            return Err(CallError { retriable: true, ..failure::call(TIMED_OUT, &reason) });
        }
        questions.pause_at_most(due.saturating_duration_since(Instant::now()));
    }
}

impl<R: Message> Questions<'_, R> {
    /// Whether all is there that records for these topics need.
    fn look(&mut self, topics: &[(String, Arc<Topic>)]) -> Result<(), Unready> {
        let Some((_, last)) = topics.last() else {
            let answered = self.client.has_cluster_id(self.slice());
            return if answered { Ok(()) } else { Err(Unready::Later(NOT_CONNECTED.into())) };
        };
        let mut leaders: Vec<(i32, &str, i32)> = Vec::new();
        for (name, topic) in topics {
            let answer = self.ask(topic).filter(|metadata| metadata.answered_by >= 0);
            let found = answer.and_then(|metadata| metadata.topics.into_iter().find(|found| found.name == *name));
            for partition in partitions(found.ok_or_else(|| Unready::Later(NOT_CONNECTED.into()))?)? {
                match partition.leader {
                    Some(leader) if leaders.iter().any(|(known, ..)| *known == leader) => {}
                    Some(leader) => leaders.push((leader, name, partition.id)),
                    None => {
                        let reason = format!("partition {} of `{name}` has no leader", partition.id);
                        return Err(Unready::Later(reason));
                    }
                }
            }
        }
        for (leader, topic, partition) in leaders {
            if !self.reaches(topic, partition) {
                let reason =
                    format!("broker {leader}, which leads partition {partition} of `{topic}`, does not answer");
                return Err(Unready::Later(reason));
            }
        }
        // A broker's answers come in the order of the questions, and one of those was for the producer id.
        self.ask(last).map(drop).ok_or_else(|| Unready::Later(NOT_CONNECTED.into()))
    }
}

fn closed() -> CallError {
    failure::call(failure::DESTROY, "the producer was closed")
}

/// Why a topic's records could not go.
enum Unready {
    /// It may be just being made.
    Unknown(i32, String),
    Later(String),
    Never(i32, String),
}

/// The partitions of a topic, if there is nothing wrong with it.
fn partitions(topic: TopicMetadata) -> Result<Vec<PartitionMetadata>, Unready> {
    let Some(error) = topic.error else { return Ok(topic.partitions) };
    let name = &topic.name;
    Err(match trouble(&topic) {
        Some((FailureKind::UnknownTopic, _)) if error.code == UNKNOWN_TOPIC_OR_PARTITION => {
            Unready::Unknown(error.code, format!("the topic `{name}` does not exist: {}", error.reason))
        }
        Some((_, reason)) => Unready::Never(error.code, reason),
        None => Unready::Later(format!("`{name}`: {}", error.reason)),
    })
}
