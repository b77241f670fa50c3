//! S50: transactions on the simulated cluster, through the producer of production.

use std::time::Duration;

use aioproducer_driver::error::{ErrorCode, FailureKind, TransactionError};
use aioproducer_driver::transaction::{Group, GroupOffset, Remedy};
use aioproducer_driver::{AioProducer, Record, Transaction};
use aioproducer_sim::{
    Acks, Case, EndTxn, InitProducerId, LogRecord, Plan, Produce, Requests, Sim, SimBackend, SimCluster,
    TxnOffsetCommit, check,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn start(sim: &Sim, backend: SimBackend) -> AioProducer {
    AioProducer::builder(backend).start(sim.clone()).unwrap()
}

fn texts(records: &[LogRecord]) -> Vec<&str> {
    records.iter().map(|record| record.payload_str().unwrap_or_default()).collect()
}

fn committed(kafka: &SimCluster) -> Vec<String> {
    texts(&kafka.topic("t").committed()).into_iter().map(str::to_owned).collect()
}

/// Begins, and writes one record.
async fn begun(producer: &AioProducer, text: &'static str) -> Transaction {
    let transaction = producer.begin().await.unwrap();
    transaction.send(Record::to("t").payload(text)).await.unwrap();
    transaction
}

#[test]
fn s50_committed_records_are_seen_together_and_aborted_ones_never() {
    Sim::run(1, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 2);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        let plain = start(&sim, kafka.backend());
        let first = producer.begin().await.unwrap();
        for partition in 0..2 {
            first.send(Record::to("t").partition(partition).payload("1")).await.unwrap();
            plain.send(Record::to("t").partition(partition).payload("plain")).await.unwrap();
        }
        assert!(committed(&kafka).is_empty(), "no consumer gets past an open transaction");
        assert_eq!(kafka.topic("t").records().len(), 4);
        first.commit().await.unwrap();
        assert_eq!(committed(&kafka), ["1", "plain", "1", "plain"]);
        begun(&producer, "2").await.abort().await.unwrap();
        drop(begun(&producer, "3").await);
        begun(&producer, "4").await.commit().await.unwrap();
        assert_eq!(committed(&kafka).iter().filter(|text| *text != "plain").collect::<Vec<_>>(), ["1", "4", "1"]);
        assert_eq!(kafka.topic("t").records().len(), 7);
    });
}

#[test]
fn s50_the_end_of_a_transaction_takes_an_offset() {
    Sim::run(2, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        begun(&producer, "1").await.commit().await.unwrap();
        begun(&producer, "2").await.abort().await.unwrap();
        begun(&producer, "3").await.commit().await.unwrap();
        assert_eq!(kafka.topic("t").committed().iter().map(LogRecord::offset).collect::<Vec<_>>(), [0, 4]);
    });
}

#[test]
fn s50_offsets_are_committed_with_the_records_or_not_at_all() {
    Sim::run(3, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1).with_topic("source", 2);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        let offsets = |kafka: &SimCluster| [0, 1].map(|partition| kafka.group("g").offset("source", partition));
        let send = async |offset, ends: &str| {
            let transaction = producer.begin().await.unwrap();
            let next = [GroupOffset::new("source", 0, offset), GroupOffset::new("source", 1, offset + 1)];
            transaction.send_offsets(next, Group::new("g")).await.unwrap();
            match ends {
                "commit" => transaction.commit().await.unwrap(),
                "abort" => transaction.abort().await.unwrap(),
                _ => drop(transaction),
            }
        };
        send(3, "abort").await;
        assert_eq!(offsets(&kafka), [None, None]);
        send(7, "commit").await;
        assert_eq!(offsets(&kafka), [Some(7), Some(8)]);
        send(9, "drop").await;
        send(11, "abort").await;
        assert_eq!((offsets(&kafka), kafka.group("other").offset("source", 0)), ([Some(7), Some(8)], None));
    });
}

#[test]
fn s50_an_empty_transaction_ends_at_once() {
    Sim::run(4, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        producer.init_transactions().await.unwrap();
        let before = sim.elapsed();
        producer.begin().await.unwrap().commit().await.unwrap();
        producer.begin().await.unwrap().abort().await.unwrap();
        assert_eq!(sim.elapsed(), before);
        assert!(!kafka.trace().to_string().contains("EndTxn"), "no broker hears of it");
    });
}

#[test]
fn s50_a_later_producer_fences_the_earlier_one_whatever_that_does_next() {
    for next in ["commit", "abort", "send_offsets", "send", "begin"] {
        Sim::run(5, |sim| async move {
            let kafka = SimCluster::new().with_topic("t", 1);
            let old = start(&sim, kafka.backend().transactional_id("id"));
            let mut transaction = begun(&old, "1").await;
            let new = start(&sim, kafka.backend().transactional_id("id"));
            if next == "begin" {
                transaction.commit().await.unwrap();
                new.init_transactions().await.unwrap();
                transaction = old.begin().await.unwrap();
            } else {
                new.init_transactions().await.unwrap();
                assert!(committed(&kafka).is_empty());
            }
            let error: TransactionError = match next {
                "commit" => transaction.commit().await.unwrap_err().into(),
                "abort" => transaction.abort().await.unwrap_err().into(),
                "send_offsets" => {
                    let offset = GroupOffset::new("t", 0, 1);
                    transaction.send_offsets([offset], Group::new("g")).await.unwrap_err()
                }
                _ => {
                    let sent = transaction.send(Record::to("t").payload("8")).await;
                    assert_eq!(sent.unwrap_err().code(), Some(ErrorCode::InvalidProducerEpoch));
                    let (error, transaction) = transaction.commit().await.unwrap_err().into_parts();
                    assert_eq!(error.remedy(), Remedy::Abort);
                    transaction.unwrap().abort().await.unwrap_err().into()
                }
            };
            assert_eq!(error.remedy(), Remedy::GiveUp, "{next}: {error:?}");
            assert_eq!(old.fatal_error().unwrap().code(), Some(ErrorCode::LocalFenced), "{next}");
            assert_eq!(old.begin().await.unwrap_err().remedy(), Remedy::GiveUp, "{next}");
            assert!(old.produce(Record::to("t")).await.is_err(), "{next}");
            begun(&new, "2").await.commit().await.unwrap();
            let expected = if next == "begin" { &["1", "2"][..] } else { &["2"] };
            assert_eq!(committed(&kafka), expected, "{next}");
        });
    }
}

#[test]
fn s50_a_commit_whose_answer_is_lost_is_called_again_and_ends_once() {
    Sim::run(6, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        let lost = kafka.on(EndTxn).times(3).apply_then_lose_answer();
        begun(&producer, "1").await.commit().await.unwrap();
        assert_eq!(lost.hits(), 3);
        kafka.on(EndTxn).once().lose_request();
        begun(&producer, "2").await.commit().await.unwrap();
        kafka.on(EndTxn).once().apply_then_lose_answer();
        begun(&producer, "3").await.abort().await.unwrap();
        assert_eq!(committed(&kafka), ["1", "2"]);
        // Each took one offset.
        assert_eq!(kafka.topic("t").records().iter().map(LogRecord::offset).collect::<Vec<_>>(), [0, 2, 4]);
    });
}

#[test]
fn s50_a_commit_in_doubt_is_resolved_by_a_second_call() {
    Sim::run(7, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let backend = kafka.backend().transactional_id("id").retry_backoff(5 * SECOND);
        let producer = AioProducer::builder(backend).call_timeout(SECOND).start(sim.clone()).unwrap();
        for (fault, expected) in [("lost answer", &["1"][..]), ("lost request", &["1", "1"])] {
            let transaction = begun(&producer, "1").await;
            match fault {
                "lost answer" => kafka.on(EndTxn).once().apply_then_lose_answer(),
                _ => kafka.on(EndTxn).once().lose_request(),
            };
            let before = sim.elapsed();
            let error = transaction.commit().await.unwrap_err();
            assert_eq!((error.remedy(), sim.elapsed() - before), (Remedy::Resolve, SECOND), "{error:?}");
            assert_eq!(committed(&kafka).len(), 1, "the first is committed, the second is not yet");
            drop(error);
            assert!(producer.begin().await.is_err(), "its outcome is not known");
            let mut ended = producer.in_doubt().unwrap().commit().await;
            while let Err(error) = ended {
                assert_eq!(error.remedy(), Remedy::Resolve);
                ended = error.into_transaction().unwrap().commit().await;
            }
            assert_eq!(committed(&kafka), expected, "{fault}");
            assert_eq!(sim.elapsed() - before, 5 * SECOND + 2 * MS + 2 * MS, "the second attempt, after the backoff");
        }
    });
}

#[test]
fn s50_a_result_that_no_call_waits_for_is_kept() {
    Sim::run(8, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let backend = kafka.backend().transactional_id("id").retry_backoff(5 * SECOND);
        let producer = AioProducer::builder(backend).call_timeout(SECOND).start(sim.clone()).unwrap();
        let transaction = begun(&producer, "1").await;
        kafka.on(EndTxn).once().apply_then_lose_answer();
        let error = transaction.commit().await.unwrap_err();
        sim.sleep(10 * SECOND).await;
        let before = sim.elapsed();
        error.into_transaction().unwrap().commit().await.unwrap();
        assert_eq!((sim.elapsed(), committed(&kafka)), (before, vec!["1".to_owned()]));
    });
}

#[test]
fn s50_a_transaction_that_takes_too_long_is_aborted_and_its_producer_is_fenced() {
    Sim::run(9, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let backend = kafka.backend().transactional_id("id").transaction_timeout(5 * SECOND);
        let producer = start(&sim, backend);
        let transaction = begun(&producer, "1").await;
        let plain = start(&sim, kafka.backend());
        plain.send(Record::to("t").payload("plain")).await.unwrap();
        sim.sleep(4 * SECOND).await;
        assert!(committed(&kafka).is_empty());
        sim.sleep(SECOND).await;
        assert_eq!(committed(&kafka), ["plain"], "{}", kafka.trace());
        assert_eq!(transaction.commit().await.unwrap_err().remedy(), Remedy::GiveUp);
        assert_eq!(producer.fatal_error().unwrap().code(), Some(ErrorCode::LocalFenced));
        assert_eq!(committed(&kafka), ["plain"]);
    });
}

#[test]
fn s50_a_record_that_fails_leaves_only_the_abort() {
    Sim::run(10, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        let transaction = begun(&producer, "1").await;
        kafka.on(Produce).once().answer(ErrorCode::MsgSizeTooLarge);
        let error = transaction.send(Record::to("t").payload("2")).await.unwrap_err();
        assert_eq!(error.kind(), Some(FailureKind::TooLarge));
        let error = transaction.send(Record::to("t").payload("2")).await.unwrap_err();
        assert_eq!(error.kind(), Some(FailureKind::State), "{error}");
        let offset = GroupOffset::new("t", 0, 1);
        let error = transaction.send_offsets([offset], Group::new("g")).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Abort, "offsets as well");
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Abort);
        error.into_transaction().unwrap().abort().await.unwrap();
        begun(&producer, "3").await.commit().await.unwrap();
        assert_eq!(committed(&kafka), ["3"]);
    });
}

#[test]
fn s50_a_record_that_times_out_leaves_only_the_abort() {
    Sim::run(11, |sim| async move {
        let kafka = SimCluster::new().with_brokers(2).with_topic("t", 1);
        let backend = kafka.backend().transactional_id("id");
        let producer = AioProducer::builder(backend).delivery_timeout(SECOND).start(sim.clone()).unwrap();
        let transaction = begun(&producer, "1").await;
        let lost = kafka.on(Produce).lose_request();
        let late = transaction.produce(Record::to("t").payload("2")).await.unwrap();
        let error = transaction.commit().await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Abort, "{error:?}");
        assert_eq!(late.await.unwrap_err().kind(), FailureKind::TimedOut);
        error.into_transaction().unwrap().abort().await.unwrap();
        assert!(lost.hits() > 1 && committed(&kafka).is_empty());
    });
}

#[test]
fn s50_an_abort_takes_back_what_waits_and_outlasts_what_is_under_way() {
    Sim::run(12, |sim| async move {
        let kafka = SimCluster::new().with_brokers(2).with_topic("t", 1);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        let transaction = producer.begin().await.unwrap();
        // The leader is slow; the coordinator is the other broker.
        kafka.broker(1).slow(100 * MS);
        let sent = transaction.produce(Record::to("t").payload("1")).await.unwrap();
        sim.sleep(MS).await;
        let queued = transaction.produce(Record::to("t").payload("2")).await.unwrap();
        sim.sleep(MS).await;
        transaction.abort().await.unwrap();
        assert_eq!(queued.await.unwrap_err().kind(), FailureKind::Purged);
        assert_eq!(sent.await.unwrap().offset(), Some(0), "it was under way");
        assert!(committed(&kafka).is_empty());
        begun(&producer, "3").await.commit().await.unwrap();
        assert_eq!(committed(&kafka), ["3"]);
    });
}

#[test]
fn s50_a_late_attempt_of_an_aborted_transaction_is_refused() {
    Sim::run(13, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let backend = kafka.backend().transactional_id("id").request_timeout(SECOND);
        let producer = start(&sim, backend);
        let transaction = producer.begin().await.unwrap();
        kafka.on(Produce).once().delay(30 * SECOND);
        let late = transaction.produce(Record::to("t").payload("late")).await.unwrap();
        sim.sleep(MS).await;
        transaction.abort().await.unwrap();
        assert!(late.await.is_err());
        let transaction = begun(&producer, "2").await;
        sim.sleep(40 * SECOND).await;
        transaction.commit().await.unwrap();
        assert_eq!(texts(&kafka.topic("t").records()), ["2"], "{}", kafka.trace());
    });
}

#[test]
fn s50_errors_of_coordinators_that_pass_are_retried_and_others_are_sorted() {
    Sim::run(14, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        kafka.on(InitProducerId).times(2).answer(ErrorCode::CoordinatorLoadInProgress);
        kafka.on(TxnOffsetCommit).once().answer(ErrorCode::ConcurrentTransactions);
        kafka.on(EndTxn).once().answer(ErrorCode::NotCoordinator);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        let transaction = begun(&producer, "1").await;
        transaction.send_offsets([GroupOffset::new("t", 0, 1)], Group::new("g")).await.unwrap();
        transaction.commit().await.unwrap();
        let transaction = producer.begin().await.unwrap();
        kafka.on(TxnOffsetCommit).once().answer(ErrorCode::UnknownMemberId);
        let error = transaction.send_offsets([GroupOffset::new("t", 0, 2)], Group::new("g")).await.unwrap_err();
        assert_eq!((error.remedy(), error.code()), (Remedy::Abort, Some(ErrorCode::UnknownMemberId)));
        transaction.abort().await.unwrap();
        assert_eq!(kafka.group("g").offset("t", 0), Some(1));
        let transaction = begun(&producer, "2").await;
        kafka.on(EndTxn).once().answer(ErrorCode::TransactionalIdAuthorizationFailed);
        assert_eq!(transaction.commit().await.unwrap_err().remedy(), Remedy::GiveUp);
        assert_eq!(producer.fatal_error().unwrap().code(), Some(ErrorCode::TransactionalIdAuthorizationFailed));
    });
}

#[test]
fn s50_offsets_of_an_unknown_partition_are_asked_for_until_the_call_is_over() {
    Sim::run(15, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let backend = kafka.backend().transactional_id("id");
        let producer = AioProducer::builder(backend).call_timeout(SECOND).start(sim.clone()).unwrap();
        let transaction = producer.begin().await.unwrap();
        let error = transaction.send_offsets([GroupOffset::new("typo", 0, 2)], Group::new("g")).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
        transaction.abort().await.unwrap();
    });
}

#[test]
fn s50_a_coordinator_that_stops_is_followed_by_another_one() {
    Sim::run(16, |sim| async move {
        let kafka = SimCluster::new().with_brokers(3).with_topic("t", 3);
        let producer = start(&sim, kafka.backend().transactional_id("id"));
        let transaction = begun(&producer, "1").await;
        (1..=2).for_each(|id| kafka.broker(id).stop());
        transaction.send(Record::to("t").payload("2")).await.unwrap();
        transaction.commit().await.unwrap();
        kafka.broker(3).stop();
        let transaction = producer.begin().await.unwrap();
        kafka.broker(3).stop_for(SECOND);
        transaction.send(Record::to("t").payload("3")).await.unwrap();
        transaction.commit().await.unwrap();
        let mut all = committed(&kafka);
        all.sort();
        assert_eq!(all, ["1", "2", "3"]);
    });
}

#[test]
fn s50_a_producer_that_ends_leaves_nothing_open() {
    Sim::run(17, |sim| async move {
        let kafka = SimCluster::new().with_topic("t", 1);
        let plain = start(&sim, kafka.backend());
        for ends in ["close", "drop"] {
            let left = start(&sim, kafka.backend().transactional_id("id"));
            let transaction = begun(&left, "1").await;
            plain.send(Record::to("t").payload("plain")).await.unwrap();
            let before = committed(&kafka).len();
            if ends == "close" {
                assert!(left.close(10 * SECOND).await.is_complete());
            } else {
                drop((left, transaction));
                start(&sim, kafka.backend().transactional_id("id")).init_transactions().await.unwrap();
            }
            assert_eq!(committed(&kafka).len(), before + 1, "{ends}");
        }
        assert_eq!(committed(&kafka), ["plain", "plain"]);
    });
}

/// Copies what it reads of `source` to `t`, exactly once: a number for each of 20 steps, whatever fails.
async fn copy(case: Case) {
    let kafka = case.cluster().clone();
    // So short that what a fault does to a call is left to the application.
    let builder = AioProducer::builder(kafka.backend().transactional_id("copy")).call_timeout(50 * MS);
    let producer = builder.start(case.sim().clone()).unwrap();
    case.watch(&producer);
    let mut doubts = 0;
    loop {
        let next = kafka.group("g").offset("source", 0).unwrap_or(0);
        if next == 20 {
            break;
        }
        let transaction = match producer.begin().await {
            Ok(transaction) => transaction,
            Err(error) if error.remedy() == Remedy::Retry => continue,
            Err(error) => panic!("{error:?}"),
        };
        drop(transaction.produce(Record::to("t").key(next.to_string()).payload(next.to_string())).await.unwrap());
        let offsets = || transaction.send_offsets([GroupOffset::new("source", 0, next + 1)], Group::new("g"));
        while let Err(error) = offsets().await {
            assert_eq!(error.remedy(), Remedy::Retry, "{error:?}");
        }
        let mut ended = transaction.commit().await;
        while let Err(error) = ended {
            let (error, transaction) = error.into_parts();
            doubts += u32::from(error.remedy() == Remedy::Resolve);
            ended = match (error.remedy(), transaction) {
                (Remedy::Resolve, Some(transaction)) => transaction.commit().await,
                (Remedy::Abort, Some(transaction)) => transaction.abort().await,
                _ => panic!("{error:?}"),
            };
        }
    }
    case.sometimes(doubts > 0, "a commit is in doubt");
    let copied: Vec<i64> = {
        let mut numbers: Vec<_> =
            kafka.topic("t").committed().iter().map(|record| record.payload_str().unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    case.always(copied == (0..20).collect::<Vec<_>>(), "each number is there once");
    let trace = kafka.trace().to_string();
    let lost = trace.lines().any(|line| line.contains("EndTxn") && line.contains("the answer is lost"));
    case.sometimes(lost, "the answer to a commit is lost");
    let refused = trace.lines().any(|line| line.contains("EndTxn") && line.contains("the answer is an error"));
    case.sometimes(refused, "a coordinator refuses a commit for a while");
}

#[test]
fn s50_whatever_fails_each_record_of_a_committed_transaction_is_there_once() {
    check(Plan::swarm().topic("t", 3).topic("source", 1).seeds(0..150), copy);
}

#[test]
fn s50_what_contradicts_transactions_is_refused_with_its_place() {
    let message = |build: fn(SimBackend) -> SimBackend| {
        let backend = SimCluster::new().backend();
        let panic = std::panic::catch_unwind(|| build(backend)).unwrap_err();
        panic.downcast_ref::<&str>().copied().unwrap_or_default()
    };
    for build in [
        (|backend| backend.acks(Acks::Leader).transactional_id("id")) as fn(SimBackend) -> SimBackend,
        |backend| backend.transactional_id("id").acks(Acks::None),
        |backend| backend.acks(Acks::None).idempotence(true),
    ] {
        assert!(message(build).contains("acks=all"));
    }
    for build in
        [(|backend| backend.idempotence(false).transactional_id("id")) as fn(SimBackend) -> SimBackend, |backend| {
            backend.transactional_id("id").idempotence(false)
        }]
    {
        assert!(message(build).contains("need idempotence"));
    }
}

#[test]
fn s52_faults_of_transactions_are_counted_and_have_no_partitions() {
    let unhit = std::panic::catch_unwind(|| {
        let kafka = SimCluster::new();
        kafka.on(EndTxn).once().lose_request();
    });
    let message = *unhit.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("(EndTxn: the request is lost) was hit 0 of 1 times"), "{message}");
    let partition = std::panic::catch_unwind(|| Requests::from(EndTxn).partition(0));
    let message = *partition.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("EndTxn has no partitions"), "{message}");
}
