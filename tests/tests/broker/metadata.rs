//! S33, S35: metadata queries leave nothing in the client, and secrets stay secret.

use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::statistics::Statistics;
use aioproducer_rdkafka::{EmbeddedBroker, ErrorCode, Event, Events, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s35_asking_about_topics_keeps_none,
    s35_a_topic_that_is_not_there_is_in_the_answer_and_not_made,
    s35_a_name_that_no_topic_can_have_is_refused,
    s35_the_partitions_of_a_topic_or_why_they_are_unknown,
    s33_credentials_that_come_later_are_in_no_event,
}

async fn next_statistics(events: &mut Events) -> Box<Statistics> {
    loop {
        if let Event::Statistics(statistics) = events.next().await.expect("the producer has not ended") {
            return statistics;
        }
    }
}

/// librdkafka refreshes the metadata of each topic that it has a handle of, and never stops.
async fn s35_asking_about_topics_keeps_none(host: Host) {
    let broker = broker::start_with_topic("t", 3);
    let mut config = broker::config(&broker);
    config.set("statistics.interval.ms", "20");
    let mut backend = Librdkafka::new(config);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    let names: Vec<String> = (0..50).map(|n| format!("other-{n}")).chain(["t".to_owned()]).collect();
    for name in &names {
        let found = producer.metadata(Some(name)).await.expect("an answer");
        assert_eq!(found.topics.len(), 1);
        assert_eq!(found.topic(name).expect("it").partitions.len(), if name == "t" { 3 } else { 0 });
    }
    // Statistics from before the queries are skipped.
    for _ in 0..2 {
        next_statistics(&mut events).await;
    }
    let kept = next_statistics(&mut events).await.topics;
    assert!(kept.is_empty(), "{:?}", kept.keys());
    // A query for a topic that has records.
    producer.send(Record::to("t").payload("x")).await.expect("delivered");
    assert_eq!(producer.metadata(Some("t")).await.expect("an answer").topic("t").expect("it").partitions.len(), 3);
}

async fn s35_a_topic_that_is_not_there_is_in_the_answer_and_not_made(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    for _ in 0..2 {
        let found = producer.metadata(Some("nowhere")).await.expect("an answer");
        let topic = found.topic("nowhere").expect("it was asked for");
        let error = topic.error.as_ref().expect("it does not exist");
        assert_eq!(error.code(), ErrorCode::UnknownTopicOrPart);
        assert!(topic.partitions.is_empty() && !found.brokers.is_empty());
    }
    assert!(producer.metadata(None).await.expect("an answer").topic("nowhere").is_none());
}

async fn s35_the_partitions_of_a_topic_or_why_they_are_unknown(host: Host) {
    let broker = EmbeddedBroker::start_with(2).expect("a cluster");
    broker.create_topic("t", 5, 2).expect("a topic");
    broker.partition_leader("t", 3, Some(2)).expect("moved");
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let found = producer.partitions_for("t").await.expect("an answer");
    assert_eq!(found.iter().map(|partition| partition.id).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(found.iter().all(|partition| partition.replicas.len() == 2 && partition.leader.is_some()), "{found:?}");
    assert_eq!(found[3].leader, Some(2));

    let unknown = producer.partitions_for("nowhere").await.expect_err("it does not exist");
    assert_eq!((unknown.code(), unknown.is_retriable()), (Some(ErrorCode::UnknownTopicOrPart), true));
    assert!(unknown.to_string().contains("no topic \"nowhere\""), "{unknown}");
    assert!(producer.metadata(None).await.expect("an answer").topic("nowhere").is_none(), "and was not made");

    broker.topic_error("t", ErrorCode::TopicAuthorizationFailed).expect("an error is set");
    let hidden = producer.partitions_for("t").await.expect_err("it may not be seen");
    assert_eq!((hidden.code(), hidden.is_retriable()), (Some(ErrorCode::TopicAuthorizationFailed), false));
    assert!(
        hidden.to_string().contains("\"t\"") && hidden.to_string().contains("TopicAuthorizationFailed (29)"),
        "{hidden}"
    );
    let refused = producer.partitions_for("no topic").await.expect_err("no name");
    assert_eq!(refused.code(), Some(ErrorCode::LocalInvalidArg));
}

async fn s35_a_name_that_no_topic_can_have_is_refused(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let long = "x".repeat(250);
    for (name, said) in [("", "is empty"), ("a b", "' '"), ("a\0b", r"'\0'"), ("..", ".."), (long.as_str(), "250")] {
        let error = producer.metadata(Some(name)).await.expect_err("refused");
        assert!(error.reason().contains(said) && !error.is_retriable(), "{name:?}: {error:?}");
    }
}

async fn s33_credentials_that_come_later_are_in_no_event(host: Host) {
    let broker = broker::start();
    let mut config = broker::config(&broker);
    config.set("debug", "topic,metadata");
    let mut backend = Librdkafka::new(config);
    let mut events = backend.events_with_capacity(100_000);
    let producer = host.start(AioProducer::builder(backend));
    // A user's name is no secret.
    producer.set_sasl_credentials("another", "hunter2-and-more").await.expect("taken");
    // librdkafka logs the names of topics.
    for name in ["hunter2-and-more", "another"] {
        producer.send(Record::to(name).payload("x")).await.expect("delivered");
    }
    producer.close(Duration::ZERO).await;
    let (mut lines, mut of_another) = (0, 0);
    while let Some(event) = events.next().await {
        let text = format!("{event:?}");
        assert!(!text.contains("hunter2") && !text.contains("and-more"), "{text}");
        lines += usize::from(text.contains("***"));
        of_another += usize::from(text.contains("another"));
    }
    assert!(lines > 0 && of_another > 0, "{lines} {of_another}");
}
