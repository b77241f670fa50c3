//! Broker calls, which the test answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use aioproducer_core::backend::{Answer, Call, CallError, ErrorCode, Failure, FailureKind, Request, Status};
use aioproducer_driver::{AioProducer, Transaction};

use super::Script;
use super::link::Link;
use crate::executor::{Host, Joined};
use crate::probe::Observed;

/// An error after which the same call may be made again.
#[must_use]
pub fn retriable(code: i32) -> CallError {
    refused(code).with_retriable(true)
}

/// An error after which a transaction can only be aborted.
#[must_use]
pub fn to_abort(code: i32) -> CallError {
    refused(code).with_requires_abort(true)
}

fn refused(code: i32) -> CallError {
    CallError::new(Some(ErrorCode::new(code)), format!("the script says {code}"))
}

/// Opens a transaction; its calls succeed.
///
/// # Panics
/// When it does not begin.
pub async fn begun(script: &Script, producer: &AioProducer) -> Transaction {
    let mut begin = Observed::new(producer.begin());
    loop {
        match begin.poll() {
            Poll::Ready(begun) => return begun.expect("it begins"),
            Poll::Pending => drop(script.asked().await.done()),
        }
    }
}

impl Script {
    /// A backend whose producer has a transactional id.
    #[must_use]
    pub fn transactional() -> Self {
        let script = Self::new();
        script.0.transactional.store(true, Ordering::SeqCst);
        script
    }

    /// The next call.
    ///
    /// # Panics
    /// When the backend ended.
    pub async fn asked(&self) -> Asked {
        let request = self.0.calls.1.recv().await.expect("a call before the end");
        Asked { link: self.link().expect("a producer"), request }
    }

    /// The next call, if there is one already.
    #[must_use]
    pub fn asked_already(&self) -> Option<Asked> {
        let request = self.0.calls.1.try_recv().ok()?;
        Some(Asked { link: self.link()?, request })
    }

    /// Takes no calls from now on.
    pub fn refuse_calls(&self) {
        self.0.calls.0.close();
    }

    /// Lets every call succeed until the end, in a task that returns the calls.
    pub fn answer_all(&self, host: &Host) -> Joined<Vec<Call>> {
        let script = self.clone();
        host.spawn(async move {
            let mut calls = Vec::new();
            while let Ok(request) = script.0.calls.1.recv().await {
                let Some(link) = script.link() else { break };
                calls.push(Asked { link, request }.answer(Ok(Answer::Done)));
            }
            calls
        })
    }
}

/// A call without an answer yet.
pub struct Asked {
    link: Arc<dyn Link>,
    request: Request,
}

impl Asked {
    /// The call.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.request.call
    }

    /// Answers the call.
    pub fn answer(self, outcome: Result<Answer, CallError>) -> Call {
        self.link.answered(self.request.id, outcome);
        self.request.call
    }

    /// The call succeeds.
    pub fn done(self) -> Call {
        self.answer(Ok(Answer::Done))
    }

    /// The call is refused with `code`.
    pub fn refuse(self, code: i32) -> Call {
        self.answer(Err(refused(code)))
    }

    /// The call fails, and the producer with it: a fatal error.
    pub fn fail_for_good(self, code: i32) -> Call {
        let Self { link, request } = self;
        link.answered(request.id, Err(refused(code).with_fatal(true)));
        let reason = "the script says it is fatal";
        link.fatal(Failure::new(FailureKind::Fatal, Status::NotPersisted, Some(ErrorCode::new(code)), reason));
        request.call
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("request", &self.request).finish_non_exhaustive()
    }
}
