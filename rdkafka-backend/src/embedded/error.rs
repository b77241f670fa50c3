//! Why a call of the embedded cluster failed.

use std::fmt;

/// The embedded cluster refused a call, or its log is not readable. The text says why.
///
/// ```
/// let broker = aioproducer_rdkafka::EmbeddedBroker::start()?;
/// broker.create_topic("orders", 1, 1)?;
/// let error = broker.create_topic("orders", 1, 1).expect_err("the topic exists");
/// assert!(error.to_string().starts_with("embedded broker: "));
/// # Ok::<(), aioproducer_rdkafka::BrokerError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerError(pub(super) String);

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embedded broker: {}", self.0)
    }
}

impl std::error::Error for BrokerError {}
