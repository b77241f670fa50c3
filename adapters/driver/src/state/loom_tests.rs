//! The state lock and the inbox's, over the real state: producers leave records by the fast way or the exact one while a worker
//! takes batches and goes to sleep, in every order that there is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aioproducer_core::backend::{Backend, Delivered, Driver, Message, Outcome, Report};
use aioproducer_core::{Instant, Limits};
use loom::thread;

use super::admit::Admission;
use super::shared::{Settings, Shared};
use crate::observe::Options;
use crate::outcome::ticket::Ticket;
use crate::record::Record;
use crate::record::topics::Topic;
use crate::runtime::{Runtime, Task};

/// A runtime whose time stands still.
struct Still;

impl Runtime for Still {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn sleep_until(&self, _at: Instant) -> Task {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, _task: Task) {}
}

/// Counts how often an idle worker is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Backend for Wakes {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self) {}

    fn purge(&self, _queued: bool, _in_flight: bool) {}

    fn shut_down(&self) {}
}

/// A producer with one worker, and what became of its records.
struct Model {
    shared: Shared,
    wakes: Arc<Wakes>,
    topic: Topic,
    accepted: Mutex<Vec<u8>>,
    taken: Mutex<Vec<u8>>,
}

impl Model {
    fn new(slots: usize) -> Arc<Self> {
        let limits = Limits { batch_records: slots as u32, ..Limits::default() };
        let shared = Shared::new(limits, Settings::of(slots), Options::default(), Still).expect("settings");
        let wakes = Arc::new(Wakes::default());
        shared.backend.get_or_init(|| Arc::clone(&wakes) as Arc<dyn Backend>);
        let topic = Topic::new(&shared.topics, "t").expect("a name");
        Arc::new(Self { shared, wakes, topic, accepted: Mutex::default(), taken: Mutex::default() })
    }

    /// Produces a record, which may find the pool full. No call waits for its outcome.
    fn produce(&self, number: u8) {
        let mut record = Record::to(&self.topic).payload(vec![number]);
        let Ok(admission) = Admission::check(&self.shared, &mut record) else { panic!("the record is fit") };
        if admission.try_enter(&self.shared, |_, _| (Ticket::to_bulk(0, 0), ())).is_ok() {
            self.accepted.lock().unwrap().push(number);
        }
    }

    /// Takes batches until the worker sleeps. Their records are delivered at once, so their slots are free again.
    fn work(&self) {
        let mut records = Vec::new();
        while let Some(batch) = self.shared.take(&mut records) {
            let mut slots = Vec::new();
            for (slot, record) in records.drain(..) {
                slots.push(slot);
                self.taken.lock().unwrap().extend(record.payload().map(|payload| payload[0]));
            }
            self.shared.settle(batch, std::iter::empty());
            let outcome = || Outcome::Delivered(Delivered::new(0, Some(0), Some(0)));
            self.shared.report(slots.into_iter().map(|slot| Report { slot, outcome: outcome() }));
        }
    }

    /// The same, again and again while it is woken.
    fn work_while_woken(&self) {
        while self.wakes.0.swap(0, Ordering::Relaxed) > 0 {
            self.work();
        }
    }

    /// Each accepted record was taken once, those of each thread in order. A thread's numbers have the same tens.
    fn assert_complete(&self) {
        self.work_while_woken();
        let (mut accepted, taken) = (self.accepted.lock().unwrap().clone(), self.taken.lock().unwrap().clone());
        for thread in 0..3 {
            let own: Vec<_> = taken.iter().filter(|number| *number / 10 == thread).collect();
            assert!(own.is_sorted(), "{own:?} came out of order");
        }
        let mut sorted = taken;
        sorted.sort_unstable();
        accepted.sort_unstable();
        assert_eq!(sorted, accepted, "a record was left behind, or taken twice");
        assert!(self.shared.inbox().is_empty());
    }
}

/// Runs one worker, which was woken for a first record, beside threads that produce so many records each.
fn explore(slots: usize, preemptions: usize, threads: &'static [u8]) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let model = Model::new(slots);
        model.work();
        model.produce(0);
        let working = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.work_while_woken())
        };
        let produce = |model: &Model, thread: usize| {
            (0..threads[thread]).for_each(|number| model.produce(10 * (thread as u8 + 1) + number));
        };
        let producing: Vec<_> = (1..threads.len())
            .map(|number| {
                let model = Arc::clone(&model);
                thread::spawn(move || produce(&model, number))
            })
            .collect();
        produce(&model, 0);
        producing.into_iter().for_each(|thread| thread.join().unwrap());
        working.join().unwrap();
        model.assert_complete();
    });
}

#[test]
fn loom_no_record_is_left_in_the_inbox_when_the_worker_sleeps() {
    explore(8, 5, &[2]);
    explore(8, 3, &[3]);
}

#[test]
fn loom_two_producers_beside_a_worker_lose_no_record_and_keep_their_order() {
    explore(8, 3, &[1, 1]);
    explore(8, 2, &[2, 1]);
}

#[test]
fn loom_a_pool_that_gets_full_shuts_the_inbox_and_loses_no_record() {
    explore(1, 3, &[2]);
    explore(2, 4, &[2]);
    explore(1, 3, &[1, 1]);
    explore(2, 3, &[1, 1]);
}
