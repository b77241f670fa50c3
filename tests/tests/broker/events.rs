//! S34: events of librdkafka reach the application on its runtime, without polling.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use aioproducer_driver::{AioProducer, ProduceError, Record};
use aioproducer_rdkafka::statistics::Statistics;
use aioproducer_rdkafka::{
    ApiKey, ClientConfig, ClientError, ErrorCode, Event, EventHandler, Events, Librdkafka, LogLevel, LogLine, Token,
    TokenError, TokenFuture, TokenProvider,
};
use aioproducer_tests::executor::Host;
use aioproducer_tests::{broker, promises};

promises! {
    s34_brokers_that_are_down_are_an_error,
    s34_a_fatal_error_is_an_event_and_ends_the_producer,
    s34_statistics_are_typed,
    s34_log_lines_come_as_asked_for,
    s34_no_secret_is_in_an_event,
    s34_each_stream_gets_every_event,
    s34_a_full_stream_loses_the_oldest_and_says_so,
    s34_streams_end_with_the_producer,
    s34_a_stream_of_a_backend_that_does_not_start_ends,
    s34_handlers_run_on_the_runtime,
    s34_a_handler_that_panics_hears_of_the_next_event,
    s34_tokens_are_fetched_on_the_runtime,
    s34_librdkafkas_own_tokens_are_renewed,
}

/// A backend on `servers` with some keys set.
fn backend(servers: &str, keys: &[(&str, &str)]) -> Librdkafka {
    let mut config = broker::config_for(servers);
    for (key, value) in keys {
        config.set(*key, *value);
    }
    Librdkafka::new(config)
}

/// The first event that `is_meant`.
async fn find<T>(events: &mut Events, mut is_meant: impl FnMut(Event) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the producer has not ended");
        if let Some(found) = is_meant(event) {
            return found;
        }
    }
}

fn error(event: Event) -> Option<ClientError> {
    if let Event::Error(error) = event { Some(error) } else { None }
}

async fn s34_brokers_that_are_down_are_an_error(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut backend = broker::backend(&broker);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t")).await.expect("delivered");
    broker.broker_down(-1).expect("it goes down");
    let found = find(&mut events, |event| error(event).filter(ClientError::is_all_brokers_down)).await;
    assert!(!found.is_fatal() && found.reason().starts_with("0 of 1 brokers reachable; last error: "), "{found}");
    assert_eq!(found.code(), ErrorCode::LocalAllBrokersDown);
    broker.broker_up(-1).expect("it comes back");
    producer.send(Record::to("t")).await.expect("such an error is not the end");
}

async fn s34_a_fatal_error_is_an_event_and_ends_the_producer(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut backend = broker::backend(&broker);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t")).await.expect("delivered");
    // A gap in the sequence numbers is fatal for an idempotent producer.
    let wrong_number = ErrorCode::OutOfOrderSequenceNumber;
    broker.request_errors(ApiKey::Produce, &[wrong_number]).expect("a fault");
    let failed = producer.produce(Record::to("t")).await.expect("accepted").await.expect_err("out of order");
    let found = find(&mut events, |event| error(event).filter(ClientError::is_fatal)).await;
    assert_eq!(Some(found.code()), failed.code(), "{found}");
    host.until(|| producer.is_closed()).await;
    assert!(matches!(producer.try_produce(Record::to("t")), Err(ProduceError::Fatal { .. })));
}

async fn s34_statistics_are_typed(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut backend = backend(broker.bootstrap_servers(), &[("statistics.interval.ms", "20"), ("client.id", "me")]);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t").payload("seven")).await.expect("delivered");
    let statistics = find(&mut events, |event| match event {
        Event::Statistics(statistics) if statistics.txmsgs > 0 => Some(statistics),
        Event::Error(error) => panic!("{error}"),
        _ => None,
    })
    .await;
    assert_eq!((statistics.client_id.as_str(), statistics.client_type.as_str()), ("me", "producer"));
    assert_eq!((statistics.txmsgs, statistics.topics["t"].partitions[&0].txmsgs), (1, 1));
    assert!(statistics.brokers.values().any(|broker| broker.nodeid == 1 && broker.state == "UP"), "{statistics:?}");
}

/// Every event of a producer with `keys` while it sends a record, loses its broker, and sends another one.
async fn events_of(host: &Host, keys: &[(&str, &str)]) -> Vec<Event> {
    let broker = broker::start_with_topic("t", 1);
    let mut backend = backend(broker.bootstrap_servers(), keys);
    let mut events = backend.events_with_capacity(100_000);
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t")).await.expect("delivered");
    broker.broker_down(-1).expect("it goes down");
    let mut seen = Vec::new();
    find(&mut events, |event| {
        seen.push(event.clone());
        error(event)
    })
    .await;
    broker.broker_up(-1).expect("it comes back");
    producer.send(Record::to("t")).await.expect("delivered");
    producer.close(Duration::ZERO).await;
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    seen
}

async fn s34_log_lines_come_as_asked_for(host: Host) {
    for (keys, most) in [
        (&[("debug", "broker,security"), ("log_level", "2")][..], LogLevel::Debug),
        (&[], LogLevel::Info),
        (&[("log_level", "5")], LogLevel::Notice),
    ] {
        let seen = events_of(&host, keys).await;
        let since = seen.iter().position(|event| matches!(event, Event::Error(_))).expect("the broker's loss");
        let lines = |events: &[Event]| -> Vec<LogLine> {
            let lines = events.iter().filter_map(|event| if let Event::Log(line) = event { Some(line) } else { None });
            lines.cloned().collect()
        };
        // Lines that the client logs while it is created follow its configuration; later ones follow the level that was set since.
        let debugged = lines(&seen[since..]).iter().any(|line| line.level == LogLevel::Debug);
        assert_eq!(debugged, most == LogLevel::Debug);
        let lines = lines(&seen);
        for line in &lines {
            assert!(line.level <= most, "{line:?}");
            assert!(!line.facility.is_empty() && !line.message.is_empty(), "{line:?}");
        }
        // The loss of the broker is logged.
        assert_eq!(lines.iter().any(|line| line.level == LogLevel::Info), most >= LogLevel::Info, "{lines:?}");
    }
}

async fn s34_no_secret_is_in_an_event(host: Host) {
    // Poor secrets, but ones that occur in lines of librdkafka.
    for (kind, secret) in [("Error", "brokers reachable"), ("Log", "127.0.0.1")] {
        let seen = events_of(&host, &[("debug", "all"), ("sasl.password", secret)]).await;
        let texts: Vec<_> = seen.iter().map(|event| format!("{event:?}")).collect();
        assert!(texts.iter().any(|text| text.starts_with(kind) && text.contains("***")), "{kind}");
        assert_eq!(texts.iter().find(|text| text.contains(secret)), None);
    }
}

async fn s34_each_stream_gets_every_event(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut backend = backend(broker.bootstrap_servers(), &[("debug", "topic")]);
    let (one, two) = (backend.events_with_capacity(10_000), backend.events_with_capacity(10_000));
    drop(backend.events());
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t")).await.expect("delivered");
    producer.close(Duration::from_secs(30)).await;
    let mut found = Vec::new();
    for mut events in [one, two] {
        let mut lines = Vec::new();
        while let Some(event) = events.next().await {
            lines.push(format!("{event:?}"));
        }
        found.push(lines);
    }
    assert!(!found[0].is_empty());
    assert_eq!(found[0], found[1]);
}

async fn s34_a_full_stream_loses_the_oldest_and_says_so(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut backend = backend(broker.bootstrap_servers(), &[("debug", "all")]);
    let (mut few, mut all) = (backend.events_with_capacity(3), backend.events_with_capacity(100_000));
    let producer = host.start(AioProducer::builder(backend));
    producer.send(Record::to("t")).await.expect("delivered");
    producer.close(Duration::from_secs(30)).await;
    let Some(Event::Lost { count }) = few.next().await else { panic!("more than 3 lines were logged") };
    let mut left = Vec::new();
    while let Some(event) = few.next().await {
        left.push(format!("{event:?}"));
    }
    let mut everything = Vec::new();
    while let Some(event) = all.next().await {
        everything.push(format!("{event:?}"));
    }
    assert_eq!(left.len(), 3);
    assert_eq!(count as usize, everything.len() - 3);
    assert!(everything.ends_with(&left), "{left:?}");
}

async fn s34_streams_end_with_the_producer(host: Host) {
    // By a close or a drop, with and without a broker. A clone of the backend keeps a stream open.
    let broker = broker::start_with_topic("t", 1);
    for servers in [broker.bootstrap_servers(), &broker::closed_port()] {
        for closed in [true, false] {
            let mut backend = backend(servers, &[]);
            let mut events = backend.events();
            let spare = backend.clone();
            let producer = host.start(AioProducer::builder(backend));
            let waiting = host.spawn(async move { while events.next().await.is_some() {} });
            if closed {
                producer.close(Duration::from_millis(100)).await;
            }
            drop(producer);
            drop(spare);
            waiting.join().await;
        }
    }
}

async fn s34_a_stream_of_a_backend_that_does_not_start_ends(host: Host) {
    let mut backend = backend("localhost:1", &[("no.such.key", "1")]).on_event(Witness::default());
    let mut events = backend.events();
    assert!(AioProducer::builder(backend).start(host.runtime()).is_err());
    assert!(events.next().await.is_none());
}

/// Notes the threads that call it, and panics if `panicking`.
#[derive(Clone, Default)]
struct Witness {
    threads: Arc<Mutex<BTreeSet<String>>>,
    errors: Arc<AtomicUsize>,
    lines: Arc<AtomicUsize>,
    statistics: Arc<AtomicUsize>,
    panics: Arc<AtomicU64>,
    panicking: bool,
}

fn this_thread() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

impl Witness {
    fn note(&self, count: &AtomicUsize) {
        self.threads.lock().unwrap().insert(this_thread());
        count.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panicking, "as was asked for");
    }
}

impl EventHandler for Witness {
    fn on_error(&self, _error: &ClientError) {
        self.note(&self.errors);
    }

    fn on_statistics(&self, _statistics: &Statistics) {
        self.note(&self.statistics);
    }

    fn on_log(&self, _line: &LogLine) {
        self.note(&self.lines);
    }

    fn on_handler_panicked(&self, total: u64) {
        self.panics.store(total, Ordering::SeqCst);
    }
}

/// Has a handler called with some of each event.
async fn witness(host: &Host, witness: &Witness) -> AioProducer {
    let broker = broker::start_with_topic("t", 1);
    let keys = [("debug", "broker"), ("statistics.interval.ms", "20")];
    let backend = backend(broker.bootstrap_servers(), &keys).on_event(witness.clone());
    let producer = host.start(AioProducer::builder(backend).delivery_timeout(Duration::from_secs(60)));
    producer.send(Record::to("t")).await.expect("delivered");
    broker.broker_down(-1).expect("it goes down");
    for count in [&witness.errors, &witness.lines, &witness.statistics] {
        host.until(|| count.load(Ordering::SeqCst) > 1).await;
    }
    producer
}

async fn s34_handlers_run_on_the_runtime(host: Host) {
    let handler = Witness::default();
    let producer = witness(&host, &handler).await;
    producer.close(Duration::ZERO).await;
    // A task of the same runtime runs on the same threads, which are not the backend's.
    let here = host.spawn(async { this_thread() }).join().await;
    assert_eq!(*handler.threads.lock().unwrap(), BTreeSet::from([here.clone()]));
    assert!(!here.starts_with("aioproducer") && !here.starts_with("rdk"), "{here}");
    assert_eq!(handler.panics.load(Ordering::SeqCst), 0);
}

async fn s34_a_handler_that_panics_hears_of_the_next_event(host: Host) {
    let handler = Witness { panicking: true, ..Witness::default() };
    let producer = witness(&host, &handler).await;
    host.until(|| handler.panics.load(Ordering::SeqCst) > 2).await;
    assert!(producer.try_produce(Record::to("t")).is_ok(), "the producer does not care");
    let report = producer.close(Duration::ZERO).await;
    assert_eq!(report.unsent().len() + report.unreturned(), 1);
}

/// Returns a token that expires soon, then fails, then panics.
struct Identity {
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl TokenProvider for Identity {
    fn token<'a>(&'a self, config: &'a str) -> TokenFuture<'a> {
        Box::pin(async move {
            let times = {
                let mut asked = self.asked.lock().unwrap();
                asked.push((config.to_owned(), this_thread()));
                asked.len()
            };
            match times {
                1 => Ok(Token::new("hunter2", in_seconds(2)).principal("me").extension("tenant", "hunter3")),
                2 => Err(TokenError::new("the identity provider is away")),
                _ => panic!("as was asked for"),
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens expire by the clock on the wall")]
fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

fn is_without_oauth() -> bool {
    let features = ClientConfig::new().create_native_config().and_then(|config| config.get("builtin.features"));
    let without = !features.expect("a list").contains("sasl_oauthbearer");
    if without {
        println!("SKIPPED: this librdkafka has no OAUTHBEARER; it comes with the feature aioproducer-rdkafka/ssl");
    }
    without
}

async fn s34_tokens_are_fetched_on_the_runtime(host: Host) {
    if is_without_oauth() {
        return;
    }
    let asked = Arc::new(Mutex::new(Vec::new()));
    let keys = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanisms", "OAUTHBEARER"),
        ("sasl.oauthbearer.config", "audience=kafka"),
        ("debug", "all"),
    ];
    let mut backend = backend(&broker::closed_port(), &keys).oauth(Identity { asked: Arc::clone(&asked) });
    let mut events = backend.events_with_capacity(100_000);
    let producer = host.start(AioProducer::builder(backend));
    let mut text = String::new();
    for reason in ["the identity provider is away", "the token provider panicked"] {
        let found = find(&mut events, |event| {
            text += &format!("{event:?}");
            error(event).filter(|error| error.code() == ErrorCode::LocalAuthentication)
        })
        .await;
        assert!(found.reason().contains(reason) && !found.is_fatal(), "{found}");
    }
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    let here = host.spawn(async { this_thread() }).join().await;
    assert_eq!(asked, vec![("audience=kafka".to_owned(), here); 3]);
    assert!(!text.contains("hunter") && text.contains("OAUTHBEARER"), "no token in any line");
    producer.close(Duration::ZERO).await;
}

async fn s34_librdkafkas_own_tokens_are_renewed(host: Host) {
    if is_without_oauth() {
        return;
    }
    let keys = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanisms", "OAUTHBEARER"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", "principal=me lifeSeconds=2"),
        ("debug", "security"),
    ];
    let mut backend = backend(&broker::closed_port(), &keys);
    let mut events = backend.events();
    let producer = host.start(AioProducer::builder(backend));
    for _ in 0..2 {
        let made = |event| {
            if let Event::Log(line) = event { line.message.contains("unsecured token").then_some(()) } else { None }
        };
        find(&mut events, made).await;
    }
    producer.close(Duration::ZERO).await;
}
