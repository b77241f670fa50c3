//! What records that fail, stay or expire leave of the producer's memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aioproducer_core::backend::{Copied, Delivered, Driver, Failure, FailureKind, Outcome, Report, Status};
use aioproducer_core::{Instant, Limits, SlotId};

use crate::AioProducer;
use crate::observe::Options;
use crate::record::OwnedRecord;
use crate::record::Record;
use crate::runtime::{Runtime, Task};
use crate::state::shared::{Settings, Shared};
use crate::still::Still;

const SLOTS: usize = 8;

const FAILED: Failure = Failure::new(FailureKind::TimedOut, Status::NotPersisted, None, "as the test has it");

/// Its clock is moved by hand.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Instant>>);

impl Runtime for Clock {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }

    fn sleep_until(&self, at: Instant) -> Task {
        Still.sleep_until(at)
    }

    fn spawn(&self, task: Task) {
        Still.spawn(task);
    }
}

fn start(clock: Clock) -> (Arc<Shared>, AioProducer) {
    let limits = Limits { batch_records: SLOTS as u32, ..Limits::default() };
    let shared = Arc::new(Shared::new(limits, Settings::of(SLOTS), Options::default(), clock).expect("settings"));
    shared.start(Arc::new(Still), Vec::new());
    let producer = AioProducer::new(Arc::clone(&shared));
    (shared, producer)
}

/// Hands off what there is.
fn take(shared: &Shared) -> Vec<(SlotId, OwnedRecord)> {
    let mut taken = Vec::new();
    let batch = shared.take(&mut taken).expect("a batch is ready");
    shared.settle(batch, std::iter::empty());
    taken
}

#[test]
fn s21_failed_records_leave_no_more_places_than_there_were_records() {
    let (shared, producer) = start(Clock::default());
    for number in 0..1000 {
        for _ in 0..4 {
            drop(producer.try_produce(Record::to("t").key("k").payload(b"payload")).expect("accepted"));
        }
        let (slots, mut records): (Vec<_>, Vec<_>) = take(&shared).into_iter().unzip();
        // The backend has copied them, so they go back before they fail.
        shared.release(&mut records);
        let copied =
            Copied { key: Some(b"k".to_vec()), payload: Some(b"payload".to_vec()), urgent: false, placed: false };
        let outcome = Outcome::FailedCopy(FAILED, copied);
        shared.report(slots.into_iter().map(|slot| Report { slot, outcome: outcome.clone() }));
        // As long as nothing is known of the lane, a copy of each record stays on this side.
        assert!(shared.inbox().memory.places() <= 2 * 4, "after {number} rounds");
    }
}

#[test]
fn s21_records_that_stay_pin_no_more_than_half_the_pool() {
    let (shared, producer) = start(Clock::default());
    let half = Limits::default().pool_bytes / 2;
    let mut staying = Vec::new();
    for number in 0..60_000 {
        drop(producer.try_produce(Record::to("t").payload(&[7; 1024])).expect("accepted"));
        let mut records: Vec<_> = take(&shared)
            .into_iter()
            .map(|(slot, record)| {
                let at = Delivered::new(0, Some(0), Some(0));
                shared.report([Report { slot, outcome: Outcome::Delivered(at) }].into_iter());
                record
            })
            .collect();
        // One of each chunk, as a partition would hold them that does not answer.
        if number % 60 == 0 {
            staying.append(&mut records);
        }
        shared.release(&mut records);
    }
    let held = shared.inbox().memory.arena.held();
    assert!(held > half / 2 && held <= half, "{held} bytes are held for {} records", staying.len());
}

#[test]
fn s21_records_whose_own_time_is_over_leave_no_more_places_than_there_are_slots() {
    let clock = Clock::default();
    let (shared, producer) = start(clock.clone());
    for _ in 0..100 {
        let late = Record::to("t").payload(b"payload").timeout(Duration::from_millis(1));
        drop(producer.try_produce(late).expect("accepted"));
        let taken = take(&shared);
        let now = clock.now() + Duration::from_millis(2);
        *clock.0.lock().unwrap() = now;
        // The copy that was kept for the caller goes back, and then the record itself.
        shared.with(|state, effects| state.expire(&shared, now, effects));
        for (slot, record) in taken {
            shared.report([Report { slot, outcome: Outcome::Failed(FAILED, record) }].into_iter());
        }
        assert!(shared.inbox().memory.places() <= SLOTS);
    }
}
