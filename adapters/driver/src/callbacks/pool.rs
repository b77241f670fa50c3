//! Places for callbacks that wait for their record's outcome.
//!
//! Closures of one type share a slab, whose places are used again and again: nothing is allocated once as many callbacks
//! were under way at the same time, whatever the closure's size. Each place has a lock of its own, which is always free when
//! it is taken. Which places are vacant is in the free list, to which they return in bulk.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::task::Waker;

use aioproducer_core::Instant;

use super::free_blocks::FreeBlocks;
use super::inside::is_inside_callback;
use crate::admission::room::{Ask, Places};
use crate::admission::waiters::{WaiterId, Waiters};
use crate::outcome::error::DeliveryError;
use crate::outcome::report::DeliveryReport;
use crate::outcome::ticket::CallbackRef;
use crate::runtime::Task;
use crate::runtime::panics::Panics;
use crate::runtime::sync::{Mutex, lock};

/// What a callback is called with.
pub(crate) type Outcome = Result<DeliveryReport, DeliveryError>;

/// What can be called with an outcome, once.
pub(crate) trait Callback: Send + 'static {
    /// Returns the future that is still to be awaited, if there is one.
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
struct TypedSlab<C>(boxcar::Vec<Mutex<Option<C>>>);

impl<C> TypedSlab<C> {
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

/// A slab of callbacks of any type. No method holds a lock while a callback runs or is dropped.
trait AnySlab: Any + Send + Sync {
    fn call(&self, place: u32, outcome: Outcome) -> Option<Task>;
    fn forget(&self, place: u32);
    fn as_any(&self) -> &dyn Any;
}

impl<C: Callback> AnySlab for TypedSlab<C> {
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

/// All callbacks that wait. Their number is limited: callbacks that are slower than the deliveries slow producing down, and do
/// not pile up.
pub(crate) struct Pool {
    slabs: boxcar::Vec<Box<dyn AnySlab>>,
    list: Mutex<FreeList>,
    panics: Arc<Panics>,
}

/// What is vacant, and the tasks that wait for it.
struct FreeList {
    slabs: HashMap<TypeId, u32>,
    /// Vacant places, by slab.
    vacant: Vec<FreeBlocks>,
    /// The type asked for last: streams of records tend to have one callback.
    last: Option<(TypeId, u32)>,
    /// May be below zero: callbacks that produce do not wait.
    free: isize,
    waiters: Waiters,
}

/// The answer to a request for a place.
pub(crate) enum Acquired {
    Place(CallbackRef),
    Waiting(WaiterId),
}

impl Pool {
    pub(crate) fn new(places: usize, panics: Arc<Panics>) -> Self {
        let free = isize::try_from(places).unwrap_or(isize::MAX);
        let (slabs, vacant) = (HashMap::new(), Vec::new());
        let list = FreeList { slabs, vacant, last: None, free, waiters: Waiters::new() };
        Self { slabs: boxcar::Vec::new(), list: Mutex::new(list), panics }
    }

    /// Puts `callback` into the pool, or waits in line. Inside of a callback it never waits: the place might be that of a
    /// callback behind this one.
    pub(crate) fn acquire<C: Callback>(
        &self,
        callback: &mut Option<C>,
        waiting: Option<WaiterId>,
        waker: Option<&Waker>,
    ) -> Option<Acquired> {
        // Wakers that are not needed any more are dropped without the lock.
        let mut wakers = Vec::new();
        let mut kept: Option<Waker> = None;
        let (slab, unused) = loop {
            let mut guard = lock(&self.list);
            let list = &mut *guard;
            let first = match waiting {
                Some(waiting) => list.waiters.is_head(waiting),
                None => list.waiters.is_empty(),
            };
            if is_inside_callback() || (first && list.free > 0) {
                list.free -= 1;
                let unused = waiting.and_then(|waiting| list.waiters.leave(waiting));
                list.grant(&mut wakers);
                let slab = list.slab::<C>(&self.slabs);
                break (Ok((slab, list.vacant.get_mut(slab as usize).and_then(FreeBlocks::take))), unused);
            }
            if let Some(waker) = kept.take() {
                break match waiting {
                    Some(waiting) => (Err(waiting), list.waiters.update(waiting, waker)),
                    None => (Err(list.waiters.join(Ask::default(), Instant::ZERO, waker)), None),
                };
            }
            // A waker is cloned without the lock, since that may run the application's code. Then the pool is asked again.
            drop(guard);
            kept = Some(waker?.clone());
        };
        drop(unused);
        self.panics.wake_all(wakers);
        match slab {
            Ok((slab, vacant)) => {
                let callback = callback.take()?;
                let places = self.slabs.get(slab as usize)?.as_any().downcast_ref::<TypedSlab<C>>()?;
                let place = places.put(vacant, callback);
                Some(Acquired::Place(CallbackRef { slab, place }))
            }
            Err(waiting) => Some(Acquired::Waiting(waiting)),
        }
    }

    /// Calls a callback, once. If it is not there, `outcome` is dropped. Its place is to be given back.
    pub(crate) fn call(&self, callback: CallbackRef, outcome: Outcome) -> Option<Task> {
        self.slabs.get(callback.slab as usize)?.call(callback.place, outcome)
    }

    /// Drops a callback without calling it. Its place is to be given back.
    pub(crate) fn discard(&self, callback: CallbackRef) {
        if let Some(slab) = self.slabs.get(callback.slab as usize) {
            slab.forget(callback.place);
        }
    }

    /// Makes room for `count` more callbacks, and takes back the places of those in `gone`.
    pub(crate) fn give_back(&self, count: usize, gone: impl IntoIterator<Item = CallbackRef>) {
        let mut wakers = Vec::new();
        {
            let list = &mut *lock(&self.list);
            for CallbackRef { slab, place } in gone {
                if let Some(vacant) = list.vacant.get_mut(slab as usize) {
                    vacant.give_back(place);
                }
            }
            list.free += count as isize;
            list.grant(&mut wakers);
        }
        self.panics.wake_all(wakers);
    }

    /// Gives up a place in the line.
    pub(crate) fn leave(&self, waiting: WaiterId) {
        let mut wakers = Vec::new();
        let unused = {
            let list = &mut *lock(&self.list);
            let unused = list.waiters.leave(waiting);
            list.grant(&mut wakers);
            unused
        };
        drop(unused);
        self.panics.wake_all(wakers);
    }

    /// Wakes all tasks that wait: nothing is accepted any more.
    pub(crate) fn wake_all(&self) {
        let mut wakers = Vec::new();
        lock(&self.list).waiters.wake_all(&mut wakers);
        self.panics.wake_all(wakers);
    }

    pub(crate) fn waiters(&self) -> usize {
        lock(&self.list).waiters.len()
    }
}

impl FreeList {
    fn slab<C: Callback>(&mut self, slabs: &boxcar::Vec<Box<dyn AnySlab>>) -> u32 {
        let kind = TypeId::of::<C>();
        match self.last {
            Some((last, slab)) if last == kind => slab,
            _ => {
                let make = || slabs.push(Box::new(TypedSlab::<C>(boxcar::Vec::new()))) as u32;
                let slab = *self.slabs.entry(kind).or_insert_with(make);
                self.vacant.resize_with(self.slabs.len(), FreeBlocks::new);
                self.last = Some((kind, slab));
                slab
            }
        }
    }

    fn grant(&mut self, wakers: &mut Vec<Waker>) {
        let free = usize::try_from(self.free).unwrap_or(0);
        self.waiters.grant(&Places(free), wakers);
    }
}
