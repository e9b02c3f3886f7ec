//! The list of all sockets, for /proc/net/unix.

use super::{Address, Core, Link};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Errno;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

/// So many that are gone may stay in the list, or half of it if that is more.
const GONE: usize = 32;

/// All sockets.
static ALL: List = List::new();

/// Sockets, and some that are gone, whose memory the list keeps.
pub(super) struct List {
    sockets: SpinLock<Vec<Weak<Core>>>,
    /// How many were closed since those that are gone were last taken out.
    closed: AtomicUsize,
}

impl List {
    pub(super) const fn new() -> Self {
        Self { sockets: SpinLock::new(rank::BUFFER, Vec::new()), closed: AtomicUsize::new(0) }
    }

    pub(super) fn add(&self, core: &Arc<Core>) {
        let mut sockets = self.sockets.lock();
        if sockets.len() == sockets.capacity() {
            sockets.retain(|core| core.strong_count() > 0);
        }
        // Without memory for one more the socket is none the worse, but is not listed.
        if sockets.try_reserve(1).is_ok() {
            sockets.push(Arc::downgrade(core));
        }
    }

    /// A socket is closed. Each time that half of the list may be gone, what is gone is taken out.
    pub(super) fn note_closed(&self) {
        if self.closed.fetch_add(1, Relaxed) < GONE {
            return;
        }
        let mut sockets = self.sockets.lock();
        if self.closed.load(Relaxed) >= GONE.max(sockets.len() / 2) {
            self.closed.store(0, Relaxed);
            sockets.retain(|core| core.strong_count() > 0);
        }
    }

    /// How many the list holds, with those that are gone.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sockets.lock().len()
    }
}

/// What is told of a socket.
pub struct SocketRow {
    /// Its number, never used again.
    pub number: u64,
    /// How many references there are to it.
    pub references: usize,
    /// Whether it waits for connections.
    pub listens: bool,
    /// Its type, as `socket(2)` takes it.
    pub kind: u32,
    /// Linux's state: 1 not connected, 2 being connected, 3 connected.
    pub state: u8,
    /// The number of its inode; 0 before it is accepted.
    pub inode: u64,
    /// Its name.
    pub name: Address,
}

pub(super) fn add(core: &Arc<Core>) {
    ALL.add(core);
}

/// A socket is closed.
pub(super) fn note_closed() {
    ALL.note_closed();
}

/// All sockets that there are, one by one. What `each` fails with; `ENOMEM`.
pub fn each_row(each: &mut dyn FnMut(&SocketRow) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut all: Vec<Arc<Core>> = Vec::new();
    // What is new after this is not shown.
    let count = ALL.sockets.lock().len();
    all.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
    all.extend(ALL.sockets.lock().iter().filter_map(Weak::upgrade).take(count));
    all.iter().try_for_each(|core| each(&row(core)))
}

fn row(core: &Arc<Core>) -> SocketRow {
    let inode = core.inode.load(Relaxed);
    let state = core.state.lock();
    let is_connected = matches!(state.link, Link::Connected(_) | Link::Aimed(_));
    SocketRow {
        number: core.number,
        // Without the one that this look holds.
        references: Arc::strong_count(core) - 1,
        listens: matches!(state.link, Link::Listening { .. }),
        kind: core.kind as u32,
        state: match (is_connected, inode) {
            (false, _) => 1,
            (true, 0) => 2,
            (true, _) => 3,
        },
        inode,
        name: state.name.clone(),
    }
}
