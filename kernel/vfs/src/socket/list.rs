//! The list of all sockets, for /proc/net/unix.

use super::{Address, Core, Link};
use crate::weak_list::WeakList;
use alloc::sync::Arc;
use base::Errno;
use core::sync::atomic::Ordering::Relaxed;
use machine::sync::rank;

/// All sockets.
static ALL: WeakList<Core> = WeakList::new(rank::BUFFER);

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
    ALL.note_gone();
}

/// All sockets that there are, one by one. What `each` fails with; `ENOMEM`.
pub fn each_row(each: &mut dyn FnMut(&SocketRow) -> Result<(), Errno>) -> Result<(), Errno> {
    ALL.all()?.iter().try_for_each(|core| each(&row(core)))
}

fn row(core: &Arc<Core>) -> SocketRow {
    let inode = core.inode.load(Relaxed);
    let link = core.link.lock();
    let is_connected = matches!(*link, Link::Connected(_) | Link::Aimed(_));
    SocketRow {
        number: core.number,
        // Without the one that this look holds.
        references: Arc::strong_count(core) - 1,
        listens: matches!(*link, Link::Listening { .. }),
        kind: core.kind as u32,
        state: match (is_connected, inode) {
            (false, _) => 1,
            (true, 0) => 2,
            (true, _) => 3,
        },
        inode,
        name: core.inbox.name(),
    }
}
