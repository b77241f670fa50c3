//! Taking a record back.

use std::fmt;

use crate::api::delivery::Delivery;
use crate::record::Record;

impl Delivery {
    /// Takes the record back if it was not handed to the backend yet: it will never be in the log, and its neighbours are
    /// delivered. Takes time linear in the records that were not handed off.
    ///
    /// # Errors
    /// [`TooLate`] with the delivery, whose outcome is on its way or has arrived.
    ///
    /// ```
    /// # use aioproducer_driver::{Delivery, Record};
    /// /// The record, if it was still in the producer's buffer.
    /// fn take_back(delivery: Delivery) -> Option<Record<'static>> {
    ///     delivery.retract().ok()
    /// }
    /// ```
    pub fn retract(self) -> Result<Record<'static>, TooLate> {
        let producer = self.cell.context().and_then(|context| context.retracts.get()?.upgrade());
        match producer {
            Some(producer) => producer.retract(self.cell).map_err(|cell| TooLate(Self { cell })),
            None => Err(TooLate(self)),
        }
    }
}

/// A record cannot be taken back any more: the backend has it, or it has its outcome.
///
/// ```
/// # use aioproducer_driver::{Delivery, DeliveryError, DeliveryReport};
/// /// Takes the record back, or waits for its delivery.
/// async fn cancel(delivery: Delivery) -> Result<Option<DeliveryReport>, DeliveryError> {
///     match delivery.retract() {
///         Ok(_record) => Ok(None),
///         Err(too_late) => too_late.into_delivery().await.map(Some),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct TooLate(Delivery);

impl TooLate {
    /// The delivery, to be awaited.
    #[must_use = "a delivery says whether the record arrived"]
    pub fn into_delivery(self) -> Delivery {
        self.0
    }
}

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record was handed off and cannot be taken back; await its delivery")
    }
}

impl std::error::Error for TooLate {}

#[cfg(all(test, not(interleave)))]
mod tests {
    use std::sync::Arc;

    use aioproducer_core::Limits;

    use crate::AioProducer;
    use crate::observe::Options;
    use crate::record::Record;
    use crate::state::shared::{Settings, Shared};
    use crate::still::Still;

    #[test]
    fn s06_a_retracted_record_leaves_its_cell_to_others() {
        let shared =
            Arc::new(Shared::new(Limits::default(), Settings::of(1024), Options::default(), Still).expect("settings"));
        shared.start(Arc::new(Still), Vec::new());
        let producer = AioProducer::new(Arc::clone(&shared));
        for number in 0..10_000 {
            let delivery = producer.try_produce(Record::to("t").payload(number.to_string())).expect("accepted");
            let record = delivery.retract().expect("it is buffered");
            assert_eq!(record.get_payload(), Some(number.to_string().as_bytes()));
        }
        assert_eq!(shared.completions.segments(), 1);
    }
}
