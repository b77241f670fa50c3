//! What the driver and librdkafka ask of the backend's threads. Asking never waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aioproducer_core::backend::{Backend, Request};

/// Requests to the control thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) flush: bool,
    pub(crate) purge_queued: bool,
    pub(crate) purge_in_flight: bool,
    /// The application has answered a token request.
    pub(crate) token: bool,
    pub(crate) call: bool,
    pub(crate) shut_down: bool,
}

/// Why a worker is awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The driver may have a batch.
    Batch,
    /// There are reports or events to read.
    Reports,
    /// The worker is to end.
    End,
}

/// Wakes workers and the control thread.
pub(crate) struct Signals {
    state: Mutex<State>,
    worker: Condvar,
    control: Condvar,
    caller: Condvar,
}

struct State {
    /// What the caller is to call next; the driver asks for one thing at a time.
    call: Option<Box<Request>>,
    /// There are reports or events to read.
    reports: bool,
    /// A thread is reading.
    reading: bool,
    /// Wake-ups that no worker has used yet. A worker that is busy finds one later, so none is lost; more than there are
    /// workers are of no use.
    permits: usize,
    workers: usize,
    requests: Requests,
}

impl State {
    fn has_reading_to_do(&self) -> bool {
        self.reports && !self.reading
    }
}

impl Signals {
    pub(crate) fn new(workers: usize) -> Self {
        // The queue may have events from before its callback was set, and until it is empty there is no call for more.
        let state =
            State { call: None, reports: true, reading: false, permits: 0, workers, requests: Requests::default() };
        Self { state: Mutex::new(state), worker: Condvar::new(), control: Condvar::new(), caller: Condvar::new() }
    }

    /// Waits until there is something to do.
    pub(crate) fn park(&self) -> Reason {
        let idle = |state: &mut State| state.permits == 0 && !state.has_reading_to_do() && !state.requests.shut_down;
        let mut state = self.worker.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.requests.shut_down {
            Reason::End
        } else if state.permits > 0 {
            state.permits -= 1;
            Reason::Batch
        } else {
            Reason::Reports
        }
    }

    /// There is something to read; one worker should.
    pub(crate) fn report(&self) {
        self.lock().reports = true;
        self.worker.notify_one();
    }

    /// Whether there is something to read and nobody reads. The caller is to read then, and to say so when it is done.
    pub(crate) fn begin_reading(&self) -> bool {
        let mut state = self.lock();
        let begins = state.has_reading_to_do();
        if begins {
            // What comes from here on sets it again.
            (state.reports, state.reading) = (false, true);
        }
        begins
    }

    pub(crate) fn end_reading(&self) {
        let mut state = self.lock();
        state.reading = false;
        if state.reports {
            drop(state);
            self.worker.notify_one();
        }
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.lock().requests.shut_down
    }

    /// The requests since the last call; waits for one, at most as long as `patience` says.
    pub(crate) fn requests(&self, patience: Option<Duration>) -> Requests {
        let none = |state: &mut State| state.requests == Requests::default();
        let state = self.lock();
        let mut state = match patience {
            None => self.control.wait_while(state, none).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                self.control.wait_timeout_while(state, patience, none).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        // The end of it all stays asked for.
        let shut_down = state.requests.shut_down;
        std::mem::replace(&mut state.requests, Requests { shut_down, ..Requests::default() })
    }

    /// A token request was answered.
    pub(crate) fn token(&self) {
        self.request(|requests| requests.token = true);
    }

    /// Waits for a call to make; `None` when the backend is shut down and there is none.
    pub(crate) fn next_call(&self) -> Option<Box<Request>> {
        let none = |state: &mut State| state.call.is_none() && !state.requests.shut_down;
        self.caller.wait_while(self.lock(), none).unwrap_or_else(PoisonError::into_inner).call.take()
    }

    /// The call that nobody has begun to make.
    pub(crate) fn take_call(&self) -> Option<Box<Request>> {
        self.lock().call.take()
    }

    fn request(&self, change: impl FnOnce(&mut Requests)) {
        change(&mut self.lock().requests);
        self.control.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Signals {
    fn wake(&self) {
        let mut state = self.lock();
        state.permits = (state.permits + 1).min(state.workers);
        drop(state);
        self.worker.notify_one();
    }

    fn flush(&self) {
        self.request(|requests| requests.flush = true);
    }

    fn purge(&self, queued: bool, in_flight: bool) {
        self.request(|requests| {
            requests.purge_queued |= queued;
            requests.purge_in_flight |= in_flight;
        });
    }

    fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        let mut state = self.lock();
        if state.requests.shut_down || state.call.is_some() {
            return Err(request);
        }
        state.call = Some(request);
        state.requests.call = true;
        drop(state);
        self.control.notify_one();
        self.caller.notify_one();
        Ok(())
    }

    fn shut_down(&self) {
        self.request(|requests| requests.shut_down = true);
        self.worker.notify_all();
        self.caller.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_park_is_kept_and_no_more_than_one_for_each_worker() {
        let signals = Signals::new(2);
        for _ in 0..5 {
            signals.wake();
        }
        signals.report();
        assert_eq!([signals.park(), signals.park(), signals.park()], [Reason::Batch, Reason::Batch, Reason::Reports]);
        assert_eq!(signals.lock().permits, 0);
        signals.shut_down();
        assert_eq!(signals.park(), Reason::End);
    }

    #[test]
    fn one_thread_reads_at_a_time_and_none_for_nothing() {
        let signals = Signals::new(2);
        assert!(signals.begin_reading(), "what came before is to be read, too");
        assert!(!signals.begin_reading());
        signals.report();
        assert!(!signals.begin_reading(), "whoever reads is to look again");
        signals.end_reading();
        assert!(signals.begin_reading());
        signals.end_reading();
        assert!(!signals.begin_reading());
    }

    #[test]
    fn one_call_at_a_time_and_none_after_the_end() {
        use aioproducer_core::backend::{Call, CallId};

        let signals = Signals::new(1);
        let request = |id| Box::new(Request { id: CallId(id), call: Call::Begin, limit: Duration::ZERO });
        assert!(signals.call(request(1)).is_ok());
        assert_eq!(signals.call(request(2)), Err(request(2)));
        assert!(signals.requests(None).call);
        assert_eq!(signals.next_call(), Some(request(1)));
        assert!(signals.call(request(3)).is_ok());
        signals.shut_down();
        assert_eq!(signals.call(request(4)), Err(request(4)));
        assert_eq!(signals.next_call(), Some(request(3)), "what was taken on is answered");
        assert_eq!(signals.next_call(), None);
    }

    #[test]
    fn requests_add_up_until_they_are_read() {
        let signals = Signals::new(1);
        signals.purge(true, false);
        signals.purge(false, true);
        signals.flush();
        let asked = Requests { flush: true, purge_queued: true, purge_in_flight: true, ..Requests::default() };
        assert_eq!(signals.requests(None), asked);
        assert_eq!(signals.requests(Some(Duration::ZERO)), Requests::default());
    }
}
