//! Tokens for SASL/OAUTHBEARER: what the application gives.

pub(crate) mod mailbox;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{SystemTime, UNIX_EPOCH};

/// A token that is being fetched.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + 'a>>;

/// Gets tokens for SASL/OAUTHBEARER (KIP-255). Given to [`Librdkafka::oauth`](crate::Librdkafka::oauth).
///
/// librdkafka asks when the producer starts, when four fifths of a token's life are over, and 10 seconds after a failure.
/// It asks once at a time. The future runs on the application's runtime; the producer's other work does not wait for it,
/// but no connection is made before the first token.
///
/// A failure, a panic included, is told as an [`Event::Error`](crate::Event::Error) with
/// `RD_KAFKA_RESP_ERR__AUTHENTICATION` and the reason; the same reason again is not.
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
    /// Gets a token. `config` is the value of `sasl.oauthbearer.config`, empty if it is not set.
    fn token<'a>(&'a self, config: &'a str) -> TokenFuture<'a>;
}

/// A token and what belongs to it (`rd_kafka_oauthbearer_set_token`).
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: String,
    expires: SystemTime,
    principal: String,
    extensions: Vec<(String, String)>,
}

impl Token {
    /// A token as it goes to the broker, usually a JSON web token, and when it expires.
    #[must_use]
    pub fn new(value: impl Into<String>, expires: SystemTime) -> Self {
        Self { value: value.into(), expires, principal: String::new(), extensions: Vec::new() }
    }

    /// Whom the token speaks for. Brokers read that from the token; this is for librdkafka's own use.
    #[must_use]
    pub fn principal(mut self, name: impl Into<String>) -> Self {
        self.principal = name.into();
        self
    }

    /// Something more for the broker (KIP-342): a name of letters, and a text.
    #[must_use]
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.push((name.into(), value.into()));
        self
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    pub(crate) fn principal_name(&self) -> &str {
        &self.principal
    }

    /// Names and values in turn.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()])
    }

    /// When it expires, in milliseconds since the Unix epoch, as far as librdkafka can count in microseconds.
    pub(crate) fn expires_ms(&self) -> i64 {
        const MOST: i64 = i64::MAX / 4000;
        let since = self.expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(MOST).min(MOST)
    }

    /// What librdkafka would refuse while quoting it, and so show it: RFC 7628, section 3.1.
    pub(crate) fn check(&self) -> Result<(), TokenError> {
        let is_text = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'));
        if self.value.is_empty() || !is_text(&self.value) {
            return Err(TokenError::new("the token has to be visible ASCII"));
        }
        if self.principal.contains('\0') {
            return Err(TokenError::new("the token's principal has a NUL byte"));
        }
        for (name, value) in &self.extensions {
            if name.is_empty() || name == "auth" || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(TokenError::new("the name of a token's extension has to be of letters, and not `auth`"));
            }
            if !is_text(value) {
                return Err(TokenError::new(format!("the token's extension {name} has to be visible ASCII")));
            }
        }
        Ok(())
    }
}

/// Leaves the token out, and the extensions' values.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions: Vec<_> = self.extensions.iter().map(|(name, _)| name).collect();
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .field("principal", &self.principal)
            .field("extensions", &extensions)
            .finish_non_exhaustive()
    }
}

/// Why there is no token. The reason is shown in an event and in librdkafka's log, so it must not name a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    reason: String,
}

impl TokenError {
    /// An error with its reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.reason.is_empty() { "no reason was given" } else { &self.reason })
    }
}

impl std::error::Error for TokenError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(value: &str) -> Token {
        Token::new(value, UNIX_EPOCH + Duration::from_millis(1_700_000_000_123))
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = token("hunter2").principal("orders").extension("tenant", "hunter3");
        let text = format!("{token:?}");
        assert!(text.contains("orders") && text.contains("tenant") && !text.contains("hunter"), "{text}");
    }

    #[test]
    fn what_the_protocol_cannot_carry_is_refused_without_showing_it() {
        for (bad, why) in [
            (token("hunter2\0"), "token"),
            (token("hunt\u{e9}r2"), "token"),
            (token(""), "token"),
            (token("t").principal("hunter2\0"), "principal"),
            (token("t").extension("auth", "hunter2"), "auth"),
            (token("t").extension("hunter-2", "v"), "letters"),
            (token("t").extension("", "hunter2"), "letters"),
            (token("t").extension("tenant", "hunter2\x07"), "tenant"),
        ] {
            let error = bad.check().expect_err(why).to_string();
            assert!(error.contains(why) && !error.contains("hunter"), "{error}");
        }
        assert_eq!(token("a.b-c_d=\t").extension("tenant", "a b").check(), Ok(()));
    }

    #[test]
    fn expiry_is_in_milliseconds_within_reach_of_librdkafka() {
        assert_eq!(token("t").expires_ms(), 1_700_000_000_123);
        assert_eq!(Token::new("t", UNIX_EPOCH - Duration::from_secs(1)).expires_ms(), 0);
        let far = UNIX_EPOCH + Duration::from_secs(i64::MAX as u64 / 2);
        assert!(Token::new("t", far).expires_ms().checked_mul(2000).is_some());
    }
}
