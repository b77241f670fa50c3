//! A row for each second, while it runs.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::note::{Note, Recorder, failures};
use crate::seconds::{Delivered, Side};
use crate::target::{PARTITIONS, leader};
use crate::timeline::{Phase, Timeline};

/// Prints rows, and keeps all notes.
pub(crate) struct Rows {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Note>>,
}

impl Rows {
    pub(crate) fn start(recorder: &Arc<Recorder>, timeline: &Arc<Timeline>) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let (recorder, timeline) = (Arc::clone(recorder), Arc::clone(timeline));
        println!("Latencies in ms; the two groups are the healthy brokers' partitions and those of the hurt one.");
        println!("   s phase   healthy/s      p50      p99    hurt/s      p50      p99  waiting  failed");
        let thread = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for second in 1.. {
                let phase = timeline.phase();
                let next = recorder.origin() + Duration::from_secs(second);
                let waited = stopped.recv_timeout(next.saturating_duration_since(Instant::now()));
                let fresh = recorder.take();
                row(second, phase, &fresh, &recorder);
                kept.extend(fresh);
                if waited != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
            kept.sort_by_key(|note| note.ended);
            kept
        });
        Self { stop, thread }
    }

    /// All notes, in the order of their ends.
    pub(crate) fn stop(self) -> Vec<Note> {
        drop(self.stop);
        self.thread.join().expect("the rows do not panic")
    }
}

fn row(second: u64, phase: Phase, fresh: &[Note], recorder: &Recorder) {
    let Phase { name, broker } = phase;
    let [healthy, hurt] = [Side::Healthy(broker), Side::Hurt(broker)].map(|side| Delivered::of(fresh, side));
    let is_hurt = |partition: &i32| leader(*partition) == broker;
    let (hurt_ones, healthy_ones): (Vec<_>, Vec<_>) = (0..PARTITIONS).partition(is_hurt);
    let waiting = |partitions: Vec<i32>| -> usize {
        partitions.into_iter().map(|partition| recorder.waiting(Some(partition))).sum()
    };
    let waiting = [waiting(healthy_ones) + recorder.waiting(None), waiting(hurt_ones)];
    let failed: Vec<_> = failures(fresh).into_iter().map(|(failure, count)| format!("{count} {failure}")).collect();
    let ms = |micros: u64| micros as f64 / 1e3;
    println!(
        "{second:>4} {name:<7} {:>9} {:>8.1} {:>8.1} {:>9} {:>8.1} {:>8.1} {:>4}/{:<3}  {}",
        healthy.count,
        ms(healthy.p50),
        ms(healthy.p99),
        hurt.count,
        ms(hurt.p50),
        ms(hurt.p99),
        waiting[0],
        waiting[1],
        failed.join(", ")
    );
}
