//! S24: a purge resolves what it takes at once, with its status, at each stage.

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_driver::{AioProducer, Delivery, PurgeScope};
use aioproducer_sim::{Case, Produce, check};

use crate::book::{Book, To};
use crate::variant::Variant;
use crate::{MS, SECOND, builder, calm, now, record, swarm};

/// A record at each stage: sent, in the client's queue, refused by it, lingering.
async fn stages(case: &Case) -> (AioProducer, [Delivery; 4]) {
    let backend = case.cluster().backend().queue_records(2);
    let builder = AioProducer::builder(backend).linger(SECOND * 60);
    let producer = builder.start(case.sim().clone()).unwrap();
    case.cluster().on(Produce).once().delay(SECOND);
    let sent = producer.produce(record(0).urgent()).await.unwrap();
    case.sim().sleep(MS / 4).await;
    let queued = producer.produce(record(1).urgent()).await.unwrap();
    case.sim().sleep(MS / 4).await;
    let refused = producer.produce(record(2).urgent()).await.unwrap();
    case.sim().sleep(MS / 4).await;
    let lingering = producer.produce(record(3)).await.unwrap();
    case.always(producer.len() == 4 && producer.in_flight() == 2, "two are with the client");
    (producer, [sent, queued, refused, lingering])
}

/// What became of each: `None` if nothing did.
fn found(deliveries: &mut [Delivery; 4]) -> [Option<Status>; 4] {
    deliveries.each_mut().map(|delivery| {
        let error = now(delivery)?.err()?;
        (error.kind() == FailureKind::Purged && error.record().is_some()).then_some(error.status())
    })
}

const UNSENT: Option<Status> = Some(Status::NotPersisted);
const SENT: Option<Status> = Some(Status::PossiblyPersisted);

#[test]
fn s24_each_stage_is_purged_at_once_and_only_what_is_meant() {
    check(calm(), |case| async move {
        for (scope, expected) in [
            (PurgeScope::All, [SENT, UNSENT, UNSENT, UNSENT]),
            (PurgeScope::Queued, [None, UNSENT, UNSENT, UNSENT]),
            (PurgeScope::InFlight, [SENT, None, None, None]),
        ] {
            let (producer, mut deliveries) = stages(&case).await;
            producer.purge(scope).await;
            // The client's task has its turn.
            case.sim().sleep(std::time::Duration::from_nanos(1)).await;
            case.always(found(&mut deliveries) == expected, "each stage, with its status");
            let left = expected.iter().filter(|status| status.is_none()).count();
            case.always(producer.len() == left, "what is purged takes no room");
            producer.flush().await.unwrap();
            case.always(producer.is_empty(), "what was not meant is delivered");
            let written = case.cluster().topic("t").records();
            let texts: Vec<_> = written.iter().rev().take(left).rev().map(|record| record.payload_str()).collect();
            let meant = (0..4).filter(|n| expected[*n].is_none()).map(|n| n.to_string()).collect::<Vec<_>>();
            case.always(texts == meant.iter().map(|text| Some(&text[..])).collect::<Vec<_>>(), "in order");
            case.sim().sleep(SECOND * 2).await;
        }
    });
}

#[test]
fn s24_a_purge_during_faults_loses_and_doubles_nothing() {
    check(swarm().seeds(0..60), |case| async move {
        let book = Book::new(&case);
        let variant = Variant::new(case.cluster().backend().queue_records(6)).two_workers();
        let linger = MS * case.sim().random(20) as u32;
        let producer = AioProducer::builder(variant).linger(linger).slots(20).start(case.sim().clone()).unwrap();
        let producer = book.watch(producer);
        let tasks = [To::Key("a"), To::Partition(0), To::Partition(1)]
            .map(|to| case.spawn(book.clone().load(producer.clone(), "one".to_owned(), to, 15)));
        for _ in 0..6 {
            case.sim().sleep(MS * case.sim().random(60) as u32).await;
            let scopes = [PurgeScope::All, PurgeScope::Queued, PurgeScope::InFlight];
            producer.purge(scopes[case.sim().random(3) as usize]).await;
        }
        for task in tasks {
            task.await;
        }
        book.audit().await;
    });
}

#[test]
fn s24_what_comes_after_a_purge_is_not_purged() {
    check(swarm().without(aioproducer_sim::FaultKind::BrokerStop), |case| async move {
        let book = Book::new(&case);
        let producer = book.watch(builder(&case).linger(MS * 10).start(case.sim().clone()).unwrap());
        for _ in 0..5 {
            let before = book.produce(&producer, "one", To::Partition(1)).await;
            producer.purge(PurgeScope::Queued).await;
            let after = book.produce(&producer, "one", To::Partition(1)).await;
            if let Some((number, delivery)) = before {
                let outcome = delivery.await;
                let purged = outcome.as_ref().is_err_and(|error| error.kind() == FailureKind::Purged);
                case.always(purged, "what lingers is purged");
                book.ended(number, &outcome);
            }
            if let Some((number, delivery)) = after {
                let outcome = delivery.await;
                case.always(outcome.is_ok(), "what comes later is delivered");
                book.ended(number, &outcome);
            }
        }
        book.audit().await;
    });
}
