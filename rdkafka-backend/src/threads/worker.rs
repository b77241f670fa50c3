//! A worker thread: takes batches from the driver and hands them to librdkafka, and passes the reports on to the driver.
//!
//! One thread for both directions saves a change of threads for each of them, and frees memory on the thread that allocated it.

use aioproducer_core::backend::{Driver, Message};

use crate::catch_panic::catch_panic;
use crate::coordination::{Signals, Wake};
use crate::failure;
use crate::reports::Reader;
use crate::threads::batch_sender::BatchSender;
use crate::threads::inline_worker::InlineWorker;

/// Batches that are handed off before reports are read, if there are so many: what waits here for long leaves the processor's cache.
const BATCHES: usize = 4;

/// Works until the backend is shut down. A batch that was taken is settled in any case. Panics of the application's code are caught
/// where it is called, so a panic that arrives here is a bug in this crate and may have lost a batch. It becomes a fatal error,
/// so no task waits for that batch.
pub(super) fn run<R: Message>(
    sender: BatchSender<R>,
    driver: &impl Driver<R>,
    signals: &Signals,
    reader: &Reader<R>,
    inline_worker: &InlineWorker<R>,
) {
    if catch_panic(|| work(sender, driver, signals, reader, inline_worker)).is_none() {
        driver.fatal(failure::broken());
    }
}

fn work<R: Message>(
    mut sender: BatchSender<R>,
    driver: &impl Driver<R>,
    signals: &Signals,
    reader: &Reader<R>,
    inline_worker: &InlineWorker<R>,
) {
    let mut records = Vec::new();
    // The driver has no batch, and has not woken this worker since.
    let mut idle = false;
    while !signals.is_shut_down() {
        reader.read(sender.client(), driver, signals);
        if !idle {
            inline_worker.hand_off_deferred(&mut sender, driver);
            for _ in 0..BATCHES {
                let Some(batch) = driver.take(&mut records) else {
                    idle = true;
                    break;
                };
                sender.hand_off(driver, batch, &mut records);
            }
        } else if signals.park() == Wake::Batch {
            idle = false;
        }
    }
}
