//! With ordinary settings each record is in the log once and in order, even if answers get lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::Librdkafka;
use aioproducer_tests::broker::{Isolation, assert_no_gaps, config_for, read_log};
use aioproducer_tests::executor::{self, Host, OwnExecutor, SmolGlobal, TokioCurrent, TokioMulti, still_waiting};
use aioproducer_tests::kafka::Kafka;

const LONG: Duration = Duration::from_secs(50);
const COUNT: usize = 100_000;
const PARTITIONS: i32 = 4;

/// Records for each loss, at least.
const STRETCH: usize = 8_000;

/// Records whose answer got lost are sent again. Without idempotence they are in the log twice, and after later records.
async fn nothing_is_doubled_or_goes_backwards(host: Host, setting: Option<(&str, &str)>) {
    let kafka = Kafka::shared();
    let topic = kafka.topic("settings", PARTITIONS as usize);
    let mut config = config_for(kafka.proxied_servers());
    if let Some((key, value)) = setting {
        config.set(key, value);
    }
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)).slots(20_000));
    let record = |n: usize| Record::to(&topic).partition(n as i32 % PARTITIONS).payload(n.to_string());
    let mut deliveries = Vec::new();
    while deliveries.len() < COUNT {
        still_waiting();
        let lost = Arc::new(AtomicBool::new(false));
        let of_task = Arc::clone(&lost);
        drop(host.spawn(async move {
            smol::unblock(|| kafka.proxy().lose_answers(0)).await;
            of_task.store(true, Ordering::SeqCst);
        }));
        for n in 0.. {
            if n >= STRETCH {
                if lost.load(Ordering::SeqCst) {
                    break;
                }
                // An answer can be lost only if there is one.
                host.pause(Duration::from_millis(1)).await;
            }
            deliveries.push(producer.produce(record(deliveries.len())).await.expect("accepted"));
        }
    }
    still_waiting();
    assert!(producer.close(LONG).await.is_complete());
    still_waiting();
    let log = read_log(kafka.bootstrap_servers(), &topic, PARTITIONS, Isolation::Committed);
    assert_no_gaps(&log);
    let numbers: Vec<(i32, usize)> =
        log.iter().map(|logged| (logged.partition, logged.text().parse().expect("a number"))).collect();
    let distinct: HashSet<_> = numbers.iter().map(|(_, number)| number).collect();
    let backwards = numbers.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 >= pair[1].1).count();
    assert_eq!((numbers.len() - distinct.len(), backwards), (0, 0), "doubled, and backwards, with {setting:?}");
    assert_eq!(numbers.len(), deliveries.len());
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let report = delivery.await.unwrap_or_else(|error| panic!("{n}: {error}"));
        if let Some(offset) = report.offset() {
            let start = numbers.partition_point(|(partition, _)| *partition < report.partition());
            assert_eq!(numbers[start + offset as usize], (report.partition(), n), "{report:?}");
        }
    }
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_answers_lost_with_no_setting_double_nothing() {
    executor::run::<TokioMulti, _>(|host| nothing_is_doubled_or_goes_backwards(host, None));
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_answers_lost_with_acks_all_double_nothing() {
    executor::run::<TokioCurrent, _>(|host| nothing_is_doubled_or_goes_backwards(host, Some(("acks", "all"))));
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_answers_lost_with_acks_minus_one_double_nothing() {
    executor::run::<SmolGlobal, _>(|host| nothing_is_doubled_or_goes_backwards(host, Some(("acks", "-1"))));
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_answers_lost_with_required_acks_double_nothing() {
    executor::run::<OwnExecutor, _>(|host| {
        nothing_is_doubled_or_goes_backwards(host, Some(("request.required.acks", "all")))
    });
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_answers_lost_with_ten_retries_double_nothing() {
    executor::run::<TokioMulti, _>(|host| nothing_is_doubled_or_goes_backwards(host, Some(("retries", "10"))));
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_answers_lost_with_five_in_flight_double_nothing() {
    executor::run::<SmolGlobal, _>(|host| nothing_is_doubled_or_goes_backwards(host, Some(("max.in.flight", "5"))));
}

#[test]
#[ignore = "needs a Kafka broker: checks/kafka/check.sh"]
fn s18_answers_lost_with_fifo_queues_double_nothing() {
    executor::run::<OwnExecutor, _>(|host| {
        nothing_is_doubled_or_goes_backwards(host, Some(("queuing.strategy", "fifo")))
    });
}
