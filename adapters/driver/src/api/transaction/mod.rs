//! Transactions, as applications hold them, and their errors. What may be called when is decided in core; `state` has the calls that
//! are under way.

mod error;

use std::fmt;
use std::task::Poll;

use aioproducer_core::backend::{Call, Failure, Group, GroupOffset};
use aioproducer_core::{FlushScope, TransactionId, TransactionRefusal, TransactionStatus};

use super::producer::AioProducer;
use crate::admission::error::ProduceError;
use crate::api::broker::CallFuture;
use crate::api::delivery::Delivery;
use crate::api::produce::{Produce, SendRecord, try_produce};
use crate::api::produce_all::ProduceAll;
use crate::api::produce_with::ProduceWith;
use crate::api::watch::Watch;
use crate::callbacks::Synchronous;
use crate::outcome::error::DeliveryError;
use crate::outcome::report::DeliveryReport;
use crate::record::Record;
use crate::runtime::turn;
use crate::state::transactions::Transactions;

pub use error::{EndError, Remedy, TransactionError};

impl AioProducer {
    /// Gets the transactional id's producer id from its coordinator, and ends what an earlier producer of that id left
    /// open, which is *fenced* from then on. [`begin`](Self::begin) does it, too, when it was not done before; to do it
    /// apart shows errors at start-up.
    ///
    /// The source is `rd_kafka_init_transactions` (KIP-98). If it is dropped early, it goes on by itself.
    ///
    /// # Errors
    /// [`TransactionError`]; with [`Remedy::Retry`] it may be called again, which continues where it was.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, error::TransactionError};
    /// async fn start(producer: &AioProducer) -> Result<(), TransactionError> {
    ///     producer.init_transactions().await?;
    ///     println!("an earlier producer of the same id is fenced");
    ///     Ok(())
    /// }
    /// ```
    pub async fn init_transactions(&self) -> Result<(), TransactionError> {
        turn(&*self.shared().runtime).await;
        self.command(|transactions, _| {
            transactions.machine.init()?;
            transactions.error = None;
            Ok(())
        })?;
        self.watch(|transactions, fatal| {
            let machine = &transactions.machine;
            if let Some(error) = gone(transactions, fatal) {
                Poll::Ready(Err(error))
            } else if machine.is_initialized() {
                Poll::Ready(Ok(()))
            } else if machine.is_initializing() {
                Poll::Pending
            } else {
                Poll::Ready(Err(TransactionError::of_call(transactions.error.clone(), Remedy::GiveUp)))
            }
        })
        .await?
    }

    /// Opens a transaction. There is one at a time; if the one before was dropped, this waits for its abort.
    ///
    /// The source is `rd_kafka_begin_transaction`. Dropped early, nothing stays open.
    ///
    /// # Errors
    /// [`TransactionError`]: the producer has no transactional id, a transaction is open, the outcome of an earlier one's
    /// commit is not known (see [`in_doubt`](Self::in_doubt)), or the broker did not let it.
    ///
    /// ```
    /// use aioproducer_driver::{AioProducer, Record, transaction::Remedy};
    ///
    /// async fn transfer(producer: &AioProducer) -> Result<(), Box<dyn std::error::Error>> {
    ///     let transaction = producer.begin().await?;
    ///     let debit = transaction.produce(Record::to("ledger").key("alice").payload("-5")).await?;
    ///     let credit = transaction.produce(Record::to("ledger").key("bob").payload("5")).await?;
    ///     let mut ended = transaction.commit().await;
    ///     // The outcome is not known yet: ask again.
    ///     while let Err(error) = ended {
    ///         match (error.remedy(), error.into_parts()) {
    ///             (Remedy::Resolve, (_, Some(transaction))) => ended = transaction.commit().await,
    ///             (_, (error, _aborted_when_dropped)) => return Err(error.into()),
    ///         }
    ///     }
    ///     println!("{:?} {:?}", debit.await?, credit.await?);
    ///     Ok(())
    /// }
    /// ```
    pub async fn begin(&self) -> Result<Transaction, TransactionError> {
        turn(&*self.shared().runtime).await;
        let id = self.command(|transactions, _| {
            let id = transactions.machine.begin()?;
            transactions.error = None;
            Ok(id)
        })?;
        // From here on it is given up when this future is dropped.
        let transaction = Transaction { producer: self.clone(), id };
        self.watch(|transactions, fatal| match transactions.machine.status(id) {
            TransactionStatus::Beginning => Poll::Pending,
            TransactionStatus::Over => {
                let refused = || TransactionError::of_call(transactions.error.clone(), Remedy::GiveUp);
                Poll::Ready(Err(gone(transactions, fatal).unwrap_or_else(refused)))
            }
            _ => Poll::Ready(Ok(())),
        })
        .await??;
        Ok(transaction)
    }

    /// The transaction whose commit was called and whose outcome is not known: its future was dropped, or the error that said
    /// so. [`Transaction::commit`] finds the outcome out. `None` if there is no such transaction.
    ///
    /// Until that is done [`begin`](Self::begin) fails with [`TransactionError::InDoubt`], since the next transaction depends on
    /// whether the same records are to be written again.
    ///
    /// ```
    /// # use aioproducer_driver::{AioProducer, error::TransactionError};
    /// /// Whether an earlier transaction was committed after all.
    /// async fn resolve(producer: &AioProducer) -> Result<bool, TransactionError> {
    ///     match producer.in_doubt() {
    ///         Some(transaction) => Ok(transaction.commit().await.map(|()| true)?),
    ///         None => Ok(false),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn in_doubt(&self) -> Option<Transaction> {
        let shared = self.shared();
        let id = shared
            .with(|state, _| state.transactions.as_mut().and_then(|transactions| transactions.machine.adopt()))?;
        Some(Transaction { producer: self.clone(), id })
    }

    /// Gives the machine of transactions a command. Records of the inbox are known to it then, and no more come that way.
    fn command<T>(
        &self,
        command: impl FnOnce(&mut Transactions, &mut bool) -> Result<T, TransactionRefusal>,
    ) -> Result<T, TransactionError> {
        let shared = self.shared();
        shared.with(|state, effects| {
            state.shut_inbox(shared, effects);
            let fatal = state.fatal;
            let Some(transactions) = &mut state.transactions else { return Err(TransactionError::NotTransactional) };
            let mut flush = false;
            let outcome = command(transactions, &mut flush);
            if flush {
                state.machine.flush(FlushScope::All);
                effects.flush_backend();
            }
            let ended_by = transactions.ended_by;
            outcome.map_err(|refusal| TransactionError::of_refusal(refusal, fatal.as_ref(), ended_by))
        })
    }

    async fn watch<T>(
        &self,
        look: impl FnMut(&mut Transactions, Option<&Failure>) -> Poll<T> + Unpin,
    ) -> Result<T, TransactionError> {
        Watch::new(self.shared(), look).await.ok_or(TransactionError::NotTransactional)
    }
}

/// Why nothing can be expected any more, if so.
fn gone(transactions: &Transactions, fatal: Option<&Failure>) -> Option<TransactionError> {
    if transactions.machine.is_fatal() {
        return Some(match (&transactions.error, fatal) {
            (Some(error), _) if error.is_fatal() => TransactionError::of_call(Some(error.clone()), Remedy::GiveUp),
            (_, fatal) => TransactionError::of_refusal(TransactionRefusal::Fatal, fatal, transactions.ended_by),
        });
    }
    transactions.machine.is_ended().then(|| TransactionError::closed(transactions.ended_by))
}

/// An open transaction of an [`AioProducer`]: what is produced through it becomes visible together, or not at all, to
/// consumers that read with `isolation.level=read_committed`.
///
/// It ends with [`commit`](Self::commit) or [`abort`](Self::abort). Dropped before, it is aborted in the background, and
/// the next [`begin`](AioProducer::begin) waits for that. Both take the transaction itself, so no record can come late.
///
/// [`AioProducer::close`] aborts it as well. If the last handle on the producer goes without a close, the coordinator aborts
/// it, when the next producer of the same transactional id comes, or after `transaction.timeout.ms`.
///
/// ```
/// # use aioproducer_driver::{AioProducer, Record};
/// async fn transfer(producer: &AioProducer) -> Result<(), Box<dyn std::error::Error>> {
///     let transaction = producer.begin().await?;
///     transaction.send(Record::to("ledger").key("alice").payload("-5")).await?;
///     transaction.send(Record::to("ledger").key("bob").payload("5")).await?;
///     transaction.commit().await?;
///     Ok(())
/// }
/// ```
pub struct Transaction {
    producer: AioProducer,
    id: TransactionId,
}

impl Transaction {
    /// The producer.
    ///
    /// ```
    /// # use aioproducer_driver::Transaction;
    /// fn pending(transaction: &Transaction) -> usize {
    ///     transaction.producer().len()
    /// }
    /// ```
    #[must_use]
    pub fn producer(&self) -> &AioProducer {
        &self.producer
    }

    /// As [`AioProducer::produce`], in this transaction. A delivery says that the record is in the log; consumers with
    /// `isolation.level=read_committed` see it after the commit.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back.
    ///
    /// ```
    /// # use aioproducer_driver::{ProduceError, Record, Transaction};
    /// async fn debit(transaction: &Transaction, account: &str) -> Result<(), ProduceError<'static>> {
    ///     // The commit waits for the delivery, and fails without it.
    ///     drop(transaction.produce(Record::to("ledger").key(account).payload("-5")).await?);
    ///     Ok(())
    /// }
    /// ```
    #[inline]
    pub fn produce<'p, 'r>(&'p self, record: impl Into<Record<'r>>) -> Produce<'p, 'r> {
        Produce::in_transaction(self.producer.shared(), record.into())
    }

    /// As [`AioProducer::try_produce`], in this transaction.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back.
    ///
    /// ```
    /// # use aioproducer_driver::{ProduceError, Record, Transaction};
    /// fn debit(transaction: &Transaction, account: &str) -> Result<(), ProduceError<'static>> {
    ///     transaction.try_produce(Record::to("ledger").key(account).payload("-5")).map(drop)
    /// }
    /// ```
    pub fn try_produce<'r>(&self, record: impl Into<Record<'r>>) -> Result<Delivery, ProduceError<'static>> {
        try_produce(self.producer.shared(), &mut record.into(), true).map_err(|error| error.into_owned())
    }

    /// As [`AioProducer::try_produce_borrowed`], in this transaction.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back.
    ///
    /// ```
    /// # use aioproducer_driver::{ProduceError, Record, Transaction};
    /// /// Whether there was room.
    /// fn offer(transaction: &Transaction, entry: &[u8]) -> Result<bool, ProduceError<'static>> {
    ///     match transaction.try_produce_borrowed(Record::to("ledger").payload(entry)) {
    ///         Ok(_waited_for_by_the_commit) => Ok(true),
    ///         Err(ProduceError::Full(_) | ProduceError::PartitionFull { .. }) => Ok(false),
    ///         Err(error) => Err(error.into_owned()),
    ///     }
    /// }
    /// ```
    pub fn try_produce_borrowed<'r>(&self, record: impl Into<Record<'r>>) -> Result<Delivery, ProduceError<'r>> {
        try_produce(self.producer.shared(), &mut record.into(), true).map_err(|error| *error)
    }

    /// As [`AioProducer::send`], in this transaction.
    ///
    /// # Errors
    /// [`SendError`](crate::SendError): it was not accepted, or not delivered; with the record.
    ///
    /// ```
    /// # use aioproducer_driver::{Record, SendError, Transaction};
    /// async fn debit(transaction: &Transaction, account: &str) -> Result<(), SendError> {
    ///     let report = transaction.send(Record::to("ledger").key(account).payload("-5")).await?;
    ///     println!("in the log, not committed yet: {report}");
    ///     Ok(())
    /// }
    /// ```
    pub fn send<'p, 'r>(&'p self, record: impl Into<Record<'r>>) -> SendRecord<'p, 'r> {
        SendRecord::new(self.produce(record))
    }

    /// As [`AioProducer::produce_with`], in this transaction. A commit waits for the record, not for its callback.
    ///
    /// # Errors
    /// [`ProduceError`] hands the record back; the callback is not called then.
    ///
    /// ```
    /// # use aioproducer_driver::{ProduceError, Record, Transaction};
    /// async fn debit(transaction: &Transaction, account: &str) -> Result<(), ProduceError<'static>> {
    ///     let record = Record::to("ledger").key(account).payload("-5");
    ///     transaction.produce_with(record, |outcome| println!("{outcome:?}")).await
    /// }
    /// ```
    pub fn produce_with<'p, 'r, R, F>(
        &'p self,
        record: R,
        callback: F,
    ) -> impl Future<Output = Result<(), ProduceError<'static>>> + use<'p, 'r, R, F>
    where
        R: Into<Record<'r>>,
        F: FnOnce(Result<DeliveryReport, DeliveryError>) + Send + 'static,
    {
        ProduceWith::new(self.producer.shared(), record.into(), Synchronous(callback)).in_transaction()
    }

    /// As [`AioProducer::produce_all`], in this transaction.
    ///
    /// ```
    /// # use aioproducer_driver::{Record, Transaction};
    /// /// How many entries were delivered.
    /// async fn write(transaction: &Transaction, entries: &[String]) -> usize {
    ///     let outcomes = transaction.produce_all(entries.iter().map(|entry| Record::to("ledger").payload(entry))).await;
    ///     outcomes.iter().filter(|outcome| outcome.is_ok()).count()
    /// }
    /// ```
    pub fn produce_all<'p, 'r, I>(&'p self, records: I) -> ProduceAll<'p, 'r, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: Into<Record<'r>>,
    {
        ProduceAll::new(self.producer.shared(), records.into_iter()).in_transaction()
    }

    /// Makes a consumer group's offsets part of the transaction: they are committed with its records. Each is that of the
    /// next record to read. No offset is no work.
    ///
    /// The source is `rd_kafka_send_offsets_to_transaction` (KIP-447). Once it is polled, it goes on even if it is dropped;
    /// if it then fails, the transaction can only be aborted, as it would commit without the offsets otherwise.
    ///
    /// # Errors
    /// [`TransactionError`]; [`remedy`](TransactionError::remedy) says whether to call it again, to abort, or to give up.
    ///
    /// ```
    /// # use aioproducer_driver::{Transaction, error::TransactionError};
    /// # use aioproducer_driver::transaction::{Group, GroupOffset};
    /// /// The record at `offset` was read, and what came of it is in the transaction.
    /// async fn read(transaction: &Transaction, offset: i64) -> Result<(), TransactionError> {
    ///     transaction.send_offsets([GroupOffset::new("orders", 0, offset + 1)], Group::new("billing")).await
    /// }
    /// ```
    pub async fn send_offsets(
        &self,
        offsets: impl IntoIterator<Item = GroupOffset>,
        group: Group,
    ) -> Result<(), TransactionError> {
        turn(&*self.producer.shared().runtime).await;
        let offsets: Vec<_> = offsets.into_iter().collect();
        let id = self.id;
        self.producer.watch(|transactions, fatal| Poll::Ready(may_go_on(transactions, fatal, id))).await??;
        if offsets.is_empty() {
            return Ok(());
        }
        let call = Call::SendOffsets { offsets, group };
        let outcome = CallFuture::new(self.producer.shared(), call, Some(id)).await;
        outcome.map(drop).map_err(|error| TransactionError::of_call(Some(error), Remedy::Abort))
    }

    /// Waits for the delivery of every record of the transaction, and commits it.
    ///
    /// The source is `rd_kafka_commit_transaction`. Dropped early, the transaction is aborted, unless the commit was called
    /// already: then it is in doubt, and [`AioProducer::in_doubt`] has it.
    ///
    /// # Errors
    /// [`EndError`], whose [`remedy`](EndError::remedy) says what is left: to abort, since a record was not delivered or the
    /// broker refused; to [resolve](Remedy::Resolve) an outcome that is not known, by committing again; or to give up.
    ///
    /// ```
    /// # use aioproducer_driver::Transaction;
    /// # use aioproducer_driver::transaction::{EndError, Remedy};
    /// /// Commits, and asks again for as long as the outcome is not known.
    /// async fn commit(mut transaction: Transaction) -> Result<(), EndError> {
    ///     loop {
    ///         let Err(error) = transaction.commit().await else { return Ok(()) };
    ///         match (error.remedy(), error) {
    ///             (Remedy::Resolve, error) => match error.into_transaction() {
    ///                 Some(same) => transaction = same,
    ///                 None => return Ok(()),
    ///             },
    ///             (_, error) => return Err(error),
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn commit(self) -> Result<(), EndError> {
        turn(&*self.producer.shared().runtime).await;
        let id = self.id;
        let commanded = self.producer.command(|transactions, flush| {
            *flush = true;
            transactions.machine.commit(id)
        });
        let outcome = match commanded {
            Err(TransactionError::MustAbort) => {
                self.producer.watch(|transactions, fatal| Poll::Ready(may_go_on(transactions, fatal, id))).await
            }
            Err(error) => Ok(Err(error)),
            Ok(()) => self.producer.watch(|transactions, fatal| committed(transactions, fatal, id)).await,
        };
        match outcome.and_then(|outcome| outcome) {
            Ok(()) => Ok(()),
            Err(error) => Err(EndError::new(error, self)),
        }
    }

    /// Takes back what was not sent yet, whose deliveries fail with [`FailureKind::Purged`](crate::error::FailureKind::Purged), and
    /// aborts the transaction: what was sent is never seen by consumers with
    /// `isolation.level=read_committed`.
    ///
    /// The source is `rd_kafka_abort_transaction`. Dropped early, the abort goes on.
    ///
    /// # Errors
    /// [`EndError`], whose [`remedy`](EndError::remedy) says what is left: to abort again, or to give up; or to resolve the
    /// outcome of a commit that was called before.
    ///
    /// ```
    /// # use aioproducer_driver::{Transaction, error::TransactionError};
    /// async fn undo(transaction: Transaction) -> Result<(), TransactionError> {
    ///     Ok(transaction.abort().await?)
    /// }
    /// ```
    pub async fn abort(self) -> Result<(), EndError> {
        turn(&*self.producer.shared().runtime).await;
        let id = self.id;
        let commanded = self.producer.command(|transactions, _| transactions.machine.abort(id));
        let outcome = match commanded {
            // A close aborted it.
            Err(TransactionError::Over) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
            Ok(()) => self.producer.watch(|transactions, fatal| aborted(transactions, fatal, id)).await,
        };
        match outcome.and_then(|outcome| outcome) {
            Ok(()) => Ok(()),
            Err(error) => Err(EndError::new(error, self)),
        }
    }
}

/// Whether the transaction is open.
fn may_go_on(transactions: &Transactions, fatal: Option<&Failure>, id: TransactionId) -> Result<(), TransactionError> {
    match transactions.machine.status(id) {
        TransactionStatus::Open => Ok(()),
        TransactionStatus::Failed | TransactionStatus::AbortFailed => Err(TransactionError::of_failed(transactions)),
        TransactionStatus::InDoubt => {
            let error = transactions.error.clone();
            Err(TransactionError::Unknown(error.unwrap_or_else(|| transactions.ended_by.call_error())))
        }
        _ => Err(gone(transactions, fatal).unwrap_or(TransactionError::Over)),
    }
}

fn committed(
    transactions: &mut Transactions,
    fatal: Option<&Failure>,
    id: TransactionId,
) -> Poll<Result<(), TransactionError>> {
    match transactions.machine.status(id) {
        TransactionStatus::Committing => Poll::Pending,
        TransactionStatus::Committed => {
            transactions.machine.acknowledge(id);
            Poll::Ready(Ok(()))
        }
        _ => Poll::Ready(may_go_on(transactions, fatal, id)),
    }
}

fn aborted(
    transactions: &Transactions,
    fatal: Option<&Failure>,
    id: TransactionId,
) -> Poll<Result<(), TransactionError>> {
    match transactions.machine.status(id) {
        TransactionStatus::Aborting => Poll::Pending,
        TransactionStatus::Over => Poll::Ready(gone(transactions, fatal).map_or(Ok(()), Err)),
        _ => Poll::Ready(Err(TransactionError::of_abort(transactions.error.clone()))),
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.producer.shared().with(|state, effects| {
            state.shut_inbox(self.producer.shared(), effects);
            if let Some(transactions) = &mut state.transactions {
                transactions.machine.abandon(self.id);
            }
        });
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("id", &self.id).finish_non_exhaustive()
    }
}
