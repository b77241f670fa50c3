//! Whether a record is accepted, waits or is rejected: the fast way into the inbox, and the exact way into the machine.

use std::task::Waker;

use aioproducer_core::{AdmitDecision, Instant, Lane, Overflow};

use super::effects::{Discard, Effects};
use super::shared::{Shared, State};
use crate::admission::error::ProduceError;
use crate::admission::inbox::{Arrival, Inbox};
use crate::admission::lane_waiters::WaitingPlace;
use crate::admission::wait_limit::WaitLimit;
use crate::outcome::failures::DROPPED;
use crate::outcome::ticket::Ticket;
use crate::record::{OwnedRecord, Record};
use crate::runtime::sync::MutexGuard;

/// A part of a record with more bytes than this is not copied under a lock.
const LONG: usize = 64 << 10;

/// A record that may be accepted. It is large to move, so it stays where it is until then.
pub(crate) struct Admission<'r, 'a> {
    record: &'r mut Record<'a>,
    lane: Lane,
    /// What it counts for in the pool, in bytes.
    size: usize,
}

/// The result of an attempt to enter; `T` is what the caller keeps of an accepted record.
pub(crate) enum Entered<'a, T> {
    Accepted(T),
    Waiting(WaitingPlace),
    Failed(Box<ProduceError<'a>>),
}

impl<'r, 'a> Admission<'r, 'a> {
    /// Rejects a record that can never be accepted. It comes through no transaction.
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
        match shared.check(record, transaction) {
            Some((lane, size)) => Ok(Self { record, lane, size }),
            None => Err(shared.rules.refusal(&shared.topics, record, transaction)),
        }
    }

    /// Enters if no task waits and there is room, or as the overflow policy says.
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
            let first = state.is_first(None, self.lane);
            match state.decide(shared, self.lane, self.size, first, effects) {
                AdmitDecision::Enter => Ok(self.accept(shared, state, sink, now, None, effects)),
                AdmitDecision::Drop => Ok(self.drop_newest(shared, state, sink, effects)),
                _ => Err(self.full(state)),
            }
        })
    }

    /// Enters, or takes or keeps a place in the queue of waiters. Nothing is left of the record unless it waits. `place` is
    /// lent, as most records have none and need not copy it.
    pub(crate) fn enter<T>(
        mut self,
        shared: &Shared,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T) + Copy,
        place: &Option<WaitingPlace>,
        wait_limit: &mut WaitLimit,
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
        // Cloning or dropping a waker may run the application's code, so neither is done under the lock.
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
            match state.decide(shared, self.lane, self.size, state.is_first(place, self.lane), effects) {
                AdmitDecision::Enter => {
                    state.leave(place, effects);
                    return Entered::Accepted(self.accept(shared, state, sink, now, wait_limit.since(), effects));
                }
                AdmitDecision::Drop => return Entered::Accepted(self.drop_newest(shared, state, sink, effects)),
                AdmitDecision::Wait => {}
                _ => return Entered::Failed(self.full(state)),
            }
            let waker = waker.take().unwrap_or_else(|| Waker::noop().clone());
            let since = wait_limit.begin(now);
            let ask = (self.lane, self.size);
            let (place, unused) = state.waiters.wait(place, ask, since, &state.machine, waker);
            effects.discard.extend(unused.map(Discard::Waker));
            let ends = shared.context.delivery_timeout.map(|timeout| since + timeout);
            if ends.into_iter().chain(state.machine.shares_due()).any(|at| at < state.armed) {
                effects.wakers.extend(state.driver.take());
            }
            Entered::Waiting(place)
        })
    }

    /// The error of a record that finds no room, or whose lane has its share.
    fn full(&mut self, state: &State) -> Box<ProduceError<'a>> {
        let record = self.record.take();
        Box::new(if state.machine.has_share(self.lane, self.size) {
            ProduceError::Full(record)
        } else {
            ProduceError::PartitionFull { record, partition: self.lane.partition() }
        })
    }

    /// Copies what is long while nothing is locked, if the record is likely to be accepted: what waits for room keeps no
    /// memory.
    fn copy_ahead(&mut self, shared: &Shared, place: Option<WaitingPlace>) {
        if self.size <= LONG || !self.record.lends_more_than(LONG) {
            return;
        }
        let lane = self.lane;
        let room = shared.with(|state, _| state.is_first(place, lane) && state.machine.has_room(lane, self.size));
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
        let record = OwnedRecord::from_record(self.record, self.lane, self.size, &mut inbox.memory);
        inbox.leave(self.size, Arrival { record, ticket, at });
        Some(kept)
    }

    /// Passes the record to the machine, which has room for it while the inbox is shut. `since` is when its wait began.
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
        state.arm(effects);
        kept
    }

    /// Accepts the record and fails it at once.
    fn drop_newest<T>(
        &mut self,
        shared: &Shared,
        state: &mut State,
        sink: impl FnOnce(&Shared, &mut Inbox) -> (Ticket, T),
        effects: &mut Effects,
    ) -> T {
        let (record, ticket, kept) = self.store(shared, sink);
        state.complete_failed(shared, ticket, DROPPED, None, Some(record), effects);
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
        (OwnedRecord::from_record(self.record, self.lane, self.size, &mut inbox.memory), ticket, kept)
    }
}

/// Leaves records in the inbox under one lock, from the first on and as long as it admits them; how many. `checked` has what
/// [`Shared::check`] says of each, `ticket` makes each one's ticket.
pub(crate) fn leave_run(
    shared: &Shared,
    records: &mut [Record<'_>],
    checked: &[(Lane, usize)],
    ticket: impl Fn(u32) -> Ticket,
) -> usize {
    let mut inbox = shared.inbox();
    for (index, (record, &(lane, size))) in records.iter_mut().zip(checked).enumerate() {
        let Some((admitting, at)) = admitted(shared, inbox, record, size) else { return index };
        inbox = admitting;
        let ticket = ticket(index as u32).marked(shared.observer.mark(record));
        let record = OwnedRecord::from_record(record, lane, size, &mut inbox.memory);
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
    // The clock is the runtime's code, so it is read without a lock.
    let now = shared.runtime.now();
    let mut inbox = shared.inbox();
    inbox.set_time(now);
    inbox.admits(size).then_some((inbox, now))
}

impl State {
    /// What the overflow policy says of a record; `first` if no task waits before it. Records that make way for it fail.
    fn decide(
        &mut self,
        shared: &Shared,
        lane: Lane,
        size: usize,
        first: bool,
        effects: &mut Effects,
    ) -> AdmitDecision {
        let mut evicted = Vec::new();
        let decision = self.machine.admit(lane, size, first, |record, ended| evicted.push((record, ended)));
        for (record, ended) in evicted {
            self.fail(shared, ended, DROPPED, Some(record), effects);
        }
        decision
    }

    /// Whether no task waits before the one at `place`, or before a new one, for `lane`.
    fn is_first(&self, place: Option<WaitingPlace>, lane: Lane) -> bool {
        self.waiters.is_first(place, lane)
    }

    /// Gives up a place in the queue of waiters.
    pub(crate) fn leave(&mut self, place: Option<WaitingPlace>, effects: &mut Effects) {
        if let Some(place) = place {
            effects.discard.extend(self.waiters.leave(place).map(Discard::Waker));
        }
    }
}
