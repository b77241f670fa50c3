//! Records without a key leave a partition that does not answer, and return when it does.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aioproducer_core::backend::FailureKind;
use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode, Librdkafka};
use common::{Rec, Rig, TOPIC, client, eventually, failure, pass};

/// Each broker leads two partitions.
const BROKERS: i32 = 3;
const PARTITIONS: i32 = 6;

/// The leader that does not answer, and its partitions, the first of which has a record.
const LEADER: i32 = 2;
const SILENT: i32 = 1;
const SILENT_TOO: i32 = 4;

const TIMEOUT: Duration = Duration::from_millis(300);

/// A batch of records without a key goes to another partition than the one before.
const SETTINGS: [(&str, &str); 4] = [
    ("partitioner.availability.timeout.ms", "300"),
    ("sticky.partitioning.linger.ms", "0"),
    ("reconnect.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "50"),
];

struct Cluster {
    broker: EmbeddedBroker,
    rig: Rig,
    next: u64,
}

impl Cluster {
    fn start(settings: &[(&str, &str)]) -> Self {
        let broker = EmbeddedBroker::start_with(BROKERS).unwrap();
        broker.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        for partition in 0..PARTITIONS {
            broker.partition_leader(TOPIC, partition, Some(partition % BROKERS + 1)).unwrap();
        }
        let settings = [&SETTINGS, settings].concat();
        let backend = Librdkafka::new(client(broker.bootstrap_servers(), &settings));
        let rig = Rig::with(backend, 100, &[TOPIC]);
        let mut cluster = Self { broker, rig, next: 0 };
        // Every leader is connected.
        for partition in 0..PARTITIONS {
            let id = cluster.send(|record| record.to(partition));
            cluster.delivered(id);
        }
        cluster
    }

    fn send(&mut self, change: impl FnOnce(Rec) -> Rec) -> u64 {
        let id = self.next;
        self.next += 1;
        self.rig.send([change(Rec::new(id))]);
        id
    }

    /// The partition of a record.
    fn delivered(&self, id: u64) -> i32 {
        self.rig.wait_for(id);
        self.rig.result(id).unwrap().unwrap_or_else(|(failure, _)| panic!("{id}: {failure:?}")).partition
    }

    /// Where the next record without a key goes. No other one waits for an answer, so no other partition is silent.
    fn place(&mut self) -> i32 {
        let id = self.send(|record| record);
        self.delivered(id)
    }

    /// The leader receives requests and does not answer, as a process that is stopped.
    fn stop_leader(&self) {
        self.broker.round_trip_time(LEADER, Duration::from_secs(3600)).unwrap();
    }

    /// The leader is back, with new connections.
    fn restart_leader(&self) {
        self.broker.broker_down(LEADER).unwrap();
        self.broker.round_trip_time(LEADER, Duration::ZERO).unwrap();
        self.broker.broker_up(LEADER).unwrap();
    }

    /// Sends a record to the partition, which does not answer, and waits for as long as that is tolerated.
    fn fall_silent(&mut self) -> u64 {
        let id = self.send(|record| record.to(SILENT));
        self.rig.wait_handed_off(1);
        pass(TIMEOUT);
        id
    }

    /// Waits until the leader's partitions are used again.
    fn is_used_again(&mut self) {
        eventually("the partition is used again", || self.place() == SILENT);
        eventually("the other one is used again", || self.place() == SILENT_TOO);
    }
}

#[test]
fn records_without_a_key_leave_a_broker_that_is_stopped_and_return_to_it() {
    let mut cluster = Cluster::start(&[]);
    cluster.stop_leader();
    let waiting = cluster.fall_silent();
    for _ in 0..100 {
        assert!(![SILENT, SILENT_TOO].contains(&cluster.place()));
    }
    assert_eq!(cluster.rig.result(waiting), None);
    cluster.restart_leader();
    assert_eq!(cluster.delivered(waiting), SILENT);
    cluster.is_used_again();
    assert!(cluster.rig.end().values().all(Result::is_ok));
}

#[test]
fn records_without_a_key_leave_a_broker_that_is_slow_until_it_answers() {
    const DELAY: Duration = Duration::from_secs(3);
    let mut cluster = Cluster::start(&[]);
    cluster.broker.round_trip_time(LEADER, DELAY).unwrap();
    let start = Instant::now();
    let waiting = cluster.fall_silent();
    while cluster.rig.result(waiting).is_none() {
        let id = cluster.send(|record| record);
        cluster.rig.wait_handed_off(0);
        if start.elapsed() < DELAY {
            assert!(![SILENT, SILENT_TOO].contains(&cluster.delivered(id)));
        }
    }
    cluster.broker.round_trip_time(LEADER, Duration::ZERO).unwrap();
    cluster.is_used_again();
    assert!(cluster.rig.end().values().all(Result::is_ok));
}

#[test]
fn a_refusal_is_an_answer() {
    let mut cluster = Cluster::start(&[]);
    cluster.broker.request_errors(ApiKey::Produce, &[ErrorCode::InvalidRecord]).unwrap();
    cluster.broker.round_trip_time(LEADER, TIMEOUT * 4).unwrap();
    let refused = cluster.fall_silent();
    cluster.rig.wait_for(refused);
    cluster.broker.round_trip_time(LEADER, Duration::ZERO).unwrap();
    cluster.is_used_again();
    assert_eq!(failure(&cluster.rig.end(), refused).kind, FailureKind::Broker);
}

#[test]
fn without_adaptive_partitioning_all_partitions_are_equal() {
    let mut cluster = Cluster::start(&[("partitioner.adaptive.partitioning.enable", "false")]);
    cluster.stop_leader();
    let waiting = cluster.fall_silent();
    let before = cluster.next;
    for _ in 0..100 {
        cluster.send(|record| record);
        cluster.rig.wait_handed_off(1);
    }
    cluster.restart_leader();
    assert_eq!(cluster.delivered(waiting), SILENT);
    let places: Vec<_> = (before..cluster.next).map(|id| cluster.delivered(id)).collect();
    assert!(places.contains(&SILENT), "{places:?}");
    assert!(cluster.rig.end().values().all(Result::is_ok));
}

/// A record that was counted for a partition and never left it would keep that partition silent.
#[test]
fn every_record_that_ends_leaves_its_partition() {
    let mut cluster = Cluster::start(&[("queue.buffering.max.messages", "100"), ("message.max.bytes", "2000")]);
    let send_all = |cluster: &mut Cluster| {
        for n in 0..300 {
            let record = |record: Rec| match n % 6 {
                0 => record,
                1 => record.to(n / 6 % PARTITIONS),
                2 => record.placed(n / 6 % PARTITIONS).header("h", None),
                3 => record.placed(if n % 4 == 3 { 99 } else { SILENT }).key(n.to_string()),
                4 => record.payload(vec![b'x'; if n % 4 == 0 { 4000 } else { 1000 }]).key("k"),
                _ => record.to(99).key("k"),
            };
            cluster.send(record);
        }
    };
    send_all(&mut cluster);
    cluster.rig.wait(cluster.next as usize);
    let errors = [ErrorCode::InvalidRecord, ErrorCode::NotLeaderForPartition, ErrorCode::MsgSizeTooLarge];
    cluster.broker.request_errors(ApiKey::Produce, &errors).unwrap();
    send_all(&mut cluster);
    cluster.rig.wait(cluster.next as usize);
    assert!(cluster.rig.refusals() > 0, "the queue was never full");
    // The last records end without an answer.
    cluster.stop_leader();
    cluster.fall_silent();
    cluster.rig.backend.purge(true, true);
    cluster.rig.wait(cluster.next as usize);
    cluster.restart_leader();
    let mut unused: BTreeSet<_> = (0..PARTITIONS).collect();
    eventually("all partitions are used", || {
        unused.remove(&cluster.place());
        unused.is_empty()
    });
}
