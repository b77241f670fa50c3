//! Records that a client gives up: those of a purge, and those of a transaction whose time is over.

use aioproducer_core::Instant;
use aioproducer_core::backend::{Failure, Message};

use super::failure::{purged, timed_out};
use super::lane::{Lane, Queued};
use super::reports::{Reports, status};
use super::requests::Requests;
use super::timeline::{Place, Schedule};
use crate::cluster::State;

impl<R: Message> Requests<R> {
    /// Fails records that were not sent, those that were, or both.
    pub(super) fn purge(&mut self, (queued, in_flight): (bool, bool), reports: &mut Reports<R>) {
        if !queued && !in_flight {
            return;
        }
        let mut state = self.cluster.lock();
        for lane in self.lanes.values_mut() {
            if in_flight {
                self.records -= fail_batch(lane, &mut self.schedule, |may_be| purged(status(may_be)), reports);
            }
            if queued {
                self.records -= lane.queue.len();
                lane.queue.drain(..).for_each(|queued| fail_queued(queued, purged(status(false)), &mut state, reports));
            }
        }
    }

    /// Fails what an abort takes back: all but the requests that are under way.
    pub(super) fn take_back(&mut self, reports: &mut Reports<R>) {
        self.purge((true, false), reports);
        let waits = |lane: &&mut Lane<R>| lane.batch.as_ref().is_some_and(|batch| batch.under_way.is_none());
        for lane in self.lanes.values_mut().filter(waits) {
            self.records -= fail_batch(lane, &mut self.schedule, |may_be| purged(status(may_be)), reports);
        }
    }

    /// Fails the records whose time is over.
    pub(super) fn expire(&mut self, now: Instant, reports: &mut Reports<R>) {
        if self.next_expiry().is_none_or(|next| next > now) {
            return;
        }
        let is_over = |expires: Option<Instant>| expires.is_some_and(|at| at <= now);
        let mut state = self.cluster.lock();
        for lane in self.lanes.values_mut() {
            if lane.batch.as_ref().is_some_and(|batch| is_over(batch.expires)) {
                self.records -= fail_batch(lane, &mut self.schedule, |may_be| timed_out(status(may_be)), reports);
            }
            let over = lane.queue.iter().take_while(|queued| is_over(queued.expires)).count();
            self.records -= over;
            let failure = timed_out(status(false));
            lane.queue.drain(..over).for_each(|queued| fail_queued(queued, failure, &mut state, reports));
        }
    }

    /// When the time of the next record is over, if the client looks at it.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let first = |lane: &Lane<R>| match &lane.batch {
            Some(batch) => batch.expires,
            None => lane.queue.front()?.expires,
        };
        self.lanes.values().filter_map(first).min()
    }
}

/// Fails a lane's batch. Returns how many records it had.
fn fail_batch<R: Message>(
    lane: &mut Lane<R>,
    schedule: &mut Schedule<Place>,
    failure: impl FnOnce(bool) -> Failure,
    reports: &mut Reports<R>,
) -> usize {
    let Some(batch) = lane.abandon() else { return 0 };
    if let Some((expiry, number)) = batch.under_way {
        schedule.remove_expiry(expiry, number);
    }
    let (len, failure) = (batch.entries.len(), failure(batch.may_be_appended || batch.under_way.is_some()));
    batch.entries.into_iter().for_each(|(slot, record)| reports.fail(slot, record, failure));
    len
}

fn fail_queued<R>(queued: Queued<R>, failure: Failure, state: &mut State, reports: &mut Reports<R>) {
    let Queued { slot, record, held, .. } = queued;
    if let Some(held) = held {
        state.holds.forget(held);
    }
    reports.fail(slot, record, failure);
}
