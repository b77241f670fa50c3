//! The transactions of a client: its calls, and the requests to the coordinator that they need.

use std::collections::VecDeque;

use aioproducer_core::Instant;
use aioproducer_core::backend::{self, Call, CallError, CallId, ErrorCode, Failure, FailureKind, Request, Status};

use super::failure::FENCED;
use super::lane::Numbering;
use super::requests::Gate;
use super::settings::Settings;
use super::timeline::{Attempt, Schedule};
use super::verdict::{Verdict, must_abort, refused, timed_out, verdict, wrong_state};
use crate::cluster::{Answer, Api, Ask, Flight, Identity, Sent, Shared, State, Target, What, Work};
use crate::sync::Arc;

/// The result of a call.
pub(super) type CallResult = Result<backend::Answer, CallError>;

/// What a call asks of the coordinator, until it is answered. It goes on when the call's time is over.
struct Operation {
    step: Step,
    attempts: u32,
    /// When to send it.
    due: Instant,
    /// No broker is up: it is sent when the cluster changes.
    is_unreachable: bool,
    /// The attempt that is under way: when it is given up, and its number.
    under_way: Option<(Instant, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Init,
    Offsets { group: Arc<str>, offsets: Arc<[backend::GroupOffset]> },
    End { is_commit: bool },
}

impl Step {
    const fn api(&self) -> Api {
        match self {
            Self::Init => Api::InitProducerId,
            Self::Offsets { .. } => Api::TxnOffsetCommit,
            Self::End { .. } => Api::EndTxn,
        }
    }

    const fn is_abort(&self) -> bool {
        matches!(self, Self::End { is_commit: false })
    }
}

pub(super) struct Transactions {
    cluster: Shared,
    settings: Settings,
    id: Arc<str>,
    producer: u64,
    identity: Option<Identity>,
    is_open: bool,
    /// The coordinator may know of the transaction: a record or an offset was sent.
    has_part: bool,
    must_abort: bool,
    fatal: Option<Failure>,
    operation: Option<Operation>,
    /// The call that waits, and when its time is over.
    waiting: Option<(CallId, Instant)>,
    /// The result of a step whose call had timed out.
    unheard: Option<(Step, CallResult)>,
    schedule: Schedule<()>,
    answers: VecDeque<(CallId, CallResult)>,
}

impl Transactions {
    /// `None` if the producer has no transactional id.
    pub(super) fn new(cluster: Shared, settings: Settings, producer: u64) -> Option<Self> {
        let id = settings.transactional_id.clone()?;
        Some(Self {
            cluster,
            settings,
            id,
            producer,
            identity: None,
            is_open: false,
            has_part: false,
            must_abort: false,
            fatal: None,
            operation: None,
            waiting: None,
            unheard: None,
            schedule: Schedule::default(),
            answers: VecDeque::new(),
        })
    }

    /// What may be sent.
    pub(super) fn gate(&self) -> Gate {
        let number = |identity: Identity| Numbering { producer: identity.producer, epoch: Some(identity.epoch) };
        let is_aborting = self.operation.as_ref().is_some_and(|operation| operation.step.is_abort());
        let is_open = self.is_open && !self.must_abort && !is_aborting && self.fatal.is_none();
        Gate { numbering: self.identity.map(number), is_open, is_aborting }
    }

    /// A record was sent.
    pub(super) fn note_sent(&mut self) {
        self.has_part = true;
    }

    /// A record failed: the transaction can only be aborted.
    pub(super) fn note_failed(&mut self) {
        self.must_abort |= self.is_open;
    }

    /// Makes a call. Returns whether what was not sent is to be taken back.
    pub(super) fn call(&mut self, now: Instant, request: Request) -> bool {
        let Request { id, call, limit } = request;
        self.waiting = Some((id, now + limit));
        let step = match call {
            _ if self.fatal.is_some() => return self.complete(Err(self.fatal_error())),
            Call::InitTransactions if self.identity.is_some() => return self.complete(Ok(backend::Answer::Done)),
            Call::InitTransactions => Step::Init,
            Call::Begin if self.identity.is_none() || self.is_open => return self.complete(Err(wrong_state())),
            Call::Begin => {
                (self.is_open, self.has_part, self.must_abort) = (true, false, false);
                self.unheard = None;
                return self.complete(Ok(backend::Answer::Done));
            }
            Call::SendOffsets { offsets, group } => {
                Step::Offsets { group: Arc::from(group.id), offsets: Arc::from(offsets) }
            }
            Call::Commit => Step::End { is_commit: true },
            _ => Step::End { is_commit: false },
        };
        if let Some((_, result)) = self.unheard.take_if(|(unheard, _)| *unheard == step) {
            return self.complete(result);
        }
        if self.operation.as_ref().is_some_and(|operation| operation.step == step) {
            return step.is_abort();
        }
        if step != Step::Init && !self.is_open {
            return self.complete(Err(wrong_state()));
        }
        if step != Step::Init && !step.is_abort() && self.must_abort {
            return self.complete(Err(must_abort()));
        }
        let is_abort = step.is_abort();
        self.has_part |= matches!(step, Step::Offsets { .. });
        if let Some((expiry, number)) = self.operation.take().and_then(|before| before.under_way) {
            self.schedule.remove_expiry(expiry, number);
        }
        self.operation = Some(Operation { step, attempts: 0, due: now, is_unreachable: false, under_way: None });
        is_abort
    }

    /// Does what is due. `records` are those that have no outcome yet: an abort waits for them. Returns the fatal error, if there was
    /// one.
    pub(super) fn run(&mut self, now: Instant, records: usize) -> Option<Failure> {
        while let Some(attempt) = self.schedule.next_end(&self.cluster, now) {
            self.end_attempt(now, attempt);
        }
        self.send(now, records);
        if let Some((id, _)) = self.waiting.take_if(|(_, until)| *until <= now) {
            self.answers.push_back((id, Err(timed_out())));
        }
        self.fatal
    }

    /// A produce request met a fatal error.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.fatal.get_or_insert(failure);
        if self.operation.take().is_some() {
            self.complete(Err(self.fatal_error()));
        }
    }

    /// The calls that have a result.
    pub(super) fn take_answers(&mut self) -> VecDeque<(CallId, CallResult)> {
        std::mem::take(&mut self.answers)
    }

    /// The client ends: nothing waits any longer. The outcome of a commit is not known.
    pub(super) fn end(&mut self) {
        let commit = Step::End { is_commit: true };
        let is_commit = self.operation.take().is_some_and(|operation| operation.step == commit);
        self.complete(Err(closed(is_commit)));
    }

    /// When something is due. `records` are those that have no outcome yet.
    pub(super) fn next(&self, records: usize) -> Option<Instant> {
        let waits = |operation: &&Operation| {
            operation.under_way.is_none() && !operation.is_unreachable && (records == 0 || !operation.step.is_abort())
        };
        let due = self.operation.as_ref().filter(waits).map(|operation| operation.due);
        let limit = self.waiting.map(|(_, until)| until);
        due.into_iter().chain(limit).chain(self.schedule.next()).min()
    }

    fn send(&mut self, now: Instant, records: usize) {
        let Some(operation) = &mut self.operation else { return };
        if operation.under_way.is_some() || operation.due > now || records > 0 && operation.step.is_abort() {
            return;
        }
        let is_end = matches!(operation.step, Step::End { .. });
        if is_end && !self.has_part {
            // No broker knows of it.
            return self.finish(Ok(None));
        }
        let sent = {
            let mut state = self.cluster.lock();
            let identity = self.identity.unwrap_or(Identity { producer: self.producer, epoch: 0 });
            let (step, attempt) = (&operation.step, operation.attempts + 1);
            depart(&mut state, now, (&self.id, self.producer, attempt), ask(step, identity, &self.settings))
        };
        operation.is_unreachable = sent.is_none();
        let Some((arrives, flight)) = sent else { return };
        operation.attempts += 1;
        let (sent, expires) = (flight.sent.clone(), now + self.settings.request_timeout);
        let number = self.schedule.depart(arrives, (), flight);
        self.schedule.expire(expires, number, (), sent);
        operation.under_way = Some((expires, number));
    }

    fn end_attempt(&mut self, now: Instant, attempt: Attempt<()>) {
        let Attempt { number, sent, reply, .. } = attempt;
        let Some(operation) = &mut self.operation else { return };
        let Some((expiry, _)) = operation.under_way.take_if(|(_, own)| *own == number) else { return };
        self.schedule.remove_expiry(expiry, number);
        self.cluster.lock().trace(now, What::end(sent, reply.map(Result::err)));
        let code = match reply {
            Some(Ok(answer)) => return self.finish(Ok(Some(answer))),
            Some(Err(code)) => Some(code),
            None => None,
        };
        let api = operation.step.api();
        match (verdict(api, code), code) {
            (Verdict::Retry, _) | (_, None) => operation.due = now + self.settings.retry_backoff,
            (Verdict::Abort, Some(code)) => {
                self.must_abort = true;
                self.finish(Err(refused(api, code).with_requires_abort(true)));
            }
            (Verdict::Fenced, _) => self.fail(FENCED),
            (Verdict::Fatal, Some(code)) => {
                let reason = code.description().unwrap_or("a fatal error of a coordinator");
                self.fail(Failure::new(FailureKind::Fatal, Status::PossiblyPersisted, Some(code), reason));
            }
        }
    }

    /// The step has a result.
    fn finish(&mut self, result: Result<Option<Answer>, CallError>) {
        let Some(Operation { step, .. }) = self.operation.take() else { return };
        if let Ok(answer) = &result {
            if let Some(Answer::Identity(identity)) = answer {
                self.identity = Some(*identity);
            }
            if matches!(step, Step::End { .. }) {
                (self.is_open, self.has_part, self.must_abort) = (false, false, false);
            }
        }
        let result = result.map(|_| backend::Answer::Done);
        if self.waiting.is_some() {
            self.complete(result);
        } else {
            self.unheard = Some((step, result));
        }
    }

    /// Answers the call that waits. An answer takes nothing back.
    fn complete(&mut self, result: CallResult) -> bool {
        if let Some((id, _)) = self.waiting.take() {
            self.answers.push_back((id, result));
        }
        false
    }

    fn fatal_error(&self) -> CallError {
        let failure = self.fatal.unwrap_or(FENCED);
        CallError::new(failure.code(), failure.reason).with_fatal(true)
    }
}

/// The end of the producer answers a call.
pub(super) fn closed(is_commit: bool) -> CallError {
    let reason = "the producer was closed before the call was answered";
    CallError::new(Some(ErrorCode::LocalDestroy), reason).with_retriable(is_commit)
}

fn ask(step: &Step, identity: Identity, settings: &Settings) -> (Api, Ask) {
    let ask = match step {
        Step::Init => Ask::Init { timeout: settings.transaction_timeout },
        Step::Offsets { group, offsets } => {
            Ask::Offsets { identity, group: Arc::clone(group), offsets: Arc::clone(offsets) }
        }
        Step::End { is_commit } => Ask::End { identity, is_commit: *is_commit },
    };
    (step.api(), ask)
}

/// Sends a request to the coordinator of `id`; `None` if no broker is up.
fn depart(
    state: &mut State,
    now: Instant,
    (id, producer, attempt): (&Arc<str>, u64, u32),
    (api, ask): (Api, Ask),
) -> Option<(Instant, Flight)> {
    let broker = state.topology.coordinator(id)?;
    let sent = Sent { producer, target: Target::Coordinator(api, Arc::clone(id)), broker, attempt };
    let (arrives, fate, generation) = state.depart(now, &sent, None)?;
    state.trace(now, What::Call { sent: sent.clone() });
    Some((arrives, Flight { sent, work: Work::Ask(ask), fate, generation }))
}
