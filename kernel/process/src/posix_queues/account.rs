//! How many queues there are, and what each user's cost: for the limit of the system and `RLIMIT_MSGQUEUE`.

use alloc::{collections::BTreeMap, sync::Arc};
use base::{Errno, Uid};
use machine::sync::{SpinLock, rank};

/// The counts, of queues that are open or have a name.
pub(super) struct Accounts(SpinLock<Counts>);

struct Counts {
    queues: u64,
    users: BTreeMap<Uid, u64>,
}

/// One queue in the counts, as long as it is held.
pub(super) struct Share {
    accounts: Arc<Accounts>,
    user: Uid,
    cost: u64,
}

impl Accounts {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(SpinLock::new(rank::FILE_STATE, Counts { queues: 0, users: BTreeMap::new() })))
    }

    /// Counts one more queue. `ENOSPC` there are `most_queues`; `EMFILE` the user's would cost more than `limit`.
    pub(super) fn take(self: &Arc<Self>, user: Uid, cost: u64, most_queues: u64, limit: u64) -> Result<Share, Errno> {
        let mut counts = self.0.lock();
        if counts.queues >= most_queues {
            return Err(Errno::ENOSPC);
        }
        let held = counts.users.get(&user).copied().unwrap_or(0);
        let sum = held.checked_add(cost).filter(|&sum| sum <= limit).ok_or(Errno::EMFILE)?;
        counts.users.insert(user, sum);
        counts.queues += 1;
        Ok(Share { accounts: self.clone(), user, cost })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.accounts.0.lock();
        counts.queues -= 1;
        let left = counts.users.get(&self.user).map_or(0, |held| held - self.cost);
        match left {
            0 => drop(counts.users.remove(&self.user)),
            left => drop(counts.users.insert(self.user, left)),
        }
    }
}
