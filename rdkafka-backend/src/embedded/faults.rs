//! Faults on demand: refused requests, stopped and slow brokers, moved leaders and coordinators.

use std::time::Duration;

use aioproducer_core::backend::ErrorCode;
use rdkafka::mocking::MockCoordinator;
/// A request of Kafka's protocol, for [`EmbeddedBroker::request_errors`].
pub use rdkafka_sys::types::RDKafkaApiKey as ApiKey;
use rdkafka_sys::types::RDKafkaRespErr;

use crate::embedded::broker::EmbeddedBroker;
use crate::embedded::error::BrokerError;

impl EmbeddedBroker {
    /// Answers the next requests of a kind with `errors`, one each. [`ErrorCode::LocalTransport`] closes the connection instead.
    ///
    /// After a retriable error, such as `NOT_ENOUGH_REPLICAS`, librdkafka sends the request again after `retry.backoff.ms`. Other
    /// errors, such as `INVALID_RECORD`, fail the batch. After `TOPIC_AUTHORIZATION_FAILED` librdkafka fails all records of the
    /// topic until it has refreshed its metadata. [`ApiKey::Metadata`] is not affected, see [`topic_error`](Self::topic_error).
    ///
    /// ```
    /// use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode};
    ///
    /// let broker = EmbeddedBroker::start()?;
    /// // Refuses two requests, then accepts.
    /// broker.request_errors(ApiKey::Produce, &[ErrorCode::NotEnoughReplicas; 2])?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the cluster has ended, or librdkafka does not know one of the errors.
    pub fn request_errors(&self, request: ApiKey, errors: &[ErrorCode]) -> Result<(), BrokerError> {
        let errors = errors.iter().map(|error| native(*error)).collect::<Result<Vec<_>, _>>()?;
        self.run(move |cluster| {
            cluster.request_errors(request, &errors);
            Ok(())
        })
    }

    /// Removes the errors of [`EmbeddedBroker::request_errors`] that no request has got yet. With more errors than there will be
    /// requests, the broker refuses until this is called.
    ///
    /// ```
    /// # use aioproducer_rdkafka::{ApiKey, EmbeddedBroker, ErrorCode};
    /// # let broker = EmbeddedBroker::start()?;
    /// broker.request_errors(ApiKey::Produce, &[ErrorCode::InvalidRecord; 1_000])?;
    /// broker.clear_request_errors(ApiKey::Produce)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the cluster has ended.
    pub fn clear_request_errors(&self, request: ApiKey) -> Result<(), BrokerError> {
        self.run(move |cluster| {
            cluster.clear_request_errors(request);
            Ok(())
        })
    }

    /// Answers metadata requests for a topic with `error`, until this is called with [`ErrorCode::NoError`]. Creates the topic
    /// if it does not exist.
    ///
    /// ```
    /// use aioproducer_rdkafka::{EmbeddedBroker, ErrorCode};
    ///
    /// let broker = EmbeddedBroker::start()?;
    /// broker.topic_error("orders", ErrorCode::TopicAuthorizationFailed)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the topic's name contains a NUL byte, or librdkafka does not know the error.
    pub fn topic_error(&self, topic: &str, error: ErrorCode) -> Result<(), BrokerError> {
        let (topic, error) = (topic.to_owned(), native(error)?);
        self.run(move |cluster| cluster.topic_error(&topic, error))
    }

    /// Closes a broker's connections and refuses new ones; -1 stands for all brokers. Its partitions keep their leader and their
    /// records.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// broker.broker_down(-1)?;
    /// // No record is delivered meanwhile.
    /// broker.broker_up(-1)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the broker does not exist.
    pub fn broker_down(&self, broker: i32) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_down(broker))?;
        self.down().lock().extend(self.ids(broker));
        Ok(())
    }

    /// Accepts connections to a broker again; -1 stands for all brokers. Clients reconnect within `reconnect.backoff.max.ms`, by
    /// default a second.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start_with(2)?;
    /// broker.broker_down(2)?;
    /// broker.broker_up(2)?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the broker does not exist.
    pub fn broker_up(&self, broker: i32) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_up(broker))?;
        let up = self.ids(broker);
        self.down().lock().retain(|down| !up.contains(down));
        Ok(())
    }

    /// Delays a broker's answers, in whole milliseconds; -1 stands for all brokers.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
    /// broker.round_trip_time(-1, Duration::from_millis(50))?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the broker does not exist.
    pub fn round_trip_time(&self, broker: i32, delay: Duration) -> Result<(), BrokerError> {
        self.run(move |cluster| cluster.broker_round_trip_time(broker, delay))
    }

    /// Moves a partition to another leader, or to none. Only read metadata of a partition without a leader: librdkafka 2.12.1's
    /// mock cluster crashes if a client that has older metadata sends a record to it.
    ///
    /// ```
    /// # let broker = aioproducer_rdkafka::EmbeddedBroker::start_with(3)?;
    /// broker.create_topic("orders", 1, 3)?;
    /// broker.partition_leader("orders", 0, Some(2))?;
    /// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// If the partition or the broker does not exist.
    pub fn partition_leader(&self, topic: &str, partition: i32, broker: Option<i32>) -> Result<(), BrokerError> {
        let topic = topic.to_owned();
        self.run(move |cluster| cluster.partition_leader(&topic, partition, broker))
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
    /// If the cluster refuses it.
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
    /// If the cluster refuses it.
    pub fn group_coordinator(&self, group: &str, broker: i32) -> Result<(), BrokerError> {
        let group = MockCoordinator::Group(group.to_owned());
        self.run(move |cluster| cluster.coordinator(group, broker))
    }
}

/// The error as the C binding names it.
fn native(error: ErrorCode) -> Result<RDKafkaRespErr, BrokerError> {
    RDKafkaRespErr::try_from(error.number())
        .map_err(|_| BrokerError(format!("librdkafka does not know the error {error}")))
}
