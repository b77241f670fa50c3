//! S50: the production type on a simulated cluster, in a few lines, on tokio's paused clock and on the simulation's own.

use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Sim, SimCluster};
use aioproducer_tokio::Tokio;

#[tokio::test(start_paused = true)]
async fn s50_a_record_arrives_on_tokios_paused_clock() {
    let kafka = SimCluster::new().with_topic("orders", 3);
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    producer.send(Record::to("orders").key("1001").payload("two apples")).await.unwrap();
    assert_eq!(kafka.topic("orders").records()[0].key(), Some(&b"1001"[..]));
}

#[test]
fn s50_a_record_arrives_on_the_simulations_clock() {
    Sim::run(7, |sim| async move {
        let kafka = SimCluster::new().with_topic("orders", 3);
        let producer = AioProducer::builder(kafka.backend()).start(sim.clone()).unwrap();
        let report = producer.send(Record::to("orders").key("1001").payload("two apples")).await.unwrap();
        assert_eq!((report.offset(), sim.elapsed()), (Some(0), Duration::from_millis(2)));
        assert_eq!(kafka.topic("orders").records()[0].payload_str(), Some("two apples"));
        assert!(producer.close(Duration::from_secs(1)).await.is_complete());
    });
}
