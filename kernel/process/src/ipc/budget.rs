//! The memory of the kernel that System V semaphores and messages may take together. Linux's limits alone would let any
//! user fill a small machine with them.

use alloc::sync::Arc;
use base::Errno;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// So many bytes for all, of which each object has a share.
pub struct Budget {
    used: AtomicU64,
    most: u64,
}

/// A part of the budget, given back when dropped.
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// A budget of `most` bytes.
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), most })
    }

    /// Takes a share. `ENOMEM` there is not so much left.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, Errno> {
        let bytes = bytes as u64;
        let more = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.most);
        self.used.fetch_update(Relaxed, Relaxed, more).map_err(|_| Errno::ENOMEM)?;
        Ok(Share { budget: self.clone(), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(100);
        let first = budget.take(60).unwrap();
        assert_eq!(budget.take(41).map(drop), Err(Errno::ENOMEM));
        assert_eq!(budget.take(usize::MAX).map(drop), Err(Errno::ENOMEM));
        let second = budget.take(40).unwrap();
        drop(first);
        assert!(budget.take(60).is_ok());
        drop(second);
        assert!(budget.take(100).is_ok());
    }
}
