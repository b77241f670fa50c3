//! What is measured: how records arrive, and which producer sends them.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// Bytes of a payload.
pub(crate) const SIZE: usize = 100;

/// A way for records to come, and librdkafka's linger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// One record at a time, linger 0.
    OneAtATime,
    /// A thousand tasks that each await their own records, linger 0.
    ThousandTasks,
    /// Ten thousand of them.
    TenThousandTasks,
    /// A record per second, linger 5 ms.
    OnePerSecond,
    /// A thousand records per second, linger 5 ms.
    ThousandPerSecond,
    /// A thousand records per second, linger 0.
    ThousandPerSecondNoLinger,
    /// A hundred thousand records per second, linger 5 ms.
    HundredThousandPerSecond,
}

/// When the next record is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// When the task's last record has its outcome.
    Closed { tasks: usize },
    /// At a fixed rate, whatever happened to earlier ones: so many records each `period`.
    Open { period: Duration, records: usize },
}

/// The producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// `AioProducer::send`.
    Ours,
    /// `rdkafka`'s `FutureProducer::send`.
    Future,
}

impl Case {
    /// The cases with goals.
    pub(crate) const GATED: [Self; 2] = [Self::OneAtATime, Self::ThousandPerSecond];

    pub(crate) fn load(self) -> Load {
        let open = |period, records| Load::Open { period: Duration::from_millis(period), records };
        match self {
            Self::OneAtATime => Load::Closed { tasks: 1 },
            Self::ThousandTasks => Load::Closed { tasks: 1000 },
            Self::TenThousandTasks => Load::Closed { tasks: 10_000 },
            Self::OnePerSecond => open(1000, 1),
            Self::ThousandPerSecond | Self::ThousandPerSecondNoLinger => open(1, 1),
            Self::HundredThousandPerSecond => open(1, 100),
        }
    }

    /// How long librdkafka lingers, in milliseconds; 5 is its default.
    pub(crate) fn linger_ms(self) -> u32 {
        match self {
            Self::OneAtATime | Self::ThousandTasks | Self::TenThousandTasks | Self::ThousandPerSecondNoLinger => 0,
            Self::OnePerSecond | Self::ThousandPerSecond | Self::HundredThousandPerSecond => 5,
        }
    }

    /// The length of the measurement.
    pub(crate) fn lasting(self, quick: bool) -> Duration {
        match self {
            Self::OnePerSecond => Duration::from_secs(5),
            _ if quick => Duration::from_millis(500),
            _ => Duration::from_secs(2),
        }
    }
}

/// The name of a value on the command line and in the results.
pub(crate) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
