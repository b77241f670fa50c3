//! Keys whose partition is known: the producer is asked, by a record for each key.

use std::collections::BTreeMap;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tokio::Tokio;

use crate::Failure;
use crate::options::{Options, Routing};
use crate::target::{PARTITIONS, PROBE_TOPIC, Target};

/// Where a task's records go, round and round.
pub(crate) struct Keys {
    /// The records of each partition: a key, and the number of their lane.
    lanes: BTreeMap<i32, Vec<(Option<String>, u32)>>,
    kind: Routing,
}

/// One kind of record.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) key: Option<String>,
    /// The partition that the record names.
    pub(crate) place: Option<i32>,
    /// Where it goes; `None` if anywhere.
    pub(crate) wanted: Option<i32>,
    pub(crate) lane: Option<u32>,
}

impl Keys {
    pub(crate) async fn choose(options: &Options, target: &Target) -> Result<Self, Failure> {
        let lanes = match options.keys {
            Routing::Keyed => probe(options.keys_each, target).await?,
            Routing::Placed => (0..PARTITIONS).map(|partition| (partition, vec![(None, partition as u32)])).collect(),
            Routing::Keyless => BTreeMap::new(),
        };
        Ok(Self { lanes, kind: options.keys })
    }

    /// The kinds of record of task `task` of `tasks`. No two tasks have records of one lane.
    pub(crate) fn of_task(&self, task: usize, tasks: usize) -> Vec<Kind> {
        if self.kind == Routing::Keyless {
            return vec![Kind { key: None, place: None, wanted: None, lane: None }];
        }
        let partitions = self.lanes.len();
        let mut kinds: Vec<(usize, Kind)> = Vec::new();
        for (at, (&partition, lanes)) in self.lanes.iter().enumerate() {
            let own = |index: usize| match tasks.checked_sub(partitions) {
                None => at % tasks == task,
                Some(_) => task % partitions == at && index % (tasks / partitions).max(1) == task / partitions,
            };
            for (index, (key, lane)) in lanes.iter().enumerate().filter(|(index, _)| own(*index)) {
                let place = (self.kind == Routing::Placed).then_some(partition);
                let kind = Kind { key: key.clone(), place, wanted: Some(partition), lane: Some(*lane) };
                kinds.push((index, kind));
            }
        }
        // Each partition in turn.
        kinds.sort_by_key(|(index, kind)| (*index, kind.wanted));
        kinds.into_iter().map(|(_, kind)| kind).collect()
    }
}

/// Finds `each` keys for each partition.
async fn probe(each: usize, target: &Target) -> Result<BTreeMap<i32, Vec<(Option<String>, u32)>>, Failure> {
    let producer = AioProducer::builder(Librdkafka::new(target.config())).start(Tokio::current()?)?;
    producer.ready([PROBE_TOPIC]).await?;
    let mut lanes: BTreeMap<i32, Vec<_>> = (0..PARTITIONS).map(|partition| (partition, Vec::new())).collect();
    let mut lane = 0;
    while lanes.values().any(|keys| keys.len() < each) {
        let keys: Vec<_> = (lane..lane + 100).map(|lane| format!("key-{lane}")).collect();
        let records = keys.iter().map(|key| Record::to(PROBE_TOPIC).key(key.clone()));
        let outcomes = producer.produce_all(records).await;
        for (key, outcome) in keys.into_iter().zip(outcomes) {
            let keys = lanes.entry(outcome?.partition()).or_default();
            if keys.len() < each {
                keys.push((Some(key), lane));
            }
            lane += 1;
        }
    }
    Ok(lanes)
}
