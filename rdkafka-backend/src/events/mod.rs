//! What librdkafka reports besides delivery reports, and its ways to the application: streams and handlers on its runtime, the
//! operator's log, and the cause of failures that the driver shows. Writers never wait for readers. Nothing here calls
//! librdkafka.

mod availability;
mod event;
mod handler;
mod operator_log;
mod renewed;
mod ring;
mod router;
mod sinks;
mod stream;
mod troubles;

pub use availability::Availability;
pub use event::{ClientError, Event, LogLevel, LogLine, Throttle};
pub use handler::EventHandler;
pub(crate) use handler::handle;
pub use renewed::{RenewalCause, Renewed};
pub(crate) use ring::{EventSink, RawEvent};
pub(crate) use router::EventRouter;
pub(crate) use sinks::EventSinks;
pub(crate) use stream::CAPACITY;
pub use stream::Events;
