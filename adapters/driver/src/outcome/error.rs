//! Why a record did not arrive.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::backend::{Advice, ErrorCode, Failure, FailureKind, Status};

use crate::outcome::context::Context;
use crate::outcome::trouble::Explained;
use crate::record::Record;
use crate::runtime::sync::{Mutex, lock};

/// Why an accepted record was not delivered, whether it is in the log all the same, and the record.
///
/// ```
/// # use aioproducer_driver::{Delivery, error::{FailureKind, Status}};
/// async fn outcome(delivery: Delivery) -> &'static str {
///     match delivery.await {
///         Ok(_) => "delivered",
///         Err(error) if error.kind() == FailureKind::TooLarge => "send less",
///         Err(error) if error.status() == Status::NotPersisted => "send it again, without a duplicate",
///         Err(_) => "it may be in the log",
///     }
/// }
/// ```
pub struct DeliveryError(
    /// `None` once it was dropped.
    Option<Box<Inner>>,
);

struct Inner {
    failure: Failure,
    record: Option<Record<'static>>,
    /// What was in its way.
    cause: Option<Arc<str>>,
    /// The time that it had, if that was over.
    limit: Option<Duration>,
    /// The producer's, `None` while the memory waits for another error.
    context: Option<Arc<Context>>,
}

/// Memory of errors that were dropped, for others.
///
/// When a broker is away for longer than the delivery timeout, records fail by the thousand. An allocator that is given
/// back as many small blocks puts them together in one long call, which may be in any task's poll.
#[expect(clippy::vec_box, reason = "the boxes are what is kept")]
pub(crate) struct ErrorPool(Mutex<Vec<Box<Inner>>>);

impl ErrorPool {
    /// For so many errors at once.
    pub(crate) fn new(errors: usize) -> Self {
        let mut spent = Vec::new();
        // Without memory for the list none is kept.
        let _ = spent.try_reserve_exact(errors);
        Self(Mutex::new(spent))
    }

    /// Takes memory back, as far as that needs no more of it.
    fn give_back(&self, inner: Box<Inner>) -> Option<Box<Inner>> {
        let spent = &mut *lock(&self.0);
        if spent.len() == spent.capacity() {
            return Some(inner);
        }
        spent.push(inner);
        None
    }
}

impl DeliveryError {
    pub(crate) fn new(
        context: &Arc<Context>,
        failure: Failure,
        explained: Explained,
        record: Option<Record<'static>>,
    ) -> Self {
        let Explained { cause, timed_out } = explained;
        let own = record.as_ref().and_then(Record::get_timeout);
        let limit = if timed_out { own.or(context.delivery_timeout) } else { None };
        let new = Inner { failure, record, cause, limit, context: Some(Arc::clone(context)) };
        let spent = lock(&context.errors.0).pop();
        Self(Some(match spent {
            Some(mut inner) => {
                *inner = new;
                inner
            }
            None => Box::new(new),
        }))
    }

    fn inner(&self) -> &Inner {
        match &self.0 {
            Some(inner) => inner,
            None => unreachable!("a dropped error is never read"),
        }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.failure().kind
    }

    /// What was in the record's way when its time was over, or the producer's: which brokers were away, and the client's last
    /// error. `None` if there was nothing, or the record failed for a reason of its own.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.inner().cause.as_deref()
    }

    /// Whether the record is in the log: only [`Status::NotPersisted`] can be sent again without a duplicate.
    #[must_use]
    pub fn status(&self) -> Status {
        self.failure().status
    }

    /// The error of the broker or the client library, `None` if the producer itself failed the record.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.failure().code()
    }

    /// What to do with the record. Only [`Advice::Resend`] and [`Advice::ResendAfter`] say that sending it again makes no
    /// duplicate; they are given to records that are [`Status::NotPersisted`] only.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record, error::Advice};
    /// /// The record, if it is to be kept for later.
    /// async fn send(producer: &AioProducer, record: Record<'_>) -> Option<Record<'static>> {
    ///     let error = producer.produce(record).await.ok()?.await.err()?;
    ///     match error.advice() {
    ///         Advice::Resend | Advice::ResendAfter => error.into_record(),
    ///         advice => {
    ///             eprintln!("{error}: {advice}");
    ///             None
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.failure().advice()
    }

    /// Whether it makes sense to produce the record again as it is, later: it is not in the log, and the cause may pass without
    /// anyone's doing. The [advice](DeliveryError::advice) is [`Advice::Resend`] then, or [`Advice::ResendAfter`].
    ///
    /// That is so of a timeout, of what a full pool dropped, of a topic that may be created yet, and of those errors of brokers
    /// that [`ErrorCode::is_retriable`] says it of. The producer has retried such an error until the record's time was over. It is
    /// not so of a login or a permission that has to be mended, of a purge, which the application asked for, or of a producer
    /// that has ended.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, Record};
    /// /// The record, if it is to be kept for later.
    /// async fn send(producer: &AioProducer, record: Record<'_>) -> Option<Record<'static>> {
    ///     let error = producer.send(record).await.err()?;
    ///     if error.is_retriable() { error.into_record() } else { None }
    /// }
    /// ```
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.failure().is_retriable()
    }

    pub(crate) fn failure(&self) -> &Failure {
        &self.inner().failure
    }

    /// The record as it was accepted. `None` only from a backend that did not give it back: it ended, or had the record when its
    /// time passed, a moment after it answered for another one.
    #[must_use]
    pub fn record(&self) -> Option<&Record<'static>> {
        self.inner().record.as_ref()
    }

    /// The same of a record that was urgent for the while.
    pub(crate) fn calmed(mut self) -> Self {
        if let Some(inner) = &mut self.0 {
            inner.record = inner.record.take().map(Record::calmed);
        }
        self
    }

    /// The record as it was accepted, see [`DeliveryError::record`].
    #[must_use]
    pub fn into_record(mut self) -> Option<Record<'static>> {
        self.0.as_mut()?.record.take()
    }
}

impl Drop for DeliveryError {
    fn drop(&mut self) {
        let Some(mut inner) = self.0.take() else { return };
        // Dropping its payload may run foreign code, so no lock is held here.
        inner.record = None;
        inner.cause = None;
        if let Some(context) = inner.context.take() {
            drop(context.errors.give_back(inner));
        }
    }
}

impl fmt::Debug for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryError")
            .field("kind", &self.kind())
            .field("status", &self.status())
            .field("code", &self.code())
            .field("reason", &self.failure().reason)
            .field("cause", &self.cause())
            .field("record", &self.record())
            .finish()
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.failure().reason;
        match self.inner().limit {
            // The client library says no more than that.
            Some(limit) if reason.ends_with("timed out") => write!(f, "timed out after {limit:?}")?,
            Some(limit) => write!(f, "timed out after {limit:?}: {reason}")?,
            None => f.write_str(reason)?,
        }
        if let Some(record) = self.record() {
            write!(f, " (topic {})", record.topic())?;
        }
        if let Some(cause) = self.cause() {
            write!(f, ": {cause}")?;
        }
        write!(f, "; the record is {}", self.status())
    }
}

impl std::error::Error for DeliveryError {}
