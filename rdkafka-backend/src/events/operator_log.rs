//! Lines for the application's operator, limited in their rate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aioproducer_core::backend::{Driver, Severity};

use crate::events::sinks::EventSinks;
use crate::events::troubles::bare;

/// Lines that may be written in a row.
const BURST: u32 = 10;

/// After that, one more line may be written in each such period.
const PERIOD: Duration = Duration::from_secs(5);

/// How long a line is not repeated.
const REPEAT: Duration = Duration::from_secs(30);

/// The number of lines that are remembered for that.
const REMEMBERED: usize = 32;

/// Writes lines through the driver to wherever the application's log is.
pub(super) struct OperatorLog(Mutex<RateLimit>);

impl OperatorLog {
    pub(super) fn new() -> Self {
        Self(Mutex::new(RateLimit::new(Instant::now())))
    }

    /// Writes a line without secrets, unless there were too many lines.
    pub(super) fn write<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, severity: Severity, line: &str) {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bare(line), Instant::now());
        let Some(left_out) = taken else { return };
        let line = sinks.hide(line.to_owned());
        match left_out {
            0 => driver.log(severity, &line),
            count => driver.log(severity, &format!("{line} ({count} lines before this one were left out)")),
        }
    }
}

struct RateLimit {
    left: u32,
    since: Instant,
    left_out: u64,
    written: Vec<(String, Instant)>,
}

impl RateLimit {
    fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, left_out: 0, written: Vec::new() }
    }

    /// Whether a line may be written now; if so, the number of lines that were left out since the last one.
    fn take(&mut self, line: &str, now: Instant) -> Option<u64> {
        self.written.retain(|(_, at)| now.saturating_duration_since(*at) < REPEAT);
        if self.written.iter().any(|(written, _)| written == line) {
            return None;
        }
        let earned = now.saturating_duration_since(self.since).as_millis() / PERIOD.as_millis();
        if earned > 0 {
            self.left = BURST.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)));
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                if self.written.len() < REMEMBERED {
                    self.written.push((line.to_owned(), now));
                }
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s34_too_many_lines_are_left_out_and_counted() {
        let begin = Instant::now();
        let mut limit = RateLimit::new(begin);
        let mut lines = 0;
        let mut other = || {
            lines += 1;
            format!("line {lines}")
        };
        let burst: Vec<_> = (0..BURST + 3).map(|_| limit.take(&other(), begin)).collect();
        assert!(burst[..BURST as usize].iter().all(|taken| *taken == Some(0)));
        assert!(burst[BURST as usize..].iter().all(Option::is_none));
        assert_eq!(limit.take("one more", begin + PERIOD), Some(3));
        assert_eq!(limit.take("another", begin + PERIOD), None);
        let hours = begin + 1000 * PERIOD;
        assert_eq!((0..=BURST).filter(|_| limit.take(&other(), hours).is_some()).count(), BURST as usize);
        let later = hours + 1000 * PERIOD;
        assert_eq!(
            [limit.take("same", later), limit.take("same", later + PERIOD)],
            [Some(1), None],
            "the same line was just written"
        );
        assert_eq!(limit.take("same", later + REPEAT), Some(0));
    }
}
