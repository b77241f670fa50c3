//! The cluster, its topics and its records.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};
use std::{env, fmt};

use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::embedded::error::BrokerError;
use crate::embedded::records::{Log, ReceivedRecord};
use crate::embedded::spawn_blocking::spawn_blocking;

pub(super) type Cluster = MockCluster<'static, DefaultProducerContext>;
type Command = Box<dyn FnOnce(&Cluster) + Send>;

/// librdkafka's mock cluster: Kafka's protocol over TCP on the loopback interface, with faults on demand.
///
/// Its limits: a partition keeps its last 5 MiB or 100,000 batches. Checksums, `acks`, `max.message.bytes` and most sequence
/// numbers are not checked, transactions write no markers, and there is neither TLS nor SASL. One thread serves all brokers, so
/// measurements against it compare producers and say little about Kafka.
///
/// The cluster runs on threads of its own until the handle is dropped.
///
/// | for a test in which | call |
/// | --- | --- |
/// | records arrive | [`create_topic`](Self::create_topic), then [`records`](Self::records) |
/// | a request is refused, once or often | [`request_errors`](Self::request_errors) |
/// | connections break | [`request_errors`](Self::request_errors) with a transport error |
/// | a broker stops and comes back | [`broker_down`](Self::broker_down), [`broker_up`](Self::broker_up) |
/// | a broker is slow | [`round_trip_time`](Self::round_trip_time) |
/// | a topic is forbidden or unknown | [`topic_error`](Self::topic_error) |
/// | a leader moves | [`partition_leader`](Self::partition_leader) |
/// | a coordinator moves | [`transaction_coordinator`](Self::transaction_coordinator), [`group_coordinator`](Self::group_coordinator) |
///
/// Each of these calls has taken effect when it returns. `docs/testing.md` has whole tests.
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
pub(super) struct Down(Mutex<BTreeSet<i32>>);

impl Down {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedBroker").field("bootstrap_servers", &self.bootstrap_servers).finish_non_exhaustive()
    }
}

impl EmbeddedBroker {
    /// Starts a cluster of one broker.
    ///
    /// ```
    /// let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// # let _ = broker;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If librdkafka cannot create the cluster, or its thread cannot be started.
    pub fn start() -> Result<Self, BrokerError> {
        Self::start_with(1)
    }

    /// Starts a cluster of `brokers` brokers, whose ids count from 1.
    ///
    /// ```
    /// let broker = aioproducer_rdkafka::EmbeddedBroker::start_with(3)?;
    /// assert_eq!(broker.bootstrap_servers().split(',').count(), 3);
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`EmbeddedBroker::start`].
    pub fn start_with(brokers: i32) -> Result<Self, BrokerError> {
        let (commands, inbox) = mpsc::channel::<Command>();
        let (started, outcome) = mpsc::channel();
        let serve = move || {
            // The cluster must stay on the thread that created it.
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
            .map_err(|error| BrokerError(format!("could not start its thread: {error}")))?;
        let bootstrap_servers = outcome.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(Self { bootstrap_servers, brokers, down: Arc::default(), commands: Some(commands), thread: Some(thread) })
    }

    /// The cluster of the environment variable `AIOPRODUCER_BOOTSTRAP`, as the value of `bootstrap.servers`. If the variable is
    /// not set, starts an embedded broker, which runs until the second part is dropped.
    ///
    /// ```
    /// use aioproducer_rdkafka::{ClientConfig, EmbeddedBroker};
    ///
    /// let (servers, _broker) = EmbeddedBroker::bootstrap()?;
    /// let mut config = ClientConfig::new();
    /// config.set("bootstrap.servers", servers);
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
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

    /// The value of `bootstrap.servers` for clients of this cluster.
    ///
    /// ```
    /// let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// assert!(broker.bootstrap_servers().starts_with("127.0.0.1:"));
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic. A topic that a client requests is created automatically, with 4 partitions.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// broker.create_topic("orders", 3, 1)?;
    /// assert!(broker.create_topic("orders", 3, 1).is_err());
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the topic exists.
    pub fn create_topic(&self, topic: &str, partitions: i32, replication: i32) -> Result<(), BrokerError> {
        let topic = topic.to_owned();
        self.run(move |cluster| cluster.create_topic(&topic, partitions, replication))
    }

    /// Reads all records of a topic, partition by partition, each in the order of its log: the records that were acknowledged
    /// before the first poll, and those records in flight that have arrived.
    ///
    /// A consumer of its own reads them on a thread of its own, so the future runs on any runtime. That takes some milliseconds,
    /// and a few [round trips](Self::round_trip_time); the limit is 30 seconds. Nothing is consumed: the next call reads the same
    /// records and new ones. If a partition had more records than the broker keeps, the first offset is above 0.
    ///
    /// Records of open and aborted transactions are included, as this broker writes no markers. `Fetch` and `ListOffsets`
    /// requests fail with errors from [`request_errors`](Self::request_errors), and are repeated.
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
    /// If the topic does not exist (the error lists those that do), if the leader of a partition is down, or if the log cannot be
    /// read in time.
    pub fn records(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<Vec<ReceivedRecord>, BrokerError>> + Send + use<> {
        let (servers, topic, down) = (self.bootstrap_servers.clone(), topic.to_owned(), Arc::clone(&self.down));
        let brokers = self.brokers;
        async move {
            let log = Log { servers, topic, brokers, down: down.lock().clone() };
            let read = spawn_blocking(move || log.read())
                .await
                .map_err(|error| BrokerError(format!("could not start a thread to read records: {error}")))?;
            read.unwrap_or_else(|| Err(BrokerError("the thread that reads records panicked".into())))
        }
    }

    /// Runs a command on the cluster's thread, and waits for it.
    pub(super) fn run(
        &self,
        command: impl FnOnce(&Cluster) -> KafkaResult<()> + Send + 'static,
    ) -> Result<(), BrokerError> {
        let (answer, outcome) = mpsc::channel();
        let command: Command = Box::new(move |cluster| drop(answer.send(command(cluster))));
        let commands = self.commands.as_ref().ok_or_else(ended)?;
        commands.send(command).map_err(|_| ended())?;
        let outcome = outcome.recv().map_err(|_| ended())?;
        outcome.map_err(|error| BrokerError(error.to_string()))
    }

    pub(super) fn down(&self) -> &Down {
        &self.down
    }

    /// The ids that `broker` stands for: -1 stands for all brokers.
    pub(super) fn ids(&self, broker: i32) -> RangeInclusive<i32> {
        if broker == -1 { 1..=self.brokers } else { broker..=broker }
    }
}

fn ended() -> BrokerError {
    BrokerError("its thread has ended".into())
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported its panic, if there was one.
            let _ = thread.join();
        }
    }
}
