//! What is under way between a client and the brokers, in the order of its time.

use std::collections::BTreeMap;

use aioproducer_core::{Instant, TopicId};

use crate::cluster::{Arrival, Flight, Reply, Sent, Shared};

/// A partition of a topic.
pub(super) type Place = (TopicId, i32);

/// `P` is what a request is for.
enum Due<P> {
    /// A request is at its broker.
    Arrive { place: P, flight: Flight },
    /// A reply is at the client.
    Reply { place: P, sent: Sent, generation: u64, reply: Reply },
    /// The client waits no longer for a reply.
    Expire { place: P, sent: Sent },
}

/// An attempt that has ended for its client: with a reply, or without one in time.
pub(super) struct Attempt<P> {
    pub(super) number: u64,
    pub(super) place: P,
    pub(super) sent: Sent,
    pub(super) reply: Reply,
}

/// Each entry has a time, and the number of the attempt that it is about. An attempt has a request or a reply under way at a time.
pub(super) struct Schedule<P> {
    entries: BTreeMap<(Instant, u64, bool), Due<P>>,
    numbers: u64,
}

impl<P> Default for Schedule<P> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), numbers: 0 }
    }
}

impl<P: Clone> Schedule<P> {
    /// A request leaves, and arrives at `arrives`. Returns the number of the attempt.
    pub(super) fn depart(&mut self, arrives: Instant, place: P, flight: Flight) -> u64 {
        self.numbers += 1;
        self.entries.insert((arrives, self.numbers, false), Due::Arrive { place, flight });
        self.numbers
    }

    /// The client waits for the attempt's reply until `at`.
    pub(super) fn expire(&mut self, at: Instant, number: u64, place: P, sent: Sent) {
        self.entries.insert((at, number, true), Due::Expire { place, sent });
    }

    /// The attempt has ended and need not be given up.
    pub(super) fn remove_expiry(&mut self, at: Instant, number: u64) {
        self.entries.remove(&(at, number, true));
    }

    /// Does what is due until the first attempt that ends by it.
    pub(super) fn next_end(&mut self, cluster: &Shared, now: Instant) -> Option<Attempt<P>> {
        loop {
            let first = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
            let ((_, number, _), due) = first.remove_entry();
            match due {
                Due::Arrive { place, flight } => {
                    let arrival = cluster.lock().arrive(now, &flight);
                    let (at, due) = match arrival {
                        Arrival::Later(at) => (at, Due::Arrive { place, flight }),
                        Arrival::Reply(at, reply) => {
                            let Flight { sent, generation, .. } = flight;
                            (at, Due::Reply { place, sent, generation, reply })
                        }
                    };
                    self.entries.insert((at, number, false), due);
                }
                Due::Reply { place, sent, generation, reply } => {
                    let is_connected = cluster.lock().is_connected(sent.broker, generation);
                    return Some(Attempt { number, place, sent, reply: reply.filter(|_| is_connected) });
                }
                Due::Expire { place, sent } => return Some(Attempt { number, place, sent, reply: None }),
            }
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|((at, ..), _)| *at)
    }
}
