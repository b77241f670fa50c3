//! S28: the thread that produces only enqueues a record; it creates no topic handle.

mod common;

use aioproducer_rdkafka::Librdkafka;
use common::{Rec, Rig, broker, client};

const TOPICS: usize = 40;

/// One record for each topic, with consecutive ids.
fn records(round: u64) -> impl Iterator<Item = Rec> {
    (0..TOPICS as u64).map(move |topic| Rec { topic: topic as u32, ..Rec::new(round * TOPICS as u64 + topic) })
}

#[test]
fn s28_a_worker_creates_a_topic_and_later_records_may_be_handed_off_inline() {
    let broker = broker(1);
    let names: Vec<String> = (0..TOPICS).map(|n| format!("topic-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rig = Rig::with(Librdkafka::new(client(broker.bootstrap_servers(), &[])), 10, &names);
    for record in records(0) {
        let topic = record.topic;
        assert!(!rig.send_alone(record), "the first record of topic {topic}");
    }
    // A worker that is awake may be first.
    let mut round = 1;
    while !records(round).fold(false, |inline, record| rig.send_alone(record) | inline) {
        round += 1;
    }
    rig.wait((round as usize + 1) * TOPICS);
    assert!(rig.end().values().all(Result::is_ok));
}

#[test]
fn s25_a_deferred_first_record_has_its_outcome_at_the_end() {
    let broker = broker(1);
    for _ in 0..20 {
        let rig = Rig::new(&[], &broker, 1, 10);
        rig.leave_alone(Rec::new(0));
        assert_eq!(rig.end().len(), 1);
    }
}
