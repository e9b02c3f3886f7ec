//! Getting back pages whose bytes can be read again: clean copies of files.
//!
//! A copy that nobody maps is dropped at once. If that gives too little, copies are taken out of address spaces, those
//! first that no program has used lately; whoever wants one again has it read again by a page fault.

use crate::charge::CHARGER;
use crate::space::AddressSpace;
use base::NodeSet;
use machine::frame::Frame;
use machine::sync::Hook;

/// Keeps the copies of files.
pub trait FileCopies: Sync {
    /// Drops up to `most` copies to which nobody else refers and that are `wanted`; says how many. Called with no spinning lock held.
    fn drop_unused(&self, wanted: &dyn Fn(&Frame) -> bool, most: usize) -> usize;
}

/// Who keeps the copies of files; installed once at boot.
pub static FILE_COPIES: Hook<dyn FileCopies> = Hook::new();

/// Knows all address spaces.
pub trait Spaces: Sync {
    /// Shows every address space, until `visit` says false.
    fn for_each(&self, visit: &mut dyn FnMut(&AddressSpace) -> bool);
}

/// Who knows the address spaces; installed once at boot.
pub static SPACES: Hook<dyn Spaces> = Hook::new();

/// Which mapped copies are taken out of an address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Used {
    /// Those that no CPU has used since the last time; the others count as unused from now on.
    NotLately,
    /// All.
    Ever,
}

/// Frees up to `most` copies of files that are `wanted`, which is asked under locks; says how many.
///
/// Locks: those of the page cache and of page tables. Call with no spinning lock held.
pub fn reclaim(wanted: &dyn Fn(&Frame) -> bool, most: usize) -> usize {
    let Some(copies) = FILE_COPIES.get() else { return 0 };
    let mut freed = copies.drop_unused(wanted, most);
    for used in [Used::NotLately, Used::Ever] {
        let Some(spaces) = SPACES.get().filter(|_| freed < most) else { break };
        let mut unmapped = 0;
        spaces.for_each(&mut |space| {
            unmapped += space.unmap_copies(wanted, used, most - freed - unmapped);
            freed + unmapped < most
        });
        if unmapped > 0 {
            freed += copies.drop_unused(wanted, most - freed);
        }
    }
    freed
}

/// Frees up to `most` copies of files because frames of these nodes are short, first those over a soft limit; says how
/// many.
///
/// Locks: as [`reclaim`].
pub(crate) fn for_shortage(nodes: NodeSet, most: usize) -> usize {
    let helps = |frame: &Frame| nodes.contains(frame.node());
    let first = CHARGER
        .get()
        .map_or(0, |charger| reclaim(&|frame| helps(frame) && charger.is_over_soft_limit(frame.note()), most));
    if first > 0 { first } else { reclaim(&helps, most) }
}
