//! S18, S33: settings mean what they mean to librdkafka, and a setting that turns idempotence off is reported.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aioproducer_driver::error::StartError;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::statistics::Statistics;
use aioproducer_rdkafka::{ClientConfig, ConfigError, Event, EventHandler, Events, IdempotenceOff, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s18_settings_that_do_not_conflict_leave_idempotence_on,
    s18_a_setting_that_turns_idempotence_off_is_an_event,
    s18_handlers_hear_that_idempotence_is_off,
    s18_settings_that_cannot_go_with_idempotence_are_refused_by_name,
    s33_an_empty_value_is_no_value,
    s33_reports_of_failures_only_are_refused_however_it_is_written,
    s33_two_names_of_one_setting_agree_or_are_refused,
}

type Settings<'a> = &'a [(&'a str, &'a str)];

fn config(servers: &str, settings: Settings<'_>) -> ClientConfig {
    let mut config = broker::config_for(servers);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

async fn statistics(events: &mut Events) -> Box<Statistics> {
    loop {
        if let Event::Statistics(statistics) = events.next().await.expect("the producer has not ended") {
            return statistics;
        }
    }
}

/// Whether a producer is idempotent according to librdkafka, and its events about idempotence.
async fn is_idempotent(host: &Host, settings: Settings<'_>) -> (bool, Vec<String>) {
    let broker = broker::start_with_topic("t", 1);
    let mut config = config(broker.bootstrap_servers(), settings);
    config.set("statistics.interval.ms", "20");
    let mut backend = Librdkafka::new(config);
    let (mut events, mut others) = (backend.events(), backend.events());
    let producer = host.start(AioProducer::builder(backend));
    let found = statistics(&mut events).await.eos.is_some();
    producer.close(Duration::ZERO).await;
    let mut warnings = Vec::new();
    while let Some(event) = others.next().await {
        if let Event::IdempotenceOff(off) = event {
            warnings.push(off.to_string());
        }
    }
    (found, warnings)
}

async fn s18_settings_that_do_not_conflict_leave_idempotence_on(host: Host) {
    let settings: [Settings<'_>; 13] = [
        &[],
        &[("acks", "all")],
        &[("acks", "-1")],
        &[("acks", "ALL")],
        &[("request.required.acks", "all")],
        &[("topic.acks", "all")],
        &[("retries", "10")],
        &[("message.send.max.retries", "0x7")],
        &[("max.in.flight", "5")],
        &[("max.in.flight.requests.per.connection", "1")],
        &[("queuing.strategy", "fifo")],
        &[("transactional.id", "")],
        &[("acks", "all"), ("request.required.acks", "-1"), ("retries", "1"), ("enable.idempotence", "t")],
    ];
    for settings in settings {
        assert_eq!(is_idempotent(&host, settings).await, (true, Vec::new()), "{settings:?}");
    }
}

async fn s18_a_setting_that_turns_idempotence_off_is_an_event(host: Host) {
    let settings: [Settings<'_>; 8] = [
        &[("acks", "0")],
        &[("request.required.acks", "1")],
        &[("topic.acks", "0x1")],
        &[("retries", "0")],
        &[("max.in.flight", "6")],
        &[("queuing.strategy", "LIFO")],
        &[("queue.buffering.backpressure.threshold", "10")],
        &[("enable.idempotence", "F")],
    ];
    for settings in settings {
        let (is_on, warnings) = is_idempotent(&host, settings).await;
        let [(key, value)] = *settings else { unreachable!("one each") };
        assert!(!is_on, "{settings:?}");
        assert!(
            warnings.len() == 1 && warnings[0].contains(key) && warnings[0].contains(value),
            "{settings:?}: {warnings:?}"
        );
    }
}

/// Keeps the events that it gets.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<IdempotenceOff>>>);

impl EventHandler for Keeper {
    fn on_idempotence_off(&self, off: &IdempotenceOff) {
        self.0.lock().expect("no panic under the lock").push(off.clone());
    }
}

async fn s18_handlers_hear_that_idempotence_is_off(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let keeper = Keeper::default();
    let backend = Librdkafka::new(config(broker.bootstrap_servers(), &[("acks", "1")])).on_event(keeper.clone());
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t").payload("x")).await.expect("delivered");
    host.until(|| !keeper.0.lock().expect("no panic under the lock").is_empty()).await;
    let heard = keeper.0.lock().expect("no panic under the lock").clone();
    assert_eq!((heard.len(), heard[0].key.as_str(), heard[0].value.as_str()), (1, "acks", "1"));
}

fn refused(host: &Host, settings: Settings<'_>) -> Option<(String, String)> {
    let backend = Librdkafka::new(config("localhost:1", settings));
    match AioProducer::builder(backend).start(host.runtime()) {
        Ok(_) => None,
        Err(StartError::Backend(ConfigError::InvalidValue { key, reason })) => Some((key, reason)),
        Err(other) => panic!("{settings:?}: {other:?}"),
    }
}

async fn s18_settings_that_cannot_go_with_idempotence_are_refused_by_name(host: Host) {
    let wished = ("enable.idempotence", "1");
    let transactions = ("transactional.id", "t");
    for conflict in [("acks", "1"), ("retries", "0"), ("max.in.flight", "6"), ("queuing.strategy", "lifo")] {
        for wish in [wished, transactions] {
            let (key, reason) = refused(&host, &[wish, conflict]).expect("refused");
            assert!(key == conflict.0 && reason.contains(wish.0), "{key}: {reason}");
        }
    }
    let (key, reason) = refused(&host, &[transactions, ("enable.idempotence", "f")]).expect("refused");
    assert!(key == "enable.idempotence" && reason.contains("transactional.id"), "{key}: {reason}");
}

/// The empty value of a template whose variable is not set.
async fn s33_an_empty_value_is_no_value(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    for empty in ["", " "] {
        let backend = Librdkafka::new(config(broker.bootstrap_servers(), &[("transactional.id", empty)]));
        let producer = host.start(AioProducer::builder(backend).delivery_timeout(Duration::from_secs(100)));
        producer.send(Record::to("t").payload("x")).await.expect("no transaction is needed");
    }
}

async fn s33_reports_of_failures_only_are_refused_however_it_is_written(host: Host) {
    for yes in ["true", "True", "TRUE", "t", "T", "1"] {
        let (key, _) = refused(&host, &[("delivery.report.only.error", yes)]).expect("refused");
        assert_eq!(key, "delivery.report.only.error", "{yes}");
    }
    for no in ["false", "F", "0"] {
        assert_eq!(refused(&host, &[("delivery.report.only.error", no)]), None, "{no}");
    }
}

/// librdkafka keeps the value that is set last; which one that is depends on chance.
async fn s33_two_names_of_one_setting_agree_or_are_refused(host: Host) {
    for (one, other) in [
        (("acks", "1"), ("request.required.acks", "all")),
        (("linger.ms", "5"), ("queue.buffering.max.ms", "50")),
        (("topic.message.timeout.ms", "5000"), ("delivery.timeout.ms", "7000")),
    ] {
        let (key, reason) = refused(&host, &[one, other]).expect("refused");
        let named = [&key, &reason].map(|text| text.contains(one.0) || text.contains(other.0));
        assert_eq!(named, [true, true], "{key}: {reason}");
    }
    assert_eq!(refused(&host, &[("linger.ms", "5"), ("queue.buffering.max.ms", "5.0")]), None);
}
