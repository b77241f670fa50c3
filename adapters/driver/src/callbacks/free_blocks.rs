//! Which places of a slab are vacant, and in what order they are used again.

use std::collections::VecDeque;

/// No block.
const NONE: u32 = u32::MAX;

/// Vacant places, in blocks of neighbours.
///
/// The block that got its first vacant place earliest is used first. By its turn most of its places are vacant, in whatever
/// order the callbacks ran: they run partition by partition, and places that were used again in that order would be all over
/// the memory after a while. That cost more than everything else about a callback.
pub(super) struct FreeBlocks {
    /// The block that places are taken from, and those that are left of it, a bit for each.
    current: u32,
    left: u64,
    /// The vacant places of the other blocks, by block.
    blocks: Vec<u64>,
    /// Blocks with vacant places.
    queue: VecDeque<u32>,
}

impl FreeBlocks {
    pub(super) fn new() -> Self {
        Self { current: NONE, left: 0, blocks: Vec::new(), queue: VecDeque::new() }
    }

    /// A vacant place, if there is one.
    pub(super) fn take(&mut self) -> Option<u32> {
        if self.left == 0 {
            self.current = self.queue.pop_front()?;
            self.left = std::mem::take(self.blocks.get_mut(self.current as usize)?);
        }
        let place = self.current * u64::BITS + self.left.trailing_zeros();
        self.left &= self.left.wrapping_sub(1);
        Some(place)
    }

    /// Takes back a place, which was not vacant.
    pub(super) fn give_back(&mut self, place: u32) {
        let (number, bit) = (place / u64::BITS, 1 << (place % u64::BITS));
        if number == self.current {
            self.left |= bit;
            return;
        }
        let index = number as usize;
        if self.blocks.len() <= index {
            self.blocks.resize(index + 1, 0);
        }
        if self.blocks[index] == 0 {
            self.queue.push_back(number);
        }
        self.blocks[index] |= bit;
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn s20_places_are_used_again_one_beside_the_other_in_whatever_order_they_come_back() {
        const PLACES: u32 = 64 * 100;
        const STEP: u32 = 12;
        let mut vacant = FreeBlocks::new();
        assert_eq!(vacant.take(), None);
        let mut used: Vec<u32> = (0..PLACES).collect();
        for round in 0..20 {
            // As of 12 partitions, each of which has its callbacks run for itself.
            for first in 0..STEP {
                used.iter().skip(first as usize).step_by(STEP as usize).for_each(|place| vacant.give_back(*place));
            }
            used = (0..PLACES).map(|_| vacant.take().expect("as many as came back")).collect();
            assert_eq!(vacant.take(), None);
            let neighbours = used.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
            assert!(neighbours >= 6300, "round {round}: {neighbours}");
            let mut sorted = used.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..PLACES), "each place once");
        }
    }
}
