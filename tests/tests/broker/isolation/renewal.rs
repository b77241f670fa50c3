//! A client is replaced by a new one: after a fatal error, and when a partition makes no progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aioproducer_driver::error::{FailureKind, ProduceError, Status};
use aioproducer_driver::{AioProducer, Delivery, PurgeScope, Record};
use aioproducer_rdkafka::{
    ApiKey, ClientConfig, ConfigError, ErrorCode, Event, Events, Librdkafka, OnFatal, OnStall, RenewalCause, Renewed,
};
use aioproducer_tests::executor::Host;
use aioproducer_tests::promises;
use smol::future::FutureExt;

use super::{FOR_EVER, Fault, HURT, HURT_PARTITIONS, POOL, Streams, TOPIC, Trio, Way};

promises! {
    s45_a_fatal_error_renews_the_client_with_1_worker,
    s45_a_fatal_error_renews_the_client_with_4_workers,
    s45_a_fatal_error_renews_the_client_with_linger_and_headers,
    s45_a_partition_without_a_leader_renews_the_client_with_1_worker,
    s45_a_partition_without_a_leader_renews_the_client_with_4_workers,
    s45_a_partition_without_a_leader_renews_a_client_that_is_not_idempotent,
    s45_six_seconds_without_a_leader_lose_and_double_nothing,
    s45_without_the_policy_records_wait_for_a_leader,
    s45_what_was_sent_without_an_answer_is_handed_back,
    s45_a_leader_that_is_down_is_no_stall,
    s45_fatal_errors_in_a_row_end_the_producer,
    s45_calls_wait_for_the_new_client,
    s45_a_purge_during_a_renewal_is_exact,
    s45_a_purge_between_two_clients_is_exact,
    s45_a_close_during_a_renewal_hands_everything_back,
    s45_a_policy_that_cannot_be_kept_is_refused,
}

/// So long is a stall here.
const STALL: Duration = Duration::from_secs(1);

/// The next renewal.
async fn renewed(events: &mut Events) -> Renewed {
    loop {
        if let Event::Renewed(renewed) = events.next().await.expect("the producer has not ended") {
            return renewed;
        }
    }
}

impl Trio {
    fn renewing(&self, host: &Host, workers: usize, keys: &[(&str, &str)]) -> (AioProducer, Events) {
        let mut config = self.config();
        // It learns soon that a partition has a leader again.
        config.set("topic.metadata.refresh.interval.ms", "100");
        for (key, value) in keys {
            config.set(*key, *value);
        }
        let mut backend =
            Librdkafka::new(config).workers(workers).on_fatal(OnFatal::Renew).on_stall(OnStall::Renew { after: STALL });
        let events = backend.events_with_capacity(100_000);
        (host.start(AioProducer::builder(backend).slots(POOL)), events)
    }

    /// Has a client that is at work meet a fatal error, and waits until it is replaced. A gap in the sequence numbers is fatal for an
    /// idempotent producer, but only in the first of the requests that are on their way to a partition.
    async fn fail(&self, host: &Host, events: &mut Events) -> Renewed {
        loop {
            self.brokers.request_errors(ApiKey::Produce, &[ErrorCode::OutOfOrderSequenceNumber]).expect("a fault");
            let later = async {
                host.pause(Duration::from_secs(1)).await;
                None
            };
            if let Some(renewed) = async { Some(renewed(events).await) }.or(later).await {
                return renewed;
            }
        }
    }

    /// Takes the leaders of the hurt partitions away, of which nothing is in flight, and waits until the client knows it: the embedded
    /// broker does not survive a record for a partition without a leader.
    async fn take_leaders(&self, host: &Host, producer: &AioProducer) {
        for partition in HURT_PARTITIONS {
            self.brokers.partition_leader(TOPIC, partition, None).expect("no leader");
        }
        for _ in 0..100 {
            let metadata = producer.metadata(Some(TOPIC)).await.expect("an answer");
            let partitions = &metadata.topic(TOPIC).expect("it").partitions;
            let is_led = |partition: &i32| partitions.iter().any(|it| it.id == *partition && it.leader.is_some());
            if !HURT_PARTITIONS.iter().any(is_led) {
                return;
            }
            host.pause(Duration::from_millis(10)).await;
        }
        panic!("the partitions have leaders");
    }

    fn give_leaders(&self) {
        for partition in HURT_PARTITIONS {
            self.brokers.partition_leader(TOPIC, partition, Some(1)).expect("a leader");
        }
    }
}

/// Keyed streams to all partitions, one to each, and one that may go anywhere.
async fn streams(host: &Host, producer: &AioProducer) -> Streams {
    let mut ways = Way::keys(producer, &[0, 1, 2, 3, 4, 5]).await;
    ways.push(Way::Place(0));
    Streams::start(host, producer, ways, 0)
}

async fn s45_a_fatal_error_renews_the_client_with_1_worker(host: Host) {
    a_fatal_error_renews_the_client(host, 1, &[]).await;
}

async fn s45_a_fatal_error_renews_the_client_with_4_workers(host: Host) {
    a_fatal_error_renews_the_client(host, 4, &[]).await;
}

async fn s45_a_fatal_error_renews_the_client_with_linger_and_headers(host: Host) {
    a_fatal_error_renews_the_client(host, 1, &[("linger.ms", "5"), ("compression.type", "lz4")]).await;
}

async fn a_fatal_error_renews_the_client(host: Host, workers: usize, keys: &[(&str, &str)]) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, workers, keys);
    let streams = streams(&host, &producer).await;
    let mut handed_back = 0;
    for _ in 0..3 {
        streams.accept(&host, 100).await;
        let renewed = trio.fail(&host, &mut events).await;
        assert!(matches!(renewed.cause, RenewalCause::Fatal(_)), "{renewed}");
        handed_back += renewed.handed_back;
        // A renewal after a delivery counts as the first one.
        producer.send(Record::to(TOPIC).partition(3)).await.expect("the new client delivers");
    }
    streams.accept(&host, 100).await;
    let streams = streams.stop().await;
    assert_eq!(producer.fatal_error(), None);
    let verdict = trio.check(streams);
    let counts = verdict.counts();
    assert!(verdict.is_right() && counts.duplicates == 0 && counts.delivered > 700, "{verdict}");
    // The batch that a broker refuses with this error has failed.
    assert!(counts.possibly_persisted >= handed_back && handed_back > 0, "{verdict}, {handed_back} handed back");
}

async fn s45_a_partition_without_a_leader_renews_the_client_with_1_worker(host: Host) {
    a_partition_without_a_leader_renews_the_client(host, 1, &[], Duration::ZERO).await;
}

async fn s45_a_partition_without_a_leader_renews_the_client_with_4_workers(host: Host) {
    a_partition_without_a_leader_renews_the_client(host, 4, &[], Duration::ZERO).await;
}

async fn s45_a_partition_without_a_leader_renews_a_client_that_is_not_idempotent(host: Host) {
    let keys = [("enable.idempotence", "false"), ("acks", "1")];
    a_partition_without_a_leader_renews_the_client(host, 1, &keys, Duration::ZERO).await;
}

/// Longer than several stalls.
async fn s45_six_seconds_without_a_leader_lose_and_double_nothing(host: Host) {
    a_partition_without_a_leader_renews_the_client(host, 1, &[], Duration::from_secs(6)).await;
}

/// The leaders are away until the first renewal, and for as long as `without`.
async fn a_partition_without_a_leader_renews_the_client(
    host: Host,
    workers: usize,
    keys: &[(&str, &str)],
    without: Duration,
) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, workers, keys);
    let ways = Way::keys(&producer, &[0, 1, 2, 3, 4, 5]).await;
    let (hurt, healthy): (Vec<_>, Vec<_>) =
        (0..).zip(ways).partition(|(partition, _)| HURT_PARTITIONS.contains(partition));
    let ways = |of: Vec<(i32, Way)>| of.into_iter().map(|(_, way)| way).collect();
    let beside = Streams::start(&host, &producer, ways(healthy), 0);
    beside.accept(&host, 100).await;
    trio.take_leaders(&host, &producer).await;
    let taken = Instant::now();
    let streams = Streams::start(&host, &producer, ways(hurt), 1_000_000);
    let renewed = renewed(&mut events).await;
    let mut handed_back = renewed.handed_back;
    let RenewalCause::Stall { topic, partition } = &renewed.cause else { panic!("{renewed}") };
    assert!(topic == TOPIC && HURT_PARTITIONS.contains(partition) && renewed.resent > 0, "{renewed}");
    beside.accept(&host, 100).await;
    host.pause(without.saturating_sub(taken.elapsed())).await;
    trio.give_leaders();
    streams.accept(&host, 100).await;
    let mut streams = streams.stop().await;
    streams.extend(beside.stop().await);
    let verdict = trio.check(streams);
    let counts = verdict.counts();
    assert!(verdict.is_right() && counts.duplicates == 0, "{verdict}");
    producer.close(FOR_EVER).await;
    while let Some(event) = events.next().await {
        if let Event::Renewed(renewed) = event {
            handed_back += renewed.handed_back;
        }
    }
    // The others have answered for all that they had got, or some of it ends in doubt.
    assert!(counts.failed() <= handed_back, "{verdict}, {handed_back} handed back");
}

async fn s45_without_the_policy_records_wait_for_a_leader(host: Host) {
    let trio = Trio::start();
    let producer = trio.producer(&host, trio.builder(1)).await;
    trio.take_leaders(&host, &producer).await;
    let waiting =
        producer.produce(Record::to(TOPIC).partition(HURT_PARTITIONS[0]).payload("0")).await.expect("accepted");
    host.until(|| producer.statistics().handed_off == 1).await;
    trio.give_leaders();
    waiting.await.expect("delivered");
}

async fn s45_what_was_sent_without_an_answer_is_handed_back(host: Host) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, 1, &[]);
    producer.send(Record::to(TOPIC).partition(0)).await.expect("delivered");
    let sent = || Record::to(TOPIC).partition(HURT_PARTITIONS[0]);
    producer.send(sent()).await.expect("delivered");
    // Its answers do not come, but it is connected. Another leader always has a record that it will answer for.
    trio.hurt(HURT, Fault::Silent);
    trio.brokers.round_trip_time(1, Duration::from_millis(50)).expect("slow");
    let first = producer.produce(sent().payload("0")).await.expect("accepted");
    let stop = Arc::new(AtomicBool::new(false));
    let others = host.spawn({
        let (producer, stop) = (producer.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::SeqCst) {
                producer.send(Record::to(TOPIC).partition(0)).await.expect("the other partitions are not disturbed");
            }
        }
    });
    let renewed = renewed(&mut events).await;
    let cause = RenewalCause::Stall { topic: TOPIC.into(), partition: HURT_PARTITIONS[0] };
    assert_eq!((&renewed.cause, renewed.handed_back), (&cause, 1), "{renewed}");
    let error = first.await.expect_err("there was no answer");
    assert_eq!(
        (error.status(), error.record().and_then(|record| record.get_payload())),
        (Status::PossiblyPersisted, Some(&b"0"[..]))
    );
    stop.store(true, Ordering::SeqCst);
    others.join().await;
    trio.heal(HURT, Fault::Silent);
    producer.send(sent().payload("1")).await.expect("delivered by the new client");
}

async fn s45_a_leader_that_is_down_is_no_stall(host: Host) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, 1, &[]);
    let record = || Record::to(TOPIC).partition(HURT_PARTITIONS[0]);
    producer.send(record()).await.expect("delivered");
    trio.hurt(HURT, Fault::Down);
    let waiting = producer.produce(record()).await.expect("accepted");
    let silent = || producer.health().leaders.iter().filter_map(|leader| leader.unanswered_for).max();
    host.until(|| silent().is_some_and(|silent| silent > 3 * STALL)).await;
    trio.heal(HURT, Fault::Down);
    waiting.await.expect("delivered");
    producer.close(FOR_EVER).await;
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Renewed(_)), "{event:?}");
    }
}

async fn s45_fatal_errors_in_a_row_end_the_producer(host: Host) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, 1, &[]);
    let wrong_number = [ErrorCode::OutOfOrderSequenceNumber; 100];
    trio.brokers.request_errors(ApiKey::Produce, &wrong_number).expect("a fault");
    let streams = (0..).map(|number: u64| producer.produce(Record::to(TOPIC).partition(0).payload(number.to_string())));
    let mut refused = None;
    for attempt in streams {
        match attempt.await {
            // Each of them meets the error, and the client is renewed before the next one.
            Ok(delivery) => {
                let error = delivery.await.expect_err("a fatal error");
                assert!(matches!(error.kind(), FailureKind::Broker | FailureKind::Fatal), "{error}");
            }
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    assert!(matches!(refused, Some(ProduceError::Fatal { .. })), "{refused:?}");
    assert!(producer.fatal_error().is_some());
    producer.close(FOR_EVER).await;
    let mut renewals = 0;
    while let Some(event) = events.next().await {
        renewals += usize::from(matches!(event, Event::Renewed(_)));
    }
    assert_eq!(renewals, 3);
}

async fn s45_calls_wait_for_the_new_client(host: Host) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, 1, &[]);
    producer.send(Record::to(TOPIC).partition(0)).await.expect("delivered");
    trio.brokers.request_errors(ApiKey::Produce, &[ErrorCode::OutOfOrderSequenceNumber]).expect("a fault");
    let _failed = producer.produce(Record::to(TOPIC).partition(0)).await.expect("accepted").await.expect_err("a fault");
    // From before the renewal to after it, one call after another.
    let mut interrupted = 0;
    for _ in 0..20 {
        match producer.metadata(Some(TOPIC)).await {
            Ok(found) => assert!(found.topic(TOPIC).is_some()),
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                interrupted += 1;
            }
        }
    }
    assert!(interrupted <= 1, "{interrupted} calls were interrupted");
    renewed(&mut events).await;
}

/// Each record was purged before it was sent.
async fn are_purged(deliveries: Vec<Delivery>) {
    for delivery in deliveries {
        let error = delivery.await.expect_err("it is purged");
        assert_eq!((error.kind(), error.status()), (FailureKind::Purged, Status::NotPersisted), "{error}");
    }
}

async fn s45_a_purge_during_a_renewal_is_exact(host: Host) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, 1, &[]);
    producer.send(Record::to(TOPIC).partition(HURT_PARTITIONS[0])).await.expect("delivered");
    trio.take_leaders(&host, &producer).await;
    let record = |number: u32| Record::to(TOPIC).partition(HURT_PARTITIONS[0]).payload(number.to_string());
    let mut deliveries = Vec::new();
    for number in 0..500 {
        deliveries.push(producer.produce(record(number)).await.expect("accepted"));
    }
    renewed(&mut events).await;
    producer.purge(PurgeScope::All).await;
    let seen = (0..).zip(&deliveries).map(|(number, _)| (number, Err(Status::NotPersisted))).collect();
    // With a leader, the new client might send some of them before it purges.
    are_purged(deliveries).await;
    trio.give_leaders();
    // The new client may purge a moment later.
    while let Err(error) = producer.send(Record::to(TOPIC).partition(HURT_PARTITIONS[0])).await {
        assert_eq!(error.kind(), Some(FailureKind::Purged), "{error}");
    }
    let verdict = trio.check(vec![seen]);
    assert!(verdict.is_right() && verdict.counts().not_persisted == 500, "{verdict}");
}

/// The client is replaced for the third time, and for the second one without a delivery in between: there is a pause of a second.
async fn s45_a_purge_between_two_clients_is_exact(host: Host) {
    let trio = Trio::start();
    let backend = Librdkafka::new(trio.config()).on_fatal(OnFatal::Renew);
    let producer = host.start(AioProducer::builder(backend).slots(POOL));
    producer.send(Record::to(TOPIC).partition(HURT_PARTITIONS[0])).await.expect("delivered");
    trio.take_leaders(&host, &producer).await;
    let mut deliveries = Vec::new();
    for number in 0..100 {
        let record = Record::to(TOPIC).partition(HURT_PARTITIONS[0]).payload(number.to_string());
        deliveries.push(producer.produce(record).await.expect("accepted"));
    }
    let wrong_number = [ErrorCode::OutOfOrderSequenceNumber; 100];
    trio.brokers.request_errors(ApiKey::Produce, &wrong_number).expect("a fault");
    for _ in 0..3 {
        let failing = producer.produce(Record::to(TOPIC).partition(0)).await.expect("accepted");
        failing.await.expect_err("a fatal error");
    }
    // The old client has ended, and gave all back. A purge is exact at any time, but this one is rare.
    host.pause(Duration::from_millis(500)).await;
    producer.purge(PurgeScope::All).await;
    are_purged(deliveries).await;
}

async fn s45_a_close_during_a_renewal_hands_everything_back(host: Host) {
    let trio = Trio::start();
    let (producer, mut events) = trio.renewing(&host, 1, &[]);
    producer.send(Record::to(TOPIC).partition(HURT_PARTITIONS[0])).await.expect("delivered");
    trio.take_leaders(&host, &producer).await;
    let mut deliveries = Vec::new();
    for number in 0..100 {
        let record = Record::to(TOPIC).partition(HURT_PARTITIONS[0]).payload(number.to_string());
        deliveries.push(producer.produce(record).await.expect("accepted"));
    }
    // A second client has them, and the next renewal is not far.
    renewed(&mut events).await;
    let closed = producer.close(Duration::from_millis(1)).await;
    assert_eq!((closed.unsent().len(), closed.unreturned()), (100, 0));
    for delivery in deliveries {
        let error = delivery.await.expect_err("it is closed");
        assert_eq!(error.status(), Status::NotPersisted, "{error}");
    }
    while let Some(event) = events.next().await {
        assert!(!matches!(event, Event::Renewed(_)), "{event:?}");
    }
}

async fn s45_a_policy_that_cannot_be_kept_is_refused(host: Host) {
    let refused = |backend: Librdkafka| {
        let error = AioProducer::builder(backend).start(host.runtime()).expect_err("refused");
        error.to_string()
    };
    let config = |keys: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1");
        for (key, value) in keys {
            config.set(*key, *value);
        }
        Librdkafka::new(config)
    };
    let transactional = [("transactional.id", "t")];
    let text = refused(config(&transactional).on_fatal(OnFatal::Renew));
    assert!(text.contains("`transactional.id`") && text.contains("leave the policy out"), "{text}");
    let stall = |after| OnStall::Renew { after };
    let text = refused(config(&[]).on_stall(stall(Duration::ZERO)));
    assert!(text.contains("a time of zero"), "{text}");
    let even = [("partitioner.adaptive.partitioning.enable", "false")];
    let text = refused(config(&even).on_stall(stall(STALL)));
    assert!(text.contains("`partitioner.adaptive.partitioning.enable=true`"), "{text}");
    assert_eq!(ConfigError::NoWorkers.to_string(), refused(config(&[]).workers(0).on_fatal(OnFatal::Renew)));
}
