//! S34, S17, S26: log lines and the errors of records name the cause of a failure.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{ErrorCode, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::records::accepted;
use aioproducer_tests::{broker, promises};
use log::{Level, LevelFilter, Log, Metadata};

promises! {
    s17_a_broker_that_is_away_is_the_cause,
    s17_a_host_without_address_is_the_cause,
    s17_tls_to_a_plain_port_is_a_kind_of_its_own,
    s17_a_plain_connection_to_a_tls_port_has_a_hint,
    s17_a_topic_that_does_not_exist_is_a_kind_of_its_own,
    s17_a_topic_that_may_not_be_used_is_a_kind_of_its_own,
    s17_what_is_over_is_no_cause,
    s34_nothing_is_written_while_somebody_listens,
    s35_calls_that_no_broker_answers_tell_why,
    s35_a_producer_is_ready_or_says_what_is_missing,
    s35_no_more_is_asked_for_than_the_topics_in_use,
    s26_the_last_handle_says_what_is_lost,
    s26_nothing_is_said_where_nothing_is_lost,
    s18_a_setting_that_turns_idempotence_off_is_a_warning,
}

const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(1500);

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

/// The application's log.
struct Lines;

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "aioproducer"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = (record.level(), record.args().to_string());
            LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn flush(&self) {}
}

/// Collects the log. All tests share it, so each searches for lines that only it can cause.
fn listen() {
    static LOGGER: OnceLock<()> = OnceLock::new();
    LOGGER.get_or_init(|| {
        log::set_logger(&Lines).expect("the first logger");
        log::set_max_level(LevelFilter::Warn);
    });
}

/// The lines that mention `what`.
fn said(what: &str) -> Vec<(Level, String)> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|(_, line)| line.contains(what)).cloned().collect()
}

/// A name that no other test uses.
fn unique(prefix: &str) -> String {
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

async fn assert_cause(host: Host, address: String, cause: &str) {
    listen();
    let backend = Librdkafka::new(broker::config_for(&address));
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(SOON));
    let error = producer.send(Record::to("t").payload("x")).await.expect_err("no broker is there");
    let text = error.to_string();
    for part in ["timed out after 1.5s", "0 of 1 brokers reachable", &address, cause, "not in the log"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    let lines = said(&address);
    assert!(lines.iter().all(|(level, _)| *level == Level::Error) && !lines.is_empty(), "{lines:?}");
    assert!(lines.iter().any(|(_, line)| line.contains(cause)), "{lines:?}");
    producer.close(LONG).await;
}

async fn s17_a_broker_that_is_away_is_the_cause(host: Host) {
    assert_cause(host, broker::closed_port(), "Connection refused").await;
}

async fn s17_a_host_without_address_is_the_cause(host: Host) {
    assert_cause(host, format!("{}..internal:9092", unique("no-such-host")), "Failed to resolve").await;
}

async fn s17_tls_to_a_plain_port_is_a_kind_of_its_own(host: Host) {
    listen();
    let broker = broker::start();
    let mut config = broker::config(&broker);
    config.set("security.protocol", "ssl");
    let producer = match AioProducer::builder(Librdkafka::new(config)).delivery_timeout(SOON).start(host.runtime()) {
        Ok(producer) => producer,
        Err(error) => {
            assert!(error.to_string().contains("feature `ssl`"), "{error}");
            println!("SKIPPED: this librdkafka has no TLS; it comes with the feature ssl");
            return;
        }
    };
    let mut error = producer.send(Record::to("t").payload("x")).await.expect_err("it speaks no TLS");
    // The broker resets the connection, and now and then that is seen before its answer. Each failure names the last attempt.
    for _ in 0..5 {
        if error.kind() == Some(FailureKind::Tls) {
            break;
        }
        error = producer.send(Record::to("t").payload("x")).await.expect_err("it speaks no TLS");
    }
    assert_eq!((error.kind(), error.status()), (Some(FailureKind::Tls), Status::NotPersisted), "{error}");
    assert!(error.to_string().contains("PLAINTEXT broker listener"), "{error}");
    assert!(!said(broker.bootstrap_servers()).is_empty());
    producer.close(LONG).await;
}

/// A server that expects TLS closes a connection that begins without it.
async fn s17_a_plain_connection_to_a_tls_port_has_a_hint(host: Host) {
    listen();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let over = Arc::new(AtomicBool::new(false));
    let serves = Arc::clone(&over);
    let server = thread::spawn(move || {
        for connection in listener.incoming() {
            if serves.load(Ordering::SeqCst) {
                return;
            }
            // The content does not matter.
            let _ = connection.and_then(|mut connection| connection.read(&mut [0; 64]));
        }
    });
    let backend = Librdkafka::new(broker::config_for(&address));
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(SOON));
    let error = producer.send(Record::to("t").payload("x")).await.expect_err("no answer comes");
    assert!(error.to_string().contains("does this listener expect TLS? see `security.protocol`"), "{error}");
    assert!(!said(&address).is_empty());
    producer.close(LONG).await;
    over.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(&address));
    server.join().expect("the server ends");
}

async fn assert_topic_cause(host: Host, error: ErrorCode, kind: FailureKind, parts: &[&str]) {
    listen();
    let topic = unique("unusable");
    let broker = broker::start();
    broker.create_topic(&topic, 1, 1).expect("a topic");
    broker.topic_error(&topic, error).expect("a broker");
    let producer = host.start(AioProducer::builder(broker::backend(&broker)).delivery_timeout(Duration::from_secs(4)));
    let delivery = accepted(&producer, Record::to(topic.as_str()).payload("x").into_owned());
    host.until(|| !said(&topic).is_empty()).await;
    let error = delivery.await.expect_err("no record can go there");
    assert_eq!((error.kind(), error.status()), (kind, Status::NotPersisted), "{error}");
    let text = error.to_string();
    for part in parts.iter().copied().chain([topic.as_str()]) {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    let lines = said(&topic);
    assert!(lines.iter().all(|(level, _)| *level == Level::Error), "{lines:?}");
    producer.close(LONG).await;
}

async fn s17_a_topic_that_does_not_exist_is_a_kind_of_its_own(host: Host) {
    let parts = ["does not exist", "topic.metadata.propagation.max.ms"];
    assert_topic_cause(host, ErrorCode::UnknownTopicOrPart, FailureKind::UnknownTopic, &parts).await;
}

async fn s17_a_topic_that_may_not_be_used_is_a_kind_of_its_own(host: Host) {
    let parts = ["Topic authorization failed"];
    assert_topic_cause(host, ErrorCode::TopicAuthorizationFailed, FailureKind::NotAuthorized, &parts).await;
}

/// A failure before a delivery is not the cause of a later timeout.
async fn s17_what_is_over_is_no_cause(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    broker.broker_down(1).expect("a broker");
    let mut backend = broker::backend(&broker);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    let first = accepted(&producer, Record::to("t").payload("x"));
    while !matches!(events.next().await, Some(aioproducer_rdkafka::Event::Error(_))) {}
    broker.broker_up(1).expect("a broker");
    first.await.expect("delivered");
    broker.round_trip_time(1, Duration::from_secs(30)).expect("a broker");
    let late = accepted(&producer, Record::to("t").payload("x").timeout(Duration::from_millis(200)));
    let error = late.await.expect_err("its time is over");
    assert_eq!((error.kind(), error.cause()), (FailureKind::TimedOut, None));
    producer.close(Duration::ZERO).await;
}

async fn s34_nothing_is_written_while_somebody_listens(host: Host) {
    listen();
    let address = broker::closed_port();
    let mut backend = Librdkafka::new(broker::config_for(&address));
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(SOON));
    let delivery = accepted(&producer, Record::to("t").payload("x"));
    loop {
        match events.next().await.expect("the producer lives") {
            aioproducer_rdkafka::Event::Error(error) if error.is_all_brokers_down() => {
                assert!(error.reason().contains("Connection refused"), "{error}");
                break;
            }
            _ => {}
        }
    }
    assert!(delivery.await.is_err());
    assert_eq!(said(&address), []);
    producer.close(LONG).await;
}

async fn s35_calls_that_no_broker_answers_tell_why(host: Host) {
    listen();
    let address = broker::closed_port();
    let backend = Librdkafka::new(broker::config_for(&address));
    let producer = host.start(AioProducer::builder(backend).call_timeout(SOON));
    let metadata = producer.metadata(None).await.expect_err("no broker is there");
    let ready = producer.ready(["t"]).await.expect_err("no broker is there");
    for error in [metadata, ready] {
        assert!(error.is_retriable() && error.reason().contains(&address), "{error:?}");
        assert!(error.reason().contains("Connection refused"), "{error:?}");
    }
    producer.close(LONG).await;
}

async fn s35_a_producer_is_ready_or_says_what_is_missing(host: Host) {
    let broker = broker::start_with_topic("t", 3);
    broker.create_topic("gone", 1, 1).expect("a topic");
    broker.topic_error("gone", ErrorCode::UnknownTopicOrPart).expect("a broker");
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    producer.ready(["t"]).await.expect("all is there");
    producer.ready([""; 0]).await.expect("a broker is there");
    let error = producer.ready(["t", "gone"]).await.expect_err("one does not exist");
    assert!(error.reason().contains("`gone` does not exist") && !error.is_retriable(), "{error:?}");
    let error = producer.ready(["no such name"]).await.expect_err("no topic has that name");
    assert!(error.reason().contains("' ' at byte 2"), "{error:?}");
    assert!(producer.send(Record::to("t")).await.is_ok());
    producer.close(LONG).await;
    assert!(producer.ready(["t"]).await.is_err());
}

/// A cluster may have a great many topics.
async fn s35_no_more_is_asked_for_than_the_topics_in_use(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    broker.create_topic("not-in-use", 1, 1).expect("a topic");
    let mut config = broker::config(&broker);
    config.set("debug", "metadata");
    let mut backend = Librdkafka::new(config);
    let mut events = backend.events_with_capacity(10_000);
    let producer = host.start(AioProducer::builder(backend));
    producer.ready([""; 0]).await.expect("a broker is there");
    producer.ready(["t"]).await.expect("all is there");
    producer.send(Record::to("t")).await.expect("delivered");
    producer.close(LONG).await;
    let mut answers = 0;
    while let Some(event) = events.next().await {
        let text = format!("{event:?}");
        answers += usize::from(text.contains("Received metadata"));
        assert!(!text.contains("not-in-use") && !text.contains("all topics"), "{text}");
    }
    assert!(answers > 0);
}

async fn s26_the_last_handle_says_what_is_lost(host: Host) {
    listen();
    let [one, other] = [unique("lost"), unique("lost")];
    let producer = host.start(AioProducer::builder(broker::unreachable()));
    let deliveries: Vec<_> = [&one, &one, &other]
        .map(|topic| accepted(&producer, Record::to(topic.as_str()).payload("x").into_owned()))
        .into_iter()
        .collect();
    drop(producer);
    let lines = said(&one);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (level, line) = &lines[0];
    assert_eq!(*level, Level::Error);
    let (of_one, of_other) = (format!("2 of the topic `{one}`"), format!("1 of the topic `{other}`"));
    for part in ["last handle was dropped", "3 records", &of_one, &of_other, "close()"] {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    for delivery in deliveries {
        assert_eq!(delivery.await.expect_err("it was not sent").kind(), FailureKind::Closed);
    }
}

async fn s26_nothing_is_said_where_nothing_is_lost(host: Host) {
    listen();
    let topic = unique("kept");
    let broker = broker::start_with_topic(&topic, 1);
    let producer = host.start(AioProducer::builder(broker::backend(&broker)));
    producer.send(Record::to(topic.as_str())).await.expect("delivered");
    drop(producer);
    // The records that a close gives back are in its caller's hands.
    let producer = host.start(AioProducer::builder(broker::unreachable()));
    let delivery = accepted(&producer, Record::to(topic.as_str()).into_owned());
    assert_eq!(producer.close(Duration::ZERO).await.unsent().len(), 1);
    drop(producer);
    assert!(delivery.await.is_err());
    assert_eq!(said(&topic), []);
}

async fn s18_a_setting_that_turns_idempotence_off_is_a_warning(host: Host) {
    listen();
    let broker = broker::start();
    let mut config = broker::config(&broker);
    config.set("acks", "1");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    let lines = said("`acks` is `1`");
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|(level, _)| *level == Level::Warn), "{lines:?}");
    producer.close(LONG).await;
}
