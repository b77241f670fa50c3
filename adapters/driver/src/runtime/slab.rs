//! Values by number, whose places are used again.

/// A list of values that each keep their number, with a free list of the vacant places. Its memory follows the most values
/// that it held at once.
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    vacant: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Keeps `value`; returns its number.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        match self.vacant.pop() {
            Some(number) => {
                self.places[number as usize] = Some(value);
                number
            }
            None => {
                self.places.push(Some(value));
                self.places.len() as u32 - 1
            }
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    /// Takes a value out; its number may be another's from now on.
    #[inline]
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.places.get_mut(number as usize)?.take();
        if value.is_some() {
            self.vacant.push(number);
        }
        value
    }
}

#[cfg(all(test, not(interleave)))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_a_value_is_taken_out_once() {
        let mut slab = Slab::default();
        let numbers: Vec<_> = (0..3).map(|value| slab.insert(value)).collect();
        assert_eq!((slab.remove(numbers[1]), slab.remove(numbers[1]), slab.remove(9)), (Some(1), None, None));
        assert_eq!((slab.insert(7), slab.get_mut(numbers[1])), (numbers[1], Some(&mut 7)));
        assert_eq!((slab.insert(8), slab.get_mut(9)), (3, None));
    }
}
