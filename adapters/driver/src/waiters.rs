//! Tasks that wait for room in the pool: first come, first served.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterId(u64);

struct Waiter {
    bytes: usize,
    /// `None` once woken, until the task asks again.
    waker: Option<Waker>,
    left: bool,
}

/// The queue. Only its head may enter the pool, so a large record is not overtaken by small ones behind it.
#[derive(Default)]
pub(crate) struct Waiters {
    /// In order of arrival; those who left in the middle stay until they come to the front.
    queue: VecDeque<Waiter>,
    /// The number of the queue's first place.
    first: u64,
    len: usize,
}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the last place, for a record of `bytes`.
    pub(crate) fn join(&mut self, bytes: usize, waker: &Waker) -> WaiterId {
        self.queue.push_back(Waiter { bytes, waker: Some(waker.clone()), left: false });
        self.len += 1;
        WaiterId(self.first + self.queue.len() as u64 - 1)
    }

    pub(crate) fn is_head(&self, id: WaiterId) -> bool {
        id.0 == self.first && !self.queue.is_empty()
    }

    /// Names whom to wake from now on.
    pub(crate) fn update(&mut self, id: WaiterId, waker: &Waker) {
        if let Some(waiter) = self.get_mut(id) {
            match &mut waiter.waker {
                Some(known) => known.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    /// Gives up a place. The next in line is considered at the next [`Waiters::grant`].
    pub(crate) fn leave(&mut self, id: WaiterId) {
        let Some(waiter) = self.get_mut(id).filter(|waiter| !waiter.left) else { return };
        waiter.left = true;
        waiter.waker = None;
        self.len -= 1;
        while self.queue.front().is_some_and(|waiter| waiter.left) {
            self.queue.pop_front();
            self.first += 1;
        }
    }

    /// Wakes those at the front who fit into the pool together; `fits` is asked with a count of records and the sum of
    /// their bytes.
    pub(crate) fn grant(&mut self, mut fits: impl FnMut(usize, usize) -> bool, wakers: &mut Vec<Waker>) {
        let (mut count, mut bytes) = (0, 0_usize);
        for waiter in self.queue.iter_mut().filter(|waiter| !waiter.left) {
            count += 1;
            bytes = bytes.saturating_add(waiter.bytes);
            if !fits(count, bytes) {
                break;
            }
            wakers.extend(waiter.waker.take());
        }
    }

    /// Wakes everybody.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.queue.iter_mut().filter_map(|waiter| waiter.waker.take()));
    }

    fn get_mut(&mut self, id: WaiterId) -> Option<&mut Waiter> {
        let at = usize::try_from(id.0.checked_sub(self.first)?).ok()?;
        self.queue.get_mut(at)
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn grant(waiters: &mut Waiters, slots: usize, room: usize) {
        let mut wakers = Vec::new();
        waiters.grant(|count, bytes| count <= slots && bytes <= room, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    #[test]
    fn s01_as_many_as_fit_are_woken_from_the_front_and_once() {
        let mut waiters = Waiters::new();
        let tasks: Vec<_> = (0..4).map(|_| task()).collect();
        for (_, waker) in &tasks {
            waiters.join(10, waker);
        }
        grant(&mut waiters, 2, 100);
        grant(&mut waiters, 2, 100);
        let woken: Vec<_> = tasks.iter().map(|(count, _)| count.0.load(Ordering::Relaxed)).collect();
        assert_eq!(woken, [1, 1, 0, 0]);
    }

    #[test]
    fn s01_a_large_record_is_not_overtaken() {
        let mut waiters = Waiters::new();
        let ((large, large_waker), (small, small_waker)) = (task(), task());
        waiters.join(50, &large_waker);
        waiters.join(1, &small_waker);
        grant(&mut waiters, 10, 49);
        assert_eq!((large.0.load(Ordering::Relaxed), small.0.load(Ordering::Relaxed)), (0, 0));
        grant(&mut waiters, 10, 51);
        assert_eq!((large.0.load(Ordering::Relaxed), small.0.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn s05_who_leaves_after_being_woken_passes_the_room_on() {
        let mut waiters = Waiters::new();
        let ((_, first_waker), (second, second_waker)) = (task(), task());
        let first = waiters.join(1, &first_waker);
        let place = waiters.join(1, &second_waker);
        grant(&mut waiters, 1, 1);
        assert_eq!(second.0.load(Ordering::Relaxed), 0);
        waiters.leave(first);
        assert!(waiters.is_head(place));
        grant(&mut waiters, 1, 1);
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
        waiters.leave(place);
        waiters.leave(place);
        assert!(waiters.is_empty() && waiters.queue.is_empty());
    }

    #[test]
    fn who_leaves_in_the_middle_is_skipped() {
        let mut waiters = Waiters::new();
        let (_, waker) = task();
        let ids: Vec<_> = (0..3).map(|_| waiters.join(1, &waker)).collect();
        waiters.leave(ids[1]);
        assert_eq!(waiters.len(), 2);
        waiters.leave(ids[0]);
        assert!(waiters.is_head(ids[2]));
    }
}
