//! Partitions that leave records without an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::partition::watch::Change;

/// A partition is passed over, or is answered again. It has left records without an answer for
/// `partitioner.availability.timeout.ms`, or its leader has for another partition. It is found out by the producer's own counts.
///
/// ```
/// use aioproducer_rdkafka::Availability;
///
/// fn show(it: &Availability) -> String {
///     let Availability { topic, partition, leader, time, .. } = it;
///     if it.is_available {
///         format!("{topic} [{partition}] is answered again after {time:?}")
///     } else {
///         format!("{topic} [{partition}], led by {leader:?}, has had no answer for {time:?}")
///     }
/// }
/// # let _ = show;
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The broker that has answered for it last, by its id. `None` if none has.
    pub leader: Option<i32>,
    /// It is answered again. If not, records that may go to another partition do, until it is.
    pub is_available: bool,
    /// How long it has had no answer; or, when it is answered again, how long it was passed over.
    pub time: Duration,
    /// Records that librdkafka has of it. `AioProducer::health` has those that wait for it, too.
    pub records: usize,
}

impl Availability {
    pub(super) fn new(topic: &str, change: &Change) -> Self {
        let Change { partition, leader, is_available, time, records, .. } = *change;
        Self { topic: topic.to_owned(), partition, leader, is_available, time, records }
    }
}

/// A line for each leader, for the operator.
pub(super) fn lines(found: &[Availability]) -> Vec<String> {
    let mut leaders: BTreeMap<(bool, Option<i32>), Vec<&Availability>> = BTreeMap::new();
    for it in found {
        leaders.entry((it.is_available, it.leader)).or_default().push(it);
    }
    leaders.into_iter().map(|((is_available, leader), of)| line(is_available, leader, &of)).collect()
}

fn line(is_available: bool, leader: Option<i32>, of: &[&Availability]) -> String {
    let broker = leader.map_or_else(|| "a broker".to_owned(), |id| format!("broker {id}"));
    let (first, others) = of.split_first().map_or((String::new(), 0), |(first, others)| {
        (format!("partition {} of `{}`", first.partition, first.topic), others.len())
    });
    let partitions = match others {
        0 => first,
        others => format!("{first} and {others} more"),
    };
    if is_available {
        return format!("{broker} answers again for {partitions}");
    }
    let time = of.iter().map(|it| it.time).max().unwrap_or_default();
    let records: usize = of.iter().map(|it| it.records).sum();
    format!(
        "{broker} does not answer for {partitions}: {records} records have waited for up to {time:.1?}; records that may go elsewhere do"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s34_the_operator_gets_a_line_for_each_leader() {
        let at = |partition, leader, is_available| Availability {
            topic: "t".into(),
            partition,
            leader,
            is_available,
            time: Duration::from_millis(1234),
            records: 5,
        };
        let found = [at(3, Some(2), false), at(0, None, false), at(5, Some(1), true), at(4, Some(2), false)];
        let ends = "have waited for up to 1.2s; records that may go elsewhere do";
        assert_eq!(
            lines(&found),
            [
                format!("a broker does not answer for partition 0 of `t`: 5 records {ends}"),
                format!("broker 2 does not answer for partition 3 of `t` and 1 more: 10 records {ends}"),
                "broker 1 answers again for partition 5 of `t`".to_owned(),
            ]
        );
    }
}
