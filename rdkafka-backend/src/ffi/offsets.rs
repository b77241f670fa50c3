//! Which offsets of messages come from a broker.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;

use super::native_message::NativeMessage;

/// The offsets that librdkafka counts up itself when the broker's answer has none. It counts from the base offset of the answer
/// in any case (`rd_kafka_msgq_set_metadata`): -1, 0, 1, … if the broker has the records already, and -1001, -1000, … without
/// acknowledgements.
///
/// The messages of one answer are acknowledged one after another on one thread. So the next message of the same partition with
/// the next number was counted, too. An offset from a broker is greater, because the counted records precede it in the log.
#[derive(Clone, Copy)]
struct Counted {
    topic: *mut c_void,
    partition: i32,
    next: i64,
}

impl Counted {
    const NONE: Self = Self { topic: ptr::null_mut(), partition: 0, next: i64::MIN };
}

thread_local! {
    static COUNTED: Cell<Counted> = const { Cell::new(Counted::NONE) };
}

/// The offset of a delivered message, -1 if it is not from a broker.
pub(super) fn broker_offset(entry: &NativeMessage) -> i64 {
    let NativeMessage { offset, partition, rkt: topic, .. } = *entry;
    let counted = COUNTED.get();
    if offset < 0 || (offset == counted.next && topic == counted.topic && partition == counted.partition) {
        COUNTED.set(Counted { topic, partition, next: offset + 1 });
        return -1;
    }
    if counted.next != i64::MIN {
        COUNTED.set(Counted::NONE);
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s47_offsets_that_librdkafka_counts_itself_are_none() {
        let [one, other] = [1, 2].map(ptr::without_provenance_mut);
        let offsets = |rkt, partition, offsets: &[i64]| -> Vec<i64> {
            let (null, err) = (ptr::null_mut(), 0);
            let entry = |offset| NativeMessage {
                err,
                rkt,
                partition,
                payload: null,
                len: 0,
                key: null,
                key_len: 0,
                offset,
                opaque: null,
            };
            offsets.iter().map(|offset| broker_offset(&entry(*offset))).collect()
        };
        assert_eq!(offsets(one, 0, &[0, 1, 2]), [0, 1, 2], "the first offsets of a partition");
        assert_eq!(offsets(one, 0, &[-1, 0, 1]), [-1; 3], "the broker has the records already");
        assert_eq!(offsets(one, 0, &[6, 7]), [6, 7], "the next answer");
        assert_eq!(offsets(one, 0, &[2]), [2], "counting has ended");
        assert_eq!(offsets(one, 0, &[-1, 0]), [-1; 2]);
        assert_eq!(offsets(one, 1, &[1, 2]), [1, 2], "another partition");
        assert_eq!(offsets(one, 0, &[-1, 0]), [-1; 2]);
        assert_eq!(offsets(other, 0, &[1, 2]), [1, 2], "another topic");
        let without_acknowledgement: Vec<i64> = (-1_001..4_000).collect();
        assert_eq!(offsets(one, 0, &without_acknowledgement), vec![-1; 5_001]);
        assert_eq!(offsets(one, 0, &without_acknowledgement[..7]), [-1; 7], "the next request");
        let other_thread = std::thread::spawn(|| COUNTED.get().next).join().expect("it ends");
        assert_eq!(other_thread, i64::MIN);
    }
}
