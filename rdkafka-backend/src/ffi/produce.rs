//! Handing the records of one batch to librdkafka, which borrows their payloads until it reports them, or copies them.
//!
//! Short records are copied: they are free again after the call, and what librdkafka has of them lies beside its own part
//! of the message, which both its threads look at. Whoever hears that such a record has failed gets it from there.

use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use aioproducer_core::SlotId;
use aioproducer_core::backend::Message;
use rdkafka_sys as sys;

use super::message::NativeMessage;
use super::reports::{ALONE, COPIED, URGENT, producing};
use super::{Client, Topic};
use crate::reports::failure::{QUEUE_FULL, UNKNOWN_PARTITION};

/// The partition of a record for which librdkafka is to ask our partitioner.
pub(crate) const UNASSIGNED: i32 = -1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Ours: in its cell, or held.
    Waiting,
    /// librdkafka's. If it is in its cell, that must not be touched any more: it may be another record's already.
    Sent,
    /// Ours, refused with this code.
    Failed(i32),
    /// Given back.
    Gone,
}

/// The records of a batch on their way out, by their position in it. Reused from batch to batch.
pub(crate) struct Outgoing<R> {
    client: Arc<Client<R>>,
    entries: Vec<NativeMessage>,
    slots: Vec<SlotId>,
    fates: Vec<Fate>,
    /// The records, if librdkafka is to copy them. Entries point to them, so they stay where they are until they are given
    /// back.
    held: Vec<Option<R>>,
    /// Entries of positions that are not next to each other, for one call.
    run: Vec<NativeMessage>,
    copying: bool,
    sent: usize,
    /// librdkafka's queue was full: nothing more is sent of this batch.
    full: bool,
}

impl<R: Message> Outgoing<R> {
    pub(crate) fn new(client: Arc<Client<R>>) -> Self {
        let (entries, slots, fates, held, run) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { client, entries, slots, fates, held, run, copying: false, sent: 0, full: false }
    }

    /// Forgets the last batch.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.slots.clear();
        self.fates.clear();
        self.held.clear();
        self.copying = false;
        self.sent = 0;
        self.full = false;
    }

    /// Puts a record into its slot's cell, at the next position; hands it back if the slot is in use.
    ///
    /// # Panics
    /// When records are there that are copied.
    pub(crate) fn stage(&mut self, slot: SlotId, record: R) -> Result<&R, R> {
        assert!(!self.copying, "a batch is copied or it is not");
        let record = self.client.cells.put(slot, record)?;
        self.entries.push(entry(slot.to_bits(), record));
        self.slots.push(slot);
        self.fates.push(Fate::Waiting);
        Ok(record)
    }

    /// Whether the record of `slot` can be held: such slots can be told from others in a report.
    pub(crate) fn can_hold(slot: SlotId) -> bool {
        slot.index() < URGENT as usize
    }

    /// Holds the records of a batch, which are all to be copied. They have neither headers nor a timestamp. `alone` has
    /// their success told at once.
    ///
    /// # Panics
    /// When records are there already.
    pub(crate) fn hold(&mut self, records: impl Iterator<Item = (SlotId, R)>, alone: bool) {
        assert!(self.entries.is_empty() && self.held.is_empty(), "entries point to what is held");
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
            entry(slot.to_bits() | marks | urgent, record)
        }));
        self.fates.resize(self.slots.len(), Fate::Waiting);
    }

    /// The records that are held, in order.
    pub(crate) fn held(&self) -> impl Iterator<Item = &R> {
        self.held.iter().flatten()
    }

    /// Moves those held records that librdkafka has copied to the end of `into`.
    pub(crate) fn release(&mut self, into: &mut Vec<R>) {
        self.entries.clear();
        into.extend(self.held.drain(..).flatten());
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn all_sent(&self) -> bool {
        self.sent == self.slots.len()
    }

    /// Sends neighbours that have neither headers nor a timestamp, all to one partition.
    pub(crate) fn send_range(&mut self, topic: &Topic, partition: i32, positions: Range<usize>) {
        if self.full || self.fates[positions.clone()].iter().any(|fate| *fate != Fate::Waiting) {
            return;
        }
        let flags = self.flags();
        let entries = &mut self.entries[positions.clone()];
        let good = produce(&self.client, topic, partition, flags, entries);
        if good == entries.len() {
            self.fates[positions].fill(Fate::Sent);
            self.sent += good;
        } else {
            for position in positions {
                self.resolve(position, self.entries[position].err);
            }
        }
    }

    /// Sends the records at `positions`, which have neither headers nor a timestamp, all to one partition and in this
    /// order.
    pub(crate) fn send_positions(&mut self, topic: &Topic, partition: i32, positions: &[u32]) {
        if self.full || positions.iter().any(|position| self.fates[*position as usize] != Fate::Waiting) {
            return;
        }
        let mut run = std::mem::take(&mut self.run);
        run.clear();
        run.extend(positions.iter().map(|position| self.entries[*position as usize]));
        let _ = produce(&self.client, topic, partition, self.flags(), &mut run);
        for (position, entry) in positions.iter().zip(&run) {
            self.resolve(*position as usize, entry.err);
        }
        self.run = run;
    }

    /// Sends one record with its headers and its timestamp.
    ///
    /// # Panics
    /// When it is one of those that are copied.
    pub(crate) fn send_one(&mut self, topic: &Topic, partition: i32, position: usize) {
        assert!(!self.copying, "its record is in no cell");
        if self.full || self.fates[position] != Fate::Waiting {
            return;
        }
        // SAFETY: a waiting record was put in by us and not passed on.
        let Some(record) = (unsafe { self.client.cells.get(self.slots[position]) }) else { return };
        let code = produce_one(&self.client, topic, partition, &self.entries[position], record);
        self.resolve(position, code);
    }

    /// Fails a record that has no valid partition.
    pub(crate) fn reject(&mut self, position: usize) {
        if self.fates[position] == Fate::Waiting {
            self.resolve(position, UNKNOWN_PARTITION);
        }
    }

    /// Lets a record that met an unknown partition be sent once more; whether it did.
    pub(crate) fn reopen(&mut self, position: usize) -> bool {
        let reopened = self.fates[position] == Fate::Failed(UNKNOWN_PARTITION);
        if reopened {
            self.fates[position] = Fate::Waiting;
        }
        reopened
    }

    /// The records that were not sent, in order: with the code they failed with, or with none if they only came too late
    /// for a full queue.
    pub(crate) fn unsent(&mut self) -> impl Iterator<Item = (SlotId, Option<i32>, R)> {
        let positions = if self.all_sent() { 0..0 } else { 0..self.len() };
        positions.filter_map(|position| {
            let code = match self.fates[position] {
                Fate::Sent | Fate::Gone => return None,
                Fate::Waiting => None,
                Fate::Failed(code) => Some(code),
            };
            self.fates[position] = Fate::Gone;
            let slot = self.slots[position];
            let record = match self.held.get_mut(position) {
                Some(held) => held.take()?,
                // SAFETY: the record was not passed on, so nobody borrows from it.
                None => unsafe { self.client.cells.take(slot) }?,
            };
            Some((slot, code, record))
        })
    }

    fn flags(&self) -> c_int {
        if self.copying { sys::RD_KAFKA_MSG_F_COPY } else { 0 }
    }

    fn resolve(&mut self, position: usize, code: i32) {
        self.fates[position] = match code {
            0 => {
                self.sent += 1;
                Fate::Sent
            }
            QUEUE_FULL => {
                self.full = true;
                Fate::Waiting
            }
            code => Fate::Failed(code),
        };
    }
}

fn entry<R: Message>(opaque: u64, record: &R) -> NativeMessage {
    let (payload, len) = raw(record.payload());
    let (key, key_len) = raw(record.key());
    let opaque = ptr::without_provenance_mut(opaque as usize);
    NativeMessage { err: 0, rkt: ptr::null_mut(), partition: 0, payload, len, key, key_len, offset: 0, opaque }
}

/// `None` and empty are different: an empty slice has a dangling pointer, not a null one.
fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

/// Enqueues the entries and returns how many were accepted; each one's `err` says whether it is.
fn produce<R>(client: &Client<R>, topic: &Topic, partition: i32, flags: c_int, entries: &mut [NativeMessage]) -> usize {
    let topic = topic.handle(client.ptr());
    let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
    let entries = entries.as_mut_ptr().cast();
    // SAFETY: entries have the layout of messages. Without flags payloads are borrowed until they are reported; they
    // belong to records in their cells, where nobody moves or drops them before that. With the flag to copy, they belong to
    // records that are held during the call. Keys are copied.
    let good = producing(|| unsafe { sys::rd_kafka_produce_batch(topic, partition, flags, entries, count) });
    usize::try_from(good).unwrap_or(0)
}

/// Enqueues one record with its headers and timestamp; returns the error code.
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
    // SAFETY: as for `produce`; the headers are the callee's if it succeeds.
    let error = producing(|| unsafe { sys::rd_kafka_produceva(client.ptr(), arguments.as_ptr(), count) });
    if error.is_null() {
        return 0;
    }
    if !headers.is_null() {
        // SAFETY: the call failed, so the headers are still ours.
        unsafe { sys::rd_kafka_headers_destroy(headers) };
    }
    // SAFETY: the error is ours; it is one of librdkafka's own codes, or a topic's error, which the bindings know.
    let code = unsafe { sys::rd_kafka_error_code(error) } as i32;
    // SAFETY: once.
    unsafe { sys::rd_kafka_error_destroy(error) };
    code
}

/// A native copy of the record's headers, null if it has none.
fn headers<R: Message>(record: &R) -> *mut sys::rd_kafka_headers_t {
    let count = record.header_count();
    if count == 0 {
        return ptr::null_mut();
    }
    // SAFETY: no condition.
    let headers = unsafe { sys::rd_kafka_headers_new(count) };
    for (name, value) in (0..count).filter_map(|index| record.header(index)) {
        let (value, len) = raw(value);
        let (name, name_len) = (name.as_ptr().cast::<c_char>(), name.len() as isize);
        // SAFETY: name and value are valid for their lengths and copied; a null value needs no length.
        unsafe { sys::rd_kafka_header_add(headers, name, name_len, value, len as isize) };
    }
    headers
}
