//! A service that takes orders: docs/testing.md explains it and shows the same text.

use std::error::Error;
use std::time::Duration;

use aioproducer::error::{FailureKind, Status};
use aioproducer::{AioProducer, ClientConfig, Librdkafka, ProduceError, Record, Tokio};

/// Takes orders and writes them to the topic `orders`.
pub struct Orders {
    producer: AioProducer,
}

/// Where an order is.
#[derive(Debug)]
pub struct Receipt {
    pub partition: i32,
    pub offset: Option<i64>,
}

/// Why there is no receipt.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// Too many orders are waiting, the service is ending, or Kafka does not answer: not placed, try again later.
    Unavailable,
    /// Larger than Kafka takes: not placed.
    TooLarge,
    /// Kafka does not take it: not placed.
    Refused,
    /// It may have been placed; another attempt may place it twice.
    Unknown,
}

impl Problem {
    /// The answer in HTTP.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unavailable => 503,
            Self::TooLarge => 413,
            Self::Refused => 502,
            Self::Unknown => 504,
        }
    }
}

impl Orders {
    /// An order that is not placed after `limit` is given up.
    pub fn start(config: ClientConfig, limit: Duration) -> Result<Self, Box<dyn Error>> {
        let builder = AioProducer::builder(Librdkafka::new(config)).delivery_timeout(limit);
        Ok(Self { producer: builder.start(Tokio::current()?)? })
    }

    /// Places an order: it is in Kafka's log when this is `Ok`.
    pub async fn place(&self, customer: &str, order: &str) -> Result<Receipt, Problem> {
        let record = Record::to("orders").key(customer).payload(order);
        let delivery = self.producer.try_produce(record).map_err(|error| match error {
            ProduceError::TooLarge { .. } | ProduceError::AbovePool { .. } => Problem::TooLarge,
            ProduceError::Full(_) | ProduceError::PartitionFull { .. } | ProduceError::Closed(_) => Problem::Unavailable,
            _ => Problem::Refused,
        })?;
        match delivery.await {
            Ok(report) => Ok(Receipt { partition: report.partition(), offset: report.offset() }),
            Err(error) => Err(match (error.status(), error.kind()) {
                (Status::NotPersisted, FailureKind::TooLarge) => Problem::TooLarge,
                (Status::NotPersisted, FailureKind::TimedOut | FailureKind::Closed) => Problem::Unavailable,
                (Status::NotPersisted, _) => Problem::Refused,
                _ => Problem::Unknown,
            }),
        }
    }

    /// Takes no more orders and places those that it took. Returns how many it could not place in time.
    pub async fn shut_down(&self, within: Duration) -> usize {
        self.producer.close(within).await.unsent().len()
    }
}
