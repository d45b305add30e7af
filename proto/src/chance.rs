//! Chance for tests whose cases are each one number.
//!
//! # Invariants
//! - The same seed makes the same case, on every machine.

/// A small xorshift (Marsaglia, "Xorshift RNGs", 2003), so that a case is one number.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from((self.bits() >> 11) % bound as u64).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// 64 bits, the lower of which are less random.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
