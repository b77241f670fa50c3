//! What is said to the application's operator where nobody listens, and not too often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Driver, FailureKind, Severity, Trouble};

use crate::events::trouble::{Troubles, bare, without_thread};
use crate::events::{ClientError, Event, EventSinks, LogLevel, LogLine, RawEvent};

/// Lines that may be written in a row.
const BURST: u32 = 10;

/// How often there may be another one after that.
const PAUSE: Duration = Duration::from_secs(5);

/// How soon the same line may be written again, and how many different ones are remembered for that.
const AGAIN: (Duration, usize) = (Duration::from_secs(30), 32);

/// Passes on what librdkafka has to say: to those who listen, to the driver, and to the application's log.
pub(crate) struct Voice {
    troubles: Mutex<Troubles>,
    /// Whether the driver knows of a trouble.
    troubled: AtomicBool,
    pace: Mutex<Pace>,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            troubles: Mutex::default(),
            troubled: AtomicBool::new(false),
            pace: Mutex::new(Pace::new(Instant::now())),
        }
    }
}

impl Voice {
    /// librdkafka has met an error.
    pub(crate) fn error<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, error: ClientError) {
        let error = ClientError { reason: sinks.hide(error.reason), ..error };
        let (told, now) = {
            let mut troubles = lock(&self.troubles);
            (troubles.error(error), troubles.now())
        };
        self.trouble(driver, now);
        told.into_iter().for_each(|error| self.tell_error(sinks, driver, error));
    }

    /// librdkafka has written a line.
    pub(crate) fn line<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, line: LogLine) {
        let line = LogLine { message: sinks.hide(line.message), ..line };
        let (untold, now) = {
            let mut troubles = lock(&self.troubles);
            (troubles.line(&line), troubles.now())
        };
        if line.facility == "FAIL" {
            self.trouble(driver, now);
        } else if line.level <= LogLevel::Warning && !sinks.has_reader() {
            let severity = if line.level <= LogLevel::Error { Severity::Error } else { Severity::Warning };
            self.say(sinks, driver, severity, without_thread(&line.message));
        }
        sinks.tell(|| RawEvent::Event(Event::Log(line)));
        if let Some(error) = untold {
            self.tell_error(sinks, driver, error);
        }
    }

    /// A record has arrived.
    pub(crate) fn delivered<R>(&self, driver: &impl Driver<R>) {
        if lock(&self.troubles).over() {
            self.trouble(driver, None);
        }
    }

    /// Whether there is anything that a delivery would end.
    pub(crate) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// What the last error was, for calls that failed.
    pub(crate) fn cause(&self) -> Option<Trouble> {
        lock(&self.troubles).now()
    }

    /// A topic's records cannot go for now, or can again.
    pub(crate) fn topic<R>(
        &self,
        sinks: &EventSinks,
        driver: &impl Driver<R>,
        topic: TopicId,
        trouble: Option<(FailureKind, String)>,
    ) {
        if let Some((_, line)) = &trouble {
            self.say(sinks, driver, Severity::Error, line);
        }
        let trouble = trouble.map(|(kind, reason)| Trouble { kind, reason: reason.into() });
        driver.trouble(Some(topic), trouble);
    }

    /// Has a line written, unless there were many just now.
    pub(crate) fn say<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, severity: Severity, line: &str) {
        let Some(left_out) = lock(&self.pace).take(bare(line), Instant::now()) else { return };
        let line = sinks.hide(line.to_owned());
        match left_out {
            0 => driver.say(severity, &line),
            count => driver.say(severity, &format!("{line} ({count} lines before this one were left out)")),
        }
    }

    fn trouble<R>(&self, driver: &impl Driver<R>, trouble: Option<Trouble>) {
        self.troubled.store(trouble.is_some(), Ordering::Relaxed);
        driver.trouble(None, trouble);
    }

    fn tell_error<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, error: ClientError) {
        if !sinks.has_reader() {
            self.say(sinks, driver, Severity::Error, &error.reason);
        }
        sinks.tell(|| RawEvent::Event(Event::Error(error)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Pace {
    left: u32,
    since: Instant,
    left_out: u64,
    written: Vec<(String, Instant)>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { left: BURST, since: now, left_out: 0, written: Vec::new() }
    }

    /// Whether a line may be written now, and how many could not be since the last one.
    fn take(&mut self, line: &str, now: Instant) -> Option<u64> {
        self.written.retain(|(_, at)| now.saturating_duration_since(*at) < AGAIN.0);
        if self.written.iter().any(|(written, _)| written == line) {
            return None;
        }
        let earned = now.saturating_duration_since(self.since).as_millis() / PAUSE.as_millis();
        if earned > 0 {
            self.left = BURST.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(BURST)));
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                if self.written.len() < AGAIN.1 {
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
    fn s34_lines_that_come_too_often_are_counted_and_left_out() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let mut lines = 0;
        let mut other = || {
            lines += 1;
            format!("line {lines}")
        };
        let burst: Vec<_> = (0..BURST + 3).map(|_| pace.take(&other(), begin)).collect();
        assert!(burst[..BURST as usize].iter().all(|taken| *taken == Some(0)));
        assert!(burst[BURST as usize..].iter().all(Option::is_none));
        assert_eq!(pace.take("one more", begin + PAUSE), Some(3));
        assert_eq!(pace.take("another", begin + PAUSE), None);
        let hours = begin + 1000 * PAUSE;
        assert_eq!((0..=BURST).filter(|_| pace.take(&other(), hours).is_some()).count(), BURST as usize);
        let later = hours + 1000 * PAUSE;
        assert_eq!(
            [pace.take("same", later), pace.take("same", later + PAUSE)],
            [Some(1), None],
            "it was just written"
        );
        assert_eq!(pace.take("same", later + AGAIN.0), Some(0));
    }
}
