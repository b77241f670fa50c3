//! S2: what a full pool does with the next record.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Overflow, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::Script;

promises! {
    s02_a_full_pool_fails_at_once_if_set_so,
    s02_the_oldest_make_way_if_set_so,
    s02_the_newest_is_dropped_if_set_so,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s02_a_full_pool_fails_at_once_if_set_so(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(Overflow::Fail));
    let held = accepted(&producer, numbered(0));
    assert_eq!(at_once(producer.produce(numbered(1))).expect_err("full").into_record(), numbered(1));
    assert_eq!(at_once(producer.send(numbered(2))).expect_err("full").into_record(), Some(numbered(2)));
    assert!(held.retract().is_ok());
    assert!(at_once(producer.produce(numbered(3))).is_ok());
}

async fn s02_the_oldest_make_way_if_set_so(host: Host) {
    let script = Script::with_record_bytes(1000);
    let builder = AioProducer::builder(script.backend()).slots(4).pool_bytes(4000).linger(LONG);
    let producer = host.start(builder.overflow(Overflow::DropOldest));
    let sized = |bytes| Record::to("t").payload(vec![b'x'; bytes]);
    let mut deliveries: Vec<_> = (0..4).map(|_| accepted(&producer, sized(100))).collect();
    let fifth = accepted(&producer, sized(200));
    let error = at_once(deliveries.remove(0)).expect_err("dropped");
    assert_eq!((error.kind(), error.status()), (FailureKind::Dropped, Status::NotPersisted));
    assert_eq!(error.into_record(), Some(sized(100)));
    let sixth = producer.try_produce(sized(300)).expect("accepted");
    assert!(at_once(deliveries.remove(0)).is_err());
    assert_eq!((producer.len(), producer.statistics().dropped), (4, 2));
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    let taken = script.accept().await;
    assert_eq!(taken.len(), 4);
    let newest = accepted(&producer, sized(10));
    let error = at_once(newest).expect_err("what is handed off does not make way");
    assert_eq!((error.kind(), error.into_record()), (FailureKind::Dropped, Some(sized(10))));
    script.deliver(&taken);
    assert!(flush.ready().is_ok());
    for delivery in deliveries.into_iter().chain([fifth, sixth]) {
        assert!(delivery.await.is_ok());
    }
}

async fn s02_the_newest_is_dropped_if_set_so(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(Overflow::DropNewest));
    let held = accepted(&producer, numbered(0));
    let error = at_once(accepted(&producer, numbered(1))).expect_err("dropped");
    assert_eq!((error.kind(), error.into_record()), (FailureKind::Dropped, Some(numbered(1))));
    let (sender, outcome) = smol::channel::bounded(1);
    let callback = move |outcome: Result<_, aioproducer_driver::DeliveryError>| {
        sender.try_send(outcome.map(|_| ()).map_err(|error| error.kind())).expect("once");
    };
    at_once(producer.produce_with(numbered(2), callback)).expect("accepted");
    assert_eq!(outcome.recv().await, Ok(Err(FailureKind::Dropped)));
    assert_eq!(producer.statistics().dropped, 2);
    assert!(held.retract().is_ok());
}
