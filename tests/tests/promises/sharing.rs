//! S30, S32: dropped futures cost no other task anything, and handles are shared freely.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use aioproducer_driver::{AioProducer, Delivery, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s30_a_produce_dropped_at_any_poll_costs_no_bystander,
    s30_a_cancelled_produce_loses_none_of_its_batch,
    s30_a_cancelled_produce_loses_no_other_record_on_a_broker,
    s30_every_future_may_be_dropped_at_any_poll,
    s32_clones_are_shared_across_tasks_and_threads,
    s32_the_last_handle_ends_the_producer,
    s32_a_waker_that_panics_disturbs_no_other_task,
}

/// Polls `future` at most `polls` times and yields in between, then drops it.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

async fn s30_a_produce_dropped_at_any_poll_costs_no_bystander(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(4).batch_records(2));
    let served = script.serve(&host);
    let bystanders: Vec<_> = (0..6)
        .map(|task| {
            let producer = producer.clone();
            host.spawn(async move {
                for n in 0..100 {
                    let record = Record::to("t").payload(format!("bystander-{task}-{n}"));
                    producer.send(record).await.expect("a bystander's record");
                }
            })
        })
        .collect();
    let cancelled: Vec<_> = (0..4)
        .map(|task| {
            let producer = producer.clone();
            host.spawn(async move {
                let mut kept: Vec<(String, Delivery)> = Vec::new();
                for n in 0..200 {
                    let text = format!("cancelled-{task}-{n}");
                    let record = Record::to("t").payload(&text);
                    if let Some(accepted) = polled(producer.produce(record), n % 5).await {
                        kept.push((text, accepted.expect("accepted")));
                    }
                    smol::future::yield_now().await;
                }
                let mut sent = Vec::new();
                for (text, delivery) in kept {
                    delivery.await.expect("delivered");
                    sent.push(text);
                }
                sent
            })
        })
        .collect();
    for bystander in bystanders {
        bystander.join().await;
    }
    let mut expected: Vec<_> = (0..6).flat_map(|task| (0..100).map(move |n| format!("bystander-{task}-{n}"))).collect();
    for task in cancelled {
        expected.extend(task.join().await);
    }
    assert!(producer.close(Duration::MAX).await.is_complete());
    served.join().await;
    let mut found: Vec<_> = script.log().iter().map(|seen| seen.text().to_owned()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "each accepted record once, and no dropped one");
    let statistics = producer.statistics();
    assert_eq!((statistics.in_use, statistics.bytes, statistics.waiters), (0, 0, 0));
    assert_eq!((statistics.high_water, statistics.stale_reports), (4, 0));
}

/// With the Python producer one cancelled produce lost three bystanders in its batch.
async fn s30_a_cancelled_produce_loses_none_of_its_batch(host: Host) {
    let script = Script::new();
    let producer =
        host.start(AioProducer::builder(script.backend()).linger(Duration::from_secs(3600)).batch_records(4));
    let mut sent: Vec<_> =
        (0..4).map(|n| Observed::new(producer.send(Record::to("t").payload(n.to_string())))).collect();
    assert!(sent.iter_mut().all(Observed::is_pending));
    drop(sent.remove(1));
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["0", "1", "2", "3"], "it was accepted, so it goes its way");
    script.deliver(&taken);
    for sent in sent {
        sent.ready().expect("a bystander's record");
    }
    assert_eq!(producer.statistics().in_use, 0);
}

async fn s30_a_cancelled_produce_loses_no_other_record_on_a_broker(host: Host) {
    let broker = broker::start_with_topic("cancelled", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(8));
    let canceller = {
        let producer = producer.clone();
        host.spawn(async move {
            for n in 0..300 {
                drop(polled(producer.produce(Record::to("cancelled").payload("x")), n % 4).await);
                drop(polled(producer.send(Record::to("cancelled").payload("x")), n % 4).await);
                smol::future::yield_now().await;
            }
        })
    };
    for n in 0..300 {
        let record = Record::to("cancelled").key("bystander").payload(n.to_string());
        producer.send(record).await.expect("a bystander's record");
    }
    canceller.join().await;
    assert!(producer.close(Duration::from_secs(50)).await.is_complete());
    assert_eq!((producer.statistics().in_use, producer.statistics().waiters), (0, 0));
    let log = broker::read_back(&broker, "cancelled", 1);
    assert_eq!(log.len() as u64, producer.statistics().acquired);
    let found: Vec<_> = log.iter().filter(|logged| logged.key.is_some()).map(|logged| logged.text()).collect();
    assert_eq!(found, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn s30_every_future_may_be_dropped_at_any_poll(host: Host) {
    for polls in 0..6 {
        let script = Script::new();
        let producer = host.start(AioProducer::builder(script.backend()).slots(2));
        let record = |n: usize| Record::to("t").payload(n.to_string());
        let bystander = at_once(producer.produce(record(0))).expect("accepted");
        drop(polled(producer.produce_all((1..9).map(|n| Record::to("t").payload(n.to_string()))), polls).await);
        drop(polled(producer.send(record(10)), polls).await);
        let _ = polled(producer.flush(), polls).await;
        let _ = polled(producer.flush().within(Duration::from_secs(3600)), polls).await;
        let mut last = Observed::new(producer.send(record(11)));
        let _ = last.poll();
        script.serve(&host);
        bystander.await.expect("a bystander's record");
        last.into_future().await.expect("a bystander's record");
        assert!(producer.flush().await.is_ok());
        let log = script.log();
        assert_eq!((log[0].text(), log.last().expect("records").text()), ("0", "11"), "{polls} polls");
        assert_eq!(log.len() as u64, producer.statistics().acquired);
        drop(polled(producer.close(Duration::MAX), polls).await);
        assert!(producer.close(Duration::MAX).await.is_complete());
        assert_eq!((producer.statistics().in_use, producer.statistics().waiters), (0, 0));
    }
}

async fn s32_clones_are_shared_across_tasks_and_threads(host: Host) {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    const EACH: usize = 200;

    let broker = broker::start_with_topic("shared", 8);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).slots(64));
    is_shared(&producer);
    let work = |producer: AioProducer, partition: i32| async move {
        for n in 0..EACH {
            let record = Record::to("shared").partition(partition).payload(n.to_string());
            drop(producer.produce(record).await.expect("accepted"));
        }
        producer.flush().await.expect("flushed");
    };
    let tasks: Vec<_> = (0..4).map(|partition| host.spawn(work(producer.clone(), partition))).collect();
    let threads: Vec<_> = (4..8)
        .map(|partition| {
            let work = work(producer.clone(), partition);
            // These threads have no runtime.
            std::thread::spawn(move || smol::future::block_on(work))
        })
        .collect();
    for task in tasks {
        task.join().await;
    }
    for thread in threads {
        host.until(|| thread.is_finished()).await;
        thread.join().expect("a thread's records");
    }
    assert!(producer.is_empty());
    let mut found = BTreeMap::<i32, Vec<usize>>::new();
    for logged in broker::read_back(&broker, "shared", 8) {
        found.entry(logged.partition).or_default().push(logged.text().parse().unwrap());
    }
    assert_eq!(found.len(), 8);
    for (partition, found) in found {
        assert_eq!(found, (0..EACH).collect::<Vec<_>>(), "partition {partition}: each caller's order");
    }
}

async fn s32_the_last_handle_ends_the_producer(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let clones: Vec<_> = (0..10).map(|_| producer.clone()).collect();
    drop(producer);
    let delivery = at_once(clones[3].produce(Record::to("t").payload("x"))).expect("accepted");
    assert_eq!(clones[7].len(), 1, "clones share everything");
    let taken = script.accept().await;
    script.deliver(&taken);
    delivery.await.expect("delivered");
    assert_eq!(script.shut_downs(), 0);
    drop(clones);
    assert_eq!(script.shut_downs(), 1);
}

/// Panics instead of waking a task.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics, as the test has it");
    }
}

async fn s32_a_waker_that_panics_disturbs_no_other_task(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut first = pin!(at_once(producer.produce(Record::to("t"))).expect("accepted"));
    let waker = Waker::from(Arc::new(Panics));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut second = Observed::new(at_once(producer.produce(Record::to("t"))).expect("accepted"));
    assert!(second.is_pending());
    let seen = script.accept().await;
    // As on a backend's thread, which has to go on.
    script.deliver(&seen);
    assert_eq!(second.wakes(), 1);
    assert_eq!([first.await, second.ready()].map(|outcome| outcome.expect("delivered").offset()), [Some(0), Some(1)]);
}
