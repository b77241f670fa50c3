//! Calls that wait for a broker, between the driver, the threads that make them, and the clock.
//!
//! There are two lines, and a thread for each: transactions' calls, and the others. Of each line the driver asks for one call at
//! a time, and is answered when its limit is over at the latest. librdkafka may need longer, and goes on then.
//!
//! A commit and an abort are *lasting*: made once, for as long as it takes, so that no answer is ever taken for another call's.
//! Who asks for the same once more waits for the one that is under way, or hears what it came to meanwhile.

use std::mem::Discriminant;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Answer, Call, CallError, CallId, Request};

/// How much later than its limit a call is given up that librdkafka is to end by itself.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Transactions,
    Others,
}

impl Line {
    pub(crate) const ALL: [Self; 2] = [Self::Transactions, Self::Others];

    pub(crate) fn of(call: &Call) -> Self {
        if call.is_transactional() { Self::Transactions } else { Self::Others }
    }
}

pub(crate) type Outcome = Result<Answer, CallError>;

/// Whether librdkafka is asked for it once, for as long as it takes.
pub(crate) fn is_lasting(call: &Call) -> bool {
    matches!(call, Call::Commit | Call::Abort)
}

/// Who is to be answered, and when at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    id: CallId,
    kind: Discriminant<Call>,
    due: Instant,
}

/// What a thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Make(Box<Request>),
    /// The call was made before, when nobody listened any more.
    Tell(CallId, Outcome),
}

/// A line's state.
#[derive(Default)]
pub(crate) struct Calls {
    /// Asked for, and not begun.
    waiting: Option<(Box<Request>, Instant)>,
    /// Of the call under way.
    listener: Option<Listener>,
    /// What a lasting call came to of which nobody has heard.
    unheard: Option<(Discriminant<Call>, Outcome)>,
}

impl Calls {
    /// Takes a request, or gives it back if one waits already.
    pub(crate) fn ask(&mut self, request: Box<Request>, now: Instant) -> Result<(), Box<Request>> {
        if self.waiting.is_some() {
            return Err(request);
        }
        let grace = if is_lasting(&request.call) { Duration::ZERO } else { GRACE };
        // A limit that no clock reaches is none.
        let due = now.checked_add(request.limit.saturating_add(grace)).unwrap_or(now + Duration::from_secs(1 << 32));
        self.waiting = Some((request, due));
        Ok(())
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// What the line's thread does next.
    pub(crate) fn next(&mut self) -> Option<Next> {
        let (request, due) = self.waiting.take()?;
        let kind = std::mem::discriminant(&request.call);
        match self.unheard.take() {
            Some((heard, outcome)) if heard == kind => Some(Next::Tell(request.id, outcome)),
            _ => {
                self.listener = Some(Listener { id: request.id, kind, due });
                Some(Next::Make(request))
            }
        }
    }

    /// A call has come to its end; who is to hear of it. If it lasted and nobody is there, it is kept for who asks again.
    pub(crate) fn end(
        &mut self,
        kind: Discriminant<Call>,
        lasted: bool,
        outcome: Outcome,
    ) -> Option<(CallId, Outcome)> {
        match self.listener.take() {
            Some(Listener { id, .. }) => Some((id, outcome)),
            None => {
                self.unheard = lasted.then_some((kind, outcome));
                None
            }
        }
    }

    /// Who has waited for too long, by `now`: for a call that is under way, or for one whose turn does not come.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<CallId> {
        let listener = self.listener.take_if(|listener| listener.due <= now).map(|listener| listener.id);
        listener.or_else(|| self.waiting.take_if(|(_, due)| *due <= now).map(|(request, _)| request.id))
    }

    /// Who is still to be answered when the producer ends, and what it called.
    pub(crate) fn leave(&mut self) -> Option<(CallId, Discriminant<Call>)> {
        let listener = self.listener.take().map(|listener| (listener.id, listener.kind));
        listener.or_else(|| self.take().map(|request| (request.id, std::mem::discriminant(&request.call))))
    }

    /// When to look for that again.
    pub(crate) fn due(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().map(|(_, due)| *due);
        waiting.into_iter().chain(self.listener.map(|listener| listener.due)).min()
    }

    /// The request that nobody has begun to make.
    pub(crate) fn take(&mut self) -> Option<Box<Request>> {
        self.waiting.take().map(|(request, _)| request)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;

    const DONE: Outcome = Ok(Answer::Done);

    fn request(id: u64, call: Call) -> Box<Request> {
        Box::new(Request { id: CallId(id), call, limit: Duration::from_secs(10) })
    }

    fn begun(calls: &mut Calls) -> u64 {
        match calls.next() {
            Some(Next::Make(request)) => request.id.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn s39_a_lasting_call_is_made_once_however_often_it_is_asked_for() {
        let (mut calls, start) = (Calls::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let commit = discriminant(&Call::Commit);
        calls.ask(request(1, Call::Commit), at(0)).unwrap();
        assert_eq!(begun(&mut calls), 1);
        assert_eq!((calls.overdue(at(9)), calls.due()), (None, Some(at(10))));
        assert_eq!(calls.overdue(at(10)), Some(CallId(1)), "nobody knows");
        assert_eq!((calls.overdue(at(99)), calls.due()), (None, None), "it is told once");
        // Asked for again, while it is under way, and in vain.
        calls.ask(request(2, Call::Commit), at(20)).unwrap();
        assert_eq!(calls.overdue(at(30)), Some(CallId(2)));
        // Again, and it comes to its end meanwhile.
        calls.ask(request(3, Call::Commit), at(40)).unwrap();
        assert_eq!(calls.end(commit, true, DONE), None, "the first one hears nothing more");
        assert_eq!(calls.next(), Some(Next::Tell(CallId(3), DONE)), "the answer of the one call there was");
        // The next one is another.
        calls.ask(request(4, Call::Commit), at(50)).unwrap();
        assert_eq!(begun(&mut calls), 4);
        assert_eq!(calls.end(commit, true, DONE), Some((CallId(4), DONE)));
    }

    #[test]
    fn what_another_call_came_to_is_no_answer() {
        let (mut calls, start) = (Calls::default(), Instant::now());
        let late = start + Duration::from_secs(60);
        calls.ask(request(1, Call::Abort), start).unwrap();
        assert_eq!(begun(&mut calls), 1);
        assert_eq!(calls.overdue(late), Some(CallId(1)));
        assert_eq!(calls.end(discriminant(&Call::Abort), true, DONE), None);
        calls.ask(request(2, Call::Commit), late).unwrap();
        assert_eq!(begun(&mut calls), 2);
        // Those that do not last are not kept.
        assert_eq!(calls.overdue(late + Duration::from_secs(60)), Some(CallId(2)));
        assert_eq!(calls.end(discriminant(&Call::Begin), false, DONE), None);
        calls.ask(request(3, Call::Begin), late).unwrap();
        assert_eq!(calls.ask(request(4, Call::Begin), late), Err(request(4, Call::Begin)), "one at a time");
        assert_eq!(begun(&mut calls), 3);
    }

    #[test]
    fn a_limit_beyond_all_clocks_is_none() {
        let mut calls = Calls::default();
        let endless = Request { limit: Duration::MAX, ..*request(1, Call::Commit) };
        calls.ask(Box::new(endless), Instant::now()).unwrap();
        assert!(calls.due().is_some_and(|due| due > Instant::now() + Duration::from_secs(1 << 31)));
    }
}
