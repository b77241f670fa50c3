//! Delivery reports, from librdkafka to the driver in bulk, and the events on the same queue. Which thread reads is decided by
//! the signals; nothing here starts or blocks a thread.

mod outcome;
mod reader;

pub(crate) use outcome::last_report;
pub(crate) use reader::Reader;
