//! Policies of the pages of an object that several address spaces map: they belong to the object and not to who maps it.

use super::MemoryPolicy;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use base::Errno;
use core::ops::Range;
use machine::sync::{SpinLock, rank};

/// The policies of a shared object's pages. Locks: a spinning one of its own.
pub struct SharedPolicies(SpinLock<PolicyRanges>);

impl SharedPolicies {
    /// No page has a policy.
    pub const fn new() -> Self {
        Self(SpinLock::new(rank::PAGE_TABLE, PolicyRanges::new()))
    }

    /// Gives the pages of a range this policy, or none.
    ///
    /// Errors: `ENOMEM` too many ranges; nothing is changed.
    pub fn set(&self, pages: Range<u64>, policy: Option<MemoryPolicy>) -> Result<(), Errno> {
        self.0.lock().set(pages, policy)
    }

    /// The policy of a page.
    pub fn get(&self, index: u64) -> Option<MemoryPolicy> {
        self.0.lock().get(index)
    }
}

impl Default for SharedPolicies {
    fn default() -> Self {
        Self::new()
    }
}

/// The most ranges with a policy that one object may have.
const MOST_RANGES: usize = 65530;

/// Policies by page number.
#[derive(Default)]
pub(super) struct PolicyRanges {
    /// End and policy of each range, by its start. Ranges do not overlap.
    by_start: BTreeMap<u64, (u64, MemoryPolicy)>,
}

impl PolicyRanges {
    /// No page has a policy.
    pub(super) const fn new() -> Self {
        Self { by_start: BTreeMap::new() }
    }

    /// Gives the pages of a range this policy, or none.
    ///
    /// Errors: `ENOMEM` too many ranges; nothing is changed.
    pub(super) fn set(&mut self, range: Range<u64>, policy: Option<MemoryPolicy>) -> Result<(), Errno> {
        if self.by_start.len() + 2 > MOST_RANGES {
            return Err(Errno::ENOMEM);
        }
        let below = self.by_start.range(..range.start).next_back().filter(|(_, (end, _))| *end > range.start);
        let first = below.map_or(range.start, |(start, _)| *start);
        let touched: Vec<u64> = self.by_start.range(first..range.end.max(first)).map(|(start, _)| *start).collect();
        for start in touched {
            let Some((end, old)) = self.by_start.remove(&start) else { continue };
            if start < range.start {
                self.by_start.insert(start, (range.start, old));
            }
            if end > range.end {
                self.by_start.insert(range.end, (end, old));
            }
        }
        if let Some(policy) = policy.filter(|_| !range.is_empty()) {
            self.by_start.insert(range.start, (range.end, policy));
        }
        Ok(())
    }

    /// The policy of a page.
    pub(super) fn get(&self, index: u64) -> Option<MemoryPolicy> {
        let (_, (end, policy)) = self.by_start.range(..=index).next_back()?;
        (index < *end).then_some(*policy)
    }
}
