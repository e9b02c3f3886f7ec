//! What each user has of things that are limited by user: pages of pipes, watches.

use alloc::{collections::BTreeMap, sync::Arc};
use base::Uid;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

/// How much one user has; held by all that have a share of it.
pub(crate) type UserCount = Arc<AtomicU64>;

/// The counts of all users that have any.
pub(crate) struct ByUser(SpinLock<BTreeMap<Uid, UserCount>>);

impl ByUser {
    /// Nobody has any.
    pub const fn new() -> Self {
        Self(SpinLock::new(rank::FILE_STATE, BTreeMap::new()))
    }

    /// The count of `user`.
    pub fn of(&self, user: Uid) -> UserCount {
        let mut counts = self.0.lock();
        if let Some(count) = counts.get(&user) {
            return count.clone();
        }
        counts.retain(|_, count| Arc::strong_count(count) > 1);
        counts.entry(user).or_default().clone()
    }
}

/// A part of what a user has; given back when dropped, which takes no lock.
pub(crate) struct Share {
    count: UserCount,
    amount: u64,
}

impl Share {
    /// So much more for the user, whatever it has.
    pub fn new(count: &UserCount, amount: u64) -> Self {
        count.fetch_add(amount, Relaxed);
        Self { count: count.clone(), amount }
    }

    /// One more for the user, if it then has no more than `most`.
    pub fn within(count: &UserCount, most: u64) -> Option<Self> {
        let share = Self::new(count, 1);
        (share.total() <= most).then_some(share)
    }

    /// What the user has in all.
    pub fn total(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// How much this part is.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Makes this part larger or smaller.
    pub fn resize(&mut self, amount: u64) {
        self.count.fetch_add(amount, Relaxed);
        self.count.fetch_sub(core::mem::replace(&mut self.amount, amount), Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count.fetch_sub(self.amount, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_what_its_shares_are() {
        let users = ByUser::new();
        let (one, other) = (users.of(Uid::new(1)), users.of(Uid::new(2)));
        let mut first = Share::new(&one, 3);
        assert!(Share::within(&one, 3).is_none());
        let second = Share::within(&one, 4).unwrap();
        assert_eq!((first.total(), other.load(Relaxed)), (4, 0));
        first.resize(1);
        drop(second);
        assert_eq!((first.total(), first.amount()), (1, 1));
        drop((first, one, other));
        // Those that have nothing are forgotten when somebody new comes.
        drop(users.of(Uid::new(3)));
        assert_eq!(users.0.lock().len(), 1);
    }
}
