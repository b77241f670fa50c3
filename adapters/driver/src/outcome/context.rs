//! What the outcomes of one producer share.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::completion::CellHandle;
use super::error::{DeliveryError, ErrorPool};
use super::trouble::Troubles;
use crate::record::Record;
use crate::record::topics::Topics;
use crate::runtime::Runtime;

/// What all deliveries of a producer share.
pub(crate) struct Context {
    pub(crate) topics: Arc<Topics>,
    /// The runtime whose task budget deliveries use.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Set when the producer starts.
    pub(crate) retracts: OnceLock<Weak<dyn Retract>>,
    pub(crate) errors: ErrorPool,
    pub(crate) troubles: Troubles,
    pub(crate) delivery_timeout: Option<Duration>,
}

/// Takes a buffered record back. The producer implements it: outcomes do not know the producer.
pub(crate) trait Retract: Send + Sync {
    /// The record whose delivery holds `cell`. The cell comes back if the record was handed off or has ended.
    fn retract(
        &self,
        cell: CellHandle<DeliveryError, Context>,
    ) -> Result<Record<'static>, CellHandle<DeliveryError, Context>>;
}
