//! The first test of the README's section on simulation, with no feature but `sim` and the runtime's.

use aioproducer::sim::SimCluster;
use aioproducer::{AioProducer, Record, Tokio};

#[tokio::test(start_paused = true)]
async fn an_order_arrives() {
    let kafka = SimCluster::new().with_topic("orders", 3);
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    producer.send(Record::to("orders").key("customer-7").payload("two apples")).await.unwrap();
    assert_eq!(kafka.topic("orders").records()[0].payload_str(), Some("two apples"));
}
