//! S5, S30: each future is dropped at each poll, and no other record is lost, doubled or out of order.

use aioproducer_driver::{AioProducer, PurgeScope};
use aioproducer_sim::{Case, check};

use crate::book::{Book, To};
use crate::{MS, builder, polled, swarm};

/// A future of the producer that a task gives up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Produce,
    Delivery,
    Send,
    ProduceAll,
    Flush,
    FlushTopic,
    Purge,
    Close,
}

impl Victim {
    const ALL: [Self; 8] = [
        Self::Produce,
        Self::Delivery,
        Self::Send,
        Self::ProduceAll,
        Self::Flush,
        Self::FlushTopic,
        Self::Purge,
        Self::Close,
    ];

    async fn give_up(self, book: &Book, producer: &AioProducer, polls: u64) {
        match self {
            Self::Produce => {
                let (number, record) = book.record("victim", To::Partition(0));
                match polled(producer.produce(record), polls).await {
                    Some(Ok(delivery)) => book.hear(number, delivery).await,
                    // It was never sent.
                    Some(Err(_)) | None => book.unsent(number),
                }
            }
            Self::Delivery => {
                if let Some((number, delivery)) = book.produce(producer, "victim", To::Partition(0)).await {
                    match polled(delivery, polls).await {
                        Some(outcome) => book.ended(number, &outcome),
                        None => book.unheard(number),
                    }
                }
            }
            Self::Send => {
                let (number, record) = book.record("victim", To::Partition(0));
                match polled(producer.send(record), polls).await {
                    Some(outcome) => book.sent(number, outcome),
                    None => book.unheard(number),
                }
            }
            Self::ProduceAll => {
                let records = (0..4).map(|_| book.record("victim", To::Partition(0)));
                let (numbers, records): (Vec<_>, Vec<_>) = records.unzip();
                match polled(producer.produce_all(records), polls).await {
                    Some(outcomes) => {
                        for (number, outcome) in numbers.into_iter().zip(outcomes) {
                            book.sent(number, outcome);
                        }
                    }
                    None => numbers.into_iter().for_each(|number| book.unheard(number)),
                }
            }
            Self::Flush => drop(polled(producer.flush(), polls).await),
            Self::FlushTopic => drop(polled(producer.flush().topic("t").within(MS * 20), polls).await),
            Self::Purge => drop(polled(producer.purge(PurgeScope::Queued), polls).await),
            Self::Close => drop(polled(producer.close(MS * 500), polls).await),
        }
    }
}

async fn bystanders_and(victim: Victim, polls: u64, case: Case) {
    let book = Book::new(&case);
    let builder = builder(&case).slots(3).linger(MS * case.sim().random(4) as u32);
    let producer = book.watch(builder.start(case.sim().clone()).unwrap());
    let tasks = [To::Key("a"), To::Partition(0), To::Partition(1), To::Anywhere]
        .map(|to| case.spawn(book.clone().load(producer.clone(), "bystander".to_owned(), to, 8)));
    for _ in 0..6 {
        let pause = case.sim().random(20_000);
        case.sim().sleep(std::time::Duration::from_micros(pause)).await;
        victim.give_up(&book, &producer, polls).await;
    }
    for task in tasks {
        task.await;
    }
    book.audit().await;
}

fn dropped(victims: &[Victim]) {
    for victim in victims {
        for polls in 0..5 {
            check(swarm().seeds(0..6), |case| bystanders_and(*victim, polls, case));
        }
    }
}

#[test]
fn s05_a_produce_that_is_dropped_at_any_poll_was_never_sent() {
    dropped(&[Victim::Produce]);
}

#[test]
fn s05_a_delivery_that_is_dropped_at_any_poll_cancels_nothing() {
    dropped(&[Victim::Delivery, Victim::Send]);
}

#[test]
fn s30_all_others_may_be_dropped_at_any_poll() {
    let is_shown = |victim: &Victim| matches!(victim, Victim::Produce | Victim::Delivery | Victim::Send);
    let others: Vec<_> = Victim::ALL.into_iter().filter(|victim| !is_shown(victim)).collect();
    dropped(&others);
}
