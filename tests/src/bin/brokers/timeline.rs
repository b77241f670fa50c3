//! What happens when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aioproducer_tests::cluster::{BROKERS, CONTROLLER};

use crate::note::{Micros, Recorder};
use crate::options::{Options, Scenario};
use crate::target::{Hurt, Target};

/// The longest that a broker takes to come back.
const BACK_LIMIT: Duration = Duration::from_secs(90);

/// Its partitions are the hurt ones of `stop`, `kill` and `calm`.
const SECOND_BROKER: i32 = 2;

/// What a broker suffered, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) broker: i32,
    pub(crate) hurt: Hurt,
    pub(crate) from: Micros,
    /// When the broker was let go on, or started.
    pub(crate) healed: Micros,
    /// When all partitions had their leader and their replicas again.
    pub(crate) back: Micros,
}

/// What a second belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    /// The broker that is, was last or will be first hurt.
    pub(crate) broker: i32,
}

pub(crate) struct Timeline(Mutex<Phase>);

impl Timeline {
    pub(crate) fn new(options: &Options) -> Self {
        Self(Mutex::new(Phase { name: "before", broker: victim(options.scenario, 0).0 }))
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, name: &'static str, broker: i32) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Phase { name, broker };
    }

    /// Goes through all faults.
    pub(crate) async fn run(&self, options: &Options, target: &Arc<Target>, recorder: &Recorder) -> Vec<Fault> {
        let calm = Duration::from_millis(options.delays[0]);
        if options.scenario == Scenario::Slow {
            let delays = [options.delays[0], options.delays[1], options.delays[0]];
            for (broker, delay) in (1..).zip(delays) {
                target.hurt(broker, Hurt::Slow(Duration::from_millis(delay))).expect("a fault");
            }
        }
        let count = if options.scenario == Scenario::Windows { options.windows } else { 1 };
        let mut faults = Vec::new();
        let mut at = recorder.origin() + Duration::from_secs(options.before);
        for window in 0..count {
            until(at).await;
            let (broker, hurt) = match victim(options.scenario, window) {
                (broker, Hurt::Slow(_)) => (broker, Hurt::Slow(Duration::from_millis(options.delays[2]))),
                other => other,
            };
            self.enter("fault", broker);
            let from = recorder.now();
            target.hurt(broker, hurt).expect("a fault");
            println!("{:.3} s: broker {broker}: {hurt:?}", from as f64 / 1e6);
            if let (0, Some(count)) = (window, options.grow) {
                until(at + Duration::from_secs(1)).await;
                let target = Arc::clone(target);
                tokio::task::spawn_blocking(move || target.grow(count)).await.expect("it does not panic");
                println!("{:.3} s: the topic has {count} partitions", recorder.now() as f64 / 1e6);
            }
            until(at + Duration::from_secs(options.fault)).await;
            let healed = recorder.now();
            target.heal(broker, hurt, calm).expect("an end of the fault");
            self.enter("return", broker);
            let whole = Arc::clone(target);
            tokio::task::spawn_blocking(move || is_back(&whole, broker)).await.expect("it does not panic");
            let back = recorder.now();
            self.enter("after", broker);
            println!(
                "{:.3} s: broker {broker} goes on; {:.3} s: all partitions are whole",
                healed as f64 / 1e6,
                back as f64 / 1e6
            );
            faults.push(Fault { broker, hurt, from, healed, back });
            at = Instant::now() + Duration::from_secs(options.after);
        }
        until(at).await;
        faults
    }
}

/// Who is hurt in a window, and how.
fn victim(scenario: Scenario, window: u32) -> (i32, Hurt) {
    match scenario {
        Scenario::Calm => (SECOND_BROKER, Hurt::Calm),
        Scenario::Stop => (SECOND_BROKER, Hurt::Stop),
        Scenario::Kill => (SECOND_BROKER, Hurt::Kill),
        Scenario::Controller => (CONTROLLER, Hurt::Stop),
        Scenario::Slow => (BROKERS, Hurt::Slow(Duration::ZERO)),
        Scenario::Windows => {
            let hurt = if window.is_multiple_of(2) { Hurt::Stop } else { Hurt::Kill };
            (window as i32 % BROKERS + 1, hurt)
        }
    }
}

async fn until(at: Instant) {
    tokio::time::sleep_until(at.into()).await;
}

fn is_back(target: &Target, broker: i32) {
    let begin = Instant::now();
    while !target.is_whole(broker) {
        assert!(begin.elapsed() < BACK_LIMIT, "the broker is not back after {BACK_LIMIT:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
