//! S25, S35, S36: broker calls are completed once, and not after the end of the backend.

mod common;

use std::time::Duration;

use aioproducer_core::backend::{Answer, Call, CallId, Group, GroupOffset};
use aioproducer_rdkafka::{ApiKey, ErrorCode, Librdkafka};
use common::{Rec, Rig, TOPIC, broker, client};

const LONG: Duration = Duration::from_secs(3600);

fn metadata() -> Call {
    Call::Metadata { topic: Some(TOPIC.into()) }
}

#[test]
fn s36_a_transaction_call_by_call() {
    let broker = broker(1);
    let rig = Rig::new(&[("transactional.id", "t")], &broker, 1, 10);
    let offsets = vec![GroupOffset::new(TOPIC, 0, 3)];
    let calls = [
        Call::InitTransactions,
        Call::Begin,
        Call::SendOffsets { offsets, group: Group::new("g") },
        Call::Commit,
        Call::Begin,
        Call::Abort,
    ];
    for (id, call) in (0..).zip(calls) {
        if id == 3 {
            rig.send([Rec::new(0)]);
            rig.wait(1);
        }
        assert!(rig.call(id, call, LONG));
        assert_eq!(rig.answers(id as usize + 1).pop(), Some((CallId(id), Ok(Answer::Done))));
    }
    assert!(rig.end().values().all(Result::is_ok));
}

#[test]
fn s39_librdkafkas_error_flags_are_passed_on() {
    let broker = broker(1);
    let rig = Rig::new(&[("transactional.id", "t")], &broker, 1, 10);
    // Without initialisation the error is neither retriable nor abortable nor fatal.
    assert!(rig.call(0, Call::Begin, LONG));
    let error = rig.answers(1).pop().unwrap().1.unwrap_err();
    assert!(!(error.is_retriable() || error.requires_abort() || error.is_fatal()), "{error:?}");
    assert_eq!(error.code(), Some(ErrorCode::LocalState));
    // A refused producer id is fatal. The call reports it to the driver, as the worker does not read the event.
    rig.hold_worker();
    broker.request_errors(ApiKey::InitProducerId, &[ErrorCode::TransactionalIdAuthorizationFailed]).unwrap();
    assert!(rig.call(1, Call::InitTransactions, LONG));
    let error = rig.answers(2).pop().unwrap().1.unwrap_err();
    assert!(error.is_fatal(), "{error:?}");
    assert_eq!(rig.fatal().code(), Some(ErrorCode::TransactionalIdAuthorizationFailed));
    rig.let_worker_go();
    rig.end();
}

#[test]
fn s35_a_call_is_completed_once_and_before_the_end() {
    let rig = Rig::with(Librdkafka::new(client("127.0.0.1:1", &[])), 10, &[TOPIC]);
    assert!(rig.call(1, metadata(), LONG));
    while rig.call(2, metadata(), LONG) {}
    rig.backend.shut_down();
    // One that waits for its turn may be answered before the one that is under way.
    common::eventually("an answer", || rig.answers(1).iter().any(|(id, _)| *id == CallId(1)));
    let answers = rig.answers(1);
    assert!(answers.iter().all(|(_, answer)| answer.is_err()), "{answers:?}");
    assert!(!rig.call(3, metadata(), LONG), "there are no calls after the end");
    let driver = rig.driver.clone();
    rig.end();
    common::eventually("the threads drop the driver", || std::sync::Arc::strong_count(&driver) == 1);
}

#[test]
fn s35_a_limit_is_kept() {
    let rig = Rig::with(Librdkafka::new(client("127.0.0.1:1", &[("transactional.id", "t")])), 10, &[TOPIC]);
    for (id, call) in [(0, metadata()), (1, Call::InitTransactions)] {
        assert!(rig.call(id, call, Duration::from_millis(50)));
        let error = rig.answers(id as usize + 1).pop().unwrap().1.unwrap_err();
        assert!(error.is_retriable(), "{error:?}");
    }
    rig.end();
}
