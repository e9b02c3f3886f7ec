//! The locks of one sort on an inode, as a list.

use super::{LockOwner, Range, RangeLock};
use alloc::vec::Vec;
use base::Errno;

/// The locks of one sort on an inode. Those of one owner never overlap.
#[derive(Default)]
pub(super) struct Held(pub(super) Vec<RangeLock>);

impl Held {
    pub fn conflict(&self, wanted: &RangeLock) -> Option<&RangeLock> {
        self.0.iter().find(|held| held.conflicts(wanted))
    }

    /// Takes `range` from what `owner` holds; a lock that sticks out on both sides becomes two.
    pub fn release(&mut self, owner: LockOwner, range: Range) {
        let mut kept = Vec::new();
        self.0.retain(|held| {
            if held.owner != owner || !held.range.overlaps(range) {
                return true;
            }
            if held.range.start < range.start {
                kept.push(RangeLock { range: Range { end: range.start - 1, ..held.range }, ..*held });
            }
            if held.range.end > range.end {
                kept.push(RangeLock { range: Range { start: range.end + 1, ..held.range }, ..*held });
            }
            false
        });
        self.0.append(&mut kept);
    }

    /// Has room for what one more lock, or the release of a part of one, adds. `ENOLCK` there is none.
    pub fn reserve(&mut self) -> Result<(), Errno> {
        self.0.try_reserve(2).map_err(|_| Errno::ENOLCK)
    }

    /// Adds `wanted` in place of what its owner holds there; neighbours of the same kind become one.
    pub fn add(&mut self, mut wanted: RangeLock) {
        self.release(wanted.owner, wanted.range);
        self.0.retain(|held| {
            let joins = held.owner == wanted.owner && held.kind == wanted.kind && held.range.touches(wanted.range);
            if joins {
                wanted.range.start = wanted.range.start.min(held.range.start);
                wanted.range.end = wanted.range.end.max(held.range.end);
            }
            !joins
        });
        self.0.push(wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::LockKind;
    use base::Pid;
    use proptest::prelude::*;

    fn lock(owner: u64, kind: LockKind, start: u64, end: u64) -> RangeLock {
        RangeLock { owner: LockOwner::Table(owner), process: Pid::new(1), kind, range: Range { start, end } }
    }

    #[test]
    fn unlocking_the_middle_leaves_two_locks() {
        let mut held = Held::default();
        held.add(lock(1, LockKind::Exclusive, 0, 9));
        held.release(LockOwner::Table(1), Range { start: 3, end: 5 });
        let mut ranges: Vec<_> = held.0.iter().map(|held| (held.range.start, held.range.end)).collect();
        ranges.sort_unstable();
        assert_eq!(ranges, [(0, 2), (6, 9)]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Lock(u64, bool, u64, u64),
        Unlock(u64, u64, u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let range = (0..16u64, 0..16u64).prop_map(|(a, b)| (a.min(b), a.max(b)));
        prop_oneof![
            (0..3u64, any::<bool>(), range.clone()).prop_map(|(owner, shared, (a, b))| Step::Lock(owner, shared, a, b)),
            (0..3u64, range).prop_map(|(owner, (a, b))| Step::Unlock(owner, a, b)),
        ]
    }

    proptest! {
        #[test]
        fn range_locks_agree_with_a_map_of_bytes(steps in proptest::collection::vec(any_step(), 1..60)) {
            let mut held = Held::default();
            let mut bytes: [[Option<LockKind>; 16]; 3] = [[None; 16]; 3];
            for step in steps {
                match step {
                    Step::Lock(owner, shared, start, end) => {
                        let kind = if shared { LockKind::Shared } else { LockKind::Exclusive };
                        let wanted = lock(owner, kind, start, end);
                        let free = (0..3).filter(|&other| other != owner as usize).all(|other| {
                            (start..=end).all(|byte| match bytes[other][byte as usize] {
                                None => true,
                                Some(has) => has == LockKind::Shared && shared,
                            })
                        });
                        prop_assert_eq!(held.conflict(&wanted).is_none(), free);
                        if free {
                            held.add(wanted);
                            (start..=end).for_each(|byte| bytes[owner as usize][byte as usize] = Some(kind));
                        }
                    }
                    Step::Unlock(owner, start, end) => {
                        held.release(LockOwner::Table(owner), Range { start, end });
                        (start..=end).for_each(|byte| bytes[owner as usize][byte as usize] = None);
                    }
                }
                for (owner, row) in bytes.iter().enumerate() {
                    for (byte, &kind) in row.iter().enumerate() {
                        let found: Vec<_> = held.0.iter().filter(|held| {
                            held.owner == LockOwner::Table(owner as u64)
                                && held.range.overlaps(Range { start: byte as u64, end: byte as u64 })
                        }).collect();
                        prop_assert!(found.len() <= 1);
                        prop_assert_eq!(found.first().map(|held| held.kind), kind);
                    }
                }
            }
        }
    }
}
