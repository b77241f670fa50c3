//! S51: the executor of simulations. A seed is a run, and a scenario that never ends is found.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aioproducer_driver::runtime::{Instant, Task};
use aioproducer_driver::{AioProducer, Record, Runtime};
use aioproducer_sim::{Produce, Sim, SimCluster, Trace};
use aioproducer_tokio::Tokio;

const MS: Duration = Duration::from_millis(1);

fn panic_of<T>(code: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(code)).err().expect("it panics");
    *panic.downcast::<String>().expect("a text")
}

/// Which of four tasks ran in which order.
fn order(seed: u64) -> Vec<u64> {
    Sim::run(seed, |sim| async move {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let (seen, inner) = (seen.clone(), sim.clone());
                sim.spawn(async move {
                    for _ in 0..3 {
                        inner.sleep(MS).await;
                        seen.lock().unwrap().push(task);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        seen.lock().unwrap().clone()
    })
}

#[test]
fn s51_a_seed_chooses_the_order_of_tasks_and_always_the_same() {
    let orders: Vec<_> = (0..20).map(order).collect();
    assert!(orders.iter().any(|one| *one != orders[0]), "seeds differ");
    assert_eq!(orders, (0..20).map(order).collect::<Vec<_>>());
}

#[test]
fn s51_the_clock_leaps_from_timer_to_timer_and_to_the_nanosecond() {
    Sim::run(1, |sim| async move {
        sim.sleep(Duration::from_nanos(1)).await;
        assert_eq!(sim.elapsed(), Duration::from_nanos(1));
        sim.sleep(Duration::ZERO).await;
        let day = Duration::from_secs(86_400);
        let other = sim.spawn({
            let sim = sim.clone();
            async move { sim.sleep(day).await }
        });
        sim.sleep(2 * day).await;
        other.await;
        assert_eq!(sim.elapsed(), Duration::from_nanos(1) + 2 * day);
    });
}

#[test]
fn s51_a_scenario_need_not_be_send_and_draws_by_its_seed() {
    let draw = |seed| {
        Sim::run(seed, |sim| async move {
            let drawn = Rc::new(RefCell::new(Vec::new()));
            (0..5).for_each(|_| drawn.borrow_mut().push(sim.random(1000)));
            drawn.take()
        })
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn s51_a_scenario_that_never_ends_is_found_with_the_tasks_that_wait() {
    let line = line!() + 3;
    let message = panic_of(|| {
        Sim::run(77, |sim| async move {
            drop(sim.spawn(pending::<()>()));
            sim.sleep(3 * MS).await;
            pending::<()>().await;
        });
    });
    for part in ["seed 77", "never ends", "3ms", "no timer is set", &format!("tests/executor.rs:{line}:")] {
        assert!(message.contains(part), "{message} has no {part}");
    }
}

#[test]
fn s51_a_producer_whose_record_is_held_for_ever_is_such_a_scenario() {
    let message = panic_of(|| {
        Sim::run(78, |sim| async move {
            let kafka = SimCluster::new().with_topic("t", 1);
            let _held = kafka.hold("t");
            let producer = AioProducer::builder(kafka.backend()).start(sim).unwrap();
            let delivery = producer.produce(Record::to("t")).await.unwrap();
            // Its delivery timeout is a timer, and so is the time after which it is overdue. Then nothing can come.
            assert!(delivery.await.is_err());
            pending::<()>().await;
        });
    });
    assert!(message.contains("never ends"), "{message}");
}

#[test]
fn s51_a_task_that_spins_is_found_by_the_real_clock() {
    let spin = || {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
    };
    let message = panic_of(|| Sim::run_within(MS, 79, |_| spin()));
    assert!(message.contains("seed 79") && message.contains("did not end within 1ms"), "{message}");
    assert!(message.contains("0ns of virtual time"), "{message}");
}

#[test]
fn s51_a_wake_from_another_thread_is_found() {
    let message = panic_of(|| {
        Sim::run(80, |_| {
            let mut thread = None;
            poll_fn(move |cx| {
                let waker = cx.waker().clone();
                let woken = thread.get_or_insert_with(|| std::thread::spawn(move || waker.wake()));
                if woken.is_finished() {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        });
    });
    assert!(message.contains("another thread") && message.contains("cannot be repeated"), "{message}");
}

#[test]
fn s51_a_panic_in_a_task_is_the_runs() {
    let message = panic_of(|| {
        Sim::run(81, |sim| async move {
            let name = String::from("task");
            drop(sim.spawn(async move { panic!("the {name}'s own") }));
            sim.sleep(MS).await;
        });
    });
    assert_eq!(message, "the task's own");
}

/// Some tasks produce to a cluster with faults.
async fn load(kafka: SimCluster, producer: AioProducer) -> Trace {
    kafka.on(Produce).times(3).apply_then_lose_answer();
    let key = |n: u32| format!("key-{}", n % 5);
    let mut deliveries = Vec::new();
    for n in 0..50 {
        deliveries.push(producer.produce(Record::to("t").key(key(n)).payload(n.to_string())).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    kafka.trace()
}

fn run(seed: u64) -> Trace {
    Sim::run(seed, |sim| async move {
        let kafka = SimCluster::new().with_brokers(3).with_topic("t", 4);
        let producer = AioProducer::builder(kafka.backend()).start(sim).unwrap();
        load(kafka, producer).await
    })
}

#[test]
fn s51_a_seed_has_one_trace() {
    for seed in 0..20 {
        let (one, two) = (run(seed), run(seed));
        assert_eq!(one.first_difference(&two), None);
        assert_eq!(one.hash(), two.hash());
        assert!(one.len() > 20, "{one}");
    }
}

#[tokio::test(start_paused = true)]
async fn s51_tokios_paused_clock_has_the_same_logs() {
    let kafka = SimCluster::new().with_brokers(3).with_topic("t", 4);
    let producer = AioProducer::builder(kafka.backend()).start(Tokio::current().unwrap()).unwrap();
    load(kafka.clone(), producer).await;
    let on_own = Sim::run(1, |sim| async move {
        let kafka = SimCluster::new().with_brokers(3).with_topic("t", 4);
        let producer = AioProducer::builder(kafka.backend()).start(sim).unwrap();
        load(kafka.clone(), producer).await;
        kafka.topic("t").records()
    });
    let parts = |records: Vec<aioproducer_sim::LogRecord>| {
        let part = |record: &aioproducer_sim::LogRecord| {
            (
                record.partition(),
                record.offset(),
                record.key().map(<[u8]>::to_vec),
                record.payload().map(<[u8]>::to_vec),
            )
        };
        records.iter().map(part).collect::<Vec<_>>()
    };
    assert_eq!(parts(kafka.topic("t").records()), parts(on_own));
}

/// The simulation, and something that is alive as long as a producer is.
struct Counted {
    sim: Sim,
    _count: Arc<()>,
}

impl Runtime for Counted {
    fn now(&self) -> Instant {
        self.sim.now()
    }

    fn sleep_until(&self, at: Instant) -> Task {
        self.sim.sleep_until(at)
    }

    fn spawn(&self, task: Task) {
        Runtime::spawn(&self.sim, task);
    }
}

#[test]
fn s51_a_run_leaves_no_producer_whether_it_was_closed_or_not() {
    let count = Arc::new(());
    for is_closed in [true, false] {
        let _count = Arc::clone(&count);
        Sim::run(1, |sim| async move {
            let kafka = SimCluster::new().with_topic("t", 1);
            let producer = AioProducer::builder(kafka.backend()).start(Counted { sim, _count }).unwrap();
            producer.send(Record::to("t")).await.unwrap();
            if is_closed {
                assert!(producer.close(MS).await.is_complete());
            }
        });
        assert_eq!(Arc::strong_count(&count), 1, "closed: {is_closed}");
    }
}
