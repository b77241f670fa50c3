//! The caller: a thread that makes the calls which wait for a broker, one after another.
//!
//! A transaction's call that timed out is taken up again by the next one. So each is made in short pieces, and between two
//! of them the end of the backend is heard.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Answer, Call, CallError, CallId, Exchange, Message, Request};

use crate::failure;
use crate::ffi::Client;
use crate::signals::Signals;

/// The length of a piece of a call that takes up where it was.
const PIECE: Duration = Duration::from_millis(100);

/// The length of the first piece of a call that starts from the beginning each time; each is twice as long as the one
/// before.
const FIRST: Duration = Duration::from_millis(500);

/// The most that it grows to.
const LAST: Duration = Duration::from_secs(4);

/// Makes calls until the backend is shut down. What a call finds to be fatal is told before its answer; librdkafka's event of
/// it may come later.
pub(crate) fn run<R: Message>(client: &Client<R>, exchange: &impl Exchange<R>, signals: &Signals) {
    let caller = Caller { client, signals };
    while let Some(request) = signals.next_call() {
        let Request { id, call, limit } = *request;
        let mut answering = Answering { exchange, id, outcome: Err(closed(&call)), of: PhantomData };
        if !signals.is_shut_down() {
            answering.outcome = caller.make(call, limit);
            if answering.outcome.as_ref().is_err_and(|error| error.fatal)
                && let Some(failure) = client.fatal()
            {
                exchange.fatal(failure);
            }
        }
    }
}

/// Answers a call that is not made any more, if there is one.
pub(crate) fn refuse<R>(exchange: &impl Exchange<R>, signals: &Signals) {
    if let Some(request) = signals.take_call() {
        exchange.answered(request.id, Err(closed(&request.call)));
    }
}

/// Answers whatever happens.
struct Answering<'a, R, E: Exchange<R>> {
    exchange: &'a E,
    id: CallId,
    outcome: Result<Answer, CallError>,
    of: PhantomData<fn() -> R>,
}

impl<R, E: Exchange<R>> Drop for Answering<'_, R, E> {
    fn drop(&mut self) {
        self.exchange.answered(self.id, std::mem::replace(&mut self.outcome, Ok(Answer::Done)));
    }
}

fn closed(call: &Call) -> CallError {
    // What an earlier piece of a commit came to is not known.
    let retriable = matches!(call, Call::Commit);
    let reason = String::from("the producer was closed before the call was answered");
    CallError { code: failure::DESTROY, reason, retriable, txn_requires_abort: false, fatal: false }
}

struct Caller<'a, R> {
    client: &'a Client<R>,
    signals: &'a Signals,
}

impl<R: Message> Caller<'_, R> {
    fn make(&self, call: Call, limit: Duration) -> Result<Answer, CallError> {
        let client = self.client;
        let done = match call {
            Call::InitTransactions => self.resume(limit, |timeout| client.init_transactions(timeout)),
            Call::Begin => client.begin_transaction(),
            Call::SendOffsets { offsets, group } => {
                self.restart(limit, |timeout| client.send_offsets(&offsets, &group, timeout))
            }
            Call::Commit => self.resume(limit, |timeout| client.commit_transaction(timeout)),
            Call::Abort => self.resume(limit, |timeout| client.abort_transaction(timeout)),
            Call::Metadata { topic } => {
                let topic = topic.as_deref();
                return self.restart(limit, |timeout| client.metadata(topic, timeout)).map(Answer::Metadata);
            }
            Call::SetSaslCredentials(credentials) => client.set_sasl_credentials(&credentials),
            _ => Err(failure::call(failure::NOT_IMPLEMENTED, "this backend makes no such calls")),
        };
        done.map(|()| Answer::Done)
    }

    fn resume<T>(&self, limit: Duration, call: impl FnMut(i32) -> Result<T, CallError>) -> Result<T, CallError> {
        self.in_pieces(limit, |_| PIECE, call)
    }

    fn restart<T>(&self, limit: Duration, call: impl FnMut(i32) -> Result<T, CallError>) -> Result<T, CallError> {
        self.in_pieces(limit, |count| FIRST.saturating_mul(1 << count.min(8)).min(LAST), call)
    }

    /// Calls until the outcome is not just that the time of a piece was up.
    fn in_pieces<T>(
        &self,
        limit: Duration,
        piece: impl Fn(u32) -> Duration,
        mut call: impl FnMut(i32) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let start = Instant::now();
        for count in 0.. {
            let begun = Instant::now();
            let left = limit.saturating_sub(begun - start);
            let piece = piece(count).min(left).max(Duration::from_millis(1));
            let outcome = call(piece.as_millis() as i32);
            // An error that came sooner is about something else, and the caller's to judge.
            let timed_out = outcome.as_ref().is_err_and(|error| error.retriable) && begun.elapsed() >= piece;
            if !timed_out || left <= piece || self.signals.is_shut_down() {
                return outcome;
            }
        }
        Err(failure::call(failure::TIMED_OUT, "timed out"))
    }
}
