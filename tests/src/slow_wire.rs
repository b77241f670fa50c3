//! A wire to a broker on which answers take their time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Forwards between clients and a broker on loopback. Answers arrive after a delay, as many at once as there are: the wire is long, not
/// thin.
#[derive(Debug)]
pub struct SlowWire {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Microseconds.
    delay: AtomicU64,
    closed: AtomicBool,
}

/// A part of an answer, and when it arrives.
type Part = (Instant, Vec<u8>);

impl SlowWire {
    /// Listens on `port` and forwards to the port `broker`, without a delay at first.
    ///
    /// # Panics
    /// When the port is taken.
    #[must_use]
    pub fn start(port: u16, broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State::default());
        let of_thread = Arc::clone(&state);
        thread::spawn(move || of_thread.serve(&listener, (Ipv4Addr::LOCALHOST, broker).into()));
        Self { address, state }
    }

    /// Answers that come from now on take so long, and those behind them at least until they have arrived.
    pub fn set_delay(&self, delay: Duration) {
        self.state.delay.store(delay.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Drop for SlowWire {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Its thread waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn serve(self: &Arc<Self>, listener: &TcpListener, broker: SocketAddr) {
        for client in listener.incoming().flatten() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            // While the broker is down, the connection is closed.
            let Ok(broker) = TcpStream::connect(broker) else { continue };
            // Small packets are sent at once, as without the wire.
            let _ = client.set_nodelay(true).and(broker.set_nodelay(true));
            let ends = Arc::new((client, broker));
            let (sender, receiver) = mpsc::channel();
            let (requests, answers, state) = (Arc::clone(&ends), Arc::clone(&ends), Arc::clone(self));
            thread::spawn(move || {
                copy(&requests.0, |part| (&requests.1).write_all(part).is_ok());
                end(&requests);
            });
            thread::spawn(move || state.receive(&answers.1, &sender));
            thread::spawn(move || {
                deliver(&receiver, &ends.0);
                end(&ends);
            });
        }
    }

    fn receive(&self, broker: &TcpStream, to: &Sender<Part>) {
        copy(broker, |part| {
            let delay = Duration::from_micros(self.delay.load(Ordering::Relaxed));
            to.send((Instant::now() + delay, part.to_vec())).is_ok()
        });
    }
}

fn copy(mut from: &TcpStream, mut to: impl FnMut(&[u8]) -> bool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !to(&bytes[..count]) {
            break;
        }
    }
}

fn deliver(parts: &Receiver<Part>, mut client: &TcpStream) {
    for (at, part) in parts {
        while let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        if client.write_all(&part).is_err() {
            break;
        }
    }
}

fn end((client, broker): &(TcpStream, TcpStream)) {
    // Either end may have done it.
    let _ = client.shutdown(Shutdown::Both).and(broker.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::free_port;

    #[test]
    fn an_answer_takes_the_time_that_is_set_and_the_connection_ends_with_the_broker() {
        let broker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free_port();
        let wire = SlowWire::start(port, broker.local_addr().unwrap().port());
        let delay = Duration::from_millis(100);
        wire.set_delay(delay);
        let mut client = TcpStream::connect(wire.address).unwrap();
        let mut at_broker = broker.accept().unwrap().0;
        let mut byte = [0];
        client.write_all(b"?").unwrap();
        at_broker.read_exact(&mut byte).unwrap();
        let asked = Instant::now();
        at_broker.write_all(b"!").unwrap();
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"!");
        assert!(asked.elapsed() >= delay);
        drop(at_broker);
        assert_eq!(client.read(&mut byte).unwrap(), 0);
    }
}
