//! Hands the records of one batch to librdkafka, which borrows their payloads until it reports them, or copies them.
//!
//! Short records are copied. They can be reused right after the call, and librdkafka's copy lies beside its own part of the
//! message, which both of its threads read. If such a record fails, it is restored from that copy.

use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use aioproducer_core::SlotId;
use aioproducer_core::backend::Message;
use rdkafka_sys as sys;

use super::client::Client;
use super::interceptor::producing;
use super::native_message::NativeMessage;

use super::raw_report::{ALONE, COPIED, PLACED, URGENT};
use super::topic::Topic;
use crate::failure::{QUEUE_FULL, UNKNOWN_PARTITION};

/// The partition of unassigned records: librdkafka calls our partitioner for them.
pub(crate) const UNASSIGNED: i32 = -1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It belongs to us: in its cell, or held.
    Waiting,
    /// It belongs to librdkafka. Its cell must not be accessed any more: it may hold another record already.
    Sent,
    /// It belongs to us; librdkafka refused it with this code.
    Failed(i32),
    /// It was given back.
    Returned,
}

/// The records of a batch on their way to librdkafka, by their position in the batch. Reused from batch to batch.
pub(crate) struct Outgoing<R> {
    client: Arc<Client<R>>,
    entries: Vec<NativeMessage>,
    slots: Vec<SlotId>,
    states: Vec<State>,
    /// The records, if librdkafka copies them. Entries point to them, so they are not moved until they are given back.
    held: Vec<Option<R>>,
    /// The entries of positions that are not adjacent, for one call.
    gathered: Vec<NativeMessage>,
    copying: bool,
    sent: usize,
    /// librdkafka's queue is full: no more records of this batch are sent.
    full: bool,
}

impl<R: Message> Outgoing<R> {
    pub(crate) fn new(client: Arc<Client<R>>) -> Self {
        let (entries, slots, states, held, gathered) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { client, entries, slots, states, held, gathered, copying: false, sent: 0, full: false }
    }

    /// Prepares for the next batch.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.slots.clear();
        self.states.clear();
        self.held.clear();
        self.copying = false;
        self.sent = 0;
        self.full = false;
    }

    /// Moves a record into its slot's cell, at the next position; returns it if the slot is in use.
    ///
    /// # Panics
    /// If records of this batch are held.
    pub(crate) fn stage(&mut self, slot: SlotId, record: R) -> Result<&R, R> {
        assert!(!self.copying, "a batch is either copied or borrowed");
        let record = self.client.cells.put(slot, record)?;
        self.entries.push(entry(slot.to_bits(), record));
        self.slots.push(slot);
        self.states.push(State::Waiting);
        Ok(record)
    }

    /// Whether the record of `slot` can be held. The marks in a report need the upper bits of such slots.
    pub(crate) fn can_hold(slot: SlotId) -> bool {
        slot.index() < PLACED as usize
    }

    /// Holds the records of a batch for librdkafka to copy. They have neither headers nor a timestamp. With `alone` their success
    /// is reported at once.
    ///
    /// # Panics
    /// If there are records of this batch already.
    pub(crate) fn hold(&mut self, records: impl Iterator<Item = (SlotId, R)>, alone: bool) {
        assert!(self.entries.is_empty() && self.held.is_empty(), "entries point to the held records");
        self.copying = true;
        for (slot, record) in records {
            debug_assert!(Self::can_hold(slot) && record.header_count() == 0 && record.timestamp().is_none());
            self.slots.push(slot);
            self.held.push(Some(record));
        }
        let held = self.slots.iter().zip(self.held.iter().flatten());
        let marks = if alone { COPIED | ALONE } else { COPIED };
        self.entries.extend(held.map(|(slot, record)| {
            let urgent = if record.is_urgent() { URGENT } else { 0 };
            let placed = if record.is_placed() { PLACED } else { 0 };
            entry(slot.to_bits() | marks | urgent | placed, record)
        }));
        self.states.resize(self.slots.len(), State::Waiting);
    }

    /// The held records, in order.
    pub(crate) fn held(&self) -> impl Iterator<Item = &R> {
        self.held.iter().flatten()
    }

    /// Moves the held records that librdkafka has copied to the end of `into`.
    pub(crate) fn release(&mut self, into: &mut Vec<R>) {
        self.entries.clear();
        into.extend(self.held.drain(..).flatten());
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of records that librdkafka has accepted.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    pub(crate) fn all_sent(&self) -> bool {
        self.sent == self.slots.len()
    }

    /// Sends adjacent records, which have neither headers nor a timestamp, to one partition.
    pub(crate) fn send_range(&mut self, topic: &Topic, partition: i32, positions: Range<usize>) {
        if self.full || self.states[positions.clone()].iter().any(|state| *state != State::Waiting) {
            return;
        }
        let flags = self.flags();
        let entries = &mut self.entries[positions.clone()];
        let accepted = produce(&self.client, topic, partition, flags, entries);
        if accepted == entries.len() {
            self.states[positions].fill(State::Sent);
            self.sent += accepted;
        } else {
            for position in positions {
                self.resolve(position, self.entries[position].err);
            }
        }
    }

    /// Sends the records at `positions`, which have neither headers nor a timestamp, to one partition in this order.
    pub(crate) fn send_positions(&mut self, topic: &Topic, partition: i32, positions: &[u32]) {
        if self.full || positions.iter().any(|position| self.states[*position as usize] != State::Waiting) {
            return;
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.clear();
        gathered.extend(positions.iter().map(|position| self.entries[*position as usize]));
        let _ = produce(&self.client, topic, partition, self.flags(), &mut gathered);
        for (position, entry) in positions.iter().zip(&gathered) {
            self.resolve(*position as usize, entry.err);
        }
        self.gathered = gathered;
    }

    /// Sends one record with its headers and its timestamp.
    ///
    /// # Panics
    /// If the record is held.
    pub(crate) fn send_one(&mut self, topic: &Topic, partition: i32, position: usize) {
        assert!(!self.copying, "the record is in no cell");
        if self.full || self.states[position] != State::Waiting {
            return;
        }
        // SAFETY: we put a waiting record in, and have not passed it on.
        let Some(record) = (unsafe { self.client.cells.get(self.slots[position]) }) else { return };
        let code = produce_one(&self.client, topic, partition, &self.entries[position], record);
        self.resolve(position, code);
    }

    /// Fails a record that has no valid partition.
    pub(crate) fn reject(&mut self, position: usize) {
        if self.states[position] == State::Waiting {
            self.resolve(position, UNKNOWN_PARTITION);
        }
    }

    /// Allows one more attempt for a record whose partition was unknown. Returns whether it was.
    pub(crate) fn reopen(&mut self, position: usize) -> bool {
        self.reopen_if(position, |_| true)
    }

    /// As [`reopen`](Self::reopen), if the record's partition was chosen by the backend and not by the application.
    pub(crate) fn reopen_placed(&mut self, position: usize) -> bool {
        self.reopen_if(position, R::is_placed)
    }

    fn reopen_if(&mut self, position: usize, condition: impl FnOnce(&R) -> bool) -> bool {
        if self.states[position] != State::Failed(UNKNOWN_PARTITION) {
            return false;
        }
        let record = match self.held.get(position) {
            Some(held) => held.as_ref(),
            // SAFETY: librdkafka refused the record, so it is where we put it.
            None => unsafe { self.client.cells.get(self.slots[position]) },
        };
        let reopened = record.is_some_and(condition);
        if reopened {
            self.states[position] = State::Waiting;
        }
        reopened
    }

    /// The records that were not sent, in order, with the code of their failure; without a code if the queue was full.
    pub(crate) fn unsent(&mut self) -> impl Iterator<Item = (SlotId, Option<i32>, R)> {
        let positions = if self.all_sent() { 0..0 } else { 0..self.len() };
        positions.filter_map(|position| {
            let code = match self.states[position] {
                State::Sent | State::Returned => return None,
                State::Waiting => None,
                State::Failed(code) => Some(code),
            };
            self.states[position] = State::Returned;
            let slot = self.slots[position];
            let record = match self.held.get_mut(position) {
                Some(held) => held.take()?,
                // SAFETY: the record was not passed on, so librdkafka does not borrow from it.
                None => unsafe { self.client.cells.take(slot) }?,
            };
            Some((slot, code, record))
        })
    }

    fn flags(&self) -> c_int {
        if self.copying { sys::RD_KAFKA_MSG_F_COPY } else { 0 }
    }

    fn resolve(&mut self, position: usize, code: i32) {
        self.states[position] = match code {
            0 => {
                self.sent += 1;
                State::Sent
            }
            QUEUE_FULL => {
                self.full = true;
                State::Waiting
            }
            code => State::Failed(code),
        };
    }
}

fn entry<R: Message>(opaque: u64, record: &R) -> NativeMessage {
    let (payload, len) = raw(record.payload());
    let (key, key_len) = raw(record.key());
    let opaque = ptr::without_provenance_mut(opaque as usize);
    NativeMessage { err: 0, rkt: ptr::null_mut(), partition: 0, payload, len, key, key_len, offset: 0, opaque }
}

/// `None` and empty differ: an empty slice has a dangling pointer, not a null pointer.
fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

/// Enqueues the entries. Returns the number of accepted ones; the `err` of each entry says whether it was accepted.
fn produce<R>(client: &Client<R>, topic: &Topic, partition: i32, flags: c_int, entries: &mut [NativeMessage]) -> usize {
    let topic = topic.handle(client.ptr());
    let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
    let entries = entries.as_mut_ptr().cast();
    // SAFETY: entries have the layout of messages. Without flags, payloads are borrowed until they are reported; they belong to
    // records in cells, which are neither moved nor dropped before that. With the flag to copy, they belong to records that are
    // held during the call. Keys are copied.
    let accepted = producing(|| unsafe { sys::rd_kafka_produce_batch(topic, partition, flags, entries, count) });
    usize::try_from(accepted).unwrap_or(0)
}

/// Enqueues one record with its headers and timestamp. Returns the error code.
fn produce_one<R: Message>(
    client: &Client<R>,
    topic: &Topic,
    partition: i32,
    entry: &NativeMessage,
    record: &R,
) -> i32 {
    use sys::rd_kafka_vtype_t as Kind;
    use sys::rd_kafka_vu_s__bindgen_ty_1 as Value;

    let memory = |ptr, size| Value { mem: sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size } };
    let headers = headers(record);
    let arguments = [
        sys::rd_kafka_vu_t { vtype: Kind::RD_KAFKA_VTYPE_RKT, u: Value { rkt: topic.handle(client.ptr()) } },
        sys::rd_kafka_vu_t { vtype: Kind::RD_KAFKA_VTYPE_PARTITION, u: Value { i32_: partition } },
        sys::rd_kafka_vu_t { vtype: Kind::RD_KAFKA_VTYPE_MSGFLAGS, u: Value { i: 0 } },
        sys::rd_kafka_vu_t { vtype: Kind::RD_KAFKA_VTYPE_VALUE, u: memory(entry.payload, entry.len) },
        sys::rd_kafka_vu_t { vtype: Kind::RD_KAFKA_VTYPE_KEY, u: memory(entry.key, entry.key_len) },
        sys::rd_kafka_vu_t { vtype: Kind::RD_KAFKA_VTYPE_OPAQUE, u: Value { ptr: entry.opaque } },
        sys::rd_kafka_vu_t {
            vtype: Kind::RD_KAFKA_VTYPE_TIMESTAMP,
            u: Value { i64_: record.timestamp().unwrap_or(0) },
        },
        sys::rd_kafka_vu_t { vtype: Kind::RD_KAFKA_VTYPE_HEADERS, u: Value { headers } },
    ];
    // Without headers the last argument is left out.
    let count = arguments.len() - usize::from(headers.is_null());
    // SAFETY: as in `produce`; the headers belong to the callee if it succeeds.
    let error = producing(|| unsafe { sys::rd_kafka_produceva(client.ptr(), arguments.as_ptr(), count) });
    if error.is_null() {
        return 0;
    }
    if !headers.is_null() {
        // SAFETY: the call failed, so the headers still belong to us.
        unsafe { sys::rd_kafka_headers_destroy(headers) };
    }
    // SAFETY: the error belongs to us; its code is one that the bindings know, librdkafka's own or that of a topic's error.
    let code = unsafe { sys::rd_kafka_error_code(error) } as i32;
    // SAFETY: destroyed once.
    unsafe { sys::rd_kafka_error_destroy(error) };
    code
}

/// A native copy of the record's headers; null if there are none.
fn headers<R: Message>(record: &R) -> *mut sys::rd_kafka_headers_t {
    let count = record.header_count();
    if count == 0 {
        return ptr::null_mut();
    }
    // SAFETY: the function has no preconditions.
    let headers = unsafe { sys::rd_kafka_headers_new(count) };
    for (name, value) in (0..count).filter_map(|index| record.header(index)) {
        let (value, len) = raw(value);
        let (name, name_len) = (name.as_ptr().cast::<c_char>(), name.len() as isize);
        // SAFETY: name and value are valid for their lengths, and copied; a null value needs no length.
        unsafe { sys::rd_kafka_header_add(headers, name, name_len, value, len as isize) };
    }
    headers
}
