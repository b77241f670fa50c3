//! The records that an embedded broker received, which tests of an application can read.

use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode, Librdkafka, ReceivedRecord};
use aioproducer_tests::broker::{self, config};
use aioproducer_tests::executor::{Host, watched};
use aioproducer_tests::probe::{Observed, until};
use aioproducer_tests::promises;
use aioproducer_tests::records::numbered;
use aioproducer_tokio::Tokio;

promises! {
    records_are_read_with_all_their_parts_in_the_order_of_the_log,
    a_topic_that_does_not_exist_is_named_and_not_created,
    a_broker_that_is_down_is_named_at_once,
    a_topic_whose_metadata_is_refused_says_so,
    reading_goes_on_after_errors_and_a_moved_leader,
    reading_ends_while_records_keep_coming,
    reading_blocks_no_poll_and_may_be_dropped,
    records_of_an_aborted_transaction_are_there,
}

#[test]
fn records_may_be_awaited_under_a_paused_clock() {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let broker = broker::start_with_topic("t", 1);
            let tokio = Tokio::current().expect("a runtime");
            let producer = AioProducer::builder(broker::backend(&broker)).start(tokio).expect("started");
            producer.send(numbered(0)).await.expect("delivered");
            assert_eq!(broker.records("t").await.expect("its records").len(), 1);
            producer.send(numbered(1)).await.expect("delivered");
            assert_eq!(broker.records("t").await.expect("its records").len(), 2);
        });
    });
}

fn start(host: &Host, broker: &EmbeddedBroker) -> AioProducer {
    host.start(AioProducer::builder(broker::backend(broker)))
}

async fn records_are_read_with_all_their_parts_in_the_order_of_the_log(host: Host) {
    let broker = broker::start_with_topic("t", 3);
    assert_eq!(broker.records("t").await, Ok(Vec::new()));

    let producer = start(&host, &broker);
    let full = Record::to("t").partition(2).key("k").payload("p").timestamp_millis(1_700_000_000_123);
    producer.send(full.header("a", "1").null_header("a").header("", "")).await.expect("delivered");
    for number in 0..10 {
        producer.send(numbered(number).partition((number % 2) as i32)).await.expect("delivered");
    }
    producer.send(Record::to("t").partition(2).key("").payload("")).await.expect("delivered");
    producer.send(Record::to("t").partition(2).key(&b"\xff"[..])).await.expect("delivered");

    let records = broker.records("t").await.expect("its records");
    let places: Vec<_> = records.iter().map(|record| (record.partition, record.offset)).collect();
    let expected =
        [(0, 5), (1, 5), (2, 3)].into_iter().flat_map(|(partition, count)| (0..count).map(move |o| (partition, o)));
    assert_eq!(places, expected.collect::<Vec<_>>());
    let texts: Vec<_> = records[..10].iter().map(ReceivedRecord::payload_str).collect();
    assert_eq!(texts, ["0", "2", "4", "6", "8", "1", "3", "5", "7", "9"].map(Some));

    let [full, empty, null] = &records[10..] else { panic!("three in partition 2: {records:?}") };
    assert_eq!((full.key_str(), full.payload_str()), (Some("k"), Some("p")));
    assert_eq!(full.timestamp_millis, Some(1_700_000_000_123));
    let headers = [("a", Some("1")), ("a", None), ("", Some(""))];
    assert_eq!(
        full.headers,
        headers.map(|(name, value)| (name.to_owned(), value.map(|value| value.as_bytes().to_vec())))
    );
    assert_eq!((empty.key.as_deref(), empty.payload.as_deref()), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!((null.key.as_deref(), null.payload.as_deref()), (Some(&b"\xff"[..]), None));
    assert_eq!((null.key_str(), null.payload_str()), (None, None));
    assert!(null.timestamp_millis.is_some());
    let shown = format!("{null:?}");
    assert!(shown.contains(r#"key: b"\xff", payload: null"#), "{shown}");
    // Reading does not consume.
    assert_eq!(broker.records("t").await, Ok(records));
}

async fn a_topic_that_does_not_exist_is_named_and_not_created(_: Host) {
    let broker = broker::start();
    for _ in 0..2 {
        let error = broker.records("ordres").await.expect_err("there is none").to_string();
        assert!(
            error.contains("`ordres`") && error.contains("does not exist") && error.ends_with("topics: none"),
            "{error}"
        );
    }
    broker.create_topic("orders", 1, 1).expect("a topic");
    let error = broker.records("ordres").await.expect_err("there is none").to_string();
    assert!(error.ends_with("topics: `orders`"), "{error}");
}

async fn a_broker_that_is_down_is_named_at_once(host: Host) {
    let broker = EmbeddedBroker::start_with(2).expect("a broker");
    broker.create_topic("t", 2, 1).expect("a topic");
    for partition in 0..2 {
        broker.partition_leader("t", partition, Some(1)).expect("a leader");
    }
    let producer = start(&host, &broker);
    producer.send(numbered(0).partition(0)).await.expect("delivered");

    // The other broker leads no partition.
    broker.broker_down(2).expect("down");
    assert_eq!(broker.records("t").await.expect("its records").len(), 1);
    broker.broker_up(2).expect("up");
    broker.broker_down(1).expect("down");
    let error = broker.records("t").await.expect_err("no broker to ask").to_string();
    assert!(error.contains("broker 1, the leader of partition 0, is down; call broker_up"), "{error}");
    broker.broker_down(-1).expect("down");
    let error = broker.records("t").await.expect_err("no broker to ask").to_string();
    assert!(error.contains("every broker is down; call broker_up"), "{error}");
    broker.broker_up(-1).expect("up");
    assert_eq!(broker.records("t").await.expect("its records").len(), 1);
}

async fn a_topic_whose_metadata_is_refused_says_so(_: Host) {
    let broker = broker::start_with_topic("t", 1);
    broker.topic_error("t", ErrorCode::TopicAuthorizationFailed).expect("an error");
    let error = broker.records("t").await.expect_err("not to be read").to_string();
    assert!(error.contains("uthorization") && error.contains("topic_error"), "{error}");
    broker.topic_error("t", ErrorCode::NoError).expect("none");
    assert_eq!(broker.records("t").await, Ok(Vec::new()));
    broker.partition_leader("t", 0, None).expect("no leader");
    let error = broker.records("t").await.expect_err("not to be read").to_string();
    assert!(error.contains("partition 0 has no leader"), "{error}");
}

async fn reading_goes_on_after_errors_and_a_moved_leader(host: Host) {
    let broker = EmbeddedBroker::start_with(2).expect("a broker");
    broker.create_topic("t", 4, 2).expect("a topic");
    let producer = start(&host, &broker);
    for number in 0..8 {
        producer.send(numbered(number).partition((number % 4) as i32)).await.expect("delivered");
    }
    for partition in 0..4 {
        broker.partition_leader("t", partition, Some(1 + partition % 2)).expect("a leader");
    }
    let errors = [ErrorCode::NotLeaderForPartition, ErrorCode::LocalTransport, ErrorCode::Unknown];
    for request in [ApiKey::ListOffsets, ApiKey::Fetch] {
        broker.request_errors(request, &errors).expect("errors");
    }
    assert_eq!(broker.records("t").await.expect("its records").len(), 8);
}

async fn reading_ends_while_records_keep_coming(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = start(&host, &broker);
    producer.send(numbered(0)).await.expect("delivered");
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let writing = host.spawn({
        let producer = producer.clone();
        async move {
            let mut acknowledged = 1;
            while !stopped.is_closed() {
                producer.send(numbered(acknowledged)).await.expect("delivered");
                acknowledged += 1;
            }
            acknowledged
        }
    });
    for _ in 0..5 {
        let before = producer.statistics().acquired as usize;
        let records = broker.records("t").await.expect("its records");
        // All but the last of the records sent one by one were acknowledged.
        assert!(records.len() + 1 >= before, "{} of {before}", records.len());
    }
    drop(stop);
    assert_eq!(broker.records("t").await.expect("its records").len(), writing.join().await);
}

async fn reading_blocks_no_poll_and_may_be_dropped(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    start(&host, &broker).send(numbered(0)).await.expect("delivered");
    broker.round_trip_time(-1, Duration::from_millis(30)).expect("slow");

    let mut dropped = Observed::new(broker.records("t"));
    assert!(dropped.is_pending());
    drop(dropped);

    let mut reading = Observed::new(broker.records("t"));
    assert!(reading.is_pending());
    // It is woken once when there are records.
    until(|| reading.wakes() > 0);
    assert_eq!(reading.wakes(), 1);
    assert_eq!(reading.ready().expect("its records").len(), 1);
    // It borrows nothing.
    let reading = broker.records("t");
    broker.round_trip_time(-1, Duration::ZERO).expect("fast");
    assert_eq!(host.spawn(reading).join().await.expect("its records").len(), 1);
}

async fn records_of_an_aborted_transaction_are_there(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut config = config(&broker);
    config.set("transactional.id", "x");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    let transaction = producer.begin().await.expect("begun");
    transaction.send(numbered(0)).await.expect("delivered");
    assert_eq!(broker.records("t").await.expect("its records").len(), 1);
    transaction.abort().await.expect("aborted");
    assert_eq!(broker.records("t").await.expect("its records").len(), 1);
}
