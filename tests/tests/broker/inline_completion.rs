//! S28: a single record completes on librdkafka's own thread. That saves a change of threads and delays no other record.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use aioproducer_driver::{AioProducer, Delivery, Record};
use aioproducer_rdkafka::{EmbeddedBroker, Librdkafka};
use aioproducer_tests::executor::Host;
use aioproducer_tests::probe::{Observed, at_once};
use aioproducer_tests::scripted::Script;
use aioproducer_tests::{broker, promises};
use smol::channel::{self, Sender};

promises! {
    s28_a_record_alone_completes_without_a_change_of_threads,
    s28_a_queue_without_room_to_spare_frees_a_record_before_it_completes,
    s28_a_waker_may_produce,
    s28_a_record_that_is_not_alone_completes_in_its_turn,
}

fn accepted(producer: &AioProducer, number: usize) -> Delivery {
    at_once(producer.produce(Record::to("t").payload(number.to_string()))).expect("accepted")
}

fn with_queue_of(host: &Host, broker: &EmbeddedBroker, messages: &str) -> AioProducer {
    let mut config = broker::config(broker);
    config.set("queue.buffering.max.messages", messages);
    host.start(AioProducer::builder(Librdkafka::new(config)))
}

/// Sends the name of the thread that wakes it: `None` for one of librdkafka's, whose names are not Rust's.
struct Woken(Sender<Option<String>>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.try_send(thread::current().name().map(str::to_owned)).expect("one wake-up for each waker");
    }
}

/// The thread that completes a record; nothing if it was faster than this one.
async fn completed_by(delivery: Delivery) -> Option<Option<String>> {
    let (sender, woken) = channel::bounded(1);
    let waker = Waker::from(Arc::new(Woken(sender)));
    let mut delivery = pin!(delivery);
    match delivery.as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(outcome) => outcome.map(|_| None).expect("delivered"),
        Poll::Pending => {
            let by = woken.recv().await.expect("it is woken");
            delivery.await.expect("delivered");
            Some(by)
        }
    }
}

/// A record completes inline if the worker sleeps, so the test pauses longer and longer before the next record.
async fn s28_a_record_alone_completes_without_a_change_of_threads(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = with_queue_of(&host, &broker, "0");
    for number in 0.. {
        for _ in 0..number {
            smol::future::yield_now().await;
        }
        let by = completed_by(accepted(&producer, number)).await;
        if by.is_some_and(|by| by.is_none()) {
            break;
        }
    }
    assert!(producer.flush().await.is_ok());
    assert_eq!((producer.len(), producer.statistics().stale_reports), (0, 0));
}

/// The queue has room for one message. A record that completes before its message is freed leaves no room for the next one,
/// which would fail: nothing in the queue could make room.
async fn s28_a_queue_without_room_to_spare_frees_a_record_before_it_completes(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = with_queue_of(&host, &broker, "1");
    for number in 0..200 {
        if let Some(by) = completed_by(accepted(&producer, number)).await {
            assert!(by.is_some_and(|name| name.starts_with("aioproducer-worker")));
        }
    }
}

/// Records of which each is produced by the wake-up of the one before.
const CHAIN: usize = 300;

/// An executor that polls its task on the thread that wakes it, at once. The task sends one record after the other.
struct Inline {
    producer: AioProducer,
    /// How many were delivered, and the next one.
    task: Mutex<(usize, Option<Delivery>)>,
    /// It was woken, perhaps by itself, as a task that yields is.
    woken: AtomicBool,
    offsets: Sender<i64>,
}

impl Inline {
    fn run(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        // If it runs already, it runs once more.
        while self.woken.load(Ordering::SeqCst)
            && let Ok(mut task) = self.task.try_lock()
        {
            if self.woken.swap(false, Ordering::SeqCst) {
                self.poll(&mut task);
            }
        }
    }

    fn poll(self: &Arc<Self>, (delivered, under_way): &mut (usize, Option<Delivery>)) {
        let waker = Waker::from(Arc::clone(self));
        while let Some(mut delivery) = under_way.take() {
            match Pin::new(&mut delivery).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => {
                    *under_way = Some(delivery);
                    return;
                }
                Poll::Ready(outcome) => {
                    self.offsets
                        .try_send(outcome.expect("delivered").offset().expect("an offset"))
                        .expect("room for all");
                    *delivered += 1;
                    *under_way = (*delivered < CHAIN).then(|| accepted(&self.producer, *delivered));
                }
            }
        }
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        self.run();
    }
}

async fn s28_a_waker_may_produce(host: Host) {
    let broker = broker::start_with_topic("t", 1);
    let producer = with_queue_of(&host, &broker, "0");
    let (offsets, sent) = channel::bounded(CHAIN);
    let task = Mutex::new((0, Some(accepted(&producer, 0))));
    let inline = Arc::new(Inline { producer: producer.clone(), task, woken: AtomicBool::new(false), offsets });
    inline.run();
    while sent.len() < CHAIN {
        // No other record is sent, so each is alone.
        smol::future::yield_now().await;
    }
    let offsets: Vec<_> = std::iter::from_fn(|| sent.try_recv().ok()).collect();
    assert!(offsets.into_iter().eq(0..CHAIN as i64));
}

async fn s28_a_record_that_is_not_alone_completes_in_its_turn(host: Host) {
    let script = Script::new();
    let producer = host.start(AioProducer::builder(script.backend()));
    let (mut first, mut second) = (Observed::new(accepted(&producer, 0)), Observed::new(accepted(&producer, 1)));
    let seen = script.accept().await;
    assert!(!script.deliver_at_once(&seen[1]));
    assert!(first.is_pending() && second.is_pending());
    script.deliver([&seen[0]]);
    assert!(script.deliver_at_once(&seen[1]), "it is the only one");
    assert_eq!([first.ready(), second.ready()].map(|outcome| outcome.expect("delivered").offset()), [Some(0); 2]);
    assert!(!script.deliver_at_once(&seen[1]), "a second time");
    assert_eq!((producer.len(), producer.statistics().stale_reports), (0, 0));
}
