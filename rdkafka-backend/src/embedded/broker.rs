//! A Kafka cluster in process, for examples and tests.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{env, fmt};

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
/// A request of Kafka's protocol, for [`EmbeddedBroker::request_errors`].
pub use rdkafka_sys::types::RDKafkaApiKey as ApiKey;
use rdkafka_sys::types::RDKafkaRespErr;

use self::aside::aside;
use self::records::Log;
pub use self::records::ReceivedRecord;
use crate::ErrorCode;

mod aside;
mod records;

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
/// | for a test in which | call |
/// | --- | --- |
/// | records arrive | [`create_topic`](Self::create_topic), then [`records`](Self::records) |
/// | a request is refused, once or often | [`request_errors`](Self::request_errors) |
/// | connections break | [`request_errors`](Self::request_errors) with a transport error |
/// | a broker is away and comes back | [`broker_down`](Self::broker_down), [`broker_up`](Self::broker_up) |
/// | a broker is slow | [`round_trip_time`](Self::round_trip_time) |
/// | a topic may not be written, or is unknown | [`topic_error`](Self::topic_error) |
/// | a leader moves | [`partition_leader`](Self::partition_leader) |
/// | a coordinator moves | [`transaction_coordinator`](Self::transaction_coordinator), [`group_coordinator`](Self::group_coordinator) |
///
/// Each of these calls returns when it has taken effect. `docs/testing.md` has whole tests.
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
    brokers: i32,
    down: Arc<Down>,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// The brokers that are down.
#[derive(Default)]
struct Down(Mutex<BTreeSet<i32>>);

impl Down {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The embedded cluster refused something, or cannot be read.
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
        Ok(Self { bootstrap_servers, brokers, down: Arc::default(), commands: Some(commands), thread: Some(thread) })
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
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// broker.create_topic("orders", 3, 1)?;
    /// assert!(broker.create_topic("orders", 3, 1).is_err());
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
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
    /// What was refused with an error that may pass, such as `NOT_ENOUGH_REPLICAS`, librdkafka sends again after
    /// `retry.backoff.ms`; others, such as `INVALID_RECORD`, fail the batch. After `TOPIC_AUTHORIZATION_FAILED` it fails all
    /// records of the topic, until it has asked for metadata again. [`ApiKey::Metadata`] is answered as ever, see
    /// [`topic_error`](Self::topic_error).
    ///
    /// ```
    /// use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode};
    ///
    /// let broker = EmbeddedBroker::start()?;
    /// // Twice no, then yes.
    /// broker.request_errors(ApiKey::Produce, &[ErrorCode::NOT_ENOUGH_REPLICAS; 2])?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
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

    /// Forgets the errors of [`EmbeddedBroker::request_errors`] that no request has met yet. With more of them than there will
    /// be requests, the broker refuses until this is called.
    ///
    /// ```
    /// # use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode};
    /// # let broker = EmbeddedBroker::start()?;
    /// broker.request_errors(ApiKey::Produce, &[ErrorCode::INVALID_RECORD; 1_000])?;
    /// broker.clear_request_errors(ApiKey::Produce)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
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
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start_with(3)?;
    /// broker.transaction_coordinator("billing-1", 2)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// When the cluster refuses it.
    pub fn transaction_coordinator(&self, transactional_id: &str, broker: i32) -> Result<(), BrokerError> {
        let id = MockCoordinator::Transaction(transactional_id.to_owned());
        self.run(move |cluster| cluster.coordinator(id, broker))
    }

    /// Makes a broker the coordinator of a consumer group.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start_with(3)?;
    /// broker.group_coordinator("billing", 2)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// When the cluster refuses it.
    pub fn group_coordinator(&self, group: &str, broker: i32) -> Result<(), BrokerError> {
        let group = MockCoordinator::Group(group.to_owned());
        self.run(move |cluster| cluster.coordinator(group, broker))
    }

    /// Closes a broker's connections and refuses new ones; -1 stands for all brokers. Its partitions keep their leader, and
    /// their records.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// broker.broker_down(-1)?;
    /// // Nothing is delivered, until
    /// broker.broker_up(-1)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn broker_down(&self, broker: i32) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_down(broker))?;
        self.down.lock().extend(self.named(broker));
        Ok(())
    }

    /// Lets a broker accept connections again; -1 stands for all brokers. Clients come back within their
    /// `reconnect.backoff.max.ms`, a second unless it is set.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start_with(2)?;
    /// broker.broker_down(2)?;
    /// broker.broker_up(2)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn broker_up(&self, broker: i32) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_up(broker))?;
        let up = self.named(broker);
        self.down.lock().retain(|down| !up.contains(down));
        Ok(())
    }

    /// The brokers that `broker` stands for.
    fn named(&self, broker: i32) -> RangeInclusive<i32> {
        if broker == -1 { 1..=self.brokers } else { broker..=broker }
    }

    /// Delays a broker's answers, to the millisecond; -1 stands for all brokers.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// broker.round_trip_time(-1, Duration::from_millis(50))?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn round_trip_time(&self, broker: i32, delay: Duration) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_round_trip_time(broker, delay))
    }

    /// Moves a partition to another leader, or to none. A partition without one is for reading metadata only: librdkafka
    /// 2.12.1's mock cluster does not survive a record that is sent to it, by a client that has not heard of it yet.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start_with(3)?;
    /// broker.create_topic("orders", 1, 3)?;
    /// broker.partition_leader("orders", 0, Some(2))?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// When there is no such partition or broker.
    pub fn partition_leader(&self, topic: &str, partition: i32, broker: Option<i32>) -> Result<(), BrokerError> {
        let topic = topic.to_owned();
        self.run(move |cluster| cluster.partition_leader(&topic, partition, broker))
    }

    /// Has metadata requests for a topic answered with `error`, until it is called with
    /// [`ErrorCode::NO_ERROR`]. The topic is created if there is none.
    ///
    /// ```
    /// use aioproducer_rdkafka::{EmbeddedBroker, ErrorCode};
    ///
    /// let broker = EmbeddedBroker::start()?;
    /// broker.topic_error("orders", ErrorCode::TOPIC_AUTHORIZATION_FAILED)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// When the topic's name has a NUL byte, or librdkafka does not know the error.
    pub fn topic_error(&self, topic: &str, error: ErrorCode) -> Result<(), BrokerError> {
        let (topic, error) = (topic.to_owned(), native(error)?);
        self.run(move |cluster| cluster.topic_error(&topic, error))
    }

    /// All records of a topic, partition by partition, each in the order of its log: those that were acknowledged before
    /// this was awaited, and of those in flight what has arrived.
    ///
    /// They are read by a consumer of its own, on a thread of its own, so any runtime may await this. It takes some
    /// milliseconds, and [`round_trip_time`](Self::round_trip_time) a few times over; after 30 seconds it gives up.
    /// Nothing is consumed: the next call reads the same, and more. Of a partition that had more than the broker keeps,
    /// the first offset is above 0.
    ///
    /// Records of every transaction are there, also of one that is open or was aborted, since this broker writes no markers.
    /// It answers `Fetch` and `ListOffsets` with errors if [`request_errors`](Self::request_errors) says so; they are asked
    /// again.
    ///
    /// ```
    /// # use aioproducer_rdkafka::{BrokerError, EmbeddedBroker};
    /// # async fn shown(broker: EmbeddedBroker) -> Result<(), BrokerError> {
    /// let records = broker.records("orders").await?;
    /// assert_eq!(records.len(), 1);
    /// assert_eq!((records[0].key_str(), records[0].payload_str()), (Some("customer-7"), Some("two apples")));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such topic (the error names those that there are), when a broker that leads one of its partitions
    /// is down, and when the log cannot be read in time.
    pub fn records(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<Vec<ReceivedRecord>, BrokerError>> + Send + use<> {
        let (servers, topic, down) = (self.bootstrap_servers.clone(), topic.to_owned(), Arc::clone(&self.down));
        let brokers = self.brokers;
        async move {
            let log = Log { servers, topic, brokers, down: down.lock().clone() };
            let read = aside(move || log.read()).await.map_err(|error| BrokerError(error.to_string()))?;
            read.unwrap_or_else(|| Err(BrokerError("the thread that reads has panicked".into())))
        }
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
