//! Nice values and the weights that they stand for.

/// A nice value, -20 (most) to 19 (least).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Nice(i8);

impl Nice {
    /// The one that gives most.
    pub const MOST: Self = Self(-20);

    /// The nearest nice value to `raw`.
    pub fn new(raw: i32) -> Self {
        Self(raw.clamp(-20, 19) as i8)
    }

    /// The value, -20 to 19.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// The share that it stands for.
    pub const fn weight(self) -> Weight {
        Weight(WEIGHTS[(self.0 as i32 + 20) as usize])
    }
}

/// Linux's table: nice 0 is 1024, and each step is worth about a quarter more or a fifth less.
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904, 3906, 3121, 2501,
    1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
];

/// The share of a task beside others; 1024 is that of nice 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Weight(u32);

impl Weight {
    /// That of `SCHED_IDLE`: Linux's, below every nice value's.
    pub const IDLE: Self = Self(3);

    /// The number.
    pub const fn raw(self) -> u64 {
        self.0 as u64
    }

    pub(super) const fn of_load(load: u64) -> Self {
        Self((load / UNIT) as u32)
    }

    /// The load that it makes: weights in the finer unit in which groups are divided over CPUs.
    pub const fn load(self) -> u64 {
        self.0 as u64 * UNIT
    }
}

/// The unit of loads: so many are one of weight.
pub const UNIT: u64 = 1 << 10;

/// The load of a task at nice 0.
const ONE: u64 = 1024 * UNIT;

/// The virtual run time of `ns` nanoseconds under a load: the same at nice 0, slower with a larger one.
pub(super) const fn virtual_time(load: u64, ns: u64) -> u64 {
    if load == ONE { ns } else { ns * ONE / load }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_nice_is_worth_a_tenth_of_the_cpu() {
        assert_eq!(virtual_time(Nice::new(0).weight().load() / 2, 100), 200);
        assert_eq!((Nice::new(-100).weight(), Nice::new(0).weight(), Nice::new(100).weight()), {
            (Weight(88761), Weight(1024), Weight(15))
        });
        for nice in -20..19 {
            let (more, less) = (Nice::new(nice).weight().raw(), Nice::new(nice + 1).weight().raw());
            assert!((118..=134).contains(&(more * 100 / less)), "nice {nice}: {more} against {less}");
        }
    }
}
