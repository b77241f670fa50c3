//! Calls that the simulated cluster answers: metadata, and whether all is ready.

use aioproducer_core::backend::{
    Answer, Broker, Call, CallError, ErrorCode, Metadata, MetadataError, PartitionMetadata, TopicMetadata,
};

use crate::cluster::State;

/// The answer to a call, of a cluster in this state. `topics` are the names of the topics that the call is about.
pub(super) fn answer(state: &State, call: &Call, topics: &[&str]) -> Result<Answer, CallError> {
    let topology = &state.topology;
    let up: Vec<_> = (1..).zip(&topology.brokers).filter(|(_, broker)| broker.is_up).map(|(id, _)| id).collect();
    let Some(first) = up.first() else {
        return Err(timed_out("no broker of the simulated cluster is up".to_owned()));
    };
    match call {
        Call::Metadata { topic } => Ok(Answer::Metadata(metadata(state, *first, &up, topic.as_deref()))),
        Call::Ready { .. } => {
            for name in topics {
                let Some(topic) = topology.topics.get(*name) else {
                    let code = Some(ErrorCode::UnknownTopicOrPart);
                    return Err(CallError::new(code, format!("the simulated cluster has no topic `{name}`")));
                };
                if topic.partitions.iter().any(|partition| partition.leader.is_none()) {
                    return Err(timed_out(format!("a partition of the topic `{name}` has no leader")));
                }
            }
            Ok(Answer::Done)
        }
        _ => Err(CallError::new(Some(ErrorCode::LocalNotImplemented), "not simulated: this call needs a broker")),
    }
}

fn timed_out(reason: String) -> CallError {
    CallError::new(Some(ErrorCode::LocalTimedOut), reason).with_retriable(true)
}

fn metadata(state: &State, answered_by: i32, up: &[i32], only: Option<&str>) -> Metadata {
    let topology = &state.topology;
    let mut metadata = Metadata::default();
    metadata.answered_by = Some(answered_by);
    metadata.brokers = up.iter().map(|id| Broker::new(*id, format!("broker-{id}.simulated"), 9092)).collect();
    for topic in topology.topics.values().filter(|topic| only.is_none_or(|only| *topic.name == *only)) {
        let mut found = TopicMetadata::new(&*topic.name);
        for (number, partition) in (0..).zip(&topic.partitions) {
            let mut shown = PartitionMetadata::new(number);
            shown.leader = partition.leader;
            shown.replicas.clone_from(&partition.replicas);
            shown.in_sync = topology.in_sync(partition);
            if partition.leader.is_none() {
                shown.error = Some(error(ErrorCode::LeaderNotAvailable));
            }
            found.partitions.push(shown);
        }
        metadata.topics.push(found);
    }
    if let Some(name) = only.filter(|name| metadata.topic(name).is_none()) {
        let mut missing = TopicMetadata::new(name);
        missing.error = Some(error(ErrorCode::UnknownTopicOrPart));
        metadata.topics.push(missing);
    }
    metadata
}

fn error(code: ErrorCode) -> MetadataError {
    MetadataError::new(code, code.description().unwrap_or_default())
}
