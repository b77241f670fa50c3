//! A Kafka cluster in process, for examples and tests: librdkafka's mock cluster on a thread of its own, the faults that it can
//! inject, and a reader of its log. The producer does not use anything of this room.

mod broker;
mod error;
mod faults;
mod records;
mod spawn_blocking;

pub use broker::EmbeddedBroker;
pub use error::BrokerError;
pub use faults::ApiKey;
pub use records::ReceivedRecord;
