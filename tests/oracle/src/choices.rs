//! Choices that a seed decides.

/// A generator of choices: xorshift over a seed and a number.
pub struct Choices(u64);

impl Choices {
    /// The choices of sequence `number` of the run with this seed.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03);
        mixed ^= mixed >> 31;
        let mut choices = Self(mixed | 1);
        // The first numbers of neighbouring seeds resemble each other.
        for _ in 0..8 {
            choices.below(2);
        }
        choices
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// Whether one of `parts` parts was met.
    pub fn one_in(&mut self, parts: usize) -> bool {
        self.below(parts) == 0
    }

    /// One of several; `None` of none.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_chooses_the_same() {
        let choose = |seed, number| {
            let mut choices = Choices::new(seed, number);
            (0..100).map(|_| choices.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(choose(1, 2), choose(1, 2));
        assert_ne!(choose(1, 2), choose(1, 3));
        assert_ne!(choose(1, 2), choose(2, 2));
    }
}
