//! Counters, gauges and histograms. `docs/metrics.md` has their names, units and meaning.
//!
//! Gauges are reported as changes, which add up in whatever order threads report them, and over all producers of a name.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Instant;

use aioproducer_core::MessageBatch;
use aioproducer_core::backend::{Failure, FailureKind, Status};
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Unit};

use super::changes::CallbackChange;
use super::counts::PoolCounts;
use super::health::Health;
use super::leaders::LeaderMeters;
use super::names::{SUBSCRIBER, kind_name, status_name};
use crate::runtime::panics::{Panics, discard};
use crate::runtime::sync::{Mutex, lock};

/// A name, a unit and what it means.
pub(super) type Meaning = (&'static str, Unit, &'static str);

const COUNTERS: [Meaning; 9] = [
    ("aioproducer_records_accepted_total", Unit::Count, "records that got a slot"),
    ("aioproducer_batches_total", Unit::Count, "batches handed to the backend"),
    ("aioproducer_stale_reports_total", Unit::Count, "delivery reports that named no record in flight"),
    ("aioproducer_records_dropped_total", Unit::Count, "records that the overflow policy dropped"),
    ("aioproducer_records_delivered_total", Unit::Count, "records that were delivered"),
    ("aioproducer_records_retracted_total", Unit::Count, "records that were taken back"),
    ("aioproducer_callbacks_panicked_total", Unit::Count, "callbacks that panicked"),
    ("aioproducer_callbacks_stalled_total", Unit::Count, "how often callbacks took too long"),
    (FAILED, Unit::Count, "records that failed, by kind and status"),
];

/// Those that the machine counts, the first of all.
const MACHINE: usize = 4;
const DELIVERED: usize = 4;
const RETRACTED: usize = 5;
const PANICKED: usize = 6;
const STALLED: usize = 7;
/// Those that have no labels of their own.
const PLAIN: usize = 8;

const FAILED: &str = "aioproducer_records_failed_total";

const GAUGES: [Meaning; 9] = [
    ("aioproducer_pool_slots", Unit::Count, "slots of the pool"),
    ("aioproducer_pool_slots_in_use", Unit::Count, "records without an outcome, and overdue ones"),
    ("aioproducer_pool_slots_high_water", Unit::Count, "the most slots that were in use at once"),
    ("aioproducer_pool_bytes", Unit::Bytes, "bytes of the records in use"),
    ("aioproducer_records_buffered", Unit::Count, "records that wait to be handed to the backend"),
    ("aioproducer_records_handed_off", Unit::Count, "records in the backend's hands"),
    (
        "aioproducer_records_overdue",
        Unit::Count,
        "records that failed because the backend did not report them, and keeps them",
    ),
    ("aioproducer_pool_waiters", Unit::Count, "tasks that wait for room"),
    ("aioproducer_callbacks_waiting", Unit::Count, "callbacks that wait for their turn, or run"),
];

const CALLBACKS: usize = 8;

const HISTOGRAMS: [Meaning; 5] = [
    ("aioproducer_queue_seconds", Unit::Seconds, "from acceptance to hand-off, for each record"),
    ("aioproducer_delivery_seconds", Unit::Seconds, "from acceptance to report, for each delivered record"),
    ("aioproducer_batch_records", Unit::Count, "records in a batch"),
    ("aioproducer_batch_bytes", Unit::Bytes, "bytes in a batch"),
    ("aioproducer_batch_fill_ratio", Unit::Count, "how full a batch is, by records or bytes"),
];

const QUEUE: usize = 0;
const DELIVERY: usize = 1;
const BATCH: usize = 2;

pub(super) const METADATA: Metadata<'static> = Metadata::new("aioproducer", Level::INFO, Some(module_path!()));

#[derive(Clone, Debug, Default)]
pub(crate) struct MeterOptions {
    pub(crate) name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(Option<Instant>);

impl Time {
    pub(crate) const NONE: Self = Self(None);

    #[inline]
    pub(crate) fn now() -> Self {
        Self(Some(Instant::now()))
    }

    /// In seconds.
    fn since(self, earlier: Self) -> Option<f64> {
        Some(self.0?.saturating_duration_since(earlier.0?).as_secs_f64())
    }
}

/// What is to be reported.
#[derive(Default)]
pub(crate) struct MeterNotes {
    counters: [u64; PLAIN],
    gauges: [i64; GAUGES.len()],
    queue: Vec<f64>,
    delivery: Vec<f64>,
    /// Records, bytes and fill.
    batches: Vec<[f64; 3]>,
    failed: Vec<(FailureKind, Status)>,
}

impl MeterNotes {
    pub(crate) fn failed(&mut self, failure: Failure) {
        self.failed.push((failure.kind, failure.status));
    }

    pub(crate) fn callbacks(&mut self, change: CallbackChange) {
        self.gauges[CALLBACKS] += change.waiting;
        self.counters[PANICKED] += change.panicked;
        self.counters[STALLED] += change.stalled;
    }
}

/// The handles of one producer, made once.
pub(crate) struct Meters {
    labels: Vec<Label>,
    counters: [Counter; PLAIN],
    gauges: [Gauge; GAUGES.len()],
    histograms: [Histogram; HISTOGRAMS.len()],
    /// Made when needed, by status and kind.
    failed: [OnceLock<Counter>; 3 * KINDS],
    reported: Mutex<ReportedGauges>,
    leaders: LeaderMeters,
}

/// Kinds of failures, and one for kinds that a later version adds.
const KINDS: usize = 15;

#[derive(Default)]
struct ReportedGauges {
    counters: [u64; MACHINE],
    gauges: [i64; GAUGES.len()],
}

impl Meters {
    pub(crate) fn new(options: MeterOptions, slots: usize) -> Self {
        let labels: Vec<Label> = options.name.map(|name| Label::new("producer", name)).into_iter().collect();
        metrics::with_recorder(|recorder| {
            let described = |name: &'static str, unit: Unit| (name.into(), Some(unit));
            for (name, unit, meaning) in COUNTERS {
                let (name, unit) = described(name, unit);
                recorder.describe_counter(name, unit, meaning.into());
            }
            for (name, unit, meaning) in GAUGES {
                let (name, unit) = described(name, unit);
                recorder.describe_gauge(name, unit, meaning.into());
            }
            for (name, unit, meaning) in HISTOGRAMS {
                let (name, unit) = described(name, unit);
                recorder.describe_histogram(name, unit, meaning.into());
            }
            let key = |(name, ..): Meaning| Key::from_parts(name, labels.clone());
            let meters = Self {
                counters: std::array::from_fn(|at| recorder.register_counter(&key(COUNTERS[at]), &METADATA)),
                gauges: GAUGES.map(|gauge| recorder.register_gauge(&key(gauge), &METADATA)),
                histograms: HISTOGRAMS.map(|histogram| recorder.register_histogram(&key(histogram), &METADATA)),
                failed: std::array::from_fn(|_| OnceLock::new()),
                reported: Mutex::new(ReportedGauges::default()),
                leaders: LeaderMeters::new(recorder, &labels),
                labels: labels.clone(),
            };
            let mut gauges = [0; GAUGES.len()];
            gauges[0] = i64::try_from(slots).unwrap_or(i64::MAX);
            meters.change(&gauges);
            lock(&meters.reported).gauges = gauges;
            meters
        })
    }

    /// A batch was handed off. `accepted` has the times when its records were accepted, `most` the most records and bytes
    /// that a batch may have.
    pub(crate) fn handed_off(
        &self,
        batch: &MessageBatch,
        most: (u32, usize),
        accepted: impl Iterator<Item = Time>,
        notes: &mut MeterNotes,
    ) {
        let now = Time::now();
        notes.queue.extend(accepted.filter_map(|accepted| now.since(accepted)));
        let (len, bytes) = (batch.len() as f64, batch.bytes() as f64);
        let fill = (len / f64::from(most.0)).max(bytes / most.1.max(1) as f64);
        notes.batches.push([len, bytes, fill.min(1.0)]);
    }

    pub(crate) fn delivered(&self, accepted: Time, now: Time, notes: &mut MeterNotes) {
        if let Some(seconds) = now.since(accepted) {
            notes.counters[DELIVERED] += 1;
            notes.delivery.push(seconds);
        }
    }

    /// Calls recorders.
    pub(crate) fn health(&self, health: &Health, panics: &Panics) {
        panics.catch(SUBSCRIBER, || self.leaders.report(health));
    }

    pub(crate) fn retracted(&self) {
        self.counters[RETRACTED].increment(1);
    }

    /// Notes how the pool has changed. Called under the state lock, so that no thread notes an earlier state later.
    pub(crate) fn gather(&self, pool: PoolCounts, notes: &mut MeterNotes) {
        let PoolCounts { machine, waiters } = pool;
        let reported = &mut *lock(&self.reported);
        let counters = [machine.acquired, machine.batches, machine.stale_reports, machine.dropped];
        for (at, counter) in counters.into_iter().enumerate() {
            notes.counters[at] += counter - std::mem::replace(&mut reported.counters[at], counter);
        }
        let gauges = [
            machine.capacity,
            machine.in_use,
            machine.high_water,
            machine.bytes,
            machine.buffered,
            machine.handed_off,
            machine.overdue,
            waiters,
        ];
        for (at, gauge) in gauges.into_iter().enumerate() {
            let gauge = i64::try_from(gauge).unwrap_or(i64::MAX);
            notes.gauges[at] += gauge - std::mem::replace(&mut reported.gauges[at], gauge);
        }
    }

    /// Calls recorders. One that panics misses some of the changes.
    pub(crate) fn emit(&self, notes: &mut MeterNotes, panics: &Panics) {
        for (counter, count) in self.counters.iter().zip(&mut notes.counters) {
            if *count > 0 {
                panics.catch(SUBSCRIBER, || counter.increment(std::mem::take(count)));
            }
        }
        let gauges = std::mem::take(&mut notes.gauges);
        panics.catch(SUBSCRIBER, || self.change(&gauges));
        let record = |histogram: &Histogram, values: &mut Vec<f64>| {
            panics.catch(SUBSCRIBER, || values.drain(..).for_each(|value| histogram.record(value)));
        };
        record(&self.histograms[QUEUE], &mut notes.queue);
        record(&self.histograms[DELIVERY], &mut notes.delivery);
        panics.catch(SUBSCRIBER, || {
            for batch in notes.batches.drain(..) {
                self.histograms[BATCH..].iter().zip(batch).for_each(|(histogram, value)| histogram.record(value));
            }
        });
        panics.catch(SUBSCRIBER, || {
            notes.failed.drain(..).for_each(|(kind, status)| self.failed(kind, status).increment(1));
        });
    }

    fn change(&self, changes: &[i64; GAUGES.len()]) {
        self.gauges.iter().zip(changes).for_each(|(gauge, change)| change_gauge(gauge, *change));
    }

    fn failed(&self, kind: FailureKind, status: Status) -> &Counter {
        let place = 3 * (kind as usize).min(KINDS - 1) + status as usize;
        self.failed[place].get_or_init(|| {
            let mut labels = self.labels.clone();
            labels.push(Label::from_static_parts("kind", kind_name(kind)));
            labels.push(Label::from_static_parts("status", status_name(status)));
            let key = Key::from_parts(FAILED, labels);
            metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
        })
    }
}

/// What is reported as changes adds up over the producers that share a gauge.
pub(super) fn change_gauge(gauge: &Gauge, change: i64) {
    match change {
        0 => {}
        1.. => gauge.increment(change as f64),
        _ => gauge.decrement(change.unsigned_abs() as f64),
    }
}

/// A producer that is gone holds nothing: its gauges go back.
impl Drop for Meters {
    fn drop(&mut self) {
        let held = lock(&self.reported).gauges;
        // The last reference may be dropped on a thread of the backend.
        let changed = catch_unwind(AssertUnwindSafe(|| {
            self.change(&held.map(|gauge| -gauge));
            self.leaders.report(&Health::default());
        }));
        changed.unwrap_or_else(discard);
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::super::leaders::LEADER_GAUGES;
    use super::*;

    #[test]
    fn the_table_has_what_there_is() {
        let table = include_str!("../../../../docs/metrics.md");
        let unit = |unit: Unit| match unit {
            Unit::Bytes => "bytes",
            Unit::Seconds => "seconds",
            _ => "–",
        };
        let kinds = [
            ("counter", &COUNTERS[..]),
            ("gauge", &GAUGES[..]),
            ("gauge", &LEADER_GAUGES[..]),
            ("histogram", &HISTOGRAMS[..]),
        ];
        let mut known = 0;
        for (kind, meanings) in kinds {
            for (name, each, meaning) in meanings {
                let line = table.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
                let line = line.unwrap_or_else(|| panic!("{name} is not in the table"));
                let cells: Vec<_> = line.split('|').map(str::trim).collect();
                assert_eq!(cells[2], kind, "{name}");
                // A ratio and a count have no unit.
                assert_eq!(cells[3].trim_matches('–').is_empty(), unit(*each) == "–", "{name}");
                assert!(cells[5].starts_with(meaning), "{name}: {}", cells[5]);
                known += 1;
            }
        }
        let rows = table.lines().filter(|line| line.starts_with("| `aioproducer_")).count();
        assert_eq!(rows, known, "the table has what is not there");
    }

    #[test]
    fn each_kind_of_failure_has_a_counter_of_its_own() {
        assert!((FailureKind::Broker as usize) < KINDS - 1);
        assert_eq!(Status::Persisted as usize, 2);
    }
}
