//! Pages that lie somewhere and are to lie elsewhere, of the caller or of another process.

use crate::{
    arguments::UserPtr,
    call::Call,
    policy::{MOVE, MOVE_ALL, movable, node_mask},
};
use alloc::sync::Arc;
use base::{Capabilities, Errno, NodeId, NodeSet, Pid};
use machine::topology;
use memory::{AddressSpace, Movable, Placement};
use process::{AccessAs, Task, may_inspect};

/// After so many pages the caller gives its CPU away if another task wants it.
const TURN: usize = 64;

/// The task that a call means, whose memory the caller may look into. `ESRCH`, `EPERM`.
fn subject(call: &Call<'_>, pid: i32) -> Result<Arc<Task>, Errno> {
    if pid == 0 {
        return Ok(call.task.clone());
    }
    let task = call.population().task(Pid::new(pid)).ok_or(Errno::ESRCH)?;
    if may_inspect(call.task, &task, AccessAs::RealUser) { Ok(task) } else { Err(Errno::EPERM) }
}

/// `migrate_pages(2)`: moves all pages of a process that lie on the nodes `old` to those of the same rank in `new`; says
/// how many could not be moved. Pages that others map too are moved for a caller with CAP_SYS_NICE.
pub fn migrate_pages(
    call: &Call<'_>,
    pid: i32,
    count: u64,
    old: UserPtr<u64>,
    new: UserPtr<u64>,
) -> Result<usize, Errno> {
    let (old, new) = (node_mask(old, count)?, node_mask(new, count)?);
    let task = subject(call, pid)?;
    let may_all = call.task.credentials().has(Capabilities::SYS_NICE);
    if !new.is_subset_of(&task.usable_nodes()) && !may_all {
        return Err(Errno::EPERM);
    }
    let new = new.and(&call.task.usable_nodes());
    if new.is_empty() {
        return Err(Errno::EINVAL);
    }
    let space = task.space().map_err(|_| Errno::EINVAL)?;
    let moved = space.move_between(&old, &new, if may_all { Movable::Everybodys } else { Movable::Own });
    Ok(moved.left as usize)
}

/// `move_pages(2)`: moves single pages and says in `status` where each is then or why it was not moved; without `nodes`
/// only where each is. Returns how many pages could not be moved though they may be.
pub fn move_pages(
    call: &Call<'_>,
    pid: i32,
    count: usize,
    pages: UserPtr<u64>,
    nodes: UserPtr<i32>,
    status: UserPtr<i32>,
    flags: u32,
) -> Result<usize, Errno> {
    if flags & !(MOVE | MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    let which = movable(call, flags)?.unwrap_or(Movable::Own);
    let task = subject(call, pid)?;
    let allowed = task.usable_nodes();
    let space = task.space().map_err(|_| Errno::EINVAL)?;
    let mut left = 0;
    for index in 0..count {
        let page = pages.item(index).read()?;
        let result = if nodes.is_null() {
            space.node_of(page)
        } else {
            let node = target(nodes.item(index).read()?, &allowed)?;
            move_one(&space, page, which, node)
        };
        left += usize::from(matches!(result, Err(Errno::EBUSY | Errno::ENOMEM)));
        status.item(index).write(&result.map_or_else(|errno| -errno.code(), |node| node.raw() as i32))?;
        if index % TURN == TURN - 1 {
            sched::give_way();
            // Nobody would see the rest.
            if call.task.is_to_end() {
                return Err(Errno::EINTR);
            }
        }
    }
    Ok(left)
}

/// A node that a page may be moved to. `ENODEV` there is none, or it has no memory; `EACCES` it is not allowed.
fn target(node: i32, allowed: &NodeSet) -> Result<NodeId, Errno> {
    let node = NodeId::new(u32::try_from(node).map_err(|_| Errno::ENODEV)?);
    if !topology::get().nodes_with_memory().contains(node) {
        return Err(Errno::ENODEV);
    }
    if allowed.contains(node) { Ok(node) } else { Err(Errno::EACCES) }
}

/// Moves one page; the node where it is then.
fn move_one(space: &AddressSpace, page: u64, which: Movable, node: NodeId) -> Result<NodeId, Errno> {
    space.move_page(page, which, &Placement::on(NodeSet::only(node))).map(|_| node)
}
