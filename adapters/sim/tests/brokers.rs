//! S50: what brokers do beyond one log: acknowledgements, replication, quotas, limits, and what producers hear of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aioproducer_driver::error::{ErrorCode, FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_sim::{Acks, Case, LogRecord, Plan, Produce, Sim, SimBackend, SimCluster, check};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn start(sim: &Sim, backend: SimBackend) -> AioProducer {
    AioProducer::builder(backend).start(sim.clone()).unwrap()
}

fn texts(kafka: &SimCluster) -> Vec<String> {
    let text = |record: &LogRecord| record.payload_str().unwrap_or_default().to_owned();
    kafka.topic("t").records().iter().map(text).collect()
}

#[test]
fn s50_a_leader_that_stops_takes_along_what_only_it_has_acknowledged() {
    for (acks, left) in [(Acks::Leader, &["1"][..]), (Acks::All, &["1", "2"])] {
        for moves in [false, true] {
            Sim::run(1, |sim| async move {
                let kafka = SimCluster::new().with_brokers(2).with_replication_lag(10 * MS).with_topic("t", 1);
                let producer = start(&sim, kafka.backend().acks(acks));
                assert_eq!(producer.send(Record::to("t").payload("1")).await.unwrap().offset(), Some(0));
                sim.sleep(10 * MS).await;
                assert_eq!(producer.send(Record::to("t").payload("2")).await.unwrap().offset(), Some(1));
                if moves {
                    kafka.leader_of("t", 0).move_to(2)
                } else {
                    kafka.broker(1).stop()
                }
                assert_eq!(texts(&kafka), left, "{acks:?}: {}", kafka.trace());
                let third = producer.send(Record::to("t").payload("3")).await.unwrap();
                assert_eq!(third.offset(), Some(left.len() as i64), "an offset may be there twice");
                assert_eq!(kafka.trace().to_string().contains("is lost, from offset 1"), acks == Acks::Leader);
            });
        }
    }
}

#[test]
fn s50_a_batch_for_all_replicas_takes_along_those_before_it() {
    Sim::run(2, |sim| async move {
        let kafka = SimCluster::new().with_brokers(2).with_replication_lag(SECOND).with_topic("t", 1);
        let (fast, safe) = (start(&sim, kafka.backend().acks(Acks::Leader)), start(&sim, kafka.backend()));
        fast.send(Record::to("t").payload("1")).await.unwrap();
        safe.send(Record::to("t").payload("2")).await.unwrap();
        kafka.broker(1).stop();
        assert_eq!(texts(&kafka), ["1", "2"]);
    });
}

#[test]
fn s50_a_leader_that_comes_back_alone_has_what_it_had() {
    Sim::run(3, |sim| async move {
        let kafka = SimCluster::new().with_brokers(2).with_replication_lag(SECOND).with_topic("t", 1);
        let producer = start(&sim, kafka.backend().acks(Acks::Leader));
        kafka.broker(2).stop();
        producer.send(Record::to("t").payload("1")).await.unwrap();
        kafka.broker(1).stop();
        kafka.broker(1).start();
        assert_eq!(texts(&kafka), ["1"]);
        producer.send(Record::to("t").payload("2")).await.unwrap();
        kafka.broker(1).stop();
        kafka.broker(2).start();
        assert_eq!(texts(&kafka), ["1"], "the second was never replicated");
    });
}

#[test]
fn s50_without_acks_a_record_counts_as_delivered_when_it_is_sent() {
    Sim::run(4, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().acks(Acks::None));
        kafka.on(Produce).once().lose_request();
        kafka.on(Produce).once().answer(ErrorCode::NotLeaderForPartition);
        kafka.on(Produce).once().delay(SECOND);
        for n in 0..5 {
            let report = producer.send(Record::to("t").payload(n.to_string())).await.unwrap();
            assert_eq!((report.partition(), report.offset(), sim.elapsed()), (0, None, Duration::ZERO));
        }
        assert!(texts(&kafka).is_empty(), "all are on their way");
        sim.sleep(2 * SECOND).await;
        assert_eq!(texts(&kafka), ["2", "3", "4"], "no producer hears of an error, and a connection keeps its order");
    });
}

#[test]
fn s50_fewer_acks_need_no_other_replica_and_wait_for_a_leader() {
    Sim::run(5, |sim| async move {
        let kafka = SimCluster::new().with_brokers(2).with_min_in_sync(2).with_topic("t", 1);
        let (fast, safe) = (start(&sim, kafka.backend().acks(Acks::Leader)), start(&sim, kafka.backend().retries(0)));
        kafka.broker(2).stop();
        fast.send(Record::to("t").payload("1")).await.unwrap();
        let error = safe.send(Record::to("t").payload("2")).await.unwrap_err();
        assert_eq!((error.code(), error.status()), (Some(ErrorCode::NotEnoughReplicas), Status::NotPersisted));
        let nothing = start(&sim, kafka.backend().acks(Acks::None));
        kafka.broker(1).stop();
        let delivery = nothing.produce(Record::to("t").payload("3")).await.unwrap();
        sim.sleep(SECOND).await;
        kafka.broker(1).start();
        assert_eq!(delivery.await.unwrap().offset(), None);
        sim.sleep(SECOND).await;
        assert_eq!(texts(&kafka), ["1", "3"]);
    });
}

#[test]
fn s50_a_partition_with_fewer_replicas_than_the_minimum_needs_all_that_it_has() {
    Sim::run(9, |sim| async move {
        let kafka = SimCluster::new().with_min_in_sync(2).with_topic("t", 1);
        start(&sim, kafka.backend()).send(Record::to("t").payload("1")).await.unwrap();
        assert_eq!(texts(&kafka), ["1"]);
    });
}

#[test]
fn s50_a_producer_above_its_quota_is_throttled_and_others_are_not() {
    Sim::run(6, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 2);
        let (fast, slow) = (start(&sim, kafka.backend()), start(&sim, kafka.backend()));
        kafka.broker(1).throttle(SECOND);
        slow.send(Record::to("t").payload("1")).await.unwrap();
        assert_eq!(sim.elapsed(), 2 * MS, "the answer comes at once");
        fast.send(Record::to("t").payload("2")).await.unwrap();
        assert_eq!(sim.elapsed(), 4 * MS);
        for _ in 0..2 {
            slow.send(Record::to("t").payload("3")).await.unwrap();
        }
        assert_eq!(sim.elapsed(), 2 * SECOND + 2 * MS);
        kafka.heal();
        let before = sim.elapsed();
        slow.send(Record::to("t").payload("4")).await.unwrap();
        assert_eq!(sim.elapsed() - before, 2 * MS);
        assert!(kafka.trace().to_string().contains("throttles the producer"));
    });
}

#[test]
fn s50_a_batch_above_the_broker_s_limit_is_refused_and_the_client_cuts_at_its_own() {
    Sim::run(7, |sim| async move {
        let kafka = SimCluster::new().with_batch_bytes(1_000).with_topic("t", 1);
        let producer = start(&sim, kafka.backend().record_bytes(900));
        let error = producer.produce(Record::to("t").payload(vec![b'x'; 900])).await.unwrap_err();
        assert!(error.to_string().contains("record_bytes"), "{error}");
        let records = (0..20).map(|_| Record::to("t").payload(vec![b'x'; 300]));
        for outcome in producer.produce_all(records).await {
            outcome.unwrap();
        }
        assert_eq!(texts(&kafka).len(), 20);
        let larger = start(&sim, kafka.backend().record_bytes(2_000));
        let error = larger.send(Record::to("t").payload(vec![b'x'; 1_000])).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (Some(FailureKind::TooLarge), Status::NotPersisted));
        assert_eq!(error.code(), Some(ErrorCode::MsgSizeTooLarge));
    });
}

#[test]
fn s50_producers_hear_that_no_broker_is_up_and_that_one_is_back() {
    Sim::run(8, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend());
        let late = async || producer.produce(Record::to("t").timeout(10 * MS)).await.unwrap().await.unwrap_err();
        kafka.broker(1).stop();
        sim.sleep(MS).await;
        let error = late().await;
        assert!(error.to_string().contains("no broker of the simulated cluster is up"), "{error}");
        kafka.broker(1).start();
        kafka.broker(1).pause(SECOND);
        let error = late().await;
        assert_eq!(error.kind(), FailureKind::TimedOut);
        assert!(!error.to_string().contains("no broker"), "{error}");
    });
}

#[test]
fn s50_a_check_finds_acknowledged_records_that_are_lost_with_one_ack_and_none_with_all() {
    let run = |acks| {
        let plan = Plan::swarm().topic("t", 3).seeds(0..60);
        let scenario = |case: Case| async move {
            let producer = start(case.sim(), case.cluster().backend().acks(acks));
            for n in 0..100 {
                let _ = producer.send(Record::to("t").payload(n.to_string())).await;
            }
        };
        catch_unwind(AssertUnwindSafe(|| check(plan, scenario)))
    };
    run(Acks::All).expect("nothing is lost");
    let panic = run(Acks::Leader).expect_err("the old leader alone had some");
    let message = panic.downcast::<String>().expect("a text");
    assert!(message.contains("LOST ACK t/") && message.contains("needs leader move"), "{message}");
}
