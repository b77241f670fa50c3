//! S23: a flush waits for what was accepted before it, and only that.

use std::time::Duration;

use aioproducer_core::FlushScope;
use aioproducer_core::TopicId;
use aioproducer_driver::AioProducer;
use aioproducer_driver::error::FlushError;
use aioproducer_driver::future::Flush;
use aioproducer_sim::check;

use crate::{MS, SECOND, builder, calm, now, record, swarm, within};

fn flush(producer: &AioProducer, scope: FlushScope) -> Flush<'_> {
    match scope {
        FlushScope::All => producer.flush(),
        FlushScope::Topic(_) => producer.flush().topic("t"),
        FlushScope::Partition(_, partition) => producer.flush().partition("t", partition),
    }
}

const SCOPES: [FlushScope; 3] = [FlushScope::All, FlushScope::Topic(TopicId(0)), FlushScope::Partition(TopicId(0), 0)];

#[test]
fn s23_during_faults_all_that_came_before_has_an_outcome() {
    check(swarm().seeds(0..60), |case| async move {
        let timeout = Duration::from_millis(200 + case.sim().random(3000));
        let linger = MS * case.sim().random(50) as u32;
        let producer = builder(&case).delivery_timeout(timeout).linger(linger).start(case.sim().clone()).unwrap();
        case.watch(&producer);
        let mut tasks = Vec::new();
        for task in 0..3 {
            let (case, producer) = (case.clone(), producer.clone());
            tasks.push(case.clone().spawn(async move {
                let mut deliveries = Vec::new();
                for n in 0..12 {
                    let record = record(n).partition(if task == 0 { 0 } else { n % 3 });
                    deliveries.push(producer.produce(record).await.unwrap());
                    case.sim().sleep(MS * case.sim().random(10) as u32).await;
                    if case.sim().random(4) == 0 {
                        // Those of task 0 are all of partition 0, so any scope counts them.
                        let scope = if task == 0 { SCOPES[case.sim().random(3) as usize] } else { FlushScope::All };
                        let (limit, before) = (MS * case.sim().random(300) as u32, case.sim().elapsed());
                        match flush(&producer, scope).within(limit).await {
                            Ok(()) => {
                                let all = deliveries.drain(..).all(|mut delivery| now(&mut delivery).is_some());
                                case.always(all, "what was accepted before the flush has its outcome");
                            }
                            Err(error) => {
                                let left = matches!(error, FlushError::Timeout { remaining } if remaining > 0);
                                case.always(left, "a flush that gives up says how many are left");
                                case.always(case.sim().elapsed() == before + limit, "and does so in time");
                            }
                        }
                    }
                }
            }));
        }
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn s23_later_records_neither_end_nor_prolong_a_flush() {
    check(calm().topic("u", 1), |case| async move {
        for scope in SCOPES {
            let producer = builder(&case).start(case.sim().clone()).unwrap();
            let held = case.cluster().hold("t");
            let earlier = producer.produce(record(1).partition(0)).await.unwrap();
            let first = held.next().await;
            let mut flushing = Box::pin(flush(&producer, scope));
            case.always(within(&case, MS, &mut flushing).await.is_none(), "its record is not delivered");
            // Later records that end before it.
            drop(producer.produce(record(2).partition(0).timeout(MS * 5)).await.unwrap());
            let other = aioproducer_driver::Record::to("u").payload("other");
            producer.send(other).await.unwrap();
            case.sim().sleep(MS * 20).await;
            case.always(within(&case, MS, &mut flushing).await.is_none(), "the end of later ones does not end it");
            let last = producer.produce(record(3).partition(0)).await.unwrap();
            first.deliver();
            case.always(within(&case, MS * 5, &mut flushing).await.is_some(), "later ones do not prolong it");
            earlier.await.unwrap();
            drop((flushing, held));
            last.await.unwrap();
        }
    });
}

#[test]
fn s23_a_flush_with_a_limit_ends_in_time_and_says_what_is_left() {
    check(calm(), |case| async move {
        let (producer, _held) = (case.producer(), case.cluster().hold("t"));
        let mut deliveries = Vec::new();
        for n in 0..3 {
            deliveries.push(producer.produce(record(n)).await.unwrap());
        }
        let limit = Duration::from_nanos(1 + case.sim().random(1_000_000_000));
        let flushed = producer.flush().within(limit).await;
        case.always(flushed == Err(FlushError::Timeout { remaining: 3 }), "all are left");
        case.always(case.sim().elapsed() == limit, "to the nanosecond");
    });
}

#[test]
fn s23_many_flushes_at_once_all_end() {
    check(swarm(), |case| async move {
        let producer = case.producer();
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                let (case, producer) = (case.clone(), producer.clone());
                case.clone().spawn(async move {
                    case.sim().sleep(MS * case.sim().random(20) as u32).await;
                    let mut delivery = producer.produce(record(n)).await.unwrap();
                    let scope = SCOPES[case.sim().random(2) as usize];
                    case.always(flush(&producer, scope).within(SECOND * 119).await.is_ok(), "it ends");
                    case.always(now(&mut delivery).is_some(), "with its record");
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
}
