//! S33: the value of a secret key is in no output of a producer: errors, events, log lines, `Debug`, standard output and standard
//! error.

use std::env;
use std::process::Command;
use std::time::Duration;

use aioproducer_driver::{AioProducer, Record};
use aioproducer_rdkafka::{ClientConfig, Event, Librdkafka};
use aioproducer_tests::broker;
use aioproducer_tests::executor::{Executor, Host, TokioMulti};
use log::{LevelFilter, Log, Metadata};

/// The keys that librdkafka marks as sensitive, and their aliases. A test of the backend compares them.
const KEYS: [&str; 10] = [
    "sasl.password",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "ssl.ca.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// Secrets that the application sets by a call.
const LATER: &str = "set_sasl_credentials";

/// A unique secret for a key.
fn secret(key: &str) -> String {
    let letters: String = key.chars().filter(char::is_ascii_alphabetic).collect();
    format!("hunter2{letters}")
}

#[test]
fn s33_no_secret_gets_out_in_any_way() {
    let me = env::current_exe().expect("this program");
    let output = Command::new(me).args(["--exact", "secrets::prints_everything", "--ignored", "--nocapture"]).output();
    let output = output.expect("it runs");
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{printed}");
    for key in KEYS.iter().chain([&LATER]) {
        let line = printed.lines().find(|line| line.contains(&secret(key)));
        assert_eq!(line, None, "the secret of {key}");
        assert!(printed.contains(key), "nothing was printed for {key}");
    }
    assert_eq!(printed.lines().find(|line| line.contains("hunter2")), None, "a part of one");
    for sign in ["Error(", "Log(", "***", "`acks`", "the log: ", "GIVEN UP"] {
        assert!(printed.contains(sign), "{sign:?} was not printed");
    }
}

/// A log that prints each line.
struct Shown;

impl Log for Shown {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        println!("the log: {record:?} {}", record.args());
    }

    fn flush(&self) {}
}

#[test]
#[ignore = "another test runs it, and reads all that it writes"]
fn prints_everything() {
    log::set_logger(&Shown).expect("the first");
    log::set_max_level(LevelFilter::Trace);
    let executor = TokioMulti::new();
    let host = executor.host();
    executor.block_on(async {
        for key in KEYS {
            // In its own key, and by mistake in a second one, whose value librdkafka quotes.
            print_all(&host, key, &[]).await;
            print_all(&host, key, &[("acks", &secret(key))]).await;
            print_all(&host, key, &[("client.id", &secret(key)), ("acks", "1")]).await;
            print_all(&host, key, &[("ssl.ca.location", &secret(key)), ("security.protocol", "ssl")]).await;
        }
    });
}

/// Prints all output of a producer that has the secret of `key` and other settings.
async fn print_all(host: &Host, key: &str, others: &[(&str, &str)]) {
    println!("{key}, with {:?}", others.iter().map(|(key, _)| *key).collect::<Vec<_>>());
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker::closed_port()).set("debug", "all");
    config.set("security.protocol", "sasl_plaintext").set("sasl.mechanisms", "PLAIN").set("sasl.username", "me");
    config.set("sasl.password", secret("sasl.password"));
    config.set(key, secret(key));
    for (key, value) in others {
        config.set(*key, *value);
    }
    let mut backend = Librdkafka::new(config);
    let mut events = backend.events_with_capacity(100_000);
    println!("{backend:?}");
    let builder = AioProducer::builder(backend).delivery_timeout(Duration::from_millis(200));
    println!("{builder:#?}");
    let producer = match builder.start(host.runtime()) {
        Ok(producer) => producer,
        Err(error) => return println!("{error} {error:?}"),
    };
    println!("{LATER}: {:?}", producer.set_sasl_credentials("me", &secret(LATER)).await);
    let error = producer.send(Record::to("orders").payload("two apples")).await.expect_err("no broker is there");
    println!("GIVEN UP: {error} {error:?} {producer:?}");
    let refused = producer.set_sasl_credentials("me", &format!("{}\0", secret(LATER))).await;
    println!("{refused:?}");
    let within = Duration::from_millis(100);
    println!("{:?}", producer.close(within).await);
    while let Some(event) = events.next().await {
        if let Event::Log(line) = &event {
            println!("{}", line.message);
        }
        println!("{event:?}");
    }
}
