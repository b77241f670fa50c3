//! `Call::Ready`: waits until records of some topics can be delivered at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{CallError, Driver, ErrorCode, FailureKind, Message, PartitionMetadata, TopicMetadata};

use crate::coordination::Signals;
use crate::failure::{self, TIMED_OUT};
use crate::ffi::{Client, Topic};
use crate::partition::partitioning::Partitioning;
use crate::threads::driver_link::DriverLink;
use crate::threads::metadata_queries::{MetadataQueries, topic_trouble};
use crate::threads::probe::UNKNOWN_TOPIC;

const NOT_CONNECTED: &str = "no broker has answered in time";

/// Waits until a record of any of `topics` can be delivered at once: a broker has answered, the producer id was requested, each
/// partition has a leader, each leader answers, and no partition is passed over. Without topics it waits for the answer of a broker.
pub(super) fn wait<R: Message, E: Driver<R>>(
    client: &Client<R>,
    link: &DriverLink<E>,
    signals: &Signals,
    partitioning: &Partitioning,
    topics: &[TopicId],
    limit: Duration,
) -> Result<(), CallError> {
    let due = Instant::now() + limit;
    let mut wanted = Vec::new();
    for id in topics {
        let driver = link.driver().ok_or_else(closed)?;
        let name = driver.topic_name(*id).unwrap_or_default().to_owned();
        let Some(topic) = client.topic(*id, &name, client.lent(), partitioning) else {
            return Err(failure::call(failure::INVALID_ARGUMENT, &format!("invalid topic name {name:?}")));
        };
        wanted.push((name, topic));
    }
    let mut queries = MetadataQueries::new(client, signals);
    let mut unknown_since = None;
    loop {
        let missing = match check(&mut queries, &wanted).and_then(|()| are_answered(client, &wanted)) {
            Ok(()) => return Ok(()),
            Err(Unready::Never(code, reason)) => return Err(failure::call(code, &reason)),
            Err(Unready::Unknown(code, reason)) => {
                let since = *unknown_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= 3 * UNKNOWN_TOPIC {
                    return Err(failure::call(code, &reason));
                }
                reason
            }
            Err(Unready::NotYet(reason)) => {
                unknown_since = None;
                reason
            }
        };
        if signals.is_shut_down() {
            return Err(closed());
        }
        if Instant::now() >= due {
            let reason = format!("not ready after {limit:?}: {missing}");
            return Err(failure::call(TIMED_OUT, &reason).with_retriable(true));
        }
        queries.pause(due.saturating_duration_since(Instant::now()));
    }
}

/// Why records of a topic cannot be delivered.
enum Unready {
    /// The topic does not exist. It may be being created.
    Unknown(i32, String),
    NotYet(String),
    Never(i32, String),
}

/// Checks everything that records of these topics need.
fn check<R: Message>(queries: &mut MetadataQueries<'_, R>, topics: &[(String, Arc<Topic>)]) -> Result<(), Unready> {
    let Some((_, last)) = topics.last() else {
        return if queries.reaches_broker() { Ok(()) } else { Err(Unready::NotYet(NOT_CONNECTED.into())) };
    };
    let mut leaders: Vec<(i32, &str, i32)> = Vec::new();
    for (name, topic) in topics {
        let answer = queries.topic(topic).filter(|metadata| metadata.answered_by.is_some());
        let found = answer.and_then(|metadata| metadata.topics.into_iter().find(|found| found.name == *name));
        for partition in partitions(found.ok_or_else(|| Unready::NotYet(NOT_CONNECTED.into()))?)? {
            match partition.leader {
                Some(leader) if leaders.iter().any(|(known, ..)| *known == leader) => {}
                Some(leader) => leaders.push((leader, name, partition.id)),
                None => {
                    let reason = format!("partition {} of `{name}` has no leader", partition.id);
                    return Err(Unready::NotYet(reason));
                }
            }
        }
    }
    for (leader, topic, partition) in leaders {
        if !queries.reaches_leader(topic, partition) {
            let reason = format!("broker {leader}, the leader of partition {partition} of `{topic}`, does not answer");
            return Err(Unready::NotYet(reason));
        }
    }
    // A broker answers in the order of the requests, and one of those before was for the producer id.
    queries.topic(last).map(drop).ok_or_else(|| Unready::NotYet(NOT_CONNECTED.into()))
}

/// No partition of these topics has left records without an answer for too long: a leader that answers other requests may write no
/// records, because a replica is missing, for example.
fn are_answered<R>(client: &Client<R>, topics: &[(String, Arc<Topic>)]) -> Result<(), Unready> {
    let loads = client.topic_states().loads(Instant::now());
    let silent = loads.iter().filter(|load| load.is_passed_over).find_map(|load| {
        let (name, _) = topics.iter().find(|(_, topic)| topic.id() == load.topic)?;
        let time = load.unanswered_for.unwrap_or_default();
        Some(format!(
            "partition {} of `{name}` is passed over: {} records, no answer for {time:.1?}",
            load.partition, load.records
        ))
    });
    silent.map_or(Ok(()), |reason| Err(Unready::NotYet(reason)))
}

/// The partitions of a topic, unless its metadata have an error.
fn partitions(topic: TopicMetadata) -> Result<Vec<PartitionMetadata>, Unready> {
    let Some(error) = topic.error else { return Ok(topic.partitions) };
    let name = &topic.name;
    Err(match topic_trouble(&topic) {
        Some((FailureKind::UnknownTopic, _)) if error.code() == ErrorCode::UnknownTopicOrPart => {
            Unready::Unknown(error.code().number(), format!("the topic `{name}` does not exist: {}", error.reason()))
        }
        Some((_, reason)) => Unready::Never(error.code().number(), reason),
        None => Unready::NotYet(format!("`{name}`: {}", error.reason())),
    })
}

fn closed() -> CallError {
    failure::call(failure::DESTROY, "the producer was closed")
}
