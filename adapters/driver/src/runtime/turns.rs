//! Turns: a task that makes many calls that are ready at once returns to its executor now and then.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll};

use super::Runtime;

/// Calls in a row on one thread that may be ready at once, before a task returns to its executor.
const CALLS_PER_TURN: u32 = 128;

/// Outcomes that count as one call.
const OUTCOMES_PER_CALL: u32 = 8;

thread_local! {
    /// Calls since the last turn.
    static CALLS: Cell<u32> = const { Cell::new(0) };

    /// Outcomes that were read.
    static READ: Cell<u32> = const { Cell::new(0) };
}

/// Whether reading an outcome counts as a call: one in 8 does.
#[inline]
pub(crate) fn counts_as_call() -> bool {
    let read = READ.get().wrapping_add(1);
    READ.set(read);
    read.is_multiple_of(OUTCOMES_PER_CALL)
}

/// Takes a turn before a future does anything at its first poll. Without it a task that makes ready calls in a loop would
/// never return to its executor. When this is pending, the task has been woken.
#[inline]
pub(crate) fn poll_turn(runtime: &dyn Runtime, cx: &mut Context<'_>) -> Poll<()> {
    match runtime.poll_budget(cx) {
        Some(turn) => turn,
        None => count(cx),
    }
}

/// The same for an `async fn`.
pub(crate) async fn turn(runtime: &dyn Runtime) {
    poll_fn(|cx| poll_turn(runtime, cx)).await;
}

#[inline]
fn count(cx: &Context<'_>) -> Poll<()> {
    let calls = CALLS.get();
    if calls < CALLS_PER_TURN {
        CALLS.set(calls + 1);
        return Poll::Ready(());
    }
    CALLS.set(0);
    cx.waker().wake_by_ref();
    Poll::Pending
}
