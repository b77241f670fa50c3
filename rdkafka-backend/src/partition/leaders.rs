//! Which brokers answer, over all topics. Partitions of one leader fall silent together, so the first of them that has waited for too
//! long is enough to know.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::partition::table::Table;

/// Room for 131,064 brokers. Those above it are not judged.
const CHUNKS: usize = 14;

/// How long a silent partition of a leader counts for the others, after it was last looked at.
const SEEN: u64 = 1_000_000_000;

/// A leader is judged by its partitions for this long, beside the timeout. After that it is not known whether it would answer for the
/// others: its last answer may be old because they had no records.
const JUDGED: u64 = 60_000_000_000;

/// The leaders of all partitions. Times are nanoseconds since the start.
pub(super) struct Leaders {
    start: Instant,
    /// Nanoseconds without an answer until a leader is silent; `u64::MAX` for never.
    timeout: u64,
    /// The brokers' ids, in the order of their numbers.
    ids: Mutex<Vec<i32>>,
    leaders: Table<Leader, CHUNKS>,
    /// When a silent partition of any leader was last looked at.
    seen: AtomicU64,
}

#[derive(Default)]
struct Leader {
    id: AtomicI32,
    answered: AtomicU64,
    /// When a silent partition was last looked at.
    seen: AtomicU64,
}

impl Leaders {
    /// A leader is silent after `timeout` without an answer. No time is before `start`.
    pub(super) fn new(timeout: Option<Duration>, start: Instant) -> Self {
        Self {
            start,
            timeout: timeout.map_or(u64::MAX, nanoseconds),
            ids: Mutex::default(),
            leaders: Table::new(),
            seen: AtomicU64::new(0),
        }
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    pub(super) fn timeout(&self) -> u64 {
        self.timeout
    }

    pub(super) fn time(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.start))
    }

    /// A broker has answered. `guess` is its number, as far as the caller knows. Returns the number.
    pub(super) fn answered(&self, guess: Option<usize>, id: i32, now: u64) -> Option<usize> {
        let is_right = |number: &usize| self.leaders.get(*number).is_some_and(|it| it.id.load(Ordering::Relaxed) == id);
        let number = guess.filter(is_right).unwrap_or_else(|| self.number(id));
        let leader = self.leaders.get_or_default(number)?;
        leader.answered.store(now, Ordering::Relaxed);
        Some(number)
    }

    fn number(&self, id: i32) -> usize {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().position(|known| *known == id).unwrap_or_else(|| {
            let number = ids.len();
            if let Some(leader) = self.leaders.get_or_default(number) {
                leader.id.store(id, Ordering::Relaxed);
            }
            ids.push(id);
            number
        })
    }

    /// The id of a broker, and when it has answered last.
    pub(super) fn answer(&self, number: usize) -> Option<(i32, u64)> {
        let leader = self.leaders.get(number)?;
        Some((leader.id.load(Ordering::Relaxed), leader.answered.load(Ordering::Relaxed)))
    }

    /// A partition of a leader is silent.
    pub(super) fn has_silent_partition(&self, number: usize, now: u64) {
        if let Some(leader) = self.leaders.get(number) {
            leader.seen.store(now, Ordering::Relaxed);
            self.seen.store(now, Ordering::Relaxed);
        }
    }

    /// Whether any leader has a silent partition.
    pub(super) fn may_be_silent(&self, now: u64) -> bool {
        is_recent(&self.seen, now)
    }

    /// Whether a leader has a silent partition, and has not answered for any other.
    pub(super) fn is_silent(&self, number: usize, now: u64) -> bool {
        self.leaders.get(number).is_some_and(|leader| {
            let waits = now.saturating_sub(leader.answered.load(Ordering::Relaxed));
            let is_judged = waits >= self.timeout && waits < self.timeout.saturating_add(JUDGED);
            is_judged && is_recent(&leader.seen, now)
        })
    }
}

fn is_recent(seen: &AtomicU64, now: u64) -> bool {
    let seen = seen.load(Ordering::Relaxed);
    seen > 0 && now.saturating_sub(seen) < SEEN
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: u64 = 5_000_000_000;

    fn leaders() -> Leaders {
        Leaders::new(Some(Duration::from_nanos(TIMEOUT)), Instant::now())
    }

    #[test]
    fn a_leader_is_silent_if_a_partition_is_and_no_other_has_an_answer() {
        let leaders = leaders();
        let first = leaders.answered(None, 1001, 10).expect("a number");
        let second = leaders.answered(None, 1002, 10).expect("a number");
        let late = 10 + TIMEOUT;
        assert!(!leaders.is_silent(first, late), "its partitions have no records");
        leaders.has_silent_partition(first, late);
        assert!(leaders.may_be_silent(late) && leaders.is_silent(first, late) && !leaders.is_silent(second, late));
        assert!(!leaders.is_silent(first, late - 1));
        assert_eq!(leaders.answered(Some(second), 1001, late), Some(first), "the partition has moved");
        assert!(!leaders.is_silent(first, late), "it answers for another partition");
    }

    #[test]
    fn a_leader_is_not_judged_for_long_and_not_by_a_partition_that_is_not_looked_at() {
        let leaders = leaders();
        let number = leaders.answered(None, 7, 0).expect("a number");
        leaders.has_silent_partition(number, TIMEOUT);
        assert!(leaders.is_silent(number, TIMEOUT + SEEN - 1) && leaders.may_be_silent(TIMEOUT + SEEN - 1));
        assert!(!leaders.is_silent(number, TIMEOUT + SEEN) && !leaders.may_be_silent(TIMEOUT + SEEN));
        let last = TIMEOUT + JUDGED - 1;
        leaders.has_silent_partition(number, last);
        assert!(leaders.is_silent(number, last) && !leaders.is_silent(number, last + 1));
    }

    #[test]
    fn leaders_keep_their_numbers() {
        let leaders = leaders();
        let numbers: Vec<_> = [5, 3, i32::MAX, 0, 3].map(|id| leaders.answered(None, id, 1)).into();
        assert_eq!(numbers, [Some(0), Some(1), Some(2), Some(3), Some(1)]);
        assert_eq!([leaders.answered(Some(9), 0, 2), leaders.answered(Some(2), i32::MAX, 2)], [Some(3), Some(2)]);
    }

    #[test]
    fn without_a_timeout_no_leader_is_silent() {
        let leaders = Leaders::new(None, Instant::now());
        let number = leaders.answered(None, 1, 0).expect("a number");
        leaders.has_silent_partition(number, u64::MAX / 2);
        assert!(!leaders.is_silent(number, u64::MAX / 2));
    }
}
