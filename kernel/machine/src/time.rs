//! Clocks: nanoseconds since boot, nanoseconds since the epoch, and cycles turned into nanoseconds.

pub use crate::arch::time::*;

/// Turns differences of a cycle counter into nanoseconds without losing the fractions: the sum of all results
/// is off by less than one nanosecond, however often it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CycleClock {
    remainder: u64,
}

impl CycleClock {
    /// A clock with nothing carried.
    pub const fn new() -> Self {
        Self { remainder: 0 }
    }

    /// The whole nanoseconds of `cycles` and what earlier calls left over.
    pub fn advance(&mut self, cycles: u64) -> u64 {
        self.advance_at(cycles, cycles_per_second())
    }

    fn advance_at(&mut self, cycles: u64, per_second: u64) -> u64 {
        if let Some(scaled) = cycles.checked_mul(1_000_000_000).and_then(|scaled| scaled.checked_add(self.remainder)) {
            self.remainder = scaled % per_second;
            return scaled / per_second;
        }
        let scaled = u128::from(cycles) * 1_000_000_000 + u128::from(self.remainder);
        self.remainder = (scaled % u128::from(per_second)) as u64;
        (scaled / u128::from(per_second)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_in_many_small_steps() {
        let mut clock = CycleClock::new();
        let total: u64 = (0..3_000_000).map(|_| clock.advance_at(1, 3_000_000)).sum();
        assert_eq!(total, 1_000_000_000);
    }

    #[test]
    fn long_times_are_as_exact() {
        let mut clock = CycleClock::new();
        assert_eq!(clock.advance_at(7 << 40, 3_000_000_000), (7 << 40) / 3);
        assert_eq!(clock.advance_at(2, 3_000_000_000), 1);
    }
}
