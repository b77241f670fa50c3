//! Transitions: records pass from the inbox to the machine, and what follows from each change of the machine.

use aioproducer_core::{Action, Instant, Phase};

use super::effects::{Discard, Effects};
use super::shared::{Shared, State};
use crate::admission::inbox::Arrival;
use crate::callbacks::RunnerSignal;
use crate::observe::counts::PoolCounts;
use crate::outcome::failures::CLOSED;
use crate::runtime::paced::Paced;

impl State {
    /// Passes the records in the inbox to the machine.
    pub(crate) fn collect_arrivals(&mut self, shared: &Shared, effects: &mut Effects) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        shared.inbox().collect(&mut arrivals);
        let has_arrivals = !arrivals.is_empty();
        for arrival in arrivals.drain(..) {
            self.admit(shared, arrival, None, effects);
        }
        if has_arrivals {
            self.arm(effects);
        }
        self.arrivals = arrivals;
    }

    /// Shuts the inbox until the lock is released, for a step that gives room to another record.
    pub(crate) fn shut_inbox(&mut self, shared: &Shared, effects: &mut Effects) {
        shared.inbox().shut();
        self.collect_arrivals(shared, effects);
    }

    /// What follows from a new state: callbacks to run, calls to make, workers and tasks to wake. It runs at the end of each hold
    /// of the state lock that has changed the machine.
    pub(crate) fn after_transition(&mut self, shared: &Shared, effects: &mut Effects) {
        if let call @ (RunnerSignal::Wake(_) | RunnerSignal::Spawn(_)) = shared.callbacks.push(&mut effects.callbacks)
            && let RunnerSignal::Wake(before) = std::mem::replace(&mut effects.runner, call)
        {
            effects.discard.push(Discard::Waker(before));
        }
        let pool = || PoolCounts { machine: self.machine.stats(), waiters: self.waiters.len() };
        shared.observer.gather(pool, || shared.callbacks.counts(), &mut effects.notes);
        self.want_sample(effects);
        if self.transactions.is_some() || !self.calls.is_empty() {
            self.next_calls(shared, effects);
        }
        if self.idle_workers > 0 && self.has_batch() {
            self.idle_workers -= 1;
            self.awake_workers += 1;
            effects.workers += 1;
            effects.alone = self.machine.held() == 1;
        }
        if !self.waiters.is_empty() {
            if self.machine.is_closed() || !self.admits() {
                self.waiters.wake_all(&mut effects.wakers);
            } else {
                self.waiters.grant(&self.machine, &mut effects.wakers);
            }
        }
        // A task that awaited a flush finds the deliveries before it ready.
        while let Some(flushed) = self.machine.poll_flushed() {
            self.flushes.reach(flushed, |point| self.machine.is_flushed(point), &mut effects.wakers);
        }
        if self.completing == 0 {
            self.flushes.wake_completing(&mut effects.wakers);
        }
        if self.is_aborting() && self.machine.can_drain() {
            effects.wakers.extend(self.driver.take());
        }
        while let Some(action) = self.machine.poll_action(self.is_settled()) {
            match action {
                Action::Flush => effects.flush_backend(),
                Action::Purge(scope) => effects.purge_backend(scope),
                Action::ShutDown => {
                    effects.shut_down = true;
                    // It fails what was not handed off.
                    effects.wakers.extend(self.driver.take());
                }
            }
        }
        if self.awake_workers > 0 && self.waiters.is_empty() && !self.machine.is_closed() && self.admits() {
            shared.inbox().offer(self.machine.room());
        } else {
            shared.inbox().shut();
        }
        if let Some(pace) = &shared.pace {
            effects.work |= self.note_work(pace);
        }
    }

    /// Wakes the driver to arm its timer, if that goes off later than the machine needs.
    pub(crate) fn arm(&mut self, effects: &mut Effects) {
        if self.machine.poll_timeout().is_some_and(|timeout| timeout.at < self.armed) {
            effects.wakers.extend(self.driver.take());
        }
    }

    /// Wakes the tasks that have waited for room for the delivery timeout, and has those ask again whose records were not placed; returns when to look at those that wait again.
    pub(crate) fn wake_old_waiters(&mut self, shared: &Shared, now: Instant, effects: &mut Effects) -> Instant {
        if self.waiters.is_empty() {
            return Instant::MAX;
        }
        self.waiters.ask_again();
        let shares = self.machine.shares_due().unwrap_or(Instant::MAX);
        let Some(timeout) = shared.context.delivery_timeout else { return shares };
        self.waiters.wake_old(now - timeout, &mut effects.wakers);
        self.waiters.oldest().map_or(shares, |since| shares.min(since + timeout))
    }

    /// Passes a record to the machine, which has room for it. `since` is when the record began to wait, if it did. The caller
    /// arms the driver's timer.
    #[inline(always)]
    pub(crate) fn admit(&mut self, shared: &Shared, arrival: Arrival, since: Option<Instant>, effects: &mut Effects) {
        let Arrival { record, ticket, at } = arrival;
        match self.machine.produce_since(at, since.unwrap_or(at), record, ticket) {
            Ok(_) => {}
            Err(refused) => self.complete_failed(shared, refused.ticket, CLOSED, None, Some(refused.record), effects),
        }
    }

    /// Notes whether the backend is at work: a clock that can be paused must not leap meanwhile. Returns whether the work begins,
    /// after which [`Shared::begin_work`] is to be called without a lock.
    fn note_work(&mut self, pace: &Paced) -> bool {
        let working = self.has_batch()
            || !self.machine.is_connected() && !self.machine.is_empty()
            || self.awake_workers > 0
            || self.completing > 0
            || self.machine.stats().handed_off > 0
            || self.calls.is_out()
            || self.machine.phase() == Phase::Ending;
        if working == pace.is_working() {
            return false;
        }
        pace.set_working(working);
        working
    }
}
