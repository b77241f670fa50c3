//! The thread that replaces a client by a new one. It runs only if the application asks for that.

use std::io;
use std::sync::Arc;
use std::thread::Builder;

use aioproducer_core::backend::{Driver, Message};

use crate::renewal::{Shared, Tries};

/// Starts the thread. It ends with the producer.
pub(crate) fn start<R: Message, E: Driver<R>>(shared: Arc<Shared<R, E>>) -> io::Result<()> {
    let renew = move || {
        let mut tries = Tries::default();
        while shared.step(&mut tries) {}
    };
    Builder::new().name("aioproducer-renewer".into()).spawn(renew).map(drop)
}
