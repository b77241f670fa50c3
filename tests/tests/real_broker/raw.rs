//! A few requests of Kafka's protocol, byte by byte: no client library sends a batch with a sequence number that is wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// A connection to a broker.
pub(crate) struct Connection(TcpStream);

/// A batch of an idempotent producer.
#[derive(Clone, Copy)]
pub(crate) struct Numbered {
    pub(crate) producer: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    pub(crate) records: i32,
}

impl Connection {
    pub(crate) fn new(servers: &str) -> Self {
        let stream = TcpStream::connect(servers).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        Self(stream)
    }

    /// A number for a new idempotent producer.
    pub(crate) fn producer(&mut self) -> i64 {
        let mut body = Vec::new();
        body.extend((-1_i16).to_be_bytes());
        body.extend(60_000_i32.to_be_bytes());
        let answer = self.ask(22, 1, &body);
        assert_eq!(number(&answer, 4, 2), 0, "no error");
        number(&answer, 6, 8)
    }

    /// Produces a batch to partition 0 with `acks=all`. Returns the error's number, 0 if there is none, and the first offset.
    pub(crate) fn produce(&mut self, topic: &str, numbered: Numbered) -> (i64, i64) {
        let batch = batch(numbered);
        let mut body = Vec::new();
        body.extend((-1_i16).to_be_bytes());
        body.extend((-1_i16).to_be_bytes());
        body.extend(30_000_i32.to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        string(topic, &mut body);
        body.extend(1_i32.to_be_bytes());
        body.extend(0_i32.to_be_bytes());
        body.extend((batch.len() as i32).to_be_bytes());
        body.extend(batch);
        let answer = self.ask(0, 3, &body);
        let at = 4 + 2 + topic.len() + 4 + 4;
        (number(&answer, at, 2), number(&answer, at + 2, 8))
    }

    fn ask(&mut self, api: i16, version: i16, body: &[u8]) -> Vec<u8> {
        let mut request = Vec::new();
        request.extend(api.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(7_i32.to_be_bytes());
        string("raw", &mut request);
        request.extend(body);
        self.0.write_all(&(request.len() as i32).to_be_bytes()).expect("it is sent");
        self.0.write_all(&request).expect("it is sent");
        let mut len = [0; 4];
        self.0.read_exact(&mut len).expect("an answer");
        let mut answer = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut answer).expect("an answer");
        answer.split_off(4)
    }
}

fn string(text: &str, into: &mut Vec<u8>) {
    into.extend((text.len() as i16).to_be_bytes());
    into.extend(text.bytes());
}

/// The signed number of `len` bytes at `at`.
fn number(bytes: &[u8], at: usize, len: usize) -> i64 {
    let begin = if bytes[at] & 0x80 == 0 { 0 } else { -1 };
    bytes[at..at + len].iter().fold(begin, |number, byte| number << 8 | i64::from(*byte))
}

/// A record batch of format 2, in which each record has the value `x`.
fn batch(Numbered { producer, epoch, first, records }: Numbered) -> Vec<u8> {
    let mut checked = Vec::new();
    checked.extend(0_i16.to_be_bytes());
    checked.extend((records - 1).to_be_bytes());
    checked.extend([0_i64.to_be_bytes(), 0_i64.to_be_bytes(), producer.to_be_bytes()].concat());
    checked.extend(epoch.to_be_bytes());
    checked.extend(first.to_be_bytes());
    checked.extend(records.to_be_bytes());
    for delta in 0..records as u8 {
        // Attributes, time, offset, no key, a value of one byte, no headers; lengths and deltas are zigzag numbers below 64.
        let record = [0, 0, delta * 2, 1, 2, b'x', 0];
        checked.push(record.len() as u8 * 2);
        checked.extend(record);
    }
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes());
    batch.extend((checked.len() as i32 + 9).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
