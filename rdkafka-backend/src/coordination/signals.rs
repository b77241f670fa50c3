//! The signals: one lock, and a condition variable for each kind of thread.

use std::mem::Discriminant;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Call, CallId, Request};

use crate::coordination::call_queue::{CallKind, CallQueue, CallResult, Next};

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
    /// The first connection is up, or the last one is down.
    pub(crate) connection: bool,
    /// A partition may have become unavailable, or is answered again.
    pub(crate) watch: bool,
    pub(crate) shut_down: bool,
}

/// Why a worker wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The driver may have a batch.
    Batch,
    /// There are reports or events to read.
    Reports,
    /// The worker must end.
    End,
}

/// Wakes workers, the control thread, and the threads that make broker calls.
pub(crate) struct Signals {
    state: Mutex<State>,
    worker: Condvar,
    control: Condvar,
    callers: [Condvar; CallKind::ALL.len()],
    purges: bool,
}

struct State {
    /// Broker calls, by kind.
    calls: [CallQueue; CallKind::ALL.len()],
    /// There are reports or events to read.
    reports: bool,
    /// A thread is reading.
    reading: bool,
    /// Wake-ups that no worker has used yet. A busy worker uses one later, so none is lost. At most one per worker is useful.
    permits: usize,
    workers: usize,
    requests: Requests,
    probe: ProbeState,
}

/// The state of the thread that probes metadata.
#[derive(Default)]
struct ProbeState {
    runs: bool,
    /// It must look at the topics once more.
    has_work: bool,
}

impl State {
    fn can_read(&self) -> bool {
        self.reports && !self.reading
    }
}

impl Signals {
    pub(crate) fn new(workers: usize) -> Self {
        // The main queue may have events from before its callback was set, and there is no callback until it is empty.
        let state = State {
            calls: Default::default(),
            reports: true,
            reading: false,
            permits: 0,
            workers,
            requests: Requests::default(),
            probe: ProbeState::default(),
        };
        let (worker, control, callers) = (Condvar::new(), Condvar::new(), Default::default());
        Self { state: Mutex::new(state), worker, control, callers, purges: true }
    }

    /// Whether records may be purged before the end.
    pub(crate) fn purging(self, purges: bool) -> Self {
        Self { purges, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Workers.
impl Signals {
    /// Wakes a worker: the driver has a batch.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        state.permits = (state.permits + 1).min(state.workers);
        drop(state);
        self.worker.notify_one();
    }

    /// Blocks a worker until there is something to do.
    pub(crate) fn park(&self) -> Wake {
        let idle = |state: &mut State| state.permits == 0 && !state.can_read() && !state.requests.shut_down;
        let mut state = self.worker.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.requests.shut_down {
            Wake::End
        } else if state.permits > 0 {
            state.permits -= 1;
            Wake::Batch
        } else {
            Wake::Reports
        }
    }

    /// Wakes a worker: there are reports or events to read.
    pub(crate) fn report(&self) {
        self.lock().reports = true;
        self.worker.notify_one();
    }

    /// Whether there are reports or events and no thread reads. If so, the caller must read and then call
    /// [`Signals::end_reading`].
    pub(crate) fn begin_reading(&self) -> bool {
        let mut state = self.lock();
        let begins = state.can_read();
        if begins {
            // What arrives from here on sets it again.
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
}

/// The control thread, and the end of all threads.
impl Signals {
    /// The requests since the last call. Waits for one until `limit` has passed or a broker call is overdue.
    pub(crate) fn requests(&self, limit: Option<Duration>) -> Requests {
        let none = |state: &mut State| state.requests == Requests::default();
        let state = self.lock();
        let due = state.calls.iter().filter_map(CallQueue::due).min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let mut state = match limit.into_iter().chain(due).min() {
            None => self.control.wait_while(state, none).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                self.control.wait_timeout_while(state, limit, none).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        // The request to shut down stays.
        let shut_down = state.requests.shut_down;
        std::mem::replace(&mut state.requests, Requests { shut_down, ..Requests::default() })
    }

    pub(crate) fn flush(&self) {
        self.request(|requests| requests.flush = true);
    }

    pub(crate) fn purge(&self, queued: bool, in_flight: bool) {
        if !self.purges {
            return;
        }
        self.request(|requests| {
            requests.purge_queued |= queued;
            requests.purge_in_flight |= in_flight;
        });
    }

    /// The application has answered a token request.
    pub(crate) fn token(&self) {
        self.request(|requests| requests.token = true);
    }

    /// The first connection is up, or the last one is down.
    pub(crate) fn connection(&self) {
        self.request(|requests| requests.connection = true);
    }

    /// A partition has something to answer, or is answered again.
    pub(crate) fn watch(&self) {
        self.request(|requests| requests.watch = true);
    }

    pub(crate) fn shut_down(&self) {
        self.request(|requests| requests.shut_down = true);
        self.worker.notify_all();
        self.callers.iter().for_each(Condvar::notify_all);
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.lock().requests.shut_down
    }

    fn request(&self, change: impl FnOnce(&mut Requests)) {
        change(&mut self.lock().requests);
        self.control.notify_one();
    }
}

/// Broker calls.
impl Signals {
    /// Queues a call, or returns it if a call of its kind is in the queue or the backend is shut down.
    pub(crate) fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        let kind = CallKind::of(&request.call) as usize;
        let mut state = self.lock();
        if state.requests.shut_down {
            return Err(request);
        }
        state.calls[kind].push(request, Instant::now())?;
        state.requests.call = true;
        drop(state);
        // The control thread starts the calling thread, and watches the deadline.
        self.control.notify_one();
        // The metadata probe may wait here as well, in a pause.
        self.callers[kind].notify_all();
        Ok(())
    }

    /// Waits for the next call of `kind`; `None` when the backend is shut down and the queue is empty.
    pub(crate) fn next_call(&self, kind: CallKind) -> Option<Next> {
        let none = |state: &mut State| !state.calls[kind as usize].has_request() && !state.requests.shut_down;
        let caller = &self.callers[kind as usize];
        let mut state = caller.wait_while(self.lock(), none).unwrap_or_else(PoisonError::into_inner);
        state.calls[kind as usize].next()
    }

    /// Waits for `time`, or until the backend is shut down.
    pub(crate) fn pause(&self, kind: CallKind, time: Duration) {
        let goes_on = |state: &mut State| !state.requests.shut_down;
        drop(self.callers[kind as usize].wait_timeout_while(self.lock(), time, goes_on));
    }

    /// As [`CallQueue::end`].
    pub(crate) fn end_call(
        &self,
        kind: CallKind,
        which: Discriminant<Call>,
        single: bool,
        result: CallResult,
    ) -> Option<(CallId, CallResult)> {
        self.lock().calls[kind as usize].end(which, single, result)
    }

    /// As [`CallQueue::take_overdue`], of any kind.
    pub(crate) fn take_overdue_call(&self, now: Instant) -> Option<CallId> {
        self.lock().calls.iter_mut().find_map(|calls| calls.take_overdue(now))
    }

    /// As [`CallQueue::take_unanswered`], of any kind.
    pub(crate) fn take_unanswered_call(&self) -> Option<(CallId, Discriminant<Call>)> {
        self.lock().calls.iter_mut().find_map(CallQueue::take_unanswered)
    }

    /// The request of `kind` whose call was not begun.
    pub(crate) fn take_requested_call(&self, kind: CallKind) -> Option<Box<Request>> {
        self.lock().calls[kind as usize].take_requested()
    }

    /// Whether a call of `kind` is in the queue.
    pub(crate) fn has_call(&self, kind: CallKind) -> bool {
        self.lock().calls[kind as usize].has_request()
    }
}

/// The metadata probe.
impl Signals {
    /// A topic is used for the first time.
    pub(crate) fn topic(&self) {
        let mut state = self.lock();
        state.requests.topic = true;
        state.probe.has_work = true;
        drop(state);
        self.control.notify_one();
    }

    /// Whether the probe must be started. If so, it counts as running from now on.
    pub(crate) fn needs_probe(&self) -> bool {
        !std::mem::replace(&mut self.lock().probe.runs, true)
    }

    /// The probe is about to look at the topics.
    pub(crate) fn begin_probe_round(&self) {
        self.lock().probe.has_work = false;
    }

    /// The probe has found nothing to do. True if it may end; it counts as ended then.
    pub(crate) fn end_probe(&self) -> bool {
        let probe = &mut self.lock().probe;
        probe.runs = probe.has_work;
        !probe.runs
    }

    /// The probe could not be started; the next topic tries again.
    pub(crate) fn probe_failed_to_start(&self) {
        self.lock().probe.runs = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ups_before_a_park_are_kept_at_most_one_per_worker() {
        let signals = Signals::new(2);
        for _ in 0..5 {
            signals.wake();
        }
        signals.report();
        assert_eq!([signals.park(), signals.park(), signals.park()], [Wake::Batch, Wake::Batch, Wake::Reports]);
        assert_eq!(signals.lock().permits, 0);
        signals.shut_down();
        assert_eq!(signals.park(), Wake::End);
    }

    #[test]
    fn one_thread_reads_at_a_time_and_only_if_there_is_something() {
        let signals = Signals::new(2);
        assert!(signals.begin_reading(), "there may be earlier events");
        assert!(!signals.begin_reading());
        signals.report();
        assert!(!signals.begin_reading(), "the reading thread looks again");
        signals.end_reading();
        assert!(signals.begin_reading());
        signals.end_reading();
        assert!(!signals.begin_reading());
    }

    #[test]
    fn each_kind_has_one_call_at_a_time_and_none_after_the_end() {
        let signals = Signals::new(1);
        let request = |id, call| Box::new(Request { id: CallId(id), call, limit: Duration::from_secs(60) });
        let begin = |id| request(id, Call::Begin);
        let metadata = |id| request(id, Call::Metadata { topic: None });
        assert!(signals.call(begin(1)).is_ok() && signals.call(metadata(2)).is_ok());
        assert_eq!(signals.call(begin(3)), Err(begin(3)));
        assert!(signals.requests(None).call && signals.has_call(CallKind::Transactional));
        assert_eq!(signals.next_call(CallKind::Transactional), Some(Next::Make(begin(1))));
        assert_eq!(signals.next_call(CallKind::Other), Some(Next::Make(metadata(2))));
        assert!(signals.call(begin(4)).is_ok());
        signals.shut_down();
        assert_eq!(signals.call(metadata(5)), Err(metadata(5)));
        assert_eq!(
            signals.next_call(CallKind::Transactional),
            Some(Next::Make(begin(4))),
            "a call that was accepted is made"
        );
        assert_eq!((signals.next_call(CallKind::Transactional), signals.next_call(CallKind::Other)), (None, None));
    }

    #[test]
    fn the_control_thread_wakes_when_a_call_is_overdue() {
        let signals = Signals::new(1);
        let request = Request { id: CallId(1), call: Call::Commit, limit: Duration::from_millis(1) };
        assert!(signals.call(Box::new(request)).is_ok());
        assert!(signals.requests(None).call);
        // Without the call this would never return.
        assert_eq!(signals.requests(None), Requests::default());
        assert_eq!(signals.take_overdue_call(Instant::now()), Some(CallId(1)));
    }

    #[test]
    fn requests_add_up_until_they_are_read() {
        let signals = Signals::new(1);
        signals.purge(true, false);
        signals.purge(false, true);
        signals.flush();
        let expected = Requests { flush: true, purge_queued: true, purge_in_flight: true, ..Requests::default() };
        assert_eq!(signals.requests(None), expected);
        assert_eq!(signals.requests(Some(Duration::ZERO)), Requests::default());
    }
}
