//! A token, and why there is none.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A token with its expiry, principal and extensions (`rd_kafka_oauthbearer_set_token`).
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
///
/// use aioproducer_rdkafka::Token;
///
/// let expires = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
/// let token = Token::new("eyJhbGciOi…", expires).principal("orders").extension("tenant", "berlin");
/// // `Debug` does not show the token.
/// assert!(!format!("{token:?}").contains("eyJ"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    value: String,
    expires: SystemTime,
    principal: String,
    extensions: Vec<(String, String)>,
}

impl Token {
    /// A token as it is sent to the broker, usually a JSON Web Token, and the time when it expires.
    #[must_use]
    pub fn new(value: impl Into<String>, expires: SystemTime) -> Self {
        Self { value: value.into(), expires, principal: String::new(), extensions: Vec::new() }
    }

    /// Sets the principal that the token belongs to. Brokers read it from the token; only librdkafka uses this value.
    #[must_use]
    pub fn principal(mut self, name: impl Into<String>) -> Self {
        self.principal = name.into();
        self
    }

    /// Adds an extension for the broker (KIP-342). The name consists of ASCII letters.
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

    /// The expiry in milliseconds since the Unix epoch, limited to what librdkafka can express in microseconds.
    pub(crate) fn expires_ms(&self) -> i64 {
        const MAX: i64 = i64::MAX / 4000;
        let since = self.expires.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(MAX).min(MAX)
    }

    /// Checks the token by RFC 7628, section 3.1. librdkafka checks the same, but its error would show the token.
    pub(crate) fn check(&self) -> Result<(), TokenError> {
        let is_text = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'));
        if self.value.is_empty() || !is_text(&self.value) {
            return Err(TokenError::new("the token must be visible ASCII and not empty"));
        }
        if self.principal.contains('\0') {
            return Err(TokenError::new("the token's principal contains a NUL byte"));
        }
        for (name, value) in &self.extensions {
            if name.is_empty() || name == "auth" || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(TokenError::new(
                    "the name of a token's extension must consist of ASCII letters and must not be `auth`",
                ));
            }
            if !is_text(value) {
                return Err(TokenError::new(format!("the token's extension {name} must be visible ASCII")));
            }
        }
        Ok(())
    }
}

/// Shows neither the token nor the values of the extensions.
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

/// Why there is no token. The reason is shown in an event and in librdkafka's log, so it must not contain a secret.
///
/// ```
/// use aioproducer_rdkafka::TokenError;
///
/// let error = TokenError::new("the identity provider answered 503");
/// assert_eq!(error.to_string(), "the identity provider answered 503");
/// ```
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
    fn an_invalid_token_is_refused_and_not_shown() {
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
    fn the_expiry_is_in_milliseconds_within_librdkafkas_range() {
        assert_eq!(token("t").expires_ms(), 1_700_000_000_123);
        assert_eq!(Token::new("t", UNIX_EPOCH - Duration::from_secs(1)).expires_ms(), 0);
        let far = UNIX_EPOCH + Duration::from_secs(i64::MAX as u64 / 2);
        assert!(Token::new("t", far).expires_ms().checked_mul(2000).is_some());
    }
}
