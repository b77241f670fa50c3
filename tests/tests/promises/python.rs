//! Behaviours from the Python producer's tests that no other module shows. `docs/python-tests.md` lists all of them.

use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, texts};

promises! {
    s11_of_150_records_at_once_the_first_100_are_a_batch,
    s11_a_record_of_5_mb_among_small_ones_keeps_its_place,
    s12_five_records_of_two_topics_are_batches_of_three_and_two,
    s13_three_records_in_batches_of_one_are_three_batches,
    s16_a_batch_that_goes_whole_puts_nothing_back,
    s22_defaults_are_the_documented_ones_and_all_is_empty,
    s23_a_flush_of_nothing_is_done_at_once_and_does_not_reach_the_backend,
}

const LONG: Duration = Duration::from_secs(3600);

async fn s11_of_150_records_at_once_the_first_100_are_a_batch(host: Host) {
    let script = Script::new();
    let producer =
        host.start(AioProducer::builder(script.backend()).linger(LONG).send_lingers(true).batch_records(100));
    let mut sent: Vec<_> = (0..150).map(|n| Observed::new(producer.send(numbered(n)))).collect();
    assert!(sent.iter_mut().all(|sent| sent.poll_in_turn().is_pending()));
    let first = script.accept().await;
    assert_eq!(texts(&first), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(script.take().is_none(), "50 are not enough");
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    let rest = script.accept().await;
    assert_eq!(texts(&rest), (100..150).map(|n| n.to_string()).collect::<Vec<_>>());
    script.deliver(first.iter().chain(&rest));
    flush.ready().expect("flushed");
    for (offset, sent) in (0..).zip(sent) {
        assert_eq!(sent.ready().expect("delivered").offset(), Some(offset));
    }
    assert_eq!(producer.statistics().batches, 2);
}

async fn s11_a_record_of_5_mb_among_small_ones_keeps_its_place(host: Host) {
    let script = Script::with_record_bytes(10_000_000);
    let producer = host.start(AioProducer::builder(script.backend()).batch_bytes(1 << 20));
    let sizes = [10, 20, 5_000_000, 30, 40];
    let deliveries = sizes.map(|bytes| accepted(&producer, Record::to("t").payload(vec![b'x'; bytes])));
    let mut found = Vec::new();
    while found.len() < sizes.len() {
        let taken = script.accept().await;
        let bytes: usize = taken.iter().map(|record| record.text().len()).sum();
        assert!(bytes <= 1 << 20 || taken.len() == 1, "a larger one goes alone");
        found.extend(taken.iter().map(|record| record.text().len()));
        script.deliver(&taken);
    }
    assert_eq!(found, sizes);
    for (offset, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.await.expect("delivered").offset(), Some(offset));
    }
}

async fn s12_five_records_of_two_topics_are_batches_of_three_and_two(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let _deliveries: Vec<_> = (0..5)
        .map(|n: usize| {
            let topic = if n.is_multiple_of(2) { "even" } else { "odd" };
            accepted(&producer, Record::to(topic).key(n.to_string()).payload(n.to_string()))
        })
        .collect();
    let even = script.next().await.expect("a batch");
    let odd = script.next().await.expect("another");
    assert_eq!((texts(even.records()), texts(odd.records())), (vec!["0", "2", "4"], vec!["1", "3"]));
    for (hand, topic) in [(&even, "even"), (&odd, "odd")] {
        assert_eq!((hand.batch().lane().partition(), hand.batch().len()), (None, hand.records().len()));
        for record in hand.records() {
            assert_eq!((record.topic.as_str(), record.partition), (topic, None));
            assert_eq!(record.key, record.payload);
        }
    }
    assert!(script.take().is_none(), "and that is all");
}

async fn s13_three_records_in_batches_of_one_are_three_batches(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(1));
    let served = script.serve(&host);
    let sent = [0, 1, 2].map(|n| {
        let producer = producer.clone();
        host.spawn(async move { producer.send(numbered(n)).await.expect("delivered") })
    });
    for task in sent {
        task.join().await;
    }
    assert_eq!(producer.statistics().batches, 3);
    assert!(producer.close(LONG).await.is_complete());
    served.join().await;
}

async fn s16_a_batch_that_goes_whole_puts_nothing_back(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let deliveries = [0, 1, 2].map(|n| accepted(&producer, numbered(n)));
    let taken = script.next().await.expect("a batch").refuse_after(3);
    assert_eq!((producer.statistics().buffered, producer.statistics().handed_off), (0, 3));
    assert!(script.take().is_none());
    script.deliver(&taken);
    for delivery in deliveries {
        delivery.await.expect("delivered");
    }
    assert_eq!((producer.len(), producer.statistics().stale_reports), (0, 0));
}

async fn s22_defaults_are_the_documented_ones_and_all_is_empty(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let found = producer.statistics();
    assert_eq!((found.capacity, found.in_use, found.high_water, found.bytes), (65_536, 0, 0, 0));
    assert_eq!((found.buffered, found.handed_off, found.acquired, found.batches), (0, 0, 0, 0));
    assert_eq!((found.stale_reports, found.waiters), (0, 0));
    assert!(producer.is_empty() && !producer.is_closed());
    assert!(script.take().is_none(), "nothing makes no batch");
    // Without linger a record goes as soon as a worker takes it, at most 1,024 at once.
    let _deliveries: Vec<_> = (0..1_025).map(|n| accepted(&producer, numbered(n))).collect();
    assert_eq!(script.accept().await.len(), 1_024);
    assert_eq!(script.accept().await.len(), 1);
}

/// Python's manager always flushes the client. Here the client has only records that were accepted before.
async fn s23_a_flush_of_nothing_is_done_at_once_and_does_not_reach_the_backend(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    assert!(at_once(producer.flush()).is_ok());
    assert_eq!(script.flushes(), 0);
    let delivery = accepted(&producer, numbered(0));
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending() && flush.is_pending());
    assert_eq!(script.flushes(), 1, "once, however often it is polled");
    let taken = script.accept().await;
    script.deliver(&taken);
    flush.ready().expect("flushed");
    delivery.await.expect("delivered");
    assert!(at_once(producer.flush()).is_ok());
    assert_eq!(script.flushes(), 1);
}
