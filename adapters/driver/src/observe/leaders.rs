//! Gauges of the producer's health and of its leaders. `docs/metrics.md` has their names, units and meaning.
//!
//! They are reported once a second while there are records, and once more after the last one: nothing is done for a record. Times are
//! whole seconds, so that changes add up to exactly 0.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::{Gauge, Key, Label, Recorder, Unit};

use super::health::{Health, LeaderHealth};
use super::meters::{METADATA, Meaning, change_gauge};
use crate::runtime::sync::{Mutex, lock};

/// The first is the producer's, the others are of each leader.
pub(super) const LEADER_GAUGES: [Meaning; 8] = [
    ("aioproducer_oldest_record_seconds", Unit::Seconds, "the age of the oldest record without an outcome"),
    ("aioproducer_leader_records_waiting", Unit::Count, "records that wait in the pool for this leader"),
    ("aioproducer_leader_oldest_waiting_seconds", Unit::Seconds, "the age of the oldest of those"),
    ("aioproducer_leader_records_in_flight", Unit::Count, "records that the backend has for this leader"),
    ("aioproducer_leader_bytes", Unit::Bytes, "bytes of the records that name a partition of this leader"),
    ("aioproducer_leader_unanswered_seconds", Unit::Seconds, "how long this leader has left records without an answer"),
    ("aioproducer_leader_partitions", Unit::Count, "partitions that it leads, as far as records were sent to them"),
    ("aioproducer_leader_unavailable", Unit::Count, "1 if this leader is passed over, else 0"),
];

/// Those of each leader.
const EACH: usize = LEADER_GAUGES.len() - 1;

/// A leader's gauges, and what they have of this producer.
#[derive(Default)]
struct Reported {
    gauges: Vec<Gauge>,
    values: [i64; EACH],
}

impl Reported {
    fn change(&mut self, values: [i64; EACH]) {
        let before = std::mem::replace(&mut self.values, values);
        let changes = values.iter().zip(before).map(|(now, before)| now - before);
        self.gauges.iter().zip(changes).for_each(|(gauge, change)| change_gauge(gauge, change));
    }
}

/// The gauges of one producer's leaders.
pub(super) struct LeaderMeters {
    labels: Vec<Label>,
    oldest: Gauge,
    reported: Mutex<(i64, BTreeMap<Option<i32>, Reported>)>,
}

impl LeaderMeters {
    pub(super) fn new(recorder: &dyn Recorder, labels: &[Label]) -> Self {
        for (name, unit, meaning) in LEADER_GAUGES {
            recorder.describe_gauge(name.into(), Some(unit), meaning.into());
        }
        let labels = labels.to_vec();
        let oldest = recorder.register_gauge(&Key::from_parts(LEADER_GAUGES[0].0, labels.clone()), &METADATA);
        Self { labels, oldest, reported: Mutex::default() }
    }

    /// Calls recorders, without a lock. One call at a time.
    pub(super) fn report(&self, health: &Health) {
        let (oldest, mut leaders) = std::mem::take(&mut *lock(&self.reported));
        let now = seconds(health.oldest);
        change_gauge(&self.oldest, now - oldest);
        for leader in &health.leaders {
            let reported = leaders.entry(leader.broker).or_insert_with(|| self.leader(leader.broker));
            reported.change(values(leader));
        }
        for (broker, reported) in &mut leaders {
            if health.leaders.iter().all(|leader| leader.broker != *broker) {
                reported.change([0; EACH]);
            }
        }
        *lock(&self.reported) = (now, leaders);
    }

    fn leader(&self, broker: Option<i32>) -> Reported {
        let mut labels = self.labels.clone();
        labels.push(Label::new("leader", broker.map_or_else(|| "unknown".to_owned(), |id| id.to_string())));
        metrics::with_recorder(|recorder| {
            let register =
                |(name, ..): &Meaning| recorder.register_gauge(&Key::from_parts(*name, labels.clone()), &METADATA);
            Reported { gauges: LEADER_GAUGES[1..].iter().map(register).collect(), values: [0; EACH] }
        })
    }
}

fn values(leader: &LeaderHealth) -> [i64; EACH] {
    [
        count(leader.waiting),
        seconds(leader.oldest_waiting),
        count(leader.in_flight),
        count(leader.bytes),
        seconds(leader.unanswered_for),
        count(leader.partitions),
        i64::from(leader.is_unavailable),
    ]
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(time: Option<Duration>) -> i64 {
    time.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
