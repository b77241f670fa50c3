//! What the driver and librdkafka ask of the backend's threads. Asking never waits.

use std::mem::Discriminant;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Backend, Call, CallId, Request};

use crate::threads::call_queue::{Calls, Line, Next, Outcome};

/// Requests to the control thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requests {
    pub(crate) flush: bool,
    pub(crate) purge_queued: bool,
    pub(crate) purge_in_flight: bool,
    /// The application has answered a token request.
    pub(crate) token: bool,
    pub(crate) call: bool,
    /// A topic is used for the first time.
    pub(crate) topic: bool,
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
    callers: [Condvar; Line::ALL.len()],
}

struct State {
    /// What the callers are to call next, by line.
    calls: [Calls; Line::ALL.len()],
    /// There are reports or events to read.
    reports: bool,
    /// A thread is reading.
    reading: bool,
    /// Wake-ups that no worker has used yet. A worker that is busy finds one later, so none is lost; more than there are
    /// workers are of no use.
    permits: usize,
    workers: usize,
    requests: Requests,
    scout: Scout,
}

#[derive(Default)]
struct Scout {
    is_there: bool,
    /// It is to look at the topics once more.
    is_wanted: bool,
}

impl State {
    fn has_reading_to_do(&self) -> bool {
        self.reports && !self.reading
    }
}

impl Signals {
    pub(crate) fn new(workers: usize) -> Self {
        // The queue may have events from before its callback was set, and until it is empty there is no call for more.
        let state = State {
            calls: Default::default(),
            reports: true,
            reading: false,
            permits: 0,
            workers,
            requests: Requests::default(),
            scout: Scout::default(),
        };
        let (worker, control, callers) = (Condvar::new(), Condvar::new(), Default::default());
        Self { state: Mutex::new(state), worker, control, callers }
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

    /// The requests since the last call; waits for one, at most as long as `patience` says and until a call is overdue.
    pub(crate) fn requests(&self, patience: Option<Duration>) -> Requests {
        let none = |state: &mut State| state.requests == Requests::default();
        let state = self.lock();
        let due = state.calls.iter().filter_map(Calls::due).min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let mut state = match patience.into_iter().chain(due).min() {
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

    /// Waits for something to do for the caller of `line`; `None` when the backend is shut down and there is nothing.
    pub(crate) fn next_call(&self, line: Line) -> Option<Next> {
        let none = |state: &mut State| !state.calls[line as usize].is_waiting() && !state.requests.shut_down;
        let caller = &self.callers[line as usize];
        let mut state = caller.wait_while(self.lock(), none).unwrap_or_else(PoisonError::into_inner);
        state.calls[line as usize].next()
    }

    /// Waits for the end, at most for `time`.
    pub(crate) fn pause(&self, line: Line, time: Duration) {
        let goes_on = |state: &mut State| !state.requests.shut_down;
        drop(self.callers[line as usize].wait_timeout_while(self.lock(), time, goes_on));
    }

    /// What [`Calls::end`] does.
    pub(crate) fn end_call(
        &self,
        line: Line,
        kind: Discriminant<Call>,
        lasted: bool,
        outcome: Outcome,
    ) -> Option<(CallId, Outcome)> {
        self.lock().calls[line as usize].end(kind, lasted, outcome)
    }

    /// What [`Calls::overdue`] finds in any line.
    pub(crate) fn overdue_call(&self, now: Instant) -> Option<CallId> {
        self.lock().calls.iter_mut().find_map(|calls| calls.overdue(now))
    }

    /// What [`Calls::leave`] finds in any line.
    pub(crate) fn leave_call(&self) -> Option<(CallId, Discriminant<Call>)> {
        self.lock().calls.iter_mut().find_map(Calls::leave)
    }

    /// The call of `line` that nobody has begun to make.
    pub(crate) fn take_call(&self, line: Line) -> Option<Box<Request>> {
        self.lock().calls[line as usize].take()
    }

    /// Whether a call of `line` waits to be made.
    pub(crate) fn has_call(&self, line: Line) -> bool {
        self.lock().calls[line as usize].is_waiting()
    }

    /// A topic is used for the first time.
    pub(crate) fn topic(&self) {
        let mut state = self.lock();
        state.requests.topic = true;
        state.scout.is_wanted = true;
        drop(state);
        self.control.notify_one();
    }

    /// Whether there is no scout; the caller is to start one then.
    pub(crate) fn needs_scout(&self) -> bool {
        !std::mem::replace(&mut self.lock().scout.is_there, true)
    }

    /// The scout is about to look at the topics.
    pub(crate) fn begin_scouting(&self) {
        self.lock().scout.is_wanted = false;
    }

    /// No scout could be started; the next topic needs one.
    pub(crate) fn lose_scout(&self) {
        self.lock().scout.is_there = false;
    }

    /// The scout has found nothing to do: whether it may go. Whoever needs one from now on starts another.
    pub(crate) fn end_scouting(&self) -> bool {
        let scout = &mut self.lock().scout;
        scout.is_there = scout.is_wanted;
        !scout.is_there
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
        let line = Line::of(&request.call) as usize;
        let mut state = self.lock();
        if state.requests.shut_down {
            return Err(request);
        }
        state.calls[line].ask(request, Instant::now())?;
        state.requests.call = true;
        drop(state);
        // Control starts the caller, and looks when the call is overdue.
        self.control.notify_one();
        // A scout may be there as well, for a pause.
        self.callers[line].notify_all();
        Ok(())
    }

    fn shut_down(&self) {
        self.request(|requests| requests.shut_down = true);
        self.worker.notify_all();
        self.callers.iter().for_each(Condvar::notify_all);
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
    fn each_line_has_one_call_at_a_time_and_none_after_the_end() {
        let signals = Signals::new(1);
        let request = |id, call| Box::new(Request { id: CallId(id), call, limit: Duration::from_secs(60) });
        let begin = |id| request(id, Call::Begin);
        let metadata = |id| request(id, Call::Metadata { topic: None });
        assert!(signals.call(begin(1)).is_ok() && signals.call(metadata(2)).is_ok());
        assert_eq!(signals.call(begin(3)), Err(begin(3)));
        assert!(signals.requests(None).call && signals.has_call(Line::Transactions));
        assert_eq!(signals.next_call(Line::Transactions), Some(Next::Make(begin(1))));
        assert_eq!(signals.next_call(Line::Others), Some(Next::Make(metadata(2))));
        assert!(signals.call(begin(4)).is_ok());
        signals.shut_down();
        assert_eq!(signals.call(metadata(5)), Err(metadata(5)));
        assert_eq!(signals.next_call(Line::Transactions), Some(Next::Make(begin(4))), "what was taken on is answered");
        assert_eq!((signals.next_call(Line::Transactions), signals.next_call(Line::Others)), (None, None));
    }

    #[test]
    fn control_wakes_when_a_call_is_overdue() {
        let signals = Signals::new(1);
        let request = Request { id: CallId(1), call: Call::Commit, limit: Duration::from_millis(1) };
        assert!(signals.call(Box::new(request)).is_ok());
        assert!(signals.requests(None).call);
        // Without the call this would never return.
        assert_eq!(signals.requests(None), Requests::default());
        assert_eq!(signals.overdue_call(Instant::now()), Some(CallId(1)));
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
