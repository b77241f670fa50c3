//! The steps of a renewal, which one thread makes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Driver, Failure, Message, Severity};

use super::client::Stalled;
use super::link::Link;
use super::shared::Shared;
use super::state::{Phase, State};
use crate::config::ConfigError;
use crate::events::{Event, RawEvent, RenewalCause};
use crate::failure;

/// How long an old client may answer for what it has sent, as long as it answers.
const DRAIN: Duration = Duration::from_secs(5);

/// After so long without an answer it is not waited for.
const QUIET: Duration = Duration::from_millis(500);

/// How long an old client may take to give back what it has not sent.
const RETIRE: Duration = Duration::from_secs(5);

/// After so many renewals in a row without a delivery, a fatal error ends the producer.
const FUTILE: u32 = 3;

/// The pause before the second one in a row; it doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// A wait for something that is waited for as long as it takes.
const LONG: Duration = Duration::from_secs(3600);

/// How often renewals have not helped.
#[derive(Default)]
pub(crate) struct Tries {
    /// Renewals in a row without a delivery.
    futile: u32,
    /// Renewals for a stall, each soon after another one, and when the last one was.
    stalls: u32,
    last_stall: Option<Instant>,
}

/// The longest wait for a stall, in times of the policy's.
const LONGEST: u32 = 4;

impl Tries {
    /// How long a partition may have no answer now.
    fn stall(&mut self, policy: Duration, now: Instant) -> Duration {
        let limit = policy.saturating_mul(1 << self.stalls.min(LONGEST));
        if self.last_stall.is_some_and(|last| now.saturating_duration_since(last) > limit.saturating_mul(4)) {
            (self.stalls, self.last_stall) = (0, None);
            return policy;
        }
        limit
    }

    /// The client is replaced for a stall.
    fn stalled(&mut self, now: Instant) {
        self.stalls += u32::from(self.last_stall.is_some());
        self.last_stall = Some(now);
    }
}

impl<R: Message, E: Driver<R>> Shared<R, E> {
    /// Waits for a reason to replace the client, and replaces it. Returns false when the producer has ended.
    pub(crate) fn step(self: &Arc<Self>, tries: &mut Tries) -> bool {
        let limit = self.policy.stall().map(|policy| tries.stall(policy, Instant::now()));
        let pause = limit.map_or(LONG, |limit| limit / 8);
        let phase = self.wait_while(pause, |state| state.phase == Phase::Running).phase;
        match phase {
            Phase::Ended => return false,
            Phase::Draining => self.renew(tries),
            _ => {
                let stalled = limit.zip(self.client()).and_then(|(limit, client)| client.stalled(limit));
                if let Some(stalled) = stalled {
                    self.begin_after_stall(stalled, tries);
                }
            }
        }
        true
    }

    fn begin_after_stall(&self, stalled: Stalled, tries: &mut Tries) {
        let topic = self.driver.topic_name(stalled.topic).unwrap_or_default().to_owned();
        let cause = RenewalCause::Stall { topic, partition: stalled.partition };
        let now = Instant::now();
        if self.state().begin(cause, now) {
            tries.stalled(now);
        }
    }

    fn renew(self: &Arc<Self>, tries: &mut Tries) {
        self.drain();
        let fatal = self.state().fatal();
        let has_delivered = self.has_delivered.swap(false, Ordering::Relaxed);
        tries.futile = if has_delivered || fatal.is_none() { 0 } else { tries.futile + 1 };
        if let Some(failure) = fatal
            && tries.futile > FUTILE
        {
            return self.stop_renewing(failure);
        }
        if !self.retire() {
            return;
        }
        let pause = tries.futile.checked_sub(2).map_or(Duration::ZERO, |doublings| PAUSE * (1 << doublings));
        if self.wait_while(pause, |state| !state.is_closing).is_closing {
            return self.end();
        }
        self.replace();
        let is_renewing = |state: &mut State<R>| state.phase == Phase::Resending;
        if self.wait_while(LONG, is_renewing).phase == Phase::Running {
            self.tell();
        }
    }

    /// Waits until the client has answered for all that it has sent, or answers no more.
    fn drain(&self) {
        let begin = Instant::now();
        let (mut before, mut changed) = (usize::MAX, begin);
        while begin.elapsed() < DRAIN && changed.elapsed() < QUIET {
            let left = self.outstanding.load(Ordering::Relaxed);
            if left == 0 || self.state().is_closing {
                return;
            }
            if left != before {
                (before, changed) = (left, Instant::now());
            }
            let is_same = |state: &mut State<R>| !state.is_closing && self.outstanding.load(Ordering::Relaxed) == left;
            drop(self.wait_while(QUIET / 8, is_same));
        }
    }

    /// Fatal errors come again and again: the driver hears of them from now on.
    fn stop_renewing(&self, failure: Failure) {
        let kept = {
            let mut state = self.state();
            state.is_futile = true;
            state.stop()
        };
        self.give_up(kept, None);
        self.driver.fatal(failure);
        self.wake();
    }

    /// Ends the client, which gives back all that it has. False if the producer has ended.
    fn retire(&self) -> bool {
        let Some(client) = self.client() else { return false };
        {
            let mut state = self.state();
            if state.phase == Phase::Ended {
                return false;
            }
            (state.phase, state.has_ended, state.is_between) = (Phase::Ending, false, true);
        }
        client.retire(RETIRE);
        let mut state = self.wait_while(LONG, |state| !state.has_ended);
        state.phase = Phase::Resending;
        drop(state);
        self.driver.set_trouble(None, None);
        true
    }

    /// Starts the new client.
    fn replace(self: &Arc<Self>) {
        let before = self.client();
        let topics = before.as_ref().map(|client| &**client.topics());
        let client = match (self.open)(Link::new(self), topics) {
            Ok(client) => client,
            Err(error) => return self.end_without_client(&error),
        };
        self.set_client(Arc::clone(&client));
        let (calls, is_closing) = {
            let mut state = self.state();
            state.is_between = false;
            state.finish();
            (std::mem::take(&mut state.calls), state.is_closing)
        };
        for request in calls {
            if let Err(request) = client.call(request) {
                self.refuse(&request);
            }
        }
        if is_closing {
            client.shut_down();
        }
        self.driver.connections_changed();
        self.wake();
    }

    /// There is no client any more.
    fn end_without_client(&self, error: &ConfigError) {
        self.driver.log(Severity::Error, &format!("no new client could be started: {error}"));
        let kept = self.state().purge();
        self.give_up(kept, None);
        self.driver.fatal(failure::not_renewed());
        drop(self.wait_while(LONG, |state| !state.is_closing));
        self.end();
    }

    /// Tells the application what has happened.
    fn tell(&self) {
        let Some(renewed) = self.state().renewed(Instant::now()) else { return };
        self.driver.log(Severity::Warning, &renewed.to_string());
        self.sinks.write(|| RawEvent::Event(Event::Renewed(renewed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s45_stalls_that_follow_each_other_are_waited_for_longer_and_longer() {
        let (policy, start) = (Duration::from_secs(10), Instant::now());
        let mut tries = Tries::default();
        assert_eq!(tries.stall(policy, start), policy);
        let mut waits = Vec::new();
        let mut now = start;
        for _ in 0..7 {
            now += tries.stall(policy, now);
            tries.stalled(now);
            waits.push(tries.stall(policy, now).as_secs());
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 160, 160]);
        assert_eq!(tries.stall(policy, now + policy * 16 * 4 + Duration::from_secs(1)), policy, "it was calm");
        assert_eq!(tries.stall(policy, now), policy);
    }
}
