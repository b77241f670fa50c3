//! S6, S24, and S17 for single records: records that are taken back, purged, or have a time of their own.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Bytes, DeliveryError, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s06_a_retracted_record_is_never_in_the_log,
    s06_it_is_too_late_after_hand_off_and_the_delivery_goes_on,
    s06_retract_makes_room_and_ends_a_flush,
    s06_retract_behind_a_batch_that_is_out,
    s06_retract_against_the_worker_loses_and_doubles_nothing,
    s24_purge_fails_what_was_not_sent_at_once,
    s24_purge_reaches_what_is_on_its_way_to_the_backend,
    s24_purges_add_up_and_take_what_is_refused,
    s24_purge_with_the_broker_down_tells_the_status,
    s03_short_records_that_part_ways_come_back_as_they_were,
    s24_nothing_is_purged_that_was_not_asked_for,
    s30_a_purge_dropped_at_every_poll_costs_nobody_else,
    s17_a_record_s_own_timeout_in_the_buffer,
    s17_a_record_s_own_timeout_at_the_backend,
    s17_a_record_s_own_timeout_is_forgotten_with_it,
    s21_the_late_report_of_a_record_whose_time_was_over_is_nobody_else_s,
}

const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

fn told(outcome: Result<aioproducer_driver::DeliveryReport, DeliveryError>) -> (FailureKind, Status, Record<'static>) {
    let error = outcome.expect_err("it failed");
    (error.kind(), error.status(), error.into_record().expect("the record"))
}

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
        assert_eq!(delivery.await.expect("delivered").offset(), offset as i64);
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
    assert_eq!(delivery.await.expect("delivered").offset(), 0);
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

async fn s24_purge_fails_what_was_not_sent_at_once(host: Host) {
    const RECORDS: usize = 500;
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).slots(RECORDS));
    let deliveries: Vec<_> = (0..RECORDS).map(|number| accepted(&producer, numbered(number))).collect();
    producer.purge(true, false).await;
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let expected = (FailureKind::Purged, Status::NotPersisted, numbered(number));
        assert_eq!(told(at_once(delivery)), expected);
    }
    assert!(producer.is_empty() && script.take().is_none());
    assert_eq!(script.purges(), [(true, false)]);
    let later = accepted(&producer, numbered(9));
    assert!(later.retract().is_ok(), "what comes later is not concerned");
}

async fn s24_purge_reaches_what_is_on_its_way_to_the_backend(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let first = accepted(&producer, numbered(0));
    let hand = script.next().await.expect("a batch");
    let behind = accepted(&producer, numbered(1));
    producer.purge(true, true).await;
    assert_eq!(told(at_once(behind)).0, FailureKind::Purged);
    assert!(script.purges().is_empty(), "it would miss what is not there yet");
    let taken = hand.accept();
    assert_eq!(script.purges(), [(true, true)]);
    script.fail(&taken[0], failure(FailureKind::Purged, Status::PossiblyPersisted));
    assert_eq!(told(first.await), (FailureKind::Purged, Status::PossiblyPersisted, numbered(0)));
}

async fn s24_purges_add_up_and_take_what_is_refused(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let deliveries =
        [(0, 0), (1, 0), (2, 1)].map(|(number, lane)| accepted(&producer, numbered(number).partition(lane)));
    let first = script.next().await.expect("a batch");
    let second = script.next().await.expect("another lane's");
    producer.purge(true, false).await;
    producer.purge(false, true).await;
    let in_queue = second.accept();
    assert!(script.purges().is_empty(), "one is on its way");
    let rest = first.refuse_after(1);
    assert_eq!(script.purges(), [(true, true)]);
    script.deliver([&rest[0], &in_queue[0]]);
    let [kept, refused, other] = deliveries;
    assert!(kept.await.is_ok() && other.await.is_ok());
    assert_eq!(told(refused.await), (FailureKind::Purged, Status::NotPersisted, numbered(1).partition(0)));
    assert!(script.take().is_none() && producer.is_empty());
}

async fn s24_purge_with_the_broker_down_tells_the_status(host: Host) {
    let producer = host.start(AioProducer::builder(broker::unreachable()));
    let deliveries: Vec<_> = (0..100).map(|number| accepted(&producer, numbered(number))).collect();
    host.until(|| producer.statistics().handed_off == 100).await;
    producer.purge(true, true).await;
    for (number, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(told(delivery.await), (FailureKind::Purged, Status::NotPersisted, numbered(number)));
    }
    assert!(producer.is_empty());
    producer.close(LONG).await;
}

/// The backend copies them, and lets go of them at their hand-off.
async fn s03_short_records_that_part_ways_come_back_as_they_were(host: Host) {
    let producer = host.start(AioProducer::builder(broker::unreachable()));
    let shared = Bytes::from_static(b"shared");
    let keyed = || Record::to("t").key("key");
    let forms = [
        keyed().payload("lent"),
        keyed().payload(&shared),
        Record::to("t").key(&shared).payload(String::from("owned")),
        keyed().payload(vec![7; 100]).urgent(),
        Record::to("t").key(String::from("owned")).payload("lent").timeout(LONG),
        Record::to("t").payload(&shared).timeout(LONG).urgent(),
        keyed(),
        Record::to("t").key("").payload(""),
    ];
    for round in 0..3 {
        let deliveries: Vec<_> = forms.iter().map(|record| accepted(&producer, record.clone())).collect();
        // librdkafka purges a topic in two steps, so the second step of a purge may take what is produced after the first.
        host.until(|| producer.statistics().buffered == 0).await;
        producer.purge(true, true).await;
        for (record, delivery) in forms.iter().zip(deliveries) {
            let told = told(delivery.await);
            assert_eq!(told, (FailureKind::Purged, Status::NotPersisted, record.clone()), "round {round}");
        }
    }
    producer.close(LONG).await;
}

async fn s24_nothing_is_purged_that_was_not_asked_for(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let delivery = accepted(&producer, numbered(0));
    producer.purge(false, true).await;
    assert_eq!((producer.len(), script.purges()), (1, vec![(false, true)]));
    assert!(delivery.retract().is_ok());
    producer.close(LONG).await;
    producer.purge(true, true).await;
    assert_eq!(script.purges(), [(false, true)], "nothing is left to purge");
}

async fn s30_a_purge_dropped_at_every_poll_costs_nobody_else(host: Host) {
    const RECORDS: usize = 200;
    for polls in 1..8 {
        let script = Script::new();
        let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).slots(RECORDS));
        let deliveries: Vec<_> = (0..RECORDS).map(|number| accepted(&producer, numbered(number))).collect();
        let mut purge = Observed::new(producer.purge(true, true));
        let ended = (0..polls).any(|_| purge.poll().is_ready());
        drop(purge);
        let purged = RECORDS - producer.len();
        assert_eq!((purged == RECORDS, !script.purges().is_empty()), (ended, ended), "{purged} after {polls} polls");
        assert!(purged > 0);
        let served = script.serve(&host);
        assert!(producer.close(LONG).await.is_complete());
        let mut outcomes = deliveries.into_iter().map(at_once);
        assert!(outcomes.by_ref().take(purged).all(|outcome| told(outcome).0 == FailureKind::Purged));
        assert!(outcomes.all(|outcome| outcome.is_ok()));
        assert_eq!(script.log().len(), RECORDS - purged);
        served.join().await;
    }
}

async fn s17_a_record_s_own_timeout_in_the_buffer(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let patient = accepted(&producer, numbered(0));
    let hasty = accepted(&producer, numbered(1).timeout(SOON));
    let expected = (FailureKind::TimedOut, Status::NotPersisted, numbered(1).timeout(SOON));
    assert_eq!(told(hasty.await), expected);
    assert_eq!(producer.len(), 1);
    assert!(patient.retract().is_ok(), "the other one lingers on");
}

async fn s17_a_record_s_own_timeout_at_the_backend(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let hasty = accepted(&producer, numbered(0).timeout(SOON));
    let patient = accepted(&producer, numbered(1));
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    let taken = script.accept().await;
    let expected = (FailureKind::TimedOut, Status::PossiblyPersisted, numbered(0).timeout(SOON));
    assert_eq!(told(hasty.await), expected);
    assert_eq!(producer.len(), 2, "the slot is the record's until the backend lets go of it");
    script.deliver(&taken);
    assert!(patient.await.is_ok() && flush.ready().is_ok());
    assert_eq!((producer.len(), producer.statistics().stale_reports), (0, 0));
}

async fn s17_a_record_s_own_timeout_is_forgotten_with_it(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(2));
    let served = script.serve(&host);
    for number in 0..50 {
        let report = producer.send(numbered(number).timeout(SOON)).await.expect("delivered");
        assert_eq!(report.offset(), number as i64);
    }
    let owner = Arc::new([0; 8]);
    let last = Record::to("t").payload(Bytes::from_owner(Owner(Arc::clone(&owner)))).timeout(LONG);
    assert!(producer.send(last).await.is_ok());
    host.until(|| Arc::strong_count(&owner) == 1).await;
    host.pause(2 * SOON).await;
    assert!(producer.send(numbered(51)).await.is_ok());
    producer.close(LONG).await;
    served.join().await;
}

/// A payload's owner, to see when it is let go of.
struct Owner(Arc<[u8; 8]>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &*self.0
    }
}

async fn s21_the_late_report_of_a_record_whose_time_was_over_is_nobody_else_s(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let hasty = accepted(&producer, numbered(0).timeout(SOON));
    let taken = script.accept().await;
    assert_eq!(told(hasty.await).0, FailureKind::TimedOut);
    // So many that whatever the first one left behind is used again.
    let mut others: Vec<_> = (1..3000).map(|number| Observed::new(accepted(&producer, numbered(number)))).collect();
    script.deliver(&taken);
    assert!(others.iter_mut().all(Observed::is_pending));
    script.serve(&host);
    producer.close(LONG).await;
    assert!(others.iter_mut().all(|other| matches!(other.poll_in_turn(), Poll::Ready(Ok(_)))));
}
