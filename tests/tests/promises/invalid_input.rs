//! S33: an invalid value is refused by name and handed back, and disturbs no other record.

use std::time::Duration;

use aioproducer_driver::error::StartError;
use aioproducer_driver::{AioProducer, Builder, ProduceError, Record};
use aioproducer_rdkafka::{ClientConfig, ConfigError, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::scripted::{Script, ScriptedBackend, texts};
use aioproducer_tests::{broker, promises};

promises! {
    s33_a_bad_key_or_value_is_named,
    s33_librdkafka_s_own_keys_are_taken_as_they_are,
    s33_secrets_are_never_shown,
    s33_settings_that_cannot_be_are_named,
    bad_records_are_handed_back_and_their_neighbours_delivered,
    bad_records_are_handed_back_and_their_neighbours_delivered_on_a_broker,
}

fn refused(host: &Host, config: ClientConfig) -> (ConfigError, String) {
    let error = AioProducer::builder(Librdkafka::new(config)).start(host.runtime()).expect_err("refused");
    let text = error.to_string();
    match error {
        StartError::Backend(error) => (error, text),
        other => panic!("{other:?}"),
    }
}

async fn s33_a_bad_key_or_value_is_named(host: Host) {
    let with = |key: &str, value: &str| {
        let mut config = broker::config_for("localhost:1");
        config.set(key, value);
        config
    };
    let (error, text) = refused(&host, with("lingering.ms", "5"));
    assert!(matches!(&error, ConfigError::UnknownKey { key, .. } if key == "lingering.ms"), "{error:?}");
    assert!(text.contains("lingering.ms"), "{text}");
    let wrong = [("linger.ms", "soon"), ("acks", "many"), ("compression.type", "zip"), ("message.max.bytes", "-1")];
    for (key, value) in wrong {
        let (error, text) = refused(&host, with(key, value));
        assert!(matches!(&error, ConfigError::InvalidValue { key: named, .. } if named == key), "{error:?}");
        assert!(text.contains(key), "{text}");
    }
    let mut clash = with("enable.idempotence", "true");
    clash.set("acks", "1");
    let (_, text) = refused(&host, clash);
    assert!(text.contains("acks") && text.contains("idempotence"), "{text}");
    for config in [ClientConfig::new(), broker::config_for(""), broker::config_for("  ")] {
        let (error, text) = refused(&host, config);
        assert_eq!(error, ConfigError::NoBootstrapServers);
        assert!(text.contains("bootstrap.servers"), "{text}");
    }
    let idle = Librdkafka::new(broker::config_for("localhost:1")).workers(0);
    let error = AioProducer::builder(idle).start(host.runtime()).expect_err("refused");
    assert_eq!(error, StartError::Backend(ConfigError::NoWorkers));
    assert!(error.to_string().contains("worker"), "{error}");
}

async fn s33_librdkafka_s_own_keys_are_taken_as_they_are(host: Host) {
    let broker = broker::start_with_topic("keys", 1);
    let mut config = broker::config(&broker);
    config.set("client.id", "mine").set("compression.codec", "lz4").set("queue.buffering.max.ms", "1");
    config.set("delivery.timeout.ms", "40000").set("request.required.acks", "all").set("message.max.bytes", "5000");
    let given = config.clone();
    for _ in 0..2 {
        let producer = host.start(AioProducer::builder(Librdkafka::new(config.clone())));
        producer.send(Record::to("keys").payload("x")).await.expect("delivered");
        let error = producer.send(Record::to("keys").payload(vec![0; 5_001])).await.expect_err("its own limit");
        assert!(error.to_string().contains("5000"), "{error}");
        assert!(producer.close(Duration::from_secs(50)).await.is_complete());
        assert_eq!(config.config_map(), given.config_map(), "never changed in place");
    }
    assert_eq!(broker::read_back(&broker, "keys", 1).len(), 2);
}

async fn s33_secrets_are_never_shown(host: Host) {
    const SECRETS: [(&str, &str); 5] = [
        ("sasl.password", "hunter2-sasl"),
        ("ssl.key.password", "hunter2-key"),
        ("ssl.keystore.password", "hunter2-store"),
        ("ssl.key.pem", "-----BEGIN hunter2-pem"),
        ("sasl.oauthbearer.client.secret", "hunter2-oauth"),
    ];
    let hides = |text: String| assert!(!text.contains("hunter2"), "{text}");
    for (culprit, value) in [("no.such.key", "1"), ("linger.ms", "soon"), ("security.protocol", "sasl_ssl")] {
        let mut config = broker::config_for("localhost:1");
        for (key, secret) in SECRETS {
            config.set(key, secret);
        }
        config.set(culprit, value);
        let backend = Librdkafka::new(config);
        hides(format!("{backend:?}"));
        let builder = AioProducer::builder(backend);
        hides(format!("{builder:#?}"));
        let error = builder.start(host.runtime()).expect_err("refused");
        hides(format!("{error} {error:?}"));
    }
    // A secret that librdkafka itself refuses or accepts.
    for (key, secret) in SECRETS {
        let mut config = broker::config_for("localhost:1");
        config.set(key, secret);
        match AioProducer::builder(Librdkafka::new(config)).start(host.runtime()) {
            Err(error) => hides(format!("{error} {error:?}")),
            Ok(producer) => {
                hides(format!("{producer:?}"));
                producer.close(Duration::ZERO).await;
            }
        }
    }
}

async fn s33_settings_that_cannot_be_are_named(host: Host) {
    type Settings = Builder<ScriptedBackend>;
    type Wrong = (&'static [&'static str], fn(Settings) -> Settings);
    let wrong: [Wrong; 8] = [
        (&["slots"], |builder| builder.slots(0)),
        (&["lanes"], |builder| builder.lanes(0)),
        (&["pool_bytes"], |builder| builder.pool_bytes(0)),
        (&["batch_records"], |builder| builder.batch_records(0)),
        (&["batch_bytes"], |builder| builder.batch_bytes(0)),
        (&["batch_records", "11", "10"], |builder| builder.slots(10).batch_records(11)),
        (&["batch_bytes", "2000001", "2000000"], |builder| builder.pool_bytes(2_000_000).batch_bytes(2_000_001)),
        (&["pool_bytes", "999999", "1000000"], |builder| builder.pool_bytes(999_999)),
    ];
    for (names, set) in wrong {
        let script = Script::new();
        let builder = set(AioProducer::builder(script.backend()));
        let text = builder.start(host.runtime()).expect_err("refused").to_string();
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
    }
    // The smallest valid one works.
    let script = Script::with_record_bytes(1);
    let builder = AioProducer::builder(script.backend()).slots(1).lanes(1).pool_bytes(1);
    let producer = host.start(builder.batch_records(1).batch_bytes(1));
    script.serve(&host);
    producer.send(Record::to("t").payload("x")).await.expect("delivered");
}

/// Invalid records, each with what its error says.
fn bad_records(limit: usize) -> Vec<(Record<'static>, &'static str)> {
    let record = |topic: &str| Record::to(topic.to_owned()).key("k").payload("bad");
    vec![
        (record(""), "empty"),
        (record(&"x".repeat(250)), "250"),
        (record("nul\0name"), "'\\0' at byte 3"),
        (record("with space"), "' ' at byte 4"),
        (record("ümlaut"), "'ü' at byte 0"),
        (record("."), "\".\""),
        (record(".."), "\"..\""),
        (record("t").partition(-1), "partition -1"),
        (record("t").partition(i32::MIN), "partition -2147483648"),
        (record("t").timestamp_millis(-5), "-5"),
        (record("t").header("nul\0name", "x"), "nul\\0name"),
        (record("t").payload(vec![0; limit]), "bytes"),
        (Record::to("t").payload("").header("h".repeat(limit), "x"), "bytes"),
    ]
}

/// Sends each invalid record between two valid ones, by every call.
async fn bad_between_good(producer: &AioProducer, limit: usize) -> usize {
    let mut good = 0;
    for (record, reason) in bad_records(limit) {
        let before = producer.produce(Record::to("t").payload(format!("good-{good}"))).await.expect("accepted");
        let waiting = producer.produce(record.clone()).await.expect_err("refused");
        let trying = producer.try_produce(record.clone()).expect_err("refused");
        for error in [waiting, trying] {
            let text = error.to_string();
            assert!(text.contains(reason), "{text:?} does not say {reason:?}");
            match &error {
                ProduceError::Topic { .. } | ProduceError::Invalid { .. } => {}
                ProduceError::TooLarge { size, limit: reported, .. } => {
                    assert_eq!((*size, *reported), (record.size(), limit));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(error.record(), &record);
            assert_eq!(error.into_record(), record, "handed back as it was");
        }
        let after = producer.produce(Record::to("t").payload(format!("good-{}", good + 1))).await.expect("accepted");
        before.await.expect("the neighbour before");
        after.await.expect("the neighbour after");
        good += 2;
    }
    assert_eq!(producer.statistics().acquired, good as u64, "no bad one took a slot");
    good
}

async fn bad_records_are_handed_back_and_their_neighbours_delivered(host: Host) {
    let script = Script::with_record_bytes(1_000);
    let producer = host.start(AioProducer::builder(script.backend()));
    script.serve(&host);
    let good = bad_between_good(&producer, 1_000).await;
    assert_eq!(texts(&script.log()), (0..good).map(|n| format!("good-{n}")).collect::<Vec<_>>());
}

async fn bad_records_are_handed_back_and_their_neighbours_delivered_on_a_broker(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let mut config = broker::config(&broker);
    config.set("message.max.bytes", "1000");
    let producer = host.start(AioProducer::builder(Librdkafka::new(config)));
    let good = bad_between_good(&producer, 1_000).await;
    let log = broker::read_back(&broker, "t", 1);
    let found: Vec<_> = log.iter().map(|logged| logged.text().to_owned()).collect();
    assert_eq!(found, (0..good).map(|n| format!("good-{n}")).collect::<Vec<_>>());
}
