//! S17: delivery timeouts while a broker is away.

use std::time::{Duration, Instant};

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{Event, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s17_timeouts_do_not_wait_for_a_late_reconnect,
    s17_connections_that_are_closed_as_idle_hold_up_no_record,
    s17_a_record_that_was_never_handed_off_is_not_in_the_log,
    s17_a_record_that_the_queue_of_librdkafka_has_no_room_for_ends_in_time,
}

/// librdkafka checks the timeouts of a broker's records when it tries to reconnect, so the test has it reconnect often.
async fn s17_timeouts_do_not_wait_for_a_late_reconnect(host: Host) {
    const ATTEMPTS: usize = 7;
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("debug", "broker");
    let mut backend = Librdkafka::new(config);
    let mut events = backend.events_with_capacity(100_000);
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t")).await.expect("delivered");
    broker.broker_down(-1).expect("it goes away");
    let waiting = producer.produce(Record::to("t")).await.expect("accepted");
    // From 100 ms on the delay doubles with each attempt. Attempts may be those of two connections.
    let (mut attempts, mut longest) = (0, 0);
    while attempts < ATTEMPTS {
        let Some(event) = events.next().await else { panic!("the producer has not ended") };
        let Event::Log(line) = event else { continue };
        attempts += usize::from(line.message.contains("in state TRY_CONNECT connecting"));
        if let Some((_, rest)) = line.message.split_once("Delaying next reconnect by ") {
            let delay: u64 = rest.trim_end_matches("ms").parse().expect("a number of milliseconds");
            longest = longest.max(delay);
        }
    }
    assert!(longest <= 1000, "{longest} ms");
    let report = producer.close(Duration::ZERO).await;
    assert_eq!(report.unsent().len() + report.unreturned(), 1);
    assert_eq!(waiting.await.expect_err("no broker is there").kind(), FailureKind::Closed);
}

/// A broker, a proxy or librdkafka itself closes connections that are not used. Without one nothing is handed off, so librdkafka has
/// to connect again by itself.
async fn s17_connections_that_are_closed_as_idle_hold_up_no_record(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("connections.max.idle.ms", "300").set("debug", "broker").set("log_level", "7");
    let mut backend = Librdkafka::new(config);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    for _ in 0..3 {
        producer.send(Record::to("t")).await.expect("delivered");
        loop {
            let Some(event) = events.next().await else { panic!("the producer has not ended") };
            if matches!(event, Event::Log(line) if line.message.contains("idle time exceeded")) {
                break;
            }
        }
    }
    producer.send(Record::to("t")).await.expect("delivered");
}

/// Also if the producer had a connection once and has handed off no record yet.
async fn s17_a_record_that_was_never_handed_off_is_not_in_the_log(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let builder = AioProducer::builder(Librdkafka::new(broker::config(&broker)));
    let producer = host.start(builder.delivery_timeout(Duration::from_millis(500)));
    host.until(|| producer.health().is_connected == Some(true)).await;
    broker.broker_down(-1).expect("it goes away");
    host.until(|| producer.health().is_connected == Some(false)).await;
    let waiting = producer.produce(Record::to("t")).await.expect("accepted");
    let error = waiting.await.expect_err("no broker is there");
    assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::NotPersisted), "{error}");
}

/// The queue has room for one record. The next one waits in the machine, so its time does not begin again with a hand-off, and it comes
/// back.
async fn s17_a_record_that_the_queue_of_librdkafka_has_no_room_for_ends_in_time(host: Host) {
    const TIMEOUT: Duration = Duration::from_secs(8);
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("queue.buffering.max.messages", "1");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)).delivery_timeout(TIMEOUT));
    producer.send(Record::to("t")).await.expect("delivered");
    broker.round_trip_time(1, TIMEOUT * 1000).expect("it falls silent");
    let first = producer.produce(Record::to("t").payload("first")).await.expect("accepted");
    host.until(|| producer.statistics().handed_off == 1).await;
    let start = Instant::now();
    let second = producer.produce(Record::to("t").payload("second")).await.expect("accepted");
    let error = second.await.expect_err("nothing is delivered");
    let after = start.elapsed();
    assert!(after >= TIMEOUT && after < TIMEOUT * 3 / 2, "{after:?}");
    assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::NotPersisted));
    assert_eq!(error.record().and_then(Record::get_payload), Some(&b"second"[..]));
    assert_eq!(first.await.expect_err("nothing is delivered").status(), Status::PossiblyPersisted);
}
