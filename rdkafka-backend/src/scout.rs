//! Asks brokers what librdkafka does not ask by itself, or not soon: so the first record is fast, and why a topic's records
//! wait is no secret.
//!
//! - librdkafka asks for a producer id when a broker has answered a request for metadata and another one is connected. If
//!   there is no such moment it tries again after half a second, and until then no record goes.
//! - Records for a topic that does not exist wait for it, for `topic.metadata.propagation.max.ms`, and nothing says so.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{CallError, Exchange, FailureKind, Message, Metadata, TopicMetadata};

use crate::failure::{self, TIMED_OUT, UNKNOWN_TOPIC_OR_PARTITION};
use crate::ffi::Client;
use crate::gate::Gate;
use crate::lines::Line;
use crate::signals::Signals;
use crate::topics::Partitioning;

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

/// Asks until nothing is left to ask, or the backend is shut down. `warm_up` if a producer id is wanted.
pub(crate) fn run<R: Message, E: Exchange<R>>(client: &Client<R>, gate: &Gate<E>, signals: &Signals, warm_up: bool) {
    let mut questions = Questions::new(client, signals);
    while warm_up && !signals.is_shut_down() {
        match questions.ask() {
            Some(metadata) if metadata.answered_by >= 0 => break,
            _ => questions.pause(),
        }
    }
    let mut told = HashSet::new();
    loop {
        signals.begin_scouting();
        let waiting = client.topics_without_partitions();
        let Some(exchange) = gate.open() else { return };
        told.retain(|topic| {
            let waits = waiting.iter().any(|waiting| waiting.id() == *topic);
            if !waits {
                tell(client, &*exchange, *topic, None);
            }
            waits
        });
        if waiting.is_empty() {
            if signals.end_scouting() {
                return;
            }
            continue;
        }
        drop(exchange);
        signals.pause(Line::Others, PATIENCE);
        for topic in client.topics_without_partitions() {
            if signals.is_shut_down() || told.contains(&topic.id()) {
                continue;
            }
            let answer = client.ask(Some(&topic), questions.slice());
            questions.heed(&answer);
            let found = answer.ok().and_then(|metadata| trouble(metadata.topics.first()?));
            if let (Some(found), Some(exchange)) = (found, gate.open()) {
                told.insert(topic.id());
                tell(client, &*exchange, topic.id(), Some(found));
            }
        }
        if signals.is_shut_down() {
            return;
        }
    }
}

fn tell<R, E: Exchange<R>>(client: &Client<R>, exchange: &E, topic: TopicId, trouble: Option<(FailureKind, String)>) {
    let listeners = client.listeners();
    listeners.voice.topic(&listeners.audience, exchange, topic, trouble);
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

    /// What a broker knows of the topics that are in use; `None` if none has answered.
    fn ask(&mut self) -> Option<Metadata> {
        let answer = self.client.ask_known(self.slice());
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
/// each partition has a leader, and each leader answers.
pub(crate) fn get_ready<R: Message, E: Exchange<R>>(
    client: &Client<R>,
    gate: &Gate<E>,
    signals: &Signals,
    partitioning: &Partitioning,
    topics: &[TopicId],
    limit: Duration,
) -> Result<(), CallError> {
    let due = Instant::now() + limit;
    let mut names = Vec::new();
    for id in topics {
        let exchange = gate.open().ok_or_else(closed)?;
        let name = exchange.topic_name(*id).unwrap_or_default().to_owned();
        if client.topic(*id, &name, client.lent(), partitioning).is_none() {
            return Err(failure::call(failure::INVALID_ARGUMENT, &format!("no topic can have the name {name:?}")));
        }
        names.push(name);
    }
    let mut questions = Questions::new(client, signals);
    let mut unknown_since = None;
    loop {
        let mut missing = String::from(NOT_CONNECTED);
        if let Some(metadata) = questions.ask().filter(|metadata| metadata.answered_by >= 0) {
            match readiness(&metadata, &names) {
                Ok(leaders) if leaders.iter().all(|(topic, partition)| questions.reaches(topic, *partition)) => {
                    // A broker's answers come in the order of the questions, and one of those was for the producer id.
                    if questions.ask().is_some() {
                        return Ok(());
                    }
                }
                Ok(_) => missing = "a partition's leader does not answer".into(),
                Err(Unready::Later(reason)) => {
                    unknown_since = None;
                    missing = reason;
                }
                Err(Unready::Unknown(code, reason)) => {
                    let since = *unknown_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= 3 * PATIENCE {
                        return Err(failure::call(code, &reason));
                    }
                    missing = reason;
                }
                Err(Unready::Never(code, reason)) => return Err(failure::call(code, &reason)),
            }
        }
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

/// A partition of each leader.
fn readiness(metadata: &Metadata, names: &[String]) -> Result<Vec<(String, i32)>, Unready> {
    let mut leaders: Vec<(i32, String, i32)> = Vec::new();
    for name in names {
        let Some(topic) = metadata.topic(name) else {
            return Err(Unready::Later(format!("`{name}` is not known yet")));
        };
        if let Some(error) = topic.error {
            return Err(match (trouble(topic), error.code) {
                (Some((FailureKind::UnknownTopic, _)), code) if code == UNKNOWN_TOPIC_OR_PARTITION => {
                    Unready::Unknown(code, format!("the topic `{name}` does not exist: {}", error.reason))
                }
                (Some((_, reason)), code) => Unready::Never(code, reason),
                (None, _) => Unready::Later(format!("`{name}`: {}", error.reason)),
            });
        }
        for partition in &topic.partitions {
            let Some(leader) = partition.leader else {
                return Err(Unready::Later(format!("partition {} of `{name}` has no leader", partition.id)));
            };
            if !leaders.iter().any(|(known, ..)| *known == leader) {
                leaders.push((leader, name.clone(), partition.id));
            }
        }
    }
    Ok(leaders.into_iter().map(|(_, topic, partition)| (topic, partition)).collect())
}
