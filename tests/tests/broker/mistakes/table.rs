//! What a mistake is, and how it is made.

use std::pin::Pin;
use std::time::Duration;

use aioproducer_driver::error::ErrorCode;
use aioproducer_driver::{AioProducer, Builder, Record, SendError};
use aioproducer_rdkafka::{ClientConfig, EmbeddedBroker, Librdkafka};
use aioproducer_tests::broker;
use aioproducer_tests::executor::Host;

/// A file of mistakes.
pub(crate) struct Chapter {
    pub(crate) title: &'static str,
    /// The file's text, from which the page shows each mistake's code.
    pub(crate) source: &'static str,
    pub(crate) mistakes: Vec<Mistake>,
}

/// A mistake, and what its message must say.
pub(crate) struct Mistake {
    pub(crate) title: &'static str,
    pub(crate) when: When,
    /// The name of the function with the user's code.
    pub(crate) code: &'static str,
    pub(crate) attempt: Attempt,
    /// The culprits.
    pub(crate) names: &'static [&'static str],
    /// What to do.
    pub(crate) tells: &'static [&'static str],
}

/// When a mistake shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Start,
    Produce,
    Delivery,
}

/// The outcome of a record.
pub(crate) type Sent = Pin<Box<dyn Future<Output = Result<(), SendError>>>>;

/// The user's code.
pub(crate) enum Attempt {
    /// Changes a valid configuration, with which a record is sent.
    Configure(fn(&mut ClientConfig)),
    /// Makes a builder.
    Build(fn(ClientConfig) -> Builder<Librdkafka>),
    /// Sends to an embedded broker with a topic `orders` of four partitions and a topic `payroll` without access. There is no
    /// topic `ordrs`. The delivery timeout is 3 seconds.
    Send(fn(AioProducer) -> Sent),
}

/// A row: `mistake!("title", Start, Configure(function), names ["…"], tells ["…"])`.
macro_rules! mistake {
    ($title:literal, $when:ident, Send($code:ident), names $names:expr, tells $tells:expr $(,)?) => {
        mistake!(@ $title, $when, $code, $crate::mistakes::table::Attempt::Send(|producer| Box::pin($code(producer))), $names, $tells)
    };
    ($title:literal, $when:ident, $attempt:ident($code:ident), names $names:expr, tells $tells:expr $(,)?) => {
        mistake!(@ $title, $when, $code, $crate::mistakes::table::Attempt::$attempt($code), $names, $tells)
    };
    (@ $title:literal, $when:ident, $code:ident, $attempt:expr, $names:expr, $tells:expr) => {
        $crate::mistakes::table::Mistake {
            title: $title,
            when: $crate::mistakes::table::When::$when,
            code: stringify!($code),
            attempt: $attempt,
            names: &$names,
            tells: &$tells,
        }
    };
}
pub(crate) use mistake;

impl Mistake {
    /// Makes the mistake and returns when it shows, and its message. What differs from run to run has a placeholder.
    pub(crate) async fn make(&self, host: &Host) -> (When, String) {
        match self.attempt {
            Attempt::Configure(configure) => {
                let mut config = broker::config_for("localhost:9092");
                configure(&mut config);
                self.start(host, AioProducer::builder(Librdkafka::new(config))).await
            }
            Attempt::Build(build) => self.start(host, build(broker::config_for("localhost:9092"))).await,
            Attempt::Send(send) => {
                let broker = broker::start_with_topic("orders", 4);
                let errors =
                    [("ordrs", ErrorCode::UnknownTopicOrPart), ("payroll", ErrorCode::TopicAuthorizationFailed)];
                for (topic, error) in errors {
                    broker.create_topic(topic, 1, 1).expect("a topic");
                    broker.topic_error(topic, error).expect("a broker");
                }
                let builder = AioProducer::builder(broker::backend(&broker));
                let producer = host.start(builder.delivery_timeout(Duration::from_secs(3)));
                match send(producer).await {
                    Ok(()) => panic!("{}: it is delivered", self.title),
                    Err(SendError::Produce(error)) => (When::Produce, named(&broker, error.to_string())),
                    Err(SendError::Delivery(error)) => (When::Delivery, named(&broker, error.to_string())),
                }
            }
        }
    }

    async fn start(&self, host: &Host, builder: Builder<Librdkafka>) -> (When, String) {
        match builder.start(host.runtime()) {
            Err(error) => (When::Start, error.to_string()),
            Ok(producer) => {
                assert_eq!(self.when, When::Delivery, "{}: it starts", self.title);
                let sent = producer.send(Record::to("orders").payload("two apples")).await;
                let message = sent.err().unwrap_or_else(|| panic!("{}: it is delivered", self.title)).to_string();
                (When::Delivery, message)
            }
        }
    }
}

/// `message` with `{port}` for the broker's port.
fn named(broker: &EmbeddedBroker, message: String) -> String {
    let port = broker.bootstrap_servers().rsplit(':').next().unwrap_or_default();
    message.replace(&format!(":{port}"), ":{port}")
}
