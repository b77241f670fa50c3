//! What is shut for a while. A backend's threads shut it and have no clock, so its time begins when the task on the runtime looks.

use std::time::Duration;

use aioproducer_core::Instant;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gate {
    #[default]
    Open,
    /// For so long, from the next look on.
    Shut(Duration),
    Until(Instant),
}

impl Gate {
    pub(super) fn is_open(self) -> bool {
        self == Self::Open
    }

    /// Opens it if its time is over. Returns when to look again.
    pub(super) fn look(&mut self, now: Instant) -> Option<Instant> {
        if let Self::Shut(time) = *self {
            *self = Self::Until(now + time);
        }
        match *self {
            Self::Until(at) if at > now => return Some(at),
            _ => *self = Self::Open,
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_after_its_time_which_begins_with_the_first_look() {
        let (second, at) = (Duration::from_secs(1), |secs| Instant::after_origin(Duration::from_secs(secs)));
        let mut gate = Gate::Shut(second);
        assert_eq!(gate.look(at(5)), Some(at(6)));
        assert_eq!((gate.look(at(5)), gate.is_open()), (Some(at(6)), false));
        assert_eq!((gate.look(at(6)), gate.is_open()), (None, true));
    }
}
