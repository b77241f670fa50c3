//! The state machine's workload: 1,000 records in flight, from produce to completed, with nothing around it.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use aioproducer_core::{Heap, Instant, Lane, Limits, Producer, Record, SlotId, TopicId};

/// Records in flight.
pub const IN_FLIGHT: usize = 1000;

/// Bytes of a record.
const SIZE: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// Time from one record to the next.
const STEP: Duration = Duration::from_micros(1);

/// Like the record of the driver, which is a pointer, with a place for `None`; but what it points to is inside.
#[derive(Clone, Copy)]
struct Item {
    lane: Lane,
    size: NonZeroU32,
}

impl Record for Item {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn size(&self) -> usize {
        self.size.get() as usize
    }
}

/// As large as the ticket of the driver, and like it with a place for `None`.
struct Ticket {
    cell: NonZeroU32,
    place: u32,
}

/// What differs from one workload to another.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is called, also in the file of budgets.
    pub name: &'static str,
    /// Records go to that many lanes in turn.
    pub lanes: usize,
    /// That many one after the other to the same lane.
    pub burst: usize,
    /// Records in a batch at most.
    pub batch: u32,
    /// Slots of the pool.
    pub slots: usize,
    /// How long a lane waits for company.
    pub linger: Duration,
}

/// Every lane and batch size has a case of one lane to compare it with: `lanes-100` cuts batches of 10, `lanes-10000` of
/// one and bursts of 100, as records in flight and lanes would have it.
pub const CASES: [Case; 11] = {
    let base = Case { name: "lanes-1", lanes: 1, burst: 1, batch: 1000, slots: 1000, linger: Duration::ZERO };
    [
        base,
        Case { name: "lanes-1-batch-100", batch: 100, ..base },
        Case { name: "lanes-1-batch-10", batch: 10, ..base },
        Case { name: "lanes-1-batch-1", batch: 1, ..base },
        Case { name: "lanes-100", lanes: 100, ..base },
        Case { name: "lanes-100-bursts", lanes: 100, burst: 100, ..base },
        Case { name: "lanes-100-linger", lanes: 100, linger: Duration::from_millis(5), ..base },
        Case { name: "lanes-10000", lanes: 10_000, ..base },
        Case { name: "lanes-10000-bursts", lanes: 10_000, burst: 100, ..base },
        Case { name: "slots-100k", slots: 100_000, ..base },
        Case { name: "slots-1m", slots: 1_000_000, ..base },
    ]
};

/// A machine at work.
pub struct Workload {
    case: Case,
    machine: Producer<Item, Ticket, Heap>,
    now: Instant,
    lanes: Vec<Lane>,
    lane: usize,
    in_burst: usize,
    /// What every record is a copy of, but for its lane.
    item: Item,
    /// What the backend has.
    handed_off: Vec<(SlotId, Item)>,
}

impl Workload {
    /// A machine of which every slot and every lane has been in use.
    ///
    /// # Panics
    /// When the machine loses a record.
    #[must_use]
    pub fn warm(case: Case) -> Self {
        let limits = Limits {
            pool_bytes: 1 << 40,
            batch_records: case.batch,
            batch_bytes: 1 << 30,
            linger: case.linger,
            ..Limits::default()
        };
        let storage = Heap { slots: case.slots, lanes: case.lanes };
        let machine = Producer::new(limits, storage).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let item = Item { lane: Lane::new(TopicId(0), None), size: SIZE };
        let lanes = (0..case.lanes).map(|at| Lane::new(TopicId(at as u32 / 100), Some(at as i32 % 100))).collect();
        let handed_off = Vec::with_capacity(case.slots);
        let mut workload =
            Self { case, machine, now: Instant::ZERO, lanes, lane: 0, in_burst: 0, item: black_box(item), handed_off };
        workload.produce(case.slots);
        workload.hand_off();
        // Slots that come back in this order are used again in this order, and no two neighbours follow each other.
        let slots = &workload.handed_off;
        workload.handed_off = (0..case.slots).map(|at| slots[at * 7_919 % case.slots]).collect();
        workload.report();
        workload.run(case.lanes * case.burst);
        assert!(workload.machine.is_empty() && workload.machine.stats().high_water == case.slots);
        workload
    }

    /// Brings that many records, rounded up to [`IN_FLIGHT`], from produce to completed.
    pub fn run(&mut self, records: usize) {
        for _ in 0..records.div_ceil(IN_FLIGHT) {
            self.produce(IN_FLIGHT);
            self.hand_off();
            self.report();
        }
    }

    /// Does for that many records what a caller does apart from the machine: makes them, keeps them, looks through them.
    pub fn run_without_machine(&mut self, records: usize) {
        for _ in 0..records.div_ceil(IN_FLIGHT) {
            for at in 0..IN_FLIGHT as u32 {
                let item = self.next_item();
                self.handed_off.push((SlotId::new(at, 0), item));
            }
            let indices = black_box(&self.handed_off).iter().map(|(slot, _)| slot.index());
            black_box(indices.fold(0, |all, index| all ^ index));
            self.handed_off.clear();
        }
    }

    fn produce(&mut self, records: usize) {
        for _ in 0..records {
            let item = self.next_item();
            let ticket = Ticket { cell: NonZeroU32::MIN, place: self.lane as u32 };
            let accepted = self.machine.produce(self.now, item, ticket);
            assert!(accepted.is_ok(), "{}: refused", self.case.name);
        }
    }

    fn next_item(&mut self) -> Item {
        self.now = self.now + STEP;
        let lane = self.lanes[self.lane];
        self.in_burst += 1;
        if self.in_burst == self.case.burst {
            self.in_burst = 0;
            self.lane = if self.lane + 1 == self.lanes.len() { 0 } else { self.lane + 1 };
        }
        Item { lane, ..self.item }
    }

    /// Hands everything off, with all the calls that the contract asks for.
    fn hand_off(&mut self) {
        self.now = self.now + self.case.linger;
        loop {
            let expired = self.machine.poll_expired(self.now);
            assert!(expired.is_none(), "{}: expired", self.case.name);
            let handed_off = &mut self.handed_off;
            let each = |slot, item, _| {
                handed_off.push((slot, item));
                None
            };
            let Some(batch) = self.machine.poll_batch(self.now, each) else {
                return;
            };
            let returned = self.machine.handle_settled(&batch);
            assert!(returned.is_none(), "{}: returned", self.case.name);
            black_box(self.machine.poll_timeout());
        }
    }

    fn report(&mut self) {
        let mut cells = 0;
        for (slot, _) in black_box(&self.handed_off) {
            let Some(completed) = self.machine.handle_report(*slot) else {
                panic!("{}: a stale report", self.case.name)
            };
            cells ^= completed.ticket.cell.get() ^ completed.ticket.place;
        }
        black_box(cells);
        self.handed_off.clear();
    }
}
