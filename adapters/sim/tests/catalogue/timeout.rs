//! S17: the delivery timeout runs from the call on, covers every stage, and is exact.

use std::time::Duration;

use aioproducer_driver::AioProducer;
use aioproducer_driver::error::{FailureKind, ProduceError, Status};
use aioproducer_sim::{Case, check};

use crate::book::{Book, To};
use crate::variant::Variant;
use crate::{MS, SECOND, builder, calm, record, swarm};

/// Between a millisecond and a second.
fn some_time(case: &Case) -> Duration {
    Duration::from_nanos(1_000_000 + case.sim().random(999_000_000))
}

#[test]
fn s17_a_record_ends_to_the_nanosecond_wherever_it_is() {
    check(calm(), |case| async move {
        let _held = case.cluster().hold("t");
        let timeout = some_time(&case);
        let backend = case.cluster().backend().queue_records(1);
        let builder = AioProducer::builder(backend).delivery_timeout(timeout).slots(2);
        let producer = builder.start(case.sim().clone()).unwrap();
        let sent = producer.produce(record(1)).await.unwrap();
        case.sim().sleep(timeout / 4).await;
        let waits = producer.produce(record(2)).await.unwrap();
        let full = case.spawn({
            let (case, producer) = (case.clone(), producer.clone());
            async move {
                case.sim().sleep(timeout / 4).await;
                let refused = producer.produce(record(3)).await;
                (case.sim().elapsed(), refused)
            }
        });
        let error = sent.await.unwrap_err();
        case.always(case.sim().elapsed() == timeout, "what the client has");
        let found = (error.kind(), error.status());
        case.always(found == (FailureKind::TimedOut, Status::PossiblyPersisted), "it may be sent yet");
        let error = waits.await.unwrap_err();
        case.always(case.sim().elapsed() == timeout + timeout / 4, "what waits in the producer");
        case.always((error.kind(), error.status()) == (FailureKind::TimedOut, Status::NotPersisted), "it is not sent");
        let (ended, outcome) = full.await;
        match outcome {
            Err(error) => {
                case.always(matches!(error, ProduceError::TimedOut(_)), "it has waited for room");
                case.always(ended == timeout / 4 * 3 + timeout - timeout / 4, "what waits for room");
            }
            // The second one's slot was free before.
            Ok(delivery) => {
                let error = delivery.await.unwrap_err();
                case.always(error.kind() == FailureKind::TimedOut, "its time is over");
                let end = timeout / 4 + timeout / 4 + timeout;
                case.always(case.sim().elapsed() == end, "the wait for room is part of its time");
            }
        }
    });
}

#[test]
fn s17_a_record_with_a_time_of_its_own_ends_by_that() {
    check(calm(), |case| async move {
        let _held = case.cluster().hold("t");
        let producer = builder(&case).slots(64).start(case.sim().clone()).unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (case, producer) = (case.clone(), producer.clone());
                // It is kept in whole milliseconds.
                let own = MS * (1 + case.sim().random(999)) as u32;
                let pause = MS * case.sim().random(20) as u32;
                case.clone().spawn(async move {
                    case.sim().sleep(pause).await;
                    let begin = case.sim().elapsed();
                    let error = producer.send(record(n).timeout(own)).await.unwrap_err();
                    case.always(error.kind() == Some(FailureKind::TimedOut), "its time is over");
                    case.always(case.sim().elapsed() == begin + own, "to the nanosecond");
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn s17_during_faults_no_record_is_late_and_each_status_is_true() {
    check(swarm().seeds(0..80), |case| async move {
        let book = Book::new(&case);
        let timeout = some_time(&case);
        let variant = Variant::new(case.cluster().backend().queue_records(6)).two_workers();
        let builder = AioProducer::builder(variant).delivery_timeout(timeout).slots(12);
        let producer = book.watch(builder.start(case.sim().clone()).unwrap());
        let mut tasks = Vec::new();
        for to in [To::Key("a"), To::Partition(0), To::Partition(1), To::Anywhere] {
            let (case, book, producer) = (case.clone(), book.clone(), producer.clone());
            tasks.push(case.clone().spawn(async move {
                for _ in 0..25 {
                    let begin = case.sim().elapsed();
                    if let Some((number, delivery)) = book.produce(&producer, "one", to).await {
                        let (inner, book) = (case.clone(), book.clone());
                        let heard = case.spawn(async move {
                            let outcome = delivery.await;
                            inner.always(inner.sim().elapsed() <= begin + timeout, "no outcome is late");
                            book.ended(number, &outcome);
                        });
                        if case.sim().random(3) == 0 {
                            heard.await;
                        }
                    }
                    case.always(case.sim().elapsed() <= begin + timeout, "no call takes longer");
                    case.sim().sleep(MS * case.sim().random(10) as u32).await;
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        case.sim().sleep(SECOND).await;
        book.audit().await;
    });
}
