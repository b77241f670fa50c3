//! Outcomes: where each record's outcome goes, where it waits to be read, and what it says.
//!
//! Here live tickets (which name an outcome's reader), completion cells for deliveries, the outcomes of `produce_all`, reports,
//! errors and failures. Nothing here decides an outcome, and nothing here knows the machine or calls the application's code.

pub(crate) mod bulk;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod ended_by;
pub(crate) mod error;
pub(crate) mod failures;
pub(crate) mod report;
pub(crate) mod ticket;
pub(crate) mod trouble;
pub(crate) mod unsent;
