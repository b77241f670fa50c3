//! Whether a thread is inside a callback.

use std::cell::Cell;

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a callback. It must not wait for callbacks then.
pub(crate) fn is_inside_callback() -> bool {
    IS_INSIDE.get()
}

/// Marks the thread as inside a callback, until it is dropped.
pub(super) struct InsideCallback(bool);

impl InsideCallback {
    pub(super) fn begin() -> Self {
        Self(IS_INSIDE.replace(true))
    }
}

impl Drop for InsideCallback {
    fn drop(&mut self) {
        IS_INSIDE.set(self.0);
    }
}
