//! Queries to brokers that end soon, and what is wrong with a topic.

use std::time::Duration;

use aioproducer_core::backend::{CallError, ErrorCode, FailureKind, Message, Metadata, TopicMetadata};

use crate::coordination::{CallKind, Signals};
use crate::failure;
use crate::ffi::{Client, Topic};

/// The first timeout of a query. A query delays the end of the producer, so it gets more time only if a broker needs it.
const TIMEOUT: Duration = Duration::from_millis(50);

/// The longest timeout, for brokers that answer late.
const MAX_TIMEOUT: Duration = Duration::from_secs(3);

/// The first pause between queries while no broker is connected.
const PAUSE: Duration = Duration::from_millis(5);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Queries with timeouts and pauses that grow when needed.
pub(super) struct MetadataQueries<'a, R> {
    client: &'a Client<R>,
    signals: &'a Signals,
    timeout: Duration,
    pause: Duration,
}

impl<'a, R: Message> MetadataQueries<'a, R> {
    pub(super) fn new(client: &'a Client<R>, signals: &'a Signals) -> Self {
        Self { client, signals, timeout: TIMEOUT, pause: PAUSE }
    }

    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// The metadata of a topic; `None` if no broker has answered.
    pub(super) fn topic(&mut self, topic: &Topic) -> Option<Metadata> {
        let answer = self.client.request_metadata(Some(topic), self.timeout_ms());
        self.adapt(&answer);
        answer.ok()
    }

    /// Whether the leader of a partition answers.
    pub(super) fn reaches_leader(&mut self, topic: &str, partition: i32) -> bool {
        let answer = self.client.query_offsets(topic, partition, self.timeout_ms());
        self.adapt(&answer);
        answer.is_ok()
    }

    /// Whether any broker has answered so far, or does so now.
    pub(super) fn reaches_broker(&self) -> bool {
        self.client.has_cluster_id(self.timeout_ms())
    }

    /// A broker that has received a query and has not answered gets more time.
    fn adapt<T>(&mut self, answer: &Result<T, CallError>) {
        match answer {
            Ok(_) => self.pause = PAUSE,
            Err(error) if error.code() == Some(ErrorCode::LocalTimedOut) => {
                self.timeout = MAX_TIMEOUT.min(2 * self.timeout)
            }
            Err(_) => {}
        }
    }

    /// Waits before the next query, at most for `limit`, or until the backend is shut down.
    pub(super) fn pause(&mut self, limit: Duration) {
        self.signals.pause(CallKind::Other, self.pause.min(limit));
        self.pause = MAX_PAUSE.min(2 * self.pause);
    }
}

/// Why a topic's records are not delivered, if its metadata say so.
pub(super) fn topic_trouble(topic: &TopicMetadata) -> Option<(FailureKind, String)> {
    let error = topic.error?;
    let name = &topic.name;
    match failure::kind(error.code().number()) {
        FailureKind::UnknownTopic => Some((
            FailureKind::UnknownTopic,
            format!(
                "the topic `{name}` does not exist ({}); its records wait for it until the delivery timeout or \
                 `topic.metadata.propagation.max.ms`, whichever is first: create it, or correct its name",
                error.reason()
            ),
        )),
        FailureKind::NotAuthorized => Some((
            FailureKind::NotAuthorized,
            format!("the login is not allowed to use the topic `{name}` ({}): permit it to write", error.reason()),
        )),
        _ => None,
    }
}
