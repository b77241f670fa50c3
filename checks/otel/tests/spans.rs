//! What is exported of records, batches, transactions, flushes and closes.

mod exported;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aioproducer_otel::context;
use aioproducer::embedded::ApiKey;
use aioproducer::error::ErrorCode;
use aioproducer::{EmbeddedBroker, Record};
use exported::conventions::{attributes, expect, expect_error};
use exported::{LIMIT, start, traced};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tracing::info_span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const REFUSED: ErrorCode = ErrorCode::NotEnoughReplicas;

fn broker(topic: &str) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic(topic, 1, 1).expect("a topic");
    broker
}

#[tokio::test]
async fn a_delivered_record_and_a_tombstone() {
    let broker = broker("orders");
    let producer = start(&broker, |_| (), |builder| builder.trace_keys(true));
    let (trace, ()) = traced(async {
        let record = Record::to("orders").key("customer-7").payload("two apples").header("name", "value");
        producer.send(record).await.expect("delivered");
        producer.send(Record::to("orders").partition(0).key(&[0xff])).await.expect("delivered");
    })
    .await;
    let [record, tombstone] = trace.spans(2).await.try_into().expect("two");
    expect(
        &record,
        &[
            ("messaging.destination.name", "orders".into()),
            ("messaging.destination.partition.id", "0".into()),
            ("messaging.kafka.message.key", "customer-7".into()),
            ("messaging.kafka.offset", 0.into()),
            ("messaging.message.body.size", 10.into()),
        ],
    );
    expect(
        &tombstone,
        &[
            ("messaging.destination.name", "orders".into()),
            ("messaging.destination.partition.id", "0".into()),
            ("messaging.kafka.message.tombstone", true.into()),
            ("messaging.kafka.offset", 1.into()),
        ],
    );
    for span in [record, tombstone] {
        assert_eq!((&*span.name, &span.span_kind), ("send orders", &SpanKind::Producer));
        assert_eq!(span.parent_span_id, trace.root);
        assert!(span.events.events.is_empty());
        assert!(span.end_time > span.start_time);
    }
}

#[tokio::test]
async fn a_record_that_the_broker_refuses_and_one_that_is_too_large() {
    let broker = broker("orders");
    let no_retries = |config: &mut aioproducer::ClientConfig| {
        config.set("enable.idempotence", "false").set("retries", "0").set("message.max.bytes", "2000");
    };
    let producer = start(&broker, no_retries, |builder| builder);
    let (trace, ()) = traced(async {
        let too_large = ErrorCode::MsgSizeTooLarge;
        for refusal in [REFUSED, too_large] {
            broker.request_errors(ApiKey::Produce, &[refusal]).expect("the broker takes it");
            producer.send(Record::to("orders").payload("x")).await.expect_err("refused");
        }
        producer.send(Record::to("orders").payload(vec![0; 3000])).await.expect_err("too large");
    })
    .await;
    let [refused, large, larger] = trace.spans(3).await.try_into().expect("three");
    let topic = ("messaging.destination.name", "orders".into());
    let small = ("messaging.message.body.size", 1.into());
    expect(&refused, &[("error.type", "NOT_ENOUGH_REPLICAS".into()), topic.clone(), small.clone()]);
    expect_error(&refused, "Broker: Not enough in-sync replicas; the record is not in the log");
    expect(&large, &[("error.type", "MESSAGE_TOO_LARGE".into()), topic.clone(), small]);
    expect_error(&large, "Broker: Message size too large; the record is not in the log");
    expect(&larger, &[("error.type", "too_large".into()), topic, ("messaging.message.body.size", 3000.into())]);
    let [event] = &refused.events.events[..] else { panic!("{:?}", refused.events) };
    assert_eq!(event.name, "a record was not delivered");
    let of = |name: &str| event.attributes.iter().find(|at| at.key.as_str() == name).map(|at| at.value.clone());
    assert_eq!(of("code"), Some(19.into()));
    assert_eq!(of("status"), Some("not_persisted".into()));
    assert_eq!(of("error.type"), Some("NOT_ENOUGH_REPLICAS".into()));
}

#[tokio::test]
async fn a_failure_without_a_code_has_none() {
    let broker = broker("orders");
    broker.broker_down(1).expect("down");
    let producer = start(&broker, |_| (), |builder| builder.delivery_timeout(Duration::from_millis(100)));
    let (trace, close) = traced(async {
        let error = producer.send(Record::to("orders").payload("x").timeout(Duration::from_millis(1))).await;
        error.expect_err("timed out");
        drop(producer.try_produce(Record::to("orders").payload("x").timeout(LIMIT)).expect("accepted"));
        producer.flush().within(Duration::from_millis(1)).await.ok();
        producer.close(Duration::ZERO).await
    })
    .await;
    let spans = trace.spans(4).await;
    let names: Vec<_> = spans.iter().map(|span| (&*span.name, span.span_kind.clone())).collect();
    let (producer, internal) = (SpanKind::Producer, SpanKind::Internal);
    let send = ("send orders", producer);
    assert_eq!(names, [send.clone(), send, ("flush", internal.clone()), ("close", internal)]);
    assert_eq!(attributes(&spans[0])["error.type"], "timed_out".into());
    for span in &spans {
        attributes(span);
        for event in &span.events.events {
            assert!(event.attributes.iter().all(|at| at.key.as_str() != "code" || at.value != 0.into()), "{event:?}");
        }
    }
    let closed = attributes(&spans[3]);
    assert_eq!(closed.contains_key("aioproducer.unsent"), !close.is_complete());
}

#[tokio::test]
async fn a_batch_has_one_span() {
    let broker = broker("orders");
    let producer = start(&broker, |_| (), |builder| builder.inject_trace_context(context));
    let (trace, ()) = traced(async {
        let outcomes = producer.produce_all((0..3).map(|_| Record::to("orders").payload("x"))).await;
        assert!(outcomes.iter().all(Result::is_ok));
        let mixed = ["orders", "bills"].map(|topic| Record::to(topic).payload("x"));
        assert!(producer.produce_all(mixed).await.iter().all(Result::is_ok));
    })
    .await;
    let [same, mixed] = trace.spans(2).await.try_into().expect("two");
    let topic = ("messaging.destination.name", "orders".into());
    expect(&same, &[("messaging.batch.message_count", 3.into()), topic]);
    expect(&mixed, &[("messaging.batch.message_count", 2.into())]);
    assert_eq!((same.span_kind, mixed.span_kind), (SpanKind::Producer, SpanKind::Producer));
    assert_eq!(same.parent_span_id, trace.root);
}

#[tokio::test]
async fn a_batch_with_failures_has_the_first() {
    let broker = broker("orders");
    let settings = |config: &mut aioproducer::ClientConfig| {
        config.set("enable.idempotence", "false").set("retries", "0").set("message.max.bytes", "2000");
    };
    let producer = start(&broker, settings, |builder| builder);
    let (trace, ()) = traced(async {
        broker.request_errors(ApiKey::Produce, &[REFUSED; 9]).expect("the broker takes it");
        let outcomes = producer.produce_all((0..3).map(|_| Record::to("orders").payload("x"))).await;
        assert!(outcomes.iter().all(Result::is_err));
        broker.clear_request_errors(ApiKey::Produce).expect("the broker takes it");
        let sizes = [1, 3000].map(|size| Record::to("orders").payload(vec![0; size]));
        let outcomes = producer.produce_all(sizes).await;
        assert!(outcomes[0].is_ok() && outcomes[1].is_err());
    })
    .await;
    let [refused, partly] = trace.spans(2).await.try_into().expect("two");
    assert_eq!(attributes(&refused)["error.type"], "NOT_ENOUGH_REPLICAS".into());
    assert_eq!(refused.events.events.len(), 3);
    assert_eq!(attributes(&partly)["error.type"], "too_large".into());
    assert_eq!(attributes(&partly)["messaging.batch.message_count"], 2.into());
}

#[tokio::test]
async fn a_transactions_records_have_spans_of_their_own() {
    let broker = broker("orders");
    let transactional = |config: &mut aioproducer::ClientConfig| {
        config.set("transactional.id", "checkout");
    };
    let producer = start(&broker, transactional, |builder| builder);
    let (trace, ()) = traced(async {
        producer.init_transactions().await.expect("initialised");
        let transaction = producer.begin().await.expect("begun");
        transaction.send(Record::to("orders").payload("one")).await.expect("delivered");
        transaction.commit().await.expect("committed");
    })
    .await;
    let [span] = trace.spans(1).await.try_into().expect("one");
    assert_eq!((&*span.name, span.parent_span_id), ("send orders", trace.root));
    assert_eq!(attributes(&span)["messaging.kafka.offset"], 0.into());
}

#[tokio::test]
async fn a_callback_is_in_the_span_and_its_panic_is_its_error() {
    let broker = broker("orders");
    let producer = start(&broker, |_| (), |builder| builder);
    let (trace, ()) = traced(async {
        let callback = |_| drop(info_span!("ship"));
        producer.produce_with(Record::to("orders").payload("x"), callback).await.expect("accepted");
        let callback = |_| panic!("as the test has it");
        producer.produce_with(Record::to("orders").payload("x"), callback).await.expect("accepted");
        producer.close(LIMIT).await;
    })
    .await;
    let spans = trace.spans(4).await;
    let of = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (ship, sends) = (of("ship")[0], of("send orders"));
    assert_eq!(ship.parent_span_id, sends[0].span_context.span_id());
    assert_eq!(attributes(sends[0]).get("error.type"), None);
    let panicked = attributes(sends[1]);
    assert_eq!(panicked["error.type"], "callback_panicked".into());
    assert_eq!(panicked["messaging.kafka.offset"], 1.into());
    expect_error(sends[1], "the callback panicked");
    attributes(of("close")[0]);
}

/// The headers of the topic's records.
fn consumed(broker: &EmbeddedBroker, topic: &str, count: usize) -> Vec<HashMap<String, String>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers()).set("group.id", "readers");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&partitions).expect("assigned");
    let (mut records, end) = (Vec::new(), Instant::now() + LIMIT);
    while records.len() < count {
        assert!(Instant::now() < end, "{} records came", records.len());
        let Some(Ok(message)) = consumer.poll(Duration::from_secs(1)) else { continue };
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        records.push(headers.map(|header| (header.key.to_owned(), text(header.value))).collect());
    }
    records
}

#[tokio::test]
async fn a_consumers_span_is_the_child_of_the_records() {
    let broker = broker("orders");
    let wanted = |record: &Record<'_>| record.get_payload() != Some(b"unwanted");
    let producer = start(&broker, |_| (), |builder| builder.inject_trace_context(context).trace_records(wanted));
    let (trace, ()) = traced(async {
        for payload in ["one", "unwanted"] {
            producer.send(Record::to("orders").payload(payload)).await.expect("delivered");
        }
        let own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().expect("a context");
        producer.send(Record::to("orders").payload("own").trace_context(&own)).await.expect("delivered");
    })
    .await;
    let [sent, own] = trace.spans(2).await.try_into().expect("two, and none that is not wanted");
    // The record keeps the context that it came with, so consumers do not belong to this span.
    assert_eq!((&sent.span_kind, &own.span_kind), (&SpanKind::Producer, &SpanKind::Client));
    let headers = tokio::task::spawn_blocking(move || consumed(&broker, "orders", 3)).await.expect("the headers");
    for headers in &headers {
        let span = info_span!(parent: None, "process orders", otel.kind = "consumer");
        span.set_parent(TraceContextPropagator::new().extract(headers)).expect("a parent");
    }
    let mut processed = exported::exporter().get_finished_spans().expect("the spans");
    processed.retain(|span| span.name == "process orders");
    let parents: Vec<_> = processed.iter().map(|span| (span.span_context.trace_id(), span.parent_span_id)).collect();
    // A context without a span belongs to the surrounding span.
    assert_eq!(parents[..2], [(trace.id, sent.span_context.span_id()), (trace.id, trace.root)]);
    assert_eq!(parents[2].1.to_string(), "b7ad6b7169203331");
    assert!(processed.iter().all(|span| span.parent_span_is_remote));
}
