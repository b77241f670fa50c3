//! The state of a producer: one lock around the machine, its transitions, and the effects that are applied when it is free.
//!
//! The rule of this room: under the lock, decide; after it, act. [`shared`] has the types, the other files have the transitions.
//! It asks the machine and the leaves of the lower rooms and its own (calls, transactions, flushes), which answer with values.
//! Nothing here is public, and nothing here is a future of the application's.
//!
//! # Locks
//!
//! All of them are short: none is held across an `.await`, and none is waited for by a task. Two are on a record's way:
//!
//! - the **state lock** (`Shared::state`) guards the machine and all that is decided with it;
//! - the **inbox lock** (`Shared::inbox`) guards the records that the machine does not know yet, and the memory for new ones.
//!
//! `Shared::with` takes the state lock, collects the inbox, runs a step, gathers what follows, and applies the effects without a
//! lock. So nothing is ever decided without an accepted record. `Shared::lock` alone is for reading what the inbox cannot change.
//! A worker shuts the inbox before it sleeps, under both locks, so no record is left there without a worker that collects it;
//! `loom_tests` explores that.
//!
//! An indented lock may be taken inside the one above it; no other nesting exists.
//!
//! ```text
//! state
//!   inbox
//!     span slab (observer)
//!     a journal, of a backend for tests
//!   callback changes (observer)
//!     callback queue
//!   callback queue
//!   reported gauges (observer)
//!   span slab (observer)
//!   a journal, of a backend for tests
//!   completion cell
//!   error pool, troubles, paced clock
//! taken alone, or as above: inbox, callback queue, callback changes, completion cell, error pool, troubles, paced clock
//! always alone: topic names, the callback pool's free list, each callback's place, spare lists, deferred notes, a stream of reports
//! ```
//!
//! # Foreign code
//!
//! The application's code never runs under a lock: no waker is woken, cloned or dropped, no payload or record of the application's
//! dropped, no callback, subscriber, recorder or logger called. Nor is the runtime called, its clock included, or the backend.
//! What is to be called or dropped is moved into [`Effects`](effects::Effects), or returned, and handled when the lock is free.
//! `Waker::will_wake` compares two pointers and runs no foreign code.
//!
//! One thing of the backend does run under the state lock: the iterators that it passes to `settle` and `report`. They yield records
//! that the backend owns already. They must not block, call the driver, or drop a record. The same holds for the journal of a
//! backend for tests.

pub(crate) mod admit;
mod anywhere;
mod apply;
mod broker_calls;
pub(crate) mod calls;
mod closing;
mod driver;
pub(crate) mod effects;
mod expiry;
pub(crate) mod flushes;
pub(crate) mod health;
mod host;
mod locks;
#[cfg(all(test, interleave))]
mod loom_tests;
#[cfg(all(test, not(interleave)))]
mod memory_tests;
mod outcomes;
mod placing;
mod retract;
pub(crate) mod shared;
mod start;
mod task;
pub(crate) mod transactions;
mod transition;
