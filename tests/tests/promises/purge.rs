//! S24, S30: a purge fails what it takes at once, with its status.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, PurgeScope};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, failed, numbered};
use aioproducer_tests::scripted::{Script, failure};
use aioproducer_tests::{broker, promises};

promises! {
    s24_purge_fails_what_was_not_sent_at_once,
    s24_purge_reaches_what_is_on_its_way_to_the_backend,
    s24_purges_add_up_and_take_what_is_refused,
    s24_purge_with_the_broker_down_tells_the_status,
    s24_nothing_is_purged_that_was_not_asked_for,
    s30_a_purge_dropped_at_every_poll_disturbs_no_other_task,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s24_purge_fails_what_was_not_sent_at_once(host: Host) {
    const RECORDS: usize = 500;
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).slots(RECORDS));
    let deliveries: Vec<_> = (0..RECORDS).map(|number| accepted(&producer, numbered(number))).collect();
    producer.purge(PurgeScope::Queued).await;
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let expected = (FailureKind::Purged, Status::NotPersisted, numbered(number));
        assert_eq!(failed(at_once(delivery)), expected);
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
    producer.purge(PurgeScope::All).await;
    assert_eq!(failed(at_once(behind)).0, FailureKind::Purged);
    assert!(script.purges().is_empty(), "it would miss what is not there yet");
    let taken = hand.accept();
    assert_eq!(script.purges(), [(true, true)]);
    script.fail(&taken[0], failure(FailureKind::Purged, Status::PossiblyPersisted));
    assert_eq!(failed(first.await), (FailureKind::Purged, Status::PossiblyPersisted, numbered(0)));
}

async fn s24_purges_add_up_and_take_what_is_refused(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let deliveries =
        [(0, 0), (1, 0), (2, 1)].map(|(number, lane)| accepted(&producer, numbered(number).partition(lane)));
    let first = script.next().await.expect("a batch");
    let second = script.next().await.expect("another lane's");
    producer.purge(PurgeScope::Queued).await;
    producer.purge(PurgeScope::InFlight).await;
    let in_queue = second.accept();
    assert!(script.purges().is_empty(), "one is on its way");
    let rest = first.refuse_after(1);
    assert_eq!(script.purges(), [(true, true)]);
    script.deliver([&rest[0], &in_queue[0]]);
    let [kept, refused, other] = deliveries;
    assert!(kept.await.is_ok() && other.await.is_ok());
    assert_eq!(failed(refused.await), (FailureKind::Purged, Status::NotPersisted, numbered(1).partition(0)));
    assert!(script.take().is_none() && producer.is_empty());
}

async fn s24_purge_with_the_broker_down_tells_the_status(host: Host) {
    let producer = host.start(AioProducer::builder(broker::unreachable()));
    let deliveries: Vec<_> = (0..100).map(|number| accepted(&producer, numbered(number))).collect();
    assert_eq!(producer.statistics().buffered, 100, "librdkafka gets none without a connection");
    producer.purge(PurgeScope::All).await;
    for (number, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(failed(delivery.await), (FailureKind::Purged, Status::NotPersisted, numbered(number)));
    }
    assert!(producer.is_empty());
    producer.close(LONG).await;
}

async fn s24_nothing_is_purged_that_was_not_asked_for(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let delivery = accepted(&producer, numbered(0));
    producer.purge(PurgeScope::InFlight).await;
    assert_eq!((producer.len(), script.purges()), (1, vec![(false, true)]));
    assert!(delivery.retract().is_ok());
    producer.close(LONG).await;
    producer.purge(PurgeScope::All).await;
    assert_eq!(script.purges(), [(false, true)], "nothing is left to purge");
}

async fn s30_a_purge_dropped_at_every_poll_disturbs_no_other_task(host: Host) {
    const RECORDS: usize = 200;
    for polls in 1..8 {
        let script = Script::new();
        let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).slots(RECORDS));
        let deliveries: Vec<_> = (0..RECORDS).map(|number| accepted(&producer, numbered(number))).collect();
        let mut purge = Observed::new(producer.purge(PurgeScope::All));
        let ended = (0..polls).any(|_| purge.poll().is_ready());
        drop(purge);
        let purged = RECORDS - producer.len();
        assert_eq!((purged == RECORDS, !script.purges().is_empty()), (ended, ended), "{purged} after {polls} polls");
        assert!(purged > 0);
        let served = script.serve(&host);
        assert!(producer.close(LONG).await.is_complete());
        let mut outcomes = deliveries.into_iter().map(at_once);
        assert!(outcomes.by_ref().take(purged).all(|outcome| failed(outcome).0 == FailureKind::Purged));
        assert!(outcomes.all(|outcome| outcome.is_ok()));
        assert_eq!(script.log().len(), RECORDS - purged);
        served.join().await;
    }
}
