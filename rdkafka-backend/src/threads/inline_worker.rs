//! A worker without a thread: hands off a batch on the thread of whoever asks.
//!
//! One record alone gains nothing from a batch, and waking a thread for it costs more than handing it off. librdkafka's
//! calls for that queue the record and return; none of them waits for a broker. But to make a topic's handle takes a lock that
//! librdkafka also holds for other work, and a look at each topic that there is: a topic's first batch is left to a worker.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aioproducer_core::backend::{Driver, Message};
use aioproducer_core::{MessageBatch, SlotId};

use crate::catch_panic::catch_panic;
use crate::threads::worker::Worker;

pub(crate) struct InlineWorker<R> {
    state: Mutex<State<R>>,
    returned: Condvar,
    /// Batches that were taken and not handed off: at most one for each lane.
    left: Mutex<Vec<Left<R>>>,
}

type Left<R> = (MessageBatch, Vec<(SlotId, R)>);

enum State<R> {
    Free(Box<Seat<R>>),
    Busy,
    Closed,
}

struct Seat<R> {
    worker: Worker<R>,
    records: Vec<(SlotId, R)>,
}

impl<R: Message> InlineWorker<R> {
    pub(crate) fn new(worker: Worker<R>) -> Self {
        let seat = Seat { worker, records: Vec::new() };
        Self { state: Mutex::new(State::Free(Box::new(seat))), returned: Condvar::new(), left: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, Vec<Left<R>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands off one batch, in the place of a worker that is asleep. False if that worker has to be woken all the same:
    /// the inline_worker is occupied, there is more to do, or the batch was left to it.
    pub(crate) fn serve(&self, driver: &impl Driver<R>) -> bool {
        let Some(mut turn) = self.turn() else { return false };
        let Some(Seat { worker, records }) = turn.seat.as_deref_mut() else { return false };
        match driver.take(records) {
            Some(batch) if !worker.knows(driver, batch.lane().topic()) => {
                self.left().push((batch, std::mem::take(records)));
                false
            }
            Some(batch) => {
                worker.hand_off(driver, batch, records);
                driver.rest()
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
            State::Free(seat) => Some(Turn { inline_worker: self, seat: Some(seat) }),
            State::Busy | State::Closed => None,
        }
    }

    /// Has `worker` hand off the batches that were left to it.
    pub(crate) fn hand_off_what_is_left(&self, worker: &mut Worker<R>, driver: &impl Driver<R>) {
        loop {
            let left = self.left().pop();
            let Some((batch, mut records)) = left else { return };
            worker.hand_off(driver, batch, &mut records);
        }
    }

    /// Waits for the last batch to be handed off here, and leaves none, as long as there is a driver.
    pub(crate) fn close(&self, driver: Option<&impl Driver<R>>) {
        let busy = |state: &mut State<R>| matches!(state, State::Busy);
        let mut state = self.returned.wait_while(self.lock(), busy).unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *state, State::Closed);
        drop(state);
        match (last, driver) {
            (State::Free(mut seat), Some(driver)) => self.hand_off_what_is_left(&mut seat.worker, driver),
            // Owners of payloads may be anybody's, and may panic.
            (_, None) => {
                std::mem::take(&mut *self.left()).into_iter().flat_map(|(_, records)| records).for_each(|record| {
                    catch_panic(|| drop(record));
                })
            }
            (_, Some(_)) => {}
        }
    }
}

/// The seat at work, without a lock. Goes back whatever happens.
struct Turn<'a, R: Message> {
    inline_worker: &'a InlineWorker<R>,
    seat: Option<Box<Seat<R>>>,
}

impl<R: Message> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            *self.inline_worker.lock() = State::Free(seat);
            self.inline_worker.returned.notify_all();
        }
    }
}
