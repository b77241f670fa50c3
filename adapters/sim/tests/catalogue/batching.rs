//! S11 to S13: when a batch is cut.

use std::time::Duration;

use aioproducer_driver::AioProducer;
use aioproducer_sim::{Case, Plan, SimBackend, check};

use crate::{MS, TRIP, builder, calm, record};

const LINGER: Duration = Duration::from_millis(50);

fn lingering(case: &Case) -> aioproducer_driver::Builder<SimBackend> {
    builder(case).linger(LINGER)
}

/// A record to the topic `t`, and when it is delivered.
fn delivered_at(case: &Case, producer: &AioProducer, n: u64) -> aioproducer_sim::Joined<Duration> {
    let (case, producer) = (case.clone(), producer.clone());
    case.clone().spawn(async move {
        producer.produce(record(n)).await.unwrap().await.unwrap();
        case.sim().elapsed()
    })
}

#[test]
fn s11_later_records_do_not_postpone_the_end_of_a_linger() {
    check(calm(), |case| async move {
        let producer = lingering(&case).start(case.sim().clone()).unwrap();
        let pause = Duration::from_micros(1 + case.sim().random(20_000));
        let mut deliveries = Vec::new();
        for n in 0..12 {
            deliveries.push((case.sim().elapsed(), delivered_at(&case, &producer, n)));
            case.sim().sleep(pause).await;
        }
        let mut oldest = Duration::ZERO;
        for (produced, delivered) in deliveries {
            if produced > oldest + LINGER {
                oldest = produced;
            }
            let delivered = delivered.await;
            // The client has one request of a partition under way at a time.
            case.always(delivered <= oldest + LINGER + 2 * TRIP, "no batch waits longer than its linger");
            case.always(delivered >= oldest + LINGER + TRIP, "and none is cut early");
        }
    });
}

#[test]
fn s11_many_lanes_end_their_linger_each_at_its_own_time() {
    check(Plan::calm().topic("t", 8).seeds(0..20), |case| async move {
        let producer = lingering(&case).start(case.sim().clone()).unwrap();
        let mut tasks = Vec::new();
        for partition in 0..8 {
            let (case, producer) = (case.clone(), producer.clone());
            let before = MS * case.sim().random(100) as u32;
            tasks.push(case.clone().spawn(async move {
                case.sim().sleep(before).await;
                for n in 0..4 {
                    let begin = case.sim().elapsed();
                    producer.produce(record(n).partition(partition)).await.unwrap().await.unwrap();
                    case.always(case.sim().elapsed() == begin + LINGER + TRIP, "to the nanosecond");
                }
            }));
        }
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn s11_count_bytes_urgency_and_a_flush_cut_a_batch_at_once() {
    check(calm(), |case| async move {
        let start = |builder: aioproducer_driver::Builder<SimBackend>| builder.start(case.sim().clone()).unwrap();
        let by_count = start(lingering(&case).batch_records(3));
        let by_bytes = start(lingering(&case).batch_bytes(500));
        let others = start(lingering(&case));
        let at_once = |begin: Duration, what| case.always(case.sim().elapsed() <= begin + 2 * TRIP, what);
        let begin = case.sim().elapsed();
        let full = by_count.produce_all([1, 2, 3].map(record)).await;
        case.always(full.iter().all(Result::is_ok), "they are delivered");
        at_once(begin, "a batch that is full by count");
        let begin = case.sim().elapsed();
        let large = record(1).header("filling", vec![b'x'; 600]);
        by_bytes.produce(large).await.unwrap().await.unwrap();
        at_once(begin, "a batch that is full by bytes");
        let begin = case.sim().elapsed();
        let first = others.produce(record(1)).await.unwrap();
        others.produce(record(2).urgent()).await.unwrap().await.unwrap();
        first.await.unwrap();
        at_once(begin, "an urgent record and those before it");
        let begin = case.sim().elapsed();
        let first = others.produce(record(3)).await.unwrap();
        others.flush().await.unwrap();
        first.await.unwrap();
        at_once(begin, "a flush");
        let begin = case.sim().elapsed();
        others.send(record(4)).await.unwrap();
        at_once(begin, "a send waits for its record, so it does not linger");
    });
}

#[test]
fn s12_a_flush_of_one_topic_lets_the_others_linger() {
    check(calm().topic("other", 1), |case| async move {
        let producer = lingering(&case).start(case.sim().clone()).unwrap();
        let other = aioproducer_driver::Record::to("other").payload("1");
        let lingers = producer.produce(other).await.unwrap();
        let flushed = producer.produce(record(1)).await.unwrap();
        producer.flush().topic("t").await.unwrap();
        case.always(case.sim().elapsed() == TRIP, "the topic goes at once");
        flushed.await.unwrap();
        lingers.await.unwrap();
        case.always(case.sim().elapsed() == LINGER + TRIP, "the other does not");
    });
}

#[test]
fn s13_without_linger_a_record_goes_at_once() {
    check(calm(), |case| async move {
        let producer = builder(&case).linger(Duration::ZERO).batch_records(1).start(case.sim().clone()).unwrap();
        for n in 0..10 {
            producer.produce(record(n)).await.unwrap().await.unwrap();
            case.always(case.sim().elapsed() == TRIP * (n + 1), "there and back");
            case.always(producer.statistics().batches == u64::from(n) + 1, "each in a batch");
        }
    });
}
