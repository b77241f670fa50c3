//! What is due, and when.

use aioproducer_core::{CutReason, FlushGroup, Instant, Lane, Phase, TimeoutReason};

use super::{Accepted, At, Model, Placed};
use crate::is_in;

impl Model {
    pub(super) fn waits(&self, lane: Lane) -> bool {
        self.is_out(lane) || !self.buffered(lane).is_empty()
    }

    /// Whether the lane stays behind records that were produced before the number of partitions was known.
    pub(super) fn is_behind(&self, lane: Lane) -> bool {
        self.waits(Lane::unplaced(lane.topic())) && self.windows.is_behind(lane)
    }

    pub(super) fn is_settled(&self, number: u64) -> bool {
        self.out.iter().all(|out| out.number != number)
    }

    /// When the report of the record that is late for longest is overdue.
    pub(super) fn late_due(&self) -> Option<Instant> {
        let after = self.limits.report_timeout?;
        let first = self.kept.iter().find(|kept| kept.late.is_some())?;
        self.is_settled(first.entry.batch?).then(|| first.late.expect("late") + after)
    }

    /// Counts late records as overdue whose time has come.
    pub(crate) fn give_up_late(&mut self) {
        while self.late_due().is_some_and(|at| at <= self.now) {
            let first = self.kept.iter_mut().find(|kept| kept.late.is_some()).expect("due");
            first.late = None;
            self.blocked &= self.handed_off() > 0;
        }
    }

    pub(super) fn due(&self, lane: Lane) -> Option<CutReason> {
        let buffered = self.buffered(lane);
        let bytes: usize = buffered.iter().map(|entry| entry.item.size).sum();
        let oldest = buffered.first()?;
        let flushed = |(group, below): &(FlushGroup, u64)| oldest.item.number < *below && is_in(*group, lane);
        if self.is_out(lane) {
            None
        } else if self.limits.linger.is_zero() {
            Some(CutReason::Idle)
        } else if buffered.len() >= self.limits.batch_records as usize {
            Some(CutReason::Count)
        } else if bytes >= self.limits.batch_bytes {
            Some(CutReason::Bytes)
        } else if self.flush_below.iter().any(flushed) {
            Some(CutReason::Flush)
        } else {
            (oldest.accepted_at + self.limits.linger <= self.now).then_some(CutReason::Linger)
        }
    }

    pub(super) fn place(&self, lane: Lane) -> At {
        match self.due(lane) {
            None => At::Lingering,
            Some(_) if self.is_behind(lane) => At::Held,
            Some(_) if self.credit(lane) == 0 => At::Held,
            Some(_) => At::Ready,
        }
    }

    /// Notes where lanes are after this step.
    pub(crate) fn note_places(&mut self, step: usize) {
        let waiting = |lane: &Lane| !self.is_out(*lane) && !self.buffered(*lane).is_empty();
        let all = self.lanes();
        let places: Vec<(Lane, At)> =
            all.iter().copied().filter(waiting).map(|lane| (lane, self.place(lane))).collect();
        self.windows.rest(&all);
        self.placed.retain(|placed| places.contains(&(placed.lane, placed.at)));
        for (lane, at) in places {
            if at == At::Held {
                self.windows.limit(lane);
            }
            if !self.placed.iter().any(|placed| placed.lane == lane) {
                self.placed.push(Placed { lane, at, since: step });
            }
        }
    }

    /// A lane without a partition is held back for so long that the backend may send its records elsewhere.
    pub(crate) fn relieve(&mut self, step: usize) {
        self.note_places(step);
        while let Some(lane) = self.placed.iter().map(|placed| placed.lane).find(|lane| self.is_relieved(*lane)) {
            self.windows.relieve(lane, self.in_flight(lane), self.now);
            self.note_places(step);
        }
    }

    pub(super) fn is_relieved(&self, lane: Lane) -> bool {
        self.relief_due(lane).is_some_and(|at| at <= self.now)
    }

    pub(super) fn relief_due(&self, lane: Lane) -> Option<Instant> {
        let is_held = self.placed.iter().any(|placed| placed.lane == lane && placed.at == At::Held);
        let flies = is_held && lane.partition().is_none() && self.in_flight(lane) > 0;
        flies.then(|| self.windows.relief_at(lane)).flatten()
    }

    pub(crate) fn has_batch(&self) -> bool {
        let open = matches!(self.phase, Phase::Open | Phase::Closing(_));
        open && self.connected && !self.blocked && self.placed.iter().any(|placed| placed.at == At::Ready)
    }

    /// All reasons to wake at the earliest deadline: two may share it.
    pub(crate) fn timeout(&self) -> Option<(Instant, Vec<TimeoutReason>)> {
        let of_lane = |lane: Lane| {
            let oldest = self.buffered(lane).first()?.accepted_at;
            let lingers = !self.is_out(lane) && self.due(lane).is_none();
            let linger = lingers.then(|| (oldest + self.limits.linger, TimeoutReason::Linger));
            linger.or_else(|| self.relief_due(lane).map(|at| (at, TimeoutReason::Credit)))
        };
        let reports = self.late_due().into_iter().map(|at| (at, TimeoutReason::Report));
        let own = self.live.iter().filter_map(|entry| {
            let reason = if entry.timed { TimeoutReason::Record } else { TimeoutReason::Delivery };
            self.deadline(entry).map(|at| (at, reason))
        });
        let oldest = self.live.first().and_then(|entry| Some(entry.accepted_at + self.limits.delivery_timeout?));
        let own = own.chain(oldest.map(|at| (at, TimeoutReason::Delivery)));
        let close = if let Phase::Closing(at) = self.phase { Some((at, TimeoutReason::Close)) } else { None };
        let lanes = self.lanes().into_iter().filter_map(of_lane);
        let timeouts: Vec<_> = lanes.chain(reports).chain(own).chain(close).collect();
        let earliest = timeouts.iter().map(|(at, _)| *at).min()?;
        Some((earliest, timeouts.into_iter().filter(|(at, _)| *at == earliest).map(|(_, reason)| reason).collect()))
    }

    /// When a record's time is over, wherever it is.
    pub(crate) fn deadline(&self, entry: &Accepted) -> Option<Instant> {
        let after = self.limits.delivery_timeout.into_iter().chain(entry.item.own).min();
        after.map(|after| entry.accepted_at + after)
    }

    /// Numbers of the records whose time is over.
    pub(crate) fn expired(&self) -> Vec<u64> {
        let late = |entry: &&Accepted| self.deadline(entry).is_some_and(|at| at <= self.now);
        self.live.iter().filter(late).map(|entry| entry.item.number).collect()
    }
}
