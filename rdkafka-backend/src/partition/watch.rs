//! When the control thread looks at which partitions are available.
//!
//! A partition becomes unavailable by time alone, so the control thread looks at the time when that may be, as long as any partition
//! has records without an answer. With none, there is no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use aioproducer_core::TopicId;

use crate::coordination::Signals;

/// A partition has become unavailable, or is answered again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) topic: TopicId,
    pub(crate) partition: i32,
    /// The broker that has answered for it last.
    pub(crate) leader: Option<i32>,
    pub(crate) is_available: bool,
    /// How long it has gone unanswered, or was unavailable.
    pub(crate) time: Duration,
    /// Records that librdkafka has of it.
    pub(crate) records: usize,
}

/// Whether the control thread looks.
pub(super) struct Watch {
    /// It looks at its time, or was asked to.
    is_armed: AtomicBool,
    signals: Arc<Signals>,
}

impl Watch {
    pub(super) fn new(signals: Arc<Signals>) -> Self {
        Self { is_armed: AtomicBool::new(false), signals }
    }

    /// A partition without records has got some: if no look is due, asks for one.
    pub(super) fn waits(&self) {
        // The records were counted before, also in one order with all else. So either they are seen by the look that has begun, or
        // this sees that it has.
        if !self.is_armed.load(Ordering::SeqCst) && !self.is_armed.swap(true, Ordering::SeqCst) {
            self.signals.watch();
        }
    }

    /// A partition that was silent answers.
    pub(super) fn answers(&self) {
        self.signals.watch();
    }

    /// A look begins.
    pub(super) fn begin(&self) {
        self.is_armed.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The control thread will look again.
    pub(super) fn goes_on(&self) {
        self.is_armed.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_asked_for_once_until_it_begins() {
        let signals = Arc::new(Signals::new(1));
        let watch = Watch::new(Arc::clone(&signals));
        let is_asked = || signals.requests(Some(Duration::ZERO)).watch;
        assert!(!is_asked());
        watch.waits();
        assert!(is_asked());
        watch.waits();
        assert!(!is_asked(), "a look is due");
        watch.begin();
        watch.waits();
        assert!(is_asked(), "it may have seen nothing");
        watch.begin();
        watch.goes_on();
        watch.waits();
        assert!(!is_asked(), "it looks again at its time");
        watch.answers();
        assert!(is_asked(), "not only then");
    }
}
