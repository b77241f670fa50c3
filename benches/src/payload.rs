//! Payloads: consecutive slices of one 64 MiB buffer of varied bytes, for everybody.

use bytes::Bytes;

/// The buffer's size in bytes: more than caches hold, so no client profits from a hot payload.
pub const BUFFER: usize = 64 << 20;

/// A walk over the buffer, round and round. Copies walk by themselves, over the same bytes.
#[derive(Clone, Copy)]
pub struct Payloads {
    buffer: &'static Bytes,
    at: usize,
}

impl Payloads {
    /// Fills a buffer, which stays until the process ends.
    #[must_use]
    pub fn new() -> Self {
        let varied = |at: usize| ((at as u32).wrapping_mul(2_654_435_761) >> 24) as u8;
        let buffer: Vec<u8> = (0..BUFFER).map(varied).collect();
        Self { buffer: Box::leak(Box::new(buffer.into())), at: 0 }
    }

    /// Moves to another place; walks that begin apart stay apart.
    #[must_use]
    pub fn starting_at(mut self, at: usize) -> Self {
        self.at = at % BUFFER;
        self
    }

    /// Where the next `size` bytes are.
    fn step(&mut self, size: usize) -> usize {
        if self.at + size > BUFFER {
            self.at = 0;
        }
        let at = self.at;
        self.at += size;
        at
    }

    /// The next `size` bytes, lent.
    pub fn lend(&mut self, size: usize) -> &'static [u8] {
        let at = self.step(size);
        &self.buffer[at..at + size]
    }

    /// The next `size` bytes, shared.
    pub fn share(&mut self, size: usize) -> Bytes {
        let at = self.step(size);
        self.buffer.slice(at..at + size)
    }
}

impl Default for Payloads {
    fn default() -> Self {
        Self::new()
    }
}
