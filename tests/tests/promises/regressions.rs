//! Past defects, each with the test that found it.

use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::AioProducer;
use aioproducer_tests::executor::{Executor, Host, OwnExecutor, watched};
use aioproducer_tests::probe::Observed;
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, numbered};
use aioproducer_tests::scripted::Script;
use smol::future::block_on;

promises! {
    s16_a_refused_record_keeps_its_own_deadline,
    s33_too_many_slots_are_refused,
}

const LONG: Duration = Duration::from_secs(36_000);

async fn s16_a_refused_record_keeps_its_own_deadline(host: Host) {
    let script = Script::new();
    let timeout = Duration::from_millis(300);
    let producer = host.start(AioProducer::builder(script.backend()).delivery_timeout(timeout));
    let held = Observed::new(accepted(&producer, numbered(0)));
    let refused = accepted(&producer, numbered(1));
    let hand = script.next().await.expect("a batch");
    let taken = hand.refuse_after(1);
    script.deliver(&taken[..1]);
    held.ready().expect("delivered");
    // The backend's queue has room again, and no worker uses it.
    let error = refused.await.expect_err("its time passed");
    assert_eq!((error.kind(), error.status()), (FailureKind::TimedOut, Status::NotPersisted));
    assert_eq!(error.into_record(), Some(numbered(1)));
    assert!(script.take().is_none());
}

async fn s33_too_many_slots_are_refused(host: Host) {
    let script = Script::new();
    let error = AioProducer::builder(script.backend()).slots(usize::MAX).start(host.runtime()).expect_err("refused");
    assert!(error.to_string().contains("slots"), "{error}");
}

fn executor_dropped<E: Executor>() {
    watched(|| {
        let script = Script::new();
        let executor = E::new();
        let producer = executor.host().start(AioProducer::builder(script.backend()).linger(LONG));
        let buffered = accepted(&producer, numbered(2));
        executor.block_on(async {});
        drop(executor);
        let error = block_on(buffered).expect_err("it will never be sent");
        assert_eq!((error.kind(), error.status()), (FailureKind::Closed, Status::NotPersisted));
    });
}

#[test]
fn s31_a_dropped_executor_own_executor() {
    executor_dropped::<OwnExecutor>();
}
