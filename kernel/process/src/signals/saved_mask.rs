//! What a task had blocked before a call such as `sigsuspend(2)` blocked something else for its duration.

use super::SignalSet;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A mask to put back, if there is one. Only the task itself looks at it: each of its ways to user mode does.
pub struct SavedMask(AtomicU64);

/// Stands for none: no mask has the two signals that can't be blocked.
const NOTHING: u64 = u64::MAX;

impl SavedMask {
    /// There is none.
    pub const fn none() -> Self {
        Self(AtomicU64::new(NOTHING))
    }

    /// The mask, which stays.
    #[inline]
    pub fn get(&self) -> Option<SignalSet> {
        let bits = self.0.load(Relaxed);
        (bits != NOTHING).then(|| SignalSet::from_bits(bits))
    }

    /// Keeps `mask`.
    pub fn set(&self, mask: SignalSet) {
        self.0.store(mask.without(SignalSet::UNSTOPPABLE).bits(), Relaxed);
    }

    /// Forgets it.
    #[inline]
    pub fn forget(&self) {
        self.0.store(NOTHING, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_mask_that_a_task_can_have_is_kept_until_it_is_forgotten() {
        let saved = SavedMask::none();
        assert_eq!(saved.get(), None);
        for bits in [0, 0x55, u64::MAX] {
            let mask = SignalSet::from_bits(bits).without(SignalSet::UNSTOPPABLE);
            saved.set(mask);
            assert_eq!(saved.get(), Some(mask));
        }
        saved.forget();
        assert_eq!(saved.get(), None);
    }
}
