//! Sets OAuth tokens.

use std::ffi::{CStr, CString};
use std::ptr;

use rdkafka_sys as sys;

use super::client::Client;
use crate::oauth::{Token, TokenError, TokenReceiver};

/// The size of the buffer for librdkafka's reason.
const REASON: usize = 512;

impl<R> Client<R> {
    /// Answers librdkafka's last token request.
    pub(crate) fn deliver_token(&self) {
        if let Some(tokens) = &self.context().tokens {
            tokens.deliver(self);
        }
    }
}

impl<R> TokenReceiver for Client<R> {
    fn set_token(&self, token: &Token) -> Result<(), TokenError> {
        let text = |text: &str| CString::new(text).map_err(|_| TokenError::new("the token contains a NUL byte"));
        self.context().sinks.add_secret(token.value());
        let (value, principal) = (text(token.value())?, text(token.principal_name())?);
        let extensions = token.extensions().map(text).collect::<Result<Vec<_>, _>>()?;
        let mut extensions: Vec<_> = extensions.iter().map(|extension| extension.as_ptr()).collect();
        let mut reason = [0; REASON];
        // SAFETY: the client is alive; all strings are C strings, which are copied; the lengths are those of the arrays.
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
        // SAFETY: the client is alive; the string is a C string and copied. It fails only if tokens are not used.
        unsafe { sys::rd_kafka_oauthbearer_set_token_failure(self.ptr(), reason.as_ptr()) };
    }
}
