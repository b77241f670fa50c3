//! The batches in a log of the embedded broker, with the numbers by which Kafka's brokers recognise one that is sent again (KIP-98).
//! The embedded broker does not look at those, and keeps both.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

/// A batch, as a producer has sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Batch {
    /// The producer's id.
    pub producer: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The number of the first record in the partition and the epoch.
    pub first: i32,
    /// The offset of the first record.
    pub offset: i64,
    /// The number of records.
    pub records: i32,
}

/// The offsets of the batches that would be in the log of a Kafka broker: of those that were sent several times, the first.
#[must_use]
pub fn kept(batches: &[Batch]) -> Vec<i64> {
    let mut seen = BTreeSet::new();
    let is_new = |batch: &&Batch| seen.insert((batch.producer, batch.epoch, batch.first, batch.records));
    batches.iter().filter(is_new).map(|batch| batch.offset).collect()
}

/// Reads all batches of a partition from its leader, whose address is `server`. Blocks.
///
/// # Panics
/// If the server does not answer as expected.
#[must_use]
pub fn read(server: &str, topic: &str, partition: i32) -> Vec<Batch> {
    let mut stream = TcpStream::connect(server).expect("a broker");
    let (mut batches, mut offset) = (Vec::new(), 0);
    loop {
        let answer = ask(&mut stream, &request(topic, partition, offset));
        // Behind the number of the request, the throttle time, and the names and numbers of topics and partitions.
        let at = 4 + 4 + 4 + 2 + topic.len() + 4 + 4;
        assert_eq!(i16::from_be_bytes(bytes(&answer, at)), 0, "the error of {topic} [{partition}]");
        let end = i64::from_be_bytes(bytes(&answer, at + 2));
        if offset == end {
            return batches;
        }
        // Behind two watermarks, the number of aborted transactions, which is 0, and the size of the batch.
        let batch = &answer[at + 2 + 8 + 8 + 4 + 4..];
        let found = Batch {
            offset: i64::from_be_bytes(bytes(batch, 0)),
            producer: i64::from_be_bytes(bytes(batch, 43)),
            epoch: i16::from_be_bytes(bytes(batch, 51)),
            first: i32::from_be_bytes(bytes(batch, 53)),
            records: i32::from_be_bytes(bytes(batch, 57)),
        };
        assert!(found.offset == offset && found.records > 0, "{found:?} at {offset}");
        offset += i64::from(found.records);
        batches.push(found);
    }
}

/// Fetch, version 4.
fn request(topic: &str, partition: i32, offset: i64) -> Vec<u8> {
    let mut request = Vec::new();
    let mut put = |bytes: &[u8]| request.extend_from_slice(bytes);
    put(&1_i16.to_be_bytes());
    put(&4_i16.to_be_bytes());
    // The number of the request, no name of the client, and no replica.
    put(&7_i32.to_be_bytes());
    put(&(-1_i16).to_be_bytes());
    put(&(-1_i32).to_be_bytes());
    // No time to wait for no bytes, and a megabyte at most. What is not committed is read, too.
    put(&0_i32.to_be_bytes());
    put(&0_i32.to_be_bytes());
    put(&(1_i32 << 20).to_be_bytes());
    put(&[0]);
    put(&1_i32.to_be_bytes());
    put(&i16::try_from(topic.len()).expect("a short name").to_be_bytes());
    put(topic.as_bytes());
    put(&1_i32.to_be_bytes());
    put(&partition.to_be_bytes());
    put(&offset.to_be_bytes());
    put(&(1_i32 << 20).to_be_bytes());
    request
}

fn ask(stream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    let len = u32::try_from(request.len()).expect("a short request").to_be_bytes();
    stream.write_all(&[&len, request].concat()).expect("it is sent");
    let mut len = [0; 4];
    stream.read_exact(&mut len).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut answer).expect("an answer");
    answer
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    from[at..at + N].try_into().expect("so many bytes")
}
