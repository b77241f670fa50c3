//! The code of `docs/simulation.md`, which shows parts of this file.

use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Plan, Produce, Sim, SimCluster, check};
use aioproducer_tokio::Tokio;

/// Publishes an order; sends it once more if it is certain that it is not in the log.
async fn publish(producer: &AioProducer, order: &str) -> Result<(), FailureKind> {
    for _ in 0..2 {
        let record = Record::to("orders").key("customer-7").payload(order);
        match producer.produce(record).await.expect("the producer is open").await {
            Ok(_) => return Ok(()),
            Err(error) if error.status() == Status::NotPersisted => {}
            Err(error) => return Err(error.kind()),
        }
    }
    Err(FailureKind::TimedOut)
}

#[tokio::test(start_paused = true)]
async fn an_order_is_published() {
    let kafka = SimCluster::new().with_topic("orders", 3);
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    publish(&producer, "two apples").await.unwrap();
    assert_eq!(kafka.topic("orders").records()[0].payload_str(), Some("two apples"));
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_refused_once_is_published_all_the_same() {
    let kafka = SimCluster::new().with_topic("orders", 3);
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    let held = kafka.hold("orders");
    let (published, ()) = tokio::join!(publish(&producer, "two apples"), async {
        held.next().await.refuse(FailureKind::TimedOut);
        held.next().await.deliver();
    });
    assert_eq!((published, kafka.topic("orders").records().len()), (Ok(()), 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_duplicate() {
    let kafka = SimCluster::new().with_topic("orders", 3);
    kafka.on(Produce.to("orders")).once().apply_then_lose_answer();
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    publish(&producer, "two apples").await.unwrap();
    assert_eq!(kafka.topic("orders").records().len(), 1);
}

#[test]
fn an_order_survives_a_broker_in_any_order_of_tasks() {
    for seed in 0..50 {
        Sim::run(seed, |sim| async move {
            let kafka = SimCluster::new().with_brokers(3).with_topic("orders", 3);
            let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
            let fails_at = Duration::from_micros(sim.random(3_000));
            let broker = kafka.broker(1);
            let outage = sim.spawn({
                let sim = sim.clone();
                async move {
                    sim.sleep(fails_at).await;
                    broker.stop_for(Duration::from_secs(10));
                }
            });
            publish(&producer, "two apples").await.unwrap();
            outage.await;
            assert_eq!(kafka.topic("orders").records().len(), 1);
        });
    }
}

#[test]
fn no_order_is_published_twice_whatever_fails() {
    check(Plan::swarm().topic("orders", 3).seeds(0..100), |case| async move {
        let producer = case.producer();
        for n in 0..20 {
            let outcome = publish(&producer, &format!("order {n}")).await;
            case.sometimes(case.sim().elapsed() > Duration::from_secs(1), "an order waits for a broker");
            case.always(outcome.is_ok(), "two minutes are enough");
        }
        case.expect_once(|record| record.payload_str().map(str::to_owned));
    });
}
