//! What each user has: tasks and queued signals, for `RLIMIT_NPROC` and `RLIMIT_SIGPENDING`.

use alloc::{collections::BTreeMap, sync::Arc};
use base::Uid;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

/// What one real user has. Kept as long as a task of the user is.
#[derive(Default)]
pub struct Account {
    tasks: AtomicU64,
    signals: AtomicU64,
}

impl Account {
    /// Tasks, zombies included.
    pub fn tasks(&self) -> u64 {
        self.tasks.load(Relaxed)
    }

    /// Signals that are queued for its tasks.
    pub fn signals(&self) -> u64 {
        self.signals.load(Relaxed)
    }
}

/// One queued signal counted to the user whose task it is for; dropped, it no longer is.
pub struct SignalShare(Arc<Account>);

impl Drop for SignalShare {
    fn drop(&mut self) {
        self.0.signals.fetch_sub(1, Relaxed);
    }
}

/// All users that have tasks.
pub struct Accounts {
    accounts: SpinLock<BTreeMap<Uid, Arc<Account>>>,
}

/// One task counted to its user; dropped, it no longer is.
pub struct TaskShare {
    account: Arc<Account>,
}

impl TaskShare {
    /// The user's account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// One more signal for the user; none if it then had more than `most`.
    pub fn signal(&self, most: u64) -> Option<SignalShare> {
        let before = self.account.signals.fetch_add(1, Relaxed);
        let share = SignalShare(self.account.clone());
        (before < most).then_some(share)
    }

    /// One more task of the same user.
    pub fn another(&self) -> Self {
        self.account.tasks.fetch_add(1, Relaxed);
        Self { account: self.account.clone() }
    }
}

impl Drop for TaskShare {
    fn drop(&mut self) {
        self.account.tasks.fetch_sub(1, Relaxed);
    }
}

impl Accounts {
    /// No user has anything.
    pub const fn new() -> Self {
        Self { accounts: SpinLock::new(rank::FILE_STATE, BTreeMap::new()) }
    }

    /// Counts one task to `user`.
    pub fn share(&self, user: Uid) -> TaskShare {
        let mut accounts = self.accounts.lock();
        accounts.retain(|&other, account| other == user || Arc::strong_count(account) > 1);
        let account = accounts.entry(user).or_default().clone();
        drop(accounts);
        account.tasks.fetch_add(1, Relaxed);
        TaskShare { account }
    }

    /// How many tasks `user` has.
    pub fn tasks(&self, user: Uid) -> u64 {
        self.accounts.lock().get(&user).map_or(0, |account| account.tasks())
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_as_many_tasks_as_shares_are_held() {
        let accounts = Accounts::new();
        let user = Uid::new(1000);
        let first = accounts.share(user);
        let second = first.another();
        assert_eq!((accounts.tasks(user), accounts.tasks(Uid::ROOT)), (2, 0));
        drop(first);
        drop(second);
        assert_eq!(accounts.tasks(user), 0);
        let task = accounts.share(user);
        let signals = [task.signal(1), task.signal(1), task.signal(2)];
        assert_eq!((signals.each_ref().map(Option::is_some), task.account().signals()), ([true, false, true], 2));
        drop((signals, task));
        let _other = accounts.share(Uid::ROOT);
        assert_eq!(accounts.accounts.lock().len(), 1);
    }
}
