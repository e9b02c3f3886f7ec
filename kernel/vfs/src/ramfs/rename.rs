//! Renaming in a file system in memory: inside one directory, and from one to another.

use super::inode::RamInode;
use crate::RenameFlags;
use alloc::sync::Arc;
use base::Errno;

impl RamInode {
    /// A rename inside one directory.
    pub(super) fn rename_here(
        &self,
        name: &[u8],
        source: &RamInode,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        let mut listing = self.directory()?.listing.write();
        listing.check_is(name, source)?;
        let victim = listing.names.get(new_name).cloned();
        victim.as_ref().map_or(Ok(()), |victim| victim.check_bare())?;
        let moved = source.this.upgrade().ok_or(Errno::ENOENT)?;
        match victim {
            Some(_) if flags.contains(RenameFlags::NO_REPLACE) => return Err(Errno::EEXIST),
            Some(victim) if victim.number == source.number => return Ok(()),
            Some(victim) if flags.contains(RenameFlags::EXCHANGE) => {
                // Both names are there: `check_is` and `get` found them under this lock.
                victim.note_rename(self, name);
                let _same = (listing.names.replace(new_name, moved), listing.names.replace(name, victim));
            }
            Some(victim) => {
                Self::make_way(source, &victim)?;
                let _same = listing.names.replace(new_name, moved);
                listing.names.remove(name);
                drop(listing);
                Self::gone(&victim);
                self.touch_names(if victim.is_directory() { -1 } else { 0 });
                source.note_rename(self, new_name);
                return Ok(());
            }
            None if flags.contains(RenameFlags::EXCHANGE) => return Err(Errno::ENOENT),
            None => {
                listing.names.remove(name);
                listing.names.insert(new_name, moved);
            }
        }
        drop(listing);
        source.note_rename(self, new_name);
        self.touch_names(0);
        Ok(())
    }

    /// A rename from one directory to another.
    pub(super) fn rename_across(
        &self,
        name: &[u8],
        source: &Arc<RamInode>,
        target: &RamInode,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        // While this is held, no directory moves, so what lies above what stays as the next checks find it.
        let _renaming = self.shared.renames.lock();
        if source.is_directory() && source.is_or_contains(target) {
            return Err(Errno::EINVAL);
        }
        let (from, to) = (self.directory()?, target.directory()?);
        // The upper one first; two that don't lie in each other by number.
        let self_first = self.is_or_contains(target) || (!target.is_or_contains(self) && self.number < target.number);
        let (mut listing, mut target_listing);
        if self_first {
            listing = from.listing.write();
            target_listing = to.listing.write_nested();
        } else {
            target_listing = to.listing.write();
            listing = from.listing.write_nested();
        }
        listing.check_is(name, source)?;
        if target_listing.removed {
            return Err(Errno::ENOENT);
        }
        let victim = target_listing.names.get(new_name).cloned();
        victim.as_ref().map_or(Ok(()), |victim| victim.check_bare())?;
        match &victim {
            Some(_) if flags.contains(RenameFlags::NO_REPLACE) => return Err(Errno::EEXIST),
            Some(victim) if victim.number == source.number => return Ok(()),
            // A directory above `self` has at least the one towards it as an entry.
            Some(victim) if victim.is_directory() && victim.is_or_contains(self) => {
                return Err(if flags.contains(RenameFlags::EXCHANGE) { Errno::EINVAL } else { Errno::ENOTEMPTY });
            }
            Some(victim) if !flags.contains(RenameFlags::EXCHANGE) => Self::make_way(source, victim)?,
            None if flags.contains(RenameFlags::EXCHANGE) => return Err(Errno::ENOENT),
            _ => {}
        }
        let mut came = i32::from(source.is_directory());
        let mut went = -came;
        source.set_parent(target);
        match &victim {
            Some(victim) => {
                let _same = target_listing.names.replace(new_name, source.clone());
                came -= i32::from(victim.is_directory());
            }
            None => target_listing.names.insert(new_name, source.clone()),
        }
        match &victim {
            Some(victim) if flags.contains(RenameFlags::EXCHANGE) => {
                victim.set_parent(self);
                victim.note_rename(self, name);
                let _same = listing.names.replace(name, victim.clone());
                went += i32::from(victim.is_directory());
            }
            _ => drop(listing.names.remove(name)),
        }
        drop((listing, target_listing));
        if let Some(victim) = victim.filter(|_| !flags.contains(RenameFlags::EXCHANGE)) {
            Self::gone(&victim);
        }
        source.note_rename(target, new_name);
        self.touch_names(went);
        target.touch_names(came);
        Ok(())
    }

    fn set_parent(&self, parent: &RamInode) {
        if let Ok(directory) = self.directory() {
            *directory.parent.lock() = parent.this.clone();
        }
    }

    /// Whether this directory is `other` or lies above it. Steady while `renames` is held.
    fn is_or_contains(&self, other: &RamInode) -> bool {
        let mut at = other.this.upgrade();
        while let Some(inode) = at {
            if inode.number == self.number {
                return true;
            }
            at = inode.directory().ok().and_then(|directory| directory.parent.lock().upgrade());
        }
        false
    }

    /// Checks that `victim` may go for `source`, and closes it if it is a directory.
    fn make_way(source: &RamInode, victim: &RamInode) -> Result<(), Errno> {
        match (source.is_directory(), victim.is_directory()) {
            (true, true) => victim.close_directory(),
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            (false, false) => Ok(()),
        }
    }
}
