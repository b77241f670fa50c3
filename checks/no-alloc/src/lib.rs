//! The machine as a C program would link it: no std, no allocator, no unwinding.

#![no_std]

use core::panic::PanicInfo;

use aioproducer_core::{Inline, Instant, Lane, Limits, Producer, Record, TopicId};

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

struct Reading(u32);

impl Record for Reading {
    fn lane(&self) -> Lane {
        Lane::new(TopicId(self.0), None)
    }

    fn size(&self) -> usize {
        4
    }
}

/// Brings a record of topic `topic` from produce to its report, beside others that take the machine's other ways out,
/// and returns how many records ended as they should. The arguments keep the compiler from working it out beforehand.
#[unsafe(no_mangle)]
pub extern "C" fn records_ended(topic: u32, nanos: u64) -> u32 {
    let now = Instant::from_nanos(nanos);
    let limits = Limits { batch_records: 2, ..Limits::default() };
    let Ok(mut machine) = Producer::<Reading, u32, Inline<64, 4>>::new(limits, Inline::new()) else { return 0 };
    let mut ended = 0;

    let (Ok(sent), Ok(refused)) = (machine.produce(now, Reading(topic), 1), machine.produce(now, Reading(topic), 2))
    else {
        return 0;
    };
    let point = machine.flush();
    let mut last = None;
    let Some(batch) = machine.poll_batch(now, |id, record| last = Some((id, record))) else { return 0 };
    if let Some((id, record)) = last {
        ended += u32::from(id == refused && machine.handle_refused(id, record).is_ok());
    }
    ended += u32::from(machine.handle_settled(&batch).is_none());
    ended += u32::from(machine.handle_report(sent).is_some_and(|completed| completed.ticket == 1));
    ended += u32::from(machine.handle_report(sent).is_none());
    ended += u32::from(machine.retract(refused).is_ok() && machine.is_flushed(point));

    if machine.produce(now, Reading(topic), 3).is_ok() && machine.poll_timeout().is_some() {
        ended += u32::from(machine.poll_expired(Instant::MAX).is_some_and(|expired| expired.ended.ticket == 3));
    }
    if machine.produce(now, Reading(topic), 4).is_ok() {
        ended += u32::from(machine.poll_drained().is_some_and(|(_, taken)| taken.ticket == 4));
    }
    if machine.produce(now, Reading(topic), 5).is_ok() && machine.poll_batch(now, |_, _| ()).is_some() {
        ended += u32::from(machine.poll_abandoned().is_some_and(|given_up| given_up.ticket == 5));
    }
    machine.close();
    ended + u32::from(machine.is_empty())
}
