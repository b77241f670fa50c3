//! S29: some promises on an executor without tokio or smol, the one of the example `own_runtime`.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use aioproducer_driver::error::{FailureKind, FlushError, Status};
use aioproducer_driver::{AioProducer, ProduceError, Record, Runtime};
use aioproducer_tests::executor::watched;
use aioproducer_tests::records::numbered;
use aioproducer_tests::scripted::Script;
use aioproducer_tests::{broker, probe::poll_once};

use self::executor::{Executor, OwnRuntime};

#[path = "../../../aioproducer/examples/own_runtime/executor.rs"]
mod executor;

const LONG: Duration = Duration::from_secs(36_000);
const MOMENT: Duration = Duration::from_millis(50);

fn on_executor<F: Future<Output = ()>>(test: impl FnOnce(OwnRuntime) -> F + Send + 'static) {
    watched(move || {
        let mut executor = Executor::new();
        let runtime = executor.runtime();
        executor.run(test(runtime));
    });
}

#[test]
fn s11_the_timer_ends_a_linger() {
    on_executor(|runtime| async move {
        let broker = broker::start_with_topic("t", 1);
        let builder = AioProducer::builder(broker::backend(&broker)).linger(MOMENT);
        let producer = builder.start(runtime).expect("started");
        let deliveries = [producer.produce(numbered(0)).await, producer.produce(numbered(1)).await];
        for delivery in deliveries {
            delivery.expect("room").await.expect("delivered");
        }
        assert!(producer.close(LONG).await.is_complete());
        assert_eq!(broker.records("t").await.expect("its records").len(), 2);
    });
}

#[test]
fn s17_the_timer_ends_a_record() {
    on_executor(|runtime| async move {
        let builder = AioProducer::builder(Script::new().backend());
        let producer = builder.delivery_timeout(MOMENT).start(runtime).expect("started");
        let delivery = producer.produce(Record::to("t")).await.expect("room");
        let error = delivery.await.expect_err("too late");
        assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::NotPersisted));
    });
}

#[test]
fn s20_callbacks_run_in_spawned_tasks() {
    on_executor(|runtime| async move {
        let broker = broker::start_with_topic("t", 1);
        let producer = AioProducer::builder(broker::backend(&broker)).start(runtime).expect("started");
        let (sender, receiver) = smol::channel::unbounded();
        for number in 0..100 {
            let sender = sender.clone();
            let tell = move |outcome: Result<_, _>| sender.try_send(outcome.map(|_| number).ok()).expect("room");
            producer.produce_with(numbered(number), tell).await.expect("room");
        }
        for number in 0..100 {
            assert_eq!(receiver.recv().await, Ok(Some(number)));
        }
    });
}

#[test]
fn s23_s25_flush_and_close_end_in_time() {
    on_executor(|runtime| async move {
        let producer = AioProducer::builder(broker::unreachable()).start(runtime).expect("started");
        // Too long to be copied by librdkafka, so it comes back however long librdkafka takes to end.
        let delivery = producer.produce(Record::to("t").payload(vec![0; 1_000])).await.expect("room");
        assert_eq!(producer.flush().within(MOMENT).await, Err(FlushError::Timeout { remaining: 1 }));
        let report = producer.close(MOMENT).await;
        assert_eq!(report.unsent().len(), 1);
        assert_eq!(delivery.await.expect_err("no broker is there").kind(), FailureKind::Closed);
    });
}

#[test]
fn s28_a_loop_of_calls_lets_timers_and_tasks_have_their_turn() {
    on_executor(|runtime| async move {
        let producer = AioProducer::builder(Script::new().backend()).start(runtime.clone()).expect("started");
        let (sender, ticked) = smol::channel::bounded::<()>(1);
        let timer = runtime.sleep_until(runtime.now() + MOMENT);
        runtime.spawn(Box::pin(async move {
            timer.await;
            drop(sender);
        }));
        // Nothing is pending, so each flush is ready at once.
        while !ticked.is_closed() {
            producer.flush().await.expect("flushed");
        }
    });
}

#[test]
fn s29_wakers_come_from_other_threads() {
    on_executor(|runtime| async move {
        let broker = broker::start_with_topic("t", 1);
        broker.round_trip_time(-1, MOMENT).expect("slow");
        let producer = AioProducer::builder(broker::backend(&broker)).start(runtime.clone()).expect("started");
        let (sender, receiver) = smol::channel::bounded(1);
        // The executor sleeps while the broker is slow. The first wake-up is for a task.
        runtime.spawn(Box::pin(async move {
            let outcome = producer.send(numbered(0)).await;
            sender.try_send(outcome.map(|report| report.offset()).ok()).expect("room");
        }));
        assert_eq!(receiver.recv().await, Ok(Some(Some(0))));
    });
}

#[test]
fn s31_the_executor_ends_and_the_producer_with_it() {
    watched(|| {
        let mut executor = Executor::new();
        let builder = AioProducer::builder(Script::new().backend()).linger(LONG);
        let producer = builder.start(executor.runtime()).expect("started");
        let mut delivery = Box::pin(executor.run(producer.produce(Record::to("t"))).expect("room"));
        let runtime = executor.runtime();
        drop(executor);
        let Poll::Ready(Err(error)) = poll_once(&mut delivery) else { panic!("the delivery hangs") };
        assert_eq!(error.kind(), FailureKind::Closed);
        assert!(matches!(producer.try_produce(Record::to("t")), Err(ProduceError::RuntimeEnded(_))));
        let refused = AioProducer::builder(Script::new().backend()).start(runtime).expect_err("it has ended");
        assert!(refused.to_string().contains("the runtime has ended"), "{refused}");
    });
}
