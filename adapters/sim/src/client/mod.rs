//! A producer's client: what librdkafka is in production. It takes batches from the driver, chooses partitions, sends requests to
//! leaders, retries, and reports. It is one task on the application's runtime; other threads leave it a message and wake it.

mod backend;
mod calls;
mod failure;
mod giving_up;
mod known;
mod lane;
mod mailbox;
mod reports;
mod requests;
mod settings;
mod start;
mod task;
mod timeline;
mod transactions;
mod verdict;

pub use self::settings::SimBackend;
