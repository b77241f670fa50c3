//! S25, S26: a producer ends in time, and gives back what it could not send.

use std::time::Duration;

use aioproducer_driver::error::{FailureKind, Status};
use aioproducer_sim::check;

use crate::book::{Book, To};
use crate::{MS, SECOND, TRIP, builder, calm, now, record, swarm};

#[test]
fn s25_a_close_sends_what_there_is() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let linger = MS * case.sim().random(200) as u32;
        let producer = book.watch(builder(&case).linger(linger).start(case.sim().clone()).unwrap());
        let mut accepted = Vec::new();
        for n in 0..20 {
            accepted.extend(book.produce(&producer, "one", To::Partition(n % 3)).await);
        }
        let report = producer.close(SECOND * 200).await;
        case.always(report.is_complete(), "nothing is left");
        for (number, mut delivery) in accepted {
            let Some(outcome) = now(&mut delivery) else { return case.always(false, "each has its outcome by then") };
            case.always(outcome.is_ok(), "all are delivered");
            book.ended(number, &outcome);
        }
        let again = producer.close(SECOND).await;
        case.always(again.is_complete(), "a second close is fine");
        book.audit().await;
    });
}

#[test]
fn s25_a_close_ends_in_time_and_gives_back_the_rest() {
    check(calm(), |case| async move {
        let producer = builder(&case).linger(SECOND).slots(8).start(case.sim().clone()).unwrap();
        let _held = case.cluster().hold("t");
        let sent = producer.produce(record(1).urgent()).await.unwrap();
        case.sim().sleep(MS).await;
        let limit = Duration::from_nanos(1 + case.sim().random(10_000_000_000));
        let begin = case.sim().elapsed();
        let lingering = producer.produce(record(2)).await.unwrap();
        let report = producer.close(limit).await;
        case.always(case.sim().elapsed() == begin + limit, "to the nanosecond");
        let unsent: Vec<_> = report.unsent().iter().map(|unsent| unsent.record.get_payload()).collect();
        case.always(unsent.len() == 2 && report.unreturned() == 0, "both come back");
        case.always(unsent.contains(&Some(b"1")) && unsent.contains(&Some(b"2")), "as they were");
        for delivery in [sent, lingering] {
            let error = delivery.await.unwrap_err();
            let is_unsent = error.status() == Status::NotPersisted;
            case.always(error.kind() == FailureKind::Closed && is_unsent, "nothing was sent");
        }
    });
}

#[test]
fn s25_a_close_during_faults_leaves_nothing_without_an_outcome() {
    check(swarm().seeds(0..80), |case| async move {
        let book = Book::new(&case);
        let producer = book.watch(builder(&case).linger(MS * 5).slots(10).start(case.sim().clone()).unwrap());
        let tasks = [To::Key("a"), To::Partition(0), To::Anywhere]
            .map(|to| case.spawn(book.clone().load(producer.clone(), "one".to_owned(), to, 20)));
        case.sim().sleep(MS * case.sim().random(300) as u32).await;
        let (begin, limit) = (case.sim().elapsed(), MS * case.sim().random(300) as u32);
        let report = producer.close(limit).await;
        case.always(case.sim().elapsed() <= begin + limit, "it ends in time");
        case.always(report.unreturned() == 0 && producer.is_empty(), "all comes back");
        case.sometimes(report.is_complete(), "a close that is complete");
        case.sometimes(!report.is_complete(), "a close that is not");
        for task in tasks {
            task.await;
        }
        book.audit().await;
    });
}

#[test]
fn s25_tasks_that_wait_for_room_are_refused_by_a_close() {
    check(calm(), |case| async move {
        let producer = builder(&case).slots(1).start(case.sim().clone()).unwrap();
        let held = case.cluster().hold("t");
        let first = producer.produce(record(1)).await.unwrap();
        let waits = case.spawn({
            let producer = producer.clone();
            async move { producer.produce(record(2)).await }
        });
        case.sim().sleep(MS).await;
        let closing = case.spawn({
            let producer = producer.clone();
            async move { producer.close(SECOND).await }
        });
        let refused = waits.await.unwrap_err();
        case.always(case.sim().elapsed() == MS, "at once");
        case.always(refused.into_record().get_payload() == Some(b"2"), "with the record");
        held.next().await.deliver();
        case.always(closing.await.is_complete() && first.await.is_ok(), "what was accepted is delivered");
        case.always(case.sim().elapsed() == MS + TRIP, "and the close ends with it");
    });
}

#[test]
fn s26_a_producer_that_is_dropped_fails_what_it_has() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let producer = builder(&case).linger(MS * 20).start(case.sim().clone()).unwrap();
        let mut accepted = Vec::new();
        for n in 0..12 {
            accepted.extend(book.produce(&producer, "one", To::Partition(n % 3)).await);
            case.sim().sleep(MS * case.sim().random(10) as u32).await;
        }
        let begin = case.sim().elapsed();
        drop(producer);
        for (number, delivery) in accepted {
            let outcome = delivery.await;
            let kind = outcome.as_ref().err().map(|error| error.kind());
            case.always(kind.is_none_or(|kind| kind == FailureKind::Closed), "it is closed");
            book.ended(number, &outcome);
        }
        case.always(case.sim().elapsed() == begin, "at once");
        book.audit().await;
    });
}
