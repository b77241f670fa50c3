//! Calls code of the application so that its panic stops there.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The value of `code`, or `None` if it panics. The panic hook has reported the panic by then.
pub(crate) fn catch_panic<T>(code: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(payload) => {
            // The payload of a panic may panic when it is dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            None
        }
    }
}
