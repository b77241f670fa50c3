//! What has to compile in an application: `?` with errors of any sort, records that borrow, owned types as records.

#![cfg(not(interleave))]

use std::error::Error;
use std::future::Future;

use aioproducer_driver::error::{
    CallError, EndError, FatalError, FlushError, RecordError, TopicError, TransactionError,
};
use aioproducer_driver::{
    AioProducer, Delivery, DeliveryError, DeliveryReport, ProduceError, Record, Reporter, SendError, Transaction,
};

/// What anyhow, eyre and `Box<dyn Error + Send + Sync>` ask of an error.
fn leaves_any_function<E: Error + Send + Sync + 'static>() {}

#[test]
fn s09_errors_leave_any_function() {
    leaves_any_function::<ProduceError<'static>>();
    leaves_any_function::<SendError>();
    leaves_any_function::<DeliveryError>();
    leaves_any_function::<FlushError>();
    leaves_any_function::<CallError>();
    leaves_any_function::<FatalError>();
    leaves_any_function::<TransactionError>();
    leaves_any_function::<EndError>();
    leaves_any_function::<TopicError>();
    leaves_any_function::<RecordError>();
}

type Any<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Order(u32);

impl From<Order> for Record<'static> {
    fn from(order: Order) -> Self {
        Record::to("orders").key(order.0.to_string()).payload("apples")
    }
}

/// Each call with a record that borrows from the function, and with an owned type as a record.
async fn all_calls(producer: &AioProducer, reporter: &Reporter<u32>, id: u32) -> Any<()> {
    let key = id.to_string();
    let record = || Record::to("orders").key(&key).payload(key.as_bytes());
    drop(producer.try_produce(record())?);
    drop(producer.try_produce_borrowed(record()).map_err(ProduceError::into_owned)?);
    producer.try_produce_with(record(), |_| ())?;
    drop(producer.produce(record()).await?);
    producer.produce_with(record(), |_| ()).await?;
    producer.produce_with_async(record(), |_| async {}).await?;
    producer.send(record()).await?;
    for outcome in producer.produce_all([record()]).await {
        outcome?;
    }
    reporter.produce(record(), id).await?;
    reporter.try_produce(record(), id)?;

    drop(producer.try_produce(Order(id))?);
    producer.try_produce_with(Order(id), |_| ())?;
    drop(producer.produce(Order(id)).await?);
    producer.produce_with(Order(id), |_| ()).await?;
    producer.produce_with_async(Order(id), |_| async {}).await?;
    producer.send(Order(id)).await?;
    drop(producer.produce_all([Order(id)]).await);
    reporter.produce(Order(id), id).await?;
    reporter.try_produce(Order(id), id)?;
    Ok(())
}

async fn all_calls_of_a_transaction(transaction: &Transaction, id: u32) -> Any<()> {
    let key = id.to_string();
    let record = || Record::to("orders").key(&key);
    drop(transaction.try_produce(record())?);
    drop(transaction.produce(record()).await?);
    transaction.produce_with(record(), |_| ()).await?;
    transaction.send(record()).await?;

    drop(transaction.try_produce(Order(id))?);
    drop(transaction.produce(Order(id)).await?);
    transaction.produce_with(Order(id), |_| ()).await?;
    transaction.send(Order(id)).await?;
    drop(transaction.produce_all([Order(id)]).await);
    Ok(())
}

/// A call that is kept beside its producer, and outlives what it is made in.
fn kept<'p>(producer: &'p AioProducer) -> impl Future<Output = Result<DeliveryReport, SendError>> + Send + use<'p> {
    producer.send(Order(7))
}

/// The record's lifetime says nothing about the producer's, nor the other way round.
fn apart<'p, 'r>(
    producer: &'p AioProducer,
    record: Record<'r>,
) -> impl Future<Output = Result<Delivery, ProduceError<'static>>> + Send + use<'p, 'r> {
    producer.produce(record)
}

/// Each of these futures may move between threads.
fn sendable(producer: &AioProducer, reporter: &Reporter<u32>, transaction: &Transaction) {
    fn sends<T: Send>(_: &T) {}

    sends(&all_calls(producer, reporter, 1));
    sends(&all_calls_of_a_transaction(transaction, 1));
    sends(&kept(producer));
    sends(&apart(producer, Record::to("t")));
}

#[test]
fn s09_calls_take_what_borrows_and_what_is_owned() {
    // That it compiles is the test.
    let _ = sendable;
}
