//! S19: a fatal error ends the producer, whenever it comes.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use aioproducer_core::backend::{Backend, BackendLimits, Connect, Driver, Failure, FailureKind, Message, Status};
use aioproducer_driver::error::ErrorCode;
use aioproducer_driver::{AioProducer, ProduceError};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::{Script, failure};

promises! {
    s19_a_fatal_error_before_the_start_is_done_ends_everything,
    s19_a_backend_that_ends_before_the_start_is_done_ends_everything,
    s19_a_fatal_error_in_a_close_ends_it,
    s19_a_fatal_error_after_the_end_changes_nothing,
    s19_a_fatal_error_fails_what_is_pending_and_refuses_the_rest,
}

const FATAL: Failure =
    Failure::new(FailureKind::Fatal, Status::NotPersisted, Some(ErrorCode::LocalFatal), "the test says it is fatal");

/// A backend that reports a fatal error before its start is done.
struct Eager {
    ends: bool,
}

struct Running<R, E>(Arc<E>, PhantomData<fn() -> R>);

impl<R: Message> Connect<R> for Eager {
    type Error = Infallible;

    fn limits(&mut self, delivery_timeout: Option<Duration>) -> Result<BackendLimits, Infallible> {
        Ok(BackendLimits {
            delivery_timeout,
            linger: Duration::ZERO,
            record_bytes: 1_000_000,
            record_overhead: 0,
            record_setting: None,
            availability_timeout: None,
            transactional: false,
        })
    }

    fn connect<E: Driver<R>>(self, driver: Arc<E>, _capacity: usize) -> Result<Arc<dyn Backend>, Infallible> {
        driver.fatal(FATAL);
        if self.ends {
            driver.ended();
        }
        Ok(Arc::new(Running(driver, PhantomData)))
    }
}

impl<R: Message, E: Driver<R>> Backend for Running<R, E> {
    fn wake(&self) {}

    fn flush(&self) {}

    fn purge(&self, _queued: bool, _in_flight: bool) {}

    fn shut_down(&self) {
        self.0.ended();
    }
}

async fn ends_before_its_start(host: Host, ends: bool) {
    let producer = host.start(AioProducer::builder(Eager { ends }));
    assert!(producer.is_closed());
    assert_eq!(producer.fatal_error().and_then(|fatal| fatal.code()), Some(ErrorCode::LocalFatal));
    assert!(at_once(producer.produce(numbered(0))).is_err());
    assert!(producer.close(Duration::ZERO).await.is_complete());
}

async fn s19_a_fatal_error_before_the_start_is_done_ends_everything(host: Host) {
    ends_before_its_start(host, false).await;
}

async fn s19_a_backend_that_ends_before_the_start_is_done_ends_everything(host: Host) {
    ends_before_its_start(host, true).await;
}

async fn s19_a_fatal_error_in_a_close_ends_it(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let delivery = accepted(&producer, numbered(0));
    drop(script.accept().await);
    let mut close = Observed::new(producer.close(Duration::from_secs(3600)));
    assert!(close.is_pending());
    script.fatal(FATAL);
    assert_eq!(close.into_future().await.into_unsent().len(), 1);
    assert_eq!(delivery.await.expect_err("fatal").kind(), FailureKind::Fatal);
}

async fn s19_a_fatal_error_after_the_end_changes_nothing(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    script.stay_up();
    let delivery = accepted(&producer, numbered(0));
    let taken = script.accept().await;
    let mut close = Observed::new(producer.close(Duration::ZERO));
    assert!(close.is_pending());
    host.until(|| script.shut_downs() > 0).await;
    // A thread that did not end.
    let late = script.late();
    script.vanish();
    let report = close.into_future().await;
    assert_eq!(
        (report.unsent().len(), report.unreturned(), report.is_complete()),
        (1, 0, false),
        "the copy comes back that was kept while nothing was known of the lane"
    );
    late.fatal(FATAL);
    late.fail(&taken[0], failure(FailureKind::Purged, Status::NotPersisted));
    late.end();
    let error = delivery.await.expect_err("closed");
    assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::PossiblyPersisted));
    assert_eq!((producer.len(), producer.fatal_error()), (0, None));
}

async fn s19_a_fatal_error_fails_what_is_pending_and_refuses_the_rest(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(2).batch_records(1));
    let held = accepted(&producer, numbered(0));
    let _held = script.next().await.expect("a batch").accept();
    let buffered = accepted(&producer, numbered(1));
    let mut waiting = Observed::new(producer.produce(numbered(2)));
    assert!(waiting.is_pending());
    script.fatal(failure(FailureKind::Fatal, Status::PossiblyPersisted));
    for delivery in [held, buffered] {
        let error = delivery.await.expect_err("fatal");
        assert_eq!(error.kind(), FailureKind::Fatal);
        assert!(error.to_string().contains("the script says so"), "{error}");
    }
    assert!(waiting.wakes() > 0);
    assert!(matches!(waiting.ready(), Err(ProduceError::Fatal { reason: "the script says so", .. })));
    match producer.produce(numbered(3)).await {
        Err(ProduceError::Fatal { record, reason }) => {
            assert_eq!((record, reason), (numbered(3), "the script says so"));
        }
        other => panic!("{other:?}"),
    }
    assert!(producer.is_empty());
    drop(producer.close(Duration::from_secs(1)).await);
}
