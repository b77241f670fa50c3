//! The events that an application reads.

use std::fmt;
use std::time::Duration;

use aioproducer_core::backend::ErrorCode;
use rdkafka::statistics::Statistics;

use crate::config::IdempotenceOff;
use crate::events::availability::Availability;
use crate::events::renewed::Renewed;

/// What librdkafka reports besides delivery reports (`rd_kafka_event_t`).
///
/// ```
/// use aioproducer_rdkafka::Event;
///
/// fn is_urgent(event: &Event) -> bool {
///     match event {
///         Event::Error(error) => error.is_fatal() || error.is_all_brokers_down(),
///         Event::IdempotenceOff(_) => true,
///         _ => false,
///     }
/// }
/// # assert!(!is_urgent(&Event::Lost { count: 1 }));
/// ```
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Event {
    /// The client met an error. librdkafka recovers from every error that is not fatal.
    Error(ClientError),
    /// Statistics, every `statistics.interval.ms`; by default never.
    Statistics(Box<Statistics>),
    /// A broker throttles the producer, or stops doing so.
    Throttle(Throttle),
    /// A partition is passed over because its leader does not answer, or is answered again.
    Availability(Availability),
    /// A line of librdkafka's log.
    Log(LogLine),
    /// Code of the application panicked on a thread of the producer. The panic was caught, and no outcome is lost.
    Panicked {
        /// Which code, in words: a waker, the owner of a payload, the partitioner, …
        code: &'static str,
        /// The number of such panics of this producer, this one included.
        total: u64,
    },
    /// A setting of the application turns idempotence off, so retries may duplicate and reorder records. It is reported when
    /// the producer starts, and also as a warning to the operator's log.
    IdempotenceOff(IdempotenceOff),
    /// The client was replaced by a new one, see [`Librdkafka::on_fatal`](crate::Librdkafka::on_fatal). It is also a warning to the
    /// operator's log.
    Renewed(Renewed),
    /// The reader was slow, and events before the next one were dropped.
    Lost {
        /// The number of dropped events.
        count: u64,
    },
}

/// An error of the client as a whole (`RD_KAFKA_EVENT_ERROR`). Records that fail because of it have their own outcomes.
///
/// ```
/// use aioproducer_rdkafka::{ClientError, ErrorCode};
///
/// fn count(error: &ClientError) -> &'static str {
///     match error.code() {
///         ErrorCode::LocalAllBrokersDown => "kafka.unreachable",
///         ErrorCode::LocalAuthentication => "kafka.login",
///         _ => "kafka.error",
///     }
/// }
/// # let _ = count;
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    pub(crate) code: ErrorCode,
    /// Without the values of secret keys.
    pub(crate) reason: String,
    pub(crate) fatal: bool,
}

impl ClientError {
    /// The error. For a fatal error it is that of its cause.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What happened, without the values of secret keys.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the producer is unusable: it rejects records, now or in a moment.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.fatal
    }

    /// Whether no broker is reachable any more. librdkafka continues to connect.
    #[must_use]
    pub fn is_all_brokers_down(&self) -> bool {
        self.code == ErrorCode::LocalAllBrokersDown
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.fatal { "fatal error" } else { "error" };
        write!(f, "{kind} {}: {}", self.code, self.reason)
    }
}

impl std::error::Error for ClientError {}

/// A broker throttles the producer, which exceeds a quota (KIP-219).
///
/// ```
/// use aioproducer_rdkafka::Throttle;
///
/// fn show(throttle: &Throttle) -> String {
///     if throttle.time.is_zero() {
///         format!("{} no longer throttles", throttle.broker)
///     } else {
///         format!("{} throttles for {:?}", throttle.broker, throttle.time)
///     }
/// }
/// # let _ = show;
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The broker, as `host:port`.
    pub broker: String,
    /// The broker's id.
    pub broker_id: i32,
    /// How long the broker throttles the producer; zero when it stops.
    pub time: Duration,
}

/// A line of librdkafka's log.
///
/// ```
/// use aioproducer_rdkafka::{LogLevel, LogLine};
///
/// fn show(line: &LogLine) {
///     if line.level <= LogLevel::Warning {
///         eprintln!("{}: {}", line.facility, line.message);
///     }
/// }
/// # let _ = show;
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The level.
    pub level: LogLevel,
    /// librdkafka's word for what the line is about, such as `FAIL`.
    pub facility: String,
    /// The text, without the values of secret keys.
    pub message: String,
}

/// The levels of syslog. A more urgent level is the lesser one.
///
/// ```
/// use aioproducer_rdkafka::LogLevel;
///
/// assert!(LogLevel::Error < LogLevel::Info);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// 0: unusable.
    Emergency,
    /// 1: needs action at once.
    Alert,
    /// 2: critical.
    Critical,
    /// 3: an error.
    Error,
    /// 4: a warning.
    Warning,
    /// 5: normal but significant.
    Notice,
    /// 6: information; librdkafka's default `log_level`.
    Info,
    /// 7: debugging, as the key `debug` requests it.
    Debug,
}

impl LogLevel {
    pub(crate) fn new(level: i32) -> Self {
        match level {
            ..=0 => Self::Emergency,
            1 => Self::Alert,
            2 => Self::Critical,
            3 => Self::Error,
            4 => Self::Warning,
            5 => Self::Notice,
            6 => Self::Info,
            7.. => Self::Debug,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_syslog() {
        let levels: Vec<_> = (-1..=8).map(LogLevel::new).collect();
        assert!(levels.is_sorted(), "{levels:?}");
        assert_eq!((levels[1], levels[8]), (LogLevel::Emergency, LogLevel::Debug));
    }
}
