//! S47: an offset comes from a broker. Where the broker sent none, there is none.

use aioproducer_driver::future::Outcomes;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s47_without_acknowledgement_no_record_has_an_offset,
    s47_acknowledged_records_have_their_own,
    s47_an_answer_that_knows_records_already_gives_them_none,
}

const COUNT: usize = 5_000;

/// A producer that sends all pending records in one request.
fn in_one_batch(host: &Host, broker: &EmbeddedBroker, acks: Option<&str>) -> AioProducer {
    let mut config = broker::config(broker);
    config.set("linger.ms", "100");
    if let Some(acks) = acks {
        config.set("acks", acks);
    }
    host.start(AioProducer::builder(Librdkafka::new(config)))
}

fn offsets(outcomes: Outcomes) -> Vec<Option<i64>> {
    outcomes.into_iter().map(|outcome| outcome.expect("delivered").offset()).collect()
}

async fn s47_without_acknowledgement_no_record_has_an_offset(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = in_one_batch(&host, &broker, Some("0"));
    for _ in 0..2 {
        let found = offsets(producer.produce_all((0..COUNT).map(|_| Record::to("t").payload("x"))).await);
        assert_eq!(found.iter().filter(|offset| offset.is_some()).count(), 0, "the 1,200th has {:?}", found[1_199]);
    }
}

async fn s47_acknowledged_records_have_their_own(host: Host) {
    for acks in [None, Some("1"), Some("all")] {
        let broker = broker::start_with_topic("t", 1);
        let producer = in_one_batch(&host, &broker, acks);
        let found = offsets(producer.produce_all((0..COUNT).map(|_| Record::to("t").payload("x"))).await);
        assert_eq!(found, (0..COUNT as i64).map(Some).collect::<Vec<_>>(), "{acks:?}");
    }
}

async fn s47_an_answer_that_knows_records_already_gives_them_none(host: Host) {
    let broker = broker::start_with_topic("t", 2);
    let producer = in_one_batch(&host, &broker, None);
    let to = |partition| (0..10).map(move |_| Record::to("t").partition(partition).payload("x"));
    assert_eq!(offsets(producer.produce_all(to(0)).await), (0..10).map(Some).collect::<Vec<_>>());
    let answers = [ErrorCode::NotEnoughReplicasAfterAppend, ErrorCode::DuplicateSequenceNumber];
    broker.request_errors(ApiKey::Produce, &answers).expect("answers");
    assert_eq!(offsets(producer.produce_all(to(0)).await), [None; 10]);
    // Another partition's first record, and what comes after them in the same one.
    assert_eq!(offsets(producer.produce_all(to(1)).await), (0..10).map(Some).collect::<Vec<_>>());
    let after: Vec<_> = offsets(producer.produce_all(to(0)).await).into_iter().flatten().collect();
    assert!(after.len() == 10 && after[0] >= 10 && after.is_sorted_by(|a, b| a + 1 == *b), "{after:?}");
}
