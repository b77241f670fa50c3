//! S11–S14: what goes into one batch, and when.

use std::pin::pin;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_core::{BatchError, BatchLimits, CutReason, Lane, MessageBatch, TopicId};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, poll_once};
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure, texts};
use aioproducer_tests::{broker, promises};
use smol::future::{self, FutureExt};

promises! {
    s11_a_full_count_is_cut,
    s11_a_full_count_of_bytes_is_cut,
    s11_a_flush_cuts_the_linger,
    s11_a_single_send_does_not_wait_for_more_records,
    s11_the_oldest_record_s_age_cuts_under_steady_traffic,
    s11_steady_traffic_with_linger_reaches_the_broker,
    s11_without_linger_an_idle_executor_is_handed_what_there_is,
    s12_a_batch_has_one_lane_and_keeps_its_order,
    s12_a_lane_that_is_out_is_not_handed_out_again,
    s13_linger_zero_and_batches_of_one_resolve_at_once,
    s13_linger_zero_and_batches_of_one_on_a_broker,
    s11_an_urgent_record_does_not_linger,
}

const LONG: Duration = Duration::from_secs(3600);

fn sized(text: &str, bytes: usize) -> Record<'static> {
    Record::to("t").payload(format!("{text:<bytes$}"))
}

async fn s11_a_full_count_is_cut(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).batch_records(3));
    let _first = accepted(&producer, sized("a", 1));
    let _second = accepted(&producer, sized("b", 1));
    assert!(script.take().is_none(), "two of three linger");
    let wakes = script.wakes();
    let _third = accepted(&producer, sized("c", 1));
    assert_eq!(script.wakes(), wakes + 1);
    let _fourth = accepted(&producer, sized("d", 1));
    let hand = script.take().expect("a full batch");
    assert_eq!((hand.batch().len(), hand.batch().reason()), (3, CutReason::Count));
    assert_eq!(texts(&hand.accept()), ["a", "b", "c"]);
    assert!(script.take().is_none(), "the fourth lingers");
}

async fn s11_a_full_count_of_bytes_is_cut(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG).batch_bytes(100));
    let _first = accepted(&producer, sized("a", 40));
    let _second = accepted(&producer, sized("b", 40));
    assert!(script.take().is_none(), "80 of 100 bytes linger");
    let _third = accepted(&producer, sized("c", 40));
    let hand = script.take().expect("a full batch");
    assert_eq!((hand.batch().len(), hand.batch().bytes(), hand.batch().reason()), (2, 80, CutReason::Bytes));
    hand.accept();
    assert!(script.take().is_none(), "the third lingers");
    // A record above the limit goes alone.
    let _large = accepted(&producer, sized("d", 150));
    let lens: Vec<_> = std::iter::from_fn(|| script.take()).map(|hand| hand.accept().len()).collect();
    assert_eq!(lens, [1, 1]);
}

async fn s11_a_single_send_does_not_wait_for_more_records(host: Host) {
    for send_lingers in [false, true] {
        let script = Script::new();
        let builder = AioProducer::builder(script.backend()).linger(LONG).send_lingers(send_lingers);
        let producer = host.start(builder);
        let _company = accepted(&producer, sized("a", 1));
        let mut sent = Observed::new(producer.send(sized("b", 1)));
        assert!(sent.is_pending());
        if send_lingers {
            assert!(script.take().is_none(), "both linger");
            continue;
        }
        let hand = script.take().expect("a batch");
        assert_eq!(hand.batch().reason(), CutReason::Flush);
        let taken = hand.accept();
        assert_eq!(texts(&taken), ["a", "b"]);
        script.deliver([&taken[0]]);
        script.fail(&taken[1], failure(FailureKind::Broker, Status::NotPersisted));
        let error = sent.ready().expect_err("it failed");
        assert_eq!(error.into_record(), Some(sized("b", 1)), "as it was, so not urgent");
        let refused = Observed::new(producer.send(sized("c", 1).partition(-1)));
        assert_eq!(refused.ready().expect_err("no partition").into_record(), Some(sized("c", 1).partition(-1)));
    }
}

async fn s11_a_flush_cuts_the_linger(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let _deliveries = ["a", "b"].map(|text| accepted(&producer, sized(text, 1)));
    assert!(script.take().is_none());
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    let hand = script.next().await.expect("a batch");
    assert_eq!((hand.batch().len(), hand.batch().reason()), (2, CutReason::Flush));
    let taken = hand.accept();
    let _later = accepted(&producer, sized("c", 1));
    assert!(script.take().is_none(), "what comes after the flush lingers");
    script.deliver(&taken);
    flush.ready().expect("flushed");
}

/// The Python producer's timer restarts with each record: at 5 records/s and a limit of 0.5 s it sends nothing. Here the first
/// record is sent while the traffic goes on.
async fn s11_the_oldest_record_s_age_cuts_under_steady_traffic(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(Duration::from_millis(500)));
    let mut batch = pin!(script.next());
    let mut produced = Vec::new();
    let traffic = async {
        for number in 0..100 {
            produced.push(accepted(&producer, sized(&number.to_string(), 1)));
            host.pause(Duration::from_millis(200)).await;
        }
        panic!("100 records, and the first still lingers");
    };
    let hand = traffic.or(batch.as_mut()).await.expect("a batch");
    assert_eq!(hand.batch().reason(), CutReason::Linger);
    assert_eq!(hand.records()[0].text(), "0");
    assert!(hand.records().len() > 1, "the linger gathers");
}

async fn s11_steady_traffic_with_linger_reaches_the_broker(host: Host) {
    let broker = broker::start_with_topic("steady", 1);
    let builder = AioProducer::builder(broker::backend(&broker)).linger(Duration::from_millis(500));
    let producer = host.start(builder);
    let first = producer.send(Record::to("steady").payload("first"));
    let traffic = async {
        for _ in 0..100 {
            host.pause(Duration::from_millis(200)).await;
            drop(producer.produce(Record::to("steady").payload("more")).await.expect("accepted"));
        }
        panic!("100 records, and the first is not delivered");
    };
    let report = traffic.or(first).await.expect("delivered");
    assert_eq!(report.offset(), Some(0));
}

async fn s11_without_linger_an_idle_executor_is_handed_what_there_is(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    assert!(script.take().is_none());
    let wakes = script.wakes();
    let _first = accepted(&producer, sized("a", 1));
    assert_eq!(script.wakes(), wakes + 1, "an idle worker is woken for the first record");
    let hand = script.take().expect("it is handed over at once");
    assert_eq!((texts(hand.records()), hand.batch().reason()), (vec!["a"], CutReason::Idle));
    // While the worker is busy, records accumulate and no worker is woken.
    let _rest = ["b", "c", "d"].map(|text| accepted(&producer, sized(text, 1)));
    assert_eq!(script.wakes(), wakes + 1);
    hand.accept();
    assert_eq!(texts(&script.take().expect("what gathered").accept()), ["b", "c", "d"]);
}

async fn s12_a_batch_has_one_lane_and_keeps_its_order(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(7));
    let lanes = [("a", None), ("a", Some(0)), ("a", Some(1)), ("b", None), ("b", Some(0))];
    for number in 0..200 {
        let (topic, partition) = lanes[number * 7 % 5];
        let record = Record::to(topic).payload(number.to_string());
        let record = if let Some(partition) = partition { record.partition(partition) } else { record };
        drop(accepted(&producer, record));
    }
    let mut found = vec![Vec::new(); lanes.len()];
    while let Some(hand) = script.take() {
        let lane = hand.batch().lane();
        assert!(hand.batch().len() <= 7);
        for record in hand.accept() {
            assert_eq!(record.partition, lane.partition());
            let at = lanes.iter().position(|(topic, p)| (*topic, *p) == (record.topic.as_str(), record.partition));
            found[at.expect("one of the lanes")].push(record.text().parse::<usize>().unwrap());
        }
    }
    for (at, found) in found.into_iter().enumerate() {
        assert_eq!(found, (0..200).filter(|number| number * 7 % 5 == at).collect::<Vec<_>>());
    }
}

async fn s12_a_lane_that_is_out_is_not_handed_out_again(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).batch_records(2));
    for number in 0..4 {
        drop(accepted(&producer, Record::to("a").payload(number.to_string())));
    }
    drop(accepted(&producer, Record::to("b").payload("other")));
    let first = script.take().expect("a batch");
    let second = script.take().expect("another lane's batch");
    assert_eq!((texts(first.records()), texts(second.records())), (vec!["0", "1"], vec!["other"]));
    assert!(script.take().is_none(), "a second worker gets nothing of a lane that is out");
    first.accept();
    assert_eq!(texts(&script.take().expect("the rest").accept()), ["2", "3"]);
}

/// With batches of one and a timeout of zero the Python producer does not resolve in 20 s.
async fn s13_linger_zero_and_batches_of_one_resolve_at_once(host: Host) {
    let script = Script::new();
    let builder = AioProducer::builder(script.backend()).batch_records(1).linger(Duration::ZERO);
    let producer = host.start(builder);
    let mut sent: Vec<_> = ["a", "b", "c"].map(|text| Box::pin(producer.send(sized(text, 1)))).into();
    assert!(sent.iter_mut().all(|sent| poll_once(sent).is_pending()));
    let served = script.serve(&host);
    for (offset, sent) in sent.into_iter().enumerate() {
        assert_eq!(sent.await.expect("delivered").offset(), Some(offset as i64));
    }
    assert_eq!(producer.statistics().batches, 3);
    producer.close(Duration::MAX).await;
    served.join().await;
}

async fn s13_linger_zero_and_batches_of_one_on_a_broker(host: Host) {
    let broker = broker::start_with_topic("ones", 1);
    let builder = AioProducer::builder(broker::backend(&broker)).batch_records(1).linger(Duration::ZERO);
    let producer = host.start(builder);
    let one = producer.send(Record::to("ones").payload("1"));
    let two = producer.send(Record::to("ones").payload("2"));
    let (one, two) = future::zip(one, two).await;
    assert_eq!((one.expect("delivered").offset(), two.expect("delivered").offset()), (Some(0), Some(1)));
    assert_eq!(producer.statistics().batches, 2);
}

const LIMITS: BatchLimits = BatchLimits { records: 3, bytes: 100 };

fn lane(partition: i32) -> Lane {
    Lane::new(TopicId(1), Some(partition))
}

fn create(records: &[(Lane, usize)]) -> Result<MessageBatch, BatchError> {
    MessageBatch::create(LIMITS, lane(0), CutReason::Count, records.iter().copied())
}

#[test]
fn s14_a_batch_s_factory_refuses_what_no_batch_may_be() {
    assert_eq!(create(&[]), Err(BatchError::Empty));
    let mixed = create(&[(lane(0), 1), (lane(1), 1)]);
    assert_eq!(mixed, Err(BatchError::MixedLanes { batch: lane(0), record: lane(1) }));
    assert_eq!(create(&[(lane(0), 1); 4]), Err(BatchError::TooManyRecords { limit: 3 }));
    assert_eq!(create(&[(lane(0), 60); 2]), Err(BatchError::TooManyBytes { limit: 100 }));
}

#[test]
fn s14_a_batch_says_what_it_was_made_of() {
    let batch = create(&[(lane(0), 10), (lane(0), 20)]).expect("a batch");
    assert_eq!((batch.lane(), batch.len(), batch.bytes(), batch.is_empty()), (lane(0), 2, 30, false));
    assert_eq!(batch.reason(), CutReason::Count);
    // A single large record is a batch.
    assert_eq!(create(&[(lane(0), 5_000)]).expect("a batch").bytes(), 5_000);
}

async fn s11_an_urgent_record_does_not_linger(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let first = accepted(&producer, numbered(0));
    let other = accepted(&producer, Record::to("other").payload("1"));
    assert!(script.take().is_none());
    let urgent = accepted(&producer, numbered(2).urgent());
    let taken = script.accept().await;
    assert_eq!(texts(&taken), ["0", "2"]);
    assert!(script.take().is_none());
    script.deliver(&taken);
    assert!(first.await.is_ok() && urgent.await.is_ok() && other.retract().is_ok());
}
