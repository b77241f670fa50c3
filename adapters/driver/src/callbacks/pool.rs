//! Places for callbacks that wait for their record's outcome.
//!
//! Closures of one type share a shelf, whose places are used again and again: however many records have callbacks, once as
//! many (and what runners have taken) were under way at the same time nothing is allocated, whatever the closure's size.
//! Each place has a lock of its own, which is free whenever somebody wants it; which places are vacant is known at the
//! desk, and told there in bulk.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::task::Waker;

use crate::admission::waiters::{Ask, Places, WaiterId, Waiters};
use crate::callbacks::vacant::Vacant;
use crate::callbacks::{Outcome, is_calling};
use crate::runtime::Task;
use crate::runtime::panics::Panics;
use crate::runtime::sync::{Mutex, lock};

/// Names a callback in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallbackRef {
    pub(crate) shelf: u32,
    pub(crate) place: u32,
}

/// What can be called with an outcome, once.
pub(crate) trait Callback: Send + 'static {
    /// Returns what is left to be awaited.
    fn call(self, outcome: Outcome) -> Option<Task>;
}

/// A closure that is done when it returns.
pub(crate) struct Synchronous<F>(pub(crate) F);

impl<F: FnOnce(Outcome) + Send + 'static> Callback for Synchronous<F> {
    fn call(self, outcome: Outcome) -> Option<Task> {
        (self.0)(outcome);
        None
    }
}

/// A closure that returns a future.
pub(crate) struct Asynchronous<F>(pub(crate) F);

impl<F, T> Callback for Asynchronous<F>
where
    F: FnOnce(Outcome) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    fn call(self, outcome: Outcome) -> Option<Task> {
        Some(Box::pin((self.0)(outcome)))
    }
}

/// Places for callbacks of one type.
struct Shelf<C>(boxcar::Vec<Mutex<Option<C>>>);

impl<C> Shelf<C> {
    /// Puts the callback into a vacant place, or a new one.
    fn put(&self, vacant: Option<u32>, callback: C) -> u32 {
        match vacant.and_then(|place| Some((place, self.0.get(place as usize)?))) {
            Some((place, vacant)) => {
                *lock(vacant) = Some(callback);
                place
            }
            None => self.0.push(Mutex::new(Some(callback))) as u32,
        }
    }

    fn take(&self, place: u32) -> Option<C> {
        lock(self.0.get(place as usize)?).take()
    }
}

/// A shelf, whatever is on it. No method holds a lock while a callback runs or is dropped.
trait AnyShelf: Any + Send + Sync {
    fn call(&self, place: u32, outcome: Outcome) -> Option<Task>;
    fn forget(&self, place: u32);
    fn as_any(&self) -> &dyn Any;
}

impl<C: Callback> AnyShelf for Shelf<C> {
    fn call(&self, place: u32, outcome: Outcome) -> Option<Task> {
        self.take(place)?.call(outcome)
    }

    fn forget(&self, place: u32) {
        drop(self.take(place));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// All callbacks that wait. Their number is limited, so that callbacks which are slower than the deliveries slow down
/// those who produce, and do not pile up.
pub(crate) struct Pool {
    shelves: boxcar::Vec<Box<dyn AnyShelf>>,
    desk: Mutex<Desk>,
    panics: Arc<Panics>,
}

struct Desk {
    shelves: HashMap<TypeId, u32>,
    /// Vacant places, by shelf.
    vacant: Vec<Vacant>,
    /// The type asked for last: streams of records tend to have one callback.
    last: Option<(TypeId, u32)>,
    /// May be below zero: callbacks that produce do not wait.
    free: isize,
    waiters: Waiters,
}

/// What came of asking for a place.
pub(crate) enum Acquired {
    Place(CallbackRef),
    Waiting(WaiterId),
}

impl Pool {
    pub(crate) fn new(places: usize, panics: Arc<Panics>) -> Self {
        let free = isize::try_from(places).unwrap_or(isize::MAX);
        let (shelves, vacant) = (HashMap::new(), Vec::new());
        let desk = Desk { shelves, vacant, last: None, free, waiters: Waiters::new() };
        Self { shelves: boxcar::Vec::new(), desk: Mutex::new(desk), panics }
    }

    /// Puts `callback` into the pool, or waits in line. A callback that asks does not wait: the place it waited for might
    /// be that of one behind it.
    pub(crate) fn acquire<C: Callback>(
        &self,
        callback: &mut Option<C>,
        waiting: Option<WaiterId>,
        waker: Option<&Waker>,
    ) -> Option<Acquired> {
        // Wakers that are not needed any more are dropped without the lock.
        let mut wakers = Vec::new();
        let mut kept: Option<Waker> = None;
        let (shelf, unused) = loop {
            let mut guard = lock(&self.desk);
            let desk = &mut *guard;
            let first = match waiting {
                Some(waiting) => desk.waiters.is_head(waiting),
                None => desk.waiters.is_empty(),
            };
            if is_calling() || (first && desk.free > 0) {
                desk.free -= 1;
                let unused = waiting.and_then(|waiting| desk.waiters.leave(waiting));
                desk.grant(&mut wakers);
                let shelf = desk.shelf::<C>(&self.shelves);
                break (Ok((shelf, desk.vacant.get_mut(shelf as usize).and_then(Vacant::take))), unused);
            }
            if let Some(waker) = kept.take() {
                break match waiting {
                    Some(waiting) => (Err(waiting), desk.waiters.update(waiting, waker)),
                    None => (Err(desk.waiters.join(Ask::default(), waker)), None),
                };
            }
            // A waker is cloned without the lock: that may run anybody's code. Then the question is asked again.
            drop(guard);
            kept = Some(waker?.clone());
        };
        drop(unused);
        self.panics.wake_all(wakers);
        match shelf {
            Ok((shelf, vacant)) => {
                let callback = callback.take()?;
                let places = self.shelves.get(shelf as usize)?.as_any().downcast_ref::<Shelf<C>>()?;
                let place = places.put(vacant, callback);
                Some(Acquired::Place(CallbackRef { shelf, place }))
            }
            Err(waiting) => Some(Acquired::Waiting(waiting)),
        }
    }

    /// Calls a callback, once. What it was given is dropped if it is not there. Its place is to be vacated.
    pub(crate) fn call(&self, callback: CallbackRef, outcome: Outcome) -> Option<Task> {
        self.shelves.get(callback.shelf as usize)?.call(callback.place, outcome)
    }

    /// Drops a callback without calling it. Its place is to be vacated.
    pub(crate) fn discard(&self, callback: CallbackRef) {
        if let Some(shelf) = self.shelves.get(callback.shelf as usize) {
            shelf.forget(callback.place);
        }
    }

    /// Lets in as many callbacks as `count` says, and vacates the places of those in `gone`.
    pub(crate) fn give_back(&self, count: usize, gone: impl IntoIterator<Item = CallbackRef>) {
        let mut wakers = Vec::new();
        {
            let desk = &mut *lock(&self.desk);
            for CallbackRef { shelf, place } in gone {
                if let Some(vacant) = desk.vacant.get_mut(shelf as usize) {
                    vacant.give_back(place);
                }
            }
            desk.free += count as isize;
            desk.grant(&mut wakers);
        }
        self.panics.wake_all(wakers);
    }

    /// Gives up a place in the line.
    pub(crate) fn leave(&self, waiting: WaiterId) {
        let mut wakers = Vec::new();
        let unused = {
            let desk = &mut *lock(&self.desk);
            let unused = desk.waiters.leave(waiting);
            desk.grant(&mut wakers);
            unused
        };
        drop(unused);
        self.panics.wake_all(wakers);
    }

    /// Wakes everybody who waits: nothing is accepted any more.
    pub(crate) fn wake_all(&self) {
        let mut wakers = Vec::new();
        lock(&self.desk).waiters.wake_all(&mut wakers);
        self.panics.wake_all(wakers);
    }

    pub(crate) fn waiters(&self) -> usize {
        lock(&self.desk).waiters.len()
    }
}

impl Desk {
    fn shelf<C: Callback>(&mut self, shelves: &boxcar::Vec<Box<dyn AnyShelf>>) -> u32 {
        let kind = TypeId::of::<C>();
        match self.last {
            Some((last, shelf)) if last == kind => shelf,
            _ => {
                let make = || shelves.push(Box::new(Shelf::<C>(boxcar::Vec::new()))) as u32;
                let shelf = *self.shelves.entry(kind).or_insert_with(make);
                self.vacant.resize_with(self.shelves.len(), Vacant::new);
                self.last = Some((kind, shelf));
                shelf
            }
        }
    }

    fn grant(&mut self, wakers: &mut Vec<Waker>) {
        let free = usize::try_from(self.free).unwrap_or(0);
        self.waiters.grant(&Places(free), wakers);
    }
}
