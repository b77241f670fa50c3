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
    /// The first tasks whose records were not placed ask again: such a record may have a lane of its own by now.
    asks_again: bool,
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
        self.asks_again |= lane.is_unplaced();
        let queue = self.apart.get_mut(&lane)?;
        let unused = queue.leave(place.id);
        if queue.is_empty() {
            self.apart.remove(&lane);
        }
        unused
    }

    /// Records may be placed that were not before. [`LaneWaiters::grant`] must follow. Who enters then lets the next one ask.
    pub(crate) fn ask_again(&mut self) {
        self.asks_again = true;
    }

    /// Wakes those for whom there is room, each once until it asks again: the first ones of lanes that may have more, one of each, and
    /// then as many of the others as have room together.
    pub(crate) fn grant(&mut self, shares: &impl Shares, wakers: &mut Vec<Waker>) {
        if !self.apart.is_empty() {
            let next = self.next.take();
            let asks_again = std::mem::take(&mut self.asks_again);
            let from = next.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
            for (at, (lane, queue)) in self.apart.range_mut((from, std::ops::Bound::Unbounded)).enumerate() {
                if at == LANES {
                    self.next = Some(*lane);
                    break;
                }
                if asks_again && lane.is_unplaced() {
                    queue.grant(&First, wakers);
                } else {
                    queue.grant(&OneOf { shares, lane: *lane }, wakers);
                }
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

/// The first waiter of a lane may ask, whether there is room or not.
struct First;

impl Vacancy for First {
    fn has(&self, need: Need) -> bool {
        need.count == 1
    }

    fn needs_lane(&self, _: Lane) -> bool {
        false
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

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use aioproducer_core::TopicId;
    use proptest::prelude::*;

    use super::*;

    const LANES: usize = 3;

    /// Whether a task was woken since it last asked.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Room, but not for any lane's share.
    struct NoShare;

    impl Vacancy for NoShare {
        fn has(&self, _: Need) -> bool {
            true
        }

        fn needs_lane(&self, _: Lane) -> bool {
            false
        }
    }

    impl Shares for NoShare {
        fn has_share(&self, _: Lane, _: usize) -> bool {
            false
        }
    }

    #[test]
    fn s01_tasks_whose_records_were_not_placed_ask_again_one_after_the_other() {
        let (lane, mut waiters) = (Lane::unplaced(TopicId(0)), LaneWaiters::default());
        let tasks: Vec<Arc<Woken>> = (0..3).map(|_| Arc::default()).collect();
        let ask = |waiters: &mut LaneWaiters, task: &Arc<Woken>| {
            waiters.wait(None, (lane, 1), Instant::ZERO, &NoShare, Arc::clone(task).into()).0
        };
        let places: Vec<_> = tasks.iter().map(|task| ask(&mut waiters, task)).collect();
        let grant = |waiters: &mut LaneWaiters| {
            let mut wakers = Vec::new();
            waiters.grant(&NoShare, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
            tasks.iter().map(|task| task.0.swap(false, Ordering::Relaxed)).collect::<Vec<_>>()
        };
        assert_eq!(grant(&mut waiters), [false; 3]);
        waiters.ask_again();
        assert_eq!(grant(&mut waiters), [true, false, false]);
        assert_eq!(grant(&mut waiters), [false; 3], "it has not entered, so the next one need not ask");
        drop(waiters.leave(places[0]));
        assert_eq!(grant(&mut waiters), [false, true, false]);
    }

    struct Task {
        lane: usize,
        place: Option<WaitingPlace>,
        woken: Arc<Woken>,
    }

    /// A pool, what each lane has of it, and what each may have.
    struct Pool {
        free: usize,
        has: [usize; LANES],
        may: [usize; LANES],
    }

    impl Vacancy for Pool {
        fn has(&self, need: Need) -> bool {
            need.count <= self.free
        }

        fn needs_lane(&self, _: Lane) -> bool {
            false
        }
    }

    impl Shares for Pool {
        fn has_share(&self, lane: Lane, _: usize) -> bool {
            let at = lane.partition().expect("a partition") as usize;
            self.has[at] < self.may[at]
        }
    }

    struct Rig {
        pool: Pool,
        waiters: LaneWaiters,
        /// In the order of their arrival.
        waiting: Vec<Task>,
    }

    impl Rig {
        fn lane(at: usize) -> Lane {
            Lane::new(TopicId(0), Some(at as i32))
        }

        /// A task asks; whether it enters.
        fn ask(&mut self, task: &mut Task) -> bool {
            let lane = Self::lane(task.lane);
            let first = self.waiters.is_first(task.place, lane);
            let enters = first && self.pool.free > 0 && self.pool.has_share(lane, 1);
            if enters {
                task.place.and_then(|place| self.waiters.leave(place));
                self.pool.free -= 1;
                self.pool.has[task.lane] += 1;
            } else {
                task.woken.0.store(false, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&task.woken));
                let ask = (lane, 1);
                task.place = Some(self.waiters.wait(task.place, ask, Instant::ZERO, &self.pool, waker).0);
            }
            self.grant();
            enters
        }

        fn grant(&mut self) {
            let mut wakers = Vec::new();
            self.waiters.grant(&self.pool, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
        }

        fn arrive(&mut self, lane: usize) {
            let mut task = Task { lane, place: None, woken: Arc::default() };
            let waits = self.waiting.iter().any(|other| other.lane == lane);
            if self.ask(&mut task) {
                assert!(!waits, "it passes by another of its lane");
            } else {
                self.waiting.push(task);
            }
        }

        /// Those that were woken ask, from the `from`th on, until none is.
        fn settle(&mut self, from: usize) {
            let is_woken = |task: &Task| task.woken.0.load(Ordering::Relaxed);
            loop {
                let count = self.waiting.len();
                let next = (0..count).map(|at| (at + from) % count).find(|at| is_woken(&self.waiting[*at]));
                let Some(at) = next else { break };
                let mut task = self.waiting.remove(at);
                if self.ask(&mut task) {
                    let earlier = self.waiting[..at].iter().any(|other| other.lane == task.lane);
                    assert!(!earlier, "it passes by another of its lane");
                } else {
                    self.waiting.insert(at, task);
                }
            }
            for task in &self.waiting {
                let may_enter = self.pool.free > 0 && self.pool.has_share(Self::lane(task.lane), 1);
                assert!(!may_enter, "it is passed over");
            }
            assert_eq!(self.waiters.len(), self.waiting.len());
            assert_eq!(self.waiters.is_empty(), self.waiting.is_empty());
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arrive(usize),
        Leave(usize),
        Free(usize),
        May(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..LANES).prop_map(Step::Arrive),
            1 => any::<usize>().prop_map(Step::Leave),
            3 => (0..LANES).prop_map(Step::Free),
            1 => (0..LANES, 0..6_usize).prop_map(|(lane, may)| Step::May(lane, may)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn s01_first_come_is_first_served_in_a_lane_and_no_lane_holds_up_another(
            steps in prop::collection::vec((step(), 0..4_usize, any::<bool>()), 1..80),
        ) {
            let pool = Pool { free: 6, has: [0; LANES], may: [3; LANES] };
            let mut rig = Rig { pool, waiters: LaneWaiters::default(), waiting: Vec::new() };
            for (step, from, settles) in steps {
                match step {
                    Step::Arrive(lane) => rig.arrive(lane),
                    Step::Leave(which) if !rig.waiting.is_empty() => {
                        let at = which % rig.waiting.len();
                        rig.waiting.remove(at).place.and_then(|place| rig.waiters.leave(place));
                        rig.grant();
                    }
                    Step::Free(lane) if rig.pool.has[lane] > 0 => {
                        rig.pool.has[lane] -= 1;
                        rig.pool.free += 1;
                        rig.grant();
                    }
                    Step::May(lane, may) => {
                        rig.pool.may[lane] = may;
                        rig.grant();
                    }
                    Step::Leave(_) | Step::Free(_) => {}
                }
                if settles {
                    rig.settle(from);
                }
            }
            rig.settle(0);
        }
    }
}
