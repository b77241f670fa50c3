//! A Kafka cluster in process, for examples and tests.

use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{env, fmt};

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
/// A request of Kafka's protocol, for [`EmbeddedBroker::request_errors`].
pub use rdkafka_sys::types::RDKafkaApiKey as ApiKey;
use rdkafka_sys::types::RDKafkaRespErr;

use crate::ErrorCode;

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Command = Box<dyn FnOnce(&Cluster) + Send>;

/// librdkafka's mock cluster: real TCP on loopback and Kafka's protocol, with faults on demand.
///
/// Its limits: a partition keeps its last 5 MiB or 100,000 batches. Checksums, `acks`, `max.message.bytes` and most
/// sequence numbers are not looked at, transactions leave no markers, and there is neither TLS nor SASL. One thread serves
/// all brokers, so measurements against it compare producers and say little about Kafka.
///
/// The cluster runs on threads of its own until the handle is dropped.
///
/// ```
/// use aioproducer_rdkafka::{ClientConfig, EmbeddedBroker, Librdkafka};
///
/// let broker = EmbeddedBroker::start()?;
/// broker.create_topic("readings", 3, 1)?;
/// let mut config = ClientConfig::new();
/// config.set("bootstrap.servers", broker.bootstrap_servers());
/// let backend = Librdkafka::new(config);
/// # let _ = backend;
/// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
/// ```
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// The embedded cluster refused something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerError(String);

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embedded broker: {}", self.0)
    }
}

impl std::error::Error for BrokerError {}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker").field("bootstrap_servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}

impl EmbeddedBroker {
    /// Starts a cluster of one broker.
    ///
    /// # Errors
    /// When librdkafka cannot create it, or there is no thread to be had.
    pub fn start() -> Result<Self, BrokerError> {
        Self::start_with(1)
    }

    /// Starts a cluster of `brokers` brokers, whose ids count from 1.
    ///
    /// # Errors
    /// As for [`EmbeddedBroker::start`].
    pub fn start_with(brokers: i32) -> Result<Self, BrokerError> {
        let (commands, inbox) = mpsc::channel::<Command>();
        let (started, outcome) = mpsc::channel();
        let serve = move || {
            // The cluster must not leave the thread that made it.
            let cluster = match MockCluster::new(brokers) {
                Ok(cluster) => cluster,
                Err(error) => return drop(started.send(Err(BrokerError(error.to_string())))),
            };
            let _ = started.send(Ok(cluster.bootstrap_servers()));
            inbox.into_iter().for_each(|command| command(&cluster));
        };
        let thread = Builder::new()
            .name("aioproducer-broker".into())
            .spawn(serve)
            .map_err(|error| BrokerError(error.to_string()))?;
        let bootstrap_servers = outcome.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(Self { bootstrap_servers, commands: Some(commands), thread: Some(thread) })
    }

    /// The cluster that `AIOPRODUCER_BOOTSTRAP` names in the environment, as the value for `bootstrap.servers`; without
    /// it, that of an embedded broker, which lives until the second part is dropped.
    ///
    /// # Errors
    /// As for [`EmbeddedBroker::start`].
    pub fn bootstrap() -> Result<(String, Option<Self>), BrokerError> {
        if let Ok(servers) = env::var("AIOPRODUCER_BOOTSTRAP") {
            return Ok((servers, None));
        }
        let broker = Self::start()?;
        Ok((broker.bootstrap_servers.clone(), Some(broker)))
    }

    /// The value for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic. Topics that clients ask for are created by themselves, with 4 partitions.
    ///
    /// # Errors
    /// When it exists.
    pub fn create_topic(&self, topic: &str, partitions: i32, replication: i32) -> Result<(), BrokerError> {
        let topic = topic.to_owned();
        self.run(move |cluster| cluster.create_topic(&topic, partitions, replication))
    }

    /// Has the next requests of a kind answered with `errors`, one each. [`ErrorCode::LOCAL_TRANSPORT`]
    /// closes the connection instead.
    ///
    /// # Errors
    /// When the cluster has ended, or librdkafka does not know one of the errors.
    pub fn request_errors(&self, request: ApiKey, errors: &[ErrorCode]) -> Result<(), BrokerError> {
        let errors = errors.iter().map(|error| native(*error)).collect::<Result<Vec<_>, _>>()?;
        self.run(move |cluster| {
            cluster.request_errors(request, &errors);
            Ok(())
        })
    }

    /// Forgets the errors of [`EmbeddedBroker::request_errors`] that no request has met yet.
    ///
    /// # Errors
    /// When the cluster has ended.
    pub fn clear_request_errors(&self, request: ApiKey) -> Result<(), BrokerError> {
        self.run(move |cluster| {
            cluster.clear_request_errors(request);
            Ok(())
        })
    }

    /// Makes a broker the coordinator of a transactional id.
    ///
    /// # Errors
    /// When the cluster refuses it.
    pub fn transaction_coordinator(&self, transactional_id: &str, broker: i32) -> Result<(), BrokerError> {
        let id = MockCoordinator::Transaction(transactional_id.to_owned());
        self.run(move |cluster| cluster.coordinator(id, broker))
    }

    /// Makes a broker the coordinator of a consumer group.
    ///
    /// # Errors
    /// When the cluster refuses it.
    pub fn group_coordinator(&self, group: &str, broker: i32) -> Result<(), BrokerError> {
        let group = MockCoordinator::Group(group.to_owned());
        self.run(move |cluster| cluster.coordinator(group, broker))
    }

    /// Closes a broker's connections and refuses new ones; -1 stands for all brokers. Its partitions keep their leader.
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn broker_down(&self, broker: i32) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_down(broker))
    }

    /// Lets a broker accept connections again; -1 stands for all brokers.
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn broker_up(&self, broker: i32) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_up(broker))
    }

    /// Delays a broker's answers, to the millisecond; -1 stands for all brokers.
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn round_trip_time(&self, broker: i32, delay: Duration) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_round_trip_time(broker, delay))
    }

    /// Moves a partition to another leader, or to none. A partition without one is for reading metadata only: librdkafka
    /// 2.12.1's mock cluster does not survive a record that is sent to it, by a client that has not heard of it yet.
    ///
    /// # Errors
    /// When there is no such partition or broker.
    pub fn partition_leader(&self, topic: &str, partition: i32, broker: Option<i32>) -> Result<(), BrokerError> {
        let topic = topic.to_owned();
        self.run(move |cluster| cluster.partition_leader(&topic, partition, broker))
    }

    /// Has metadata requests for a topic answered with `error`.
    ///
    /// # Errors
    /// When the topic's name has a NUL byte, or librdkafka does not know the error.
    pub fn topic_error(&self, topic: &str, error: ErrorCode) -> Result<(), BrokerError> {
        let (topic, error) = (topic.to_owned(), native(error)?);
        self.run(move |cluster| cluster.topic_error(&topic, error))
    }

    fn run(
        &self,
        command: impl FnOnce(&Cluster) -> rdkafka::error::KafkaResult<()> + Send + 'static,
    ) -> Result<(), BrokerError> {
        let (answer, outcome) = mpsc::channel();
        let command: Command = Box::new(move |cluster| drop(answer.send(command(cluster))));
        let commands = self.commands.as_ref().ok_or_else(ended)?;
        commands.send(command).map_err(|_| ended())?;
        let outcome = outcome.recv().map_err(|_| ended())?;
        outcome.map_err(|error| BrokerError(error.to_string()))
    }
}

/// As the C binding names it.
fn native(error: ErrorCode) -> Result<RDKafkaRespErr, BrokerError> {
    RDKafkaRespErr::try_from(error.number())
        .map_err(|_| BrokerError(format!("librdkafka does not know the error {error}")))
}

fn ended() -> BrokerError {
    BrokerError("its thread has ended".into())
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // Its panic, if there was one, has been told already.
            let _ = thread.join();
        }
    }
}
