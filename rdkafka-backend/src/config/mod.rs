//! The way from the application's librdkafka configuration to the one in force: checks, defaults, messages for mistakes,
//! and which values are secret. librdkafka decides what a value means: decisions use the value that librdkafka has parsed,
//! under every name of its key. Nothing here starts a client or a thread.

mod effective;
mod error;
mod features;
mod files;
mod hints;
mod idempotence;
mod keys;
mod names;
mod native;
mod own;
mod read;
mod refusal;
pub(crate) mod secrets;
mod servers;
mod values;
#[cfg(test)]
mod vendored;

pub(crate) use effective::{Effective, UNSECURED_TOKENS, effective};
pub use error::ConfigError;
pub use idempotence::IdempotenceOff;
pub(crate) use native::{client_error, native};
pub(crate) use read::{INFO, is_true, log_level};
