//! What librdkafka holds of each partition, and whether the partition's leader answers.
//!
//! Worker threads count what they hand off, and the thread that reads reports counts what has ended. Both count per group of records
//! of one partition, not per record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aioproducer_core::TopicId;
use aioproducer_core::backend::PartitionLoad;

use crate::partition::leaders::Leaders;
use crate::partition::table::Table;
use crate::partition::watch::Change;

/// Room for 131,064 partitions. Those above it count as empty.
const CHUNKS: usize = 14;

/// The records of a topic at librdkafka, by partition.
pub(super) struct Loads {
    partitions: Table<Load, CHUNKS>,
    leaders: Arc<Leaders>,
}

#[derive(Default)]
struct Load {
    /// Records that librdkafka has accepted, and those that it has reported. A report may be counted before its hand-off. Both wrap.
    sent: AtomicU32,
    ended: AtomicU32,
    /// Nanoseconds from the start to the last answer, or to the hand-off after which there was something to answer; shifted by one
    /// bit. With the bit [`SUSPECT`], the time when records ended without an answer.
    progress: AtomicU64,
    /// The number of the broker that has answered last, plus one; 0 if none has.
    leader: AtomicU32,
    /// How many records it is known to answer at once.
    window: AtomicU32,
    /// When a broker has answered last.
    answered: AtomicU64,
    /// Since when it counts as unavailable for [`Loads::look`]; 0 if it does not.
    unavailable_since: AtomicU64,
}

/// A broker has decided the outcome of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The broker's id, if it is known.
    pub(crate) broker: Option<i32>,
}

/// The partition was silent, and its records have ended without an answer since.
const SUSPECT: u64 = 1;

/// A partition with many records may be silent for this part of the timeout,
const CROWDED: u64 = 10;

/// and one that was not known to answer so many may have this much more.
const CROWDS: u32 = 4;

impl Loads {
    pub(super) fn new(leaders: Arc<Leaders>) -> Self {
        Self { partitions: Table::new(), leaders }
    }

    /// librdkafka has accepted `count` records. `now` is called if the partition had none, which is returned.
    pub(super) fn sent(&self, partition: i32, count: usize, now: impl FnOnce() -> Instant) -> bool {
        let Some(load) = index(partition).and_then(|index| self.partitions.get_or_default(index)) else { return false };
        let had_none = load.outstanding() == 0;
        // The time comes first, so a thread that sees the records sees their time, too.
        if had_none {
            let progress = load.progress.load(Ordering::Relaxed);
            if progress & SUSPECT == 0 {
                load.progress.store(self.leaders.time(now()) << 1, Ordering::Relaxed);
            }
        }
        // In one order with what the watch reads and writes.
        load.sent.fetch_add(count as u32, Ordering::SeqCst);
        load.shrink();
        had_none
    }

    /// librdkafka has reported `count` records, whose outcome a broker has decided if there is an `answer`. Returns whether a silent
    /// partition answers again.
    pub(super) fn ended(&self, partition: i32, count: u32, answer: Option<Answer>, now: Instant) -> bool {
        let Some(load) = index(partition).and_then(|index| self.partitions.get_or_default(index)) else { return false };
        let now = self.leaders.time(now);
        let was_silent = load.is_silent(now, self.leaders.timeout());
        if let Some(Answer { broker }) = answer {
            if let Some(broker) = broker
                && let Some(number) = self.leaders.answered(load.leader(), broker, now)
            {
                load.leader.store(number as u32 + 1, Ordering::Relaxed);
            }
            load.progress.store(now << 1, Ordering::Relaxed);
            load.answered.store(now, Ordering::Relaxed);
            load.grow(count);
        } else if was_silent {
            load.progress.store(now << 1 | SUSPECT, Ordering::Relaxed);
        }
        load.ended.fetch_add(count, Ordering::Release);
        answer.is_some() && was_silent
    }

    /// Whether a partition leaves so much without an answer that others have less room: it does so for the timeout, or for a part of it
    /// with more than `crowd` records, or has several times as many and more than it is known to answer.
    pub(super) fn holds_up(&self, partition: i32, crowd: u32, now: Instant) -> bool {
        let (now, timeout) = (self.leaders.time(now), self.leaders.timeout());
        self.load(partition).is_some_and(|load| {
            let (outstanding, window) = (load.outstanding(), load.window.load(Ordering::Relaxed));
            load.is_silent(now, timeout)
                || outstanding > crowd && load.is_silent(now, timeout / CROWDED)
                || outstanding > crowd.saturating_mul(CROWDS) && outstanding > window
        })
    }

    /// The number of records that librdkafka has accepted and not reported.
    pub(super) fn outstanding(&self, partition: i32) -> u32 {
        self.load(partition).map_or(0, Load::outstanding)
    }

    /// Whether records of the partition have waited for too long without an answer. A partition whose records have ended like that is
    /// silent, too. When the time has passed once more it may be tried: it is not silent until it gets records.
    pub(super) fn is_silent(&self, partition: i32, now: Instant) -> bool {
        self.load(partition).is_some_and(|load| load.is_silent(self.leaders.time(now), self.leaders.timeout()))
    }

    /// Whether another partition of the same leader is silent, and the leader does not answer for any.
    pub(super) fn has_silent_leader(&self, partition: i32, now: Instant) -> bool {
        let now = self.leaders.time(now);
        self.leaders.may_be_silent(now)
            && self.leader(partition).is_some_and(|number| self.leaders.is_silent(number, now))
    }

    /// A partition was found silent.
    pub(super) fn found_silent(&self, partition: i32, now: Instant) {
        if let Some(number) = self.leader(partition) {
            self.leaders.has_silent_partition(number, self.leaders.time(now));
        }
    }

    /// Notes the leaders of the partitions that are silent; not of those that may be tried, as they would not be then.
    pub(super) fn note_silent(&self, now: Instant) {
        for (partition, load) in self.used() {
            if load.is_silent(self.leaders.time(now), self.leaders.timeout()) {
                self.found_silent(partition as i32, now);
            }
        }
    }

    /// Adds what has changed since the last call: partitions that have become unavailable, or are answered again. Leaders with silent
    /// partitions were [noted](Self::note_silent). Returns when a partition may become unavailable, if it is not answered before.
    ///
    /// One that ended up without records, but not with an answer, stays unavailable here until there is one.
    pub(super) fn look(&self, topic: TopicId, now: Instant, changes: &mut Vec<Change>) -> Option<Instant> {
        let (time, timeout) = (self.leaders.time(now), self.leaders.timeout());
        let mut next = None;
        for (partition, load) in self.used() {
            let partition = partition as i32;
            let (records, progress) = (load.outstanding(), load.progress.load(Ordering::Relaxed) >> 1);
            let leader = load.leader().and_then(|number| self.leaders.answer(number));
            let answered = leader.map_or(0, |(_, at)| at).max(load.answered.load(Ordering::Relaxed));
            let is_silent = load.is_without_answer(time, timeout);
            let since = load.unavailable_since.load(Ordering::Relaxed);
            let (is_available, from) = match since {
                0 => (false, if is_silent { progress } else { answered }),
                since => (true, since),
            };
            let changes_now = match since {
                0 => is_silent || self.has_silent_leader(partition, now),
                since => !is_silent && answered > since,
            };
            if changes_now {
                load.unavailable_since.store(if is_available { 0 } else { time.max(1) }, Ordering::Relaxed);
                let (leader, records) = (leader.map(|(id, _)| id), records as usize);
                let unanswered = Duration::from_nanos(time.saturating_sub(from));
                changes.push(Change { topic, partition, leader, is_available, time: unanswered, records });
            }
            if records > 0 {
                let due = if is_silent { time } else { progress }.saturating_add(timeout);
                next = next.into_iter().chain([due]).min();
            }
        }
        next.map(|due| self.leaders.start() + Duration::from_nanos(due))
    }

    fn used(&self) -> impl Iterator<Item = (usize, &Load)> {
        self.partitions.iter().filter(|(_, load)| load.sent.load(Ordering::Relaxed) != 0)
    }

    /// The partitions that were used, in the order of their numbers.
    pub(super) fn all(&self, topic: TopicId, now: Instant) -> impl Iterator<Item = PartitionLoad> {
        self.used().map(move |(partition, load)| {
            let (partition, time) = (partition as i32, self.leaders.time(now));
            let since = |then: u64| Duration::from_nanos(time.saturating_sub(then));
            let leader = load.leader().and_then(|number| self.leaders.answer(number));
            let records = load.outstanding() as usize;
            let unanswered = since(load.progress.load(Ordering::Relaxed) >> 1);
            PartitionLoad::new(topic, partition)
                .led_by(leader.map(|(id, _)| id))
                .with_records(records, (records > 0).then_some(unanswered))
                .answered(leader.map(|(_, answered)| since(answered)))
                .passed_over(self.is_silent(partition, now) || self.has_silent_leader(partition, now))
        })
    }

    fn leader(&self, partition: i32) -> Option<usize> {
        self.load(partition)?.leader()
    }

    fn load(&self, partition: i32) -> Option<&Load> {
        self.partitions.get(index(partition)?)
    }
}

impl Load {
    fn leader(&self) -> Option<usize> {
        self.leader.load(Ordering::Relaxed).checked_sub(1).map(|number| number as usize)
    }

    /// Records were answered: their number may double with each round trip. Threads that meet here may lose some of it.
    fn grow(&self, count: u32) {
        let window = self.window.load(Ordering::Relaxed);
        self.window.store(window.saturating_add(count.saturating_mul(2)), Ordering::Relaxed);
    }

    /// Records were sent: what is not needed any more is forgotten little by little.
    fn shrink(&self) {
        let window = self.window.load(Ordering::Relaxed);
        if self.outstanding() < window / 8 {
            self.window.store(window - window / 64, Ordering::Relaxed);
        }
    }

    fn outstanding(&self) -> u32 {
        let sent = self.sent.load(Ordering::Acquire);
        let outstanding = sent.wrapping_sub(self.ended.load(Ordering::Acquire));
        u32::try_from(outstanding.cast_signed()).unwrap_or(0)
    }

    /// Whether it is silent, or may be tried after it was.
    fn is_without_answer(&self, now: u64, timeout: u64) -> bool {
        self.progress.load(Ordering::Relaxed) & SUSPECT != 0 || self.is_silent(now, timeout)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const MOMENT: Duration = Duration::from_nanos(1);
    const ANSWER: Option<Answer> = Some(Answer { broker: None });

    fn loads() -> (Loads, Instant) {
        let start = Instant::now();
        (Loads::new(Arc::new(Leaders::new(Some(TIMEOUT), start))), start)
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
        assert!(loads.ended(3, 1, ANSWER, answered), "it answers again");
        assert!(!loads.is_silent(3, answered) && !loads.is_silent(3, answered + TIMEOUT - MOMENT));
        assert!(loads.is_silent(3, answered + TIMEOUT), "others still wait");
        assert!(loads.ended(3, 19, ANSWER, answered + TIMEOUT));
        assert_eq!(loads.outstanding(3), 0);
        assert!(!loads.is_silent(3, answered + TIMEOUT * 9), "nothing waits");
        assert!(!loads.ended(3, 0, ANSWER, answered + TIMEOUT * 9), "it was not silent");
    }

    #[test]
    fn the_time_counts_from_the_hand_off_if_nothing_waited_before() {
        let (loads, start) = loads();
        loads.sent(0, 1, || start);
        assert!(!loads.ended(0, 1, ANSWER, start));
        loads.sent(0, 1, || start + TIMEOUT * 7);
        assert!(!loads.is_silent(0, start + TIMEOUT * 7));
        assert!(loads.is_silent(0, start + TIMEOUT * 8));
    }

    #[test]
    fn a_failure_without_an_answer_is_no_sign_of_life() {
        let (loads, start) = loads();
        loads.sent(1, 3, || start);
        assert!(!loads.ended(1, 1, None, start + TIMEOUT / 2));
        assert!(loads.is_silent(1, start + TIMEOUT));
        let failed = start + TIMEOUT * 2;
        assert!(!loads.ended(1, 2, None, failed));
        assert_eq!(loads.outstanding(1), 0);
        assert!(loads.is_silent(1, failed) && loads.is_silent(1, failed + TIMEOUT - MOMENT));
        // It is tried, with one hand-off.
        assert!(!loads.is_silent(1, failed + TIMEOUT));
        loads.sent(1, 1, || failed + TIMEOUT);
        assert!(loads.is_silent(1, failed + TIMEOUT));
        assert!(loads.ended(1, 1, ANSWER, failed + TIMEOUT + MOMENT));
        loads.sent(1, 1, || failed + TIMEOUT * 5);
        assert!(!loads.is_silent(1, failed + TIMEOUT * 5), "it has answered");
    }

    #[test]
    fn records_that_fail_before_the_timeout_leave_no_suspicion() {
        let (loads, start) = loads();
        loads.sent(1, 3, || start);
        assert!(!loads.ended(1, 3, None, start + TIMEOUT - MOMENT));
        assert!(!loads.is_silent(1, start + TIMEOUT * 2));
    }

    #[test]
    fn a_report_may_be_counted_before_its_hand_off() {
        let (loads, start) = loads();
        assert!(!loads.ended(2, 5, ANSWER, start + TIMEOUT));
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
            loads.ended(0, 0x7000_0000 - 1, ANSWER, start);
        }
        assert_eq!(loads.outstanding(0), 5);
    }

    #[test]
    fn without_a_timeout_and_without_a_count_no_partition_is_silent() {
        let start = Instant::now();
        let loads = Loads::new(Arc::new(Leaders::new(None, start)));
        let far = start + Duration::from_secs(1 << 31);
        loads.sent(0, 1, || start);
        assert!(!loads.is_silent(0, far));
        assert!(!loads.ended(0, 1, None, far) && !loads.is_silent(0, far));
        for partition in [-1, i32::MAX, i32::MIN] {
            loads.sent(partition, 1, || start);
            assert!(!loads.is_silent(partition, far) && !loads.ended(partition, 1, ANSWER, far));
            assert_eq!(loads.outstanding(partition), 0);
        }
    }

    #[test]
    fn the_leader_of_a_silent_partition_is_silent_for_its_other_partitions() {
        let start = Instant::now();
        let leaders = Arc::new(Leaders::new(Some(TIMEOUT), start));
        let (one, other) = (Loads::new(Arc::clone(&leaders)), Loads::new(leaders));
        let by = |broker| Some(Answer { broker: Some(broker) });
        for (loads, partition, broker) in [(&one, 0, 1001), (&one, 1, 1001), (&one, 2, 1002), (&other, 5, 1001)] {
            loads.ended(partition, 0, by(broker), start);
        }
        one.sent(0, 1, || start);
        let late = start + TIMEOUT;
        assert!(one.is_silent(0, late) && !one.has_silent_leader(1, late), "it was not looked at");
        one.found_silent(0, late);
        assert!(one.has_silent_leader(1, late) && !one.is_silent(1, late));
        assert!(!one.has_silent_leader(2, late), "it has another leader");
        assert!(!one.has_silent_leader(3, late), "its leader is unknown");
        assert!(other.has_silent_leader(5, late), "also in another topic");
        one.ended(1, 0, by(1002), late);
        assert!(!one.has_silent_leader(1, late), "it has moved");
        other.ended(5, 0, by(1001), late);
        assert!(!other.has_silent_leader(5, late), "the leader answers");
    }

    /// The partitions that have changed by a look at `now`, and when the next look is due.
    fn look(loads: &Loads, now: Instant) -> (Vec<(i32, bool)>, Option<Instant>) {
        let mut changes = Vec::new();
        loads.note_silent(now);
        let next = loads.look(TopicId(0), now, &mut changes);
        (changes.iter().map(|change| (change.partition, change.is_available)).collect(), next)
    }

    #[test]
    fn s34_a_look_finds_each_change_once() {
        let (loads, start) = loads();
        assert_eq!(look(&loads, start + TIMEOUT), (vec![], None), "there are no records");
        loads.sent(3, 1, || start);
        assert_eq!(look(&loads, start + TIMEOUT - MOMENT), (vec![], Some(start + TIMEOUT)), "it is looked at in time");
        let late = start + TIMEOUT;
        assert_eq!(look(&loads, late), (vec![(3, false)], Some(late + TIMEOUT)));
        assert_eq!(look(&loads, late + TIMEOUT).0, [], "it is known");
        loads.ended(3, 1, None, late + TIMEOUT);
        assert_eq!(look(&loads, late + TIMEOUT * 5), (vec![], None), "it is tried, and has not answered");
        loads.sent(3, 1, || late + TIMEOUT * 5);
        assert_eq!(look(&loads, late + TIMEOUT * 5).0, []);
        loads.ended(3, 1, ANSWER, late + TIMEOUT * 6);
        assert_eq!(look(&loads, late + TIMEOUT * 6), (vec![(3, true)], None));
        assert_eq!(look(&loads, late + TIMEOUT * 9), (vec![], None));
    }

    #[test]
    fn s34_the_partitions_of_a_silent_leader_change_with_it() {
        let (loads, start) = loads();
        let by = |broker| Some(Answer { broker: Some(broker) });
        for (partition, broker) in [(0, 7), (1, 7), (2, 8)] {
            loads.sent(partition, 1, || start);
            loads.ended(partition, 1, by(broker), start);
        }
        loads.sent(0, 1, || start);
        let late = start + TIMEOUT;
        assert_eq!(look(&loads, late).0, [(0, false), (1, false)]);
        loads.sent(1, 1, || late + MOMENT);
        assert_eq!(look(&loads, late + TIMEOUT * 99).0, [], "its own silence is nothing new");
        loads.ended(0, 1, by(7), late + TIMEOUT * 99);
        assert_eq!(look(&loads, late + TIMEOUT * 99).0, [(0, true)], "the other one still waits");
        loads.ended(1, 1, by(9), late + TIMEOUT * 100);
        assert_eq!(look(&loads, late + TIMEOUT * 100).0, [(1, true)], "it has moved");
    }
}
