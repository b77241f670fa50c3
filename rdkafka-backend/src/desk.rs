//! A worker without a thread: hands off a batch on the thread of whoever asks.
//!
//! One record alone gains nothing from a batch, and waking a thread for it costs more than handing it off. librdkafka's
//! calls for that queue the record and return; none of them waits for a broker. But to make a topic's handle takes a lock that
//! librdkafka also holds for other work, and a look at each topic that there is: a topic's first batch is left to a worker.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aioproducer_core::backend::{Exchange, Message};
use aioproducer_core::{MessageBatch, SlotId};

use crate::contain::contain;
use crate::worker::Worker;

pub(crate) struct Desk<R> {
    state: Mutex<State<R>>,
    returned: Condvar,
    /// Batches that were taken and not handed off: at most one for each lane.
    left: Mutex<Vec<Left<R>>>,
}

type Left<R> = (MessageBatch, Vec<(SlotId, R)>);

enum State<R> {
    Free(Box<Clerk<R>>),
    Busy,
    Closed,
}

struct Clerk<R> {
    worker: Worker<R>,
    records: Vec<(SlotId, R)>,
}

impl<R: Message> Desk<R> {
    pub(crate) fn new(worker: Worker<R>) -> Self {
        let clerk = Clerk { worker, records: Vec::new() };
        Self { state: Mutex::new(State::Free(Box::new(clerk))), returned: Condvar::new(), left: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, Vec<Left<R>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands off one batch, in the place of a worker that is asleep. False if that worker has to be woken all the same:
    /// the desk is occupied, there is more to do, or the batch was left to it.
    pub(crate) fn serve(&self, exchange: &impl Exchange<R>) -> bool {
        let Some(mut turn) = self.turn() else { return false };
        let Some(Clerk { worker, records }) = turn.clerk.as_deref_mut() else { return false };
        match exchange.take(records) {
            Some(batch) if !worker.knows(exchange, batch.lane().topic()) => {
                self.left().push((batch, std::mem::take(records)));
                false
            }
            Some(batch) => {
                worker.hand_off(exchange, batch, records);
                exchange.rest()
            }
            None => true,
        }
    }

    fn turn(&self) -> Option<Turn<'_, R>> {
        let mut state = self.lock();
        if !matches!(*state, State::Free(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Busy) {
            State::Free(clerk) => Some(Turn { desk: self, clerk: Some(clerk) }),
            State::Busy | State::Closed => None,
        }
    }

    /// Has `worker` hand off the batches that were left to it.
    pub(crate) fn hand_off_what_is_left(&self, worker: &mut Worker<R>, exchange: &impl Exchange<R>) {
        loop {
            let left = self.left().pop();
            let Some((batch, mut records)) = left else { return };
            worker.hand_off(exchange, batch, &mut records);
        }
    }

    /// Waits for the last batch to be handed off here, and leaves none, as long as there is a driver.
    pub(crate) fn close(&self, exchange: Option<&impl Exchange<R>>) {
        let busy = |state: &mut State<R>| matches!(state, State::Busy);
        let mut state = self.returned.wait_while(self.lock(), busy).unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *state, State::Closed);
        drop(state);
        match (last, exchange) {
            (State::Free(mut clerk), Some(exchange)) => self.hand_off_what_is_left(&mut clerk.worker, exchange),
            // Owners of payloads may be anybody's, and may panic.
            (_, None) => {
                std::mem::take(&mut *self.left()).into_iter().flat_map(|(_, records)| records).for_each(|record| {
                    contain(|| drop(record));
                })
            }
            (_, Some(_)) => {}
        }
    }
}

/// The clerk at work, without a lock. Goes back whatever happens.
struct Turn<'a, R: Message> {
    desk: &'a Desk<R>,
    clerk: Option<Box<Clerk<R>>>,
}

impl<R: Message> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        if let Some(clerk) = self.clerk.take() {
            *self.desk.lock() = State::Free(clerk);
            self.desk.returned.notify_all();
        }
    }
}
