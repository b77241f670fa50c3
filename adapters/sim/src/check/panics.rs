//! Panics of a scenario: their text and their place, and printed once, not again for each run that reduces a failure.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Where the thread panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Puts a hook before the one that is there, which prints. A panic's place is nowhere else to be had.
fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PLACE.set(info.location().map(ToString::to_string));
            if !IS_QUIET.get() {
                before(info);
            }
        }));
    });
}

/// Runs `code`; the error is its panic's text, with the place. If it is `quiet`, nothing is printed.
pub(super) fn catch<T>(quiet: bool, code: impl FnOnce() -> T) -> Result<T, String> {
    listen();
    PLACE.set(None);
    let before = IS_QUIET.replace(quiet);
    let result = catch_unwind(AssertUnwindSafe(code));
    IS_QUIET.set(before);
    result.map_err(|panic| {
        let place = PLACE.take().map_or_else(String::new, |place| format!(" ({place})"));
        format!("{}{place}", text(&*panic))
    })
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}
