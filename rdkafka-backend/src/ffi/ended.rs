//! Counts the messages that have ended, by partition.

use aioproducer_core::TopicId;
use rdkafka_sys as sys;

use super::native_message::NativeMessage;
use crate::partition::load::Answer;

/// Adjacent messages of one partition that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) topic: TopicId,
    /// -1 if the messages were never assigned to a partition.
    pub(crate) partition: i32,
    pub(crate) count: u32,
    /// They are delivered, or a broker refused them.
    pub(crate) answer: Option<Answer>,
}

/// The messages that have ended since the last call of [`take`](Self::take). Messages end partition by partition, so there are far
/// fewer entries than messages.
#[derive(Default)]
pub(super) struct EndedMessages {
    groups: Vec<Ended>,
    /// The address of librdkafka's topic of the last group.
    handle: usize,
}

impl EndedMessages {
    /// Counts a message that has ended. `origin` finds the id of its topic, and the broker that it was sent to.
    pub(super) fn count(&mut self, message: &NativeMessage, origin: impl FnOnce() -> Option<(TopicId, Option<i32>)>) {
        let NativeMessage { err, rkt, partition, .. } = *message;
        // Codes of Kafka's protocol are positive.
        let answered = err >= 0 || err == DIFFERENT_RECORD;
        if let Some(last) = self.groups.last_mut()
            && self.handle == rkt.addr()
            && (last.partition, last.answer.is_some()) == (partition, answered)
        {
            last.count += 1;
        } else if let Some((topic, broker)) = origin() {
            self.handle = rkt.addr();
            let answer = answered.then_some(Answer { broker });
            self.groups.push(Ended { topic, partition, count: 1, answer });
        }
    }

    /// Moves all groups to the end of `into`.
    pub(super) fn take(&mut self, into: &mut Vec<Ended>) {
        if into.is_empty() {
            std::mem::swap(into, &mut self.groups);
        } else {
            into.append(&mut self.groups);
        }
    }
}

/// A broker refused the batch because of another record.
const DIFFERENT_RECORD: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__INVALID_DIFFERENT_RECORD as i32;

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn adjacent_messages_of_a_partition_are_counted_together() {
        let mut ended = EndedMessages::default();
        let mut count = |topic: u32, partition, err| {
            let rkt = ptr::without_provenance_mut(64 * (topic as usize + 1));
            let (null, len) = (ptr::null_mut(), 0);
            let message = NativeMessage {
                err,
                rkt,
                partition,
                payload: null,
                len,
                key: null,
                key_len: len,
                offset: 0,
                opaque: null,
            };
            ended.count(&message, || (topic < 9).then_some((TopicId(topic), Some(7))));
        };
        for (topic, partition, err) in
            [(0, 1, 0), (0, 1, 0), (0, 1, 87), (0, 1, DIFFERENT_RECORD), (0, 1, -192), (0, 1, -192), (0, 2, -192)]
        {
            count(topic, partition, err);
        }
        for (topic, partition) in [(1, 2), (9, 2), (1, 2), (0, 2)] {
            count(topic, partition, 0);
        }
        let mut taken = Vec::new();
        ended.take(&mut taken);
        let shown: Vec<_> =
            taken.iter().map(|ended| (ended.topic.0, ended.partition, ended.count, ended.answer.is_some())).collect();
        let expected = [(0, 1, 4, true), (0, 1, 2, false), (0, 2, 1, false), (1, 2, 2, true), (0, 2, 1, true)];
        assert_eq!(shown, expected);
        assert_eq!(taken[0].answer, Some(Answer { broker: Some(7) }));
        ended.take(&mut taken);
        assert_eq!(taken.len(), expected.len(), "nothing has ended since");
    }
}
