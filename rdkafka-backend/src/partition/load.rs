//! What librdkafka holds of each partition, and whether the partition's leader answers.
//!
//! Worker threads count what they hand off, and the thread that reads reports counts what has ended. Both count per group of records
//! of one partition, not per record.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::partition::table::Table;

/// Room for 131,064 partitions. Those above it count as empty.
const CHUNKS: usize = 14;

/// The records of a topic at librdkafka, by partition.
pub(super) struct Loads {
    partitions: Table<Load, CHUNKS>,
    /// Nanoseconds without an answer until a partition is silent; `u64::MAX` for never.
    timeout: u64,
    start: Instant,
}

#[derive(Default)]
struct Load {
    /// Records that librdkafka has accepted, and those that it has reported. A report may be counted before its hand-off. Both wrap.
    sent: AtomicU32,
    ended: AtomicU32,
    /// Nanoseconds from the start to the last answer, or to the hand-off after which there was something to answer; shifted by one
    /// bit. With the bit [`SUSPECT`], the time when records ended without an answer.
    progress: AtomicU64,
}

/// The partition was silent, and its records have ended without an answer since.
const SUSPECT: u64 = 1;

impl Loads {
    /// A partition is silent after `timeout` without an answer. No time is before `start`.
    pub(super) fn new(timeout: Option<Duration>, start: Instant) -> Self {
        let timeout = timeout.map_or(u64::MAX, nanoseconds);
        Self { partitions: Table::new(), timeout, start }
    }

    /// librdkafka has accepted `count` records. `now` is called if the partition had none.
    pub(super) fn sent(&self, partition: i32, count: usize, now: impl FnOnce() -> Instant) {
        let Some(load) = index(partition).and_then(|index| self.partitions.get_or_default(index)) else { return };
        // The time comes first, so a thread that sees the records sees their time, too.
        if load.outstanding() == 0 {
            let progress = load.progress.load(Ordering::Relaxed);
            if progress & SUSPECT == 0 {
                load.progress.store(self.time(now()) << 1, Ordering::Relaxed);
            }
        }
        load.sent.fetch_add(count as u32, Ordering::Release);
    }

    /// librdkafka has reported `count` records; `answered` says whether a broker has decided their outcome. Returns whether a silent
    /// partition answers again.
    pub(super) fn ended(&self, partition: i32, count: u32, answered: bool, now: Instant) -> bool {
        let Some(load) = index(partition).and_then(|index| self.partitions.get_or_default(index)) else { return false };
        let now = self.time(now);
        let was_silent = load.is_silent(now, self.timeout);
        if answered {
            load.progress.store(now << 1, Ordering::Relaxed);
        } else if was_silent {
            load.progress.store(now << 1 | SUSPECT, Ordering::Relaxed);
        }
        load.ended.fetch_add(count, Ordering::Release);
        answered && was_silent
    }

    /// The number of records that librdkafka has accepted and not reported.
    pub(super) fn outstanding(&self, partition: i32) -> u32 {
        self.load(partition).map_or(0, Load::outstanding)
    }

    /// Whether records of the partition have waited for too long without an answer. A partition whose records have ended like that is
    /// silent, too. When the time has passed once more it may be tried: it is not silent until it gets records.
    pub(super) fn is_silent(&self, partition: i32, now: Instant) -> bool {
        self.load(partition).is_some_and(|load| load.is_silent(self.time(now), self.timeout))
    }

    fn load(&self, partition: i32) -> Option<&Load> {
        self.partitions.get(index(partition)?)
    }

    fn time(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.start))
    }
}

impl Load {
    fn outstanding(&self) -> u32 {
        let sent = self.sent.load(Ordering::Acquire);
        let outstanding = sent.wrapping_sub(self.ended.load(Ordering::Acquire));
        u32::try_from(outstanding.cast_signed()).unwrap_or(0)
    }

    fn is_silent(&self, now: u64, timeout: u64) -> bool {
        let waits = self.outstanding() > 0;
        let progress = self.progress.load(Ordering::Relaxed);
        let is_overdue = now.saturating_sub(progress >> 1) >= timeout;
        if progress & SUSPECT == 0 { waits && is_overdue } else { waits || !is_overdue }
    }
}

fn index(partition: i32) -> Option<usize> {
    usize::try_from(partition).ok()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const MOMENT: Duration = Duration::from_nanos(1);

    fn loads() -> (Loads, Instant) {
        let loads = Loads::new(Some(TIMEOUT), Instant::now());
        let start = loads.start;
        (loads, start)
    }

    #[test]
    fn a_partition_is_silent_after_the_timeout_without_an_answer_and_until_the_next_one() {
        let (loads, start) = loads();
        assert!(!loads.is_silent(3, start + TIMEOUT * 9), "it has no records");
        let handed_off = start + TIMEOUT * 5;
        loads.sent(3, 10, || handed_off);
        assert!(!loads.is_silent(3, handed_off + TIMEOUT - MOMENT));
        assert!(loads.is_silent(3, handed_off + TIMEOUT));
        loads.sent(3, 10, || panic!("it has records"));
        assert!(loads.is_silent(3, handed_off + TIMEOUT), "more records are no answer");
        assert_eq!(loads.outstanding(3), 20);
        let answered = handed_off + TIMEOUT * 3;
        assert!(loads.ended(3, 1, true, answered), "it answers again");
        assert!(!loads.is_silent(3, answered) && !loads.is_silent(3, answered + TIMEOUT - MOMENT));
        assert!(loads.is_silent(3, answered + TIMEOUT), "others still wait");
        assert!(loads.ended(3, 19, true, answered + TIMEOUT));
        assert_eq!(loads.outstanding(3), 0);
        assert!(!loads.is_silent(3, answered + TIMEOUT * 9), "nothing waits");
        assert!(!loads.ended(3, 0, true, answered + TIMEOUT * 9), "it was not silent");
    }

    #[test]
    fn the_time_counts_from_the_hand_off_if_nothing_waited_before() {
        let (loads, start) = loads();
        loads.sent(0, 1, || start);
        assert!(!loads.ended(0, 1, true, start));
        loads.sent(0, 1, || start + TIMEOUT * 7);
        assert!(!loads.is_silent(0, start + TIMEOUT * 7));
        assert!(loads.is_silent(0, start + TIMEOUT * 8));
    }

    #[test]
    fn a_failure_without_an_answer_is_no_sign_of_life() {
        let (loads, start) = loads();
        loads.sent(1, 3, || start);
        assert!(!loads.ended(1, 1, false, start + TIMEOUT / 2));
        assert!(loads.is_silent(1, start + TIMEOUT));
        let failed = start + TIMEOUT * 2;
        assert!(!loads.ended(1, 2, false, failed));
        assert_eq!(loads.outstanding(1), 0);
        assert!(loads.is_silent(1, failed) && loads.is_silent(1, failed + TIMEOUT - MOMENT));
        // It is tried, with one hand-off.
        assert!(!loads.is_silent(1, failed + TIMEOUT));
        loads.sent(1, 1, || failed + TIMEOUT);
        assert!(loads.is_silent(1, failed + TIMEOUT));
        assert!(loads.ended(1, 1, true, failed + TIMEOUT + MOMENT));
        loads.sent(1, 1, || failed + TIMEOUT * 5);
        assert!(!loads.is_silent(1, failed + TIMEOUT * 5), "it has answered");
    }

    #[test]
    fn records_that_fail_before_the_timeout_leave_no_suspicion() {
        let (loads, start) = loads();
        loads.sent(1, 3, || start);
        assert!(!loads.ended(1, 3, false, start + TIMEOUT - MOMENT));
        assert!(!loads.is_silent(1, start + TIMEOUT * 2));
    }

    #[test]
    fn a_report_may_be_counted_before_its_hand_off() {
        let (loads, start) = loads();
        assert!(!loads.ended(2, 5, true, start + TIMEOUT));
        assert_eq!(loads.outstanding(2), 0);
        assert!(!loads.is_silent(2, start + TIMEOUT * 9));
        loads.sent(2, 7, || start + TIMEOUT);
        assert_eq!(loads.outstanding(2), 2);
        assert!(!loads.is_silent(2, start + TIMEOUT) && loads.is_silent(2, start + TIMEOUT * 2));
    }

    #[test]
    fn counts_wrap_around() {
        let (loads, start) = loads();
        for _ in 0..5 {
            loads.sent(0, 0x7000_0000, || start);
            loads.ended(0, 0x7000_0000 - 1, true, start);
        }
        assert_eq!(loads.outstanding(0), 5);
    }

    #[test]
    fn without_a_timeout_and_without_a_count_no_partition_is_silent() {
        let loads = Loads::new(None, Instant::now());
        let far = loads.start + Duration::from_secs(1 << 31);
        loads.sent(0, 1, || loads.start);
        assert!(!loads.is_silent(0, far));
        assert!(!loads.ended(0, 1, false, far) && !loads.is_silent(0, far));
        for partition in [-1, i32::MAX, i32::MIN] {
            loads.sent(partition, 1, || loads.start);
            assert!(!loads.is_silent(partition, far) && !loads.ended(partition, 1, true, far));
            assert_eq!(loads.outstanding(partition), 0);
        }
    }
}
