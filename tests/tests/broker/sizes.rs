//! S15: a record of any size is either delivered or refused at once, and the error names the setting.

use aioproducer_driver::{AioProducer, ProduceError, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s15_what_is_accepted_is_sent_at_every_size_up_to_the_limit,
    s15_a_record_of_a_million_bytes_is_refused_by_name,
}

/// The bytes that librdkafka counts for a record beside its key, value and headers.
const OVERHEAD: usize = 36;

/// A record of `size` bytes, all parts together.
type Shape = fn(usize) -> Record<'static>;

fn payload(size: usize) -> Vec<u8> {
    vec![b'x'; size]
}

const SHAPES: [Shape; 5] = [
    |size| Record::to("t").payload(payload(size)),
    |size| Record::to("t").key("0123456789").payload(payload(size - 10)),
    |size| Record::to("t").key(payload(size)),
    // Lengths that take one byte, two, and none at all.
    |size| Record::to("t").header("h".repeat(63), "v".repeat(64)).null_header("n").payload(payload(size - 128)),
    |size| Record::to("t").header("h", payload(size - 21)).header("", "").payload(payload(20)),
];

async fn s15_what_is_accepted_is_sent_at_every_size_up_to_the_limit(host: Host) {
    const LIMIT: usize = 2_000;
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("message.max.bytes", LIMIT.to_string());
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    for (number, shape) in (0..).zip(SHAPES) {
        let mut refused = 0;
        for size in LIMIT - 200..=LIMIT {
            match producer.produce(shape(size)).await {
                Ok(delivery) => {
                    let outcome = delivery.await;
                    assert!(outcome.is_ok(), "shape {number}, {size} bytes: {outcome:?}");
                    assert_eq!(refused, 0, "shape {number}, {size} bytes: a smaller one was refused");
                }
                Err(error) => {
                    let text = error.to_string();
                    let ProduceError::TooLarge { size: reported, overhead, limit, setting, .. } = error else {
                        panic!("shape {number}, {size} bytes: {text}");
                    };
                    assert_eq!((reported, limit, setting), (size, LIMIT, Some("message.max.bytes")));
                    assert_eq!(size + overhead - LIMIT, refused + 1, "shape {number}: the smallest that is too large");
                    for part in [setting.unwrap_or("no setting"), &size.to_string(), &LIMIT.to_string()] {
                        assert!(text.contains(part), "{text}");
                    }
                    refused += 1;
                }
            }
        }
        assert!(refused >= OVERHEAD, "shape {number}: {refused} refused");
    }
}

async fn s15_a_record_of_a_million_bytes_is_refused_by_name(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    for size in [999_963, 999_964] {
        producer.send(Record::to("t").payload(payload(size))).await.expect("delivered");
    }
    for size in [999_965, 999_999, 1_000_000] {
        let text = producer.send(Record::to("t").payload(payload(size))).await.expect_err("refused").to_string();
        let parts = [&size.to_string(), "`message.max.bytes` is 1000000"];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}
