//! Calls that wait for a broker, as futures, and the questions to brokers that are made of them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use aioproducer_core::backend::{
    Answer, Call, CallError, CallId, Credentials, ErrorCode, Failure, Metadata, PartitionMetadata,
};
use aioproducer_core::{CallOutcome, TransactionId};

use super::producer::AioProducer;
use crate::runtime::turn;
use crate::state::effects::Discard;
use crate::state::shared::Shared;

/// A call and the wait for its answer. Dropped before its turn, it is never made; dropped later, its answer is ignored. If it
/// was part of a transaction and did not succeed, the transaction can only be aborted then.
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
        // Cloning or dropping a waker may run the application's code: neither is done under the lock.
        let mut waker = Some(cx.waker().clone());
        let polled = this.shared.with(|state, _| match (this.id, this.call.take()) {
            (None, Some(_)) if !state.is_alive() => Poll::Ready(Err(state.ended_by.call_error())),
            (None, Some(call)) => {
                let waker = waker.take().unwrap_or_else(|| Waker::noop().clone());
                this.id = Some(state.calls.join(call, this.part_of, waker));
                Poll::Pending
            }
            (Some(id), _) => {
                let polled = state.calls.poll(id, &mut waker);
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
            let (undone, waker) = state.calls.leave(id);
            effects.discard.extend(waker.map(Discard::Waker));
            if let (true, Some(transaction), Some(transactions)) = (undone, self.part_of, &mut state.transactions) {
                // The call cannot be repeated: the transaction lacks that part.
                transactions.machine.handle_error(transaction, CallOutcome::Abort);
            }
        });
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
    /// # use aioproducer_driver::{AioProducer, error::CallError};
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
    /// each of the topics' partitions has a leader, the leaders answer, and no partition is passed over: each that has records gets
    /// answers, as [`health`](Self::health) sees it. For a service that is to be slow before it takes its first request and not after.
    ///
    /// One leader that does not answer is enough to wait for. When the time is over, the error names it, or says that no broker has
    /// answered if none does. A service that goes on with some of its partitions looks at [`health`](Self::health) instead.
    ///
    /// Without a topic it waits for a broker only. It takes at most [`Builder::call_timeout`](crate::Builder::call_timeout).
    /// The producer works without it: its first record waits for the same.
    ///
    /// # Errors
    /// [`CallError`], which names the topic or the client's last error: a topic does not exist and is not created within
    /// 3 seconds, the login may not use it, its name is invalid, or not all was there in time; then it is retriable.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, error::CallError};
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
    /// # use aioproducer_driver::{AioProducer, error::CallError};
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
    /// # use aioproducer_driver::{AioProducer, error::CallError};
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
