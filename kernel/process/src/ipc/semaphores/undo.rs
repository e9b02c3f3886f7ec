//! What a process has done with `SEM_UNDO` and takes back when it ends. Threads of a process share a list
//! (`CLONE_SYSVSEM`); a forked child has none.

use super::{SemaphoreSet, seconds};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Pid;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// The sets in which the holders of a list have something to undo; what it is the sets know.
pub struct UndoList {
    number: u64,
    sets: SpinLock<Vec<Weak<SemaphoreSet>>>,
}

impl UndoList {
    /// Nothing to undo.
    pub fn new() -> Arc<Self> {
        let sets = SpinLock::new(rank::IPC_TABLE, Vec::new());
        Arc::new(Self { number: NUMBERS.fetch_add(1, Relaxed), sets })
    }

    /// What sets know it by.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// There may be something to undo in `set`.
    pub(super) fn note(&self, set: &Arc<SemaphoreSet>) {
        let mut sets = self.sets.lock();
        if !sets.iter().any(|known| known.as_ptr() == Arc::as_ptr(set)) {
            sets.retain(|known| known.strong_count() > 0);
            sets.push(Arc::downgrade(set));
        }
    }

    /// A holder, the process `pid`, lets go of the list; the last one undoes what is in it.
    pub fn leave(self: Arc<Self>, pid: Pid) {
        let Some(list) = Arc::into_inner(self) else { return };
        let sets = core::mem::take(&mut *list.sets.lock());
        for set in sets.into_iter().filter_map(|set| set.upgrade()) {
            set.state.lock().undo(list.number, pid, seconds());
        }
    }
}
