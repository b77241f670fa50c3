//! What the producer said of the load's records, against the log.

use std::time::Duration;

use aioproducer_history::{Allow, History, Log, ProduceCall, Verdict, check_with};

use crate::note::{End, Micros, Note, SECOND};
use crate::options::{ClusterKind, Options};
use crate::target::TOPIC;

/// How much longer than its delivery timeout a record may take to end.
const LATE: Micros = SECOND;

/// Compares the notes of `calls` calls with the log. Records that may be in the log may be there more than once, and on the embedded
/// broker, which does not look at sequence numbers, so may all others.
pub(crate) fn verdict(options: &Options, notes: &[Note], calls: u64, log: &Log) -> Verdict {
    let mut notes: Vec<_> = notes.iter().collect();
    notes.sort_unstable_by_key(|note| note.number);
    let mut notes = notes.into_iter().peekable();
    let mut history = History::new().delivery_timeout(options.delivery_timeout()).tick(micros(LATE));
    for number in 0..calls {
        let call = ProduceCall::new(number, TOPIC);
        match notes.next_if(|note| note.number == number) {
            Some(note) => add(&mut history, call, note),
            None => drop(history.produce(Duration::ZERO, call)),
        }
    }
    let allow = match options.cluster {
        ClusterKind::Kafka => Allow::nothing().duplicates_in_doubt(),
        ClusterKind::Embedded => Allow::nothing().duplicates(),
    };
    check_with(&history, log, allow)
}

fn add(history: &mut History, call: ProduceCall<'_>, note: &Note) {
    let lane = note.lane.map(u32::to_be_bytes);
    let call = lane.as_ref().map_or(call, |lane| call.key(lane));
    let record = history.produce(micros(note.called), call);
    let ended = micros(note.ended);
    // Each outcome is noted before the next call, so that all calls have an order.
    match note.end {
        End::Delivered { partition, offset } => history.delivered(record, ended, partition, offset),
        End::Failed(_, status) => history.failed(record, ended, status),
        End::Refused(_) => history.refused(record, ended),
    }
}

fn micros(micros: Micros) -> Duration {
    Duration::from_micros(micros)
}
