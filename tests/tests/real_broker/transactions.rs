//! S40: markers, offsets and epochs, which the embedded broker does not have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status, TransactionError};
use aioproducer_driver::transaction::{Group, GroupOffset, Remedy};
use aioproducer_driver::{AioProducer, ProduceError, Record, SendError, Transaction};
use aioproducer_rdkafka::{ClientConfig, ErrorCode, Librdkafka};
use aioproducer_tests::broker::{Isolation, Logged, config_for, read_log};
use aioproducer_tests::executor::{self, Host, TokioMulti, still_waiting};
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::promises_on_kafka;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

promises_on_kafka! {
    s40_committed_is_visible_and_aborted_is_not,
    s40_offsets_are_committed_with_the_records_or_not_at_all,
    s40_a_fenced_producer_is_fatal_whatever_it_does_next,
    s40_a_producer_that_ends_leaves_nothing_open,
    s40_a_transaction_that_takes_too_long_is_aborted_by_its_coordinator,
    s40_what_is_committed_while_answers_get_lost_is_there_once,
    s37_a_commit_fails_if_the_broker_refused_a_record,
}

const LONG: Duration = Duration::from_secs(50);

fn config(kafka: &Kafka, id: &str) -> ClientConfig {
    let mut config = kafka.config();
    config.set("transactional.id", id);
    config
}

pub(crate) fn producer(host: &Host, kafka: &Kafka, id: &str) -> AioProducer {
    host.start(AioProducer::builder(Librdkafka::new(config(kafka, id))))
}

/// The payloads that a consumer sees, as numbers, partition by partition.
pub(crate) fn shown(kafka: &Kafka, topic: &str, partitions: i32, isolation: Isolation) -> BTreeMap<i32, Vec<usize>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for logged in read_log(kafka.bootstrap_servers(), topic, partitions, isolation) {
        found.entry(logged.partition).or_default().push(logged.text().parse().expect("a number"));
    }
    found
}

async fn s40_committed_is_visible_and_aborted_is_not(host: Host) {
    const PARTITIONS: i32 = 3;
    let kafka = Kafka::shared();
    let (topic, id) = (kafka.topic("visible", PARTITIONS as usize), kafka.fresh("visible"));
    let producer = producer(&host, kafka, &id);
    let record = |n: usize| Record::to(&topic).partition(n as i32 % PARTITIONS).payload(n.to_string());
    let (mut all, mut committed) = (BTreeMap::<i32, Vec<_>>::new(), BTreeMap::<i32, Vec<_>>::new());
    for (round, ends) in ["commit", "abort", "drop", "commit", "abort", "commit"].into_iter().enumerate() {
        let numbers = round * 60..(round + 1) * 60;
        let transaction = producer.begin().await.expect("it begins");
        let outcomes = transaction.produce_all(numbers.clone().map(record)).await;
        let reports: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("delivered")).collect();
        for n in numbers {
            all.entry(n as i32 % PARTITIONS).or_default().push(n);
            if ends == "commit" {
                committed.entry(n as i32 % PARTITIONS).or_default().push(n);
            }
        }
        if round == 3 {
            // While it is open, its records are in the log at the places in their reports, but no consumer sees them.
            let log = read_log(kafka.bootstrap_servers(), &topic, PARTITIONS, Isolation::Uncommitted);
            for (n, report) in (round * 60..).zip(&reports) {
                let place =
                    |logged: &&Logged| (logged.partition, Some(logged.offset)) == (report.partition(), report.offset());
                assert_eq!(log.iter().find(place).map(Logged::text), Some(n.to_string().as_str()));
            }
            let before = shown(kafka, &topic, PARTITIONS, Isolation::Committed);
            assert_eq!(before.values().flatten().max(), Some(&59), "the first round, and not the open one: {before:?}");
        }
        match ends {
            "commit" => transaction.commit().await.expect("committed"),
            "abort" => transaction.abort().await.expect("aborted"),
            _ => drop(transaction),
        }
    }
    assert!(producer.close(LONG).await.is_complete());
    assert_eq!(shown(kafka, &topic, PARTITIONS, Isolation::Committed), committed);
    assert_eq!(shown(kafka, &topic, PARTITIONS, Isolation::Uncommitted), all);
}

/// A group's committed offsets in partitions 0 and 1 of `topic`.
pub(crate) fn positions(kafka: &Kafka, group: &str, topic: &str) -> [Option<i64>; 2] {
    let mut config = kafka.config();
    config.set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, 1);
    let found = consumer.committed_offsets(list, LONG).expect("an answer");
    [0, 1].map(|partition| match found.find_partition(topic, partition).expect("it was asked for").offset() {
        Offset::Offset(offset) => Some(offset),
        Offset::Invalid => None,
        other => panic!("{other:?}"),
    })
}

async fn s40_offsets_are_committed_with_the_records_or_not_at_all(host: Host) {
    let kafka = Kafka::shared();
    let (source, sink) = (kafka.topic("source", 2), kafka.topic("sink", 1));
    let (group, id) = (kafka.fresh("group"), kafka.fresh("offsets"));
    let producer = producer(&host, kafka, &id);
    let offsets = |a, b| [GroupOffset::new(&source, 0, a), GroupOffset::new(&source, 1, b)];
    let step = async |n: usize, offsets| {
        let transaction = producer.begin().await.expect("it begins");
        transaction.send(Record::to(&sink).payload(n.to_string())).await.expect("delivered");
        transaction.send_offsets(offsets, Group::new(&group)).await.expect("sent");
        transaction
    };
    assert_eq!(positions(kafka, &group, &source), [None, None]);
    step(0, offsets(3, 5)).await.abort().await.expect("aborted");
    assert_eq!(positions(kafka, &group, &source), [None, None], "aborted");
    step(1, offsets(7, 11)).await.commit().await.expect("committed");
    assert_eq!(positions(kafka, &group, &source), [Some(7), Some(11)], "committed");
    step(2, offsets(13, 17)).await.abort().await.expect("aborted");
    assert_eq!(positions(kafka, &group, &source), [Some(7), Some(11)], "aborted");
    drop(step(3, offsets(19, 23)).await);
    step(4, offsets(29, 31)).await.commit().await.expect("committed");
    assert_eq!(positions(kafka, &group, &source), [Some(29), Some(31)], "committed");
    assert_eq!(shown(kafka, &sink, 1, Isolation::Committed)[&0], [1, 4]);
}

async fn s40_a_fenced_producer_is_fatal_whatever_it_does_next(host: Host) {
    let kafka = Kafka::shared();
    for next in ["commit", "abort", "send_offsets", "send", "begin"] {
        let (topic, id) = (kafka.topic("fenced", 1), kafka.fresh("fenced"));
        let old = producer(&host, kafka, &id);
        let record = |n: usize| Record::to(&topic).payload(n.to_string());
        let mut transaction = old.begin().await.expect("it begins");
        transaction.send(record(1)).await.expect("delivered");
        let new = producer(&host, kafka, &id);
        if next == "begin" {
            transaction.commit().await.expect("committed");
            new.init_transactions().await.expect("it takes over");
            transaction = old.begin().await.expect("the broker is not asked");
        } else {
            new.init_transactions().await.expect("it takes over");
        }

        let error = fenced(next, transaction, record(8).into_owned()).await;
        assert_eq!(error.remedy(), Remedy::GiveUp, "{next}: {error:?}");
        let fatal = old.fatal_error().expect("it has one");
        assert_eq!(fatal.code(), Some(ErrorCode::LocalFenced), "{next}: {fatal:?}");
        let refused = old.begin().await.expect_err("nothing goes on");
        assert_eq!((refused.remedy(), refused.code()), (Remedy::GiveUp, fatal.code()), "{next}");
        let refused = old.produce(record(9)).await.expect_err("nothing goes on");
        assert_eq!(refused.into_record(), record(9), "{next}");

        let transaction = new.begin().await.expect("it begins");
        transaction.send(record(2)).await.expect("delivered");
        transaction.commit().await.expect("committed");
        let expected = if next == "begin" { vec![1, 2] } else { vec![2] };
        assert_eq!(shown(kafka, &topic, 1, Isolation::Committed)[&0], expected, "{next}");
        assert!(old.close(LONG).await.is_complete(), "nothing is left to send");
        assert!(new.close(LONG).await.is_complete());
    }
}

/// The errors of a fenced producer's transaction.
async fn fenced(next: &str, transaction: Transaction, record: Record<'static>) -> TransactionError {
    let ended = match next {
        "commit" => transaction.commit().await,
        "abort" => transaction.abort().await,
        "send_offsets" => {
            let offset = GroupOffset::new("any", 0, 1);
            let error = transaction.send_offsets([offset], Group::new("fenced")).await.expect_err("fenced");
            match transaction.produce(record.clone()).await {
                Err(ProduceError::Fatal { record: back, .. }) => assert_eq!(back, record),
                other => panic!("{other:?}"),
            }
            return error;
        }
        _ => {
            match transaction.send(record.clone()).await {
                Err(SendError::Delivery(error)) => {
                    assert_eq!(error.status(), Status::NotPersisted, "{error:?}");
                    assert_eq!(error.into_record(), Some(record));
                }
                other => panic!("{other:?}"),
            }
            transaction.commit().await
        }
    };
    let (error, transaction) = ended.expect_err("fenced").into_parts();
    match transaction {
        // The lost record was reported first.
        Some(transaction) if error.remedy() == Remedy::Abort => {
            transaction.abort().await.expect_err("fenced").into_parts().0
        }
        _ => error,
    }
}

/// A record outside of transactions behind an open transaction: consumers of committed records see it after the end.
async fn stand_behind(host: &Host, kafka: &Kafka, topic: &str) {
    let plain = host.start(AioProducer::builder(Librdkafka::new(kafka.config())));
    plain.send(Record::to(topic).payload("1000")).await.expect("delivered");
}

async fn s40_a_producer_that_ends_leaves_nothing_open(host: Host) {
    let kafka = Kafka::shared();
    for ends in ["close", "drop"] {
        let (topic, id) = (kafka.topic("left", 1), kafka.fresh("left"));
        let left = producer(&host, kafka, &id);
        let transaction = left.begin().await.expect("it begins");
        transaction.send(Record::to(&topic).payload("1")).await.expect("delivered");
        stand_behind(&host, kafka, &topic).await;
        assert_eq!(shown(kafka, &topic, 1, Isolation::Committed), BTreeMap::new(), "the transaction is open");
        if ends == "close" {
            assert!(left.close(LONG).await.is_complete());
        } else {
            drop((left, transaction));
            // Its coordinator does that when the id is used again.
            producer(&host, kafka, &id).init_transactions().await.expect("it takes over");
        }
        assert_eq!(shown(kafka, &topic, 1, Isolation::Committed)[&0], [1000], "{ends}");
        assert_eq!(shown(kafka, &topic, 1, Isolation::Uncommitted)[&0], [1, 1000], "{ends}");
    }
}

async fn s40_a_transaction_that_takes_too_long_is_aborted_by_its_coordinator(host: Host) {
    let kafka = Kafka::shared();
    let (topic, id) = (kafka.topic("slow", 1), kafka.fresh("slow"));
    let mut config = config(kafka, &id);
    // Whether it is still open here depends on the machine's speed.
    config.set("transaction.timeout.ms", "5000");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(Record::to(&topic).payload("1")).await.expect("delivered");
    stand_behind(&host, kafka, &topic).await;
    host.until(|| !shown(kafka, &topic, 1, Isolation::Committed).is_empty()).await;
    let error = transaction.commit().await.expect_err("it was aborted");
    assert_eq!(error.remedy(), Remedy::GiveUp, "its coordinator has fenced it: {error:?}");
    assert_eq!(shown(kafka, &topic, 1, Isolation::Committed)[&0], [1000]);
}

async fn s37_a_commit_fails_if_the_broker_refused_a_record(host: Host) {
    let kafka = Kafka::shared();
    let (topic, id) = (kafka.topic_with("limited", 1, &[("max.message.bytes", "10000")]), kafka.fresh("refused"));
    let producer = producer(&host, kafka, &id);
    let transaction = producer.begin().await.expect("it begins");
    transaction.send(Record::to(&topic).payload("1")).await.expect("delivered");
    match transaction.send(Record::to(&topic).payload(vec![b'2'; 20_000])).await {
        Err(SendError::Delivery(error)) => assert_eq!(error.kind(), FailureKind::TooLarge, "{error}"),
        other => panic!("{other:?}"),
    }
    let error = transaction.commit().await.expect_err("a record was not delivered");
    assert_eq!(error.remedy(), Remedy::Abort, "{error:?}");
    error.into_transaction().expect("to be aborted").abort().await.expect("aborted");
    // librdkafka leaves the refused record's sequence number out: the broker may refuse the next transaction for that.
    while !whole(&producer, &topic, 1).await {}
    assert_eq!(shown(kafka, &topic, 1, Isolation::Committed)[&0], (20..40).collect::<Vec<_>>());
}

/// The coordinator's knowledge of a transaction and its partitions outlives the broker's process.
async fn a_transaction_goes_on_when_its_broker_comes_back(host: Host) {
    let kafka = Arc::new(smol::unblock(Kafka::start).await);
    still_waiting();
    let topic = kafka.topic("lasting", 1);
    let producer = producer(&host, &kafka, "lasting");
    let mut n = 0;
    for (down, ends) in [(Kafka::kill as fn(&Kafka), "commit"), (Kafka::stop, "abort"), (Kafka::kill, "commit")] {
        let transaction = producer.begin().await.expect("it begins");
        for again in [true, false] {
            for _ in 0..10 {
                transaction.send(Record::to(&topic).payload(n.to_string())).await.expect("delivered");
                n += 1;
            }
            if again {
                let kafka = Arc::clone(&kafka);
                smol::unblock(move || {
                    down(&kafka);
                    kafka.start_again();
                })
                .await;
                still_waiting();
            }
        }
        match ends {
            "commit" => transaction.commit().await.expect("committed"),
            _ => transaction.abort().await.expect("aborted"),
        }
    }
    let expected: Vec<_> = (0..20).chain(40..60).collect();
    assert_eq!(shown(&kafka, &topic, 1, Isolation::Committed)[&0], expected);
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s40_a_transaction_outlives_the_broker_s_process() {
    executor::run::<TokioMulti, _>(a_transaction_goes_on_when_its_broker_comes_back);
}

/// Any answer of the broker may get lost, for example that to a commit. Then librdkafka retries, or the error says what to do.
async fn s40_what_is_committed_while_answers_get_lost_is_there_once(host: Host) {
    const LOSSES: usize = 10;
    let kafka = Kafka::shared();
    let (topic, id) = (kafka.topic("unheard", 1), kafka.fresh("unheard"));
    let mut config = config_for(kafka.proxied_servers());
    config.set("transactional.id", &id);
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    producer.init_transactions().await.expect("it is done");
    let losses = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&losses);
    // Sooner and later, so that all kinds of answers get lost, but not so soon that none comes through.
    let trouble = smol::unblock(move || {
        while counter.load(Ordering::SeqCst) < LOSSES {
            kafka.proxy().lose_answers(1_000 + 300 * (counter.load(Ordering::SeqCst) % 5));
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut rounds = 0;
    while losses.load(Ordering::SeqCst) < LOSSES {
        rounds += usize::from(whole(&producer, &topic, rounds).await);
    }
    trouble.await;
    assert!(producer.close(LONG).await.is_complete());
    let found = shown(kafka, &topic, 1, Isolation::Committed);
    assert_eq!(found.get(&0).map_or(0, Vec::len), rounds * 20);
    assert!(found.values().all(|numbers| numbers.iter().copied().eq(0..rounds * 20)), "{found:?}");
}

/// Commits a round's records. Returns whether it did; if not, none of them is committed.
async fn whole(producer: &AioProducer, topic: &str, round: usize) -> bool {
    let transaction = producer.begin().await.expect("it begins");
    let records = (round * 20..(round + 1) * 20).map(|n| Record::to(topic).payload(n.to_string()));
    // A commit fails if one of the deliveries fails.
    drop(transaction.produce_all(records).await);
    let mut ended = transaction.commit().await;
    loop {
        let Err(error) = ended else { return true };
        match error.remedy() {
            Remedy::Resolve => ended = error.into_transaction().expect("to be resolved").commit().await,
            // It is aborted when it is dropped.
            Remedy::Abort => return false,
            remedy => panic!("{remedy:?}: {error:?}"),
        }
    }
}
