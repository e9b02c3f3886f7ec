//! How the mount tree changes.

use super::{Namespace, Tree};
use crate::{
    FileSystem, Location, Mount, Propagation,
    caller::MountChange,
    mount::{Covered, FreePlace, Named, SystemFlags},
    mounted_system::System,
    propagation::{Kinship, Receiver, Role},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Errno;
use machine::sync::MutexGuard;

/// What comes to a place: see [`Change::graft`].
pub(crate) enum Graft<'a> {
    /// A new mount.
    New(Arc<Mount>),
    /// What is seen at a location, with `recursive` also what is mounted below.
    Copy { from: &'a Named, recursive: bool },
    /// A mount from elsewhere in the tree, with all that is mounted on it.
    Moved(Arc<Mount>),
}

/// The right to change a mount tree. What falls out of the tree is handed to the caller, who drops it when the right is
/// given back: a file system may tidy up then.
pub(crate) struct Change<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) tree: MutexGuard<'a, Tree>,
}

impl Change<'_> {
    /// What the mounts of this file system share; if there are none, something new with these flags.
    pub(crate) fn system(&self, file_system: &dyn FileSystem, flags: SystemFlags) -> Arc<System> {
        self.tree.systems.find(file_system).cloned().unwrap_or_else(|| System::new(flags))
    }

    /// Whether the mount is in the tree.
    pub(crate) fn holds(&self, mount: &Arc<Mount>) -> bool {
        let top = core::iter::successors(Some(mount.clone()), |mount| mount.parent()).last();
        top.is_some_and(|top| Arc::ptr_eq(&top, &self.namespace.root))
    }

    /// Whether it is the top of a tree that has no place yet.
    fn is_detached(&self, mount: &Mount) -> bool {
        self.tree.detached.contains(&mount.number())
    }

    /// How a mount takes part in what happens elsewhere.
    fn role(&self, mount: &Mount) -> Role {
        self.tree.groups.role(mount.number())
    }

    /// Whether the mount is on a shared one.
    fn has_shared_parent(&self, mount: &Mount) -> bool {
        mount.parent().is_some_and(|parent| self.role(&parent).group.is_some())
    }

    /// Changes how a mount, and with `recursive` all below it, takes part in what happens elsewhere.
    pub(crate) fn set_propagation(&mut self, mount: &Arc<Mount>, to: Propagation, recursive: bool) {
        let all = if recursive { mount.tree() } else { Vec::from([mount.clone()]) };
        for mount in all {
            self.tree.groups.change(mount.number(), &Arc::downgrade(&mount), to);
        }
    }

    /// Where a new mount at `place` would lie: on top of all that is mounted there. `ENOENT` it was removed, or has another name
    /// since it was found; `EINVAL` it is not in the tree.
    pub(crate) fn free_place(&self, place: Named) -> Result<FreePlace, Errno> {
        let place = place.cross_mounts();
        let place = FreePlace::hold(place)?;
        let parent = place.location.mount.as_ref().ok_or(Errno::EINVAL)?;
        if self.holds(parent) { Ok(place) } else { Err(Errno::EINVAL) }
    }

    /// Whether what is seen at a location may be seen elsewhere too. `EINVAL`.
    pub(crate) fn check_bindable(&self, from: &Named) -> Result<(), Errno> {
        let mount = from.location.mount.as_ref().ok_or(Errno::EINVAL)?;
        if self.role(mount).unbindable || !self.holds(mount) { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Whether a mount may be moved to a place. `EINVAL` it is the top of the tree, or neither in it nor waiting for a place, or on
    /// a shared mount, or the place is shared and something in it may not be bound.
    pub(crate) fn check_movable(&self, mount: &Arc<Mount>, place: &Named) -> Result<(), Errno> {
        let is_known = if mount.parent().is_some() { self.holds(mount) } else { self.is_detached(mount) };
        if !is_known || self.has_shared_parent(mount) {
            return Err(Errno::EINVAL);
        }
        let is_shared = place.location.mount.as_ref().is_some_and(|parent| self.role(parent).group.is_some());
        let is_unbindable = |mount: &Arc<Mount>| self.role(mount).unbindable;
        if is_shared && mount.tree().iter().any(is_unbindable) { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// Mounts something at `place`, which [`Change::free_place`] has found, and a copy of it wherever the place is shared
    /// with. `ENOSPC` there would be too many mounts.
    pub(crate) fn graft(&mut self, what: Graft<'_>, place: &Named) -> Result<(), Errno> {
        let parent = place.location.mount.as_ref().ok_or(Errno::EINVAL)?;
        // Found before anything new takes part, so that nothing is copied into itself.
        let shows = |mount: &Weak<Mount>| mount.upgrade().is_some_and(|mount| mount.shows(place) && self.holds(&mount));
        let receivers = match self.tree.groups.is_empty() {
            true => Vec::new(),
            false => self.tree.groups.receivers(parent.number(), shows),
        };
        let is_move = matches!(what, Graft::Moved(_));
        let top = match what {
            Graft::New(mount) | Graft::Moved(mount) => mount,
            Graft::Copy { from, recursive } => self.copy(from, recursive)?,
        };
        let tree = top.tree();
        let more = tree.len() * (receivers.len() + usize::from(!is_move));
        if self.tree.mounts + more > self.namespace.most_mounts() as usize {
            if !is_move {
                self.scrap(&tree);
            }
            return Err(Errno::ENOSPC);
        }
        if self.role(parent).group.is_some() {
            for mount in &tree {
                self.tree.groups.change(mount.number(), &Arc::downgrade(mount), Propagation::Shared);
            }
        }
        let copies = self.copies(&top, receivers);
        let new = if is_move { Vec::new() } else { tree };
        for mount in new.into_iter().chain(copies.iter().flat_map(|(_, copy)| copy.tree())) {
            self.tree.enter(&mount);
        }
        if let Some(before) = top.parent() {
            before.take(&top);
        }
        self.tree.detached.remove(&top.number());
        parent.put(top, &place.location.inode, place.name.clone());
        for (mount, copy) in copies {
            // What is there already stays on top.
            if let Some(covering) = mount.child_at(&*place.location.inode) {
                let Location { mount: Some(below), inode } = copy.clone().top().cross_mounts() else { continue };
                below.put(covering, &inode, None);
            }
            mount.put(copy, &place.location.inode, place.name.clone());
        }
        self.namespace.tell_of_change();
        Ok(())
    }

    /// A copy of the tree `top` for each receiver.
    fn copies(&mut self, top: &Arc<Mount>, receivers: Vec<Receiver<Weak<Mount>>>) -> Vec<(Arc<Mount>, Arc<Mount>)> {
        let mut copies: Vec<(Arc<Mount>, Arc<Mount>)> = Vec::with_capacity(receivers.len());
        for Receiver { mount, source, kinship } in receivers {
            // It is in the tree, which does not change but here.
            let Some(mount) = mount.upgrade() else { continue };
            let source =
                source.checked_sub(1).and_then(|index| copies.get(index)).map_or(top, |(_, copy)| copy).clone();
            let copy = self.copy_tree(&source, &Named::root_of(&source), kinship, |_| true);
            copies.push((mount, copy));
        }
        copies
    }

    /// A new mount of what `from` shows, and with `recursive` of what is mounted below and may be bound.
    fn copy(&mut self, from: &Named, recursive: bool) -> Result<Arc<Mount>, Errno> {
        let original = from.location.mount.as_ref().ok_or(Errno::EINVAL)?;
        let seen = |place: &Named| recursive && place.location.is_below(&from.location);
        Ok(self.copy_tree(original, from, Kinship::Same, seen))
    }

    /// A copy of `original` that shows `root`, and of what is mounted on it where `wanted` says so, and on that.
    fn copy_tree(
        &mut self,
        original: &Arc<Mount>,
        root: &Named,
        kinship: Kinship,
        wanted: impl Fn(&Named) -> bool,
    ) -> Arc<Mount> {
        let top = self.copy_one(original, root, kinship);
        let mut pending = Vec::from([(original.clone(), top.clone())]);
        while let Some((original, copy)) = pending.pop() {
            for child in original.children() {
                let Some(place) = child.place() else { continue };
                let skipped = Arc::ptr_eq(&copy, &top) && !wanted(&place);
                if skipped || self.role(&child).unbindable {
                    continue;
                }
                let child_copy = self.copy_one(&child, &Named::root_of(&child), kinship);
                copy.put(child_copy.clone(), &place.location.inode, place.name);
                pending.push((child, child_copy));
            }
        }
        top
    }

    fn copy_one(&mut self, original: &Mount, root: &Named, kinship: Kinship) -> Arc<Mount> {
        let copy = original.copy(root);
        self.tree.groups.enter_copy(copy.number(), &Arc::downgrade(&copy), original.number(), kinship);
        copy
    }

    /// A copy of what is seen at a location, and with `recursive` of what is mounted below, that has no place yet. `EINVAL`;
    /// `ENOSPC` there would be too many mounts.
    pub(crate) fn copy_detached(&mut self, from: &Named, recursive: bool) -> Result<Arc<Mount>, Errno> {
        let top = self.copy(from, recursive)?;
        self.enter_detached(&top)?;
        Ok(top)
    }

    /// Counts a new tree that has no place yet. `ENOSPC` there would be too many mounts.
    pub(crate) fn enter_detached(&mut self, top: &Arc<Mount>) -> Result<(), Errno> {
        let tree = top.tree();
        if self.tree.mounts + tree.len() > self.namespace.most_mounts() as usize {
            self.scrap(&tree);
            return Err(Errno::ENOSPC);
        }
        tree.iter().for_each(|mount| self.tree.enter(mount));
        self.tree.detached.insert(top.number());
        Ok(())
    }

    /// Takes a tree apart that still has no place; gives back what is out, each for itself.
    pub(crate) fn dissolve(&mut self, top: &Arc<Mount>) -> Vec<Arc<Mount>> {
        if !self.tree.detached.remove(&top.number()) {
            return Vec::new();
        }
        let tree = top.tree();
        for mount in &tree {
            self.tree.leave(mount);
            if let Some(parent) = mount.parent() {
                parent.take(mount);
            }
        }
        tree
    }

    /// `mount_setattr(2)`: all of it or nothing. `EINVAL` the mount is neither in the tree nor waiting for a place; `EBUSY` one
    /// would become read-only and has files that are open for writing.
    pub(crate) fn change_mount(&mut self, mount: &Arc<Mount>, wish: &MountChange) -> Result<(), Errno> {
        if !self.holds(mount) && !self.is_detached(mount) {
            return Err(Errno::EINVAL);
        }
        let all = if wish.recursive { mount.tree() } else { Vec::from([mount.clone()]) };
        let mut changed: Vec<_> = Vec::with_capacity(all.len());
        for mount in &all {
            let before = mount.flags();
            if let Err(errno) = mount.change_flags(before.difference(wish.clear) | wish.set) {
                changed.into_iter().for_each(|(mount, flags): (&Arc<Mount>, _)| mount.set_flags(flags));
                return Err(errno);
            }
            changed.push((mount, before));
        }
        if let Some(to) = wish.propagation {
            self.set_propagation(mount, to, wish.recursive);
        }
        Ok(())
    }

    /// `MOVE_MOUNT_SET_GROUP`: the private mount `to` takes part in what happens elsewhere as `from` does. `EINVAL` as
    /// [`crate::Caller::share_group`] says.
    pub(crate) fn share_group(&mut self, from: &Arc<Mount>, to: &Arc<Mount>) -> Result<(), Errno> {
        let is_private = |role: Role| role.group.is_none() && role.master.is_none();
        let are_known = self.holds(to) && (self.holds(from) || self.is_detached(from));
        let is_part = from.file_system().device() == to.file_system().device() && from.shows(&Named::root_of(to));
        if !are_known || !is_part || is_private(self.role(from)) || !is_private(self.role(to)) {
            return Err(Errno::EINVAL);
        }
        self.tree.groups.leave(to.number());
        self.tree.groups.enter_copy(to.number(), &Arc::downgrade(to), from.number(), Kinship::Same);
        Ok(())
    }

    /// Takes a tree apart that was not grafted.
    fn scrap(&mut self, tree: &[Arc<Mount>]) {
        for mount in tree {
            self.tree.groups.leave(mount.number());
            if let Some(parent) = mount.parent() {
                parent.take(mount);
            }
        }
    }

    /// Whether anybody but the tree and `held` holders of the caller's own uses the mount or what is mounted on it, or a
    /// copy that would go with it.
    pub(crate) fn is_busy(&self, mount: &Arc<Mount>, held: usize) -> bool {
        if mount.has_children() || Arc::strong_count(mount) > held + 1 {
            return true;
        }
        self.copies_of(mount).iter().any(|copy| {
            let children = copy.children();
            let goes = children.is_empty() || children.len() == 1 && children[0].covers_parent();
            goes && Arc::strong_count(copy) > 2
        })
    }

    /// What the places that are told of changes at the place of `mount` have there.
    fn copies_of(&self, mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
        if self.tree.groups.is_empty() {
            return Vec::new();
        }
        let Some(Named { location: Location { mount: Some(parent), inode }, .. }) = mount.place() else {
            return Vec::new();
        };
        let number = parent.number();
        drop(parent);
        let receivers = self.tree.groups.receivers(number, |_| true);
        receivers.iter().filter_map(|receiver| receiver.mount.upgrade()?.child_at(&*inode)).collect()
    }

    /// Takes `mount` out of the tree, with all that is mounted on it, and what its copies in other places can lose; gives
    /// back what is out, each for itself.
    pub(crate) fn remove(&mut self, mount: &Arc<Mount>) -> Vec<Arc<Mount>> {
        let mut gone = mount.tree();
        self.add_copies(&mut gone);
        let kept = self.covers_of(&gone);
        for (child, ..) in &kept {
            if let Some(parent) = child.parent() {
                parent.take(child);
            }
        }
        for mount in &gone {
            self.tree.leave(mount);
            if let Some(parent) = mount.parent() {
                parent.take(mount);
            }
        }
        for (child, place, _covered) in kept {
            let Named { location: Location { mount: Some(parent), inode }, name } = place.cross_mounts() else {
                continue;
            };
            parent.put(child, &inode, name);
        }
        self.namespace.tell_of_change();
        gone
    }

    /// What stays of what is mounted on `gone`, and the place that it gets, which keeps its name meanwhile: it covers a copy whole, and comes to where that was.
    fn covers_of(&self, gone: &[Arc<Mount>]) -> Vec<(Arc<Mount>, Named, Covered)> {
        let mut kept = Vec::new();
        if self.tree.groups.is_empty() {
            return kept;
        }
        let numbers: BTreeSet<u32> = gone.iter().map(|mount| mount.number()).collect();
        let goes = |mount: &Mount| numbers.contains(&mount.number());
        for child in gone.iter().flat_map(|mount| mount.children()).filter(|child| !goes(child)) {
            let mut place = child.place();
            while let Some(below) = place.as_ref().and_then(|place| place.location.mount.as_ref()).filter(|on| goes(on))
            {
                place = below.place();
            }
            kept.extend(place.map(|place| {
                let covered = Covered::new(&place.location.inode);
                (child, place, covered)
            }));
        }
        kept
    }

    /// Adds the copies in other places of what goes, but those on which something stays that does not cover them whole.
    fn add_copies(&self, gone: &mut Vec<Arc<Mount>>) {
        if self.tree.groups.is_empty() {
            return;
        }
        let first: BTreeSet<u32> = gone.iter().map(|mount| mount.number()).collect();
        let mut copies = BTreeMap::new();
        for copy in gone.iter().flat_map(|mount| self.copies_of(mount)) {
            if !first.contains(&copy.number()) {
                copies.insert(copy.number(), copy);
            }
        }
        let goes = |copies: &BTreeMap<u32, _>, mount: &Mount| {
            first.contains(&mount.number()) || copies.contains_key(&mount.number())
        };
        let holds = |copies: &BTreeMap<u32, Arc<Mount>>, copy: &Mount| {
            copy.children().iter().any(|child| !goes(copies, child) && !child.covers_parent())
        };
        let mut staying: Vec<_> = copies.values().filter(|copy| holds(&copies, copy)).cloned().collect();
        while let Some(copy) = staying.pop() {
            copies.remove(&copy.number());
            staying.extend(
                copy.parent()
                    .and_then(|parent| copies.get(&parent.number()))
                    .filter(|parent| holds(&copies, parent))
                    .cloned(),
            );
        }
        gone.extend(copies.into_values());
    }

    /// `pivot_root(2)`: `new` takes the place of the mount that is the root directory `root`, which goes to `put_old`, where
    /// [`Change::free_place`] has been. The errors are those that the caller has not found already: `EINVAL`, `EBUSY`, `ENOENT`.
    pub(crate) fn exchange_root(&mut self, root: &Location, new: &Location, put_old: &Named) -> Result<(), Errno> {
        let (Some(root_mount), Some(new_mount), Some(old_mount)) = (&root.mount, &new.mount, &put_old.location.mount)
        else {
            return Err(Errno::EINVAL);
        };
        let is_shared = self.role(old_mount).group.is_some();
        if is_shared || self.has_shared_parent(new_mount) || self.has_shared_parent(root_mount) {
            return Err(Errno::EINVAL);
        }
        if !self.holds(root_mount) || !self.holds(new_mount) {
            return Err(Errno::EINVAL);
        }
        if new.is_removed() {
            return Err(Errno::ENOENT);
        }
        if Arc::ptr_eq(new_mount, root_mount) || Arc::ptr_eq(old_mount, root_mount) {
            return Err(Errno::EBUSY);
        }
        let (Some(place), true) = (root_mount.place(), root.is_mount_root()) else { return Err(Errno::EINVAL) };
        if !new.is_mount_root() || new_mount.parent().is_none() {
            return Err(Errno::EINVAL);
        }
        if !put_old.location.is_below(new) || !new.is_below(root) {
            return Err(Errno::EINVAL);
        }
        let Named { location: Location { mount: Some(parent), inode }, name } = place else {
            return Err(Errno::EINVAL);
        };
        if let Some(before) = new_mount.parent() {
            before.take(new_mount);
        }
        // In one step: nobody finds the place empty.
        parent.put(new_mount.clone(), &inode, name);
        old_mount.put(root_mount.clone(), &put_old.location.inode, put_old.name.clone());
        self.namespace.tell_of_change();
        Ok(())
    }
}

impl Named {
    /// The root of a mount.
    fn root_of(mount: &Arc<Mount>) -> Self {
        Self { location: mount.clone().top(), name: mount.root_name().cloned() }
    }
}
