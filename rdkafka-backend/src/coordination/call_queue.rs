//! Broker calls between the driver, the threads that make them, and their deadlines.
//!
//! There are two kinds of calls, and a queue and a thread for each: transactional calls, and all others. The driver asks for one
//! call of a kind at a time and gets an answer when the limit of the call has passed at the latest. librdkafka may need longer;
//! the call goes on then.
//!
//! A commit and an abort are *single* calls: librdkafka is called once, for as long as it takes, so no answer is mistaken for the
//! answer of another call. A request for the same call joins the one under way, or gets its result if it has ended meanwhile.

use std::mem::Discriminant;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Answer, Call, CallError, CallId, Request};

/// How long after its limit a call is given up that librdkafka is expected to end itself.
const GRACE: Duration = Duration::from_secs(1);

/// The kinds of calls: calls of one kind are made one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    Transactional,
    Other,
}

impl CallKind {
    pub(crate) const ALL: [Self; 2] = [Self::Transactional, Self::Other];

    pub(crate) fn of(call: &Call) -> Self {
        if call.is_transactional() { Self::Transactional } else { Self::Other }
    }
}

pub(crate) type CallResult = Result<Answer, CallError>;

/// Whether librdkafka is called once for it, for as long as it takes.
pub(crate) fn is_single(call: &Call) -> bool {
    matches!(call, Call::Commit | Call::Abort)
}

/// A request that is to be answered, and when at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    id: CallId,
    which: Discriminant<Call>,
    due: Instant,
}

/// What a call's thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Make(Box<Request>),
    /// The call has been made already, and ended when no request waited for it.
    Answer(CallId, CallResult),
}

/// The calls of one kind.
#[derive(Default)]
pub(super) struct CallQueue {
    /// Requested and not begun, with its deadline.
    requested: Option<(Box<Request>, Instant)>,
    /// Waits for the call under way.
    waiter: Option<Waiter>,
    /// The result of a single call that ended when no request waited for it.
    unclaimed: Option<(Discriminant<Call>, CallResult)>,
}

impl CallQueue {
    /// Takes a request, or returns it if another one is in the queue.
    pub(super) fn push(&mut self, request: Box<Request>, now: Instant) -> Result<(), Box<Request>> {
        if self.requested.is_some() {
            return Err(request);
        }
        let grace = if is_single(&request.call) { Duration::ZERO } else { GRACE };
        // A limit beyond the clock's range is as good as none.
        let due = now.checked_add(request.limit.saturating_add(grace)).unwrap_or(now + Duration::from_secs(1 << 32));
        self.requested = Some((request, due));
        Ok(())
    }

    pub(super) fn has_request(&self) -> bool {
        self.requested.is_some()
    }

    /// What the thread of this queue does next.
    pub(super) fn next(&mut self) -> Option<Next> {
        let (request, due) = self.requested.take()?;
        let which = std::mem::discriminant(&request.call);
        match self.unclaimed.take() {
            Some((ended, result)) if ended == which => Some(Next::Answer(request.id, result)),
            _ => {
                self.waiter = Some(Waiter { id: request.id, which, due });
                Some(Next::Make(request))
            }
        }
    }

    /// Ends the call under way. Returns the request to answer. Without one, the result of a single call is kept for the next
    /// request for that call.
    pub(super) fn end(
        &mut self,
        which: Discriminant<Call>,
        single: bool,
        result: CallResult,
    ) -> Option<(CallId, CallResult)> {
        match self.waiter.take() {
            Some(Waiter { id, .. }) => Some((id, result)),
            None => {
                self.unclaimed = single.then_some((which, result));
                None
            }
        }
    }

    /// A request whose deadline has passed: its call is under way, or was not begun. It no longer waits.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<CallId> {
        let waiter = self.waiter.take_if(|waiter| waiter.due <= now).map(|waiter| waiter.id);
        waiter.or_else(|| self.requested.take_if(|(_, due)| *due <= now).map(|(request, _)| request.id))
    }

    /// A request that is not answered yet, whether or not its call was begun. It no longer waits.
    pub(super) fn take_unanswered(&mut self) -> Option<(CallId, Discriminant<Call>)> {
        let waiter = self.waiter.take().map(|waiter| (waiter.id, waiter.which));
        waiter.or_else(|| self.take_requested().map(|request| (request.id, std::mem::discriminant(&request.call))))
    }

    /// The next deadline.
    pub(super) fn due(&self) -> Option<Instant> {
        let requested = self.requested.as_ref().map(|(_, due)| *due);
        requested.into_iter().chain(self.waiter.map(|waiter| waiter.due)).min()
    }

    /// The request whose call was not begun.
    pub(super) fn take_requested(&mut self) -> Option<Box<Request>> {
        self.requested.take().map(|(request, _)| request)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;

    const DONE: CallResult = Ok(Answer::Done);

    fn request(id: u64, call: Call) -> Box<Request> {
        Box::new(Request { id: CallId(id), call, limit: Duration::from_secs(10) })
    }

    fn begun(calls: &mut CallQueue) -> u64 {
        match calls.next() {
            Some(Next::Make(request)) => request.id.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn s39_a_single_call_is_made_once_however_often_it_is_requested() {
        let (mut calls, start) = (CallQueue::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let commit = discriminant(&Call::Commit);
        calls.push(request(1, Call::Commit), at(0)).unwrap();
        assert_eq!(begun(&mut calls), 1);
        assert_eq!((calls.take_overdue(at(9)), calls.due()), (None, Some(at(10))));
        assert_eq!(calls.take_overdue(at(10)), Some(CallId(1)), "the result is not known");
        assert_eq!((calls.take_overdue(at(99)), calls.due()), (None, None), "it is given up once");
        // Requested again while it is under way, until the next deadline.
        calls.push(request(2, Call::Commit), at(20)).unwrap();
        assert_eq!(calls.take_overdue(at(30)), Some(CallId(2)));
        // Requested once more, and it ends meanwhile.
        calls.push(request(3, Call::Commit), at(40)).unwrap();
        assert_eq!(calls.end(commit, true, DONE), None, "the first request was given up");
        assert_eq!(calls.next(), Some(Next::Answer(CallId(3), DONE)), "the result of the one call");
        // The next request makes another call.
        calls.push(request(4, Call::Commit), at(50)).unwrap();
        assert_eq!(begun(&mut calls), 4);
        assert_eq!(calls.end(commit, true, DONE), Some((CallId(4), DONE)));
    }

    #[test]
    fn the_result_of_another_call_is_no_answer() {
        let (mut calls, start) = (CallQueue::default(), Instant::now());
        let late = start + Duration::from_secs(60);
        calls.push(request(1, Call::Abort), start).unwrap();
        assert_eq!(begun(&mut calls), 1);
        assert_eq!(calls.take_overdue(late), Some(CallId(1)));
        assert_eq!(calls.end(discriminant(&Call::Abort), true, DONE), None);
        calls.push(request(2, Call::Commit), late).unwrap();
        assert_eq!(begun(&mut calls), 2);
        // Results of other calls are not kept.
        assert_eq!(calls.take_overdue(late + Duration::from_secs(60)), Some(CallId(2)));
        assert_eq!(calls.end(discriminant(&Call::Begin), false, DONE), None);
        calls.push(request(3, Call::Begin), late).unwrap();
        assert_eq!(calls.push(request(4, Call::Begin), late), Err(request(4, Call::Begin)), "one at a time");
        assert_eq!(begun(&mut calls), 3);
    }

    #[test]
    fn a_limit_beyond_the_range_of_the_clock_is_none() {
        let mut calls = CallQueue::default();
        let endless = Request { limit: Duration::MAX, ..*request(1, Call::Commit) };
        calls.push(Box::new(endless), Instant::now()).unwrap();
        assert!(calls.due().is_some_and(|due| due > Instant::now() + Duration::from_secs(1 << 31)));
    }
}
