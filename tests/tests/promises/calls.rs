//! S33, S35: metadata and credentials. These calls wait for a broker, never on a runtime's thread.

use std::collections::BTreeSet;
use std::time::Duration;

use aioproducer_core::backend::{Answer, Call, Metadata};
use aioproducer_driver::error::ErrorCode;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, begun, retriable};
use aioproducer_tests::{broker, promises};

promises! {
    s35_the_brokers_topics_and_partitions,
    s35_metadata_of_a_topic_does_not_disturb_its_records,
    s35_no_broker_is_an_error_after_the_limit,
    s35_metadata_may_take_as_long_as_its_limit,
    s35_slow_metadata_holds_up_no_transaction,
    s35_calls_are_made_one_after_another_and_dropped_ones_never,
    s35_calls_end_with_the_producer,
    s35_credentials_are_taken_and_never_shown,
    s35_a_backend_without_calls_says_so,
}

async fn s35_the_brokers_topics_and_partitions(host: Host) {
    let broker = EmbeddedBroker::start_with(3).expect("a cluster");
    broker.create_topic("one", 4, 3).expect("a topic");
    broker.create_topic("two", 1, 1).expect("a topic");
    broker.partition_leader("one", 2, Some(3)).expect("a leader");
    broker.partition_leader("one", 3, None).expect("no leader");
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    let all = producer.metadata(None).await.expect("an answer");
    assert_eq!(all.brokers.iter().map(|broker| broker.id).collect::<BTreeSet<_>>(), [1, 2, 3].into());
    let servers: BTreeSet<_> = broker.bootstrap_servers().split(',').map(str::to_owned).collect();
    let found = all.brokers.iter().map(|broker| format!("{}:{}", broker.host, broker.port)).collect();
    assert_eq!(servers, found);
    assert!(all.answered_by.is_none_or(|id| [1, 2, 3].contains(&id)), "{:?}", all.answered_by);
    assert_eq!(all.topics.iter().map(|topic| topic.name.as_str()).collect::<BTreeSet<_>>(), ["one", "two"].into());

    let one = producer.metadata(Some("one")).await.expect("an answer");
    assert_eq!(one.topics.len(), 1);
    let topic = one.topic("one").expect("it is there");
    assert_eq!((topic.partitions.len(), topic.error), (4, None));
    assert_eq!((topic.partitions[2].id, topic.partitions[2].leader), (2, Some(3)));
    for partition in &topic.partitions {
        assert_eq!(partition.replicas.len(), 3);
        assert_eq!(partition.in_sync.iter().collect::<BTreeSet<_>>(), partition.replicas.iter().collect());
    }
    let orphan = &topic.partitions[3];
    assert_eq!(orphan.leader, None);
    assert!(one.topic("two").is_none());
}

async fn s35_metadata_of_a_topic_does_not_disturb_its_records(host: Host) {
    let broker = broker::start_with_topic("t", 8);
    let keys = || (0..50).map(|n| Record::to("t").key(format!("key {n}")).payload("x"));
    let mut found = Vec::new();
    for ask in [false, true] {
        let producer = host.start(AioProducer::builder(broker::backend(&broker)));
        if ask {
            producer.metadata(Some("t")).await.expect("an answer");
        }
        let outcomes = producer.produce_all(keys()).await;
        found.push(outcomes.into_iter().map(|outcome| outcome.expect("delivered").partition()).collect::<Vec<_>>());
    }
    assert_eq!(found[0], found[1], "the partitioner is ours in any case");
    assert!(found[0].iter().collect::<BTreeSet<_>>().len() > 4);
}

async fn s35_no_broker_is_an_error_after_the_limit(host: Host) {
    let builder = AioProducer::builder(broker::unreachable()).call_timeout(Duration::from_millis(300));
    let producer = host.start(builder);
    for topic in [None, Some("t")] {
        let error = producer.metadata(topic).await.expect_err("no broker is there");
        assert!(error.is_retriable() && error.code().is_some(), "{error:?}");
        assert!(!error.to_string().is_empty());
    }
    let nul = producer.metadata(Some("a\0b")).await.expect_err("no name");
    assert!(!nul.is_retriable(), "{nul:?}");
}

async fn s35_metadata_may_take_as_long_as_its_limit(host: Host) {
    let broker = broker::start_with_topic("t", 2);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).call_timeout(Duration::from_secs(30)));
    producer.metadata(None).await.expect("an answer");
    broker.round_trip_time(-1, Duration::from_secs(6)).expect("a delay");
    let found = producer.metadata(None).await.expect("an answer");
    assert_eq!(found.topic("t").map(|topic| topic.partitions.len()), Some(2));
}

async fn s35_slow_metadata_holds_up_no_transaction(host: Host) {
    let script = Script::transactional();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut metadata = Observed::new(producer.metadata(None));
    let mut next = Observed::new(producer.metadata(Some("t")));
    assert!(metadata.is_pending() && next.is_pending());
    let slow = script.asked().await;
    assert_eq!(*slow.call(), Call::Metadata { topic: None });
    let transaction = begun(&script, &producer).await;
    let mut commit = Observed::new(transaction.commit());
    assert!(commit.is_pending());
    assert_eq!(script.asked().await.done(), Call::Commit);
    commit.ready().expect("committed");
    assert!(metadata.is_pending() && script.asked_already().is_none(), "the second waits for the first");

    // Nor does a slow transaction hold up metadata.
    let mut begin = Observed::new(producer.begin());
    assert!(begin.is_pending());
    let begins = script.asked().await;
    slow.answer(Ok(Answer::Metadata(Metadata::default())));
    metadata.ready().expect("an answer");
    script.asked().await.answer(Ok(Answer::Metadata(Metadata::default())));
    next.ready().expect("an answer");
    assert!(begin.is_pending());
    drop(begins.done());
    begin.ready().expect("it begins");
}

async fn s35_calls_are_made_one_after_another_and_dropped_ones_never(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let topics = ["a", "b", "c", "d"];
    let mut calls = topics.map(|topic| Some(Observed::new(producer.metadata(Some(topic)))));
    assert!(calls.iter_mut().flatten().all(Observed::is_pending));
    let asked = script.asked().await;
    assert_eq!(*asked.call(), Call::Metadata { topic: Some("a".into()) });
    assert!(script.asked_already().is_none(), "one at a time");
    // One that is under way, and one that waits.
    calls[0] = None;
    calls[1] = None;
    asked.answer(Err(retriable(5)));
    let asked = script.asked().await;
    assert_eq!(*asked.call(), Call::Metadata { topic: Some("c".into()) });
    let metadata = {
        let mut metadata = Metadata::default();
        metadata.answered_by = Some(7);
        metadata
    };
    asked.answer(Ok(Answer::Metadata(metadata.clone())));
    let third = calls[2].take().expect("it is there");
    assert!(third.wakes() > 0);
    assert_eq!(third.ready(), Ok(metadata));
    script.asked().await.answer(Err(retriable(6)));
    let error = calls[3].take().expect("it is there").ready().expect_err("refused");
    assert_eq!((error.code(), error.is_retriable()), (Some(ErrorCode::NotLeaderForPartition), true));
    assert!(script.asked_already().is_none());
}

async fn s35_calls_end_with_the_producer(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut under_way = Observed::new(producer.metadata(None));
    let mut waiting = Observed::new(producer.metadata(None));
    assert!(under_way.is_pending() && waiting.is_pending());
    assert!(producer.close(Duration::from_secs(50)).await.is_complete());
    for call in [under_way, waiting] {
        assert!(call.ready().expect_err("closed").to_string().contains("closed"));
    }
    assert!(at_once(producer.metadata(None)).is_err());

    let producer = host.start(AioProducer::builder(broker::unreachable()));
    let mut under_way = Observed::new(producer.metadata(None));
    let mut waiting = Observed::new(producer.metadata(Some("t")));
    assert!(under_way.is_pending() && waiting.is_pending());
    assert!(producer.close(Duration::from_secs(50)).await.is_complete());
    assert!(under_way.ready().is_err() && waiting.ready().is_err());
}

async fn s35_credentials_are_taken_and_never_shown(host: Host) {
    let mut config = broker::config_for(&broker::closed_port());
    config.set("sasl.username", "first").set("sasl.password", "hunter1");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    producer.set_sasl_credentials("second", "hunter2").await.expect("taken");
    for (user, password) in [("second", "hunter\0three"), ("hunter\0four", "second")] {
        let error = producer.set_sasl_credentials(user, password).await.expect_err("a NUL byte");
        let shown = format!("{error} {error:?} {producer:?}");
        assert!(shown.contains("NUL") && !shown.contains("hunter"), "{shown}");
    }

    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let mut call = Observed::new(producer.set_sasl_credentials("hunter", "hunter2"));
    assert!(call.is_pending());
    let asked = script.asked().await;
    assert!(!format!("{asked:?} {producer:?}").contains("hunter"), "{asked:?}");
    let Call::SetSaslCredentials(credentials) = asked.done() else { panic!("another call") };
    assert_eq!((credentials.user(), credentials.password()), ("hunter", "hunter2"));
    call.ready().expect("taken");
}

async fn s35_a_backend_without_calls_says_so(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    script.refuse_calls();
    let error = producer.metadata(None).await.expect_err("refused");
    assert!(error.to_string().contains("makes no such calls"), "{error}");
    assert!(producer.metadata(None).await.is_err(), "the line is free again");
}
