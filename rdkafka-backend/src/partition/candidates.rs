//! The partitions among which the next one for records without a key is drawn (KIP-794).

use std::time::{Duration, Instant};

use crate::partition::load::Loads;

/// How long the candidates are used, for each of them. To find them takes 1 to 3 % of this time.
const USED: Duration = Duration::from_micros(1);

/// What a choice depends on besides the chooser's own state.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// `None` if all partitions are equal.
    pub(super) loads: Option<&'a Loads>,
    /// A partition with more records than this is left if another has less than half of them.
    pub(super) crowd: u32,
    pub(super) now: Instant,
}

#[derive(Default)]
pub(super) struct Candidates {
    /// Each candidate, in ascending order, with the sum of the weights up to it.
    sums: Vec<(i32, u64)>,
    expires: Option<Instant>,
}

impl Candidates {
    /// Finds the candidates among `led`, the partitions that have a leader. Those that are silent, or whose leader is, are passed over,
    /// unless all are. So are those that have many records, more than twice as many as another. The more records a partition has at
    /// librdkafka, the less often it is drawn. Without loads all partitions are equal.
    pub(super) fn update(&mut self, led: &[i32], View { loads, crowd, now }: View<'_>) {
        if self.expires.is_some_and(|expires| now < expires) {
            return;
        }
        self.expires = Some(now + USED * u32::try_from(led.len()).unwrap_or(u32::MAX));
        self.sums.clear();
        if let Some(loads) = loads {
            for partition in led.iter().copied() {
                if loads.is_silent(partition, now) {
                    loads.found_silent(partition, now);
                } else {
                    self.sums.push((partition, loads.outstanding(partition).into()));
                }
            }
            self.sums.retain(|(partition, _)| !loads.has_silent_leader(*partition, now));
            let fewest = self.sums.iter().map(|(_, outstanding)| *outstanding).min().unwrap_or(0);
            self.sums.retain(|(_, outstanding)| *outstanding <= u64::from(crowd).max(2 * fewest));
        }
        if self.sums.is_empty() {
            self.sums.extend(led.iter().map(|partition| (*partition, 0)));
        }
        let most = self.sums.iter().map(|(_, outstanding)| *outstanding).max().unwrap_or(0);
        let mut sum = 0;
        for (_, weight) in &mut self.sums {
            sum += most + 1 - *weight;
            *weight = sum;
        }
    }

    /// The next [`update`](Self::update) finds the candidates anew.
    pub(super) fn expire(&mut self) {
        self.expires = None;
    }

    pub(super) fn has(&self, partition: i32) -> bool {
        self.weights(partition).is_some()
    }

    /// Draws a candidate by a random number; not `except`, unless there is no other. `None` if there is none.
    pub(super) fn draw(&self, random: u64, except: Option<i32>) -> Option<i32> {
        let (only, total) = *self.sums.last()?;
        // The weights of the exception are left out.
        let left_out = except.and_then(|except| self.weights(except)).unwrap_or((total, total));
        let choices = total - (left_out.1 - left_out.0);
        if choices == 0 {
            return Some(only);
        }
        let mut drawn = random % choices;
        if drawn >= left_out.0 {
            drawn += left_out.1 - left_out.0;
        }
        let position = self.sums.partition_point(|(_, sum)| *sum <= drawn);
        self.sums.get(position).map(|(partition, _)| *partition)
    }

    /// Where the weight of a candidate begins and ends in the sum of all.
    fn weights(&self, partition: i32) -> Option<(u64, u64)> {
        let position = self.sums.binary_search_by_key(&partition, |(partition, _)| *partition).ok()?;
        let start = position.checked_sub(1).map_or(0, |before| self.sums[before].1);
        Some((start, self.sums[position].1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::partition::leaders::Leaders;
    use crate::partition::load::Answer;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn loads(start: Instant) -> Loads {
        Loads::new(Arc::new(Leaders::new(Some(TIMEOUT), start)))
    }

    fn view(loads: Option<&Loads>, now: Instant) -> View<'_> {
        View { loads, crowd: 20, now }
    }

    /// How often each of 6 partitions is drawn if every choice is drawn once.
    fn drawn(candidates: &Candidates, choices: u64, except: Option<i32>) -> [usize; 6] {
        let mut counts = [0; 6];
        for random in 0..choices {
            counts[candidates.draw(random, except).expect("a partition") as usize] += 1;
        }
        counts
    }

    #[test]
    fn partitions_with_more_records_are_drawn_less_often() {
        let (now, mut candidates) = (Instant::now(), Candidates::default());
        let loads = loads(now);
        for (partition, count) in [(0, 5), (2, 3), (5, 9)] {
            loads.sent(partition, count, || now);
        }
        candidates.update(&[0, 2, 3, 5], view(Some(&loads), now));
        // The most is 9, so the weights are 10 less the number of records.
        assert_eq!(drawn(&candidates, 23, None), [5, 0, 7, 10, 0, 1]);
        assert_eq!(drawn(&candidates, 23, Some(1)), [5, 0, 7, 10, 0, 1], "no candidate");
        assert_eq!(drawn(&candidates, 13, Some(3)), [5, 0, 7, 0, 0, 1]);
        assert_eq!(drawn(&candidates, 18, Some(0)), [0, 0, 7, 10, 0, 1]);
        assert_eq!(drawn(&candidates, 22, Some(5)), [5, 0, 7, 10, 0, 0]);
        candidates.update(&[0, 2, 3, 5], view(None, now + USED * 4));
        assert_eq!(drawn(&candidates, 4, None), [1, 0, 1, 1, 0, 1], "all are equal");
    }

    #[test]
    fn partitions_with_many_records_are_passed_over_while_another_has_less_than_half_of_them() {
        let (now, mut candidates) = (Instant::now(), Candidates::default());
        let loads = loads(now);
        let mut has = |sent: [usize; 3], pause: u32| {
            for (partition, count) in (0..).zip(sent) {
                loads.sent(partition, count, || now);
            }
            candidates.update(&[0, 1, 2], view(Some(&loads), now + USED * pause));
            [0, 1, 2].map(|partition| candidates.has(partition))
        };
        assert_eq!(has([20, 21, 0], 0), [true, false, true], "20 are not many");
        assert_eq!(has([0, 0, 10], 3), [true, false, true]);
        assert_eq!(has([0, 0, 1], 6), [true, true, true], "all have many");
        assert_eq!(has([0, 2, 0], 9), [true, false, true]);
    }

    #[test]
    fn silent_partitions_are_passed_over_unless_all_are() {
        let (start, mut candidates) = (Instant::now(), Candidates::default());
        let loads = loads(start);
        loads.sent(1, 1, || start);
        loads.sent(4, 1, || start + TIMEOUT / 2);
        let late = start + TIMEOUT;
        candidates.update(&[1, 4], view(Some(&loads), late));
        assert_eq!(drawn(&candidates, 9, None), [0, 0, 0, 0, 9, 0]);
        assert_eq!(drawn(&candidates, 9, Some(4)), [0, 0, 0, 0, 9, 0], "there is no other");
        let later = start + TIMEOUT * 2;
        candidates.update(&[1, 4], view(Some(&loads), later));
        assert_eq!(drawn(&candidates, 8, None), [0, 4, 0, 0, 4, 0]);
        loads.ended(1, 1, Some(Answer { broker: None }), later);
        let later = later + USED * 2;
        candidates.update(&[1, 4], view(Some(&loads), later));
        assert_eq!(drawn(&candidates, 9, None), [0, 9, 0, 0, 0, 0]);
        candidates.update(&[], view(Some(&loads), later + USED * 2));
        assert_eq!(candidates.draw(7, None), None);
    }

    #[test]
    fn partitions_without_records_are_passed_over_if_their_leader_is_silent() {
        let (start, mut candidates) = (Instant::now(), Candidates::default());
        let loads = loads(start);
        for (partition, broker) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
            loads.ended(partition, 0, Some(Answer { broker: Some(broker) }), start);
        }
        loads.sent(1, 1, || start);
        candidates.update(&[0, 1, 2, 3], view(Some(&loads), start + TIMEOUT));
        assert_eq!(drawn(&candidates, 8, None), [0, 0, 4, 4, 0, 0]);
    }

    #[test]
    fn candidates_are_used_for_a_while() {
        let (start, mut candidates) = (Instant::now(), Candidates::default());
        let led: Vec<i32> = (0..3000).collect();
        candidates.update(&led, view(None, start));
        candidates.update(&[1], view(None, start + USED * 3000 - Duration::from_nanos(1)));
        assert_eq!(candidates.draw(7, None), Some(7));
        candidates.update(&[1], view(None, start + USED * 3000));
        assert_eq!(candidates.draw(7, None), Some(1));
        candidates.expire();
        candidates.update(&[2], view(None, start + USED * 3000));
        assert_eq!(candidates.draw(7, None), Some(2));
    }
}
