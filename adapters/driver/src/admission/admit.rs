//! The way of one record into the machine.

use std::sync::MutexGuard;
use std::task::Waker;

use aioproducer_core::{Instant, Lane, TopicId};

use crate::admission::inbox::{Arrival, Inbox};
use crate::admission::waiters::{Ask, WaiterId};
use crate::api::delivery::Delivery;
use crate::api::error::ProduceError;
use crate::api::overflow::{DROPPED, Overflow, Patience};
use crate::outcome::ticket::Ticket;
use crate::record::{OwnedRecord, Record};
use crate::state::effects::{Discard, Effects};
use crate::state::end::CLOSED;
use crate::state::shared::{Shared, State};

/// Bytes in one part of a record that are too many to be copied while somebody may wait for a lock.
const LONG: usize = 64 << 10;

/// A record that is fit to be accepted. It is large to move, so it stays where it is until it is accepted.
pub(crate) struct Admission<'r, 'a> {
    record: &'r mut Record<'a>,
    topic: TopicId,
    /// What it counts for in the pool, in bytes.
    size: usize,
}

/// What became of an attempt to enter; `T` is what the caller keeps of an accepted record.
pub(crate) enum Entered<'a, T> {
    Accepted(T),
    Waiting(WaiterId),
    Failed(Box<ProduceError<'a>>),
}

/// What the pool has for a record.
enum Fit {
    Room,
    /// It may wait for some.
    Wait,
    /// None, and it is not to wait.
    Full,
    /// None, and it is to fail as if it had been accepted.
    Dropped,
}

/// Makes an accepted record's outcome go to a new [`Delivery`].
#[inline]
pub(crate) fn to_delivery(shared: &Shared, inbox: &mut Inbox) -> (Ticket, Delivery) {
    let (cell, handle) = inbox.free_cells.acquire(&shared.completions);
    (Ticket::to_delivery(cell), Delivery::new(handle))
}

/// What [`AioProducer::try_produce`](crate::AioProducer::try_produce) does; `transaction` says whether the record comes through one.
#[inline]
pub(crate) fn try_produce<'a>(
    shared: &Shared,
    record: &mut Record<'a>,
    transaction: bool,
) -> Result<Delivery, Box<ProduceError<'a>>> {
    Admission::check_in(shared, record, transaction)?.try_enter(shared, to_delivery)
}

impl<'r, 'a> Admission<'r, 'a> {
    /// Refuses what can never be accepted, of a record that comes through no transaction.
    #[inline]
    pub(crate) fn check(shared: &Shared, record: &'r mut Record<'a>) -> Result<Self, Box<ProduceError<'a>>> {
        Self::check_in(shared, record, false)
    }

    /// The same; `transaction` says whether the record comes through one.
    #[inline(always)]
    pub(crate) fn check_in(
        shared: &Shared,
        record: &'r mut Record<'a>,
        transaction: bool,
    ) -> Result<Self, Box<ProduceError<'a>>> {
        match fit(shared, record, transaction) {
            Some((topic, size)) => Ok(Self { record, topic, size }),
            None => Err(refusal(shared, record, transaction)),
        }
    }

    fn lane(&self) -> Lane {
        Lane::new(self.topic, self.record.get_partition())
    }

    /// Enters if nobody waits and there is room, or as the overflow policy says.
    pub(crate) fn try_enter<T>(
        mut self,
        shared: &Shared,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T) + Copy,
    ) -> Result<T, Box<ProduceError<'a>>> {
        if let Some(kept) = self.leave_in_inbox(shared, sink) {
            return Ok(kept);
        }
        self.copy_ahead(shared, None);
        let now = shared.runtime.now();
        shared.with(|state, effects| {
            state.shut_inbox(shared, effects);
            if state.machine.is_closed() {
                return Err(Box::new(ProduceError::refused(self.record.take(), state.fatal.as_ref(), state.ended_by)));
            }
            if !state.admits() {
                return Err(Box::new(ProduceError::TransactionOver(self.record.take())));
            }
            let first = state.waiters.is_empty();
            match self.fit(shared, state, first, effects) {
                Fit::Room => Ok(self.accept(shared, state, sink, now, None, effects)),
                Fit::Dropped => Ok(self.drop_newest(shared, state, sink, effects)),
                Fit::Wait | Fit::Full => Err(Box::new(ProduceError::Full(self.record.take()))),
            }
        })
    }

    /// What the state of the pool and the overflow policy mean for the record; `first` if nobody waits before it.
    fn fit(&self, shared: &Shared, state: &mut State, first: bool, effects: &mut Effects) -> Fit {
        if first && state.machine.has_room(self.lane(), self.size) {
            return Fit::Room;
        }
        match shared.overflow {
            Overflow::Wait | Overflow::WaitFor(_) => Fit::Wait,
            Overflow::Fail => Fit::Full,
            Overflow::DropOldest if state.make_room(shared, self.lane(), self.size, effects) => Fit::Room,
            Overflow::DropOldest | Overflow::DropNewest => Fit::Dropped,
        }
    }

    /// Enters, or takes or keeps a place in the queue of waiters. Nothing is left of the record unless it waits. `place` is
    /// lent, as most records have none and need not copy it.
    pub(crate) fn enter<T>(
        mut self,
        shared: &Shared,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T) + Copy,
        place: &Option<WaiterId>,
        patience: &Patience,
        waker: &Waker,
    ) -> Entered<'a, T> {
        if place.is_none()
            && let Some(kept) = self.leave_in_inbox(shared, sink)
        {
            return Entered::Accepted(kept);
        }
        let place = *place;
        self.copy_ahead(shared, place);
        let now = shared.runtime.now();
        // Cloning or dropping a waker may run anybody's code, so neither is done under the lock.
        let mut waker = Some(waker.clone());
        shared.with(|state, effects| {
            state.shut_inbox(shared, effects);
            if state.machine.is_closed() {
                state.leave(place, effects);
                let error = ProduceError::refused(self.record.take(), state.fatal.as_ref(), state.ended_by);
                return Entered::Failed(Box::new(error));
            }
            if !state.admits() {
                state.leave(place, effects);
                return Entered::Failed(Box::new(ProduceError::TransactionOver(self.record.take())));
            }
            match self.fit(shared, state, state.is_first(place), effects) {
                Fit::Room => {
                    state.leave(place, effects);
                    return Entered::Accepted(self.accept(shared, state, sink, now, patience.since(), effects));
                }
                Fit::Dropped => return Entered::Accepted(self.drop_newest(shared, state, sink, effects)),
                Fit::Full => return Entered::Failed(Box::new(ProduceError::Full(self.record.take()))),
                Fit::Wait => {}
            }
            let waker = waker.take().unwrap_or_else(|| Waker::noop().clone());
            Entered::Waiting(match place {
                Some(place) => {
                    let unused = state.waiters.update(place, waker);
                    effects.discard.extend(unused.map(Discard::Waker));
                    place
                }
                None => state.waiters.join(Ask { bytes: self.size, lane: Some(self.lane()) }, waker),
            })
        })
    }

    /// Copies what is long while nothing is locked, if the record is likely to be accepted: what waits for room keeps no
    /// memory.
    fn copy_ahead(&mut self, shared: &Shared, place: Option<WaiterId>) {
        if self.size <= LONG || !self.record.lends_more_than(LONG) {
            return;
        }
        let room = shared.with(|state, _| state.is_first(place) && state.machine.has_room(self.lane(), self.size));
        if room || matches!(shared.overflow, Overflow::DropOldest | Overflow::DropNewest) {
            self.record.own_more_than(LONG);
        }
    }

    /// The fast way in, if it is open.
    #[inline]
    fn leave_in_inbox<T>(
        &mut self,
        shared: &Shared,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T),
    ) -> Option<T> {
        let (mut inbox, at) = admitted(shared, shared.inbox(), self.record, self.size)?;
        let (ticket, kept) = sink(shared, &mut inbox);
        let ticket = ticket.marked(shared.observer.mark(self.record));
        let record = OwnedRecord::from_record(self.record, self.topic, self.size, &mut inbox.memory);
        inbox.leave(self.size, Arrival { record, ticket, at });
        Some(kept)
    }

    /// Gives the record to the machine, which has room for it while the inbox is shut. It may have waited since a while.
    fn accept<T>(
        &mut self,
        shared: &Shared,
        state: &mut State,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T),
        at: Instant,
        since: Option<Instant>,
        effects: &mut Effects,
    ) -> T {
        let (record, ticket, kept) = self.store(shared, sink);
        state.admit(shared, Arrival { record, ticket, at }, since, effects);
        state.arm(at, effects);
        kept
    }

    /// Fails the record, which was to be accepted.
    fn drop_newest<T>(
        &mut self,
        shared: &Shared,
        state: &mut State,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T),
        effects: &mut Effects,
    ) -> T {
        let (record, ticket, kept) = self.store(shared, sink);
        state.dropped += 1;
        state.tell_failure(shared, ticket, DROPPED, None, Some(record), effects);
        kept
    }

    fn store<T>(
        &mut self,
        shared: &Shared,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T),
    ) -> (OwnedRecord, Ticket, T) {
        let mut inbox = shared.inbox();
        let (ticket, kept) = sink(shared, &mut inbox);
        let ticket = ticket.marked(shared.observer.mark(self.record));
        (OwnedRecord::from_record(self.record, self.topic, self.size, &mut inbox.memory), ticket, kept)
    }
}

/// The topic of a record that is fit to be accepted, and what it counts for in the pool; `None` if it can never be.
#[inline(always)]
pub(crate) fn fit(shared: &Shared, record: &mut Record<'_>, transaction: bool) -> Option<(TopicId, usize)> {
    if transaction != shared.transactional {
        return None;
    }
    let topic = shared.topics.resolve(record.topic_ref()).ok()?;
    record.check().ok()?;
    shared.observer.spans.begin(record);
    let (written, cost) = (record.written_size(), record.cost());
    (written <= shared.record_bytes && cost <= shared.pool_bytes).then_some((topic, cost))
}

/// Why a record is not [`fit`]. Made apart, where it is in nobody's way.
#[cold]
fn refusal<'a>(shared: &Shared, record: &mut Record<'a>, transaction: bool) -> Box<ProduceError<'a>> {
    let (size, written, cost) = (record.size(), record.written_size(), record.cost());
    let trace = std::mem::take(&mut record.trace);
    let error = Box::new(if transaction != shared.transactional {
        ProduceError::OutsideTransaction(record.take())
    } else if let Err(error) = shared.topics.resolve(record.topic_ref()) {
        ProduceError::Topic { record: record.take(), error }
    } else if let Err(error) = record.check() {
        ProduceError::Invalid { record: record.take(), error }
    } else if written > shared.record_bytes {
        let limit = shared.record_bytes + shared.record_overhead;
        let overhead = written - size + shared.record_overhead;
        ProduceError::TooLarge { record: record.take(), size, overhead, limit, setting: shared.record_setting }
    } else {
        ProduceError::AbovePool { record: record.take(), cost, limit: shared.pool_bytes }
    });
    trace.refused(&error);
    error
}

/// Leaves records in the inbox under one lock, from the first on and as long as it admits them; how many. `checked` has what
/// [`fit`] says of each, `ticket` makes each one's ticket.
pub(crate) fn leave_run(
    shared: &Shared,
    records: &mut [Record<'_>],
    checked: &[(TopicId, usize)],
    ticket: impl Fn(u32) -> Ticket,
) -> usize {
    let mut inbox = shared.inbox();
    for (index, (record, &(topic, size))) in records.iter_mut().zip(checked).enumerate() {
        let Some((admitting, at)) = admitted(shared, inbox, record, size) else { return index };
        inbox = admitting;
        let ticket = ticket(index as u32).marked(shared.observer.mark(record));
        let record = OwnedRecord::from_record(record, topic, size, &mut inbox.memory);
        inbox.leave(size, Arrival { record, ticket, at });
    }
    checked.len()
}

/// The inbox, if it admits a record, which counts for `size` bytes, and the time that the record gets there.
#[inline(always)]
fn admitted<'s>(
    shared: &'s Shared,
    mut inbox: MutexGuard<'s, Inbox>,
    record: &mut Record<'_>,
    size: usize,
) -> Option<(MutexGuard<'s, Inbox>, Instant)> {
    if !inbox.admits(size) {
        return None;
    }
    if size > LONG && record.lends_more_than(LONG) {
        drop(inbox);
        record.own_more_than(LONG);
        inbox = shared.inbox();
        if !inbox.admits(size) {
            return None;
        }
    }
    if let Some(at) = inbox.recent_time() {
        return Some((inbox, at));
    }
    drop(inbox);
    // The clock is not ours, so it is read without a lock.
    let now = shared.runtime.now();
    let mut inbox = shared.inbox();
    inbox.set_time(now);
    inbox.admits(size).then_some((inbox, now))
}

impl State {
    /// Tells the machine of a record that it has room for, and that may have waited for it. The timer is to be armed for it.
    #[inline(always)]
    pub(crate) fn admit(&mut self, shared: &Shared, arrival: Arrival, since: Option<Instant>, effects: &mut Effects) {
        let Arrival { record, ticket, at } = arrival;
        let own = record.timeout();
        match self.machine.produce(at, record, ticket) {
            Ok(slot) => {
                if let Some(timeout) = own {
                    self.note_timeout(slot, since.unwrap_or(at) + timeout, effects);
                }
            }
            Err(refused) => self.tell_failure(shared, refused.ticket, CLOSED, None, Some(refused.record), effects),
        }
    }

    /// Whether nobody waits before who waits at `place`, or comes now.
    fn is_first(&self, place: Option<WaiterId>) -> bool {
        place.map_or(self.waiters.is_empty(), |place| self.waiters.is_head(place))
    }

    /// Gives up a place in the queue of waiters.
    pub(crate) fn leave(&mut self, place: Option<WaiterId>, effects: &mut Effects) {
        if let Some(place) = place {
            effects.discard.extend(self.waiters.leave(place).map(Discard::Waker));
        }
    }
}
