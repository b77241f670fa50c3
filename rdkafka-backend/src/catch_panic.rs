//! The application's code, called where its panic must not end what is of others.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `code` comes to, or `None` if it panics. The panic was told by the panic hook already.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // Dropping what it was thrown with can panic once more.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            None
        }
    }
}
