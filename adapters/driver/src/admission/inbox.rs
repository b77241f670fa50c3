//! The fast way in: records that are accepted and that the machine does not know yet.
//!
//! While a worker is awake it is about to ask for its next batch, and until then nothing about a new record is urgent. So the
//! record is left here, under a lock that is held for a moment only. The next thread that takes the state lock, most often
//! that worker, passes all arrivals to the machine. Accepting threads and workers rarely wait for each other then, and the
//! machine's memory stays in the worker's cache.
//!
//! No more is left here than the machine has room for, so the machine never has to refuse. The inbox is shut while all workers
//! sleep, while a task waits for room, and when the producer is closed: then each record goes to the machine itself.

use aioproducer_core::{Instant, Room};

use crate::outcome::completion::FreeCells;
use crate::outcome::context::Context;
use crate::outcome::error::DeliveryError;
use crate::outcome::ticket::Ticket;
use crate::record::arena::Arena;
use crate::record::{Memory, OwnedRecord};

/// Records that are left here at most. It bounds the memory, and how long collecting them takes.
const CAPACITY: usize = 512;

/// Records that share a reading of the clock, at most. A worker is awake then, so they arrive within a moment.
const READINGS: u32 = 64;

/// An accepted record.
pub(crate) struct Arrival {
    pub(crate) record: OwnedRecord,
    pub(crate) ticket: Ticket,
    pub(crate) at: Instant,
}

pub(crate) struct Inbox {
    arrivals: Vec<Arrival>,
    bytes: usize,
    /// What the machine has room for, without the arrivals.
    room: Room,
    now: Instant,
    /// How many more records may share the last reading of the clock.
    readings: u32,
    pub(crate) memory: Memory,
    pub(crate) free_cells: FreeCells<DeliveryError, Context>,
}

impl Inbox {
    /// For `slots` records at once.
    pub(crate) fn new(arena: Arena, slots: usize) -> Self {
        Self {
            arrivals: Vec::new(),
            bytes: 0,
            room: Room::NONE,
            now: Instant::ZERO,
            readings: 0,
            memory: Memory::new(arena, slots),
            free_cells: FreeCells::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Whether one more record that counts for `size` bytes may be left here.
    pub(crate) fn admits(&self, size: usize) -> bool {
        let count = self.arrivals.len();
        count < self.room.slots.min(self.room.lanes).min(CAPACITY) && self.bytes + size <= self.room.bytes
    }

    /// The time, if it was read a moment ago.
    pub(crate) fn recent_time(&mut self) -> Option<Instant> {
        self.readings = self.readings.checked_sub(1)?;
        Some(self.now)
    }

    /// The time was read.
    pub(crate) fn set_time(&mut self, now: Instant) {
        (self.now, self.readings) = (now, READINGS);
    }

    /// Leaves a record that [`Inbox::admits`] here.
    pub(crate) fn leave(&mut self, size: usize, arrival: Arrival) {
        self.bytes += size;
        self.arrivals.push(arrival);
    }

    /// Moves all arrivals to `into`, which is empty. They are about to take room of the machine.
    pub(crate) fn collect(&mut self, into: &mut Vec<Arrival>) {
        std::mem::swap(&mut self.arrivals, into);
        self.room.slots = self.room.slots.saturating_sub(into.len());
        self.room.lanes = self.room.lanes.saturating_sub(into.len());
        self.room.bytes = self.room.bytes.saturating_sub(std::mem::take(&mut self.bytes));
    }

    /// Says what the machine has room for.
    pub(crate) fn offer(&mut self, room: Room) {
        self.room = room;
    }

    /// Closes the fast way.
    pub(crate) fn shut(&mut self) {
        self.room = Room::NONE;
        self.readings = 0;
    }
}
