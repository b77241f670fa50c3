//! A real broker's refusals are reported with their cause: an unknown topic, a wrong password, a missing permission. And the
//! first record does not wait for a producer id.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::error::ErrorCode;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{ClientConfig, Event, Librdkafka};
use aioproducer_tests::broker::config_for;
use aioproducer_tests::executor::Host;
use aioproducer_tests::kafka::Kafka;
use aioproducer_tests::promises_on_kafka;

promises_on_kafka! {
    s17_a_topic_that_does_not_exist_is_a_kind_of_its_own_on_kafka,
    s17_a_wrong_password_is_a_kind_of_its_own,
    s17_a_right_that_is_missing_is_a_kind_of_its_own,
    s17_a_login_that_is_asked_for_and_not_given_is_the_cause,
    s19_an_idempotent_producer_without_rights_meets_a_fatal_error,
    s15_the_culprit_of_a_batch_is_distinguished_from_the_others,
    s35_a_producer_on_kafka_is_ready_or_says_what_is_missing,
}

const LONG: Duration = Duration::from_secs(30);

fn login(user: &str, password: &str) -> ClientConfig {
    let mut config = config_for(Kafka::shared().login_servers());
    config.set("security.protocol", "sasl_plaintext").set("sasl.mechanisms", "PLAIN");
    config.set("sasl.username", user).set("sasl.password", password);
    config
}

async fn s17_a_topic_that_does_not_exist_is_a_kind_of_its_own_on_kafka(host: Host) {
    let backend = Librdkafka::new(Kafka::shared().config());
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(Duration::from_secs(4)));
    let error = producer.send(Record::to("no-such-topic").payload("x")).await.expect_err("there is none");
    assert_eq!((error.kind(), error.status()), (Some(FailureKind::UnknownTopic), Status::NotPersisted), "{error}");
    assert!(error.to_string().contains("`no-such-topic` does not exist"), "{error}");
    producer.close(LONG).await;
}

async fn s17_a_wrong_password_is_a_kind_of_its_own(host: Host) {
    let topic = Kafka::shared().topic("said", 1);
    let mut backend = Librdkafka::new(login("writer", "hunter-two"));
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(Duration::from_secs(4)));
    let delivery = producer.produce(Record::to(&topic).payload("x")).await.expect("accepted");
    loop {
        match events.next().await.expect("the producer lives") {
            Event::Error(error) if error.is_all_brokers_down() => {
                assert!(error.reason().contains("Invalid username or password"), "{error}");
                break;
            }
            _ => {}
        }
    }
    let error = delivery.await.expect_err("the broker refuses it");
    assert_eq!((error.kind(), error.status()), (FailureKind::Authentication, Status::NotPersisted), "{error}");
    let text = error.to_string();
    assert!(text.contains("Invalid username or password") && !text.contains("hunter-two"), "{text}");
    producer.set_sasl_credentials("writer", "right").await.expect("they can be set");
    assert!(producer.send(Record::to(&topic)).await.is_ok(), "the right password is found in time");
    producer.close(LONG).await;
}

async fn s17_a_right_that_is_missing_is_a_kind_of_its_own(host: Host) {
    let topic = Kafka::shared().topic("said", 1);
    let mut config = login("stranger", "right");
    config.set("enable.idempotence", "false");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    let error = producer.send(Record::to(&topic).payload("x")).await.expect_err("it may not be written");
    assert_eq!((error.kind(), error.status()), (Some(FailureKind::NotAuthorized), Status::NotPersisted), "{error}");
    assert_eq!(error.code(), Some(ErrorCode::TopicAuthorizationFailed));
    assert!(!error.is_retriable());
    producer.close(LONG).await;
}

async fn s17_a_login_that_is_asked_for_and_not_given_is_the_cause(host: Host) {
    let topic = Kafka::shared().topic("said", 1);
    let backend = Librdkafka::new(config_for(Kafka::shared().login_servers()));
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(Duration::from_secs(3)));
    let error = producer.send(Record::to(&topic).payload("x")).await.expect_err("the broker refuses it");
    let text = error.to_string();
    // Which of the two a closed connection looks like depends on chance.
    assert!(text.contains("Disconnected") || text.contains("Send failed"), "{text}");
    assert!(text.contains("0 of 1 brokers reachable"), "{text}");
    producer.close(LONG).await;
}

async fn s19_an_idempotent_producer_without_rights_meets_a_fatal_error(host: Host) {
    let topic = Kafka::shared().topic("said", 1);
    let producer = host.start(AioProducer::builder(Librdkafka::new(login("stranger", "right"))));
    let error = producer.send(Record::to(&topic).payload("x")).await.expect_err("it may not");
    let text = error.to_string();
    assert!(text.contains("authorization failed"), "{text}");
    producer.close(LONG).await;
}

async fn s35_a_producer_on_kafka_is_ready_or_says_what_is_missing(host: Host) {
    let kafka = Kafka::shared();
    let topic = kafka.topic("said", 6);
    let producer = host.start(AioProducer::builder(Librdkafka::new(kafka.config())));
    producer.ready([&topic]).await.expect("all is there");
    assert!(producer.send(Record::to(&topic)).await.is_ok());
    let error = producer.ready([topic.as_str(), "no-such-topic"]).await.expect_err("one is not");
    assert!(error.reason().contains("`no-such-topic` does not exist") && !error.is_retriable(), "{error:?}");
    producer.close(LONG).await;
    let stranger = host.start(AioProducer::builder(Librdkafka::new(login("stranger", "right"))));
    let error = stranger.ready([&topic]).await.expect_err("it may not");
    assert!(error.reason().contains("authorization failed") || error.reason().contains("closed"), "{error:?}");
    stranger.close(LONG).await;
}

/// One bad record fails its batch, and the errors of the others say that they were not the cause.
async fn s15_the_culprit_of_a_batch_is_distinguished_from_the_others(host: Host) {
    let kafka = Kafka::shared();
    let topic = kafka.topic_with("compacted", 1, &[("cleanup.policy", "compact")]);
    let mut config = kafka.config();
    config.set("linger.ms", "200");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    producer.ready([&topic]).await.expect("all is there");
    let records = (0..10).map(|n| match n {
        // A compacted topic refuses records without a key.
        4 => Record::to(&topic).payload("keyless"),
        _ => Record::to(&topic).key("key").payload("x"),
    });
    let outcomes = producer.produce_all(records).await;
    let errors: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect_err("the batch is refused")).collect();
    for (n, error) in errors.iter().enumerate() {
        let (code, text) = (error.code(), error.to_string());
        if n == 4 {
            assert_eq!(code, Some(ErrorCode::InvalidRecord), "{text}");
            assert!(text.contains("Compacted topic cannot accept message without key"), "{text}");
        } else {
            assert_eq!(code, Some(ErrorCode::LocalInvalidDifferentRecord), "{text}");
        }
        assert_eq!(error.status(), Status::NotPersisted);
    }
    producer.close(LONG).await;
}
