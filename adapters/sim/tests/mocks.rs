//! The code of `docs/from-mock-producer.md`, which shows parts of this file.

use std::time::Duration;

use aioproducer_driver::error::{ErrorCode, FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Produce, SimCluster};
use aioproducer_tokio::Tokio;

/// Publishes an order. `Ok` if it is in the log, `Err` with whether it may be there.
async fn publish(producer: &AioProducer, order: &str) -> Result<(), Status> {
    let sent = producer.send(Record::to("orders").key("customer-7").payload(order)).await;
    sent.map(drop).map_err(|error| error.status())
}

#[tokio::test(start_paused = true)]
async fn the_test_decides_about_each_record() {
    let kafka = SimCluster::new().with_topic("orders", 1);
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    let held = kafka.hold("orders");
    let (first, second, ()) = tokio::join!(publish(&producer, "apples"), publish(&producer, "pears"), async {
        held.next().await.deliver(); // completeNext()
        held.next().await.refuse(FailureKind::TimedOut); // errorNext(…)
    });
    assert_eq!((first, second), (Ok(()), Err(Status::NotPersisted)));
    let history = kafka.topic("orders").records(); // history()
    assert_eq!(history[0].payload_str(), Some("apples"));
}

#[tokio::test(start_paused = true)]
async fn answers_are_errors_late_or_lost() {
    let kafka = SimCluster::new().with_brokers(3).with_topic("orders", 1);
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    // request_errors(Produce, [NotEnoughReplicas; 2]): two attempts fail, and the third one is answered.
    let errors = kafka.on(Produce.to("orders")).times(2).answer(ErrorCode::NotEnoughReplicas);
    assert_eq!((publish(&producer, "apples").await, errors.hits()), (Ok(()), 2));
    // partition_leader("orders", 0, Some(2)), broker_round_trip_time(2, 1 s), broker_down(1)
    kafka.leader_of("orders", 0).move_to(2);
    kafka.broker(2).slow(Duration::from_secs(1));
    kafka.broker(1).stop();
    assert_eq!(publish(&producer, "pears").await, Ok(()));
    assert_eq!(kafka.topic("orders").records().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_says_whether_the_record_is_in_the_log() {
    let kafka = SimCluster::new().with_topic("orders", 1);
    let backend = kafka.backend().retries(0);
    let producer = AioProducer::builder(backend).start(Tokio::current().unwrap()).unwrap();
    kafka.on(Produce).once().lose_request();
    assert_eq!(publish(&producer, "apples").await, Err(Status::PossiblyPersisted));
    assert_eq!(kafka.topic("orders").records().len(), 0);
    kafka.on(Produce).once().apply_then_lose_answer();
    assert_eq!(publish(&producer, "pears").await, Err(Status::PossiblyPersisted));
    assert_eq!(kafka.topic("orders").records().len(), 1);
}
