//! Tasks that wait for room in the pool: first come, first served.

use std::task::Waker;

use aioproducer_core::Instant;

use super::room::{Ask, Need, Vacancy};

/// No place: the end of a list.
const NIL: u32 = u32::MAX;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterId {
    index: u32,
    generation: u32,
}

struct Waiter {
    ask: Ask,
    /// A lane that is not in use yet was promised to it, too.
    takes_lane: bool,
    /// `None` once woken, until the task asks again.
    waker: Option<Waker>,
    /// The number of its arrival.
    arrival: u64,
    /// Since when it has waited, here or before.
    since: Instant,
    previous: u32,
    /// The waiter behind, or, in a vacant place, the next vacant one.
    next: u32,
    /// Which use of the place this is.
    generation: u32,
}

/// The queue. Only its head may enter the pool, so a large record is not overtaken by small ones behind it.
///
/// Every call but [`Waiters::wake_all`] takes a time that does not grow with the queue, apart from the wake-ups that it
/// hands out. The memory follows the most waiters that there were at once.
pub(crate) struct Waiters {
    places: Vec<Waiter>,
    vacant: u32,
    head: u32,
    tail: u32,
    len: usize,
    /// Waiters with a waker.
    asleep: usize,
    /// The first waiter that no room was promised to. Those before it were woken together.
    frontier: u32,
    /// Waiters that arrived before this number are before the frontier.
    promised_before: u64,
    /// What those before the frontier take up.
    promised: Need,
    arrivals: u64,
}

impl Default for Waiters {
    fn default() -> Self {
        Self::new()
    }
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            vacant: NIL,
            head: NIL,
            tail: NIL,
            len: 0,
            asleep: 0,
            frontier: NIL,
            promised_before: 0,
            promised: Need::default(),
            arrivals: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the last place.
    pub(crate) fn join(&mut self, ask: Ask, since: Instant, waker: Waker) -> WaiterId {
        let (waker, takes_lane) = (Some(waker), false);
        let (arrival, previous, next) = (self.arrivals, self.tail, NIL);
        let index = self.vacant;
        let (index, generation) = match self.places.get_mut(index as usize) {
            Some(place) => {
                self.vacant = place.next;
                let generation = place.generation;
                *place = Waiter { ask, takes_lane, waker, arrival, since, previous, next, generation };
                (index, place.generation)
            }
            None => {
                self.places.push(Waiter { ask, takes_lane, waker, arrival, since, previous, next, generation: 0 });
                (self.places.len() as u32 - 1, 0)
            }
        };
        self.link(previous, index);
        self.tail = index;
        if self.frontier == NIL {
            self.frontier = index;
        }
        self.arrivals += 1;
        self.len += 1;
        self.asleep += 1;
        WaiterId { index, generation }
    }

    pub(crate) fn is_head(&self, id: WaiterId) -> bool {
        id.index == self.head && self.get(id).is_some()
    }

    /// Sets the waker of a task that asked again and may not enter. Returns a waker that is not needed (any more); dropping one
    /// may run the application's code, so that is for when no lock is held.
    pub(crate) fn update(&mut self, id: WaiterId, waker: Waker) -> Option<Waker> {
        if self.get(id).is_none() {
            return Some(waker);
        }
        let known = &mut self.places[id.index as usize].waker;
        if known.as_ref().is_some_and(|known| known.will_wake(&waker)) {
            return Some(waker);
        }
        let before = known.replace(waker);
        self.asleep += usize::from(before.is_none());
        before
    }

    /// Gives up a place, in whatever way the wait ended. The next in line is considered at the next
    /// [`Waiters::grant`], which must follow. Returns the waker that is not needed any more.
    pub(crate) fn leave(&mut self, id: WaiterId) -> Option<Waker> {
        self.get(id)?;
        let place = &mut self.places[id.index as usize];
        let (previous, next) = (place.previous, place.next);
        place.generation = place.generation.wrapping_add(1);
        place.next = std::mem::replace(&mut self.vacant, id.index);
        let waker = place.waker.take();
        self.asleep -= usize::from(waker.is_some());
        if place.arrival < self.promised_before {
            self.promised = self.promised.without(place.ask.bytes, place.takes_lane);
        }
        if self.frontier == id.index {
            self.frontier = next;
        }
        self.link(previous, next);
        match self.places.get_mut(next as usize) {
            Some(behind) => behind.previous = previous,
            None => self.tail = previous,
        }
        self.len -= 1;
        waker
    }

    /// Wakes those at the front for whom there is room together, each once until it asks again.
    pub(crate) fn grant(&mut self, vacancy: &impl Vacancy, wakers: &mut Vec<Waker>) {
        let takes_lane = |ask: Ask| ask.lane.is_some_and(|lane| vacancy.needs_lane(lane));
        // A head with a waker asked when it was not yet the head, or when the room was not there after all.
        if let Some(head) = self.places.get_mut(self.head as usize)
            && head.arrival < self.promised_before
            && head.waker.is_some()
            && vacancy.has(Need::default().and(head.ask.bytes, takes_lane(head.ask)))
        {
            wakers.extend(head.waker.take());
            self.asleep -= 1;
        }
        while let Some(next) = self.places.get_mut(self.frontier as usize) {
            let takes_lane = takes_lane(next.ask);
            let promised = self.promised.and(next.ask.bytes, takes_lane);
            if !vacancy.has(promised) {
                return;
            }
            next.takes_lane = takes_lane;
            if let Some(waker) = next.waker.take() {
                wakers.push(waker);
                self.asleep -= 1;
            }
            self.promised = promised;
            self.promised_before = next.arrival + 1;
            self.frontier = next.next;
        }
    }

    /// Wakes all of them.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        if self.asleep > 0 {
            wakers.extend(self.places.iter_mut().filter_map(|waiter| waiter.waker.take()));
            self.asleep = 0;
        }
    }

    /// Wakes those at the front that wait since `before` or longer.
    pub(crate) fn wake_old(&mut self, before: Instant, wakers: &mut Vec<Waker>) {
        let mut at = self.head;
        while let Some(waiter) = self.places.get_mut(at as usize)
            && waiter.since <= before
        {
            let waker = waiter.waker.take();
            at = waiter.next;
            self.asleep -= usize::from(waker.is_some());
            wakers.extend(waker);
        }
    }

    /// Since when the first one has waited, if it sleeps.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.places.get(self.head as usize).filter(|waiter| waiter.waker.is_some()).map(|waiter| waiter.since)
    }

    /// Makes `next` the one behind `previous`, or the head.
    fn link(&mut self, previous: u32, next: u32) {
        match self.places.get_mut(previous as usize) {
            Some(before) => before.next = next,
            None => self.head = next,
        }
    }

    fn get(&self, id: WaiterId) -> Option<&Waiter> {
        self.places.get(id.index as usize).filter(|waiter| waiter.generation == id.generation)
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use aioproducer_core::{Lane, TopicId};
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    /// Room for so many records, bytes and new lanes; the lanes that are in use.
    struct Pool<'a>(usize, usize, usize, &'a [Lane]);

    impl Vacancy for Pool<'_> {
        fn has(&self, need: Need) -> bool {
            need.count <= self.0 && need.bytes <= self.1 && need.lanes <= self.2
        }

        fn needs_lane(&self, lane: Lane) -> bool {
            !self.3.contains(&lane)
        }
    }

    fn grant_in(waiters: &mut Waiters, pool: &Pool<'_>) {
        let mut wakers = Vec::new();
        waiters.grant(pool, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn grant(waiters: &mut Waiters, slots: usize, room: usize) {
        grant_in(waiters, &Pool(slots, room, usize::MAX, &[]));
    }

    fn ask(bytes: usize) -> Ask {
        Ask { bytes, lane: None }
    }

    fn lane(partition: i32) -> Lane {
        Lane::new(TopicId(0), Some(partition))
    }

    #[test]
    fn s01_who_waits_for_a_lane_in_use_needs_no_other() {
        let mut waiters = Waiters::new();
        let tasks: Vec<_> = (0..3).map(|_| task()).collect();
        let woken = |tasks: &[(Arc<Count>, Waker)]| tasks.iter().map(|(count, _)| count.get()).collect::<Vec<_>>();
        let mut ids = Vec::new();
        for ((_, waker), partition) in tasks.iter().zip([0, 1, 0]) {
            ids.push(waiters.join(Ask { bytes: 1, lane: Some(lane(partition)) }, Instant::ZERO, waker.clone()));
        }
        grant_in(&mut waiters, &Pool(3, 100, 0, &[lane(0)]));
        assert_eq!(woken(&tasks), [1, 0, 0], "the second needs a lane, the third is behind it");
        grant_in(&mut waiters, &Pool(3, 100, 1, &[lane(0)]));
        assert_eq!(woken(&tasks), [1, 1, 1]);
        // The lanes were promised together; who leaves gives its lane back.
        waiters.leave(ids[1]);
        let (count, waker) = task();
        waiters.join(Ask { bytes: 1, lane: Some(lane(2)) }, Instant::ZERO, waker);
        grant_in(&mut waiters, &Pool(3, 100, 1, &[lane(0)]));
        assert_eq!(count.get(), 1);
    }

    #[test]
    fn s01_as_many_as_fit_are_woken_from_the_front_and_once() {
        let mut waiters = Waiters::new();
        let tasks: Vec<_> = (0..4).map(|_| task()).collect();
        for (_, waker) in &tasks {
            waiters.join(ask(10), Instant::ZERO, waker.clone());
        }
        grant(&mut waiters, 2, 100);
        grant(&mut waiters, 2, 100);
        let woken: Vec<_> = tasks.iter().map(|(count, _)| count.get()).collect();
        assert_eq!(woken, [1, 1, 0, 0]);
    }

    #[test]
    fn s01_a_large_record_is_not_overtaken() {
        let mut waiters = Waiters::new();
        let ((large, large_waker), (small, small_waker)) = (task(), task());
        waiters.join(ask(50), Instant::ZERO, large_waker.clone());
        waiters.join(ask(1), Instant::ZERO, small_waker.clone());
        grant(&mut waiters, 10, 49);
        assert_eq!((large.get(), small.get()), (0, 0));
        grant(&mut waiters, 10, 51);
        assert_eq!((large.get(), small.get()), (1, 1));
    }

    #[test]
    fn s05_who_leaves_after_being_woken_passes_the_room_on() {
        let mut waiters = Waiters::new();
        let ((_, first_waker), (second, second_waker)) = (task(), task());
        let first = waiters.join(ask(1), Instant::ZERO, first_waker.clone());
        let place = waiters.join(ask(1), Instant::ZERO, second_waker.clone());
        grant(&mut waiters, 1, 1);
        assert_eq!(second.get(), 0);
        waiters.leave(first);
        assert!(waiters.is_head(place));
        grant(&mut waiters, 1, 1);
        assert_eq!(second.get(), 1);
        waiters.leave(place);
        waiters.leave(place);
        assert!(waiters.is_empty() && !waiters.is_head(place));
    }

    #[test]
    fn who_asks_before_it_is_the_head_is_woken_again() {
        let mut waiters = Waiters::new();
        let ((_, first_waker), (second, second_waker)) = (task(), task());
        let first = waiters.join(ask(1), Instant::ZERO, first_waker.clone());
        let place = waiters.join(ask(1), Instant::ZERO, second_waker.clone());
        grant(&mut waiters, 2, 2);
        waiters.update(place, second_waker.clone());
        grant(&mut waiters, 2, 2);
        assert_eq!(second.get(), 1);
        waiters.leave(first);
        grant(&mut waiters, 1, 1);
        assert_eq!(second.get(), 2);
    }

    #[test]
    fn those_who_come_and_go_behind_a_waiting_head_take_no_memory() {
        let mut waiters = Waiters::new();
        let (_, waker) = task();
        let head = waiters.join(ask(100), Instant::ZERO, waker.clone());
        for _ in 0..10_000 {
            let ids = [1, 2, 3].map(|bytes| waiters.join(ask(bytes), Instant::ZERO, waker.clone()));
            [1, 0, 2].into_iter().for_each(|at| drop(waiters.leave(ids[at])));
        }
        assert!(waiters.is_head(head));
        assert_eq!((waiters.len(), waiters.places.len()), (1, 4));
    }

    #[test]
    fn s10_everybody_is_woken_once() {
        let mut waiters = Waiters::new();
        let tasks: Vec<_> = (0..3).map(|_| task()).collect();
        let ids: Vec<_> = tasks.iter().map(|(_, waker)| waiters.join(ask(1), Instant::ZERO, waker.clone())).collect();
        waiters.leave(ids[1]);
        let mut wakers = Vec::new();
        waiters.wake_all(&mut wakers);
        waiters.wake_all(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(tasks.iter().map(|(count, _)| count.get()).collect::<Vec<_>>(), [1, 0, 1]);
    }

    const SLOTS: usize = 4;
    const BYTES: usize = 100;

    /// A pool and the tasks that want to enter it, in order of arrival.
    struct Model {
        waiters: Waiters,
        waiting: VecDeque<Task>,
        pool: Vec<usize>,
        most: usize,
    }

    struct Task {
        id: WaiterId,
        bytes: usize,
        count: Arc<Count>,
        /// Wake-ups that it has acted on.
        seen: usize,
    }

    impl Model {
        fn room(&self, count: usize, bytes: usize) -> bool {
            self.pool.len() + count <= SLOTS && self.pool.iter().sum::<usize>() + bytes <= BYTES
        }

        fn join(&mut self, bytes: usize) {
            if self.waiters.is_empty() && self.room(1, bytes) {
                self.pool.push(bytes);
            } else {
                let (count, waker) = task();
                let id = self.waiters.join(ask(bytes), Instant::ZERO, waker.clone());
                self.waiting.push_back(Task { id, bytes, count, seen: 0 });
                self.most = self.most.max(self.waiting.len());
            }
        }

        fn poll(&mut self, at: usize) {
            let task = &mut self.waiting[at];
            task.seen = task.count.get();
            let (id, bytes) = (task.id, task.bytes);
            assert_eq!(self.waiters.is_head(id), at == 0);
            if at == 0 && self.room(1, bytes) {
                self.pool.push(bytes);
                self.waiting.pop_front();
                self.waiters.leave(id);
            } else {
                let waker = Waker::from(Arc::clone(&self.waiting[at].count));
                self.waiters.update(id, waker.clone());
            }
        }

        fn settle(&mut self) {
            let (slots, bytes) = (self.pool.len(), self.pool.iter().sum::<usize>());
            grant(&mut self.waiters, SLOTS - slots, BYTES - bytes);
            assert_eq!(self.waiters.len(), self.waiting.len());
            assert!(self.waiters.places.len() <= self.most);
            assert!(self.waiting.iter().all(|task| task.count.get() <= task.seen + 1), "woken twice");
            if let Some(head) = self.waiting.front()
                && self.room(1, head.bytes)
            {
                assert!(head.count.get() > head.seen, "the head fits and sleeps");
            }
        }
    }

    proptest! {
        #[test]
        fn s01_s05_no_waiter_is_forgotten(steps in prop::collection::vec((0..5_u8, 0..100_usize), 1..200)) {
            let mut model = Model { waiters: Waiters::new(), waiting: VecDeque::new(), pool: Vec::new(), most: 0 };
            for (step, number) in steps {
                let at = (!model.waiting.is_empty()).then(|| number % model.waiting.len());
                let woken = model.waiting.iter().position(|task| task.count.get() > task.seen);
                match (step, at, woken) {
                    (0, ..) => model.join(number),
                    (1, _, Some(at)) | (2, Some(at), _) => model.poll(at),
                    (3, Some(at), _) => {
                        let task = model.waiting.remove(at).unwrap();
                        model.waiters.leave(task.id);
                    }
                    (4, ..) if !model.pool.is_empty() => drop(model.pool.swap_remove(number % model.pool.len())),
                    _ => {}
                }
                model.settle();
            }
            // From here on the pool drains, and only those act who were woken.
            model.pool.clear();
            model.settle();
            while let Some(woken) = model.waiting.iter().rposition(|task| task.count.get() > task.seen) {
                model.poll(woken);
                model.pool.clear();
                model.settle();
            }
            prop_assert!(model.waiting.is_empty());
        }
    }
}
