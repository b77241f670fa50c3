//! The application's source of tokens.

use std::future::Future;
use std::pin::Pin;

use crate::oauth::token::{Token, TokenError};

/// The future of a token, from [`TokenProvider::token`].
///
/// ```
/// use aioproducer_rdkafka::{TokenError, TokenFuture};
///
/// fn unavailable() -> TokenFuture<'static> {
///     Box::pin(async { Err(TokenError::new("the identity provider is down")) })
/// }
/// # let _ = unavailable;
/// ```
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + 'a>>;

/// Provides tokens for SASL/OAUTHBEARER (KIP-255). Pass it to [`Librdkafka::oauth`](crate::Librdkafka::oauth).
///
/// librdkafka requests a token when the producer starts, after four fifths of a token's lifetime, and 10 seconds after a failure.
/// There is one request at a time. The future runs on the application's runtime. No connection is made before the first token;
/// the producer's other work does not wait for it.
///
/// A failure or a panic is reported as an [`Event::Error`](crate::Event::Error) with the code
/// [`LOCAL_AUTHENTICATION`](crate::ErrorCode::LocalAuthentication) and the reason. The same reason is not reported twice in a
/// row.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use aioproducer_rdkafka::{ClientConfig, Librdkafka, Token, TokenError, TokenFuture, TokenProvider};
///
/// struct Identity;
///
/// impl TokenProvider for Identity {
///     fn token<'a>(&'a self, config: &'a str) -> TokenFuture<'a> {
///         Box::pin(async move {
///             let value = fetch(config).await.map_err(TokenError::new)?;
///             Ok(Token::new(value, SystemTime::now() + Duration::from_secs(300)).principal("orders"))
///         })
///     }
/// }
/// # async fn fetch(_config: &str) -> Result<String, String> { Ok(String::new()) }
///
/// let mut config = ClientConfig::new();
/// config.set("security.protocol", "SASL_SSL").set("sasl.mechanisms", "OAUTHBEARER");
/// let backend = Librdkafka::new(config).oauth(Identity);
/// # let _ = backend;
/// ```
pub trait TokenProvider: Send + Sync + 'static {
    /// Fetches a token. `config` is the value of `sasl.oauthbearer.config`, empty if it is not set.
    fn token<'a>(&'a self, config: &'a str) -> TokenFuture<'a>;
}
