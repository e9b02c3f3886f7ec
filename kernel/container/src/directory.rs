//! Making, removing and renaming containers. Rule: interfaces.md, section 3.

use crate::{
    container::{Attributes, Container},
    framework::{Active, Framework},
    set::States,
    state::Place,
};
use base::{Errno, Gid, Uid};
use machine::sync::{
    Arc,
    atomic::Ordering::{Relaxed, SeqCst},
};

/// The most bytes of a name.
const MAX_NAME: usize = 255;

impl Framework {
    /// Makes a child container. `attributes` are those of the directory; files get its owner and times.
    ///
    /// Errors, nothing made: `ENAMETOOLONG`; `EINVAL` a newline in the name; `ENOENT` the parent is removed;
    /// `EEXIST`, also for the name of a control file; what a subsystem says.
    /// Locks: *manage*, the parent.
    pub fn mkdir(&self, parent: &Arc<Container>, name: &[u8], attributes: Attributes) -> Result<Arc<Container>, Errno> {
        let _manage = self.manage.read();
        let _parent = parent.lock.lock();
        if parent.is_removed() {
            return Err(Errno::ENOENT);
        }
        check_name(name)?;
        check_free(parent, name)?;
        let place = Place::below(&parent.place, name);
        let hierarchy = parent.hierarchy();
        let mut states = States::default();
        for index in hierarchy.subsystems().iter() {
            let Some(above) = &parent.states[index] else { continue };
            // Dropping `states` destroys what was made before.
            states[index] = Some(self.subsystem(index).create(above, self.next_serial(), place.clone())?);
        }
        let child = Arc::new(Container::new(
            self.next_serial(),
            hierarchy.clone(),
            Some(parent.clone()),
            place,
            states,
            attributes,
        ));
        for index in hierarchy.subsystems().iter() {
            if let Err(errno) = self.subsystem(index).online(self, &child) {
                let online = |other: &usize| *other < index;
                let mut undo: alloc::vec::Vec<_> = hierarchy.subsystems().iter().filter(online).collect();
                undo.reverse();
                undo.into_iter().for_each(|other| self.subsystem(other).offline(self, &child));
                return Err(errno);
            }
        }
        let mut lists = parent.lists.lock();
        lists.names.insert(name, child.clone());
        lists.children.insert(child.serial(), child.clone());
        parent.child_count.fetch_add(1, SeqCst);
        hierarchy.containers.fetch_add(1, Relaxed);
        Ok(child)
    }

    /// Removes the child container `name`, closing it for good: no move, fork or mkdir into it succeeds any more.
    /// A persisting hierarchy that loses its last child dissolves.
    ///
    /// Errors: `ENOTDIR` a control file; `ENOENT`; `EBUSY` a live task or a child is inside.
    /// Locks: *manage*, the parent, the child.
    pub fn rmdir(&self, parent: &Arc<Container>, name: &[u8]) -> Result<(), Errno> {
        let child = {
            let _manage = self.manage.read();
            let _parent = parent.lock.lock();
            let child = find(parent, name)?;
            self.close(parent, &child, |_| true)?;
            child
        };
        drop(child);
        self.lost_child(parent);
        Ok(())
    }

    /// Removes a container of which `wanted` still says so once nobody can come in any more. Whether it was removed.
    /// Locks: as `rmdir`.
    pub(crate) fn remove_if(&self, container: &Arc<Container>, wanted: impl FnOnce(&Container) -> bool) -> bool {
        let Some(parent) = container.parent() else { return false };
        {
            let _manage = self.manage.read();
            let _parent = parent.lock.lock();
            if container.is_removed() || self.close(parent, container, wanted).is_err() {
                return false;
            }
        }
        self.lost_child(parent);
        true
    }

    /// Takes the child out of the tree, if it is empty and `wanted` agrees; else `EBUSY`. Held: *manage*, the parent.
    fn close(
        &self,
        parent: &Arc<Container>,
        child: &Arc<Container>,
        wanted: impl FnOnce(&Container) -> bool,
    ) -> Result<(), Errno> {
        let _child = child.lock.lock_nested();
        // Under both locks nobody can come in: moves hold the child's, mkdir too, and a fork needs a task inside.
        if !child.is_empty() || !wanted(child) {
            return Err(Errno::EBUSY);
        }
        child.removed.store(true, SeqCst);
        for index in child.hierarchy().subsystems().iter() {
            self.subsystem(index).offline(self, child);
        }
        let mut lists = parent.lists.lock();
        child.place.with_name(|name| lists.names.remove(name));
        lists.children.remove(&child.serial());
        parent.child_count.fetch_sub(1, SeqCst);
        parent.hierarchy().containers.fetch_sub(1, Relaxed);
        drop(lists);
        self.sets.forget(child);
        Ok(())
    }

    /// What follows a removal: the parent may be empty now, its hierarchy without use.
    fn lost_child(&self, parent: &Arc<Container>) {
        self.may_be_empty(parent);
        if parent.is_root() && parent.child_count() == 0 && parent.hierarchy().mounts.load(Relaxed) == 0 {
            let _manage = self.manage.write();
            self.dissolve_if_unused(&Active { hierarchy: parent.hierarchy().clone(), root: parent.clone() });
        }
    }

    /// Gives the child container `name` another name. A rename onto itself does nothing.
    ///
    /// Errors: `ENOTDIR` a control file; `EIO` another parent; `ENOENT`; `ENAMETOOLONG`, `EINVAL` as in mkdir;
    /// `EEXIST` the target exists. Locks: *manage*, the parent.
    pub fn rename(
        &self,
        parent: &Arc<Container>,
        name: &[u8],
        new_parent: &Arc<Container>,
        new_name: &[u8],
    ) -> Result<(), Errno> {
        let _manage = self.manage.read();
        let _parent = parent.lock.lock();
        let child = find(parent, name);
        if child.as_ref().err() != Some(&Errno::ENOENT) && new_name.contains(&b'\n') {
            return Err(Errno::EINVAL);
        }
        let child = child?;
        if !Arc::ptr_eq(parent, new_parent) {
            return Err(Errno::EIO);
        }
        if name == new_name {
            return Ok(());
        }
        check_name(new_name)?;
        check_free(parent, new_name)?;
        let mut lists = parent.lists.lock();
        lists.names.remove(name);
        lists.names.insert(new_name, child.clone());
        drop(lists);
        child.place.rename(new_name);
        Ok(())
    }
}

impl Attributes {
    /// Those of a root directory until somebody changes them.
    pub(crate) fn root_directory() -> Self {
        let now = machine::time::realtime();
        Self { mode: 0o555, uid: Uid::ROOT, gid: Gid::ROOT, times: [now; 3] }
    }
}

fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        [] => Err(Errno::ENOENT),
        _ if name.len() > MAX_NAME => Err(Errno::ENAMETOOLONG),
        _ if name.contains(&b'\n') => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

fn check_free(parent: &Container, name: &[u8]) -> Result<(), Errno> {
    let taken = matches!(name, b"." | b"..")
        || parent.hierarchy().files.find(parent, name).is_some()
        || parent.lists.lock().names.get(name).is_some();
    if taken { Err(Errno::EEXIST) } else { Ok(()) }
}

fn find(parent: &Container, name: &[u8]) -> Result<Arc<Container>, Errno> {
    if parent.is_removed() {
        return Err(Errno::ENOENT);
    }
    // A child first: no file has the name of one.
    parent.child(name).ok_or_else(|| match parent.hierarchy().files.find(parent, name) {
        Some(_) => Errno::ENOTDIR,
        None => Errno::ENOENT,
    })
}
