//! S6: a record that was not handed off comes back, and is never in the log.

use aioproducer_driver::AioProducer;
use aioproducer_sim::check;

use crate::book::{Book, To};
use crate::variant::Variant;
use crate::{MS, builder, calm, record, swarm};

#[test]
fn s06_what_is_taken_back_is_never_in_the_log_and_its_neighbours_are() {
    check(swarm().seeds(0..60), |case| async move {
        let book = Book::new(&case);
        let variant = Variant::new(case.cluster().backend().queue_records(4)).two_workers();
        let builder = AioProducer::builder(variant).linger(MS * case.sim().random(20) as u32).slots(16);
        let producer = book.watch(builder.start(case.sim().clone()).unwrap());
        let mut tasks = Vec::new();
        for to in [To::Partition(0), To::Key("a"), To::Anywhere] {
            let (case, book, producer) = (case.clone(), book.clone(), producer.clone());
            tasks.push(case.clone().spawn(async move {
                let mut accepted = Vec::new();
                for _ in 0..15 {
                    accepted.extend(book.produce(&producer, "one", to).await);
                    case.sim().sleep(MS * case.sim().random(5) as u32).await;
                    if case.sim().random(2) == 0 && !accepted.is_empty() {
                        let (number, delivery) =
                            accepted.swap_remove(case.sim().random(accepted.len() as u64) as usize);
                        match delivery.retract() {
                            Ok(record) => {
                                case.sometimes(true, "a record is taken back");
                                book.returned(number, &record);
                            }
                            Err(late) => accepted.push((number, late.into_delivery())),
                        }
                    }
                }
                for (number, delivery) in accepted {
                    book.hear(number, delivery).await;
                }
            }));
        }
        for task in tasks {
            task.await;
        }
        book.audit().await;
    });
}

#[test]
fn s06_the_room_of_a_record_that_is_taken_back_is_free_at_once() {
    check(calm(), |case| async move {
        let producer = builder(&case).linger(MS * 10).slots(2).start(case.sim().clone()).unwrap();
        for n in 0..20 {
            let delivery = producer.try_produce(record(n)).unwrap();
            let neighbour = producer.try_produce(record(n + 100)).unwrap();
            case.always(producer.try_produce(record(99)).is_err(), "there are two slots");
            let taken = delivery.retract().unwrap();
            case.always(taken.get_payload() == Some(n.to_string().as_bytes()), "it is the record");
            case.always(producer.len() == 1, "it is counted no more");
            case.always(neighbour.await.is_ok(), "its neighbour is delivered");
        }
        let written = case.cluster().topic("t").records();
        case.always(written.len() == 20, "only neighbours are written");
    });
}
