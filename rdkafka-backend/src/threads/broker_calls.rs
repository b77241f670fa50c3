//! The threads that make broker calls, one thread for each kind, one call after another.
//!
//! librdkafka does not end most of these calls early. So the end of the producer does not wait for them: a call goes on, and its
//! result finds a link to the driver that is cut.

use std::mem::Discriminant;
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Answer, Call, CallError, CallId, Driver, ErrorCode, Message, Request};

use crate::coordination::{CallKind, CallResult, Next, Signals, is_single};
use crate::failure;
use crate::ffi::Client;
use crate::partition::partitioning::Partitioning;
use crate::threads::driver_link::DriverLink;
use crate::threads::readiness;

/// The timeout that a single call passes to librdkafka. librdkafka cannot resume the first step of the call: it would take a late
/// answer for the answer of the next call. That step takes no time, unless librdkafka's main thread is blocked for longer than
/// this.
const SINGLE_CALL: Duration = Duration::from_secs(30);

/// The pause before a single call is repeated.
const PAUSE: Duration = Duration::from_millis(50);

/// Makes the calls of one kind until the backend is shut down. A fatal error is reported before the answer of the call that met
/// it; librdkafka's event may come later.
pub(super) fn run<R: Message, E: Driver<R>>(
    kind: CallKind,
    client: &Client<R>,
    link: &DriverLink<E>,
    signals: &Signals,
    partitioning: &Partitioning,
) {
    while let Some(next) = signals.next_call(kind) {
        match next {
            Next::Answer(id, result) => answer(link, Some((id, result))),
            Next::Make(request) => {
                let which = std::mem::discriminant(&request.call);
                let single = is_single(&request.call);
                let result = match *request {
                    _ if signals.is_shut_down() => Err(closed(which)),
                    Request { call: Call::Ready { topics }, limit, .. } => {
                        readiness::wait(client, link, signals, partitioning, &topics, limit).map(|()| Answer::Done)
                    }
                    request => make(client, signals, request),
                };
                let result = result.map_err(|error| with_cause(client, error));
                if result.as_ref().is_err_and(CallError::is_fatal)
                    && let (Some(failure), Some(driver)) = (client.fatal(), link.driver())
                {
                    driver.fatal(failure);
                }
                answer(link, signals.end_call(kind, which, single, result));
            }
        }
    }
}

/// Answers the calls whose deadline has passed. The calls may go on.
pub(super) fn answer_overdue<R, E: Driver<R>>(client: &Client<R>, link: &DriverLink<E>, signals: &Signals) {
    while let Some(id) = signals.take_overdue_call(Instant::now()) {
        let reason = "timed out; the call may go on, and the same call again waits for its result";
        let timed_out = failure::call(failure::TIMED_OUT, reason).with_retriable(true);
        answer(link, Some((id, Err(with_cause(client, timed_out)))));
    }
}

/// Answers the calls that are in the queues and will not be made.
pub(super) fn refuse<R, E: Driver<R>>(link: &DriverLink<E>, signals: &Signals) {
    for kind in CallKind::ALL {
        if let Some(request) = signals.take_requested_call(kind) {
            answer(link, Some((request.id, Err(closed(std::mem::discriminant(&request.call))))));
        }
    }
}

fn answer<R, E: Driver<R>>(link: &DriverLink<E>, answer: Option<(CallId, CallResult)>) {
    if let (Some((id, result)), Some(driver)) = (answer, link.driver()) {
        driver.complete_call(id, result);
    }
}

/// Answers all calls when the producer ends: those that are under way and those in the queues.
pub(super) fn answer_all<R, E: Driver<R>>(driver: &E, signals: &Signals) {
    while let Some((id, which)) = signals.take_unanswered_call() {
        driver.complete_call(id, Err(closed(which)));
    }
}

fn closed(which: Discriminant<Call>) -> CallError {
    // The result of an earlier call of a commit is not known.
    let retriable = which == std::mem::discriminant(&Call::Commit);
    let reason = "the producer was closed before the call was answered";
    failure::call(failure::DESTROY, reason).with_retriable(retriable)
}

/// Adds the current trouble to the error of a call that no broker has answered.
fn with_cause<R>(client: &Client<R>, error: CallError) -> CallError {
    if matches!(error.code(), Some(ErrorCode::LocalTimedOut | ErrorCode::LocalTransport))
        && let Some(cause) = client.context().router.current_trouble()
    {
        let reason = format!("{}; {}", error.reason(), cause.reason);
        return error.with_reason(reason);
    }
    error
}

fn make<R: Message>(client: &Client<R>, signals: &Signals, request: Request) -> CallResult {
    let Request { call, limit, .. } = request;
    let timeout = millis(limit);
    let single = |call: fn(&Client<R>, i32) -> Result<(), CallError>| {
        let pause = || signals.pause(CallKind::Transactional, PAUSE);
        until_known(|| call(client, millis(SINGLE_CALL)), pause, || signals.is_shut_down())
    };
    let done = match call {
        Call::InitTransactions => client.init_transactions(timeout),
        Call::Begin => client.begin_transaction(),
        Call::SendOffsets { offsets, group } => client.send_offsets(&offsets, &group, timeout),
        Call::Commit => single(Client::commit_transaction),
        Call::Abort => single(Client::abort_transaction),
        Call::Metadata { topic } => return client.metadata(topic.as_deref(), timeout).map(Answer::Metadata),
        Call::SetSaslCredentials(credentials) => client.set_sasl_credentials(&credentials),
        _ => Err(failure::call(failure::NOT_IMPLEMENTED, "this backend makes no such calls")),
    };
    done.map(|()| Answer::Done)
}

/// librdkafka's timeout: at least a millisecond, so that librdkafka looks for an answer.
fn millis(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// Repeats a call, which librdkafka resumes where it was, until its result is known.
///
/// After a call has timed out, an answer may be that of its first step. An error that ends neither the transaction nor the producer
/// says nothing then, and does not mean that nothing happened: `_STATE` is the error of a commit that is under way.
fn until_known(
    mut call: impl FnMut() -> Result<(), CallError>,
    pause: impl Fn(),
    is_over: impl Fn() -> bool,
) -> Result<(), CallError> {
    let mut in_doubt = false;
    loop {
        let result = call();
        let Err(error) = &result else { return result };
        let timed_out = error.is_retriable() && error.code() == Some(ErrorCode::LocalTimedOut);
        in_doubt |= timed_out;
        if !in_doubt || error.is_fatal() || error.requires_abort() {
            return result;
        }
        if is_over() {
            return result.map_err(|error| error.with_retriable(true));
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
        failure::call(failure::TIMED_OUT, "").with_retriable(true)
    }

    /// The result of a call whose attempts have these results, and after which the producer ends; and the number of attempts left.
    fn result(results: &[Result<(), CallError>]) -> (Result<(), CallError>, usize) {
        let next = Cell::new(0);
        let call = || {
            next.set(next.get() + 1);
            results[next.get() - 1].clone()
        };
        let result = until_known(call, || (), || next.get() == results.len());
        (result, results.len() - next.get())
    }

    #[test]
    fn s39_after_a_timeout_a_wrong_state_is_not_the_result() {
        let state = || Err(failure::call(STATE, "not valid in state CommittingTransaction"));
        // The late answer of the first attempt's first step was taken for the answer of the second attempt.
        assert_eq!(result(&[Err(timed_out()), state(), state(), Ok(())]), (Ok(()), 0));
        let (error, _) = result(&[Err(timed_out()), state()]);
        assert!(error.is_err_and(|error| error.is_retriable()), "the producer ends, and the result is not known");
        // Without a timeout it is the result.
        let (error, left) = result(&[state(), Ok(())]);
        assert!(error.is_err_and(|error| !error.is_retriable()) && left == 1);
    }

    #[test]
    fn s39_an_error_that_ends_the_transaction_or_the_producer_is_the_result() {
        let to_abort = failure::call(1, "").with_requires_abort(true);
        let fatal = failure::call(2, "").with_fatal(true);
        let elsewhere = failure::call(failure::TRANSPORT, "").with_retriable(true);
        for error in [to_abort, fatal] {
            assert_eq!(result(&[Err(timed_out()), Err(error.clone()), Ok(())]), (Err(error.clone()), 1));
            assert_eq!(result(&[Err(error.clone()), Ok(())]), (Err(error), 1));
        }
        assert_eq!(result(&[Err(elsewhere.clone()), Ok(())]), (Err(elsewhere), 1), "the driver decides");
    }

    #[test]
    fn a_limit_becomes_a_timeout_of_librdkafka() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_millis(300)), 300);
        assert_eq!(millis(Duration::MAX), i32::MAX);
    }
}
