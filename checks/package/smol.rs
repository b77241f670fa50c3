//! README's example on smol.

use aioproducer::{AioProducer, ClientConfig, EmbeddedBroker, Librdkafka, Record, Smol};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::start()?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers());

    smol::block_on(async {
        let producer = AioProducer::builder(Librdkafka::new(config)).start(Smol::global())?;
        let delivery = producer.produce(Record::to("orders").key("customer-7").payload("two apples")).await?;
        let report = delivery.await?;
        println!("delivered: {report}");
        producer.close(std::time::Duration::from_secs(10)).await;
        Ok(())
    })
}
