//! S12, S23, S11, S1 and the stream of reports: flushes of a scope, urgent records, full pools.

use std::collections::BTreeMap;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, FlushError, Overflow, ProduceError, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, Verdict, failure, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s12_a_topic_is_flushed_alone,
    s23_a_flush_of_a_partition_waits_for_what_may_go_there,
    s23_a_flush_of_a_topic_counts_failures_and_has_a_limit,
    s23_a_flush_of_an_unknown_topic_has_nothing_to_wait_for,
    s23_flushes_of_a_scope_under_load,
    s11_an_urgent_record_does_not_linger,
    s01_a_limited_wait_hands_the_record_back,
    s02_a_full_pool_fails_at_once_if_told_to,
    s02_the_oldest_make_way_if_told_to,
    s02_the_newest_is_dropped_if_told_to,
    s03_a_stream_tells_all_outcomes_with_their_tags,
    s03_a_stream_s_room_is_the_limit,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s12_a_topic_is_flushed_alone(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let wanted = accepted(&producer, Record::to("a").payload("0"));
    let other = accepted(&producer, Record::to("b").payload("1"));
    let mut flush = Observed::new(producer.flush().topic("a"));
    assert!(flush.is_pending());
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["0"]);
    assert!(script.take().is_none(), "the other topic lingers");
    script.deliver(&taken);
    assert!(flush.wakes() > 0 && flush.ready().is_ok());
    assert!(wanted.await.is_ok() && other.retract().is_ok());
}

async fn s23_a_flush_of_a_partition_waits_for_what_may_go_there(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let topic = producer.topic("t").expect("a name");
    for (number, partition) in [(0, Some(3)), (1, None), (2, Some(4))] {
        let record = numbered(number);
        drop(accepted(&producer, partition.map_or(record.clone(), |partition| record.partition(partition))));
    }
    let mut flush = Observed::new(producer.flush().partition(&topic, 3));
    assert!(flush.is_pending());
    let mut taken = script.accept().await;
    taken.extend(script.accept().await);
    assert_eq!(texts(&taken), ["0", "1"]);
    script.deliver(&taken[..1]);
    assert!(flush.is_pending());
    drop(accepted(&producer, numbered(3).partition(3)));
    script.deliver(&taken[1..]);
    assert!(flush.ready().is_ok(), "what came later is not waited for");
    assert_eq!(producer.len(), 2);
}

async fn s23_a_flush_of_a_topic_counts_failures_and_has_a_limit(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    for number in 0..4 {
        drop(accepted(&producer, numbered(number)));
    }
    let mut flush = Observed::new(producer.flush().topic("t"));
    assert!(flush.is_pending());
    let rejected = failure(FailureKind::TooLarge, Status::NotPersisted);
    let taken = script.next().await.expect("a batch").settle(|at| (at == 2).then_some(Verdict::Rejected(rejected)));
    script.fail(&taken[0], failure(FailureKind::Broker, Status::PossiblyPersisted));
    let limited = producer.flush().topic("t").within(Duration::from_millis(5)).await;
    assert_eq!(limited, Err(FlushError::Timeout { remaining: 2 }));
    script.deliver(&taken[1..2]);
    assert!(flush.is_pending());
    script.deliver(&taken[3..]);
    assert!(flush.ready().is_ok());
}

async fn s23_a_flush_of_an_unknown_topic_has_nothing_to_wait_for(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let delivery = accepted(&producer, numbered(0));
    assert!(at_once(producer.flush().topic("never seen")).is_ok());
    assert!(at_once(producer.flush().partition("t2", 0)).is_ok());
    assert!(delivery.retract().is_ok());
}

async fn s23_flushes_of_a_scope_under_load(host: Host) {
    let broker = broker::start_with_topic("a", 2);
    broker.create_topic("b", 2, 1).expect("a topic");
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(500));
    let load = {
        let producer = producer.clone();
        host.spawn(async move {
            for number in 0..3000 {
                let topic = if number % 3 == 0 { "a" } else { "b" };
                drop(producer.produce(Record::to(topic).payload("load")).await.expect("accepted"));
            }
        })
    };
    for round in 0..30 {
        let record = Record::to("a").partition(round % 2).payload("flushed");
        let mut delivery = Observed::new(producer.produce(record).await.expect("accepted"));
        if round % 3 == 0 {
            producer.flush().partition("a", round % 2).await.expect("flushed");
        } else {
            producer.flush().topic("a").await.expect("flushed");
        }
        assert!(delivery.poll().is_ready(), "round {round}: it was accepted before");
    }
    load.join().await;
    producer.close(LONG).await;
}

async fn s11_an_urgent_record_does_not_linger(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let first = accepted(&producer, numbered(0));
    let other = accepted(&producer, Record::to("other").payload("1"));
    assert!(script.take().is_none());
    let urgent = accepted(&producer, numbered(2).urgent());
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["0", "2"]);
    assert!(script.take().is_none());
    script.deliver(&taken);
    assert!(first.await.is_ok() && urgent.await.is_ok() && other.retract().is_ok());
}

async fn s01_a_limited_wait_hands_the_record_back(host: Host) {
    let script = Script::new();
    let wait = Overflow::WaitFor(Duration::from_millis(10));
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(wait));
    let held = accepted(&producer, numbered(0));
    let error = producer.produce(numbered(1)).await.expect_err("full for too long");
    assert!(matches!(&error, ProduceError::Full(_)));
    assert_eq!(error.into_record(), numbered(1));
    let error = producer.produce_with(numbered(2), |_| panic!("it was not accepted")).await.expect_err("full");
    assert_eq!(error.into_record(), numbered(2));
    let mut outcomes = producer.produce_all([numbered(3), numbered(4)]).await;
    assert!(outcomes.drain(..).all(|outcome| outcome.is_err_and(|error| error.kind().is_none())));
    assert_eq!(producer.statistics().waiters, 0);
    assert!(matches!(producer.try_produce(numbered(5)), Err(ProduceError::Full(_))));
    let mut waiting = Observed::new(producer.produce(numbered(6)));
    assert!(waiting.is_pending());
    assert!(held.retract().is_ok());
    assert!(waiting.ready().is_ok(), "there was room in time");
}

async fn s02_a_full_pool_fails_at_once_if_told_to(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(Overflow::Fail));
    let held = accepted(&producer, numbered(0));
    assert_eq!(at_once(producer.produce(numbered(1))).expect_err("full").into_record(), numbered(1));
    assert_eq!(at_once(producer.send(numbered(2))).expect_err("full").into_record(), Some(numbered(2)));
    assert!(held.retract().is_ok());
    assert!(at_once(producer.produce(numbered(3))).is_ok());
}

async fn s02_the_oldest_make_way_if_told_to(host: Host) {
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

async fn s02_the_newest_is_dropped_if_told_to(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(1).overflow(Overflow::DropNewest));
    let held = accepted(&producer, numbered(0));
    let error = at_once(accepted(&producer, numbered(1))).expect_err("dropped");
    assert_eq!((error.kind(), error.into_record()), (FailureKind::Dropped, Some(numbered(1))));
    let (tell, told) = smol::channel::bounded(1);
    let callback = move |outcome: Result<_, aioproducer_driver::DeliveryError>| {
        tell.try_send(outcome.map(|_| ()).map_err(|error| error.kind())).expect("once");
    };
    at_once(producer.produce_with(numbered(2), callback)).expect("accepted");
    assert_eq!(told.recv().await, Ok(Err(FailureKind::Dropped)));
    assert_eq!(producer.statistics().dropped, 2);
    assert!(held.retract().is_ok());
}

async fn s03_a_stream_tells_all_outcomes_with_their_tags(host: Host) {
    const RECORDS: usize = 1000;
    let broker = broker::start_with_topic("t", 3);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(100));
    let (reporter, mut reports) = producer.reports::<usize>(200);
    let load = host.spawn(async move {
        let error = reporter.produce(Record::to("no such/name"), 0).await.expect_err("not a name");
        assert!(matches!(error, ProduceError::Topic { .. }));
        let other = reporter.clone();
        for number in 0..RECORDS {
            let partition = (number % 4) as i32;
            let record = numbered(number).partition(partition);
            let reporter = if number % 2 == 0 { &reporter } else { &other };
            reporter.produce(record, number).await.expect("accepted");
        }
    });
    let mut offsets = BTreeMap::<i32, Vec<i64>>::new();
    let mut failed = 0;
    let mut tags = Vec::new();
    while let Some((tag, outcome)) = reports.next().await {
        tags.push(tag);
        match outcome {
            Ok(report) => offsets.entry(report.partition()).or_default().push(report.offset()),
            Err(error) => {
                assert_eq!((error.kind(), tag % 4), (FailureKind::UnknownPartition, 3));
                failed += 1;
            }
        }
    }
    load.join().await;
    tags.sort_unstable();
    assert_eq!(tags, (0..RECORDS).collect::<Vec<_>>());
    assert_eq!(failed, RECORDS / 4);
    for (partition, offsets) in offsets {
        assert_eq!(offsets, (0..RECORDS as i64 / 4).collect::<Vec<_>>(), "partition {partition}");
    }
    producer.close(LONG).await;
}

async fn s03_a_stream_s_room_is_the_limit(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let served = script.serve(&host);
    let (reporter, mut reports) = producer.reports::<u8>(2);
    for tag in 0..2 {
        reporter.produce(numbered(0), tag).await.expect("accepted");
    }
    let mut third = Observed::new(reporter.produce(numbered(2), 2));
    assert!(third.is_pending());
    drop(Observed::new(reporter.produce(numbered(3), 3)));
    host.until(|| producer.is_empty() && producer.statistics().callbacks_waiting == 0).await;
    assert!(third.is_pending(), "nobody has read");
    assert_eq!(reports.next().await.map(|(tag, _)| tag), Some(0));
    assert!(third.wakes() > 0 && third.ready().is_ok());
    drop(reports);
    let refused = reporter.produce(numbered(4), 4).await.expect_err("nobody reads");
    assert!(matches!(refused, ProduceError::ReportsDropped(_)), "{refused}");
    drop(reporter);
    producer.close(LONG).await;
    served.join().await;
}
