//! Which seeds to run.

use std::env;
use std::ops::Range;
use std::time::Duration;

const SEED: &str = "AIOPRODUCER_SIM_SEED";
const SEEDS: &str = "AIOPRODUCER_SIM_SEEDS";
const SECONDS: &str = "AIOPRODUCER_SIM_SECONDS";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seeds {
    range: Range<u64>,
    limit: Option<Duration>,
    is_one: bool,
}

impl Seeds {
    /// What the environment says, else `default`.
    pub(super) fn from_environment(default: Range<u64>) -> Result<Self, String> {
        let read = |name: &str| env::var(name).ok();
        Self::read(default, read(SEED).as_deref(), read(SEEDS).as_deref(), read(SECONDS).as_deref())
    }

    fn read(
        default: Range<u64>,
        seed: Option<&str>,
        seeds: Option<&str>,
        seconds: Option<&str>,
    ) -> Result<Self, String> {
        if let Some(text) = seed {
            let seed: u64 = text.parse().map_err(|_| format!("{SEED}: {text:?} is no number, as 8123 is"))?;
            return Ok(Self { range: seed..seed.saturating_add(1), limit: None, is_one: true });
        }
        let mut range = match seeds {
            Some(text) => range(text).ok_or_else(|| format!("{SEEDS}: {text:?} is no range, as 0..1000 is"))?,
            None => default,
        };
        let limit = match seconds {
            Some(text) => {
                let limit = text.parse().ok().map(Duration::from_secs);
                Some(limit.ok_or_else(|| format!("{SECONDS}: {text:?} is no number of seconds, as 60 is"))?)
            }
            None => None,
        };
        if limit.is_some() {
            range.end = u64::MAX;
        }
        if range.is_empty() {
            return Err(format!(
                "the range of seeds {range:?} is empty, so nothing would be checked; {SEEDS} and Plan::seeds set it"
            ));
        }
        Ok(Self { range, limit, is_one: false })
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
}

fn range(text: &str) -> Option<Range<u64>> {
    let (begin, end) = text.split_once("..")?;
    Some(begin.trim().parse().ok()?..end.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_overrides_the_plan() {
        let read = |seed, seeds, seconds| Seeds::read(0..5, seed, seeds, seconds).map(|seeds| seeds.numbers());
        assert_eq!(read(None, None, None), Ok(0..5));
        assert_eq!(read(Some("8123"), Some("0..9"), None), Ok(8123..8124));
        assert_eq!(read(None, Some("7..9"), None), Ok(7..9));
        assert_eq!(read(None, Some("7..9"), Some("60")), Ok(7..u64::MAX));
    }

    #[test]
    fn what_is_invalid_is_named_with_its_value_and_with_what_is_not() {
        for (seed, seeds, seconds, parts) in [
            (Some("x"), None, None, ["AIOPRODUCER_SIM_SEED:", "\"x\"", "8123"]),
            (None, Some("5"), None, ["AIOPRODUCER_SIM_SEEDS:", "\"5\"", "0..1000"]),
            (None, Some("5..5"), None, ["5..5", "is empty", "Plan::seeds"]),
            (None, Some("5..4"), None, ["5..4", "is empty", "Plan::seeds"]),
            (None, None, Some("-1"), ["AIOPRODUCER_SIM_SECONDS:", "\"-1\"", "60"]),
        ] {
            let error = Seeds::read(0..5, seed, seeds, seconds).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        assert!(Seeds::read(3..3, None, None, None).is_err());
    }
}
