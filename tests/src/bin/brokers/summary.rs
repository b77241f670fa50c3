//! The numbers of a run.

use aioproducer_history::Anomaly;

use crate::note::{Micros, SECOND, failures};
use crate::options::{Routing, Scenario};
use crate::run::{Run, SHARE};
use crate::seconds::{Delivered, Side, ended};
use crate::timeline::Fault;

/// Findings that are printed.
const SHOWN: usize = 20;

pub(crate) fn print(run: &Run<'_>) {
    let (verdict, counts) = (run.verdict, run.verdict.counts());
    println!(
        "history: {} calls, {} delivered, {} failed, {} refused, {} without an outcome; {} records in the log",
        counts.calls,
        counts.delivered,
        counts.failed(),
        counts.refused,
        verdict.count(Anomaly::NoOutcome),
        counts.log
    );
    let doubled = verdict.count(Anomaly::Duplicate) + counts.duplicates;
    println!(
        "history: lost {}, doubled {} ({:.3} % of the delivered), reordered {}, not persisted and in the log {}, misplaced {}, \
         possibly persisted and doubled {}, cut off by the broker {}",
        verdict.count(Anomaly::LostAck),
        doubled,
        share(doubled, counts.delivered),
        verdict.count(Anomaly::Reordered),
        verdict.count(Anomaly::G1a),
        verdict.count(Anomaly::WrongOffset),
        counts.duplicates_in_doubt,
        counts.cut_off
    );
    for finding in verdict.findings().iter().take(SHOWN) {
        println!("history: {finding}");
    }
    for (failure, count) in failures(run.notes) {
        println!("failures: {count} {failure}");
    }
    if counts.failed() > 0 {
        println!("failures: {:.1} % of the failed are NotPersisted", share(counts.not_persisted, counts.failed()));
    }
    println!(
        "ends: the longest after {:.3} s; {} later than the delivery timeout of {:.1} s and a second; {} calls waited",
        run.longest() as f64 / 1e6,
        verdict.count(Anomaly::LateTimeout),
        run.options.delivery_timeout().as_secs_f64(),
        run.waited()
    );
    if run.options.grow.is_some() {
        println!("grow: {} records were delivered to partitions that were added", run.in_added());
    }
    if run.options.scenario == Scenario::Windows {
        gaps(run);
    }
    for fault in run.faults {
        of_fault(run, fault);
    }
}

fn gaps(run: &Run<'_>) {
    println!("windows: the longest fault took {:.1} s", seconds(run.longest_fault()));
    for (partition, length, from) in run.gaps() {
        println!(
            "windows: partition {partition} had no success for {:.1} s, from {:.1} s on",
            seconds(length),
            seconds(from)
        );
    }
}

fn of_fault(run: &Run<'_>, fault: &Fault) {
    let Fault { broker, hurt, from, healed, back } = *fault;
    let (healthy, hurt_side) = (Side::Healthy(broker), Side::Hurt(broker));
    println!(
        "fault: broker {broker}, {hurt:?}, for {:.1} s, back {:.1} s later",
        seconds(healed - from),
        seconds(back - healed)
    );
    for (name, side) in [("healthy", healthy), ("hurt", hurt_side)] {
        let (rate, before) = run.before(side);
        if before.count == 0 {
            // The controller has no partitions.
            continue;
        }
        println!(
            "fault: {name} before: {rate:.0} records/s, p50 {:.1} ms, p99 {:.1} ms",
            ms(before.p50),
            ms(before.p99)
        );
        let during = run.seconds(side, from, back);
        let whole = Delivered::of(ended(run.notes, from, back), side);
        let least = during.iter().map(|second| second.count).min().unwrap_or_default();
        let most = during.iter().map(|second| second.p99).max().unwrap_or_default();
        println!(
            "fault: {name} during: {:.0} records/s, least {least} ({:.1} %), {} of {} s at 0, {} below 95 %; \
             p99 {:.1} ms, most {:.1}, {} s above twice that of before",
            whole.count as f64 / seconds(back - from),
            100.0 * least as f64 / rate,
            during.iter().filter(|second| second.count == 0).count(),
            during.len(),
            during.iter().filter(|second| (second.count as f64) < rate * SHARE).count(),
            ms(whole.p99),
            ms(most),
            during.iter().filter(|second| second.p99 > 2 * before.p99).count(),
        );
        if let Some(at) = during.iter().position(|second| second.count == 0) {
            println!("fault: {name} first at 0 after {at} s");
        }
    }
    let after = |time: Option<Micros>| time.map_or("never".into(), |time| format!("after {:.1} s", seconds(time)));
    println!(
        "fault: full rate {}; used again {}",
        after(run.full_rate_after(fault)),
        after(run.used_again_after(fault))
    );
    if run.options.keys == Routing::Keyless {
        println!("fault: {} keyless records went to it after the availability timeout", run.misled(fault));
    }
}

fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / SECOND as f64
}

fn ms(micros: Micros) -> f64 {
    micros as f64 / 1e3
}
