//! Tokens for SASL/OAUTHBEARER: the application's provider, and the mailbox that carries requests and answers between
//! librdkafka's threads and the provider's task. Nothing here calls librdkafka; the client takes tokens through a trait.

mod mailbox;
mod provider;
mod token;

pub(crate) use mailbox::{TokenMailbox, TokenReceiver, serve};
pub use provider::{TokenFuture, TokenProvider};
pub use token::{Token, TokenError};
