//! Four executors under one interface, and a watchdog that turns a hang into a failure.

use std::cell::Cell;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use aioproducer_core::Instant;
use aioproducer_core::backend::Connect;
use aioproducer_driver::error::RuntimeError;
use aioproducer_driver::record::OwnedRecord;
use aioproducer_driver::runtime::{ClockHold, Task};
use aioproducer_driver::{AioProducer, Builder, Runtime};
use aioproducer_smol::Smol;
use aioproducer_tokio::Tokio;
use smol::channel::{self, Receiver};
use smol::future::FutureExt;

/// Longer than any test takes on a slow machine.
pub const WATCHDOG: Duration = Duration::from_secs(60);

/// Defines a test on every executor for each `async fn(Host)` in the list: `tokio_multi::…`, `tokio_current::…`,
/// `smol_global::…` and `own_executor::…`.
#[macro_export]
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        $crate::promises! { @all [] $($promise)* }
    };
    (@all $marks:tt $($promise:ident)*) => {
        $crate::promises! { @on tokio_multi TokioMulti $marks $($promise)* }
        $crate::promises! { @on tokio_current TokioCurrent $marks $($promise)* }
        $crate::promises! { @on smol_global SmolGlobal $marks $($promise)* }
        $crate::promises! { @on own_executor OwnExecutor $marks $($promise)* }
    };
    (@on $module:ident $executor:ident $marks:tt $($promise:ident)*) => {
        mod $module {
            $($crate::promises! { @test $marks $executor $promise })*
        }
    };
    (@test [$($mark:meta)?] $executor:ident $promise:ident) => {
        #[test]
        $(#[$mark])?
        fn $promise() {
            $crate::executor::run::<$crate::executor::$executor, _>(super::$promise);
        }
    };
}

/// The same for tests that need a real broker. They run only with `--ignored`.
#[macro_export]
macro_rules! promises_on_kafka {
    ($($promise:ident),* $(,)?) => {
        $crate::promises! { @all [ignore = "needs a Kafka broker: checks/kafka/check.sh"] $($promise)* }
    };
}

/// Runs one test on a fresh `E`, on a thread of its own.
///
/// # Panics
/// When the test panics or takes longer than [`WATCHDOG`].
pub fn run<E: Executor, F: Future<Output = ()> + 'static>(test: impl FnOnce(Host) -> F + Send + 'static) {
    run_boxed::<E>(boxed(test));
}

/// A test that is boxed, so that an executor's code is compiled once and not for each test.
type Test = Box<dyn FnOnce(Host) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

fn boxed<F: Future<Output = ()> + 'static>(test: impl FnOnce(Host) -> F + Send + 'static) -> Test {
    Box::new(|host| Box::pin(test(host)))
}

fn run_boxed<E: Executor>(test: Test) {
    watched(move || {
        let executor = E::new();
        executor.block_on(test(executor.host()));
    });
}

/// Runs `test` on a thread of its own.
///
/// # Panics
/// When the test panics or takes longer than [`WATCHDOG`].
pub fn watched(test: impl FnOnce() + Send + 'static) {
    watched_boxed(Box::new(test));
}

fn watched_boxed(test: Box<dyn FnOnce() + Send>) {
    let name = thread::current().name().unwrap_or("test").to_owned();
    let (alive, signs) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name(name.clone()).spawn(move || {
        // Dropped at the end of the thread, also after a panic.
        ALIVE.set(Some(alive));
        test();
    });
    let thread = thread.expect("a thread for the test");
    loop {
        match signs.recv_timeout(WATCHDOG) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => panic!("{name} hangs: it is not done after {WATCHDOG:?}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
}

thread_local! {
    /// Restarts the watchdog of the test on this thread.
    static ALIVE: Cell<Option<Sender<()>>> = const { Cell::new(None) };
}

/// Restarts the watchdog of the test on this thread, which waits for its turn.
pub fn still_waiting() {
    if let Some(alive) = ALIVE.take() {
        // The watchdog is gone only if the test has failed already.
        let _ = alive.send(());
        ALIVE.set(Some(alive));
    }
}

/// An executor that a test may start, use and drop.
pub trait Executor: 'static {
    /// Starts it.
    fn new() -> Self;

    /// The test's access to it.
    fn host(&self) -> Host;

    /// Runs `future` on the calling thread. Spawned tasks run there as well, unless the executor has threads.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

/// tokio with two worker threads.
#[derive(Debug)]
pub struct TokioMulti(tokio::runtime::Runtime);

impl Executor for TokioMulti {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self(runtime.expect("a runtime"))
    }

    fn host(&self) -> Host {
        Host(AnyRuntime::Tokio(Tokio::new(self.0.handle().clone())))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// tokio on the calling thread alone.
#[derive(Debug)]
pub struct TokioCurrent(tokio::runtime::Runtime);

impl Executor for TokioCurrent {
    fn new() -> Self {
        Self(tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"))
    }

    fn host(&self) -> Host {
        Host(AnyRuntime::Tokio(Tokio::new(self.0.handle().clone())))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// smol's global executor. It cannot be dropped.
#[derive(Debug)]
pub struct SmolGlobal;

impl Executor for SmolGlobal {
    fn new() -> Self {
        Self
    }

    fn host(&self) -> Host {
        Host(AnyRuntime::Smol(Smol::global()))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

/// An `async_executor::Executor` of the user's own, run by a `block_on` without a reactor.
#[derive(Debug)]
pub struct OwnExecutor(Arc<async_executor::Executor<'static>>);

impl Executor for OwnExecutor {
    fn new() -> Self {
        Self(Arc::new(async_executor::Executor::new()))
    }

    fn host(&self) -> Host {
        Host(AnyRuntime::Smol(Smol::executor(Arc::clone(&self.0))))
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::future::block_on(self.0.run(future))
    }
}

/// The runtime of any of the four executors.
#[derive(Clone, Debug)]
pub enum AnyRuntime {
    /// One of tokio's.
    Tokio(Tokio),
    /// smol's, or the user's own.
    Smol(Smol),
}

impl Runtime for AnyRuntime {
    fn now(&self) -> Instant {
        match self {
            Self::Tokio(tokio) => tokio.now(),
            Self::Smol(smol) => smol.now(),
        }
    }

    fn sleep_until(&self, at: Instant) -> Task {
        match self {
            Self::Tokio(tokio) => tokio.sleep_until(at),
            Self::Smol(smol) => smol.sleep_until(at),
        }
    }

    fn spawn(&self, task: Task) {
        match self {
            Self::Tokio(tokio) => tokio.spawn(task),
            Self::Smol(smol) => smol.spawn(task),
        }
    }

    fn can_pause(&self) -> bool {
        match self {
            Self::Tokio(tokio) => tokio.can_pause(),
            Self::Smol(smol) => smol.can_pause(),
        }
    }

    fn hold_clock(&self, at_most: Duration) -> Option<ClockHold> {
        match self {
            Self::Tokio(tokio) => tokio.hold_clock(at_most),
            Self::Smol(smol) => smol.hold_clock(at_most),
        }
    }

    fn check(&self) -> Result<(), RuntimeError> {
        match self {
            Self::Tokio(tokio) => tokio.check(),
            Self::Smol(smol) => smol.check(),
        }
    }

    fn poll_budget(&self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        match self {
            Self::Tokio(tokio) => tokio.poll_budget(cx),
            Self::Smol(smol) => smol.poll_budget(cx),
        }
    }
}

/// A test's access to its executor.
#[derive(Clone, Debug)]
pub struct Host(AnyRuntime);

impl Host {
    /// The runtime to start a producer on.
    #[must_use]
    pub fn runtime(&self) -> AnyRuntime {
        self.0.clone()
    }

    /// Starts a producer.
    ///
    /// # Panics
    /// When it does not.
    pub fn start<B: Connect<OwnedRecord>>(&self, builder: Builder<B>) -> AioProducer
    where
        B::Error: std::fmt::Debug,
    {
        builder.start(self.runtime()).expect("the producer starts")
    }

    /// Runs a task beside the test.
    pub fn spawn<F>(&self, future: F) -> Joined<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (sender, receiver) = channel::bounded(1);
        self.0.spawn(Box::pin(async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            // The task that joins may be gone.
            let _ = sender.send(outcome).await;
        }));
        Joined(receiver)
    }

    /// Ends after `delay` on the runtime's clock. For gaps in the traffic, never to wait for an event.
    pub async fn pause(&self, delay: Duration) {
        self.0.sleep_until(self.0.now() + delay).await;
    }

    /// Waits until `condition` holds. The watchdog ends the test if it never does.
    pub async fn until(&self, mut condition: impl FnMut() -> bool) {
        while !condition() {
            self.pause(Duration::from_millis(1)).await;
        }
    }
}

/// A handle to a spawned task.
#[derive(Debug)]
pub struct Joined<T>(Receiver<thread::Result<T>>);

impl<T> Joined<T> {
    /// Waits for the task and returns its output.
    ///
    /// # Panics
    /// When the task panicked or was dropped.
    pub async fn join(self) -> T {
        let outcome = self.0.recv().await.expect("the task was dropped before its end");
        outcome.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}
