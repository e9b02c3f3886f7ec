//! Moving pages to other nodes while the program runs.
//!
//! A page of a program's own that stores can't reach any longer has bytes that don't change as long as somebody else
//! refers to its frame: a store faults, and the fault makes a copy for itself. So it is made read-only, copied, and the
//! copy takes its place if it still is what it was. A page that a source gave is unmapped; the source exchanges it if
//! nobody refers to it then, and the next access finds the new one.

use super::{AddressSpace, Tables};
use crate::area::{Area, Backing, PAGE};
use crate::charge::CHARGER;
use crate::policy::remap;
use crate::reclaim::SPACES;
use crate::{Placement, frames};
use alloc::vec::Vec;
use base::{Errno, NodeId, NodeSet};
use core::ops::Range;
use machine::frame::Frame;
use machine::paging::{Choice, Mapping, PageKind, Permissions, USER_END};

/// Pages that are looked up at once.
const BATCH: usize = 128;

/// How often a page that children came to share meanwhile is put back where it was.
const ATTEMPTS: usize = 8;

/// Which pages may be moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Movable {
    /// Those that no other address space maps.
    Own,
    /// All.
    Everybodys,
}

/// What came of moving many pages.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Moved {
    /// Pages that are where they should be now and were not before.
    pub moved: u64,
    /// Pages that stayed where they should not be.
    pub left: u64,
    /// Pages that stayed since others map them too, and are not to be moved for them.
    pub others: u64,
}

impl AddressSpace {
    /// Moves the pages of a range for which `target` names another place, given their address and node; it is
    /// asked with no lock held. Pages that come meanwhile may be missed.
    ///
    /// Locks: the areas', then the page tables' of all address spaces, one at a time.
    pub fn move_pages(
        &self,
        range: Range<u64>,
        which: Movable,
        target: &dyn Fn(u64, NodeId) -> Option<Placement>,
    ) -> Moved {
        let mut result = Moved::default();
        let mut at = range.start;
        let mut found: Vec<(u64, NodeId)> = Vec::new();
        if found.try_reserve(BATCH).is_err() {
            return result;
        }
        loop {
            found.clear();
            self.tables.edit().scan(at..range.end, &mut |address, mapping| {
                if found.len() < BATCH && mapping.kind != PageKind::Zero {
                    found.push((address, mapping.frame.node()));
                }
            });
            for &(address, node) in &found {
                let Some(placement) = target(address, node) else { continue };
                match self.move_page(address, which, &placement) {
                    Ok(_) => result.moved += 1,
                    // It is gone, so it is nowhere that it should not be.
                    Err(Errno::ENOENT | Errno::EFAULT) => {}
                    Err(Errno::EACCES) => result.others += 1,
                    Err(_) => result.left += 1,
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == BATCH => at = last + PAGE,
                _ => return result,
            }
        }
    }

    /// Moves pages that lie on the nodes of `from` to those of `to`, each to the node of the same rank (modulo how many
    /// there are). If there are more of the one than of the other, a page that lies on a node of `to` stays.
    pub fn move_between(&self, from: &NodeSet, to: &NodeSet, which: Movable) -> Moved {
        let stays = |node| from.count() != to.count() && to.contains(node);
        self.move_pages(0..USER_END, which, &|_, node| {
            let target = remap(node, from, to).filter(|target| *target != node && !stays(node))?;
            Some(Placement::on(NodeSet::only(target)))
        })
    }

    /// Moves the page at `address` to where `placement` allows; says on which node it was before.
    ///
    /// Errors: `EFAULT` nothing is mapped there, or only the page of zeros; `ENOENT` no page is there; `EACCES` others
    /// map it too and only one's [`Movable::Own`] are to be moved; `ENOMEM` no room there; `EBUSY` it is in use, or never moves.
    pub fn move_page(&self, address: u64, which: Movable, placement: &Placement) -> Result<NodeId, Errno> {
        let page = address / PAGE * PAGE;
        let state = self.read_state();
        let area = state.areas.find(page).ok_or(Errno::EFAULT)?;
        let (old, kind) = {
            let editor = self.tables.edit();
            let mapping = editor.get(page).ok_or(Errno::ENOENT)?;
            (Frame::clone(&mapping.frame), mapping.kind)
        };
        let before = old.node();
        if kind == PageKind::Zero {
            return Err(Errno::EFAULT);
        }
        if placement.allowed.contains(before) {
            return Ok(before);
        }
        match (kind, &area.backing) {
            (PageKind::Anonymous, _) => self.move_own(page, old, which, placement)?,
            (_, Backing::Source { source, .. }) => {
                if old.is_sealed() {
                    return Err(Errno::EBUSY);
                }
                let index = area.page_index(page);
                self.unmap_everywhere(area, page, &old, which)?;
                let number = old.number();
                drop(old);
                let new = frames::allocate(placement)?;
                let exchanged = source.exchange(index, &mut |there, holders| {
                    // The holders' references and nobody else's.
                    (there.number() == number && there.reference_count() == holders).then(|| {
                        new.copy_from(there);
                        move_note(there, &new);
                        new.clone()
                    })
                });
                // Back in the tables at once, wherever it is now, so that it still counts as in memory.
                let _ = self.fault_in(area, page, super::Access::Read);
                exchanged.then_some(()).ok_or(Errno::EBUSY)?;
            }
            _ => return Err(Errno::EBUSY),
        }
        Ok(before)
    }

    /// The node of the page at `address`. `EFAULT` nothing is mapped there, or only the page of zeros; `ENOENT` no page.
    pub fn node_of(&self, address: u64) -> Result<NodeId, Errno> {
        let state = self.read_state();
        let page = address / PAGE * PAGE;
        state.areas.find(page).ok_or(Errno::EFAULT)?;
        let editor = self.tables.edit();
        let mapping = editor.get(page).ok_or(Errno::ENOENT)?;
        if mapping.kind == PageKind::Zero { Err(Errno::EFAULT) } else { Ok(mapping.frame.node()) }
    }

    /// Moves a page of the program's own, which children may share.
    fn move_own(&self, page: u64, old: Frame, which: Movable, placement: &Placement) -> Result<(), Errno> {
        // Until then the frame does not count everybody who has the page.
        self.tables.edit().own(page..page + PAGE, &Tables)?;
        // One reference is the caller's, one this space's.
        if old.reference_count() > 2 && which == Movable::Own {
            return Err(Errno::EACCES);
        }
        let permissions = {
            let mut editor = self.tables.edit();
            let mapping = editor.get(page).filter(|mapping| mapping.frame.number() == old.number());
            let permissions = mapping.ok_or(Errno::ENOENT)?.permissions;
            if permissions.contains(Permissions::WRITE) {
                editor.set_permissions(page, permissions.difference(Permissions::WRITE), &Tables)?;
            }
            permissions
        };
        let new = frames::allocate(placement)?;
        new.copy_from(&old);
        let mut editor = self.tables.edit();
        let there = editor.get(page).is_some_and(|mapping| mapping.frame.number() == old.number());
        if !there {
            // Somebody was faster: unmapped, or made a copy for a store.
            return Err(Errno::ENOENT);
        }
        if old.reference_count() == 2 {
            // Nobody else can come to refer to either: they would have to find it in these tables.
            move_note(&old, &new);
            editor.replace(page, new, permissions, PageKind::Anonymous, &Tables)?;
            return Ok(());
        }
        drop(editor);
        if which == Movable::Own {
            return Err(Errno::EACCES);
        }
        // None of those that share it can store to it, or to the new one, while both are referred to here.
        replace_everywhere(page, &old, &new);
        for _ in 0..ATTEMPTS {
            if old.reference_count() == 1 {
                move_note(&old, &new);
                return Ok(());
            }
            // Somebody shares it at another address, or has come to share it just now: it stays where it is.
            replace_everywhere(page, &new, &old);
            if new.reference_count() == 1 {
                return Err(Errno::EBUSY);
            }
            replace_everywhere(page, &old, &new);
        }
        // There are two pages now, so both are paid for, if by the one who moves them.
        if let Some(note) =
            CHARGER.get().and_then(|charger| charger.charge(crate::ChargeKind::Anonymous, new.node()).ok())
        {
            new.exchange_note(0, note.get());
        }
        Ok(())
    }

    /// Takes the page with this frame out of the space, and out of all others if it may be moved for them.
    fn unmap_everywhere(&self, area: &Area, page: u64, frame: &Frame, which: Movable) -> Result<(), Errno> {
        {
            let mut editor = self.tables.edit();
            if editor.get(page).is_some_and(|mapping| mapping.frame.number() == frame.number()) {
                self.counts.remove(editor.unmap(page..page + PAGE, &Tables)?);
            }
        }
        // The source's reference and the caller's.
        if frame.reference_count() <= 2 {
            return Ok(());
        }
        if which == Movable::Own {
            // Back where it was, as far as nobody else has been faster.
            let _ = self.fault_in(area, page, super::Access::Read);
            return Err(Errno::EACCES);
        }
        if let Some(spaces) = SPACES.get() {
            spaces.for_each(&mut |space| {
                let choose = &mut |mapping: Mapping<'_>| {
                    let found = mapping.kind != PageKind::Anonymous && mapping.frame.number() == frame.number();
                    if found { Choice::Unmap } else { Choice::Keep }
                };
                let counts = space.tables.edit().unmap_some(0..USER_END, usize::MAX, choose, &Tables);
                space.counts.remove(counts);
                true
            });
        }
        Ok(())
    }
}

/// Puts `new` in place of `old`, read-only, wherever that is mapped at this address.
fn replace_everywhere(page: u64, old: &Frame, new: &Frame) {
    let Some(spaces) = SPACES.get() else { return };
    spaces.for_each(&mut |space| {
        let mut editor = space.tables.edit();
        let found = editor.get(page).filter(|mapping| mapping.frame.number() == old.number());
        if let Some(permissions) = found.map(|mapping| mapping.permissions.difference(Permissions::WRITE)) {
            // Where it can't be done, the old one is still referred to.
            let _ = editor.replace(page, new.clone(), permissions, PageKind::Anonymous, &Tables);
        }
        true
    });
}

/// Whoever pays for `old` pays for `new` from now on.
fn move_note(old: &Frame, new: &Frame) {
    loop {
        let note = old.note();
        if note == 0 {
            return;
        }
        // Another container may take it over at the same time.
        if old.exchange_note(note, 0) {
            new.exchange_note(0, note);
            if let Some(charger) = CHARGER.get() {
                charger.moved(note, old.node(), new.node());
            }
            return;
        }
    }
}
