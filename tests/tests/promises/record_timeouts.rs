//! S17, S21: records with a timeout of their own.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aioproducer_core::backend::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Bytes, Record};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::Observed;
use aioproducer_tests::promises;
use aioproducer_tests::records::{accepted, failed, numbered};
use aioproducer_tests::scripted::Script;

promises! {
    s17_a_record_s_own_timeout_in_the_buffer,
    s17_a_record_s_own_timeout_at_the_backend,
    s17_a_record_s_own_timeout_is_forgotten_with_it,
    s21_the_late_report_of_a_record_whose_time_was_over_reaches_no_other_record,
}

const LONG: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

async fn s17_a_record_s_own_timeout_in_the_buffer(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).linger(LONG));
    let patient = accepted(&producer, numbered(0));
    let hasty = accepted(&producer, numbered(1).timeout(SOON));
    let expected = (FailureKind::TimedOut, Status::NotPersisted, numbered(1).timeout(SOON));
    assert_eq!(failed(hasty.await), expected);
    assert_eq!(producer.len(), 1);
    assert!(patient.retract().is_ok(), "the other one lingers on");
}

async fn s17_a_record_s_own_timeout_at_the_backend(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let hasty = accepted(&producer, numbered(0).timeout(SOON));
    let patient = accepted(&producer, numbered(1));
    let mut flush = Observed::new(producer.flush());
    assert!(flush.is_pending());
    let taken = script.accept().await;
    let expected = (FailureKind::TimedOut, Status::PossiblyPersisted, numbered(0).timeout(SOON));
    assert_eq!(failed(hasty.await), expected);
    assert_eq!(producer.len(), 2, "the slot is the record's until the backend lets go of it");
    script.deliver(&taken);
    assert!(patient.await.is_ok() && flush.ready().is_ok());
    assert_eq!((producer.len(), producer.statistics().stale_reports), (0, 0));
}

async fn s17_a_record_s_own_timeout_is_forgotten_with_it(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()).slots(2));
    let served = script.serve(&host);
    for number in 0..50 {
        let report = producer.send(numbered(number).timeout(SOON)).await.expect("delivered");
        assert_eq!(report.offset(), Some(number as i64));
    }
    let owner = Arc::new([0; 8]);
    let last = Record::to("t").payload(Bytes::from_owner(Owner(Arc::clone(&owner)))).timeout(LONG);
    assert!(producer.send(last).await.is_ok());
    host.until(|| Arc::strong_count(&owner) == 1).await;
    host.pause(2 * SOON).await;
    assert!(producer.send(numbered(51)).await.is_ok());
    producer.close(LONG).await;
    served.join().await;
}

/// A payload's owner, which shows when the payload is dropped.
struct Owner(Arc<[u8; 8]>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &*self.0
    }
}

async fn s21_the_late_report_of_a_record_whose_time_was_over_reaches_no_other_record(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let hasty = accepted(&producer, numbered(0).timeout(SOON));
    let taken = script.accept().await;
    assert_eq!(failed(hasty.await).0, FailureKind::TimedOut);
    // Enough records to use again all that the first one left behind.
    let mut others: Vec<_> = (1..3000).map(|number| Observed::new(accepted(&producer, numbered(number)))).collect();
    script.deliver(&taken);
    assert!(others.iter_mut().all(Observed::is_pending));
    script.serve(&host);
    producer.close(LONG).await;
    assert!(others.iter_mut().all(|other| matches!(other.poll_in_turn(), Poll::Ready(Ok(_)))));
}
