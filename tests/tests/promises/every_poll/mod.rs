//! S5, S30: every public future is dropped at its first, second, … poll while other tasks produce. No other task loses a record,
//! and of the future's own records exactly the accepted ones are in the log.
//!
//! One task drops futures; others produce without a pause, each to its own partition. Then each partition's log is compared
//! with what its task did, record by record.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aioproducer_driver::{AioProducer, ProduceError, Record};
use aioproducer_tests::executor::{Host, Joined};
use aioproducer_tests::promises;
use smol::future::yield_now;

use self::candidates::{Begun, CANDIDATES, Candidate, Fate, Step, begun};
use self::world::World;

mod candidates;
mod world;

promises! {
    s30_futures_dropped_at_every_poll_cost_no_other_task_a_record,
    s30_futures_dropped_at_every_poll_cost_no_other_task_a_record_on_a_broker,
    s30_a_close_dropped_at_every_poll_goes_on,
    s30_a_close_dropped_at_every_poll_goes_on_on_a_broker,
}

const LONG: Duration = Duration::from_secs(3600);

/// Polls before the drop, at most.
const POLLS: usize = 8;

/// Slots of the pool: few, so that it is full most of the time.
const SLOTS: usize = 8;

/// Tasks that only produce. Their partitions are 0, 1, …
const BYSTANDERS: i32 = 4;

/// The partition of the task that drops futures.
const OWN: i32 = BYSTANDERS;

/// How a future is kept pending, and when it is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The reports of this task's records are held back; it is polled again and again.
    Held,
    /// All reports are held back, and the pool is full; it is polled again and again.
    Full,
    /// Nothing is held back; it is polled again and again.
    Restless,
    /// Nothing is held back; it is polled when it is woken.
    Woken,
}

/// Polls a future a number of times and then drops it. Resolves to whether the future was ready.
struct DroppedAt {
    inner: Option<Step>,
    polls: usize,
    restless: bool,
}

impl Future for DroppedAt {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        if let Some(left) = this.polls.checked_sub(1) {
            this.polls = left;
            let inner = this.inner.as_mut().expect("polled until it is ready");
            if inner.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
        }
        if this.polls > 0 {
            if this.restless {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        this.inner = None;
        Poll::Ready(false)
    }
}

/// What one task did: the payloads of each of its calls, in order, and which of them must be in the log.
type Story = Vec<(Vec<String>, Fate)>;

/// Compares a partition's log with what its task did: nothing is lost, doubled or reordered, and nothing is there that was not
/// accepted.
fn compare(who: &str, story: &Story, log: &[String]) {
    let mut rest = log;
    for (texts, fate) in story {
        let same = rest.iter().zip(texts).take_while(|(found, text)| found == text).count();
        match fate {
            Fate::All => assert_eq!(same, texts.len(), "{who}: {texts:?} instead of {:?}", rest.first()),
            Fate::Prefix => {}
            Fate::None => assert_eq!(same, 0, "{who}: {texts:?} was never accepted"),
        }
        rest = &rest[same..];
    }
    assert!(rest.is_empty(), "{who}: {rest:?} is more than was accepted, or out of order");
}

/// Tasks that produce until they are stopped or refused.
struct Bystanders {
    stop: Arc<AtomicBool>,
    tasks: Vec<Joined<Story>>,
}

impl Bystanders {
    fn start(host: &Host, producer: &AioProducer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks =
            (0..BYSTANDERS).map(|partition| host.spawn(produce_until(Arc::clone(&stop), producer.clone(), partition)));
        Self { tasks: tasks.collect(), stop }
    }

    /// Stops them.
    async fn stop(self) -> Vec<Story> {
        self.stop.store(true, Ordering::SeqCst);
        self.join().await
    }

    /// Waits until they are refused.
    async fn join(self) -> Vec<Story> {
        let mut stories = Vec::new();
        for task in self.tasks {
            stories.push(task.join().await);
        }
        stories
    }
}

async fn produce_until(stop: Arc<AtomicBool>, producer: AioProducer, partition: i32) -> Story {
    let mut story = Story::new();
    let mut open = VecDeque::new();
    while !stop.load(Ordering::SeqCst) {
        let text = format!("bystander {partition}, record {}", story.len());
        let record = Record::to("t").partition(partition).payload(text.clone());
        match producer.produce(record).await {
            Ok(delivery) => {
                open.push_back(delivery);
                story.push((vec![text], Fate::All));
            }
            Err(ProduceError::Closed(_)) => {
                story.push((vec![text], Fate::None));
                break;
            }
            Err(error) => panic!("{error}"),
        }
        // More than the pool holds, so it waits for the pool.
        if open.len() > 2 * SLOTS {
            open.pop_front().expect("not empty").await.expect("a bystander's record");
        }
    }
    for delivery in open {
        delivery.await.expect("a bystander's record");
    }
    story
}

/// Checks the producer and the log after all tasks have ended.
async fn check(world: World, producer: AioProducer, own: &Story, others: &[Story]) {
    assert!(producer.close(LONG).await.is_complete());
    let statistics = producer.statistics();
    assert_eq!((statistics.in_use, statistics.bytes, statistics.waiters), (0, 0, 0));
    assert_eq!((statistics.stale_reports, producer.len()), (0, 0));
    assert!(statistics.high_water <= SLOTS);
    let mut log = world.log().await;
    let written: usize = log.values().map(Vec::len).sum();
    assert_eq!(written as u64, statistics.acquired, "what was accepted is in the log, and nothing else");
    compare("the one who drops", own, &log.remove(&OWN).unwrap_or_default());
    for (partition, story) in (0..).zip(others) {
        let found = log.remove(&partition).unwrap_or_default();
        compare(&format!("bystander {partition}"), story, &found);
    }
}

/// Runs one candidate until it is dropped or ready. `true` if it was ready.
async fn attempt(
    host: &Host,
    world: &World,
    producer: &AioProducer,
    candidate: &Candidate,
    (mode, polls): (Mode, usize),
    story: &mut Story,
) -> bool {
    let number = story.len();
    let texts: Vec<_> = (0..candidate.records).map(|n| format!("{} {number}, record {n}", candidate.name)).collect();
    let records = texts.iter().map(|text| Record::to("t").partition(OWN).payload(text.clone())).collect();
    if mode == Mode::Held {
        world.hold(true);
    }
    let Begun(future) = (candidate.begin)(producer.clone(), records).await;
    if mode == Mode::Full {
        world.hold(false);
        host.until(|| producer.statistics().in_use == SLOTS).await;
    }
    let ended = DroppedAt { inner: Some(future), polls, restless: mode != Mode::Woken }.await;
    let fate = match (ended, candidate.when_dropped) {
        (true, _) | (false, Fate::All) => Fate::All,
        // A full pool lets no record in.
        (false, _) if mode == Mode::Full => Fate::None,
        (false, fate) => fate,
    };
    story.push((texts, fate));
    world.release();
    ended
}

async fn drop_each(host: &Host, (world, producer): (World, AioProducer), modes: &[Mode]) {
    let bystanders = Bystanders::start(host, &producer);
    let mut own = Story::new();
    for candidate in &CANDIDATES {
        for polls in 0..=POLLS {
            let mut dropped = false;
            for mode in modes {
                dropped |= !attempt(host, &world, &producer, candidate, (*mode, polls), &mut own).await;
                yield_now().await;
            }
            // With its reports held back it is never ready.
            let certain = modes.contains(&Mode::Held) && modes.contains(&Mode::Full);
            assert!(dropped || !certain, "{} was never dropped at poll {polls}", candidate.name);
        }
    }
    let others = bystanders.stop().await;
    assert!(producer.flush().await.is_ok());
    assert_eq!(producer.statistics().in_use, 0, "slots return");
    if let World::Scripted { script, .. } = &world {
        assert!(!script.flushing(), "no dropped flush is left behind");
    }
    check(world, producer, &own, &others).await;
}

async fn s30_futures_dropped_at_every_poll_cost_no_other_task_a_record(host: Host) {
    let modes = [Mode::Held, Mode::Full, Mode::Restless, Mode::Woken];
    drop_each(&host, World::scripted(&host), &modes).await;
}

async fn s30_futures_dropped_at_every_poll_cost_no_other_task_a_record_on_a_broker(host: Host) {
    drop_each(&host, World::broker(&host), &[Mode::Restless, Mode::Woken]).await;
}

/// Once polled, a close goes on without its future. Records accepted before arrive, and later ones are refused.
async fn drop_close(host: &Host, (world, producer): (World, AioProducer), polls: usize, held: bool) {
    let bystanders = Bystanders::start(host, &producer);
    host.until(|| producer.statistics().acquired > 2 * SLOTS as u64).await;
    if held {
        world.hold(false);
        host.until(|| producer.statistics().in_use == SLOTS).await;
    }
    let closing = producer.clone();
    let Begun(close) = begun(async move { assert!(closing.close(LONG).await.is_complete()) });
    let ended = DroppedAt { inner: Some(close), polls, restless: held }.await;
    assert!(!(ended && held), "with reports held back it cannot end");
    assert_eq!(producer.is_closed(), polls > 0, "{polls} polls");
    world.release();
    // Without a close they would not be refused.
    let others = if polls > 0 { bystanders.join().await } else { bystanders.stop().await };
    check(world, producer, &Story::new(), &others).await;
}

async fn s30_a_close_dropped_at_every_poll_goes_on(host: Host) {
    for polls in 0..=POLLS {
        drop_close(&host, World::scripted(&host), polls, true).await;
        drop_close(&host, World::scripted(&host), polls, false).await;
    }
}

async fn s30_a_close_dropped_at_every_poll_goes_on_on_a_broker(host: Host) {
    for polls in 0..=3 {
        drop_close(&host, World::broker(&host), polls, false).await;
    }
}
