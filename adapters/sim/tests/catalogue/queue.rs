//! S16: a full queue of the client makes records wait in the producer, in order.

use aioproducer_driver::AioProducer;
use aioproducer_sim::check;

use crate::book::{Book, To};
use crate::variant::Variant;
use crate::{TRIP, builder, calm, record, swarm};

#[test]
fn s16_a_full_queue_fails_nothing_and_keeps_the_order() {
    check(swarm(), |case| async move {
        let book = Book::new(&case);
        let limit = 1 + case.sim().random(4) as usize;
        let variant = Variant::new(case.cluster().backend().queue_records(limit)).two_workers();
        let producer = book.watch(AioProducer::builder(variant).start(case.sim().clone()).unwrap());
        let mut accepted = Vec::new();
        for n in 0..40 {
            accepted.extend(book.produce(&producer, "one", To::Partition(n % 3)).await);
        }
        for (number, delivery) in accepted {
            let outcome = delivery.await;
            case.always(outcome.is_ok(), "a full queue fails nothing");
            book.ended(number, &outcome);
        }
        book.audit().await;
    });
}

#[test]
fn s16_room_in_the_queue_is_used_at_once() {
    check(calm(), |case| async move {
        let backend = case.cluster().backend().queue_records(2);
        let producer = AioProducer::builder(backend).start(case.sim().clone()).unwrap();
        let book = Book::new(&case);
        let producer = book.watch(producer);
        let mut accepted = Vec::new();
        for _ in 0..10 {
            accepted.extend(book.produce(&producer, "one", To::Partition(0)).await);
        }
        for (number, delivery) in accepted {
            book.hear(number, delivery).await;
        }
        case.always(case.sim().elapsed() <= TRIP * 10, "each request makes room for the next");
        book.audit().await;
    });
}

#[test]
fn s50_the_client_is_asked_to_take_what_came_while_it_was_at_rest() {
    check(calm(), |case| async move {
        let producer = case.producer();
        for n in 0..20 {
            let begin = case.sim().elapsed();
            let first = producer.produce(record(n)).await.unwrap();
            // Each look gives the producer a chance to wake the client once more, and it has one worker only.
            let looks = case.sim().random(10);
            case.always((0..looks).all(|_| producer.len() == 1), "it is there");
            first.await.unwrap();
            producer.produce(record(n)).await.unwrap().await.unwrap();
            case.always(case.sim().elapsed() == begin + TRIP * 2, "nothing waits for anything else");
        }
    });
}

#[test]
fn s27_the_length_counts_every_stage() {
    check(calm(), |case| async move {
        let backend = case.cluster().backend().queue_records(3);
        let producer = AioProducer::builder(backend).slots(10).start(case.sim().clone()).unwrap();
        let hold = case.cluster().hold("t");
        let mut deliveries = Vec::new();
        for n in 0..10 {
            deliveries.push(producer.produce(record(n)).await.unwrap());
            case.sim().sleep(TRIP).await;
            case.always(producer.len() == n + 1, "each is counted once");
        }
        let found = producer.statistics();
        case.always((found.buffered, found.handed_off) == (7, 3), "the client has as many as it has room for");
        for left in (0..10).rev() {
            hold.next().await.deliver();
            case.sim().sleep(TRIP * 2).await;
            case.always(producer.len() == left, "and no longer than until its outcome");
        }
    });
}

#[test]
fn s22_what_was_accepted_is_counted() {
    check(swarm().seeds(0..20), |case| async move {
        let book = Book::new(&case);
        let producer = book.watch(builder(&case).slots(8).start(case.sim().clone()).unwrap());
        book.clone().load(producer.clone(), "one".to_owned(), To::Anywhere, 30).await;
        let found = producer.statistics();
        case.always(found.acquired == 30, "each record has had a slot");
        case.always(found.high_water <= 8 && found.capacity == 8, "of those that there are");
        case.always((1..=30).contains(&found.batches), "batches have records");
        book.audit().await;
    });
}
