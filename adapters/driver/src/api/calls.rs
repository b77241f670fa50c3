//! Calls of the backend that wait for a broker: which future waits for which answer.
//!
//! Transactions' calls stand in one line, the others in another. Of each line one call at a time is with the backend, and the
//! others wait here for their turn, each as long as its future lives. So no call queues up without a future that waits for it, and no
//! transaction waits for anything else.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aioproducer_core::backend::{
    Answer, Call, CallError, CallId, Credentials, ErrorCode, Failure, Metadata, PartitionMetadata, Request,
};
use aioproducer_core::{TransactionId, Verdict};

use crate::AioProducer;
use crate::runtime::turn;
use crate::state::effects::{Discard, Effects};
use crate::state::end::EndedBy;
use crate::state::shared::{Phase, Shared, State};

/// How long a call may take unless the builder says otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Whose turn is counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Transactions,
    Others,
}

impl Line {
    const ALL: [Self; 2] = [Self::Transactions, Self::Others];

    fn of(call: &Call) -> Self {
        if call.is_transactional() { Self::Transactions } else { Self::Others }
    }
}

/// Requests that are to be passed on, by line.
pub(crate) type Requests = [Option<Box<Request>>; Line::ALL.len()];

/// Calls of live futures, and those that are with the backend.
#[derive(Default)]
pub(crate) struct Calls {
    next: u64,
    /// In the order of asking.
    entries: Vec<PendingCall>,
    /// By line.
    out: [Option<Out>; Line::ALL.len()],
}

struct PendingCall {
    id: CallId,
    state: EntryState,
}

enum EntryState {
    Waiting { call: Call, part_of: Option<TransactionId>, waker: Waker },
    Out { waker: Waker },
    Answered(Result<Answer, CallError>),
}

/// A call that is with the backend.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    id: CallId,
    /// Whose failure is the transaction's, too.
    pub(crate) part_of: Option<TransactionId>,
}

impl Calls {
    fn new_id(&mut self) -> CallId {
        self.next += 1;
        CallId(self.next)
    }

    fn position(&self, id: CallId) -> Option<usize> {
        self.entries.binary_search_by_key(&id.0, |entry| entry.id.0).ok()
    }

    /// Whether one is with the backend.
    pub(crate) fn is_out(&self) -> bool {
        self.out.iter().any(Option::is_some)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sends a call that no future asked for; its line is idle.
    pub(crate) fn send(&mut self, call: Call, limit: Duration) -> Request {
        let id = self.new_id();
        self.out[Line::of(&call) as usize] = Some(Out { id, part_of: None });
        Request { id, call, limit }
    }

    /// The first call that waits in `line`, to be sent; the line is idle.
    fn send_first(&mut self, line: Line, limit: Duration) -> Option<Request> {
        let waits = |entry: &&mut PendingCall| matches!(&entry.state, EntryState::Waiting { call, .. } if Line::of(call) == line);
        let entry = self.entries.iter_mut().find(waits)?;
        let taken = std::mem::replace(&mut entry.state, EntryState::Answered(Ok(Answer::Done)));
        let EntryState::Waiting { call, part_of, waker } = taken else { return None };
        entry.state = EntryState::Out { waker };
        self.out[line as usize] = Some(Out { id: entry.id, part_of });
        Some(Request { id: entry.id, call, limit })
    }

    /// Whether the answer is to a call that is out, which it is not any more then.
    pub(crate) fn returned(&mut self, id: CallId) -> Option<Out> {
        self.out.iter_mut().find_map(|out| out.take_if(|out| out.id == id))
    }

    /// Gives an answer to the future that waits for it, or back if there is none.
    pub(crate) fn answer(
        &mut self,
        id: CallId,
        outcome: Result<Answer, CallError>,
        effects: &mut Effects,
    ) -> Result<(), Result<Answer, CallError>> {
        let Some(at) = self.position(id) else { return Err(outcome) };
        let state = std::mem::replace(&mut self.entries[at].state, EntryState::Answered(outcome));
        if let EntryState::Waiting { waker, .. } | EntryState::Out { waker } = state {
            effects.wakers.push(waker);
        }
        Ok(())
    }

    /// Answers all that have none, when the backend is gone.
    pub(crate) fn end(&mut self, by: EndedBy, effects: &mut Effects) {
        self.out = Default::default();
        for entry in &mut self.entries {
            if !matches!(entry.state, EntryState::Answered(_)) {
                let state = std::mem::replace(&mut entry.state, EntryState::Answered(Err(by.call_error())));
                if let EntryState::Waiting { waker, .. } | EntryState::Out { waker } = state {
                    effects.wakers.push(waker);
                }
            }
        }
    }

    fn join(&mut self, call: Call, part_of: Option<TransactionId>, waker: Waker) -> CallId {
        let id = self.new_id();
        self.entries.push(PendingCall { id, state: EntryState::Waiting { call, part_of, waker } });
        id
    }

    /// The answer, which is gone then.
    fn poll(
        &mut self,
        id: CallId,
        waker: &mut Option<Waker>,
        effects: &mut Effects,
    ) -> Poll<Option<Result<Answer, CallError>>> {
        let Some(at) = self.position(id) else { return Poll::Ready(None) };
        match &mut self.entries[at].state {
            EntryState::Waiting { waker: kept, .. } | EntryState::Out { waker: kept } => {
                effects.discard.extend(waker.take().map(|waker| Discard::Waker(std::mem::replace(kept, waker))));
                Poll::Pending
            }
            EntryState::Answered(_) => match self.entries.remove(at).state {
                EntryState::Answered(outcome) => Poll::Ready(Some(outcome)),
                EntryState::Waiting { .. } | EntryState::Out { .. } => Poll::Ready(None),
            },
        }
    }

    /// Gives up a call; whether it will have done nothing: its turn had not come, or it had failed.
    fn leave(&mut self, id: CallId, effects: &mut Effects) -> bool {
        let Some(at) = self.position(id) else { return false };
        match self.entries.remove(at).state {
            EntryState::Waiting { waker, .. } => {
                effects.discard.push(Discard::Waker(waker));
                true
            }
            EntryState::Out { waker } => {
                effects.discard.push(Discard::Waker(waker));
                false
            }
            EntryState::Answered(outcome) => outcome.is_err(),
        }
    }
}

/// A call and the wait for its answer. Dropped before its turn, it is never made; dropped later, its answer is dropped, too. If
/// it was part of a transaction and did not succeed, that can only be aborted then.
pub(crate) struct CallFuture<'a> {
    shared: &'a Shared,
    call: Option<Call>,
    part_of: Option<TransactionId>,
    id: Option<CallId>,
}

impl<'a> CallFuture<'a> {
    pub(crate) fn new(shared: &'a Shared, call: Call, part_of: Option<TransactionId>) -> Self {
        Self { shared, call: Some(call), part_of, id: None }
    }
}

impl Future for CallFuture<'_> {
    type Output = Result<Answer, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Cloning a waker, or dropping one, may run foreign code: neither is done under the lock.
        let mut waker = Some(cx.waker().clone());
        let polled = this.shared.with(|state, effects| match (this.id, this.call.take()) {
            (None, Some(_)) if matches!(state.phase, Phase::Ending | Phase::Ended) => {
                Poll::Ready(Err(state.ended_by.call_error()))
            }
            (None, Some(call)) => {
                let waker = waker.take().unwrap_or_else(|| Waker::noop().clone());
                this.id = Some(state.calls.join(call, this.part_of, waker));
                Poll::Pending
            }
            (Some(id), _) => {
                let polled = state.calls.poll(id, &mut waker, effects);
                polled.map(|outcome| outcome.unwrap_or_else(|| Err(state.ended_by.call_error())))
            }
            (None, None) => Poll::Ready(Err(state.ended_by.call_error())),
        });
        if polled.is_ready() {
            this.id = None;
        }
        polled
    }
}

impl Drop for CallFuture<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        self.shared.with(|state, effects| {
            let undone = state.calls.leave(id, effects);
            if let (true, Some(transaction), Some(session)) = (undone, self.part_of, &mut state.session) {
                // Its caller is gone and cannot repeat it: the transaction lacks that part.
                session.machine.handle_error(transaction, Verdict::Abort);
            }
        });
    }
}

impl State {
    /// Passes on the calls whose turn it is.
    pub(crate) fn next_calls(&mut self, shared: &Shared, effects: &mut Effects) {
        let alive = matches!(self.phase, Phase::Open | Phase::Closing(_));
        if let Some(session) = &mut self.session {
            // A part of the transaction whose call has no answer is like a record without its outcome.
            let out = self.calls.out[Line::Transactions as usize];
            let parts = usize::from(out.is_some_and(|out| out.part_of.is_some()));
            session.follow(self.machine.len() + self.completing + parts, &mut effects.wakers);
        }
        if !alive {
            return;
        }
        let limit = shared.call_limit;
        for line in Line::ALL {
            if self.calls.out[line as usize].is_some() {
                continue;
            }
            let of_session = match &mut self.session {
                Some(session) if line == Line::Transactions => session.send(&mut self.calls, limit),
                _ => None,
            };
            let next = of_session.or_else(|| self.calls.send_first(line, limit));
            effects.calls[line as usize] = next.map(Box::new);
        }
    }
}

impl AioProducer {
    /// Asks a broker about the cluster: its brokers, and one topic or, for `None`, all of them, with partitions, leaders,
    /// replicas and errors. A topic that does not exist is in the answer with its error, and is not created by that.
    ///
    /// One topic is asked for alone if the producer has produced to it. For another one the broker is asked for all, as librdkafka
    /// never forgets a topic that it was asked about.
    ///
    /// The source is librdkafka's `rd_kafka_metadata`. It takes as long as the broker, and at most
    /// [`Builder::call_timeout`](crate::Builder::call_timeout); other such calls wait for it, transactions do not. If it is
    /// dropped early, the call goes on and its answer is dropped.
    ///
    /// # Errors
    /// [`CallError`]: no broker answered in time, the name is invalid, or the producer was closed.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, CallError};
    /// async fn partitions(producer: &AioProducer, topic: &str) -> Result<usize, CallError> {
    ///     let metadata = producer.metadata(Some(topic)).await?;
    ///     Ok(metadata.topic(topic).map_or(0, |topic| topic.partitions.len()))
    /// }
    /// ```
    pub async fn metadata(&self, topic: Option<&str>) -> Result<Metadata, CallError> {
        turn(&*self.shared().runtime).await;
        let call = Call::Metadata { topic: topic.map(str::to_owned) };
        match CallFuture::new(self.shared(), call, None).await? {
            Answer::Metadata(metadata) => Ok(metadata),
            _ => Ok(Metadata::default()),
        }
    }

    /// Waits until a record for any of `topics` can be delivered at once: a broker has answered, the producer id was asked for,
    /// each of the topics' partitions has a leader, and the leaders answer. For a service that is to be slow before it takes
    /// its first request and not after.
    ///
    /// Without a topic it waits for a broker only. It takes at most [`Builder::call_timeout`](crate::Builder::call_timeout).
    /// The producer works without it: its first record waits for the same.
    ///
    /// # Errors
    /// [`CallError`], which names the topic or the client's last error: a topic does not exist and is not created within
    /// 3 seconds, the login may not use it, its name is invalid, or not all was there in time; then it is retriable.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, CallError};
    /// async fn start(producer: &AioProducer) -> Result<(), CallError> {
    ///     producer.ready(["orders", "payments"]).await?;
    ///     println!("take requests");
    ///     Ok(())
    /// }
    /// ```
    pub async fn ready<T: AsRef<str>>(&self, topics: impl IntoIterator<Item = T>) -> Result<(), CallError> {
        let mut ids = Vec::new();
        for topic in topics {
            let found = self.shared().topics.intern(topic.as_ref());
            let invalid = |error| CallError::new(None, format!("the topic {:?} is invalid: {error}", topic.as_ref()));
            ids.push(found.map_err(invalid)?);
        }
        turn(&*self.shared().runtime).await;
        CallFuture::new(self.shared(), Call::Ready { topics: ids }, None).await.map(drop)
    }

    /// Asks a broker about the partitions of one topic, in the order of their numbers: leaders, replicas, and which of those are
    /// in sync. The topic is not created by that. Source, time and turns are those of [`metadata`](Self::metadata).
    ///
    /// # Errors
    /// [`CallError`], as of [`metadata`](Self::metadata); and when the broker has no partitions to show, with its
    /// code and the topic's name: it does not exist ([`ErrorCode::UnknownTopicOrPart`]), or the producer may not
    /// see it ([`ErrorCode::TopicAuthorizationFailed`]).
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, CallError};
    /// async fn leaderless(producer: &AioProducer, topic: &str) -> Result<usize, CallError> {
    ///     let partitions = producer.partitions_for(topic).await?;
    ///     Ok(partitions.iter().filter(|partition| partition.leader.is_none()).count())
    /// }
    /// ```
    pub async fn partitions_for(&self, topic: &str) -> Result<Vec<PartitionMetadata>, CallError> {
        let metadata = self.metadata(Some(topic)).await?;
        let Some(found) = metadata.topics.into_iter().find(|found| found.name == topic) else {
            return Err(no_partitions(topic, ErrorCode::UnknownTopicOrPart, "the answer does not have it"));
        };
        if let Some(error) = found.error {
            return Err(no_partitions(topic, error.code(), error.reason()));
        }
        let mut partitions = found.partitions;
        partitions.sort_unstable_by_key(|partition| partition.id);
        Ok(partitions)
    }

    /// Changes user name and password of the connections that are made from now on (SASL PLAIN and SCRAM). Open connections
    /// stay as they are.
    ///
    /// The source is librdkafka's `rd_kafka_sasl_set_credentials`. Neither of the two is ever shown, in no error and no
    /// `Debug`.
    ///
    /// # Errors
    /// [`CallError`]: one of them is invalid, or the producer was closed.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, CallError};
    /// async fn rotate(producer: &AioProducer, user: &str, password: &str) -> Result<(), CallError> {
    ///     producer.set_sasl_credentials(user, password).await
    /// }
    /// ```
    pub async fn set_sasl_credentials(&self, user: &str, password: &str) -> Result<(), CallError> {
        turn(&*self.shared().runtime).await;
        let call = Call::SetSaslCredentials(Credentials::new(user, password));
        CallFuture::new(self.shared(), call, None).await.map(drop)
    }

    /// The error that the producer cannot recover from, if it met one: from then on it rejects all records. When a call has
    /// failed with it, it is known here, too (`rd_kafka_fatal_error`).
    ///
    /// ```
    /// # use aioproducer_driver::AioProducer;
    /// fn check(producer: &AioProducer) {
    ///     if let Some(error) = producer.fatal_error() {
    ///         eprintln!("start a new producer: {error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn fatal_error(&self) -> Option<FatalError> {
        self.shared().lock().fatal.map(|failure| FatalError::new(&failure))
    }
}

/// The error of a question about a topic that a broker did not answer.
fn no_partitions(topic: &str, code: ErrorCode, reason: &str) -> CallError {
    let reason = match code {
        ErrorCode::UnknownTopicOrPart => format!("there is no topic {topic:?}; create it, or look at its name"),
        code => format!("the broker shows no partitions of the topic {topic:?}: {reason}, {code}"),
    };
    CallError::new(Some(code), reason).with_retriable(code.is_retriable())
}

/// An error that a producer cannot recover from (`rd_kafka_fatal_error`), see
/// [`AioProducer::fatal_error`](crate::AioProducer::fatal_error).
///
/// ```
/// # use aioproducer_driver::AioProducer;
/// /// What a health check answers.
/// fn health(producer: &AioProducer) -> String {
///     match producer.fatal_error() {
///         Some(error) => format!("start a new producer: {error}"),
///         None => "fine".to_owned(),
///     }
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FatalError {
    code: Option<ErrorCode>,
    reason: &'static str,
}

impl FatalError {
    pub(crate) fn new(failure: &Failure) -> Self {
        Self { code: failure.code(), reason: failure.reason }
    }

    /// The error of the broker or the client library, `None` if the producer itself cannot go on.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    /// What went wrong, in words.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl std::fmt::Display for FatalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)?;
        self.code.map_or(Ok(()), |code| write!(f, ", {code}"))
    }
}

impl std::error::Error for FatalError {}
