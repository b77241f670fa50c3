//! The callers: threads that make the calls which wait for a broker, each line's one after another.
//!
//! Most of these calls librdkafka does not cut short. So nobody waits for a caller at the end: it goes on, and what it says
//! then finds a gate that is shut.

use std::mem::Discriminant;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Answer, Call, CallError, CallId, Driver, Message, Request};

use crate::ffi::Client;
use crate::partition::choice::Partitioning;
use crate::reports::failure;
use crate::threads::call_queue::{Line, Next, Outcome, is_lasting};
use crate::threads::gate::Gate;
use crate::threads::scout;
use crate::threads::signals::Signals;

/// How long librdkafka is asked to wait in a lasting call. Its first step cannot be taken up again: an answer that comes after
/// that is taken for the next call's. The step takes no time, unless librdkafka's main thread is held up for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// How soon a lasting call is made again that has come to nothing.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes the calls of `line` until the backend is shut down. What a call finds to be fatal is told before its answer;
/// librdkafka's event of it may come later.
pub(crate) fn run<R: Message, E: Driver<R>>(
    line: Line,
    client: &Client<R>,
    gate: &Gate<E>,
    signals: &Signals,
    partitioning: &Partitioning,
) {
    while let Some(next) = signals.next_call(line) {
        match next {
            Next::Tell(id, outcome) => answer(gate, Some((id, outcome))),
            Next::Make(request) => {
                let kind = std::mem::discriminant(&request.call);
                let lasts = is_lasting(&request.call);
                let outcome = match *request {
                    _ if signals.is_shut_down() => Err(closed(kind)),
                    Request { call: Call::Ready { topics }, limit, .. } => {
                        scout::get_ready(client, gate, signals, partitioning, &topics, limit).map(|()| Answer::Done)
                    }
                    request => make(client, signals, request),
                };
                let outcome = outcome.map_err(|error| with_cause(client, error));
                if outcome.as_ref().is_err_and(|error| error.fatal)
                    && let (Some(failure), Some(driver)) = (client.fatal(), gate.open())
                {
                    driver.fatal(failure);
                }
                answer(gate, signals.end_call(line, kind, lasts, outcome));
            }
        }
    }
}

/// Answers the calls whose time is over, though they may go on.
pub(crate) fn give_up_overdue<R, E: Driver<R>>(client: &Client<R>, gate: &Gate<E>, signals: &Signals) {
    while let Some(id) = signals.overdue_call(Instant::now()) {
        let reason = "timed out; what was called may go on, and the same call again waits for it";
        let timed_out = CallError { retriable: true, ..failure::call(failure::TIMED_OUT, reason) };
        answer(gate, Some((id, Err(with_cause(client, timed_out)))));
    }
}

/// Answers the calls that are not made any more.
pub(crate) fn refuse<R, E: Driver<R>>(gate: &Gate<E>, signals: &Signals) {
    for line in Line::ALL {
        if let Some(request) = signals.take_call(line) {
            answer(gate, Some((request.id, Err(closed(std::mem::discriminant(&request.call))))));
        }
    }
}

fn answer<R, E: Driver<R>>(gate: &Gate<E>, answer: Option<(CallId, Outcome)>) {
    if let (Some((id, outcome)), Some(driver)) = (answer, gate.open()) {
        driver.answered(id, outcome);
    }
}

/// The answers of calls that are under way, or wait, when the producer ends.
pub(crate) fn leave<R, E: Driver<R>>(driver: &E, signals: &Signals) {
    while let Some((id, kind)) = signals.leave_call() {
        driver.answered(id, Err(closed(kind)));
    }
}

fn closed(kind: Discriminant<Call>) -> CallError {
    // What an earlier call of a commit came to is not known.
    let retriable = kind == std::mem::discriminant(&Call::Commit);
    let reason = "the producer was closed before the call was answered";
    CallError { retriable, ..failure::call(failure::DESTROY, reason) }
}

/// A call that no broker has answered tells why.
fn with_cause<R>(client: &Client<R>, mut error: CallError) -> CallError {
    if [failure::TIMED_OUT, failure::TRANSPORT].contains(&error.code)
        && let Some(cause) = client.listeners().voice.cause()
    {
        error.reason = format!("{}; {}", error.reason, cause.reason);
    }
    error
}

fn make<R: Message>(client: &Client<R>, signals: &Signals, request: Request) -> Outcome {
    let Request { call, limit, .. } = request;
    let timeout = millis(limit);
    let lasting = |call: fn(&Client<R>, i32) -> Result<(), CallError>| {
        last(|| call(client, millis(PATIENCE)), || signals.pause(Line::Transactions, PAUSE), || signals.is_shut_down())
    };
    let done = match call {
        Call::InitTransactions => client.init_transactions(timeout),
        Call::Begin => client.begin_transaction(),
        Call::SendOffsets { offsets, group } => client.send_offsets(&offsets, &group, timeout),
        Call::Commit => lasting(Client::commit_transaction),
        Call::Abort => lasting(Client::abort_transaction),
        Call::Metadata { topic } => return client.metadata(topic.as_deref(), timeout).map(Answer::Metadata),
        Call::SetSaslCredentials(credentials) => client.set_sasl_credentials(&credentials),
        _ => Err(failure::call(failure::NOT_IMPLEMENTED, "this backend makes no such calls")),
    };
    done.map(|()| Answer::Done)
}

/// librdkafka's timeout: at least a millisecond, so that it looks whether there is an answer.
fn millis(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// A call that librdkafka takes up where it was, until it has come to something.
///
/// After one that has timed out, an answer may be that of its first step. An error that neither ends the transaction nor the
/// producer says nothing then, least of all that nothing happened: `_STATE` is what comes of a commit that is on its way.
fn last(
    mut call: impl FnMut() -> Result<(), CallError>,
    pause: impl Fn(),
    is_over: impl Fn() -> bool,
) -> Result<(), CallError> {
    let mut in_doubt = false;
    loop {
        let outcome = call();
        let Err(error) = &outcome else { return outcome };
        let timed_out = error.retriable && error.code == failure::TIMED_OUT;
        in_doubt |= timed_out;
        if !in_doubt || error.fatal || error.txn_requires_abort {
            return outcome;
        }
        if is_over() {
            return outcome.map_err(|error| CallError { retriable: true, ..error });
        }
        if !timed_out {
            pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const STATE: i32 = rdkafka_sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__STATE as i32;

    fn timed_out() -> CallError {
        CallError { retriable: true, ..failure::call(failure::TIMED_OUT, "") }
    }

    /// What a call comes to whose attempts come to `outcomes`, and after which the producer ends; how many were left.
    fn outcome(outcomes: &[Result<(), CallError>]) -> (Result<(), CallError>, usize) {
        let next = Cell::new(0);
        let call = || {
            next.set(next.get() + 1);
            outcomes[next.get() - 1].clone()
        };
        let outcome = last(call, || (), || next.get() == outcomes.len());
        (outcome, outcomes.len() - next.get())
    }

    #[test]
    fn s39_after_a_timeout_a_wrong_state_is_an_answer_that_is_not_known_yet() {
        let state = || Err(failure::call(STATE, "not valid in state CommittingTransaction"));
        // The answer of the first call's first step came late and was taken for the second call's.
        assert_eq!(outcome(&[Err(timed_out()), state(), state(), Ok(())]), (Ok(()), 0));
        let (error, _) = outcome(&[Err(timed_out()), state()]);
        assert!(error.is_err_and(|error| error.retriable), "the producer ends, and nobody knows");
        // Without a timeout it is one.
        let (error, left) = outcome(&[state(), Ok(())]);
        assert!(error.is_err_and(|error| !error.retriable) && left == 1);
    }

    #[test]
    fn s39_what_ends_a_transaction_or_the_producer_is_an_answer_at_any_time() {
        let to_abort = CallError { txn_requires_abort: true, ..failure::call(1, "") };
        let fatal = CallError { fatal: true, ..failure::call(2, "") };
        let elsewhere = CallError { retriable: true, ..failure::call(failure::TRANSPORT, "") };
        for error in [to_abort, fatal] {
            assert_eq!(outcome(&[Err(timed_out()), Err(error.clone()), Ok(())]), (Err(error.clone()), 1));
            assert_eq!(outcome(&[Err(error.clone()), Ok(())]), (Err(error), 1));
        }
        assert_eq!(outcome(&[Err(elsewhere.clone()), Ok(())]), (Err(elsewhere), 1), "the caller's to judge");
    }

    #[test]
    fn a_limit_is_a_timeout_of_librdkafkas() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_millis(300)), 300);
        assert_eq!(millis(Duration::MAX), i32::MAX);
    }
}
