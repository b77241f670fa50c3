//! Memory for borrowed data: copied once, into chunks that many records share.
//!
//! A chunk is written front to back; each piece is a [`Bytes`] that keeps the whole chunk alive. Full chunks stay in a
//! ring and are used again as soon as no piece of theirs is left, so a steady flow of records allocates nothing.
//!
//! A piece that stays alive pins its chunk. The chunks together never exceed the arena's limit; what finds no room in
//! them gets an allocation of exactly its own length. So the memory held is at most the limit plus the lengths of the
//! live pieces, however few of them pin how many chunks. Chunks are kept until the arena is dropped, except that
//! one class gives idle ones up when the other needs room under the limit.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

const SMALL: Size = Size { chunk: 64 << 10, piece: 2 << 10 };
const LARGE: Size = Size { chunk: 1 << 20, piece: 64 << 10 };

/// How many chunks of the ring are looked at before another one is allocated.
const LOOKS: usize = 16;

/// The same when no more can be allocated: then every piece comes this way, not one in hundreds.
const LOOKS_AT_LIMIT: usize = 2;

/// Chunks to copy lent data into.
#[derive(Debug)]
pub(crate) struct Arena {
    small: Class,
    large: Class,
    /// Bytes of all chunks, in use or in a ring.
    held: usize,
    limit: usize,
}

impl Arena {
    /// An arena whose chunks take up at most `limit` bytes. The first chunk is allocated when it is needed.
    pub(crate) fn new(limit: usize) -> Self {
        Self { small: Class::new(SMALL), large: Class::new(LARGE), held: 0, limit }
    }

    /// Copies `data`.
    #[inline(always)]
    pub(crate) fn copy(&mut self, data: &[u8]) -> Bytes {
        self.build(data.len(), |out| out.put_slice(data))
    }

    /// Copies `first` and, right behind it, `second`.
    pub(crate) fn copy_both(&mut self, first: &[u8], second: &[u8]) -> Bytes {
        self.build(first.len() + second.len(), |out| {
            out.put_slice(first);
            out.put_slice(second);
        })
    }

    /// What `fill` writes, which is `len` bytes.
    #[inline(always)]
    pub(crate) fn build(&mut self, len: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
        if len == 0 {
            return Bytes::new();
        }
        let (class, other) =
            if len <= SMALL.piece { (&mut self.small, &mut self.large) } else { (&mut self.large, &mut self.small) };
        let room = if len > class.size.piece { None } else { class.room(len, other, &mut self.held, self.limit) };
        match room {
            Some(chunk) => {
                fill(chunk);
                debug_assert_eq!(chunk.len(), len);
                chunk.split().freeze()
            }
            None => {
                let mut exact = BytesMut::with_capacity(len);
                fill(&mut exact);
                exact.freeze()
            }
        }
    }

    /// Bytes of all chunks, in use or waiting to be used again.
    #[cfg(all(test, not(interleave)))]
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}

#[derive(Clone, Copy, Debug)]
struct Size {
    chunk: usize,
    /// The longest piece; what a chunk leaves unused at its end is shorter.
    piece: usize,
}

#[derive(Debug)]
struct Class {
    size: Size,
    /// The chunk that is written, `None` before the first piece.
    current: Option<BytesMut>,
    /// Full chunks, the one retired longest ago in front. Each handle is the empty rest of its chunk.
    retired: VecDeque<BytesMut>,
}

impl Class {
    fn new(size: Size) -> Self {
        Self { size, current: None, retired: VecDeque::new() }
    }

    /// The chunk to write `len` bytes to, if there is or can be one. Bounded work, and no allocation but the chunk's.
    fn room(&mut self, len: usize, other: &mut Self, held: &mut usize, limit: usize) -> Option<&mut BytesMut> {
        let chunk = self.size.chunk;
        let fits = match &mut self.current {
            Some(current) => current.capacity() >= len || current.try_reclaim(chunk),
            None => false,
        };
        if !fits {
            let at_limit = *held + chunk > limit;
            let next = match self.take_idle(if at_limit { LOOKS_AT_LIMIT } else { LOOKS }) {
                Some(idle) => idle,
                None => {
                    if at_limit && other.take_idle(LOOKS_AT_LIMIT).is_some() {
                        *held -= other.size.chunk;
                    }
                    if *held + chunk > limit {
                        return None;
                    }
                    *held += chunk;
                    BytesMut::with_capacity(chunk)
                }
            };
            self.retired.extend(self.current.replace(next));
        }
        self.current.as_mut()
    }

    /// A chunk of the ring that no piece is left of, whole again.
    ///
    /// Those before it outlived their order; one of them goes to the ring's end, so that chunks that stay pinned do
    /// not hide the others for long, and the order of the rest says which chunk to look at first.
    fn take_idle(&mut self, looks: usize) -> Option<BytesMut> {
        let idle = self.retired.iter_mut().take(looks).position(|chunk| chunk.try_reclaim(self.size.chunk));
        let found = idle.and_then(|at| self.retired.remove(at));
        if idle != Some(0) && !self.retired.is_empty() {
            self.retired.rotate_left(1);
        }
        found
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLENTY: usize = 16 << 20;

    #[test]
    fn pieces_share_a_chunk_and_keep_their_contents() {
        let mut arena = Arena::new(PLENTY);
        let pieces: Vec<Bytes> = (0..100_u8).map(|n| arena.copy(&[n; 100])).collect();
        assert_eq!(arena.held(), SMALL.chunk);
        for (n, piece) in (0..).zip(&pieces) {
            assert_eq!(piece[..], [n; 100]);
        }
        assert_eq!(arena.copy_both(b"key", b"value")[..], *b"keyvalue");
        assert!(arena.copy(b"").is_empty());
    }

    #[test]
    fn chunks_are_used_again_once_their_pieces_are_gone() {
        let mut arena = Arena::new(PLENTY);
        let mut live = VecDeque::new();
        for n in 0..20_000_u32 {
            live.push_back((n, arena.copy(&[n as u8; 1000])));
            if live.len() > 1000 {
                let (n, piece) = live.pop_front().unwrap();
                assert_eq!(piece[..], [n as u8; 1000]);
            }
        }
        // A thousand pieces fill 16 chunks; one is being written, one is waiting for its last piece.
        assert!(arena.held() <= 20 * SMALL.chunk, "{}", arena.held());
    }

    #[test]
    fn pinned_chunks_do_not_hide_the_others() {
        let mut arena = Arena::new(PLENTY);
        let pinned: Vec<Bytes> = (0..40)
            .map(|n| {
                let piece = arena.copy(&[n; 10]);
                (0..64).for_each(|_| drop(arena.copy(&[0; 1024])));
                piece
            })
            .collect();
        let mut live = VecDeque::new();
        for _ in 0..10_000 {
            live.push_back(arena.copy(&[0; 1000]));
            live.drain(..live.len().saturating_sub(100));
        }
        assert!(arena.held() <= 80 * SMALL.chunk, "{}", arena.held());
        assert!((0..).zip(&pinned).all(|(n, piece)| piece[..] == [n; 10]));
    }

    #[test]
    fn above_the_limit_data_gets_its_own_memory() {
        let mut arena = Arena::new(3 * SMALL.chunk);
        let mut live: Vec<Bytes> = (0..1000_u32).map(|n| arena.copy(&[n as u8; 1024])).collect();
        assert_eq!(arena.held(), 3 * SMALL.chunk);
        assert!((0..).zip(&live).all(|(n, piece): (u32, _)| piece[..] == [n as u8; 1024]));
        // What came last stands alone: it can be turned back into a buffer, which nothing in a chunk can.
        assert!(live.pop().unwrap().try_into_mut().is_ok());
        assert!(live.swap_remove(0).try_into_mut().is_err());
        // Room again once the chunks are free.
        live.clear();
        assert!(arena.copy(&[1; 1024]).try_into_mut().is_err());
        assert_eq!(arena.held(), 3 * SMALL.chunk);
    }

    #[test]
    fn idle_chunks_of_one_class_make_room_for_the_other() {
        let mut arena = Arena::new(2 * LARGE.chunk);
        drop((0..10_000).map(|_| arena.copy(&[0; 1024])).collect::<Vec<_>>());
        assert_eq!(arena.held(), 2 * LARGE.chunk);
        for _ in 0..100 {
            drop(arena.copy(&[0; 10_000]));
        }
        assert_eq!(arena.large.current.iter().len(), 1);
        assert!(arena.held() <= 2 * LARGE.chunk);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn contents_and_limit_hold(
            steps in prop::collection::vec(
                (prop_oneof![0..200_usize, 0..3000_usize, 0..100_000_usize], 0..4_usize),
                1..200,
            ),
            limit in 0..4 * LARGE.chunk,
        ) {
            let whole = |(mark, piece): &(u8, Bytes)| piece[..] == vec![*mark; piece.len()];
            let mut arena = Arena::new(limit);
            let mut live: Vec<(u8, Bytes)> = Vec::new();
            for (step, (len, forget)) in steps.into_iter().enumerate() {
                let mark = step as u8;
                live.push((mark, arena.copy_both(&vec![mark; len / 3], &vec![mark; len - len / 3])));
                prop_assert_eq!(live.last().map(|(_, piece)| piece.len()), Some(len));
                if forget > 1 {
                    prop_assert!(whole(&live.swap_remove((step * 7) % live.len())));
                }
                prop_assert!(arena.held() <= limit);
            }
            prop_assert!(live.iter().all(whole));
        }
    }
}
