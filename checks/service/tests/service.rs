//! The tests of docs/testing.md, which holds the same text.

use std::time::Duration;

use aioproducer::embedded::ApiKey;
use aioproducer::error::ErrorCode;
use aioproducer::{ClientConfig, EmbeddedBroker};
use order_service::{Orders, Problem};

/// Far more than anything here takes: only a test that hangs reaches it.
const LONG: Duration = Duration::from_secs(30);

/// A broker with a topic.
fn broker() -> EmbeddedBroker {
    let broker = EmbeddedBroker::start().expect("a broker");
    broker.create_topic("orders", 3, 1).expect("a topic");
    broker
}

/// The service in front of it.
fn service(broker: &EmbeddedBroker, limit: Duration) -> Orders {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap_servers()).set("retry.backoff.ms", "1");
    Orders::start(config, limit).expect("the service")
}

#[tokio::test]
async fn an_order_is_placed() {
    let broker = broker();
    let orders = service(&broker, LONG);
    let receipt = orders.place("customer-7", "two apples").await.expect("placed");

    let records = broker.records("orders").await.expect("its records");
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].partition, Some(records[0].offset)), (receipt.partition, receipt.offset));
    assert_eq!((records[0].key_str(), records[0].payload_str()), (Some("customer-7"), Some("two apples")));
}

#[tokio::test]
async fn an_order_that_is_refused_is_not_placed() {
    let broker = broker();
    let orders = service(&broker, LONG);
    let large = orders.place("customer-7", &"apple ".repeat(1_000_000)).await;
    assert_eq!(large.expect_err("too large").status(), 413);

    let invalid = ErrorCode::InvalidRecord;
    broker.request_errors(ApiKey::Produce, &[invalid]).expect("an error to come");
    let refused = orders.place("customer-7", "two apples").await;
    assert_eq!(refused.expect_err("an error of the broker").status(), 502);

    assert_eq!(broker.records("orders").await, Ok(vec![]));
    // The next order is placed.
    orders.place("customer-7", "two apples").await.expect("placed");
}

#[tokio::test]
async fn an_order_that_needs_three_attempts_is_placed_once() {
    let broker = broker();
    let orders = service(&broker, LONG);
    let not_now = ErrorCode::NotEnoughReplicas;
    broker.request_errors(ApiKey::Produce, &[not_now; 2]).expect("two errors to come");
    orders.place("customer-7", "two apples").await.expect("placed");
    assert_eq!(broker.records("orders").await.expect("its records").len(), 1);
}

#[tokio::test]
async fn while_kafka_is_away_the_service_says_so_in_time() {
    let broker = broker();
    broker.broker_down(-1).expect("down");
    let orders = service(&broker, Duration::from_millis(300));
    let away = tokio::time::timeout(LONG, orders.place("customer-7", "two apples")).await.expect("in time");
    assert_eq!(away.expect_err("no broker is there").status(), 503);

    broker.broker_up(-1).expect("up");
    assert_eq!(broker.records("orders").await, Ok(vec![]));
}

#[tokio::test]
async fn the_end_places_what_was_taken_and_takes_no_more() {
    let broker = broker();
    let orders = service(&broker, LONG);
    broker.round_trip_time(-1, Duration::from_millis(20)).expect("a slow broker");
    let (apples, pears, unsent) = tokio::join!(
        orders.place("customer-7", "two apples"),
        orders.place("customer-8", "three pears"),
        orders.shut_down(LONG),
    );
    assert!(apples.is_ok() && pears.is_ok(), "{apples:?}, {pears:?}");
    assert_eq!(unsent, 0);
    assert_eq!(orders.place("customer-9", "a plum").await.expect_err("closed"), Problem::Unavailable);
    assert_eq!(broker.records("orders").await.expect("its records").len(), 2);
}
