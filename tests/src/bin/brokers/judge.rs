//! Whether a run is as promised.

use aioproducer_history::Anomaly;

use crate::note::{Micros, SECOND};
use crate::options::{Routing, Scenario};
use crate::run::{Run, SHARE};
use crate::seconds::{Delivered, Side, ended};
use crate::timeline::Fault;

/// Within this time after the return, a broker's partitions have their rate.
const RETURN: Micros = SECOND;

/// A partition may be without success for so much longer than the longest fault.
const RECOVERY: Micros = 3 * SECOND;

/// What is said of a history that is not as promised.
const ANOMALIES: [(Anomaly, &str); 8] = [
    (Anomaly::NoOutcome, "records without an outcome"),
    (Anomaly::LateTimeout, "records ended more than a second after their delivery timeout"),
    (Anomaly::LostAck, "delivered records are not in the log"),
    (Anomaly::PersistedNotInLog, "records are not in the log that the producer says are"),
    (Anomaly::Duplicate, "delivered records are in the log more than once"),
    (Anomaly::G1a, "records are in the log that the producer says are not"),
    (Anomaly::Reordered, "delivered records are behind later ones of their lane"),
    (Anomaly::WrongOffset, "delivered records are not where the producer says"),
];

/// What is not as promised.
pub(crate) fn complaints(run: &Run<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut none = |count: usize, what: &str| {
        if count > 0 {
            found.push(format!("{count} {what}"));
        }
    };
    for (anomaly, what) in ANOMALIES {
        none(run.verdict.count(anomaly), what);
    }
    if run.options.keys == Routing::Keyless {
        let counts = run.verdict.counts();
        none(counts.failed() + counts.refused, "keyless records failed");
        none(run.waited(), "calls with a keyless record waited");
    }
    if run.options.grow.is_some() && run.in_added() == 0 {
        found.push("no record went to a partition that was added".into());
    }
    match (run.options.scenario, run.faults.first()) {
        (Scenario::Windows, _) => windows(run, &mut found),
        (Scenario::Slow, Some(fault)) => slow(run, fault, &mut found),
        // What a partition gets changes with the number of partitions.
        (_, Some(fault)) if run.options.grow.is_none() => isolation(run, fault, &mut found),
        _ => {}
    }
    found
}

fn isolation(run: &Run<'_>, fault: &Fault, found: &mut Vec<String>) {
    let side = Side::Healthy(fault.broker);
    let (rate, before) = run.before(side);
    let longest = (2 * before.p99).max(run.options.calm_p99 * 1_000);
    let seconds = run.seconds(side, fault.from, fault.back);
    let slow = seconds.iter().filter(|second| (second.count as f64) < rate * SHARE).count();
    if slow > 0 {
        let worst = seconds.iter().map(|second| second.count).min().unwrap_or_default();
        found.push(format!(
            "{slow} seconds of the fault have less than 95 % of the healthy {rate:.0} records/s, down to {worst}"
        ));
    }
    let late = seconds.iter().filter(|second| second.p99 > longest).count();
    if late > 0 {
        let worst = seconds.iter().map(|second| second.p99).max().unwrap_or_default();
        let ms = |micros: Micros| micros as f64 / 1e3;
        found.push(format!(
            "{late} seconds of the fault have a healthy p99 above {:.1} ms, up to {:.1}",
            ms(longest),
            ms(worst)
        ));
    }
    if run.options.keys == Routing::Keyless {
        let misled = run.misled(fault);
        if misled > 0 {
            found.push(format!("{misled} keyless records went to the hurt broker after the availability timeout"));
        }
        if run.used_again_after(fault).is_none_or(|after| after > RETURN) {
            found.push("the broker was not used within a second of its return".into());
        }
    } else if run.full_rate_after(fault).is_none_or(|after| after > RETURN) {
        found.push("the broker's partitions did not have their rate within a second of its return".into());
    }
}

fn slow(run: &Run<'_>, fault: &Fault, found: &mut Vec<String>) {
    let side = Side::Healthy(fault.broker);
    let (rate, _) = run.before(side);
    let (count, length) =
        (Delivered::of(ended(run.notes, fault.from, fault.healed), side).count, fault.healed - fault.from);
    let during = count as f64 / (length as f64 / SECOND as f64);
    if during < rate * SHARE {
        found.push(format!("the fast brokers' {rate:.0} records/s fell to {during:.0} beside a slow one"));
    }
}

fn windows(run: &Run<'_>, found: &mut Vec<String>) {
    let limit = run.longest_fault() + RECOVERY;
    for (partition, length, from) in run.gaps() {
        if length > limit {
            let [length, from, limit] = [length, from, limit].map(|micros| micros as f64 / 1e6);
            found.push(format!(
                "partition {partition} had no success for {length:.1} s from {from:.1} s on, of {limit:.1} s"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aioproducer_driver::error::{FailureKind, Status};
    use aioproducer_history::{Log, LogEntry};
    use clap::Parser;

    use super::*;
    use crate::history::verdict;
    use crate::note::{End, Note};
    use crate::options::Options;
    use crate::run::{LEAVE, WAITED};
    use crate::target::{Hurt, PARTITIONS, TOPIC, leader};

    const RATE: u64 = 100;

    const FAULT: Fault =
        Fault { broker: 2, hurt: Hurt::Stop, from: 10 * SECOND, healed: 20 * SECOND, back: 21 * SECOND };

    const END: Micros = 30 * SECOND;

    fn options(arguments: &[&str]) -> Options {
        let arguments: Vec<_> = ["brokers"].into_iter().chain(arguments.iter().copied()).collect();
        Options::parse_from(arguments)
    }

    /// 100 records each second to each partition, delivered after 5 ms each; during the fault those of broker 2 have no success,
    /// and end with it.
    fn notes() -> Vec<Note> {
        let mut notes = Vec::new();
        for (partition, tick) in (0..PARTITIONS).flat_map(|partition| (0..30 * RATE).map(move |tick| (partition, tick)))
        {
            let called = tick * SECOND / RATE;
            let is_hurt = leader(partition) == FAULT.broker && (FAULT.from..FAULT.back).contains(&called);
            notes.push(Note {
                number: notes.len() as u64,
                lane: Some(partition as u32),
                wanted: Some(partition),
                end: End::Delivered { partition, offset: Some(tick as i64) },
                called,
                accepted: called,
                ended: if is_hurt { FAULT.back } else { called + 5_000 },
            });
        }
        notes
    }

    /// The complaints, after the notes were changed.
    fn found(arguments: &[&str], change: impl Fn(&mut Note)) -> Vec<String> {
        let options = options(arguments);
        let mut notes = notes();
        notes.iter_mut().for_each(change);
        notes.sort_by_key(|note| note.ended);
        let verdict = verdict(&options, &notes, notes.len() as u64, &log(&notes));
        let run = Run { options: &options, notes: &notes, faults: &[FAULT], end: END, verdict: &verdict };
        complaints(&run)
    }

    /// The log that the producer says there is.
    fn log(notes: &[Note]) -> Log {
        let mut log = Log::new();
        for note in notes {
            if let End::Delivered { partition, offset } = note.end {
                // Those without an offset are behind the others, in the order of their calls.
                let offset = offset.unwrap_or(1_000_000 + note.number as i64);
                log.push(TOPIC, partition, offset, LogEntry::record(note.number));
            }
        }
        log
    }

    fn is_healthy(note: &Note) -> bool {
        leader(note.partition()) != FAULT.broker
    }

    #[track_caller]
    fn one(found: &[String], part: &str) {
        assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
    }

    #[test]
    fn a_run_as_promised_has_no_complaint() {
        assert_eq!(found(&["stop"], |_| {}), [""; 0]);
        assert_eq!(found(&["windows"], |_| {}), [""; 0]);
        assert_eq!(found(&["slow", "--cluster", "embedded"], |_| {}), [""; 0]);
    }

    #[test]
    fn a_healthy_second_with_too_few_records_is_found() {
        // 6 of 100 records of the 15th second end a second later.
        let change = |note: &mut Note| {
            let late = is_healthy(note) && (15 * SECOND..15 * SECOND + 60_000).contains(&note.called);
            note.ended += if late { SECOND } else { 0 };
        };
        let found = found(&["stop", "--calm-p99", "2000"], change);
        one(&found, "1 seconds of the fault have less than 95 % of the healthy 400 records/s, down to 376");
    }

    #[test]
    fn a_healthy_second_with_a_long_p99_is_found() {
        let change = |note: &mut Note| {
            let late = is_healthy(note) && (15 * SECOND..15 * SECOND + 20_000).contains(&note.called);
            note.ended += if late { 6_000 } else { 0 };
        };
        one(&found(&["stop"], change), "1 seconds of the fault have a healthy p99 above 10.0 ms, up to 11.0");
        assert_eq!(found(&["stop", "--calm-p99", "11"], change), [""; 0]);
    }

    #[test]
    fn a_late_return_to_the_full_rate_is_found() {
        let change = |note: &mut Note| {
            let slow = !is_healthy(note) && (FAULT.back..FAULT.back + 3 * SECOND / 2).contains(&note.called);
            note.ended += if slow { 2 * SECOND } else { 0 };
        };
        one(&found(&["stop"], change), "did not have their rate within a second");
    }

    #[test]
    fn records_that_end_after_their_timeout_are_found() {
        let late = |note: &mut Note| note.end = End::Failed(FailureKind::TimedOut, Status::NotPersisted);
        let change = |note: &mut Note| {
            if note.latency() > 10 * SECOND {
                late(note);
            }
        };
        // Those of the fault's first second took from 10 to 11 seconds.
        one(&found(&["stop", "--timeout", "9"], change), "200 records ended more than a second after");
        assert_eq!(found(&["stop", "--timeout", "10"], change), [""; 0]);
    }

    #[test]
    fn what_the_history_has_is_said() {
        let options = options(&["calm"]);
        let note = |number: u64, end: End| Note {
            number,
            lane: Some(0),
            wanted: None,
            end,
            called: 0,
            accepted: 0,
            ended: if number == 0 { END * 10 } else { 0 },
        };
        let at = |number: u64, offset: i64| note(number, End::Delivered { partition: 0, offset: Some(offset) });
        let failed = |number: u64, status| note(number, End::Failed(FailureKind::TimedOut, status));
        let notes = [
            at(0, 0),
            at(1, 9),
            at(2, 2),
            at(3, 1),
            failed(4, Status::NotPersisted),
            failed(5, Status::Persisted),
            failed(6, Status::PossiblyPersisted),
            at(7, 8),
        ];
        let mut log = Log::new();
        for (offset, number) in [(0, 0), (1, 3), (2, 2), (3, 3), (4, 4), (5, 6), (6, 6), (7, 7)] {
            log.push(TOPIC, 0, offset, LogEntry::record(number));
        }
        let verdict = verdict(&options, &notes, 9, &log);
        let run = Run { options: &options, notes: &notes, faults: &[], end: END, verdict: &verdict };
        let expected: Vec<_> = ANOMALIES.iter().map(|(_, what)| format!("1 {what}")).collect();
        assert_eq!(complaints(&run), expected);
    }

    #[test]
    fn keyless_records_that_fail_wait_or_stay_are_found() {
        let keyless = ["stop", "--keys", "keyless"];
        // Within the availability timeout they may go there; afterwards they go elsewhere.
        let leave = |note: &mut Note| {
            if !is_healthy(note) && (11 * SECOND + LEAVE..FAULT.back).contains(&note.called) {
                note.end = End::Delivered { partition: 0, offset: None };
                note.ended = note.called + 5_000;
            }
        };
        assert_eq!(found(&keyless, leave), [""; 0]);
        let stay = found(&keyless, |_| {});
        assert!(stay.iter().any(|found| found.contains("1780 keyless records went to the hurt broker")), "{stay:?}");
        let wait = |note: &mut Note| {
            leave(note);
            note.accepted += if note.number == 7 { WAITED + 1 } else { 0 };
        };
        one(&found(&keyless, wait), "1 calls with a keyless record waited");
        let never = |note: &mut Note| {
            leave(note);
            if !is_healthy(note) && note.called >= FAULT.back {
                note.end = End::Delivered { partition: 0, offset: None };
            }
        };
        one(&found(&keyless, never), "not used within a second of its return");
    }

    #[test]
    fn added_partitions_without_records_are_found() {
        one(&found(&["stop", "--grow", "7"], |_| {}), "no record went to a partition that was added");
        let change = |note: &mut Note| {
            if note.number == 0 {
                note.end = End::Delivered { partition: 6, offset: Some(0) };
            }
        };
        assert_eq!(found(&["stop", "--grow", "7"], change), [""; 0]);
    }

    #[test]
    fn a_long_time_without_success_is_found() {
        let change = |note: &mut Note| {
            if note.partition() == 4 && (FAULT.from..FAULT.back + 3 * SECOND).contains(&note.called) {
                note.ended = FAULT.back + 3 * SECOND + 10_000;
            }
        };
        one(&found(&["windows"], change), "partition 4 had no success for 14.0 s from 10.0 s on, of 14.0 s");
    }

    #[test]
    fn fast_brokers_that_lose_their_rate_are_found() {
        let change = |note: &mut Note| {
            if is_healthy(note) && note.number.is_multiple_of(10) && note.called >= FAULT.from {
                note.end = End::Refused("Full");
            }
        };
        one(&found(&["slow", "--cluster", "embedded"], change), "fast brokers' 400 records/s fell to 360");
    }

    #[test]
    fn a_delivery_timeout_has_parts_of_seconds() {
        assert_eq!(options(&["stop", "--timeout", "2.5"]).delivery_timeout(), Duration::from_millis(2_500));
    }
}
