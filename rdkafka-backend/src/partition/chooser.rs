//! The partition that records without a key share for a while, and random partitions.

use std::time::{Duration, Instant};

use crate::partition::candidates::{Candidates, View};
use crate::partition::load::Loads;

pub(super) struct Chooser {
    /// The number of partitions; 0 while it is unknown.
    count: i32,
    /// Partitions that have a leader.
    led: Vec<i32>,
    /// The next call of `observe` refreshes `led`.
    stale: bool,
    candidates: Candidates,
    sticky: Option<i32>,
    /// Bytes sent to `sticky`, and since when.
    sent: usize,
    since: Option<Instant>,
    sticky_time: Duration,
    sticky_bytes: usize,
    random: u64,
}

impl Chooser {
    pub(super) fn new(seed: u64, sticky_time: Duration, sticky_bytes: usize) -> Self {
        Self {
            count: 0,
            led: Vec::new(),
            stale: true,
            candidates: Candidates::default(),
            sticky: None,
            sent: 0,
            since: None,
            sticky_time,
            sticky_bytes,
            random: seed | 1,
        }
    }

    /// The number of partitions; 0 while it is unknown.
    pub(super) fn count(&self) -> i32 {
        self.count
    }

    pub(super) fn forget(&mut self) {
        self.count = 0;
    }

    /// The next [`observe`](Self::observe) looks at all partitions.
    pub(super) fn observe_again(&mut self) {
        self.stale = true;
    }

    /// Returns whether there was something to learn.
    pub(super) fn observe(&mut self, count: i32, has_leader: impl Fn(i32) -> bool) -> bool {
        if !self.stale && self.count == count {
            return false;
        }
        self.count = count;
        self.stale = false;
        self.led.clear();
        self.led.extend((0..count).filter(|partition| has_leader(*partition)));
        self.candidates.expire();
        self.sticky = self.sticky.filter(|sticky| self.led.contains(sticky));
        true
    }

    /// The partition for a batch of `bytes` of sticky records. With `random` the batch may need [`any`](Self::any), too.
    pub(super) fn plan(&mut self, bytes: usize, random: bool, view: View<'_>) -> i32 {
        if random {
            self.update(view);
        }
        if self.since.is_none_or(|since| view.now.saturating_duration_since(since) >= self.sticky_time) {
            self.since = Some(view.now);
            self.sent = usize::MAX;
        }
        self.sticky(bytes, view)
    }

    /// The partition for `bytes` of sticky records.
    pub(super) fn sticky(&mut self, bytes: usize, view: View<'_>) -> i32 {
        let sticky = match self.sticky.filter(|_| self.sent < self.sticky_bytes) {
            Some(sticky) if !self.is_left(sticky, view) => sticky,
            _ => {
                self.sent = 0;
                self.next(view)
            }
        };
        self.sticky = Some(sticky);
        self.sent = self.sent.saturating_add(bytes);
        sticky
    }

    /// Whether a partition does not answer, or has many records, and another one is better.
    fn is_left(&mut self, sticky: i32, view: View<'_>) -> bool {
        let may_be = |loads: &Loads| {
            loads.is_silent(sticky, view.now)
                || loads.has_silent_leader(sticky, view.now)
                || loads.outstanding(sticky) > view.crowd
        };
        view.loads.is_some_and(may_be) && {
            self.update(view);
            !self.candidates.has(sticky)
        }
    }

    /// A random partition other than the sticky one.
    fn next(&mut self, view: View<'_>) -> i32 {
        self.update(view);
        self.draw(self.sticky)
    }

    /// A random partition, by the last [`update`](Self::update).
    pub(super) fn any(&mut self) -> i32 {
        self.draw(None)
    }

    /// Finds out which partitions answer, and how many records they have.
    pub(super) fn update(&mut self, view: View<'_>) {
        self.candidates.update(&self.led, view);
    }

    /// A random candidate; any partition if none has a leader.
    fn draw(&mut self, except: Option<i32>) -> i32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let random = self.random >> 16;
        self.candidates.draw(random, except).unwrap_or_else(|| (random % self.count.max(1) as u64) as i32)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::partition::leaders::Leaders;
    use crate::partition::load::Answer;

    const BYTES: usize = 16 * 1024;
    const TIME: Duration = Duration::from_millis(10);
    const TIMEOUT: Duration = Duration::from_secs(5);

    fn chooser(count: i32, has_leader: impl Fn(i32) -> bool) -> Chooser {
        let mut chooser = Chooser::new(42, TIME, BYTES);
        assert!(chooser.observe(count, &has_leader) && !chooser.observe(count, has_leader));
        chooser
    }

    #[test]
    fn sticky_records_move_to_an_available_partition_after_some_time_or_bytes() {
        let (mut chooser, start) = (chooser(4, |partition| partition != 2), Instant::now());
        let mut sticky_at = |now, bytes| chooser.plan(bytes, false, View { loads: None, crowd: u32::MAX, now });
        let mut seen = [0; 4];
        let mut last = None;
        for _ in 0..300 {
            let first = sticky_at(start, BYTES / 2);
            assert_eq!(sticky_at(start, BYTES / 2), first, "half of the bytes are sent");
            assert_ne!(Some(first), last, "all bytes are sent");
            last = Some(first);
            seen[first as usize] += 1;
        }
        assert_eq!(seen[2], 0, "it has no leader");
        let first = sticky_at(start + TIME, 1);
        assert_eq!(sticky_at(start + TIME * 2 - Duration::from_nanos(1), 1), first);
        assert_ne!(sticky_at(start + TIME * 2, 1), first, "the time is over");
        assert!(seen.iter().enumerate().all(|(partition, count)| partition == 2 || *count > 60), "{seen:?}");
    }

    #[test]
    fn sticky_records_leave_a_partition_that_does_not_answer_until_it_does() {
        let (mut chooser, start) = (chooser(3, |_| true), Instant::now());
        let loads = Loads::new(Arc::new(Leaders::new(Some(TIMEOUT), start)));
        let mut sticky_at = |now, bytes| chooser.sticky(bytes, View { loads: Some(&loads), crowd: u32::MAX, now });
        let silent = sticky_at(start, 1);
        loads.sent(silent, 10, || start);
        let mut late = start + TIMEOUT;
        assert_eq!(sticky_at(late - Duration::from_nanos(1), 1), silent, "its time has not passed");
        for _ in 0..200 {
            assert_ne!(sticky_at(late, BYTES / 2), silent);
        }
        // The others wait for answers, too, but not for as long.
        for partition in (0..3).filter(|partition| *partition != silent) {
            loads.sent(partition, 1000, || late);
            assert_ne!(sticky_at(late, BYTES), silent);
        }
        late += Duration::from_millis(1);
        loads.ended(silent, 1, Some(Answer { broker: None }), late);
        assert!((0..20).any(|_| sticky_at(late, BYTES) == silent), "it has answered, and has the fewest records");
    }

    #[test]
    fn a_sticky_partition_stays_while_no_partition_answers() {
        let (mut chooser, start) = (chooser(3, |_| true), Instant::now());
        let loads = Loads::new(Arc::new(Leaders::new(Some(TIMEOUT), start)));
        let mut sticky_at = |now, bytes| chooser.sticky(bytes, View { loads: Some(&loads), crowd: u32::MAX, now });
        let first = sticky_at(start, BYTES);
        for partition in 0..3 {
            loads.sent(partition, 1, || start);
        }
        let late = start + TIMEOUT;
        let second = sticky_at(late, BYTES - 1);
        assert_ne!(second, first, "it is full");
        assert_eq!(sticky_at(late, 1), second);
        assert_ne!(sticky_at(late, 1), second, "it is full");
    }

    #[test]
    fn a_partition_that_is_slow_gets_fewer_records() {
        let (mut chooser, start) = (chooser(3, |_| true), Instant::now());
        let loads = Loads::new(Arc::new(Leaders::new(Some(TIMEOUT), start)));
        loads.sent(1, 99, || start);
        let mut seen = [0; 3];
        for _ in 0..1000 {
            seen[chooser.sticky(BYTES, View { loads: Some(&loads), crowd: u32::MAX, now: start }) as usize] += 1;
        }
        assert!(seen[1] < 50 && seen[0] > 400 && seen[2] > 400, "{seen:?}");
    }
}
