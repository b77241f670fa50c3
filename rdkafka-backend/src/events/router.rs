//! Where librdkafka's errors and log lines go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aioproducer_core::TopicId;
use aioproducer_core::backend::{Driver, FailureKind, Severity, Trouble};

use crate::events::availability::{Availability, lines};
use crate::events::event::{ClientError, Event, LogLevel, LogLine};
use crate::events::operator_log::OperatorLog;
use crate::events::ring::RawEvent;
use crate::events::sinks::EventSinks;
use crate::events::troubles::{CONNECTION_ENDED, Troubles, without_thread};
use crate::partition::watch::Change;

/// Routes errors and log lines to the readers of events, to the operator's log if there are no readers, and to the driver,
/// which shows the current trouble as the cause of failures.
pub(crate) struct EventRouter {
    troubles: Mutex<Troubles>,
    /// Whether the driver knows of a trouble.
    has_trouble: AtomicBool,
    log: OperatorLog,
}

impl EventRouter {
    pub(crate) fn new() -> Self {
        Self { troubles: Mutex::default(), has_trouble: AtomicBool::new(false), log: OperatorLog::new() }
    }

    /// Routes an error of the client.
    pub(crate) fn error<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, error: ClientError) {
        let error = ClientError { reason: sinks.hide(error.reason), ..error };
        let (errors, current) = {
            let mut troubles = self.troubles();
            (troubles.error(error), troubles.current())
        };
        self.set_trouble(driver, current);
        errors.into_iter().for_each(|error| self.write_error(sinks, driver, error));
    }

    /// Routes a line of the log.
    pub(crate) fn line<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, line: LogLine) {
        let line = LogLine { message: sinks.hide(line.message), ..line };
        let (held_back, current) = {
            let mut troubles = self.troubles();
            (troubles.line(&line), troubles.current())
        };
        if line.facility == CONNECTION_ENDED {
            self.set_trouble(driver, current);
        } else if line.level <= LogLevel::Warning && !sinks.has_reader() {
            let severity = if line.level <= LogLevel::Error { Severity::Error } else { Severity::Warning };
            self.log.write(sinks, driver, severity, without_thread(&line.message));
        }
        sinks.write(|| RawEvent::Event(Event::Log(line)));
        if let Some(error) = held_back {
            self.write_error(sinks, driver, error);
        }
    }

    /// A record was delivered.
    pub(crate) fn delivered<R>(&self, driver: &impl Driver<R>) {
        if self.troubles().clear() {
            self.set_trouble(driver, None);
        }
    }

    /// Whether there is a trouble that a delivery would end.
    pub(crate) fn has_trouble(&self) -> bool {
        self.has_trouble.load(Ordering::Relaxed)
    }

    /// The current trouble, as the cause of failed calls.
    pub(crate) fn current_trouble(&self) -> Option<Trouble> {
        self.troubles().current()
    }

    /// Reports why the records of a topic are not delivered at the moment, or that they are again.
    pub(crate) fn topic<R>(
        &self,
        sinks: &EventSinks,
        driver: &impl Driver<R>,
        topic: TopicId,
        trouble: Option<(FailureKind, String)>,
    ) {
        if let Some((_, line)) = &trouble {
            self.log.write(sinks, driver, Severity::Error, line);
        }
        let trouble = trouble.map(|(kind, reason)| Trouble { kind, reason: reason.into() });
        driver.set_trouble(Some(topic), trouble);
    }

    /// Routes that partitions have become unavailable, or are answered again.
    pub(crate) fn availability<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, changes: Vec<Change>) {
        let found: Vec<_> = changes
            .into_iter()
            .map(|change| Availability::new(driver.topic_name(change.topic).unwrap_or_default(), &change))
            .collect();
        if !sinks.has_reader() {
            lines(&found).iter().for_each(|line| self.log.write(sinks, driver, Severity::Warning, line));
        }
        for availability in found {
            sinks.write(|| RawEvent::Event(Event::Availability(availability)));
        }
    }

    fn set_trouble<R>(&self, driver: &impl Driver<R>, trouble: Option<Trouble>) {
        self.has_trouble.store(trouble.is_some(), Ordering::Relaxed);
        driver.set_trouble(None, trouble);
    }

    fn write_error<R>(&self, sinks: &EventSinks, driver: &impl Driver<R>, error: ClientError) {
        if !sinks.has_reader() {
            self.log.write(sinks, driver, Severity::Error, &error.reason);
        }
        sinks.write(|| RawEvent::Event(Event::Error(error)));
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
