//! Each public error is an `Error + Send + Sync + 'static`, and printing its chain says nothing twice.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aioproducer_core::backend::{Failure, FailureKind, Status};
use aioproducer_core::{BatchError, TransactionRefusal};
use aioproducer_driver::error::{
    CallError, DeliveryError, EndError, ErrorCode, FatalError, FlushError, LimitsError, MetadataError, ProduceError,
    RecordError, RuntimeError, SendError, StartError, TooLate, TopicError, TraceContextError, TransactionError,
};
use aioproducer_driver::record::TraceContext;
use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{
    BrokerError, ClientConfig, ClientError, ConfigError, EmbeddedBroker, Librdkafka, TokenError,
};
use aioproducer_tests::executor::{Host, TokioCurrent, run};
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::{Script, begun, failure, retriable};
use aioproducer_tokio::Tokio;

const fn is_error<E: Error + Send + Sync + 'static>() {}

/// Compiled is checked.
const _: () = {
    is_error::<BatchError>();
    is_error::<BrokerError>();
    is_error::<CallError>();
    is_error::<ClientError>();
    is_error::<ConfigError>();
    is_error::<DeliveryError>();
    is_error::<EndError>();
    is_error::<Failure>();
    is_error::<FatalError>();
    is_error::<FlushError>();
    is_error::<LimitsError>();
    is_error::<MetadataError>();
    is_error::<ProduceError<'static>>();
    is_error::<RecordError>();
    is_error::<RuntimeError>();
    is_error::<SendError>();
    is_error::<StartError<ConfigError>>();
    is_error::<TokenError>();
    is_error::<TooLate>();
    is_error::<TopicError>();
    is_error::<TraceContextError>();
    is_error::<TransactionError>();
    is_error::<TransactionRefusal>();
};

/// The texts of an error and its sources; none is empty, and none is a part of another.
fn chain(error: &dyn Error) -> Vec<String> {
    let texts: Vec<_> = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    for (at, text) in texts.iter().enumerate() {
        assert!(!text.trim().is_empty(), "an error without a text: {error:?}");
        let others = texts.iter().enumerate().filter(|(other, _)| *other != at);
        others.for_each(|(_, other)| assert!(!other.contains(text.as_str()), "{text:?} is said twice: {texts:?}"));
    }
    texts
}

/// Checks errors that are alone.
fn alone<E: Error + 'static>(errors: impl IntoIterator<Item = E>) {
    for error in errors {
        assert_eq!(chain(&error), [error.to_string()]);
    }
}

/// An error of a backend that has a cause.
#[derive(Debug)]
struct Caused;

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the backend cannot start")
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&TopicError::Empty)
    }
}

fn code() -> Option<ErrorCode> {
    Some(ErrorCode::NotEnoughReplicas)
}

fn record() -> Record<'static> {
    Record::to("t").timeout(Duration::from_secs(1))
}

#[test]
fn errors_of_values_are_said_once() {
    alone([
        TopicError::Empty,
        TopicError::TooLong { len: 250 },
        TopicError::InvalidCharacter { character: ' ', at: 3 },
    ]);
    alone([TopicError::Reserved, TopicError::TooMany { limit: 3 }]);
    alone([RecordError::NegativePartition { partition: -3 }, RecordError::NegativeTimestamp { millis: -3 }]);
    alone([RecordError::NulInHeaderName { index: 1, name: "a\0".into(), at: 1 }]);
    alone([LimitsError::NoSlots, LimitsError::NoMemory { slots: 1, lanes: 2 }, LimitsError::NoPoolBytes]);
    alone([RuntimeError::new("no timers")]);
    alone([TraceContext::new(0, 1, 0).unwrap_err(), TraceContext::new(1, 0, 0).unwrap_err()]);
    alone([TraceContextError::Parent, TraceContextError::State { index: 1 }, TraceContextError::TooManyMembers]);
    alone([FlushError::Timeout { remaining: 3 }, FlushError::Callbacks { remaining: 3 }, FlushError::InsideCallback]);
    alone([CallError::new(code(), "no broker answered")]);
    alone([MetadataError::new(ErrorCode::NotEnoughReplicas, "Broker: Not enough in-sync replicas")]);
    alone([Failure::new(FailureKind::Broker, Status::NotPersisted, code(), "refused")]);
    alone([TokenError::new("the identity provider is away"), TokenError::new("")]);
    alone([TransactionRefusal::AlreadyOpen, TransactionRefusal::InDoubt, TransactionRefusal::Fatal]);
}

#[test]
fn errors_of_produce_are_said_once() {
    alone([
        ProduceError::Full(record()),
        ProduceError::PartitionFull { record: record(), partition: Some(3) },
        ProduceError::PartitionFull { record: record(), partition: None },
        ProduceError::TimedOut(record()),
        ProduceError::Closed(record()),
        ProduceError::RuntimeEnded(record()),
        ProduceError::Fatal { record: record(), reason: "fenced" },
        ProduceError::OutsideTransaction(record()),
        ProduceError::TransactionOver(record()),
        ProduceError::ReportsDropped(record()),
        ProduceError::TooLarge { record: record(), size: 9, overhead: 2, limit: 10, setting: None },
        ProduceError::TooLarge {
            record: record(),
            size: 9,
            overhead: 2,
            limit: 10,
            setting: Some("message.max.bytes"),
        },
        ProduceError::AbovePool { record: record(), cost: 20, limit: 10 },
        ProduceError::Topic { record: record(), error: TopicError::Empty },
        ProduceError::Invalid { record: record(), error: RecordError::NegativePartition { partition: -3 } },
    ]);
    let borrowed = String::from("t");
    let owned = ProduceError::Full(Record::to(&borrowed)).into_owned();
    alone([SendError::from(owned)]);
}

#[test]
fn errors_of_a_start_name_the_culprit_once() {
    alone([
        StartError::Limits(LimitsError::NoSlots),
        StartError::NoDeliveryTimeout,
        StartError::LingerTwice { linger: Duration::from_secs(1), backend: Duration::from_secs(2) },
        StartError::LingerAboveTimeout { linger: Duration::from_secs(2), delivery_timeout: Duration::from_secs(1) },
        StartError::Backend(ConfigError::NoBootstrapServers),
        StartError::Runtime(RuntimeError::new("no timers")),
    ]);
    alone([
        ConfigError::UnknownKey { key: "linger".into(), hint: "`linger.ms`".into() },
        ConfigError::InvalidValue { key: "acks".into(), reason: "7".into() },
        ConfigError::Client { reason: "no".into() },
    ]);
    // What a backend says of its causes is not lost.
    assert_eq!(chain(&StartError::Backend(Caused)), ["the backend cannot start", "the topic's name is empty"]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", "localhost:1").set("lingr.ms", "5");
    run::<TokioCurrent, _>(|host: Host| async move {
        let runtime = Tokio::current().expect("a runtime");
        drop(host);
        let error = AioProducer::builder(Librdkafka::new(config)).start(runtime).expect_err("no such key");
        assert!(chain(&error)[0].contains("lingr.ms"), "{error}");
    });
}

#[test]
fn errors_of_the_embedded_broker_are_said_once() {
    let broker = EmbeddedBroker::start().expect("a broker");
    alone([broker.create_topic("a\0b", 1, 1).expect_err("no name")]);
}

#[test]
fn errors_of_deliveries_are_said_once() {
    run::<TokioCurrent, _>(|host: Host| async move {
        let script = Script::new();
        let producer = host.start(AioProducer::builder(script.backend()));
        let first = producer.try_produce(record().payload("one")).expect("accepted");
        let second = producer.try_produce(record().payload("two")).expect("accepted");
        let taken = script.accept().await;
        let too_late = first.retract().expect_err("it was handed off");
        assert_eq!(chain(&too_late).len(), 1);
        taken.iter().for_each(|record| script.fail(record, failure(FailureKind::Broker, Status::NotPersisted)));
        alone([too_late.into_delivery().await.expect_err("it failed")]);
        let sent = SendError::from(second.await.expect_err("it failed"));
        assert!(chain(&sent)[0].contains("the script says so"), "{sent}");
        script.fatal(failure(FailureKind::Fatal, Status::NotPersisted));
        host.until(|| producer.is_closed()).await;
        alone([producer.fatal_error().expect("fatal")]);
    });
}

#[test]
fn errors_of_transactions_have_their_cause_as_the_source() {
    let first = Failure::new(FailureKind::Broker, Status::NotPersisted, code(), "Broker: Not enough in-sync replicas");
    let undelivered = chain(&TransactionError::Undelivered { records: 2, first: Some(first) });
    assert_eq!(undelivered[1], "Broker: Not enough in-sync replicas");
    let unknown = chain(&TransactionError::Unknown(CallError::new(code(), "no broker answered")));
    assert_eq!(unknown[1], "no broker answered");
    alone([
        TransactionError::NotTransactional,
        TransactionError::AlreadyOpen,
        TransactionError::InDoubt,
        TransactionError::MustAbort,
        TransactionError::Over,
        TransactionError::Closed,
        TransactionError::RuntimeEnded,
        TransactionError::Undelivered { records: 2, first: None },
        TransactionError::Fatal { code: code(), reason: "fenced" },
    ]);
    run::<TokioCurrent, _>(|host: Host| async move {
        let script = Script::transactional();
        let producer = host.start(AioProducer::builder(script.backend()));
        let mut commit = Observed::new(begun(&script, &producer).await.commit());
        assert!(commit.is_pending());
        script.asked().await.answer(Err(retriable(-185)));
        let ended = commit.ready().expect_err("it is not known");
        assert_eq!(chain(&ended), [ended.error().to_string(), "the script says -185".to_owned()]);
        assert!(at_once(producer.begin()).is_err_and(|error| chain(&error).len() == 1));
    });
}
