//! S6: a record that was not handed off yet can be taken back.

use std::time::Duration;

use aioproducer_driver::AioProducer;
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::Observed;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s06_a_retracted_record_is_never_in_the_log,
    s06_it_is_too_late_after_hand_off_and_the_delivery_goes_on,
    s06_retract_makes_room_and_ends_a_flush,
    s06_retract_behind_a_batch_that_is_out,
    s06_retract_against_the_worker_loses_and_doubles_nothing,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s06_a_retracted_record_is_never_in_the_log(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let builder = AioProducer::builder(broker::backend(&broker)).linger(LONG).delivery_timeout(2 * LONG);
    let producer = host.start(builder);
    let mut deliveries: Vec<_> = (0..9).map(|number| accepted(&producer, numbered(number).header("n", "h"))).collect();
    for number in [7, 4, 0] {
        let record = deliveries.remove(number).retract().expect("it is buffered");
        assert_eq!(record, numbered(number).header("n", "h"));
    }
    assert_eq!(producer.len(), 6);
    producer.flush().await.expect("flushed");
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.expect("delivered").offset(), Some(offset as i64));
    }
    producer.close(LONG).await;
    let log = broker::read_back(&broker, "t", 1);
    let log: Vec<_> = log.iter().map(broker::Logged::text).collect();
    assert_eq!(log, ["1", "2", "3", "5", "6", "8"]);
}

async fn s06_it_is_too_late_after_hand_off_and_the_delivery_goes_on(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let delivery = accepted(&producer, numbered(0));
    let taken = script.accept().await;
    let delivery = delivery.retract().expect_err("it is handed off").into_delivery();
    script.deliver(&taken);
    let delivery = delivery.retract().expect_err("it is delivered").into_delivery();
    assert_eq!(delivery.await.expect("delivered").offset(), Some(0));
}

async fn s06_retract_makes_room_and_ends_a_flush(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1));
    let delivery = accepted(&producer, numbered(0));
    let mut waiting = Observed::new(producer.produce(numbered(1)));
    let mut flush = Observed::new(producer.flush());
    let mut scoped = Observed::new(producer.flush().topic("t"));
    assert!(waiting.is_pending() && flush.is_pending() && scoped.is_pending());
    assert!(delivery.retract().is_ok());
    assert!(waiting.wakes() > 0 && flush.wakes() > 0 && scoped.wakes() > 0);
    assert!(flush.ready().is_ok() && scoped.ready().is_ok() && waiting.ready().is_ok());
}

async fn s06_retract_behind_a_batch_that_is_out(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let first = accepted(&producer, numbered(0));
    let hand = script.next().await.expect("a batch");
    let second = accepted(&producer, numbered(1));
    let third = accepted(&producer, numbered(2));
    assert_eq!(second.retract().expect("it waits"), numbered(1));
    let taken = hand.accept();
    assert!(first.retract().is_err());
    let next = script.accept().await;
    assert_eq!(texts(&next), ["2"]);
    script.deliver(taken.iter().chain(&next));
    assert!(third.await.is_ok());
}

async fn s06_retract_against_the_worker_loses_and_doubles_nothing(host: Host) {
    const RECORDS: usize = 2000;
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(RECORDS));
    let (mut back, mut late) = (Vec::new(), Vec::new());
    for number in 0..RECORDS {
        let delivery = producer.produce(numbered(number)).await.expect("accepted");
        if number % 3 == 0 {
            match delivery.retract() {
                Ok(record) => back.push(record),
                Err(error) => late.push(error.into_delivery()),
            }
        } else {
            late.push(delivery);
        }
    }
    let sent = late.len();
    for delivery in late {
        assert!(delivery.await.is_ok());
    }
    producer.close(LONG).await;
    let mut all: Vec<_> = broker::read_back(&broker, "t", 1).iter().map(|logged| logged.text().to_owned()).collect();
    assert_eq!(all.len(), sent);
    all.extend(back.iter().map(|record| String::from_utf8(record.get_payload().expect("one").to_vec()).expect("text")));
    all.sort_by_key(|text| text.parse::<usize>().expect("a number"));
    assert_eq!(all, (0..RECORDS).map(|number| number.to_string()).collect::<Vec<_>>());
}
