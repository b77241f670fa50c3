//! The machine as a C program would link it: no std, no allocator, no unwinding.

#![no_std]

use core::panic::PanicInfo;

use core::time::Duration;

use aioproducer_core::{
    Action, AdmitDecision, FlushScope, Inline, Instant, Lane, Limits, Overflow, Phase, Producer, PurgeScope, Record, TopicId,
};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[derive(Clone, Copy)]
struct Reading(u32, Option<Duration>);

impl Record for Reading {
    fn lane(&self) -> Lane {
        Lane::new(TopicId(self.0), None)
    }

    fn size(&self) -> usize {
        4
    }

    fn timeout(&self) -> Option<Duration> {
        self.1
    }
}

/// Brings a record of topic `topic` from produce to its report, beside others that take the machine's other ways out,
/// and returns how many records ended as they should. The arguments keep the compiler from working it out beforehand.
#[unsafe(no_mangle)]
pub extern "C" fn records_ended(topic: u32, nanos: u64) -> u32 {
    let now = Instant::from_nanos(nanos);
    let limits = Limits { batch_records: 2, overflow: Overflow::DropOldest, ..Limits::default() };
    let Ok(mut machine) = Producer::<Reading, u32, Inline<4, 4>>::new(limits, Inline::new()) else { return 0 };
    let mut ended = 0;
    let reading = Reading(topic, None);

    let (Ok(sent), Ok(refused)) = (machine.produce(now, reading, 1), machine.produce(now, reading, 2)) else {
        return 0;
    };
    let flush = machine.flush(FlushScope::Topic(TopicId(topic)));
    let mut last = None;
    let each = |id, record, _| {
        last = Some((id, record));
        None
    };
    let Some(batch) = machine.poll_batch(now, each) else { return 0 };
    if let Some((id, record)) = last {
        ended += u32::from(id == refused && machine.handle_refused(id, record).is_ok());
    }
    ended += u32::from(machine.handle_settled(&batch).is_none());
    ended += u32::from(machine.handle_report(sent).is_some_and(|completed| completed.ticket == 1));
    ended += u32::from(machine.handle_report(sent).is_none());
    ended += u32::from(machine.left_of(flush) == 1 && machine.retract(refused).is_ok() && machine.is_flushed(flush));
    ended += u32::from(machine.poll_flushed().is_some_and(|flushed| flush.position() < flushed.below));

    if machine.produce(now, reading, 3).is_ok() && machine.poll_timeout().is_some() {
        ended += u32::from(machine.poll_expired(Instant::MAX).is_some_and(|expired| expired.ended.ticket == 3));
    }
    if machine.produce(now, reading, 4).is_ok() {
        ended += u32::from(machine.poll_drained().is_some_and(|(_, taken)| taken.ticket == 4));
    }
    let own = Reading(topic, Some(Duration::ZERO));
    if let Ok(late) = machine.produce(now, own, 5) {
        if let Some(batch) = machine.poll_batch(now, |_, record, _| Some(record)) {
            ended += u32::from(machine.handle_settled(&batch).is_none());
        }
        ended += u32::from(machine.poll_expired(now).is_some_and(|late| late.handed_off && late.record.is_some()));
        ended += u32::from(machine.handle_report(late).is_none());
    }
    for ticket in 6..10 {
        ended += u32::from(machine.produce(now, reading, ticket).is_ok());
    }
    let admission = machine.admit(Lane::new(TopicId(topic), None), 4, true, |_, evicted| ended += evicted.ticket);
    ended += u32::from(admission == AdmitDecision::Enter);
    machine.purge(PurgeScope::All);
    while machine.poll_purged().is_some() {
        ended += 1;
    }
    ended += u32::from(machine.poll_action(true) == Some(Action::Purge(PurgeScope::All)));
    if machine.produce(now, reading, 10).is_ok() && machine.poll_batch(now, |_, _, _| None).is_some() {
        machine.close(now, Duration::ZERO);
        while machine.poll_action(true).is_some() {}
        machine.handle_backend_ended();
        ended += u32::from(machine.poll_unsent().is_some_and(|unsent| unsent.ended.ticket == 10));
        ended += u32::from(machine.poll_unsent().is_none() && machine.phase() == Phase::Ended);
    }
    ended + u32::from(machine.is_empty())
}
