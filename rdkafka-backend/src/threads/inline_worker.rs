//! A worker without a thread: it hands off a batch on the thread that produces.
//!
//! One record alone gains nothing from batching, and waking a worker costs more than handing it off. librdkafka only enqueues the
//! record; it does not wait for a broker. But creating a topic's handle takes a lock that librdkafka also holds for other work,
//! and visits every topic. So a topic's first batch is deferred to a worker.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aioproducer_core::backend::{Driver, Message};
use aioproducer_core::{MessageBatch, SlotId};

use crate::catch_panic::catch_panic;
use crate::threads::batch_sender::BatchSender;

pub(crate) struct InlineWorker<R> {
    state: Mutex<State<R>>,
    /// The workspace is idle again.
    returned: Condvar,
    /// Batches that were taken and not handed off: at most one per lane.
    deferred: Mutex<Vec<Deferred<R>>>,
}

type Deferred<R> = (MessageBatch, Vec<(SlotId, R)>);

enum State<R> {
    Idle(Box<Workspace<R>>),
    Busy,
    Closed,
}

struct Workspace<R> {
    sender: BatchSender<R>,
    records: Vec<(SlotId, R)>,
}

impl<R: Message> InlineWorker<R> {
    pub(super) fn new(sender: BatchSender<R>) -> Self {
        let workspace = Workspace { sender, records: Vec::new() };
        Self {
            state: Mutex::new(State::Idle(Box::new(workspace))),
            returned: Condvar::new(),
            deferred: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deferred(&self) -> MutexGuard<'_, Vec<Deferred<R>>> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands off one batch on this thread. False if a worker must be woken: another thread is here, there are more batches, or
    /// the batch was deferred.
    pub(super) fn try_hand_off(&self, driver: &impl Driver<R>) -> bool {
        let Some(mut turn) = self.turn() else { return false };
        let Some(Workspace { sender, records }) = turn.workspace.as_deref_mut() else { return false };
        match driver.take(records) {
            Some(batch) if !sender.has_topic(driver, batch.lane().topic()) => {
                self.deferred().push((batch, std::mem::take(records)));
                false
            }
            Some(batch) => {
                sender.hand_off(driver, batch, records);
                driver.try_idle()
            }
            None => true,
        }
    }

    fn turn(&self) -> Option<Turn<'_, R>> {
        let mut state = self.lock();
        if !matches!(*state, State::Idle(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Busy) {
            State::Idle(workspace) => Some(Turn { inline_worker: self, workspace: Some(workspace) }),
            State::Busy | State::Closed => None,
        }
    }

    /// Hands off the deferred batches with `sender`.
    pub(super) fn hand_off_deferred(&self, sender: &mut BatchSender<R>, driver: &impl Driver<R>) {
        loop {
            let deferred = self.deferred().pop();
            let Some((batch, mut records)) = deferred else { return };
            sender.hand_off(driver, batch, &mut records);
        }
    }

    /// Waits for the batch that is handed off here at the moment, allows no more, and hands off the deferred batches. Without a
    /// driver, the records of those are dropped.
    pub(super) fn close(&self, driver: Option<&impl Driver<R>>) {
        let busy = |state: &mut State<R>| matches!(state, State::Busy);
        let mut state = self.returned.wait_while(self.lock(), busy).unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *state, State::Closed);
        drop(state);
        match (last, driver) {
            (State::Idle(mut workspace), Some(driver)) => self.hand_off_deferred(&mut workspace.sender, driver),
            // The owner of a payload is code of the application, and may panic.
            (_, None) => {
                let deferred = std::mem::take(&mut *self.deferred());
                deferred.into_iter().flat_map(|(_, records)| records).for_each(|record| {
                    catch_panic(|| drop(record));
                });
            }
            (_, Some(_)) => {}
        }
    }
}

/// The workspace in use, without a lock. It goes back also if the thread panics.
struct Turn<'a, R: Message> {
    inline_worker: &'a InlineWorker<R>,
    workspace: Option<Box<Workspace<R>>>,
}

impl<R: Message> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        if let Some(workspace) = self.workspace.take() {
            *self.inline_worker.lock() = State::Idle(workspace);
            self.inline_worker.returned.notify_all();
        }
    }
}
