//! The way of one record into the machine.

use std::task::Waker;

use aioproducer_core::{Instant, Lane, TopicId};

use crate::delivery::Delivery;
use crate::error::ProduceError;
use crate::record::{Record, Stored};
use crate::shared::{CLOSED, Discard, Effects, Shared, State, Ticket};
use crate::waiters::WaiterId;

/// A record that is fit to be accepted. It stays where it is until it is: records are large to move.
pub(crate) struct Entry<'a> {
    record: Record<'a>,
    topic: TopicId,
    size: usize,
}

/// What became of an attempt to enter; `T` is what the caller keeps of an accepted record.
pub(crate) enum Entered<'a, T> {
    Accepted(T),
    Waiting(WaiterId),
    Failed(ProduceError<'a>),
}

/// Makes an accepted record's outcome go to a new [`Delivery`].
pub(crate) fn to_delivery(shared: &Shared, state: &mut State) -> (Ticket, Delivery) {
    let (cell, handle) = state.free_cells.acquire(&shared.completions);
    (Ticket::Delivery(cell), Delivery::new(handle))
}

impl<'a> Entry<'a> {
    /// Refuses what can never be accepted.
    pub(crate) fn check(shared: &Shared, record: Record<'a>) -> Result<Self, ProduceError<'a>> {
        let topic = match shared.topics.resolve(record.topic_ref()) {
            Ok(topic) => topic,
            Err(error) => return Err(ProduceError::Topic { record, error }),
        };
        if let Err(error) = record.check() {
            return Err(ProduceError::Invalid { record, error });
        }
        let (size, limit) = (record.size(), shared.record_bytes);
        if size > limit {
            return Err(ProduceError::TooLarge { record, size, limit });
        }
        Ok(Self { record, topic, size })
    }

    fn lane(&self) -> Lane {
        Lane::new(self.topic, self.record.get_partition())
    }

    /// Enters if nobody waits and there is room.
    pub(crate) fn try_enter(mut self, shared: &Shared) -> Result<Delivery, ProduceError<'a>> {
        shared.with_time(|now, state, effects| {
            if state.machine.is_closed() {
                return Err(ProduceError::refused(self.record.take(), state.fatal.as_ref()));
            }
            if !state.waiters.is_empty() || !state.machine.has_room(self.lane(), self.size) {
                return Err(ProduceError::Full(self.record.take()));
            }
            Ok(self.accept(shared, state, to_delivery, now, effects))
        })
    }

    /// Enters, or takes or keeps a place in the queue of waiters. Nothing is left of the record unless it waits.
    pub(crate) fn enter<T>(
        &mut self,
        shared: &Shared,
        state: &mut State,
        sink: impl FnOnce(&Shared, &mut State) -> (Ticket, T),
        attempt: Attempt<'_>,
        effects: &mut Effects,
    ) -> Entered<'a, T> {
        let Attempt { now, place, waker } = attempt;
        if state.machine.is_closed() {
            state.leave(place, effects);
            return Entered::Failed(ProduceError::refused(self.record.take(), state.fatal.as_ref()));
        }
        let first = match place {
            Some(place) => state.waiters.is_head(place),
            None => state.waiters.is_empty(),
        };
        if first && state.machine.has_room(self.lane(), self.size) {
            state.leave(place, effects);
            return Entered::Accepted(self.accept(shared, state, sink, now, effects));
        }
        Entered::Waiting(match place {
            Some(place) => {
                let before = state.waiters.update(place, waker);
                effects.discard.extend(before.map(Discard::Waker));
                place
            }
            None => state.waiters.join(self.size, waker),
        })
    }

    /// Gives the record to the machine, which has room for it.
    fn accept<T>(
        &mut self,
        shared: &Shared,
        state: &mut State,
        sink: impl FnOnce(&Shared, &mut State) -> (Ticket, T),
        now: Instant,
        effects: &mut Effects,
    ) -> T {
        let (ticket, kept) = sink(shared, state);
        let stored = Stored::from_record(&mut self.record, self.topic, self.size, &mut state.arena);
        if let Err(refused) = state.machine.produce(now, stored, ticket) {
            state.fail(shared, refused.ticket, CLOSED, Some(refused.record), effects);
        }
        state.arm(now, effects);
        kept
    }
}

/// The circumstances of an attempt to enter.
pub(crate) struct Attempt<'a> {
    pub(crate) now: Instant,
    /// The place in the queue of waiters that an earlier attempt got.
    pub(crate) place: Option<WaiterId>,
    /// Whom to wake when it is worth trying again.
    pub(crate) waker: &'a Waker,
}

impl State {
    /// Gives up a place in the queue of waiters.
    pub(crate) fn leave(&mut self, place: Option<WaiterId>, effects: &mut Effects) {
        if let Some(place) = place {
            effects.discard.extend(self.waiters.leave(place).map(Discard::Waker));
        }
    }
}
