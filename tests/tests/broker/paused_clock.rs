//! S29: a paused clock with a backend whose threads and broker run in real time.

use std::future::Future;
use std::time::Duration;

use aioproducer_core::backend::Status;
use aioproducer_driver::error::FlushError;
use aioproducer_driver::{AioProducer, Builder, Record};
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka};
use aioproducer_tests::broker;
use aioproducer_tests::executor::watched;
use aioproducer_tests::records::numbered;
use aioproducer_tokio::Tokio;
use tokio::time::{self, Instant};

/// Runs `test` on tokio, with a paused clock if `paused`.
fn on_tokio<F: Future<Output = ()>>(paused: bool, test: impl FnOnce() -> F + Send + 'static) {
    watched(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(paused).build();
        runtime.expect("a runtime").block_on(test());
    });
}

fn start(builder: Builder<Librdkafka>) -> AioProducer {
    builder.start(Tokio::current().expect("a runtime")).expect("started")
}

/// A slow broker.
fn slow_broker() -> (EmbeddedBroker, Builder<Librdkafka>) {
    let slow = broker::start_with_topic("t", 1);
    slow.round_trip_time(1, Duration::from_millis(50)).expect("a broker");
    let builder = AioProducer::builder(broker::backend(&slow));
    (slow, builder)
}

const DAY: Duration = Duration::from_secs(86_400);

/// Shorter than any limit of the producer, longer than the broker takes.
const MOMENT: Duration = Duration::from_secs(50);

#[test]
fn s29_under_a_paused_clock_a_broker_delivers() {
    on_tokio(true, || async {
        let (_broker, builder) = slow_broker();
        let producer = start(builder);
        let before = Instant::now();
        for number in 0..5 {
            producer.send(numbered(number)).await.expect("delivered");
        }
        let outcomes = producer.produce_all((0..1_000).map(numbered)).await;
        assert!(outcomes.iter().all(Result::is_ok));
        producer.flush().await.expect("flushed");
        // The caller's own timeouts pass as in real time.
        time::timeout(MOMENT, producer.send(numbered(0))).await.expect("in time").expect("delivered");
        time::timeout(MOMENT, producer.metadata(None)).await.expect("in time").expect("an answer");
        assert!(before.elapsed() < MOMENT, "the clock went {:?} on", before.elapsed());
        // Without work the clock advances by itself as usual.
        time::sleep(DAY).await;
        producer.send(numbered(0)).await.expect("delivered");
        let before = Instant::now();
        assert!(time::timeout(MOMENT, producer.close(DAY)).await.expect("in time").is_complete());
        assert!(before.elapsed() < MOMENT);
    });
}

#[test]
fn s29_under_a_paused_clock_linger_ends_and_the_broker_delivers() {
    on_tokio(true, || async {
        let (_broker, builder) = slow_broker();
        let producer = start(builder.linger(Duration::from_secs(60)).send_lingers(true));
        let before = Instant::now();
        producer.send(numbered(0)).await.expect("delivered");
        let elapsed = before.elapsed();
        assert!(elapsed >= Duration::from_secs(60) && elapsed < Duration::from_secs(60) + MOMENT, "{elapsed:?}");
    });
}

#[test]
fn s29_a_clock_that_is_paused_later_leaves_records_their_time() {
    on_tokio(false, || async {
        let (_broker, builder) = slow_broker();
        let producer = start(builder);
        producer.send(numbered(0)).await.expect("delivered");
        // Paused while a record is with the broker.
        let delivery = producer.produce(numbered(1)).await.expect("room");
        time::pause();
        delivery.await.expect("delivered");
        // Paused before a record is produced.
        for number in 2..5 {
            producer.send(numbered(number)).await.expect("delivered");
        }
        time::resume();
        producer.send(numbered(5)).await.expect("delivered");
        assert!(producer.close(MOMENT).await.is_complete());
    });
}

#[test]
fn s29_a_clock_that_leaps_leaves_records_their_time() {
    on_tokio(true, || async {
        let (_broker, builder) = slow_broker();
        let producer = start(builder);
        for number in 0..5 {
            let delivery = producer.produce(numbered(number)).await.expect("room");
            let own = producer.produce(numbered(number).timeout(MOMENT)).await.expect("room");
            // Days pass while the broker has them.
            time::advance(DAY).await;
            let next = producer.produce(numbered(number)).await.expect("room");
            time::advance(DAY).await;
            for delivery in [delivery, own, next] {
                delivery.await.expect("delivered");
            }
        }
        let closing = async {
            let delivery = producer.produce(numbered(9)).await.expect("room");
            let close = producer.close(MOMENT);
            let ((), report) = smol::future::zip(time::advance(DAY), close).await;
            assert!(report.is_complete());
            delivery.await.expect("delivered");
        };
        closing.await;
    });
}

#[test]
fn s29_under_a_paused_clock_limits_pass_as_in_real_time_if_no_broker_answers() {
    on_tokio(true, || async {
        let producer = start(AioProducer::builder(broker::unreachable()));
        let (limit, real) = (Duration::from_millis(200), std::time::Instant::now());
        let delivery = producer.produce(Record::to("t")).await.expect("room");
        time::timeout(limit, producer.flush()).await.expect_err("no broker is there");
        let flushed = producer.flush().within(limit).await;
        assert_eq!(flushed, Err(FlushError::Timeout { remaining: 1 }));
        let report = producer.close(limit).await;
        assert_eq!(report.unsent().len(), 1);
        // A step of the clock may be a tenth longer than the real time.
        assert!(real.elapsed() >= 2 * limit, "the clock leapt: {:?}", real.elapsed());
        assert_eq!(delivery.await.expect_err("no broker is there").status(), Status::NotPersisted);
    });
}
