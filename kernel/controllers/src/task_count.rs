//! How many tasks there may be, as numtasks and pids read and show it.

use base::{Errno, number::Limit};
use core::fmt::{self, Write};
use machine::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The highest number that a limit can be.
const HIGHEST: u64 = 4_194_304;
/// What stands for "no limit".
pub(crate) const NONE: u64 = u64::MAX;

/// A limit on a number of tasks: `max`, or 0 to 4194304.
pub(crate) struct TaskLimit(AtomicU64);

impl TaskLimit {
    pub(crate) fn none() -> Self {
        Self(AtomicU64::new(NONE))
    }

    /// The number, or [`NONE`].
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn show(&self, out: &mut dyn Write) -> fmt::Result {
        let limit = match self.get() {
            NONE => Limit::Max,
            limit => Limit::At(limit),
        };
        writeln!(out, "{limit}")
    }

    /// Errors: `EINVAL` it is no limit; `ERANGE` over 64 bits.
    pub(crate) fn store(&self, text: &str) -> Result<(), Errno> {
        let limit = match text.parse()? {
            Limit::Max => NONE,
            Limit::At(limit) if limit <= HIGHEST => limit,
            Limit::At(_) => return Err(Errno::EINVAL),
        };
        self.0.store(limit, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_max_or_a_number_that_is_not_too_large() {
        let limit = TaskLimit::none();
        for (text, result) in [
            ("0", Ok(())),
            ("4194304", Ok(())),
            ("max", Ok(())),
            ("4194305", Err(Errno::EINVAL)),
            ("-1", Err(Errno::EINVAL)),
            ("none", Err(Errno::EINVAL)),
            ("99999999999999999999", Err(Errno::ERANGE)),
        ] {
            assert_eq!(limit.store(text), result, "{text}");
        }
        let mut text = std::string::String::new();
        limit.show(&mut text).unwrap();
        assert_eq!(text, "max\n");
    }
}
