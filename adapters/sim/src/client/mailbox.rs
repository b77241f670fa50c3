//! What the driver asks of a client, from any thread.

use std::collections::VecDeque;

use aioproducer_core::backend::Request;

use crate::signal::Signal;
use crate::sync::{Arc, Mutex, lock};

/// The driver makes one call at a time, and one of a transaction.
const CALLS: usize = 2;

#[derive(Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    pub(super) signal: Arc<Signal>,
}

#[derive(Default)]
pub(super) struct Mail {
    /// The driver has woken the worker: it may take batches until there is none, and then rests.
    pub(super) is_woken: bool,
    /// Records to purge: those that were not sent, and those in flight.
    pub(super) purge: (bool, bool),
    pub(super) calls: VecDeque<Box<Request>>,
    pub(super) shut_down: bool,
    /// The client has ended, and reads no more.
    pub(super) is_closed: bool,
}

impl Mailbox {
    /// Leaves a message, and wakes the client.
    pub(super) fn post(&self, write: impl FnOnce(&mut Mail)) {
        write(&mut lock(&self.mail));
        self.signal.set();
    }

    /// Leaves a call; gives it back if it cannot be made.
    pub(super) fn call(&self, request: Box<Request>) -> Result<(), Box<Request>> {
        {
            let mut mail = lock(&self.mail);
            if mail.is_closed || mail.calls.len() == CALLS {
                return Err(request);
            }
            mail.calls.push_back(request);
        }
        self.signal.set();
        Ok(())
    }

    /// Takes all messages.
    pub(super) fn take(&self) -> Mail {
        std::mem::take(&mut *lock(&self.mail))
    }

    /// Takes the last messages.
    pub(super) fn close(&self) -> Mail {
        let mut mail = lock(&self.mail);
        let last = std::mem::take(&mut *mail);
        mail.is_closed = true;
        last
    }
}
