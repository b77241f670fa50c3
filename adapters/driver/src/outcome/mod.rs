//! Where a record's outcome goes and waits to be read.

pub(crate) mod bulk;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod error;
pub(crate) mod report;
pub(crate) mod ticket;
pub(crate) mod trouble;
