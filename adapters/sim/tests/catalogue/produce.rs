//! S1 to S3, S7, S8, S10, S15, S32: records go in, and each has its own outcome.

use aioproducer_driver::Record;
use aioproducer_driver::error::{ErrorCode, FailureKind, ProduceError, SendError, Status};
use aioproducer_sim::{Produce, check};

use crate::book::{Book, To};
use crate::{SECOND, TRIP, builder, calm, record, swarm};

#[test]
fn s01_a_record_is_accepted_at_once_while_there_is_room() {
    check(calm(), |case| async move {
        let producer = case.producer();
        let mut deliveries = Vec::new();
        for n in 0..50 {
            deliveries.push(producer.produce(record(n)).await.unwrap());
        }
        case.always(case.sim().elapsed().is_zero(), "nothing waits");
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        case.always(case.sim().elapsed() <= 2 * TRIP, "all are delivered after one request, or two");
    });
}

#[test]
fn s02_try_produce_never_waits_and_hands_back() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let producer = book.watch(builder(&case).slots(4).start(case.sim().clone()).unwrap());
        let mut deliveries = Vec::new();
        for _ in 0..60 {
            let (number, record) = book.record("one", To::Key("a"));
            let before = case.sim().elapsed();
            match producer.try_produce(record) {
                Ok(delivery) => deliveries.push((number, delivery)),
                Err(error) => {
                    case.always(matches!(error, ProduceError::Full(_)), "the pool is full");
                    case.always(producer.statistics().in_use == 4, "and nothing else is refused");
                    book.returned(number, error.record());
                    case.sim().sleep(TRIP * case.sim().random(20) as u32).await;
                }
            }
            case.always(before <= case.sim().elapsed(), "time does not run back");
        }
        for (number, delivery) in deliveries {
            book.hear(number, delivery).await;
        }
        book.audit().await;
    });
}

#[test]
fn s03_a_report_says_where_each_part_of_the_record_is() {
    check(swarm().seeds(0..20), |case| async move {
        let producer = case.producer();
        for n in 0..5_i64 {
            let record = record(n).key("k").partition(2).timestamp_millis(1000 + n).header("h", "1").null_header("h");
            let report = producer.send(record).await.unwrap();
            case.always(
                (report.partition(), report.timestamp_millis()) == (2, Some(1000 + n)),
                "it is the record's own",
            );
            let log = case.cluster().topic("t").records();
            let Some(found) = log.iter().find(|found| report.offset() == Some(found.offset())) else {
                return case.always(false, "the offset is in the log");
            };
            let headers = [("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), None)];
            case.always(found.headers() == headers && found.key_str() == Some("k"), "all parts are as they were given");
            case.always(found.payload_str() == Some(&n.to_string()), "the payload, too");
        }
    });
}

#[test]
fn s07_s15_each_record_of_produce_all_has_its_own_outcome() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let producer = book.watch(builder(&case).slots(16).start(case.sim().clone()).unwrap());
        let tasks: Vec<_> = (0..2)
            .map(|task| {
                let (case, book, producer) = (case.clone(), book.clone(), producer.clone());
                case.clone().spawn(async move {
                    // Each seventh goes to a partition that does not exist, and fails alone.
                    let to = |n| To::Partition(if n % 7 == 3 { 9 } else { n % 3 });
                    let records: Vec<_> = (0..30).map(|n| book.record(&format!("task {task}"), to(n))).collect();
                    let (numbers, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
                    let outcomes = producer.produce_all(records).await;
                    case.always(outcomes.len() == numbers.len(), "each record has an outcome");
                    for ((number, n), outcome) in numbers.into_iter().zip(0..).zip(outcomes) {
                        let kind = outcome.as_ref().err().and_then(SendError::kind);
                        let fails = (n % 7 == 3).then_some(FailureKind::UnknownPartition);
                        case.always(kind == fails, "only an unknown partition fails");
                        book.sent(number, outcome);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        book.audit().await;
    });
}

#[test]
fn s10_after_the_close_a_record_comes_back() {
    check(calm(), |case| async move {
        let producer = case.producer();
        producer.send(record(1)).await.unwrap();
        producer.close(SECOND).await;
        for error in [producer.produce(record(2)).await.unwrap_err(), producer.try_produce(record(2)).unwrap_err()] {
            let is_closed = matches!(error, ProduceError::Closed(_));
            case.always(is_closed && error.into_record().get_payload() == Some(b"2"), "it is closed");
        }
    });
}

#[test]
fn s19_a_fatal_error_fails_what_waits_and_refuses_the_rest() {
    check(calm(), |case| async move {
        let producer = case.producer();
        case.cluster().on(Produce).once().answer(ErrorCode::OutOfOrderSequenceNumber);
        let mut deliveries = Vec::new();
        for n in 0..10 {
            deliveries.push(producer.produce(record(n)).await.unwrap());
            case.sim().sleep(TRIP / 2 * case.sim().random(2) as u32).await;
            if producer.is_closed() {
                break;
            }
        }
        for delivery in deliveries {
            if let Err(error) = delivery.await {
                case.always(error.kind() == FailureKind::Fatal, "the reason is the fatal error");
                case.always(error.status() != Status::Persisted && error.record().is_some(), "the record comes back");
            }
        }
        let refused = producer.produce(record(99)).await;
        case.always(matches!(refused, Err(ProduceError::Fatal { .. })), "it takes no more");
    });
}

#[test]
fn s32_several_producers_write_to_one_cluster() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let mut tasks = Vec::new();
        for number in 0..3 {
            let producer = book.watch(case.producer());
            for to in [To::Anywhere, To::Key("k"), To::Partition(1)] {
                tasks.push(case.spawn(book.clone().load(producer.clone(), format!("producer {number}"), to, 8)));
            }
        }
        for task in tasks {
            task.await;
        }
        book.audit().await;
    });
}

#[test]
fn s08_an_empty_record_is_none_without_parts() {
    check(calm(), |case| async move {
        let producer = case.producer();
        producer.send(Record::to("t")).await.unwrap();
        producer.send(Record::to("t").key("").payload("")).await.unwrap();
        let log = case.cluster().topic("t").records();
        let parts: Vec<_> = log.iter().map(|record| (record.key(), record.payload())).collect();
        case.always(parts == [(None, None), (Some(&b""[..]), Some(&b""[..]))], "null and empty differ");
    });
}
