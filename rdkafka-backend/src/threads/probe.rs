//! The metadata probe: requests metadata that librdkafka does not request by itself, or only later.
//!
//! - librdkafka requests a producer id when a broker has answered a metadata request and another broker is connected. If that
//!   does not happen, it tries again after half a second, and no record is sent before. An early metadata request makes the first
//!   record fast.
//! - Records of a topic that does not exist wait for it for `topic.metadata.propagation.max.ms`, and librdkafka does not report
//!   that. The probe finds out and reports it.

use std::collections::HashSet;
use std::time::Duration;

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Driver, FailureKind, Message};

use crate::coordination::{CallKind, Signals};
use crate::ffi::Client;
use crate::threads::driver_link::DriverLink;
use crate::threads::metadata_queries::{MetadataQueries, topic_trouble};

/// How long a topic may have no partitions before the probe asks why.
pub(super) const UNKNOWN_TOPIC: Duration = Duration::from_secs(1);

/// Runs until all topics have partitions or the backend is shut down. It is started when a topic is used for the first time. With
/// `warm_up`, the producer needs a producer id. Each request is for one topic, as a cluster may have very many.
pub(super) fn run<R: Message, E: Driver<R>>(
    client: &Client<R>,
    link: &DriverLink<E>,
    signals: &Signals,
    warm_up: bool,
) {
    let mut queries = MetadataQueries::new(client, signals);
    let topic = if warm_up { client.any_topic() } else { None };
    while let Some(topic) = &topic
        && !signals.is_shut_down()
    {
        match queries.topic(topic) {
            // The answer of a bootstrap address has no broker id.
            Some(metadata) if metadata.answered_by.is_some() => break,
            _ => queries.pause(Duration::MAX),
        }
    }
    let mut reported = HashSet::new();
    loop {
        signals.begin_probe_round();
        let waiting = client.topics_without_partitions();
        let Some(driver) = link.driver() else { return };
        reported.retain(|topic| {
            let waits = waiting.iter().any(|waiting| waiting.id() == *topic);
            if !waits {
                report(client, &*driver, *topic, None);
            }
            waits
        });
        if waiting.is_empty() {
            if signals.end_probe() {
                return;
            }
            continue;
        }
        drop(driver);
        signals.pause(CallKind::Other, UNKNOWN_TOPIC);
        for topic in client.topics_without_partitions() {
            if signals.is_shut_down() || reported.contains(&topic.id()) {
                continue;
            }
            let found = queries.topic(&topic).and_then(|metadata| topic_trouble(metadata.topics.first()?));
            if let (Some(found), Some(driver)) = (found, link.driver()) {
                reported.insert(topic.id());
                report(client, &*driver, topic.id(), Some(found));
            }
        }
        if signals.is_shut_down() {
            return;
        }
    }
}

fn report<R, E: Driver<R>>(client: &Client<R>, driver: &E, topic: TopicId, trouble: Option<(FailureKind, String)>) {
    let context = client.context();
    context.router.topic(&context.sinks, driver, topic, trouble);
}
