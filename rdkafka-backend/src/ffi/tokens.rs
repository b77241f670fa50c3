//! OAuth tokens, into the client.

use std::ffi::{CStr, CString};
use std::ptr;

use rdkafka_sys as sys;

use super::Client;
use crate::oauth::mailbox::TakesTokens;
use crate::oauth::{Token, TokenError};

/// Room for librdkafka's reasons.
const REASON: usize = 512;

impl<R> Client<R> {
    /// Gives librdkafka the answer to its last token request.
    pub(crate) fn deliver_token(&self) {
        if let Some(tokens) = &self.listeners().tokens {
            tokens.deliver(self);
        }
    }
}

impl<R> TakesTokens for Client<R> {
    fn set_token(&self, token: &Token) -> Result<(), TokenError> {
        let text = |text: &str| CString::new(text).map_err(|_| TokenError::new("the token has a NUL byte"));
        self.listeners().sinks.keep_secret(token.value());
        let (value, principal) = (text(token.value())?, text(token.principal_name())?);
        let extensions = token.extensions().map(text).collect::<Result<Vec<_>, _>>()?;
        let mut extensions: Vec<_> = extensions.iter().map(|extension| extension.as_ptr()).collect();
        let mut reason = [0; REASON];
        // SAFETY: the client is alive, all strings are C strings and copied, the lengths are those of the arrays.
        let code = unsafe {
            sys::rd_kafka_oauthbearer_set_token(
                self.ptr(),
                value.as_ptr(),
                token.expires_ms(),
                principal.as_ptr(),
                if extensions.is_empty() { ptr::null_mut() } else { extensions.as_mut_ptr() },
                extensions.len(),
                reason.as_mut_ptr().cast(),
                REASON,
            )
        };
        if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        let reason = CStr::from_bytes_until_nul(&reason).unwrap_or_default();
        Err(TokenError::new(reason.to_string_lossy()))
    }

    fn set_token_failure(&self, error: &TokenError) {
        let reason = CString::new(error.to_string().replace('\0', " ")).unwrap_or_default();
        // SAFETY: the client is alive; the string is a C string and copied. It can only fail where tokens are not used.
        unsafe { sys::rd_kafka_oauthbearer_set_token_failure(self.ptr(), reason.as_ptr()) };
    }
}
