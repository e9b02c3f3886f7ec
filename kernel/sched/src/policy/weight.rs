//! Nice values and the weights that they stand for.

/// A nice value, -20 (most) to 19 (least).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Nice(i8);

impl Nice {
    /// The nearest nice value to `raw`.
    pub fn new(raw: i32) -> Self {
        Self(raw.clamp(-20, 19) as i8)
    }

    /// The value, -20 to 19.
    pub const fn raw(self) -> i32 {
        self.0 as i32
    }

    /// The share that it stands for.
    pub fn weight(self) -> Weight {
        Weight(WEIGHTS[(i32::from(self.0) + 20) as usize])
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
    /// The number.
    pub const fn raw(self) -> u64 {
        self.0 as u64
    }

    /// The virtual run time of `ns` nanoseconds: the same at nice 0, slower with a larger weight.
    pub const fn virtual_time(self, ns: u64) -> u64 {
        if self.0 == 1024 { ns } else { ns * 1024 / self.0 as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_nice_is_worth_a_tenth_of_the_cpu() {
        assert_eq!((Nice::new(-100).weight(), Nice::new(0).weight(), Nice::new(100).weight()), {
            (Weight(88761), Weight(1024), Weight(15))
        });
        for nice in -20..19 {
            let (more, less) = (Nice::new(nice).weight().raw(), Nice::new(nice + 1).weight().raw());
            assert!((118..=134).contains(&(more * 100 / less)), "nice {nice}: {more} against {less}");
        }
    }
}
