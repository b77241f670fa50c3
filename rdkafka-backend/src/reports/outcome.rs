//! From raw reports to outcomes.

use aioproducer_core::backend::{Driver, Message, Outcome, Report};

use crate::failure;
use crate::ffi::{Client, RawReport};

/// Passes reports on to the driver, and releases the delivered records.
pub(super) fn report<R: Message>(
    client: &Client<R>,
    driver: &impl Driver<R>,
    reports: &mut [RawReport],
    delivered: &mut Vec<R>,
) {
    // Delivered records are released before their slots can be used again.
    let mut valid = 0;
    for index in 0..reports.len() {
        let report = &reports[index];
        if let Some(text) = report.details.as_ref().and_then(|details| details.broker_message.as_ref()) {
            driver.broker_message(report.slot, text);
        }
        let lent = report.code == 0 && !report.copied;
        let record = if lent { client.reclaim(report) } else { None };
        if !lent || record.is_some() {
            reports.swap(valid, index);
            valid += 1;
        }
        delivered.extend(record);
    }
    if !delivered.is_empty() {
        driver.release(delivered);
    }
    driver.report(reports[..valid].iter_mut().filter_map(|report| {
        let outcome = match outcome(report) {
            Some(outcome) => outcome,
            None => Outcome::Failed(failure::of(report.code, report.status), client.reclaim(report)?),
        };
        Some(Report { slot: report.slot, outcome })
    }));
}

/// The outcome that a report carries by itself; `None` if a borrowed record belongs to it, or if its copy was taken before.
fn outcome<R>(report: &mut RawReport) -> Option<Outcome<R>> {
    if report.code == 0 {
        return Some(Outcome::Delivered(report.delivered()));
    }
    let copy = report.details.as_mut()?.copy.take()?;
    Some(Outcome::FailedCopy(failure::of(report.code, report.status), copy))
}

/// A report that arrived while the client ended, with the record if librdkafka had borrowed it. A delivered record stays in
/// `lent`. `None` if the record's outcome is known already.
pub(crate) fn last_report<R>(mut report: RawReport, lent: &mut Option<R>) -> Option<Report<R>> {
    let is_valid = report.copied || lent.is_some();
    let outcome = match is_valid.then(|| outcome(&mut report))? {
        Some(outcome) => outcome,
        None => Outcome::Failed(failure::of(report.code, report.status), lent.take()?),
    };
    Some(Report { slot: report.slot, outcome })
}

#[cfg(test)]
mod tests {
    use aioproducer_core::SlotId;
    use aioproducer_core::backend::{Copied, Delivered, Status};

    use super::*;
    use crate::ffi::FailureDetails;

    #[test]
    fn s25_a_report_from_the_end_of_the_client_keeps_its_outcome() {
        let slot = SlotId::new(3, 7);
        let report = |code: i32, copied: bool| RawReport {
            slot,
            offset: 5,
            timestamp: 9,
            code,
            partition: 1,
            status: if code == 0 { Status::Persisted } else { Status::NotPersisted },
            copied,
            details: (copied && code != 0).then(|| {
                let copy = Some(Copied { key: None, payload: None, urgent: false, placed: false });
                Box::new(FailureDetails { copy, broker_message: None })
            }),
        };
        let at = Delivered::new(1, Some(5), Some(9));
        let reported = |report, lent: Option<u8>| {
            let mut lent = lent;
            last_report(report, &mut lent).map(|report| (report.outcome, lent))
        };
        assert_eq!(
            reported(report(0, false), Some(8)),
            Some((Outcome::Delivered(at), Some(8))),
            "the record was delivered"
        );
        assert_eq!(reported(report(0, true), None), Some((Outcome::Delivered(at), None)));
        let failed = failure::of(-192, Status::NotPersisted);
        assert_eq!(reported(report(-192, false), Some(8)), Some((Outcome::Failed(failed, 8), None)));
        let copy = Copied { key: None, payload: None, urgent: false, placed: false };
        assert_eq!(reported(report(-192, true), None), Some((Outcome::FailedCopy(failed, copy), None)));
        assert_eq!(reported(report(0, false), None), None, "the record is gone: its outcome is known");
    }
}
