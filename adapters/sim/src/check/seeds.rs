//! Which seeds to run, and on how many threads.

use std::env;
use std::ops::Range;
use std::time::Duration;

const SEED: &str = "AIOPRODUCER_SIM_SEED";
const SEEDS: &str = "AIOPRODUCER_SIM_SEEDS";
const SECONDS: &str = "AIOPRODUCER_SIM_SECONDS";
const JOBS: &str = "AIOPRODUCER_SIM_JOBS";

/// The first seeds of a range, each of which is run twice; of the others, one in so many.
const REPEATED: (u64, u64) = (100, 10);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds {
    range: Range<u64>,
    limit: Option<Duration>,
    is_one: bool,
    jobs: usize,
}

impl Seeds {
    /// What the environment says, else `default`.
    pub(super) fn from_environment(default: Range<u64>) -> Result<Self, String> {
        Self::read(default, |name| env::var(name).ok())
    }

    fn read(default: Range<u64>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        if let Some(text) = variable(SEED) {
            let seed: u64 = text.parse().map_err(|_| format!("{SEED}: {text:?} is no number, as 8123 is"))?;
            return Ok(Self { range: seed..seed.saturating_add(1), limit: None, is_one: true, jobs: 1 });
        }
        let mut range = match variable(SEEDS) {
            Some(text) => range(&text).ok_or_else(|| format!("{SEEDS}: {text:?} is no range, as 0..1000 is"))?,
            None => default,
        };
        let limit = match variable(SECONDS) {
            Some(text) => {
                let limit = text.parse().ok().map(Duration::from_secs);
                Some(limit.ok_or_else(|| format!("{SECONDS}: {text:?} is no number of seconds, as 60 is"))?)
            }
            None => None,
        };
        let jobs = match variable(JOBS) {
            Some(text) => {
                let jobs = text.parse().ok().filter(|jobs| *jobs > 0);
                jobs.ok_or_else(|| format!("{JOBS}: {text:?} is no number of threads, as 2 is"))?
            }
            None => 1,
        };
        if limit.is_some() {
            range.end = u64::MAX;
        }
        if range.is_empty() {
            return Err(format!(
                "the range of seeds {range:?} is empty, so nothing would be checked; {SEEDS} and Plan::seeds set it"
            ));
        }
        Ok(Self { range, limit, is_one: false, jobs })
    }

    pub(super) fn numbers(&self) -> Range<u64> {
        self.range.clone()
    }

    /// In real time.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// A failure is repeated.
    pub(super) fn is_one(&self) -> bool {
        self.is_one
    }

    /// On how many threads.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// Whether a seed is run twice though it does not fail.
    pub(super) fn is_repeated(&self, seed: u64) -> bool {
        let (first, one_in) = REPEATED;
        seed - self.range.start < first || seed.is_multiple_of(one_in)
    }
}

fn range(text: &str) -> Option<Range<u64>> {
    let (begin, end) = text.split_once("..")?;
    Some(begin.trim().parse().ok()?..end.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Seeds, String> {
        let value = |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
        Seeds::read(0..5, value)
    }

    #[test]
    fn the_environment_overrides_the_plan() {
        let numbers = |variables: &[(&str, &str)]| read(variables).map(|seeds| (seeds.numbers(), seeds.jobs()));
        assert_eq!(numbers(&[]), Ok((0..5, 1)));
        assert_eq!(numbers(&[(SEED, "8123"), (SEEDS, "0..9"), (JOBS, "2")]), Ok((8123..8124, 1)));
        assert_eq!(numbers(&[(SEEDS, "7..9"), (JOBS, "2")]), Ok((7..9, 2)));
        assert_eq!(numbers(&[(SEEDS, "7..9"), (SECONDS, "60")]), Ok((7..u64::MAX, 1)));
    }

    #[test]
    fn what_is_invalid_is_named_with_its_value_and_with_what_is_not() {
        for (variable, value, parts) in [
            (SEED, "x", ["AIOPRODUCER_SIM_SEED:", "\"x\"", "8123"]),
            (SEEDS, "5", ["AIOPRODUCER_SIM_SEEDS:", "\"5\"", "0..1000"]),
            (SEEDS, "5..5", ["5..5", "is empty", "Plan::seeds"]),
            (SEEDS, "5..4", ["5..4", "is empty", "Plan::seeds"]),
            (SECONDS, "-1", ["AIOPRODUCER_SIM_SECONDS:", "\"-1\"", "60"]),
            (JOBS, "0", ["AIOPRODUCER_SIM_JOBS:", "\"0\"", "2"]),
        ] {
            let error = read(&[(variable, value)]).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        assert!(Seeds::read(3..3, |_| None).is_err());
    }

    #[test]
    fn the_first_seeds_are_repeated_and_one_in_ten_of_the_others() {
        let seeds = read(&[(SEEDS, "1000..3000")]).unwrap();
        assert_eq!(seeds.numbers().filter(|seed| seeds.is_repeated(*seed)).count(), 100 + 190);
    }
}
