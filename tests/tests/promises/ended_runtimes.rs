//! S31: errors name a runtime that cannot run a producer, or that has ended.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use aioproducer_driver::{AioProducer, Record, Runtime};
use aioproducer_smol::Smol;
use aioproducer_tests::executor::{Executor, Host, OwnExecutor, TokioCurrent, TokioMulti, watched};
use aioproducer_tests::promises;
use aioproducer_tests::scripted::Script;
use aioproducer_tokio::Tokio;
use smol::future::block_on;
use tokio::runtime::{Builder, Handle};

promises! {
    s31_errors_tell_a_close_from_a_dropped_handle,
}

const LONG: Duration = Duration::from_secs(36_000);

fn record() -> Record<'static> {
    Record::to("t").payload("x")
}

/// The text of the expected error.
fn text<T, E: Display>(outcome: Result<T, E>) -> String {
    outcome.err().expect("an error").to_string()
}

/// Why a producer does not start. Its backend is not connected.
fn refusal(runtime: impl Runtime) -> String {
    let script = Script::new();
    let text = text(AioProducer::builder(script.backend()).start(runtime));
    assert_eq!((script.shut_downs(), script.wakes()), (0, 0), "it was not even connected");
    text
}

/// One runtime of each kind that tokio has.
fn runtimes(set: impl Fn(&mut Builder) -> &mut Builder) -> [tokio::runtime::Runtime; 2] {
    let mut builders = [Builder::new_current_thread(), Builder::new_multi_thread()];
    builders[1].worker_threads(1);
    builders.each_mut().map(|builder| set(builder).build().expect("a runtime"))
}

#[test]
fn s31_a_runtime_without_timers_is_refused() {
    watched(|| {
        for runtime in runtimes(|builder| builder) {
            let refused = refusal(Tokio::new(runtime.handle().clone()));
            assert!(refused.contains("enable_time()"), "{refused}");
            // The same on the runtime itself.
            let refused = runtime.block_on(async { refusal(Tokio::current().expect("a runtime")) });
            assert!(refused.contains("enable_time()"), "{refused}");
        }
    });
}

#[test]
fn s31_a_runtime_that_has_ended_is_refused() {
    watched(|| {
        for runtime in runtimes(Builder::enable_all) {
            let handle: Handle = runtime.handle().clone();
            drop(runtime);
            let refused = refusal(Tokio::new(handle));
            assert!(refused.contains("the runtime has ended"), "{refused}");
        }
        let executor = Arc::new(async_executor::Executor::new());
        let smol = Smol::executor(Arc::clone(&executor));
        drop(executor);
        let refused = refusal(smol);
        assert!(refused.contains("the runtime has ended"), "{refused}");
    });
}

const ENDED: &str = "the runtime that the producer was started on";

/// For example a producer in a static and a runtime for each test: from the second test on each call fails with the reason.
fn later_errors<E: Executor>() {
    watched(|| {
        let script = Script::new();
        let executor = E::new();
        let builder = AioProducer::builder(script.backend()).linger(LONG);
        let producer = executor.host().start(builder.slots(1));
        let buffered = producer.try_produce(record()).expect("room");
        let waiting = producer.produce(record());
        drop(executor);
        let texts = [
            text(block_on(buffered)),
            text(block_on(waiting)),
            text(producer.try_produce(record())),
            text(block_on(producer.produce(record()))),
            text(block_on(producer.send(record()))),
            text(block_on(producer.produce_with(record(), drop))),
            text(producer.try_produce_with(record(), drop)),
            text(block_on(producer.produce_all([record()])).remove(0)),
            text(block_on(producer.metadata(None))),
            text(block_on(producer.set_sasl_credentials("user", "password"))),
        ];
        for text in texts {
            assert!(text.contains(ENDED), "{text}");
        }
        // A late close changes nothing.
        block_on(producer.close(LONG));
        let late = text(producer.try_produce(record()));
        assert!(late.contains(ENDED), "{late}");
    });
}

fn later_errors_of_transactions<E: Executor>() {
    watched(|| {
        let script = Script::transactional();
        let executor = E::new();
        let producer = executor.host().start(AioProducer::builder(script.backend()));
        let transaction = executor.block_on(aioproducer_tests::scripted::begun(&script, &producer));
        drop(executor);
        let texts = [
            text(transaction.try_produce(record())),
            text(block_on(transaction.commit())),
            text(block_on(producer.begin())),
            text(block_on(producer.init_transactions())),
        ];
        for text in texts {
            assert!(text.contains(ENDED), "{text}");
        }
    });
}

macro_rules! on_executors_that_end {
    ($($name:ident $executor:ident),* $(,)?) => {
        mod later {
            $(
                #[test]
                fn $name() {
                    super::later_errors::<super::$executor>();
                    super::later_errors_of_transactions::<super::$executor>();
                }
            )*
        }
    };
}

on_executors_that_end! {
    s31_errors_name_a_runtime_that_ended_tokio_multi TokioMulti,
    s31_errors_name_a_runtime_that_ended_tokio_current TokioCurrent,
    s31_errors_name_a_runtime_that_ended_own_executor OwnExecutor,
}

async fn s31_errors_tell_a_close_from_a_dropped_handle(host: Host) {
    let start = || host.start(AioProducer::builder(Script::new().backend()).linger(LONG));
    let producer = start();
    let delivery = producer.try_produce(record()).expect("room");
    producer.close(Duration::ZERO).await;
    let (buffered, refused) = (text(delivery.await), text(producer.produce(record()).await));
    assert!(buffered.contains("was closed") && refused.contains("is closed"), "{buffered}, {refused}");
    let call = text(producer.metadata(None).await);
    assert!(call.contains("was closed"), "{call}");

    let producer = start();
    let delivery = producer.try_produce(record()).expect("room");
    drop(producer);
    let dropped = text(delivery.await);
    assert!(dropped.contains("last handle") && dropped.contains("close()"), "{dropped}");
}
