//! Tasks that wait for room: first come, first served, but for those whose lane may not have more.
//!
//! A task whose lane has its share of the pool leaves the common queue for the queue of its lane, so that it is in no other's way. It
//! does so itself, when it comes first. So each lane's tasks keep their order, and moving them takes no time under a lock.

use std::collections::BTreeMap;
use std::task::Waker;

use aioproducer_core::{Instant, Lane};

use super::room::{Ask, Need, Shares, Vacancy};
use super::waiters::{WaiterId, Waiters};

/// Lanes whose first waiter is considered at a time.
const LANES: usize = 16;

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingPlace {
    id: WaiterId,
    /// The lane in whose queue it is, `None` for the common one.
    lane: Option<Lane>,
}

/// The queues.
#[derive(Default)]
pub(crate) struct LaneWaiters {
    common: Waiters,
    /// Those of lanes that had their share; none is empty.
    apart: BTreeMap<Lane, Waiters>,
    /// The lane that is considered first.
    next: Option<Lane>,
}

impl LaneWaiters {
    pub(crate) fn len(&self) -> usize {
        self.common.len() + self.apart.values().map(Waiters::len).sum::<usize>()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.common.is_empty() && self.apart.is_empty()
    }

    /// Whether no task waits before the one at `place`, or before a new one, that is for `lane`.
    pub(crate) fn is_first(&self, place: Option<WaitingPlace>, lane: Lane) -> bool {
        match place {
            Some(WaitingPlace { id, lane: Some(lane) }) => self.apart.get(&lane).is_some_and(|own| own.is_head(id)),
            Some(WaitingPlace { id, lane: None }) => self.common.is_head(id) && !self.apart.contains_key(&lane),
            None => self.common.is_empty() && !self.apart.contains_key(&lane),
        }
    }

    /// Has a task wait that may not enter, which has waited at `place` before, if anywhere, and since when. Returns its place, and a
    /// waker that is not needed (any more); dropping one may run the application's code, so that is for when no lock is held.
    pub(crate) fn wait(
        &mut self,
        place: Option<WaitingPlace>,
        (lane, bytes): (Lane, usize),
        since: Instant,
        shares: &impl Shares,
        waker: Waker,
    ) -> (WaitingPlace, Option<Waker>) {
        let ask = Ask { bytes, lane: Some(lane) };
        let is_next = match place {
            Some(WaitingPlace { id, lane: None }) => self.common.is_head(id),
            Some(_) => false,
            None => self.common.is_empty(),
        };
        if is_next && (self.apart.contains_key(&lane) || !shares.has_share(lane, bytes)) {
            let unused = place.and_then(|place| self.common.leave(place.id));
            let id = self.apart.entry(lane).or_default().join(ask, since, waker);
            return (WaitingPlace { id, lane: Some(lane) }, unused);
        }
        match place {
            Some(place) => {
                let queue = match place.lane {
                    Some(lane) => self.apart.get_mut(&lane),
                    None => Some(&mut self.common),
                };
                (place, queue.and_then(|queue| queue.update(place.id, waker)))
            }
            None => (WaitingPlace { id: self.common.join(ask, since, waker), lane: None }, None),
        }
    }

    /// Gives up a place, in whatever way the wait ended. [`LaneWaiters::grant`] must follow. Returns the waker that is not needed
    /// any more.
    pub(crate) fn leave(&mut self, place: WaitingPlace) -> Option<Waker> {
        let Some(lane) = place.lane else { return self.common.leave(place.id) };
        let queue = self.apart.get_mut(&lane)?;
        let unused = queue.leave(place.id);
        if queue.is_empty() {
            self.apart.remove(&lane);
        }
        unused
    }

    /// Wakes those for whom there is room, each once until it asks again: the first ones of lanes that may have more, one of each, and
    /// then as many of the others as have room together.
    pub(crate) fn grant(&mut self, shares: &impl Shares, wakers: &mut Vec<Waker>) {
        if !self.apart.is_empty() {
            let next = self.next.take();
            let from = next.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
            for (at, (lane, queue)) in self.apart.range_mut((from, std::ops::Bound::Unbounded)).enumerate() {
                if at == LANES {
                    self.next = Some(*lane);
                    break;
                }
                queue.grant(&OneOf { shares, lane: *lane }, wakers);
            }
        }
        self.common.grant(shares, wakers);
    }

    /// Wakes all of them.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        self.common.wake_all(wakers);
        self.apart.values_mut().for_each(|queue| queue.wake_all(wakers));
    }

    /// Wakes those that wait since `before` or longer.
    pub(crate) fn wake_old(&mut self, before: Instant, wakers: &mut Vec<Waker>) {
        self.common.wake_old(before, wakers);
        self.apart.values_mut().for_each(|queue| queue.wake_old(before, wakers));
    }

    /// Since when the task has waited that has waited for longest and has a waker.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.apart.values().chain([&self.common]).filter_map(Waiters::oldest).min()
    }
}

/// Room for the first waiter of a lane.
struct OneOf<'a, S> {
    shares: &'a S,
    lane: Lane,
}

impl<S: Shares> Vacancy for OneOf<'_, S> {
    fn has(&self, need: Need) -> bool {
        need.count == 1 && self.shares.has(need) && self.shares.has_share(self.lane, need.bytes)
    }

    fn needs_lane(&self, lane: Lane) -> bool {
        self.shares.needs_lane(lane)
    }
}
