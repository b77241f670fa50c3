//! A proxy in front of a broker that can lose answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than a broker takes to answer.
const WAIT_LIMIT: Duration = Duration::from_secs(45);

/// Forwards between clients and a broker on loopback.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    broker: SocketAddr,
    connections: Mutex<Vec<Arc<Connection>>>,
    closed: AtomicBool,
    /// Bytes of answers that were forwarded.
    heard: AtomicUsize,
    /// Bytes of answers that were lost.
    lost: AtomicUsize,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    broker: TcpStream,
    /// Answers to the client are dropped.
    is_mute: AtomicBool,
}

impl Proxy {
    /// Listens on `port` and forwards to the port `broker`.
    ///
    /// # Panics
    /// When the port is taken.
    #[must_use]
    pub fn start(port: u16, broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let state = Arc::new(State {
            broker: (Ipv4Addr::LOCALHOST, broker).into(),
            connections: Mutex::default(),
            closed: AtomicBool::new(false),
            heard: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        });
        let address = listener.local_addr().expect("its address");
        let of_thread = Arc::clone(&state);
        thread::spawn(move || of_thread.serve(&listener));
        Self { address, state }
    }

    /// Loses answers: once `after` bytes of answers have passed, at least one more answer of the broker is dropped, then all
    /// connections end.
    ///
    /// It waits for answers, so clients must send requests meanwhile.
    ///
    /// # Panics
    /// When no answers come.
    pub fn lose_answers(&self, after: usize) {
        let State { heard, lost, .. } = &*self.state;
        let (start, before) = (Instant::now(), heard.load(Ordering::SeqCst));
        while heard.load(Ordering::SeqCst) - before < after {
            assert!(
                start.elapsed() < WAIT_LIMIT,
                "the clients have not received {after} bytes of answers in {WAIT_LIMIT:?}"
            );
            thread::park_timeout(Duration::from_millis(1));
        }
        let (start, before) = (Instant::now(), lost.load(Ordering::SeqCst));
        while lost.load(Ordering::SeqCst) == before {
            assert!(start.elapsed() < WAIT_LIMIT, "no answer was there to be lost in {WAIT_LIMIT:?}");
            for connection in &*self.state.connections() {
                connection.is_mute.store(true, Ordering::SeqCst);
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        self.state.end_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.state.end_all();
        // Its thread waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            // While the broker is down, the connection is closed.
            let Ok(broker) = TcpStream::connect(self.broker) else { continue };
            // Small packets are sent at once, as without a proxy.
            let _ = client.set_nodelay(true).and(broker.set_nodelay(true));
            let connection = Arc::new(Connection { client, broker, is_mute: AtomicBool::new(false) });
            self.connections().push(Arc::clone(&connection));
            let (requests, state) = (Arc::clone(&connection), Arc::clone(self));
            thread::spawn(move || requests.pass_on(&requests.client, &requests.broker, |_| true));
            thread::spawn(move || {
                connection.pass_on(&connection.broker, &connection.client, |bytes| {
                    let is_heard = !connection.is_mute.load(Ordering::SeqCst);
                    let counter = if is_heard { &state.heard } else { &state.lost };
                    counter.fetch_add(bytes, Ordering::SeqCst);
                    is_heard
                });
            });
        }
    }

    fn end_all(&self) {
        for connection in self.connections().drain(..) {
            connection.end();
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn pass_on(&self, mut from: &TcpStream, mut to: &TcpStream, is_heard: impl Fn(usize) -> bool) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if is_heard(count) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        self.end();
    }

    fn end(&self) {
        // Either end may have done it.
        let _ = self.client.shutdown(Shutdown::Both).and(self.broker.shutdown(Shutdown::Both));
    }
}
